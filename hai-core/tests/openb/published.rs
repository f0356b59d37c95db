//! What was published, to the digit: arrival orders, ranks, checkpoints, curves.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use hai_core::placement::Policy;
use hai_core::published::openb::{CurveMaker, Event, OpenbPolicy, Workload, play};
use hai_core::published::{Choice, Experiment, ExperimentError, Files};

use super::traces::{folder, workload};

fn number(name: &str) -> u32 {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("a number")
}

fn events(workload: &Workload, seed: i64, policy: OpenbPolicy) -> Vec<Event> {
    let mut events = Vec::new();
    let course = workload.course(seed, 1.3).expect("a course");
    play(workload, &course, Policy::of(&policy.policy(workload, seed)), |event| events.push(*event));
    events
}

#[test]
fn pods_arrive_and_nodes_stand_in_the_published_order() {
    let (Some(workload), Some(folder)) = (workload("default"), folder()) else { return };
    let read = |file: &str| fs::read_to_string(folder.join("orders").join(file)).expect("a file");
    let (arrivals, ranks, summary) = (read("arrivals_default.csv"), read("node_rank.csv"), read("summary.csv"));
    for (column, seed) in (0..).zip(42_i64..45) {
        let course = workload.course(seed, 1.3).expect("a course");
        let cells = arrivals.lines().skip(1).filter_map(|line| line.split(',').nth(column)?.parse().ok());
        let ours: Vec<u32> = course.arrivals.iter().map(|&pod| number(&workload.pods()[pod].name)).collect();
        assert_eq!(ours, cells.collect::<Vec<u32>>(), "seed {seed}");
        let known: BTreeMap<&str, usize> = ranks
            .lines()
            .skip(1)
            .map(|line| {
                let cells: Vec<&str> = line.split(',').collect();
                (cells[0], cells[column + 1].parse().expect("a rank"))
            })
            .collect();
        let nodes = workload.nodes().iter().zip(&course.ranks);
        assert_eq!(nodes.map(|(node, &rank)| (node.name.as_str(), rank)).collect::<BTreeMap<_, _>>(), known);
        let milli: u64 = course.arrivals.iter().map(|&pod| workload.pods()[pod].device_milli()).sum();
        assert!(summary.contains(&format!("default,{seed},8152,{},8152,", ours.len())));
        assert!(summary.contains(&format!(",{milli},")), "{milli}");
    }
}

#[test]
fn a_trace_with_too_much_work_loses_pods_at_random() {
    let Some(workload) = workload("multigpu50") else { return };
    let course = workload.course(42, 1.3).expect("a course");
    let milli: u64 = course.arrivals.iter().map(|&pod| workload.pods()[pod].device_milli()).sum();
    // Pods are taken out one by one until it is no more than wanted, so it is less by less than the largest pod.
    assert!((8_075_600 - 8000..=8_075_600).contains(&milli), "{milli}");
    let mut pods = course.arrivals.clone();
    pods.sort_unstable();
    pods.dedup();
    assert_eq!(pods.len(), course.arrivals.len());
}

/// Event, pod, node (none: it fails), what is used, fragmentation.
type Checkpoint = (usize, u32, Option<(usize, u32)>, u64, f64);

