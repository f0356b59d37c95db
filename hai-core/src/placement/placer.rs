//! Finds places, and remembers the order of nodes for the requests that it was asked about lately.

use std::collections::BTreeMap;

use smallvec::{SmallVec, smallvec};

use super::ask::Ask;
use super::field::Field;
use super::gang;
use super::policy::Policy;
use super::ranking::Ranking;
use super::seat::Seat;
use crate::inventory::{Inventory, KindSet, NodeIx, Take, When};

/// So many orders of nodes are kept unless more are asked for; what was asked for least lately is forgotten.
const RANKINGS_MAX: usize = 64;
/// So many answers to "would it ever fit" are kept; then all are forgotten.
const ANSWERS_MAX: usize = 4096;

/// Where workers go, by rank.
pub type Places = SmallVec<[(NodeIx, Take); 1]>;

/// What a place must keep within, besides what the request says.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    /// Which room counts.
    pub when: When,
    /// Kinds of devices that may be given.
    pub kinds: &'a KindSet,
    /// Nodes to be left aside, ascending.
    pub avoid: &'a [NodeIx],
    /// At most so many workers.
    pub workers_most: u32,
    /// Whether workers may be in different zones. Nodes whose zone is unknown count as one zone.
    pub may_cross_zones: bool,
    /// What a random policy draws by, such as the number of the task.
    pub salt: u64,
}

/// Finds places by one policy.
#[derive(Clone, Debug)]
pub struct Placer {
    policy: Policy,
    /// With the time of their last use.
    rankings: Vec<(u64, Ranking)>,
    /// Whether a request would ever fit, by its hash and fewest workers.
    answers: BTreeMap<(u64, u32), Answer>,
    uses: u64,
    /// So many rankings are kept.
    rankings_max: usize,
}

/// All nodes as one request likes them; see [`Placer::order`].
#[derive(Clone, Copy, Debug)]
pub struct NodeOrder<'a>(pub(super) &'a Ranking);

#[derive(Clone, Debug)]
struct Answer {
    ask: Ask,
    /// The shape of the group when it was looked at.
    shape: u64,
    fits: bool,
}

impl<'a> Within<'a> {
    /// Anything, anywhere, at that time.
    #[must_use]
    pub fn anything(when: When, kinds: &'a KindSet) -> Self {
        Within { when, kinds, avoid: &[], workers_most: u32::MAX, may_cross_zones: true, salt: 0 }
    }

    pub(super) fn avoids(&self, ix: NodeIx) -> bool {
        self.avoid.binary_search(&ix).is_ok()
    }
}

impl Default for Placer {
    fn default() -> Self {
        Self::new(Policy::default())
    }
}

