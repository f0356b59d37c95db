//! How good a node is for a request, for those who explain a choice.

use super::ask::Ask;
use super::policy::Policy;
use super::ranking::{JUDGEMENT_BITS, key_of};
use super::seat::Seat;
use crate::inventory::{Inventory, KindSet, Node, Room};

/// How a node with so much room stands for a request: how far down its list of models the worst device would stand that a
/// worker gets, and what the policy says of the rest; less is better. `None` if no worker fits.
pub(crate) fn rate(inventory: &Inventory, ask: &Ask, policy: &Policy, node: &Node, room: &Room) -> Option<(u8, u64)> {
    if !ask.allows(inventory, node) {
        return None;
    }
    let seat = Seat::new(inventory, ask, &KindSet::all(), node, room);
    let key = (seat.capacity() > 0).then(|| key_of(&seat, policy))?;
    Some((seat.liking(), key & ((1 << JUDGEMENT_BITS) - 1)))
}
