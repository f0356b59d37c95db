//! Worked examples: parts, preference, links, topology, cooling.

use super::build::{group, model, names, node, nodes, on_leaf, place_name, request, start, task};
use crate::inventory::{Inventory, KindSet, Stage, Take, When};
use crate::model::{Arrangement, Constraints, DeviceHealth, DeviceLink, Devices, LinkKind, RunId, Time};
use crate::placement::{Ask, Placer, Within, fits_empty, lack, on_node};

fn cluster(specs: impl IntoIterator<Item = crate::model::NodeSpec>) -> Inventory {
    let mut inventory = Inventory::default();
    specs.into_iter().for_each(|spec| {
        inventory.set(spec);
    });
    inventory
}

#[test]
fn parts_go_to_the_fullest_card_and_say_what_they_take() {
    let mut inventory = cluster([node("a", &[("A", 10_000), ("A", 10_000)])]);
    let mut placer = Placer::default();
    let mut give = |devices, run| {
        start(&mut inventory, &mut placer, &task(1, request(devices)), run).map(|places| {
            let place = names(&inventory, &places).remove(0);
            let part = place.part.map(|part| (part.milli, part.memory_mib));
            (place.devices[0].as_str().to_owned(), part)
        })
    };
    let on = |device: &str, part| Some((device.to_owned(), part));
    assert_eq!(give(Devices::Share(333), 1), on("GPU-a-0", Some((333, 3330))));
    // 2,999 of 10,000 MiB are 299.9 thousandths; the fuller card still has room.
    assert_eq!(give(Devices::Memory(2_999), 2), on("GPU-a-0", Some((299, 2_999))));
    assert_eq!(give(Devices::Share(400), 3), on("GPU-a-1", Some((400, 4000))));
    // 368 thousandths are left of the first card, but 3,671 MiB only.
    assert_eq!(give(Devices::Share(368), 4), on("GPU-a-1", Some((368, 3680))));
    // No card is untouched any more.
    assert_eq!(give(Devices::Count(1), 5), None);
    // A little memory is at least one thousandth.
    assert_eq!(give(Devices::Memory(1), 6), on("GPU-a-1", Some((1, 1))));
    assert!(!inventory.nodes().any(crate::inventory::Node::is_overcommitted));
}

#[test]
fn a_card_is_whole_or_shared_also_while_it_is_promised_or_left() {
    let everything = KindSet::all();
    for (stage, fits_now, fits_later) in
        [(Stage::Staying, false, false), (Stage::Vacating, false, true), (Stage::Promised, false, false)]
    {
        let mut inventory = cluster([node("a", &[("A", 1000)])]);
        let ix = inventory.group(&group()).next().expect("the node");
        inventory.hold_at(ix, Take::new(1, 0, 0), RunId(1), 0, stage);
        let part = Ask::of(&inventory, &task(1, request(Devices::Share(1))));
        let fits = |when| on_node(&inventory, &part, ix, when, &everything) > 0;
        assert_eq!((fits(When::Now), fits(When::Later)), (fits_now, fits_later), "{stage:?}");
    }
    // A part that leaves and one that is promised both count now; later only the promised one does.
    let mut inventory = cluster([node("a", &[("A", 1000)])]);
    let ix = inventory.group(&group()).next().expect("the node");
    let part = |milli, memory_mib| Take::new(1, 0, 0).with_part(crate::model::DevicePart { milli, memory_mib });
    inventory.hold_at(ix, part(700, 700), RunId(1), 0, Stage::Vacating);
    inventory.hold_at(ix, part(600, 600), RunId(2), 0, Stage::Promised);
    let ask = Ask::of(&inventory, &task(9, request(Devices::Share(100))));
    assert_eq!(on_node(&inventory, &ask, ix, When::Now, &everything), 3);
    assert_eq!(on_node(&inventory, &ask, ix, When::Later, &everything), 4);
    inventory.release_at(ix, RunId(2), 0);
    inventory.release_at(ix, RunId(1), 0);
    let whole = Ask::of(&inventory, &task(1, request(Devices::Count(1))));
    assert_eq!(on_node(&inventory, &whole, ix, When::Now, &everything), 1);
}

#[test]
fn a_better_liked_model_wins_before_a_tighter_fit() {
    let mut inventory = cluster([
        node("small", &[("A", 8_000)]),
        node("big", &[("B", 80_000), ("B", 80_000), ("B", 80_000), ("B", 80_000)]),
    ]);
    let mut placer = Placer::default();
    let mut wanted = request(Devices::Count(1));
    wanted.models = vec![model("B"), model("A")];
    let places = start(&mut inventory, &mut placer, &task(1, wanted.clone()), 1).expect("fits");
    assert_eq!(nodes(&places), [1]);
    // A gang takes the second model only for what the first has no room for.
    let places = start(&mut inventory, &mut placer, &task(4, wanted.clone()), 2).expect("fits");
    assert_eq!(nodes(&places).iter().filter(|&&ix| ix == 1).count(), 3);
    wanted.models.clear();
    wanted.same_model = true;
    inventory.release_at(places[0].0, RunId(2), 0);
    assert_eq!(start(&mut inventory, &mut placer, &task(5, wanted), 3), None);
}

