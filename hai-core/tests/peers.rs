//! Published schedulers in a study: what becomes of every job is what their own experiments say, and they are measured like
//! the engine.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;

use hai_core::model::{Span, Time};
use hai_core::published::backfill::{BackfillRules, SwfPreparation, play as play_batch};
use hai_core::published::helios::{Rules, jobs_of, play as play_helios};
use hai_core::published::muri::{MuriCluster, MuriJob, MuriPolicy, play as play_muri};
use hai_core::sim::study::*;
use hai_core::trace::{Format, HeliosTrace, NativeCsv, SwfTrace, open, virtual_clusters};

/// A file of the folder with whole traces, unpacked; `None`, said aloud, where it is not there.
fn shared(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("HAI_TRACES").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces"));
    let path = folder.join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    };
    if !name.ends_with(".gz") {
        return Some(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("it can be unpacked");
    Some(plain)
}

fn all() -> Options {
    Options { tasks: true, ..Options::default() }
}

fn peer(name: &str) -> Peer {
    Peer::named(name).expect("a peer").expect("words that it knows")
}

fn play_as(name: &str, cluster: &Cluster, load: &Load, options: &Options) -> Outcome {
    let peer = peer(name);
    assert_eq!(peer.objection(cluster, load), None);
    peer.play(cluster, load, options, &mut |_| ControlFlow::Continue(()))
}

fn load(rows: &str) -> Load {
    let text = format!("id,submit,duration,user,devices,workers,expected\n{rows}");
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

fn seconds(at: Option<Time>) -> Option<i64> {
    at.map(|at| {
        assert_eq!(at.as_ms() % 1000, 0);
        at.as_ms() / 1000
    })
}

/// What a study makes of a Helios trace, and what the simulators of that family make of it, by number of the job.
fn same_on_venus(trace: &[u8], clusters: &str, names: &[(&str, Rules)]) -> usize {
    let vcs = virtual_clusters(clusters.as_bytes()).unwrap();
    let nodes: Vec<u32> = vcs.iter().map(|vc| vc.nodes).collect();
    let rows: Vec<_> = HeliosTrace::open(trace).unwrap().map(Result::unwrap).collect();
    let jobs = jobs_of(&rows, &vcs, None);
    let cluster = helios(clusters.as_bytes()).unwrap();
    let mut load = Load::default();
    for job in open(Format::Helios, trace).unwrap() {
        load.push(job.unwrap());
    }
    load.sort();
    for (name, rules) in names {
        let theirs = play_helios(&jobs, &nodes, rules).outcomes;
        let theirs: BTreeMap<String, _> =
            jobs.iter().zip(&theirs).map(|(job, outcome)| (job.number.to_string(), (job, outcome))).collect();
        let outcome = play_as(name, &cluster, &load, &all());
        let mut ended = 0;
        for row in &outcome.tasks {
            let task = &load.tasks()[row.index];
            let Some((job, theirs)) = theirs.get(&*task.name) else {
                assert!(!vcs.iter().any(|vc| vc.name == task.spec.group.as_str()), "{name}: {} is lost", task.name);
                continue;
            };
            let ours = (seconds(row.started), seconds(row.ended), row.suspensions);
            assert_eq!(ours, (theirs.start, theirs.end, theirs.preemptions), "{name}: job {}", task.name);
            let waited = row.ended.unwrap().since(task.submit) - row.ran;
            assert_eq!(waited.as_ms() / 1000, theirs.queue as u64, "{name}: job {}", task.name);
            assert!(row.ran >= Span::from_secs(job.duration as u64));
            ended += 1;
        }
        assert_eq!(ended, theirs.len(), "{name}");
    }
    jobs.len()
}

#[test]
fn every_job_of_three_clusters_of_venus_fares_as_published() {
    let text = include_bytes!("../../benches/data/helios-venus-sept-cut.csv");
    assert_eq!(same_on_venus(text, ",num\nvcHvQ,8\nvcWoR,5\nvc8Gr,6\n", &Rules::PUBLISHED), 2813);
}

#[test]
fn every_job_of_venus_fares_as_published() {
    let Some(trace) = shared("helios-venus-sept/venus_sept.csv.gz") else { return };
    let Some(clusters) = shared("helios-venus-sept/vc_config.csv") else { return };
    let clusters = String::from_utf8(clusters).unwrap();
    let names = [("tiresias", Rules::TIRESIAS), ("fifo", Rules::FIFO), ("srtf-helios", Rules::SRTF_HELIOS)];
    assert_eq!(same_on_venus(&trace, &clusters, &names), 23_859);
}

fn same_on_kth(text: &[u8]) -> usize {
    let mut trace = SwfTrace::new(text);
    let rows: Vec<_> = trace.by_ref().map(Result::unwrap).collect();
    let prepared: Vec<_> = rows.iter().map(|row| SwfPreparation::STRONG.prepare(row, 100)).collect();
    let jobs: Vec<_> = prepared.iter().flatten().cloned().collect();
    let mut load = Load::default();
    for (job, _) in open(Format::Swf, text).unwrap().zip(&prepared).filter(|(_, kept)| kept.is_some()) {
        load.push(job.unwrap());
    }
    load.sort();
    let cluster = cluster(r#"{"node": [{"name": "n", "count": 25, "devices": 4}]}"#);
    for (name, rules) in [
        ("easy", BackfillRules::EASY),
        ("easy-sjbf", BackfillRules::EASY_SJBF),
        ("batsim-easy", BackfillRules::BATSIM_EASY),
    ] {
        let theirs = play_batch(&jobs, 100, &rules);
        let outcome = play_as(&format!("{name}+clip"), &cluster, &load, &all());
        assert_eq!(outcome.tasks.len(), jobs.len());
        for (row, theirs) in outcome.tasks.iter().zip(&theirs) {
            let task = &load.tasks()[row.index];
            let theirs = (theirs.start.map(|at| at as i64), theirs.end.map(|at| at as i64));
            assert_eq!((seconds(row.started), seconds(row.ended)), theirs, "{name}: job {}", task.name);
            assert_eq!(row.outcome == "stopped", task.spec.expected.unwrap() < task.work.needs, "job {}", task.name);
        }
    }
    jobs.len()
}

#[test]
fn every_job_of_a_cut_of_kth_fares_as_published() {
    assert!(same_on_kth(include_bytes!("data/published/kth-sp2-cut.swf")) > 200);
}

#[test]
fn every_job_of_kth_fares_as_published() {
    let Some(log) = shared("swf/KTH-SP2-1996-2.1-cln.swf.gz") else { return };
    assert_eq!(same_on_kth(&log), 28_481);
}

#[test]
fn muris_rules_are_played_with_jobs_of_one_second_iterations() {
    let text = include_bytes!("data/published/muri-trace3-cut.csv");
    let mut load = Load::default();
    // What is larger than the cluster is an event for Muri, which costs every run, and nothing for a study.
    let gpus = |task: &hai_core::model::TaskSpec| task.workers * task.request.devices.count();
    for job in open(Format::Muri, &text[..]).unwrap().map(Result::unwrap).filter(|job| gpus(&job.spec) <= 16) {
        load.push(job);
    }
    load.sort();
    let cluster = cluster(r#"{"node": [{"name": "n", "count": 2, "devices": 8}], "conduct": {"restart": "30s"}}"#);
    for (name, policy, overhead) in [
        ("srsf", MuriPolicy::SRSF, 10.0),
        ("srtf-muri+no-overhead", MuriPolicy::SRTF, 0.0),
        ("tiresias-l+restart", MuriPolicy::TIRESIAS_L, 30.0),
    ] {
        let secs = |span: Span| span.as_ms() as f64 / 1000.0;
        let jobs: Vec<MuriJob> = load
            .tasks()
            .iter()
            .map(|task| MuriJob {
                number: 0,
                gpus: gpus(&task.spec),
                submit: task.submit.as_ms() as f64 / 1000.0,
                iterations: secs(task.work.needs),
                iteration_time: 1.0,
                overhead,
            })
            .collect();
        let theirs = play_muri(&jobs, MuriCluster { nodes: 2, per_node: 8 }, policy);
        let outcome = play_as(name, &cluster, &load, &all());
        let mut suspensions = 0;
        for (row, theirs) in outcome.tasks.iter().zip(&theirs) {
            let ms = |at: Option<f64>| at.map(|at| (at * 1000.0).round() as i64);
            let ours = (row.started.map(Time::as_ms), row.ended.map(Time::as_ms), row.suspensions);
            assert_eq!(ours, (ms(theirs.start), ms(theirs.end), theirs.preemptions), "{name}: {}", row.index);
            suspensions += u64::from(theirs.preemptions);
        }
        assert_eq!(outcome.figures.suspensions, suspensions);
        assert_eq!(outcome.figures.unfinished as usize, theirs.iter().filter(|job| job.end.is_none()).count());
    }
}

#[test]
fn a_peer_is_measured_like_the_engine() {
    // Four devices. a has them until 100; b waits for all of them; c would fit, and does not delay b.
    let load = load("a,0,100,u,1,3,100\nb,10,50,v,2,2,60\nc,20,70,w,1,1,80\nd,20,90,w,1,1,90\n");
    let cluster = cluster(r#"{"node": [{"name": "n", "count": 2, "devices": 2}]}"#);
    let ends =
        |outcome: &Outcome| -> Vec<i64> { outcome.tasks.iter().map(|row| row.ended.unwrap().as_ms() / 1000).collect() };
    assert_eq!(ends(&play_as("fcfs", &cluster, &load, &all())), [100, 150, 220, 240]);
    let easy = play_as("easy", &cluster, &load, &all());
    assert_eq!(ends(&easy), [100, 150, 90, 240]);
    let figures = &easy.figures;
    assert_eq!((figures.tasks, figures.succeeded, figures.starts, figures.fragmentation), (4, 4, 4, None));
    assert_eq!((figures.jct.mean, figures.waiting.mean), ((100.0 + 140.0 + 70.0 + 220.0) / 4.0, (90.0 + 130.0) / 4.0));
    assert!((figures.device_hours * 3600.0 - (300.0 + 200.0 + 70.0 + 90.0)).abs() < 1e-9);
    // Until the last submission at 20 three of four are held.
    assert_eq!((figures.occupancy, figures.allocation_while_waiting), (75.0, 75.0));
    let got = |user: &str| easy.users.iter().find(|row| row.user == user).unwrap().got * 3600.0;
    assert!((got("u") - 300.0).abs() < 1e-6 && (got("w") - 160.0).abs() < 1e-6);
    assert!(easy.series.iter().all(|chart| chart.name != "fragments"));
    // On which devices: a has both of the first node and one of the second; c the other one.
    let bars: Vec<_> = easy.gantt.bars.iter().map(|bar| (bar.name.as_str(), bar.node, bar.devices.clone())).collect();
    let place =
        |name: &str| bars.iter().filter(|bar| bar.0 == name).map(|bar| (bar.1, bar.2.clone())).collect::<Vec<_>>();
    assert_eq!((place("a"), place("c")), (vec![(0, vec![0, 1]), (1, vec![0])], vec![(1, vec![1])]));
    assert_eq!(
        (easy.gantt.bars[0].began.as_str(), easy.gantt.bars[0].ended.as_str()),
        ("it began when its turn came", "done")
    );
    // The warm-up is played, but not counted; what is beyond the end is cut off.
    let warm = play_as("easy", &cluster, &load, &Options { warm_up: Span::from_secs(15), ..all() });
    assert_eq!((warm.figures.tasks, ends(&warm)), (2, vec![90, 240]));
    let cut = play_as("easy", &cluster, &load, &Options { until: Some(Span::from_secs(120)), ..all() });
    assert_eq!((cut.figures.succeeded, cut.figures.unfinished, cut.figures.partial), (2, 2, true));
    // It can be broken off only while it is measured, and says so.
    let many: String = (0..5000).map(|at| format!("t{at},{at},1,u,1,1,1\n")).collect();
    let broken = peer("easy").play(&cluster, &self::load(&many), &all(), &mut |_| ControlFlow::Break(()));
    assert!(broken.figures.partial && broken.figures.succeeded > 0 && broken.figures.succeeded < 5000);
}

#[test]
fn who_is_suspended_loads_and_is_said_to_be_suspended() {
    let load = load("a,0,100,u,2,1,\nb,10,5,v,2,1,\n");
    let cluster = cluster(r#"{"node": [{"name": "n", "devices": 2}], "conduct": {"restart": "25s"}}"#);
    for (name, end, loading) in [("srtf", 147, 40 + 1), ("srtf+restart", 132, 25 + 1), ("srtf+no-overhead", 107, 1)] {
        let outcome = play_as(name, &cluster, &load, &all());
        let a = &outcome.tasks[0];
        assert_eq!(
            (a.ended.unwrap().as_ms() / 1000, a.suspensions, a.loading.as_ms() / 1000),
            (end, 1, loading),
            "{name}"
        );
        assert_eq!(outcome.figures.suspensions, 1);
        let bars: Vec<&str> = outcome.gantt.bars.iter().map(|bar| bar.ended.as_str()).collect();
        assert_eq!(bars, ["suspended: others went first", "done", "done"]);
    }
}

#[test]
fn what_is_larger_than_its_group_keeps_nobody_out() {
    let load = load("a,0,100,u,3,1,9\nb,0,100,u,1,1,100\n");
    let cluster = cluster(r#"{"node": [{"name": "n", "devices": 2}]}"#);
    for (name, _) in PEERS {
        let figures = play_as(name, &cluster, &load, &all()).figures;
        assert_eq!((figures.succeeded, figures.unfinished, figures.never_started), (1, 1, 1), "{name}");
    }
    let nothing = play_as("tiresias", &cluster, &Load::default(), &all()).figures;
    assert_eq!((nothing.tasks, nothing.partial), (0, false));
}

#[test]
fn what_a_peer_can_not_play_is_named() {
    let plain = r#"{"node": [{"name": "n", "count": 2, "devices": 2}]}"#;
    let two = |more: &str| cluster(&plain.replace("]}", &format!("]{more}}}")));
    let one = load("a,0,100,u,1,1,9\n");
    let said = |name: &str, cluster: &Cluster, load: &Load| peer(name).objection(cluster, load).unwrap_or_default();
    assert_eq!(said("easy", &two(""), &one), "");
    for (more, what) in [
        (
            r#", "faults": {"node_every": "3d", "node_repair": "1h"}"#,
            "its cluster never fails, and this one has faults",
        ),
        (
            r#", "change": [{"at": "10s", "drain": "n-1"}]"#,
            "its cluster never changes, and this one has a drain at 10s (n-1)",
        ),
        (r#", "conduct": {"start": "5s"}"#, "it starts and leaves in no time, and here that takes some (conduct)"),
    ] {
        assert_eq!(said("easy", &two(more), &one), format!("easy can not be played: {what}"));
    }
    let unsaved = two(r#", "conduct": {"saves": false}"#);
    assert_eq!(said("fifo", &unsaved, &one), "");
    assert!(said("tiresias", &unsaved, &one).contains("saves itself"));
    let uneven = cluster(r#"{"node": [{"name": "n", "devices": 2}, {"name": "m", "devices": 4}]}"#);
    assert_eq!(said("easy", &uneven, &one), "");
    assert!(said("tiresias", &uneven, &one).contains("not all have 2 devices"));
    let silent = load("a,0,100,u,1,1,9\nb,5,100,u,1,1,\n");
    let what = "easy can not be played: 1 of 2 tasks do not say how long they run (the first is \"b\", line 3); easy+oracle is \
                one that knows it";
    assert_eq!(said("easy", &two(""), &silent), what);
    assert_eq!(said("fcfs", &two(""), &silent) + &said("easy+oracle", &two(""), &silent), "");
    let bare = load("a,0,100,u,1,1,9\nb,5,100,u,0,1,9\nc,6,100,u,0,1,9\n");
    let what =
        "fifo can not be played: task \"b\" (line 3) asks for no device, and it knows nothing else, and 1 more like it";
    assert_eq!(said("fifo", &two(""), &bare), what);
    let lines = |line: &str| {
        let mut load = Load::default();
        open(Format::Lines, line.as_bytes()).unwrap().for_each(|job| load.push(job.unwrap()));
        load
    };
    for (more, what) in [
        (r#""share": 500"#, "asks for a part of a device"),
        (r#""devices": 1, "models": ["H100"]"#, "asks for devices of a kind that not all of its group are"),
        (r#""devices": 1, "cpu": 128"#, "asks for more processors or memory than there are for each device"),
    ] {
        let load = lines(&format!(r#"{{"submit": 0, "duration": 10, {more}}}"#));
        assert!(said("fifo", &two(""), &load).ends_with(what), "{}", said("fifo", &two(""), &load));
    }
}
