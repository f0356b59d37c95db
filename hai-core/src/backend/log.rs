//! The log's records, each round sealed with a digest of everything before it.

use sha2::{Digest as _, Sha256};

use crate::model::{Decision, Fact, Time, UserName};

use super::{Digest, Entry, Opening, Record};

/// Numbers records and chains their digests: a round's digest covers the last round's digest, all facts since, and
/// the round itself. Two logs that agree in a digest agree in everything before it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    seq: u64,
    digest: Digest,
    since: Sha256,
    /// Records that no digest covers yet.
    unsealed: u64,
}

impl Chain {
    /// Goes on after the record `seq`, a round that was sealed with `digest`.
    #[must_use]
    pub fn after(seq: u64, digest: Digest) -> Self {
        Chain { seq, digest, since: Sha256::new(), unsealed: 0 }
    }

    /// The last record's number, 0 if there is none.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The last round's digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many of the last records no digest covers yet: those since the last round.
    #[must_use]
    pub fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// The next record, for a fact that the cluster reported.
    pub fn fact(&mut self, at: Time, fact: Fact) -> Record {
        self.fact_by(at, fact, None)
    }

    /// The next record, for a fact and who caused it.
    pub fn fact_by(&mut self, at: Time, fact: Fact, by: Option<UserName>) -> Record {
        self.record(at, by, Entry::Fact(fact))
    }

    /// The next record, for a scheduler that goes on from here.
    pub fn opened(&mut self, at: Time, opening: Opening) -> Record {
        self.record(at, None, Entry::Opened(Box::new(opening)))
    }

    /// The next record, for a round.
    pub fn round(&mut self, at: Time, decisions: Vec<Decision>) -> Record {
        let mut record = self.record(at, None, Entry::Round(decisions));
        record.digest = Some(self.seal());
        record
    }

    /// Takes in a record read back. False if its number or its digest is not the one that must follow.
    #[must_use]
    pub fn verify(&mut self, record: &Record) -> bool {
        let unsealed = self.record(record.at, record.by.clone(), record.entry.clone());
        let digest = matches!(record.entry, Entry::Round(_)).then(|| self.seal());
        unsealed.seq == record.seq && digest == record.digest
    }

    fn record(&mut self, at: Time, by: Option<UserName>, entry: Entry) -> Record {
        self.seq += 1;
        self.unsealed += 1;
        let record = Record { seq: self.seq, at, by, entry, digest: None };
        let bytes = serde_json::to_vec(&record).expect("a record has no keys but strings, and no failing serializer");
        self.since.update((bytes.len() as u64).to_le_bytes());
        self.since.update(&bytes);
        record
    }

    fn seal(&mut self) -> Digest {
        let since = std::mem::take(&mut self.since).finalize();
        let digest = Sha256::new().chain_update(self.digest.0).chain_update(since).finalize();
        self.digest = Digest(digest.into());
        self.unsealed = 0;
        self.digest
    }
}
