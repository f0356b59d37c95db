//! Tells a daemon what is seen: at once when it matters, else every few seconds; slower while it does not listen.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hai_core::model::{DeviceHealth, NodeName};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use ureq::http::Method;

use super::AgentArgs;
use crate::api::wire::ReportAnswer;
use crate::cli::access::{Access, normal};
use crate::cli::client::{Client, encoded};
use crate::config::Environment;
use crate::gpu::health::Limits;
use crate::gpu::observer::Rules;
use crate::gpu::reading::Usage;
use crate::gpu::report::NodeReport;
use crate::gpu::strangers::{AnyOf, LocalWorkers, PodWorkers};
use crate::gpu::watching::{Options, start};

/// The first wait after a report that was not taken; it doubles each time.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// What was seen last counts no longer than this.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// The longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest token file that is read, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;

/// Where the reports go, and as whose.
#[derive(Clone, Debug)]
struct Daemon {
    server: String,
    server_origin: String,
    token: TokenFrom,
    node: NodeName,
}

#[derive(Clone, Debug)]
enum TokenFrom {
    File(PathBuf),
    Given(String),
}

/// Reports until it is told to stop.
///
/// # Errors
/// In words, what keeps it from even trying.
pub(super) fn run(args: &AgentArgs, environment: &Environment) -> Result<(), String> {
    let daemon = daemon(args, environment)?;
    let pods = PodWorkers::default();
    let owners = Arc::new(AnyOf(vec![Box::new(LocalWorkers::of_any()), Box::new(pods.clone())]));
    let rules = Rules { limits: Limits::default(), tolerance: args.tolerance(), owners };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime can be started: {error}"))?;
    let watching = start(Options { nvml: args.nvml(), every: args.every, rules })
        .map_err(|error| format!("no thread can be started: {error}"))?;
    tracing::info!(server = daemon.server, node = %daemon.node, "reporting devices");
    runtime.block_on(async {
        tokio::select! {
            () = report(&daemon, watching.reports(), &pods, args.every) => {}
            stopped = told_to_stop() => stopped.map_err(|error| format!("signals can not be waited for: {error}"))?,
        }
        Ok(())
    })
}

fn daemon(args: &AgentArgs, environment: &Environment) -> Result<Daemon, String> {
    let var = |name: &str| environment.vars.get(name).and_then(|value| value.to_str()).filter(|text| !text.is_empty());
    let (server, server_origin) = match (&args.server, var("HAI_SERVER")) {
        (Some(server), _) => (server.as_str(), "from --server"),
        (None, Some(server)) => (server, "from HAI_SERVER"),
        (None, None) => return Err("no daemon is named; name one with --server or HAI_SERVER".to_owned()),
    };
    let token = match (&args.token_file, var("HAI_AGENT_TOKEN")) {
        (Some(file), _) => TokenFrom::File(file.clone()),
        (None, Some(token)) => TokenFrom::Given(token.to_owned()),
        (None, None) => {
            return Err("no token is given; name a file with --token-file, or set HAI_AGENT_TOKEN (an operator makes \
                        one with `hai users add NAME --role agent`)"
                .to_owned());
        }
    };
    let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let node = args.node.clone().or_else(|| var("HAI_NODE_NAME").map(str::to_owned)).unwrap_or_else(own);
    let node = NodeName::new(node).map_err(|error| format!("--node: {error}"))?;
    let server = normal(server).map_err(|error| error.to_string())?;
    Ok(Daemon { server, server_origin: server_origin.to_owned(), token, node })
}

/// What is reported while nobody has looked for `time`: a library that hangs, as on a dying GPU, says nothing of anything.
fn stuck(seen: &NodeReport, time: Duration) -> NodeReport {
    let mut report = seen.clone();
    let reason = format!("nobody could look at it for {} s; NVIDIA's library does not answer", time.as_secs());
    for device in report.devices.iter_mut().filter(|device| device.spec.health.is_healthy()) {
        device.spec.health = DeviceHealth::Suspect { reason: reason.clone() };
        device.usage = Usage::default();
    }
    report
}

