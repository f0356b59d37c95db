//! Facts of a cluster that the scheduler has not taken yet, in memory that what there is bounds, and not how long it waits.
//!
//! While the database is away the scheduler takes nothing, for hours maybe, and what runs goes on. So of what may be told
//! again and again only the last word is kept: at most one start and one end of each worker, one checkpoint and one word on
//! idleness of each run, and one word on each node and device that the scheduler knows of or that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hai_core::model::{DeviceId, Fact, NodeName, RunId};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

/// Where facts are told; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Teller(Arc<Shared>);

/// Where they are taken.
#[derive(Debug)]
pub(crate) struct Told(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Notify,
    count: Gauge,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    facts: BTreeMap<u64, Fact>,
    places: BTreeMap<About, u64>,
    /// The nodes that whoever takes the facts has heard of; `None` while nobody can say.
    known: Option<BTreeSet<NodeName>>,
}

/// What a later word replaces the earlier one on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Started(RunId, u32),
    Ended(RunId, u32),
    Checkpoint(RunId),
    Idle(RunId),
    Node(NodeName),
    Device(NodeName, DeviceId),
}

impl About {
    fn of(fact: &Fact) -> Option<Self> {
        Some(match fact {
            Fact::WorkerStarted { run, rank } => About::Started(*run, *rank),
            Fact::WorkerEnded { run, rank, .. } => About::Ended(*run, *rank),
            Fact::Checkpointed { run, .. } => About::Checkpoint(*run),
            Fact::Idle { run, .. } => About::Idle(*run),
            Fact::NodeSet { node } => About::Node(node.name.clone()),
            Fact::NodeRemoved { node } => About::Node(node.clone()),
            Fact::DeviceChanged { node, device, .. } => About::Device(node.clone(), device.clone()),
            _ => return None,
        })
    }
}

/// The two ends.
pub(crate) fn channel() -> (Teller, Told) {
    let shared = Arc::new(Shared::default());
    (Teller(shared.clone()), Told(shared))
}

impl Teller {
    pub(crate) fn tell(&self, fact: Fact) {
        self.0.change(|waiting| waiting.add(fact));
        self.0.more.notify_one();
    }
}

impl Told {
    /// The next fact. Dropping the future loses none.
    pub(crate) async fn next(&self) -> Fact {
        loop {
            let more = self.0.more.notified();
            if let Some(fact) = self.0.change(Waiting::take) {
                return fact;
            }
            more.await;
        }
    }

    /// Forgets what waits: all that is there is about to be listed. What is told from now on is kept.
    pub(crate) fn begin_listing(&self) {
        self.0.change(|waiting| {
            waiting.facts.clear();
            waiting.places.clear();
            waiting.known = None;
        });
    }

    /// These nodes were listed.
    pub(crate) fn listed<'a>(&self, nodes: impl IntoIterator<Item = &'a NodeName>) {
        self.0.change(|waiting| waiting.known = Some(nodes.into_iter().cloned().collect()));
    }

    /// How many wait, for whoever shows it.
    pub(crate) fn count(&self) -> Gauge {
        self.0.count.clone()
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        let mut waiting: MutexGuard<'_, Waiting> = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut waiting);
        self.count.set(i64::try_from(waiting.facts.len()).unwrap_or(i64::MAX));
        changed
    }
}

impl Waiting {
    /// What a worker's start or end was does not change; a run's checkpoint has to be known before its end is, and all else
    /// after what it may follow from.
    fn add(&mut self, fact: Fact) {
        let about = About::of(&fact);
        let earlier = about.as_ref().and_then(|about| self.places.get(about).copied());
        let place = match (&about, earlier) {
            (Some(About::Started(..) | About::Ended(..)), Some(_)) => return,
            (Some(About::Checkpoint(_)), Some(place)) => place,
            (Some(about), Some(place)) => {
                let unheard = self.facts.remove(&place);
                if let (Some(Fact::NodeSet { node }), Fact::NodeRemoved { .. }) = (unheard, &fact)
                    && self.known.as_ref().is_some_and(|known| !known.contains(&node.name))
                {
                    // Nobody ever heard of it, so nobody need hear that it is gone.
                    self.places.remove(about);
                    return;
                }
                self.new_place()
            }
            _ => self.new_place(),
        };
        if let Some(about) = about {
            self.places.insert(about, place);
        }
        self.facts.insert(place, fact);
    }

