//! Preemption ends and is stable: once nothing more comes to a cluster, and only time passes and the cluster answers, rounds
//! come to rest, and no two tasks take each other's place in turn unless a slice was over.
//!
//! `PROPTEST_CASES` sets how many clusters are tried, and `PROPTEST_RNG_SEED` which; by default they are always the same.
//! `HAI_STABILITY` sets the number of clusters itself.

#[path = "stability/clusters.rs"]
mod clusters;
#[path = "stability/judge.rs"]
mod judge;
mod support;

use proptest::test_runner::{Config, TestError, TestRunner};

/// By default 20,480 clusters in all.
const TIMES: u32 = 20;
const SHARES: u32 = 4;

#[expect(clippy::disallowed_methods, reason = "a variable asks for a longer run")]
fn config(share: u32) -> Config {
    let config = support::stories(20 + u64::from(share), TIMES);
    match std::env::var("HAI_STABILITY") {
        Ok(clusters) => {
            let clusters: u32 = clusters.parse().expect("HAI_STABILITY is a number of clusters");
            Config { cases: clusters.div_ceil(SHARES), ..config }
        }
        Err(_) => config,
    }
}

fn try_share(share: u32) {
    let seen = std::cell::RefCell::new(judge::Seen::default());
    let mut runner = TestRunner::new(config(share));
    let tried = runner.run(&clusters::any_cluster(), |cluster| judge::judge(&cluster, &mut seen.borrow_mut()));
    let seen = seen.into_inner();
    println!("{seen:?}");
    match tried {
        Ok(()) => seen.check(),
        Err(TestError::Fail(reason, cluster)) => panic!("{reason}\nThe smallest cluster that does so:\n{cluster}"),
        Err(error) => panic!("{error}"),
    }
}

/// One test for each share of the clusters, so that they are tried side by side.
#[test]
fn preemption_ends_and_is_stable_1() {
    try_share(1);
}

#[test]
fn preemption_ends_and_is_stable_2() {
    try_share(2);
}

#[test]
fn preemption_ends_and_is_stable_3() {
    try_share(3);
}

#[test]
fn preemption_ends_and_is_stable_4() {
    try_share(4);
}
