//! Reads and shows `placement`: one word, or a table for the policies that have to be told more.

use hai_core::model::{Amount, ComputeCapability, DEVICES_PER_NODE_MAX, Devices, MigProfile, ModelName, WorkerRequest};
use hai_core::placement::PlacementPolicy;
use hai_core::placement::policy::{Typical, WeightedPolicy};
use toml::Spanned;
use toml::de::DeValue;

use super::file::{Findings, Table};
use super::size::{Cores, Mib};
use super::value::{Raw, Setting, one_of, quoted};

const RANDOM: &str = "random";
const FGD: &str = "fgd";
const CUTTING_STOCK: &str = "cutting-stock";
const WEIGHTED: &str = "weighted";
/// How deep weighted policies may be parts of one another.
const DEPTH_MAX: usize = 4;

/// `best-fit`, or another policy that needs to be told nothing.
impl Setting for PlacementPolicy {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match one_of(raw, "a placement", &stock())? {
            policy @ (PlacementPolicy::Fgd { .. } | PlacementPolicy::CuttingStock { .. }) => {
                let word = word(&policy);
                Err(format!(
                    "`{word}` has to know the usual work; write [scheduler.placement] with policy = \"{word}\" and a \
                     [[scheduler.placement.typical]] for each kind"
                ))
            }
            PlacementPolicy::Weighted(_) => {
                Err("`weighted` has to know its parts; write [scheduler.placement] with policy = \"weighted\" and a \
                     [[scheduler.placement.part]] for each"
                    .to_owned())
            }
            policy => Ok(policy),
        }
    }

    fn show(&self) -> String {
        match fields(self) {
            fields if fields.is_empty() => quoted(word(self)),
            fields => format!("{{ policy = {}, {fields} }}", quoted(word(self))),
        }
    }
}

/// All policies with nothing told to them.
fn stock() -> [(&'static str, PlacementPolicy); 11] {
    [
        PlacementPolicy::Tightest,
        PlacementPolicy::FirstFit,
        PlacementPolicy::BestFit,
        PlacementPolicy::WorstFit,
        PlacementPolicy::Random { seed: 0 },
        PlacementPolicy::DotProduct,
        PlacementPolicy::GpuPacking,
        PlacementPolicy::GpuClustering,
        PlacementPolicy::Fgd { typical: Vec::new() },
        PlacementPolicy::CuttingStock { typical: Vec::new() },
        PlacementPolicy::Weighted(Vec::new()),
    ]
    .map(|policy| (word(&policy), policy))
}

fn word(policy: &PlacementPolicy) -> &'static str {
    match policy {
        PlacementPolicy::Tightest => "tightest",
        PlacementPolicy::FirstFit => "first-fit",
        PlacementPolicy::BestFit => "best-fit",
        PlacementPolicy::WorstFit => "worst-fit",
        PlacementPolicy::Random { .. } => RANDOM,
        PlacementPolicy::DotProduct => "dot-product",
        PlacementPolicy::GpuPacking => "gpu-packing",
        PlacementPolicy::GpuClustering => "gpu-clustering",
        PlacementPolicy::Fgd { .. } => FGD,
        PlacementPolicy::CuttingStock { .. } => CUTTING_STOCK,
        PlacementPolicy::Weighted(_) => WEIGHTED,
    }
}

/// What a policy is told, as it stands inside of a table; empty if nothing.
fn fields(policy: &PlacementPolicy) -> String {
    match policy {
        PlacementPolicy::Random { seed } if *seed != 0 => format!("seed = {}", seed.show()),
        PlacementPolicy::Fgd { typical } | PlacementPolicy::CuttingStock { typical } => {
            let classes: Vec<String> = typical.iter().map(show_typical).collect();
            format!("typical = [{}]", classes.join(", "))
        }
        PlacementPolicy::Weighted(parts) => {
            let part = |part: &WeightedPolicy| {
                let head = format!("weight = {}, policy = {}", part.weight, quoted(word(&part.policy)));
                match fields(&part.policy) {
                    fields if fields.is_empty() => format!("{{ {head} }}"),
                    fields => format!("{{ {head}, {fields} }}"),
                }
            };
            format!("part = [{}]", parts.iter().map(part).collect::<Vec<_>>().join(", "))
        }
        _ => String::new(),
    }
}

