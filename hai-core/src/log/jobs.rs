//! The work in a log as a load, and its cluster as one to play it on.

use crate::engine::Engine;
use crate::model::{Duty, Fact};
use crate::sim::study::{Change, Cluster, ClusterError, Load};
use crate::trace::Job;

use super::workload::{Outside, Workload};

impl Workload {
    /// The tasks of the log, by time of submission; those that were there when the log began come then. A task that the log
    /// does not see end, or that was stopped, is given what it ran until then.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut load = Load::default();
        let mut push = |task, submit, spec: &crate::model::TaskSpec| {
            let Some(known) = self.tasks.get(&task) else { return };
            let (mut spec, work) = (spec.clone(), known.work_undisturbed());
            // Numbers are given anew.
            spec.after.clear();
            load.push(Job { line: task.0, submit, spec, work });
        };
        if let Some(state) = &self.state {
            let engine = Engine::restore(self.config.clone(), state.clone());
            for view in engine.tasks() {
                push(view.id, self.since, &view.spec);
            }
        }
        for (at, what) in &self.inputs {
            if let Outside::Submit(task, spec) = what {
                push(*task, *at, spec);
            }
        }
        load.sort();
        load
    }

    /// The nodes, rights and teams of the log as they were after its last record about each; what rights were changed to
    /// later comes at its time.
    ///
    /// # Errors
    /// [`ClusterError`], if what the log says does not hang together.
    pub fn cluster(&self) -> Result<Cluster, ClusterError> {
        let mut engine = match &self.state {
            Some(state) => Engine::restore(self.config.clone(), state.clone()),
            None => Engine::new(self.config.clone()),
        };
        let first =
            self.inputs.iter().find(|(_, what)| matches!(what, Outside::Submit(..))).map_or(self.since, |(at, _)| *at);
        let mut changes = Vec::new();
        for (at, what) in &self.inputs {
            match what {
                Outside::Fact(Fact::RightSet { right }) if *at > first => {
                    changes.push((at.since(first), Change::Right(right.clone())));
                }
                Outside::Fact(fact @ (Fact::RightSet { .. } | Fact::RightRemoved { .. } | Fact::TeamSet { .. })) => {
                    let _ = engine.observe(*at, fact);
                }
                Outside::Fact(Fact::NodeSet { node }) => {
                    let mut node = node.clone();
                    (node.ready, node.cordoned) = (true, false);
                    let node = node.with_duty(Duty::Open);
                    let _ = engine.observe(*at, &Fact::NodeSet { node });
                }
                _ => {}
            }
        }
        let nodes = engine.nodes().map(|view| view.spec).collect();
        let cluster = Cluster {
            nodes,
            rights: engine.rights().collect(),
            teams: engine.teams().cloned().collect(),
            changes,
            conduct: self.conduct,
            ..Cluster::default()
        };
        cluster.finish()
    }
}
