//! How long what is over is kept: room is made for what will be over soon, and what is too old is taken away, beside the
//! scheduler.

use std::time::Duration;

use hai_core::model::Span;
use tokio_util::sync::CancellationToken;

use crate::scheduler::wall_clock;
use crate::store::{Gone, History};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// Between two steps others commit.
const PAUSE: Duration = Duration::from_millis(50);

/// Goes on until `stop`. What fails is told, and tried again the next time. `keep` is how much is kept, `None` for all.
pub(crate) async fn retain(history: History, keep: Option<Span>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&history, keep) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn look(history: &History, keep: Option<Span>) {
    let now = wall_clock();
    if let Err(error) = history.make_ahead(now).await {
        tracing::warn!(%error, "no room could be made for the next months' history; that is tried again");
    }
    let Some(cut) = keep.and_then(|keep| History::cut(now, keep)) else { return };
    match history.prune(cut, PAUSE, |_| ()).await {
        Ok(gone) if gone == Gone::default() => {}
        Ok(Gone { tasks, runs, records, events, bytes }) => {
            tracing::info!(tasks, runs, records, events, bytes, "history from before {cut} was pruned");
        }
        Err(error) => tracing::warn!(%error, "history could not be pruned; that is tried again"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hai_core::backend::{Batch, Committed, Store as _};
    use hai_core::model::{
        GroupName, Outcome, Priority, TaskId, TaskSpec, TaskState, TaskView, Time, UserName, WorkerRequest,
    };

    use super::*;
    use crate::store::SqliteStore;

    fn ended(id: u64, at: Time) -> TaskView {
        let (user, group) = (UserName::new("ann").expect("a name"), GroupName::new("lab").expect("a name"));
        TaskView {
            id: TaskId(id),
            spec: Arc::new(TaskSpec::new("train", user, group, Priority::Normal, WorkerRequest::devices(1))),
            state: TaskState::Finished,
            outcome: Some(Outcome::Succeeded),
            submitted_at: at,
            started_at: None,
            ended_at: Some(at),
            runs: 0,
            run: None,
            whole_life_state: 0,
            ran: Span::ZERO,
            level: None,
            yielded: None,
        }
    }

    #[tokio::test]
    async fn what_is_too_old_goes_by_itself_and_without_a_setting_nothing_does() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = SqliteStore::open(directory.path().join("hai.sqlite")).await.expect("a store");
        let fence = store.open().await.expect("the lease").fence;
        let batch = Batch {
            fence,
            records: Vec::new(),
            programs: Vec::new(),
            tasks: vec![ended(1, Time::from_ms(1_700_000_000_000)), ended(2, wall_clock())],
            runs: Vec::new(),
            rights: None,
            events: Vec::new(),
            snapshot: None,
        };
        assert_eq!(store.commit(&batch).await.expect("stored"), Committed::Done);
        look(&store.history(), None).await;
        assert_eq!(store.reader().kept().await.expect("a number"), 2);
        let stop = CancellationToken::new();
        let retaining = tokio::spawn(retain(store.history(), Some(Span::from_secs(24 * 3600)), stop.clone()));
        while store.reader().kept().await.expect("a number") == 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        retaining.await.expect("it ends");
        let reader = store.reader();
        assert_eq!(reader.task(TaskId(1)).await.expect("an answer"), None);
        assert!(reader.task(TaskId(2)).await.expect("an answer").is_some());
    }
}
