//! What a laboratory is asked: where tasks are, how they stand, why they wait, and what was decided when.

use std::collections::BTreeSet;

use hai_core::model::*;

use super::lab::Lab;

impl Lab {
    pub(crate) fn id(&self, name: &str) -> TaskId {
        self.ids[name]
    }

    /// The task's last run.
    pub(crate) fn run_of(&self, name: &str) -> RunId {
        let task = self.id(name);
        let last = self.runs.iter().rfind(|(_, run)| run.task == task);
        *last.unwrap_or_else(|| panic!("{name} was never started")).0
    }

    pub(crate) fn placement(&self, name: &str) -> &Placement {
        &self.runs[&self.run_of(name)].placement
    }

    pub(crate) fn nodes_of(&self, name: &str) -> BTreeSet<String> {
        self.placement(name).workers.iter().map(|worker| worker.node.to_string()).collect()
    }

    pub(crate) fn devices_of(&self, name: &str) -> BTreeSet<String> {
        self.placement(name).workers.iter().flat_map(|worker| &worker.devices).map(ToString::to_string).collect()
    }

    pub(crate) fn level_of(&self, name: &str) -> Priority {
        self.runs[&self.run_of(name)].level
    }

    pub(crate) fn whole_life_state_of(&self, name: &str) -> i64 {
        self.runs[&self.run_of(name)].whole_life_state
    }

    pub(crate) fn verdict(&self, name: &str) -> Option<Verdict> {
        self.engine.verdict(self.id(name))
    }

    /// The verdict of a task that must have one.
    pub(crate) fn why(&self, name: &str) -> Verdict {
        self.verdict(name).unwrap_or_else(|| panic!("{name} has no verdict"))
    }

    pub(crate) fn state(&self, name: &str) -> TaskState {
        let id = self.id(name);
        match self.engine.task(id) {
            Some(view) => view.state,
            None => self.finished.get(&id).unwrap_or_else(|| panic!("{name} was lost")).state,
        }
    }

    pub(crate) fn outcome(&self, name: &str) -> Outcome {
        let view = self.finished.get(&self.id(name)).unwrap_or_else(|| panic!("{name} is not finished"));
        view.outcome.clone().expect("a finished task has an outcome")
    }

    pub(crate) fn run_end(&self, name: &str) -> RunEnd {
        let view = self.ended.get(&self.run_of(name)).unwrap_or_else(|| panic!("{name}'s last run has not ended"));
        view.end.clone().expect("an ended run has an end")
    }

    /// How the task's first, second, … run ended.
    pub(crate) fn run_end_of_attempt(&self, name: &str, attempt: usize) -> RunEnd {
        let task = self.id(name);
        let view = self.ended.values().filter(|run| run.task == task).nth(attempt - 1);
        view.unwrap_or_else(|| panic!("{name} has not ended {attempt} runs"))
            .end
            .clone()
            .expect("an ended run has an end")
    }

    /// Names of the tasks that run, are starting or are leaving.
    pub(crate) fn holders(&self) -> BTreeSet<&str> {
        self.runs.values().filter(|run| !run.alive.is_empty()).map(|run| self.names[&run.task].as_str()).collect()
    }

    /// How many of its runs were told to leave for others.
    pub(crate) fn suspensions(&self, name: &str) -> usize {
        let start = format!("suspend {name} for ");
        self.history.iter().filter(|(_, line)| line.starts_with(&start)).count()
    }

    /// Seconds since the beginning.
    pub(crate) fn second(&self) -> u64 {
        self.now.since(Time::ZERO).as_ms() / 1000
    }

    /// The seconds in which a line was decided.
    pub(crate) fn when(&self, line: &str) -> Vec<u64> {
        self.history.iter().filter(|(_, said)| said == line).map(|(at, _)| *at).collect()
    }
}
