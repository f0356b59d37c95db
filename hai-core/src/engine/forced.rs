//! What has to happen whatever the policy says: stops, holds, lost nodes, cut rights; and promises that are kept or
//! broken.

use crate::inventory::{Node, Room, Stage};
use crate::model::*;
use crate::placement;
use crate::rights::book::Standing;

use super::Engine;
use super::state::Phase;

impl Engine {
    /// Tells runs to leave or end that have no choice.
    pub(super) fn force(&mut self) {
        if self.agenda.rights_freed {
            self.look_at_unfollowed();
        }
        let looked_at = self.agenda.runs.take();
        for &id in &looked_at {
            if self.runs.contains(id) {
                self.force_run(id);
            }
        }
        self.agenda.runs.reuse(looked_at);
        self.cut_rights();
        if std::mem::take(&mut self.agenda.rights_freed) && self.config.borrow {
            self.entitle_borrowed();
        }
    }

    fn look_at_unfollowed(&mut self) {
        for id in std::mem::take(&mut self.unfollowed) {
            self.agenda.runs.insert(id);
        }
    }

    /// Borrowed work becomes entitled where the policy freed rights that nobody who waits could use. True if some did.
    pub(super) fn entitle_freed(&mut self) -> bool {
        if !self.config.borrow || !std::mem::take(&mut self.agenda.rights_freed) {
            return false;
        }
        self.look_at_unfollowed();
        self.entitle_borrowed()
    }

    fn force_run(&mut self, id: RunId) {
        let run = self.run_ref(id);
        let task_id = run.task;
        let task = self.task_ref(task_id);
        let stopping = match run.phase {
            Phase::Promised => return,
            Phase::Vacating { stopping, .. } => Some(stopping),
            Phase::Starting | Phase::Running => None,
        };
        if run.cancelled || run.failure.is_some() || run.declared_done {
            if stopping != Some(true) {
                self.decide(Decision::Stop { run: id, task: task_id });
            }
            return;
        }
        if stopping.is_some() {
            return;
        }
        if task.hold {
            let idle = self.is_idle_too_long(id);
            let reason = if idle { YieldReason::Idle } else { YieldReason::Held };
            self.decide(Decision::Suspend { run: id, task: task_id, reason });
        } else if let Some(reason) = self.loss(id) {
            self.decide(Decision::Suspend { run: id, task: task_id, reason });
        } else if task.spec.priority != run.level && task.spec.priority != Priority::Auto {
            let level = task.spec.priority;
            self.follow_priority(id, level);
            if self.run_ref(id).level != level {
                // Once more of its right is free, maybe.
                self.unfollowed.insert(id);
            }
        }
    }

    /// What keeps a run from going on: a node under it that is not ready, or a worker of it that was lost.
    fn loss(&self, id: RunId) -> Option<YieldReason> {
        let run = self.run_ref(id);
        let dead = |place: &&WorkerPlacement| {
            self.inventory.find(&place.node).is_none_or(|ix| !self.inventory.node(ix).is_alive())
        };
        if let Some(place) = run.alive().map(|rank| &run.placement.workers[rank]).find(dead) {
            return Some(YieldReason::NodeLost { node: place.node.clone() });
        }
        if let Some(reason) = self.node_to_leave(id).or_else(|| self.device_to_leave(id)) {
            return Some(reason);
        }
        let lost = |state: &WorkerState| {
            matches!(state, WorkerState::Ended { exit, .. }
                if matches!(exit.fate, WorkerFate::Lost { .. } | WorkerFate::Refused { .. }))
        };
        let (rank, _) = (0..).zip(&run.workers).find(|(_, state)| lost(state))?;
        Some(YieldReason::WorkerLost { rank })
    }

    /// A node under a run that is being drained.
    fn node_to_leave(&self, id: RunId) -> Option<YieldReason> {
        let run = self.run_ref(id);
        let mut places = run.alive().map(|rank| &run.placement.workers[rank]);
        let drains = |place: &&WorkerPlacement| {
            self.inventory.find(&place.node).is_some_and(|ix| self.inventory.node(ix).spec().draining)
        };
        places.find(drains).map(|place| YieldReason::NodeDrained { node: place.node.clone() })
    }

    /// A device under a run that is being drained, or broke.
    fn device_to_leave(&self, id: RunId) -> Option<YieldReason> {
        let run = self.run_ref(id);
        run.alive().find_map(|rank| {
            let place = &run.placement.workers[rank];
            let node = self.inventory.node(self.inventory.find(&place.node)?).spec();
            let bad = |device: &&DeviceSpec| device.health.must_be_left() && place.devices.contains(&device.id);
            let device = node.devices.iter().find(bad)?.id.clone();
            Some(YieldReason::DeviceLost { node: node.name.clone(), device })
        })
    }

    fn is_idle_too_long(&self, id: RunId) -> bool {
        let run = self.run_ref(id);
        match (self.task_ref(run.task).spec.kind, run.idle_since) {
            (TaskKind::Interactive { idle_after: Some(longest), .. }, Some(since)) => self.now.since(since) >= longest,
            _ => false,
        }
    }

