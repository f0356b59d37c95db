//! The stock of orders in worked examples, and what holds of all of them.

use proptest::prelude::*;

use super::*;
use crate::model::{Amount, GroupName, Priority, UserName, WorkerRequest};

const HOUR: u64 = 3_600_000;

fn user(name: &str) -> UserName {
    UserName::new(name).expect("a name")
}

fn group() -> GroupName {
    GroupName::new("gpus").expect("a name")
}

/// A task with its expected time, its deadline, how long it ran and what it had, all in milliseconds.
#[derive(Clone, Debug)]
struct Case {
    number: u64,
    spec: TaskSpec,
    ran: Span,
    attained: u64,
    account: AccountIx,
}

fn case(usage: &mut Usage, number: u64, owner: &str) -> Case {
    let spec = TaskSpec::new("t", user(owner), group(), Priority::Normal, WorkerRequest::devices(1));
    Case { number, spec, ran: Span::ZERO, attained: 0, account: usage.account(&user(owner), &group()) }
}

impl Case {
    fn waiting(&self) -> Waiting<'_> {
        Waiting {
            task: TaskId(self.number),
            spec: &self.spec,
            account: self.account,
            ran: self.ran,
            attained: self.attained,
        }
    }
}

/// The numbers of the tasks in their order.
fn sorted(order: &dyn Order, cases: &[Case], usage: &Usage, now: Time) -> Vec<u64> {
    let mut keys: Vec<Key> = cases.iter().map(|case| order.key(&case.waiting(), usage, now)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| key.task.0).collect()
}

/// Tasks 1, 2, … of one user, changed one by one.
fn tasks<const N: usize>(change: [&dyn Fn(&mut Case); N]) -> (Usage, Vec<Case>) {
    let mut usage = Usage::new(Span::MAX);
    let cases = (1..).zip(change).map(|(number, change)| {
        let mut case = case(&mut usage, number, "ann");
        change(&mut case);
        case
    });
    let cases = cases.collect();
    (usage, cases)
}

#[test]
fn fifo_goes_by_rank_and_then_by_submission() {
    let (usage, cases) = tasks([&|_| {}, &|_| {}, &|case| case.spec.custom_rank = Rank::new(0.5), &|case| {
        case.spec.custom_rank = Rank::new(1.0);
    }]);
    assert_eq!(sorted(&Fifo {}, &cases, &usage, Time::ZERO), [3, 1, 4, 2]);
}

#[test]
fn shortest_goes_by_what_is_expected_in_all_or_still() {
    let expect = |expected: u64, ran: u64| {
        move |case: &mut Case| {
            case.spec.expected = Some(Span::from_ms(expected));
            case.ran = Span::from_ms(ran);
        }
    };
    let (usage, cases) = tasks([&|_| {}, &expect(50, 0), &expect(90, 60), &expect(20, 70), &expect(50, 0)]);
    assert_eq!(sorted(&ShortestExpected {}, &cases, &usage, Time::ZERO), [4, 2, 5, 3, 1]);
    // Left: unknown, 50, 30, 0, 50.
    assert_eq!(sorted(&ShortestRemaining {}, &cases, &usage, Time::ZERO), [4, 3, 2, 5, 1]);
}

#[test]
fn deadlines_go_by_time_even_long_past_ones() {
    let due = |ms: i64| move |case: &mut Case| case.spec.deadline = Some(Time::from_ms(ms));
    let (usage, cases) = tasks([&|_| {}, &due(5), &due(-5), &due(i64::MIN), &due(i64::MAX)]);
    assert_eq!(sorted(&EarliestDeadline {}, &cases, &usage, Time::ZERO), [4, 3, 2, 5, 1]);
}

#[test]
fn least_attained_service_goes_by_queue_and_then_by_submission() {
    let had = |attained: u64| move |case: &mut Case| case.attained = attained;
    let (usage, cases) = tasks([&had(10 * HOUR), &had(HOUR), &had(HOUR - 1), &had(0), &had(2 * HOUR)]);
    // Two devices for half an hour are a device-hour: the second queue.
    assert_eq!(sorted(&LeastAttainedService::default(), &cases, &usage, Time::ZERO), [3, 4, 1, 2, 5]);
    let three = LeastAttainedService { thresholds: vec![5 * HOUR, HOUR] };
    assert_eq!(sorted(&three, &cases, &usage, Time::ZERO), [3, 4, 2, 5, 1]);
    let none = LeastAttainedService { thresholds: vec![] };
    assert_eq!(sorted(&none, &cases, &usage, Time::ZERO), [1, 2, 3, 4, 5]);
}

