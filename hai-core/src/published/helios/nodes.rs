//! The nodes of one virtual cluster, and where a job goes on them.

use smallvec::SmallVec;

/// Where a job runs: nodes by index, and how many devices on each.
pub type Place = SmallVec<[(u32, u32); 2]>;

/// Nodes of equal size; only how many devices of each are free counts.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    free: Vec<u32>,
    total: u64,
    per_node: u32,
}

impl Nodes {
    pub(super) fn new(nodes: u32, per_node: u32) -> Self {
        let total = u64::from(nodes) * u64::from(per_node);
        Nodes { free: vec![per_node; nodes as usize], total, per_node }
    }

    /// How many devices there are.
    pub(super) fn all(&self) -> u64 {
        self.free.len() as u64 * u64::from(self.per_node)
    }

    /// Takes a place for so many devices, the way both simulators call "consolidate": up to a node's size on the node with
    /// the least free that still has enough; more than that on wholly free nodes, and the rest on the emptiest node
    /// after those. Ties go to the lowest index.
    pub(super) fn take(&mut self, need: u32) -> Option<Place> {
        if need == 0 || u64::from(need) > self.total {
            return None;
        }
        let place = if need <= self.per_node { self.tightest(need)? } else { self.spread(need)? };
        Some(self.occupy(place))
    }

    /// Takes this very place, all of which is free.
    pub(super) fn occupy(&mut self, place: Place) -> Place {
        for &(node, devices) in &place {
            self.free[node as usize] -= devices;
            self.total -= u64::from(devices);
        }
        place
    }

    pub(super) fn give_back(&mut self, place: &Place) {
        for &(node, devices) in place {
            self.free[node as usize] += devices;
            self.total += u64::from(devices);
        }
    }

    fn tightest(&self, need: u32) -> Option<Place> {
        let mut best: Option<(u32, usize)> = None;
        for (node, &free) in self.free.iter().enumerate() {
            if free >= need && best.is_none_or(|(least, _)| free < least) {
                best = Some((free, node));
                if free == need {
                    break;
                }
            }
        }
        best.map(|(_, node)| Place::from_slice(&[(node as u32, need)]))
    }

    fn spread(&self, need: u32) -> Option<Place> {
        let (whole, rest) = (need / self.per_node, need % self.per_node);
        let mut place = Place::new();
        // The emptiest of the nodes that are not among the whole ones; the first of equals.
        let mut emptiest: Option<(u32, usize)> = None;
        for (node, &free) in self.free.iter().enumerate() {
            if free == self.per_node && (place.len() as u32) < whole {
                place.push((node as u32, free));
            } else if emptiest.is_none_or(|(most, _)| free > most) {
                emptiest = Some((free, node));
            }
        }
        if (place.len() as u32) < whole {
            return None;
        }
        if rest > 0 {
            let (free, node) = emptiest?;
            if free < rest {
                return None;
            }
            place.push((node as u32, rest));
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(free: &[u32], need: u32) -> Option<Vec<(u32, u32)>> {
        let total = free.iter().map(|&free| u64::from(free)).sum();
        let mut nodes = Nodes { free: free.to_vec(), total, per_node: 8 };
        nodes.take(need).map(|place| place.to_vec())
    }

    #[test]
    fn a_small_job_goes_where_it_fits_tightest_and_is_never_split() {
        assert_eq!(place(&[8, 3, 2, 2], 2), Some(vec![(2, 2)]));
        assert_eq!(place(&[8, 3, 2, 2], 3), Some(vec![(1, 3)]));
        assert_eq!(place(&[4, 4], 8), None);
        assert_eq!(place(&[1, 1], 3), None);
    }

    #[test]
    fn a_large_job_takes_whole_nodes_and_the_rest_on_the_emptiest_after_those() {
        assert_eq!(place(&[5, 8, 8, 8], 16), Some(vec![(1, 8), (2, 8)]));
        // The third wholly free node is the emptiest, although the first would do.
        assert_eq!(place(&[5, 8, 8, 8], 20), Some(vec![(1, 8), (2, 8), (3, 4)]));
        assert_eq!(place(&[5, 8, 6], 12), Some(vec![(1, 8), (2, 4)]));
        assert_eq!(place(&[5, 8, 3], 14), None);
        assert_eq!(place(&[7, 7, 7], 16), None);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut nodes = Nodes::new(3, 8);
        let first = nodes.take(20).unwrap();
        assert_eq!(nodes.take(8), None);
        nodes.give_back(&first);
        assert_eq!(nodes.take(24).map(|place| place.len()), Some(3));
        assert_eq!(nodes.take(1), None);
    }
}
