//! Who waits behind whom, and for how long.

use hai_core::model::Priority::*;
use hai_core::model::*;

use crate::support::{Lab, node, secs};
use crate::{NOTHING, devices, task};

/// When `head`, which needs both A100s, starts; behind it wait, or do not, tasks that need none of them.
fn head_starts(behind: bool) -> u64 {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("n0").devices_of(2, "A100", 80));
    lab.node(node("n1").devices_of(2, "RTX", 24));
    lab.submit(task("busy").prio(ExtremeHigh).models(&["A100"]));
    lab.settle();
    lab.submit(task("head").user("v").prio(High).models(&["A100"]).workers(2).distinct().cores(1));
    lab.submit(task("head2").user("v").prio(High).models(&["A100"]).devices(2).cores(1));
    lab.settle();
    if behind {
        lab.submit(task("cpu").devices(0).cores(8));
        lab.submit(task("other").models(&["RTX"]).cores(8));
        assert_eq!(lab.round(), ["start cpu", "start other"]);
    }
    lab.pass(secs(500));
    assert!(matches!(lab.why("head2"), Verdict::NoRoom { .. }), "{:?}", lab.why("head2"));
    assert!(matches!(lab.why("head"), Verdict::NeverFits { .. }), "there is one node with A100s");
    lab.finish("busy");
    lab.pass(secs(500));
    lab.when("start head2")[0]
}

/// KU#8309, HQ#848: the best task waits for devices that are taken. Tasks on processors alone and for another model start
/// behind it, and it starts no later for that.
#[test]
fn a_blocked_head_holds_up_only_who_needs_the_same() {
    assert_eq!(head_starts(true), head_starts(false));
}

/// KU#14477: 536 tasks of one queue and as many devices, all free. They start in one round, not one in each.
#[test]
fn a_full_queue_drains_at_once_into_free_devices() {
    let mut lab = Lab::hai(|_| {}).with_nodes(67);
    for index in 0..536 {
        lab.submit(task(&format!("t{index}")));
    }
    assert_eq!(lab.round().len(), 536);
    assert_eq!(lab.holders().len(), 536);
}

/// KU#9715, KEP-9694: ten thousand tasks that can not fit now stand before one that can. It is found in the same round.
#[test]
fn one_that_fits_is_found_behind_ten_thousand_that_do_not() {
    let mut lab = Lab::hai(|_| {}).with_nodes(2);
    lab.submit(task("fixed").user("w").prio(ExtremeHigh).devices(1));
    lab.settle();
    for index in 0..10_000 {
        // Of many owners, so that they are not all of one shape.
        lab.submit(task(&format!("big{index}")).user(&format!("u{}", index % 100)).prio(High).nodes(2));
    }
    assert_eq!(lab.round(), NOTHING);
    lab.submit(task("small").prio(Low).devices(8));
    assert_eq!(lab.round(), ["start small"]);
    assert!(matches!(lab.why("big0"), Verdict::NoRoom { .. }), "{:?}", lab.why("big0"));
}

/// Four nodes of eight devices, an endless stream of tasks for one device and five minutes that can not be suspended, and
/// from second 30 on a gang that needs all 32 devices. When it starts, if it does within four hours, and the latest time
/// that was named for that.
fn stream_against_gang(reserve_after: Option<Span>) -> (Option<u64>, Option<u64>) {
    let mut lab = Lab::hai(|config| config.reserve_after = reserve_after).with_nodes(4);
    lab.leave_after = secs(1);
    let mut running: Vec<(u64, String)> = Vec::new();
    let (mut next, mut promised_by) = (0, None);
    for step in 0..480 {
        if step == 1 {
            lab.submit(task("gang").user("v").workers(4).devices(8));
        }
        // A tenth of them at a time, so that they never all end together.
        for _ in 0..4 {
            let name = format!("s{next}");
            lab.submit(task(&name).user("stream").not_suspendable().limit(secs(300)));
            next += 1;
        }
        for line in lab.pass(secs(30)) {
            match line.strip_prefix("start ") {
                Some("gang") => return (Some(lab.second()), promised_by),
                Some(name) => running.push((lab.second(), name.to_owned())),
                None => {}
            }
        }
        if let Some(Verdict::Reserved { by: Some(by), .. }) = (step > 0).then(|| lab.verdict("gang")).flatten() {
            promised_by.get_or_insert(by.since(Time::ZERO).as_ms() / 1000);
        }
        let now = lab.second();
        let (over, rest): (Vec<_>, Vec<_>) = running.into_iter().partition(|(since, _)| now - since >= 270);
        over.iter().for_each(|(_, name)| lab.finish(name));
        running = rest;
    }
    (None, promised_by)
}

/// KA#1969: smaller tasks that come without end would starve a gang. Once it has waited for long enough nodes are kept
/// for it, with the latest time of its start, which holds.
#[test]
fn a_gang_in_a_stream_of_small_tasks_starts_within_the_named_bound() {
    let (started, by) = stream_against_gang(Some(secs(600)));
    let (started, by) = (started.expect("the gang starts"), by.expect("a bound was named"));
    // The stream is looked at every 30 seconds.
    assert!(started <= by + 30, "it started at {started}, and {by} was named");
    assert!(by <= 30 + 600 + 300 + 60, "{by}");
    assert_eq!(stream_against_gang(None), (None, None), "it would have starved");
}

/// KA#2075: every start of one task is refused, as by a webhook. It shows what was said, is tried again later and later,
/// and others have the place meanwhile.
#[test]
fn one_whose_starts_are_all_refused_holds_up_nobody() {
    let mut lab = devices(1);
    lab.start_after = None;
    lab.submit(task("bad").prio(ExtremeHigh));
    for index in 0..5 {
        let said = lab.pass(secs(600));
        assert_eq!(said.last().map(String::as_str), Some("start bad"), "{said:?}");
        lab.refuse("bad", 0, RefusalCause::Task, "admission webhook denied the request: no label `team`");
        let name = format!("t{index}");
        lab.submit(task(&name));
        assert_eq!(lab.round(), [format!("start {name}")]);
        match lab.why("bad") {
            Verdict::BackOff { until, reason } => {
                assert!(until > lab.now);
                assert!(reason.contains("no label `team`"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        lab.tell(Fact::WorkerStarted { run: lab.run_of(&name), rank: 0 });
        lab.finish(&name);
    }
}

/// When a task for all four nodes starts, behind a run on two of them that ends at second 1000; with, or without, smaller
/// and lesser tasks that fill the other two.
fn big_starts(small: bool) -> u64 {
    let mut lab = Lab::hai(|_| {}).with_nodes(4);
    lab.submit(task("busy").prio(ExtremeHigh).nodes(2));
    lab.settle();
    lab.submit(task("big").user("v").prio(High).nodes(4));
    lab.settle();
    if small {
        lab.submit(task("small0").prio(Low).nodes(1));
        lab.submit(task("small1").prio(Low).nodes(1));
        assert_eq!(lab.round(), ["start small0", "start small1"]);
    }
    lab.pass(secs(1000));
    lab.finish("busy");
    lab.pass(secs(1000));
    lab.when("start big")[0]
}

/// The assigner of the open-source HAI platform cut the queue at the first task that did not fit, so that nodes stood idle.
/// Smaller and lesser tasks fill the hole in front of a big one, which is late by no more than the grace they have to leave.
#[test]
fn smaller_tasks_fill_the_hole_in_front_of_a_big_one() {
    assert_eq!(big_starts(false), 1000);
    let grace = Grace::default().total().as_ms() / 1000;
    assert!(big_starts(true) <= 1000 + grace);
}
