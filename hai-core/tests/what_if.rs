//! What a change would do is told before it is made, and is what it then does.

mod support;

use std::collections::BTreeSet;

use hai_core::engine::{Engine, EngineConfig, Policy};
use hai_core::explain::{Change, Hold, OutlookKind, Preview, what_if};
use hai_core::model::Priority::*;
use hai_core::model::*;
use proptest::prelude::*;
use support::{Lab, NodeBuilder, TaskBuilder, group, node, secs, user};

const NOTHING: [&str; 0] = [];

fn task(name: &str) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1)
}

fn ask(lab: &Lab, changes: &[Change]) -> Preview {
    let before = serde_json::to_string(&lab.engine.snapshot()).unwrap();
    let preview = what_if(&lab.engine, lab.now, changes).expect("it can be done");
    assert_eq!(serde_json::to_string(&lab.engine.snapshot()).unwrap(), before, "the live engine was changed");
    assert!(preview.before.at_rest && preview.after.at_rest);
    preview
}

fn tell(fact: Fact) -> Change {
    Change::Tell(Box::new(fact))
}

fn started(preview: &Preview) -> Vec<TaskId> {
    preview.starts.iter().map(|start| start.task).collect()
}

fn left(preview: &Preview) -> Vec<TaskId> {
    preview.leaves.iter().map(|leave| leave.task).collect()
}

#[test]
fn a_submission_that_suspends_others_says_whom_and_what_they_lose() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    lab.submit(task("old").user("v"));
    lab.settle();
    lab.pass(secs(100));
    lab.submit(task("young").user("v"));
    lab.settle();
    lab.pass(secs(10));
    let preview = ask(&lab, &[Change::Submit(Box::new(task("new").prio(High).spec()))]);
    assert_eq!(left(&preview), [lab.id("young")], "it lost the least");
    // Ten seconds of work and a minute for the next start, on one device.
    assert_eq!(preview.leaves[0].lost, 70_000);
    assert_eq!(preview.leaves[0].reason, YieldReason::For { task: TaskId(3) });
    let OutlookKind::Starts { start } = &preview.outlooks[0].kind else { panic!("{:?}", preview.outlooks) };
    assert_eq!((start.task, start.level, start.hold), (TaskId(3), High, Hold::Right));
    assert_eq!(start.after, [lab.id("young")]);
    let share = |name: &str| preview.shares.iter().find(|share| share.user == user(name)).expect("a share");
    assert_eq!((share("v").before.right, share("v").after.right), (Amount::whole(2), Amount::whole(1)));
    assert_eq!((share("u").before.right, share("u").after.right), (Amount::default(), Amount::whole(1)));
}

#[test]
fn a_submission_that_waits_or_never_runs_is_told_so() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("holder").prio(High));
    lab.settle();
    let outlook = |spec: TaskBuilder| ask(&lab, &[Change::Submit(Box::new(spec.spec()))]).outlooks.remove(0).kind;
    assert!(matches!(outlook(task("low")), OutlookKind::Waits { verdict: Verdict::NoRoom { .. } }));
    assert!(matches!(outlook(task("large").devices(2)), OutlookKind::Never { verdict: Verdict::NeverFits { .. } }));
    let nowhere = OutlookKind::Never { verdict: Verdict::NoSuchGroup { group: group("nowhere") } };
    assert_eq!(outlook(task("lost").group("nowhere")), nowhere);
}

#[test]
fn what_would_have_happened_anyway_is_not_put_down_to_the_change() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    // Nobody has looked at it yet: it starts whatever else is done.
    lab.submit(task("first"));
    let preview = ask(&lab, &[Change::Submit(Box::new(task("second").spec()))]);
    assert_eq!(started(&preview), [TaskId(2)]);
    assert_eq!((preview.before.starts.len(), preview.after.starts.len()), (1, 2));
}

#[test]
fn ending_a_task_shows_who_takes_its_place() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("runs"));
    lab.submit(task("waits"));
    lab.settle();
    let preview = ask(&lab, &[tell(Fact::Cancelled { task: lab.id("runs") })]);
    assert_eq!(preview.stops.iter().map(|stop| stop.task).collect::<Vec<_>>(), [lab.id("runs")]);
    assert_eq!(started(&preview), [lab.id("waits")]);
}

