//! Users and their tokens.

use crate::place::Place;
use hai_core::model::UserName;
use hai_daemon::store::{AccountError, Role};

use crate::{commit, full_batch, user};

pub(super) async fn a_token_opens_until_it_is_replaced_or_taken_away(place: &mut Place) {
    let (store, _) = place.opened().await;
    let accounts = store.accounts();
    let (ann, bob) = (user("ann"), user("bob"));
    let first = accounts.add(&ann, Role::User).await.expect("ann");
    assert!(matches!(accounts.add(&ann, Role::Operator).await, Err(AccountError::Exists { name }) if name == ann));
    let found = accounts.authenticate(first.as_str()).await.expect("an answer").expect("ann");
    assert_eq!((&found.name, found.role, found.disabled), (&ann, Role::User, false));

    let second = accounts.rotate(&ann).await.expect("a token");
    assert_eq!(accounts.authenticate(first.as_str()).await.expect("an answer"), None);
    let again = accounts.authenticate(second.as_str()).await.expect("an answer").expect("ann");
    assert_eq!(again, found, "only the token changed");
    for nonsense in ["", "hai_", "' OR 1=1 --", &"f".repeat(68), &format!("hai_{}", "0".repeat(64))] {
        assert_eq!(accounts.authenticate(nonsense).await.expect("an answer"), None, "{nonsense}");
    }

    for missing in [accounts.rotate(&bob).await.map(drop), accounts.remove(&bob).await] {
        assert!(matches!(missing, Err(AccountError::Unknown { name }) if name == bob));
    }
    accounts.remove(&ann).await.expect("removing");
    assert_eq!(accounts.authenticate(second.as_str()).await.expect("an answer"), None);
    assert!(matches!(accounts.rotate(&ann).await, Err(AccountError::Unknown { .. })));
    assert_eq!(accounts.list().await.expect("a list").len(), 1);
    let third = accounts.add(&ann, Role::Operator).await.expect("ann comes back");
    drop(store);

    let (store, _) = place.opened().await;
    let accounts = store.accounts();
    let found = accounts.authenticate(third.as_str()).await.expect("an answer").expect("ann");
    assert_eq!(found.role, Role::Operator);
    accounts.add(&bob, Role::User).await.expect("bob");
    let names: Vec<UserName> = accounts.list().await.expect("a list").into_iter().map(|user| user.name).collect();
    assert_eq!(names, [ann, bob]);
}

pub(super) async fn there_is_an_operator_after_asking_for_one(place: &mut Place) {
    let (store, _) = place.opened().await;
    let accounts = store.accounts();
    let root = user("root");
    let token = accounts.ensure_operator(&root).await.expect("an answer").expect("a token");
    let found = accounts.authenticate(token.as_str()).await.expect("an answer").expect("root");
    assert_eq!(found.role, Role::Operator);
    assert!(accounts.ensure_operator(&root).await.expect("an answer").is_none());
    assert!(accounts.authenticate(token.as_str()).await.expect("an answer").is_some(), "the token stays");
    accounts.remove(&root).await.expect("removing");
    let token = accounts.ensure_operator(&root).await.expect("an answer").expect("a new token");
    assert!(accounts.authenticate(token.as_str()).await.expect("an answer").is_some());

    let ann = user("ann");
    let old = accounts.add(&ann, Role::User).await.expect("ann");
    let new = accounts.ensure_operator(&ann).await.expect("an answer").expect("a new token");
    assert_eq!(accounts.authenticate(old.as_str()).await.expect("an answer"), None, "no token grows by itself");
    let found = accounts.authenticate(new.as_str()).await.expect("an answer").expect("ann");
    assert_eq!(found.role, Role::Operator);
}

pub(super) async fn of_many_who_add_one_user_at_once_one_does(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    // Spawned as doors do it: the futures may move between threads.
    let adding: Vec<_> = (0..8)
        .map(|_| {
            let accounts = store.accounts();
            tokio::spawn(async move { accounts.add(&user("ann"), Role::User).await.is_ok() })
        })
        .collect();
    commit(&mut store, &full_batch(fence, 1)).await;
    let mut added = 0;
    for one in adding {
        added += u32::from(one.await.expect("no panic"));
    }
    assert_eq!(added, 1);
}
