//! Nodes that are kept for tasks that have waited long, and notices: who may start there, and who has to be told what.

use std::collections::BTreeSet;

use hai_core::engine::Policy;
use hai_core::model::*;

use super::books::{Books, Holder, Run};

/// What is kept for one task.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) nodes: BTreeSet<NodeName>,
    pub(crate) by: Option<Time>,
    pub(crate) at: Time,
    /// What its task counted as.
    pub(crate) level: Priority,
}

impl Books {
    /// A reservation ends with the wait of its task.
    pub(crate) fn forget_kept(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        kept.retain(|task, _| {
            let waits = self.tasks.get(task).is_some_and(|task| !task.held && task.awaits.is_empty());
            waits && self.run_of(*task).is_none() && !self.promises.contains_key(task)
        });
        self.kept = kept;
    }

    pub(crate) fn judge_reserve(&mut self, id: TaskId, nodes: &[NodeName], by: Option<Time>) {
        let after =
            self.config.reserve_after.unwrap_or_else(|| panic!("nodes are kept for task {id}, and never should be"));
        assert_eq!(self.config.policy, Policy::Hai);
        let task = self.tasks.get(&id).unwrap_or_else(|| panic!("nodes are kept for task {id}, which is not"));
        let spec = &task.spec;
        assert!(!task.held && task.awaits.is_empty() && self.run_of(id).is_none(), "nodes are kept for task {id}");
        assert!(!self.promises.contains_key(&id), "nodes are kept for task {id}, which has a promise");
        let waited = self.now.since(self.waits_since(id));
        assert!(waited >= after, "nodes are kept for task {id}, which waits for {waited}");
        let small = matches!(spec.request.devices, Devices::Count(0 | 1) | Devices::Share(_) | Devices::Memory(_));
        assert!(spec.workers_min() > 1 || !small, "nodes are kept for task {id}, which is the smallest there is");
        assert!(by.is_none_or(|by| by >= self.now), "task {id} is to start by {by:?}, which is over");
        let stays = |holder| !self.leaves(holder);
        let level = Self::levels(spec).into_iter().find(|level| self.stands(id, *level, stays).is_some());
        let level = level.unwrap_or_else(|| panic!("nodes are kept for task {id}, which has no right"));
        let set: BTreeSet<NodeName> = nodes.iter().cloned().collect();
        assert_eq!(set.len(), nodes.len(), "a node is kept twice for task {id}");
        let on_them = self.only_on(&set);
        for node in &set {
            assert!(self.usable(&self.nodes[node], spec), "{node} is kept for task {id}, which can not use it");
            let other = self.kept.iter().find(|(other, kept)| **other != id && kept.nodes.contains(node));
            assert!(other.is_none(), "{node} is kept for task {id} and for {other:?}");
        }
        assert!(on_them.fits(spec, &None, |_| false), "task {id} does not fit on {set:?}, which are kept for it");
        let kept = Kept { nodes: set, by, at: self.now, level: self.counts_as_best(id, level) };
        let group = spec.group.clone();
        self.kept.insert(id, kept.clone());
        self.kept_lately.insert(id, kept);
        let of_group = self.kept.keys().filter(|task| self.spec(**task).group == group).count();
        assert!(of_group <= self.config.reservations as usize, "nodes are kept for {of_group} tasks of {group}");
    }

    pub(crate) fn judge_unreserve(&mut self, id: TaskId) {
        let kept = self.kept.remove(&id).unwrap_or_else(|| panic!("nothing is kept for task {id}"));
        let spec = self.spec(id);
        let broken = kept.nodes.iter().any(|node| self.nodes.get(node).is_none_or(|node| !self.usable(node, spec)));
        let late = kept.by.is_some_and(|by| by <= self.now);
        assert!(broken || late, "task {id} loses {kept:?}, and nothing is wrong with it");
        // I-10: who waited long starts by the time that it was told, unless better work came.
        if late && !broken && self.resting_since.is_some_and(|since| kept.at >= since) {
            let better = self.runs.values().any(|run| {
                let here = run.placement.workers.iter().any(|place| kept.nodes.contains(&place.node));
                here && run.decided_at >= kept.at && run.entitled && run.level > kept.level
            });
            assert!(better, "I-10: task {id} was to start by {:?}, and nothing better came: {kept:?}", kept.by);
        }
    }

    /// Since when a task waits for nothing but a place and a right, at the latest.
    fn waits_since(&self, id: TaskId) -> Time {
        let task = &self.tasks[&id];
        let passed = |at: Option<Time>| at.filter(|at| *at <= self.now).unwrap_or(Time::ZERO);
        task.waits_since.max(passed(task.back_off)).max(passed(task.spec.not_before))
    }

