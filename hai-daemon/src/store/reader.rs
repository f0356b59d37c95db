//! Read-only questions to the store, whichever database it is in.

use hai_core::backend::{Event, Record, Snapshot};
use hai_core::model::{Program, RightRow, RunId, RunView, TaskId, TaskView, Time, UserName};

use super::{Counts, Page, StoreError, TaskFilter, TaskPage, postgres, sqlite};

/// Reads what is committed; cheap to clone. Every answer is of one moment.
#[derive(Clone, Debug)]
pub struct Reader(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Sqlite(sqlite::Reader),
    Postgres(postgres::Reader),
}

impl From<sqlite::Reader> for Reader {
    fn from(reader: sqlite::Reader) -> Self {
        Reader(Kind::Sqlite(reader))
    }
}

impl From<postgres::Reader> for Reader {
    fn from(reader: postgres::Reader) -> Self {
        Reader(Kind::Postgres(reader))
    }
}

macro_rules! ask {
    ($self:ident, $reader:ident => $question:expr) => {
        match &$self.0 {
            Kind::Sqlite($reader) => $question.await,
            Kind::Postgres($reader) => $question.await,
        }
    };
}

impl Reader {
    /// The tasks that `filter` wants, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tasks(&self, filter: &TaskFilter, page: Page) -> Result<TaskPage, StoreError> {
        ask!(self, reader => reader.tasks(filter, page))
    }

    /// How many tasks `filter` wants.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Complexity
    /// Linear in the number of those tasks, and of all of the user's if something is asked for besides the user.
    pub async fn count(&self, filter: &TaskFilter) -> Result<u64, StoreError> {
        ask!(self, reader => reader.count(filter))
    }

    /// A task, finished or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn task(&self, task: TaskId) -> Result<Option<TaskView>, StoreError> {
        ask!(self, reader => reader.task(task))
    }

    /// What the workers of a task execute.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn program(&self, task: TaskId) -> Result<Option<Program>, StoreError> {
        ask!(self, reader => reader.program(task))
    }

    /// All runs of a task, first to last; none if there is no such task.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn runs(&self, task: TaskId) -> Result<Vec<RunView>, StoreError> {
        ask!(self, reader => reader.runs(task))
    }

    /// A run of a task, ended or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run(&self, task: TaskId, run: RunId) -> Result<Option<RunView>, StoreError> {
        ask!(self, reader => reader.run(task, run))
    }

    /// The events after number `id`, of one user's tasks or of all, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_after(&self, id: u64, user: Option<&UserName>, limit: u32) -> Result<Vec<Event>, StoreError> {
        ask!(self, reader => reader.events_after(id, user, limit))
    }

    /// The number of the first event that is kept, 0 if there is none. Of those before it some may be gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_event_id(&self) -> Result<u64, StoreError> {
        ask!(self, reader => reader.first_event_id())
    }

    /// The number of the last event, 0 if there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_event_id(&self) -> Result<u64, StoreError> {
        ask!(self, reader => reader.last_event_id())
    }

    /// The log's records after number `seq`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn log_after(&self, seq: u64, limit: u32) -> Result<Vec<Record>, StoreError> {
        ask!(self, reader => reader.log_after(seq, limit))
    }

    /// The number of the first record of the log that is kept, 0 if there is none. If it is not 1 the log was pruned, and can be
    /// followed from [`Reader::first_snapshot`] on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_record(&self) -> Result<u64, StoreError> {
        ask!(self, reader => reader.first_record())
    }

    /// The number of the log's last record, 0 if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_record(&self) -> Result<u64, StoreError> {
        ask!(self, reader => reader.last_record())
    }

    /// The last snapshot, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        ask!(self, reader => reader.snapshot())
    }

    /// The last snapshot whose last record is not later than `time`, and that is before record `before`, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn snapshot_at(&self, time: Time, before: u64) -> Result<Option<Snapshot>, StoreError> {
        ask!(self, reader => reader.snapshot_at(time, before))
    }

    /// The first snapshot from which the log can be followed, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn first_snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        ask!(self, reader => reader.first_snapshot())
    }

    /// All rights, in the order in which they were committed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rights(&self) -> Result<Vec<RightRow>, StoreError> {
        ask!(self, reader => reader.rights())
    }

    /// How many tasks there are, by state and by outcome. Finished ones are all that ever were, also those that were pruned.
    ///
    /// # Errors
    /// [`StoreError`].
    ///
    /// # Complexity
    /// Linear in the number of tasks that have not ended.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        ask!(self, reader => reader.counts())
    }

    /// How many tasks are stored, counted one by one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn kept(&self) -> Result<u64, StoreError> {
        ask!(self, reader => reader.kept())
    }

    /// Tasks that ended before this time may be gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pruned_before(&self) -> Result<Time, StoreError> {
        ask!(self, reader => reader.pruned_before())
    }

    /// What the database itself finds wrong with its file, in words.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        ask!(self, reader => reader.integrity())
    }
}
