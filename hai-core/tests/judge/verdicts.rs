//! Is every verdict true, and does nobody wait in vain? (I-9, and rule 5: no hole stays empty)

use std::collections::BTreeSet;

use hai_core::engine::{Engine, Policy};
use hai_core::model::*;

use super::books::{Books, Holder, Run};
use super::rights::{allows, plus};
use super::stand::Kinds;

impl Books {
    /// Holds what the engine says of every unfinished task against the books.
    pub(crate) fn judge_verdicts(&self, engine: &Engine) {
        let known: BTreeSet<TaskId> = engine.tasks().map(|view| view.id).collect();
        assert_eq!(known, self.tasks.keys().copied().collect(), "tasks were lost, or invented");
        self.tasks.keys().for_each(|&id| self.judge_task(id, engine));
    }

    /// The same for one of them.
    pub(crate) fn judge_task(&self, id: TaskId, engine: &Engine) {
        self.judge_verdict(id, engine);
        self.judge_view(id, &engine.task(id).unwrap_or_else(|| panic!("task {id} was lost")));
    }

    /// I-10: those who still wait once nothing is left that would change by itself could not start even alone.
    pub(crate) fn judge_left_over(&self, engine: &Engine) {
        for (&id, task) in &self.tasks {
            let spec = &task.spec;
            // Alone it could have these, in one way or another.
            let mut kinds: Vec<Kinds> =
                Self::levels(spec).into_iter().filter_map(|level| self.stands(id, level, |_| false)).collect();
            if spec.kind.is_background() {
                kinds.push(None);
            } else if self.config.borrow {
                kinds.extend(self.stands_borrowed(id, |_| false));
            }
            let free = !task.held && task.awaits.is_empty();
            // Strict order keeps even those waiting that stand behind one that can not
            // start, and deals a right to the first in rank even if that can not start.
            let blocked = match engine.verdict(id) {
                Some(Verdict::Blocked { .. }) => true,
                Some(Verdict::RightUsed { .. }) => self.config.policy == Policy::HaiFifo,
                _ => false,
            };
            let starved = free && !blocked && kinds.iter().any(|kinds| self.fits(spec, kinds, |_| false));
            assert!(!starved, "I-10: task {id} never starts: {:?}", engine.verdict(id));
        }
    }

    fn judge_verdict(&self, id: TaskId, engine: &Engine) {
        let task = &self.tasks[&id];
        let verdict = engine.verdict(id);
        if let Some((_, run)) = self.run_of(id) {
            let leaving = self.deadline(run).map(|until| Verdict::Leaving { until });
            let held = task.held.then_some(Verdict::Held);
            let over = task.cancelled || run.stopped;
            let fine = verdict == leaving || (held.is_some() && verdict == held) || (over && verdict.is_none());
            assert!(fine, "task {id} has run {run:?}, and its verdict is {verdict:?}");
            return;
        }
        let verdict = verdict.unwrap_or_else(|| panic!("task {id} waits without a verdict"));
        if self.promises.contains_key(&id) {
            self.judge_promised(id, &verdict);
        } else if task.held {
            assert_eq!(verdict, Verdict::Held, "task {id}");
        } else if !task.awaits.is_empty() {
            assert_eq!(verdict, Verdict::After { tasks: task.awaits.keys().copied().collect() }, "task {id}");
        } else if let Some(at) = task.spec.not_before.filter(|at| *at > self.now) {
            assert_eq!(verdict, Verdict::NotBefore { at }, "task {id}");
        } else if let Some(until) = task.back_off.filter(|until| *until > self.now) {
            let told = matches!(verdict, Verdict::BackOff { until: at, .. } if at == until);
            assert!(told, "task {id} backs off until {until}, and its verdict is {verdict:?}");
        } else {
            self.judge_waiting(id, &verdict, engine);
            let reserved = matches!(verdict, Verdict::Reserved { .. });
            assert!(reserved || !self.kept.contains_key(&id), "nodes are kept for task {id}: {verdict:?}");
            if self.config.policy == Policy::Hai {
                let books = self.without_kept(id);
                books.as_ref().unwrap_or(self).judge_in_vain(id, &verdict);
            }
        }
    }

