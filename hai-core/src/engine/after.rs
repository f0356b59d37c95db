//! Tasks that wait for others to end.

use std::collections::BTreeSet;

use petgraph::algo::astar;
use petgraph::graphmap::DiGraphMap;

use crate::model::{Dependency, DependsOn, TaskId};

use super::FactError;

/// How many ends without success are remembered for those who will be submitted to follow them.
const FAILED_MAX: usize = 100_000;

/// Who waits for whom among unfinished tasks, and which finished ones did not succeed.
#[derive(Clone, Debug, Default)]
pub(super) struct After {
    /// From a task to those that wait for it.
    graph: DiGraphMap<TaskId, DependsOn>,
    failed: BTreeSet<TaskId>,
}

impl After {
    /// Checks that `task` can wait for all of these. `unfinished` tells whether a task is.
    pub(super) fn check(
        &self,
        task: TaskId,
        after: &[Dependency],
        unfinished: impl Fn(TaskId) -> bool,
    ) -> Result<(), FactError> {
        for dependency in after {
            let other = dependency.task;
            if other == task {
                return Err(FactError::DependencyCycle { cycle: vec![task] });
            }
            if other > task && !unfinished(other) {
                return Err(FactError::UnknownDependency { task: other });
            }
            if unfinished(other) {
                if let Some(cycle) = self.cycle(task, other) {
                    return Err(FactError::DependencyCycle { cycle });
                }
                continue;
            }
            if self.failed.contains(&other) && dependency.ended == DependsOn::Success {
                return Err(FactError::DependencyFailed { task: other });
            }
            if self.is_forgotten(other) && dependency.ended == DependsOn::Success {
                return Err(FactError::UnknownDependency { task: other });
            }
        }
        Ok(())
    }

    /// Whether nobody knows any more how a finished task ended.
    fn is_forgotten(&self, task: TaskId) -> bool {
        self.failed.len() >= FAILED_MAX && self.failed.first().is_some_and(|&oldest| task < oldest)
    }

    /// Who would wait for each other if `task` waited for `other`: each for the next, the last for the first.
    fn cycle(&self, task: TaskId, other: TaskId) -> Option<Vec<TaskId>> {
        if !self.graph.contains_node(task) || !self.graph.contains_node(other) {
            return None;
        }
        let (_, path) = astar(&self.graph, task, |at| at == other, |_| 1_u32, |_| 0)?;
        Some(std::iter::once(task).chain(path.into_iter().skip(1).rev()).collect())
    }

    /// `task` waits for `other`, which is unfinished. False if it did already.
    pub(super) fn add(&mut self, task: TaskId, other: TaskId, ended: DependsOn) -> bool {
        match self.graph.edge_weight_mut(other, task) {
            Some(known) => {
                *known = (*known).min(ended);
                false
            }
            None => {
                self.graph.add_edge(other, task, ended);
                true
            }
        }
    }

    /// What a task waits for that is not over.
    pub(super) fn awaited(&self, task: TaskId) -> Vec<TaskId> {
        let mut tasks: Vec<TaskId> = self.graph.neighbors_directed(task, petgraph::Direction::Incoming).collect();
        tasks.sort_unstable();
        tasks
    }

    /// A task is over. Returns who waited for it, and how they wanted it to end.
    pub(super) fn end(&mut self, task: TaskId, succeeded: bool) -> Vec<(TaskId, DependsOn)> {
        if !succeeded {
            if self.failed.len() >= FAILED_MAX {
                self.failed.pop_first();
            }
            self.failed.insert(task);
        }
        if !self.graph.contains_node(task) {
            return Vec::new();
        }
        let mut waiting: Vec<(TaskId, DependsOn)> =
            self.graph.edges(task).map(|(_, waits, ended)| (waits, *ended)).collect();
        waiting.sort_unstable();
        self.graph.remove_node(task);
        waiting
    }

    /// Tasks that ended without success, as far as they are remembered.
    pub(super) fn failed(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.failed.iter().copied()
    }

    /// The opposite of [`After::failed`].
    pub(super) fn remember_failed(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        self.failed.extend(tasks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(task: u64) -> Dependency {
        Dependency { task: TaskId(task), ended: DependsOn::Success }
    }

    #[test]
    fn a_cycle_is_named_from_the_task_that_would_close_it() {
        let mut after = After::default();
        for (task, other) in [(2, 1), (3, 2), (4, 3)] {
            assert!(after.add(TaskId(task), TaskId(other), DependsOn::Success));
        }
        let error = after.check(TaskId(1), &[on(4)], |_| true).expect_err("1 waits for 4, which waits for 1");
        assert_eq!(error.to_string(), "after: task 1, task 4, task 3, task 2 would wait for each other for ever");
        assert!(after.check(TaskId(4), &[on(1)], |_| true).is_ok());
    }

    #[test]
    fn success_is_asked_for_if_any_of_two_dependencies_asks_for_it() {
        let mut after = After::default();
        assert!(after.add(TaskId(2), TaskId(1), DependsOn::Any));
        assert!(!after.add(TaskId(2), TaskId(1), DependsOn::Success));
        assert_eq!(after.end(TaskId(1), false), [(TaskId(2), DependsOn::Success)]);
        assert_eq!(after.awaited(TaskId(2)), []);
        let error = after.check(TaskId(3), &[on(1)], |_| false).expect_err("1 failed");
        assert_eq!(error, FactError::DependencyFailed { task: TaskId(1) });
    }
}
