//! Made-up clusters and traces, of any shape: hai's policies and the plain rules put every pod on the same node.

use hai_core::model::{DeviceId, DeviceSpec, GroupName, ModelName, NodeName, NodeSpec};
use hai_core::placement::Policy;
use hai_core::published::openb::{CourseError, Event, OpenbPolicy, Workload, play};
use hai_core::trace::OpenbPod;
use proptest::prelude::*;

use super::{oracle, traces};

const MODELS: [&str; 3] = ["A", "B", "C"];

fn node(at: usize, (cpu, memory, gpus, model): (u32, u64, usize, usize)) -> NodeSpec {
    let name = NodeName::new(format!("n-{at:03}")).expect("a name");
    let mut node = NodeSpec::new(name, GroupName::new("g").expect("a name"), cpu * 1000, memory << 10);
    for gpu in 0..gpus {
        let id = DeviceId::new(format!("{at}-{gpu}")).expect("an id");
        node.devices.push(DeviceSpec::new(id, ModelName::new(MODELS[model]).expect("a name"), 0));
    }
    node
}

fn pod(at: usize, (cpu, memory, gpus, milli, spec): (u32, u64, u32, u32, u8)) -> OpenbPod {
    let models = (0..3).filter(|model| gpus > 0 && spec < 8 && (spec >> model) & 1 == 1);
    OpenbPod {
        name: format!("p-{at:04}"),
        cpu_milli: cpu * 500,
        memory_mib: memory << 10,
        num_gpu: gpus,
        gpu_milli: match gpus {
            0 => 0,
            1 => milli * 50,
            _ => 1000,
        },
        gpu_spec: models.map(|model| ModelName::new(MODELS[model]).expect("a name")).collect(),
        qos: None,
        phase: None,
        created: None,
        deleted: None,
        scheduled: None,
    }
}

prop_compose! {
    fn workloads()(
        nodes in prop::collection::vec((8_u32..128, 32_u64..512, prop::sample::select(vec![0_usize, 1, 2, 4, 8]), 0_usize..3), 1..24),
        shapes in prop::collection::vec(
            (1_u32..40, 1_u64..64, prop::sample::select(vec![0_u32, 1, 1, 1, 2, 4, 8]), 1_u32..=20, 0_u8..24), 1..12),
        drawn in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) -> Workload {
        let nodes = nodes.into_iter().enumerate().map(|(at, node_of)| node(at, node_of)).collect();
        let pods = drawn.iter().enumerate().map(|(at, drawn)| pod(at, *drawn.get(&shapes))).collect();
        Workload::new(nodes, pods)
    }
}

/// Compares event by event, sums in doubles to a hundredth.
pub(crate) fn same(workload: &Workload, seed: i64, load: f64, policy: OpenbPolicy, exact: bool) -> Result<(), String> {
    let course = workload.course(seed, load).map_err(|error| error.to_string())?;
    let mut ours: Vec<Event> = Vec::new();
    play(workload, &course, Policy::of(&policy.policy(workload, seed)), |event| ours.push(*event));
    let theirs = oracle::play(workload, &course, policy, exact);
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let told = |event: &Event| (event.pod, event.node, event.arrived, event.used);
        if told(ours) != told(theirs) || (ours.fragmentation - theirs.fragmentation).abs() > 0.01 {
            return Err(format!("{policy}, seed {seed}, event {at}: {ours:?} is not {theirs:?}"));
        }
    }
    if ours.len() == theirs.len() { Ok(()) } else { Err("one is longer".into()) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pod_goes_where_the_plain_rules_put_it(workload in workloads(), seed in any::<i64>(), load in 0.2_f64..2.0) {
        let possible = workload.course(seed, load);
        if matches!(possible, Err(CourseError::NoWork | CourseError::NoDevices)) {
            return Ok(());
        }
        for policy in OpenbPolicy::ALL.into_iter().filter(|policy| policy.is_exact()) {
            prop_assert_eq!(same(&workload, seed, load, policy, true), Ok(()));
        }
    }
}

#[test]
fn what_can_not_be_played_is_refused() {
    let nodes = || vec![node(0, (8, 32, 1, 0))];
    let work = || vec![pod(0, (1, 1, 1, 10, 0))];
    let idle = || vec![pod(0, (1, 1, 0, 0, 0))];
    let course = |nodes, pods, load| Workload::new(nodes, pods).course(1, load).map(|_| ());
    assert_eq!(course(nodes(), work(), 1.3), Ok(()));
    assert_eq!(course(nodes(), idle(), 1.3), Err(CourseError::NoWork));
    assert_eq!(course(nodes(), Vec::new(), 1.3), Err(CourseError::NoWork));
    assert_eq!(course(vec![node(0, (8, 32, 0, 0))], work(), 1.3), Err(CourseError::NoDevices));
    for load in [0.0, -1.0, f64::INFINITY, 1e9] {
        assert_eq!(course(nodes(), work(), load), Err(CourseError::Load(load)));
    }
    assert!(matches!(course(nodes(), work(), f64::NAN), Err(CourseError::Load(_))));
}

/// Workloads whose classes differ most: of several models, of many whole devices, of parts alone, of little to do with devices.
#[test]
fn workloads_of_the_trace_go_where_the_plain_rules_put_them() {
    let all = std::env::var_os("HAI_OPENB_ALL").is_some();
    let few: &[&str] = &["gpuspec33", "multigpu50", "gpushare100", "cpu250"];
    let many: Vec<String> = if all { traces::variants() } else { few.iter().map(ToString::to_string).collect() };
    for variant in many {
        let Some(workload) = traces::workload(&variant) else { return };
        for seed in if all { 42..52 } else { 47..48 } {
            for policy in OpenbPolicy::ALL.into_iter().filter(|policy| policy.is_exact()) {
                assert_eq!(same(&workload, seed, 1.3, policy, false), Ok(()), "{variant}");
            }
        }
        if all {
            eprintln!("{variant}: 5 policies, seeds 42 to 51, every pod where the plain rules put it");
        }
    }
}