#[test]
fn the_checkpoints_of_seed_42_are_passed() {
    let Some(workload) = workload("default") else { return };
    let ranks = workload.course(42, 1.3).expect("a course").ranks;
    let fgd: &[Checkpoint] = &[
        (0, 255, Some((0, 260)), 0, 866_232.55),
        (1, 1685, Some((37, 1080)), 810, 865_816.03),
        (2, 6784, Some((0, 260)), 1810, 865_680.05),
        (100, 3796, Some((3, 582)), 72_210, 850_905.51),
        (1000, 6564, Some((151, 109)), 753_070, 785_436.78),
        (5000, 1270, Some((772, 486)), 3_712_370, 500_561.59),
        (8151, 538, None, 5_910_000, 300_696.14),
        (10_865, 5877, None, 5_919_410, 291_361.65),
    ];
    let best_fit: &[Checkpoint] = &[
        (0, 255, Some((37, 1080)), 0, 866_627.35),
        (1, 1685, Some((137, 292)), 810, 866_210.83),
        (2, 6784, Some((12, 16)), 1810, 866_074.85),
        (100, 3796, Some((382, 1144)), 72_210, 875_906.15),
        (1000, 6564, Some((693, 919)), 753_070, 869_009.04),
        (5000, 1270, Some((710, 87)), 3_712_370, 621_246.45),
        (8151, 538, None, 5_773_030, 434_619.28),
        (10_865, 5877, None, 5_785_450, 422_360.83),
    ];
    let dot_product: &[Checkpoint] = &[
        (0, 255, Some((6, 431)), 0, 867_083.70),
        (1, 1685, Some((37, 1080)), 810, 866_667.17),
        (2, 6784, Some((12, 16)), 1810, 866_531.20),
        (100, 3796, Some((336, 862)), 72_210, 891_236.13),
        (1000, 6564, Some((699, 951)), 753_070, 897_077.43),
        (5000, 1270, Some((703, 1072)), 3_712_370, 707_923.44),
        (8151, 538, None, 5_611_320, 597_672.13),
        (10_865, 5877, None, 5_624_470, 584_628.04),
    ];
    for (policy, points, failed_first, failed) in [
        (OpenbPolicy::Fgd, fgd, 206, 2532),
        (OpenbPolicy::BestFit, best_fit, 355, 2676),
        (OpenbPolicy::DotProd, dot_product, 553, 2874),
    ] {
        let events = events(&workload, 42, policy);
        for &(at, pod, node, used, fragmentation) in points {
            let event = &events[at];
            let placed = event.node.map(|node| (ranks[node], number(workload.nodes()[node].name.as_str())));
            let ours = (number(&workload.pods()[event.pod].name), placed, event.used);
            assert_eq!(ours, (pod, node, used), "{policy}, event {at}");
            assert_eq!(format!("{:.2}", event.fragmentation), format!("{fragmentation:.2}"), "{policy}, event {at}");
        }
        let failures = |events: &[Event]| events.iter().filter(|event| event.node.is_none()).count();
        assert_eq!((failures(&events[..8152]), failures(&events)), (failed_first, failed), "{policy}");
    }
    for (policy, used, fragmentation, failed) in [
        (OpenbPolicy::GpuClustering, 5_686_120, "519629.26", 2797),
        (OpenbPolicy::GpuPacking, 5_688_580, "518404.81", 2794),
    ] {
        let events = events(&workload, 42, policy);
        let last = events.last().expect("events");
        let ours = (last.used, format!("{:.2}", last.fragmentation));
        assert_eq!(ours, (used, fragmentation.to_owned()), "{policy}");
        assert_eq!(events.iter().filter(|event| event.node.is_none()).count(), failed, "{policy}");
    }
}

/// Files of the folder that holds openb.
struct Traces;

impl Files for Traces {
    fn open(&mut self, path: &str) -> io::Result<Box<dyn io::Read>> {
        let openb = folder().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(fs::read(openb.with_file_name(path))?)))
    }
}

#[test]
fn all_published_curves_are_met_at_every_per_cent() {
    if folder().is_none() {
        return;
    }
    let experiment = Experiment::find("openb-fgd").expect("it is there");
    let outcome = experiment.play(&mut Traces, &Choice::default()).expect("played");
    // 5 policies, 3 seeds, 2 metrics, each at 100 % and all along.
    assert_eq!(outcome.figures.len(), 60);
    assert!(outcome.is_met(), "{:#?}", outcome.figures.iter().filter(|figure| !figure.is_met()).collect::<Vec<_>>());
    assert_eq!(outcome.curves.len(), 45);
    assert!(outcome.curves.iter().all(|curve| curve.values.len() == 131));
}