    fn judge_promised(&self, id: TaskId, verdict: &Verdict) {
        let Verdict::Promised { leaving, until } = verdict else {
            panic!("task {id} is promised a place: {verdict:?}")
        };
        assert!(!leaving.is_empty(), "nobody is in the way of task {id}, and it waits");
        let mut latest = self.now;
        for other in leaving {
            let Some((_, run)) = self.run_of(*other) else { panic!("task {id} waits for {other}, which has left") };
            let deadline = self.deadline(run).unwrap_or_else(|| panic!("task {id} waits for {other}, which stays"));
            latest = latest.max(deadline);
        }
        assert_eq!(*until, latest, "task {id} waits for {leaving:?}");
    }

    fn judge_waiting(&self, id: TaskId, verdict: &Verdict, engine: &Engine) {
        let spec = self.spec(id);
        let asked = Charge::of(spec);
        let allowances: Vec<Allowance> =
            Self::levels(spec).into_iter().map(|level| self.allowance_of(&self.bucket(id, level))).collect();
        let stays = |holder| !self.leaves(holder);
        let whose = |user: &UserName, group: &GroupName, priority: Priority, theirs: Charge| {
            assert_eq!((user, group, priority, theirs), (&spec.user, &spec.group, spec.priority, asked), "task {id}");
        };
        let background = spec.kind.is_background();
        match verdict {
            Verdict::NoRight { .. } | Verdict::RightUsed { .. } if background => {
                panic!("task {id} needs no right, and lacks one: {verdict:?}");
            }
            Verdict::NoRight { user, group, priority, asked, allowed } => {
                whose(user, group, *priority, *asked);
                assert!(!self.has_right(id), "task {id} has a right: {verdict:?}");
                if spec.priority != Priority::Auto {
                    assert_eq!(*allowed, allowances[0], "task {id}");
                }
            }
            Verdict::RightUsed { user, group, priority, asked, used, allowed } => {
                whose(user, group, *priority, *asked);
                assert!(self.has_right(id), "task {id} has no right: {verdict:?}");
                if spec.priority != Priority::Auto {
                    assert_eq!(*allowed, allowances[0], "task {id}");
                    if self.config.policy == Policy::Hai {
                        let free = self.stands(id, spec.priority, stays);
                        assert!(free.is_none(), "task {id}'s right is not used: {verdict:?}");
                        let bucket = self.bucket(id, spec.priority);
                        assert_eq!(*used, self.used(&bucket, stays).charge, "task {id}");
                    } else {
                        assert!(!allows(*allowed, plus(*used, *asked)), "task {id}'s right is not used: {verdict:?}");
                    }
                }
            }
            Verdict::TeamUsed { team, group, asked: theirs, used, allowed } => {
                assert_eq!((group, theirs), (&spec.group, &asked), "task {id}");
                let bucket = self.bucket(id, spec.priority);
                assert!(self.is_charged(&bucket, team), "task {id} is not charged to {team}");
                self.judge_pool(team, group, *allowed, *used);
                let free = Self::levels(spec).into_iter().any(|level| self.stands(id, level, stays).is_some());
                assert!(!free, "task {id} is within right: {verdict:?}");
            }
            Verdict::NoSuchGroup { group } => {
                assert_eq!(*group, spec.group);
                assert_eq!(self.group_nodes(spec).count(), 0, "task {id}'s group has nodes");
            }
            Verdict::NeverFits { lack } => {
                assert!(!self.ever_fits(spec, false), "task {id} would fit into its group");
                assert_eq!(*lack, self.lack(spec), "task {id}");
            }
            Verdict::NoRoom { lack } => {
                let kinds = Self::levels(spec).into_iter().filter_map(|level| self.stands(id, level, stays));
                let books = self.without_kept(id);
                let books = books.as_ref().unwrap_or(self);
                let fits = kinds.into_iter().any(|kinds| books.fits_idle(spec, &kinds));
                assert!(!fits, "task {id} has room");
                assert!(self.ever_fits(spec, true), "task {id} can never fit, but is told that there is no room now");
                assert_eq!(*lack, self.lack(spec), "task {id}");
            }
            Verdict::Reserved { nodes, by } => {
                let kept = self.kept.get(&id).unwrap_or_else(|| panic!("nothing is kept for task {id}"));
                let known = kept.nodes.iter().filter(|node| self.nodes.contains_key(*node));
                assert!(
                    nodes.iter().collect::<BTreeSet<_>>() == known.collect() && *by == kept.by,
                    "task {id}: {kept:?}"
                );
            }
            Verdict::WouldDelay { task } => {
                let books = self.without_kept(id);
                assert!(self.kept.contains_key(task), "nothing is kept for task {task}, which task {id} would delay");
                assert!(books.is_some(), "task {id} gives way to task {task}, and leaves nodes to it");
            }
            Verdict::Behind { head } => self.judge_behind(id, *head, engine),
            Verdict::Blocked { by } => self.judge_blocked(id, *by, engine),
            _ => panic!("task {id} waits, and its verdict is {verdict:?}"),
        }
    }

