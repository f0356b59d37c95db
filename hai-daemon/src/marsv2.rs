//! A run in the words of hai-platform: the number of an attempt, and the variables that training code written for it reads.
//!
//! A chain there is a task here. There a waiting attempt has a number before anything runs, and keeps it; here a run gets one
//! when it is decided. So the numbers shown are worked out: the task's number, and five digits that count its attempts from 0.

use hai_core::backend::StartOrder;
use hai_core::model::TaskId;

/// Room for the attempts of one task. More of them, which would take years of being suspended, share the last number.
const ATTEMPTS: u64 = 100_000;

/// The number of an attempt; `attempt` is 1 for the first.
pub(crate) fn attempt_id(task: TaskId, attempt: u32) -> u64 {
    let index = u64::from(attempt.saturating_sub(1)).min(ATTEMPTS - 1);
    task.0.saturating_mul(ATTEMPTS).saturating_add(index)
}

/// The task that such a number is of.
pub(crate) fn task_of(id: u64) -> Option<TaskId> {
    (id >= ATTEMPTS).then_some(TaskId(id / ATTEMPTS))
}

/// What such code finds in the environment of one worker.
pub(crate) fn variables(order: &StartOrder, rank: u32, master: &str) -> Vec<(&'static str, String)> {
    let place = &order.placement.workers[rank as usize];
    vec![
        ("MASTER_IP", master.to_owned()),
        ("CHAIN_ID", order.task.to_string()),
        ("MARSV2_RANK", rank.to_string()),
        ("MARSV2_NODE_NAME", place.node.to_string()),
        ("MARSV2_TASK_ID", attempt_id(order.task, order.attempt).to_string()),
        ("MARSV2_TASK_TYPE", "training".to_owned()),
        ("MARSV2_TASK_BACKEND", order.program.image.clone().unwrap_or_else(|| "default".to_owned())),
        ("MARSV2_NB_NAME", order.name.clone()),
        ("MARSV2_NB_GROUP", order.group.to_string()),
        ("MARSV2_USER", order.user.to_string()),
        ("MARSV2_USER_ROLE", "internal".to_owned()),
        ("MARSV2_WHOLE_LIFE_STATE", order.whole_life_state.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back_to_the_task() {
        for (task, attempt, id) in [(1, 1, 100_000), (12, 3, 1_200_002), (12, 0, 1_200_000), (7, u32::MAX, 799_999)] {
            assert_eq!(attempt_id(TaskId(task), attempt), id);
            assert_eq!(task_of(id), Some(TaskId(task)));
        }
        for nothing in [0, 1, 99_999] {
            assert_eq!(task_of(nothing), None);
        }
        assert_eq!(task_of(attempt_id(TaskId(u64::MAX), 1)), Some(TaskId(u64::MAX / ATTEMPTS)));
    }
}
