//! What a simulation comes to: every figure with its unit and formula.

use serde::{Deserialize, Serialize};

use crate::model::{Span, Time};

use super::gantt::Gantt;
use super::series::Series;
use super::stats::Stats;

/// All that is known of one simulation. Tasks that were submitted in the warm-up are played, but not counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// In numbers.
    pub figures: Figures,
    /// By user and group, who got the most first.
    pub users: Vec<UserFigures>,
    /// Over time.
    pub series: Vec<Chart>,
    /// Job completion times in seconds: the quantiles at 0, 1, … 100 %.
    pub jct_quantiles: Vec<f64>,
    /// Waiting times in seconds, likewise.
    pub waiting_quantiles: Vec<f64>,
    /// Who was where.
    pub gantt: Gantt,
    /// Every counted task by number, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskRow>,
}

/// Levels over time that belong together, named by what they are and their unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// `devices_by_user`, `devices_by_priority`, `queue`, `suspensions` or `lost`.
    pub name: String,
    /// The unit of the values.
    pub unit: String,
    /// The values.
    #[serde(flatten)]
    pub series: Series,
}

/// One simulation in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Tasks that count: submitted after the warm-up and taken by the engine.
    pub tasks: u64,
    /// Of those, ended well.
    pub succeeded: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Of those, stopped, e.g. by their limit.
    pub stopped: u64,
    /// Of those, not over when the simulation ended: what can never start, or what it was cut off from.
    pub unfinished: u64,
    /// Of those, never started.
    pub never_started: u64,
    /// Submissions that the engine would not take.
    pub refused: u64,
    /// Job completion time, in seconds: from submission to end. Over tasks that ended, as all below.
    pub jct: Stats,
    /// Waiting, in seconds: the completion time less the time in which a run of the task executed. So it holds the wait for
    /// the first start, and those after suspensions.
    pub waiting: Stats,
    /// Bounded slowdown, a ratio: the greater of 1 and completion time over true duration, durations below 10 s counted as
    /// 10 s. D. Feitelson et al., Theory and Practice in Parallel Job Scheduling, JSSPP 1997.
    pub slowdown: Stats,
    /// The same three by size of the task.
    pub sizes: Vec<SizeFigures>,
    /// From the first submission to the last end of all tasks, in seconds.
    pub makespan_s: f64,
    /// Over which time the three below are taken: from the end of the warm-up to the last submission, or to the end of all
    /// if that is no time.
    pub measured: (Time, Time),
    /// Allocation, in percent: the area of devices that were given out, from the decision to start until they were left, over
    /// the area of devices that were ready, healthy and on nodes that are not drained, or were still held.
    pub allocation: f64,
    /// Occupancy, in percent: the same, with devices whose runs execute, over those ready and healthy.
    pub occupancy: f64,
    /// Fragmentation, in percent of the devices that were ready and healthy: what is idle of a node's devices and can not be
    /// used by a kind of work, as the mean over the kinds that make up 95 of 100 workers of the load; looked at a few hundred times.
    /// The measure of Q. Weng et al., Beware of Fragmentation, USENIX ATC 2023, section 3. `None` where places are not known.
    #[serde(default)]
    pub fragmentation: Option<f64>,
    /// Allocation, in percent, counting only the time in which somebody waited who asked for devices.
    pub allocation_while_waiting: f64,
    /// The share of the measured time in which somebody so waited, in percent.
    pub time_waiting: f64,
    /// Tasks that waited, on average over the measured time.
    pub queue_mean: f64,
    /// How often the counted tasks were told to leave and go on later.
    pub suspensions: u64,
    /// Starts of all tasks, first ones and resumes.
    pub starts: u64,
    /// Device-hours that the counted tasks held.
    pub device_hours: f64,
    /// Device-hours of work that was done and lost: since the last checkpoint of runs that left without saving.
    pub lost_device_hours: f64,
    /// Device-hours in which runs that had resumed loaded, and made no progress.
    pub loading_device_hours: f64,
    /// Jain's index, from 0 to 1, over what users got by what they were due ([`UserFigures`]).
    pub jain: f64,
    /// Finish-time fairness, a ratio: completion time over the time that the task would take alone on its user's equal share
    /// of the group's devices, i.e. duration · max(1, devices / (devices of the group / users with unfinished tasks at its
    /// submission)). Below or at 1 it was served as fairly as a machine of one's own. After K. Mahajan et al., Themis, NSDI
    /// 2020, with the number of users as it was at submission.
    pub finish_time_fairness: Stats,
    /// The share of tasks whose finish-time fairness is above 1, in percent.
    pub served_worse: f64,
    /// How good forecasts were, if they were asked for ([`Options::forecasts`](super::Options::forecasts)) and the engine
    /// decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecasts: Option<Calibrated>,
    /// Events of the simulation.
    pub events: u64,
    /// Rounds of the engine.
    pub rounds: u64,
    /// It was ended before all was done.
    pub partial: bool,
}

/// How good forecasts of starts were: for a sample of the submissions that had to wait it was asked at once when they would
/// start, with what was known then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// For how many it was asked.
    pub asked: u64,
    /// Of those, that did start; the two below are of these.
    pub started: u64,
    /// That started no later than was said of half of such tasks, in percent: 50 is right on the spot.
    pub p50_held: f64,
    /// That started no later than was said of nine of ten such tasks, in percent: 90 is right on the spot.
    pub p90_held: f64,
}

/// Figures of tasks of one size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SizeFigures {
    /// Devices in all, e.g. `2-7`.
    pub devices: String,
    /// As in [`Figures`].
    pub jct: Stats,
    /// As in [`Figures`].
    pub waiting: Stats,
    /// As in [`Figures`].
    pub slowdown: Stats,
}

/// Figures of a user in a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserFigures {
    /// The user.
    pub user: String,
    /// The group.
    pub group: String,
    /// Counted tasks that ended.
    pub tasks: u64,
    /// Their mean completion time, in seconds.
    pub jct_mean: f64,
    /// Their mean waiting, in seconds.
    pub waiting_mean: f64,
    /// Device-hours that all of his tasks held since the end of the warm-up, whenever they were submitted.
    pub got: f64,
    /// Device-hours that he was due since then: in each span of time the group's devices are divided max-min fairly among its users, by
    /// what their unfinished tasks ask for.
    pub due: f64,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Its place in the load.
    pub index: usize,
    /// When it first executed.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// How, in a word; `unfinished` if it did not.
    pub outcome: String,
    /// How often it was suspended.
    pub suspensions: u32,
    /// How long its runs executed.
    pub ran: Span,
    /// Work done and lost, as time with all its workers.
    pub lost: Span,
    /// Loading.
    pub loading: Span,
    /// Devices times milliseconds that it held.
    pub device_ms: u64,
    /// See [`Figures::finish_time_fairness`]; 0 if it did not end.
    pub fairness: f64,
}

/// Names of the sizes and their greatest numbers of devices, in thousandths.
pub(super) const SIZES: [(&str, u64); 7] =
    [("0", 0), ("<1", 999), ("1", 1999), ("2-7", 7999), ("8", 8999), ("9-63", 63_999), ("64+", u64::MAX)];
