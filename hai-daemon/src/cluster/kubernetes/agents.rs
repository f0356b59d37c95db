//! Which node an agent is on, as Kubernetes vouches for it: the token of its pod, which it can not choose.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hai_core::model::NodeName;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::config::KubernetesError;
use super::retry::failure;

/// Whom the tokens of agents are for: the API server itself does not take them.
pub const AUDIENCE: &str = "hai";
/// The service account of agents.
pub const ACCOUNT: &str = "hai-agent";
/// How long an answer counts. Tokens of pods that are gone count no longer than this.
const ANSWER_LASTS: Duration = Duration::from_secs(60);
/// How many answers are kept; there are as many agents as nodes.
const ANSWERS_MAX: usize = 20_000;
/// How many are asked for at a time.
const AT_A_TIME: usize = 8;

/// Knows agents by the tokens of their pods; cheap to clone.
#[derive(Clone, Debug)]
pub struct AgentDoor {
    inner: Arc<Inner>,
}

/// When it was asked and which node it was, by the token's digest; no node of a token that is nobody's.
type Answers = BTreeMap<[u8; 32], (Instant, Option<NodeName>)>;

struct Inner {
    client: Client,
    namespace: String,
    answers: Mutex<Answers>,
    asking: Semaphore,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl AgentDoor {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        let (answers, asking) = (Mutex::default(), Semaphore::new(AT_A_TIME));
        AgentDoor { inner: Arc::new(Inner { client, namespace, answers, asking }) }
    }

    /// The node of the agent that has this token; `None` if no agent has it.
    ///
    /// # Errors
    /// [`KubernetesError`] if the API server can not tell.
    pub async fn node_of(&self, token: &str) -> Result<Option<NodeName>, KubernetesError> {
        // Others are not even asked about.
        if token.split('.').count() != 3 {
            return Ok(None);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let _place = self.inner.asking.acquire().await;
        // Whoever had the place may have asked the same.
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let node = self.asked(token).await?;
        let mut answers = self.answers();
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (since, _)| since.elapsed() < ANSWER_LASTS);
        }
        if answers.len() < ANSWERS_MAX {
            answers.insert(digest, (Instant::now(), node.clone()));
        }
        Ok(node)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.inner.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Option<NodeName>> {
        let answers = self.answers();
        let (since, node) = answers.get(digest)?;
        (since.elapsed() < ANSWER_LASTS).then(|| node.clone())
    }

    async fn asked(&self, token: &str) -> Result<Option<NodeName>, KubernetesError> {
        let Inner { client, namespace, .. } = &*self.inner;
        let spec = TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await;
        let status = answer.map_err(|error| failure("asking whose token it is", &error))?.status.unwrap_or_default();
        let ours = status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
        let Some(user) = status.user.filter(|_| ours && status.authenticated == Some(true)) else { return Ok(None) };
        if user.username.as_deref() != Some(&format!("system:serviceaccount:{namespace}:{ACCOUNT}")) {
            return Ok(None);
        }
        if let Some(node) = extra(&user, "authentication.kubernetes.io/node-name") {
            return Ok(NodeName::new(node).ok());
        }
        // Kubernetes before 1.30 does not say the node, but which pod it is.
        let (Some(name), Some(uid)) = (
            extra(&user, "authentication.kubernetes.io/pod-name"),
            extra(&user, "authentication.kubernetes.io/pod-uid"),
        ) else {
            return Ok(None);
        };
        let pod = Api::<Pod>::namespaced(client.clone(), namespace).get_opt(name).await;
        let pod = pod.map_err(|error| failure("looking for an agent's pod", &error))?;
        let pod = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid));
        Ok(pod.and_then(|pod| NodeName::new(pod.spec?.node_name?).ok()))
    }
}

fn extra<'a>(user: &'a UserInfo, key: &str) -> Option<&'a str> {
    user.extra.as_ref()?.get(key)?.first().map(String::as_str)
}
