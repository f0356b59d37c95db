//! What others see of the engine: tasks, runs, nodes, and why a task waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::inventory::Stage;
use crate::model::*;
use crate::placement;
use crate::queue::Want;
use crate::rights::BucketIx;
use crate::rights::book::Standing;

use super::state::{Found, Phase, Reason, Status};
use super::{Engine, Policy};

impl Engine {
    pub(super) fn view_of(&self, id: TaskId) -> TaskView {
        let task = self.task_ref(id);
        let run = task.run().map(|run| (run, self.run_ref(run)));
        let state = match (&task.status, run) {
            (Status::Held, _) => TaskState::Held,
            (Status::Run(_), Some((_, run))) => match run.phase {
                Phase::Promised => TaskState::Promised,
                Phase::Vacating { stopping: false, .. } => TaskState::Suspending,
                Phase::Vacating { stopping: true, .. } => TaskState::Stopping,
                _ if run.cancelled => TaskState::Stopping,
                _ if task.hold => TaskState::Suspending,
                Phase::Starting => TaskState::Starting,
                Phase::Running => TaskState::Running,
            },
            _ if task.runs > 0 => TaskState::Suspended,
            _ => TaskState::Waiting,
        };
        TaskView {
            id,
            spec: Arc::clone(&task.spec),
            state,
            outcome: None,
            submitted_at: task.submitted_at,
            started_at: task.started_at,
            ended_at: None,
            runs: task.runs,
            run: run.filter(|(_, run)| run.phase != Phase::Promised).map(|(id, _)| id),
            whole_life_state: task.whole_life_state,
            ran: task.ran,
            level: run.map(|(_, run)| run.level),
            yielded: task.yielded.clone(),
        }
    }

    pub(super) fn run_view(&self, id: RunId) -> Option<RunView> {
        let run = self.runs.get(id)?;
        (run.phase != Phase::Promised).then(|| run.view(id, None))
    }

    pub(super) fn node_view(&self, node: &crate::inventory::Node) -> NodeView {
        let unheld = node.room_unheld();
        let mut workers: Vec<NodeWorker> = node
            .holds()
            .iter()
            .map(|hold| {
                let run = self.run_ref(hold.run);
                NodeWorker {
                    run: hold.run,
                    task: run.task,
                    rank: hold.rank,
                    place: hold.take.named(node.spec()),
                    phase: match run.phase {
                        Phase::Promised => None,
                        Phase::Starting => Some(RunPhase::Starting),
                        Phase::Running => Some(RunPhase::Running),
                        Phase::Vacating { .. } => Some(RunPhase::Vacating),
                    },
                }
            })
            .collect();
        workers.sort_by_key(|worker| (worker.run, worker.rank));
        NodeView {
            spec: node.spec().clone(),
            workers,
            free_cpu_milli: if unheld.taken_whole { 0 } else { unheld.cpu_milli },
            free_memory_mib: if unheld.taken_whole { 0 } else { unheld.memory_mib },
            free_devices: if unheld.taken_whole { 0 } else { unheld.devices.count_ones() },
        }
    }

    /// The same as [`Engine::explain`], the costly numbers from what is kept up to date.
    pub(super) fn tell(&mut self, id: TaskId, reason: Option<Reason>) -> Option<Verdict> {
        if let Some(Reason::Wants(want @ (Want::Nodes | Want::Room))) = reason
            && let Some((class, _)) = self.task_ref(id).queued.0
        {
            let lack = self.lack(self.queue.ask(class));
            return Some(if want == Want::Room { Verdict::NoRoom { lack } } else { Verdict::NeverFits { lack } });
        }
        self.explain(id)
    }

    /// Why a task is not running, worked out anew so that the numbers are those of this moment.
    pub(super) fn explain(&self, id: TaskId) -> Option<Verdict> {
        let task = self.tasks.get(id)?;
        match &task.status {
            Status::Held => Some(Verdict::Held),
            Status::After => Some(Verdict::After { tasks: self.after.awaited(id) }),
            Status::NotBefore => Some(Verdict::NotBefore { at: task.spec.not_before.unwrap_or(self.now) }),
            Status::BackOff { until, reason } => Some(Verdict::BackOff { until: *until, reason: reason.clone() }),
            Status::Run(run) => self.explain_run(*run),
            Status::Waiting => Some(match self.config.policy {
                Policy::Hai => self.explain_in_class(id),
                Policy::HaiFifo => match task.found {
                    Some(Found::Wants(want)) => self.with_numbers(want, &task.spec),
                    Some(Found::Dealt(used)) => match self.with_numbers(Want::RightInUse, &task.spec) {
                        Verdict::RightUsed { user, group, priority, asked, allowed, .. } => {
                            Verdict::RightUsed { user, group, priority, asked, used, allowed }
                        }
                        other => other,
                    },
                    Some(Found::Blocked(by)) => Verdict::Blocked { by },
                    None => Verdict::NotYetSeen,
                },
            }),
        }
    }

