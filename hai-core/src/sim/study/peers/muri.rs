//! A group by Muri's rules: a job is as many iterations of one second as it runs.

use crate::model::{Span, Time};
use crate::published::muri::{MuriCluster, MuriJob, MuriPolicy, play_whole};

use super::ground::Ground;
use super::replay::{Piece, Spot};

/// What a run loses at every event, in seconds, as Muri has it for models that it did not measure.
const OVERHEAD: f64 = 10.0;

/// Plays a group; `restart` is what a run loses at every event, if not what was published.
pub(super) fn play(ground: &Ground, at: usize, policy: MuriPolicy, restart: Option<Span>) -> Vec<Piece> {
    let seconds = |span: Span| span.as_ms() as f64 / 1000.0;
    let jobs: Vec<MuriJob> = ground
        .jobs
        .iter()
        .map(|job| MuriJob {
            number: job.task as u64,
            gpus: job.devices,
            submit: job.submit.as_ms() as f64 / 1000.0,
            iterations: seconds(job.needs),
            iteration_time: 1.0,
            overhead: restart.map_or(OVERHEAD, seconds),
        })
        .collect();
    let nodes = u32::try_from(ground.nodes.len()).unwrap_or(u32::MAX);
    let played = play_whole(&jobs, MuriCluster { nodes, per_node: ground.per_node }, policy);
    let time = |seconds: f64| Time::from_ms((seconds * 1000.0).round() as i64);
    played
        .stretches
        .iter()
        .map(|stretch| Piece {
            ground: at,
            job: stretch.job,
            from: time(stretch.from),
            until: time(stretch.until),
            ends: played.outcomes[stretch.job].end == Some(stretch.until),
            spot: Spot::Anywhere,
        })
        .collect()
}
