//! The file: what a kill leaves behind, what is refused, and who may read it.

use std::path::Path;

use hai_core::model::UserName;
use hai_daemon::store::{Role, SqliteStore, StoreError};
use tempfile::TempDir;

use super::place::meddle;
use super::{block_on, commit, everything, full_batch, opened};

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
        assert!(matches!(error, StoreError::NewerSchema { found: 1004, known: 4, .. }), "{error}");
        assert!(error.to_string().contains("1004") && error.to_string().contains("hai.sqlite"), "{error}");
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

#[test]
fn tokens_are_not_written_down() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (store, _) = opened(&dir.path().join("hai.sqlite")).await;
        let ann = UserName::new("ann").expect("a name");
        let first = store.accounts().add(&ann, Role::User).await.expect("ann");
        let second = store.accounts().rotate(&ann).await.expect("a token");
        let mut read = 0;
        for file in std::fs::read_dir(dir.path()).expect("a directory") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("reading");
            read += bytes.windows(3).filter(|window| window == b"ann").count();
            for token in [&first, &second] {
                let secret = &token.as_str().as_bytes()[4..];
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "a token was written down");
            }
        }
        assert!(read > 0, "the row of the user is in one of the files");
    });
}
