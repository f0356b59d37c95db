//! Which rows and pools a bucket's right comes from, for those who explain it.

use super::*;

/// One pool that a bucket's use is charged to.
#[derive(Clone, Debug)]
pub(crate) struct PoolLook {
    pub(crate) team: TeamName,
    pub(crate) own: Allowance,
    pub(crate) borrow: Allowance,
    pub(crate) lend: Allowance,
    pub(crate) used: PoolUse,
}

impl Book {
    /// The rows that give a bucket its right: those of the most specific scope that has any. Of several teams' rows all
    /// that are equally specific.
    pub(crate) fn rows_that_give(&self, bucket: BucketIx) -> Vec<RightRow> {
        let (user, group, level) = self.bucket_name(bucket);
        let teams = self.team_names_of(bucket);
        // The more specific, the greater; teams' rows are equally specific.
        let specific = |key: &RightKey| {
            let whom = if key.user.is_some() { 2 } else { i32::from(key.team.is_some()) };
            (whom, key.group.is_some(), key.priority.is_some())
        };
        let gives = |row: &RightRow| row.key.model.is_none() && !row.key.cap;
        let rows = || self.rows().filter(|row| gives(row) && matches(&row.key, user, &teams, group, level));
        let best = rows().map(|row| specific(&row.key)).max();
        rows().filter(|row| Some(specific(&row.key)) == best).collect()
    }

    /// The caps and the rows for a model that bound what a bucket may hold.
    pub(crate) fn rows_that_bound(&self, bucket: BucketIx) -> Vec<RightRow> {
        let (user, group, level) = self.bucket_name(bucket);
        let teams = self.team_names_of(bucket);
        let bounds = |row: &RightRow| row.key.model.is_some() || row.key.cap;
        self.rows().filter(|row| bounds(row) && matches(&row.key, user, &teams, group, level)).collect()
    }

    /// What a bucket may hold of single models, what it holds of them within right, and what of that is leaving.
    pub(crate) fn models_of(&self, bucket: BucketIx) -> Vec<(ModelName, Allowance, Charge, Charge)> {
        let entry = &self.buckets[bucket.at()];
        let look = |(model, bound): (ModelIx, Allowance)| {
            let used = entry.of_model(model);
            (self.model_name(model).clone(), bound, used.committed.charge(), used.leaving.charge())
        };
        self.model_bounds(bucket).into_iter().map(look).collect()
    }

    /// The pools that a bucket's use is charged to, each before the next above it.
    pub(crate) fn pools_of(&self, bucket: BucketIx) -> Vec<PoolLook> {
        let entry = &self.buckets[bucket.at()];
        let group = self.groups.name(entry.group);
        let look = |team: TeamIx| {
            let used = self.pool_use(team, entry.group)?;
            let name = self.team_name(team);
            let known = self.teams().find(|known| known.name == *name)?;
            let pool = known.pools.iter().find(|pool| pool.group == *group)?;
            Some(PoolLook { team: name.clone(), own: pool.own, borrow: pool.borrow, lend: pool.lend, used })
        };
        let chain = &self.chains[entry.chain as usize];
        let bounding = chain.iter().map(|link| self.forest.pool(link.pool)).filter(|pool| pool.entitled().is_some());
        bounding.filter_map(|pool| look(pool.team)).collect()
    }

    /// What a bill uses of the models, by name.
    pub(crate) fn models_in(&self, bill: &Bill) -> Vec<(ModelName, Charge)> {
        bill.by_model.iter().map(|&(model, charge)| (self.model_name(model).clone(), charge)).collect()
    }

    fn team_names_of(&self, bucket: BucketIx) -> Vec<&TeamName> {
        let user = self.buckets[bucket.at()].user;
        self.memberships[user.at()].iter().map(|&team| self.team_name(team)).collect()
    }
}

fn matches(key: &RightKey, user: &UserName, teams: &[&TeamName], group: &GroupName, level: Priority) -> bool {
    key.user.as_ref().is_none_or(|of| of == user)
        && key.team.as_ref().is_none_or(|of| teams.contains(&of))
        && key.group.as_ref().is_none_or(|of| of == group)
        && key.priority.is_none_or(|of| of == level)
}