#[test]
fn random_places_give_the_published_mean() {
    if folder().is_none() {
        return;
    }
    let choice = Choice { policies: vec!["random".into()], seeds: (42..46).collect(), ..Choice::default() };
    let outcome = Experiment::find("openb-fgd").expect("it is there").play(&mut Traces, &choice).expect("played");
    let [mean] = &outcome.figures[..] else { panic!("{:?}", outcome.figures) };
    assert!(mean.is_met() && mean.tolerance < 0.6, "{mean:?}");
    // Four points above is FGD, and four below nothing is.
    assert!((84.0..89.0).contains(&mean.ours));
}

#[test]
fn the_own_placement_gives_out_a_point_more() {
    let Some(workload) = workload("default") else { return };
    let at_100 = |policy: OpenbPolicy, seed| {
        let course = workload.course(seed, 1.3).expect("a course");
        let mut maker = CurveMaker::new(workload.device_milli(), 1.3);
        play(&workload, &course, Policy::of(&policy.policy(&workload, seed)), |event| maker.add(event));
        maker.curves().alloc[100].expect("a value")
    };
    for seed in 42..45 {
        let (own, fgd) = (at_100(OpenbPolicy::CuttingStock, seed), at_100(OpenbPolicy::Fgd, seed));
        // Over the ten published seeds it is 0.91 to 1.25 more, and never below 96.24.
        assert!(own >= 96.2 && own - fgd >= 0.9, "seed {seed}: {own}, {fgd}");
    }
}

#[test]
fn what_was_not_published_is_told_alone() {
    if folder().is_none() {
        return;
    }
    let choice =
        Choice { variant: Some("gpushare100".into()), seeds: vec![47], policies: vec!["fgd".into()], tune: Some(1.1) };
    let outcome = Experiment::find("openb-fgd").expect("it is there").play(&mut Traces, &choice).expect("played");
    assert!(outcome.figures.is_empty() && outcome.is_met());
    assert_eq!(outcome.curves.iter().map(|curve| curve.values.len()).collect::<Vec<_>>(), [111; 3]);
    assert!(outcome.measures.iter().any(|measure| measure.name == "FGD, seed 47: allocation at 100 %"));
}

#[test]
fn a_choice_that_can_not_be_had_is_refused() {
    struct Nothing;
    impl Files for Nothing {
        fn open(&mut self, _path: &str) -> io::Result<Box<dyn io::Read>> {
            Err(io::ErrorKind::NotFound.into())
        }
    }
    let experiment = Experiment::find("openb-fgd").expect("it is there");
    let play = |choice: Choice| experiment.play(&mut Nothing, &choice).expect_err("refused").to_string();
    let policy = play(Choice { policies: vec!["best".into()], ..Choice::default() });
    assert!(policy.starts_with("the policy best is not known here; there are BestFit, "), "{policy}");
    assert!(play(Choice { variant: Some("../x".into()), ..Choice::default() }).contains("no name of a workload"));
    assert!(play(Choice::default()).starts_with("openb/openb_node_list_gpu_node.csv can not be opened"));
    let broken = |text: &'static str| {
        struct Broken(&'static str);
        impl Files for Broken {
            fn open(&mut self, _path: &str) -> io::Result<Box<dyn io::Read>> {
                Ok(Box::new(self.0.as_bytes()))
            }
        }
        experiment.play(&mut Broken(text), &Choice::default())
    };
    let error = broken("sn,cpu_milli,memory_mib,gpu,model\na,1,1,x,A\n").expect_err("broken");
    assert!(matches!(error, ExperimentError::Trace { .. }));
    assert!(error.to_string().starts_with("openb/openb_node_list_gpu_node.csv: line 2, column gpu"), "{error}");
}
