//! Moving: what one store keeps is in the other afterwards, all of it or nothing.

use std::io::{Read as _, Write as _};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use hai_core::backend::{Command, Committed, Driver, MemoryCluster, Store, Submitted};
use hai_core::engine::EngineConfig;
use hai_core::model::{
    Allowance, DeviceId, DeviceSpec, Fact, ModelName, NodeName, NodeSpec, Priority, Program, RightKey, RightRow,
    TaskSpec, Time, WorkerExit, WorkerRequest,
};
use hai_daemon::store::moving::{BackupError, BackupReader, BackupWriter, Piece, RestoreError, Tally};
use hai_daemon::store::{AnyStore, Frozen, Role, Token, check};

use super::place::Place;
use super::{batch, block_on, commit, everything, group, user};

/// Tasks of a store that has seen something.
const TASKS: usize = 260;

fn node() -> NodeSpec {
    let device = |index| {
        let id = DeviceId::new(format!("GPU-{index}")).expect("a device id");
        DeviceSpec::new(id, ModelName::new("RTX 3070").expect("a model"), 8192)
    };
    NodeSpec {
        devices: (0..2).map(device).collect(),
        ..NodeSpec::new(NodeName::new("n1").expect("a node name"), group("lab"), 8000, 32_768)
    }
}

fn submit(number: usize) -> Command {
    let priority = [Priority::Low, Priority::Normal, Priority::High][number % 3];
    let who = user(if number.is_multiple_of(2) { "ann" } else { "bob" });
    let spec = TaskSpec::new(format!("täsk {number}"), who.clone(), group("lab"), priority, WorkerRequest::devices(1));
    let env = [("TEXT".to_owned(), "two\nlines, \"quoted\" \u{1F600}".to_owned())].into();
    let program = Program { command: vec!["true".into(), number.to_string()], env, ..Program::default() };
    Command::Submit(Box::new(Submitted { spec, program })).by(who)
}

/// A store with a past: tasks that waited, ran, were suspended and ended, snapshots, rights, and users.
async fn lived(place: &Place) -> Token {
    let store = place.open().await;
    let accounts = store.accounts();
    let token = accounts.add(&user("ann"), Role::User).await.expect("a user");
    accounts.add(&user("gone"), Role::Operator).await.expect("a user");
    accounts.remove(&user("gone")).await.expect("a user");
    let cluster = MemoryCluster::new([node()]);
    let at = |second: usize| Time::from_ms(1_000_000 + second as i64 * 1000);
    let mut driver = Driver::open(EngineConfig::default(), store, cluster.clone(), at(0)).await.expect("a driver");
    let rights = [Allowance::UNLIMITED, Allowance::devices(3)].into_iter().enumerate().map(|(index, allowance)| {
        let key = RightKey { user: (index == 1).then(|| user("ann")), ..RightKey::default() };
        Command::Tell(Fact::RightSet {
            right: RightRow { expires: Some(at(9_999_999)), ..RightRow::new(key, allowance) },
        })
    });
    driver.step(at(1), rights.collect()).await.expect("a step");
    for number in 0..TASKS {
        driver.step(at(2 + number), vec![submit(number)]).await.expect("a step");
        for (order, _) in cluster.executing() {
            if number % 5 == 0 {
                cluster.end(order.run, 0, WorkerExit::exited(0));
            }
        }
        while let Ok(command) = tokio::time::timeout(std::time::Duration::ZERO, driver.next()).await {
            let _ = driver.step(at(2 + number), vec![command]).await.expect("a step");
        }
    }
    driver.close().await.expect("closing");
    token
}

