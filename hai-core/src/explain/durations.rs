//! How long tasks run, learned from those that are over.
//!
//! Every task that ends is counted five times: by user, name and shape; by user and shape; by shape; by user; and with all.
//! A duration is drawn from the first of these that knows enough, in this sense: one that has `n` observations is asked with
//! probability `n / (n + 2)`, else the next one is. That is the predictive rule of a hierarchical Dirichlet process (Y. W.
//! Teh et al., JASA 2006): much that is known of one's own command outweighs everything else, and what is new is taken to
//! be like others. The user's own recent runs are the best predictor there is on such clusters (Q. Hu et al.,
//! Characterization and Prediction of Deep Learning Workloads, SC 2021). A task that has run for a while already is drawn
//! from what lasted longer than that, each of the five weighed by how much of it did.
//!
//! Where the owner said how long it takes, that counts, times a factor drawn from how well that user guessed before (D.
//! Tsafrir et al., Backfilling Using System-Generated Predictions, TPDS 2007).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};

use crate::model::{Devices, Span, TaskKind, TaskSpec};
use crate::sim::SplitMix64;

use super::histogram::{Histogram, WEIGHT};

/// What the next wider group of tasks weighs against one's own.
const BACK_OFF: u64 = 2 * WEIGHT as u64;
/// So many guesses of a user tell how good they are.
const GUESSES_MIN: u64 = 5 * WEIGHT as u64;
/// A guess that was right, in the histogram of how long it truly took by how long was said.
const RIGHT: u64 = 1 << 10;
/// Commands, and pairs of user and shape, that are remembered; the same for shapes and users.
const NAMES_MAX: usize = 16_384;
/// What a task of which nothing is known takes: from a minute to a day, all orders of magnitude alike.
const GUESS_MS: (u64, u32) = (60_000, 10);

/// What was learned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    by_command: Names,
    by_owner: Names,
    by_shape: Names,
    by_user: Names,
    all: Histogram,
    /// How long it truly took by how long was said, in 1024ths, by user.
    guesses: Names,
}

/// Histograms by name; the ones longest without news are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Names {
    known: BTreeMap<String, (u64, Histogram)>,
    news: u64,
}

/// Where a duration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Its owner said how long it takes.
    Given,
    /// Tasks like it have ended before.
    Learned,
    /// Nothing is known.
    Guessed,
}

/// What is known of how long one task takes.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// A number for the tasks of one user and shape.
    kin: u64,
    given: Option<Span>,
    guesses: Option<&'a Histogram>,
    /// From the narrowest to the widest.
    levels: [Option<&'a Histogram>; 5],
}

impl Names {
    fn add(&mut self, name: String, span: Span) {
        self.news += 1;
        let entry = self.known.entry(name).or_default();
        entry.0 = self.news;
        entry.1.add(span);
        if self.known.len() > NAMES_MAX {
            let mut since: Vec<u64> = self.known.values().map(|(news, _)| *news).collect();
            let (_, &mut median, _) = since.select_nth_unstable(NAMES_MAX / 2);
            self.known.retain(|_, (news, _)| *news >= median);
        }
    }

    fn get(&self, name: &str) -> Option<&Histogram> {
        self.known.get(name).map(|(_, histogram)| histogram)
    }
}

/// A name without its numbers, which most often count attempts.
fn command(name: &str) -> String {
    let mut command = String::with_capacity(name.len());
    for letter in name.chars() {
        let letter = if letter.is_ascii_digit() { '#' } else { letter };
        if letter != '#' || !command.ends_with('#') {
            command.push(letter);
        }
    }
    command
}

/// The names that a task is counted under, the narrowest first.
fn names(spec: &TaskSpec) -> [String; 4] {
    let devices = match spec.request.devices {
        Devices::WholeNode => "node".to_owned(),
        Devices::Count(count) => count.to_string(),
        Devices::Share(milli) => format!("{milli}m"),
        Devices::Memory(mib) => format!("{mib}MiB"),
    };
    let kind = match spec.kind {
        TaskKind::Training => "",
        TaskKind::Interactive { .. } => " interactive",
        TaskKind::Background => " background",
    };
    let shape = format!("{} {}x{devices}{kind}", spec.group, spec.workers);
    let user = spec.user.to_string();
    [format!("{user}\n{shape}\n{}", command(&spec.name)), format!("{user}\n{shape}"), shape, user]
}

