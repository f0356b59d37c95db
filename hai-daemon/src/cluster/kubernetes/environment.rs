//! What a worker finds in its environment: hai's own names, torchrun's, and those of hai-platform.

use std::collections::BTreeMap;

use hai_core::backend::StartOrder;
use hai_core::model::GroupName;
use k8s_openapi::api::core::v1::EnvVar;

use super::config::{GpuMode, KubernetesConfig};
use super::modules::PYTHON_DIR;
use super::names::run_name;
use crate::marsv2;

/// Where rank 0 listens; every pod has an address of its own, so it can be the same for all.
const MASTER_PORT: &str = "2222";

/// The environment of a worker: what the task brings, then what nobody overrides.
pub(crate) fn environment(
    config: &KubernetesConfig,
    order: &StartOrder,
    rank: u32,
    group: &GroupName,
    token: Option<&str>,
) -> Vec<EnvVar> {
    let gpus = config.gpus(group);
    let place = &order.placement.workers[rank as usize];
    let world = order.placement.workers.len().to_string();
    let devices: Vec<&str> = place.devices.iter().map(|device| device.as_str()).collect();
    let run = run_name(&config.instance, order.task, order.run);
    let master = match order.placement.workers.len() {
        1 => "127.0.0.1".to_owned(),
        _ => format!("{run}.{}.svc", config.namespace),
    };
    let (task, run_number, rank_word) = (order.task.to_string(), order.run.to_string(), rank.to_string());
    let state = order.whole_life_state.to_string();
    let mut all: BTreeMap<String, String> = order.program.env.clone();
    let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
    set("HAI_TASK_ID", &task);
    set("HAI_RUN_ID", &run_number);
    set("HAI_TASK_NAME", &order.name);
    set("HAI_USER", order.user.as_str());
    set("HAI_NODE", place.node.as_str());
    set("HAI_WHOLE_LIFE_STATE", &state);
    set("HAI_PYTHON", PYTHON_DIR);
    if let (Some(server), Some(token)) = (&config.server, token) {
        set("HAI_SERVER", server);
        set("HAI_WORKER_TOKEN", token);
        set("MARSV2_USER_TOKEN", token);
    }
    // PyTorch: a worker is a process that may start one for each of its devices.
    set("RANK", &rank_word);
    set("WORLD_SIZE", &world);
    set("MASTER_ADDR", &master);
    set("MASTER_PORT", MASTER_PORT);
    set("NNODES", &world);
    set("NODE_RANK", &rank_word);
    set("NPROC_PER_NODE", &devices.len().max(1).to_string());
    // hai-platform.
    for (name, value) in marsv2::variables(order, rank, &master) {
        set(name, &value);
    }
    if let Some(server) = &config.server {
        set("MARSV2_SERVER", server);
    }
    if let Some(numbers) = config.users.get(&order.user).or(config.run_as.as_ref()) {
        set("MARSV2_UID", &numbers.uid.to_string());
    }
    match gpus {
        // Nothing must be visible to a worker that was given nothing, whatever its image says.
        GpuMode::Visible if devices.is_empty() => drop(set("NVIDIA_VISIBLE_DEVICES", "void")),
        GpuMode::Visible => {
            set("NVIDIA_VISIBLE_DEVICES", &devices.join(","));
            if let Some(part) = place.part {
                // What CUDA's sharing service keeps to, where it runs.
                set("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", &(part.milli / 10).max(1).to_string());
                set("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", &format!("0={}M", part.memory_mib));
            }
        }
        // The plugin says what is visible, to those who were given something.
        GpuMode::Plugin if devices.is_empty() => drop(set("NVIDIA_VISIBLE_DEVICES", "void")),
        GpuMode::Plugin => drop(all.remove("NVIDIA_VISIBLE_DEVICES")),
    }
    let plain =
        |(name, value): (String, String)| EnvVar { name, value: Some(value.replace('$', "$$")), ..EnvVar::default() };
    all.into_iter().map(plain).collect()
}
