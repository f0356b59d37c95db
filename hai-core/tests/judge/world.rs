//! Plays a story against the engine, a twin that must say the same bytes, a third that only replays, and the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::sync::Arc;

use hai_core::engine::{Engine, EngineState};
use hai_core::model::*;

use super::books::Books;
use super::ops::{End, Op, Story};

/// More wake-ups than a few minutes can need.
const WAKE_UPS_MAX: usize = 200;

/// After every so many rounds an engine is restored on the side, and copies are compared; more would only take longer.
const RESTORES_EVERY: usize = 17;
const COPIES_EVERY: usize = 13;

/// The verdict of every task, and all that is shown, is judged in one of so many rounds: not all in the same.
const TURNS: u64 = 3;

/// How long runs run once nothing more comes, and how often at most something happens then by itself.
const LAST_RUNS: Span = Span::from_secs(30);
const LAST_STEPS_MAX: usize = 2_000;

/// The engines and the judge.
pub(crate) struct World {
    pub(crate) engine: Engine,
    /// Is told the same at the same times, and is never restored nor replaced.
    twin: Engine,
    /// Is told the same, and takes the decisions over.
    replayer: Engine,
    books: Books,
    last_worker_fact: Option<Fact>,
    told: BTreeMap<TaskId, Verdict>,
    /// Facts were told since the last round.
    news: bool,
    /// Another engine has taken over, which may tell again what was told: from here on only decisions must be the
    /// twin's, byte for byte.
    taken_over: bool,
    /// All rounds so far, without those that were empty.
    pub(crate) rounds: Vec<Round>,
    /// Print facts and decisions as they come.
    aloud: bool,
    /// Rounds so far.
    told_in_turn: u64,
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

/// The state without the memory of which verdicts were told, which decisions alone can not bring back.
fn untold(engine: &Engine) -> serde_json::Value {
    let mut state = serde_json::to_value(engine.snapshot()).expect("plain data");
    strip(&mut state, "told");
    state
}

fn strip(value: &mut serde_json::Value, name: &str) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove(name);
            fields.values_mut().for_each(|value| strip(value, name));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|value| strip(value, name)),
        _ => {}
    }
}

/// Names the first thing in which two states differ.
fn same_but_for_nothing(twin: &serde_json::Value, state: &serde_json::Value, path: &str) {
    use serde_json::Value::{Array, Object};
    match (twin, state) {
        (Object(a), Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().for_each(|(name, a)| same_but_for_nothing(a, &b[name], &format!("{path}.{name}")));
        }
        (Array(a), Array(b)) if a.len() == b.len() => {
            let both = a.iter().zip(b).enumerate();
            both.for_each(|(at, (a, b))| same_but_for_nothing(a, b, &format!("{path}[{at}]")));
        }
        _ => assert_eq!(twin, state, "I-6: a twin's state differs at {path}"),
    }
}

fn pick<T: Clone>(items: impl IntoIterator<Item = T>, index: u8) -> Option<T> {
    let items: Vec<T> = items.into_iter().collect();
    (!items.is_empty()).then(|| items[usize::from(index) % items.len()].clone())
}

impl World {
    fn new(story: &Story, aloud: bool) -> Self {
        let engine = || Engine::new(story.config.clone());
        let mut world = World {
            engine: engine(),
            twin: engine(),
            replayer: engine(),
            books: Books::new(story.config.clone()),
            last_worker_fact: None,
            told: BTreeMap::new(),
            news: true,
            taken_over: false,
            rounds: Vec::new(),
            aloud,
            told_in_turn: 0,
        };
        for node in &story.nodes {
            world.tell(Fact::NodeSet { node: node.clone() });
        }
        for team in &story.teams {
            world.tell(Fact::TeamSet { team: team.clone() });
        }
        for right in &story.rights {
            world.tell(Fact::RightSet { right: right.clone() });
        }
        world
    }

