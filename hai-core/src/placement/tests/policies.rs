//! Worked examples of the stock policies, worked out by hand from their formulas.

use super::build::{node, nodes, placer, request, start, task};
use crate::inventory::Inventory;
use crate::model::{Devices, WorkerRequest};
use crate::placement::PlacementPolicy;
use crate::placement::policy::{Fgd, Typical, WeightedPolicy};

fn asked(devices: Devices, cpu_milli: u32) -> WorkerRequest {
    WorkerRequest { cpu_milli, ..request(devices) }
}

/// Three nodes with 4 devices and 64 cores; the first has a device in use, the second a half of one.
fn cluster() -> Inventory {
    let mut inventory = Inventory::default();
    for name in ["a", "b", "c"] {
        inventory.set(node(name, &[("A", 1000); 4]));
    }
    let mut first = placer(&PlacementPolicy::FirstFit);
    start(&mut inventory, &mut first, &task(1, asked(Devices::Count(1), 8_000)), 100).expect("fits");
    let ix = inventory.find(&"a".parse().expect("a name")).expect("known");
    inventory.cool(ix, Some(crate::model::Time::from_ms(1)));
    start(&mut inventory, &mut first, &task(1, asked(Devices::Share(500), 4_000)), 101).expect("fits");
    inventory.cool(ix, None);
    inventory
}

fn chosen(policy: &PlacementPolicy, request: &WorkerRequest) -> usize {
    let mut inventory = cluster();
    nodes(&start(&mut inventory, &mut placer(policy), &task(1, request.clone()), 7).expect("fits"))[0]
}

#[test]
fn each_policy_takes_its_node() {
    let whole = asked(Devices::Count(1), 8_000);
    let part = asked(Devices::Share(200), 1_000);
    for (policy, for_whole, for_part) in [
        (PlacementPolicy::Tightest, 0, 1),
        (PlacementPolicy::FirstFit, 0, 0),
        // Left of a: 48 of 128 cores and 2 of 8 devices, (0.375 + 0.25) / 2 = 0.3125, 68 points; of b: 52 cores and
        // 2.5, 64 points; of c: 56 cores and 3, 59 points.
        (PlacementPolicy::BestFit, 0, 0),
        (PlacementPolicy::WorstFit, 2, 2),
        // a: 56 x 8 / 128^2 + 3 x 1 / 64 = 0.0742, 96 points; c: 0.03125 + 0.0625, 95 points.
        (PlacementPolicy::DotProduct, 0, 0),
        // Used nodes before the unused one; a used device before both.
        (PlacementPolicy::GpuPacking, 0, 1),
        // Beside work that asked for as much.
        (PlacementPolicy::GpuClustering, 0, 1),
    ] {
        assert_eq!((chosen(&policy, &whole), chosen(&policy, &part)), (for_whole, for_part), "{policy:?}");
    }
}

#[test]
fn random_is_the_same_for_the_same_seed_and_reaches_every_node() {
    let part = asked(Devices::Share(200), 1_000);
    let mut seen = [0_u32; 3];
    for seed in 0..300 {
        let policy = PlacementPolicy::Random { seed };
        assert_eq!(chosen(&policy, &part), chosen(&policy, &part));
        seen[chosen(&policy, &part)] += 1;
    }
    // A hundred each on average, with a standard deviation of eight.
    assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
}

#[test]
fn weights_decide_between_policies() {
    let part = asked(Devices::Share(200), 1_000);
    let mix = |best: u16, worst: u16| {
        PlacementPolicy::Weighted(vec![
            WeightedPolicy { policy: PlacementPolicy::BestFit, weight: best },
            WeightedPolicy { policy: PlacementPolicy::WorstFit, weight: worst },
        ])
    };
    assert_eq!((chosen(&mix(2, 1), &part), chosen(&mix(1, 2), &part)), (0, 2));
    // No weight at all: the first node.
    assert_eq!(chosen(&PlacementPolicy::Weighted(Vec::new()), &part), 0);
}

/// Half of the work asks for 600 thousandths, half for a whole device.
fn typical() -> Vec<Typical> {
    vec![
        Typical { request: request(Devices::Share(600)), weight: 1 },
        Typical { request: request(Devices::Count(1)), weight: 1 },
    ]
}

#[test]
fn fgd_fills_the_device_that_is_fragment_already() {
    let mut inventory = Inventory::default();
    inventory.set(node("a", &[("A", 1000); 2]));
    let policy = PlacementPolicy::Fgd { typical: typical() };
    let mut placer = placer(&policy);
    let mut give = |inventory: &mut Inventory, milli, run| {
        start(inventory, &mut placer, &task(1, request(Devices::Share(milli))), run)
            .map(|places| places[0].1.devices.trailing_zeros())
    };
    // 300 of the first device: the class of 600 can use what is left (700), that of whole devices can not. F rises
    // from 0 to (0 + 700) / 2 = 350, on either device.
    assert_eq!(give(&mut inventory, 300, 1), Some(0));
    // 200 more on the first: 500 is left, useless to both: F = (500 + 500) / 2 = 500, a rise of 150. On the second:
    // (0 + 700 + 800) / 2 = 750, a rise of 400.
    assert_eq!(give(&mut inventory, 200, 2), Some(0));
    // The next 500 on the first remove all fragment: F = 0, a fall of 500. On the second: (500 + 500 + 500 + 500) / 2.
    assert_eq!(give(&mut inventory, 500, 3), Some(0));
    assert_eq!(give(&mut inventory, 100, 4), Some(1));
}

#[test]
fn fgd_gains_are_squeezed_into_hundredths() {
    // int(100 / (1 + exp(-x))) for falls of F by 0, 0.04, 0.041, 1, and rises by as much.
    let fgd = Fgd::new(typical());
    let percent = |milli: i128| fgd.percent(2 * milli);
    assert_eq!([0, 40, 41, 1000, 10_000].map(percent), [50, 50, 51, 73, 99]);
    assert_eq!([-1, -40, -41, -1000, -10_000].map(percent), [49, 49, 48, 26, 0]);
}

#[test]
fn the_typical_work_is_the_most_frequent_95_of_100() {
    let class = |milli| request(Devices::Share(milli));
    let typical = Fgd::typical([(class(1), 2), (class(2), 60), (class(3), 33), (class(4), 2), (class(5), 3)]);
    let shares: Vec<_> = typical.iter().map(|class| (class.request.devices, class.weight)).collect();
    assert_eq!(shares, [(Devices::Share(2), 60), (Devices::Share(3), 33), (Devices::Share(5), 3)]);
}

#[test]
fn policies_read_and_write_by_name() {
    for json in [
        r#""tightest""#,
        r#""gpu-packing""#,
        r#"{"random":{"seed":3}}"#,
        r#"{"fgd":{"typical":[{"request":{"devices":{"share":500},"device_memory_mib":0,"cpu_milli":0,"memory_mib":0},"weight":1}]}}"#,
        r#"{"weighted":[{"policy":"best-fit","weight":2},{"policy":"first-fit","weight":1}]}"#,
    ] {
        let policy: PlacementPolicy = serde_json::from_str(json).expect("a policy");
        assert_eq!(serde_json::to_string(&policy).expect("text"), json);
    }
}
