//! What differs between the simulators of the Helios family, as named switches.

/// In which order jobs are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// First come, first served.
    Submission,
    /// The shortest first, by what is known only afterwards (SJF; with preemption SRTF: the least that is left).
    Duration,
    /// The least predicted duration times devices first (QSSF: Hu et al., SC 2021). A burst that meets an empty queue is
    /// ordered by devices in the second of its arrival, and by prediction from the next second on.
    Predicted,
    /// Least attained service, in two levels (Tiresias: Gu et al., NSDI 2019, as Lucid's simulator discretises it): those
    /// that held at most so many device-seconds come before all others; first come, first served within a level.
    Attained {
        /// Up to how many device-seconds a job stays in the upper level.
        limit: u64,
    },
}

/// What a preemption costs, in seconds of running that are added to what is left of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// Of a job with one device.
    pub single: u32,
    /// Of a job with two to eight devices.
    pub node: u32,
    /// Of a job with more than eight.
    pub nodes: u32,
}

impl Overhead {
    /// Suspending and resuming cost nothing.
    pub const NONE: Self = Overhead { single: 0, node: 0, nodes: 0 };
    /// As Lucid's simulator has it (Hu et al., ASPLOS 2023).
    pub const LUCID: Self = Overhead { single: 40, node: 40, nodes: 60 };
    /// As the artifact of the Helios paper has it (Hu et al., SC 2021).
    pub const HELIOS: Self = Overhead { single: 7, node: 30, nodes: 60 };

    pub(super) fn of(self, gpus: u32) -> i64 {
        i64::from(match gpus {
            0..=1 => self.single,
            2..=8 => self.node,
            _ => self.nodes,
        })
    }
}

/// What happens behind a job for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Nobody behind it starts.
    Blocking,
    /// Those behind it are tried too.
    Skipping,
}

/// How a preemptive policy chooses who should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By the count of devices in the whole virtual cluster: a job that was chosen and then finds no place keeps its part of
    /// the count, and those who made room for it were preempted in vain.
    Count,
    /// By places: nobody is preempted for a job that still would find no place.
    Place,
}

/// Who comes first of jobs that are submitted in the same second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// The one that stands first in the list.
    Listed,
    /// The one with the lower number.
    Number,
}

/// The rules of one simulator and policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// In which order jobs are tried.
    pub turn: Turn,
    /// What a preemption costs; `None` where nobody is preempted.
    pub preemption: Option<Overhead>,
    /// Jobs start, and are preempted, only at multiples of so many seconds. At least 1.
    pub tick: u32,
    /// A job holds its devices for one second more than it needs.
    pub late_end: bool,
    /// What happens behind a job for which there is no room.
    pub walk: Walk,
    /// How it is chosen who should run; of no effect without preemption.
    pub selection: Selection,
    /// Who comes first of jobs that are submitted in the same second.
    pub ties: Ties,
    /// How many devices a node has.
    pub per_node: u32,
}

impl Rules {
    const WAITING: Self = Rules {
        turn: Turn::Submission,
        preemption: None,
        tick: 1,
        late_end: false,
        walk: Walk::Blocking,
        selection: Selection::Count,
        ties: Ties::Listed,
        per_node: 8,
    };

    /// First come, first served; nobody passes the first in the queue. The same in Lucid's and in Helios's simulator.
    pub const FIFO: Self = Self::WAITING;
    /// The shortest job first, nobody passes the first in the queue. The same in both simulators.
    pub const SJF: Self = Rules { turn: Turn::Duration, ..Self::WAITING };
    /// The smallest predicted service first (QSSF). The same in both simulators.
    pub const QSSF: Self = Rules { turn: Turn::Predicted, ..Self::WAITING };
    /// The shortest remaining time first, preempting every second, with Lucid's overheads.
    pub const SRTF_LUCID: Self = Rules {
        turn: Turn::Duration,
        preemption: Some(Overhead::LUCID),
        late_end: true,
        walk: Walk::Skipping,
        ..Self::WAITING
    };
    /// The same with the overheads of Helios's artifact.
    pub const SRTF_HELIOS: Self = Rules { preemption: Some(Overhead::HELIOS), ..Self::SRTF_LUCID };
    /// Tiresias as Lucid's simulator has it: two levels at 18,000 device-seconds, a pass every minute.
    pub const TIRESIAS: Self = Rules { turn: Turn::Attained { limit: 18_000 }, tick: 60, ..Self::SRTF_LUCID };

    /// All that have been published, with the names they are asked for by.
    pub const PUBLISHED: [(&'static str, Self); 6] = [
        ("fifo", Self::FIFO),
        ("sjf", Self::SJF),
        ("qssf", Self::QSSF),
        ("srtf", Self::SRTF_LUCID),
        ("srtf-helios", Self::SRTF_HELIOS),
        ("tiresias", Self::TIRESIAS),
    ];

    /// The first moment from `time` on at which jobs may start.
    pub(super) fn pass_at(&self, time: i64) -> i64 {
        let tick = i64::from(self.tick.max(1));
        time + (tick - time.rem_euclid(tick)) % tick
    }
}