    pub(crate) fn play(story: &Story) -> Self {
        Self::perform(story, false)
    }

    /// The same, and then nothing more comes: runs end, time passes, and whoever can start has to.
    pub(crate) fn play_out(story: &Story) {
        Self::perform(story, false).come_to_rest();
    }

    fn come_to_rest(&mut self) {
        self.books.resting_since = Some(self.books.now);
        for _ in 0..LAST_STEPS_MAX {
            let idle = self.books.runs.is_empty() && self.books.promises.is_empty();
            if idle && self.books.next_due().is_none() {
                self.books.judge_verdicts(&self.engine);
                self.books.judge_left_over(&self.engine);
                return;
            }
            let soon = self.books.now + LAST_RUNS;
            self.books.now = self.engine.next_deadline().map_or(soon, |deadline| deadline.clamp(self.books.now, soon));
            for (run, rank) in self.workers(|run, rank| run.stays() && !run.started.contains(&rank)) {
                self.tell_of_worker(Fact::WorkerStarted { run, rank });
            }
            let now = self.books.now;
            for (run, rank) in self.workers(|run, _| !run.stays() || run.elapsed(now) >= LAST_RUNS) {
                let end = if self.books.runs[&run].stays() { End::Success } else { End::Suspended };
                self.end_worker(run, rank, end);
            }
            self.round();
        }
        panic!("I-10: it does not come to rest; left over are {:?}", self.books.tasks.keys());
    }

    /// The same, with everything printed.
    pub(crate) fn tell_how_it_goes(story: &Story) {
        Self::perform(story, true);
    }

    fn perform(story: &Story, aloud: bool) -> Self {
        let mut world = World::new(story, aloud);
        for (op, ask) in &story.ops {
            world.happen(op);
            if *ask {
                world.round();
            }
        }
        world.round();
        world.judge_replayer();
        world
    }

    // --- facts

    fn tell(&mut self, fact: Fact) {
        self.let_time_pass();
        let believed = self.books.believes(&fact);
        let answer = self.engine.observe(self.books.now, &fact);
        if self.aloud {
            println!("  {} {fact:?} -> {answer:?}", self.books.now.as_ms());
        }
        assert_eq!(answer.is_ok(), believed, "{fact:?} was answered with {answer:?}");
        if answer == Ok(true) {
            self.news = true;
        } else {
            self.judge_unchanged(&fact);
        }
        assert_eq!(self.twin.observe(self.books.now, &fact), answer, "I-6: {fact:?}");
        assert_eq!(self.replayer.observe(self.books.now, &fact), answer, "replay: {fact:?}");
        if believed {
            self.books.observe(&fact);
        }
        self.collect();
    }

    /// What time brings about comes with whatever the engine is told next.
    fn let_time_pass(&mut self) {
        self.books.pass_time();
        self.news |= self.engine.next_deadline().is_some_and(|deadline| deadline <= self.books.now);
    }

    /// The twin was not told yet: but for the time it still is what the engine was.
    fn judge_unchanged(&mut self, fact: &Fact) {
        self.twin.replay(self.books.now, &[]).expect("no decision can be wrong");
        assert!(self.is_as_twin(), "{fact:?} is no news, and changed the engine");
    }

    /// Whether the twin's state is the engine's, as far as both were told the same.
    fn is_as_twin(&self) -> bool {
        if self.taken_over {
            untold(&self.engine) == untold(&self.twin)
        } else {
            self.engine.snapshot() == self.twin.snapshot()
        }
    }

    /// What the engine says ended is what the books say ended.
    fn collect(&mut self) {
        let changes = self.engine.drain_changes();
        self.twin.drain_changes();
        self.replayer.drain_changes();
        let mut finished = BTreeMap::new();
        for view in changes.tasks {
            if view.state == TaskState::Finished {
                finished.insert(view.id, view.outcome.expect("finished tasks have an outcome").word());
            } else {
                assert!(view.outcome.is_none() && self.books.tasks.contains_key(&view.id));
            }
        }
        assert_eq!(finished, std::mem::take(&mut self.books.finished));
    }

