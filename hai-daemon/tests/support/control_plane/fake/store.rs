//! What the in-process control plane remembers: objects, and the changes that made them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::resources::Resource;

/// Namespace (empty if it has none) and name.
pub(crate) type Key = (String, String);

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) rv: u64,
    pub(crate) plural: (&'static str, &'static str),
    pub(crate) key: Key,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// Changes that are kept for those who watch; older ones are gone.
const KEPT: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Store {
    objects: BTreeMap<(&'static str, &'static str), BTreeMap<Key, Value>>,
    rv: u64,
    history: VecDeque<Arc<Change>>,
    /// What happened up to here is not known any more.
    compacted: u64,
    counted: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { objects: BTreeMap::new(), rv: 1, history: VecDeque::new(), compacted: 1, counted: 0 }
    }

    pub(crate) fn rv(&self) -> u64 {
        self.rv
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    /// A number that was not given before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }

    pub(crate) fn get(&self, resource: &Resource, key: &Key) -> Option<&Value> {
        self.objects.get(&(resource.group, resource.plural))?.get(key)
    }

    /// All of one kind in the order of their keys.
    pub(crate) fn all(&self, resource: &Resource) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.get(&(resource.group, resource.plural)).into_iter().flatten()
    }

    /// How all of one kind were when `rv` was the newest version; `None` if that is forgotten.
    pub(crate) fn at(&self, resource: &Resource, rv: u64) -> Option<BTreeMap<Key, Value>> {
        if rv < self.compacted {
            return None;
        }
        let mut then: BTreeMap<Key, Value> =
            self.all(resource).map(|(key, value)| (key.clone(), value.clone())).collect();
        for change in self.history.iter().rev().take_while(|change| change.rv > rv) {
            if change.plural != (resource.group, resource.plural) {
                continue;
            }
            match &change.before {
                Some(before) => then.insert(change.key.clone(), before.clone()),
                None => then.remove(&change.key),
            };
        }
        Some(then)
    }

    /// Sets or removes an object; the object as it is then, or as it was when it was removed.
    pub(crate) fn put(&mut self, resource: &'static Resource, key: &Key, object: Option<Value>) -> Value {
        self.rv += 1;
        let plural = (resource.group, resource.plural);
        let kept = self.objects.entry(plural).or_default();
        let before = kept.get(key).cloned();
        let after = object.map(|mut object| {
            object["metadata"]["resourceVersion"] = Value::String(self.rv.to_string());
            object
        });
        match &after {
            Some(object) => kept.insert(key.clone(), object.clone()),
            None => kept.remove(key),
        };
        let shown = after.clone().or_else(|| before.clone()).unwrap_or_default();
        self.history.push_back(Arc::new(Change { rv: self.rv, plural, key: key.clone(), before, after }));
        if self.history.len() > KEPT {
            let dropped = self.history.pop_front().expect("there are many");
            self.compacted = dropped.rv;
        }
        shown
    }

    /// Changes of one kind since `rv`, or `None` if some of them are forgotten.
    pub(crate) fn since(&self, resource: &Resource, rv: u64) -> Option<Vec<Arc<Change>>> {
        if rv < self.compacted {
            return None;
        }
        let from = self.history.partition_point(|change| change.rv <= rv);
        let plural = (resource.group, resource.plural);
        Some(self.history.range(from..).filter(|change| change.plural == plural).cloned().collect())
    }

    /// Forgets what happened, not what is.
    pub(crate) fn compact(&mut self) {
        // As on a real one, the versions before the newest can not be asked for.
        self.rv += 1;
        self.history.clear();
        self.compacted = self.rv;
    }
}
