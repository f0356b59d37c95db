//! Which snapshots are kept.

/// The newest snapshots, all of which are kept.
const NEWEST: usize = 4;
/// How many times as far back as was asked for the next older snapshot may lie, beyond the newest ones.
const FACTOR: u64 = 3;

/// Which of the snapshots that end with these records may go. `seqs` is in order, the newest first.
///
/// What is kept: the newest four, the oldest, since nothing before it may be there any more, and for every point in between
/// one that is at most three times as far from the newest. As the log grows the distances become more alike, so what held goes on to hold; and of
/// any three neighbours that are kept the first and the last are further apart than that, so that there are only about
/// two for every tripling of the log.
pub(super) fn dispensable(seqs: &[u64]) -> Vec<u64> {
    let Some(&last) = seqs.first() else { return Vec::new() };
    let mut newer = last;
    let mut going = Vec::new();
    for (at, &seq) in seqs.iter().enumerate() {
        let Some(&older) = seqs.get(at + 1) else { break };
        if at >= NEWEST && last - older <= FACTOR.saturating_mul(last - newer) {
            going.push(seq);
        } else {
            newer = seq;
        }
    }
    going
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_and_none_is_far_from_what_is_asked_for() {
        let mut kept: Vec<u64> = Vec::new();
        let mut most = 0;
        for number in 1..=20_000_u64 {
            // Steps are of different sizes; so are the distances between snapshots.
            let last = number * 1000 + number % 7 * 30;
            kept.insert(0, last);
            let going = dispensable(&kept);
            kept.retain(|seq| !going.contains(seq));
            assert_eq!(kept[0], last);
            assert!(kept.len() < NEWEST || kept[..NEWEST].windows(2).all(|two| two[0] - two[1] < 1200), "{kept:?}");
            assert_eq!(kept.last(), Some(&1030), "the log may not go back further");
            for two in kept.windows(2).skip(NEWEST) {
                assert!(last - two[1] <= FACTOR * (last - two[0]), "between {two:?} of {kept:?}");
            }
            most = most.max(kept.len());
        }
        assert!(most <= 24, "{most} are many");
    }

    #[test]
    fn nothing_goes_while_there_are_few() {
        assert!(dispensable(&[]).is_empty());
        assert!(dispensable(&[1007]).is_empty());
        assert!(dispensable(&[4001, 3001, 2000, 1000]).is_empty());
    }
}