    fn happen(&mut self, op: &Op) {
        match op {
            Op::Submit(spec, after, wait) => self.submit(spec, after, *wait),
            Op::MustFollow(index, other, ended) => {
                if let Some(other) = pick(self.books.tasks.keys().copied(), *other) {
                    let after = vec![Dependency { task: other, ended: *ended }];
                    self.tell_of_task(*index, |task| Fact::MustFollow { task, after });
                }
            }
            Op::Renew(index) => self.tell_of_task(*index, |task| Fact::Renewed { task }),
            Op::Idle(index, idle) => {
                if let Some(run) = pick(self.books.runs.keys().copied(), *index) {
                    self.tell(Fact::Idle { run, idle: *idle });
                }
            }
            Op::Cancel(index) => self.tell_of_task(*index, |task| Fact::Cancelled { task }),
            Op::Hold(index) => self.tell_of_task(*index, |task| Fact::Held { task }),
            Op::Release(index) => {
                let held = self.books.tasks.iter().filter(|(_, task)| task.held).map(|(id, _)| *id);
                if let Some(task) = pick(held, *index) {
                    self.tell(Fact::Released { task });
                } else {
                    self.tell_of_task(*index, |task| Fact::Released { task });
                }
            }
            Op::Reprioritise(index, priority, rank) => {
                let custom_rank = rank.and_then(|rank| Rank::new(f64::from(rank)));
                self.tell_of_task(*index, |task| Fact::Reprioritised { task, priority: *priority, custom_rank });
            }
            Op::Right(right, after) => {
                let expires = after.map(|secs| self.books.now + Span::from_secs(secs.into()));
                self.tell(Fact::RightSet { right: RightRow { expires, ..right.clone() } });
            }
            Op::Team(team) => self.tell(Fact::TeamSet { team: team.clone() }),
            Op::RemoveTeam(index) => {
                if let Some(team) = pick(self.books.teams.keys().cloned(), *index) {
                    self.tell(Fact::TeamRemoved { team });
                }
            }
            Op::RemoveRight(index) => {
                if let Some(key) = pick(self.books.rights.keys().cloned(), *index) {
                    self.tell(Fact::RightRemoved { key });
                }
            }
            Op::Node(node) => self.tell(Fact::NodeSet { node: (**node).clone() }),
            Op::Ready(index, ready) => self.change_node(*index, |node| node.ready = *ready),
            Op::Cordon(index, cordoned) => self.change_node(*index, |node| node.cordoned = *cordoned),
            Op::Duty(index, duty) => {
                if let Some(node) = pick(self.books.nodes.keys().cloned(), *index) {
                    self.tell(Fact::NodeDuty { node, duty: *duty });
                }
            }
            Op::RemoveNode(index) => {
                if let Some(node) = pick(self.books.nodes.keys().cloned(), *index) {
                    self.tell(Fact::NodeRemoved { node });
                }
            }
            Op::Device(index, device, health) => {
                let node = pick(self.books.nodes.values().cloned(), *index);
                if let Some((node, device)) = node.and_then(|node| Some((node.name, pick(node.devices, *device)?))) {
                    self.tell(Fact::DeviceChanged { node, device: device.id, health: health.clone() });
                }
            }
            Op::Pass(secs, punctual) => self.pass(Span::from_secs((*secs).into()), *punctual),
            Op::StartWorker(index) => {
                let waiting = self.workers(|run, rank| !run.started.contains(&rank));
                if let Some((run, rank)) = pick(waiting, *index) {
                    self.tell_of_worker(Fact::WorkerStarted { run, rank });
                }
            }
            Op::EndWorker(index, end) => {
                if let Some((run, rank)) = pick(self.workers(|_, _| true), *index) {
                    self.end_worker(run, rank, *end);
                }
            }
            Op::Checkpoint(index, whole_life_state) => {
                if let Some(run) = pick(self.books.runs.keys().copied(), *index) {
                    self.tell(Fact::Checkpointed { run, whole_life_state: *whole_life_state });
                }
            }
            Op::Repeat => {
                if let Some(fact) = self.last_worker_fact.clone() {
                    self.let_time_pass();
                    let answer = self.engine.observe(self.books.now, &fact);
                    assert!(!matches!(answer, Ok(true)), "{fact:?} was news twice");
                    self.judge_unchanged(&fact);
                    assert_eq!(self.twin.observe(self.books.now, &fact), answer, "I-6: {fact:?}");
                    assert_eq!(self.replayer.observe(self.books.now, &fact), answer, "replay: {fact:?}");
                }
            }
            Op::Nonsense(kind) => self.nonsense(*kind),
            Op::Restart => {
                self.engine = self.restored();
                (self.taken_over, self.news) = (true, true);
            }
            Op::TakeOver => {
                self.engine = self.replayer.clone();
                (self.taken_over, self.news) = (true, true);
            }
        }
    }

