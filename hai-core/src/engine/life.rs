//! What happens to a task between its runs: it waits for others, for its time, for a second try; and what ends a run
//! before its task is done.

use crate::inventory::NodeIx;
use crate::model::*;

use super::state::{Phase, Status};
use super::timers::Timer;
use super::{Engine, FactError};

/// After so many refusals in a row that are said to be the nodes' fault, the task waits too.
const NODE_REFUSALS_MAX: u32 = 3;

impl Engine {
    /// Puts a task where it waits: for others, for its time, or in the queue.
    pub(super) fn admit(&mut self, id: TaskId) {
        let now = self.now;
        let task = self.task_mut(id);
        task.waiting_since = now;
        if task.awaits > 0 {
            task.status = Status::After;
        } else if let Some(at) = task.spec.not_before.filter(|&at| at > now) {
            task.status = Status::NotBefore;
            self.timers.set(Timer::NotBefore(id), at);
        } else {
            task.status = Status::Waiting;
            self.enqueue(id);
            return;
        }
        self.fifo_register(id);
        self.touch(id);
    }

    /// Makes a task wait for others, as far as those are unfinished. All were checked.
    pub(super) fn follow(&mut self, id: TaskId, after: &[Dependency]) {
        for dependency in after {
            if self.tasks.contains(dependency.task) && self.after.add(id, dependency.task, dependency.ended) {
                self.task_mut(id).awaits += 1;
            }
        }
    }

    pub(super) fn must_follow(&mut self, id: TaskId, after: &[Dependency]) -> Result<bool, FactError> {
        let task = self.known(id)?;
        if task.runs > 0 {
            return Err(FactError::HasStarted { task: id });
        }
        self.after.check(id, after, |other| self.tasks.contains(other))?;
        let spec = &task.spec;
        let more: Vec<Dependency> =
            after.iter().filter(|dependency| !spec.after.contains(dependency)).copied().collect();
        if more.is_empty() {
            return Ok(false);
        }
        let mut spec = TaskSpec::clone(spec);
        spec.after.extend(&more);
        spec.check()?;
        let stays_held = task.status == Status::Held;
        match task.status {
            Status::Run(run) if self.run_ref(run).phase == Phase::Promised => self.drop_promise(run),
            // Its start was decided already.
            Status::Run(_) => return Err(FactError::HasStarted { task: id }),
            _ => self.dequeue(id),
        }
        self.task_mut(id).spec = std::sync::Arc::new(spec);
        self.follow(id, &more);
        if stays_held {
            self.touch(id);
        } else {
            self.admit(id);
        }
        Ok(true)
    }

    /// Tells those that waited for a task that it is over.
    pub(super) fn release_followers(&mut self, id: TaskId, succeeded: bool) {
        for (follower, ended) in self.after.end(id, succeeded) {
            let Some(task) = self.tasks.get_mut(follower) else { continue };
            if !succeeded && ended == DependsOn::Success {
                self.doomed.push((follower, id));
                continue;
            }
            task.awaits = task.awaits.saturating_sub(1);
            if task.awaits == 0 && task.status == Status::After {
                self.admit(follower);
            } else {
                self.touch(follower);
            }
        }
    }

    /// Ends the tasks that waited for the success of one that did not succeed, and those that waited for theirs.
    pub(super) fn bury_doomed(&mut self) {
        while let Some((id, other)) = self.doomed.pop() {
            if self.tasks.contains(id) {
                let reason = format!("task {other}, which had to succeed first, did not");
                self.finish(id, Outcome::Failed { reason });
            }
        }
    }

    pub(super) fn renewed(&mut self, id: TaskId) -> Result<bool, FactError> {
        let now = self.now;
        let task = self.known(id)?;
        let TaskKind::Interactive { lease, .. } = task.spec.kind else { return Err(FactError::NoLease { task: id }) };
        let Some(run_id) = task.run() else { return Ok(false) };
        let run = self.run_mut(run_id);
        if run.phase != Phase::Running || run.leased_at == Some(now) {
            return Ok(false);
        }
        run.leased_at = Some(now);
        self.timers.set(Timer::Lease(run_id), now + lease);
        self.changed_runs.insert(run_id);
        Ok(true)
    }

    pub(super) fn idle(&mut self, id: RunId, idle: bool) -> Result<bool, FactError> {
        let now = self.now;
        let run = self.worker(id, 0)?;
        if run.idle_since.is_some() == idle {
            return Ok(false);
        }
        run.idle_since = idle.then_some(now);
        let task = run.task;
        self.set_idle_timer(id);
        self.changed_runs.insert(id);
        self.touch(task);
        Ok(true)
    }

    /// Whoever released a task has seen that it is idle: its run may stay as long as if it had only now become so.
    pub(super) fn idle_anew(&mut self, id: TaskId) {
        let now = self.now;
        let Some(run_id) = self.task_ref(id).run() else { return };
        let run = self.run_mut(run_id);
        if run.idle_since.is_some() && run.is_staying() {
            run.idle_since = Some(now);
            self.set_idle_timer(run_id);
        }
    }

    fn set_idle_timer(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let kind = self.task_ref(run.task).spec.kind;
        match (kind, run.idle_since.filter(|_| run.is_staying())) {
            (TaskKind::Interactive { idle_after: Some(idle_after), .. }, Some(since)) => {
                self.timers.set(Timer::Idle(id), since + idle_after);
            }
            _ => self.timers.cancel(Timer::Idle(id)),
        }
    }

