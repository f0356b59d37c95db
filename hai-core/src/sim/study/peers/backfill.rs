//! A group by the rules of backfilling simulators.

use crate::model::{Span, Time};
use crate::published::backfill::{BackfillRules, BatchJob, play as play_rules};

use super::Estimates;
use super::ground::{Ground, Job};
use super::replay::{Piece, Spot};

fn estimate(job: &Job, estimates: Estimates) -> Span {
    let said = match estimates {
        Estimates::Said => job.said,
        Estimates::Twice => job.said.map(|said| said + said),
        Estimates::True => None,
    };
    said.map_or(job.needs, |said| said.max(job.needs))
}

/// Plays a group.
pub(super) fn play(ground: &Ground, at: usize, rules: &BackfillRules, estimates: Estimates) -> Vec<Piece> {
    let seconds = |span: Span| span.as_ms() as f64 / 1000.0;
    let jobs: Vec<BatchJob> = ground
        .jobs
        .iter()
        .map(|job| BatchJob {
            number: job.task as u64,
            submit: job.submit.as_ms() as f64 / 1000.0,
            run: seconds(job.needs),
            estimate: seconds(estimate(job, estimates)),
            size: job.devices,
        })
        .collect();
    let time = |seconds: f64| Time::from_ms((seconds * 1000.0).round() as i64);
    let outcomes = play_rules(&jobs, ground.devices, rules);
    outcomes
        .into_iter()
        .enumerate()
        .filter_map(|(job, outcome)| {
            let (from, until) = (time(outcome.start?), time(outcome.end?));
            let spot = if rules.numbered { Spot::Numbers(outcome.processors) } else { Spot::Anywhere };
            Some(Piece { ground: at, job, from, until, ends: true, spot })
        })
        .collect()
}
