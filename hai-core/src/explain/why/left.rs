//! The last time that a task had to leave: for whom, by which rule, and what was lost.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::{Other, count};
use crate::engine::{Engine, Manner};
use crate::model::{Claim, Span, TaskId, TaskState, TaskView, Time, UserName, YieldReason, YieldRule};

/// Why a task had to leave, and what that cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftLink {
    /// When it was told to.
    pub at: Time,
    /// Why.
    pub reason: YieldReason,
    /// The task that needed its place, if that is why, as it was then.
    pub winner: Option<Other>,
    /// By which rule that one got it.
    pub rule: Option<YieldRule>,
    /// The claims of that one and of the run that had to leave.
    pub claims: Option<(Claim, Claim)>,
    /// How long its run had run without a break.
    pub ran: Span,
    /// Work that is not known to be saved, in device-milliseconds; of a run that still leaves, as of now.
    pub lost_ms: u64,
    /// What starting it again costs, in device-milliseconds.
    pub restart_ms: u64,
    /// Its run is still leaving, and is forced out then at the latest.
    pub leaving_until: Option<Time>,
    /// How often it had to leave for others in all.
    pub suspensions: u32,
}

pub(super) fn look(engine: &Engine, id: TaskId, view: &TaskView) -> Option<LeftLink> {
    let matters = !matches!(view.state, TaskState::Starting | TaskState::Running | TaskState::Stopping);
    let yielded = view.yielded.as_ref().filter(|_| matters)?;
    let known = engine.look_displacement(id);
    let leaving = engine.look_run_of(id).and_then(|run| match run.manner {
        Manner::Leaving { until } => Some((until, run.unsaved_ms)),
        _ => None,
    });
    let winner = known.and_then(|(known, _)| known.winner.as_ref());
    Some(LeftLink {
        at: yielded.at,
        reason: yielded.reason.clone(),
        winner: winner.map(|winner| Other::new(winner.task, &winner.user, winner.claim.level)),
        rule: winner.map(|winner| winner.rule),
        claims: winner.map(|winner| (winner.claim, winner.over)),
        ran: known.map_or(Span::ZERO, |(known, _)| known.ran),
        lost_ms: leaving.map_or(known.map_or(0, |(known, _)| known.lost_ms), |(_, unsaved)| unsaved),
        restart_ms: known.map_or(0, |(known, _)| known.restart_ms),
        leaving_until: leaving.map(|(until, _)| until),
        suspensions: known.map_or(0, |(_, times)| times),
    })
}

impl LeftLink {
    pub(super) fn hide_others(&mut self, from: &UserName) {
        if let Some(winner) = &mut self.winner {
            winner.hide_from(from);
        }
    }
}

/// `3 GPU hours`, `90 GPU seconds`: device time as people say it.
pub(crate) fn device_time(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        0 => "nothing".to_owned(),
        1..120 => count(seconds, "GPU second"),
        120..7200 => count(seconds.div_ceil(60), "GPU minute"),
        _ => {
            let tenths = seconds.div_ceil(360);
            let rest = if tenths.is_multiple_of(10) { String::new() } else { format!(".{}", tenths % 10) };
            format!("{}{rest} GPU hours", tenths / 10)
        }
    }
}

/// One sentence for people.
impl fmt::Display for LeftLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it had to leave at {}", self.at)?;
        match (&self.winner, self.rule) {
            (Some(winner), Some(rule)) => write!(f, " for {winner}: {rule}")?,
            _ => write!(f, ", as {}", self.reason)?,
        }
        let cost = format!("starting it again costs about {}", device_time(self.restart_ms));
        match self.lost_ms {
            0 => write!(f, "; no unsaved work was lost, {cost}")?,
            lost => write!(f, "; up to {} of work since its last checkpoint were lost, {cost}", device_time(lost))?,
        }
        match self.leaving_until {
            Some(until) => write!(f, "; it has until {until} to save itself"),
            None => Ok(()),
        }
    }
}
