//! A log decides the same again; what was altered is named.

use std::convert::Infallible;

use hai_core::backend::{Chain, Entry, Follower, Opening, Record};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::log::{FileError, Header, LogReader, Names, ReplayError, What, header_line, record_line};
use hai_core::model::*;
use serde_json::{Value, json};

use super::stories::{config, decide_anew, lines, records, reseal};
use crate::sim::Sim;
use crate::sim::{anything_goes, submit};
use crate::support::{node, secs, task, user};

const STORIES: u64 = 60;
const TURNS: u64 = 70;

#[test]
fn random_stories_are_decided_the_same_again() {
    let (mut openings, mut decisions) = (0, 0);
    for seed in 0..STORIES {
        let records = records(seed, TURNS);
        let lines = lines(&Header::new(EngineConfig::default()), &records);
        let replayed = decide_anew(&lines).unwrap_or_else(|why| panic!("story {seed}: {why}"));
        assert_eq!(Some(replayed.digest), records.iter().rev().find_map(|record| record.digest));
        assert_eq!(replayed.unsealed, 0, "story {seed} ends with facts that no round looked at");
        decisions += replayed.decisions;
        openings += records.iter().filter(|record| matches!(record.entry, Entry::Opened(_))).count() as u64;
    }
    assert!(openings > 2 * STORIES && decisions > 30 * STORIES, "{openings} restarts, {decisions} decisions");
}

#[test]
fn every_fact_is_sealed_by_a_round_of_its_time() {
    for seed in 0..6 {
        let records = records(seed, TURNS);
        for pair in records.windows(2) {
            let [one, next] = pair else { unreachable!("pairs were asked for") };
            if matches!(one.entry, Entry::Fact(_)) {
                assert_eq!(one.at, next.at, "story {seed}: time passed after record {} before its round", one.seq);
            }
        }
        assert!(matches!(records.last().unwrap().entry, Entry::Round(_)));
    }
}

/// A log that begins in the middle, with the state of then.
#[test]
fn a_window_is_decided_the_same_again() {
    let mut windows = 0;
    for seed in 0..STORIES {
        let records = records(seed, TURNS);
        let mut follower = Follower::new(config(seed), Policies::default());
        for (index, record) in records.iter().enumerate() {
            follower.take(record).unwrap();
            drop(follower.drain_changes());
            if record.digest.is_none() || !(index as u64 + seed).is_multiple_of(9) {
                continue;
            }
            let header = Header::after(follower.snapshot(), EngineConfig::default());
            assert_eq!(header.config, config(seed));
            let lines = lines(&header, &records[index + 1..]);
            if let Err(why) = decide_anew(&lines) {
                panic!("story {seed} from record {}: {why}", record.seq);
            }
            windows += 1;
        }
    }
    assert!(windows > 300, "{windows}");
}

#[test]
fn a_pseudonymised_log_is_decided_the_same_and_names_nobody() {
    for seed in 0..12 {
        let records = records(seed, TURNS);
        let half = records.iter().rposition(|record| record.digest.is_some() && record.seq < 60).unwrap();
        let mut follower = Follower::new(config(seed), Policies::default());
        records[..=half].iter().for_each(|record| follower.take(record).unwrap());
        let whole = (Header::new(config(seed)), &records[..]);
        let window = (Header::after(follower.snapshot(), EngineConfig::default()), &records[half + 1..]);
        for (header, records) in [whole, window] {
            let mut names = Names::default();
            names.see_header(&header);
            records.iter().for_each(|record| names.see(record));
            let mut pseudonyms = names.number();
            let before = lines(&header, records).join("\n");
            let header = pseudonyms.header(header);
            let records: Vec<Record> = records.iter().map(|record| pseudonyms.record(record.clone())).collect();
            let lines = lines(&header, &records);
            decide_anew(&lines).unwrap_or_else(|why| panic!("story {seed}: {why}"));
            let text = lines.join("\n");
            let mut names = vec!["\"a\"", "\"b\"", "\"c\"", "\"g\"", "\"n0\"", "\"n1\"", "\"n2\"", "its node is gone"];
            names.extend(["\"t1\"", "\"t2\"", "\"t17\"", "n0-", "n1-"]);
            let there: Vec<_> = names.iter().filter(|name| before.contains(**name)).collect();
            assert!(there.len() > 8, "the names looked for are not in the log: {there:?}");
            for name in names {
                assert!(!text.contains(name), "story {seed}: {name} is still there");
            }
            assert!(text.contains("user-0001") && text.contains("node-0003"));
        }
    }
}

/// Set to write the log that `same_digests` decides anew in every build: only if the format changes, as a new file.
const REWRITE: &str = "HAI_REWRITE_LOG";

