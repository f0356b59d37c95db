//! What decides in a study, by name: configurations of the engine such as `hai+las+borrow`, and peers.

use std::ops::ControlFlow;

use crate::engine::{Churn, EngineConfig, Policy, Timing};
use crate::model::Span;
use crate::placement::PlacementPolicy;
use crate::queue::order::{
    Aging, EarliestDeadline, Fair, Fifo, LeastAttainedService, OrderPolicy, ShortestExpected, ShortestRemaining,
};

use super::cluster::{Cluster, ClusterError};
use super::figures::Outcome;
use super::load::Load;
use super::peers::{PEERS, Peer};
use super::submits::{Foretold, Submits};
use super::trial::{Options, Progress, play};

/// What decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Contender {
    /// The engine, configured so, to which work is submitted so.
    Engine(Box<EngineConfig>, Submits),
    /// A published scheduler.
    Peer(Peer),
}

impl Contender {
    /// What decides under this name: a peer, or what [`named`] knows.
    ///
    /// # Errors
    /// What is wrong with the name, and what there is.
    pub fn named(name: &str, load: &Load) -> Result<Self, String> {
        if let Some(peer) = Peer::named(name) {
            return Ok(Contender::Peer(peer?));
        }
        let (config, submits) = named(name, load)?;
        Ok(Contender::Engine(Box::new(config), submits))
    }

    /// What it can not play of a cluster and a load, in words; the engine plays everything.
    #[must_use]
    pub fn objection(&self, cluster: &Cluster, load: &Load) -> Option<String> {
        match self {
            Contender::Engine(..) => None,
            Contender::Peer(peer) => peer.objection(cluster, load),
        }
    }

