//! The experiments by name: Helios's cluster Venus, by every policy, beside the published table and job by job; and Philly.

use std::collections::BTreeMap;
use std::io::Read;

use super::{
    HeliosJob, Outcome as JobOutcome, Played, Rules, Ties, Totals, Window, jobs_of, philly, play, play_backfill,
};
use crate::published::backfill::BackfillRules;
use crate::published::compare::{Fact, Ours, fact, open, open_if_any, policies, tell, within};
use crate::published::{Choice, Experiment, ExperimentError, Figure, Files, Knob, Outcome};
use crate::trace::{HeliosTrace, Table, TraceError, predictions, virtual_clusters};

/// `venus`: every policy on Venus in September 2020.
pub(in crate::published) const VENUS: Experiment = Experiment {
    name: "venus",
    about: "23,859 GPU jobs of SenseTime's cluster Venus by the policies of two simulators (September 2020; variant april-may)",
    paper: "Q. Hu et al., Characterization and Prediction of Deep Learning Workloads in Large-Scale GPU Datacenters, \
            SC 2021; Q. Hu et al., Lucid, ASPLOS 2023 (their simulators' own results)",
    files: &[SEPTEMBER, CLUSTERS],
    heeds: &[Knob::Variant, Knob::Policies],
    run: venus,
};

/// `philly`: the same policies on Microsoft's Philly.
pub(in crate::published) const PHILLY: Experiment = Experiment {
    name: "philly",
    about: "68,503 GPU jobs of Microsoft's Philly by the same policies (October and November 2017; nothing to compare with)",
    paper: "M. Jeon et al., Analysis of Large-Scale Multi-Tenant GPU Clusters for DNN Training Workloads, USENIX ATC 2019 \
            (the list that Sia ships); rules and virtual clusters of Q. Hu et al., SC 2021",
    files: &[PHILLY_JOBS],
    heeds: &[Knob::Policies],
    run: of_philly,
};

const PHILLY_JOBS: &str = "philly/philly_jobs.csv";
const SEPTEMBER: &str = "helios-venus-sept/venus_sept.csv";
/// How many devices Venus has by its paper, 133 nodes; the table of virtual clusters, some of which share, sums up to more.
const DEVICES: u64 = 1064;
const CLUSTERS: &str = "helios-venus-sept/vc_config.csv";
/// Where predictions for QSSF may lie; they can not be passed on with the trace.
const PREDICTIONS: [&str; 2] = ["helios-venus-sept/predictions.csv", "helios-venus-sept/pred_lgb.csv"];

const fn by_number(rules: Rules) -> Rules {
    Rules { ties: Ties::Number, ..rules }
}

/// By which rules it is played.
#[derive(Clone, Copy)]
enum Policy {
    Family(Rules),
    Backfill(BackfillRules),
}

use Policy::{Backfill, Family};

/// The policies; the first [`PLAYED`] of them are played unless others are named.
const POLICIES: [(&str, Policy); 13] = [
    ("fifo", Family(Rules::FIFO)),
    ("sjf", Family(Rules::SJF)),
    ("qssf", Family(Rules::QSSF)),
    ("srtf", Family(Rules::SRTF_LUCID)),
    ("srtf-helios", Family(Rules::SRTF_HELIOS)),
    ("tiresias", Family(Rules::TIRESIAS)),
    ("fifo-by-number", Family(by_number(Rules::FIFO))),
    ("tiresias-by-number", Family(by_number(Rules::TIRESIAS))),
    ("sjf-by-number", Family(by_number(Rules::SJF))),
    ("qssf-by-number", Family(by_number(Rules::QSSF))),
    ("srtf-by-number", Family(by_number(Rules::SRTF_LUCID))),
    ("easy-counted", Backfill(BackfillRules::EASY)),
    ("easy-sjbf-counted", Backfill(BackfillRules::EASY_SJBF)),
];
const PLAYED: usize = 8;
/// How many of them are played on Philly, where nothing tells of ties.
const PLAYED_ON_PHILLY: usize = 6;

impl Policy {
    fn play(self, jobs: &[HeliosJob], nodes: &[u32]) -> Played {
        match self {
            Family(rules) => play(jobs, nodes, &rules),
            Backfill(rules) => {
                let devices: Vec<u32> = nodes.iter().map(|nodes| nodes * Rules::FIFO.per_node).collect();
                play_backfill(jobs, &devices, &rules)
            }
        }
    }
}

const JCT: &str = "mean JCT";
const QUEUE: &str = "mean queue";

