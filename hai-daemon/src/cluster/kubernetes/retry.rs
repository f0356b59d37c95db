//! Asking the API server until it answers: what may pass is asked again, what will not is an error.

use std::time::Duration;

use kube::Error;

use super::config::KubernetesError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take before it is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The API server, or the way there, has trouble that may pass; nothing is known of what was asked.
pub(crate) fn may_pass(error: &Error) -> bool {
    match error {
        Error::Api(status) => status.code == 429 || status.code >= 500,
        Error::Service(_) | Error::HyperError(_) | Error::ReadEvents(_) => true,
        _ => false,
    }
}

/// The API server's code, if it answered.
pub(crate) fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// `what` and why it failed, with what helps if that is known.
pub(crate) fn failure(what: impl Into<String>, error: &Error) -> KubernetesError {
    let problem = match error {
        Error::Api(status) if status.code == 403 && status.message.contains("cannot") => {
            format!("{}; hai's role does not allow it: `hai-daemon manifests` prints one that does", status.message)
        }
        Error::Api(status) if status.code == 401 => {
            "the API server does not know this daemon; see the kubeconfig or the service account's token".to_owned()
        }
        Error::Api(status) => status.message.clone(),
        error => format!("the API server can not be reached: {}", chain(error)),
    };
    let what = what.into();
    if may_pass(error) { KubernetesError::Away { what, problem } } else { KubernetesError::Api { what, problem } }
}

/// An error with its causes, of which the last often is the one that says something.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

/// A pause that grows, with jitter, so that not all come back at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    next: Duration,
}

impl BackOff {
    pub(crate) const fn new() -> Self {
        BackOff { next: FIRST_PAUSE }
    }

    pub(crate) async fn pause(&mut self) {
        let mut byte = [0_u8; 1];
        // Without randomness all wait alike, which does no harm.
        let _ = getrandom::fill(&mut byte);
        let jitter = self.next.mul_f64(f64::from(byte[0]) / 512.0);
        tokio::time::sleep(self.next / 2 + jitter).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
    }
}

/// Asks until there is an answer, or `enough` says that it is not wanted any more.
///
/// # Errors
/// What will not pass; or, once it is enough, what went wrong last.
pub(crate) async fn ask<T, F>(request: impl FnMut() -> F, enough: impl Fn() -> bool) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    ask_while(request, enough, may_pass).await
}

/// The same, for what must be done once it was begun: that hai may not, or is not known, is taken for something that passes
/// too, as it does while an API server starts.
///
/// # Errors
/// As from [`ask`].
pub(crate) async fn insist<T, F>(request: impl FnMut() -> F, enough: impl Fn() -> bool) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let passes =
        |error: &Error| may_pass(error) || matches!(code(error), Some(401 | 403)) || matches!(error, Error::Auth(_));
    ask_while(request, enough, passes).await
}

async fn ask_while<T, F>(
    mut request: impl FnMut() -> F,
    enough: impl Fn() -> bool,
    passes: impl Fn(&Error) -> bool,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut back_off = BackOff::new();
    loop {
        let answer = tokio::time::timeout(ANSWER_MAX, request()).await;
        let silent = || Err(Error::Service(format!("no answer within {} s", ANSWER_MAX.as_secs()).into()));
        match answer.unwrap_or_else(|_| silent()) {
            Err(error) if passes(&error) && !enough() => {
                if matches!(code(&error), Some(401 | 403)) {
                    tracing::warn!(%error, "the API server refuses what hai must do; it is asked again");
                } else {
                    tracing::debug!(%error, "the API server is asked again");
                }
                back_off.pause().await;
            }
            answer => return answer,
        }
    }
}

/// Whether what was to be made is there already.
pub(crate) fn is_there(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// A conflict with somebody who changed the same thing, e.g. a quota: it is asked again.
fn conflicts(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409 && status.reason == "Conflict")
}

/// As [`ask`], to make something: a conflict over a quota is no answer.
///
/// # Errors
/// As from [`ask`].
pub(crate) async fn make<T, F>(request: impl FnMut() -> F, enough: impl Fn() -> bool) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    ask_while(request, enough, |error| may_pass(error) || conflicts(error)).await
}
