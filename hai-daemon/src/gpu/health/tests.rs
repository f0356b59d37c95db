//! Health by examples and by properties: what is latched stays, what heals heals, and nothing flaps.

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fresh() -> Watch {
    Watch::new(Limits::default())
}

fn heat(temperature: u32) -> Signals {
    Signals { temperature_c: Some(temperature), slowdown_c: Some(93), ..Signals::default() }
}

fn xids(xids: &[u64]) -> Signals {
    Signals { xids: xids.to_vec(), ..Signals::default() }
}

fn calm() -> Signals {
    Signals::default()
}

fn word(health: &DeviceHealth) -> &'static str {
    match health {
        DeviceHealth::Healthy => "healthy",
        DeviceHealth::Suspect { .. } => "suspect",
        DeviceHealth::Draining { .. } => "draining",
        DeviceHealth::Probing => "probing",
        DeviceHealth::Sick { .. } => "sick",
        DeviceHealth::Stranger { .. } => "stranger",
    }
}

#[test]
fn a_device_that_fell_off_the_bus_stays_sick() {
    let mut watch = fresh();
    assert!(watch.look(at(0), &calm(), None).is_healthy());
    let sick = watch.look(at(5), &xids(&[31, 79]), None);
    assert_eq!(sick, DeviceHealth::Sick { reason: "XID 79: it has fallen off the bus".to_owned() });
    assert_eq!(watch.look(at(100_000), &calm(), None), sick);
}

#[test]
fn the_program_s_xids_are_not_the_device_s() {
    assert!(fresh().look(at(0), &xids(&[13, 31, 43, 45, 63, 92]), None).is_healthy());
}

#[test]
fn a_doubt_passes_and_three_do_not() {
    let mut watch = fresh();
    assert_eq!(word(&watch.look(at(0), &xids(&[74]), None)), "suspect");
    assert_eq!(word(&watch.look(at(599), &calm(), None)), "suspect");
    assert_eq!(word(&watch.look(at(600), &calm(), None)), "healthy");
    watch.look(at(700), &xids(&[74]), None);
    watch.look(at(900), &xids(&[74]), None);
    assert_eq!(word(&watch.look(at(1000), &xids(&[74]), None)), "draining");
    assert_eq!(word(&watch.look(at(9000), &calm(), None)), "draining");
}

#[test]
fn heat_heals_once_it_was_cool_for_a_minute() {
    let mut watch = fresh();
    assert_eq!(word(&watch.look(at(0), &heat(92), None)), "healthy");
    assert_eq!(word(&watch.look(at(5), &heat(93), None)), "suspect");
    // Three degrees less is not cool, so this minute does not count.
    assert_eq!(word(&watch.look(at(60), &heat(90), None)), "suspect");
    assert_eq!(word(&watch.look(at(119), &heat(60), None)), "suspect");
    assert_eq!(word(&watch.look(at(120), &heat(60), None)), "healthy");
    assert_eq!(word(&watch.look(at(125), &heat(90), None)), "healthy");
}

#[test]
fn heat_that_stays_makes_work_leave() {
    let mut watch = fresh();
    for seconds in (0..600).step_by(5) {
        assert_eq!(word(&watch.look(at(seconds), &heat(95), None)), "suspect", "{seconds}");
    }
    assert_eq!(word(&watch.look(at(600), &heat(95), None)), "draining");
    watch.look(at(605), &heat(50), None);
    assert_eq!(word(&watch.look(at(660), &heat(50), None)), "healthy");
}

#[test]
fn a_blink_of_throttling_is_nothing() {
    let slow = Signals { throttled: Some("hardware slowdown"), ..calm() };
    let mut watch = fresh();
    assert_eq!(word(&watch.look(at(0), &slow, None)), "healthy");
    assert_eq!(word(&watch.look(at(10), &slow, None)), "healthy");
    assert_eq!(word(&watch.look(at(12), &calm(), None)), "healthy");
    watch.look(at(20), &slow, None);
    assert_eq!(word(&watch.look(at(35), &slow, None)), "suspect");
}

#[test]
fn old_memory_errors_keep_new_work_away_and_new_ones_the_old_work() {
    let errors = |uncorrected| Signals { uncorrected, ..calm() };
    let mut watch = fresh();
    assert_eq!(word(&watch.look(at(0), &errors(2), None)), "suspect");
    // A reset forgets them.
    assert_eq!(word(&watch.look(at(5), &errors(0), None)), "healthy");
    assert_eq!(word(&watch.look(at(10), &errors(1), None)), "draining");
}

#[test]
fn a_stranger_is_one_at_the_first_look_and_later_only_if_it_stays() {
    let mut watch = fresh();
    let xorg = DeviceHealth::Stranger { process: "Xorg (900)".to_owned() };
    assert_eq!(watch.look(at(0), &calm(), Some("Xorg (900)")), xorg);
    assert_eq!(watch.look(at(5), &calm(), None), xorg);
    assert!(watch.look(at(10), &calm(), None).is_healthy());
    assert!(watch.look(at(15), &calm(), Some("Xorg (900)")).is_healthy());
    assert!(watch.look(at(20), &calm(), None).is_healthy());
    watch.look(at(25), &calm(), Some("Xorg (900)"));
    assert_eq!(watch.look(at(40), &calm(), Some("Xorg (900)")), xorg);
    assert_eq!(watch.look(at(45), &calm(), Some("firefox (950)")), xorg);
}

