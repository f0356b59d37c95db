//! What a task can ask for: parts of devices, models, slices, gangs that grow, nodes that lie together.

use hai_core::engine::EngineConfig;
use hai_core::model::*;

use crate::lab::{Lab, model, node, place, profile, task, user};
use crate::{Example, Told};

pub(crate) const ALL: &[Example] = &[
    ("a share of a device", share),
    ("memory on mixed cards, charged by the card", memory_on_mixed_cards),
    ("models in order of preference", preferred_models),
    ("a MIG slice, and a compute capability", slices_and_capabilities),
    ("an elastic gang", elastic_gang),
    ("a gang under one leaf switch", one_leaf),
];

/// Two halves share a card; whole and shared use of one card exclude each other.
fn share() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 1, "RTX 3070", 8)]);
    for name in ["half", "other half"] {
        lab.submit(task(name, WorkerRequest::share(500)));
    }
    let whole = lab.submit(task("whole", WorkerRequest::devices(1)));
    let mut told = lab.settle();
    told.push(lab.why(whole));
    told
}

/// 4 GiB are half of a small card, and a twentieth of a large one, which counts as four.
fn memory_on_mixed_cards() -> Told {
    let weights = [(model("A100"), Amount::whole(4))].into();
    let nodes = [node("large", 1, "A100", 80), node("small", 1, "RTX 3070", 8)];
    let mut lab = Lab::new(EngineConfig { weights, ..EngineConfig::default() }, nodes);
    lab.right(RightKey { user: Some(user("alice")), ..RightKey::default() }, Allowance::devices(1));
    for (name, on) in [("on the small", "RTX 3070"), ("on the large", "A100")] {
        lab.submit(task(name, WorkerRequest { models: vec![model(on)], ..WorkerRequest::device_memory(4 << 10) }));
    }
    let more = lab.submit(task("more", WorkerRequest::share(400)));
    let mut told = lab.settle();
    told.push(lab.why(more));
    told
}

/// The best-liked model that is free is taken.
fn preferred_models() -> Told {
    let mut lab = Lab::new(
        EngineConfig::default(),
        [node("a", 1, "RTX 3070", 8), node("b", 1, "A100", 80), node("c", 1, "T4", 16)],
    );
    let request = WorkerRequest { models: vec![model("A100"), model("RTX 3070")], ..WorkerRequest::devices(1) };
    for name in ["first", "second"] {
        lab.submit(task(name, request.clone()));
    }
    let not_these = [model("A100"), model("RTX 3070")].into();
    lab.submit(task("anything else", WorkerRequest { forbidden_models: not_these, ..WorkerRequest::devices(1) }));
    lab.settle()
}

/// A slice goes only to those who ask for its profile.
fn slices_and_capabilities() -> Told {
    let mut sliced = node("sliced", 1, "A100", 10);
    sliced.devices[0].mig_profile = Some(profile("1g.10gb"));
    let mut new = node("new", 1, "H200", 141);
    new.devices[0].compute_capability = Some(ComputeCapability { major: 9, minor: 0 });
    let mut lab = Lab::new(EngineConfig::default(), [sliced, node("old", 1, "T4", 16), new]);
    lab.submit(task("slice", WorkerRequest { mig_profile: Some(profile("1g.10gb")), ..WorkerRequest::devices(1) }));
    let least = Some(ComputeCapability { major: 8, minor: 6 });
    lab.submit(task("modern", WorkerRequest { compute_capability: least, ..WorkerRequest::devices(1) }));
    lab.settle()
}

/// It starts with what there is, and grows when it resumes.
fn elastic_gang() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 3, "RTX 3070", 8)]);
    let gang = TaskSpec { workers: 4, workers_min: Some(2), ..task("gang", WorkerRequest::devices(1)) };
    let task = lab.submit(gang);
    let mut told = lab.settle();
    lab.tell(&Fact::NodeSet { node: node("b", 3, "RTX 3070", 8) });
    lab.tell(&Fact::Held { task });
    told.extend(lab.settle());
    lab.tell(&Fact::Released { task });
    told.extend(lab.settle());
    told
}

/// Two nodes of different leaves will not do, though they are as free as the others.
fn one_leaf() -> Told {
    let under = |name: &str, leaf: &str| {
        let location = Location { leaf: Some(place(leaf)), ..Location::default() };
        NodeSpec { location, ..node(name, 1, "H200", 141) }
    };
    let mut lab = Lab::new(EngineConfig::default(), [under("a", "left"), under("b", "right"), under("c", "right")]);
    let constraints = Some(Box::new(Constraints { one_leaf: true, ..Constraints::default() }));
    lab.submit(TaskSpec { workers: 2, constraints, ..task("gang", WorkerRequest::whole_node()) });
    lab.settle()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_one_card_exclude_its_whole() {
        let told = share();
        assert_eq!(told[..2], ["start half on 500/1000 of a-0", "start other half on 500/1000 of a-0"]);
        assert!(told[2].starts_with("whole waits: no room now"), "{told:?}");
    }

    #[test]
    fn memory_is_charged_by_the_card_it_is_on() {
        let told = memory_on_mixed_cards();
        assert_eq!(
            told[..2],
            ["start on the small on 500/1000 of small-0", "start on the large on 50/1000 of large-0"]
        );
        assert!(told[2].contains("tasks of theirs use 0.7 devices"), "half a card, and a twentieth of four: {told:?}");
    }

    #[test]
    fn the_best_liked_model_goes_first() {
        assert_eq!(preferred_models(), ["start first on b-0", "start second on a-0", "start anything else on c-0"]);
    }

    #[test]
    fn only_what_was_asked_for_will_do() {
        assert_eq!(slices_and_capabilities(), ["start slice on sliced-0", "start modern on new-0"]);
    }

    #[test]
    fn an_elastic_gang_grows_when_it_resumes() {
        let told = elastic_gang();
        assert_eq!(told[0], "start gang on a-0, a-1, a-2");
        assert_eq!(told[1], "suspend gang: it was asked to hold");
        assert_eq!(told[2].matches(", ").count(), 3, "four workers: {told:?}");
    }

    #[test]
    fn a_gang_under_one_leaf_leaves_the_first_node_alone() {
        assert_eq!(one_leaf(), ["start gang on b, c"]);
    }
}
