//! Policies that never preempt: a queue in some order, and who starts from it.

use std::collections::BTreeSet;

use super::learned::Learned;
use super::nodes::{Nodes, Place};
use super::rules::{Rules, Turn, Walk};
use super::{Books, HeliosJob, in_order};

/// A waiting job: its key, the devices where they break ties, when it came, which it is.
type Waiting = (i64, u32, u64, usize);

/// Plays one virtual cluster; `list` are its jobs by submission.
pub(super) fn play(jobs: &[HeliosJob], list: &[usize], nodes: u32, rules: &Rules, books: &mut Books<'_>) {
    let mut nodes = Nodes::new(nodes, rules.per_node);
    let mut queue: BTreeSet<Waiting> = BTreeSet::new();
    let mut ends: BTreeSet<(i64, usize)> = BTreeSet::new();
    let mut places: Vec<Place> = vec![Place::new(); list.len()];
    let mut learned = Learned::default();
    let mut next = 0;
    // When there is something to try, the moment at which it may be tried.
    let mut pass = None;
    loop {
        let arrival = list.get(next).map(|&at| jobs[at].submit);
        let end = ends.first().map(|&(time, _)| time);
        let Some(now) = [arrival, end, pass].into_iter().flatten().min() else { return };
        while let Some(&(time, at)) = ends.first().filter(|(time, _)| *time == now) {
            ends.remove(&(time, at));
            nodes.give_back(&places[at]);
            let job = &jobs[list[at]];
            learned.ended(job);
            books.end(list[at], now - job.duration.max(1) - i64::from(rules.late_end), now, &places[at]);
            pass.get_or_insert(rules.pass_at(now));
        }
        let before = next;
        while let Some(&at) = list.get(next).filter(|&&at| jobs[at].submit == now) {
            queue.insert(waiting(&jobs[at], next, rules.turn, &learned));
            pass.get_or_insert(rules.pass_at(now));
            next += 1;
        }
        if pass != Some(now) {
            continue;
        }
        pass = None;
        // A burst before an empty queue; the next second sees it as a queue like any other.
        let burst = rules.turn == Turn::Predicted && queue.len() == next - before && !queue.is_empty();
        let mut order: Vec<Waiting> = Vec::new();
        if burst {
            order.extend(&queue);
            order.sort_unstable_by_key(|&(_, gpus, came, _)| (gpus, came));
        } else if rules.walk == Walk::Skipping {
            order.extend(&queue);
        }
        let mut order = order.into_iter();
        let in_turn = !burst && rules.walk == Walk::Blocking;
        while let Some(job) = if in_turn { queue.first().copied() } else { order.next() } {
            let at = job.3;
            let one = &jobs[list[at]];
            let Some(place) = nodes.take(one.gpus) else { if rules.walk == Walk::Blocking { break } else { continue } };
            queue.remove(&job);
            places[at] = place;
            ends.insert((now + one.duration.max(1) + i64::from(rules.late_end), at));
            books.start(list[at], one.submit, now);
        }
        if burst && !queue.is_empty() {
            pass = Some(rules.pass_at(now + 1));
        }
    }
}

fn waiting(job: &HeliosJob, at: usize, turn: Turn, learned: &Learned) -> Waiting {
    let came = at as u64;
    match turn {
        Turn::Submission | Turn::Attained { .. } => (job.submit, 0, came, at),
        Turn::Duration => (job.duration, 0, came, at),
        Turn::Predicted => (in_order(learned.predict(job) * f64::from(job.gpus)), job.gpus, came, at),
    }
}
