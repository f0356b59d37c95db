//! `[scheduler]`: everything that the engine can be told, in words and in tables.

use hai_core::engine::{Churn, EngineConfig, Policy};
use hai_core::model::{ModelName, Span, WorkerRequest};
use hai_core::placement::PlacementPolicy;
use hai_core::placement::policy::{Typical, WeightedPolicy};
use hai_core::queue::order::{
    Aging, EarliestDeadline, Fair, Fifo, LeastAttainedService, OrderPolicy, ShortestExpected, ShortestRemaining,
};
use hai_daemon::config::{Config, EXAMPLE};

use super::{parse, problem, problems, same};

/// Every setting of the engine, with values that are not its defaults.
pub(crate) const ALL: &str = r#"
    [scheduler]
    policy = "hai-fifo"
    borrow = true
    protected = "1m"
    slice = "2m"
    demote_after = "3m"
    restart_cost = "4s"
    back_off = "5s"
    back_off_max = "6s"
    cool_down = "7s"
    cool_down_max = "8s"
    cut_grace = "9s"
    placement = "best-fit"
    cross_zone_tasks = 10
    reserve_after = "never"
    reservations = 11
    slice_swaps = 12
    [scheduler.order]
    policy = "fair"
    half_life = "14d"
    [scheduler.aging]
    every = "6h"
    cap = 2
    [scheduler.churn]
    free = 13
    every = "14m"
    [scheduler.weights]
    "RTX 3070" = 1.0
    H100 = 2.5
    [scheduler.levels.HIGH]
    slice = "1h"
    "#;

#[test]
fn every_other_choice_of_the_example_is_one() {
    let plain = |line: &str| line.strip_prefix("##").map(|line| format!("{line}\n"));
    let blocks: Vec<String> = EXAMPLE
        .split("\n\n")
        .map(|part| part.lines().filter_map(plain).collect::<String>())
        .filter(|block| !block.is_empty())
        .collect();
    let heads: Vec<_> = blocks.iter().filter_map(|block| block.lines().next()).collect();
    let (order, placement) = ("[scheduler.order]", "[scheduler.placement]");
    let rest = ["[scheduler.aging]", "[scheduler.churn]", "[scheduler.weights]"];
    assert_eq!(heads, [&[order, order, placement, placement, placement][..], &rest].concat());
    for block in &blocks {
        let config = parse(block);
        assert_ne!(config.scheduler, Config::default().scheduler, "{block}");
        same(&parse(&config.show()), &config);
    }
}

#[test]
fn the_engine_has_no_setting_that_can_not_be_set() {
    // Where a field is added to the engine, it is missed here.
    let EngineConfig {
        policy,
        order,
        aging,
        borrow,
        timing,
        levels,
        weights,
        restart_cost,
        back_off,
        back_off_max,
        cool_down,
        cool_down_max,
        cut_grace,
        placement,
        cross_zone_tasks,
        reserve_after,
        reservations,
        slice_swaps,
        churn,
    } = parse(ALL).engine();
    let default = EngineConfig::default();
    assert_eq!((policy, borrow), (Policy::HaiFifo, true));
    assert_eq!(order, OrderPolicy::Fair(Fair { half_life: Span::from_mins(14 * 24 * 60) }));
    assert_eq!(aging, Some(Aging { every: Span::from_mins(360), cap: 2 }));
    assert_eq!((timing.protected, timing.slice), (Span::from_mins(1), Span::from_mins(2)));
    assert_eq!((timing.demote_after, levels.len()), (Span::from_mins(3), 1));
    assert_eq!(
        weights.iter().map(|(model, weight)| (model.as_str(), weight.as_milli())).collect::<Vec<_>>(),
        [("H100", 2500), ("RTX 3070", 1000),]
    );
    assert_eq!(restart_cost, Span::from_secs(4));
    assert_eq!((back_off, back_off_max), (Span::from_secs(5), Span::from_secs(6)));
    assert_eq!((cool_down, cool_down_max), (Span::from_secs(7), Span::from_secs(8)));
    assert_eq!((cut_grace, placement), (Span::from_secs(9), PlacementPolicy::BestFit));
    assert_eq!((cross_zone_tasks, reserve_after, reservations, slice_swaps), (Some(10), None, 11, 12));
    assert_eq!(churn, Some(Churn { free: 13, every: Span::from_mins(14) }));
    assert_eq!((default.churn, default.aging), (None, None));
}

