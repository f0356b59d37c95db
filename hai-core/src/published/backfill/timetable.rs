//! What is free from now on, as far as it is known: running jobs to the end of their estimates, and reservations.

/// What a job takes: processors by number, or so many of them.
pub(super) trait Room: Clone + PartialEq {
    /// All of so many processors.
    fn all(processors: u32) -> Self;
    /// How many these are.
    fn size(&self) -> u32;
    /// Leaves what is in both.
    fn meet(&mut self, other: &Self);
    /// So many of them, those with the lowest numbers; not more than there are.
    fn lowest(&self, many: u32) -> Self;
    /// Takes these away, which are all there.
    fn take(&mut self, part: &Self);
    /// Puts these back, none of which is there.
    fn put(&mut self, part: &Self);
    /// Which these are; nothing where they have no numbers.
    fn numbers(&self) -> Vec<u32>;
}

/// Processors that are only counted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Count(u32);

impl Room for Count {
    fn all(processors: u32) -> Self {
        Count(processors)
    }

    fn size(&self) -> u32 {
        self.0
    }

    fn meet(&mut self, other: &Self) {
        self.0 = self.0.min(other.0);
    }

    fn lowest(&self, many: u32) -> Self {
        Count(many)
    }

    fn take(&mut self, part: &Self) {
        self.0 -= part.0;
    }

    fn put(&mut self, part: &Self) {
        self.0 += part.0;
    }

    fn numbers(&self) -> Vec<u32> {
        Vec::new()
    }
}

/// Processors with numbers, as bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbered(Vec<u64>);

impl Room for Numbered {
    fn all(processors: u32) -> Self {
        let mut words = vec![u64::MAX; (processors / 64) as usize];
        if !processors.is_multiple_of(64) {
            words.push((1 << (processors % 64)) - 1);
        }
        Numbered(words)
    }

    fn size(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    fn meet(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine &= theirs;
        }
    }

    fn lowest(&self, many: u32) -> Self {
        let mut left = many;
        let mut low = vec![0; self.0.len()];
        for (low, &word) in low.iter_mut().zip(&self.0) {
            let mut word = word;
            while left > 0 && word > 0 {
                *low |= word & word.wrapping_neg();
                word &= word - 1;
                left -= 1;
            }
        }
        Numbered(low)
    }

    fn take(&mut self, part: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&part.0) {
            *mine &= !theirs;
        }
    }

    fn put(&mut self, part: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&part.0) {
            *mine |= theirs;
        }
    }

    fn numbers(&self) -> Vec<u32> {
        let words = self.0.iter().enumerate();
        words
            .flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u32 * 64 + bit))
            .collect()
    }
}

/// From which moment on how much is free; the last step has no end.
#[derive(Debug)]
pub(super) struct Timetable<R> {
    steps: Vec<(f64, R)>,
}

impl<R: Room> Timetable<R> {
    pub(super) fn new(processors: u32) -> Self {
        Timetable { steps: vec![(f64::NEG_INFINITY, R::all(processors))] }
    }

    /// Forgets what was before now.
    pub(super) fn advance(&mut self, now: f64) {
        let past = self.steps.iter().take_while(|(from, _)| *from <= now).count();
        self.steps.drain(..past.saturating_sub(1));
        self.steps[0].0 = now;
    }

    /// What is free now.
    pub(super) fn now(&self) -> &R {
        &self.steps[0].1
    }

    /// What is free from now on for so long, if that is enough.
    pub(super) fn fits_now(&self, need: u32, duration: f64) -> Option<R> {
        self.fits(0, need, duration).ok()
    }

    /// The earliest moment from which on enough is free for so long, and what. `need` must not be more than there is in all.
    pub(super) fn earliest(&self, need: u32, duration: f64) -> (f64, R) {
        let mut at = 0;
        loop {
            match self.fits(at, need, duration) {
                Ok(room) => return (self.steps[at].0, room),
                Err(next) => at = next,
            }
        }
    }

    /// The room, or from which step on to try next.
    fn fits(&self, at: usize, need: u32, duration: f64) -> Result<R, usize> {
        let (from, free) = &self.steps[at];
        if free.size() < need {
            return Err(at + 1);
        }
        let until = from + duration;
        let mut common = free.clone();
        for (step, (_, free)) in self.steps.iter().enumerate().skip(at + 1).take_while(|(_, (from, _))| *from < until) {
            common.meet(free);
            if common.size() < need {
                return Err(if free.size() < need { step + 1 } else { at + 1 });
            }
        }
        Ok(common.lowest(need))
    }

    /// Takes this room from one moment to another.
    pub(super) fn take(&mut self, from: f64, until: f64, room: &R) {
        self.change(from, until, |free| free.take(room));
    }

    /// Gives this room back from one moment to another; what is before now is left out.
    pub(super) fn give(&mut self, from: f64, until: f64, room: &R) {
        self.change(from.max(self.steps[0].0), until, |free| free.put(room));
    }

    fn change(&mut self, from: f64, until: f64, change: impl Fn(&mut R)) {
        if from >= until {
            return;
        }
        let first = self.step_at(from);
        let last = self.step_at(until);
        for (_, free) in &mut self.steps[first..last] {
            change(free);
        }
        // Steps between two equals are no steps.
        for at in [last, first] {
            if at > 0 && self.steps[at].1 == self.steps[at - 1].1 {
                self.steps.remove(at);
            }
        }
    }

    /// The step that begins then, made if need be.
    fn step_at(&mut self, time: f64) -> usize {
        let at = self.steps.partition_point(|(from, _)| *from < time);
        if self.steps.get(at).is_none_or(|(from, _)| *from > time) {
            let free = self.steps[at - 1].1.clone();
            self.steps.insert(at, (time, free));
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_that_is_long_enough_is_found() {
        let mut table = Timetable::<Count>::new(10);
        table.advance(0.0);
        table.take(0.0, 10.0, &Count(8));
        table.take(20.0, 30.0, &Count(5));
        assert_eq!(table.fits_now(2, 100.0), Some(Count(2)));
        assert_eq!(table.fits_now(3, 1.0), None);
        assert_eq!(table.earliest(6, 10.0).0, 10.0);
        assert_eq!(table.earliest(6, 10.1).0, 30.0);
        table.give(5.0, 10.0, &Count(8));
        table.advance(5.0);
        assert_eq!(table.fits_now(10, 15.0), Some(Count(10)));
        table.give(20.0, 30.0, &Count(5));
        assert_eq!(table.steps, [(5.0, Count(10))]);
    }

    #[test]
    fn with_numbers_the_same_ones_must_be_free_all_the_time() {
        let mut table = Timetable::<Numbered>::new(70);
        table.advance(0.0);
        let room = |numbers: &[u32]| {
            let mut room = Numbered(vec![0, 0]);
            numbers.iter().for_each(|number| room.0[(number / 64) as usize] |= 1 << (number % 64));
            room
        };
        assert_eq!(table.now().size(), 70);
        let most: Vec<u32> = (0..66).collect();
        table.take(0.0, 10.0, &room(&most));
        table.take(10.0, 20.0, &room(&[66, 67, 68]));
        assert_eq!(table.fits_now(4, 10.0).unwrap().numbers(), [66, 67, 68, 69]);
        assert_eq!(table.fits_now(4, 11.0), None);
        // Two are free all the time by count, but they are not the same two.
        assert_eq!(table.fits_now(2, 11.0), None);
        let (from, where_to) = table.earliest(2, 11.0);
        assert_eq!((from, where_to.numbers()), (10.0, vec![0, 1]));
    }
}
