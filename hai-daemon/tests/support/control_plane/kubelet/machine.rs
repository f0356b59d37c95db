//! What a node is, and what may become of its pods.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) cpu: u32,
    pub(crate) memory_gib: u32,
    pub(crate) gpus: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<Value>,
    pub(crate) address: String,
    pub(crate) cordoned: bool,
}

impl Machine {
    /// 16 processors, 64 GiB, no GPU, at 10.1.0.1.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cpu: 16,
            memory_gib: 64,
            gpus: 0,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            address: "10.1.0.1".to_owned(),
            cordoned: false,
        }
    }

    pub(crate) fn gpus(self, gpus: u32) -> Self {
        Self { gpus, ..self }
    }

    pub(crate) fn cpu(self, cpu: u32) -> Self {
        Self { cpu, ..self }
    }

    pub(crate) fn memory_gib(self, memory_gib: u32) -> Self {
        Self { memory_gib, ..self }
    }

    pub(crate) fn address(self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self }
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// `effect` as in `NoSchedule`.
    pub(crate) fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        self.taints.push(json!({"key": key, "value": value, "effect": effect}));
        self
    }

    pub(crate) fn cordoned(self) -> Self {
        Self { cordoned: true, ..self }
    }
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Runs until somebody deletes it or [`Kubelet::end`]s it, and then leaves at once.
    Stay,
    /// Runs until it is ended, and takes all the grace it has when it is deleted.
    Stubborn,
    /// Ends by itself with this code.
    Exit { after: Duration, code: i32 },
    /// Ends at once with this code, and this as its last word.
    Says { code: i32, word: String },
    /// Is killed since it took too much memory.
    OutOfMemory { after: Duration },
    /// Is put out by the kubelet, for example since the disk is full.
    Evicted { after: Duration },
    /// Its image takes this long to pull; then it stays.
    PullSlow { takes: Duration },
    /// Its image can not be had.
    PullFails,
    /// Its command is executed on this machine, with its environment.
    Process,
    /// Nothing is heard of it.
    Silence,
}
