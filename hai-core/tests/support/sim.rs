//! An engine and a cluster that does what it is told, for tests that play very many short stories: decisions are kept as
//! they are, and the cluster keeps books of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::*;

/// More rounds than any story needs at one moment: a bound against engines that never come to rest.
const ROUNDS_MAX: usize = 1_000;

/// An engine in a simulated cluster.
#[derive(Clone)]
pub(crate) struct Sim {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    pub(crate) nodes: Vec<NodeSpec>,
    /// Tasks that are not over.
    pub(crate) tasks: BTreeMap<TaskId, SimTask>,
    /// Runs that have not ended.
    pub(crate) runs: BTreeMap<RunId, SimRun>,
    pub(crate) promises: BTreeMap<TaskId, SimRun>,
    /// All that was decided, and when.
    pub(crate) log: Vec<(Time, Decision)>,
    /// Who was told to leave for whom, in order.
    pub(crate) displaced: Vec<Displaced>,
    /// How long a run that was told to leave takes to do so, given the grace that it has.
    pub(crate) leaves_after: fn(Grace) -> Span,
    /// Whether workers execute as soon as they were started.
    pub(crate) starts_at_once: bool,
    agenda: BTreeMap<(Time, u64), Fact>,
    events: u64,
}

/// A task as its owner sees it.
#[derive(Clone)]
pub(crate) struct SimTask {
    pub(crate) spec: Arc<TaskSpec>,
    /// How long it still runs; `None` for ever.
    pub(crate) lasts: Option<Span>,
    /// How long its ended runs ran.
    pub(crate) ran: Span,
}

/// A run that was told to leave for a task.
#[derive(Clone, Debug)]
pub(crate) struct Displaced {
    /// The run as it was then.
    pub(crate) run: SimRun,
    /// How long its task had run by then.
    pub(crate) ran: Span,
    pub(crate) winner: TaskId,
    /// The level of the place that the winner is promised for that, and whether it is within its right.
    pub(crate) promised: Option<(Priority, bool)>,
}

/// A run, or a promise of one.
#[derive(Clone, Debug)]
pub(crate) struct SimRun {
    pub(crate) id: RunId,
    pub(crate) task: TaskId,
    pub(crate) placement: Placement,
    pub(crate) level: Priority,
    pub(crate) entitled: bool,
    pub(crate) started_at: Option<Time>,
    pub(crate) checkpointed_at: Option<Time>,
    /// It was told to leave.
    pub(crate) leaving: bool,
}

impl Sim {
    pub(crate) fn new(config: EngineConfig, nodes: Vec<NodeSpec>) -> Self {
        let mut sim = Sim {
            engine: Engine::new(config),
            now: Time::ZERO,
            nodes: Vec::new(),
            tasks: BTreeMap::new(),
            runs: BTreeMap::new(),
            promises: BTreeMap::new(),
            log: Vec::new(),
            displaced: Vec::new(),
            leaves_after: |_| Span::ZERO,
            starts_at_once: true,
            agenda: BTreeMap::new(),
            events: 0,
        };
        for node in &nodes {
            sim.tell(Fact::NodeSet { node: node.clone() });
        }
        sim.nodes = nodes;
        sim
    }

