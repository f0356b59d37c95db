//! Whose share of the devices is how great: max-min fair division, in whole numbers.
//!
//! Everybody gets what they ask for, or the same as everybody else who gets less than they ask for (water filling:
//! D. Bertsekas, R. Gallager, Data Networks, 1992, 6.5.2). Nobody's share can grow but at the cost of one that is not greater.

use std::collections::BTreeMap;

use crate::model::UserName;

/// Divides `there` among users who ask for so much, all in milli-devices. What can not be divided evenly goes, one
/// milli-device each, to the first by name, so that all of it is given out that anybody wants.
pub(super) fn divide(there: u64, asked: &BTreeMap<UserName, u64>) -> BTreeMap<UserName, u64> {
    let mut order: Vec<(u64, &UserName)> = asked.iter().map(|(user, &asked)| (asked, user)).collect();
    order.sort_unstable();
    let mut shares = BTreeMap::new();
    let mut left = there;
    let mut rest = &order[..];
    // Who asks for no more than an even share gets it all, the most modest first.
    while let Some((&(asked, user), others)) = rest.split_first() {
        if asked > left / rest.len() as u64 {
            break;
        }
        left -= asked;
        shares.insert(user.clone(), asked);
        rest = others;
    }
    let mut users: Vec<&(u64, &UserName)> = rest.iter().collect();
    users.sort_unstable_by_key(|(_, user)| *user);
    let even = left / users.len().max(1) as u64;
    let mut odd = left % users.len().max(1) as u64;
    for (_, user) in users {
        shares.insert((*user).clone(), even + u64::from(odd > 0));
        odd = odd.saturating_sub(1);
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(amounts: &[u64]) -> BTreeMap<UserName, u64> {
        let user = |index| UserName::new(format!("u{index}")).expect("a name");
        amounts.iter().enumerate().map(|(index, &amount)| (user(index), amount)).collect()
    }

    #[test]
    fn the_modest_get_all_they_ask_and_the_others_the_same() {
        for (there, amounts, expected) in [
            (10, vec![2, 3, 9], vec![2, 3, 5]),
            (10, vec![9, 2, 9], vec![4, 2, 4]),
            (10, vec![9, 9, 9], vec![4, 3, 3]),
            (100, vec![9, 9, 9], vec![9, 9, 9]),
            (0, vec![1, 0], vec![0, 0]),
            (5, vec![], vec![]),
        ] {
            let shares = divide(there, &asked(&amounts));
            assert_eq!(shares.into_values().collect::<Vec<_>>(), expected, "{there} among {amounts:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_wasted_and_nobody_has_less_than_somebody_who_could_give(
            there in 0..10_000_u64, amounts in proptest::collection::vec(0..3_000_u64, 0..8),
        ) {
            let asked = asked(&amounts);
            let shares = divide(there, &asked);
            prop_assert_eq!(shares.values().sum::<u64>(), there.min(amounts.iter().sum()));
            for (user, &share) in &shares {
                prop_assert!(share <= asked[user]);
                let greatest = shares.values().max().copied().unwrap_or(0);
                prop_assert!(share == asked[user] || share + 1 >= greatest, "{shares:?} of {there} for {asked:?}");
            }
        }
    }
}
