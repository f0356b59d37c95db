//! Facts in: what each of them changes. Nothing is decided here.

use std::sync::Arc;

use crate::inventory::KindIx;
use crate::model::*;

use super::state::{Derived, Phase, Run, Status, Task};
use super::timers::Timer;
use super::{Engine, FactError};

impl Engine {
    pub(super) fn take_in(&mut self, fact: &Fact) -> Result<bool, FactError> {
        match fact {
            Fact::Submitted { task, spec } => self.submitted(*task, spec),
            Fact::Cancelled { task } => self.cancelled(*task),
            Fact::Concluded { task, succeeded } => self.concluded(*task, *succeeded),
            Fact::Held { task } => self.held(*task),
            Fact::Released { task } => self.released(*task),
            Fact::Reprioritised { task, priority, custom_rank } => self.reprioritised(*task, *priority, *custom_rank),
            Fact::RightSet { right } => self.right_set(right),
            Fact::RightRemoved { key } => self.right_removed(key),
            Fact::NodeSet { node } => self.node_set(node),
            Fact::NodeRemoved { node } => self.node_removed(node),
            Fact::DeviceChanged { node, device, health } => self.device_changed(node, device, health),
            Fact::WorkerStarted { run, rank } => self.worker_started(*run, *rank),
            Fact::WorkerEnded { run, rank, exit } => self.worker_ended(*run, *rank, exit),
            Fact::MustFollow { task, after } => self.must_follow(*task, after),
            Fact::Renewed { task } => self.renewed(*task),
            Fact::Idle { run, idle } => self.idle(*run, *idle),
            Fact::TeamSet { team } => self.team_set(team),
            Fact::TeamRemoved { team } => self.team_removed(team),
            Fact::Checkpointed { run, whole_life_state } => self.checkpointed(*run, *whole_life_state),
        }
    }

    fn submitted(&mut self, id: TaskId, spec: &Arc<TaskSpec>) -> Result<bool, FactError> {
        if id <= self.last_task {
            return Err(FactError::StaleTaskId { task: id, last: self.last_task });
        }
        spec.check()?;
        self.after.check(id, &spec.after, |other| self.tasks.contains(other))?;
        self.last_task = id;
        let task = Task {
            spec: Arc::clone(spec),
            status: Status::Waiting,
            submitted_at: self.now,
            started_at: None,
            waiting_since: self.now,
            runs: 0,
            whole_life_state: 0,
            ran: Span::ZERO,
            refusals: 0,
            losses: 0,
            retried: 0,
            avoids: Vec::new(),
            awaits: 0,
            suspensions: 0,
            swap_cost: Span::ZERO,
            hold: false,
            concluded: None,
            yielded: None,
            displaced: None,
            refused: None,
            told: None,
            queued: Derived::default(),
            account: Derived::default(),
            usage: Derived::default(),
            attained: 0,
            found: None,
        };
        self.tasks.insert(id, task);
        self.follow(id, &spec.after);
        self.admit(id);
        Ok(true)
    }

    fn cancelled(&mut self, id: TaskId) -> Result<bool, FactError> {
        let task = self.known(id)?;
        let Some(run_id) = task.run() else {
            self.finish(id, Outcome::Stopped);
            return Ok(true);
        };
        let run = self.run_mut(run_id);
        if run.phase == Phase::Promised {
            self.drop_promise(run_id);
            self.finish(id, Outcome::Stopped);
            return Ok(true);
        }
        if std::mem::replace(&mut run.cancelled, true) {
            return Ok(false);
        }
        self.agenda.runs.insert(run_id);
        let group = self.task_ref(id).spec.group.clone();
        self.fifo.set_dirty(&group);
        self.touch(id);
        Ok(true)
    }

    fn concluded(&mut self, id: TaskId, succeeded: bool) -> Result<bool, FactError> {
        self.known(id)?;
        let before = self.task_mut(id).concluded.replace(succeeded);
        Ok(self.cancelled(id)? || before != Some(succeeded))
    }

    fn held(&mut self, id: TaskId) -> Result<bool, FactError> {
        let task = self.known(id)?;
        match task.status {
            Status::Held => return Ok(false),
            Status::Waiting | Status::After | Status::NotBefore | Status::BackOff { .. } => {
                self.dequeue(id);
                self.task_mut(id).status = Status::Held;
            }
            Status::Run(run) if self.run_ref(run).phase == Phase::Promised => {
                self.drop_promise(run);
                self.task_mut(id).status = Status::Held;
            }
            Status::Run(run) => {
                if std::mem::replace(&mut self.task_mut(id).hold, true) {
                    return Ok(false);
                }
                self.agenda.runs.insert(run);
            }
        }
        let group = self.task_ref(id).spec.group.clone();
        self.fifo.set_dirty(&group);
        self.touch(id);
        Ok(true)
    }