    /// Why a task is not running, without the numbers.
    pub(super) fn reason(&self, id: TaskId) -> Option<Reason> {
        let task = self.task_ref(id);
        match &task.status {
            Status::Held => Some(Reason::Held),
            Status::After => Some(Reason::After),
            Status::NotBefore => Some(Reason::NotBefore),
            Status::BackOff { until, .. } => Some(Reason::BackOff(*until)),
            Status::Run(run) => match self.run_ref(*run).phase {
                Phase::Promised => Some(Reason::Promised(*run)),
                Phase::Vacating { stopping: false, .. } => Some(Reason::Leaving(*run)),
                _ => None,
            },
            Status::Waiting => Some(match (self.config.policy, task.found) {
                (Policy::HaiFifo, Some(Found::Wants(want))) => Reason::Wants(want),
                (Policy::HaiFifo, Some(Found::Dealt(_))) => Reason::Wants(Want::RightInUse),
                (Policy::HaiFifo, Some(Found::Blocked(by))) => Reason::Blocked(by),
                (Policy::HaiFifo, None) => Reason::NotYetSeen,
                (Policy::Hai, _) => match task.queued.0 {
                    _ if self.reservations.contains_key(&id) => Reason::Reserved,
                    Some((class, _)) if self.queue.first(class).2 != id => Reason::Behind,
                    Some((class, _)) => self.queue.want(class).map_or(Reason::NotYetSeen, Reason::Wants),
                    None => Reason::NotYetSeen,
                },
            }),
        }
    }

    fn explain_in_class(&self, id: TaskId) -> Verdict {
        let task = self.task_ref(id);
        let spec = &task.spec;
        let Some((class, _)) = task.queued.0 else { return Verdict::NotYetSeen };
        if let Some(kept) = self.reservations.get(&id) {
            let known = kept.nodes.iter().filter(|ix| self.inventory.get(**ix).is_some());
            let nodes = known.map(|&ix| self.inventory.node(ix).spec().name.clone()).collect();
            return Verdict::Reserved { nodes, by: kept.by };
        }
        let (_, _, head) = self.queue.first(class);
        match self.queue.want(class) {
            _ if head != id => Verdict::Behind { head },
            Some(want) => self.with_numbers(want, spec),
            None => Verdict::NotYetSeen,
        }
    }

    fn with_numbers(&self, want: Want, spec: &TaskSpec) -> Verdict {
        let (user, group) = (spec.user.clone(), spec.group.clone());
        let priority = spec.priority;
        let asked = Charge::of(spec);
        let allowed = self.allowed(&user, &group, priority);
        match want {
            Want::Right => Verdict::NoRight { user, group, priority, asked, allowed },
            Want::RightInUse => {
                let used = self.levels(priority).map(|level| self.committed(&user, &group, level)).sum();
                Verdict::RightUsed { user, group, priority, asked, used, allowed }
            }
            Want::TeamInUse => match self.team_in_use(spec) {
                Some((team, pool, used)) => Verdict::TeamUsed { team, group, asked, used, allowed: pool },
                None => {
                    let used = self.levels(priority).map(|level| self.committed(&user, &group, level)).sum();
                    Verdict::RightUsed { user, group, priority, asked, used, allowed }
                }
            },
            Want::Turn(task) => Verdict::WouldDelay { task },
            Want::Group => Verdict::NoSuchGroup { group },
            Want::Nodes => Verdict::NeverFits { lack: placement::lack(&self.inventory, spec) },
            Want::Room => Verdict::NoRoom { lack: placement::lack(&self.inventory, spec) },
        }
    }

    /// The levels that a priority may be charged to.
    fn levels(&self, priority: Priority) -> impl Iterator<Item = Priority> + use<> {
        Priority::LEVELS.into_iter().filter(move |&level| priority == Priority::Auto || priority == level)
    }