#[test]
fn a_log_of_the_first_version_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/log-1.jsonl");
    if std::env::var_os(REWRITE).is_some() {
        let text = lines(&Header::new(EngineConfig::default()), &records(3, 60)).join("\n") + "\n";
        std::fs::write(path, text).unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("{\"format\":\"hai-log\",\"version\":1,"), "{}", lines[0]);
    decide_anew(&lines).unwrap();
}

// --- altered logs

/// Two devices; a task for one, and one for both that has to wait: as records, and the index of some of them.
fn small() -> Vec<Record> {
    let mut sim = Sim::new(EngineConfig::default(), [node("n0").devices(2)], 1);
    sim.step(vec![anything_goes()]).unwrap();
    sim.step(vec![submit(task("one").devices(1).spec()).by(user("alice"))]).unwrap();
    sim.settle();
    sim.now += secs(5);
    sim.step(vec![submit(task("two").devices(2).spec())]).unwrap();
    sim.now += secs(5);
    sim.cluster.end(RunId(1), 0, WorkerExit::exited(0));
    sim.settle();
    sim.store.inner.kept().records
}

fn line_of(records: &[Record], wanted: impl Fn(&Entry) -> bool) -> usize {
    records.iter().position(|record| wanted(&record.entry)).expect("it is there") + 2
}

fn submitted(task: u64) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(entry, Entry::Fact(Fact::Submitted { task: id, .. }) if *id == TaskId(task))
}

fn starts(task: u64) -> impl Fn(&Entry) -> bool {
    move |entry| {
        let start = |said: &Decision| matches!(said, Decision::Start { task: id, .. } if *id == TaskId(task));
        matches!(entry, Entry::Round(decisions) if decisions.iter().any(start))
    }
}

#[test]
fn a_line_that_was_altered_and_not_sealed_anew_is_found_by_the_next_digest() {
    let records = small();
    let header = Header::new(EngineConfig::default());
    let (fact, round) = (line_of(&records, submitted(1)), line_of(&records, starts(1)));
    let mut lines = lines(&header, &records);
    lines[fact - 1] = lines[fact - 1].replace("\"one\"", "\"won\"");
    match decide_anew(&lines) {
        Err(ReplayError::File(FileError::Digest { line, first, seq })) => {
            assert_eq!((line, seq), (round as u64, round as u64 - 1));
            assert!((first..=line).contains(&(fact as u64)), "lines {first} to {line} do not hold {fact}");
        }
        other => panic!("it went unnoticed: {other:?}"),
    }
    // Who caused a fact is sealed as well.
    lines[fact - 1] = lines[fact - 1].replace("\"won\"", "\"one\"").replace("alice", "mallory");
    assert!(matches!(decide_anew(&lines), Err(ReplayError::File(FileError::Digest { .. }))));
}

#[test]
fn a_line_that_was_removed_is_found_by_its_number() {
    let records = small();
    let mut lines = lines(&Header::new(EngineConfig::default()), &records);
    lines.remove(4);
    let expected = FileError::Number { line: 5, expected: 4, found: 5 };
    assert_eq!(decide_anew(&lines), Err(ReplayError::File(expected)));
}

#[test]
fn an_altered_fact_in_a_chain_that_fits_is_found_by_the_first_decision_that_differs() {
    let mut records = small();
    let at = line_of(&records, submitted(1)) - 2;
    let Entry::Fact(Fact::Submitted { spec, .. }) = &mut records[at].entry else { unreachable!("it is one") };
    std::sync::Arc::make_mut(spec).request = WorkerRequest::devices(2);
    let records = reseal(&records);
    let round = line_of(&records, starts(1)) as u64;
    match decide_anew(&lines(&Header::new(EngineConfig::default()), &records)) {
        Err(ReplayError::Difference(difference)) => {
            assert_eq!((difference.line, difference.seq, difference.task), (round, round - 1, Some(TaskId(1))));
            assert_eq!(difference.at, records[at].at);
            let What::Decision { index: 0, recorded: Some(recorded), decided: Some(decided) } = &difference.what else {
                panic!("{difference:?}");
            };
            let devices = |said: &Decision| match said {
                Decision::Start { placement, .. } => placement.workers[0].devices.len(),
                other => panic!("{other:?}"),
            };
            assert_eq!((devices(recorded), devices(decided)), (1, 2));
            let text = difference.to_string();
            assert!(text.starts_with(&format!("line {round} ")) && text.contains("task 1"), "{text}");
        }
        other => panic!("it went unnoticed: {other:?}"),
    }
}

#[test]
fn an_altered_decision_in_a_chain_that_fits_is_found_where_it_stands() {
    let mut records = small();
    let at = line_of(&records, starts(2)) - 2;
    let Entry::Round(decisions) = &mut records[at].entry else { unreachable!("it is one") };
    let taken = decisions.pop();
    let records = reseal(&records);
    match decide_anew(&lines(&Header::new(EngineConfig::default()), &records)) {
        Err(ReplayError::Difference(difference)) => {
            assert_eq!((difference.line, difference.task), (at as u64 + 2, Some(TaskId(2))));
            let What::Decision { recorded: None, decided, .. } = &difference.what else { panic!("{difference:?}") };
            assert_eq!(*decided, taken);
        }
        other => panic!("it went unnoticed: {other:?}"),
    }
}