#[test]
fn the_same_model_holds_the_most_workers() {
    let mut inventory = cluster([
        node("a", &[("A", 1000), ("B", 2000), ("B", 2000)]),
        node("b", &[("A", 1000), ("B", 2000), ("C", 3000)]),
    ]);
    let mut wanted = request(Devices::Count(1));
    wanted.same_model = true;
    let mut spec = task(5, wanted);
    assert!(!fits_empty(&inventory, &spec));
    assert_eq!(lack(&inventory, &spec).placeable, 3);
    spec.workers_min = Some(2);
    let places = start(&mut inventory, &mut Placer::default(), &spec, 1).expect("three of B");
    let models: Vec<_> = places
        .iter()
        .map(|(ix, take)| inventory.node(*ix).spec().devices[take.devices.trailing_zeros() as usize].model.clone())
        .collect();
    assert_eq!(models, [model("B"), model("B"), model("B")]);
}

#[test]
fn devices_lie_best_together_and_leave_the_best_joined_rest() {
    // Two pairs over NVLink (0-2, 1-3), all four under one NUMA node.
    let mut spec = node("a", &[("A", 1000); 4]);
    let link = |a, b, kind| DeviceLink { a, b, kind };
    spec.links = vec![link(0, 2, LinkKind::NvLink), link(1, 3, LinkKind::NvLink)];
    spec.links.extend([(0, 1), (0, 3), (1, 2), (2, 3)].map(|(a, b)| link(a, b, LinkKind::Numa)));
    let mut inventory = cluster([spec]);
    let mut placer = Placer::default();
    let mut give = |count, run| {
        start(&mut inventory, &mut placer, &task(1, request(Devices::Count(count))), run)
            .map(|places| places[0].1.devices)
    };
    assert_eq!(give(2, 1), Some(0b0101));
    // One of the pair that is left; then the other.
    assert_eq!(give(1, 2), Some(0b0010));
    assert_eq!(give(1, 3), Some(0b1000));
    // One of four: any breaks one pair, so the first does.
    let links = crate::inventory::Links::of(inventory.node(inventory.group(&group()).next().expect("one")).spec());
    assert_eq!(links.best(0b1111, 1, 0), 0b0001);
    // Of three the odd one goes, since the pair is worth more as a rest.
    assert_eq!(links.best(0b1110, 1, 0), 0b0100);
}

/// Two zones; in the first two spines with two leaves each, in the second one leaf. Two nodes of two devices per leaf.
fn network() -> Inventory {
    let mut inventory = Inventory::default();
    for (leaf, spine, zone) in
        [("l1", "s1", "z1"), ("l2", "s1", "z1"), ("l3", "s2", "z1"), ("l4", "s2", "z1"), ("l5", "s3", "z2")]
    {
        for at in 0..2 {
            inventory.set(on_leaf(node(&format!("{leaf}-{at}"), &[("A", 1000); 2]), leaf, spine, zone));
        }
    }
    inventory
}

#[test]
fn a_gang_goes_to_the_smallest_part_of_the_network_that_holds_it() {
    let mut inventory = network();
    let mut placer = Placer::default();
    let mut run = 0;
    let mut give = |inventory: &mut Inventory, workers, devices| {
        run += 1;
        start(inventory, &mut placer, &task(workers, request(Devices::Count(devices))), run)
            .map(|places| nodes(&places))
    };
    assert_eq!(give(&mut inventory, 1, 1), Some(vec![0]));
    // The first leaf has three devices left, the tightest leaf that holds three.
    assert_eq!(give(&mut inventory, 3, 1), Some(vec![0, 1, 1]));
    // Six fit under no leaf; of the spines the second alone has room for them. One leaf whole, then the other.
    assert_eq!(give(&mut inventory, 6, 1), Some(vec![4, 4, 5, 5, 6, 6]));
    // Two free leaves of four devices and half of one: eight in one zone do not fit any more.
    let ask = Ask::of(&inventory, &task(8, request(Devices::Count(1))));
    let kinds = KindSet::all();
    let mut within = Within { may_cross_zones: false, ..Within::anything(When::Now, &kinds) };
    let mut placer = Placer::default();
    assert_eq!(placer.place(&inventory, &ask, &within), None);
    within.may_cross_zones = true;
    assert_eq!(placer.place(&inventory, &ask, &within).map(|places| places.len()), Some(8));
    let topology = inventory.topology();
    let path = |ix: usize| inventory.nodes_joined().nth(ix).expect("a node").path();
    let distances = [(0, 1), (0, 2), (0, 4), (0, 8)].map(|(a, b)| topology.distance(&path(a), &path(b)));
    assert_eq!(distances, [1, 2, 3, 4]);
}

