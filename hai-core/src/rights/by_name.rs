//! Rights and use by name, without teams and models: [`Rights`] for what is allowed, [`Ledger`] for what is used.

use std::collections::BTreeMap;

use super::Part;
use crate::model::{Allowance, Charge, GroupName, Priority, RightKey, RightRow, UserName};

/// What is allowed: rows with wildcards, of which the most specific counts.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    rows: BTreeMap<RightKey, Allowance>,
}

/// Whose use is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// The user.
    pub user: UserName,
    /// The group of nodes.
    pub group: GroupName,
    /// A fixed level.
    pub level: Priority,
}

/// What is used of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// By runs that stay.
    pub staying: Charge,
    /// By runs that were told to leave.
    pub leaving: Charge,
    /// By runs that are promised a place.
    pub promised: Charge,
}

/// What is used, by bucket. Work that borrows is not counted.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    used: BTreeMap<Bucket, Use>,
}

/// Whether a charge is within a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within, now.
    Now,
    /// Within once runs of the same bucket that are leaving have left.
    Later,
    /// Not while others of the bucket run.
    Used,
    /// Never.
    Never,
}

impl Rights {
    /// Gives or changes a right; false if that changes nothing.
    pub fn set(&mut self, row: RightRow) -> bool {
        self.rows.insert(row.key, row.allowance) != Some(row.allowance)
    }

    /// Takes a right away; false if there was none.
    pub fn remove(&mut self, key: &RightKey) -> bool {
        self.rows.remove(key).is_some()
    }

    /// All rows, by key.
    pub fn rows(&self) -> impl Iterator<Item = RightRow> + '_ {
        self.rows.iter().map(|(key, allowance)| RightRow { key: key.clone(), allowance: *allowance, expires: None })
    }

    /// What a user may hold in a group at a level: the most specific row that matches, or nothing.
    #[must_use]
    pub fn allowance(&self, user: &UserName, group: &GroupName, level: Priority) -> Allowance {
        for key_user in [Some(user), None] {
            for key_group in [Some(group), None] {
                for priority in [Some(level), None] {
                    let key = RightKey {
                        user: key_user.cloned(),
                        group: key_group.cloned(),
                        priority,
                        ..RightKey::default()
                    };
                    if let Some(allowance) = self.rows.get(&key) {
                        return *allowance;
                    }
                }
            }
        }
        Allowance::NOTHING
    }

    /// The greatest allowance over all levels, which bounds what an AUTO task can ever have.
    #[must_use]
    pub fn best_allowance(&self, user: &UserName, group: &GroupName) -> Allowance {
        Priority::LEVELS
            .iter()
            .map(|&level| self.allowance(user, group, level))
            .fold(Allowance::NOTHING, Allowance::max)
    }
}

impl Ledger {
    /// What is used of a bucket.
    #[must_use]
    pub fn used(&self, bucket: &Bucket) -> Use {
        self.used.get(bucket).copied().unwrap_or_default()
    }

    /// Adds to one part of a bucket's use.
    pub fn add(&mut self, bucket: &Bucket, part: Part, charge: Charge) {
        if let Some(slot) = self.used.entry(bucket.clone()).or_default().part(part) {
            *slot += charge;
        }
    }

    /// Takes from one part of a bucket's use.
    pub fn subtract(&mut self, bucket: &Bucket, part: Part, charge: Charge) {
        if let Some(slot) = self.used.entry(bucket.clone()).or_default().part(part) {
            debug_assert!(slot.nodes >= charge.nodes && slot.devices >= charge.devices, "{bucket:?} {part:?}");
            *slot = slot.minus(charge);
        }
        if self.used(bucket) == Use::default() {
            self.used.remove(bucket);
        }
    }

    /// Whether `charge` more would be within `allowance` of the bucket.
    #[must_use]
    pub fn standing(&self, bucket: &Bucket, allowance: Allowance, charge: Charge) -> Standing {
        let used = self.used(bucket);
        if !covers(allowance, &[charge]) {
            Standing::Never
        } else if !covers(allowance, &[charge, used.staying, used.promised]) {
            Standing::Used
        } else if !covers(allowance, &[charge, used.staying, used.promised, used.leaving]) {
            Standing::Later
        } else {
            Standing::Now
        }
    }

    /// All buckets that are used.
    pub fn buckets(&self) -> impl Iterator<Item = (&Bucket, &Use)> {
        self.used.iter()
    }
}

impl Use {
    fn part(&mut self, part: Part) -> Option<&mut Charge> {
        match part {
            Part::Staying => Some(&mut self.staying),
            Part::Leaving => Some(&mut self.leaving),
            Part::Promised => Some(&mut self.promised),
            Part::Borrowed | Part::Returning => None,
        }
    }

    /// What runs that stay or are promised use together.
    #[must_use]
    pub fn committed(&self) -> Charge {
        self.staying + self.promised
    }
}

/// Whether the charges together stay within the allowance.
#[must_use]
pub fn covers(allowance: Allowance, charges: &[Charge]) -> bool {
    allowance.covers(charges.iter().copied().sum())
}