impl Placer {
    /// A placer with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Placer { policy, rankings: Vec::new(), answers: BTreeMap::new(), uses: 0, rankings_max: RANKINGS_MAX }
    }

    /// The same, which keeps the order of nodes for so many requests, at least for one. Each takes some 12 bytes a node.
    #[must_use]
    pub fn remembering(self, requests: usize) -> Self {
        Placer { rankings_max: requests.max(1), ..self }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Places all workers, as many as can be of an elastic gang; `None` if not even the fewest fit.
    ///
    /// All calls must be about the same inventory.
    ///
    /// # Complexity
    /// For one worker, O(c log n), where c nodes have changed since the last question of this shape; nothing is
    /// allocated. The first question of a shape looks at all nodes of the group. A gang costs besides that what is
    /// proportional to its places in the network and, times log n, to its workers.
    pub fn place(&mut self, inventory: &Inventory, ask: &Ask, within: &Within<'_>) -> Option<Places> {
        if ask.workers_min() > within.workers_most {
            return None;
        }
        if let Some(policy) = self.policy.salted(within.salt) {
            return super::place_once(inventory, ask, within, &policy);
        }
        by_models(inventory, ask, within, |within| match ask.workers() {
            1 => self.place_one(inventory, ask, within),
            _ => self.place_gang(inventory, ask, within),
        })
    }

    fn place_one(&mut self, inventory: &Inventory, ask: &Ask, within: &Within<'_>) -> Option<Places> {
        let at = self.ranking(inventory, ask, within);
        let ranking = &self.rankings[at].1;
        let best = ranking.best()?;
        let ix = if within.avoids(best) {
            Field::ordered(ranking).map(|(_, ix)| ix).find(|ix| !within.avoids(*ix))?
        } else {
            best
        };
        let node = inventory.node(ix);
        let room = node.room_at(within.when);
        let seat = Seat::new(inventory, ask, within.kinds, node, &room);
        let take = seat.take(self.policy.card(&seat))?;
        Some(smallvec![(ix, take)])
    }

    fn place_gang(&mut self, inventory: &Inventory, ask: &Ask, within: &Within<'_>) -> Option<Places> {
        let at = self.ranking(inventory, ask, within);
        gang::place(inventory, ask, within, &self.rankings[at].1, &self.policy)
    }

    /// Where the ranking for a question is, up to date.
    fn ranking(&mut self, inventory: &Inventory, ask: &Ask, within: &Within<'_>) -> usize {
        self.uses += 1;
        let known = self.rankings.iter().position(|(_, ranking)| ranking.answers(ask, within.when, within.kinds));
        let at = known.unwrap_or_else(|| {
            let new = (0, Ranking::new(ask, within.when, within.kinds));
            if self.rankings.len() < self.rankings_max {
                self.rankings.push(new);
                return self.rankings.len() - 1;
            }
            let oldest = (0..self.rankings.len()).min_by_key(|&at| self.rankings[at].0).unwrap_or(0);
            self.rankings[oldest] = new;
            oldest
        });
        let (used, ranking) = &mut self.rankings[at];
        *used = self.uses;
        ranking.sync(inventory, &self.policy);
        at
    }

    /// Brings the order of nodes for a question up to date, for [`Placer::order`].
    pub fn prepare(&mut self, inventory: &Inventory, ask: &Ask, within: &Within<'_>) {
        if self.policy.salted(within.salt).is_none() {
            self.ranking(inventory, ask, within);
        }
    }

    /// The order of nodes for a question, if it is known and up to date.
    #[must_use]
    pub fn order(&self, inventory: &Inventory, ask: &Ask, within: &Within<'_>) -> Option<NodeOrder<'_>> {
        let answers = |ranking: &&Ranking| ranking.answers(ask, within.when, within.kinds);
        let known = self.rankings.iter().map(|(_, ranking)| ranking).find(answers)?;
        known.is_synced(inventory).then_some(NodeOrder(known))
    }

    /// Whether the fewest workers that are worth a start could ever be placed if all nodes of the group were ready and
    /// empty, and their devices well. Looks again only once a node of the group was described anew.
    pub fn fits_empty(&mut self, inventory: &Inventory, ask: &Ask) -> bool {
        let shape = ask.group(inventory).map_or(0, |group| inventory.group_shape(group));
        let key = (ask.hash(), ask.workers_min());
        if let Some(known) = self.answers.get(&key)
            && known.shape == shape
            && known.ask.is_like(ask)
        {
            return known.fits;
        }
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.clear();
        }
        let fits = super::lack::ever_fits(inventory, ask);
        self.answers.insert(key, Answer { ask: ask.clone(), shape, fits });
        fits
    }
}

/// Asks for places model by model where that matters. For work of one model the model that holds the most workers is
/// taken, on ties the best-liked; for other gangs as few of the less-liked models as can be.
pub(super) fn by_models(
    inventory: &Inventory,
    ask: &Ask,
    within: &Within<'_>,
    mut place: impl FnMut(&Within<'_>) -> Option<Places>,
) -> Option<Places> {
    let want = ask.workers().min(within.workers_most) as usize;
    let len = |places: &Option<Places>| places.as_ref().map_or(0, SmallVec::len);
    let (sets, alone) = if ask.wants_one_model() {
        (ask.models(inventory), true)
    } else {
        let models = if ask.workers() > 1 { ask.request().models.len() } else { 0 };
        ((1..models).map(|count| ask.liked(inventory, count)).collect(), false)
    };
    let mut best: Option<Places> = None;
    for set in sets {
        let kinds = set.and(within.kinds);
        let places = place(&Within { kinds: &kinds, ..*within });
        if len(&places) >= want {
            return places;
        }
        if alone && len(&places) > len(&best) {
            best = places;
        }
    }
    if alone { best } else { place(within) }
}
