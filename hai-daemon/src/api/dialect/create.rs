//! `/operating/task/create`: a task is submitted.

use hai_core::model::UserName;
use serde_json::Value;

use super::envelope::Reply;
use super::schema::Schema;
use super::{Ask, task};
use crate::api::problem::{ApiError, Kind};
use crate::api::tasks::{list, submit};
use crate::store::{Page, TaskFilter};

/// The most unfinished tasks that one user may have through this door.
const UNFINISHED_MAX: u64 = 10_000;

pub(super) async fn create(ask: &Ask) -> Result<Reply, ApiError> {
    let submitted = accept(ask).await;
    ask.state.metrics.submitted(submitted.is_ok());
    submitted
}

async fn accept(ask: &Ask) -> Result<Reply, ApiError> {
    let mut body = match &ask.body {
        Some(Value::Object(fields)) => fields.clone(),
        _ => return Err(ApiError::new(Kind::InvalidValue, "the body must be the task's schema, as a JSON object")),
    };
    // It is nobody's business but the sender's.
    body.remove("token");
    let schema = Schema::read(&Value::Object(body.clone()))?;
    let mut request = schema.request(&body)?;
    if let (Some(image), false) = (&request.image, ask.state.defaults.images) {
        let detail = format!(
            "resource.image: workers are processes of the server's machine here, and `{image}` would not be there; leave it \
             out, or ask for `default`"
        );
        return Err(ApiError::new(Kind::InvalidValue, detail).at("resource.image"));
    }
    if let Some(user) = ask.args.text("user_name") {
        let user = UserName::new(user).map_err(|error| super::args::invalid("user_name", error))?;
        request.user = Some(user);
    }
    let (spec, program) = submit::check(&ask.state, &ask.caller, request).await?;
    // Between looking for the name and taking it no other submission of the same user may come.
    let _turn = ask.state.dialect.submissions.take(&spec.user).await;
    let own =
        TaskFilter { user: Some(spec.user.clone()), states: list::unfinished().collect(), ..TaskFilter::default() };
    let same = TaskFilter { name: Some(spec.name.clone()), ..own.clone() };
    if let Some(other) = ask.state.reader.tasks(&same, Page { before: None, limit: 1 }).await?.tasks.first() {
        let detail =
            format!("任务 {} 正在运行，不能重复创建 (chain {} has this name and is not finished)", spec.name, other.id);
        return Err(ApiError::new(Kind::Conflict, detail).at("name"));
    }
    if ask.state.reader.count(&own).await? >= UNFINISHED_MAX {
        let detail = format!("{} has {UNFINISHED_MAX} unfinished tasks already", spec.user);
        return Err(ApiError::new(Kind::Conflict, detail));
    }
    let view = ask.state.scheduler.submit(ask.caller.user.name.clone(), spec, program).await?;
    Ok(Reply::ok(format!("chain {} is submitted", view.id)).with("task", task::object(&ask.state, &view, false).await?))
}
