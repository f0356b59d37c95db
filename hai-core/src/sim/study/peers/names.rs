//! Peers and their switches by name, such as `tiresias+restart`.

use crate::published::backfill::{Backfill, BackfillRules, Compress, Moments};
use crate::published::helios::{Overhead, Rules, Selection, Ties, Walk};
use crate::published::muri::MuriPolicy;

use super::{Estimates, Peer, PeerRules, Restart};

/// The published schedulers, and whose rules each is.
pub const PEERS: [(&str, &str); 15] = [
    ("fifo", "first come, first served, nobody passes the first (Lucid's and Helios's simulator, on nodes)"),
    ("sjf", "the shortest first, which is known; nobody passes it (the same)"),
    ("qssf", "the least predicted duration times devices first; learned where nothing is said (Helios, SC 2021)"),
    ("srtf", "the least left first, which is known; suspends every second (as Lucid's simulator has it)"),
    ("srtf-helios", "the same with the overheads of Helios's artifact"),
    ("tiresias", "least attained service in two levels, looked at every minute (as Lucid's simulator has it)"),
    ("tiresias-l", "least attained service in three levels, devices are counted (as Muri's simulator has it)"),
    ("srtf-muri", "the least left first; all are placed anew at every event, which costs every run (Muri's simulator)"),
    ("srsf", "the least left times devices first (the same)"),
    ("fcfs", "first come, first served on counted devices (pyss)"),
    ("easy", "whoever does not delay the first may pass it (EASY backfilling, pyss)"),
    ("easy-sjbf", "the same, filling with what is said to be the shortest"),
    ("conservative", "whoever delays nobody before him may pass (conservative backfilling, pyss)"),
    ("batsim-easy", "EASY on numbered devices (Batsim)"),
    ("batsim-conservative", "conservative backfilling on numbered devices (Batsim)"),
];

/// What may stand behind a peer's name after a `+`, and what it means.
pub const PEER_WORDS: [(&str, &str); 18] = [
    ("restart", "a suspension costs what resuming costs in this study, whatever was published"),
    ("no-overhead", "a suspension costs nothing"),
    ("blocking", "behind a task without room nobody starts (fifo, sjf, qssf, srtf, tiresias)"),
    ("skipping", "behind a task without room others are tried (the same)"),
    ("by-count", "who should run is chosen by the count of devices (srtf, tiresias)"),
    ("by-place", "nobody is suspended for what would find no place (the same)"),
    ("by-number", "of one second the lower number in the trace comes first, else the one that stands first"),
    ("every-second", "tasks start and leave in any second (fifo, sjf, qssf, srtf, tiresias)"),
    ("every-minute", "tasks start and leave at full minutes only (the same)"),
    ("oracle", "how long tasks run is known (backfilling)"),
    ("double", "tasks are taken to run twice as long as was said (backfilling)"),
    ("clip", "who runs longer than he said is stopped then"),
    ("counted", "devices are counted (backfilling)"),
    ("numbered", "a task keeps the same devices, and needs to find them free all the time (backfilling)"),
    ("one-by-one", "events of one moment are handled one after the other (backfilling)"),
    ("together", "events of one moment are handled together, ends first (backfilling)"),
    ("anew", "all reservations are made anew at every event (conservative)"),
    ("in-turn", "an end moves reservations forward one after the other (conservative)"),
];

impl Peer {
    /// The peer of a name: one of [`PEERS`], and any of [`PEER_WORDS`] with `+` before each. `None` if it begins with none of
    /// those.
    ///
    /// # Errors
    /// A word that there is not, or that says nothing to this peer.
    pub fn named(name: &str) -> Option<Result<Peer, String>> {
        let mut words = name.split('+');
        let rules = rules(words.next()?)?;
        let mut peer = Peer {
            name: name.to_owned(),
            rules,
            overhead: Restart::Published,
            estimates: Estimates::Said,
            clip: false,
        };
        for word in words {
            if !PEER_WORDS.iter().any(|(known, _)| *known == word) {
                let words: Vec<&str> = PEER_WORDS.iter().map(|(word, _)| *word).collect();
                return Some(Err(format!("`{name}`: there is no {word:?}, only {}", words.join(", "))));
            }
            if !peer.set(word) {
                return Some(Err(format!("`{name}`: {word} says nothing to it")));
            }
        }
        Some(Ok(peer))
    }

