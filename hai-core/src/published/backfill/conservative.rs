//! Conservative backfilling: everybody who waits has a reservation.

use super::timetable::Room;
use super::{Compress, Machine, Moments};

/// Plays the jobs of `order`, which is by submission.
pub(super) fn play<R: Room>(machine: &mut Machine<'_, R>, order: &[usize], compress: Compress, moments: Moments) {
    // Who waits, by submission, and when each is to start.
    let mut queue: Vec<(usize, f64)> = Vec::new();
    let mut next = 0;
    loop {
        let arrival = order.get(next).map(|&at| machine.jobs[at].submit);
        let reserved = queue.iter().map(|(_, from)| *from).min_by(f64::total_cmp);
        let times = [arrival, machine.next_end(), reserved];
        let Some(now) = times.into_iter().flatten().min_by(f64::total_cmp) else { return };
        machine.table.advance(now);
        let mut ended = false;
        if moments == Moments::Together {
            while machine.end_one(now) {
                ended = true;
            }
        }
        let waited = queue.len();
        while let Some(&at) = order.get(next).filter(|&&at| machine.jobs[at].submit == now) {
            let from = reserve(machine, at);
            queue.push((at, from));
            next += 1;
            if compress == Compress::Anew && moments == Moments::EventByEvent {
                again(machine, &mut queue, compress, now);
            }
        }
        match moments {
            Moments::EventByEvent => {
                while machine.end_one(now) {
                    again(machine, &mut queue, compress, now);
                }
            }
            Moments::Together if ended || (compress == Compress::Anew && queue.len() > waited) => {
                again(machine, &mut queue, compress, now);
            }
            Moments::Together => {}
        }
        queue.retain(|&(at, from)| {
            let starts = from <= now;
            if starts {
                machine.begin(at, now);
            }
            !starts
        });
    }
}

/// Takes the earliest room there is for a job; from when on.
fn reserve<R: Room>(machine: &mut Machine<'_, R>, at: usize) -> f64 {
    let (from, room) = machine.table.earliest(machine.jobs[at].size, machine.jobs[at].estimate);
    machine.take(at, from, room);
    from
}

/// Makes the reservations of those who do not start now once more.
fn again<R: Room>(machine: &mut Machine<'_, R>, queue: &mut [(usize, f64)], compress: Compress, now: f64) {
    let later = |from: f64| from > now;
    if compress == Compress::Anew {
        for &(at, from) in queue.iter().filter(|(_, from)| later(*from)) {
            machine.give(at, from);
        }
    }
    for (at, from) in queue.iter_mut().filter(|(_, from)| later(*from)) {
        machine.give(*at, *from);
        *from = reserve(machine, *at);
    }
}
