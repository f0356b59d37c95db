//! The way to the API server: the one maker of clients.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::retry::chain;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long the API server may be silent while it is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// As long as a watch may be before it is begun anew; servers end them sooner.
    OfWatches,
    /// As long as an answer may take for which somebody sits and waits.
    OfAnswers,
}

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoWay {
    /// What a kubeconfig says can not be used.
    #[error("{path} can not be used: {problem}")]
    Kubeconfig {
        /// The file.
        path: String,
        /// It is a directory.
        directory: bool,
        /// What is wrong.
        problem: String,
    },
    /// There is neither a kubeconfig nor a pod's service account.
    #[error("it is not known where the API server is: this is no pod of a cluster, and there is no kubeconfig")]
    Nowhere,
    /// What is known of the server makes no client.
    #[error("a client of the API server can not be made: {problem}")]
    Client {
        /// What is wrong.
        problem: String,
    },
}

impl NoWay {
    fn of(path: &Path, error: &dyn std::error::Error) -> Self {
        let (path, directory) = (path.display().to_string(), path.is_dir());
        NoWay::Kubeconfig { path, directory, problem: chain(error) }
    }

    /// What to do about it.
    #[must_use]
    pub const fn fix(&self) -> &'static str {
        match self {
            NoWay::Kubeconfig { directory: true, .. } => "name the file in it, not the directory",
            NoWay::Kubeconfig { .. } => "name the kubeconfig that kubectl uses; `kubectl config view` shows it",
            NoWay::Nowhere => "set kubernetes.kubeconfig, or KUBECONFIG, to the file that kubectl uses",
            NoWay::Client { .. } => "see the server's address and certificates in the kubeconfig",
        }
    }
}

/// A client by `kubeconfig` and `context`; without them as a pod of the cluster is told, or as `kubectl` finds one.
///
/// # Errors
/// [`NoWay`]. Nobody is asked yet whether the server is there.
pub async fn client(kubeconfig: Option<&Path>, context: Option<&str>, silence: Silence) -> Result<Client, NoWay> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let read = Kubeconfig::read_from(path).map_err(|error| NoWay::of(path, &error))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| NoWay::of(path, &error))?
        }
        (None, Some(_)) => {
            let unusable = |error| NoWay::of(Path::new("the kubeconfig"), &error);
            Config::from_kubeconfig(&options).await.map_err(unusable)?
        }
        (None, None) => Config::infer().await.map_err(|_| NoWay::Nowhere)?,
    };
    config.connect_timeout = Some(CONNECT_MAX);
    config.read_timeout = Some(match silence {
        Silence::OfWatches => Duration::from_secs(295),
        Silence::OfAnswers => Duration::from_secs(30),
    });
    Client::try_from(config).map_err(|error| NoWay::Client { problem: chain(&error) })
}
