//! The file: what a kill leaves behind, what is refused, and who may read it.

use std::path::Path;

use hai_core::backend::Store;
use hai_core::model::TaskId;
use hai_daemon::store::{StoreError, SqliteStore};
use tempfile::TempDir;

use super::{block_on, commit, everything, full_batch, meddle, opened};

#[test]
fn a_store_that_nobody_closed_opens_again() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit(&mut store, &full_batch(fence, 1)).await;
        let before = everything(&store.reader(), 1).await;
        // As after a kill: the file's companions stay behind and hold what was committed.
        let copy = dir.path().join("copy.sqlite");
        for end in ["", "-wal"] {
            let name = |path: &Path| format!("{}{end}", path.display());
            std::fs::copy(name(&path), name(&copy)).expect("copying");
        }
        let (copied, next) = opened(&copy).await;
        assert_eq!(everything(&copied.reader(), 1).await, before);
        assert!(next > fence);
        std::mem::forget(store);
        let (again, next) = opened(&path).await;
        assert_eq!(everything(&again.reader(), 1).await, before);
        assert!(next > fence);
    });
}

#[test]
fn a_file_that_can_not_be_ours_is_refused_and_left_alone() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        drop(opened(&path).await);
        meddle(&path, "UPDATE _sqlx_migrations SET version = version + 1000").await;
        let error = SqliteStore::open(&path).await.expect_err("a newer file");
        assert!(matches!(error, StoreError::NewerSchema { found: 1003, known: 3, .. }), "{error}");
        assert!(error.to_string().contains("1003") && error.to_string().contains("hai.sqlite"), "{error}");
        meddle(&path, "UPDATE _sqlx_migrations SET version = version - 1000").await;
        drop(opened(&path).await);

        let text = dir.path().join("text");
        std::fs::write(&text, "not a database, but long enough to have a header of one".repeat(20)).expect("writing");
        let before = std::fs::read(&text).expect("reading");
        assert!(matches!(SqliteStore::open(&text).await.expect_err("a text"), StoreError::Open { .. }));
        assert_eq!(std::fs::read(&text).expect("reading"), before);

        let error = SqliteStore::open(text.join("below/hai.sqlite")).await.expect_err("a file is no directory");
        assert!(matches!(error, StoreError::Create { .. }), "{error}");
    });
}

#[test]
fn a_damaged_row_is_named_and_does_not_hide_the_others() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        for number in 1..=2 {
            commit(&mut store, &full_batch(fence, number)).await;
        }
        meddle(&path, "UPDATE tasks SET view = '{' WHERE id = 1; UPDATE log SET kind = 'dream' WHERE seq = 2").await;
        let reader = store.reader();
        assert!(reader.task(TaskId(2)).await.expect("the other").is_some());
        let error = reader.task(TaskId(1)).await.expect_err("damaged");
        assert!(error.to_string().contains("tasks, row 1"), "{error}");
        let error = Store::open(&mut store).await.expect_err("damaged");
        assert!(error.to_string().contains("log, row 2"), "{error}");
    });
}

#[test]
fn the_file_is_durable_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("some/where/hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit(&mut store, &full_batch(fence, 1)).await;
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("some/where/hai.sqlite-wal")), 0o600);
        assert_eq!(mode(path.parent().expect("a directory")), 0o700);
    });
}