/// What the simulators of the authors print on this input, and what they printed in their papers.
const FACTS: &[Fact] = &[
    fact("fifo", JCT, 66_850.87, 2),
    // As it was read off the paper; the order of ties there is unknown, and alone moves it by 4 %.
    Fact { run: "fifo", figure: JCT, value: 64_702.0, digits: 0, tolerance: 2_600.0 },
    fact("fifo", QUEUE, 55_081.60, 2),
    fact("fifo", "JCT p50", 24_474.0, 0),
    fact("fifo", "JCT p99", 408_216.0, 0),
    fact("fifo", "queue p99", 234_786.0, 0),
    fact("fifo", "queue p99.9", 587_041.0, 0),
    fact("fifo", "mean JCT, at most 8 GPUs", 70_386.0, 0),
    fact("fifo", "mean JCT, more than 8 GPUs", 35_845.0, 0),
    fact("fifo", "jobs that waited", 15_400.0, 0),
    fact("fifo", "preemptions", 0.0, 0),
    fact("fifo", "makespan", 3_354_078.0, 0),
    fact("fifo", "occupancy in the window", 0.8278, 4),
    Fact { run: "sjf", figure: JCT, value: 21_076.0, digits: 0, tolerance: 105.0 },
    fact("sjf", JCT, 21_095.0, 1),
    fact("srtf-helios", JCT, 12_622.88, 2),
    fact("srtf-helios", QUEUE, 845.50, 2),
    fact("srtf-helios", "preemptions", 6_501.0, 0),
    fact("tiresias", JCT, 14_719.89, 2),
    fact("tiresias", QUEUE, 2_935.93, 2),
    fact("tiresias", "JCT p50", 246.0, 0),
    fact("tiresias", "JCT p99", 287_485.0, 0),
    fact("tiresias", "queue p99", 67_165.0, 0),
    fact("tiresias", "queue p99.9", 199_407.0, 0),
    fact("tiresias", "mean JCT, at most 8 GPUs", 13_905.0, 0),
    fact("tiresias", "mean JCT, more than 8 GPUs", 21_863.0, 0),
    fact("tiresias", "jobs that waited", 23_450.0, 0),
    fact("tiresias", "preemptions", 7_420.0, 0),
    fact("tiresias", "makespan", 3_354_136.0, 0),
    fact("fifo-by-number", JCT, 64_161.6, 1),
    fact("fifo-by-number", QUEUE, 52_392.3, 1),
    fact("tiresias-by-number", JCT, 14_699.9, 1),
    fact("tiresias-by-number", QUEUE, 2_915.9, 1),
];

/// The same with the predictions that the authors made.
const PREDICTED: &[Fact] = &[fact("qssf-by-number", JCT, 18_686.0, 1), fact("qssf-by-number", QUEUE, 6_916.7, 1)];

fn venus(files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
    let (path, window) = match choice.variant.as_deref() {
        None | Some("september") => (SEPTEMBER, Some(Window::VENUS_SEPTEMBER)),
        Some("april-may") => ("helios-venus-aprmay/venus_apr_may.csv", None),
        Some(other) => {
            let known = vec!["september".into(), "april-may".into()];
            return Err(ExperimentError::Unknown { what: format!("the variant {other}"), known });
        }
    };
    let policies = policies(&choice.policies, &POLICIES, PLAYED)?;
    let september = path == SEPTEMBER;
    let clusters = virtual_clusters(open(files, CLUSTERS)?).map_err(within(CLUSTERS))?;
    let rows: Vec<_> =
        HeliosTrace::open(open(files, path)?).and_then(Iterator::collect::<Result<_, _>>).map_err(within(path))?;
    let mut jobs = jobs_of(&rows, &clusters, window);
    if september {
        predict(files, &mut jobs)?;
    }
    let predicted = jobs.iter().all(|job| job.predicted.is_some()) && !jobs.is_empty();
    let nodes: Vec<u32> = clusters.iter().map(|vc| vc.nodes).collect();
    let submits = || jobs.iter().map(|job| job.submit);
    let window = window.unwrap_or(Window { from: submits().min().unwrap_or(0), until: submits().max().unwrap_or(0) });
    let mut outcome = Outcome::default();
    for (name, policy) in policies {
        let played = policy.play(&jobs, &nodes);
        let totals = Totals::of(&jobs, &played.outcomes, window.from);
        let occupancy = played.occupancy(&jobs, DEVICES, window.from, window.until);
        let facts = if september { FACTS } else { &[] };
        tell(&mut outcome, facts, name, &told(&totals, occupancy, name == "qssf-by-number" && predicted));
        if name == "qssf-by-number" && predicted && september {
            tell(&mut outcome, PREDICTED, name, &[(JCT, "s", totals.jct_mean, 1), (QUEUE, "s", totals.queue_mean, 1)]);
        }
        if september && (name != "qssf" || predicted) {
            against_oracle(files, &mut outcome, name, &jobs, &played.outcomes)?;
        }
    }
    Ok(outcome)
}

