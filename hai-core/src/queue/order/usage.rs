//! What users have used, where what is long past counts less.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::decay;
use crate::model::named::{Named, Renamer};
use crate::model::{Amount, GroupName, Span, Time, UserName};

/// Fractional bits of what is summed up: milli-device-milliseconds.
const BITS: u32 = 32;

/// The number of a (user, group) in one [`Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountIx(u32);

/// What users have used of each group, in device-milliseconds that count half after each half-life.
///
/// Tell it when somebody begins and ends to [`hold`](Usage::hold) devices; in between, use goes on by itself. Times of
/// one account should not run backwards: one before the last counts as the last.
///
/// # Exactness
/// Everything is whole numbers, so that all machines come to the same. Each time that something is told it may be off
/// by 2^-56 of what stood there, 2^-35 of what came in since the last time, and 2^-31 milli-device-milliseconds. Sums
/// stop at the greatest instead of overflowing, which is beyond a million devices for a billion years; from then on
/// they are only good for saying that it is too much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Usage {
    half_life: Span,
    numbers: BTreeMap<(UserName, GroupName), AccountIx>,
    accounts: Vec<Account>,
}

/// One account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Account {
    /// At `at`, in 2^-[`BITS`] milli-device-milliseconds.
    used: u128,
    /// In milli-devices.
    held: u128,
    at: Time,
}

/// One account, to be written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UsageRow {
    /// The user.
    pub user: UserName,
    /// The group.
    pub group: GroupName,
    /// What was used by `at`, in 2^-32 milli-device-milliseconds: the high and the low 64 bits.
    pub used: [u64; 2],
    /// What is held since, in milli-devices: the high and the low 64 bits.
    pub held: [u64; 2],
    /// When that was so.
    pub at: Time,
}

#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Saved {
    half_life: Span,
    /// By number.
    accounts: Vec<UsageRow>,
}

impl Usage {
    /// Nothing used yet. With a half-life of [`Span::MAX`] all counts for ever; with none at all, nothing ever does.
    #[must_use]
    pub fn new(half_life: Span) -> Self {
        Usage { half_life, numbers: BTreeMap::new(), accounts: Vec::new() }
    }

    /// After how long use counts half.
    #[must_use]
    pub fn half_life(&self) -> Span {
        self.half_life
    }

    /// Changes after how long use counts half, from now on.
    pub fn set_half_life(&mut self, half_life: Span, now: Time) {
        // To be told the same again leaves no trace: every summing up rounds.
        if half_life == self.half_life {
            return;
        }
        for account in &mut self.accounts {
            *account = account.settled(self.half_life, now);
        }
        self.half_life = half_life;
    }

    /// The account of a user in a group.
    pub fn account(&mut self, user: &UserName, group: &GroupName) -> AccountIx {
        let next = AccountIx(u32::try_from(self.accounts.len()).expect("fewer than 2^32 accounts fit into memory"));
        let number = *self.numbers.entry((user.clone(), group.clone())).or_insert(next);
        if number == next {
            self.accounts.push(Account { at: Time::from_ms(i64::MIN), ..Account::default() });
        }
        number
    }

    /// From now on so many more devices are held.
    pub fn hold(&mut self, account: AccountIx, devices: Amount, now: Time) {
        let account = self.settle(account, now);
        account.held = account.held.saturating_add(devices.as_milli().into());
    }

    /// From now on so many fewer devices are held.
    pub fn release(&mut self, account: AccountIx, devices: Amount, now: Time) {
        let account = self.settle(account, now);
        account.held = account.held.saturating_sub(devices.as_milli().into());
    }

    /// What was used by now, in whole device-milliseconds.
    #[must_use]
    pub fn used(&self, account: AccountIx, now: Time) -> u64 {
        u64::try_from((self.exact(account, now) >> BITS) / 1000).unwrap_or(u64::MAX)
    }

    /// What was used by now, in 2^-[`BITS`] milli-device-milliseconds.
    pub(super) fn exact(&self, account: AccountIx, now: Time) -> u128 {
        self.accounts[account.0 as usize].settled(self.half_life, now).used
    }

    fn settle(&mut self, account: AccountIx, now: Time) -> &mut Account {
        let account = &mut self.accounts[account.0 as usize];
        *account = account.settled(self.half_life, now);
        account
    }
}

impl Named for Usage {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        self.numbers = std::mem::take(&mut self.numbers)
            .into_iter()
            .map(|((mut user, mut group), number)| {
                user.each_name(renamer);
                group.each_name(renamer);
                ((user, group), number)
            })
            .collect();
    }
}

impl Account {
    fn settled(self, half_life: Span, now: Time) -> Account {
        // The first time that is told may be any; before it nothing was used.
        if now <= self.at || (self.used == 0 && self.held == 0) {
            return Account { at: self.at.max(now), ..self };
        }
        let (elapsed, half_life) = (now.since(self.at).as_ms(), half_life.as_ms());
        let kept = decay::times(self.used, decay::factor(elapsed, half_life));
        let came = match self.held {
            0 => 0,
            held => held.saturating_mul(decay::area(elapsed, half_life)),
        };
        Account { used: kept.saturating_add(came), at: now, ..self }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves are taken on purpose")]
fn halves(value: u128) -> [u64; 2] {
    [(value >> 64) as u64, value as u64]
}

fn whole([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

impl From<Usage> for Saved {
    fn from(usage: Usage) -> Saved {
        let mut names: Vec<_> = usage.numbers.into_iter().map(|(name, number)| (number, name)).collect();
        names.sort_unstable();
        let rows = names.into_iter().zip(usage.accounts).map(|((_, (user, group)), account)| UsageRow {
            user,
            group,
            used: halves(account.used),
            held: halves(account.held),
            at: account.at,
        });
        Saved { half_life: usage.half_life, accounts: rows.collect() }
    }
}

impl TryFrom<Saved> for Usage {
    type Error = String;
    fn try_from(saved: Saved) -> Result<Usage, String> {
        let mut usage = Usage::new(saved.half_life);
        for row in saved.accounts {
            let known = usage.accounts.len();
            let number = usage.account(&row.user, &row.group);
            if usage.accounts.len() == known {
                return Err(format!("{} has two accounts in {}", row.user, row.group));
            }
            let account = Account { used: whole(row.used), held: whole(row.held), at: row.at };
            usage.accounts[number.0 as usize] = account;
        }
        Ok(usage)
    }
}
