//! Where a task goes: the stock of placement policies, and devices that are linked.

use hai_core::engine::EngineConfig;
use hai_core::model::*;
use hai_core::placement::PlacementPolicy;

use crate::lab::{Lab, node, task};
use crate::{Example, Told};

pub(crate) const ALL: &[Example] =
    &[("packed, or spread", packed_or_spread), ("devices that are linked", linked_devices)];

/// The same two tasks under two policies.
fn packed_or_spread() -> Told {
    let mut told = Vec::new();
    for placement in [PlacementPolicy::GpuPacking, PlacementPolicy::WorstFit] {
        let config = EngineConfig { placement, ..EngineConfig::default() };
        let mut lab = Lab::new(config, [node("a", 4, "RTX 3070", 8), node("b", 4, "RTX 3070", 8)]);
        for name in ["first", "second"] {
            lab.submit(task(name, WorkerRequest::devices(1)));
        }
        told.extend(lab.settle());
    }
    told
}

/// Of four free devices the two that NVLink joins.
fn linked_devices() -> Told {
    let links = vec![DeviceLink { a: 1, b: 3, kind: LinkKind::NvLink }];
    let mut lab = Lab::new(EngineConfig::default(), [NodeSpec { links, ..node("a", 4, "A100", 80) }]);
    lab.submit(task("pair", WorkerRequest::devices(2)));
    lab.settle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_says_whether_work_is_packed() {
        let packed = ["start first on a-0", "start second on a-1"];
        let spread = ["start first on a-0", "start second on b-0"];
        assert_eq!(packed_or_spread(), [packed, spread].concat());
    }

    #[test]
    fn a_pair_gets_the_linked_devices() {
        assert_eq!(linked_devices(), ["start pair on a-1 + a-3"]);
    }
}