#[test]
fn a_fact_that_can_not_be_is_named() {
    let mut chain = Chain::default();
    let records = [chain.fact(Time::ZERO, Fact::Released { task: TaskId(9) }), chain.round(Time::ZERO, vec![])];
    match decide_anew(&lines(&Header::new(EngineConfig::default()), &records)) {
        Err(ReplayError::Difference(difference)) => {
            assert_eq!((difference.line, difference.task), (2, Some(TaskId(9))));
            assert!(difference.to_string().contains("there is no unfinished task 9"), "{difference}");
        }
        other => panic!("it went unnoticed: {other:?}"),
    }
}

/// The operator changes the configuration: what was decided before is decided as before, and what comes after anew.
#[test]
fn a_changed_configuration_is_in_the_log() {
    let mut sim = Sim::new(EngineConfig::default(), [node("n0").devices(2)], 1);
    sim.step(vec![anything_goes()]).unwrap();
    let cut = RightRow::new(RightKey { user: Some(user("u")), ..RightKey::default() }, Allowance::devices(1));
    sim.step(vec![hai_core::backend::Command::Tell(Fact::RightSet { right: cut })]).unwrap();
    for _ in 0..2 {
        sim.step(vec![submit(task("t").devices(1).spec())]).unwrap();
    }
    sim.settle();
    assert_eq!(sim.driver().engine().runs().count(), 1);
    sim.config.borrow = true;
    sim.reopen(false);
    sim.step(vec![]).unwrap();
    sim.settle();
    assert_eq!(sim.driver().engine().runs().count(), 2, "it may borrow now");
    let records = sim.store.inner.kept().records;
    let openings: Vec<bool> = records
        .iter()
        .filter_map(
            |record| if let Entry::Opened(opening) = &record.entry { Some(opening.config.borrow) } else { None },
        )
        .collect();
    assert_eq!(openings, [false, true]);
    let first = Entry::Opened(Box::new(Opening::new(EngineConfig::default())));
    assert_eq!(records[0].entry, first, "the log begins with how it is decided");
    decide_anew(&lines(&Header::new(EngineConfig::default()), &records)).unwrap();
}

// --- bad files

#[test]
fn what_is_no_log_is_refused_with_the_line() {
    let header = hai_core::log::header_line(&Header::new(EngineConfig::default()));
    let cases: [(&[&str], &str); 7] = [
        (&[], "there is nothing in it"),
        (&["", "hello"], "line 2: this is not a hai log"),
        (&["{}"], "line 1: this is not a hai log: missing field `format`"),
        (&[r#"{"format":"hai-log","version":99,"hai":"9.9.9"}"#], "line 1: the log has version 99"),
        (&[r#"{"format":"other","version":1}"#], "its format is \"other\""),
        (&[&header, "", "{\"seq\":1}"], "line 3: missing field `at` (column 9)"),
        (&[&header, &header], "line 2: missing field `seq`"),
    ];
    for (text, expected) in cases {
        let lines: Vec<String> = text.iter().map(ToString::to_string).collect();
        let error = decide_anew(&lines).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// A state from outside that does not hang together is refused with the line, and nothing is restored from it.
#[test]
fn a_state_that_can_not_be_is_refused() {
    let records = records(0, TURNS);
    let mut follower = Follower::new(config(0), Policies::default());
    let begins = records.iter().position(|record| {
        follower.take(record).unwrap();
        record.digest.is_some() && follower.engine().runs().next().is_some()
    });
    let header = header_line(&Header::after(follower.snapshot(), EngineConfig::default()));
    let rest: Vec<String> = records[begins.unwrap() + 1..].iter().map(record_line).collect();
    let open = |header: String| {
        let lines: Vec<_> = std::iter::once(header).chain(rest.iter().cloned()).map(Ok::<_, Infallible>).collect();
        LogReader::open(lines.into_iter()).map(drop)
    };
    open(header.clone()).expect("as it was written");
    let altered = |change: &dyn Fn(&mut Value)| {
        let mut header: Value = serde_json::from_str(&header).unwrap();
        change(&mut header["state"]);
        open(header.to_string()).expect_err("it can not be").to_string()
    };
    let without_tasks = altered(&|state| state["tasks"] = json!([]));
    assert!(without_tasks.contains("its state can not be: run "), "{without_tasks}");
    let without_runs = altered(&|state| state["runs"] = json!([]));
    assert!(without_runs.contains("which is not there or another task's"), "{without_runs}");
    let without_nodes = altered(&|state| state["nodes"] = json!([]));
    assert!(without_nodes.contains("which is not there"), "{without_nodes}");
}
