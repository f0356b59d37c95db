//! One pod's life, as its kubelet lives and tells it.

use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use super::mounts::Mounts;
use super::{Life, Shared, alive, now};

/// One pod's life.
pub(super) struct Living {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: watch::Receiver<Option<Pod>>,
    pub(super) started: String,
}

/// How a life ended.
enum End {
    Code(i32, &'static str),
    /// With a last word.
    Said(i32, String),
    Evicted,
    /// The object is gone: nobody is to be told.
    Gone,
}

impl Living {
    fn current(&self) -> Option<Pod> {
        self.pod.borrow().clone()
    }

    async fn status(&self, status: Value) {
        alive(&self.shared).await;
        let Some(pod) = self.current() else { return };
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &pod.namespace().unwrap_or_default());
        // Never of another pod of the same name.
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
        insist!(pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)));
    }

    fn containers(&self, state: &Value, ready: bool) -> Value {
        let Some(pod) = self.current() else { return json!([]) };
        let all = pod.spec.map(|spec| spec.containers).unwrap_or_default();
        all.iter()
            .map(|one| {
                json!({"name": one.name, "image": one.image, "imageID": "", "ready": ready, "started": ready,
                       "restartCount": 0, "state": state})
            })
            .collect()
    }

    fn conditions(&self, ready: bool) -> Value {
        let word = if ready { "True" } else { "False" };
        let one = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now()});
        json!([
            one("Initialized", "True"),
            one("Ready", word),
            one("ContainersReady", word),
            one("PodScheduled", "True")
        ])
    }

    async fn waiting(&self, reason: &str, message: &str) {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        self.status(json!({
            "phase": "Pending", "conditions": self.conditions(false), "hostIP": self.shared.machine.address,
            "startTime": self.started, "containerStatuses": self.containers(&state, false),
        }))
        .await;
    }

    async fn running(&self) {
        let state = json!({"running": {"startedAt": now()}});
        let pod = self.current().and_then(|pod| pod.uid()).unwrap_or_default();
        let number = pod.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let address = format!("10.2.{}.{}", number >> 8 & 255, number & 255);
        self.status(json!({
            "phase": "Running", "conditions": self.conditions(true), "hostIP": self.shared.machine.address,
            "podIP": address, "podIPs": [{"ip": address}], "startTime": self.started,
            "containerStatuses": self.containers(&state, true),
        }))
        .await;
    }

    /// Resolves when the pod is deleted or gone; how long it may take to leave.
    async fn told_to_leave(&self) -> Option<Duration> {
        let mut pod = self.pod.clone();
        let leaves = |pod: &Option<Pod>| pod.as_ref().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
        match pod.wait_for(leaves).await {
            Ok(pod) => pod.as_ref().map(|pod| {
                let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
                Duration::from_secs(u64::try_from(grace).unwrap_or(0))
            }),
            Err(_) => None,
        }
    }

    /// Resolves when a pod that was told to leave has had the time that it was given; which may have become less since.
    async fn grace_is_over(&self) {
        let mut pod = self.pod.clone();
        let mut over = None;
        let mut given = None;
        loop {
            let grace = pod.borrow_and_update().as_ref().and_then(|pod| pod.metadata.deletion_grace_period_seconds);
            let Some(grace) = grace else { return };
            if given != Some(grace) {
                let until = tokio::time::Instant::now() + Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                over = Some(over.map_or(until, |over: tokio::time::Instant| over.min(until)));
                given = Some(grace);
            }
            let Some(until) = over else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                changed = pod.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn told_to_end(&self) -> i32 {
        let Some(pod) = self.current() else { return 0 };
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        let mut ends = self.shared.ends.subscribe();
        loop {
            if let Some(code) = ends.borrow_and_update().get(&key) {
                return *code;
            }
            if ends.changed().await.is_err() {
                return 0;
            }
        }
    }

    async fn stays(&self, leaves_at_once: bool) -> End {
        tokio::select! {
            grace = self.told_to_leave() => match grace {
                None => End::Gone,
                Some(_) if leaves_at_once => End::Code(143, "Error"),
                Some(_) => {
                    self.grace_is_over().await;
                    End::Code(137, "Error")
                }
            },
            code = self.told_to_end() => End::Code(code, if code == 0 { "Completed" } else { "Error" }),
        }
    }

    async fn for_a_while(&self, after: Duration, end: End) -> End {
        tokio::select! {
            () = tokio::time::sleep(after) => end,
            end = self.stays(true) => end,
        }
    }

    pub(super) async fn run(self, life: Life) {
        if life == Life::Silence {
            return;
        }
        if self.current().is_some_and(|pod| {
            matches!(pod.status.and_then(|status| status.phase).as_deref(), Some("Succeeded" | "Failed"))
        }) {
            return;
        }
        self.waiting("ContainerCreating", "").await;
        let end = match life {
            Life::PullFails => {
                let image =
                    self.current().and_then(|pod| pod.spec?.containers.first()?.image.clone()).unwrap_or_default();
                self.waiting("ErrImagePull", &format!("failed to pull and unpack image \"{image}\": not found")).await;
                self.waiting("ImagePullBackOff", &format!("Back-off pulling image \"{image}\"")).await;
                self.stays(true).await
            }
            Life::PullSlow { takes } => tokio::select! {
                () = tokio::time::sleep(takes) => {
                    self.running().await;
                    self.stays(true).await
                }
                end = self.stays(true) => end,
            },
            Life::Process => self.process().await,
            other => {
                self.running().await;
                match other {
                    Life::Exit { after, code } => {
                        self.for_a_while(after, End::Code(code, if code == 0 { "Completed" } else { "Error" })).await
                    }
                    Life::Says { code, word } => End::Said(code, word),
                    Life::OutOfMemory { after } => self.for_a_while(after, End::Code(137, "OOMKilled")).await,
                    Life::Evicted { after } => self.for_a_while(after, End::Evicted).await,
                    other => self.stays(other != Life::Stubborn).await,
                }
            }
        };
        self.over(end).await;
    }

    async fn over(&self, end: End) {
        match end {
            End::Gone => return,
            End::Evicted => {
                self.status(json!({"phase": "Failed", "reason": "Evicted", "conditions": self.conditions(false),
                                   "message": "The node was low on resource: ephemeral-storage."}))
                    .await;
            }
            End::Code(..) | End::Said(..) => {
                let (code, reason, message) = match end {
                    End::Code(code, reason) => (code, reason, String::new()),
                    End::Said(code, word) => (code, if code == 0 { "Completed" } else { "Error" }, word),
                    _ => return,
                };
                let state = json!({"terminated": {"exitCode": code, "reason": reason, "message": message,
                                                  "startedAt": self.started, "finishedAt": now()}});
                let phase = if code == 0 { "Succeeded" } else { "Failed" };
                self.status(json!({"phase": phase, "conditions": self.conditions(false),
                                   "containerStatuses": self.containers(&state, false)}))
                    .await;
            }
        }
        // What is being deleted goes for good once its kubelet says so.
        if self.told_to_leave().await.is_none() {
            return;
        }
        alive(&self.shared).await;
        let Some(pod) = self.current() else { return };
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &pod.namespace().unwrap_or_default());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default().grace_period(0)
        };
        insist!(pods.delete(&pod.name_any(), &params));
    }

    /// Reads to the end what a process writes, and passes it on as it comes.
    fn keep(
        &self,
        (namespace, pod): (String, String),
        mut from: impl tokio::io::AsyncRead + Unpin + Send + 'static,
    ) -> tokio::task::JoinHandle<Vec<u8>> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let (mut all, mut piece) = (Vec::new(), vec![0; 8192]);
            while let Ok(count @ 1..) = from.read(&mut piece).await {
                shared.output.write(&namespace, &pod, &piece[..count]);
                all.extend_from_slice(&piece[..count]);
            }
            all
        })
    }

    /// Executes the command of the first container.
    async fn process(&self) -> End {
        let Some(pod) = self.current() else { return End::Gone };
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).expect("a container").clone();
        let entrypoint = self.shared.entrypoint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = Some(entrypoint).filter(|program| !program.is_empty() && container.command.is_none());
        let mounts = Mounts::of(&self.shared.client, &pod).await;
        let words = container.command.iter().flatten().chain(container.args.iter().flatten());
        let words: Vec<String> = own.into_iter().chain(words.map(|word| mounts.here(word))).collect();
        let mut command = tokio::process::Command::new(words.first().map_or("true", String::as_str));
        command
            .args(words.iter().skip(1))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
        for variable in container.env.iter().flatten() {
            let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
            let value = match field.map(|field| field.field_path.as_str()) {
                Some("metadata.name") => pod.name_any(),
                Some("metadata.namespace") => pod.namespace().unwrap_or_default(),
                Some("spec.nodeName") => self.shared.machine.name.clone(),
                Some("status.hostIP" | "status.podIP") => "127.0.0.1".to_owned(),
                _ => mounts.here(variable.value.as_deref().unwrap_or_default()),
            };
            command.env(&variable.name, value);
        }
        if let Some(dir) = &container.working_dir {
            command.current_dir(mounts.here(dir));
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                return End::Said(128, format!("{words:?} can not be executed: {error}"));
            }
        };
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let key = (pod.namespace().unwrap_or_default(), pod.name_any());
        let out = self.keep(key.clone(), child.stdout.take().expect("it is piped"));
        let err = self.keep(key.clone(), child.stderr.take().expect("it is piped"));
        self.running().await;
        let mut output = tokio::spawn(async move {
            let status = child.wait().await;
            let text = [out.await, err.await].map(|text| text.expect("nobody aborts it")).concat();
            (status.expect("it is ours"), text)
        });
        let mut killed = false;
        let output = tokio::select! {
            output = &mut output => output,
            grace = self.told_to_leave() => {
                let kill = |signal| id.map(|id| rustix::process::kill_process(id, signal));
                if grace.is_some() {
                    kill(rustix::process::Signal::TERM);
                    tokio::select! {
                        output = &mut output => output,
                        () = self.grace_is_over() => {
                            kill(rustix::process::Signal::KILL);
                            killed = true;
                            output.await
                        }
                    }
                } else {
                    kill(rustix::process::Signal::KILL);
                    let _ = output.await;
                    return End::Gone;
                }
            }
        };
        let (status, text) = output.expect("nobody aborts it");
        self.shared.output.close(&key.0, &key.1);
        let word = String::from_utf8_lossy(&text).into_owned();
        self.shared.logs.lock().unwrap_or_else(PoisonError::into_inner).insert(key, text);
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or(if killed { 9 } else { 0 }));
        let by_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if by_log && code != 0 {
            return End::Said(code, word);
        }
        End::Code(code, if code == 0 { "Completed" } else { "Error" })
    }
}
