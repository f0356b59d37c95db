//! What operators set: how the engine decides, and who may hold how much.

use std::collections::BTreeMap;

use hai_core::engine::{Churn, EngineConfig, Policy, Timing};
use hai_core::model::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::ops::{GROUPS, USERS};

pub(crate) fn config(policy: Policy) -> impl Strategy<Value = EngineConfig> {
    let churn = option::weighted(0.3, Just(Churn { free: 1, every: Span::from_secs(30) }));
    let cut_grace = select(vec![0_u64, 0, 20]);
    (any::<bool>(), select(vec![0_u64, 20]), select(vec![0_u32, 0, 3]), churn, weights(policy), cut_grace).prop_map(
        move |(borrow, protected, slice_swaps, churn, weights, cut_grace)| EngineConfig {
            policy,
            borrow: borrow && policy == Policy::Hai,
            timing: Timing {
                protected: Span::from_secs(protected),
                slice: Span::from_secs(60),
                demote_after: Span::from_secs(120),
            },
            slice_swaps,
            weights,
            cut_grace: Span::from_secs(cut_grace),
            churn: churn.filter(|_| policy == Policy::Hai),
            ..EngineConfig::default()
        },
    )
}

pub(crate) fn rights(policy: Policy) -> impl Strategy<Value = Vec<RightRow>> {
    let everything = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
    let alike = (1..5_u32, 1..5_u32).prop_map(|(nodes, devices)| {
        let (nodes, devices) = (Limit::at_most(nodes), Limit::at_most(devices));
        vec![RightRow::new(RightKey::default(), Allowance { nodes, devices })]
    });
    prop_oneof![
        2 => Just(vec![everything]),
        2 => alike,
        2 => vec(right(policy), 1..6),
    ]
}

/// Strict order knows nothing of models and teams.
pub(crate) fn right(policy: Policy) -> impl Strategy<Value = RightRow> {
    let limit = || prop_oneof![3 => (0..5_u32).prop_map(Limit::at_most), 1 => Just(Limit::Unlimited)];
    let user = option::weighted(0.7, select(USERS.to_vec()));
    let group = option::weighted(0.5, select(GROUPS[..2].to_vec()));
    let level = option::weighted(0.4, select(Priority::LEVELS.to_vec()));
    let hai = policy == Policy::Hai;
    let team = option::weighted(0.2, team_name());
    let model = option::weighted(0.15, select(vec!["A", "B"]));
    let whose =
        (user, team, prop::bool::weighted(0.95)).prop_map(move |(user, team, sane)| match team.filter(|_| hai) {
            Some(team) if sane => (None, Some(team)),
            team => (user, team),
        });
    let bound = (model, prop::bool::weighted(0.15));
    (whose, group, level, bound, limit(), limit()).prop_map(
        move |((user, team), group, priority, bound, nodes, devices)| {
            let key = RightKey {
                user: user.map(|name| UserName::new(name).unwrap()),
                team,
                model: bound.0.filter(|_| hai).map(|name| ModelName::new(name).unwrap()),
                cap: bound.1,
                group: group.map(|name| GroupName::new(name).unwrap()),
                priority,
            };
            RightRow::new(key, Allowance { nodes, devices })
        },
    )
}

/// Strict order counts every device in full.
fn weights(policy: Policy) -> impl Strategy<Value = BTreeMap<ModelName, Amount>> {
    let model = |name| ModelName::new(name).unwrap();
    let none = Just(BTreeMap::new());
    if policy == Policy::HaiFifo {
        return none.boxed();
    }
    let some = select(vec![
        BTreeMap::from([(model("B"), Amount::whole(2))]),
        BTreeMap::from([(model("A"), Amount::from_milli(500)), (model("B"), Amount::from_milli(1500))]),
        BTreeMap::from([(model("A"), Amount::from_milli(333))]),
    ]);
    prop_oneof![2 => none, 1 => some].boxed()
}

fn team_name() -> impl Strategy<Value = TeamName> {
    select(vec!["t0", "t1", "t2"]).prop_map(|name| TeamName::new(name).unwrap())
}

/// Some are parts of themselves, or have two pools in one group, and are refused.
pub(crate) fn team() -> impl Strategy<Value = Team> {
    let limit = || prop_oneof![3 => (0..5_u32).prop_map(Limit::at_most), 1 => Just(Limit::Unlimited)];
    let allowance = move || (limit(), limit()).prop_map(|(nodes, devices)| Allowance { nodes, devices });
    let lent = move || prop_oneof![1 => Just(Allowance::UNLIMITED), 1 => allowance()];
    let pool = (select(vec![0, 0, 0, 1]), allowance(), lent(), lent()).prop_map(|(group, own, borrow, lend)| Pool {
        group: GroupName::new(GROUPS[group]).unwrap(),
        own,
        borrow,
        lend,
    });
    let members = proptest::collection::btree_set(select(USERS.to_vec()), 0..3);
    (team_name(), option::weighted(0.5, team_name()), members, vec(pool, 0..3)).prop_map(
        |(name, parent, members, pools)| Team {
            name,
            parent,
            members: members.into_iter().map(|name| UserName::new(name).unwrap()).collect(),
            pools,
        },
    )
}

pub(crate) fn teams(policy: Policy) -> impl Strategy<Value = Vec<Team>> {
    if policy == Policy::Hai {
        prop_oneof![1 => Just(Vec::new()), 1 => vec(team(), 1..4)].boxed()
    } else {
        Just(Vec::new()).boxed()
    }
}
