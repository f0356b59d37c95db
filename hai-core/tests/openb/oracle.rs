//! The rules of the published simulator once more, in doubles as it has them and without any of hai's machinery.

use std::collections::BTreeSet;

use hai_core::published::openb::{Course, Event, OpenbPolicy, Workload};
use hai_core::trace::OpenbPod;

struct Node {
    cpu: i64,
    memory: i64,
    gpus: Vec<i64>,
    model: String,
    pods: usize,
    tags: BTreeSet<u32>,
    changed: usize,
}

struct Class {
    cpu: i64,
    milli: i64,
    count: usize,
    spec: Vec<String>,
    share: f64,
    pods: i64,
}

/// A pod's tag for clustering: 0 for a part, else how many devices.
fn tag(pod: &OpenbPod) -> u32 {
    if pod.gpu_milli < 1000 { 0 } else { pod.num_gpu }
}

fn spec(pod: &OpenbPod) -> Vec<String> {
    pod.gpu_spec.iter().map(ToString::to_string).collect()
}

/// Processors, thousandths of each device, devices, models.
type Key = (i64, i64, u32, String);

fn classes(pods: &[OpenbPod]) -> Vec<Class> {
    let mut counted: Vec<(usize, Key, Vec<String>)> = Vec::new();
    for pod in pods {
        let key = (i64::from(pod.cpu_milli), i64::from(pod.gpu_milli), pod.num_gpu, spec(pod).join("|"));
        match counted.iter_mut().find(|(_, known, _)| *known == key) {
            Some((count, _, _)) => *count += 1,
            None => counted.push((1, key, spec(pod))),
        }
    }
    counted.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
    let total = pods.len() as f64;
    let (mut sum, mut taken) = (0, Vec::new());
    for (count, key, spec) in counted {
        if sum as f64 / total >= 0.95 {
            break;
        }
        sum += count;
        taken.push((count, key, spec));
    }
    let all = sum as f64 / total;
    let class = |(count, (cpu, milli, gpus, _), spec)| Class {
        cpu,
        milli,
        count: gpus as usize,
        spec,
        share: (count as f64 / total) / all,
        pods: count as i64,
    };
    taken.into_iter().map(class).collect()
}

/// The fragmentation of a node, and the same times the pods of all classes.
fn fragment(classes: &[Class], node: &Node) -> (f64, i64) {
    let idle: i64 = node.gpus.iter().sum();
    let (mut sum, mut whole) = (0.0, 0);
    for class in classes {
        let allowed = class.spec.is_empty() || class.spec.contains(&node.model);
        let fitting = node.gpus.iter().filter(|left| **left >= class.milli).count();
        let used = class.count > 0 && allowed && fitting >= class.count && node.cpu >= class.cpu;
        let fragment: i64 = if used { node.gpus.iter().filter(|left| **left < class.milli).sum() } else { idle };
        sum += class.share * fragment as f64;
        whole += class.pods * fragment;
    }
    (sum, whole)
}

fn feasible(node: &Node, pod: &OpenbPod) -> bool {
    let milli = i64::from(pod.gpu_milli);
    node.cpu >= i64::from(pod.cpu_milli)
        && node.memory >= pod.memory_mib as i64
        && node.pods < 1001
        && (pod.num_gpu == 0
            || ((pod.gpu_spec.is_empty() || pod.gpu_spec.iter().any(|model| model.as_str() == node.model))
                && node.gpus.iter().filter(|left| **left >= milli).count() >= pod.num_gpu as usize))
}

/// The devices that a pod gets unless the policy picks one: whole ones by index, the fullest for a part.
fn devices(node: &Node, pod: &OpenbPod) -> Vec<usize> {
    let milli = i64::from(pod.gpu_milli);
    let mut fitting: Vec<usize> = (0..node.gpus.len()).filter(|&gpu| node.gpus[gpu] >= milli).collect();
    fitting.sort_by_key(|&gpu| node.gpus[gpu]);
    fitting.truncate(pod.num_gpu as usize);
    fitting
}

fn place(node: &mut Node, pod: &OpenbPod, devices: &[usize]) {
    node.cpu -= i64::from(pod.cpu_milli);
    node.memory -= pod.memory_mib as i64;
    devices.iter().for_each(|&gpu| node.gpus[gpu] -= i64::from(pod.gpu_milli));
}

