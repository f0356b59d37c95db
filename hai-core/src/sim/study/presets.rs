//! Clusters of public traces: openb's node list, and the virtual clusters of Helios.

use std::io::Read;

use crate::model::{GroupName, ModelName, NodeName, NodeSpec};
use crate::trace::{OpenbNodes, TraceError, virtual_clusters};

use super::cluster::{Cluster, devices};

/// Memory of a device by the model names of openb, in MiB; a model that is not listed has 16 GiB.
const OPENB_MEMORY: [(&str, u64); 7] = [
    ("V100M16", 16 << 10),
    ("V100M32", 32 << 10),
    ("P100", 16 << 10),
    ("T4", 16 << 10),
    ("A10", 24 << 10),
    ("G2", 24 << 10),
    ("G3", 32 << 10),
];

/// The nodes of an openb node list (columns `sn`, `cpu_milli`, `memory_mib`, `gpu`, `model`), all in one group `default`. The
/// list tells no memory of devices; they get what such a model usually has.
///
/// # Errors
/// A line that can not be read, with its column.
pub fn openb(read: impl Read) -> Result<Cluster, TraceError> {
    let group = GroupName::new("default").map_err(|error| TraceError::line(0, error.to_string()))?;
    let mut cluster = Cluster::default();
    for node in OpenbNodes::open(read, group)? {
        let mut node = node?;
        for device in &mut node.devices {
            let known = OPENB_MEMORY.iter().find(|(name, _)| *name == device.model.as_str());
            device.memory_mib = known.map_or(16 << 10, |(_, memory)| *memory);
        }
        cluster.nodes.push(node);
    }
    cluster.finish().map_err(|error| TraceError::line(0, error.to_string()))
}

/// The nodes of a Helios `vc_config.csv` (a column of names without a name of its own, and `num`): of each virtual cluster,
/// which is a group here, so many nodes with eight V100.
///
/// # Errors
/// A line that can not be read, with its column.
pub fn helios(read: impl Read) -> Result<Cluster, TraceError> {
    let mut cluster = Cluster::default();
    for (vc, line) in virtual_clusters(read)?.into_iter().zip(2..) {
        let named = |error: crate::model::NameError| TraceError::column(line, "vc", error.to_string());
        let group = GroupName::new(&vc.name).map_err(named)?;
        let model = ModelName::new("V100").map_err(named)?;
        for number in 0..vc.nodes {
            let name = NodeName::new(format!("{}-{}", vc.name, number + 1)).map_err(named)?;
            let mut node = NodeSpec::new(name, group.clone(), 96_000, 512 << 10);
            node.devices = devices(&node.name, 8, &model, 32 << 10).map_err(named)?;
            cluster.nodes.push(node);
        }
    }
    cluster.finish().map_err(|error| TraceError::line(0, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_openb_list_gives_its_nodes() {
        let text =
            "sn,cpu_milli,memory_mib,gpu,model\nopenb-node-0000,64000,262144,2,P100\nopenb-node-1,32000,4096,0,\n";
        let cluster = openb(text.as_bytes()).unwrap();
        assert_eq!((cluster.nodes.len(), cluster.devices()), (2, 2));
        assert_eq!(cluster.nodes[0].devices[1].memory_mib, 16 << 10);
        let twice = format!("{text}openb-node-1,1,1,0,\n");
        assert_eq!(openb(twice.as_bytes()).unwrap_err().to_string(), "node openb-node-1: there are two of this name");
        let many = "sn,cpu_milli,memory_mib,gpu,model\na,1,1,65,P100\n";
        assert!(openb(many.as_bytes()).unwrap_err().to_string().starts_with("line 2, column gpu: "));
    }

    #[test]
    fn a_helios_list_gives_groups() {
        let cluster = helios(",num\nvcEwI,9\nvcWoR,5\n".as_bytes()).unwrap();
        assert_eq!((cluster.nodes.len(), cluster.devices()), (14, 112));
        assert_eq!(cluster.nodes[9].name.as_str(), "vcWoR-1");
        assert_eq!(helios(",num\nvc,x\n".as_bytes()).unwrap_err().line, 2);
    }
}