    fn submit(&mut self, spec: &Arc<TaskSpec>, after: &[(u8, DependsOn)], wait: Option<u8>) {
        let task = self.engine.next_task_id();
        let spec = if after.is_empty() && wait.is_none() {
            Arc::clone(spec)
        } else {
            let earlier = |(back, ended): &(u8, DependsOn)| Dependency {
                task: TaskId(task.0.saturating_sub(1 + u64::from(*back)).max(1)),
                ended: *ended,
            };
            let not_before = wait.map(|secs| self.books.now + Span::from_secs(secs.into()));
            Arc::new(TaskSpec { after: after.iter().map(earlier).collect(), not_before, ..TaskSpec::clone(spec) })
        };
        self.tell(Fact::Submitted { task, spec });
    }

    fn restored(&self) -> Engine {
        let state: EngineState = serde_json::from_str(&json(&self.engine.snapshot())).expect("it was just written");
        state.check().expect("it was just written");
        let engine = Engine::restore(self.books.config.clone(), state);
        assert_eq!(json(&engine.snapshot()), json(&self.engine.snapshot()), "restoring changed the state");
        engine
    }

    fn tell_of_task(&mut self, index: u8, fact: impl FnOnce(TaskId) -> Fact) {
        if let Some(task) = pick(self.books.tasks.keys().copied(), index) {
            self.tell(fact(task));
        }
    }

    fn change_node(&mut self, index: u8, change: impl FnOnce(&mut NodeSpec)) {
        if let Some(mut node) = pick(self.books.nodes.values().cloned(), index) {
            change(&mut node);
            self.tell(Fact::NodeSet { node });
        }
    }

    fn workers(&self, which: impl Fn(&super::books::Run, u32) -> bool) -> Vec<(RunId, u32)> {
        let runs = self.books.runs.iter();
        runs.flat_map(|(id, run)| run.alive().filter(|rank| which(run, *rank)).map(|rank| (*id, rank))).collect()
    }

    fn tell_of_worker(&mut self, fact: Fact) {
        self.tell(fact.clone());
        self.last_worker_fact = Some(fact);
    }

