//! Rows as earlier versions wrote them read back as what they meant.

use hai_core::backend::{Batch, Digest, Entry, Fence, Snapshot, Store};
use hai_core::model::{
    Allowance, Decision, Devices, Fact, Limit, Outcome, RefusalCause, TaskId, TaskKind, TaskState, Time, WorkerFate,
    WorkerState,
};
use hai_daemon::store::{PostgresStore, SqliteStore};
use tempfile::TempDir;

use super::place::meddle;
use super::postgres::Postgres;
use super::{batch, block_on, commit, everything, full_batch, opened};

const OLD: &str = r#"
    UPDATE rights SET body = '{"user":"ann","group":"lab","priority":null,"nodes":{"at_most":2},"devices":"unlimited"}';
    UPDATE tasks SET view = '{"id":1,"spec":{"name":"old","user":"ann","group":"lab","priority":"NORMAL","workers":2,"request":{"devices":{"count":1},"models":["A","B"],"device_memory_mib":8192,"cpu_milli":500,"memory_mib":1024},"distinct_nodes":true,"tolerates":["slow"],"grace":{"answer":5000,"finish":5000}},"state":"waiting","outcome":null,"submitted_at":1,"started_at":null,"ended_at":null,"runs":0,"run":null,"whole_life_state":0,"ran":0,"level":null,"yielded":null}' WHERE id = 1;
    UPDATE workers SET view = '{"place":{"node":"n1","whole_node":false,"devices":["GPU-1"],"cpu_milli":500,"memory_mib":1024},"state":{"state":"ended","at":5,"exit":{"fate":{"fate":"refused","reason":"full"},"signalled":false,"declared_done":false,"log_lost_bytes":0}}}';
    UPDATE log SET body = '{"fact":"submitted","task":1,"spec":{"name":"old","user":"ann","group":"lab","priority":"NORMAL","workers":1,"request":{"devices":"whole_node","device_memory_mib":0,"cpu_milli":0,"memory_mib":0},"distinct_nodes":false,"grace":{"answer":5000,"finish":5000}}}' WHERE seq = 1;
    INSERT INTO log (seq, at, kind, body) VALUES (2, 6, 'round', '[{"decision":"start","task":1,"run":1,"placement":[{"node":"n1","whole_node":false,"devices":["GPU-1","GPU-2"],"cpu_milli":500,"memory_mib":1024}],"level":"NORMAL","entitled":true,"whole_life_state":0}]');
    INSERT INTO log (seq, at, kind, body) VALUES (3, 7, 'fact', '{"fact":"node_set","node":{"name":"n1","group":"lab","cpu_milli":4000,"memory_mib":1024,"devices":[{"id":"GPU-1","model":"A","memory_mib":8192,"health":{"state":"stranger","process":"a game"}}],"ready":true,"cordoned":false}}');
"#;

#[test]
fn rows_of_earlier_versions_mean_what_they_meant() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit(&mut store, &Batch { events: Vec::new(), ..full_batch(fence, 1) }).await;
        commit(&mut store, &batch(fence)).await;
        drop(store);
        meddle(&path, OLD).await;

        let mut store = SqliteStore::open(&path).await.expect("the store opens");
        let reader = store.reader();
        let right = &reader.rights().await.expect("rights")[0];
        assert_eq!(right.allowance, Allowance { nodes: Limit::at_most(2), devices: Limit::Unlimited });
        assert_eq!((&right.key.team, &right.key.model, right.key.cap, right.expires), (&None, &None, false, None));

        let task = reader.task(TaskId(1)).await.expect("a row").expect("the task");
        let models: Vec<&str> = task.spec.request.models.iter().map(|model| model.as_str()).collect();
        assert_eq!((task.spec.request.devices, models), (Devices::Count(1), vec!["A", "B"]));
        assert_eq!((task.spec.kind, task.spec.suspendable, task.spec.workers_min()), (TaskKind::Training, true, 2));
        assert!(task.spec.constraints.is_none() && task.spec.after.is_empty() && task.spec.limit.is_none());

        let runs = reader.runs(TaskId(1)).await.expect("runs");
        let worker = &runs[0].workers[0];
        assert_eq!((worker.place.part, worker.place.devices.len()), (None, 1));
        let WorkerState::Ended { exit, .. } = &worker.state else { panic!("it ended: {worker:?}") };
        assert!(matches!(exit.fate, WorkerFate::Refused { cause: RefusalCause::Task, .. }), "{exit:?}");

        let records = Store::open(&mut store).await.expect("the lease").records;
        let Entry::Fact(Fact::Submitted { spec, .. }) = &records[0].entry else { panic!("{:?}", records[0]) };
        assert_eq!(spec.request.devices, Devices::WholeNode);
        let Entry::Round(decisions) = &records[1].entry else { panic!("{:?}", records[1]) };
        let Decision::Start { placement, .. } = &decisions[0] else { panic!("{:?}", decisions[0]) };
        assert_eq!((placement.workers[0].devices.len(), placement.workers[0].part), (2, None));
        let Entry::Fact(Fact::NodeSet { node }) = &records[2].entry else { panic!("{:?}", records[2]) };
        assert!(node.labels.is_empty() && node.links.is_empty() && node.location.is_unknown());
        assert!(!node.devices[0].health.is_healthy() && !node.devices[0].health.must_be_left());
    });
}

