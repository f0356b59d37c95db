//! What people submit.

use hai_core::engine::Policy;
use hai_core::model::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::ops::{GROUPS, USERS};

pub(crate) fn priority() -> impl Strategy<Value = Priority> {
    use Priority::*;
    select(vec![Normal, Normal, Normal, High, High, AboveNormal, AboveNormal, Low, ExtremeHigh, Auto])
}

/// Strict order deals rights before it knows of a card: it plays no claims on memory.
fn devices(policy: Policy) -> impl Strategy<Value = Devices> {
    let share = select(vec![1_u32, 250, 300, 500, 700, 1000]).prop_map(Devices::Share);
    let memory = select(vec![1_u64, 1024, 5000, 8192, 40 * 1024, 80 * 1024]).prop_map(Devices::Memory);
    let memory = if policy == Policy::Hai { memory.boxed() } else { share.clone().boxed() };
    prop_oneof![
        4 => Just(Devices::WholeNode),
        6 => (0..4_u32).prop_map(Devices::Count),
        2 => share,
        1 => memory,
    ]
}

fn request(policy: Policy) -> impl Strategy<Value = WorkerRequest> {
    let kind = prop_oneof![4 => Just((None, 0)), 1 => Just((Some("A"), 0)), 1 => Just((None, 40))];
    (devices(policy), kind, 0..5_u32, 0..5_u64).prop_map(|(devices, (model, device_gib), cores, gib)| WorkerRequest {
        models: model.into_iter().map(|name| ModelName::new(name).unwrap()).collect(),
        device_memory_mib: device_gib * 1024,
        cpu_milli: cores * 1000,
        memory_mib: gib * 1024,
        ..WorkerRequest::of(devices)
    })
}

/// What is not asked of most tasks.
#[derive(Clone, Debug)]
enum Wish {
    Interactive(u64, Option<u64>),
    Background,
    NotSuspendable,
    Limit(u64),
    Retries(u32, u64),
}

fn wish(policy: Policy) -> impl Strategy<Value = Wish> {
    // Strict order knows no work that only takes what nobody else wants.
    let background = if policy == Policy::Hai { Wish::Background } else { Wish::NotSuspendable };
    let idle = option::of(select(vec![5_u64, 30]));
    prop_oneof![
        3 => (select(vec![10_u64, 40, 100]), idle).prop_map(|(lease, idle)| Wish::Interactive(lease, idle)),
        3 => Just(background),
        2 => Just(Wish::NotSuspendable),
        2 => select(vec![5_u64, 30, 60]).prop_map(Wish::Limit),
        2 => (0..3_u32, select(vec![0_u64, 1, 10])).prop_map(|(limit, wait)| Wish::Retries(limit, wait)),
    ]
}

pub(crate) fn task(policy: Policy) -> impl Strategy<Value = TaskSpec> {
    let group = select(vec![0, 0, 0, 0, 0, 0, 1, 1, 1, 2]);
    let workers = select(vec![1, 1, 1, 2, 2, 3]);
    let rank = option::weighted(0.1, -5..50_i8);
    let wishes = prop_oneof![3 => Just(Vec::new()), 2 => vec(wish(policy), 1..3)];
    let plain = (select(USERS.to_vec()), group, priority(), rank, workers, request(policy), any::<u8>(), 0..4_u64)
        .prop_map(|(user, group, priority, rank, workers, request, luck, grace)| TaskSpec {
            custom_rank: rank.and_then(|rank| Rank::new(f64::from(rank))),
            workers,
            distinct_nodes: luck % 4 == 0,
            tolerates: if luck % 8 == 1 { ["spot".to_owned()].into() } else { Default::default() },
            grace: Grace { answer: Span::from_secs(grace), finish: Span::from_secs(2 * grace) },
            ..TaskSpec::new(
                "task",
                UserName::new(user).unwrap(),
                GroupName::new(GROUPS[group]).unwrap(),
                priority,
                request,
            )
        });
    (plain, wishes).prop_map(|(mut task, wishes)| {
        for wish in wishes {
            match wish {
                Wish::Interactive(lease, idle) => {
                    let (lease, idle_after) = (Span::from_secs(lease), idle.map(Span::from_secs));
                    task.kind = TaskKind::Interactive { lease, idle_after };
                }
                Wish::Background => task.kind = TaskKind::Background,
                Wish::NotSuspendable => task.suspendable = false,
                Wish::Limit(secs) => task.limit = Some(Span::from_secs(secs)),
                Wish::Retries(limit, wait) => {
                    task.retries = Some(Retries { limit, back_off: Span::from_secs(wait), avoid_nodes: false });
                }
            }
        }
        task
    })
}
