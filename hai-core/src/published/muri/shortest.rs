//! The shortest first, placed from scratch at every event.

use super::{MuriCluster, MuriJob, MuriPlayed, Progress, first_ends, next_event};

pub(super) fn play(jobs: &[MuriJob], cluster: MuriCluster, by_service: bool) -> MuriPlayed {
    let mut played = MuriPlayed::new(jobs.len());
    let mut progress: Vec<Progress> = jobs.iter().map(Progress::new).collect();
    let mut keys: Vec<f64> = vec![0.0; jobs.len()];
    // Stays sorted from event to event: of equals the order of before holds.
    let mut runnable: Vec<usize> = Vec::new();
    let mut free: Vec<u32> = Vec::new();
    let mut next = 0;
    let mut ends = None;
    while let Some((now, arrivals, ended)) = next_event(jobs, next, ends.take()) {
        for &at in &ended {
            played.end(at, now);
            progress[at].runs = false;
        }
        runnable.retain(|at| !ended.contains(at));
        let key = |at: usize, progress: &Progress| {
            let left = progress.left(&jobs[at]);
            if by_service { left * f64::from(jobs[at].gpus) } else { left }
        };
        for at in next..next + arrivals {
            keys[at] = key(at, &progress[at]);
            runnable.push(at);
        }
        next += arrivals;
        for &at in &runnable {
            progress[at].pass(&jobs[at], now);
            if progress[at].runs {
                keys[at] = key(at, &progress[at]);
            }
        }
        runnable.sort_by(|&one, &other| keys[one].total_cmp(&keys[other]));
        free.clear();
        free.resize(cluster.nodes as usize, cluster.per_node);
        for &at in &runnable {
            let fits = place(&mut free, jobs[at].gpus, cluster.per_node);
            if fits {
                played.runs(at, now);
            } else if progress[at].runs {
                played.preempt(at, now);
            }
            progress[at].runs = fits;
        }
        ends = first_ends(jobs, &progress, &runnable, now);
    }
    played
}

/// The first node that has enough free; for more than a node's size wholly free nodes, and the rest on the first other node
/// that has enough.
fn place(free: &mut [u32], need: u32, per_node: u32) -> bool {
    if need == 0 || per_node == 0 {
        return false;
    }
    if need <= per_node {
        let Some(node) = free.iter_mut().find(|free| **free >= need) else { return false };
        *node -= need;
        return true;
    }
    let (whole, rest) = ((need / per_node) as usize, need % per_node);
    let mut taken: Vec<usize> = (0..free.len()).filter(|&node| free[node] == per_node).take(whole).collect();
    if taken.len() < whole {
        return false;
    }
    if rest > 0 {
        let Some(node) = (0..free.len()).find(|node| !taken.contains(node) && free[*node] >= rest) else {
            return false;
        };
        free[node] -= rest;
        taken.retain(|&other| other != node);
    }
    for node in taken {
        free[node] = 0;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn the_first_that_fits_is_taken() {
        let mut free = [3, 8, 8, 5];
        assert!(place(&mut free, 4, 8) && free == [3, 4, 8, 5]);
        assert!(place(&mut free, 11, 8) && free == [0, 4, 0, 5]);
        assert!(!place(&mut free, 8, 8) && free == [0, 4, 0, 5]);
        assert!(!place(&mut free, 6, 8) && free == [0, 4, 0, 5]);
    }
}