/// Reports for ever. What is not sent is not kept: the next report tells all there is.
async fn report(daemon: &Daemon, mut reports: watch::Receiver<Arc<NodeReport>>, pods: &PodWorkers, every: Duration) {
    let (mut failures, mut trouble) = (0, None);
    let mut looked = Instant::now();
    loop {
        if reports.has_changed().unwrap_or(false) {
            looked = Instant::now();
        }
        let seen = reports.borrow_and_update().clone();
        let report = if looked.elapsed() < STUCK_AFTER { seen } else { Arc::new(stuck(&seen, looked.elapsed())) };
        let (to, sent) = (daemon.clone(), report.clone());
        let answer = tokio::task::spawn_blocking(move || to.send(&sent)).await;
        match answer.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(answer) => {
                if let Some(told) = answer.pods {
                    pods.set(told);
                }
                if trouble.take().is_some() {
                    tracing::info!(server = daemon.server, "the daemon takes reports again");
                }
                failures = 0;
                let changed = async {
                    while reports.changed().await.is_ok() {
                        looked = Instant::now();
                        if !reports.borrow_and_update().decides_like(&report) {
                            return;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                // Whichever comes first: news, or time to say that all is as it was.
                let _ = tokio::time::timeout(every, changed).await;
            }
            Err(error) => {
                if trouble.as_ref() != Some(&error) {
                    tracing::warn!("{error}");
                    trouble = Some(error);
                }
                tokio::time::sleep(wait(failures, random())).await;
                failures += 1;
            }
        }
    }
}

/// How long to wait after so many failures: twice as long each time, and somewhere in the upper half of that, so that the
/// agents of a cluster do not all come at once.
fn wait(failures: u32, random: u8) -> Duration {
    let full = WAIT_FIRST.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(WAIT_MAX);
    full / 2 + full / 2 * u32::from(random) / u32::from(u8::MAX)
}

fn random() -> u8 {
    let mut byte = [0];
    // Without randomness all of them come at once, which is bad, but no reason to stop.
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

impl Daemon {
    fn send(&self, report: &NodeReport) -> Result<ReportAnswer, String> {
        let (token, token_origin) = match &self.token {
            TokenFrom::Given(token) => (token.clone(), "from HAI_AGENT_TOKEN".to_owned()),
            TokenFrom::File(path) => (read_token(path)?, format!("from {}", path.display())),
        };
        let access = Access {
            server: self.server.clone(),
            server_origin: self.server_origin.clone(),
            token: Some(token),
            token_origin,
        };
        let path = format!("/v1/nodes/{}/devices", encoded(self.node.as_str()));
        let answer = Client::new(access).send(&Method::PUT, &path, Some(report)).map_err(|error| error.to_string())?;
        answer.parse().map_err(|error| error.to_string())
    }
}

fn read_token(path: &PathBuf) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the token in {} can not be read: {error}", path.display());
    let length = fs::metadata(path).map_err(|error| failed(&error))?.len();
    if length > TOKEN_BYTES_MAX {
        return Err(failed(&format!("the file has {length} bytes, which is no token")));
    }
    Ok(fs::read_to_string(path).map_err(|error| failed(&error))?.trim().to_owned())
}

/// In a container it is the first process, which no signal ends unless it asks for it.
async fn told_to_stop() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_differ() {
        assert_eq!((wait(0, 0), wait(0, u8::MAX)), (WAIT_FIRST / 2, WAIT_FIRST));
        assert!(wait(3, 100) > wait(2, 100) && wait(3, 100) != wait(3, 101));
        for failures in [7, 16, 40, u32::MAX] {
            assert_eq!(wait(failures, u8::MAX), WAIT_MAX);
        }
    }
}

#[cfg(test)]
mod stuck_tests {
    use hai_core::model::{DeviceId, DeviceSpec, ModelName};

    use super::*;
    use crate::gpu::report::DeviceReport;

    #[test]
    fn what_nobody_can_look_at_gets_nothing_new_and_keeps_what_is_known_against_it() {
        let device = |id: &str, health: DeviceHealth| {
            let (id, model) = (DeviceId::new(id).expect("an id"), ModelName::new("RTX 3070").expect("a name"));
            let spec = DeviceSpec { health, ..DeviceSpec::new(id, model, 8192) };
            let report = serde_json::json!({"spec": spec});
            serde_json::from_value::<DeviceReport>(report).expect("a report")
        };
        let sick = DeviceHealth::Sick { reason: "XID 79".to_owned() };
        let seen = NodeReport {
            devices: vec![device("GPU-1", DeviceHealth::Healthy), device("GPU-2", sick.clone())],
            ..NodeReport::default()
        };
        let told = stuck(&seen, Duration::from_secs(61));
        assert!(matches!(&told.devices[0].spec.health, DeviceHealth::Suspect { reason } if reason.contains("61 s")));
        assert_eq!(told.devices[1].spec.health, sick);
    }
}
