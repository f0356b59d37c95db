//! The way to the API server.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::config::KubernetesError;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a watch may be silent before it is begun anew; servers end them sooner.
const SILENCE_MAX: Duration = Duration::from_secs(295);

/// A client by `kubeconfig` and `context`; without them as a pod of the cluster is told, or as `kubectl` finds one.
///
/// # Errors
/// [`KubernetesError::Api`], if it is not known where the API server is.
pub async fn client(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, KubernetesError> {
    let wrong = |problem: String| KubernetesError::Api { what: "finding the API server".to_owned(), problem };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let read = Kubeconfig::read_from(path).map_err(|error| error.to_string());
            let unreadable =
                |error: String| wrong(format!("kubernetes.kubeconfig ({}) can not be used: {error}", path.display()));
            let read = read.map_err(&unreadable)?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| unreadable(error.to_string()))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| wrong(error.to_string()))?,
        (None, None) => Config::infer().await.map_err(|_| {
            wrong("this is no pod of a cluster, and there is no kubeconfig; set kubernetes.kubeconfig, or KUBECONFIG, to the \
                   file that kubectl uses"
                .to_owned())
        })?,
    };
    config.connect_timeout = Some(CONNECT_MAX);
    config.read_timeout = Some(SILENCE_MAX);
    Client::try_from(config).map_err(|error| super::retry::failure("making a client", &error))
}
