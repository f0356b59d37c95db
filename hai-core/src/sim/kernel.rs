//! The loop: the earliest event, what it changes, a round, and what the cluster makes of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::ops::ControlFlow;

use crate::engine::Engine;
use crate::model::{
    Decision, Fact, RunId, RunPhase, RunView, Span, TaskId, TaskView, Time, WorkerExit, WorkerFate, YieldReason,
};
use crate::table::Table;

use super::job::{Active, Job, Leaving};
use super::{Conduct, Ending, Input, Record, Watch, Work};

/// The earliest first.
type Events = BinaryHeap<Reverse<(Time, Kind, RunId)>>;

/// A simulation.
///
/// Events are taken in by time; at one time runs first leave, then end by themselves, begin to execute, and save, each in
/// the order of their numbers, and then comes what comes from outside, in its own order. When all of one time are in, the
/// engine makes a round. So there are no ties that anything but numbers decides.
#[derive(Debug)]
pub struct Sim<I: Iterator<Item = Input>> {
    engine: Engine,
    conduct: Conduct,
    inputs: Peekable<I>,
    now: Time,
    jobs: Table<TaskId, Job>,
    runs: Table<RunId, Active>,
    events: Events,
    /// A round is owed, whatever comes next.
    owed: bool,
    counts: Counts,
    finished: Vec<TaskView>,
}

/// How far a simulation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nothing after this time happens.
    pub until: Time,
    /// At most so many events and rounds together, counted from the call.
    pub events: u64,
}

/// Why a simulation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Halt {
    /// Nothing will ever happen again.
    NothingLeft,
    /// [`Limits::until`] is reached.
    Time,
    /// [`Limits::events`] are spent.
    Events,
    /// Who watched had seen enough.
    Watch,
}

/// What a simulation did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Starts, ends, checkpoints and what came from outside.
    pub events: u64,
    /// Rounds of the engine.
    pub rounds: u64,
    /// Runs that were started.
    pub starts: u64,
    /// Runs that were told to leave and go on later.
    pub suspensions: u64,
}

/// What happens to a run, in the order in which it is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Left,
    Done,
    Executes,
    Saves,
}

impl Limits {
    /// Until nothing is left.
    pub const NONE: Limits = Limits { until: Time::MAX, events: u64::MAX };
}

impl<I: Iterator<Item = Input>> Sim<I> {
    /// A simulation of an engine without tasks, from the time that it is at; of one that knows no time, from the first
    /// input. `inputs` must come by time; what is earlier than what came before counts as of the same time.
    pub fn new(engine: Engine, conduct: Conduct, inputs: impl IntoIterator<IntoIter = I>) -> Self {
        let now = engine.now();
        Self::resume(engine, now, conduct, inputs, |_, _| Work::of(Span::MAX))
    }

    /// A simulation that goes on where a live engine is at `now`. `work` is asked once for every unfinished task, by number,
    /// with its run if it has one, how much is left for it to do from then on.
    pub fn resume(
        engine: Engine,
        now: Time,
        conduct: Conduct,
        inputs: impl IntoIterator<IntoIter = I>,
        mut work: impl FnMut(&TaskView, Option<&RunView>) -> Work,
    ) -> Self {
        let now = engine.now().max(now);
        let mut sim = Sim {
            engine,
            conduct,
            inputs: inputs.into_iter().peekable(),
            now,
            jobs: Table::default(),
            runs: Table::default(),
            events: BinaryHeap::new(),
            owed: true,
            counts: Counts::default(),
            finished: Vec::new(),
        };
        // What changed before is not the simulation's.
        let mut before = Vec::new();
        sim.engine.swap_finished(&mut before);
        let default = sim.engine.config().restart_cost;
        let tasks: Vec<TaskView> = sim.engine.tasks().collect();
        for view in tasks {
            let run = view.run.and_then(|run| sim.engine.run(run));
            let work = work(&view, run.as_ref());
            let mut job = Job::new(&view, work, conduct.restart, default);
            if let Some(run) = run {
                sim.adopt(&mut job, &run);
            }
            sim.jobs.insert(view.id, job);
        }
        sim
    }