async fn pieces(mut frozen: Frozen) -> Vec<Piece> {
    let mut all = Vec::new();
    loop {
        let some = frozen.next().await.expect("pieces");
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

async fn texts(store: &AnyStore) -> Vec<String> {
    let all = pieces(store.freeze().await.expect("a moment")).await;
    all.iter().map(|piece| serde_json::to_string(piece).expect("plain data")).collect()
}

async fn backup(store: &AnyStore) -> Vec<u8> {
    let frozen = store.freeze().await.expect("a moment");
    let mut writer = BackupWriter::new(Vec::new(), frozen.header()).expect("memory");
    for piece in pieces(frozen).await {
        writer.piece(&piece).expect("memory");
    }
    writer.finish().expect("memory").0
}

/// What `hai-daemon db restore` does.
async fn restore(file: &[u8], into: AnyStore, replace: bool) -> Result<Tally, Box<dyn std::error::Error>> {
    let mut file = BackupReader::new(file)?;
    let mut restoring = into.restore(replace).await?;
    loop {
        let some = file.next(100)?;
        if some.is_empty() {
            return Ok(restoring.commit(file.header()).await?);
        }
        restoring.take(some).await?;
    }
}

async fn places() -> Vec<Place> {
    std::iter::once(Place::file()).chain(Place::server().await).collect()
}

fn lines(file: &[u8]) -> Vec<String> {
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("it is whole");
    text.lines().map(str::to_owned).collect()
}

fn packed(lines: &[String]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    lines.iter().for_each(|line| writeln!(out, "{line}").expect("memory"));
    out.finish().expect("memory")
}

#[test]
fn what_is_restored_is_what_was_backed_up_from_either_into_either() {
    block_on(async {
        for from in places().await {
            let token = lived(&from).await;
            let store = from.open().await;
            let (before, file) = (texts(&store).await, backup(&store).await);
            let tally = BackupReader::new(&file[..]).expect("a backup").header().about;
            assert!(tally.tasks == TASKS as u64 && tally.records > 1000, "too little happened: {tally}");
            let last = TASKS as u64;
            let (all, users) = (everything(&store.reader(), last).await, store.accounts().list().await.expect("users"));
            for into in places().await {
                let taken = restore(&file, into.open().await, false).await.expect("it is taken");
                assert_eq!((taken.users, taken.rights, taken.programs), (2, 2, last));
                assert!(taken.runs > 10 && taken.snapshots > 1 && taken.events > 100, "too little happened: {taken}");
                let mut store = into.open().await;
                assert_eq!(everything(&store.reader(), last).await, all);
                assert_eq!(store.accounts().list().await.expect("users"), users);
                let opened = store.accounts().authenticate(token.as_str()).await.expect("an answer");
                assert_eq!(opened.map(|user| user.name), Some(user("ann")));
                assert!(texts(&store).await == before, "the same pieces");
                let sound = check(&store.reader()).await.expect("an answer");
                assert_eq!((sound.problems.as_slice(), sound.tasks), (&[] as &[String], last));
                // The next to take the lease is later than all before, there and here.
                let header = BackupReader::new(&file[..]).expect("a backup").header().clone();
                let saved = store.open().await.expect("the lease");
                assert!(saved.fence.0 > header.fence && saved.last_event == header.about.events);
                assert!(saved.snapshot.is_some() && saved.records.is_empty(), "it goes on from the last snapshot");
            }
        }
    });
}

#[test]
fn what_is_cut_off_or_altered_is_not_taken_and_leaves_nothing() {
    block_on(async {
        let from = Place::file();
        lived(&from).await;
        let file = backup(&from.open().await).await;
        let all = lines(&file);
        for into in places().await {
            let empty = texts(&into.open().await).await;
            for part in 0..=20 {
                let cut = &file[..(file.len() - 1) * part / 20];
                let refused = restore(cut, into.open().await, false).await.expect_err("it is cut off").to_string();
                assert!(refused.contains("cut off"), "{part}/20: {refused}");
            }
            // Cut where a line ends, and packed again by somebody who does not know what is missing.
            for kept in [1, 2, all.len() / 2, all.len() - 1] {
                let refused = restore(&packed(&all[..kept]), into.open().await, false).await.expect_err("cut off");
                assert!(refused.to_string().contains("cut off"), "{kept} lines: {refused}");
            }
            let altered = |line: usize, old: &str, new: &str| {
                let mut all = all.clone();
                assert!(all[line].contains(old), "{}", all[line]);
                all[line] = all[line].replacen(old, new, 1);
                packed(&all)
            };
            let at = |start: &str| all.iter().position(|line| line.starts_with(start)).expect("it is there");
            for (file, told) in [
                (altered(at("{\"program\""), "true", "trve"), "the digest of all lines"),
                (altered(at("{\"record\"") + 40, "\"at\":1", "\"at\":2"), "does not follow"),
                (altered(at("{\"user\""), "\"role\":\"", "\"role\":\"x"), "line 2 is damaged: unknown variant"),
                (altered(0, "\"hai_backup\":1", "\"hai_backup\":2"), "a form that this version does not know"),
                (altered(0, "\"state_schema\":", "\"state_schema\":9"), "a form that this version does not know"),
                (altered(0, "hai_backup", "hai_back"), "it is no backup of hai: missing field"),
                (packed(&[all.clone(), vec![all[1].clone()]].concat()), "something behind the end"),
                ([&file[..], &packed(&all[1..2])[..]].concat(), "something behind the end"),
                (b"hello, I am some other file".to_vec(), "it is no backup of hai"),
                (packed(&["{}".to_owned()]), "it is no backup of hai"),
                (packed(&[all[..1].to_vec(), all[2..].to_vec()].concat()), "the digest of all lines"),
            ] {
                let refused = restore(&file, into.open().await, false).await.expect_err(told).to_string();
                assert!(refused.contains(told), "{told}: {refused}");
            }
            assert_eq!(texts(&into.open().await).await, empty);
            restore(&file, into.open().await, false).await.expect("the whole is taken");
        }
    });
}

#[test]
fn only_what_is_empty_is_restored_into_unless_it_is_to_be_replaced() {
    block_on(async {
        let from = Place::file();
        lived(&from).await;
        let file = backup(&from.open().await).await;
        let there = backup(&from.open().await).await;
        for into in places().await {
            let mut old = into.open().await;
            let fence = old.open().await.expect("the lease").fence;
            old.accounts().add(&user("eve"), Role::User).await.expect("a user");
            let before = texts(&old).await;
            let refused = restore(&file, into.open().await, false).await.expect_err("there is a user");
            let refused = refused.downcast::<RestoreError>().expect("that error");
            assert!(matches!(&*refused, RestoreError::NotEmpty { tables } if tables == "users"), "{refused}");
            // What goes wrong on the way leaves what was there.
            restore(&file[..file.len() / 2], into.open().await, true).await.expect_err("it is cut off");
            assert_eq!(texts(&old).await, before);
            restore(&file, into.open().await, true).await.expect("it is taken");
            assert!(texts(&into.open().await).await == texts(&from.open().await).await);
            // Who led before is fenced out, and what was restored can be replaced too.
            assert_eq!(old.commit(&batch(fence)).await.expect("an answer"), Committed::Fenced);
            restore(&there, into.open().await, true).await.expect("it is taken");
            let next = old.open().await.expect("the lease").fence;
            commit(&mut old, &batch(next)).await;
        }
    });
}

#[test]
fn what_is_written_meanwhile_is_not_in_it() {
    block_on(async {
        for place in places().await {
            lived(&place).await;
            let store = place.open().await;
            let before = texts(&store).await;
            let mut frozen = store.freeze().await.expect("a moment");
            let mut all = frozen.next().await.expect("pieces");
            lived_on(&place).await;
            assert!(texts(&store).await.len() > before.len() + 20, "something was written");
            loop {
                let some = frozen.next().await.expect("pieces");
                if some.is_empty() {
                    break;
                }
                all.extend(some);
            }
            let all: Vec<_> = all.iter().map(|piece| serde_json::to_string(piece).expect("plain data")).collect();
            assert!(all == before, "what was written later is not in it");
        }
    });
}

/// A few more tasks and users.
async fn lived_on(place: &Place) {
    let store = place.open().await;
    store.accounts().add(&user("new"), Role::User).await.expect("a user");
    store.accounts().rotate(&user("ann")).await.expect("a user");
    let at = Time::from_ms(9_000_000);
    let mut driver =
        Driver::open(EngineConfig::default(), store, MemoryCluster::new([node()]), at).await.expect("a driver");
    driver.step(at, (0..20).map(submit).collect()).await.expect("a step");
    driver.close().await.expect("closing");
}

#[test]
fn a_moment_that_was_lost_is_not_taken_for_another() {
    block_on(async {
        let Some(place) = Place::server().await else { return };
        lived(&place).await;
        let store = place.open().await;
        let mut frozen = store.freeze().await.expect("a moment");
        frozen.next().await.expect("pieces");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'hai-daemon' AND state LIKE 'idle in transaction%'";
        place.meddle(end, end).await;
        while frozen.next().await.is_ok_and(|some| !some.is_empty()) {}
        // Whoever asks on is not given what is of another moment.
        frozen.next().await.expect_err("the moment is gone");
    });
}

#[test]
fn a_backup_that_is_no_file_of_ours_is_told_from_one_that_is_cut_off() {
    let refused = |bytes: &[u8]| BackupReader::new(bytes).expect_err("no backup");
    assert!(matches!(refused(b""), BackupError::CutOff { lines: 0 }));
    assert!(matches!(refused(b"\x1f\x8b"), BackupError::CutOff { lines: 0 }));
    assert!(matches!(refused(b"SQLite format 3\0"), BackupError::NoBackup(_)));
}
