//! What each user was due of the devices and what he got.

use std::collections::BTreeMap;

use crate::model::{GroupName, Time, UserName};

/// A user in a group.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) user: UserName,
    pub(super) group: usize,
    /// Thousandths of devices that his unfinished tasks ask for, and that they hold.
    asks: u64,
    holds: u64,
    since: Time,
    asked_area: u128,
    /// Thousandths times milliseconds.
    pub(super) held: u128,
    pub(super) due: u128,
    /// Some task of it asks for devices.
    pub(super) asks_devices: bool,
    pub(super) tasks: u64,
}

/// A group of nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Thousandths of devices that can be given out.
    pub(super) capacity: u64,
    /// Users with unfinished tasks.
    pub(super) active: u64,
    members: Vec<usize>,
}

/// All accounts. What is due is worked out span by span: in each, the mean capacity of a group is divided among its users
/// **max-min fairly** by what their unfinished tasks ask for on average: nobody is due more than he asks for, and what is
/// left is shared equally by the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    pub(super) accounts: Vec<Account>,
    pub(super) groups: Vec<Group>,
    pub(super) group_names: Vec<GroupName>,
    by_name: BTreeMap<(UserName, GroupName), usize>,
    sampled: Time,
}

impl Shares {
    pub(super) fn new(start: Time) -> Self {
        Shares { sampled: start, ..Shares::default() }
    }

    pub(super) fn group(&mut self, name: &GroupName) -> usize {
        // There are few groups.
        if let Some(at) = self.group_names.iter().position(|known| known == name) {
            return at;
        }
        self.group_names.push(name.clone());
        self.groups.push(Group::default());
        self.groups.len() - 1
    }

    pub(super) fn account(&mut self, user: &UserName, group: &GroupName) -> usize {
        if let Some(&at) = self.by_name.get(&(user.clone(), group.clone())) {
            return at;
        }
        let at = self.accounts.len();
        let ix = self.group(group);
        self.groups[ix].members.push(at);
        self.by_name.insert((user.clone(), group.clone()), at);
        self.accounts.push(Account {
            user: user.clone(),
            group: ix,
            asks: 0,
            holds: 0,
            since: self.sampled,
            asked_area: 0,
            held: 0,
            due: 0,
            asks_devices: false,
            tasks: 0,
        });
        at
    }

    pub(super) fn asks(&mut self, account: usize, now: Time, more: u64, less: u64) {
        let account = &mut self.accounts[account];
        account.settle(now);
        let group = &mut self.groups[account.group];
        if more > 0 {
            group.active += u64::from(account.tasks == 0);
            account.tasks += 1;
        } else {
            account.tasks -= 1;
            group.active -= u64::from(account.tasks == 0);
        }
        account.asks = (account.asks + more).saturating_sub(less);
    }

    pub(super) fn holds(&mut self, account: usize, now: Time, more: u64, less: u64) {
        let account = &mut self.accounts[account];
        account.settle(now);
        account.holds = (account.holds + more).saturating_sub(less);
    }

    /// What was due and got until now does not count.
    pub(super) fn begin(&mut self, now: Time) {
        self.sample(now);
        for account in &mut self.accounts {
            account.settle(now);
            (account.held, account.due) = (0, 0);
        }
    }

    /// Divides what there was since the last time.
    pub(super) fn sample(&mut self, now: Time) {
        let elapsed = u128::from(now.since(self.sampled).as_ms());
        if elapsed == 0 {
            return;
        }
        self.sampled = now;
        let mut asked: Vec<(u128, usize)> = Vec::new();
        for group in &self.groups {
            asked.clear();
            for &member in &group.members {
                let account = &mut self.accounts[member];
                account.settle(now);
                if account.asked_area > 0 {
                    asked.push((std::mem::take(&mut account.asked_area), member));
                }
            }
            asked.sort_unstable();
            let mut left = u128::from(group.capacity) * elapsed;
            for (place, &(area, member)) in asked.iter().enumerate() {
                let share = left / (asked.len() - place) as u128;
                let gets = area.min(share);
                self.accounts[member].due += gets;
                left -= gets;
            }
        }
    }
}

impl Account {
    fn settle(&mut self, now: Time) {
        let elapsed = u128::from(now.since(self.since).as_ms());
        self.since = now.max(self.since);
        self.asked_area += u128::from(self.asks) * elapsed;
        self.held += u128::from(self.holds) * elapsed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_max_min_fair() {
        let mut shares = Shares::new(Time::ZERO);
        let group = GroupName::new("g").unwrap();
        let at = shares.group(&group);
        shares.groups[at].capacity = 10_000;
        let user = |name: &str| UserName::new(name).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| shares.account(&user(name), &group));
        // One asks for 2 devices, one for 20, one for 20 in the second half only, when it is active.
        shares.asks(a, Time::ZERO, 2000, 0);
        shares.asks(b, Time::ZERO, 20_000, 0);
        shares.holds(a, Time::ZERO, 1000, 0);
        shares.sample(Time::from_ms(100));
        assert_eq!([a, b, c].map(|at| shares.accounts[at].due / 100), [2000, 8000, 0]);
        shares.asks(c, Time::from_ms(100), 20_000, 0);
        shares.sample(Time::from_ms(200));
        assert_eq!([a, b, c].map(|at| shares.accounts[at].due / 100), [4000, 12_000, 4000]);
        assert_eq!(shares.accounts[a].held, 200_000);
        assert_eq!(shares.groups[at].active, 3);
    }
}