#[test]
fn what_can_not_be_read_is_sick_from_the_start_and_else_after_a_while() {
    let dark = Signals { unreadable: Some("unknown error".to_owned()), ..calm() };
    assert_eq!(word(&fresh().look(at(0), &dark, None)), "sick");
    let mut watch = fresh();
    watch.look(at(0), &calm(), None);
    assert_eq!(word(&watch.look(at(5), &dark, None)), "suspect");
    assert_eq!(word(&watch.look(at(25), &dark, None)), "sick");
    assert_eq!(word(&watch.look(at(30), &calm(), None)), "sick");
    assert_eq!(word(&watch.look(at(85), &calm(), None)), "healthy");
}

fn any_signals() -> impl Strategy<Value = Signals> {
    let rare = |words: &'static str| prop_oneof![20 => Just(None), 1 => Just(Some(words.to_owned()))];
    let temperature = prop::option::of(20_u32..110);
    let throttled = prop_oneof![4 => Just(None), 1 => Just(Some("hardware slowdown"))];
    let xid =
        prop_oneof![6 => Just(31_u64), 6 => Just(63), 2 => Just(74), 1 => Just(94), 1 => Just(79), 1 => Just(500)];
    let xids = prop_oneof![6 => Just(Vec::new()), 1 => prop::collection::vec(xid, 1..4)];
    let uncorrected = prop_oneof![30 => Just(0_u64), 1 => 1_u64..4];
    let flag = || prop_oneof![30 => Just(false), 1 => Just(true)];
    let parts = (rare("lost"), rare("dark"), temperature, throttled, xids, uncorrected, flag(), flag());
    parts.prop_map(|(lost, unreadable, temperature_c, throttled, xids, uncorrected, pages_pending, remap_failed)| {
        let slowdown_c = Some(93);
        Signals {
            lost,
            unreadable,
            temperature_c,
            slowdown_c,
            throttled,
            uncorrected,
            pages_pending,
            remap_failed,
            xids,
        }
    })
}

/// Looks with the seconds before each, and whether a stranger is there.
fn any_story() -> impl Strategy<Value = Vec<(u64, Signals, bool)>> {
    prop::collection::vec((0_u64..120, any_signals(), prop::bool::weighted(0.2)), 1..60)
}

fn is_dead(signals: &Signals) -> bool {
    signals.lost.is_some() || signals.remap_failed || signals.xids.iter().any(|xid| meaning(*xid).0 == Fault::Dead)
}

proptest! {
    /// What is dead is sick for ever, and nothing else is sick but what can not be read.
    #[test]
    fn sick_is_for_a_reason_and_for_ever(story in any_story()) {
        let (mut watch, mut now, mut dead, mut dark) = (fresh(), 0, false, false);
        for (wait, signals, stranger) in story {
            now += wait;
            dead |= is_dead(&signals);
            dark |= signals.unreadable.is_some();
            let health = watch.look(at(now), &signals, stranger.then_some("x"));
            if dead {
                prop_assert_eq!(word(&health), "sick");
            } else if word(&health) == "sick" {
                prop_assert!(dark);
            }
        }
    }

    /// While the hardware complains now, the device is not given out.
    #[test]
    fn a_complaint_is_never_healthy(story in any_story()) {
        let (mut watch, mut now) = (fresh(), 0);
        for (wait, signals, stranger) in story {
            now += wait;
            let health = watch.look(at(now), &signals, stranger.then_some("x"));
            let hot = signals.temperature_c.is_some_and(|is| is >= 93);
            let doubt = signals.xids.iter().any(|xid| meaning(*xid).0 >= Fault::Doubt);
            if is_dead(&signals) || hot || doubt || signals.uncorrected > 0 || signals.pages_pending
                || signals.unreadable.is_some()
            {
                prop_assert!(!health.is_healthy(), "{signals:?}");
            }
        }
    }

    /// After a long calm every device is healthy again, unless something about it was final.
    #[test]
    fn calm_heals_all_that_heals(story in any_story()) {
        let (mut watch, mut now, mut is_final) = (fresh(), 0, false);
        for (wait, signals, stranger) in story {
            now += wait;
            watch.look(at(now), &signals, stranger.then_some("x"));
            is_final = watch.sick.is_some() || watch.draining.is_some();
            // Bounded, however long it is watched.
            prop_assert!(watch.doubts.len() <= 3);
        }
        now += 600;
        let health = watch.look(at(now), &calm(), None);
        prop_assert_eq!(health.is_healthy(), !is_final, "{:?}", health);
    }

    /// Heat and strangers alone: from unhealthy to healthy takes the calm that was asked for.
    #[test]
    fn nothing_flaps(story in prop::collection::vec((1_u64..10, 80_u32..100, any::<bool>()), 1..300)) {
        let (mut watch, mut now) = (fresh(), 0);
        let (mut healthy, mut bad_at) = (true, None);
        for (wait, temperature, stranger) in story {
            now += wait;
            let is = watch.look(at(now), &heat(temperature), stranger.then_some("x")).is_healthy();
            if temperature >= 93 {
                bad_at = Some(now);
            }
            if is && !healthy && let Some(bad_at) = bad_at {
                prop_assert!(now - bad_at >= 60);
            }
            healthy = is;
        }
    }
}
