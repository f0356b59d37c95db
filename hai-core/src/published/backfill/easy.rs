//! First come, first served, with or without EASY backfilling: only the first in the queue has a reservation.

use super::timetable::Room;
use super::{Filler, Machine, Moments};

/// Plays the jobs of `order`, which is by submission; nobody is passed without a filler.
pub(super) fn play<R: Room>(machine: &mut Machine<'_, R>, order: &[usize], filler: Option<Filler>, moments: Moments) {
    let mut queue: Vec<usize> = Vec::new();
    let mut next = 0;
    loop {
        let arrival = order.get(next).map(|&at| machine.jobs[at].submit);
        let Some(now) = [arrival, machine.next_end()].into_iter().flatten().min_by(f64::total_cmp) else { return };
        machine.table.advance(now);
        match moments {
            Moments::EventByEvent if arrival == Some(now) => {
                let at = order[next];
                queue.push(at);
                next += 1;
                if machine.table.now().size() >= machine.jobs[at].size {
                    pass(machine, &mut queue, filler, now);
                }
            }
            Moments::EventByEvent => {
                machine.end_one(now);
                pass(machine, &mut queue, filler, now);
            }
            Moments::Together => {
                while machine.end_one(now) {}
                while let Some(&at) = order.get(next).filter(|&&at| machine.jobs[at].submit == now) {
                    queue.push(at);
                    next += 1;
                }
                pass(machine, &mut queue, filler, now);
            }
        }
    }
}

/// Starts who may start now.
fn pass<R: Room>(machine: &mut Machine<'_, R>, queue: &mut Vec<usize>, filler: Option<Filler>, now: f64) {
    let heads = queue.iter().take_while(|&&at| start_if_it_fits(machine, at, now)).count();
    queue.drain(..heads);
    let (Some(filler), Some((&first, rest))) = (filler, queue.split_first()) else { return };
    if rest.is_empty() || machine.table.now().size() == 0 {
        return;
    }
    let (from, room) = machine.table.earliest(machine.jobs[first].size, machine.jobs[first].estimate);
    machine.take(first, from, room);
    let mut order = rest.to_vec();
    if filler == Filler::Shortest {
        order.sort_by(|&one, &other| machine.jobs[one].estimate.total_cmp(&machine.jobs[other].estimate));
    }
    order.retain(|&at| start_if_it_fits(machine, at, now));
    machine.give(first, from);
    if !order.is_empty() {
        queue.retain(|at| !order.contains(at));
    }
}

fn start_if_it_fits<R: Room>(machine: &mut Machine<'_, R>, at: usize, now: f64) -> bool {
    let job = &machine.jobs[at];
    if machine.table.now().size() < job.size {
        return false;
    }
    let Some(room) = machine.table.fits_now(job.size, job.estimate) else { return false };
    machine.take(at, now, room);
    machine.begin(at, now);
    true
}
