//! The experiment by name: Muri's traces on 64 devices.

use super::{MuriCluster, MuriPolicy, MuriTotals, jobs_of, play};
use crate::published::compare::{Fact, fact, open, plain_name, policies, tell, within};
use crate::published::{Choice, Experiment, ExperimentError, Files, Knob, Outcome};
use crate::trace::MuriTrace;

/// `muri-trace3`: three policies that know durations or learn service, on a trace of Muri's.
pub(in crate::published) const EXPERIMENT: Experiment = Experiment {
    name: "muri-trace3",
    about: "a Philly trace on 64 GPUs by SRTF, SRSF and Tiresias-L (variants trace1 to trace4, trace1_pr to trace4_pr)",
    paper: "Y. Zhao et al., Multi-Resource Interleaving for Deep Learning Training, SIGCOMM 2022 (the raw numbers of its \
            artifact)",
    files: &["muri-philly/trace3.csv"],
    heeds: &[Knob::Variant, Knob::Policies],
    run,
};

const JCT: &str = "mean JCT";
const MAKESPAN: &str = "makespan";
const P99: &str = "JCT p99";

const FACTS: &[Fact] = &[
    fact("srtf", JCT, 193_081.796, 3),
    fact("srtf", MAKESPAN, 8_174_135.0, 0),
    fact("srtf", P99, 4_538_891.0, 0),
    fact("srsf", JCT, 185_021.880, 3),
    fact("srsf", MAKESPAN, 8_174_135.0, 0),
    fact("srsf", P99, 4_189_699.0, 0),
    fact("tiresias-l", JCT, 347_213.248, 3),
    fact("tiresias-l", MAKESPAN, 8_174_226.0, 0),
    fact("tiresias-l", P99, 4_983_397.0, 0),
];

fn run(files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
    let variant = choice.variant.as_deref().unwrap_or("trace3");
    plain_name(variant)?;
    let policies = policies(&choice.policies, &MuriPolicy::PUBLISHED, MuriPolicy::PUBLISHED.len())?;
    let (trace, at_once) = variant.strip_suffix("_pr").map_or((variant, false), |trace| (trace, true));
    let path = format!("muri-philly/{trace}.csv");
    let rows: Vec<_> =
        MuriTrace::open(open(files, &path)?).and_then(Iterator::collect::<Result<_, _>>).map_err(within(&path))?;
    let jobs = jobs_of(&rows, at_once);
    let facts = if variant == "trace3" { FACTS } else { &[] };
    let mut outcome = Outcome::default();
    for (name, policy) in policies {
        let totals = MuriTotals::of(&jobs, &play(&jobs, MuriCluster::PUBLISHED, policy));
        tell(
            &mut outcome,
            facts,
            name,
            &[
                (JCT, "s", totals.jct_mean, 6),
                (MAKESPAN, "s", totals.makespan, 6),
                (P99, "s", totals.jct_p99, 6),
                ("preemptions", "", totals.preemptions as f64, 0),
                ("jobs that ended", "", totals.ended as f64, 0),
            ],
        );
    }
    Ok(outcome)
}