    fn judge_behind(&self, id: TaskId, head: TaskId, engine: &Engine) {
        let (mine, theirs) = (self.spec(id), &self.tasks.get(&head).expect("the head is unfinished").spec);
        assert!((theirs.rank(head), head) < (mine.rank(id), id), "task {id} comes before {head}");
        let shape = |spec: &TaskSpec| {
            (spec.user.clone(), spec.group.clone(), spec.priority, spec.request.clone(), spec.workers)
        };
        assert_eq!(mine.kind.is_background(), theirs.kind.is_background(), "task {id} is not of {head}'s kind");
        assert_eq!(shape(mine), shape(theirs), "task {id} is not of {head}'s shape");
        let waits = self.run_of(head).is_none() && !self.tasks[&head].held && !self.promises.contains_key(&head);
        assert!(waits, "task {id} waits behind {head}, which does not wait itself");
        let lacks = matches!(
            engine.verdict(head),
            Some(
                Verdict::NoRight { .. }
                    | Verdict::RightUsed { .. }
                    | Verdict::NoSuchGroup { .. }
                    | Verdict::NeverFits { .. }
                    | Verdict::NoRoom { .. }
                    | Verdict::TeamUsed { .. }
                    | Verdict::Reserved { .. }
                    | Verdict::WouldDelay { .. }
            )
        );
        assert!(lacks, "task {id} waits behind {head}, whose verdict is {:?}", engine.verdict(head));
    }

    fn judge_blocked(&self, id: TaskId, by: TaskId, engine: &Engine) {
        assert_eq!(self.config.policy, Policy::HaiFifo, "nothing blocks task {id} under this policy");
        let theirs = &self.tasks.get(&by).unwrap_or_else(|| panic!("task {id} is blocked by {by}, which is over")).spec;
        assert_eq!(theirs.group, self.spec(id).group, "task {id} is blocked by {by} of another group");
        let runs = self.run_of(by).is_some_and(|(_, run)| run.stays());
        assert!(!runs, "task {id} is blocked by {by}, which runs");
        let verdict = engine.verdict(by);
        let starts =
            matches!(verdict, Some(Verdict::NoRoom { .. } | Verdict::Leaving { .. } | Verdict::Promised { .. }));
        assert!(starts, "task {id} is blocked by {by}, whose verdict is {verdict:?}");
        if theirs.priority != Priority::Auto && self.spec(id).priority != Priority::Auto {
            let place = |id: TaskId, spec: &TaskSpec| (std::cmp::Reverse(spec.priority), spec.rank(id), id);
            assert!(place(by, theirs) < place(id, self.spec(id)), "task {id} is blocked by {by}, which is behind it");
        }
    }

