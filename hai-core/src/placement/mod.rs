//! Where the workers of a task go: all of them or none, by a policy that can be chosen.
//!
//! See [`Placer`] for the primary entry point, [`PlacementPolicy`] for the policies and [`Hypothesis`] for "if these
//! left".

mod ask;
mod field;
mod gang;
mod hypothesis;
mod lack;
mod overlay;
mod placer;
pub mod policy;
mod ranking;
mod rate;
mod seat;
mod tally;
#[cfg(test)]
mod tests;

pub use ask::{Ask, MakeFit, part_of};
pub use hypothesis::{Hypothesis, Part};
pub use lack::{fits_empty, lack};
pub use placer::{NodeOrder, Placer, Places, Within};
pub use policy::{PlacementPolicy, Policy, SCORE_MAX, Scorer};
pub(crate) use rate::rate;
pub use seat::{Card, Seat};
pub use tally::Tally;

use crate::inventory::{Inventory, KindSet, NodeIx, When};
use crate::model::{Placement, TaskSpec};

/// How many workers of a request would fit on one node. Cheap: asked for every node that changed.
#[must_use]
pub fn on_node(inventory: &Inventory, ask: &Ask, ix: NodeIx, when: When, kinds: &KindSet) -> u32 {
    let Some(node) = inventory.get(ix).filter(|node| ask.allows(inventory, node)) else { return 0 };
    let room = node.room_at(when);
    let fitting = |kinds: &KindSet| Seat::new(inventory, ask, kinds, node, &room).capacity();
    if ask.wants_one_model() {
        return ask.models(inventory).iter().map(|model| fitting(&model.and(kinds))).max().unwrap_or(0);
    }
    fitting(kinds)
}

/// Places in names.
#[must_use]
pub fn named(inventory: &Inventory, places: &Places) -> Placement {
    Placement { workers: places.iter().map(|(ix, take)| take.named(inventory.node(*ix).spec())).collect() }
}

/// Places a task by looking at all nodes of its group once. See [`Placer`] for asking often.
#[must_use]
pub fn place_once(inventory: &Inventory, ask: &Ask, within: &Within<'_>, policy: &Policy) -> Option<Places> {
    if ask.workers_min() > within.workers_most {
        return None;
    }
    placer::by_models(inventory, ask, within, |within| {
        let nodes = ask.group(inventory).into_iter().flat_map(|group| inventory.group_nodes(group));
        let sketch = field::Sketch::of(inventory, ask, within, policy, nodes, |_| None);
        gang::place(inventory, ask, within, &sketch, policy)
    })
}

/// Places all workers in what is free now and promised to nobody; `None` if they do not fit.
#[must_use]
pub fn place_now(inventory: &Inventory, spec: &TaskSpec) -> Option<Placement> {
    place_at(inventory, spec, When::Now)
}

/// Places all workers in what will be free once everybody who is leaving has left; `None` if they do not fit.
#[must_use]
pub fn place_later(inventory: &Inventory, spec: &TaskSpec) -> Option<Placement> {
    place_at(inventory, spec, When::Later)
}

fn place_at(inventory: &Inventory, spec: &TaskSpec, when: When) -> Option<Placement> {
    let kinds = KindSet::all();
    let places = place_once(inventory, &Ask::of(inventory, spec), &Within::anything(when, &kinds), &Policy::default())?;
    Some(named(inventory, &places))
}
