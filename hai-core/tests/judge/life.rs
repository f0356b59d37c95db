//! How runs and tasks go on and end, as far as facts and time alone say.

use hai_core::model::*;

use super::books::{Books, Loss, Run, Task};

impl Books {
    /// What time alone brings about up to now.
    pub(crate) fn pass_time(&mut self) {
        let now = self.now;
        self.rights.retain(|_, (_, expires)| expires.is_none_or(|at| at > now));
        for run in self.runs.values_mut() {
            let task = self.tasks.get_mut(&run.task).unwrap();
            let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
            run.over_limit |= due(limit_of(task, run));
            task.cancelled |= due(lease_of(task, run));
            if due(idle_of(task, run)) {
                task.held = true;
            }
        }
    }

    /// When time alone will change something that the engine must not miss.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let of_runs = self.runs.values().flat_map(|run| {
            let task = &self.tasks[&run.task];
            [limit_of(task, run), lease_of(task, run), idle_of(task, run), run.notice.filter(|_| run.stays())]
        });
        let of_tasks = self.tasks.iter().filter(|(id, task)| !task.held && self.run_of(**id).is_none());
        let of_tasks = of_tasks.map(|(_, task)| match () {
            () if !task.awaits.is_empty() => None,
            () => task.back_off.filter(|at| *at > self.now).or(task.spec.not_before),
        });
        let of_nodes = self.cooling.iter().filter(|(name, _)| self.nodes.contains_key(*name));
        let of_nodes = of_nodes.map(|(_, (_, until))| Some(*until));
        let of_rights = self.rights.values().map(|(_, expires)| *expires);
        of_runs.chain(of_tasks).chain(of_nodes).chain(of_rights).flatten().filter(|at| *at > self.now).min()
    }

    pub(crate) fn worker_started(&mut self, id: RunId, rank: u32) {
        let run = self.runs.get_mut(&id).unwrap();
        if run.ended.contains_key(&rank) || !run.started.insert(rank) {
            return;
        }
        if run.is_complete() {
            self.run_started(id);
        }
    }

    fn run_started(&mut self, id: RunId) {
        let now = self.now;
        let run = self.runs.get_mut(&id).unwrap();
        run.started_at.get_or_insert(now);
        run.leased_at.get_or_insert(now);
        let task = self.tasks.get_mut(&run.task).unwrap();
        task.refusals = 0;
        task.swap_cost = task.swap_cost + now.since(run.decided_at);
        for place in &run.placement.workers {
            if self.cooling.get(&place.node).is_some_and(|(_, until)| *until <= now) {
                self.cooling.remove(&place.node);
            }
        }
    }

    pub(crate) fn worker_ended(&mut self, id: RunId, rank: u32, exit: &WorkerExit) {
        let run = self.runs.get_mut(&id).unwrap();
        if run.ended.contains_key(&rank) {
            return;
        }
        let loss = match exit.fate {
            WorkerFate::Refused { cause: RefusalCause::Task, .. } => Some(Loss::RefusedByTask),
            WorkerFate::Refused { cause: RefusalCause::Node, .. } => Some(Loss::RefusedByNode),
            WorkerFate::Lost { .. } => Some(Loss::Gone),
            _ => None,
        };
        run.first_loss = run.first_loss.or(loss);
        run.ended.insert(rank, exit.clone());
        let over = run.alive().next().is_none();
        let node = run.placement.workers[rank as usize].node.clone();
        if !over && run.stays() && run.started_at.is_none() && run.is_complete() {
            self.run_started(id);
        }
        if loss == Some(Loss::RefusedByNode) {
            let times = self.cooling.get(&node).map_or(0, |(times, _)| *times);
            let until = self.now + doubled(self.config.cool_down, times).min(self.config.cool_down_max);
            self.cooling.insert(node, (times + 1, until));
        }
        if over {
            self.run_ended(id);
        }
    }

    fn run_ended(&mut self, id: RunId) {
        let run = self.runs.remove(&id).unwrap();
        let now = self.now;
        let task = self.tasks.get_mut(&run.task).unwrap();
        let ran = run.elapsed(now);
        task.ran = task.ran + ran;
        task.waits_since = now;
        task.swap_cost = run.leaving_since.map_or(Span::ZERO, |since| now.since(since));
        let signalled = run.ended.values().any(|exit| exit.signalled);
        let failed = run.failed() || run.over_limit;
        if !run.lost() || failed || ran >= self.config.back_off_max {
            task.losses = 0;
        }
        let retries = task.spec.retries.filter(|retries| task.retried < retries.limit);
        if run.done() {
            self.finish(run.task, "succeeded");
        } else if failed {
            match retries {
                Some(retries) if !run.over_limit && !task.cancelled => {
                    let longest = self.config.back_off_max.max(retries.back_off);
                    let wait = doubled(retries.back_off, task.retried).min(longest);
                    task.back_off = (!task.held).then_some(now + wait);
                    task.retried += 1;
                }
                _ => self.finish(run.task, "failed"),
            }
        } else if !run.lost() && !signalled {
            self.finish(run.task, "succeeded");
        } else if task.cancelled {
            self.finish(run.task, "stopped");
        } else if !task.held {
            let before = match run.first_loss {
                None => None,
                // The node has to wait, unless the task met too many that refused it.
                Some(Loss::RefusedByNode) if task.refusals + 1 < 3 => None,
                Some(Loss::RefusedByTask | Loss::RefusedByNode) => Some(task.refusals),
                // The first loss is forgiven.
                Some(Loss::Gone) => task.losses.checked_sub(1),
            };
            match run.first_loss {
                None => {}
                Some(Loss::Gone) => task.losses += 1,
                Some(_) => task.refusals += 1,
            }
            let wait = |before| doubled(self.config.back_off, before).min(self.config.back_off_max);
            task.back_off = before.map(|before| now + wait(before));
        }
    }

    /// A task is over, and so are those that had to follow its success if it had none.
    pub(crate) fn finish(&mut self, task: TaskId, outcome: &'static str) {
        self.tasks.remove(&task);
        self.finished.insert(task, outcome);
        let succeeded = outcome == "succeeded";
        if !succeeded {
            self.failed.insert(task);
        }
        let followers: Vec<TaskId> =
            self.tasks.iter().filter(|(_, other)| other.awaits.contains_key(&task)).map(|(id, _)| *id).collect();
        for follower in followers {
            let Some(other) = self.tasks.get_mut(&follower) else { continue };
            other.waits_since = self.now;
            if other.awaits.remove(&task) == Some(DependsOn::Success) && !succeeded {
                self.finish(follower, "failed");
            }
        }
    }
}

/// `span`, doubled so many times.
fn doubled(span: Span, times: u32) -> Span {
    Span::from_ms(span.as_ms() << times.min(20))
}

/// When a run will have run for as long as its task may.
fn limit_of(task: &Task, run: &Run) -> Option<Time> {
    let limit = task.spec.limit.filter(|_| run.runs())?;
    Some(run.started_at? + (limit - task.ran))
}

/// When a run's lease is over.
fn lease_of(task: &Task, run: &Run) -> Option<Time> {
    match task.spec.kind {
        TaskKind::Interactive { lease, .. } if run.runs() => Some(run.leased_at? + lease),
        _ => None,
    }
}

/// When a run's devices will have been idle for too long.
pub(crate) fn idle_of(task: &Task, run: &Run) -> Option<Time> {
    match task.spec.kind {
        TaskKind::Interactive { idle_after: Some(longest), .. } if run.stays() => Some(run.idle_since? + longest),
        _ => None,
    }
}