#[test]
fn an_order_is_a_word_or_a_table() {
    let order = |text: &str| {
        let config = parse(&format!("[scheduler]\norder = {text}"));
        same(&parse(&config.show()), &config);
        config.scheduler.order
    };
    assert_eq!(order("\"fair\""), OrderPolicy::Fair(Fair::default()));
    assert_eq!(order("{ policy = \"fair\" }"), OrderPolicy::Fair(Fair::default()));
    assert_eq!(order("{ policy = \"fair\", half_life = \"never\" }"), OrderPolicy::Fair(Fair { half_life: Span::MAX }));
    for (word, expected) in [
        ("fifo", OrderPolicy::Fifo(Fifo {})),
        ("shortest-expected", OrderPolicy::ShortestExpected(ShortestExpected {})),
        ("shortest-remaining", OrderPolicy::ShortestRemaining(ShortestRemaining {})),
        ("earliest-deadline", OrderPolicy::EarliestDeadline(EarliestDeadline {})),
        ("least-attained-service", OrderPolicy::LeastAttainedService(LeastAttainedService::default())),
    ] {
        assert_eq!(order(&format!("{word:?}")), expected);
    }
    let steps = order("{ policy = \"least-attained-service\", thresholds = [\"90m\", \"1d\"] }");
    assert_eq!(
        steps,
        OrderPolicy::LeastAttainedService(LeastAttainedService { thresholds: vec![5_400_000, 86_400_000] })
    );
    let one = order("{ policy = \"least-attained-service\", thresholds = [] }");
    assert_eq!(one, OrderPolicy::LeastAttainedService(LeastAttainedService { thresholds: vec![] }));
}

#[test]
fn a_placement_is_a_word_or_a_table() {
    let placement = |text: &str| {
        let config = parse(text);
        same(&parse(&config.show()), &config);
        config.scheduler.placement
    };
    for (word, expected) in [
        ("tightest", PlacementPolicy::Tightest),
        ("first-fit", PlacementPolicy::FirstFit),
        ("best-fit", PlacementPolicy::BestFit),
        ("worst-fit", PlacementPolicy::WorstFit),
        ("dot-product", PlacementPolicy::DotProduct),
        ("gpu-packing", PlacementPolicy::GpuPacking),
        ("gpu-clustering", PlacementPolicy::GpuClustering),
        ("random", PlacementPolicy::Random { seed: 0 }),
    ] {
        assert_eq!(placement(&format!("[scheduler]\nplacement = {word:?}")), expected);
    }
    assert_eq!(
        placement("[scheduler.placement]\npolicy = \"random\"\nseed = 18446744073709551615"),
        PlacementPolicy::Random { seed: u64::MAX }
    );
    let stock = "[scheduler.placement]\npolicy = \"cutting-stock\"\ntypical = [{ weight = 3, share = 0.25 }]";
    let PlacementPolicy::CuttingStock { typical } = placement(stock) else { panic!("it is that") };
    assert_eq!((typical.len(), typical[0].weight), (1, 3));
    let text = r#"
        [scheduler.placement]
        policy = "weighted"
        part = [{ weight = 2, policy = "random", seed = 3 }]
        "#;
    let random = WeightedPolicy { policy: PlacementPolicy::Random { seed: 3 }, weight: 2 };
    assert_eq!(placement(text), PlacementPolicy::Weighted(vec![random]));

    let text = r#"
        [scheduler.placement]
        policy = "weighted"
        [[scheduler.placement.part]]
        weight = 1
        policy = "weighted"
        [[scheduler.placement.part.part]]
        weight = 5
        policy = "fgd"
        [[scheduler.placement.part.part.typical]]
        weight = 3
        share = 0.25
        cpu = 0.5
        memory = "1GiB"
        [[scheduler.placement.part.part.typical]]
        weight = 1
        share_memory = "4GiB"
        models = ["B", "A"]
        forbidden_models = ["C"]
        same_model = true
        device_memory = "8GiB"
        mig_profile = "1g.5gb"
        compute_capability = "8.6"
        [[scheduler.placement.part.part.typical]]
        weight = 0
        whole_node = true
        "#;
    let PlacementPolicy::Weighted(outer) = placement(text) else { panic!("it is weighted") };
    let PlacementPolicy::Weighted(inner) = &outer[0].policy else { panic!("so is its part") };
    let PlacementPolicy::Fgd { typical } = &inner[0].policy else { panic!("and in that is fgd") };
    let picky = WorkerRequest {
        models: ["B", "A"].map(|name| ModelName::new(name).expect("a name")).to_vec(),
        forbidden_models: [ModelName::new("C").expect("a name")].into(),
        same_model: true,
        device_memory_mib: 8192,
        mig_profile: Some("1g.5gb".parse().expect("a profile")),
        compute_capability: Some("8.6".parse().expect("a capability")),
        ..WorkerRequest::device_memory(4096)
    };
    let requests = [
        (3, WorkerRequest { cpu_milli: 500, memory_mib: 1024, ..WorkerRequest::share(250) }),
        (1, picky),
        (0, WorkerRequest::whole_node()),
    ];
    assert_eq!(*typical, requests.map(|(weight, request)| Typical { request, weight }));
}