    /// Takes in a run that was under way before.
    fn adopt(&mut self, job: &mut Job, run: &RunView) {
        let placement = run.placement();
        let leaving = run.phase == RunPhase::Vacating;
        let mut active = Active {
            task: run.task,
            workers: u32::try_from(placement.workers.len()).unwrap_or(u32::MAX),
            milli: placement.device_milli(),
            decided_at: run.decided_at,
            executes_since: run.started_at.filter(|_| !leaving),
            works_since: self.now,
            saved: Span::ZERO,
            leaving: leaving.then_some(Leaving::Told),
        };
        if leaving {
            let at = self.now + self.conduct.leave.min(job.grace);
            self.events.push(Reverse((at, Kind::Left, run.id)));
        } else if let Some(started) = run.started_at {
            // What it did since it last saved is done, and can still be lost.
            active.works_since = run.checkpointed_at.map_or(started, |saved| saved.max(started)).min(self.now);
            let unsaved = self.now.since(active.works_since);
            job.left = if job.left == Span::MAX { Span::MAX } else { job.left + unsaved };
            set_work_events(&mut self.events, self.now, run.id, &active, job);
        } else {
            let at = (run.decided_at + self.conduct.start).max(self.now);
            self.events.push(Reverse((at, Kind::Executes, run.id)));
        }
        self.runs.insert(run.id, active);
    }

    /// Runs it until one of the limits is reached, nothing is left, or `watch` has seen enough. It can be called again.
    pub fn run(&mut self, limits: Limits, watch: &mut impl Watch) -> Halt {
        let spent_before = self.counts.events + self.counts.rounds;
        loop {
            let Some(at) = self.next_time() else { return Halt::NothingLeft };
            if at > limits.until {
                self.now = self.now.max(limits.until);
                return Halt::Time;
            }
            if self.counts.events + self.counts.rounds - spent_before >= limits.events {
                return Halt::Events;
            }
            if self.instant(at, watch).is_break() {
                return Halt::Watch;
            }
        }
    }

    /// When something happens next.
    fn next_time(&mut self) -> Option<Time> {
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        let input = self.inputs.peek().map(Input::at);
        if self.owed && self.now > Time::from_ms(i64::MIN) {
            return Some(self.now);
        }
        [event, input, self.engine.next_deadline()].into_iter().flatten().min().map(|at| at.max(self.now))
    }

    /// Takes in all that happens at one time, and lets the engine decide.
    fn instant(&mut self, at: Time, watch: &mut impl Watch) -> ControlFlow<()> {
        self.now = at;
        self.owed = false;
        let mut flow = ControlFlow::Continue(());
        let mut note = |said: ControlFlow<()>| {
            if said.is_break() {
                flow = said;
            }
        };
        while let Some(&Reverse((when, kind, run))) = self.events.peek()
            && when <= at
        {
            self.events.pop();
            self.counts.events += 1;
            match kind {
                Kind::Left => note(self.left(run, watch)),
                Kind::Done => note(self.done(run, watch)),
                Kind::Executes => note(self.executes(run, watch)),
                Kind::Saves => self.saves(run),
            }
        }
        while let Some(input) = self.inputs.next_if(|input| input.at() <= at) {
            self.counts.events += 1;
            note(self.take(&input, watch));
        }
        let round = self.engine.schedule(at);
        self.counts.rounds += 1;
        for decision in &round.decisions {
            self.carry_out(decision);
        }
        note(watch.round(&self.engine, &round));
        let mut finished = std::mem::take(&mut self.finished);
        self.engine.swap_finished(&mut finished);
        for view in &finished {
            let known = self.jobs.remove(view.id).map_or_else(|| Record::of(view), |job| job.record);
            let record = Record { ended_at: view.ended_at, outcome: view.outcome.clone(), ..known };
            note(watch.ended(view, record));
        }
        self.finished = finished;
        flow
    }