    /// Sets what will end a run that has begun to execute, if nothing happens before.
    pub(super) fn set_life_timers(&mut self, id: RunId) {
        // Devices can be idle before all workers have begun.
        self.set_idle_timer(id);
        let run = self.run_ref(id);
        let Some(start) = run.started_at.filter(|_| run.phase == Phase::Running) else { return };
        let task = self.task_ref(run.task);
        let (limit, kind, ran) = (task.spec.limit, task.spec.kind, task.ran);
        if let Some(limit) = limit {
            self.timers.set(Timer::Limit(id), start + (limit - ran));
        }
        if let TaskKind::Interactive { lease, .. } = kind {
            let since = *self.run_mut(id).leased_at.get_or_insert(start);
            self.timers.set(Timer::Lease(id), since + lease);
        }
    }

    pub(super) fn cancel_life_timers(&mut self, id: RunId) {
        self.timers.cancel(Timer::Limit(id));
        self.timers.cancel(Timer::Lease(id));
        self.timers.cancel(Timer::Idle(id));
        self.forget_notice(id);
    }

    pub(super) fn limit_reached(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let limit = self.task_ref(run.task).spec.limit.unwrap_or(Span::ZERO);
        let run = self.run_mut(id);
        run.failure.get_or_insert_with(|| format!("it ran longer than its limit of {limit}"));
        run.hopeless = true;
        self.agenda.runs.insert(id);
    }

    /// A lease that nobody renewed ends the task as if it had been asked to stop.
    pub(super) fn lease_over(&mut self, id: RunId) {
        self.run_mut(id).cancelled = true;
        let task = self.run_ref(id).task;
        self.agenda.runs.insert(id);
        self.touch(task);
    }

    /// An idle run leaves, and its task is held.
    pub(super) fn idle_too_long(&mut self, id: RunId) {
        let task = self.run_ref(id).task;
        self.task_mut(task).hold = true;
        self.agenda.runs.insert(id);
        self.touch(task);
    }

    /// A failed task is tried again, if it asked for that.
    pub(super) fn retry(&mut self, id: TaskId, failed_on: Option<NodeName>, reason: String) {
        let task = self.task_mut(id);
        let Some(retries) = task.spec.retries.filter(|retries| task.retried < retries.limit) else {
            self.finish(id, Outcome::Failed { reason });
            return;
        };
        let doubled = retries.back_off.as_ms().saturating_mul(1_u64.checked_shl(task.retried).unwrap_or(u64::MAX));
        task.retried += 1;
        if retries.avoid_nodes
            && let Some(node) = failed_on
            && !task.avoids.contains(&node)
        {
            task.avoids.push(node);
        }
        let longest = self.config.back_off_max.max(retries.back_off);
        self.wait_until(id, self.now + Span::from_ms(doubled).min(longest), reason);
    }

    /// The task waits after a refusal or a loss, twice as long for every time `before` in a row that it had to.
    pub(super) fn back_off(&mut self, id: TaskId, before: u32, reason: String) {
        let doubled =
            self.config.back_off.as_ms().saturating_mul(1_u64.checked_shl(before.min(40)).unwrap_or(u64::MAX));
        self.wait_until(id, self.now + Span::from_ms(doubled).min(self.config.back_off_max), reason);
    }

    fn wait_until(&mut self, id: TaskId, until: Time, reason: String) {
        self.task_mut(id).status = Status::BackOff { until, reason };
        self.timers.set(Timer::BackOff(id), until);
        self.fifo_register(id);
        self.touch(id);
    }

    /// A task whose start was refused waits, unless the node was at fault: then the node does.
    pub(super) fn refused(&mut self, id: TaskId, by_node: Option<&NodeName>, reason: String) {
        let task = self.task_mut(id);
        let before = task.refusals;
        task.refusals += 1;
        match by_node {
            Some(_) if before + 1 < NODE_REFUSALS_MAX => self.admit(id),
            _ => self.back_off(id, before, reason),
        }
    }

    /// The node gets no new work for a while, twice as long for every refusal in a row.
    pub(super) fn cool_down(&mut self, name: &NodeName) {
        let Some(ix) = self.inventory.find(name) else { return };
        let (times, _) = self.cooling.get(name).copied().unwrap_or_default();
        let doubled =
            self.config.cool_down.as_ms().saturating_mul(1_u64.checked_shl(times.min(40)).unwrap_or(u64::MAX));
        let until = self.now + Span::from_ms(doubled).min(self.config.cool_down_max);
        self.cooling.insert(name.clone(), (times.saturating_add(1), until));
        self.inventory.cool(ix, Some(until));
        self.timers.set(Timer::CoolDown(ix), until);
        // Promises on it are broken.
        self.promises_on(ix);
    }

    /// A node that comes back while it should get no new work still gets none.
    pub(super) fn cool_on(&mut self, ix: NodeIx) {
        let name = &self.inventory.node(ix).spec().name;
        if let Some(&(_, until)) = self.cooling.get(name).filter(|&&(_, until)| until > self.now) {
            self.inventory.cool(ix, Some(until));
            self.timers.set(Timer::CoolDown(ix), until);
        }
    }

    /// The node may be tried again. How often it refused is remembered until it takes a start.
    pub(super) fn cooled_down(&mut self, ix: NodeIx) {
        if self.inventory.get(ix).is_some() {
            self.inventory.cool(ix, None);
            self.room_freed(ix);
        }
    }

    /// A node took a start, so that its next refusal counts as the first.
    pub(super) fn took_start(&mut self, id: RunId) {
        if self.cooling.is_empty() {
            return;
        }
        let names: Vec<NodeName> = self.run_ref(id).placement.workers.iter().map(|place| place.node.clone()).collect();
        for name in names {
            if self.cooling.get(&name).is_some_and(|&(_, until)| until <= self.now) {
                self.cooling.remove(&name);
            }
        }
    }
}