    /// The same books of a cluster that has only these nodes.
    fn only_on(&self, nodes: &BTreeSet<NodeName>) -> Books {
        let mut books = self.clone();
        books.nodes.retain(|name, _| nodes.contains(name));
        books
    }

    /// What starts on nodes that are kept for another gives way to that, is over in time, or is better.
    pub(crate) fn judge_leaves_alone(&self, id: TaskId, placement: &Placement, level: Priority, entitled: bool) {
        let spec = self.spec(id);
        let grace = spec.grace.total();
        let over = spec.limit.map(|limit| self.now + (limit - self.tasks[&id].ran) + grace);
        for (other, kept) in self.kept.iter().filter(|(other, _)| **other != id) {
            if placement.workers.iter().all(|place| !kept.nodes.contains(&place.node)) {
                continue;
            }
            let in_time = over.is_some_and(|over| kept.by.is_some_and(|by| over <= by));
            let better = entitled && self.counts_as_best(id, level) > kept.level;
            let fine = self.gives_way(id, *other) || in_time || better;
            assert!(fine, "task {id} starts on {kept:?}, which is kept for task {other}");
        }
    }

    /// Whether a task may be told to leave for another, whose owner's it is not.
    fn gives_way(&self, id: TaskId, other: TaskId) -> bool {
        let (spec, theirs) = (self.spec(id), self.spec(other));
        let own = (&spec.user, spec.priority) == (&theirs.user, theirs.priority) && !spec.kind.is_background();
        spec.suspendable && !own
    }

    /// Whether a run fills nodes that were kept for a task by then, so that it makes room at once.
    pub(crate) fn fills(&self, run: &Run, task: TaskId) -> bool {
        self.kept_lately.get(&task).is_some_and(|kept| {
            let here = run.placement.workers.iter().any(|place| kept.nodes.contains(&place.node));
            let lesser = !run.entitled || self.counts_as(run) <= kept.level;
            here && lesser && run.decided_at >= kept.at && self.gives_way(run.task, task)
        })
    }

    /// The books without the nodes that a task may have to leave alone, if there are any.
    pub(crate) fn without_kept(&self, id: TaskId) -> Option<Books> {
        let others = self.kept.iter().filter(|(other, _)| **other != id && !self.gives_way(id, **other));
        let barred: BTreeSet<&NodeName> = others.flat_map(|(_, kept)| &kept.nodes).collect();
        if barred.is_empty() {
            return None;
        }
        let mut books = self.clone();
        for (_, node) in books.nodes.iter_mut().filter(|(name, _)| barred.contains(name)) {
            node.cordoned = true;
        }
        Some(books)
    }

    pub(crate) fn judge_notice(&mut self, id: RunId, until: Option<Time>) {
        let run = self.runs.get(&id).unwrap_or_else(|| panic!("run {id} does not live, and is given notice"));
        assert!(run.stays(), "run {id} is leaving, and is given notice");
        assert_ne!(run.notice.is_some(), until.is_some(), "run {id} is told again what it was told");
        if until.is_some() {
            assert_eq!(until, Some(self.now + self.config.cut_grace), "run {id} has another time to leave");
            assert!(self.spec(run.task).suspendable, "run {id} can not be suspended, and is given notice");
            assert!(self.is_beyond(Holder::Run(id)), "run {id} is within its right, and is given notice");
        }
        self.runs.get_mut(&id).unwrap().notice = until;
    }

    /// Whether a run that stays, with all others that do, is too much for a right.
    fn is_beyond(&self, me: Holder) -> bool {
        let Holder::Run(id) = me else { return false };
        let run = &self.runs[&id];
        let bucket = self.bucket(run.task, run.level);
        let stays = |holder| !self.leaves(holder);
        if run.entitled {
            !self.within(&bucket, &self.bill(me), |holder| holder != me && stays(holder))
        } else {
            !self.spec(run.task).kind.is_background() && self.borrows_too_much(me, &bucket, stays)
        }
    }

    /// Whether a run has its time to leave, which is not over; it needs one only as long as it is beyond its right.
    pub(crate) fn is_on_notice(&self, me: Holder) -> bool {
        let Holder::Run(id) = me else { return false };
        let run = &self.runs[&id];
        let on_notice = run.stays() && run.notice.is_some();
        assert!(!on_notice || self.is_beyond(me), "run {id} is within its right, and still on notice");
        on_notice && run.notice.is_some_and(|at| at > self.now)
    }
}
