//! What makes two waiting tasks alike: tasks of one shape start or wait together, tasks with one ask fit or do not.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::model::{TaskId, TaskSpec};

/// All that decides about a waiting task but its place in the queue. Taken from the task's own description, so that
/// comparing it with that of its class is mostly comparing two addresses.
#[derive(Clone, Debug)]
pub struct Shape {
    /// One task of the shape.
    pub spec: Arc<TaskSpec>,
    /// They have run so long that they count as the next level down.
    pub demoted: bool,
    /// The task, if there is none like it: it would rather not see nodes on which it failed.
    pub alone: Option<TaskId>,
}

/// All that decides whether, and where, a task fits.
#[derive(Clone, Debug)]
pub struct AskKey(pub Arc<TaskSpec>);

fn same_ask(a: &TaskSpec, b: &TaskSpec) -> bool {
    a.workers == b.workers
        && a.workers_min() == b.workers_min()
        && a.group == b.group
        && a.distinct_nodes == b.distinct_nodes
        && a.request == b.request
        && a.tolerates == b.tolerates
        && a.constraints == b.constraints
}

fn hash_ask<H: Hasher>(spec: &TaskSpec, state: &mut H) {
    spec.group.hash(state);
    spec.workers.hash(state);
    spec.workers_min().hash(state);
    spec.distinct_nodes.hash(state);
    spec.request.hash(state);
    // Few tasks have these; equality looks at all of them.
    spec.tolerates.len().hash(state);
    spec.constraints.is_some().hash(state);
}

impl PartialEq for AskKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || same_ask(&self.0, &other.0)
    }
}

impl Eq for AskKey {}

impl Hash for AskKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_ask(&self.0, state);
    }
}

/// What counts of a task's limit: only what can not be suspended has to be over in time.
fn bound(spec: &TaskSpec) -> Option<crate::model::Span> {
    spec.limit.filter(|_| !spec.suspendable)
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&*self.spec, &*other.spec);
        self.demoted == other.demoted
            && self.alone == other.alone
            && (Arc::ptr_eq(&self.spec, &other.spec)
                || (a.user == b.user
                    && a.priority == b.priority
                    && a.kind.is_background() == b.kind.is_background()
                    && a.suspendable == b.suspendable
                    && bound(a) == bound(b)
                    && same_ask(a, b)))
    }
}

impl Eq for Shape {}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.demoted.hash(state);
        self.alone.hash(state);
        self.spec.user.hash(state);
        self.spec.priority.hash(state);
        self.spec.suspendable.hash(state);
        bound(&self.spec).hash(state);
        hash_ask(&self.spec, state);
    }
}
