//! Studies: figures worked out by hand, and what must hold of any.

use std::ops::ControlFlow;

use hai_core::engine::EngineConfig;
use hai_core::log::{LogReader, Workload};
use hai_core::model::{NodeName, Span, Time};
use hai_core::sim::study::*;
use hai_core::trace::NativeCsv;

fn load(rows: &str) -> Load {
    let text = format!("id,submit,duration,user,devices,workers,priority,checkpoint_every\n{rows}");
    let mut load = Load::default();
    for job in NativeCsv::open(text.as_bytes()).unwrap() {
        load.push(job.unwrap());
    }
    load.sort();
    load
}

fn cluster(json: &str) -> Cluster {
    serde_json::from_str::<ClusterFile>(json).unwrap().build().unwrap()
}

fn two_nodes() -> Cluster {
    cluster(r#"{"node": [{"name": "n", "count": 2, "devices": 2}]}"#)
}

fn run(cluster: &Cluster, load: &Load, options: &Options) -> Outcome {
    run_with(cluster, load, EngineConfig::default(), options)
}

fn run_with(cluster: &Cluster, load: &Load, config: EngineConfig, options: &Options) -> Outcome {
    play(cluster, load, config, 1, options, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn all() -> Options {
    Options { tasks: true, ..Options::default() }
}

#[test]
fn figures_are_those_worked_out_by_hand() {
    // Four devices. a has all of them until 100; b and c (two each) wait for it until then; d (one) waits until 150.
    let load = load("a,0,100,u,2,2,,\nb,10,50,v,2,1,,\nc,20,100,v,2,1,,\nd,30,20,w,1,1,,\n");
    let outcome = run(&two_nodes(), &load, &all());
    let figures = &outcome.figures;
    assert_eq!((figures.tasks, figures.succeeded, figures.unfinished), (4, 4, 0));
    let ends: Vec<i64> = outcome.tasks.iter().map(|row| row.ended.unwrap().as_ms() / 1000).collect();
    assert_eq!(ends, [100, 150, 200, 170]);
    // Completion: 100, 140, 180, 140. Waiting: 0, 90, 80, 120.
    assert_eq!((figures.jct.mean, figures.jct.p50, figures.jct.max), (140.0, 140.0, 180.0));
    assert_eq!((figures.waiting.mean, figures.waiting.p50, figures.waiting.p99), (72.5, 80.0, 120.0));
    // Slowdown: 1, 2.8, 1.8, 7.
    assert!((figures.slowdown.mean - 3.15).abs() < 1e-12);
    assert_eq!(figures.makespan_s, 200.0);
    // From 0 to the last submission at 30 all four devices are held; somebody waits from 10 on.
    assert_eq!((figures.occupancy, figures.allocation_while_waiting), (100.0, 100.0));
    assert!((figures.time_waiting - 100.0 * 20.0 / 30.0).abs() < 1e-9);
    // Device-seconds: 400, 100, 200, 20.
    assert!((figures.device_hours - 720.0 / 3600.0).abs() < 1e-9);
    let got = |user: &str| outcome.users.iter().find(|row| row.user == user).unwrap().got * 3600.0;
    assert!((got("u") - 400.0).abs() < 1e-6 && (got("v") - 300.0).abs() < 1e-6 && (got("w") - 20.0).abs() < 1e-6);
    // Finish-time fairness: a is alone with four devices: 100/100. b is one of two users with two each: 140/50. c: 180/100;
    // d is one of three, 4/3 devices each: 140/20.
    assert!((figures.finish_time_fairness.mean - (1.0 + 2.8 + 1.8 + 7.0) / 4.0).abs() < 1e-9);
    assert_eq!(figures.served_worse, 75.0);
    let sizes: Vec<(&str, u64)> = figures.sizes.iter().map(|size| (size.devices.as_str(), size.jct.count)).collect();
    assert_eq!(sizes, [("1", 1), ("2-7", 3)]);
    // The areas of what is drawn are those of what is counted.
    let drawn = outcome.series.iter().find(|chart| chart.name == "devices_by_user").unwrap();
    let area: f64 =
        drawn.series.levels.iter().filter(|(name, _)| name != "capacity").flat_map(|(_, values)| values).sum();
    assert!((area * drawn.series.width.as_ms() as f64 / 3.6e6 - 720.0 / 3600.0).abs() < 1e-9, "{area}");
    assert_eq!(outcome.gantt.bars.len(), 5);
    assert!(outcome.gantt.bars.iter().all(|bar| bar.ended == "done"));
}

#[test]
fn what_is_lost_and_loaded_is_told() {
    // b takes the place of a, which then loads for 30 s; nothing is lost, since it saves itself.
    let rows = "a,0,1000,u,2,1,NORMAL,\nb,100,50,v,2,1,HIGH,\n";
    let one = r#"{"node": [{"name": "n", "devices": 2}], "conduct": {"restart": "30s", "saves": SAVES}}"#;
    let outcome = run(&cluster(&one.replace("SAVES", "true")), &load(rows), &all());
    assert_eq!((outcome.figures.suspensions, outcome.figures.starts), (1, 3));
    assert!((outcome.figures.loading_device_hours - 60.0 / 3600.0).abs() < 1e-9);
    assert_eq!(outcome.figures.lost_device_hours, 0.0);
    assert_eq!(outcome.tasks[0].ended.unwrap().as_ms(), 1_080_000);
    let left = outcome.gantt.bars.iter().find(|bar| bar.name == "a").unwrap();
    assert_eq!(left.ended, "suspended: task 2 has a better right to its place");
    let came = outcome.gantt.bars.iter().find(|bar| bar.name == "b").unwrap();
    assert_eq!(came.began, "it began within its right at HIGH, in the place that others had left for it");
    // Without saving all of its 100 s are lost; with checkpoints every 40 s, 20 s.
    let outcome = run(&cluster(&one.replace("SAVES", "false")), &load(rows), &all());
    assert!((outcome.figures.lost_device_hours - 200.0 / 3600.0).abs() < 1e-9);
    let rows = rows.replace("NORMAL,", "NORMAL,40");
    let outcome = run(&cluster(&one.replace("SAVES", "false")), &load(&rows), &all());
    assert!((outcome.figures.lost_device_hours - 40.0 / 3600.0).abs() < 1e-9);
}

#[test]
fn the_warm_up_is_played_but_not_counted() {
    let load = load("a,0,100,u,2,2,,\nb,10,50,v,2,1,,\nc,20,100,v,2,1,,\nd,30,20,w,1,1,,\n");
    let outcome = run(&two_nodes(), &load, &Options { warm_up: Span::from_secs(15), ..all() });
    assert_eq!(outcome.figures.tasks, 2);
    let ends: Vec<i64> = outcome.tasks.iter().map(|row| row.ended.unwrap().as_ms() / 1000).collect();
    assert_eq!(ends, [200, 170]);
}

#[test]
fn drains_and_lost_nodes_come_when_they_should() {
    let json = r#"{"node": [{"name": "n", "count": 2, "devices": 2}], "conduct": {"restart": "0s"},
        "change": [{"at": "10s", "node_down": "n-1"}, {"at": "60s", "node_up": "n-1"}]}"#;
    let outcome = run(&cluster(json), &load("a,0,100,u,2,1,,\nb,0,100,u,2,1,,\n"), &all());
    // Whoever was on the lost node begins anew when it is back.
    let ends: Vec<i64> = outcome.tasks.iter().map(|row| row.ended.unwrap().as_ms() / 1000).collect();
    assert_eq!(ends.iter().max(), Some(&160));
    assert!((outcome.figures.lost_device_hours - 20.0 / 3600.0).abs() < 1e-9);
    let json = json.replace("node_down", "drain").replace("node_up", "undrain");
    let outcome = run(&cluster(&json), &load("a,0,100,u,2,1,,\nb,0,100,u,2,1,,\n"), &all());
    assert_eq!(outcome.figures.lost_device_hours, 0.0);
    assert_eq!(outcome.figures.suspensions, 1);
    let bad = r#"{"node": [{"name": "n"}], "change": [{"at": "10s", "drain": "m"}]}"#;
    let error = serde_json::from_str::<ClusterFile>(bad).unwrap().build().unwrap_err();
    assert_eq!(error.to_string(), "the change at 10s: there is no node m");
}

#[test]
fn what_can_never_start_is_told_and_ends_nothing_else() {
    let load = load("a,0,100,u,2,1,,\nb,0,100,u,64,1,,\nc,5,10,u,1,9,,\n");
    let json = r#"{"node": [{"name": "n", "devices": 2}], "faults": {"node_every": "1000d", "node_repair": "1h"}}"#;
    let outcome = run(&cluster(json), &load, &all());
    assert_eq!((outcome.figures.succeeded, outcome.figures.unfinished, outcome.figures.never_started), (1, 2, 2));
    assert!(!outcome.figures.partial);
    // No devices, and no work.
    let outcome = run(&cluster(r#"{"node": [{"name": "n"}]}"#), &load, &all());
    assert_eq!((outcome.figures.unfinished, outcome.figures.occupancy), (3, 0.0));
    let outcome = run(&two_nodes(), &Load::default(), &all());
    let nothing =
        Figures { jain: 1.0, measured: (Time::ZERO, Time::ZERO), fragmentation: Some(0.0), ..Figures::default() };
    assert_eq!(outcome.figures, nothing);
}

/// A busy laboratory whose nodes break.
fn busy(seed: u64, tasks: usize) -> (Cluster, Load) {
    let json = r#"{"node": [{"name": "n", "count": 6, "devices": 8}],
        "faults": {"node_every": "3d", "node_repair": "2h", "device_every": "20d", "device_repair": "1d"},
        "conduct": {"start": "5s", "leave": "5s", "restart": "60s"}}"#;
    let load = Profile::laboratory().unwrap().draw(tasks, Time::ZERO, seed).unwrap().denser(300);
    (cluster(json), load)
}

#[test]
fn a_seed_gives_one_outcome_and_faults_follow_it() {
    let (cluster, load) = busy(4, 400);
    let of = |seed| {
        let (config, _) = named("hai+las", &load).unwrap();
        play(&cluster, &load, config, seed, &all(), &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let text = |outcome: &Outcome| serde_json::to_string(outcome).unwrap();
    let one = of(1);
    assert_eq!(text(&one), text(&of(1)));
    assert_ne!(text(&one), text(&of(2)));
    assert_eq!(one.figures.succeeded, 400);
    assert!(one.figures.lost_device_hours > 0.0);
    // What is said of all is the sum of what is said of each.
    let held: u64 = one.tasks.iter().map(|row| row.device_ms).sum();
    let got: f64 = one.users.iter().map(|user| user.got).sum();
    assert!((held as f64 / 3.6e6 - got).abs() < 1e-6, "{held} {got}");
    let drawn = one.series.iter().find(|chart| chart.name == "devices_by_priority").unwrap();
    assert!(drawn.series.levels[0].1.len() <= 480);
}

#[test]
fn one_fault_more_leaves_those_of_other_nodes_as_they_are() {
    // Each node has a stream of its own: with two nodes more, the capacity that the first six lack is the same.
    let (cluster, load) = busy(4, 50);
    let mut larger = cluster.clone();
    let mut node = larger.nodes[0].clone();
    node.name = NodeName::new("never-used").unwrap();
    node.devices.clear();
    larger.nodes.push(node);
    let capacity = |cluster: &Cluster| {
        let outcome = play(cluster, &load, EngineConfig::default(), 9, &all(), &mut |_| ControlFlow::Continue(()));
        let chart = outcome.unwrap().series.into_iter().find(|chart| chart.name == "devices_by_user").unwrap();
        chart.series.levels.into_iter().find(|(name, _)| name == "capacity").unwrap().1
    };
    assert_eq!(capacity(&cluster), capacity(&larger));
}

#[test]
fn it_can_be_broken_off() {
    let (cluster, load) = busy(4, 2000);
    let mut seen = 0;
    let outcome = play(&cluster, &load, EngineConfig::default(), 1, &all(), &mut |progress| {
        seen = progress.over;
        if progress.over > 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let figures = outcome.unwrap().figures;
    assert!(figures.partial && figures.succeeded >= seen as u64 && figures.unfinished > 0);
    let until = Options { until: Some(Span::from_mins(60 * 24)), ..all() };
    let figures = run(&cluster, &load, &until).figures;
    assert!(figures.partial);
}

#[test]
fn loads_are_cut_and_changed_as_asked() {
    let rows = "a,100,1,u,1,1,,\nb,200,1,u,1,1,,\nc,300,1,u,1,1,,\nd,400,7,u,1,1,,\n";
    let times = |load: &Load| load.tasks().iter().map(|task| task.submit.as_ms() / 1000).collect::<Vec<_>>();
    assert_eq!(times(&load(rows).window(Span::from_secs(100), Some(Span::from_secs(300)))), [200, 300]);
    assert_eq!(times(&load(rows).denser(2000)), [100, 150, 200, 250]);
    assert_eq!(times(&load(rows).denser(500)), [100, 300, 500, 700]);
    assert_eq!(load(rows).foretold().tasks()[3].spec.expected, Some(Span::from_secs(7)));
    let users: std::collections::BTreeSet<_> =
        load(rows).strangers().tasks().iter().map(|task| task.spec.user.to_string()).collect();
    assert_eq!(users.len(), 4);
    let jittered = load(rows).jittered(Span::from_secs(1000), 1);
    assert!(times(&jittered).is_sorted() && times(&jittered) != times(&load(rows)));
    assert_eq!(two_nodes().times(3).unwrap().devices(), 12);
}

#[test]
fn rigid_suspends_nobody() {
    let (mut cluster, load) = busy(4, 400);
    cluster.faults = Faults::default();
    let suspensions = |policy: &str| {
        let (config, _) = named(policy, &load).unwrap();
        let outcome = play(&cluster, &load, config, 1, &all(), &mut |_| ControlFlow::Continue(()));
        outcome.unwrap().figures.suspensions
    };
    assert!(suspensions("hai+short") > 0);
    assert_eq!(suspensions("hai+rigid"), 0);
}

#[test]
fn an_event_log_is_work_and_a_cluster() {
    let lines = include_str!("data/log-1.jsonl").lines().map(Ok::<_, std::convert::Infallible>);
    let workload = Workload::read(LogReader::open(lines).unwrap()).unwrap();
    let (cluster, load) = (workload.cluster().unwrap(), workload.load());
    assert_eq!((cluster.nodes.len(), cluster.devices(), load.tasks().len()), (3, 10, 15));
    // Those that were stopped then would not run for ever in the way of others.
    assert!(load.tasks().iter().all(|task| task.work.needs < Span::from_mins(60)));
    let outcome = play(&cluster, &load, workload.config().clone(), 1, &all(), &mut |_| ControlFlow::Continue(()));
    assert!(outcome.unwrap().figures.succeeded > 9);
}

#[test]
fn a_policy_says_how_work_is_submitted() {
    let ends = |policy: &str, rows: &str| {
        let load = load(rows);
        let (config, submits) = named(policy, &load).unwrap();
        let one = cluster(r#"{"node": [{"name": "n", "count": 1, "devices": 2}]}"#);
        let outcome = run_with(&one, &load, config, &Options { submits, ..all() });
        let ended = |row: &TaskRow| row.ended.unwrap().as_ms() / 1000;
        outcome.tasks.iter().map(ended).collect::<Vec<_>>()
    };
    // The long one has had its hour when the short one comes, and gives way to it.
    let rows = "long,0,9000,u,2,1,,\nshort,5000,60,v,2,1,,\n";
    assert_eq!(ends("hai", rows), [9000, 9060]);
    assert_eq!(ends("hai+young", rows)[1], 5060);
    // Of v's two that wait for the first of u to end, the one goes first that is known to be short: by then one like each has ended.
    let rows =
        "a,0,100,v,1,1,,\nb,0,10,v,2,1,,\nc,200,50,u,2,1,,\nd,210,100,v,1,1,,\ne,211,100,v,1,1,,\nf,212,10,v,2,1,,\n";
    assert_eq!(ends("hai", rows)[3..], [350, 350, 360]);
    assert_eq!(ends("hai+sjf+learned", rows)[3..], [360, 360, 260]);
    assert_eq!(ends("hai+sjf+oracle", rows)[3..], [360, 360, 260]);
}

#[test]
fn idle_devices_that_the_work_can_not_use_are_fragments() {
    // Two nodes of two devices. From 0 to 100 one task holds one device on each; all that is expected asks for two or for one.
    let two = "a,0,100,u,1,1,,\nb,0,100,u,1,1,,\nc,0,100,u,2,1,,\nd,100,1,u,1,1,,\n";
    let load = load(two);
    let nodes = cluster(r#"{"node": [{"name": "n", "count": 3, "devices": 2}]}"#);
    let config = EngineConfig { placement: hai_core::placement::PlacementPolicy::WorstFit, ..EngineConfig::default() };
    let figures = run_with(&nodes, &load, config, &all()).figures;
    // Three of four kinds ask for one device, so only a quarter of the work has no use for the two that are idle: half a device of six.
    let fragmentation = figures.fragmentation.unwrap();
    assert!((fragmentation - 100.0 * 0.5 / 6.0).abs() < 1e-9, "{fragmentation}");
    let packed = run(&nodes, &load, &all()).figures;
    assert_eq!(packed.fragmentation, Some(0.0));
}

#[test]
fn a_bad_cluster_file_is_an_error_and_never_more() {
    let refused = |json: &str| match serde_json::from_str::<ClusterFile>(json) {
        Ok(file) => file.build().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    let many = refused(r#"{"node": [{"name": "a", "devices": 4000000000}]}"#);
    assert!(many.contains("devices is 4000000000; a node may have 64"), "{many}");
    let node = r#""node": [{"name": "a", "devices": 1}]"#;
    let two = refused(&format!(r#"{{{node}, "change": [{{"at": "1h", "drain": "a", "undrain": "a"}}]}}"#));
    assert!(two.contains("a change is one of node_down"), "{two}");
    let unknown = refused(&format!(r#"{{{node}, "change": [{{"at": "1h", "drian": "a"}}]}}"#));
    assert!(unknown.contains("drian"), "{unknown}");
    // Faults that come after all time do not come.
    let json = format!(r#"{{{node}, "faults": {{"node_every": "100000000000d", "node_repair": "1h"}}}}"#);
    assert_eq!(run(&cluster(&json), &load("a,0,100,u,1,1,,\n"), &all()).figures.succeeded, 1);
}

#[test]
fn what_never_ends_does_not_keep_a_study_from_its_end() {
    let text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
                a,1000,1,1,1000,,LS,Running,0,,0\nb,1000,1,1,1000,,BE,Running,5,,5\n";
    let mut endless = Load::default();
    for job in hai_core::trace::open(hai_core::trace::Format::Openb, text.as_bytes()).unwrap() {
        endless.push(job.unwrap());
    }
    let one = cluster(r#"{"node": [{"name": "n", "count": 1, "devices": 1, "cpu": 8}]}"#);
    let figures = run(&one, &endless, &all()).figures;
    assert_eq!((figures.succeeded, figures.unfinished), (0, 2));
}

#[test]
fn fragments_are_looked_at_again_when_work_has_left() {
    // As above until 100, when all is left; from then to the last submission at 200 every idle device is of use.
    let load = load("a,0,100,u,1,1,,\nb,0,100,u,1,1,,\nc,0,100,u,2,1,,\nd,200,1,u,1,1,,\n");
    let nodes = cluster(r#"{"node": [{"name": "n", "count": 3, "devices": 2}]}"#);
    let config = EngineConfig { placement: hai_core::placement::PlacementPolicy::WorstFit, ..EngineConfig::default() };
    let fragmentation = run_with(&nodes, &load, config, &all()).figures.fragmentation.unwrap();
    assert!((fragmentation - 100.0 * 0.5 / 6.0 / 2.0).abs() < 1e-9, "{fragmentation}");
}

#[test]
fn shares_begin_with_the_measured_time() {
    // u holds everything until 100, and v from then to 200.
    let load = load("a,0,100,u,2,1,,\nb,0,100,v,2,1,,\nc,150,10,w,2,1,,\n");
    let one = cluster(r#"{"node": [{"name": "n", "devices": 2}]}"#);
    let got = |outcome: &Outcome, user: &str| {
        let row = outcome.users.iter().find(|row| row.user == user).unwrap();
        ((row.got * 3600.0).round(), (row.due * 3600.0).round())
    };
    let outcome = run(&one, &load, &all());
    assert_eq!((got(&outcome, "u"), got(&outcome, "v")), ((200.0, 100.0), (200.0, 250.0)));
    // Both were due half of it until 100; then v all of it, and from 150 on half beside w.
    let outcome = run(&one, &load, &Options { warm_up: Span::from_secs(120), ..all() });
    assert_eq!(
        (got(&outcome, "u"), got(&outcome, "v"), got(&outcome, "w")),
        ((0.0, 0.0), (160.0, 110.0), (20.0, 70.0))
    );
    let (v, w): (f64, f64) = (160.0 / 110.0, 20.0 / 70.0);
    assert!((outcome.figures.jain - (v + w) * (v + w) / (2.0 * (v * v + w * w))).abs() < 1e-9);
}

#[test]
fn what_is_drained_is_no_capacity() {
    // Two devices of four are drained from the start of the second half on; the other two are held all the time.
    let json = r#"{"node": [{"name": "n", "count": 2, "devices": 2}], "change": [{"at": "50s", "drain": "n-2"}]}"#;
    let load = load("a,0,100,u,2,1,,\nb,100,1,u,2,1,,\n");
    let figures = run(&cluster(json), &load, &all()).figures;
    assert!((figures.occupancy - 100.0 * 200.0 / 300.0).abs() < 1e-9, "{}", figures.occupancy);
    // What does not leave a drained node at once still counts as long as it is there: four until 58, then two.
    let json = json.replace("n-2", "n-1").replace("}]}", r#"}], "conduct": {"leave": "8s"}}"#);
    let load = self::load("a,0,100,u,2,2,,\nb,100,1,u,2,1,,\n");
    let figures = run(&cluster(&json), &load, &all()).figures;
    assert!((figures.allocation - 100.0 * 232.0 / 316.0).abs() < 1e-9, "{}", figures.allocation);
}

#[test]
fn forecasts_are_asked_for_and_compared() {
    // One device, and everybody says how long his work runs: each start is known at once.
    let rows: String = (0..40).map(|at| format!("t{at},{},600,u,1,1,,\n", at * 300)).collect();
    let load = load(&rows).foretold();
    let one = cluster(r#"{"node": [{"name": "n", "devices": 1}]}"#);
    assert_eq!(run(&one, &load, &all()).figures.forecasts, None);
    let options = Options { forecasts: Some(10), ..all() };
    let told = run(&one, &load, &options).figures.forecasts.unwrap();
    // The first does not wait; every fourth of the others is asked for.
    assert_eq!((told.asked, told.started), (10, 10));
    assert_eq!((told.p50_held, told.p90_held), (100.0, 100.0));
    // If it is said that they run for half as long, they start later than was said, until that has been learned.
    let mut wrong = Load::default();
    for task in load.tasks() {
        let mut spec = hai_core::model::TaskSpec::clone(&task.spec);
        (spec.name, spec.expected) = (task.name.to_string(), Some(Span::from_secs(300)));
        wrong.push(hai_core::trace::Job { line: task.line, submit: task.submit, spec, work: task.work });
    }
    let told = run(&one, &wrong, &options).figures.forecasts.unwrap();
    assert_eq!(told.asked, 10);
    assert!(told.p50_held < 100.0, "{told:?}");
    assert_eq!(run(&one, &wrong, &options), run(&one, &wrong, &options));
}
