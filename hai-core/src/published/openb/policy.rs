//! The placement policies that are compared, by the names that the authors give them.

use std::fmt;
use std::str::FromStr;

use super::workload::Workload;
use crate::placement::PlacementPolicy;

/// A policy of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenbPolicy {
    /// Best fit.
    BestFit,
    /// Dot product.
    DotProd,
    /// Fragmentation gradient descent, theirs.
    Fgd,
    /// GPU clustering.
    GpuClustering,
    /// GPU packing.
    GpuPacking,
    /// Any node. Theirs depends on the timing of threads, so that only its distribution can be met.
    Random,
    /// Not theirs: hai's own placement.
    CuttingStock,
}

impl OpenbPolicy {
    /// All: theirs in the order of their names, then hai's own.
    pub const ALL: [OpenbPolicy; 7] = [
        OpenbPolicy::BestFit,
        OpenbPolicy::DotProd,
        OpenbPolicy::Fgd,
        OpenbPolicy::GpuClustering,
        OpenbPolicy::GpuPacking,
        OpenbPolicy::Random,
        OpenbPolicy::CuttingStock,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            OpenbPolicy::BestFit => "BestFit",
            OpenbPolicy::DotProd => "DotProd",
            OpenbPolicy::Fgd => "FGD",
            OpenbPolicy::GpuClustering => "GpuClustering",
            OpenbPolicy::GpuPacking => "GpuPacking",
            OpenbPolicy::Random => "Random",
            OpenbPolicy::CuttingStock => "CuttingStock",
        }
    }

    /// Whether the same draws give the same places as theirs.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        !matches!(self, OpenbPolicy::Random | OpenbPolicy::CuttingStock)
    }

    /// The policy of hai's that it is.
    #[must_use]
    pub fn policy(self, workload: &Workload, seed: i64) -> PlacementPolicy {
        match self {
            OpenbPolicy::BestFit => PlacementPolicy::BestFit,
            OpenbPolicy::DotProd => PlacementPolicy::DotProduct,
            OpenbPolicy::Fgd => PlacementPolicy::Fgd { typical: workload.typical() },
            OpenbPolicy::GpuClustering => PlacementPolicy::GpuClustering,
            OpenbPolicy::GpuPacking => PlacementPolicy::GpuPacking,
            OpenbPolicy::CuttingStock => PlacementPolicy::CuttingStock { typical: workload.typical() },
            OpenbPolicy::Random => PlacementPolicy::Random { seed: seed.cast_unsigned() },
        }
    }
}

impl fmt::Display for OpenbPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OpenbPolicy {
    type Err = Vec<String>;

    /// By name, whatever the case.
    ///
    /// # Errors
    /// The names there are.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(text));
        known.ok_or_else(|| Self::ALL.iter().map(ToString::to_string).collect())
    }
}
