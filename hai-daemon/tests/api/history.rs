//! The event log over HTTP, decided anew, and what it adds up to.

use std::convert::Infallible;

use chrono::{DateTime, TimeDelta, Utc};
use hai_core::backend::{Entry, MemoryCluster, Record};
use hai_core::engine::Policies;
use hai_core::log::{Header, LogReader, Replayed, replay};
use hai_core::model::{Fact, RunId, UserName, WorkerExit, WorkerFate};
use serde_json::{Value, json};

use crate::lab::{Lab, node, number, submit, wait};

/// Alice has the one device, Bob's better task takes it, both end.
async fn two_people() -> (Lab, MemoryCluster) {
    let (lab, cluster) = Lab::in_memory([node("n1", 1)]).await;
    let long = submit(&lab.alice, json!({"command": ["long"], "name": "alices-secret", "devices": 1})).await;
    wait(&lab.root, &long["id"], "running").await;
    let short = submit(&lab.bob, json!({"command": ["short"], "devices": 1, "priority": "HIGH"})).await;
    wait(&lab.root, &short["id"], "running").await;
    let refused = WorkerExit::of(WorkerFate::Lost { reason: "a secret reason".to_owned() });
    assert!(cluster.end(RunId(2), 0, refused));
    wait(&lab.root, &short["id"], "running").await;
    assert!(cluster.end(RunId(3), 0, WorkerExit::exited(0)));
    wait(&lab.root, &short["id"], "finished").await;
    wait(&lab.root, &long["id"], "running").await;
    (lab, cluster)
}

fn read(text: &str) -> (Header, Vec<Record>) {
    let mut reader = LogReader::open(text.lines().map(Ok::<_, Infallible>)).expect("a log");
    let records = (&mut reader).map(|read| read.expect("a record").record).collect();
    (reader.header().clone(), records)
}

fn decided_anew(text: &str) -> Replayed {
    let reader = LogReader::open(text.lines().map(Ok::<_, Infallible>)).expect("a log");
    replay(reader, Policies::default(), |_| ()).unwrap_or_else(|why| panic!("{why}"))
}

#[tokio::test]
async fn the_log_is_exported_and_decided_the_same() {
    let (lab, _cluster) = two_people().await;
    let reply = lab.root.get("/v1/log").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-ndjson")));
    let text = reply.text();
    let replayed = decided_anew(&text);
    assert!(replayed.rounds > 5 && replayed.decisions >= 5 && replayed.unsealed == 0, "{replayed:?}");
    assert!(!text.contains("\"command\""), "commands are no business of the log's");

    let (header, records) = read(&text);
    assert!(header.state.is_none() && !header.pseudonyms);
    let by = |wanted: &dyn Fn(&Fact) -> bool| -> Option<UserName> {
        let found = records.iter().find(|record| matches!(&record.entry, Entry::Fact(fact) if wanted(fact)));
        found.expect("it is there").by.clone()
    };
    let name = |name: &str| UserName::new(name).ok();
    assert_eq!(by(&|fact| matches!(fact, Fact::RightSet { .. })), name("root"));
    assert_eq!(by(&|fact| matches!(fact, Fact::Submitted { spec, .. } if spec.user.as_str() == "bob")), name("bob"));
    assert_eq!(by(&|fact| matches!(fact, Fact::WorkerEnded { .. })), None);
    lab.close().await;
}