impl Durations {
    /// Takes in how long a task ran that is over, all its runs together.
    pub fn add(&mut self, spec: &TaskSpec, ran: Span) {
        let [command, owner, shape, user] = names(spec);
        if let Some(said) = spec.expected.filter(|&said| said > Span::ZERO) {
            let ratio = u128::from(ran.as_ms()) * u128::from(RIGHT) / u128::from(said.as_ms());
            self.guesses.add(user.clone(), Span::from_ms(u64::try_from(ratio).unwrap_or(u64::MAX)));
        }
        self.by_command.add(command, ran);
        self.by_owner.add(owner, ran);
        self.by_shape.add(shape, ran);
        self.by_user.add(user, ran);
        self.all.add(ran);
    }

    /// What is known of a task like this.
    #[must_use]
    pub fn of(&self, spec: &TaskSpec) -> Known<'_> {
        let [command, owner, shape, user] = names(spec);
        let mut kin = FxHasher::default();
        owner.hash(&mut kin);
        Known {
            kin: kin.finish(),
            given: spec.expected.filter(|&said| said > Span::ZERO),
            guesses: self.guesses.get(&user).filter(|guesses| guesses.weight() >= GUESSES_MIN),
            levels: [
                self.by_command.get(&command),
                self.by_owner.get(&owner),
                self.by_shape.get(&shape),
                self.by_user.get(&user),
                Some(&self.all).filter(|all| !all.is_empty()),
            ],
        }
    }
}