    fn take(&mut self, input: &Input, watch: &mut impl Watch) -> ControlFlow<()> {
        let mut submitted = None;
        let observed = match input {
            Input::Submit { task, spec, work, .. } => {
                let task = task.unwrap_or_else(|| self.engine.next_task_id());
                submitted = Some(task);
                let fact = Fact::Submitted { task, spec: std::sync::Arc::clone(spec) };
                let observed = self.engine.observe(self.now, &fact);
                if let (Ok(_), Some(view)) = (&observed, self.engine.task(task)) {
                    let default = self.engine.config().restart_cost;
                    self.jobs.insert(task, Job::new(&view, *work, self.conduct.restart, default));
                }
                observed
            }
            Input::Fact { fact, .. } => self.engine.observe(self.now, fact),
        };
        match observed {
            Ok(_) => watch.told(self.now, input, submitted),
            Err(why) => watch.refused(input, &why),
        }
    }

    fn carry_out(&mut self, decision: &Decision) {
        match decision {
            Decision::Start { task, run, placement, .. } => {
                self.counts.starts += 1;
                let active = Active {
                    task: *task,
                    workers: u32::try_from(placement.workers.len()).unwrap_or(u32::MAX),
                    milli: placement.device_milli(),
                    decided_at: self.now,
                    executes_since: None,
                    works_since: Time::MAX,
                    saved: Span::ZERO,
                    leaving: None,
                };
                self.runs.insert(*run, active);
                self.events.push(Reverse((self.now + self.conduct.start, Kind::Executes, *run)));
            }
            Decision::Suspend { run, task, reason } => {
                self.counts.suspensions += 1;
                if let Some(job) = self.jobs.get_mut(*task) {
                    job.record.suspensions += 1;
                }
                let lost = matches!(reason, YieldReason::NodeLost { .. } | YieldReason::WorkerLost { .. });
                self.leave(*run, if lost { Leaving::Lost } else { Leaving::Told });
            }
            Decision::Stop { run, .. } => self.leave(*run, Leaving::Told),
            _ => {}
        }
    }

    /// A run is told to leave, or is torn from its place.
    fn leave(&mut self, id: RunId, how: Leaving) {
        let Some(run) = self.runs.get_mut(id) else { return };
        if run.leaving.replace(how).is_some() {
            return;
        }
        let mut delay = Span::ZERO;
        if let Some(job) = self.jobs.get_mut(run.task) {
            let done = job.progress(run, self.now);
            let kept = if how == Leaving::Told && self.conduct.saves { done } else { run.saved.min(done) };
            job.record.lost = job.record.lost + (done - kept);
            if job.left != Span::MAX {
                job.left = job.left - kept;
            }
            if how == Leaving::Told {
                delay = self.conduct.leave.min(job.grace);
            }
            if let Some(executes) = run.executes_since {
                let loading = run.works_since.min(self.now).since(executes);
                job.record.loading = job.record.loading + loading;
            }
        }
        self.events.push(Reverse((self.now + delay, Kind::Left, id)));
    }

    fn left(&mut self, id: RunId, watch: &mut impl Watch) -> ControlFlow<()> {
        let Some(run) = self.runs.get(id) else { return ControlFlow::Continue(()) };
        let exit = match run.leaving {
            Some(Leaving::Lost) => WorkerExit::of(WorkerFate::Lost { reason: "its node is gone".into() }),
            _ => WorkerExit::exited(0).after_signal(),
        };
        self.end(id, &exit, &exit, watch)
    }