#[test]
fn draining_a_node_suspends_what_is_there_and_it_goes_on_elsewhere() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("a").devices(1));
    lab.submit(task("t"));
    lab.settle();
    lab.node(node("b").devices(1));
    let mut drained = node("a").devices(1).spec();
    drained.draining = true;
    let change = tell(Fact::NodeSet { node: drained.clone() });
    let preview = ask(&lab, std::slice::from_ref(&change));
    assert_eq!(left(&preview), [lab.id("t")]);
    assert_eq!(preview.starts[0].placement.workers[0].node.as_str(), "b");
    lab.tell(Fact::NodeSet { node: drained });
    assert_eq!(lab.settle(), ["suspend t: a drained", "start t"]);
    assert_eq!(lab.nodes_of("t"), ["b".to_owned()].into());
    assert_eq!(lab.pass(secs(1000)), NOTHING);
}

#[test]
fn who_only_fills_a_hole_on_the_way_is_not_said_to_start() {
    let mut lab = Lab::hai(|_| {});
    lab.node(node("a").devices(2));
    lab.submit(task("wide").prio(High).nodes(2));
    lab.submit(task("narrow").devices(2));
    lab.submit(task("filler").prio(Low));
    lab.settle();
    let preview = ask(&lab, &[tell(Fact::NodeSet { node: node("b").devices(2).spec() })]);
    assert_eq!(started(&preview), [lab.id("wide")]);
    assert_eq!(left(&preview), [lab.id("narrow")]);
}

#[test]
fn another_configuration_can_be_tried_and_then_taken() {
    let mut lab = Lab::hai_without_rights(|_| {}).with_devices(2);
    lab.right_devices("u", Normal, 1);
    lab.submit(task("within"));
    lab.submit(task("beyond"));
    lab.settle();
    let config = EngineConfig { borrow: true, ..EngineConfig::default() };
    let preview = ask(&lab, &[Change::Configure(Box::new(config.clone()))]);
    assert_eq!(started(&preview), [lab.id("beyond")]);
    assert_eq!(preview.starts[0].hold, Hold::Borrowed);
    assert!(lab.engine.reconfigure(lab.now, config.clone()));
    assert!(!lab.engine.reconfigure(lab.now, config), "it has it already");
    assert_eq!(lab.settle(), ["start beyond borrowed"]);
}

#[test]
fn what_nobody_has_asked_for_yet_survives_another_configuration() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("t"));
    lab.settle();
    drop(lab.engine.drain_changes());
    lab.engine.observe(lab.now, &Fact::Cancelled { task: TaskId(1) }).unwrap();
    let submitted = Fact::Submitted { task: TaskId(2), spec: task("s").spec().into() };
    lab.engine.observe(lab.now, &submitted).unwrap();
    lab.engine.reconfigure(lab.now, EngineConfig { policy: Policy::HaiFifo, ..EngineConfig::default() });
    let changed: Vec<TaskId> = lab.engine.drain_changes().tasks.iter().map(|task| task.id).collect();
    assert_eq!(changed, [TaskId(1), TaskId(2)]);
}

#[test]
fn a_change_that_can_not_be_made_is_named() {
    let lab = Lab::hai(|_| {}).with_devices(1);
    let good = Change::Submit(Box::new(task("t").spec()));
    let bad = tell(Fact::Cancelled { task: TaskId(77) });
    let error = what_if(&lab.engine, lab.now, &[good, bad]).unwrap_err();
    assert_eq!(error.index, 1);
    assert!(error.to_string().starts_with("change 2: "), "{error}");
}

#[test]
fn a_stamp_is_that_of_what_is_shown() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    lab.submit(task("v").user("v"));
    lab.settle();
    let change = [Change::Submit(Box::new(task("new").prio(High).devices(2).spec()))];
    let shown = ask(&lab, &change);
    lab.pass(secs(5));
    assert_eq!(ask(&lab, &change).stamp, shown.stamp, "time alone changes what is lost, not what is done");
    lab.finish("v");
    lab.submit(task("w").user("w"));
    lab.settle();
    assert_ne!(ask(&lab, &change).stamp, shown.stamp, "somebody else would be suspended now");
}

// --- whatever is asked

fn any_task() -> impl Strategy<Value = TaskSpec> {
    let level = prop::sample::select(vec![Low, Normal, High, Auto]);
    let name = prop::sample::select(vec!["u", "v", "w"]);
    (name, level, 1..4_u32, 1..3_u32).prop_map(|(name, level, devices, workers)| {
        task("t").user(name).prio(level).devices(devices).workers(workers).spec()
    })
}