#[tokio::test]
async fn a_window_begins_with_a_state_and_ends_with_a_step() {
    let (lab, _cluster) = two_people().await;
    let (_, records) = read(&lab.root.get("/v1/log").await.text());
    let rounds: Vec<&Record> = records.iter().filter(|record| record.digest.is_some()).collect();
    for (from, to) in [(2, rounds.len() - 1), (rounds.len() / 2, rounds.len() / 2 + 2), (0, 1)] {
        let time = |round: usize| rounds[round].at.to_string();
        let text = lab.root.get(&format!("/v1/log?from={}&to={}", time(from), time(to))).await.text();
        let (header, window) = read(&text);
        assert!(window[0].at >= rounds[from].at && window.last().expect("some").at <= rounds[to].at, "{from} to {to}");
        assert_eq!(header.state.is_some(), header.after.seq > 0);
        assert_eq!(window[0].seq, header.after.seq + 1);
        let expected = records.iter().filter(|record| record.at >= rounds[from].at && record.at <= rounds[to].at);
        assert!(window.iter().eq(expected), "{from} to {to}");
        decided_anew(&text);
    }
    lab.root.get("/v1/log?from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z").await.problem(400, "invalid-parameter");
    let (header, window) = read(&lab.root.get("/v1/log?from=2100-01-01T00:00:00Z").await.text());
    assert_eq!((header.after.seq, window.len()), (records.len() as u64, 0));
    lab.close().await;
}

#[tokio::test]
async fn pseudonyms_leave_no_name_and_change_no_decision() {
    let (lab, _cluster) = two_people().await;
    let middle = read(&lab.root.get("/v1/log").await.text()).1[6].at;
    for query in ["?pseudonyms=true".to_owned(), format!("?pseudonyms=true&from={middle}")] {
        let plain =
            lab.root.get(&format!("/v1/log{}", query.replace("pseudonyms=true", "pseudonyms=false"))).await.text();
        let text = lab.root.get(&format!("/v1/log{query}")).await.text();
        let same = |replayed: Replayed| (replayed.rounds, replayed.decisions, replayed.facts, replayed.until);
        assert_eq!(same(decided_anew(&text)), same(decided_anew(&plain)), "{query}");
        assert!(plain.contains("alices-secret") && plain.contains("GPU-n1-0"));
        for name in ["alice", "bob", "root", "secret", "GPU-n1", "\"n1\"", "\"lab\""] {
            assert!(!text.contains(name), "{name} is in {query}");
        }
    }
    lab.close().await;
}

