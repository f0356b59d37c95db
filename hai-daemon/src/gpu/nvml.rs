//! NVIDIA's management library: which GPUs, or slices of them, this machine has.
//!
//! See [`detect`] for the primary entry point. The library is loaded at run time; a machine without it has no devices.

use std::ffi::OsStr;

use hai_core::model::{ComputeCapability, DeviceHealth, DeviceId, DeviceSpec, MigProfile, ModelName};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// What the vendor calls its devices, before what people call them.
const PREFIXES: [&str; 2] = ["NVIDIA ", "GeForce "];
/// As in nvml.h: the device is split into slices.
const MIG_ENABLED: u32 = 1;

/// The library is there but does not do its work, e.g. because the driver is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("NVIDIA's management library answers: {0}; see whether `nvidia-smi` works")]
pub struct DetectError(#[from] NvmlError);

/// The GPUs of this machine, in the order of their index; a GPU that is split (MIG) counts as its slices. A machine
/// without the library has none. A GPU that can not even be named is left out with a warning. Blocks.
///
/// # Errors
/// [`DetectError`] if the library is there but can not be used.
pub fn detect() -> Result<Vec<DeviceSpec>, DetectError> {
    detect_with(None)
}

/// As [`detect`], with the library at `path` in place of the system's.
///
/// # Errors
/// As [`detect`].
pub fn detect_at(path: &OsStr) -> Result<Vec<DeviceSpec>, DetectError> {
    detect_with(Some(path))
}

fn detect_with(path: Option<&OsStr>) -> Result<Vec<DeviceSpec>, DetectError> {
    let nvml = match load(path) {
        Ok(nvml) => nvml,
        Err(NvmlError::LibloadingError(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut devices = Vec::new();
    for index in 0..nvml.device_count()? {
        if let Err(error) = nvml.device_by_index(index).and_then(|device| describe(&device, &mut devices)) {
            tracing::warn!(index, %error, "a GPU can not be looked at; it is left out");
        }
    }
    Ok(devices)
}

fn load(path: Option<&OsStr>) -> Result<Nvml, NvmlError> {
    if let Some(path) = path {
        return Nvml::builder().lib_path(path).init();
    }
    match Nvml::init() {
        // Without the development package there is only the versioned name.
        Err(NvmlError::LibloadingError(_)) => Nvml::builder().lib_path("libnvidia-ml.so.1".as_ref()).init(),
        result => result,
    }
}

fn describe(device: &nvml_wrapper::Device<'_>, found: &mut Vec<DeviceSpec>) -> Result<(), NvmlError> {
    // A device, or a driver, that knows nothing of slices has none.
    let split = device.mig_mode().is_ok_and(|mode| mode.current == MIG_ENABLED);
    if !split {
        found.extend(describe_one(device)?);
        return Ok(());
    }
    for index in 0..device.mig_device_count()? {
        // Indexes may have holes.
        if let Ok(slice) = device.mig_device_by_index(index) {
            found.extend(describe_one(&slice)?);
        }
    }
    Ok(())
}

fn describe_one(device: &nvml_wrapper::Device<'_>) -> Result<Option<DeviceSpec>, NvmlError> {
    let (id, name) = (device.uuid()?, device.name()?);
    let (model, mig_profile) = parts_of_name(&name);
    let (Ok(id), Ok(model)) = (DeviceId::new(&id), ModelName::new(model)) else {
        tracing::warn!(?id, ?name, "a GPU has a name that can not be used; it is left out");
        return Ok(None);
    };
    let (memory_mib, health) = match device.memory_info() {
        Ok(memory) => (memory.total >> 20, DeviceHealth::Healthy),
        Err(error) => (0, DeviceHealth::Sick { reason: format!("its memory can not be read: {error}") }),
    };
    // A driver that does not know it, or a slice that does not tell it, leaves it open.
    let capability = device.cuda_compute_capability().ok();
    let compute_capability = capability.and_then(|found| {
        Some(ComputeCapability { major: found.major.try_into().ok()?, minor: found.minor.try_into().ok()? })
    });
    let mig_profile = mig_profile.and_then(|profile| MigProfile::new(profile).ok());
    Ok(Some(DeviceSpec { compute_capability, mig_profile, health, ..DeviceSpec::new(id, model, memory_mib) }))
}

/// The model, and of a slice its profile: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
fn parts_of_name(full: &str) -> (&str, Option<&str>) {
    match full.split_once(" MIG ") {
        Some((model, profile)) => (model_name(model), Some(profile.trim())),
        None => (model_name(full), None),
    }
}

/// `NVIDIA GeForce RTX 3070` is an `RTX 3070` to everybody.
fn model_name(full: &str) -> &str {
    PREFIXES.iter().fold(full.trim(), |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library with a good device, one without a UUID, and one whose memory can not be read.
    const FAKE: &str = r#"
        #include <stdio.h>
        #include <string.h>
        typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
        int nvmlInit_v2(void) { return 0; }
        int nvmlShutdown(void) { return 0; }
        int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return 0; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)(long)(index + 1); return 0; }
        int nvmlDeviceGetUUID(void *device, char *uuid, unsigned size) {
            if ((long)device == 2) return 15;
            snprintf(uuid, size, "GPU-%ld", (long)device); return 0;
        }
        int nvmlDeviceGetName(void *device, char *name, unsigned size) {
            snprintf(name, size, "NVIDIA GeForce RTX 3070"); return 0;
        }
        int nvmlDeviceGetMemoryInfo_v2(void *device, memory *info) {
            if ((long)device == 3) return 15;
            info->total = 8ull << 30; return 0;
        }
    "#;

    #[test]
    fn devices_are_listed_and_a_bad_one_stops_nobody() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (source, library) = (temp.path().join("fake.c"), temp.path().join("libnvidia-ml.so"));
        std::fs::write(&source, FAKE).expect("written");
        let mut compiler = std::process::Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(&source);
        match compiler.status() {
            Ok(status) => assert!(status.success(), "the fake library compiles"),
            Err(error) => return eprintln!("SKIPPED: there is no C compiler to make a fake library with: {error}"),
        }
        let devices = detect_at(library.as_os_str()).expect("devices");
        let id = |text| DeviceId::new(text).expect("an id");
        let model = ModelName::new("RTX 3070").expect("a name");
        assert_eq!(devices.iter().map(|device| &device.id).collect::<Vec<_>>(), [&id("GPU-1"), &id("GPU-3")]);
        assert!(devices.iter().all(|device| device.model == model));
        assert_eq!((devices[0].memory_mib, &devices[0].health), (8192, &DeviceHealth::Healthy));
        assert!(matches!(devices[1].health, DeviceHealth::Sick { .. }), "{devices:?}");
    }

    #[test]
    fn a_library_that_does_not_work_is_an_error() {
        // Any library will do that is not NVIDIA's.
        let found = detect_at("libc.so.6".as_ref()).expect_err("no such symbols");
        assert!(found.to_string().contains("nvidia-smi"), "{found}");
    }

    #[test]
    fn a_machine_without_the_library_has_no_devices() {
        let devices = detect_at("/nonexistent/libnvidia-ml.so.1".as_ref()).expect("no error");
        assert!(devices.is_empty());
    }

    #[test]
    fn models_are_called_as_people_call_them() {
        assert_eq!(model_name("NVIDIA GeForce RTX 3070"), "RTX 3070");
        assert_eq!(model_name("NVIDIA H100 80GB HBM3"), "H100 80GB HBM3");
        assert_eq!(model_name("Tesla V100-SXM2-32GB"), "Tesla V100-SXM2-32GB");
        assert_eq!(parts_of_name("NVIDIA A100-SXM4-40GB MIG 1g.5gb"), ("A100-SXM4-40GB", Some("1g.5gb")));
        assert_eq!(parts_of_name("NVIDIA GeForce RTX 3070"), ("RTX 3070", None));
    }
}
