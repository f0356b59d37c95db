//! This machine as one node: its processors and its memory.

use std::fs;
use std::io;

use hai_core::model::{DeviceSpec, GroupName, NodeName, NodeSpec};

use super::config::LocalError;

/// The group that a detected machine belongs to.
const GROUP: &str = "default";
/// The name of a machine whose own name can not be one.
const NAME: &str = "localhost";
/// A twentieth of the memory, but at most this much, stays with the system and the daemon, in MiB.
const SYSTEM_MEMORY_MIB_MAX: u64 = 2048;

/// Looks at this machine, which has these devices.
///
/// # Errors
/// [`LocalError::Io`] if not even the number of processors can be told.
pub(crate) fn detect(devices: Vec<DeviceSpec>) -> Result<NodeSpec, LocalError> {
    let cores = std::thread::available_parallelism().map_err(LocalError::io("count this machine's processors"))?;
    let group = GroupName::new(GROUP).map_err(|error| LocalError::io("name the group")(io::Error::other(error)))?;
    let cpu_milli = u32::try_from(cores.get().saturating_mul(1000)).unwrap_or(u32::MAX);
    Ok(NodeSpec { devices, ..NodeSpec::new(own_name(), group, cpu_milli, for_workers(memory_mib())) })
}

fn own_name() -> NodeName {
    let system = rustix::system::uname();
    let name = NodeName::new(system.nodename().to_string_lossy());
    name.unwrap_or_else(|_| NodeName::new(NAME).expect("the constant is a name"))
}

/// What the machine has, or less if a control group bounds this process.
fn memory_mib() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(clippy::useless_conversion, reason = "the width of these fields differs between machines")]
    let bytes = u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit));
    let bound = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    bytes.min(bound.unwrap_or(u64::MAX)) >> 20
}

fn for_workers(memory_mib: u64) -> u64 {
    memory_mib - (memory_mib / 20).min(SYSTEM_MEMORY_MIB_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_a_node() {
        let node = detect(Vec::new()).expect("a node");
        node.check().expect("a valid node");
        assert!(node.cpu_milli >= 1000 && node.memory_mib > 0 && node.ready, "{node:?}");
    }

    #[test]
    fn the_system_keeps_some_memory() {
        assert_eq!(for_workers(1000), 950);
        assert_eq!(for_workers(1 << 20), (1 << 20) - 2048);
        assert_eq!(for_workers(0), 0);
    }
}
