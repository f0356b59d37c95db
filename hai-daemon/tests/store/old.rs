//! Rows as earlier versions wrote them read back as what they meant.

use hai_core::backend::{Batch, Digest, Entry, Snapshot, Store};
use hai_core::model::{
    Allowance, Decision, Devices, Fact, Limit, RefusalCause, TaskId, TaskKind, Time, WorkerFate, WorkerState,
};
use hai_daemon::store::SqliteStore;
use tempfile::TempDir;

use super::place::meddle;
use super::{batch, block_on, commit, full_batch, opened};

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
        meddle(&path, SECOND_SCHEMA).await;
        meddle(&path, FIRST_SCHEMA).await;
        let store = SqliteStore::open(&path).await.expect("the store opens");
        let after = store.reader().log_after(0, 100).await.expect("the log");
        assert!(!after.is_empty() && after == before && after.iter().all(|record| record.by.is_none()), "{after:?}");
    });
}