fn show_typical(class: &Typical) -> String {
    let request = &class.request;
    let devices = match request.devices {
        Devices::Count(count) => format!("devices = {}", count.show()),
        Devices::Share(milli) => format!("share = {}", Amount::from_milli(milli.into()).show()),
        Devices::Memory(mib) => format!("share_memory = {}", Mib(mib).show()),
        Devices::WholeNode => "whole_node = true".to_owned(),
    };
    let size = |mib: u64| (mib > 0).then(|| Mib(mib).show());
    let models = |models: Vec<ModelName>| (!models.is_empty()).then(|| models.show());
    let more = [
        ("models", models(request.models.clone())),
        ("forbidden_models", models(request.forbidden_models.iter().cloned().collect())),
        ("same_model", request.same_model.then(|| true.show())),
        ("device_memory", size(request.device_memory_mib)),
        ("mig_profile", request.mig_profile.as_ref().map(Setting::show)),
        ("compute_capability", request.compute_capability.as_ref().map(Setting::show)),
        ("cpu", (request.cpu_milli > 0).then(|| Cores(request.cpu_milli).show())),
        ("memory", size(request.memory_mib)),
    ];
    let more: String = more.into_iter().filter_map(|(key, value)| Some(format!(", {key} = {}", value?))).collect();
    format!("{{ weight = {}, {devices}{more} }}", class.weight)
}

/// `[scheduler.placement]`
pub(super) fn read_table(value: &Spanned<DeValue<'_>>, found: &mut Findings<'_>) -> Option<PlacementPolicy> {
    let mut table = Table::of(value, "[scheduler.placement]", found)?;
    let policy = read_policy(&mut table, 0, found);
    table.finish(found);
    policy
}

/// The word for a policy that may have to be told more.
struct Named(PlacementPolicy);

impl Setting for Named {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        one_of(raw, "a placement", &stock()).map(Named)
    }
    fn show(&self) -> String {
        quoted(word(&self.0))
    }
}

fn read_policy(table: &mut Table<'_>, depth: usize, found: &mut Findings<'_>) -> Option<PlacementPolicy> {
    let before = found.problems.len();
    let named = table.require::<Named>("policy", "\"best-fit\"", found);
    let seed = table.take::<u64>("seed", found);
    let typical = table.list("typical", "[[scheduler.placement.typical]]", found);
    let parts = if depth < DEPTH_MAX { table.list("part", "[[scheduler.placement.part]]", found) } else { Vec::new() };
    let typical: Vec<Option<Typical>> = typical.into_iter().map(|table| read_typical(table, found)).collect();
    let parts: Vec<_> = parts.into_iter().map(|table| read_part(table, depth + 1, found)).collect();

    let (Named(mut policy), span) = named?;
    // Two policies know the usual work; a third is told of the better known one.
    let of_typical = if word(&policy) == CUTTING_STOCK { CUTTING_STOCK } else { FGD };
    for (key, of) in [("seed", RANDOM), ("typical", of_typical), ("part", WEIGHTED)] {
        table.only_with(key, of, word(&policy), found);
    }
    if found.problems.len() > before {
        return None;
    }
    match &mut policy {
        PlacementPolicy::Random { seed: start } => *start = seed.map_or(0, |(seed, _)| seed),
        PlacementPolicy::Fgd { typical: classes } | PlacementPolicy::CuttingStock { typical: classes } => {
            let weights: u64 = typical.iter().flatten().map(|class| u64::from(class.weight)).sum();
            if weights == 0 {
                found.add(span, alike(of_typical, typical.is_empty(), "[[scheduler.placement.typical]]"));
                return None;
            }
            *classes = typical.into_iter().collect::<Option<_>>()?;
        }
        PlacementPolicy::Weighted(_) if depth == DEPTH_MAX => {
            found.add(span, format!("weighted policies may be parts of one another {DEPTH_MAX} deep, not more"));
            return None;
        }
        PlacementPolicy::Weighted(all) => {
            let weights: u64 = parts.iter().flatten().map(|part| u64::from(part.weight)).sum();
            if weights == 0 {
                found.add(span, alike(WEIGHTED, parts.is_empty(), "[[scheduler.placement.part]]"));
                return None;
            }
            *all = parts.into_iter().collect::<Option<_>>()?;
        }
        _ => {}
    }
    Some(policy)
}

