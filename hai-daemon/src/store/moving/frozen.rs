//! A store at one moment, which gives its pieces a few at a time.

use std::collections::VecDeque;

use futures::StreamExt as _;
use hai_core::model::{TaskId, TaskState, Time, UserName};

use super::{Header, Piece, StoredUser, Tally};
use crate::store::{Page, Reader, StoreError, TaskFilter, postgres, rows, sqlite};

/// Records and events that are read at a time.
const PAGE: u32 = 1000;
/// Tasks that are read at a time, with their programs and runs.
const TASKS: u32 = 200;
/// Questions that are on their way at a time: a server may be far away.
const ASKED: usize = 16;

/// All that a store keeps, as it was at one moment, whatever is written meanwhile. Holds that moment in the database as long
/// as it lives: what is outdated can not be tidied up until then.
#[derive(Debug)]
pub struct Frozen {
    reader: Reader,
    more: More,
    header: Header,
    next: Next,
    given: Tally,
}

/// What only moving asks for.
#[derive(Clone, Debug)]
pub(in crate::store) enum More {
    Sqlite(sqlite::Frozen),
    Postgres(postgres::Frozen),
}

macro_rules! more {
    ($self:expr, $more:ident => $question:expr) => {
        match $self {
            More::Sqlite($more) => $question.await,
            More::Postgres($more) => $question.await,
        }
    };
}

/// What comes next, and after what.
#[derive(Clone, Debug)]
enum Next {
    Users(Option<UserName>),
    Rights,
    /// The newest first: before this record.
    Snapshots(u64),
    Records(u64),
    /// The newest first: before this task.
    Tasks(Option<TaskId>),
    Events(u64),
    Nothing,
}

impl Frozen {
    pub(in crate::store) async fn new(reader: Reader, more: More) -> Result<Self, StoreError> {
        let fence = more!(&more, more => more.fence())?;
        let about = Tally {
            records: reader.last_record().await?,
            tasks: reader.kept().await?,
            events: reader.last_event_id().await?,
            ..Tally::default()
        };
        let mut header = Header::new(Time::from(chrono::Utc::now()), fence, about);
        header.pruned_before = reader.pruned_before().await?;
        let counts = reader.counts().await?;
        let unknown =
            counts.states.get(&TaskState::Finished).copied().unwrap_or(0) - counts.outcomes.values().sum::<u64>();
        header.ended = counts.outcomes;
        header.ended.extend((unknown > 0).then(|| (String::new(), unknown)));
        Ok(Frozen { reader, more, header, next: Next::Users(None), given: Tally::default() })
    }

    /// What is known before the pieces come.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// All questions, answered as of that moment.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What was given so far.
    #[must_use]
    pub fn given(&self) -> Tally {
        self.given
    }

    /// The next pieces; none once all were given.
    ///
    /// # Errors
    /// [`StoreError`], also if something that was counted did not come.
    pub async fn next(&mut self) -> Result<Vec<Piece>, StoreError> {
        loop {
            let pieces = match self.next.clone() {
                Next::Users(after) => self.users(after).await?,
                Next::Rights => self.rights().await?,
                Next::Snapshots(before) => self.snapshots(before).await?,
                Next::Records(after) => self.records(after).await?,
                Next::Tasks(before) => self.tasks(before).await?,
                Next::Events(after) => self.events(after).await?,
                Next::Nothing => return Ok(Vec::new()),
            };
            pieces.iter().for_each(|piece| self.given.add(piece.kind()));
            if !pieces.is_empty() {
                return Ok(pieces);
            }
        }
    }

    async fn users(&mut self, after: Option<UserName>) -> Result<Vec<Piece>, StoreError> {
        let found: Vec<StoredUser> = more!(&self.more, more => more.users_after(after.as_ref(), PAGE))?;
        self.next = match found.last() {
            Some(last) => Next::Users(Some(last.user.name.clone())),
            None => Next::Rights,
        };
        Ok(found.into_iter().map(Piece::User).collect())
    }

    async fn rights(&mut self) -> Result<Vec<Piece>, StoreError> {
        self.next = Next::Snapshots(u64::MAX);
        Ok(self.reader.rights().await?.into_iter().map(Piece::Right).collect())
    }

    async fn snapshots(&mut self, before: u64) -> Result<Vec<Piece>, StoreError> {
        let found = more!(&self.more, more => more.snapshot_before(before))?;
        self.next = found.as_ref().map_or(Next::Records(0), |snapshot| Next::Snapshots(snapshot.seq));
        Ok(found.into_iter().map(|snapshot| Piece::Snapshot(Box::new(snapshot))).collect())
    }

    async fn records(&mut self, after: u64) -> Result<Vec<Piece>, StoreError> {
        let found = self.reader.log_after(after, PAGE).await?;
        self.next = found.last().map_or(Next::Tasks(None), |last| Next::Records(last.seq));
        Ok(found.into_iter().map(|record| Piece::Record(Box::new(record))).collect())
    }

    async fn tasks(&mut self, before: Option<TaskId>) -> Result<Vec<Piece>, StoreError> {
        let page = self.reader.tasks(&TaskFilter::default(), Page { before, limit: TASKS }).await?;
        let reader = &self.reader;
        let mut asked = futures::stream::iter(page.tasks)
            .map(|task| async move {
                let id = task.id;
                let program = reader.program(id).await?;
                let runs = if task.runs == 0 { Vec::new() } else { reader.runs(id).await? };
                Ok::<_, StoreError>((task, program, runs))
            })
            .buffered(ASKED);
        let mut pieces = Vec::new();
        let mut later: VecDeque<Piece> = VecDeque::new();
        while let Some(found) = asked.next().await {
            let (task, program, runs) = found?;
            later.extend(program.map(|program| Piece::Program(task.id, program)));
            later.extend(runs.into_iter().map(|run| Piece::Run(Box::new(run))));
            pieces.push(Piece::Task(Box::new(task)));
        }
        pieces.extend(later);
        match page.next_before {
            Some(before) => self.next = Next::Tasks(Some(before)),
            None => {
                self.next = Next::Events(0);
                let given =
                    self.given.tasks + pieces.iter().filter(|piece| matches!(piece, Piece::Task(_))).count() as u64;
                if given != self.header.about.tasks {
                    let problem = format!("{} were counted, {given} were read", self.header.about.tasks);
                    return Err(rows::damaged("tasks", "all", problem));
                }
            }
        }
        Ok(pieces)
    }

    async fn events(&mut self, after: u64) -> Result<Vec<Piece>, StoreError> {
        let found = self.reader.events_after(after, None, PAGE).await?;
        self.next = found.last().map_or(Next::Nothing, |last| Next::Events(last.id));
        Ok(found.into_iter().map(|event| Piece::Event(Box::new(event))).collect())
    }
}
