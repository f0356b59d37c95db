//! Policies that preempt: who should run is chosen anew whenever something changed.
//!
//! The published simulators choose every second (or tick). Between two changes that does nothing: a running job is one that
//! was chosen, and where its remaining time falls below that of a waiting one they change places, which changes neither's
//! choice (both fit, or the waiting one fits even less). So it is enough to choose after arrivals, ends, and when the
//! service a running job attained lets it fall behind others. `tests/published/naive.rs` plays every second.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::learned::Learned;
use super::nodes::{Nodes, Place};
use super::rules::{Overhead, Rules, Selection, Turn, Walk};
use super::{Books, HeliosJob, in_order};

/// Level, key, since when in this list (a running number), which job.
type Entry = (u8, i64, u64, usize);
/// A waiting job that was chosen, and its place where that was looked for already.
type Tried = (usize, Option<Place>);

#[derive(Clone, Debug, Default)]
struct State {
    /// Running time left when it last started or was preempted.
    left: i64,
    /// Device-seconds held before it last started.
    attained: u64,
    /// When it last started; when it began to wait, if it waits.
    since: i64,
    predicted: i64,
    place: Place,
    entry: Entry,
}

/// Plays one virtual cluster; `list` are its jobs by submission.
pub(super) fn play(
    jobs: &[HeliosJob],
    list: &[usize],
    nodes: u32,
    rules: &Rules,
    overhead: Overhead,
    books: &mut Books<'_>,
) {
    let mut cluster = Cluster {
        jobs,
        list,
        rules,
        nodes: Nodes::new(nodes, rules.per_node),
        states: vec![State::default(); list.len()],
        waiting: BTreeSet::new(),
        running: BTreeSet::new(),
        ends: BTreeSet::new(),
        falls: BTreeSet::new(),
        counter: 0,
    };
    let mut learned = Learned::default();
    let mut next = 0;
    let mut pass = None;
    loop {
        let arrival = list.get(next).map(|&at| jobs[at].submit);
        let end = cluster.ends.first().map(|&(time, _)| time);
        let fall = cluster.falls.first().map(|&(time, _)| time);
        let Some(now) = [arrival, end, fall, pass].into_iter().flatten().min() else { return };
        while let Some(&(_, at)) = cluster.ends.first().filter(|(time, _)| *time == now) {
            cluster.leave(at);
            cluster.nodes.give_back(&cluster.states[at].place);
            learned.ended(&jobs[list[at]]);
            books.end(list[at], cluster.states[at].since, now, &cluster.states[at].place);
            pass.get_or_insert(rules.pass_at(now));
        }
        while let Some(&(_, at)) = cluster.falls.first().filter(|(time, _)| *time == now) {
            cluster.fall(at, now);
            pass.get_or_insert(rules.pass_at(now));
        }
        while let Some(&at) = list.get(next).filter(|&&at| jobs[at].submit == now) {
            let job = &jobs[at];
            let predicted = in_order(learned.predict(job) * f64::from(job.gpus));
            cluster.states[next] = State { left: job.duration.max(1), since: now, predicted, ..State::default() };
            cluster.wait(next);
            pass.get_or_insert(rules.pass_at(now));
            next += 1;
        }
        if pass == Some(now) {
            pass = None;
            let (out, tried) = match rules.selection {
                Selection::Count => cluster.by_count(now),
                Selection::Place => cluster.by_place(now),
            };
            for at in out {
                cluster.leave(at);
                let state = &mut cluster.states[at];
                books.preempt(list[at], state.since, now, &state.place);
                let ran = now - state.since;
                state.left += overhead.of(jobs[list[at]].gpus) - ran;
                state.attained += ran as u64 * u64::from(jobs[list[at]].gpus);
                state.since = now;
                cluster.nodes.give_back(&cluster.states[at].place);
                cluster.wait(at);
            }
            for (at, planned) in tried {
                let place = match planned {
                    Some(place) => Some(cluster.nodes.occupy(place)),
                    None => cluster.nodes.take(jobs[list[at]].gpus),
                };
                if let Some(place) = place {
                    books.start(list[at], cluster.states[at].since, now);
                    cluster.start(at, place, now);
                }
            }
        }
    }
}

struct Cluster<'a> {
    jobs: &'a [HeliosJob],
    list: &'a [usize],
    rules: &'a Rules,
    nodes: Nodes,
    states: Vec<State>,
    waiting: BTreeSet<Entry>,
    running: BTreeSet<Entry>,
    /// When running jobs end.
    ends: BTreeSet<(i64, usize)>,
    /// When running jobs fall to the lower level.
    falls: BTreeSet<(i64, usize)>,
    counter: u64,
}