    pub(super) fn allowed(&self, user: &UserName, group: &GroupName, priority: Priority) -> Allowance {
        self.levels(priority)
            .map(|level| self.book.allowance_of(user, group, level))
            .fold(Allowance::NOTHING, Allowance::max)
    }

    /// What runs of a bucket that stay or are promised use within right.
    fn committed(&self, user: &UserName, group: &GroupName, level: Priority) -> Charge {
        let Some(bucket) = self.book.find_bucket(user, group, level) else { return Charge::NOTHING };
        let used = self.book.used(bucket);
        used.staying + used.promised
    }

    /// The team whose pool is in the way of a task, what that may hold, and what it does: of what is its own where the
    /// task would be within right but for the team, else with what is borrowed.
    fn team_in_use(&self, spec: &TaskSpec) -> Option<(TeamName, Allowance, Charge)> {
        let buckets: Vec<BucketIx> = self
            .levels(spec.priority)
            .filter_map(|level| self.book.find_bucket(&spec.user, &spec.group, level))
            .collect();
        let bills = self.bills_asked(spec);
        let tried = || buckets.iter().flat_map(|&bucket| bills.iter().map(move |bill| (bucket, bill)));
        let own = tried().find_map(|(bucket, bill)| match self.book.standing(bucket, bill) {
            Standing::TeamUsed(team) => Some((team, self.book.pool_view(bucket, team)?)),
            _ => None,
        });
        if let Some((team, pool)) = own {
            return Some((self.book.team_name(team).clone(), pool.own, pool.committed));
        }
        let (team, pool) = tried().find_map(|(bucket, bill)| {
            let team = self.book.may_borrow(bucket, bill).err()?;
            Some((team, self.book.pool_view(bucket, team)?))
        })?;
        Some((self.book.team_name(team).clone(), pool.most, pool.held))
    }

    fn explain_run(&self, id: RunId) -> Option<Verdict> {
        let run = self.run_ref(id);
        match run.phase {
            Phase::Starting | Phase::Running | Phase::Vacating { stopping: true, .. } => None,
            Phase::Vacating { until, .. } => Some(Verdict::Leaving { until }),
            Phase::Promised => {
                let mut leaving = BTreeSet::new();
                let mut until = self.now;
                for other in self.in_the_way(id) {
                    let other = self.run_ref(other);
                    if let Phase::Vacating { until: deadline, .. } = other.phase {
                        leaving.insert(other.task);
                        until = until.max(deadline);
                    }
                }
                Some(Verdict::Promised { leaving: leaving.into_iter().collect(), until })
            }
        }
    }

    /// The leaving runs that keep a promise from being kept: on its nodes, or charged to its right.
    fn in_the_way(&self, id: RunId) -> BTreeSet<RunId> {
        let run = self.run_ref(id);
        let mut others = BTreeSet::new();
        let mut rooms = std::collections::BTreeMap::new();
        for (rank, place) in (0_u32..).zip(&run.placement.workers) {
            let Some(ix) = self.inventory.find(&place.node) else { continue };
            let node = self.inventory.node(ix);
            let Some(mine) = node.holds().iter().find(|hold| hold.run == id && hold.rank == rank) else { continue };
            // Its own workers on the node share what is free there.
            let room = rooms.entry(ix).or_insert_with(|| node.room_unheld());
            let make = self.inventory.make_of(node);
            // Parts of one device are in each other's way only if there is not enough of it.
            let tight = mine.take.cpu_milli > room.cpu_milli
                || mine.take.memory_mib > room.memory_mib
                || (mine.take.part().is_some() && !room.covers(make, &mine.take));
            *room = room.without(&mine.take);
            for hold in node.holds().iter().filter(|hold| hold.stage == Stage::Vacating) {
                let shares = hold.take.part().is_some() && mine.take.part().is_some();
                let overlaps = !shares && hold.take.devices & mine.take.devices != 0;
                if overlaps || tight || mine.take.whole_node || hold.take.whole_node {
                    others.insert(hold.run);
                }
            }
        }
        if let (true, true, Some((bucket, _))) = (others.is_empty(), run.entitled, run.bill()) {
            let leaving = |other: &super::state::Run| {
                other.entitled
                    && matches!(other.phase, Phase::Vacating { .. })
                    && other.bill.0.as_ref().is_some_and(|(of, _)| self.book.share_a_limit(*of, bucket))
            };
            others.extend(self.runs.iter().filter(|(_, other)| leaving(other)).map(|(id, _)| id));
        }
        others
    }
}