    /// Everybody may hold everything.
    pub(crate) fn anything_goes(&mut self) {
        self.tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) });
    }

    pub(crate) fn tell(&mut self, fact: Fact) {
        if let Err(error) = self.engine.observe(self.now, &fact) {
            panic!("{fact:?} was refused: {error}");
        }
        self.forget_what_is_over();
    }

    /// A task that runs so long, or for ever.
    pub(crate) fn submit(&mut self, spec: TaskSpec, lasts: Option<Span>) -> TaskId {
        let (task, spec) = (self.engine.next_task_id(), Arc::new(spec));
        self.tasks.insert(task, SimTask { spec: Arc::clone(&spec), lasts, ran: Span::ZERO });
        self.tell(Fact::Submitted { task, spec });
        task
    }

    pub(crate) fn cancel(&mut self, task: TaskId) {
        self.tell(Fact::Cancelled { task });
    }

    /// Whether the task has no run, and no promise of one.
    pub(crate) fn waits(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
            && !self.promises.contains_key(&task)
            && self.runs.values().all(|run| run.task != task)
    }

    pub(crate) fn run_of(&self, task: TaskId) -> Option<&SimRun> {
        self.runs.values().find(|run| run.task == task)
    }

    /// One round; what the cluster does at once has happened when it returns.
    pub(crate) fn round(&mut self) -> Round {
        let round = self.engine.schedule(self.now);
        for decision in &round.decisions {
            self.carry_out(decision);
        }
        self.log.extend(round.decisions.iter().map(|decision| (self.now, decision.clone())));
        self.deliver();
        round
    }

    /// Rounds until one says nothing and the cluster has nothing to report now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.deliver();
            if self.round().decisions.is_empty() && self.next_report().is_none_or(|at| at > self.now) {
                return;
            }
        }
        panic!("the engine does not come to rest at {}: {:?}", self.now, &self.log[self.log.len() - 10..]);
    }

    /// Lets time pass until `end`, with rounds whenever something happens or the engine asked for one.
    pub(crate) fn pass_until(&mut self, end: Time) {
        self.settle();
        while let Some(next) = self.next_event().filter(|&at| at <= end) {
            self.now = next;
            self.settle();
        }
        self.now = self.now.max(end);
    }

    /// Something happens then; the cluster tells it.
    pub(crate) fn wake(&mut self, at: Time) {
        self.now = at;
        self.deliver();
    }

    /// A run ends by itself.
    pub(crate) fn end(&mut self, run: RunId) {
        let workers = self.runs[&run].placement.workers.len() as u32;
        self.end_later(run, workers, Span::ZERO, false);
        self.deliver();
    }

    pub(crate) fn reprioritise(&mut self, task: TaskId, priority: Priority) {
        let known = self.tasks.get_mut(&task).expect("it is not over");
        Arc::make_mut(&mut known.spec).priority = priority;
        self.tell(Fact::Reprioritised { task, priority, custom_rank: None });
    }

    /// When something happens next.
    pub(crate) fn next_event(&self) -> Option<Time> {
        let deadline = self.engine.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "at {} the next deadline is {deadline:?}", self.now);
        [deadline, self.next_report()].into_iter().flatten().min()
    }

    fn next_report(&self) -> Option<Time> {
        self.agenda.first_key_value().map(|(&(at, _), _)| at)
    }

    /// How good the run's hold on its place is.
    pub(crate) fn claim(&self, run: &SimRun) -> Claim {
        let task = &self.tasks[&run.task];
        if task.spec.kind.is_background() {
            return Claim::BACKGROUND;
        }
        Claim { entitled: run.entitled, level: run.level }
    }

    /// Devices it has, but one at least.
    pub(crate) fn devices(run: &SimRun) -> u64 {
        run.placement.workers.iter().map(|place| place.devices.len() as u64).sum::<u64>().max(1)
    }

    /// What is held on all nodes; who is leaving counts with `leaving`, and who is promised a place with `promised`.
    pub(crate) fn held(&self, leaving: bool, promised: bool) -> impl Iterator<Item = &SimRun> {
        let runs = self.runs.values().filter(move |run| leaving || !run.leaving);
        runs.chain(self.promises.values().filter(move |_| promised))
    }

    fn later(&mut self, after: Span, fact: Fact) {
        self.events += 1;
        self.agenda.insert((self.now + after, self.events), fact);
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            let fact = entry.remove();
            match &fact {
                Fact::WorkerEnded { run, rank, .. } => {
                    let Some(known) = self.runs.get(run) else { continue };
                    if *rank + 1 == known.placement.workers.len() as u32 {
                        let run = self.runs.remove(run).expect("looked up above");
                        if let (Some(task), Some(start)) = (self.tasks.get_mut(&run.task), run.started_at) {
                            let ran = self.now.since(start);
                            task.ran = task.ran + ran;
                            task.lasts = task.lasts.map(|lasts| lasts - ran);
                        }
                    }
                }
                Fact::WorkerStarted { run, .. } => match self.runs.get_mut(run) {
                    Some(run) if !run.leaving => run.started_at = Some(self.now),
                    _ => continue,
                },
                _ => {}
            }
            self.tell(fact);
        }
    }

    /// All workers of a run end by themselves, or because they were told to.
    fn end_later(&mut self, run: RunId, workers: u32, after: Span, told: bool) {
        for rank in 0..workers {
            let exit = if told { WorkerExit::exited(0).after_signal() } else { WorkerExit::exited(0) };
            self.later(after, Fact::WorkerEnded { run, rank, exit });
        }
    }

    fn carry_out(&mut self, decision: &Decision) {
        match decision {
            Decision::Start { task, run, placement, level, entitled, .. } => {
                self.promises.remove(task);
                let known = self.new_run(*task, *run, placement, *level, *entitled);
                self.runs.insert(*run, known);
                let workers = placement.workers.len() as u32;
                if self.starts_at_once {
                    (0..workers).for_each(|rank| self.later(Span::ZERO, Fact::WorkerStarted { run: *run, rank }));
                }
                if let Some(lasts) = self.tasks[task].lasts {
                    self.end_later(*run, workers, lasts, false);
                }
            }
            Decision::Promise { task, run, placement, level, entitled } => {
                for displaced in self.displaced.iter_mut().rev().take_while(|displaced| displaced.promised.is_none()) {
                    if displaced.winner == *task {
                        displaced.promised = Some((*level, *entitled));
                    }
                }
                let promise = self.new_run(*task, *run, placement, *level, *entitled);
                self.promises.insert(*task, promise);
            }
            Decision::Withdraw { task } => {
                self.promises.remove(task);
            }
            Decision::Suspend { run, task, .. } | Decision::Stop { run, task } => {
                if let Decision::Suspend { reason: YieldReason::For { task: winner }, .. } = decision {
                    let known = self.runs[run].clone();
                    let running = known.started_at.map_or(Span::ZERO, |start| self.now.since(start));
                    let ran = self.tasks[task].ran + running;
                    self.displaced.push(Displaced { run: known, ran, winner: *winner, promised: None });
                }
                let known = self.runs.get_mut(run).expect("only what was started can leave");
                if !std::mem::replace(&mut known.leaving, true) {
                    let workers = known.placement.workers.len() as u32;
                    let after = (self.leaves_after)(self.tasks[task].spec.grace);
                    self.end_later(*run, workers, after, true);
                }
            }
            Decision::Recharge { run, level, entitled } => {
                let known = self.runs.get_mut(run).expect("only what runs can be charged anew");
                (known.level, known.entitled) = (*level, *entitled);
            }
            _ => {}
        }
    }

    fn new_run(&self, task: TaskId, id: RunId, placement: &Placement, level: Priority, entitled: bool) -> SimRun {
        let placement = placement.clone();
        SimRun { id, task, placement, level, entitled, started_at: None, checkpointed_at: None, leaving: false }
    }

    /// A run saves its work.
    pub(crate) fn checkpoint(&mut self, run: RunId) {
        self.tell(Fact::Checkpointed { run, whole_life_state: 0 });
        self.runs.get_mut(&run).expect("it runs").checkpointed_at = Some(self.now);
    }

    fn forget_what_is_over(&mut self) {
        for task in self.engine.drain_changes().tasks {
            if task.state == TaskState::Finished {
                self.tasks.remove(&task.id);
                self.promises.remove(&task.id);
            }
        }
    }
}