impl Cluster<'_> {
    fn job(&self, at: usize) -> &HeliosJob {
        &self.jobs[self.list[at]]
    }

    /// The entry of a job from now on. Of one that runs, the remaining time is held as the time at which it would be 0.
    fn entry(&mut self, at: usize, runs: bool) -> Entry {
        self.counter += 1;
        let (state, job) = (&self.states[at], self.job(at));
        let (level, key) = match self.rules.turn {
            Turn::Submission => (0, job.submit),
            Turn::Duration => (0, state.left + if runs { state.since } else { 0 }),
            Turn::Predicted => (0, state.predicted),
            Turn::Attained { limit } => (u8::from(state.attained > limit), job.submit),
        };
        (level, key, self.counter, at)
    }

    fn wait(&mut self, at: usize) {
        let entry = self.entry(at, false);
        self.states[at].entry = entry;
        self.waiting.insert(entry);
    }

    fn start(&mut self, at: usize, place: Place, now: i64) {
        self.waiting.remove(&self.states[at].entry);
        self.states[at].since = now;
        self.states[at].place = place;
        let entry = self.entry(at, true);
        self.states[at].entry = entry;
        self.running.insert(entry);
        self.ends.insert((self.end(at), at));
        self.falls.extend(self.falls_at(at).map(|time| (time, at)));
    }

    /// Takes a running job out of all lists; its place is still its own.
    fn leave(&mut self, at: usize) {
        self.running.remove(&self.states[at].entry);
        self.ends.remove(&(self.end(at), at));
        // It may fall in the very second in which it leaves.
        if let Some(time) = self.falls_at(at) {
            self.falls.remove(&(time, at));
        }
    }

    fn end(&self, at: usize) -> i64 {
        self.states[at].since + self.states[at].left + i64::from(self.rules.late_end)
    }

    /// The first second at which a job that runs has more than the limit behind it.
    fn falls_at(&self, at: usize) -> Option<i64> {
        let Turn::Attained { limit } = self.rules.turn else { return None };
        let state = &self.states[at];
        let rest = limit.checked_sub(state.attained)?;
        Some(state.since.saturating_add_unsigned(rest / u64::from(self.job(at).gpus.max(1))) + 1)
    }

    fn fall(&mut self, at: usize, now: i64) {
        self.falls.remove(&(now, at));
        let (_, key, counter, _) = self.states[at].entry;
        self.running.remove(&self.states[at].entry);
        self.states[at].entry = (1, key, counter, at);
        self.running.insert(self.states[at].entry);
    }

    /// All jobs in the order they are tried in, each with whether it runs.
    fn in_order(&self, now: i64) -> impl Iterator<Item = (usize, bool)> {
        let drifts = self.rules.turn == Turn::Duration;
        let mut waiting = self.waiting.iter().peekable();
        let mut running = self.running.iter().peekable();
        std::iter::from_fn(move || {
            let runs = match (waiting.peek(), running.peek()) {
                (None, None) => return None,
                (waits, None) => waits.is_none(),
                (None, _) => true,
                (Some(&&(level, key, ..)), Some(&&(other_level, other, ..))) => {
                    let other = if drifts { other - now } else { other };
                    // Of equals, one simulator puts those that wait first, the other those that run.
                    match (level, key).cmp(&(other_level, other)) {
                        Ordering::Less => false,
                        Ordering::Equal => !drifts,
                        Ordering::Greater => true,
                    }
                }
            };
            let next = if runs { running.next() } else { waiting.next() };
            next.map(|&(.., at)| (at, runs))
        })
    }

    /// Who is preempted, and who is tried then, by the count of devices alone.
    fn by_count(&self, now: i64) -> (Vec<usize>, Vec<Tried>) {
        let (mut out, mut tried) = (Vec::new(), Vec::new());
        let mut quota = self.nodes.all();
        let mut blocked = false;
        let mut still_running = self.running.len();
        for (at, runs) in self.in_order(now) {
            let need = u64::from(self.job(at).gpus);
            if need <= quota && !blocked {
                quota -= need;
                if !runs {
                    tried.push((at, None));
                }
            } else {
                blocked |= self.rules.walk == Walk::Blocking;
                if runs {
                    out.push(at);
                }
            }
            still_running -= usize::from(runs);
            if still_running == 0 && (quota == 0 || blocked) {
                break;
            }
        }
        (out, tried)
    }

    /// The same, where nobody leaves for a job that still would find no place.
    fn by_place(&self, now: i64) -> (Vec<usize>, Vec<Tried>) {
        let (mut out, mut tried): (Vec<usize>, Vec<Tried>) = (Vec::new(), Vec::new());
        let mut nodes = self.nodes.clone();
        let order: Vec<(usize, bool)> = self.in_order(now).collect();
        // Those that run and may still have to leave, worst last.
        let mut worse: Vec<(usize, usize)> =
            order.iter().enumerate().filter(|(_, (_, runs))| *runs).map(|(rank, &(at, _))| (rank, at)).collect();
        for (rank, &(at, runs)) in order.iter().enumerate() {
            if runs {
                continue;
            }
            let need = self.job(at).gpus;
            if let Some(place) = nodes.take(need) {
                tried.push((at, Some(place)));
                continue;
            }
            let mut emptier = nodes.clone();
            let mut kept = worse.len();
            let mut found = None;
            while found.is_none() && kept > 0 && worse[kept - 1].0 > rank {
                kept -= 1;
                emptier.give_back(&self.states[worse[kept].1].place);
                found = emptier.take(need);
            }
            if found.is_some() {
                nodes = emptier;
                out.extend(worse.drain(kept..).map(|(_, at)| at));
                tried.push((at, found));
            } else if self.rules.walk == Walk::Blocking {
                break;
            }
        }
        (out, tried)
    }
}
