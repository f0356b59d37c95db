//! The same on cuts that are shipped: what came out where the whole traces come out as published.

use hai_core::published::backfill::{BackfillRules, BatchTotals, SwfPreparation, batsim_jobs, play as play_batch};
use hai_core::published::helios::{Rules, Totals, jobs_of, play};
use hai_core::published::muri::{MuriCluster, MuriPolicy, MuriTotals, jobs_of as muri_jobs, play as play_muri};
use hai_core::trace::{BatsimWorkload, HeliosTrace, MuriTrace, SwfTrace, VirtualCluster, batsim_executions};

#[test]
fn three_clusters_of_venus_come_out_as_before() {
    let text = include_bytes!("../../../benches/data/helios-venus-sept-cut.csv");
    let rows: Vec<_> = HeliosTrace::open(&text[..]).unwrap().map(Result::unwrap).collect();
    let vc = |name: &str, nodes| VirtualCluster { name: name.into(), nodes };
    let clusters = [vc("vcHvQ", 8), vc("vcWoR", 5), vc("vc8Gr", 6)];
    let jobs = jobs_of(&rows, &clusters, None);
    assert_eq!(jobs.len(), 2813);
    let got = Rules::PUBLISHED.map(|(name, rules)| {
        let totals = Totals::of(&jobs, &play(&jobs, &[8, 5, 6], &rules).outcomes, 0);
        assert_eq!(totals.ended, 2813);
        format!("{name} {:.2} {:.2} {}", totals.jct_mean, totals.queue_mean, totals.preemptions)
    });
    assert_eq!(
        got,
        [
            "fifo 60052.42 50029.74 0",
            "sjf 20923.72 10901.04 0",
            "qssf 14611.14 4588.46 0",
            "srtf 10936.95 897.67 1079",
            "srtf-helios 10928.04 896.65 1076",
            "tiresias 13862.06 3813.01 1753",
        ]
    );
}

#[test]
fn a_cut_of_muri_comes_out_as_before() {
    let text = include_bytes!("../data/published/muri-trace3-cut.csv");
    let rows: Vec<_> = MuriTrace::open(&text[..]).unwrap().map(Result::unwrap).collect();
    let got: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|at_once| MuriPolicy::PUBLISHED.map(|(name, policy)| (at_once, name, policy)))
        .map(|(at_once, name, policy)| {
            let jobs = muri_jobs(&rows, at_once);
            let totals = MuriTotals::of(&jobs, &play_muri(&jobs, MuriCluster { nodes: 2, per_node: 8 }, policy));
            format!("{name} {} {:.6} {:.6} {}", totals.ended, totals.jct_mean, totals.makespan, totals.preemptions)
        })
        .collect();
    assert_eq!(
        got,
        [
            "srtf 136 264370.951980 3480232.340300 132",
            "srsf 136 267843.283034 3483444.613815 121",
            "tiresias-l 136 813840.822352 3464669.745605 222",
            "srtf 136 314100.184970 3354612.511400 25",
            "srsf 136 315680.260496 3516281.577830 7",
            "tiresias-l 136 1250110.582562 3282165.248495 166",
        ]
    );
}

#[test]
fn a_cut_of_kth_comes_out_as_before() {
    let mut trace = SwfTrace::new(&include_bytes!("../data/published/kth-sp2-cut.swf")[..]);
    let jobs: Vec<_> = trace.by_ref().map(Result::unwrap).collect();
    assert_eq!(trace.processors(), Some(100));
    let jobs: Vec<_> = jobs.iter().filter_map(|job| SwfPreparation::STRONG.prepare(job, 100)).collect();
    let got = BackfillRules::PUBLISHED.map(|(name, rules)| {
        let totals = BatchTotals::of(&jobs, &play_batch(&jobs, 100, &rules));
        format!("{name} {} {:.6} {:.6}", totals.ended, totals.flow_mean, totals.bounded_slowdown_mean)
    });
    assert_eq!(
        got,
        [
            "fcfs 400 13444.327500 232.083916",
            "easy 400 6502.515000 46.812768",
            "easy-sjbf 400 6235.627500 35.791352",
            "conservative 400 6196.160000 39.579471",
            "batsim-easy 400 6744.480000 50.522022",
            "batsim-conservative 400 6181.140000 39.088977",
        ]
    );
}

#[test]
fn a_cut_of_batsim_starts_every_job_when_and_where_it_did() {
    let text = include_bytes!("../data/published/batsim-medium-late-cut.json");
    let mut workload = BatsimWorkload::read(&text[..]).unwrap();
    let theirs = include_bytes!("../data/published/batsim-medium-late-easy-cut.csv");
    let theirs = batsim_executions(&theirs[..]).unwrap();
    workload.submitted_as(&theirs);
    let ours = play_batch(&batsim_jobs(&workload), workload.processors, &BackfillRules::BATSIM_EASY);
    assert_eq!(ours.len(), theirs.len());
    for ((job, ours), theirs) in workload.jobs.iter().zip(&ours).zip(&theirs) {
        assert_eq!(job.name, theirs.name);
        assert!((ours.start.unwrap() - theirs.start).abs() < 1e-3, "{ours:?} {theirs:?}");
        assert!((ours.end.unwrap() - theirs.end).abs() < 1e-3, "{ours:?} {theirs:?}");
        assert_eq!(ours.processors, theirs.processors, "{}", job.name);
    }
}
