//! Looks at what the engine knows, for those who explain its decisions. Nothing here decides anything.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::inventory::{Inventory, KindSet, NodeIx};
use crate::model::*;
use crate::placement;
use crate::preemption::Owner;
use crate::queue::{Member, Want};
use crate::rights::book::{Book, Standing};
use crate::rights::{Bill, BucketIx, Part};

use super::place::Stand;
use super::state::{Phase, Run, Status};
use super::{Engine, EngineConfig, Policy};

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Promised,
    Starting,
    Running,
    Leaving { until: Time },
}

/// A run, as far as others may want its place or its right.
#[derive(Clone, Debug)]
pub(crate) struct RunLook<'a> {
    pub(crate) id: RunId,
    pub(crate) task: TaskId,
    pub(crate) spec: &'a TaskSpec,
    pub(crate) manner: Manner,
    pub(crate) claim: Claim,
    pub(crate) level: Priority,
    pub(crate) entitled: bool,
    pub(crate) owner: Owner,
    pub(crate) placement: &'a Placement,
    /// The nodes that its unended workers are on, each once.
    pub(crate) nodes: Vec<NodeIx>,
    pub(crate) protected_until: Option<Time>,
    pub(crate) slice_until: Option<Time>,
    pub(crate) notice: Option<Time>,
    pub(crate) ends_by: Option<Time>,
    pub(crate) leased_until: Option<Time>,
    pub(crate) unsaved_ms: u64,
    pub(crate) bucket: Option<BucketIx>,
    pub(crate) charge: Charge,
    pub(crate) part: Part,
}

/// Where a waiting task stands among those of its group; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineKey {
    /// What it counts as for the order.
    pub(crate) claim: Reverse<Claim>,
    /// What the order says of its owner.
    pub(crate) owner: u128,
    pub(crate) member: Member,
}

/// What came of dealing rights to a task in strict order.
#[derive(Clone, Debug)]
pub(crate) struct DealLook {
    /// The level at which it was dealt one, if at any.
    pub(crate) level: Option<Priority>,
    /// What those before it were dealt, at each level that it may be charged to.
    pub(crate) before: Vec<(Priority, Charge)>,
}

/// At which level the tasks of a group were dealt their rights; those that were not are left out. Nobody if rights are not
/// dealt.
pub(crate) type Dealt = BTreeMap<TaskId, Priority>;

/// Where a waiting task may go, and with which claim.
#[derive(Clone, Debug)]
pub(crate) struct Seating {
    /// Its claim, if it gets a place as things are.
    pub(crate) claim: Claim,
    pub(crate) owner: Owner,
    /// Kinds of devices that its right leaves it now, and once others have left.
    pub(crate) kinds: (KindSet, KindSet),
    /// So many workers of it are within its right, now and later.
    pub(crate) workers: (u32, u32),
    /// Nodes that it must leave alone.
    pub(crate) avoid: Vec<NodeIx>,
    pub(crate) may_cross_zones: bool,
}

impl Engine {
    pub(crate) fn look_config(&self) -> &EngineConfig {
        &self.config
    }

    pub(crate) fn look_inventory(&self) -> &Inventory {
        &self.inventory
    }

    pub(crate) fn look_book(&self) -> &Book {
        &self.book
    }

    pub(crate) fn look_placement(&self) -> &placement::Policy {
        self.placer.policy()
    }

    pub(crate) fn look_spec(&self, id: TaskId) -> Option<&Arc<TaskSpec>> {
        self.tasks.get(id).map(|task| &task.spec)
    }

    /// Whether a task waits in the queue, for room or for a right.
    pub(crate) fn look_queued(&self, id: TaskId) -> bool {
        self.tasks.get(id).is_some_and(|task| task.status == Status::Waiting)
    }