#[test]
fn fair_goes_by_use_and_what_is_long_past_counts_less() {
    let mut usage = Usage::new(Span::from_ms(HOUR));
    let cases = [case(&mut usage, 1, "ann"), case(&mut usage, 2, "bob"), case(&mut usage, 3, "cid")];
    let [ann, bob, _] = [0, 1, 2].map(|at: usize| cases[at].account);
    let at = |hours: u64| Time::ZERO + Span::from_ms(hours * HOUR);
    let (two, one) = (Amount::whole(2), Amount::whole(1));
    usage.hold(ann, two, at(0));
    usage.release(ann, two, at(1));
    usage.hold(bob, one, at(1));
    usage.release(bob, one, at(2));
    // Each hour of one device comes to HOUR / (2 ln 2) = 2,596,851 ms at its end. ann's two have halved since.
    assert_eq!(usage.used(ann, at(1)), 5_193_702);
    assert_eq!((usage.used(ann, at(2)), usage.used(bob, at(2))), (2_596_851, 2_596_851));
    let fair = Fair { half_life: Span::from_ms(HOUR) };
    usage.hold(bob, one, at(2));
    usage.release(bob, one, at(2) + Span::from_ms(1));
    assert_eq!(sorted(&fair, &cases, &usage, at(3)), [3, 1, 2]);
    assert_eq!(usage.used(bob, at(200)), 0);
}

#[test]
fn an_account_runs_on_between_what_it_is_told() {
    let mut usage = Usage::new(Span::MAX);
    let ann = usage.account(&user("ann"), &group());
    usage.hold(ann, Amount::from_milli(500), Time::from_ms(-1000));
    usage.hold(ann, Amount::whole(2), Time::from_ms(0));
    assert_eq!(usage.used(ann, Time::from_ms(1000)), 500 + 2500);
    usage.release(ann, Amount::MAX, Time::from_ms(1000));
    assert_eq!(usage.used(ann, Time::MAX), 3000);
    // Time does not run backwards.
    assert_eq!(usage.used(ann, Time::from_ms(0)), 3000);
    usage.set_half_life(Span::from_ms(10), Time::from_ms(1000));
    assert_eq!(usage.used(ann, Time::from_ms(1010)), 1500);
    usage.set_half_life(Span::ZERO, Time::from_ms(1010));
    assert_eq!((usage.used(ann, Time::from_ms(1010)), usage.used(ann, Time::from_ms(1011))), (1500, 0));
    // Sums stop at the greatest.
    usage.set_half_life(Span::MAX, Time::from_ms(1011));
    for _ in 0..3 {
        usage.hold(ann, Amount::MAX, Time::from_ms(1011));
    }
    assert_eq!(usage.used(ann, Time::MAX), u64::MAX);
}

#[test]
fn a_usage_reads_back_as_it_was_written() {
    let mut usage = Usage::new(Span::from_ms(HOUR));
    let (bob, ann) = (usage.account(&user("bob"), &group()), usage.account(&user("ann"), &group()));
    usage.hold(bob, Amount::MAX, Time::from_ms(5));
    usage.hold(bob, Amount::MAX, Time::from_ms(500));
    usage.hold(ann, Amount::from_milli(1), Time::from_ms(6));
    let json = serde_json::to_string(&usage).expect("plain data");
    let read: Usage = serde_json::from_str(&json).expect("it was just written");
    assert_eq!(read, usage);
    assert_eq!(read.used(bob, Time::from_ms(HOUR as i64)), usage.used(bob, Time::from_ms(HOUR as i64)));
    let twice = json.replace("\"ann\"", "\"bob\"");
    assert!(serde_json::from_str::<Usage>(&twice).unwrap_err().to_string().contains("bob has two accounts in gpus"));
}

