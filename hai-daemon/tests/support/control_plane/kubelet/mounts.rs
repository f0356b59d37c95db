//! What a pod finds where something is mounted: a path of it on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client};

/// The places of a pod, by the path within it. Directories that are made for it live as long as this.
pub(super) struct Mounts {
    places: BTreeMap<String, PathBuf>,
    _made: Vec<tempfile::TempDir>,
}

impl Mounts {
    /// Directories of the node, and what the API server has of configurations.
    pub(super) async fn of(client: &Client, pod: &Pod) -> Self {
        let (mut places, mut made) = (BTreeMap::new(), Vec::new());
        let spec = pod.spec.as_ref().expect("a pod");
        let mounts = spec.containers.iter().flat_map(|one| one.volume_mounts.iter().flatten());
        for mount in mounts {
            let Some(volume) = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name) else { continue };
            if let Some(path) = &volume.host_path {
                places.insert(mount.mount_path.clone(), path.path.clone().into());
            } else if let Some(source) = &volume.config_map {
                let maps = Api::<ConfigMap>::namespaced(
                    client.clone(),
                    pod.metadata.namespace.as_deref().unwrap_or("default"),
                );
                let Ok(map) = maps.get(&source.name).await else { continue };
                let data = map.data.unwrap_or_default();
                let dir = tempfile::tempdir().expect("a temporary directory");
                for item in source.items.iter().flatten() {
                    let path = dir.path().join(&item.path);
                    std::fs::create_dir_all(path.parent().expect("it is within one")).expect("made");
                    std::fs::write(path, &data[&item.key]).expect("written");
                }
                places.insert(mount.mount_path.clone(), dir.path().to_owned());
                made.push(dir);
            }
        }
        Mounts { places, _made: made }
    }

    /// A word of its command, or a value of its environment, as this machine understands it: two dollar signs are one, and
    /// a path where something is mounted is that thing's.
    pub(super) fn here(&self, word: &str) -> String {
        let word = word.replace("$$", "$");
        self.places.get(&word).map_or(word, |path| path.display().to_string())
    }
}
