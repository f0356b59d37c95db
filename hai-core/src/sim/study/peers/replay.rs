//! Tells a meter what a peer made of a load, event by event, so that it is measured like the engine.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::model::{Outcome as Ended, Placement, RunId, Span, TaskId, Time, WorkerPlacement};
use crate::published::helios::Place;
use crate::sim::{Ending, Record};

use super::super::cluster::Cluster;
use super::super::figures::Outcome;
use super::super::load::{Load, Task};
use super::super::measure::{Counted, measure};
use super::super::meter::Meter;
use super::super::submits::{Submits, Submitter};
use super::super::trial::{Options, Progress};
use super::ground::Ground;

/// After how many events people are told how far it is.
const TELL_EVERY: usize = 4096;

/// Where a job is.
#[derive(Clone, Debug)]
pub(super) enum Spot {
    /// On nodes of the group, so many devices of each.
    Nodes(Place),
    /// On these devices of the group.
    Numbers(Vec<u32>),
    /// On so many as it needs. They are drawn as the first that are free.
    Anywhere,
}

/// A stretch of time in which a job held its devices.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) ground: usize,
    /// By its place in the list of the group.
    pub(super) job: usize,
    pub(super) from: Time,
    pub(super) until: Time,
    /// It is over then; else it was suspended.
    pub(super) ends: bool,
    pub(super) spot: Spot,
}

/// What happens, in the order in which it does within one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Leaves(usize),
    Comes(usize),
    Starts(usize),
    /// What had no time at all.
    LeavesAtOnce(usize),
}

/// All that happened, measured.
pub(super) fn replay(
    cluster: &Cluster,
    load: &Load,
    grounds: &[Ground],
    pieces: &[Piece],
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Outcome {
    let mut events: Vec<(Time, Happens)> = Vec::with_capacity(load.tasks().len() + 2 * pieces.len());
    events.extend(load.tasks().iter().enumerate().map(|(at, task)| (task.submit, Happens::Comes(at))));
    for (at, piece) in pieces.iter().enumerate() {
        events.push((piece.from, Happens::Starts(at)));
        let leaves = if piece.from < piece.until { Happens::Leaves(at) } else { Happens::LeavesAtOnce(at) };
        events.push((piece.until, leaves));
    }
    events.sort_unstable();
    let submitter = Submitter::new(Submits::default());
    let mut teller = Teller {
        cluster,
        load,
        grounds,
        pieces,
        meter: Meter::new(cluster, load, options, &submitter, false, progress),
        unfinished: BTreeMap::new(),
        yard: Some(Yard::new(cluster, grounds)),
    };
    let start = load.first().unwrap_or(Time::ZERO);
    let until = options.until.map_or(Time::MAX, |until| start + until);
    let mut counted = Counted::default();
    for (told, &(at, what)) in events.iter().enumerate() {
        if at > until {
            teller.meter.advance(until);
            counted.cut = true;
            break;
        }
        teller.meter.advance(at);
        counted.events += 1;
        match what {
            Happens::Comes(task) => teller.comes(task, at),
            Happens::Starts(piece) => {
                counted.starts += 1;
                teller.starts(piece, at);
            }
            Happens::Leaves(piece) | Happens::LeavesAtOnce(piece) => teller.leaves(piece, at),
        }
        if told % TELL_EVERY == TELL_EVERY - 1 && teller.meter.tell().is_break() {
            counted.cut = true;
            break;
        }
    }
    counted.left = teller.unfinished.into_values().collect();
    measure(teller.meter, &counted, options)
}

struct Teller<'a> {
    cluster: &'a Cluster,
    load: &'a Load,
    grounds: &'a [Ground],
    pieces: &'a [Piece],
    meter: Meter<'a>,
    unfinished: BTreeMap<usize, Record>,
    /// As long as places can still be drawn.
    yard: Option<Yard>,
}

fn number(at: usize) -> u64 {
    at as u64 + 1
}

