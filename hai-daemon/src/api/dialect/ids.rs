//! Names of workers there, and the attempt and rank that they are of.

use hai_core::model::{RunView, UserName};

pub(super) use crate::marsv2::{attempt_id, task_of};

/// The number of a run.
pub(super) fn run_id(run: &RunView) -> u64 {
    attempt_id(run.task, run.attempt)
}

/// The name of one worker.
pub(super) fn pod_id(user: &UserName, id: u64, rank: usize) -> String {
    format!("{}-{id}-{rank}", user.as_str().replace('_', "-"))
}

/// The attempt and the rank that a worker's name ends in.
pub(super) fn parse_pod(name: &str) -> Option<(u64, u32)> {
    let (rest, rank) = name.rsplit_once('-')?;
    let (_, id) = rest.rsplit_once('-')?;
    Some((id.parse().ok()?, rank.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_workers_lead_back_to_the_attempt() {
        let user = UserName::new("a_b-c").expect("a name");
        assert_eq!(pod_id(&user, 1_200_001, 7), "a-b-c-1200001-7");
        assert_eq!(parse_pod("a-b-c-1200001-7"), Some((1_200_001, 7)));
        for nothing in ["", "-", "a-b", "x-1-y", "../../etc/passwd"] {
            assert_eq!(parse_pod(nothing), None, "{nothing}");
        }
    }
}