#[test]
fn policies_read_by_name_and_say_whether_keys_change() {
    for (json, policy, is_static) in [
        (r#"{"policy":"fifo"}"#, OrderPolicy::default(), true),
        (r#"{"policy":"fair","half_life":5}"#, OrderPolicy::Fair(Fair { half_life: Span::from_ms(5) }), false),
        (r#"{"policy":"shortest-expected"}"#, OrderPolicy::ShortestExpected(ShortestExpected {}), true),
        (r#"{"policy":"shortest-remaining"}"#, OrderPolicy::ShortestRemaining(ShortestRemaining {}), true),
        (
            r#"{"policy":"least-attained-service","thresholds":[7]}"#,
            OrderPolicy::LeastAttainedService(LeastAttainedService { thresholds: vec![7] }),
            true,
        ),
        (r#"{"policy":"earliest-deadline"}"#, OrderPolicy::EarliestDeadline(EarliestDeadline {}), true),
    ] {
        assert_eq!(serde_json::from_str::<OrderPolicy>(json).expect(json), policy);
        assert_eq!(serde_json::to_string(&policy).expect("plain data"), json);
        assert_eq!((policy.is_static(), policy.half_life().is_some()), (is_static, !is_static));
    }
    for wrong in [r#"{"policy":"lifo"}"#, r#"{"policy":"fifo","half_life":5}"#, r#"{"policy":"fair","halflife":5}"#] {
        assert!(serde_json::from_str::<OrderPolicy>(wrong).is_err(), "{wrong}");
    }
    let default: OrderPolicy = serde_json::from_str(r#"{"policy":"fair"}"#).expect("a half-life may be left out");
    assert_eq!(default.half_life().map(|span| span.to_string()).as_deref(), Some("7d"));
}

proptest! {
    /// More of what a policy looks at never puts a task further to the front, and no two keys are equal.
    #[test]
    fn keys_grow_with_what_the_policy_looks_at(
        expected in any::<(u64, u64)>(), ran in any::<(u64, u64)>(), attained in any::<(u64, u64)>(),
        deadline in any::<(i64, i64)>(), thresholds in prop::collection::vec(any::<u64>(), 0..4),
    ) {
        let mut usage = Usage::new(Span::MAX);
        let (less, more) = (case(&mut usage, 1, "ann"), case(&mut usage, 1, "ann"));
        let two = |change: &dyn Fn(&mut Case, bool)| {
            let (mut less, mut more) = (less.clone(), more.clone());
            change(&mut less, false);
            change(&mut more, true);
            [less, more]
        };
        let pick = |(a, b): (u64, u64), greater: bool| if greater { a.max(b) } else { a.min(b) };
        let by_expected = two(&|case, more| case.spec.expected = Some(Span::from_ms(pick(expected, more))));
        let by_rest = two(&|case, more| {
            case.spec.expected = Some(Span::from_ms(expected.0));
            case.ran = Span::from_ms(pick(ran, !more));
        });
        let by_attained = two(&|case, more| case.attained = pick(attained, more));
        let by_deadline = two(&|case, more| {
            let (a, b) = deadline;
            case.spec.deadline = Some(Time::from_ms(if more { a.max(b) } else { a.min(b) }));
        });
        let served = LeastAttainedService { thresholds };
        let orders: [(&dyn Order, &[Case; 2]); 5] = [
            (&ShortestExpected {}, &by_expected),
            (&ShortestRemaining {}, &by_expected),
            (&ShortestRemaining {}, &by_rest),
            (&served, &by_attained),
            (&EarliestDeadline {}, &by_deadline),
        ];
        for (order, [less, more]) in orders {
            let key = |case: &Case| order.key(&case.waiting(), &usage, Time::ZERO);
            prop_assert!(key(less) <= key(more));
            let next = Case { number: 2, ..less.clone() };
            prop_assert!(key(less) < key(&next));
        }
    }

    /// More use never makes an account's use less, use never grows by itself while nothing is held, and no input makes
    /// it panic.
    #[test]
    fn use_grows_with_what_is_held(
        ops in prop::collection::vec((any::<bool>(), any::<u64>(), any::<i64>()), 0..20),
        half_life: u64, more: u64, at: i64,
    ) {
        let mut usage = Usage::new(Span::from_ms(half_life));
        let (ann, bob) = (usage.account(&user("ann"), &group()), usage.account(&user("bob"), &group()));
        usage.hold(bob, Amount::from_milli(more), Time::from_ms(i64::MIN));
        let mut last = Time::from_ms(i64::MIN);
        for (hold, milli, time) in ops {
            for account in [ann, bob] {
                let (amount, time) = (Amount::from_milli(milli), Time::from_ms(time));
                if hold { usage.hold(account, amount, time) } else { usage.release(account, amount, time) }
                last = last.max(time);
            }
        }
        let now = Time::from_ms(at).max(last);
        prop_assert!(usage.exact(ann, now) <= usage.exact(bob, now));
        for _ in 0..100 {
            usage.release(ann, Amount::MAX, now);
        }
        let halved = usage.exact(ann, now + Span::from_ms(half_life));
        prop_assert!(halved <= usage.exact(ann, now));
        // Where the end of time is not in between, exactly half is left.
        if half_life > 0 && (now + Span::from_ms(half_life)).since(now).as_ms() == half_life {
            prop_assert_eq!(halved, usage.exact(ann, now) / 2);
        }
    }
}
