//! The experiments by name: KTH-SP2 by pyss, and Batsim's example.

use std::collections::BTreeMap;

use super::{
    Backfill, BackfillRules, BatchJob, BatchOutcome, BatchTotals, Compress, SwfPreparation, batsim_jobs, play,
};
use crate::published::compare::{Fact, Ours, fact, open, open_if_any, plain_name, policies, tell, within};
use crate::published::{Choice, Experiment, ExperimentError, Figure, Files, Knob, Outcome};
use crate::trace::{BatsimExecution, BatsimWorkload, SwfJob, SwfTrace, batsim_executions};

/// `kth-easy`: backfilling on a log of the Parallel Workloads Archive.
pub(in crate::published) const KTH: Experiment = Experiment {
    name: "kth-easy",
    about: "28,481 jobs on the 100 processors of KTH's SP2 by backfilling (variants llnl-atlas, nasa-ipsc, or the name of a log)",
    paper: "E. Gaussier et al., Improving Backfilling by using Machine Learning to Predict Running Times, SC 2015 (pyss)",
    files: &["swf/KTH-SP2-1996-2.1-cln.swf"],
    heeds: &[Knob::Variant, Knob::Policies],
    run: kth,
};

/// `batsim-medium-late`: Batsim's example workload.
pub(in crate::published) const BATSIM: Experiment = Experiment {
    name: "batsim-medium-late",
    about: "801 jobs on 32 machines by EASY and conservative backfilling with machines by number",
    paper: "P.-F. Dutot et al., Batsim: a Realistic Language-Independent Resources and Jobs Management Systems \
            Simulator, JSSPP 2016 (the results that come with evalys)",
    files: &[WORKLOAD, "batsim-medium-late/easy_out_jobs.csv"],
    heeds: &[Knob::Policies],
    run: batsim,
};

const WORKLOAD: &str = "batsim-medium-late/medium_late.json";

/// What jobs are said to last.
#[derive(Clone, Copy)]
enum Estimates {
    AsGiven,
    Exact,
    Twice,
}

const KTH_POLICIES: [(&str, (BackfillRules, Estimates)); 7] = [
    ("fcfs", (BackfillRules::FCFS, Estimates::AsGiven)),
    ("easy", (BackfillRules::EASY, Estimates::AsGiven)),
    ("easy-sjbf", (BackfillRules::EASY_SJBF, Estimates::AsGiven)),
    ("conservative", (BackfillRules::CONSERVATIVE, Estimates::AsGiven)),
    ("easy-clairvoyant", (BackfillRules::EASY, Estimates::Exact)),
    ("easy-double", (BackfillRules::EASY, Estimates::Twice)),
    ("easy-sjbf-clairvoyant", (BackfillRules::EASY_SJBF, Estimates::Exact)),
];

const FLOW: &str = "mean flow";
const FLOW_MAX: &str = "longest flow";
const BOUNDED: &str = "mean bounded slowdown";
const WAIT: &str = "mean wait";
const WAIT_MAX: &str = "longest wait";
const SLOWDOWN: &str = "mean slowdown";
const MAKESPAN: &str = "makespan";

const KTH_FACTS: &[Fact] = &[
    fact("fcfs", FLOW, 362_636.335241, 6),
    fact("fcfs", BOUNDED, 6_814.973310, 6),
    fact("fcfs", FLOW_MAX, 1_125_465.0, 0),
    fact("easy", FLOW, 15_696.798181, 6),
    fact("easy", BOUNDED, 92.576540, 6),
    fact("easy", FLOW_MAX, 309_231.0, 0),
    fact("easy-clairvoyant", FLOW, 15_187.61, 2),
    fact("easy-clairvoyant", BOUNDED, 71.72, 2),
    fact("easy-double", FLOW, 14_900.17, 2),
    fact("easy-double", BOUNDED, 79.93, 2),
];

fn kth(files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
    let variant = choice.variant.as_deref().unwrap_or("kth-sp2");
    plain_name(variant)?;
    let policies = policies(&choice.policies, &KTH_POLICIES, KTH_POLICIES.len())?;
    let log = match variant {
        "kth-sp2" => "KTH-SP2-1996-2.1-cln",
        "llnl-atlas" => "LLNL-Atlas-2006-2.1-cln",
        "nasa-ipsc" => "NASA-iPSC-1993-3.1-cln",
        other => other,
    };
    let path = format!("swf/{log}.swf");
    let mut trace = SwfTrace::new(open(files, &path)?);
    let rows: Vec<SwfJob> = trace.by_ref().collect::<Result<_, _>>().map_err(within(&path))?;
    let Some(processors) = trace.processors() else {
        return Err(ExperimentError::Choice(format!("{path} does not say how many processors there are (MaxProcs)")));
    };
    // A log in which nobody says how long a job will run can be played by who knows it.
    let said = rows.iter().any(|job| job.estimate.is_some_and(|estimate| estimate > 0.0));
    let preparation = if said { SwfPreparation::STRONG } else { SwfPreparation::CLAIRVOYANT };
    let jobs: Vec<BatchJob> = rows.iter().filter_map(|job| preparation.prepare(job, processors)).collect();
    let facts = if variant == "kth-sp2" { KTH_FACTS } else { &[] };
    let mut outcome = Outcome::default();
    for (name, (rules, estimates)) in policies {
        let estimated: Vec<BatchJob> =
            jobs.iter().map(|job| BatchJob { estimate: estimates.of(job), ..job.clone() }).collect();
        let totals = BatchTotals::of(&jobs, &play(&estimated, processors, &rules));
        tell(&mut outcome, facts, name, &told(&totals));
    }
    Ok(outcome)
}