    fn released(&mut self, id: TaskId) -> Result<bool, FactError> {
        let task = self.known(id)?;
        if task.status == Status::Held {
            self.admit(id);
        } else if task.hold {
            self.task_mut(id).hold = false;
            self.idle_anew(id);
            let group = self.task_ref(id).spec.group.clone();
            self.fifo.set_dirty(&group);
            self.touch(id);
        } else {
            return Err(FactError::NotHeld { task: id });
        }
        Ok(true)
    }

    fn reprioritised(&mut self, id: TaskId, priority: Priority, rank: Option<Rank>) -> Result<bool, FactError> {
        let task = self.known(id)?;
        if task.spec.priority == priority && task.spec.custom_rank == rank {
            return Ok(false);
        }
        let waits = task.status == Status::Waiting;
        if waits {
            self.dequeue(id);
        }
        let run = self.known(id)?.run();
        if let Some(run) = run.filter(|&run| self.run_ref(run).phase == Phase::Promised) {
            // Its promise was made to the old claim.
            self.drop_promise(run);
            self.task_mut(id).status = Status::Waiting;
        }
        let waits = self.known(id)?.status == Status::Waiting;
        let spec = Arc::make_mut(&mut self.task_mut(id).spec);
        spec.priority = priority;
        spec.custom_rank = rank;
        if waits {
            self.enqueue(id);
        }
        if let Some(run) = self.known(id)?.run() {
            if !matches!(self.run_ref(run).phase, Phase::Vacating { .. }) {
                // Whose work it counts as goes by the priority that was asked for.
                self.list(run);
            }
            self.agenda.runs.insert(run);
            self.freed_by(run);
        }
        self.freed(id);
        self.touch(id);
        Ok(true)
    }

    fn right_set(&mut self, right: &RightRow) -> Result<bool, FactError> {
        let changed = self.book.set(right.clone())?;
        if changed {
            self.rights_changed();
        }
        Ok(changed)
    }

    fn right_removed(&mut self, key: &RightKey) -> Result<bool, FactError> {
        if !self.book.remove(key) {
            return Err(FactError::UnknownRight);
        }
        self.rights_changed();
        Ok(true)
    }

    fn team_set(&mut self, team: &Team) -> Result<bool, FactError> {
        let changed = self.book.set_team(team.clone())?;
        if changed {
            self.rights_changed();
        }
        Ok(changed)
    }

    fn team_removed(&mut self, name: &TeamName) -> Result<bool, FactError> {
        if !self.book.remove_team(name) {
            return Err(FactError::UnknownTeam { team: name.clone() });
        }
        self.rights_changed();
        Ok(true)
    }

    pub(super) fn expire_rights(&mut self) {
        if self.book.expire(self.now) {
            self.rights_changed();
        } else {
            self.set_expiry_timer();
        }
    }

    pub(super) fn set_expiry_timer(&mut self) {
        match self.book.next_expiry() {
            Some(at) => self.timers.set(Timer::RightExpiry, at),
            None => self.timers.cancel(Timer::RightExpiry),
        }
    }

    fn rights_changed(&mut self) {
        self.set_expiry_timer();
        self.changed_rights = true;
        self.agenda.rights_cut = true;
        self.agenda.rights_freed = true;
        self.agenda.promises = true;
        self.queue.wake_rights();
        self.fifo.all_dirty = true;
    }

    fn node_set(&mut self, spec: &NodeSpec) -> Result<bool, FactError> {
        spec.check()?;
        let mut groups = vec![spec.group.clone()];
        if let Some(ix) = self.inventory.find(&spec.name) {
            let node = self.inventory.node(ix);
            if node.spec() == spec && !node.is_gone() {
                return Ok(false);
            }
            let group = node.spec().group.clone();
            let models = |spec: &NodeSpec| -> Vec<(DeviceId, ModelName)> {
                spec.devices.iter().map(|device| (device.id.clone(), device.model.clone())).collect()
            };
            if !node.holds().is_empty() && models(node.spec()) != models(spec) {
                self.keep_bills_on(ix);
            }
            self.capacity_changed(&group);
            groups.push(group);
        }
        let before = self.kinds_in(&groups);
        let ix = self.inventory.set(spec.clone());
        if self.kinds_in(&groups) != before {
            self.kinds_changed(&groups);
        }
        self.cool_on(ix);
        // A device that had vanished may be back, with whom it was given to still on it.
        let runs = &self.runs;
        self.inventory.retake(ix, |run, rank| Some(runs.get(run)?.placement.workers.get(rank as usize)?.clone()));
        self.look_at_runs_on(ix);
        self.capacity_changed(&spec.group);
        Ok(true)
    }

