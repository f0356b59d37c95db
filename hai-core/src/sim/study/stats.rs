//! Means, quantiles and confidence intervals.

use serde::{Deserialize, Serialize};

/// What a list of numbers comes to; all zero for an empty list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// How many there are.
    pub count: u64,
    /// Their sum over their count.
    pub mean: f64,
    /// The least that half of them do not exceed: of n sorted numbers the one at place ⌈n/2⌉, counted from 1.
    pub p50: f64,
    /// The same for nine tenths: place ⌈9n/10⌉.
    pub p90: f64,
    /// The same for 99 hundredths.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Stats {
    /// Of these numbers, which are sorted for it.
    #[must_use]
    pub fn of(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let Some(&max) = values.last() else { return Stats::default() };
        Stats {
            count: values.len() as u64,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            p50: quantile(values, 50, 100),
            p90: quantile(values, 90, 100),
            p99: quantile(values, 99, 100),
            max,
        }
    }
}

/// Of sorted numbers the one at place ⌈n · part / whole⌉, counted from 1; 0 if there are none.
#[must_use]
pub fn quantile(sorted: &[f64], part: usize, whole: usize) -> f64 {
    let place = (sorted.len() * part).div_ceil(whole).max(1);
    sorted.get(place - 1).or(sorted.last()).copied().unwrap_or(0.0)
}

/// A mean over seeds with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Half the width of the interval: t · s / √n with Student's t for n − 1 degrees of freedom and s the standard
    /// deviation of the sample; `None` for fewer than two numbers.
    pub half_width: Option<f64>,
}

/// Student's t for a two-sided 95 % interval, by degrees of freedom from 1.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// Student's t beyond the table: the first terms of its expansion about the normal distribution, right to a thousandth (R. A.
/// Fisher and E. A. Cornish, The Percentile Points of Distributions Having Known Cumulants, Technometrics 1960).
fn normal_like(freedom: f64) -> f64 {
    let z: f64 = 1.959_964;
    let (third, fifth) = (z.powi(3), z.powi(5));
    z + (third + z) / (4.0 * freedom) + (5.0 * fifth + 16.0 * third + 3.0 * z) / (96.0 * freedom * freedom)
}

/// Student's t for a two-sided 95 % interval; what is between whole degrees of freedom counts as fewer.
fn student(freedom: f64) -> f64 {
    let whole = freedom.floor().max(1.0);
    STUDENT.get(whole as usize - 1).copied().unwrap_or_else(|| normal_like(whole))
}

impl Interval {
    /// Of these numbers.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Interval::default();
        }
        let mean = values.iter().sum::<f64>() / count;
        if values.len() < 2 {
            return Interval { mean, half_width: None };
        }
        Interval { mean, half_width: Some(student(count - 1.0) * variance(values).sqrt() / count.sqrt()) }
    }

    /// How much greater the second list is than the first on average. Where `paired`, the numbers stand opposite to each other
    /// (the same seeds), and the interval is that of their differences; else that of B. Welch (The Generalization of
    /// 'Student's' Problem when Several Different Population Variances Are Involved, Biometrika 1947).
    #[must_use]
    pub fn of_difference(first: &[f64], second: &[f64], paired: bool) -> Self {
        if paired && first.len() == second.len() {
            let differences: Vec<f64> = first.iter().zip(second).map(|(first, second)| second - first).collect();
            return Interval::of(&differences);
        }
        let mean = Interval::of(second).mean - Interval::of(first).mean;
        if first.len() < 2 || second.len() < 2 {
            return Interval { mean, half_width: None };
        }
        let part = |values: &[f64]| (variance(values) / values.len() as f64, values.len() as f64 - 1.0);
        let ((one, one_freedom), (other, other_freedom)) = (part(first), part(second));
        let sum = one + other;
        if sum == 0.0 {
            return Interval { mean, half_width: Some(0.0) };
        }
        let freedom = sum * sum / (one * one / one_freedom + other * other / other_freedom);
        Interval { mean, half_width: Some(student(freedom) * sum.sqrt()) }
    }
}

/// The variance of a sample; of at least two numbers.
fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0)
}

/// Jain's index of fairness: (Σx)² / (n Σx²), from 1/n (one has all) to 1 (all have the same). R. Jain et al., A Quantitative
/// Measure of Fairness and Discrimination for Resource Allocation in Shared Computer Systems, DEC-TR-301, 1984. 1 for an
/// empty list.
#[must_use]
pub fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (values.len() as f64 * squares) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let mut values: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        let stats = Stats::of(&mut values);
        assert_eq!(
            (stats.count, stats.mean, stats.p50, stats.p90, stats.p99, stats.max),
            (10, 5.5, 5.0, 9.0, 10.0, 10.0)
        );
        assert_eq!(Stats::of(&mut []), Stats::default());
        assert_eq!(Stats::of(&mut [7.0]).p99, 7.0);
    }

    #[test]
    fn an_interval_is_that_of_the_tables() {
        // 4, 6, 8: s = 2, half width 4.303 · 2 / √3.
        let interval = Interval::of(&[4.0, 6.0, 8.0]);
        assert_eq!(interval.mean, 6.0);
        assert!((interval.half_width.unwrap() - 4.9687).abs() < 1e-4);
        assert_eq!(Interval::of(&[4.0]), Interval { mean: 4.0, half_width: None });
    }

    #[test]
    fn a_difference_is_paired_or_welchs() {
        let (first, second) = ([4.0, 6.0, 8.0], [5.0, 8.0, 11.0]);
        // Differences 1, 2, 3: s = 1.
        let paired = Interval::of_difference(&first, &second, true);
        assert!((paired.mean - 2.0).abs() < 1e-12 && (paired.half_width.unwrap() - 4.303 / 3_f64.sqrt()).abs() < 1e-9);
        // Variances 4 and 9: (13/3)² / ((4/3)²/2 + (9/3)²/2) = 3.48 degrees of freedom, of which 3 count.
        let welch = Interval::of_difference(&first, &second, false);
        assert!((welch.mean - 2.0).abs() < 1e-12);
        assert!((welch.half_width.unwrap() - 3.182 * (13.0_f64 / 3.0).sqrt()).abs() < 1e-9);
        assert_eq!(Interval::of_difference(&first, &[5.0], true), Interval { mean: -1.0, half_width: None });
        assert_eq!(Interval::of_difference(&[1.0, 1.0], &[3.0, 3.0], false).half_width, Some(0.0));
    }

    #[test]
    fn jains_index_is_between_one_nth_and_one() {
        assert_eq!(jain(&[1.0, 1.0, 1.0]), 1.0);
        assert_eq!(jain(&[1.0, 0.0, 0.0, 0.0]), 0.25);
        assert_eq!(jain(&[]), 1.0);
    }
}
