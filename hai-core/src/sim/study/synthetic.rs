//! Work made up by lot, after the pattern of a trace or of a laboratory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{GroupName, NameError, Priority, Span, TaskSpec, Time, UserName, WorkerRequest};
use crate::sim::{Ending, SplitMix64, Work};
use crate::trace::Job;

use super::draw::minus_ln;
use super::load::Load;

/// A week has so many hours.
const HOURS: usize = 168;
const HOUR_MS: u64 = 3_600_000;
const WEEK_MS: u64 = HOURS as u64 * HOUR_MS;
/// Durations of a kind are kept as so many quantiles, from the least to the greatest.
const QUANTILES: usize = 33;
/// Kinds of work that are kept of a class of users; rarer ones are left out.
const KINDS_MAX: usize = 256;

/// A pattern of work: how often tasks come by the hour of the week, of what users, how large they are and how long they run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Arrivals in each hour of the week, the first from Thursday midnight UTC on (where [`Time`] begins).
    pub hours: Vec<u64>,
    /// Over so long a time.
    pub over: Span,
    /// Classes of users.
    pub classes: Vec<UserClass>,
}

/// Users who use about as much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserClass {
    /// `heavy`, `medium` or `light`.
    pub name: String,
    /// How many there are; each is as likely as the others.
    pub users: u32,
    /// How many tasks they submitted.
    pub tasks: u64,
    /// What they submit.
    pub kinds: Vec<Kind>,
}

/// Tasks that ask alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    /// How many there were.
    pub tasks: u64,
    /// Of those, how many failed in the end.
    pub failed: u64,
    /// What they ask; name and user are drawn.
    pub spec: TaskSpec,
    /// Quantiles of their durations, equally far apart; between two of them every duration is as likely.
    pub durations: Vec<Span>,
}

/// What tasks of one kind have alike: the class of their user, group, request, workers and priority.
type KindKey<'a> = (usize, &'a GroupName, &'a WorkerRequest, u32, Priority);

impl Profile {
    /// The pattern of a load. Users are put in classes by the device-time that they ask for: those who together make up the
    /// first half of it are heavy, those up to nine tenths medium, the rest light. `None` for an empty load.
    #[must_use]
    pub fn of(load: &Load) -> Option<Profile> {
        let (first, last) = (load.first()?, load.last()?);
        let over = Span::from_ms(last.since(first).as_ms().max(HOUR_MS));
        let mut hours = vec![0; HOURS];
        let mut used: BTreeMap<&UserName, u128> = BTreeMap::new();
        for task in load.tasks() {
            hours[hour(task.submit)] += 1;
            let devices = u128::from(task.spec.request.devices.count().max(1)) * u128::from(task.spec.workers);
            *used.entry(&task.spec.user).or_default() += devices * u128::from(task.work.needs.as_ms().min(1 << 42));
        }
        let all: u128 = used.values().sum();
        let mut sorted: Vec<(&UserName, u128)> = used.into_iter().collect();
        sorted.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        let mut class_of: BTreeMap<&UserName, usize> = BTreeMap::new();
        let mut sum = 0;
        for (user, amount) in sorted {
            let class = if sum * 2 < all {
                0
            } else if sum * 10 < all * 9 {
                1
            } else {
                2
            };
            class_of.insert(user, class);
            sum += amount;
        }
        let mut classes: Vec<UserClass> = ["heavy", "medium", "light"]
            .into_iter()
            .map(|name| UserClass { name: name.into(), users: 0, tasks: 0, kinds: Vec::new() })
            .collect();
        for class in class_of.values() {
            classes[*class].users += 1;
        }
        let mut kinds: BTreeMap<KindKey<'_>, (TaskSpec, Vec<Span>, u64)> = BTreeMap::new();
        for task in load.tasks() {
            let spec = &task.spec;
            let class = class_of[&spec.user];
            let key = (class, &spec.group, &spec.request, spec.workers, spec.priority);
            let known = kinds.entry(key).or_insert_with(|| (TaskSpec::clone(spec), Vec::new(), 0));
            known.1.push(task.work.needs.min(Span::from_ms(1 << 42)));
            known.2 += u64::from(task.work.ends == Ending::Failure);
        }
        for ((class, ..), (mut spec, mut durations, failed)) in kinds {
            durations.sort_unstable();
            // What this one task said of itself does not hold for others.
            (spec.expected, spec.deadline, spec.not_before, spec.custom_rank) = (None, None, None, None);
            spec.after.clear();
            let at = |part: usize| durations[(durations.len() - 1) * part / (QUANTILES - 1)];
            let quantiles = (0..QUANTILES).map(at).collect();
            classes[class].kinds.push(Kind { tasks: durations.len() as u64, failed, spec, durations: quantiles });
        }
        for class in &mut classes {
            class.kinds.sort_by_key(|kind| std::cmp::Reverse(kind.tasks));
            class.kinds.truncate(KINDS_MAX);
            class.tasks = class.kinds.iter().map(|kind| kind.tasks).sum();
        }
        classes.retain(|class| class.tasks > 0);
        Some(Profile { hours, over, classes })
    }

