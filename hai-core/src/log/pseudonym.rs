//! Takes the names out of a log, so that it can be given away and still decides the same.
//!
//! Names decide where nothing else does: ties end in them. So all names of a kind are collected first and numbered in
//! their order; `user-0007` then sorts among the users as the name did that it stands for. What is free text (reasons) is
//! numbered too, since to the engine two texts are either the same or not. Commands and environments are in no log.
//!
//! Two passes: [`Names`] sees the header and every record, then [`Pseudonyms`] rewrites them and seals the chain anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{Chain, Entry, Record};
use crate::model::named::{NameKind, Named, Renamer};

use super::file::Header;

/// The first pass: all names of a log.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: BTreeMap<NameKind, BTreeSet<String>>,
}

/// The second pass: what stands for each name.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    known: BTreeMap<NameKind, Numbers>,
    chain: Chain,
}

#[derive(Clone, Debug)]
struct Numbers {
    of: BTreeMap<String, usize>,
    /// Digits of the greatest, so that they sort like numbers.
    width: usize,
}

/// The fewest digits.
const WIDTH: usize = 4;

impl Names {
    /// Takes note of the names in a header.
    pub fn see_header(&mut self, header: &Header) {
        if let Some(state) = &header.state {
            state.clone().each_name(self);
        }
    }

    /// Takes note of the names in a record.
    pub fn see(&mut self, record: &Record) {
        // Walking wants to write; what it would write to is thrown away.
        walk(&mut record.clone(), self);
    }

    /// Numbers them.
    #[must_use]
    pub fn number(self) -> Pseudonyms {
        let known = self.known.into_iter().map(|(kind, names)| {
            let width = names.len().to_string().len().max(WIDTH);
            (kind, Numbers { of: names.into_iter().zip(1..).collect(), width })
        });
        Pseudonyms { known: known.collect(), chain: Chain::default() }
    }
}

impl Pseudonyms {
    /// The header without names. The chain begins here.
    #[must_use]
    pub fn header(&mut self, mut header: Header) -> Header {
        if let Some(state) = &mut header.state {
            state.each_name(self);
        }
        header.pseudonyms = true;
        self.chain = header.chain();
        header
    }

    /// The next record without names, sealed anew. A name that was not collected becomes number 0 of its kind.
    #[must_use]
    pub fn record(&mut self, mut record: Record) -> Record {
        walk(&mut record, self);
        match record.entry {
            Entry::Fact(fact) => self.chain.fact_by(record.at, fact, record.by),
            Entry::Round(decisions) => self.chain.round(record.at, decisions),
            Entry::Opened(opening) => self.chain.opened(record.at, *opening),
        }
    }
}

fn walk(record: &mut Record, renamer: &mut dyn Renamer) {
    record.by.each_name(renamer);
    match &mut record.entry {
        Entry::Fact(fact) => fact.each_name(renamer),
        Entry::Round(decisions) => decisions.each_name(renamer),
        Entry::Opened(_) => {}
    }
}

impl Renamer for Names {
    fn rename(&mut self, kind: NameKind, name: &str) -> Option<String> {
        let names = self.known.entry(kind).or_default();
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        None
    }
}

impl Renamer for Pseudonyms {
    fn rename(&mut self, kind: NameKind, name: &str) -> Option<String> {
        let (number, width) = self
            .known
            .get(&kind)
            .map_or((0, WIDTH), |numbers| (numbers.of.get(name).copied().unwrap_or(0), numbers.width));
        Some(format!("{}-{number:0width$}", word(kind)))
    }
}

const fn word(kind: NameKind) -> &'static str {
    match kind {
        NameKind::User => "user",
        NameKind::Task => "task",
        NameKind::Group => "group",
        NameKind::Node => "node",
        NameKind::Device => "device",
        NameKind::Team => "team",
        NameKind::Place => "place",
        NameKind::Taint => "taint",
        NameKind::Label => "label",
        NameKind::LabelValue => "value",
        NameKind::Text => "text",
    }
}