fn score(policy: OpenbPolicy, classes: &[Class], node: &Node, pod: &OpenbPod, exact: bool) -> (i64, Vec<usize>) {
    let (cpu, left) = (node.cpu as f64, node.gpus.iter().sum::<i64>());
    let (asks_cpu, asks) = (f64::from(pod.cpu_milli), pod.device_milli() as i64);
    let (gpus, asks_gpus) = (left as f64, asks as f64);
    let chosen = devices(node, pod);
    let score = match policy {
        OpenbPolicy::BestFit => {
            let rest = (cpu - asks_cpu) / 128_000.0 * 0.5 + (gpus - asks_gpus) / 8000.0 * 0.5;
            (100.0 * (1.0 - rest)) as i64
        }
        OpenbPolicy::DotProd => {
            let product = (cpu / 128_000.0) * (asks_cpu / 128_000.0) + (gpus / 8000.0) * (asks_gpus / 8000.0);
            (100.0 * (1.0 - product / 2.0)) as i64
        }
        OpenbPolicy::GpuClustering if pod.num_gpu == 0 => 0,
        OpenbPolicy::GpuClustering => {
            let company = match (node.tags.contains(&tag(pod)), node.tags.len()) {
                (true, 1) => 75,
                (true, _) => 50,
                (false, 0) => 25,
                (false, _) => 0,
            };
            25 * (8000 - left) / 8000 + company
        }
        OpenbPolicy::GpuPacking if pod.num_gpu == 0 => 0,
        OpenbPolicy::GpuPacking => {
            let whole = node.gpus.iter().filter(|left| **left == 1000).count() as i64;
            let untouched = chosen.iter().filter(|gpu| node.gpus[**gpu] == 1000).count() as i64;
            if whole == node.gpus.len() as i64 {
                (33 - whole).max(whole)
            } else if untouched > 0 {
                (50 - untouched).max(33)
            } else {
                let sum: i64 = chosen.iter().map(|&gpu| node.gpus[gpu] * 100 / 1000).sum();
                (100 - sum / 10).max(50)
            }
        }
        OpenbPolicy::Fgd => {
            let before = fragment(classes, node);
            let with = |devices: &[usize]| {
                let mut after =
                    Node { gpus: node.gpus.clone(), model: node.model.clone(), tags: BTreeSet::new(), ..*node };
                place(&mut after, pod, devices);
                let after = fragment(classes, &after);
                // What stays the same by chance may differ in doubles by as little as they can.
                let noise = exact && before.1 == after.1;
                let gain = if noise { 0.0 } else { (before.0 - after.0) / 1000.0 };
                (100.0 * (1.0 / (1.0 + (-gain).exp()))) as i64
            };
            if pod.num_gpu != 1 || pod.gpu_milli == 1000 {
                return (with(&chosen), chosen);
            }
            let milli = i64::from(pod.gpu_milli);
            let mut best: Option<(i64, usize)> = None;
            for gpu in (0..node.gpus.len()).filter(|&gpu| node.gpus[gpu] >= milli) {
                let score = with(&[gpu]);
                if best.is_none_or(|(most, _)| score > most) {
                    best = Some((score, gpu));
                }
            }
            let (score, gpu) = best.expect("it fits");
            return (score, vec![gpu]);
        }
        OpenbPolicy::Random | OpenbPolicy::CuttingStock => panic!("there is nothing of theirs to follow"),
    };
    (score, chosen)
}

/// All events of a run; with `exact`, fragmentation that stays the same counts as the same. Scores are kept for each class of pods and node until the node changes.
pub(crate) fn play(workload: &Workload, course: &Course, policy: OpenbPolicy, exact: bool) -> Vec<Event> {
    let classes = classes(workload.pods());
    let mut order: Vec<usize> = (0..course.ranks.len()).collect();
    order.sort_by_key(|&node| course.ranks[node]);
    let mut nodes: Vec<Node> = workload
        .nodes()
        .iter()
        .map(|node| Node {
            cpu: i64::from(node.cpu_milli),
            memory: node.memory_mib as i64,
            gpus: vec![1000; node.devices.len()],
            model: node.devices[0].model.to_string(),
            pods: 0,
            tags: BTreeSet::new(),
            changed: 1,
        })
        .collect();
    let mut fragments: Vec<f64> = nodes.iter().map(|node| fragment(&classes, node).0).collect();
    type Kept = Vec<(usize, Option<(i64, Vec<usize>)>)>;
    let mut kept: Vec<(OpenbPod, Kept)> = Vec::new();
    let (mut arrived, mut used, mut events) = (0, 0, Vec::new());
    for (at, &pod_at) in course.arrivals.iter().enumerate() {
        let pod = &workload.pods()[pod_at];
        arrived += pod.device_milli();
        let shape = OpenbPod {
            name: String::new(),
            qos: None,
            phase: None,
            created: None,
            deleted: None,
            scheduled: None,
            ..pod.clone()
        };
        let known = kept.iter().position(|(known, _)| *known == shape).unwrap_or_else(|| {
            kept.push((shape, vec![(0, None); nodes.len()]));
            kept.len() - 1
        });
        let scores = &mut kept[known].1;
        let mut best: Option<(i64, usize)> = None;
        for &ix in &order {
            let node = &nodes[ix];
            if scores[ix].0 != node.changed {
                scores[ix] = (node.changed, feasible(node, pod).then(|| score(policy, &classes, node, pod, exact)));
            }
            if let Some((score, _)) = &scores[ix].1
                && best.is_none_or(|(most, _)| *score > most)
            {
                best = Some((*score, ix));
            }
        }
        if let Some((_, ix)) = best {
            let devices = scores[ix].1.clone().expect("it was scored").1;
            place(&mut nodes[ix], pod, &devices);
            nodes[ix].pods += 1;
            if pod.num_gpu > 0 {
                nodes[ix].tags.insert(tag(pod));
            }
            nodes[ix].changed = at + 2;
            fragments[ix] = fragment(&classes, &nodes[ix]).0;
            used += pod.device_milli();
        }
        let fragmentation = fragments.iter().sum();
        events.push(Event { pod: pod_at, node: best.map(|(_, ix)| ix), arrived, used, fragmentation });
    }
    events
}