    fn new_place(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn take(&mut self) -> Option<Fact> {
        let (_, fact) = self.facts.pop_first()?;
        if let Some(about) = About::of(&fact) {
            self.places.remove(&about);
        }
        match (&fact, &mut self.known) {
            (Fact::NodeSet { node }, Some(known)) => drop(known.insert(node.name.clone())),
            (Fact::NodeRemoved { node }, Some(known)) => drop(known.remove(node)),
            _ => {}
        }
        Some(fact)
    }
}

#[cfg(test)]
mod tests {
    use hai_core::model::{DeviceHealth, GroupName, NodeSpec, WorkerExit};

    use super::*;

    fn name(name: &str) -> NodeName {
        NodeName::new(name).expect("a name")
    }

    fn node(node: &str, ready: bool) -> Fact {
        let group = GroupName::new("g").expect("a name");
        Fact::NodeSet { node: NodeSpec { ready, ..NodeSpec::new(name(node), group, 1000, 1000) } }
    }

    fn gone(node: &str) -> Fact {
        Fact::NodeRemoved { node: name(node) }
    }

    fn checkpoint(run: u64, whole_life_state: i64) -> Fact {
        Fact::Checkpointed { run: RunId(run), whole_life_state }
    }

    fn end(run: u64, rank: u32) -> Fact {
        Fact::WorkerEnded { run: RunId(run), rank, exit: WorkerExit::exited(0) }
    }

    fn taken(told: &Told) -> Vec<Fact> {
        std::iter::from_fn(|| told.0.change(Waiting::take)).collect()
    }

    #[test]
    fn an_hour_of_words_takes_the_room_of_the_last_ones() {
        let (teller, told) = channel();
        let (runs, nodes) = (50_u64, 20);
        let device = DeviceId::new("GPU-0").expect("an id");
        for second in 0..3600_i64 {
            for run in 0..runs {
                teller.tell(checkpoint(run, second));
                teller.tell(Fact::Idle { run: RunId(run), idle: second % 2 == 0 });
                teller.tell(Fact::WorkerStarted { run: RunId(run), rank: 0 });
            }
            for at in 0..nodes {
                teller.tell(node(&format!("n{at}"), second % 3 != 0));
                let health = DeviceHealth::Healthy;
                teller.tell(Fact::DeviceChanged { node: name(&format!("n{at}")), device: device.clone(), health });
            }
        }
        assert_eq!(told.count().get(), 3 * 50 + 2 * 20);
        let all = taken(&told);
        assert_eq!(all.len(), 190);
        assert!((0..runs).all(|run| all.contains(&checkpoint(run, 3599))));
        assert_eq!(told.count().get(), 0);
        assert!(told.0.change(|waiting| waiting.places.is_empty()), "what was taken is forgotten");
    }

    #[test]
    fn the_last_checkpoint_comes_before_the_end_and_a_node_s_last_word_last() {
        let (teller, told) = channel();
        for fact in [checkpoint(1, 1), node("a", true), end(1, 0), node("a", false), checkpoint(1, 2), end(1, 1)] {
            teller.tell(fact);
        }
        assert_eq!(taken(&told), [checkpoint(1, 2), end(1, 0), node("a", false), end(1, 1)]);
        // What was taken can be told again.
        teller.tell(checkpoint(1, 3));
        assert_eq!(taken(&told), [checkpoint(1, 3)]);
    }

    #[test]
    fn nodes_that_came_and_went_unheard_leave_nothing_and_known_ones_are_told_gone() {
        let (teller, told) = channel();
        teller.tell(node("early", true));
        teller.tell(gone("early"));
        assert_eq!(taken(&told), [gone("early")], "before a listing nobody knows who was heard of");
        told.begin_listing();
        teller.tell(node("meanwhile", true));
        told.listed(&[name("old")]);
        for spot in 0..10_000 {
            teller.tell(node(&format!("spot{spot}"), true));
            teller.tell(gone(&format!("spot{spot}")));
        }
        for fact in [node("old", false), gone("old"), node("new", true)] {
            teller.tell(fact);
        }
        assert_eq!(taken(&told), [node("meanwhile", true), gone("old"), node("new", true)]);
        for fact in [node("new", false), gone("new"), gone("meanwhile")] {
            teller.tell(fact);
        }
        assert_eq!(taken(&told), [gone("new"), gone("meanwhile")], "both were heard of");
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_dropping_the_wait_loses_nothing() {
        let (teller, told) = channel();
        let soon = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, told.next()).await.is_err());
        teller.tell(end(1, 0));
        drop(told.next());
        assert_eq!(told.next().await, end(1, 0));
        let waits = tokio::spawn(async move { told.next().await });
        teller.tell(end(2, 0));
        assert_eq!(waits.await.expect("no panic"), end(2, 0));
    }
}