impl Estimates {
    fn of(self, job: &BatchJob) -> f64 {
        match self {
            Estimates::AsGiven => job.estimate,
            Estimates::Exact => job.run,
            Estimates::Twice => 2.0 * job.estimate,
        }
    }
}

const ANEW: BackfillRules =
    BackfillRules { backfill: Backfill::Conservative(Compress::Anew), ..BackfillRules::BATSIM_EASY };
const BATSIM_POLICIES: [(&str, BackfillRules); 4] = [
    ("easy", BackfillRules::BATSIM_EASY),
    ("conservative", BackfillRules::BATSIM_CONSERVATIVE),
    ("easy-counted", BackfillRules { numbered: false, ..BackfillRules::BATSIM_EASY }),
    ("conservative-anew", ANEW),
];

const BATSIM_FACTS: &[Fact] = &[
    fact("easy", WAIT, 9.516326, 6),
    fact("easy", WAIT_MAX, 316.742718, 6),
    fact("easy", FLOW, 160.927071, 6),
    fact("easy", SLOWDOWN, 1.391621, 6),
    fact("easy", MAKESPAN, 16_088.51, 2),
    fact("conservative", WAIT, 9.852251, 6),
    fact("conservative", FLOW, 161.262997, 6),
    fact("conservative", MAKESPAN, 16_088.51, 2),
];

fn batsim(files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
    let policies = policies(&choice.policies, &BATSIM_POLICIES, BATSIM_POLICIES.len())?;
    let mut workload = BatsimWorkload::read(open(files, WORKLOAD)?).map_err(within(WORKLOAD))?;
    let easy = executions(files, "easy")?;
    if let Some(easy) = &easy {
        workload.submitted_as(easy);
    }
    let jobs = batsim_jobs(&workload);
    let mut outcome = Outcome::default();
    for (name, rules) in policies {
        let ours = play(&jobs, workload.processors, &rules);
        tell(&mut outcome, BATSIM_FACTS, name, &told(&BatchTotals::of(&jobs, &ours)));
        if let Some(theirs) = executions(files, name)? {
            let (times, places) = differ(&workload, &ours, &theirs);
            let count = |what: &str, many: usize| Figure::exact(format!("{name}: {what}"), "", many as f64, 0.0, 0);
            outcome.figures.push(count("jobs that start or end at another time", times));
            outcome.figures.push(count("jobs on other machines", places));
        }
    }
    Ok(outcome)
}

/// The table that Batsim wrote with a policy, where it lies beside the workload.
fn executions(files: &mut dyn Files, policy: &str) -> Result<Option<Vec<BatsimExecution>>, ExperimentError> {
    let path = format!("batsim-medium-late/{policy}_out_jobs.csv");
    let Some(read) = open_if_any(files, &path)? else { return Ok(None) };
    batsim_executions(read).map(Some).map_err(within(&path))
}

/// How many jobs start or end more than a millisecond away, and how many run on other machines.
fn differ(workload: &BatsimWorkload, ours: &[BatchOutcome], theirs: &[BatsimExecution]) -> (usize, usize) {
    let theirs: BTreeMap<&str, &BatsimExecution> = theirs.iter().map(|job| (job.name.as_str(), job)).collect();
    let near = |one: Option<f64>, other: f64| one.is_some_and(|one| (one - other).abs() <= 1e-3);
    let (mut times, mut places) = (0, 0);
    for (job, ours) in workload.jobs.iter().zip(ours) {
        let theirs = theirs.get(job.name.as_str());
        times +=
            usize::from(!theirs.is_some_and(|theirs| near(ours.start, theirs.start) && near(ours.end, theirs.end)));
        places += usize::from(theirs.is_none_or(|theirs| ours.processors != theirs.processors));
    }
    (times, places)
}

fn told(totals: &BatchTotals) -> [Ours; 8] {
    [
        (FLOW, "s", totals.flow_mean, 6),
        (BOUNDED, "", totals.bounded_slowdown_mean, 6),
        (FLOW_MAX, "s", totals.flow_max, 2),
        (WAIT, "s", totals.wait_mean, 6),
        (WAIT_MAX, "s", totals.wait_max, 6),
        (SLOWDOWN, "", totals.slowdown_mean, 6),
        (MAKESPAN, "s", totals.makespan, 2),
        ("jobs that ended", "", totals.ended as f64, 0),
    ]
}
