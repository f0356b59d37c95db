//! Where more is used than is allowed, after rights were cut or expired, or lenders took back what is theirs.

use super::*;

/// Where more is used than is allowed. Who leaves already is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Work within right is beyond what the bucket's rows allow. Some of it has to leave, or to go on as borrowed.
    Bucket {
        /// The bucket.
        bucket: BucketIx,
        /// The model that there is too much of; `None` for all work of the bucket.
        model: Option<ModelIx>,
        /// How much is too much.
        by: Charge,
    },
    /// Work within right is beyond a team's own. Some of what is charged to it has to leave, or to go on as borrowed.
    Own {
        /// The team.
        team: TeamIx,
        /// The group.
        group: GroupIx,
        /// How much is too much.
        by: Charge,
    },
    /// Borrowed work is beyond what is lent. Some of what is borrowed and charged to this team directly has to leave.
    Borrowed {
        /// The part of the team that holds too much, or that team itself, where giving back helps. Parts go first, of
        /// several the one that is furthest beyond its own.
        team: TeamIx,
        /// The group.
        group: GroupIx,
        /// How much is too much.
        by: Charge,
    },
}

impl Over {
    /// Whether both are about the same: the same bucket and model, or the same team and group in the same way.
    #[must_use]
    pub fn is_same_place(&self, other: &Over) -> bool {
        match (self, other) {
            (Over::Bucket { bucket, model, .. }, Over::Bucket { bucket: of, model: of_model, .. }) => {
                (bucket, model) == (of, of_model)
            }
            (Over::Own { team, group, .. }, Over::Own { team: of, group: of_group, .. })
            | (Over::Borrowed { team, group, .. }, Over::Borrowed { team: of, group: of_group, .. }) => {
                (team, group) == (of, of_group)
            }
            _ => false,
        }
    }
}

impl Book {
    /// Where more is used than is allowed. Nothing is allocated where that is nowhere.
    ///
    /// Buckets first, by user, group and level; then teams' own, by group, each team after its parts; then what is
    /// borrowed, in the same order. Taking back from one may cure others: take back one run for the first, and ask
    /// again. Where only the reserves of others are too much, nothing is listed, since no run could cure it; and a run
    /// that uses nothing of what there is too much of cures nothing.
    pub fn over(&mut self) -> Vec<Over> {
        self.settle();
        let mut over = Vec::new();
        let mut buckets: Vec<BucketIx> = self.over.iter().copied().collect();
        buckets.sort_unstable_by_key(|&bucket| self.bucket_name(bucket));
        for bucket in buckets {
            let entry = &self.buckets[bucket.at()];
            if let Some((model, by)) = entry.excess(&entry.right) {
                over.push(Over::Bucket { bucket, model, by: by.charge() });
            }
        }
        let mut pools: Vec<PoolIx> = self.forest.over().collect();
        // Stable: in one group those with parts stay behind their parts.
        pools.sort_by_key(|&pool| self.groups.name(self.forest.pool(pool).group));
        for &ix in &pools {
            let pool = self.forest.pool(ix);
            let by = pool.beyond_own();
            if !by.is_zero() {
                over.push(Over::Own { team: pool.team, group: pool.group, by: by.charge() });
            }
        }
        for &ix in &pools {
            if let Some((borrower, by)) = self.forest.borrower(ix) {
                let pool = self.forest.pool(borrower);
                over.push(Over::Borrowed { team: pool.team, group: pool.group, by: by.charge() });
            }
        }
        over
    }
}