    /// What a task remembers of starts that came to nothing: in a row, the last one, and when it is tried again.
    pub(crate) fn look_refusals(&self, id: TaskId) -> Option<(u32, u32, Option<&Refusal>, Option<Time>)> {
        let task = self.tasks.get(id)?;
        let until = match task.status {
            Status::BackOff { until, .. } => Some(until),
            _ => None,
        };
        Some((task.refusals, task.losses, task.refused.as_deref(), until))
    }

    /// What a task remembers of the last time that it had to leave, and how often it had to for others.
    pub(crate) fn look_displacement(&self, id: TaskId) -> Option<(&Displacement, u32)> {
        let task = self.tasks.get(id)?;
        Some((task.displaced.as_deref()?, task.suspensions))
    }

    /// The nodes on which a task failed.
    pub(crate) fn look_failed_on(&self, id: TaskId) -> Vec<NodeIx> {
        let task = self.tasks.get(id).into_iter();
        task.flat_map(|task| &task.avoids).filter_map(|name| self.inventory.find(name)).collect()
    }

    /// The nodes that are kept for a task, by when it starts, and since when.
    pub(crate) fn look_kept(&self, id: TaskId) -> Option<(Vec<NodeName>, Option<Time>, Time)> {
        let kept = self.reservations.get(&id)?;
        let known = kept.nodes.iter().filter_map(|&ix| self.inventory.get(ix));
        Some((known.map(|node| node.spec().name.clone()).collect(), kept.by, kept.at))
    }

    /// When nodes will be kept for a waiting task, if it still waits then.
    pub(crate) fn look_kept_from(&self, id: TaskId) -> Option<Time> {
        let after = self.config.reserve_after.filter(|_| self.config.policy == Policy::Hai)?;
        (self.look_queued(id) && self.can_starve(id)).then(|| self.task_ref(id).waiting_since + after)
    }

    /// The tasks for which a node is kept, and from which this one must leave it alone.
    pub(crate) fn look_keeps(&self, ix: NodeIx, but: TaskId) -> Option<TaskId> {
        self.kept_for(&[ix], but)
    }

    /// Whether a run fills nodes that are kept for a task, so that it gives way to it at once.
    pub(crate) fn look_fills(&self, run: RunId, task: TaskId) -> bool {
        match (self.runs.get(run), self.reservations.get(&task)) {
            (Some(_), Some(kept)) => self.fills(run, kept),
            _ => false,
        }
    }

    /// All runs that stay, leave, or are promised a place: those of a group's tasks, and those on its nodes, which may have
    /// been in another group when they started.
    pub(crate) fn look_runs<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = RunLook<'a>> + 'a {
        let on_nodes = self.inventory.group(group).flat_map(|ix| self.inventory.node(ix).holds());
        let there: std::collections::BTreeSet<RunId> = on_nodes.map(|hold| hold.run).collect();
        let here = self
            .runs
            .iter()
            .filter(move |(id, run)| there.contains(id) || self.task_ref(run.task).spec.group == *group);
        here.map(|(id, run)| self.look_at(id, run))
    }