    /// A laboratory: 40 users, of whom 4 submit half of all tasks; two thirds of the tasks come from 9 to 19 h UTC of the five
    /// working days; 1, 2, 4, 8, 16 or 32 devices for 55, 15, 12, 12, 4 and 2 % of them; durations from 10 s to 4 days with a
    /// median of about 10 minutes, longer for larger tasks.
    ///
    /// # Errors
    /// None that can happen.
    pub fn laboratory() -> Result<Profile, NameError> {
        let hours = (0..HOURS)
            .map(|hour| {
                // The first day is a Thursday.
                let (day, time) = ((hour / 24 + 3) % 7, hour % 24);
                if day < 5 && (9..19).contains(&time) { 20 } else { 4 }
            })
            .collect();
        let minutes: [u64; 9] = [0, 1, 3, 6, 10, 30, 120, 600, 5760];
        let durations = |longer: u64| -> Vec<Span> {
            let least = Span::from_secs(10);
            minutes.iter().map(|&span| Span::from_mins(span * longer).max(least).min(Span::from_mins(5760))).collect()
        };
        let sizes: [(u32, u64, u64); 6] = [(1, 55, 1), (2, 15, 1), (4, 12, 2), (8, 12, 3), (16, 4, 4), (32, 2, 5)];
        let mut kinds = Vec::new();
        for (devices, tasks, longer) in sizes {
            let (workers, request) = crate::trace::gang(devices);
            let mut spec =
                TaskSpec::new("task", UserName::new("u")?, GroupName::new("default")?, Priority::Normal, request);
            spec.workers = workers;
            kinds.push(Kind { tasks, failed: 0, spec, durations: durations(longer) });
        }
        let class = |name: &str, users| UserClass { name: name.to_owned(), users, tasks: 100, kinds: kinds.clone() };
        Ok(Profile { hours, over: Span::from_ms(WEEK_MS), classes: vec![class("heavy", 4), class("light", 36)] })
    }

    /// So many tasks after this pattern, from `start` on. Arrivals are a Poisson process with the rate of each hour.
    ///
    /// # Errors
    /// A name that the profile gives can not be one.
    pub fn draw(&self, count: usize, start: Time, seed: u64) -> Result<Load, NameError> {
        let mut random = SplitMix64::new(seed).split(ARRIVALS);
        let mut load = Load::default();
        let tasks: u64 = self.classes.iter().map(|class| class.tasks).sum();
        if self.hours.iter().sum::<u64>() == 0 || tasks == 0 || self.hours.len() != HOURS {
            return Ok(load);
        }
        let mut names: Vec<Vec<UserName>> = Vec::new();
        for class in &self.classes {
            let name = |number: u32| UserName::new(format!("{}-{}", class.name, number + 1));
            names.push((0..class.users.max(1)).map(name).collect::<Result<_, _>>()?);
        }
        let mut at = start;
        for number in 0..count {
            at = self.next_arrival(at, &mut random);
            let (class, users) = {
                let chosen = choose(self.classes.iter().map(|class| class.tasks), random.below(tasks));
                (&self.classes[chosen], &names[chosen])
            };
            let kind = &class.kinds[choose(class.kinds.iter().map(|kind| kind.tasks), random.below(class.tasks))];
            let mut spec = kind.spec.clone();
            spec.name = format!("synthetic {}", number + 1);
            spec.user = users[usize::try_from(random.below(users.len() as u64)).unwrap_or(0)].clone();
            let needs = between(&kind.durations, &mut random);
            let ends = if random.below(kind.tasks) < kind.failed { Ending::Failure } else { Ending::Success };
            load.push(Job { line: number as u64 + 1, submit: at, spec, work: Work { needs, ends } });
        }
        Ok(load)
    }