/// Before who caused a fact was written down.
const FIRST_SCHEMA: &str = "ALTER TABLE log DROP COLUMN by_user; DELETE FROM _sqlx_migrations WHERE version = 2;";
/// Before more snapshots than the last were kept.
const SECOND_SCHEMA: &str = "CREATE TABLE snapshot (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, \
    digest BLOB NOT NULL, state TEXT NOT NULL) STRICT; \
    INSERT INTO snapshot (id, seq, digest, state) SELECT 1, seq, digest, state FROM snapshots ORDER BY seq DESC LIMIT 1; \
    DROP TABLE snapshots; DELETE FROM _sqlx_migrations WHERE version = 3;";

/// Before what ended was put away. What had ended is moved back as well as the tables of then could hold it.
const THIRD_SCHEMA: &str = "INSERT INTO tasks (id, name, user_name, group_name, priority, state, outcome, submitted_at, \
    ended_at, view) SELECT id, name, user_name, group_name, priority, 'finished', outcome, submitted_at, ended_at, view FROM ended; \
    INSERT INTO programs (task, body) SELECT id, program FROM ended; \
    INSERT INTO runs (id, task, phase, decided_at, ended_at, workers, view) \
    SELECT its.value ->> '$.run.id', ended.id, its.value ->> '$.run.phase', 2, NULL, json_array_length(its.value -> '$.workers'), \
    its.value -> '$.run' FROM ended, json_each(ended.runs) AS its; \
    INSERT INTO workers (run, rank, node, view) SELECT its.value ->> '$.run.id', worker.key, worker.value ->> '$.place.node', \
    worker.value FROM ended, json_each(ended.runs) AS its, json_each(its.value -> '$.workers') AS worker; \
    DROP TABLE ended; DROP TABLE totals; DROP TABLE pruned; ALTER TABLE snapshots DROP COLUMN at; DROP INDEX tasks_state; \
    CREATE INDEX tasks_unfinished ON tasks (id) WHERE state <> 'finished'; \
    CREATE INDEX tasks_outcome ON tasks (outcome) WHERE outcome IS NOT NULL; \
    CREATE INDEX tasks_state ON tasks (state, outcome); DELETE FROM _sqlx_migrations WHERE version = 4;";

#[test]
fn in_a_file_of_the_third_schema_what_ended_is_put_away() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit_some_that_ended(&mut store, fence).await;
        let before = everything(&store.reader(), 9).await;
        drop(store);
        meddle(&path, THIRD_SCHEMA).await;
        let store = SqliteStore::open(&path).await.expect("the store opens");
        assert_eq!(everything(&store.reader(), 9).await, before);
        meddle(
            &path,
            "CREATE TABLE only_if_empty (n INTEGER CHECK (n = 3)); \
            INSERT INTO only_if_empty SELECT count(*) FROM tasks",
        )
        .await;
    });
}

#[test]
fn in_a_server_of_the_first_schema_what_ended_is_put_away_and_nothing_is_copied_that_stays() {
    block_on(async {
        let Some(postgres) = Postgres::start() else { return };
        postgres.prepare().await;
        // What the program of then would have written, from what this one writes.
        let mut store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        let fence = store.open().await.expect("the lease").fence;
        commit_some_that_ended(&mut store, fence).await;
        let before = everything(&store.reader(), 9).await;
        drop(store);
        postgres.execute(FIRST_ON_A_SERVER).await;
        let store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        assert_eq!(everything(&store.reader(), 9).await, before);
        for part in ["log_before", "events_before", "ended_before"] {
            postgres.execute(&format!("DO $$ BEGIN ASSERT (SELECT count(*) FROM {part}) > 0; END $$")).await;
        }
        postgres.execute("DO $$ BEGIN ASSERT (SELECT count(*) FROM tasks) = 3; END $$").await;
        // It goes on, in the month after what there was.
        let mut store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        let fence = store.open().await.expect("the lease").fence;
        commit(&mut store, &full_batch(fence, 10)).await;
        assert!(store.commit(&Batch { events: vec![super::event(3, &super::task(3))], ..batch(fence) }).await.is_err());
    });
}