#[test]
fn weighted_placements_are_not_parts_of_one_another_without_end() {
    let deep = |depth: usize| {
        let open = "{ policy = \"weighted\", part = [{ weight = 1, policy = \"tightest\" }, ";
        let inner = (1..depth).fold("{ weight = 1, policy = \"random\" }".to_owned(), |inner, _| {
            format!("{} weight = 1, policy = \"weighted\", part = [{inner}] {}", '{', '}')
        });
        format!("[scheduler]\nplacement = {open}{inner}] {}", '}')
    };
    let config = parse(&deep(4));
    same(&parse(&config.show()), &config);
    let told = problem(&deep(5));
    assert!(told.ends_with("weighted policies may be parts of one another 4 deep, not more"), "{told}");
    let head = format!("[scheduler.placement{}]\nweight = 1", ".part".repeat(100_000));
    assert!(!problems(&head).is_empty());
}

#[test]
fn a_wrong_setting_is_told_with_what_would_be_right() {
    let typical =
        |more: &str| format!("[scheduler]\nplacement = {{ policy = \"fgd\", typical = [{{ weight = 1, {more} }}] }}");
    let table = [
        ("[scheduler]\norder = \"fiar\"".to_owned(), "2:9: order: `fiar` is not an order; did you mean `fair`?"),
        (
            "[scheduler]\norder = 1".to_owned(),
            "2:9: order: expected an order in quotes: one of \"fifo\", \"fair\", \"shortest-expected\", \
             \"shortest-remaining\", \"least-attained-service\", \"earliest-deadline\", found the number 1",
        ),
        (
            "[[scheduler.order]]".to_owned(),
            "1:1: [scheduler.order] is one table, not a list; write it once, in single brackets",
        ),
        (
            "[scheduler.order]\nhalf_life = \"1d\"".to_owned(),
            "1:1: [scheduler.order] has no policy; write e.g. policy = \"fair\"",
        ),
        (
            "[scheduler.order]\npolicy = \"fair\"\nhalf_lif = \"1d\"".to_owned(),
            "3:1: unknown key `half_lif` in [scheduler.order]; did you mean `half_life`?",
        ),
        (
            "[scheduler.order]\npolicy = \"fair\"\nhalf_life = \"nevr\"".to_owned(),
            "3:13: half_life: `nevr` is not a length of time; did you mean `never`?",
        ),
        (
            "[scheduler.order]\npolicy = \"fifo\"\nhalf_life = \"1d\"".to_owned(),
            "3:1: half_life goes with policy = \"fair\", not with \"fifo\"",
        ),
        (
            "[scheduler.order]\npolicy = \"fair\"\nthresholds = [\"1d\"]".to_owned(),
            "3:1: thresholds goes with policy = \"least-attained-service\", not with \"fair\"",
        ),
        (
            "[scheduler.order]\npolicy = \"least-attained-service\"\nthresholds = [\"1d\", 3600]".to_owned(),
            "3:14: thresholds: expected a length of time in quotes, e.g. \"30m\" or \"4h\", found the number 3600",
        ),
        ("[scheduler.aging]\nevery = \"1h\"".to_owned(), "1:1: [scheduler.aging] has no cap; write e.g. cap = 2"),
        (
            "[scheduler.aging]\nevery = \"1h\"\ncap = 256".to_owned(),
            "3:7: cap: expected a whole number from 0 to 255, found the number 256",
        ),
        (
            "[scheduler.churn]\nfree = 1\nevery = \"1h\"\nfre = 1".to_owned(),
            "4:1: unknown key `fre` in [scheduler.churn]; did you mean `free`?",
        ),
        ("[scheduler]\naging = 1".to_owned(), "2:9: [scheduler.aging] is a table, not a single value"),
        ("[scheduler]\nagin = 1".to_owned(), "2:1: unknown key `agin` in [scheduler]; did you mean `aging`?"),
        (
            "[scheduler.weights]\nH100 = \"2\"".to_owned(),
            "2:8: H100: expected a number that is not negative, to a thousandth, found the text \"2\"",
        ),
        ("[scheduler.weights]\n\"\" = 2".to_owned(), "2:1: a device model is empty"),
        (
            "[scheduler]\ncross_zone_tasks = \"all\"".to_owned(),
            "2:20: cross_zone_tasks: expected a whole number from 0 to 4294967295, or \"unlimited\", found the text \"all\"",
        ),
        (
            "[scheduler]\nreserve_after = \"soon\"".to_owned(),
            "2:17: reserve_after: `soon` is not a length of time; write a whole number with a unit, e.g. `500ms`, `5s`, `30m`, `4h` or `2d`, or `never`",
        ),
        (
            "[scheduler]\nplacement = \"fgd\"".to_owned(),
            "2:13: placement: `fgd` has to know the usual work; write [scheduler.placement] with policy = \"fgd\" and a [[scheduler.placement.typical]] for each kind",
        ),
        (
            "[scheduler.placement]\npolicy = \"bestfit\"".to_owned(),
            "2:10: policy: `bestfit` is not a placement; did you mean `best-fit`?",
        ),
        (
            "[scheduler.placement]\npolicy = \"best-fit\"\nseed = 1".to_owned(),
            "3:1: seed goes with policy = \"random\", not with \"best-fit\"",
        ),
        (
            "[scheduler.placement]\npolicy = \"weighted\"\n[[scheduler.placement.part]]\npolicy = \"tightest\""
                .to_owned(),
            "3:1: [[scheduler.placement.part]] has no weight; write e.g. weight = 1",
        ),
        (
            "[scheduler]\ncool_down_max = \"1ms\"".to_owned(),
            "2:17: cool_down_max (1ms) is shorter than cool_down (10s)",
        ),
        (
            "[scheduler]\norder = { policy = \"fair\", half_life = \"0s\" }".to_owned(),
            "2:9: order: half_life is zero, so nobody's use would count; write e.g. \"7d\"",
        ),
        (
            "[scheduler]\nplacement = { policy = \"fgd\" }".to_owned(),
            "2:24: policy \"fgd\" needs a [[scheduler.placement.typical]]; without, all places are alike",
        ),
        (
            "[scheduler]\nplacement = { policy = \"weighted\", part = [{ weight = 0, policy = \"random\" }] }"
                .to_owned(),
            "2:24: policy \"weighted\" needs a weight other than 0 in a [[scheduler.placement.part]]; without, all places are alike",
        ),
        (
            typical("devices = 1, share = 0.5"),
            "2:42: only one of devices, share, share_memory and whole_node says what the work takes",
        ),
        (typical("devices = 65"), "2:66: devices: 65 is impossible; a node has at most 64"),
        (typical("share = 1.5"), "2:64: share: 1.5 is impossible; a part of a device goes from 0.001 to 1"),
        (typical("models = [\"A\", \"A\"]"), "2:65: models: A stands there twice"),
    ];
    for (text, expected) in table {
        assert_eq!(problem(&text), format!("hai.toml:{expected}"), "{text}");
    }
}
