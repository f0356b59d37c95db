//! The experiment by name: which runs are played, and what of them was published.

use super::{CurveMaker, Curves, OpenbPolicy, Workload, facts, play};
use crate::model::GroupName;
use crate::placement::Policy;
use crate::published::{Choice, Curve, Experiment, ExperimentError, Figure, Files, Knob, Measure, Outcome};
use crate::trace::{OpenbNodes, OpenbPods, TraceError};

/// `openb-fgd`: all policies of the comparison on openb.
pub(in crate::published) const EXPERIMENT: Experiment = Experiment {
    name: "openb-fgd",
    about: "how much of 6,212 GPUs six placement policies give out while more work arrives than fits (openb, 2023)",
    paper: "Q. Weng et al., Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient \
            Descent, USENIX ATC 2023",
    files: &[NODES, "openb/openb_pod_list_default.csv"],
    heeds: &[Knob::Variant, Knob::Seeds, Knob::Policies, Knob::Tune],
    run,
};

const NODES: &str = "openb/openb_node_list_gpu_node.csv";
/// Shares of arrived load, in per cent, at which ours is told where theirs is not known.
const LOADS_TOLD: [usize; 4] = [50, 80, 100, 130];

fn run(files: &mut dyn Files, choice: &Choice) -> Result<Outcome, ExperimentError> {
    let variant = choice.variant.as_deref().unwrap_or(facts::VARIANT);
    let load = choice.tune.unwrap_or(facts::LOAD);
    let seeds = if choice.seeds.is_empty() { &facts::SEEDS[..] } else { &choice.seeds };
    let policies = policies(&choice.policies)?;
    let workload = read(files, variant)?;
    let published = variant == facts::VARIANT && load == facts::LOAD;

    let mut outcome = Outcome::default();
    let mut random: Vec<f64> = Vec::new();
    for policy in policies {
        for &seed in seeds {
            let curves = curves(&workload, policy, seed, load)?;
            compare(&mut outcome, policy, seed, &curves, published);
            random.extend(
                curves.alloc.get(100).copied().flatten().filter(|_| policy == OpenbPolicy::Random && published),
            );
            for (metric, values) in
                [("alloc", curves.alloc), ("fragamt", curves.fragamt), ("fragratio", curves.fragratio)]
            {
                outcome.curves.push(Curve { metric: metric.into(), policy: policy.to_string(), seed, values });
            }
        }
    }
    if !random.is_empty() {
        let runs = random.len() as f64;
        let (theirs, spread) = facts::RANDOM;
        // Two means of draws differ by three times their spread once in some hundred times.
        let tolerance = 3.0 * spread * (1.0 / runs + 1.0 / facts::RANDOM_RUNS).sqrt();
        let mean = random.iter().sum::<f64>() / runs;
        let name = format!("Random, mean of {runs} seeds: allocation at 100 %");
        outcome.figures.push(Figure::exact(name, "%", mean, theirs, 2).within(tolerance));
    }
    Ok(outcome)
}

/// The curves of one run.
///
/// # Errors
/// The load can not be reached.
fn curves(workload: &Workload, policy: OpenbPolicy, seed: i64, load: f64) -> Result<Curves, ExperimentError> {
    let course = workload.course(seed, load).map_err(|error| ExperimentError::Choice(error.to_string()))?;
    let mut maker = CurveMaker::new(workload.device_milli(), load);
    play(workload, &course, Policy::of(&policy.policy(workload, seed)), |event| maker.add(event));
    Ok(maker.curves())
}

fn policies(names: &[String]) -> Result<Vec<OpenbPolicy>, ExperimentError> {
    if names.is_empty() {
        return Ok(OpenbPolicy::ALL.into_iter().filter(|policy| policy.is_exact()).collect());
    }
    let policy = |name: &String| {
        name.parse().map_err(|known| ExperimentError::Unknown { what: format!("the policy {name}"), known })
    };
    names.iter().map(policy).collect()
}

fn read(files: &mut dyn Files, variant: &str) -> Result<Workload, ExperimentError> {
    if variant.is_empty() || !variant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        let what = format!("{variant:?} is no name of a workload; say e.g. default, gpuspec33 or multigpu20");
        return Err(ExperimentError::Choice(what));
    }
    let in_file = |file: &str, error: TraceError| ExperimentError::Trace { file: file.to_owned(), error };
    let mut open =
        |file: &str| files.open(file).map_err(|source| ExperimentError::File { file: file.to_owned(), source });
    let group = GroupName::new("openb").expect("`openb` is a name");
    let nodes = OpenbNodes::open(open(NODES)?, group).and_then(Iterator::collect);
    let pod_list = format!("openb/openb_pod_list_{variant}.csv");
    let pods = OpenbPods::open(open(&pod_list)?).and_then(Iterator::collect);
    let (nodes, pods) =
        (nodes.map_err(|error| in_file(NODES, error))?, pods.map_err(|error| in_file(&pod_list, error))?);
    Ok(Workload::new(nodes, pods))
}

/// Tells ours, beside theirs where that is known.
fn compare(outcome: &mut Outcome, policy: OpenbPolicy, seed: i64, ours: &Curves, published: bool) {
    let who = format!("{policy}, seed {seed}");
    let metrics = [("alloc", "allocation", &ours.alloc), ("fragamt", "fragmentation", &ours.fragamt)];
    let mut known = false;
    for (metric, words, ours) in metrics {
        let Some(theirs) = facts::curve(metric, policy, seed).filter(|_| published) else { continue };
        known = true;
        let (at, all) = (ours.get(100).copied().flatten(), theirs[100]);
        outcome.figures.push(Figure::exact(format!("{who}: {words} at 100 %"), "%", at.unwrap_or(f64::NAN), all, 2));
        // A point that ours lacks is as wrong as can be.
        let apart =
            |at: usize, theirs: f64| ours.get(at).copied().flatten().map_or(100.0, |ours| (ours - theirs).abs());
        let most = theirs.iter().enumerate().map(|(at, &theirs)| apart(at, theirs)).fold(0.0, f64::max);
        let name = format!("{who}: {words}, largest difference at any of {} per cents", theirs.len());
        outcome.figures.push(Figure::exact(name, "%", most, 0.0, 2));
    }
    if known {
        return;
    }
    let mut tell = |name: &str, unit: &str, value: f64, digits: u8| {
        outcome.measures.push(Measure { name: format!("{who}: {name}"), unit: unit.into(), value, digits });
    };
    for (_, words, ours) in metrics {
        for load in LOADS_TOLD {
            if let Some(value) = ours.get(load).copied().flatten() {
                tell(&format!("{words} at {load} %"), "%", value, 2);
            }
        }
    }
    tell("pods that got no node", "", ours.failed as f64, 0);
}
