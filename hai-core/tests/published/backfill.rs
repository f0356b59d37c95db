//! Backfilling on KTH-SP2 (pyss) and on Batsim's example.

use hai_core::published::backfill::{
    Backfill, BackfillRules, BatchJob, BatchOutcome, BatchTotals, Compress, SwfPreparation, batsim_jobs, play,
};
use hai_core::trace::{BatsimExecution, BatsimWorkload, SwfTrace, batsim_executions};

use super::files::shared;

fn log(name: &str, preparation: SwfPreparation) -> Option<(Vec<BatchJob>, u32)> {
    let text = shared(&format!("swf/{name}.swf.gz"))?;
    let mut trace = SwfTrace::new(&text[..]);
    let jobs: Vec<_> = trace.by_ref().map(Result::unwrap).collect();
    let processors = trace.processors().unwrap();
    Some((jobs.iter().filter_map(|job| preparation.prepare(job, processors)).collect(), processors))
}

fn totals(jobs: &[BatchJob], processors: u32, rules: &BackfillRules) -> BatchTotals {
    let totals = BatchTotals::of(jobs, &play(jobs, processors, rules));
    assert_eq!(totals.ended, jobs.len());
    totals
}

#[test]
fn kth_is_met_to_the_printed_digit() {
    let Some((jobs, processors)) = log("KTH-SP2-1996-2.1-cln", SwfPreparation::STRONG) else { return };
    assert_eq!((jobs.len(), processors), (28_481, 100));
    let row = |rules| {
        let totals = totals(&jobs, processors, &rules);
        format!("{:.6} {:.6} {}", totals.flow_mean, totals.bounded_slowdown_mean, totals.flow_max)
    };
    assert_eq!(row(BackfillRules::FCFS), "362636.335241 6814.973310 1125465");
    assert_eq!(row(BackfillRules::EASY), "15696.798181 92.576540 309231");
}

#[test]
fn atlas_is_played_by_every_policy() {
    let Some((jobs, processors)) = log("LLNL-Atlas-2006-2.1-cln", SwfPreparation::STRONG) else { return };
    assert_eq!(processors, 9216);
    let wait = |rules| totals(&jobs, processors, &rules).wait_mean;
    let fcfs = wait(BackfillRules::FCFS);
    for rules in [BackfillRules::EASY, BackfillRules::EASY_SJBF, BackfillRules::CONSERVATIVE] {
        assert!(wait(rules) < fcfs, "{rules:?}");
    }
}

#[test]
fn kth_with_other_estimates_is_met_too() {
    let Some((jobs, processors)) = log("KTH-SP2-1996-2.1-cln", SwfPreparation::STRONG) else { return };
    let row = |estimate: fn(&BatchJob) -> f64| {
        let jobs: Vec<_> = jobs.iter().map(|job| BatchJob { estimate: estimate(job), ..job.clone() }).collect();
        let totals = totals(&jobs, processors, &BackfillRules::EASY);
        format!("{:.2} {:.2}", totals.flow_mean, totals.bounded_slowdown_mean)
    };
    assert_eq!(row(|job| job.run), "15187.61 71.72");
    assert_eq!(row(|job| 2.0 * job.estimate), "14900.17 79.93");
}

fn medium_late() -> Option<(Vec<BatchJob>, u32, Vec<BatsimExecution>)> {
    let mut workload = BatsimWorkload::read(&shared("batsim-medium-late/medium_late.json.gz")?[..]).unwrap();
    let executions = batsim_executions(&shared("batsim-medium-late/easy_out_jobs.csv.gz")?[..]).unwrap();
    workload.submitted_as(&executions);
    Some((batsim_jobs(&workload), workload.processors, executions))
}

#[test]
fn batsim_easy_starts_every_job_when_and_where_it_did() {
    let Some((jobs, processors, executions)) = medium_late() else { return };
    let outcomes = play(&jobs, processors, &BackfillRules::BATSIM_EASY);
    let theirs: std::collections::BTreeMap<u64, &BatsimExecution> =
        executions.iter().map(|job| (job.name.parse().unwrap(), job)).collect();
    let same = |(job, ours): &(&BatchJob, &BatchOutcome)| {
        let theirs = theirs[&job.number];
        let near = |one: Option<f64>, other: f64| one.is_some_and(|one| (one - other).abs() < 1e-3);
        near(ours.start, theirs.start) && near(ours.end, theirs.end) && ours.processors == theirs.processors
    };
    let wrong: Vec<_> = jobs.iter().zip(&outcomes).filter(|pair| !same(pair)).collect();
    assert!(wrong.is_empty(), "{} differ, the first: {:?}", wrong.len(), wrong[0]);
    let totals = BatchTotals::of(&jobs, &outcomes);
    let row = format!(
        "{:.6} {:.6} {:.6} {:.6} {:.2}",
        totals.wait_mean, totals.flow_mean, totals.wait_max, totals.slowdown_mean, totals.makespan
    );
    assert_eq!(row, "9.516326 160.927071 316.742718 1.391621 16088.51");
}

#[test]
fn batsim_variants_are_others() {
    let Some((jobs, processors, _)) = medium_late() else { return };
    let wait = |rules: BackfillRules| format!("{:.6}", totals(&jobs, processors, &rules).wait_mean);
    assert_eq!(wait(BackfillRules { numbered: false, ..BackfillRules::BATSIM_EASY }), "8.672887");
    assert_eq!(wait(BackfillRules::BATSIM_CONSERVATIVE), "9.852251");
    let anew = Backfill::Conservative(Compress::Anew);
    assert_eq!(wait(BackfillRules { backfill: anew, ..BackfillRules::BATSIM_CONSERVATIVE }), "9.859480");
}
