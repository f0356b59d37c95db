//! A group by the rules of the Helios family.

use crate::model::{Span, Time};
use crate::published::helios::{HeliosJob, Rules, play as play_rules};

use super::super::load::Load;
use super::ground::Ground;
use super::names::flat;
use super::replay::{Piece, Spot};

/// Whole seconds, rounded up.
fn up(ms: i64) -> i64 {
    ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0)
}

/// Plays a group; `restart` is what a suspension costs, if not what was published.
pub(super) fn play(ground: &Ground, at: usize, rules: Rules, restart: Option<Span>, load: &Load) -> Vec<Piece> {
    let jobs: Vec<HeliosJob> = ground
        .jobs
        .iter()
        .map(|job| HeliosJob {
            number: load.tasks()[job.task].name.parse().unwrap_or(job.task as u64),
            user: job.user,
            vc: 0,
            gpus: job.devices,
            submit: up(job.submit.as_ms()),
            duration: up(i64::try_from(job.needs.as_ms()).unwrap_or(i64::MAX)),
            predicted: job.said.map(|said| said.as_ms() as f64 / 1000.0),
        })
        .collect();
    let seconds = |span: Span| u32::try_from(span.as_ms().div_ceil(1000)).unwrap_or(u32::MAX);
    let preemption = rules.preemption.map(|published| restart.map_or(published, |restart| flat(seconds(restart))));
    let rules = Rules { per_node: ground.per_node, preemption, ..rules };
    let nodes = u32::try_from(ground.nodes.len()).unwrap_or(u32::MAX);
    let played = play_rules(&jobs, &[nodes], &rules);
    let time = |seconds: i64| Time::from_ms(seconds.saturating_mul(1000));
    played
        .stretches
        .into_iter()
        .map(|stretch| Piece {
            ground: at,
            job: stretch.job,
            from: time(stretch.from),
            until: time(stretch.until),
            ends: played.outcomes[stretch.job].end == Some(stretch.until),
            spot: Spot::Nodes(stretch.place),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::up;

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!([0, 1, 999, 1000, 1001, -1, -1000, -1001].map(up), [0, 1, 1, 1, 2, 0, -1, -1]);
    }
}