    fn end_worker(&mut self, id: RunId, rank: u32, end: End) {
        let run = &self.books.runs[&id];
        let (told, started) = (!run.stays(), run.started.contains(&rank));
        let lost = || WorkerExit::of(WorkerFate::Lost { reason: "gone".to_owned() });
        let exit = match end {
            End::Failure => WorkerExit::exited(3),
            End::Killed => WorkerExit::of(WorkerFate::Killed { signal: 11 }),
            End::NotExecuted if !started => WorkerExit::of(WorkerFate::NotExecuted { reason: "absent".to_owned() }),
            End::Lost => lost(),
            End::Refused | End::RefusedByNode if !started => {
                let cause = if matches!(end, End::Refused) { RefusalCause::Task } else { RefusalCause::Node };
                WorkerExit::of(WorkerFate::Refused { reason: "full".to_owned(), cause })
            }
            End::Refused | End::RefusedByNode => lost(),
            End::Suspended if told => WorkerExit::exited(1).after_signal(),
            End::SuspendedDone if told => WorkerExit { declared_done: true, ..WorkerExit::exited(0).after_signal() },
            _ => WorkerExit::exited(0),
        };
        self.tell_of_worker(Fact::WorkerEnded { run: id, rank, exit });
    }

    fn nonsense(&mut self, kind: u8) {
        let (task, run) = (TaskId(9_999), RunId(9_999));
        let node = NodeName::new("nobody").unwrap();
        let device = DeviceId::new("nothing").unwrap();
        let spec = self.books.tasks.values().next().map(|task| task.spec.clone());
        let exit = WorkerExit::exited(0);
        let auto = RightKey { priority: Some(Priority::Auto), ..RightKey::default() };
        let known = self.books.nodes.keys().next().cloned();
        let nonsense = match kind % 12 {
            0 => Some(Fact::Cancelled { task }),
            1 => Some(Fact::Held { task }),
            2 => Some(Fact::Released { task }),
            3 => Some(Fact::Reprioritised { task, priority: Priority::High, custom_rank: None }),
            4 => Some(Fact::WorkerStarted { run, rank: 0 }),
            5 => Some(Fact::WorkerEnded { run, rank: 0, exit }),
            6 => Some(Fact::NodeRemoved { node }),
            7 => known.map(|node| Fact::DeviceChanged { node, device, health: DeviceHealth::Healthy }),
            8 => spec.map(|spec| Fact::Submitted { task: self.books.last_task, spec: Arc::new(spec) }),
            9 => spec.map(|spec| Fact::Submitted {
                task: TaskId(self.books.last_task.0 + 1),
                spec: Arc::new(TaskSpec { workers: 0, ..spec }),
            }),
            10 => Some(Fact::RightSet { right: RightRow::new(auto, Allowance::UNLIMITED) }),
            _ => self.workers(|_, _| true).pop().map(|(run, _)| Fact::WorkerStarted { run, rank: 77 }),
        };
        if let Some(fact) = nonsense {
            self.tell(fact);
        }
    }

    // --- time

    fn pass(&mut self, span: Span, punctual: bool) {
        let end = self.books.now + span;
        let mut woken = 0;
        while punctual && let Some(time) = self.engine.next_deadline().filter(|time| *time < end) {
            woken += 1;
            assert!(woken < WAKE_UPS_MAX, "the engine does not come to rest before {end}");
            // What was told without a round may have left a deadline behind.
            self.books.now = self.books.now.max(time);
            self.round();
        }
        self.books.now = end;
        for (run, rank) in self.workers(|run, rank| run.stays() && !run.started.contains(&rank)) {
            self.tell_of_worker(Fact::WorkerStarted { run, rank });
        }
        for (run, rank) in self.workers(|_, _| true) {
            let known = &self.books.runs[&run];
            let place = &known.placement.workers[rank as usize].node;
            if !self.books.nodes.contains_key(place) {
                self.end_worker(run, rank, End::Lost);
            } else if self.books.deadline(known).is_some_and(|until| until <= end) {
                let killed = WorkerExit::of(WorkerFate::Killed { signal: 9 }).after_signal();
                self.tell_of_worker(Fact::WorkerEnded { run, rank, exit: killed });
            }
        }
    }

    // --- rounds

