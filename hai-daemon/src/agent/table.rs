//! A report for people: one line a device, then who uses it, how devices are joined, and what is wrong.

use std::fmt::Write as _;

use comfy_table::presets;
use hai_core::model::DeviceHealth;

use crate::gpu::reading::link_word;
use crate::gpu::report::{DeviceReport, NodeReport};

/// The report as text, without a line break at its end if there is nothing to tell.
pub(super) fn text(report: &NodeReport) -> String {
    let mut text = String::new();
    if let Some(driver) = &report.driver {
        let _ = writeln!(text, "driver {driver}");
    }
    if !report.devices.is_empty() {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header([
            "#",
            "DEVICE",
            "MODEL",
            "CAPABILITY",
            "MEMORY MIB",
            "USED",
            "BUSY",
            "HEAT",
            "POWER",
            "PCI",
            "NUMA",
            "HEALTH",
        ]);
        for (index, device) in report.devices.iter().enumerate() {
            table.add_row(cells(index, device));
        }
        let _ = writeln!(text, "{table}");
    }
    for (index, device) in report.devices.iter().enumerate() {
        for process in &device.usage.processes {
            let name = process.name.as_deref().unwrap_or("?");
            let memory = or_dash(process.memory_mib, "MiB");
            let what = if process.computes { "computes" } else { "draws" };
            let whose = if process.ours { "hai's" } else { "not hai's" };
            let _ = writeln!(text, "{index}: process {} {name} {what}, {memory}, {whose}", process.pid);
        }
    }
    for link in &report.links {
        let _ = writeln!(text, "{} and {} are joined by {}", link.a, link.b, link_word(link.kind));
    }
    for note in &report.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

fn cells(index: usize, device: &DeviceReport) -> [String; 12] {
    let (spec, usage) = (&device.spec, &device.usage);
    let slice = spec.mig_profile.as_ref().map(|profile| format!(" {profile}")).unwrap_or_default();
    [
        index.to_string(),
        spec.id.to_string(),
        format!("{}{slice}", spec.model),
        spec.compute_capability.map_or_else(|| "-".to_owned(), |capability| capability.to_string()),
        spec.memory_mib.to_string(),
        or_dash(usage.memory_used_mib, ""),
        or_dash(usage.utilisation_percent, "%"),
        match (usage.temperature_c, usage.slowdown_c) {
            (Some(is), Some(slow)) => format!("{is} of {slow} °C"),
            (is, _) => or_dash(is, "°C"),
        },
        usage.power_mw.map_or_else(|| "-".to_owned(), |power| format!("{:.1} W", f64::from(power) / 1000.0)),
        device.pci.clone().unwrap_or_else(|| "-".to_owned()),
        or_dash(device.numa_node, ""),
        health(&spec.health),
    ]
}

fn or_dash(value: Option<impl ToString>, unit: &str) -> String {
    let with_unit = |value: String| if unit.is_empty() { value } else { format!("{value} {unit}") };
    value.map_or_else(|| "-".to_owned(), |value| with_unit(value.to_string()))
}

/// `sick: XID 79: it has fallen off the bus`
pub(super) fn health(health: &DeviceHealth) -> String {
    match health {
        DeviceHealth::Healthy => "healthy".to_owned(),
        DeviceHealth::Probing => "being tested".to_owned(),
        DeviceHealth::Suspect { reason } => format!("suspect: {reason}"),
        DeviceHealth::Draining { reason } => format!("draining: {reason}"),
        DeviceHealth::Sick { reason } => format!("sick: {reason}"),
        DeviceHealth::Stranger { process } => format!("used by {process}"),
    }
}