    /// When the next task comes after `at`.
    fn next_arrival(&self, mut at: Time, random: &mut SplitMix64) -> Time {
        // How many tasks are expected until then, in units of 2^-32.
        let mut left = u128::from(minus_ln(random.next()));
        let rate =
            |tasks: u64| (u128::from(tasks) << 32) * u128::from(WEEK_MS) / u128::from(self.over.as_ms().max(WEEK_MS));
        // A pattern may be so long that nothing of it comes.
        if self.hours.iter().all(|&tasks| rate(tasks) == 0) {
            return Time::MAX;
        }
        loop {
            let in_hour = at.as_ms().rem_euclid(HOUR_MS as i64);
            let rest = HOUR_MS - u64::try_from(in_hour).unwrap_or(0);
            // Tasks in this hour of each week, in units of 2^-32, over the length of the hour.
            let rate = rate(self.hours[hour(at)]);
            let gain = rate * u128::from(rest) / u128::from(HOUR_MS);
            if gain > left {
                let wait = left * u128::from(HOUR_MS) / rate;
                return at + Span::from_ms(u64::try_from(wait).unwrap_or(0));
            }
            left -= gain;
            at += Span::from_ms(rest);
        }
    }
}

/// The stream of arrivals, apart from those of faults.
const ARRIVALS: u64 = 1 << 41;

fn hour(at: Time) -> usize {
    usize::try_from(at.as_ms().rem_euclid(WEEK_MS as i64) / HOUR_MS as i64).unwrap_or(0)
}

/// Which of the weights the number falls on, counted through them.
fn choose(weights: impl Iterator<Item = u64>, mut number: u64) -> usize {
    let mut last = 0;
    for (at, weight) in weights.enumerate() {
        last = at;
        if number < weight {
            return at;
        }
        number -= weight;
    }
    last
}

/// A span between two neighbouring quantiles, each pair being as likely.
fn between(quantiles: &[Span], random: &mut SplitMix64) -> Span {
    let Some(pairs) = quantiles.len().checked_sub(1).filter(|&pairs| pairs > 0) else {
        return quantiles.first().copied().unwrap_or(Span::ZERO);
    };
    let at = usize::try_from(random.below(pairs as u64)).unwrap_or(0);
    let (low, high) = (quantiles[at], quantiles[at + 1].max(quantiles[at]));
    low + Span::from_ms(random.below((high - low).as_ms() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_hours(load: &Load) -> f64 {
        let sum: u64 = load.tasks().iter().map(|task| task.work.needs.as_ms() / 1000).sum();
        sum as f64 / load.tasks().len() as f64 / 3600.0
    }

    #[test]
    fn what_is_drawn_looks_like_what_it_was_fitted_to() {
        let lab = Profile::laboratory().unwrap();
        let one = lab.draw(20_000, Time::ZERO, 1).unwrap();
        let fitted = Profile::of(&one).unwrap();
        let other = fitted.draw(20_000, Time::ZERO, 2).unwrap();
        let share = |load: &Load, devices: u32| {
            let alike = |task: &&super::super::Task| task.spec.request.devices.count() * task.spec.workers == devices;
            load.tasks().iter().filter(alike).count() as f64 / load.tasks().len() as f64
        };
        for devices in [1, 2, 4, 8, 16, 32] {
            assert!((share(&one, devices) - share(&other, devices)).abs() < 0.02, "{devices}");
        }
        assert!((share(&one, 1) - 0.55).abs() < 0.02);
        assert!(
            (mean_hours(&one) / mean_hours(&other) - 1.0).abs() < 0.1,
            "{} {}",
            mean_hours(&one),
            mean_hours(&other)
        );
        let span = |load: &Load| load.last().unwrap().since(load.first().unwrap()).as_ms() as f64;
        assert!((span(&one) / span(&other) - 1.0).abs() < 0.1);
        // Two thirds of the tasks in the working hours.
        let working = |task: &&super::super::Task| {
            let hour = hour(task.submit);
            (hour / 24 + 3) % 7 < 5 && (9..19).contains(&(hour % 24))
        };
        let works = |load: &Load| load.tasks().iter().filter(working).count() as f64 / load.tasks().len() as f64;
        assert!((works(&one) - 1000.0 / 1472.0).abs() < 0.02 && (works(&one) - works(&other)).abs() < 0.03);
    }

    #[test]
    fn a_seed_gives_the_same_work_and_another_gives_other() {
        let lab = Profile::laboratory().unwrap();
        let draw = |seed| {
            let load = lab.draw(200, Time::ZERO, seed).unwrap();
            load.tasks().iter().map(|task| (task.submit, task.spec.clone(), task.work)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn a_pattern_without_arrivals_gives_nothing() {
        let mut lab = Profile::laboratory().unwrap();
        lab.hours = vec![0; HOURS];
        assert!(lab.draw(5, Time::ZERO, 1).unwrap().tasks().is_empty());
        assert!(Profile::of(&Load::default()).is_none());
    }
}