/// Back to the tables of the first schema, with all that they held.
const FIRST_ON_A_SERVER: &str = "CREATE TABLE old_log (seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, kind TEXT NOT NULL, \
    body TEXT NOT NULL, digest BYTEA, by_user TEXT); INSERT INTO old_log SELECT * FROM log; DROP TABLE log; \
    ALTER TABLE old_log RENAME TO log; ALTER INDEX old_log_pkey RENAME TO log_pkey; \
    CREATE TABLE old_events (id BIGINT PRIMARY KEY, at BIGINT NOT NULL, task BIGINT NOT NULL, \
    user_name TEXT COLLATE \"C\" NOT NULL, body TEXT NOT NULL); INSERT INTO old_events SELECT * FROM events; \
    DROP TABLE events; ALTER TABLE old_events RENAME TO events; ALTER INDEX old_events_pkey RENAME TO events_pkey; \
    CREATE INDEX events_user ON events (user_name, id); \
    INSERT INTO tasks (id, name, user_name, group_name, priority, state, outcome, submitted_at, ended_at, view) \
    SELECT id, name, user_name, group_name, priority, 'finished', outcome, submitted_at, ended_at, view FROM ended; \
    INSERT INTO programs (task, body) SELECT id, program FROM ended; \
    INSERT INTO runs (id, task, phase, decided_at, workers, view) SELECT (its -> 'run' ->> 'id')::bigint, id, \
    its -> 'run' ->> 'phase', 2, json_array_length(its -> 'workers'), its ->> 'run' FROM ended, json_array_elements(runs::json) AS its; \
    INSERT INTO workers (run, rank, node, view) SELECT (its -> 'run' ->> 'id')::bigint, rank - 1, worker -> 'place' ->> 'node', \
    worker::text FROM ended, json_array_elements(runs::json) AS its, \
    json_array_elements(its -> 'workers') WITH ORDINALITY AS workers (worker, rank); \
    DROP TABLE ended; DROP FUNCTION name_parts; DROP TABLE totals; DROP TABLE pruned; ALTER TABLE snapshots DROP COLUMN at; \
    ALTER TABLE lease DROP COLUMN last_record, DROP COLUMN last_event, DROP COLUMN last_ended; DROP INDEX tasks_state; \
    CREATE INDEX tasks_unfinished ON tasks (id) WHERE state <> 'finished'; \
    CREATE INDEX tasks_outcome ON tasks (outcome, id) WHERE outcome IS NOT NULL; \
    CREATE INDEX tasks_state ON tasks (state, outcome); DELETE FROM _sqlx_migrations WHERE version = 2";

/// Nine tasks of which six have ended, each after one run of two workers.
async fn commit_some_that_ended(store: &mut impl Store, fence: Fence) {
    for number in 1..=9 {
        commit(store, &full_batch(fence, number)).await;
        let mut view = super::task(number);
        if number % 3 > 0 {
            let outcome = if number % 2 == 0 { Outcome::Succeeded } else { Outcome::Failed { reason: "x".into() } };
            (view.state, view.outcome, view.ended_at) = (TaskState::Finished, Some(outcome), Some(Time::from_ms(9)));
        }
        let workers = vec![super::worker("n1", WorkerState::Reserved), super::worker("n2", WorkerState::Reserved)];
        commit(store, &Batch { tasks: vec![view], runs: vec![super::run(number, number, workers)], ..batch(fence) })
            .await;
    }
}

#[test]
fn a_file_of_the_second_schema_is_brought_up_to_date() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        let state = hai_core::engine::Engine::new(hai_core::engine::EngineConfig::default()).snapshot();
        let snapshot = Snapshot { seq: 1, digest: Digest([7; 32]), state };
        commit(&mut store, &Batch { snapshot: Some(snapshot.clone()), ..full_batch(fence, 1) }).await;
        drop(store);
        meddle(&path, THIRD_SCHEMA).await;
        meddle(&path, SECOND_SCHEMA).await;
        let mut store = SqliteStore::open(&path).await.expect("the store opens");
        let reader = store.reader();
        for (time, before, found) in [(5, 2, Some(1)), (4, 2, None), (5, 1, None), (i64::MAX, u64::MAX, Some(1))] {
            let snapshot = reader.snapshot_at(Time::from_ms(time), before).await.expect("an answer");
            assert_eq!(snapshot.map(|snapshot| snapshot.seq), found, "before {before}, {time}");
        }
        let saved = Store::open(&mut store).await.expect("the lease");
        assert_eq!(saved.records.len(), 0);
        let read = saved.snapshot.expect("it is still there");
        assert_eq!((read.seq, read.digest), (snapshot.seq, snapshot.digest));
        assert_eq!(serde_json::to_value(&read.state).ok(), serde_json::to_value(&snapshot.state).ok());
    });
}

#[test]
fn a_file_of_the_first_schema_is_brought_up_to_date() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit(&mut store, &full_batch(fence, 1)).await;
        let before = store.reader().log_after(0, 100).await.expect("the log");
        drop(store);
        meddle(&path, THIRD_SCHEMA).await;
        meddle(&path, SECOND_SCHEMA).await;
        meddle(&path, FIRST_SCHEMA).await;
        let store = SqliteStore::open(&path).await.expect("the store opens");
        let after = store.reader().log_after(0, 100).await.expect("the log");
        assert!(!after.is_empty() && after == before && after.iter().all(|record| record.by.is_none()), "{after:?}");
    });
}
