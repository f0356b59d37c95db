//! Changing a task: stop, suspend, resume, priority.

use hai_core::model::{Fact, Priority, Rank, TaskState, TaskView};
use serde_json::json;

use super::args::invalid;
use super::envelope::Reply;
use super::{Ask, select, task};
use crate::api::problem::{ApiError, Kind};
use crate::api::tasks::change::ended;
use crate::api::tasks::find;
use crate::api::wire::OutcomeWord;

/// `/operating/task/stop`: for good. Stopping it again changes nothing.
pub(super) async fn stop(ask: &Ask) -> Result<Reply, ApiError> {
    let how = match ask.args.text("op") {
        None | Some("stop") => OutcomeWord::Stopped,
        Some("succeed") => OutcomeWord::Succeeded,
        Some("fail") => OutcomeWord::Failed,
        Some(other) => return Err(invalid("op", format!("is `{other}`; there are stop, fail and succeed"))),
    };
    let view = select::task(ask).await?;
    if view.state == TaskState::Finished {
        return Ok(Reply::ok("任务已经停止 (it is finished already)"));
    }
    tell(ask, ended(view.id, how)).await?;
    Ok(Reply::ok(format!("chain {} is being stopped", view.id)))
}

/// `/operating/task/suspend`: until it is resumed.
pub(super) async fn suspend(ask: &Ask) -> Result<Reply, ApiError> {
    // Understood as there, where it is without effect.
    ask.args.number::<f64>("restart_delay")?;
    let view = unfinished(ask).await?;
    tell(ask, Fact::Held { task: view.id }).await?;
    Ok(Reply::ok(format!("chain {} is being suspended, until it is resumed", view.id)))
}

/// `/operating/task/resume`
pub(super) async fn resume(ask: &Ask) -> Result<Reply, ApiError> {
    let view = unfinished(ask).await?;
    tell(ask, Fact::Released { task: view.id }).await?;
    let view = find(&ask.state, &ask.caller, view.id).await?;
    Ok(Reply::ok(format!("chain {} goes on", view.id)).with("task", task::object(&ask.state, &view, false).await?))
}

/// `/operating/task/priority/update`
pub(super) async fn priority(ask: &Ask) -> Result<Reply, ApiError> {
    let view = unfinished(ask).await?;
    let level = match ask.args.number::<i64>("priority")? {
        None => view.spec.priority,
        Some(number) => Priority::from_number(number).ok_or_else(|| {
            invalid("priority", format!("is {number}; the levels are 50, 40, 30, 20, 10, 8, 5, 0 and -1"))
        })?,
    };
    if ask.args.text("real_priority").is_some_and(|text| text != "None") {
        return Err(invalid(
            "real_priority",
            "not offered here: at which level a task runs follows from what its owner may hold",
        ));
    }
    let custom_rank = match ask.args.number::<f64>("custom_rank")? {
        None => view.spec.custom_rank,
        Some(rank) => {
            ask.caller.must_be_operator("custom_rank", "choose a task's place in the queue")?;
            Some(Rank::new(rank).ok_or_else(|| invalid("custom_rank", "must be a finite number"))?)
        }
    };
    ask.state.dialect.priorities.once_in_a_while(view.id)?;
    tell(ask, Fact::Reprioritised { task: view.id, priority: level, custom_rank }).await?;
    let answer = json!({"chain_id": view.id.to_string(), "priority": level.number()});
    Ok(Reply::ok(format!("chain {} has priority {}", view.id, level.number())).with("result", answer))
}

async fn unfinished(ask: &Ask) -> Result<TaskView, ApiError> {
    let view = select::task(ask).await?;
    if view.state == TaskState::Finished {
        let detail = format!("chain {} is finished, and what is finished does not go on; submit it again", view.id);
        return Err(ApiError::new(Kind::Conflict, detail));
    }
    Ok(view)
}

async fn tell(ask: &Ask, fact: Fact) -> Result<(), ApiError> {
    Ok(ask.state.scheduler.tell(ask.caller.user.name.clone(), fact).await?)
}