#[tokio::test]
async fn users_have_no_log_and_their_own_sums() {
    let (lab, _cluster) = two_people().await;
    lab.alice.get("/v1/log").await.problem(403, "forbidden");
    lab.anybody.get("/v1/audit").await.problem(401, "unauthorized");
    lab.alice.get("/v1/audit?user=bob").await.problem(403, "forbidden");

    let all = lab.root.get("/v1/audit").await.ok(200);
    let users: Vec<&str> =
        all["users"].as_array().expect("users").iter().filter_map(|row| row["user"].as_str()).collect();
    assert_eq!(users, ["alice", "bob"]);
    assert_eq!((&all["users"][0]["starts"], &all["users"][0]["suspensions"]), (&json!(2), &json!(1)));
    assert_eq!((&all["users"][1]["starts"], &all["users"][1]["suspensions"]), (&json!(2), &json!(0)));
    assert_eq!(all["total"]["starts"], 4);

    let own = lab.alice.get("/v1/audit").await.ok(200);
    assert_eq!(own["users"].as_array().map(Vec::len), Some(1));
    assert_eq!((&own["users"][0]["user"], &own["total"]), (&json!("alice"), &Value::Null));
    let future = (Utc::now() + TimeDelta::days(1)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let none = lab.root.get(&format!("/v1/audit?since={future}")).await.ok(200);
    assert_eq!(none["total"]["starts"], 0);

    let entries = lab.alice.get("/v1/audit/entries").await.text();
    let entries: Vec<Value> = entries.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let texts: Vec<&str> = entries.iter().filter_map(|entry| entry["text"].as_str()).collect();
    assert!(
        texts.iter().any(|text| text.contains("task 1 of alice: suspended: task 2 has a better right")),
        "{texts:#?}"
    );
    assert!(entries.iter().all(|entry| entry["user"] == "alice" || entry["by"] == "alice"), "{texts:#?}");
    let at = entries[0]["at"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    assert!(at.is_some());
    let everything = lab.root.get("/v1/audit/entries").await.text();
    assert!(everything.contains("in the place of task 1") && everything.contains("(by root)"), "{everything}");
    lab.close().await;
}

#[tokio::test]
async fn a_window_is_read_from_the_snapshot_before_it() {
    let (lab, _cluster) = Lab::in_memory([node("n1", 1)]).await;
    // Enough records for three snapshots, of which the engine takes one each thousand.
    for step in 0..33 {
        let rights = (1..=100).map(|user| json!({"right": {"user": format!("u{user}"), "devices": step}}));
        let changes: Vec<Value> = rights.collect();
        let shown = lab.root.post("/v1/preview", json!({"changes": changes})).await.ok(200);
        lab.root.post("/v1/preview/apply", json!({"changes": changes, "stamp": shown["stamp"]})).await.ok(200);
    }
    let (_, records) = read(&lab.root.get("/v1/log").await.text());
    let last = records.len() as u64;
    assert!(last > 3300, "{last}");
    for (from, most) in [(3200_u64, 500), (2300, 700), (1300, 900)] {
        let at = records[from as usize].at;
        let before = number(&lab, "hai_log_records_read_total").await;
        lab.root.get(&format!("/v1/audit?since={at}")).await.ok(200);
        let needed = last - from;
        let count = number(&lab, "hai_log_records_read_total").await - before;
        assert!((needed..needed + most).contains(&count), "{count} records for the last {needed}");
    }
    let text = lab.root.get(&format!("/v1/log?from={}", records[1300].at)).await.text();
    let (header, window) = read(&text);
    // That step, and what follows.
    let length = window.len() as u64;
    assert!(header.state.is_some() && length < last - 1300 + 110, "{length} of {last}");
    decided_anew(&text);
    lab.close().await;
}

#[tokio::test]
async fn who_asks_for_what_was_pruned_is_told_so() {
    let (lab, _cluster) = two_people().await;
    let (_, records) = read(&lab.root.get("/v1/log").await.text());
    let middle = records[records.len() / 2].at;
    let gone = lab.history.prune(middle, std::time::Duration::ZERO, |_| ()).await.expect("pruned");
    assert!(gone.records > 3 && gone.events > 1, "{gone:?}");

    // All means all that is kept, and that is decided the same.
    let text = lab.root.get("/v1/log").await.text();
    let (header, kept) = read(&text);
    assert_eq!((header.after.seq, kept.len()), (gone.records, records.len() - gone.records as usize));
    assert!(header.state.is_some() && kept.iter().eq(&records[gone.records as usize..]));
    decided_anew(&text);
    assert_eq!(lab.root.get("/v1/audit").await.ok(200)["users"].as_array().map(Vec::len), Some(2));
    assert!(!lab.root.get("/v1/audit/entries").await.text().is_empty());
    let from = kept[0].at;
    lab.root.get(&format!("/v1/audit?since={from}")).await.ok(200);
    decided_anew(&lab.root.get(&format!("/v1/log?from={from}")).await.text());

    // A part of what was asked for is not the whole of it.
    let first = records[0].at;
    for path in ["/v1/log?from=", "/v1/log?pseudonyms=true&from=", "/v1/audit?since=", "/v1/audit/entries?since="] {
        let problem = lab.root.get(&format!("{path}{first}")).await.problem(410, "pruned");
        let detail = problem["detail"].as_str().expect("text");
        assert!(detail.contains("not kept any more"), "{path}: {detail}");
        let then = detail.split_whitespace().find_map(|word| word.trim_end_matches(';').parse::<DateTime<Utc>>().ok());
        let then = then.unwrap_or_else(|| panic!("{detail}")).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        assert_eq!(lab.root.get(&format!("{path}{then}")).await.status, 200, "{path}: {detail}");
    }
    let problem = lab.root.get("/v1/events?after=0").await.problem(410, "pruned");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("not kept any more")), "{problem}");
    lab.close().await;
}