    /// Plays the load on the cluster; see [`play`] and [`Peer::play`]. What it has an objection to is played as if that were
    /// not so.
    ///
    /// # Errors
    /// The cluster's nodes, rights or teams contradict each other.
    pub fn play(
        &self,
        cluster: &Cluster,
        load: &Load,
        seed: u64,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Outcome, ClusterError> {
        match self {
            Contender::Engine(config, submits) => {
                let options = Options { submits: *submits, ..*options };
                play(cluster, load, EngineConfig::clone(config), seed, &options, progress)
            }
            Contender::Peer(peer) => Ok(peer.play(cluster, load, options, progress)),
        }
    }
}

/// What may stand behind `hai+`, and what it means.
pub const WORDS: [(&str, &str); 24] = [
    ("fifo", "first come, first served; what is so without a word"),
    ("fair", "who used less lately goes first"),
    ("las", "what has had the least so far goes first, in steps (Tiresias)"),
    ("sjf", "what is expected to run the shortest goes first"),
    ("srtf", "what is expected to have the least left goes first"),
    ("edf", "what is needed the soonest goes first"),
    ("aging", "who waits rises: a level every 6 hours, at most 2"),
    ("borrow", "work beyond its right may run on what is idle"),
    ("churn", "a task is suspended at most once in 2 hours, but for its first two"),
    ("rigid", "nobody is suspended for another, and no nodes are kept"),
    ("short", "slices of 30 minutes instead of 4 hours"),
    ("young", "NORMAL work is submitted at ABOVE_NORMAL, which counts as NORMAL after an hour of running"),
    ("learned", "how long a task takes is foretold from those like it that have ended (for sjf and srtf)"),
    ("oracle", "how long a task takes is told truly (for sjf and srtf)"),
    ("no-reserve", "no nodes are kept for who waited long"),
    ("first-fit", "places: the node that joined first"),
    ("best-fit", "places: the least left over"),
    ("worst-fit", "places: the most left over"),
    ("random", "places: any, from the seed"),
    ("dot-product", "places: the least alike of request and room"),
    ("packing", "places: used devices and nodes first"),
    ("clustering", "places: beside work that asked for as many devices"),
    ("fgd", "places: the least fragmentation, as seen by this load"),
    ("cutting-stock", "places: devices kept whole for what can still be cut from them, as seen by this load"),
];

/// The configuration of a name, and how work is submitted under it: `hai` or `hai-fifo`, and any of [`WORDS`] with `+` before each.
///
/// # Errors
/// What is wrong with the name, and what there is.
pub fn named(name: &str, load: &Load) -> Result<(EngineConfig, Submits), String> {
    let mut words = name.split('+');
    let (mut config, mut submits) = (EngineConfig::default(), Submits::default());
    match words.next() {
        Some("hai") => {}
        Some("hai-fifo") => config.policy = Policy::HaiFifo,
        _ => {
            let peers: Vec<&str> = PEERS.iter().map(|(name, _)| *name).collect();
            return Err(format!("`{name}` is no policy: it begins with hai, hai-fifo, {}", peers.join(", ")));
        }
    }
    for word in words {
        if config.policy == Policy::HaiFifo && WORDS.iter().take(15).any(|(known, _)| *known == word) {
            return Err(format!("`{name}`: hai-fifo has an order of its own, {word} says nothing to it"));
        }
        match word {
            "fifo" => config.order = OrderPolicy::Fifo(Fifo {}),
            "fair" => config.order = OrderPolicy::Fair(Fair::default()),
            "las" => config.order = OrderPolicy::LeastAttainedService(LeastAttainedService::default()),
            "sjf" => config.order = OrderPolicy::ShortestExpected(ShortestExpected {}),
            "srtf" => config.order = OrderPolicy::ShortestRemaining(ShortestRemaining {}),
            "edf" => config.order = OrderPolicy::EarliestDeadline(EarliestDeadline {}),
            "aging" => config.aging = Some(Aging { every: Span::from_mins(6 * 60), cap: 2 }),
            "borrow" => config.borrow = true,
            "churn" => config.churn = Some(Churn { free: 2, every: Span::from_mins(120) }),
            "rigid" => {
                config.timing = Timing { protected: Span::MAX, slice: Span::MAX, ..config.timing };
                // Who starts on nodes that are kept gives way to whom they are kept for.
                config.reserve_after = None;
            }
            "short" => config.timing.slice = Span::from_mins(30),
            "young" => {
                config.timing.demote_after = Span::from_mins(60);
                submits.young_first = true;
            }
            "learned" => submits.foretold = Foretold::Learned,
            "oracle" => submits.foretold = Foretold::Truly,
            "no-reserve" => config.reserve_after = None,
            "first-fit" => config.placement = PlacementPolicy::FirstFit,
            "best-fit" => config.placement = PlacementPolicy::BestFit,
            "worst-fit" => config.placement = PlacementPolicy::WorstFit,
            "random" => config.placement = PlacementPolicy::Random { seed: 0 },
            "dot-product" => config.placement = PlacementPolicy::DotProduct,
            "packing" => config.placement = PlacementPolicy::GpuPacking,
            "clustering" => config.placement = PlacementPolicy::GpuClustering,
            "fgd" => config.placement = PlacementPolicy::Fgd { typical: load.typical() },
            "cutting-stock" => config.placement = PlacementPolicy::CuttingStock { typical: load.typical() },
            _ => {
                let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                return Err(format!("`{name}`: there is no {word:?}, only {}", words.join(", ")));
            }
        }
    }
    Ok((config, submits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_makes_a_difference_and_no_other_is_taken() {
        let load = Load::default();
        let plain = named("hai", &load).unwrap();
        for (word, _) in WORDS.iter().skip(1) {
            assert_ne!(named(&format!("hai+{word}"), &load).unwrap(), plain, "{word}");
        }
        assert_eq!(named("hai-fifo", &load).unwrap().0.policy, Policy::HaiFifo);
        assert!(named("hai-fifo+best-fit", &load).is_ok());
        assert!(
            named("lifo", &load).unwrap_err().starts_with("`lifo` is no policy: it begins with hai, hai-fifo, fifo, ")
        );
        assert!(matches!(Contender::named("fifo", &load), Ok(Contender::Peer(_))));
        assert!(matches!(Contender::named("hai+fifo", &load), Ok(Contender::Engine(..))));
        assert!(named("hai-fifo+las", &load).unwrap_err().contains("has an order of its own"));
        assert!(named("hai+lass", &load).unwrap_err().starts_with("`hai+lass`: there is no \"lass\", only fifo, fair"));
    }
}