/// What is wrong with a policy that knows nothing by which places differ.
fn alike(policy: &str, none: bool, list: &str) -> String {
    let what = if none { format!("a {list}") } else { format!("a weight other than 0 in a {list}") };
    format!("policy \"{policy}\" needs {what}; without, all places are alike")
}

fn read_part(mut table: Table<'_>, depth: usize, found: &mut Findings<'_>) -> Option<WeightedPolicy> {
    let weight = table.require::<u16>("weight", "1", found);
    let policy = read_policy(&mut table, depth, found);
    table.finish(found);
    Some(WeightedPolicy { policy: policy?, weight: weight?.0 })
}

fn read_typical(mut table: Table<'_>, found: &mut Findings<'_>) -> Option<Typical> {
    let weight = table.require::<u32>("weight", "1", found);
    let devices = read_devices(&mut table, found);
    let models = table.take::<Vec<ModelName>>("models", found);
    let forbidden = table.take::<Vec<ModelName>>("forbidden_models", found).map(|(models, _)| models);
    let size = |table: &mut Table<'_>, key, found: &mut Findings<'_>| {
        table.take::<Mib>(key, found).map_or(0, |(Mib(mib), _)| mib)
    };
    let request = WorkerRequest {
        forbidden_models: forbidden.into_iter().flatten().collect(),
        same_model: table.take::<bool>("same_model", found).is_some_and(|(same, _)| same),
        device_memory_mib: size(&mut table, "device_memory", found),
        mig_profile: table.take::<MigProfile>("mig_profile", found).map(|(profile, _)| profile),
        compute_capability: table.take::<ComputeCapability>("compute_capability", found).map(|(least, _)| least),
        cpu_milli: table.take::<Cores>("cpu", found).map_or(0, |(Cores(milli), _)| milli),
        memory_mib: size(&mut table, "memory", found),
        ..WorkerRequest::of(devices.unwrap_or(Devices::Count(1)))
    };
    table.finish(found);
    let mut class = Typical { request, weight: weight?.0 };
    if let Some((models, span)) = models {
        let twice = models.iter().enumerate().find(|(at, model)| models[..*at].contains(model));
        if let Some((_, model)) = twice {
            found.add(span, format!("models: {model} stands there twice"));
            return None;
        }
        class.request.models = models;
    }
    devices.map(|_| class)
}

/// How much of a node the work takes: at most one of the ways to say so, one device without any.
fn read_devices(table: &mut Table<'_>, found: &mut Findings<'_>) -> Option<Devices> {
    let problems = found.problems.len();
    let count = table.take::<u32>("devices", found);
    let share = table.take::<Amount>("share", found);
    let memory = table.take::<Mib>("share_memory", found);
    let whole = table.take::<bool>("whole_node", found).filter(|(whole, _)| *whole);
    if found.problems.len() > problems {
        return None;
    }
    let mut ways = Vec::new();
    if let Some((count, span)) = count {
        if count as usize > DEVICES_PER_NODE_MAX {
            found.add(span, format!("devices: {count} is impossible; a node has at most {DEVICES_PER_NODE_MAX}"));
            return None;
        }
        ways.push(Devices::Count(count));
    }
    if let Some((share, span)) = share {
        let Some(milli) = u32::try_from(share.as_milli()).ok().filter(|milli| (1..=1000).contains(milli)) else {
            found.add(span, format!("share: {share} is impossible; a part of a device goes from 0.001 to 1"));
            return None;
        };
        ways.push(Devices::Share(milli));
    }
    ways.extend(memory.map(|(Mib(mib), _)| Devices::Memory(mib)));
    ways.extend(whole.map(|_| Devices::WholeNode));
    match ways[..] {
        [] => Some(Devices::Count(1)),
        [devices] => Some(devices),
        _ => {
            let message = "only one of devices, share, share_memory and whole_node says what the work takes";
            found.add(table.span.clone(), message);
            None
        }
    }
}
