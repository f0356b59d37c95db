//! Whose turn it is: orders inside a level, levels that rise, and places that are kept.

use hai_core::engine::{EngineConfig, Timing};
use hai_core::model::*;
use hai_core::queue::order::{Aging, OrderPolicy, ShortestExpected};

use crate::lab::{Lab, node, of, task};
use crate::{Example, Told};

pub(crate) const ALL: &[Example] = &[
    ("the shortest first", shortest_first),
    ("who waits long rises", aging),
    ("who makes room loses the least", least_loss),
    ("nodes are kept for a gang, and filled meanwhile", reservation),
];

fn one() -> WorkerRequest {
    WorkerRequest::devices(1)
}

/// An order other than first come, first served.
fn shortest_first() -> Told {
    let order = OrderPolicy::ShortestExpected(ShortestExpected {});
    let mut lab = Lab::new(EngineConfig { order, ..EngineConfig::default() }, [node("a", 1, "RTX 3070", 8)]);
    for (name, minutes) in [("long", 600), ("short", 5)] {
        lab.submit(TaskSpec { expected: Some(Span::from_mins(minutes)), ..task(name, one()) });
    }
    lab.settle()
}

/// A low task that waited long is tried before a normal one that just came, and has the place for one slice.
fn aging() -> Told {
    let aging = Some(Aging { every: Span::from_mins(60), cap: 9 });
    let timing = Timing { slice: Span::from_mins(15), ..Timing::default() };
    let mut lab = Lab::new(EngineConfig { aging, timing, ..EngineConfig::default() }, [node("a", 1, "RTX 3070", 8)]);
    let first = lab.submit(of("bob", Priority::High, task("first", one())));
    lab.submit(of("carol", Priority::Low, task("low", one())));
    let mut told = lab.settle();
    lab.pass(Span::from_mins(600));
    lab.submit(task("normal", one()));
    told.extend(lab.settle());
    lab.end(first, 0);
    told.extend(lab.settle());
    lab.pass(Span::from_mins(15));
    told.extend(lab.settle());
    told
}

/// Of two that yield the one that just saved its work is told to.
fn least_loss() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 2, "RTX 3070", 8)]);
    let saved = lab.submit(task("saved", one()));
    lab.submit(task("unsaved", one()));
    let mut told = lab.settle();
    lab.pass(Span::from_mins(60));
    let run = lab.run(saved);
    lab.tell(&Fact::Checkpointed { run, whole_life_state: 1 });
    lab.submit(of("bob", Priority::High, task("urgent", one())));
    told.extend(lab.settle());
    told
}

/// After half an hour nodes are kept for a gang, and its verdict says until when. What is over by then may still start;
/// what can not be suspended and has no such limit may not.
fn reservation() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 1, "RTX 3070", 8), node("b", 1, "RTX 3070", 8)]);
    lab.submit(task("running", one()));
    let mut told = lab.settle();
    let gang = TaskSpec { workers: 2, ..task("gang", WorkerRequest::whole_node()) };
    let gang = lab.submit(of("bob", Priority::Normal, gang));
    told.extend(lab.settle());
    lab.pass(Span::from_mins(30));
    told.extend(lab.settle());
    told.push(lab.why(gang));
    let rigid = |name, limit| TaskSpec { suspendable: false, limit, ..task(name, one()) };
    let endless = lab.submit(of("carol", Priority::Low, rigid("endless", None)));
    lab.submit(of("dave", Priority::Low, rigid("short", Some(Span::from_mins(60)))));
    told.extend(lab.settle());
    told.push(lab.why(endless));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_operators_choice() {
        assert_eq!(shortest_first(), ["start short on a-0"]);
    }

    #[test]
    fn who_waited_long_goes_before_a_better_level() {
        let told = aging();
        assert_eq!(told[..2], ["start first on a-0", "start low on a-0"]);
        assert!(told[2].starts_with("suspend low"), "not before its slice is over: {told:?}");
        assert_eq!(told[3..], ["start normal on a-0"]);
    }

    #[test]
    fn who_saved_its_work_makes_room() {
        let told = least_loss();
        assert!(told[2].starts_with("suspend saved"), "{told:?}");
        assert_eq!(told[3..], ["start urgent on a-0"]);
    }

    #[test]
    fn a_reservation_has_a_bound_and_its_holes_are_filled() {
        let told = reservation();
        assert_eq!(told[1], "keep a, b for gang, by 240 min");
        assert!(told[2].contains("it starts by 1970-01-01T04:00"), "{told:?}");
        assert_eq!(told[3], "start short on b-0");
        assert!(told[4].contains("would delay task 2"), "{told:?}");
    }
}