    /// A running task was given another priority: it is charged to that from now on, if its owner's right allows;
    /// otherwise it goes on under the old one, and the new one counts when it next waits.
    fn follow_priority(&mut self, id: RunId, level: Priority) {
        let task = self.run_ref(id).task;
        let bucket = self.bucket_at(task, level);
        let run = self.run_ref(id);
        let Some((_, bill)) = run.bill() else { return };
        let entitled = self.book.standing(bucket, &bill) == Standing::Now;
        // What borrows needs no right to change its level.
        if entitled || !run.entitled {
            self.decide(Decision::Recharge { run: id, level, entitled });
        }
    }

    /// Starts what was promised a place that is free now, and takes back promises whose place is lost.
    ///
    /// Promises are broken before the policy decides and kept after it, so that a better task that came meanwhile takes
    /// a promise over instead of suspending what has just started.
    pub(super) fn settle_promises(&mut self, keep: bool) {
        let concerned = if self.agenda.promises {
            self.agenda.promised.clear();
            self.promised.iter().copied().collect()
        } else {
            self.agenda.promised.take()
        };
        for &id in &concerned {
            if !self.promised.contains(&id) {
                continue;
            }
            let run = self.run_ref(id);
            let task = run.task;
            // Who waits for one of these tasks is shown who is still leaving.
            self.agenda.verdicts.insert(task);
            if !self.places(id, |node, _| node.is_usable()) || !self.devices_well(id) {
                self.decide(Decision::Withdraw { task });
            } else if keep && self.may_start(id) {
                let run = self.run_ref(id);
                let start = Decision::Start {
                    task,
                    run: id,
                    placement: run.placement.clone(),
                    level: run.level,
                    entitled: run.entitled,
                    whole_life_state: self.task_ref(task).whole_life_state,
                };
                self.decide(start);
            }
        }
        if keep {
            // Keeping and breaking promises raised the flag again; only what comes from outside should.
            self.agenda.promises = false;
            self.agenda.promised.reuse(concerned);
        } else {
            // What was looked at to break it is looked at again to keep it.
            for id in concerned {
                self.agenda.promised.insert(id);
            }
        }
    }

    fn places(&self, id: RunId, holds: impl Fn(&crate::inventory::Node, &WorkerPlacement) -> bool) -> bool {
        let run = self.run_ref(id);
        let group = &self.task_ref(run.task).spec.group;
        run.placement.workers.iter().all(|place| {
            self.inventory.find(&place.node).is_some_and(|ix| {
                let node = self.inventory.node(ix);
                node.spec().group == *group && holds(node, place)
            })
        })
    }

    /// All promised devices exist and are healthy, and the nodes still have what else was promised.
    fn devices_well(&self, id: RunId) -> bool {
        let spec = &self.task_ref(self.run_ref(id).task).spec;
        self.places(id, |node, place| {
            // A whole node comes with all that is in it, slices included, unless the request says what it wants.
            let any_kind = place.whole_node && !spec.request.is_picky();
            let well = |device: &DeviceId| {
                let fits = |known: &DeviceSpec| known.health.is_healthy() && (any_kind || spec.request.accepts(known));
                node.spec().devices.iter().any(|known| known.id == *device && fits(known))
            };
            let mut room = Room::of_empty(node.spec());
            for hold in node.holds().iter().filter(|hold| hold.run != id && hold.stage != Stage::Vacating) {
                room = room.without(&hold.take);
            }
            let whole_well = !place.whole_node
                || (node.spec().devices.len() == place.devices.len()
                    && node.spec().cpu_milli == place.cpu_milli
                    && node.spec().memory_mib == place.memory_mib);
            // A part is of the device that it was promised of.
            let part_well = place.part.is_none_or(|part| {
                let known = node.spec().devices.iter().find(|known| place.devices.contains(&known.id));
                known.is_some_and(|known| placement::part_of(spec.request.devices, known.memory_mib) == Some(part))
            });
            part_well
                && place.devices.iter().all(well)
                && whole_well
                && self.holds_fit(node, id, room)
                && node.spec().taints.is_subset(&spec.tolerates)
        })
    }

    /// Whether all that a run holds on a node fits into so much room.
    fn holds_fit(&self, node: &Node, id: RunId, mut room: Room) -> bool {
        let make = self.inventory.make_of(node);
        node.holds().iter().filter(|hold| hold.run == id).all(|hold| {
            // What it holds of the node itself may be all there is by now.
            let fits = room.covers(make, &hold.take);
            room = room.without(&hold.take);
            fits
        })
    }

    /// Whether everybody who had to leave for a promise has left, its owner's own leaving runs included.
    fn may_start(&self, id: RunId) -> bool {
        let run = self.run_ref(id);
        if let (Some((bucket, bill)), true) = (run.bill(), run.entitled)
            && !self.book.may_start(bucket, &bill)
        {
            return false;
        }
        self.places(id, |node, _| self.holds_fit(node, id, node.room_unheld()))
    }
}