    /// Nobody waits for what is idle, for what is leaving anyhow, or for what a lesser claim holds.
    fn judge_in_vain(&self, id: TaskId, verdict: &Verdict) {
        let spec = self.spec(id);
        let within = |counts: &dyn Fn(Holder) -> bool| {
            Self::levels(spec).into_iter().find_map(|level| Some((level, self.stands(id, level, counts)?)))
        };
        let stays = |holder| !self.leaves(holder);
        let mut kinds: Vec<Kinds> =
            Self::levels(spec).into_iter().filter_map(|level| self.stands(id, level, |_| true)).collect();
        if spec.kind.is_background() {
            kinds.push(None);
        } else if self.config.borrow {
            kinds.extend(self.stands_borrowed(id, |_| true));
        }
        let idle = kinds.iter().any(|kinds| self.fits_idle(spec, kinds));
        assert!(!idle, "task {id} waits ({verdict:?}), and what it needs is idle");
        if spec.kind.is_background() {
            return;
        }
        let Some((level, kinds)) = within(&stays) else { return };
        assert!(!self.fits(spec, &kinds, stays), "task {id} waits ({verdict:?}), and what it needs is being left");
        let mut mine = level;
        if spec.priority == Priority::AboveNormal && self.tasks[&id].ran >= self.config.timing.demote_after {
            mine = Priority::Normal;
        }
        let firm = |holder| stays(holder) && !self.must_yield(holder, id, mine);
        let made = self.fits(spec, &kinds, firm);
        assert!(!made, "task {id} at {mine} waits ({verdict:?}), and others would have to make room");
    }

    /// Whether the holder certainly has to make room for the task, which counts as `level`.
    fn must_yield(&self, holder: Holder, task: TaskId, level: Priority) -> bool {
        let spec = self.spec(task);
        match holder {
            Holder::Run(run) => {
                let run = &self.runs[&run];
                let theirs = self.spec(run.task);
                let same = theirs.user == spec.user && theirs.priority == spec.priority;
                // What a node still runs for the group that it was taken from is left in peace.
                let background = theirs.kind.is_background();
                if (same && !background) || theirs.group != spec.group || !theirs.suspendable {
                    return false;
                }
                let elapsed = run.elapsed(self.now);
                let yours = self.counts_as(run);
                if elapsed < self.protected(run) {
                    return false;
                }
                let equal = yours == level && theirs.user != spec.user && run.started_at.is_some();
                !run.entitled || yours < level || (equal && elapsed >= self.slice(run))
            }
            Holder::Promise(other) => {
                let promise = &self.promises[&other];
                let theirs = self.spec(other);
                let same = theirs.user == spec.user && theirs.priority == spec.priority;
                !same && (!promise.entitled || promise.level < level)
            }
        }
    }

    // --- views

    fn judge_view(&self, id: TaskId, view: &TaskView) {
        let task = &self.tasks[&id];
        let expected = match self.run_of(id) {
            _ if self.promises.contains_key(&id) => TaskState::Promised,
            None if task.held => TaskState::Held,
            None if task.runs > 0 => TaskState::Suspended,
            None => TaskState::Waiting,
            Some((_, run)) if run.stopped => TaskState::Stopping,
            Some((_, run)) if !run.stays() => TaskState::Suspending,
            Some((_, Run { started_at: Some(_), .. })) => TaskState::Running,
            // A worker may end before another has started: then the run is as started as it will ever be.
            Some((_, run)) if !run.ended.is_empty() => view.state,
            Some(_) => TaskState::Starting,
        };
        assert_eq!(view.state, expected, "task {id}");
        assert_eq!(view.run, self.run_of(id).map(|(run, _)| run), "task {id}");
        assert_eq!(view.runs, task.runs, "task {id} has run so often");
        assert_eq!((&*view.spec, view.whole_life_state), (&task.spec, task.whole_life_state), "task {id}");
    }

    /// Nodes as the engine shows them are as they are.
    pub(crate) fn judge_nodes(&self, engine: &Engine) {
        let views: Vec<NodeView> = engine.nodes().filter(|view| self.nodes.contains_key(&view.spec.name)).collect();
        assert_eq!(views.len(), self.nodes.len(), "nodes were lost");
        for view in views {
            assert_eq!(view.spec, self.nodes[&view.spec.name]);
            let name = &view.spec.name;
            let room = self.room(&view.spec, |holder| matches!(holder, Holder::Run(_)));
            if !room.taken_whole {
                let shown = (view.free_cpu_milli, view.free_memory_mib, view.free_devices as usize);
                assert_eq!(shown, (room.cpu_milli, room.memory_mib, room.devices.len()), "node {name}");
            }
            assert_eq!(view.workers.len(), self.on_node(name).len(), "node {name}");
        }
    }
}
