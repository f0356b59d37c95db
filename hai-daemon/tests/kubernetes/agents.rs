//! What an agent may say is bound to the node that its pod is on.

use hai_daemon::cluster::kubernetes::{AGENT_ACCOUNT, AGENT_AUDIENCE};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::lab::{NAMESPACE, lab};

/// A pod of `account` on `node`.
async fn pod_of(client: &Client, account: &str, node: &str) -> Pod {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let pod = json!({"metadata": {"name": format!("{account}-{node}")}, "spec": {"nodeName": node, "serviceAccountName": account,
                     "containers": [{"name": "agent", "image": "example.test/hai:1"}]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).expect("a pod")).await.expect("made")
}

/// What the kubelet would project into that pod.
pub(crate) async fn token(client: &Client, account: &str, pod: &Pod, audience: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        uid: pod.uid(),
    };
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        bound_object_ref: Some(bound),
        expiration_seconds: Some(3600),
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await.expect("a token");
    made.status.expect("a status").token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_s_token_names_its_node_and_nothing_else_does() {
    let (lab, _kubelets) = lab().await;
    let client = lab.client.clone();
    for name in [AGENT_ACCOUNT, "stranger"] {
        let account = serde_json::from_value(json!({"metadata": {"name": name}})).expect("an account");
        lab.of::<ServiceAccount>().create(&PostParams::default(), &account).await.expect("made");
    }
    let master = pod_of(&client, AGENT_ACCOUNT, "master").await;
    let worker = pod_of(&client, AGENT_ACCOUNT, "worker").await;
    let stranger = pod_of(&client, "stranger", "worker").await;
    let agents = lab.agents().await;
    let node = async |token: &str| agents.node_of(token).await.expect("an answer").map(|node| node.to_string());
    let good = token(&client, AGENT_ACCOUNT, &worker, AGENT_AUDIENCE).await;
    assert_eq!(node(&good).await.as_deref(), Some("worker"));
    assert_eq!(node(&token(&client, AGENT_ACCOUNT, &master, AGENT_AUDIENCE).await).await.as_deref(), Some("master"));
    let (other_account, other_audience) = (
        token(&client, "stranger", &stranger, AGENT_AUDIENCE).await,
        token(&client, AGENT_ACCOUNT, &worker, "vault").await,
    );
    for wrong in [&other_account, &other_audience, "a.b.c", "hai_0123", ""] {
        assert_eq!(node(wrong).await, None, "{wrong}");
    }
    let asked = lab.plane.requests("create", "tokenreviews").await;
    assert_eq!(node(&good).await.as_deref(), Some("worker"));
    assert_eq!(lab.plane.requests("create", "tokenreviews").await, asked, "it is remembered for a while");
    // The token of a pod that is gone names nobody.
    lab.of::<Pod>().delete(&worker.name_any(), &DeleteParams::default().grace_period(0)).await.expect("deleted");
    assert_eq!(lab.agents().await.node_of(&good).await.expect("an answer"), None);
}