    fn node_removed(&mut self, name: &NodeName) -> Result<bool, FactError> {
        let ix = self.inventory.find(name).ok_or_else(|| FactError::UnknownNode { node: name.clone() })?;
        if self.inventory.node(ix).is_gone() {
            return Ok(false);
        }
        let group = self.inventory.node(ix).spec().group.clone();
        self.look_at_runs_on(ix);
        let groups = [group];
        let before = self.kinds_in(&groups);
        self.inventory.remove(ix);
        if self.kinds_in(&groups) != before {
            self.kinds_changed(&groups);
        }
        let [group] = groups;
        self.capacity_changed(&group);
        Ok(true)
    }

    fn kinds_in(&self, groups: &[GroupName]) -> Vec<Vec<KindIx>> {
        groups.iter().map(|group| self.inventory.group_kinds(group).collect()).collect()
    }

    /// What a task would use, and so whether it has the right, depends on the kinds of devices that its group has.
    fn kinds_changed(&mut self, groups: &[GroupName]) {
        for group in groups.iter().filter_map(|group| self.book.find_group(group)) {
            self.queue.wake_rights_in(group);
        }
    }

    fn device_changed(&mut self, node: &NodeName, id: &DeviceId, health: &DeviceHealth) -> Result<bool, FactError> {
        let ix = self.inventory.find(node).ok_or_else(|| FactError::UnknownNode { node: node.clone() })?;
        let mut spec = self.inventory.node(ix).spec().clone();
        let device = spec
            .devices
            .iter_mut()
            .find(|device| device.id == *id)
            .ok_or_else(|| FactError::UnknownDevice { node: node.clone(), device: id.clone() })?;
        if device.health == *health {
            return Ok(false);
        }
        device.health = health.clone();
        self.node_set(&spec)
    }

    fn look_at_runs_on(&mut self, ix: crate::inventory::NodeIx) {
        self.agenda.promises = true;
        for hold in self.inventory.node(ix).holds() {
            self.agenda.runs.insert(hold.run);
        }
    }

    pub(super) fn worker(&mut self, run: RunId, rank: u32) -> Result<&mut Run, FactError> {
        match self.runs.get_mut(run) {
            Some(known) if known.phase != Phase::Promised && (rank as usize) < known.workers.len() => Ok(known),
            _ => Err(FactError::UnknownWorker { run, rank }),
        }
    }

    fn worker_started(&mut self, id: RunId, rank: u32) -> Result<bool, FactError> {
        let now = self.now;
        let run = self.worker(id, rank)?;
        let worker = &mut run.workers[rank as usize];
        if *worker != WorkerState::Reserved {
            return Ok(false);
        }
        *worker = WorkerState::Executing { since: now };
        let complete = !run.workers.contains(&WorkerState::Reserved);
        let task = run.task;
        self.changed_runs.insert(id);
        if complete {
            self.run_started(id);
        }
        self.touch(task);
        Ok(true)
    }

    fn run_started(&mut self, id: RunId) {
        let now = self.now;
        let run = self.run_mut(id);
        run.started_at.get_or_insert(now);
        if run.phase == Phase::Starting {
            run.phase = Phase::Running;
        }
        let (id_of_task, loading) = (run.task, now.since(run.decided_at));
        let task = self.task_mut(id_of_task);
        task.refusals = 0;
        task.refused = None;
        task.swap_cost = task.swap_cost + loading;
        task.started_at.get_or_insert(now);
        self.took_start(id);
        if self.run_ref(id).is_staying() {
            self.list(id);
        }
        self.set_run_timers(id);
        self.set_life_timers(id);
    }

