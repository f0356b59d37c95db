//! What an operator sets: rows, teams, weights; and what follows from it for buckets and pools.

use super::*;

impl Book {
    /// Gives or changes a right; false if that changes nothing.
    ///
    /// # Errors
    /// [`RightError`] if the row is for a user and a team, or for `AUTO`.
    pub fn set(&mut self, row: RightRow) -> Result<bool, RightError> {
        let (scope, bound) = self.index_of(&row.key)?;
        let changed = self.rows.set(row, scope, bound);
        if changed {
            self.rows_changed(scope);
        }
        Ok(changed)
    }

    /// Takes a right away; false if there was none.
    pub fn remove(&mut self, key: &RightKey) -> bool {
        let Ok((scope, bound)) = self.index_of(key) else { return false };
        let removed = self.rows.remove(key, scope, bound);
        if removed {
            self.rows_changed(scope);
        }
        removed
    }

    /// All rows, by key.
    pub fn rows(&self) -> impl Iterator<Item = RightRow> + '_ {
        self.rows.iter()
    }

    /// Takes away all rows that are over by now; true if there were any.
    pub fn expire(&mut self, now: Time) -> bool {
        let mut any = false;
        while let Some(key) = self.rows.expired(now) {
            any |= self.remove(&key);
        }
        any
    }

    /// When the next row expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Time> {
        self.rows.next_expiry()
    }

    /// Puts a team in, or changes it; false if that changes nothing. A parent that was not put in is a team without
    /// users and pools.
    ///
    /// # Errors
    /// [`TeamError`] if it would be a part of itself, or has two pools in one group.
    pub fn set_team(&mut self, team: Team) -> Result<bool, TeamError> {
        let changed = self.teams.set(team)?;
        if changed {
            self.rebuild();
        }
        Ok(changed)
    }

    /// Takes a team away; false if there was none. Its parts stay, as parts of a team without users and pools.
    pub fn remove_team(&mut self, name: &TeamName) -> bool {
        let removed = self.teams.remove(name);
        if removed {
            self.rebuild();
        }
        removed
    }

    /// All teams, by name.
    pub fn teams(&self) -> impl Iterator<Item = &Team> {
        self.teams.iter()
    }

    /// Sets what one device of a model counts, in thousandths; without that it is
    /// [`WEIGHT_MILLI_DEFAULT`](crate::rights::WEIGHT_MILLI_DEFAULT).
    ///
    /// Bills that were written before stay as they are.
    pub fn set_weight(&mut self, model: &ModelName, milli: u64) {
        let model = self.models.number(model);
        self.weights.set(model, milli);
    }

    /// The number of a model.
    pub fn model(&mut self, name: &ModelName) -> ModelIx {
        self.models.number(name)
    }

    /// The number of a model, if anybody has named it.
    #[must_use]
    pub fn find_model(&self, name: &ModelName) -> Option<ModelIx> {
        self.models.find(name)
    }

    /// The number of a user.
    pub fn user(&mut self, name: &UserName) -> UserIx {
        let user: UserIx = self.users.number(name);
        if self.memberships.len() < self.users.len() {
            let teams = self.teams_of(name);
            self.memberships.push(teams);
            self.user_versions.push(0);
        }
        user
    }

    /// The number of a group.
    pub fn group(&mut self, name: &GroupName) -> GroupIx {
        self.groups.number(name)
    }

    /// The number of a group, if anybody has named it.
    #[must_use]
    pub fn find_group(&self, name: &GroupName) -> Option<GroupIx> {
        self.groups.find(name)
    }

    /// The number of a team, if anybody has named it.
    #[must_use]
    pub fn find_team(&self, name: &TeamName) -> Option<TeamIx> {
        self.team_names.find(name)
    }

    /// The bucket of a user in a group at a level. There is no right for `AUTO`; take the fixed levels one by one.
    pub fn bucket(&mut self, user: &UserName, group: &GroupName, level: Priority) -> BucketIx {
        let (user, group) = (self.user(user), self.group(group));
        if let Some(&bucket) = self.bucket_of.get(&(user, group, level)) {
            return bucket;
        }
        let chain = match self.chain_of.get(&(user, group)) {
            Some(&chain) => chain,
            None => {
                let chain = u32::try_from(self.chains.len()).expect("fewer than 2^32 chains fit into memory");
                self.chains.push(self.chain(user, group));
                self.chain_of.insert((user, group), chain);
                chain
            }
        };
        let right = self.rows.resolve(user, &self.memberships[user.at()], group, level);
        let entry = Entry {
            user,
            group,
            level,
            chain,
            version: self.version_of(user),
            right,
            used: [Tally::ZERO; 5],
            by_model: SmallVec::new(),
        };
        let bucket = BucketIx::of(u32::try_from(self.buckets.len()).expect("fewer than 2^32 buckets fit into memory"));
        self.buckets.push(entry);
        self.bucket_of.insert((user, group, level), bucket);
        bucket
    }

    /// The same by numbers.
    pub fn bucket_of(&mut self, user: UserIx, group: GroupIx, level: Priority) -> BucketIx {
        if let Some(&bucket) = self.bucket_of.get(&(user, group, level)) {
            return bucket;
        }
        let (user, group) = (self.users.name(user).clone(), self.groups.name(group).clone());
        self.bucket(&user, &group, level)
    }

    /// The bucket of a user in a group at a level, if it was ever asked for.
    #[must_use]
    pub fn find_bucket(&self, user: &UserName, group: &GroupName, level: Priority) -> Option<BucketIx> {
        let (user, group) = (self.users.find(user)?, self.groups.find(group)?);
        self.bucket_of.get(&(user, group, level)).copied()
    }

    /// What a user may hold in a group at a level within right, models apart.
    #[must_use]
    pub fn allowance_of(&self, user: &UserName, group: &GroupName, level: Priority) -> Allowance {
        self.find_bucket(user, group, level).map_or(Allowance::NOTHING, |bucket| self.allowance(bucket))
    }

    /// The greatest allowance over all levels of a bucket's user and group, which bounds what an AUTO task can ever
    /// have; of nodes and of devices each on its own. It is worked out anew with each call.
    #[must_use]
    pub fn best_allowance(&self, bucket: BucketIx) -> Allowance {
        let entry = &self.buckets[bucket.at()];
        let teams = &self.memberships[entry.user.at()];
        Priority::LEVELS
            .iter()
            .map(|&level| self.rows.resolve(entry.user, teams, entry.group, level).allowance)
            .fold(Allowance::NOTHING, Allowance::max)
    }

    /// Where a row stands in the index.
    fn index_of(&mut self, key: &RightKey) -> Result<(Scope, Option<Bound>), RightError> {
        let whom = match (&key.user, &key.team) {
            (Some(_), Some(_)) => return Err(RightError::UserAndTeam),
            (Some(user), None) => Whom::User(self.user(user)),
            (None, Some(team)) => Whom::Team(self.team_names.number(team)),
            (None, None) => Whom::Everyone,
        };
        if key.priority == Some(Priority::Auto) {
            return Err(RightError::Auto);
        }
        let group = key.group.as_ref().map(|group| self.groups.number(group));
        let bound = match (&key.model, key.cap) {
            (Some(model), cap) => Some(Bound::Model { model: self.models.number(model), cap }),
            (None, true) => Some(Bound::All),
            (None, false) => None,
        };
        Ok(((whom, group, key.priority), bound))
    }

    /// A user's own row changes the rights of his buckets alone.
    fn rows_changed(&mut self, (whom, ..): Scope) {
        match whom {
            Whom::User(user) => self.user_versions[user.at()] += 1,
            Whom::Team(_) | Whom::Everyone => self.version += 1,
        }
        self.unsettled = true;
    }

    /// Which version of the rows counts for a user; a later one is greater.
    pub(super) fn version_of(&self, user: UserIx) -> u64 {
        self.version + self.user_versions[user.at()]
    }

    pub(super) fn resolve(&self, entry: &Entry) -> Resolved {
        self.rows.resolve(entry.user, &self.memberships[entry.user.at()], entry.group, entry.level)
    }

    /// Makes a bucket's right that of the present rows.
    pub(super) fn refresh(&mut self, bucket: BucketIx) {
        let entry = &self.buckets[bucket.at()];
        let version = self.version_of(entry.user);
        if entry.version != version {
            let right = self.resolve(entry);
            let entry = &mut self.buckets[bucket.at()];
            entry.right = right;
            entry.version = version;
            self.mark(bucket);
        }
    }

    /// Makes every bucket's right that of the present rows, and finds those that hold too much.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        for number in 0..self.buckets.len() {
            let bucket = BucketIx::of(u32::try_from(number).expect("buckets are numbered by 32 bits"));
            self.refresh(bucket);
        }
    }

    /// Notes whether a bucket that is up to date holds too much.
    pub(super) fn mark(&mut self, bucket: BucketIx) {
        let entry = &self.buckets[bucket.at()];
        if entry.excess(&entry.right).is_some() {
            self.over.insert(bucket);
        } else if !self.over.is_empty() {
            self.over.remove(&bucket);
        }
    }

    /// All teams that a user is in, directly or not, by name.
    fn teams_of(&mut self, user: &UserName) -> SmallVec<[TeamIx; 2]> {
        let names: BTreeSet<&TeamName> = self.teams.of_user(user).flat_map(|team| self.teams.line(team)).collect();
        names.into_iter().map(|name| self.team_names.number(name)).collect()
    }

    /// The pools that a user's work in a group is charged to.
    fn chain(&self, user: UserIx, group: GroupIx) -> Chain {
        // Of every team that lists the user: the next pool, its own or above it.
        let lowest = self.teams.of_user(self.users.name(user)).filter_map(|team| {
            self.teams.line(team).find_map(|team| self.forest.find(self.team_names.find(team)?, group))
        });
        self.forest.chain(lowest)
    }

    /// Works out pools and memberships anew, and charges them with all that is used.
    fn rebuild(&mut self) {
        self.version += 1;
        self.unsettled = true;
        self.forest = Forest::default();
        let visits = self.teams.walk();
        let numbers: Vec<TeamIx> = visits.iter().map(|visit| self.team_names.number(visit.name)).collect();
        let pools = visits.iter().filter_map(|visit| visit.team).flat_map(|team| &team.pools);
        let groups: BTreeSet<&GroupName> = pools.map(|pool| &pool.group).collect();
        for name in groups {
            let group = self.groups.number(name);
            let mut hub: Option<(usize, PoolIx)> = None;
            // By visit: the pool that is the next, its own or above it.
            let mut next: Vec<Option<PoolIx>> = Vec::with_capacity(visits.len());
            for (visit, &team) in visits.iter().zip(&numbers) {
                let above = visit.parent.and_then(|parent| next[parent]);
                let pool = visit.team.and_then(|team| team.pools.iter().find(|pool| pool.group == *name));
                next.push(match pool {
                    None => above,
                    Some(pool) if above.is_some() || visit.parent.is_none() => {
                        Some(self.forest.add_pool(team, group, above, pool))
                    }
                    Some(pool) => {
                        let (_, parent) = hub.filter(|(root, _)| *root == visit.root).unwrap_or_else(|| {
                            let root = (visit.root, self.forest.add_hub(numbers[visit.root], group));
                            hub = Some(root);
                            root
                        });
                        Some(self.forest.add_pool(team, group, Some(parent), pool))
                    }
                });
            }
        }
        for number in 0..self.users.len() {
            let user = UserIx::of(u32::try_from(number).expect("users are numbered by 32 bits"));
            let name = self.users.name(user).clone();
            self.memberships[number] = self.teams_of(&name);
        }
        for (&(user, group), &chain) in &self.chain_of {
            self.chains[chain as usize] = self.chain(user, group);
        }
        for entry in &self.buckets {
            for part in [Part::Staying, Part::Leaving, Part::Promised, Part::Borrowed, Part::Returning] {
                let charge = entry.sum(part);
                if !charge.is_zero() {
                    self.forest.add(&self.chains[entry.chain as usize], part, charge);
                }
            }
        }
    }
}