fn any_change() -> impl Strategy<Value = u8> {
    0..6_u8
}

fn change(kind: u8, spec: TaskSpec, nodes: &[NodeBuilder], tasks: u64) -> Change {
    let mut at = nodes[usize::from(kind) % nodes.len()].clone().spec();
    let some = TaskId(1 + u64::from(spec.workers) * 3 % tasks.max(1));
    match kind {
        0 => Change::Submit(Box::new(spec)),
        1 => tell(Fact::NodeRemoved { node: at.name }),
        2 => {
            at.draining = true;
            tell(Fact::NodeSet { node: at })
        }
        3 => tell(Fact::Reprioritised { task: some, priority: spec.priority, custom_rank: None }),
        4 => tell(Fact::NodeSet { node: node("more").devices(4).spec() }),
        _ => {
            let key = RightKey { user: Some(spec.user), ..RightKey::default() };
            tell(Fact::RightSet { right: RightRow::new(key, Allowance::devices(spec.workers)) })
        }
    }
}

/// Who runs where, without the numbers of runs.
fn holders(engine: &Engine) -> BTreeSet<(TaskId, String)> {
    engine.runs().map(|run| (run.task, format!("{:?}", run.placement()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is shown is what happens when the change is made and everybody does at once what they are told.
    #[test]
    fn what_is_shown_is_what_happens(
        specs in prop::collection::vec(any_task(), 1..12),
        spec in any_task(),
        kind in any_change(),
        later in 0..20_u64,
    ) {
        let nodes = [node("a").devices(3), node("b").devices(2), node("c").devices(2)];
        let mut lab = Lab::hai(|config| config.borrow = true);
        lab.leave_after = Span::ZERO;
        for node in &nodes {
            lab.node(node.clone());
        }
        for (number, spec) in specs.iter().enumerate() {
            lab.submit(TaskBuilder::of(TaskSpec { name: format!("t{number}"), ..spec.clone() }));
            lab.pass(secs(later));
            while !lab.settle().is_empty() {}
        }
        let change = change(kind, TaskSpec { name: "more".into(), ..spec }, &nodes, specs.len() as u64);
        let preview = what_if(&lab.engine, lab.now, std::slice::from_ref(&change)).expect("it can be done");
        let runs = holders(&lab.engine);
        match change {
            Change::Submit(spec) => drop(lab.submit(TaskBuilder::of(*spec))),
            Change::Tell(fact) => drop(lab.tell(*fact)),
            _ => unreachable!("no such change is made"),
        }
        // Who leaves at once has left when a round is over; the next one gives out the place.
        while !lab.settle().is_empty() {}
        let (before, after): (BTreeSet<TaskId>, BTreeSet<TaskId>) =
            (runs.iter().map(|run| run.0).collect(), holders(&lab.engine).iter().map(|run| run.0).collect());
        let shown: BTreeSet<TaskId> = before
            .iter()
            .copied()
            .filter(|task| !preview.leaves.iter().any(|leave| leave.task == *task))
            .chain(preview.starts.iter().map(|start| start.task))
            .collect();
        prop_assert_eq!(after, shown);
        for start in &preview.starts {
            prop_assert!(holders(&lab.engine).contains(&(start.task, format!("{:?}", start.placement))), "{:?}", start);
        }
    }
}

#[test]
fn of_a_task_that_a_change_names_it_is_told_what_becomes_of_it() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("runs"));
    lab.submit(task("waits"));
    lab.settle();
    let (runs, waits) = (lab.id("runs"), lab.id("waits"));
    let outlook = |fact: Fact| {
        let preview = ask(&lab, &[tell(fact)]);
        let [outlook] = &preview.outlooks[..] else { panic!("{:?}", preview.outlooks) };
        (outlook.task, outlook.kind.clone())
    };
    let priority = |task, priority| Fact::Reprioritised { task, priority, custom_rank: None };
    assert_eq!(outlook(Fact::Cancelled { task: waits }), (waits, OutlookKind::Over));
    assert_eq!(outlook(Fact::Held { task: waits }), (waits, OutlookKind::Waits { verdict: Verdict::Held }));
    assert_eq!(outlook(priority(runs, High)), (runs, OutlookKind::Stays));
    assert!(matches!(outlook(priority(waits, Low)), (_, OutlookKind::Waits { verdict: Verdict::NoRoom { .. } })));
    assert!(matches!(outlook(Fact::Held { task: runs }), (_, OutlookKind::Waits { verdict: Verdict::Held })));
}