    fn worker_ended(&mut self, id: RunId, rank: u32, exit: &WorkerExit) -> Result<bool, FactError> {
        let now = self.now;
        let run = self.worker(id, rank)?;
        if matches!(run.workers[rank as usize], WorkerState::Ended { .. }) {
            return Ok(false);
        }
        run.note_exit(rank, exit);
        run.workers[rank as usize] = WorkerState::Ended { at: now, exit: exit.clone() };
        let task = run.task;
        let place = run.placement.workers[rank as usize].node.clone();
        let over = run.alive().next().is_none();
        // The first worker's end without success ends the others too; a worker that is done only frees its place.
        let all_told = matches!(run.phase, Phase::Vacating { .. });
        let complete = !over && !all_told && !run.workers.contains(&WorkerState::Reserved);
        if complete && run.started_at.is_none() {
            self.run_started(id);
        }
        self.uncharge_worker(id, rank as usize);
        if let WorkerFate::Refused { cause: RefusalCause::Node, .. } = exit.fate {
            self.cool_down(&place);
        }
        self.inventory.release(&place, id, rank);
        self.agenda.runs.insert(id);
        self.changed_runs.insert(id);
        self.freed(task);
        if let Some(ix) = self.inventory.find(&place) {
            self.room_freed(ix);
        }
        if over {
            self.end_run(id);
        } else {
            if self.run_ref(id).is_staying() {
                // It is no longer where this worker was, which may be gone before the others have ended.
                self.list(id);
            }
            self.touch(task);
        }
        Ok(true)
    }

    fn end_run(&mut self, id: RunId) {
        let now = self.now;
        self.yielders.unlist(id);
        self.cancel_run_timers(id);
        self.cancel_life_timers(id);
        self.crossing.remove(&id);
        let Some(run) = self.runs.remove(id) else { return };
        let end = run.verdict_at_end();
        self.remember_end(&run, &end);
        let steady = self.config.back_off_max;
        self.ended_runs.push(run.view(id, Some((now, end.clone()))));
        let task = self.task_mut(run.task);
        task.ran = task.ran + run.elapsed(now);
        let devices: Amount = (0..run.workers.len()).map(|rank| run.devices(rank)).sum();
        let had = devices.times(run.elapsed(now).as_ms()).as_milli() / 1000;
        task.attained = task.attained.saturating_add(had);
        // In no queue and without a run, until it is known what becomes of it.
        task.status = Status::Held;
        let stays_held = std::mem::take(&mut task.hold);
        task.swap_cost = run.told_at.map_or(Span::ZERO, |told_at| now.since(told_at));
        let refused = run.loss.as_ref().is_some_and(|loss| loss.refused);
        if !matches!(end, RunEnd::Lost { .. }) || run.elapsed(now) >= steady {
            task.losses = 0;
        }
        match end {
            RunEnd::Completed => self.finish(run.task, Outcome::Succeeded),
            RunEnd::Failed { reason } if run.hopeless || run.cancelled => {
                self.finish(run.task, Outcome::Failed { reason });
            }
            RunEnd::Failed { .. }
                if stays_held && task.spec.retries.is_some_and(|retries| task.retried < retries.limit) =>
            {
                task.retried += 1;
                task.status = Status::Held;
                self.touch(run.task);
            }
            RunEnd::Failed { reason } => self.retry(run.task, run.failed_on.clone(), reason),
            RunEnd::Stopped => self.finish(run.task, Outcome::Stopped),
            RunEnd::Suspended | RunEnd::Lost { .. } if run.cancelled => self.finish(run.task, Outcome::Stopped),
            RunEnd::Suspended | RunEnd::Lost { .. } if stays_held => {
                task.status = Status::Held;
                self.touch(run.task);
            }
            // One loss may be anybody's bad luck; a second in a row may be the task's own doing.
            RunEnd::Lost { reason } if refused => {
                let by_node = run.loss.as_ref().and_then(|loss| loss.by_node.as_ref());
                self.refused(run.task, by_node, reason);
            }
            RunEnd::Lost { reason } => {
                task.losses += 1;
                match task.losses - 1 {
                    0 => self.admit(run.task),
                    before => self.back_off(run.task, before - 1, reason),
                }
            }
            RunEnd::Suspended => self.admit(run.task),
        }
    }

    fn checkpointed(&mut self, id: RunId, whole_life_state: i64) -> Result<bool, FactError> {
        let now = self.now;
        let run = self.worker(id, 0)?;
        run.checkpointed_at = Some(now);
        run.whole_life_state = Some(whole_life_state);
        let task = run.task;
        self.task_mut(task).whole_life_state = whole_life_state;
        if self.run_ref(id).is_staying() {
            self.list(id);
        }
        self.changed_runs.insert(id);
        self.touch(task);
        Ok(true)
    }
}
