//! The Lease that tells who leads: who may write it, and who must not.

use std::time::Duration;

use hai_core::backend::Fence;
use hai_daemon::cluster::kubernetes::{Herald, Told};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::control_plane::ControlPlane;

const LASTS: Duration = Duration::from_secs(2);

async fn heralds() -> (ControlPlane, Api<Lease>, [Herald; 2]) {
    let plane = ControlPlane::start().await;
    let client: Client = plane.client().await;
    let leases: Api<Lease> = Api::namespaced(client, "default");
    let herald = |name: &str| Herald::new(leases.clone(), "hai".to_owned(), name.to_owned(), format!("http://{name}"));
    let both = [herald("old"), herald("new")];
    (plane, leases, both)
}

async fn holder(leases: &Api<Lease>) -> (Option<String>, String) {
    let lease = leases.get("hai").await.expect("a Lease");
    (lease.spec.clone().and_then(|spec| spec.holder_identity), lease.annotations()["hai/fence"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greater_fence_takes_it_at_once_and_a_smaller_one_leaves_it() {
    let (_plane, leases, [mut old, mut new]) = heralds().await;
    assert_eq!(old.tell(Fence(3), LASTS).await.expect("an answer"), Told::Written);
    assert_eq!(old.tell(Fence(3), LASTS).await.expect("renewed"), Told::Written);
    assert_eq!(new.tell(Fence(4), LASTS).await.expect("an answer"), Told::Written, "before it has run out");
    let another = Told::Another { holder: "new".to_owned(), fence: 4 };
    assert_eq!(old.tell(Fence(3), LASTS).await.expect("an answer"), another, "a late word counts for nothing");
    old.fall_silent(Fence(3)).await.expect("an answer");
    assert_eq!(holder(&leases).await, (Some("new".to_owned()), "4".to_owned()));
    new.fall_silent(Fence(4)).await.expect("an answer");
    assert_eq!(holder(&leases).await.0.unwrap_or_default(), "");
    assert_eq!(old.tell(Fence(2), LASTS).await.expect("an answer"), Told::Written, "nobody holds it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_renewed_runs_out_also_for_a_database_that_began_anew() {
    let (_plane, leases, [mut old, mut new]) = heralds().await;
    assert_eq!(old.tell(Fence(70), LASTS).await.expect("an answer"), Told::Written);
    assert!(matches!(new.tell(Fence(1), LASTS).await.expect("an answer"), Told::Another { fence: 70, .. }));
    // As long as it is renewed it holds, however long.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(old.tell(Fence(70), LASTS).await.expect("renewed"), Told::Written);
        assert!(matches!(new.tell(Fence(1), LASTS).await.expect("an answer"), Told::Another { .. }));
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while new.tell(Fence(1), LASTS).await.expect("an answer") != Told::Written {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(holder(&leases).await, (Some("new".to_owned()), "1".to_owned()));
}

/// What was read before another wrote is not written over it.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_comes_late_is_refused_by_the_version_of_what_it_read() {
    let (_plane, leases, [mut old, mut new]) = heralds().await;
    assert_eq!(old.tell(Fence(1), LASTS).await.expect("an answer"), Told::Written);
    for round in 0..60_u64 {
        let (fence, next) = (Fence(round * 2 + 1), Fence(round * 2 + 2));
        let (_, told) = tokio::join!(old.tell(fence, LASTS), new.tell(next, LASTS));
        assert_eq!(told.expect("an answer"), Told::Written);
        assert_eq!(holder(&leases).await, (Some("new".to_owned()), next.0.to_string()), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_into_it_is_kept_and_what_they_make_is_taken_over() {
    let (_plane, leases, [mut old, _]) = heralds().await;
    let theirs = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "hai", "labels": {"team": "a"}},
                        "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 15}});
    leases.patch("hai", &PatchParams::apply("them"), &Patch::Apply(theirs)).await.expect("made");
    assert_eq!(old.tell(Fence(1), LASTS).await.expect("an answer"), Told::Written);
    let lease = leases.get("hai").await.expect("a Lease");
    assert_eq!(lease.labels().get("team").map(String::as_str), Some("a"));
    assert_eq!(lease.spec.and_then(|spec| spec.holder_identity).as_deref(), Some("old"));
}