    fn done(&mut self, id: RunId, watch: &mut impl Watch) -> ControlFlow<()> {
        let Some(run) = self.runs.get(id) else { return ControlFlow::Continue(()) };
        // Who was told to leave before is leaving with what it has.
        if run.leaving.is_some() {
            return ControlFlow::Continue(());
        }
        let ends = self.jobs.get(run.task).map_or(Ending::Success, |job| job.work.ends);
        if let Some(job) = self.jobs.get_mut(run.task) {
            let executes = run.executes_since.unwrap_or(self.now);
            job.record.loading = job.record.loading + run.works_since.min(self.now).since(executes);
            job.left = if ends == Ending::Failure { job.work.needs } else { Span::ZERO };
        }
        let first = WorkerExit::exited(i32::from(ends == Ending::Failure));
        self.end(id, &first, &WorkerExit::exited(0), watch)
    }

    /// All workers of a run end.
    fn end(&mut self, id: RunId, first: &WorkerExit, others: &WorkerExit, watch: &mut impl Watch) -> ControlFlow<()> {
        let Some(run) = self.runs.remove(id) else { return ControlFlow::Continue(()) };
        if let Some(job) = self.jobs.get_mut(run.task) {
            let ran = run.executes_since.map_or(Span::ZERO, |since| self.now.since(since));
            job.record.ran = job.record.ran + ran;
            let held = u128::from(self.now.since(run.decided_at).as_ms()) * u128::from(run.milli) / 1000;
            job.record.device_ms = job.record.device_ms.saturating_add(u64::try_from(held).unwrap_or(u64::MAX));
            job.resumes |= run.executes_since.is_some();
        }
        for rank in 0..run.workers {
            let exit = if rank == 0 { first } else { others };
            // A rank that ended before is known to have.
            let _ = self.engine.observe(self.now, &Fact::WorkerEnded { run: id, rank, exit: exit.clone() });
        }
        self.jobs.get(run.task).map_or(ControlFlow::Continue(()), |job| watch.run_ended(self.now, id, &job.record))
    }

    fn executes(&mut self, id: RunId, watch: &mut impl Watch) -> ControlFlow<()> {
        let Some(run) = self.runs.get_mut(id) else { return ControlFlow::Continue(()) };
        if run.leaving.is_some() {
            return ControlFlow::Continue(());
        }
        let (task, workers) = (run.task, run.workers);
        run.executes_since = Some(self.now);
        run.works_since = self.now;
        for rank in 0..workers {
            let _ = self.engine.observe(self.now, &Fact::WorkerStarted { run: id, rank });
        }
        if let Some(job) = self.jobs.get_mut(task) {
            job.record.started_at.get_or_insert(self.now);
            if job.resumes {
                run.works_since = self.now + job.restart;
            }
            set_work_events(&mut self.events, self.now, id, run, job);
        }
        watch.started(self.now, task, id)
    }

    fn saves(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let Some(job) = self.jobs.get(run.task).filter(|_| run.leaving.is_none()) else { return };
        run.saved = job.progress(run, self.now);
        let (left, every) = (job.left, job.checkpoint_every.unwrap_or(Span::MAX));
        let done = run.works_since + job.takes(left, run.workers);
        let state = i64::try_from((job.work.needs - (left - run.saved)).as_ms()).unwrap_or(i64::MAX);
        let next = self.now + every;
        if next < done {
            self.events.push(Reverse((next, Kind::Saves, id)));
        }
        let _ = self.engine.observe(self.now, &Fact::Checkpointed { run: id, whole_life_state: state });
    }

    /// What is known of the tasks that are not over, by number.
    pub fn unfinished(&self) -> impl Iterator<Item = &Record> + '_ {
        self.jobs.iter().map(|(_, job)| &job.record)
    }

    /// The engine as it is.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time that it has come to.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// Sets when a run will be done, and when it saves next.
fn set_work_events(events: &mut Events, now: Time, id: RunId, run: &Active, job: &Job) {
    let done = run.works_since + job.takes(job.left, run.workers);
    if done < Time::MAX {
        events.push(Reverse((done, Kind::Done, id)));
    }
    if let Some(every) = job.checkpoint_every {
        let next = (run.works_since + every).max(now);
        if next < done {
            events.push(Reverse((next, Kind::Saves, id)));
        }
    }
}
