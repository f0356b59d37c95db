//! Holds a stored log against the judge, record by record: what was done through crashes, from what was kept alone.

use std::collections::BTreeMap;
use std::fmt::Display;

use hai_core::backend::{Entry, Record};
use hai_core::engine::Policies;
use hai_core::log::{Header, LogReader, Numbered, Replay};
use hai_core::model::*;

use super::books::Books;

/// What a log comes to.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) rounds: u64,
    pub(crate) decisions: u64,
    /// How often somebody went on with it.
    pub(crate) openings: u64,
    /// How finished tasks ended.
    pub(crate) finished: BTreeMap<TaskId, &'static str>,
    /// How many runs were started for each task.
    pub(crate) runs: BTreeMap<TaskId, u32>,
}

/// The judge, and an engine that decides the log anew.
struct Judging {
    books: Books,
    replay: Replay,
    /// Something happened since the last round.
    news: bool,
    done: Stored,
}

/// Judges a log from its beginning to its end, and decides it anew.
///
/// # Panics
/// At the first thing that does not hold, with the record's number.
pub(crate) fn judge_log<I, S, E>(reader: LogReader<I>) -> Stored
where
    I: Iterator<Item = Result<S, E>>,
    S: AsRef<str>,
    E: Display,
{
    let mut judging = Judging::new(reader.header());
    for read in reader {
        let Numbered { line, record } = read.unwrap_or_else(|error| panic!("the log can not be read: {error}"));
        judging.take(line, &record);
    }
    assert_eq!(judging.replay.done().unsealed, 0, "the log ends with facts that no round looked at");
    judging.done
}

impl Judging {
    fn new(header: &Header) -> Self {
        assert!(header.state.is_none(), "what happened before the log begins is not known");
        let done = Stored { rounds: 0, decisions: 0, openings: 0, finished: BTreeMap::new(), runs: BTreeMap::new() };
        let replay = Replay::new(header, Policies::default());
        Judging { books: Books::new(header.config.clone()), replay, news: true, done }
    }

    fn take(&mut self, line: u64, record: &Record) {
        let seq = record.seq;
        assert!(record.at >= self.books.now, "record {seq}: time goes back");
        self.books.now = record.at;
        self.books.pass_time();
        self.news |= self.replay.engine().next_deadline().is_some_and(|deadline| deadline <= record.at);
        match &record.entry {
            Entry::Fact(fact) => {
                assert!(self.books.believes(fact), "record {seq}: {fact:?} can not be");
                self.books.observe(fact);
                self.news = true;
            }
            Entry::Opened(opening) => {
                self.books.config = opening.config.clone();
                self.news = true;
                self.done.openings += 1;
            }
            Entry::Round(decisions) => {
                assert!(self.news || decisions.is_empty(), "I-7, record {seq}: nothing happened: {decisions:?}");
                self.judge_round(record.at, decisions);
                self.news = false;
            }
        }
        for (task, outcome) in std::mem::take(&mut self.books.finished) {
            assert_eq!(self.done.finished.insert(task, outcome), None, "record {seq}: task {task} ended twice");
        }
        self.replay.take(line, record).unwrap_or_else(|difference| panic!("I-6: {difference}"));
        if matches!(record.entry, Entry::Round(_)) {
            self.judge_what_is(seq);
        }
    }

    fn judge_round(&mut self, at: Time, decisions: &[Decision]) {
        self.books.judge_decisions(&Round { at, decisions: decisions.to_vec(), verdicts: Vec::new() });
        self.done.rounds += 1;
        self.done.decisions += decisions.len() as u64;
        for decision in decisions {
            if let Decision::Start { task, .. } = decision {
                *self.done.runs.entry(*task).or_default() += 1;
            }
        }
    }

    /// What everybody sees after a round.
    fn judge_what_is(&self, seq: u64) {
        let engine = self.replay.engine();
        self.books.judge_verdicts(engine);
        self.books.judge_nodes(engine);
        let (now, deadline) = (self.books.now, engine.next_deadline());
        let again = engine.clone().schedule(now);
        assert!(again.is_empty(), "I-7, record {seq}: a second round at the same time says {again:?}");
        if let Some(due) = self.books.next_due() {
            assert!(deadline.is_some_and(|deadline| deadline <= due), "record {seq}: {due} would be missed");
        }
    }
}