    fn round(&mut self) {
        let now = self.books.now;
        self.books.pass_time();
        let in_time = self.engine.next_deadline().is_none_or(|deadline| deadline > now);
        let round = self.engine.schedule(now);
        if in_time && !self.news {
            assert!(round.is_empty(), "I-7: nothing happened, and the engine had nothing planned: {round:?}");
        }
        if self.aloud {
            round.decisions.iter().for_each(|decision| println!("  {} => {decision:?}", now.as_ms()));
        }
        let twins = self.twin.schedule(now);
        assert_eq!(round.decisions, twins.decisions, "I-6: a twin decides something else");
        assert!(self.taken_over || round == twins, "I-6: a twin says {twins:?} and not {round:?}");
        self.replayer.replay(now, &round.decisions).expect("what was decided can be replayed");

        self.books.judge_decisions(&round);
        self.collect();
        self.told_in_turn += 1;
        let turn = self.told_in_turn;
        for &id in self.books.tasks.keys().filter(|id| (id.0 + turn).is_multiple_of(TURNS)) {
            self.books.judge_task(id, &self.engine);
        }
        if turn.is_multiple_of(TURNS) {
            self.books.judge_nodes(&self.engine);
        }
        self.judge_told(&round);

        let again = self.engine.schedule(now);
        assert!(again.is_empty(), "I-7: a second round at the same time says {again:?}");
        assert!(self.twin.schedule(now).is_empty());
        let deadline = self.engine.next_deadline();
        assert!(deadline.is_none_or(|deadline| deadline > now), "it is {now}, and the deadline is {deadline:?}");
        if let Some(due) = self.books.next_due() {
            assert!(deadline.is_some_and(|deadline| deadline <= due), "asked at {deadline:?}, {due} would be missed");
        }
        self.judge_copies();
        self.news = false;
        if !round.is_empty() {
            self.rounds.push(round);
        }
    }

    /// The round tells the verdicts that changed, and as they are.
    fn judge_told(&mut self, round: &Round) {
        for (task, verdict) in &round.verdicts {
            assert_eq!(self.engine.verdict(*task).as_ref(), Some(verdict), "told of task {task}");
            self.told.insert(*task, verdict.clone());
        }
        let listed: BTreeSet<TaskId> = round.verdicts.iter().map(|(task, _)| *task).collect();
        assert_eq!(listed.len(), round.verdicts.len(), "a task is told of twice");
        let turn = self.told_in_turn;
        for &task in self.books.tasks.keys().filter(|id| (id.0 + turn).is_multiple_of(TURNS)) {
            match self.engine.verdict(task) {
                None => {
                    self.told.remove(&task);
                }
                Some(Verdict::Behind { .. }) => {}
                Some(verdict) => {
                    let last = self.told.get(&task);
                    let same = last.is_some_and(|last| discriminant(last) == discriminant(&verdict));
                    assert!(same, "task {task} was told {last:?}, and its verdict is {verdict:?}");
                }
            }
        }
    }

    /// Whoever restored the state, or only replayed it, is as if it had been there.
    fn judge_copies(&self) {
        assert!(self.taken_over || self.is_as_twin(), "I-6: a twin's state differs");
        if self.rounds.len().is_multiple_of(COPIES_EVERY) {
            self.judge_replayer();
        }
        if self.rounds.len().is_multiple_of(RESTORES_EVERY) {
            let mut restored = self.restored();
            let round = restored.schedule(self.books.now);
            // Borrowers take the place of background work that came after they were last looked at.
            let borrows = |decision: &Decision| matches!(decision, Decision::Promise { entitled: false, .. });
            let more = !round.decisions.is_empty() && !round.decisions.iter().any(borrows);
            assert!(!more, "one that was restored decides more: {round:?}");
            if round.decisions.is_empty() {
                self.books.judge_verdicts(&restored);
            }
        }
    }

    fn judge_replayer(&self) {
        let state = untold(&self.engine);
        same_but_for_nothing(&untold(&self.twin), &state, "engine");
        assert_eq!(untold(&self.replayer), state, "the state of one that replays differs");
    }
}