impl Known<'_> {
    /// Where its duration comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.given {
            Some(_) => Source::Given,
            None if self.levels.iter().any(Option::is_some) => Source::Learned,
            None => Source::Guessed,
        }
    }

    /// A number that those of the same user and shape share.
    #[must_use]
    pub fn kin(&self) -> u64 {
        self.kin
    }

    /// Draws how long it takes in all, given that it has run for `elapsed` and is not done; always longer than that.
    pub fn draw(&self, elapsed: Span, random: &mut SplitMix64) -> Span {
        let drawn = match self.given {
            Some(said) => self.draw_given(said, elapsed, random),
            None => self.draw_learned(elapsed, random),
        };
        let drawn = drawn.unwrap_or_else(|| {
            if elapsed == Span::ZERO {
                let (least, octaves) = GUESS_MS;
                let octave = random.below(u64::from(octaves));
                return Span::from_ms((least << octave) + random.below(least << octave));
            }
            // It has outlived all that is known: what lasted so long lasts about as long again (J. R. Gott, Implications of
            // the Copernican principle, Nature 1993), bounded.
            let share = (random.next() >> 33).max(1 << 27);
            Span::from_ms(u64::try_from((u128::from(elapsed.as_ms()) << 31) / u128::from(share)).unwrap_or(u64::MAX))
        });
        drawn.max(elapsed + Span::from_ms(1))
    }

    fn draw_given(&self, said: Span, elapsed: Span, random: &mut SplitMix64) -> Option<Span> {
        let Some(guesses) = self.guesses else { return Some(said).filter(|&said| said > elapsed) };
        let scale = |part: u64, by: u64, of: u64| {
            let scaled = u128::from(part) * u128::from(by) / u128::from(of.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        let beyond = scale(elapsed.as_ms(), RIGHT, said.as_ms());
        let ratio = guesses.quantile(share(random), Span::from_ms(beyond))?;
        Some(Span::from_ms(scale(said.as_ms(), ratio.as_ms(), RIGHT)))
    }

    fn draw_learned(&self, elapsed: Span, random: &mut SplitMix64) -> Option<Span> {
        // What of each level lasts longer, in 2^32nds, the wider ones mixed in as they are when drawing.
        let mut longer = [0_u64; 6];
        for (at, level) in self.levels.iter().enumerate().rev() {
            let (own, all) = level.map_or((0, 0), |level| (level.weight_beyond(elapsed), level.weight()));
            let back_off = if at + 1 < self.levels.len() { BACK_OFF } else { 0 };
            let mass = (u128::from(own) << 32) + u128::from(back_off) * u128::from(longer[at + 1]);
            let part = mass.checked_div(u128::from(all + back_off)).unwrap_or(0);
            longer[at] = u64::try_from(part).unwrap_or(u64::MAX);
        }
        for (at, level) in self.levels.iter().enumerate() {
            let Some(level) = level else { continue };
            let own = u128::from(level.weight_beyond(elapsed)) << 32;
            let wider = u128::from(BACK_OFF) * u128::from(longer[at + 1]);
            if own > 0 && u128::from(random.next()) * (own + wider) < own << 64 {
                return level.quantile(share(random), elapsed);
            }
        }
        None
    }

    /// The length that `share` of 2^32 of tasks like it do not exceed, by the narrowest level that knows any.
    #[must_use]
    pub fn quantile(&self, share: u32) -> Option<Span> {
        self.levels.iter().flatten().next()?.quantile(share, Span::ZERO)
    }
}

fn share(random: &mut SplitMix64) -> u32 {
    u32::try_from(random.next() >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GroupName, Priority, UserName, WorkerRequest};

    fn spec(user: &str, name: &str, devices: u32) -> TaskSpec {
        let (user, group) = (UserName::new(user).unwrap(), GroupName::new("g").unwrap());
        TaskSpec::new(name, user, group, Priority::Normal, WorkerRequest::devices(devices))
    }

    fn median(known: Known<'_>, elapsed: Span) -> Span {
        let mut random = SplitMix64::new(1);
        let mut drawn: Vec<_> = (0..1001).map(|_| known.draw(elapsed, &mut random)).collect();
        drawn.sort_unstable();
        drawn[500]
    }

    fn near(found: Span, wanted: Span) -> bool {
        found.as_ms() * 8 >= wanted.as_ms() * 7 && found.as_ms() * 8 <= wanted.as_ms() * 9
    }

    #[test]
    fn ones_own_command_counts_most_and_what_is_new_is_like_others() {
        let mut durations = Durations::default();
        for run in 0..40 {
            durations.add(&spec("a", &format!("train-{run}"), 1), Span::from_mins(10));
            durations.add(&spec("a", "eval", 1), Span::from_mins(1));
            durations.add(&spec("b", "big", 8), Span::from_mins(1000));
        }
        let none = Span::ZERO;
        assert!(near(median(durations.of(&spec("a", "train-77", 1)), none), Span::from_mins(10)));
        assert!(near(median(durations.of(&spec("a", "eval", 1)), none), Span::from_mins(1)));
        assert!(near(median(durations.of(&spec("c", "new", 8)), none), Span::from_mins(1000)));
        assert!(near(median(durations.of(&spec("b", "new", 3)), none), Span::from_mins(1000)));
        assert_eq!(durations.of(&spec("b", "big", 8)).source(), Source::Learned);
    }

    #[test]
    fn who_runs_for_long_already_is_compared_with_what_lasted_longer() {
        let mut durations = Durations::default();
        for _ in 0..30 {
            durations.add(&spec("a", "t", 1), Span::from_mins(1));
            durations.add(&spec("a", "t", 1), Span::from_mins(100));
        }
        let known = durations.of(&spec("a", "t", 1));
        assert!(near(median(known, Span::from_mins(5)), Span::from_mins(100)));
        // Beyond all that is known it lasts about as long again.
        let half = median(known, Span::from_mins(1000));
        assert!(half > Span::from_mins(1700) && half < Span::from_mins(2300), "{half}");
    }

    #[test]
    fn what_the_owner_says_counts_as_well_as_it_did_before() {
        let mut durations = Durations::default();
        let said = |name: &str| TaskSpec { expected: Some(Span::from_mins(60)), ..spec("a", name, 1) };
        let known = durations.of(&said("x"));
        assert_eq!((known.source(), median(known, Span::ZERO)), (Source::Given, Span::from_mins(60)));
        for run in 0..20 {
            durations.add(&said(&format!("t{run}")), Span::from_mins(30));
        }
        assert!(near(median(durations.of(&said("x")), Span::ZERO), Span::from_mins(30)));
    }

    #[test]
    fn of_nothing_known_something_is_guessed() {
        let durations = Durations::default();
        let known = durations.of(&spec("a", "t", 1));
        assert_eq!(known.source(), Source::Guessed);
        let mut random = SplitMix64::new(5);
        for _ in 0..1000 {
            let drawn = known.draw(Span::ZERO, &mut random);
            assert!(drawn >= Span::from_mins(1) && drawn < Span::from_mins(1024));
        }
    }

    #[test]
    fn names_are_forgotten_before_they_are_too_many() {
        let mut names = Names::default();
        for number in 0..40_000 {
            names.add(number.to_string(), Span::from_secs(1));
            assert!(names.known.len() <= NAMES_MAX);
        }
        assert!(names.get("39999").is_some() && names.get("0").is_none());
    }
}
