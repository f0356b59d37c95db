//! The cluster of a running daemon, as something to simulate on.

use hai_core::model::{DeviceSpec, Location, NodeSpec, RightRow, Team};
use hai_core::sim::study::Cluster;

use crate::api::wire::{self, DeviceHealth, NodeList, RightList, TeamList};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::output::Printer;

/// Asks the daemon for its nodes, rights and teams. Devices that can not be used now are left out, and that is said.
///
/// # Errors
/// [`CliError`]: no daemon answers.
pub(super) fn cluster(client: &Client, printer: &Printer) -> Result<Cluster, CliError> {
    let nodes: NodeList = client.get("/v1/nodes", &())?.parse()?;
    let rights: RightList = client.get("/v1/rights", &())?.parse()?;
    let teams: TeamList = client.get("/v1/teams", &())?.parse()?;
    let unwell = |device: &&wire::Device| device.health != DeviceHealth::Healthy;
    let left_out = nodes.nodes.iter().flat_map(|node| &node.devices).filter(unwell).count();
    if left_out > 0 {
        printer.warn(format!("{left_out} devices of the daemon that can not be used now are left out"));
    }
    let cluster = Cluster {
        nodes: nodes.nodes.into_iter().map(node).collect(),
        rights: rights.rights.into_iter().map(RightRow::from).collect(),
        teams: teams.teams.into_iter().map(Team::from).collect(),
        ..Cluster::default()
    };
    cluster.finish().map_err(|error| CliError::BadFile { file: "the daemon".to_owned(), problem: error.to_string() })
}

fn node(node: wire::Node) -> NodeSpec {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a node has a few hundred cores")]
    let cpu_milli = (node.cpu * 1000.0).round() as u32;
    let devices = node.devices.into_iter().filter(|device| device.health == DeviceHealth::Healthy);
    NodeSpec {
        devices: devices.map(device).collect(),
        ready: node.ready,
        cordoned: node.cordoned,
        draining: node.draining,
        taints: node.taints,
        labels: node.labels,
        location: Location { leaf: node.leaf, spine: node.spine, zone: node.zone },
        ..NodeSpec::new(node.name, node.group, cpu_milli, node.memory_mib)
    }
}

fn device(device: wire::Device) -> DeviceSpec {
    DeviceSpec {
        compute_capability: device.compute_capability,
        mig_profile: device.mig_profile,
        ..DeviceSpec::new(device.id, device.model, device.memory_mib)
    }
}