#[test]
fn constraints_bind_all_workers() {
    let mut inventory = network();
    inventory.set(node("nowhere", &[("A", 1000); 8]));
    let ask = |workers, constraints: Constraints| {
        let mut spec = task(workers, request(Devices::Count(1)));
        spec.constraints = Some(Box::new(constraints));
        spec
    };
    let leaf = || Constraints { one_leaf: true, ..Constraints::default() };
    let kinds = KindSet::all();
    let within = Within::anything(When::Now, &kinds);
    let mut placer = Placer::default();
    let mut place = |spec: &crate::model::TaskSpec| placer.place(&inventory, &Ask::of(&inventory, spec), &within);
    assert_eq!(place(&ask(4, leaf())).map(|places| nodes(&places)), Some(vec![0, 0, 1, 1]));
    // Only the node of which nothing is known has so many by itself.
    assert_eq!(place(&ask(8, leaf())).map(|places| nodes(&places)), Some(vec![10; 8]));
    assert_eq!(place(&ask(9, leaf())), None);
    assert!(fits_empty(&inventory, &ask(8, leaf())) && !fits_empty(&inventory, &ask(9, leaf())));
    let zone = |name: &str| Constraints { zones: [place_name(name)].into(), ..Constraints::default() };
    assert_eq!(place(&ask(4, zone("z2"))).map(|places| nodes(&places)), Some(vec![8, 8, 9, 9]));
    assert_eq!(place(&ask(5, zone("z2"))), None);
    let spread = Constraints { arrangement: Arrangement::Spread, one_zone: true, ..Constraints::default() };
    // Eight nodes of the first zone: one of each leaf, then the other.
    assert_eq!(place(&ask(8, spread)).map(|places| nodes(&places)), Some(vec![0, 2, 4, 6, 1, 3, 5, 7]));
    let labels = Constraints { labels: [("disk".to_owned(), "nvme".to_owned())].into(), ..Constraints::default() };
    assert_eq!(place(&ask(1, labels)), None);
}

#[test]
fn an_elastic_gang_gets_as_much_as_there_is() {
    let mut inventory = network();
    let mut spec = task(100, request(Devices::Count(2)));
    spec.workers_min = Some(3);
    let ask = Ask::of(&inventory, &spec);
    let kinds = KindSet::all();
    let mut placer = Placer::default();
    let all = Within::anything(When::Now, &kinds);
    assert_eq!(placer.place(&inventory, &ask, &all).map(|places| places.len()), Some(10));
    assert_eq!(placer.place(&inventory, &ask, &Within { workers_most: 5, ..all }).map(|places| places.len()), Some(5));
    assert_eq!(placer.place(&inventory, &ask, &Within { workers_most: 2, ..all }), None);
    let avoid: Vec<_> = inventory.group(&group()).take(7).collect();
    let few = placer.place(&inventory, &ask, &Within { avoid: &avoid, ..all }).expect("three nodes");
    // The second zone has more room than what is left of the first.
    assert_eq!(nodes(&few), [8, 9, 7]);
    let ix = avoid[0];
    inventory.cool(ix, Some(Time::from_ms(5)));
    assert_eq!(placer.place(&inventory, &ask, &all).map(|places| places.len()), Some(9));
    inventory.cool(ix, None);
    assert_eq!(placer.place(&inventory, &ask, &all).map(|places| places.len()), Some(10));
}

#[test]
fn a_whole_node_is_well_and_empty() {
    let mut sick = node("a", &[("A", 1000); 2]);
    sick.devices[1].health = DeviceHealth::Suspect { reason: "slow".to_owned() };
    let mut inventory = cluster([sick, node("b", &[("A", 1000); 2])]);
    let mut placer = Placer::default();
    let spec = task(2, request(Devices::WholeNode));
    assert!(fits_empty(&inventory, &spec));
    let ask = Ask::of(&inventory, &spec);
    assert!(placer.fits_empty(&inventory, &ask));
    assert_eq!(start(&mut inventory, &mut placer, &spec, 1), None);
    assert_eq!(
        start(&mut inventory, &mut placer, &task(1, request(Devices::WholeNode)), 2).map(|places| nodes(&places)),
        Some(vec![1])
    );
    let ix = inventory.find(&"a".parse().expect("a name")).expect("known");
    inventory.remove(ix);
    assert!(!placer.fits_empty(&inventory, &ask));
}

#[test]
fn a_node_takes_little_memory() {
    let models = [("NVIDIA A100-SXM4-80GB", 81_920); 8];
    let mut inventory = cluster([on_leaf(node("gpu-node-0001", &models), "leaf-01", "spine-01", "zone-1")]);
    for run in 0..8 {
        start(&mut inventory, &mut Placer::default(), &task(1, request(Devices::Count(1))), run);
    }
    let held = inventory.nodes().next().expect("the node");
    let names: usize = held.spec().devices.iter().map(|device| device.id.as_str().len() + 16).sum();
    let bytes = size_of_val(held) + size_of_val(&held.spec().devices[..]) + size_of_val(held.holds()) + names;
    println!("{bytes} bytes, {} of them the node itself", size_of_val(held));
    assert!(bytes <= 2048, "{bytes} bytes");
}