    /// Throws a switch; whether it says something to this peer.
    fn set(&mut self, word: &str) -> bool {
        let suspends = self.suspends();
        match (word, &mut self.rules) {
            ("restart", _) if suspends => self.overhead = Restart::Study,
            ("no-overhead", _) if suspends => self.overhead = Restart::Free,
            ("blocking", PeerRules::Helios(rules)) => rules.walk = Walk::Blocking,
            ("skipping", PeerRules::Helios(rules)) => rules.walk = Walk::Skipping,
            ("by-count", PeerRules::Helios(rules)) if rules.preemption.is_some() => rules.selection = Selection::Count,
            ("by-place", PeerRules::Helios(rules)) if rules.preemption.is_some() => rules.selection = Selection::Place,
            ("by-number", PeerRules::Helios(rules)) => rules.ties = Ties::Number,
            ("every-second", PeerRules::Helios(rules)) => rules.tick = 1,
            ("every-minute", PeerRules::Helios(rules)) => rules.tick = 60,
            ("oracle", PeerRules::Backfill(_)) => self.estimates = Estimates::True,
            ("double", PeerRules::Backfill(_)) => self.estimates = Estimates::Twice,
            ("clip", _) => self.clip = true,
            ("counted", PeerRules::Backfill(rules)) => rules.numbered = false,
            ("numbered", PeerRules::Backfill(rules)) => rules.numbered = true,
            ("one-by-one", PeerRules::Backfill(rules)) => rules.moments = Moments::EventByEvent,
            ("together", PeerRules::Backfill(rules)) => rules.moments = Moments::Together,
            ("anew" | "in-turn", PeerRules::Backfill(rules)) if matches!(rules.backfill, Backfill::Conservative(_)) => {
                let compress = if word == "anew" { Compress::Anew } else { Compress::OneByOne };
                rules.backfill = Backfill::Conservative(compress);
            }
            _ => return false,
        }
        true
    }
}

fn rules(name: &str) -> Option<PeerRules> {
    if name == "srtf-muri" {
        return Some(PeerRules::Muri(MuriPolicy::SRTF));
    }
    let helios =
        || Rules::PUBLISHED.iter().find(|(known, _)| *known == name).map(|(_, rules)| PeerRules::Helios(*rules));
    let muri =
        || MuriPolicy::PUBLISHED.iter().find(|(known, _)| *known == name).map(|(_, rules)| PeerRules::Muri(*rules));
    let batch = || {
        BackfillRules::PUBLISHED.iter().find(|(known, _)| *known == name).map(|(_, rules)| PeerRules::Backfill(*rules))
    };
    helios().or_else(muri).or_else(batch)
}

/// The same cost for every size.
pub(super) fn flat(seconds: u32) -> Overhead {
    Overhead { single: seconds, node: seconds, nodes: seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_peer_and_every_word_says_something_to_one() {
        for (name, _) in PEERS {
            let peer = Peer::named(name).unwrap().unwrap();
            assert_eq!(peer.name(), name);
        }
        for (word, _) in PEER_WORDS {
            let said = PEERS.iter().filter(|(name, _)| {
                let plain = Peer::named(name).unwrap().unwrap();
                let changed = Peer::named(&format!("{name}+{word}")).unwrap();
                changed.is_ok_and(|changed| Peer { name: plain.name.clone(), ..changed } != plain)
            });
            // Two words are what all peers to whom they say something do anyway.
            assert_eq!(said.count() > 0, !matches!(word, "by-count" | "in-turn"), "{word}");
        }
        assert!(Peer::named("hai").is_none());
        let wrong = |name: &str| Peer::named(name).unwrap().unwrap_err();
        assert_eq!(wrong("easy+by-place"), "`easy+by-place`: by-place says nothing to it");
        assert_eq!(wrong("fifo+restart"), "`fifo+restart`: restart says nothing to it");
        assert!(wrong("easy+fast").starts_with("`easy+fast`: there is no \"fast\", only restart, "));
        assert_eq!(
            Peer::named("batsim-easy+counted+one-by-one").unwrap().unwrap().rules,
            Peer::named("easy").unwrap().unwrap().rules
        );
    }
}