fn of_philly(files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
    let policies = policies(&choice.policies, &POLICIES, PLAYED_ON_PHILLY)?;
    let rows = philly::rows(open(files, PHILLY_JOBS)?).map_err(within(PHILLY_JOBS))?;
    let clusters = philly::clusters();
    let window = philly::WINDOW;
    let jobs = jobs_of(&rows, &clusters, Some(window));
    let nodes: Vec<u32> = clusters.iter().map(|vc| vc.nodes).collect();
    let devices = nodes.iter().map(|&nodes| u64::from(nodes) * u64::from(Rules::FIFO.per_node)).sum();
    let mut outcome = Outcome::default();
    for (name, policy) in policies {
        let played = policy.play(&jobs, &nodes);
        let totals = Totals::of(&jobs, &played.outcomes, window.from);
        let occupancy = played.occupancy(&jobs, devices, window.from, window.until);
        let mut told = told(&totals, occupancy, false);
        told.push(("jobs that ended", "", totals.ended as f64, 0));
        tell(&mut outcome, &[], name, &told);
    }
    Ok(outcome)
}

fn told(totals: &Totals, occupancy: f64, means_told: bool) -> Vec<Ours> {
    let mut told = vec![
        (JCT, "s", totals.jct_mean, 2),
        (QUEUE, "s", totals.queue_mean, 2),
        ("JCT p50", "s", totals.jct_p50, 0),
        ("JCT p99", "s", totals.jct_p99, 0),
        ("queue p99", "s", totals.queue_p99, 0),
        ("queue p99.9", "s", totals.queue_p999, 0),
        ("mean JCT, at most 8 GPUs", "s", totals.jct_small, 0),
        ("mean JCT, more than 8 GPUs", "s", totals.jct_large, 0),
        ("jobs that waited", "", totals.queued as f64, 0),
        ("preemptions", "", totals.preemptions as f64, 0),
        ("makespan", "s", totals.makespan as f64, 0),
        ("occupancy in the window", "", occupancy, 4),
    ];
    if totals.stuck > 0 {
        told.push(("jobs that never ended", "", totals.stuck as f64, 0));
    }
    told.drain(..if means_told { 2 } else { 0 });
    told
}

/// Gives the jobs the predictions that lie beside the trace, if any do.
fn predict(files: &mut dyn Files, jobs: &mut [HeliosJob]) -> Result<(), ExperimentError> {
    for path in PREDICTIONS {
        let Some(read) = open_if_any(files, path)? else { continue };
        let predictions = predictions(read).map_err(within(path))?;
        for job in &mut *jobs {
            job.predicted = predictions.get(&job.number).copied().or(job.predicted);
        }
    }
    Ok(())
}

/// Counts the jobs that went otherwise than in the simulator of the authors, where its results lie beside the trace.
fn against_oracle(
    files: &mut dyn Files,
    outcome: &mut Outcome,
    policy: &str,
    jobs: &[HeliosJob],
    ours: &[JobOutcome],
) -> Result<(), ExperimentError> {
    let path = format!("helios-venus-sept/oracle_{policy}.csv");
    let Some(read) = open_if_any(files, &path)? else { return Ok(()) };
    let theirs = oracle(read).map_err(within(&path))?;
    let differ = jobs.iter().zip(ours).filter(|(job, ours)| theirs.get(&job.number) != Some(ours)).count();
    outcome.figures.push(Figure::exact(format!("{policy}: jobs that differ"), "", differ as f64, 0.0, 0));
    Ok(())
}

/// Reads what a simulator of the authors made of each job, by its number: `job_id`, `start`, `end`, `queue`, `preemptions`.
///
/// # Errors
/// A column is missing, or a number is none.
pub fn oracle(read: impl Read) -> Result<BTreeMap<u64, JobOutcome>, TraceError> {
    let mut table = Table::open(read, &["job_id", "start", "end", "queue", "preemptions"])?;
    let mut jobs = BTreeMap::new();
    while let Some(row) = table.next_row() {
        let row = row?;
        let outcome = JobOutcome {
            start: Some(row.number("start")?),
            end: Some(row.number("end")?),
            queue: row.number("queue")?,
            preemptions: row.number("preemptions")?,
        };
        jobs.insert(row.number("job_id")?, outcome);
    }
    Ok(jobs)
}
