//! How fragmented the cluster is, looked at now and then.

use crate::engine::Engine;
use crate::inventory::When;
use crate::model::{Span, Time};
use crate::placement::policy::Fgd;

use super::load::Load;

/// So many looks in the time in which work comes, since each looks at all nodes; whenever there were so many, they become
/// half as frequent.
const LOOKS: u32 = 100;

/// Looks at the fragmentation as the work that is played would see it.
#[derive(Debug)]
pub(super) struct Fragments {
    expected: Fgd,
    next: Time,
    every: Span,
    looks: u32,
}

impl Fragments {
    pub(super) fn new(load: &Load) -> Self {
        let (first, last) = (load.first().unwrap_or(Time::ZERO), load.last().unwrap_or(Time::ZERO));
        let every = Span::from_ms((last.since(first).as_ms() / u64::from(LOOKS)).max(1000));
        Fragments { expected: Fgd::new(load.typical()), next: first, every, looks: 0 }
    }

    /// The fragmentation of all nodes in thousandths of devices, if it is time to look.
    pub(super) fn look(&mut self, engine: &Engine, now: Time) -> Option<u64> {
        if now < self.next || self.expected.weight() == 0 {
            return None;
        }
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS) {
            self.every = self.every + self.every;
        }
        self.next = now + self.every;
        let inventory = engine.look_inventory();
        let nodes = inventory.nodes_joined().filter(|node| node.spec().ready);
        let sum: i128 = nodes.map(|node| self.expected.fragmentation(inventory, node, &node.room_at(When::Now))).sum();
        u64::try_from(sum / self.expected.weight()).ok()
    }
}
