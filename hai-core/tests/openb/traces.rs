//! Where the traces are, and what is read of them.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use hai_core::model::GroupName;
use hai_core::published::openb::Workload;
use hai_core::trace::{OpenbNodes, OpenbPods};

/// The folder of openb; `None`, said aloud, where it is not there.
pub(crate) fn folder() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/traces");
    let traces = std::env::var_os("HAI_TRACES").map_or_else(|| beside.into(), PathBuf::from);
    let folder = traces.join("openb");
    if folder.join("openb_node_list_gpu_node.csv").is_file() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no openb trace in {}; name a folder of traces with HAI_TRACES", folder.display());
    None
}

/// A workload of the trace.
pub(crate) fn workload(variant: &str) -> Option<Workload> {
    let folder = folder()?;
    let open = |file: String| Cursor::new(fs::read(folder.join(file)).expect("a file of the trace"));
    let group = GroupName::new("openb").expect("a name");
    let nodes = OpenbNodes::open(open("openb_node_list_gpu_node.csv".into()), group).expect("nodes");
    let pods = OpenbPods::open(open(format!("openb_pod_list_{variant}.csv"))).expect("pods");
    Some(Workload::new(nodes.map(Result::unwrap).collect(), pods.map(Result::unwrap).collect()))
}

/// The names of all workloads that are there.
pub(crate) fn variants() -> Vec<String> {
    let Some(folder) = folder() else { return Vec::new() };
    let files = fs::read_dir(folder).expect("a folder");
    let name = |file: fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        Some(name.strip_prefix("openb_pod_list_")?.strip_suffix(".csv")?.to_owned())
    };
    let mut names: Vec<String> = files.filter_map(|file| name(file.expect("an entry"))).collect();
    names.sort();
    names
}