impl Teller<'_> {
    fn comes(&mut self, task: usize, at: Time) {
        self.meter.comes(task);
        let record = Record {
            task: TaskId(number(task)),
            submitted_at: at,
            started_at: None,
            ended_at: None,
            outcome: None,
            suspensions: 0,
            ran: Span::ZERO,
            lost: Span::ZERO,
            loading: Span::ZERO,
            device_ms: 0,
        };
        self.unfinished.insert(task, record);
    }

    fn starts(&mut self, at: usize, now: Time) {
        let piece = &self.pieces[at];
        let job = &self.grounds[piece.ground].jobs[piece.job];
        let task: &Task = &self.load.tasks()[job.task];
        let Some(record) = self.unfinished.get_mut(&job.task) else { return };
        let why =
            if record.started_at.is_some() { "it went on when its turn came" } else { "it began when its turn came" };
        record.started_at.get_or_insert(now);
        let mut bars = Vec::new();
        if self.meter.drawer.is_full() {
            self.yard = None;
        }
        if let Some(yard) = &mut self.yard {
            let held = yard.take(at, piece, job.devices);
            if self.meter.drawer.wants(now) {
                let placement = placement(self.cluster, &self.grounds[piece.ground], held);
                bars = self.meter.drawer.began(now, &placement, number(job.task), why);
            }
        }
        let run = RunId(number(at));
        self.meter.begins(job.task, run, u64::from(job.devices) * 1000, task.spec.priority, bars);
        self.meter.executes(run);
    }

    fn leaves(&mut self, at: usize, now: Time) {
        let piece = &self.pieces[at];
        let job = &self.grounds[piece.ground].jobs[piece.job];
        let Some(mut record) = self.unfinished.remove(&job.task) else { return };
        let held = piece.until.since(piece.from);
        record.ran = record.ran + held;
        record.device_ms = record.device_ms.saturating_add(u64::from(job.devices).saturating_mul(held.as_ms()));
        let run = RunId(number(at));
        if let Some(yard) = &mut self.yard {
            yard.give(at, piece.ground);
        }
        if piece.ends {
            // What it held its devices for beyond its work is what its suspensions cost.
            record.loading = record.ran - job.needs.min(record.ran);
            record.ended_at = Some(now);
        } else {
            record.suspensions += 1;
        }
        if !piece.ends {
            self.meter.told_to_leave(run, true, "suspended: others went first".into());
        } else if job.stopped {
            self.meter.told_to_leave(run, false, "stopped".into());
        }
        self.meter.leaves(now, run, Span::ZERO, record.loading);
        if piece.ends {
            let outcome = match self.load.tasks()[job.task].work.ends {
                _ if job.stopped => "stopped",
                Ending::Success => Ended::Succeeded.word(),
                Ending::Failure => "failed",
            };
            self.meter.over(job.task, now, &record, outcome);
        } else {
            self.unfinished.insert(job.task, record);
        }
    }
}

/// Devices of one node, as bits.
type Held = SmallVec<[(usize, u64); 2]>;

fn placement(cluster: &Cluster, ground: &Ground, held: &Held) -> Placement {
    let worker = |&(node, bits): &(usize, u64)| {
        let node = &cluster.nodes[ground.nodes[node]];
        let devices = node.devices.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        WorkerPlacement {
            node: node.name.clone(),
            whole_node: false,
            devices: devices.map(|(_, device)| device.id.clone()).collect(),
            part: None,
            cpu_milli: 0,
            memory_mib: 0,
        }
    };
    Placement { workers: held.iter().map(worker).collect() }
}

/// Which devices are free, so that it can be drawn who is where.
struct Yard {
    /// By group and node, as bits.
    free: Vec<Vec<u64>>,
    /// By group, the first number of each node.
    firsts: Vec<Vec<u32>>,
    held: BTreeMap<usize, Held>,
}

fn lowest(bits: u64, many: u32) -> u64 {
    let mut left = bits;
    for _ in 0..many {
        left &= left.wrapping_sub(1);
    }
    bits & !left
}

impl Yard {
    fn new(cluster: &Cluster, grounds: &[Ground]) -> Self {
        let all = |node: &usize| match cluster.nodes[*node].devices.len() {
            count @ 0..64 => (1 << count) - 1,
            _ => u64::MAX,
        };
        let firsts = |ground: &Ground| {
            let mut first = 0;
            let numbered = ground.nodes.iter().map(|&node| {
                let count = u32::try_from(cluster.nodes[node].devices.len()).unwrap_or(u32::MAX);
                let before = first;
                first += count;
                before
            });
            numbered.collect()
        };
        Yard {
            free: grounds.iter().map(|ground| ground.nodes.iter().map(all).collect()).collect(),
            firsts: grounds.iter().map(firsts).collect(),
            held: BTreeMap::new(),
        }
    }

    fn take(&mut self, at: usize, piece: &Piece, devices: u32) -> &Held {
        let free = &mut self.free[piece.ground];
        let mut held = Held::new();
        match &piece.spot {
            Spot::Nodes(place) => {
                held.extend(place.iter().map(|&(node, many)| (node as usize, lowest(free[node as usize], many))));
            }
            Spot::Numbers(numbers) => {
                let firsts = &self.firsts[piece.ground];
                for &number in numbers {
                    let node = firsts.partition_point(|first| *first <= number) - 1;
                    let bit = 1_u64 << (number - firsts[node]);
                    match held.last_mut().filter(|(last, _)| *last == node) {
                        Some((_, bits)) => *bits |= bit,
                        None => held.push((node, bit)),
                    }
                }
            }
            Spot::Anywhere => {
                let mut left = devices;
                for (node, &free) in free.iter().enumerate() {
                    let many = free.count_ones().min(left);
                    if many > 0 {
                        held.push((node, lowest(free, many)));
                        left -= many;
                    }
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        for &(node, bits) in &held {
            free[node] &= !bits;
        }
        self.held.entry(at).or_insert(held)
    }

    fn give(&mut self, at: usize, ground: usize) {
        for (node, bits) in self.held.remove(&at).unwrap_or_default() {
            self.free[ground][node] |= bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lowest;

    #[test]
    fn the_lowest_bits_are_taken() {
        assert_eq!(lowest(0b1011_0100, 2), 0b0001_0100);
        assert_eq!((lowest(u64::MAX, 64), lowest(0b1, 3), lowest(0b11, 0)), (u64::MAX, 0b1, 0));
    }
}