    /// The run that a task has.
    pub(crate) fn look_run_of(&self, task: TaskId) -> Option<RunLook<'_>> {
        let id = self.tasks.get(task)?.run()?;
        Some(self.look_at(id, self.run_ref(id)))
    }

    fn look_at<'a>(&'a self, id: RunId, run: &'a Run) -> RunLook<'a> {
        let task = self.task_ref(run.task);
        let alive = run.alive().filter_map(|rank| self.inventory.find(&run.placement.workers[rank].node));
        let mut nodes: Vec<NodeIx> = alive.collect();
        nodes.sort_unstable();
        nodes.dedup();
        let timed = self.config.policy == Policy::Hai;
        let after = |span: Span| run.started_at.filter(|_| timed).map(|start| start + span);
        let leased_until = match task.spec.kind {
            TaskKind::Interactive { lease, .. } => run.leased_at.map(|at| at + lease),
            _ => None,
        };
        RunLook {
            id,
            task: run.task,
            spec: &task.spec,
            manner: match run.phase {
                Phase::Promised => Manner::Promised,
                Phase::Starting => Manner::Starting,
                Phase::Running => Manner::Running,
                Phase::Vacating { until, .. } => Manner::Leaving { until },
            },
            claim: self.claim(run),
            level: run.level,
            entitled: run.entitled,
            owner: self.owner(&task.spec),
            placement: &run.placement,
            nodes,
            protected_until: after(self.protected(id)),
            slice_until: after(self.protected(id).max(self.slice(id))),
            notice: run.notice,
            ends_by: task.spec.limit.and_then(|limit| Some(run.started_at? + (limit - task.ran))),
            leased_until,
            unsaved_ms: self.unsaved_ms(run),
            bucket: run.bill().map(|(bucket, _)| bucket),
            charge: run.charge(),
            part: run.part(),
        }
    }

    /// The levels that a task may be charged to, each with its bucket.
    pub(crate) fn look_buckets(&mut self, id: TaskId) -> Vec<(Priority, BucketIx)> {
        let levels: Vec<Priority> = match self.task_ref(id).spec.priority {
            Priority::Auto => Priority::LEVELS.to_vec(),
            level => vec![level],
        };
        levels.into_iter().map(|level| (level, self.bucket_at(id, level))).collect()
    }

    /// How a task stands to its right at a level, as the rounds see it.
    pub(crate) fn look_standing(&mut self, id: TaskId, level: Priority) -> Standing {
        self.stand(id, level, false).standing
    }

    /// What dealing rights in strict order gives a task; `None` where rights are not dealt, or not to it.
    pub(crate) fn look_deal(&mut self, id: TaskId) -> Option<DealLook> {
        if self.config.policy != Policy::HaiFifo {
            return None;
        }
        let group = self.task_ref(id).spec.group.clone();
        let buckets = self.look_buckets(id);
        let mut found = None;
        self.deal_each(&group, |_, deal, dealt| {
            if deal.task == id {
                let before =
                    |&(level, bucket): &(Priority, BucketIx)| (level, dealt.get(&bucket).copied().unwrap_or_default());
                found = Some(DealLook { level: deal.level, before: buckets.iter().map(before).collect() });
            }
        });
        found
    }

    /// The same of all tasks of a group.
    pub(crate) fn look_dealt(&mut self, group: &GroupName) -> Dealt {
        let mut levels = Dealt::new();
        if self.config.policy == Policy::HaiFifo {
            self.deal_each(group, |_, deal, _| levels.extend(deal.level.map(|level| (deal.task, level))));
        }
        levels
    }

    /// The level that a task would be charged to within its right, if it has one now or will have once others have left.
    pub(crate) fn look_level(&mut self, id: TaskId) -> Option<Priority> {
        self.right(id).ok().map(|(level, _)| level)
    }

    /// What the fewest workers of a task would be charged, for each kind of device that its group has for it; once if
    /// that makes no difference.
    pub(crate) fn look_bills(&mut self, id: TaskId) -> Vec<Bill> {
        let spec = Arc::clone(&self.task_ref(id).spec);
        if !self.kinds_matter(&spec.request) {
            return vec![Bill::of_charge(Charge::of(&spec))];
        }
        // A bill is told by the models' names, also those that no right has named yet.
        let catalogue = self.inventory.catalogue();
        let kinds = self.inventory.group_kinds(&spec.group).map(|kind| catalogue.kind(kind).model.clone());
        for model in kinds.collect::<Vec<_>>() {
            self.book.model(&model);
        }
        self.bills_asked(&spec)
    }

    /// Whether a task that lacks a right may run on borrowed capacity: whether that is allowed at all, and the team that
    /// is in the way.
    pub(crate) fn look_borrowing(&mut self, id: TaskId) -> (bool, Option<TeamName>) {
        if !self.config.borrow || self.config.policy != Policy::Hai {
            return (false, None);
        }
        let level = match self.task_ref(id).spec.priority {
            Priority::Auto => Priority::Low,
            level => level,
        };
        match self.stand(id, level, true).standing {
            Standing::TeamUsed(team) => (true, Some(self.book.team_name(team).clone())),
            _ => (true, None),
        }
    }

    /// Where a waiting task may go now: within its right if it has one, else as work that borrows.
    pub(crate) fn look_seating(&mut self, id: TaskId) -> Seating {
        let spec = Arc::clone(&self.task_ref(id).spec);
        let background = spec.kind.is_background();
        let found = if background { None } else { self.right(id).ok() };
        let entitled = found.is_some();
        let claim = match (self.task_ref(id).queued.0, background) {
            (_, true) => Claim::BACKGROUND,
            (Some((class, _)), _) => self.claim_of(class, entitled),
            (None, _) => Claim { entitled, level: found.as_ref().map_or(spec.priority, |(level, _)| *level) },
        };
        let stand = match found {
            Some((_, stand)) => stand,
            None if background => Stand::anything(),
            None => self.stand(id, claim.level, true),
        };
        Seating {
            claim,
            owner: self.owner(&spec),
            avoid: if self.config.policy == Policy::Hai { self.nodes_to_leave_alone(id, claim) } else { Vec::new() },
            kinds: (stand.now, stand.later),
            workers: stand.workers,
            may_cross_zones: self.may_cross_zones(),
        }
    }

    /// Where a waiting task stands among those of its group. Only its own number is looked at where those of a class differ.
    /// Where rights are dealt, those that got theirs come first.
    pub(crate) fn look_line_key(&mut self, id: TaskId, dealt: &Dealt) -> Option<LineKey> {
        let task = self.tasks.get(id).filter(|task| task.status == Status::Waiting)?;
        let spec = Arc::clone(&task.spec);
        let rank = (spec.rank(id), id);
        let Some((class, member)) = task.queued.0 else {
            let level = dealt.get(&id).copied();
            let claim = Claim { entitled: level.is_some(), level: level.unwrap_or(spec.priority) };
            return Some(LineKey { claim: Reverse(claim), owner: 0, member: (0, rank.0, rank.1) });
        };
        let lacks = matches!(self.queue.want(class), Some(Want::Right | Want::RightInUse | Want::TeamInUse));
        let entitled = !lacks && !spec.kind.is_background();
        let mut claim = self.claim_of(class, entitled);
        if let Some(aging) = self.config.aging.filter(|_| claim != Claim::BACKGROUND) {
            claim.level = aging.level(claim.level, self.task_ref(id).waiting_since, self.now);
        }
        let owner = if self.order.is_static() { 0 } else { self.order_key(id) };
        Some(LineKey { claim: Reverse(claim), owner, member })
    }

    /// The tasks that wait in a group, by number.
    pub(crate) fn look_waiting(&self, group: &GroupName) -> Vec<TaskId> {
        let waits = |task: &super::state::Task| task.status == Status::Waiting && task.spec.group == *group;
        self.tasks.iter().filter(|(_, task)| waits(task)).map(|(id, _)| id).collect()
    }

    /// Gives a task that waits another request, as if it had been submitted so in the first place. For copies: nobody
    /// tells a live engine so. False if it does not wait, or could not have been submitted so.
    pub(crate) fn respec(&mut self, id: TaskId, spec: TaskSpec) -> bool {
        if spec.check().is_err() || !self.look_queued(id) {
            return false;
        }
        self.dequeue(id);
        self.task_mut(id).spec = Arc::new(spec);
        self.enqueue(id);
        true
    }
}

impl Engine {
    /// Whether a run's level, or the bound on suspensions, protects it for any time at all.
    pub(crate) fn look_protects(&self, run: RunId) -> bool {
        self.config.policy == Policy::Hai && self.protected(run) > Span::ZERO
    }
}
