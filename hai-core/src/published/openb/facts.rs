//! What was published: the curves of the workload "default" at 1.3 times the cluster, seeds 42 to 44.
//!
//! `default-curves.csv` holds figures from the table that the authors' simulator comes with
//! (github.com/hkust-adsl/kubernetes-scheduler-simulator, commit 8f3d6417, experiments/analysis/expected_results, Apache-2.0);
//! rows were selected and put on their side, nothing was changed.

use super::policy::OpenbPolicy;

/// The workload of the curves.
pub(super) const VARIANT: &str = "default";
/// The load of all published runs, relative to the cluster.
pub(super) const LOAD: f64 = 1.3;
/// The seeds of the curves that are known here.
pub(super) const SEEDS: [i64; 3] = [42, 43, 44];
/// Allocation by the random policy in per cent when 100 % have arrived: the mean over their ten seeds, and how far runs lie
/// from it (standard deviation).
pub(super) const RANDOM: (f64, f64) = (86.30, 0.33);
/// Of so many runs.
pub(super) const RANDOM_RUNS: f64 = 10.0;

const CURVES: &str = include_str!("default-curves.csv");

/// The published curve of a metric ("alloc" or "fragamt"), one value for each per cent of arrived load, if it is known.
pub(super) fn curve(metric: &str, policy: OpenbPolicy, seed: i64) -> Option<Vec<f64>> {
    let head = format!("{metric},{policy},{seed},");
    let line = CURVES.lines().find_map(|line| line.strip_prefix(&head))?;
    line.split(',').map(|value| value.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_there_and_has_a_value_for_each_per_cent() {
        for policy in OpenbPolicy::ALL.into_iter().filter(|policy| policy.is_exact()) {
            for seed in SEEDS {
                for metric in ["alloc", "fragamt"] {
                    assert_eq!(curve(metric, policy, seed).map(|curve| curve.len()), Some(131), "{policy} {seed}");
                }
            }
        }
        assert_eq!(curve("alloc", OpenbPolicy::Fgd, 42).map(|curve| curve[100]), Some(95.14));
        assert_eq!(curve("alloc", OpenbPolicy::Fgd, 45), None);
    }
}
