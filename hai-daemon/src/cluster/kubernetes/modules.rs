//! The Python modules that workers may import: one object that all pods of the namespace look into.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, KeyToPath, Volume, VolumeMount};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::config::{KubernetesConfig, KubernetesError};
use super::retry::failure;
use crate::python::MODULES;

/// Where they are in a worker's container.
pub(crate) const PYTHON_DIR: &str = "/opt/hai/python";
const VOLUME: &str = "hai-python";

fn name(config: &KubernetesConfig) -> String {
    format!("{}-python", config.instance)
}

/// A key may have no slash in it.
fn key(module: &str) -> String {
    module.replace('/', ".")
}

/// Makes the object, or brings it up to date.
pub(crate) async fn install(client: &Client, config: &KubernetesConfig) -> Result<(), KubernetesError> {
    let data: BTreeMap<String, &str> = MODULES.into_iter().map(|(module, text)| (key(module), text)).collect();
    let name = name(config);
    let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &config.namespace);
    let applied = maps.patch(&name, &PatchParams::apply("hai").force(), &Patch::Apply(wanted)).await;
    applied.map(drop).map_err(|error| failure("keeping the Python modules for workers", &error))
}

/// How a pod looks into it. Work that imports nothing of it must not wait for it.
pub(crate) fn volume(config: &KubernetesConfig) -> (Volume, VolumeMount) {
    let item = |module: &str| KeyToPath { key: key(module), path: module.to_owned(), mode: None };
    let source = ConfigMapVolumeSource {
        name: name(config),
        items: Some(MODULES.iter().map(|(module, _)| item(module)).collect()),
        optional: Some(true),
        ..ConfigMapVolumeSource::default()
    };
    let volume = Volume { name: VOLUME.to_owned(), config_map: Some(source), ..Volume::default() };
    let mount = VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: PYTHON_DIR.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (volume, mount)
}
