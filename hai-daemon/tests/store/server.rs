//! The server: what is refused, what a crash of it leaves behind, and what is not told.

use std::time::Duration;

use hai_core::backend::{Committed, Store as _};
use hai_core::model::TaskId;
use hai_daemon::store::{PostgresStore, StoreError};

use super::postgres::Postgres;
use super::{block_on, commit, everything, full_batch};

#[test]
fn tables_of_a_newer_version_are_refused_and_left_alone() {
    block_on(async {
        let Some(postgres) = Postgres::start() else { return };
        postgres.prepare().await;
        drop(PostgresStore::open(&postgres.url()).await.expect("the store opens"));
        postgres.execute("UPDATE _sqlx_migrations SET version = version + 1000").await;
        let error = PostgresStore::open(&postgres.url()).await.expect_err("newer tables");
        assert!(matches!(error, StoreError::NewerSchema { found: 1002, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("1002") && error.to_string().contains("postgres://postgres@"), "{error}");
        postgres.execute("UPDATE _sqlx_migrations SET version = version - 1000").await;
        drop(PostgresStore::open(&postgres.url()).await.expect("the store opens"));
    });
}

#[test]
fn of_many_who_open_an_empty_database_at_once_all_can() {
    block_on(async {
        let Some(postgres) = Postgres::start() else { return };
        postgres.prepare().await;
        let opening: Vec<_> = (0..6)
            .map(|_| {
                let url = postgres.url();
                tokio::spawn(async move {
                    let mut store = PostgresStore::open(&url).await.expect("the store opens");
                    store.open().await.expect("the lease").fence
                })
            })
            .collect();
        let mut fences = Vec::new();
        for one in opening {
            fences.push(one.await.expect("no panic").0);
        }
        fences.sort_unstable();
        assert_eq!(fences, [1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    block_on(async {
        let Some(postgres) = Postgres::start() else { return };
        let name = format!("latin_{}", std::process::id());
        postgres.prepare().await;
        postgres.execute(&format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")).await;
        let url = postgres.url().replacen("/postgres?", &format!("/{name}?"), 1);
        let refused = PostgresStore::open(&url).await.expect_err("it can not hold every name");
        postgres.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        assert!(refused.to_string().contains("LATIN1") && !refused.may_pass(), "{refused}");
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill_of_the_server_and_the_same_store_goes_on() {
    block_on(async {
        let Some(mut postgres) = Postgres::durable().filter(Postgres::is_ours) else { return };
        postgres.prepare().await;
        let mut store = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        let fence = store.open().await.expect("the lease").fence;
        let mut number = 0;
        for _ in 0..3 {
            for _ in 0..5 {
                number += 1;
                commit(&mut store, &full_batch(fence, number)).await;
            }
            let before = everything(&store.reader(), number).await;
            postgres.kill();
            let error = store.commit(&full_batch(fence, number + 1)).await.expect_err("there is no server");
            assert!(error.may_pass(), "{error}");
            let error = store.reader().task(TaskId(1)).await.expect_err("there is no server");
            assert!(error.may_pass(), "{error}");
            postgres.restart();
            assert_eq!(everything(&store.reader(), number).await, before);
        }
        assert_eq!(store.commit(&full_batch(fence, number + 1)).await.expect("a commit"), Committed::Done);
    });
}

#[test]
fn one_who_freezes_within_a_commit_does_not_keep_others_out() {
    block_on(async {
        let Some(postgres) = Postgres::start() else { return };
        postgres.prepare().await;
        let mut frozen = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        let fence = frozen.open().await.expect("the lease").fence;
        let batch = full_batch(fence, 1);
        // Somewhere within its transaction it is not polled any more.
        let mut committing = Box::pin(frozen.commit(&batch));
        let mut polls = 0;
        std::future::poll_fn(|context| {
            polls += 1;
            let state = std::future::Future::poll(committing.as_mut(), context);
            assert!(state.is_pending(), "it was to be left before its end");
            if polls == 4 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        let mut other = PostgresStore::open(&postgres.url()).await.expect("the store opens");
        let taking = tokio::time::timeout(Duration::from_secs(20), other.open()).await;
        let fence = taking.expect("the lease comes").expect("the lease").fence;
        assert_eq!(other.commit(&full_batch(fence, 1)).await.expect("a commit"), Committed::Done);
        // Thawed, it finds its connection closed, and then itself fenced out.
        drop(committing.await.expect_err("it can not go on"));
        assert_eq!(frozen.commit(&batch).await.expect("an answer"), Committed::Fenced);
    });
}

#[test]
fn a_password_is_not_told() {
    block_on(async {
        let url = "postgres://ann:s3cr3t@127.0.0.1:1/hai";
        let refused = PostgresStore::open(url).await.expect_err("nobody listens there");
        let told = format!("{refused} {refused:?}");
        assert!(told.contains("postgres://ann@127.0.0.1:1/hai") && !told.contains("s3cr3t"), "{told}");
        for url in
            ["postgres://ann:s3cr3t@[", "postgres://ann:s3cr3t@h:port/d", "postgres://ann:s3cr3t@h/d?sslmode=s3cr3t"]
        {
            let refused = PostgresStore::open(url).await.expect_err("no URL");
            let told = format!("{refused} {refused:?}");
            assert!(!told.contains("s3cr3t@"), "{told}");
        }
    });
}
