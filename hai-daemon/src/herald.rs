//! Telling on Kubernetes who leads, as long as this daemon does.

use std::time::Duration;

use hai_core::backend::Fence;
use tokio::time::{sleep, timeout};

use crate::cluster::kubernetes::{Herald, Told, chain};
use crate::leading::Lead;
use crate::store::postgres::LEAD;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(2);
/// How long the API server may take; what comes later is refused, as others have written since.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a daemon that stops takes to tell that it does.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Tells for ever; only while `lead`, if others may lead, is sure. What goes wrong is logged, and ends nothing.
pub(crate) async fn tell(herald: &mut Herald, fence: Fence, mut lead: Option<Lead>) {
    let mut trouble = None;
    loop {
        if let Some(lead) = &mut lead {
            lead.sure().await;
        }
        let said = match timeout(ANSWER_MAX, herald.tell(fence, LEAD)).await {
            Ok(Ok(Told::Written)) => None,
            Ok(Ok(Told::Another { holder, fence: theirs })) => Some(format!(
                "the Lease is held by {holder} with fence {theirs}, and this daemon has {}: it is left alone; are there two \
                 databases, or two hai of one `instance` in the namespace?",
                fence.0
            )),
            Ok(Err(error)) => Some(format!("the Lease that tells who leads can not be written: {}", chain(&error))),
            Err(_) => Some(format!("the Lease that tells who leads was not written within {} s", ANSWER_MAX.as_secs())),
        };
        if let Some(said) = said.as_ref().filter(|said| trouble.as_ref() != Some(*said)) {
            tracing::warn!("{said}");
        }
        trouble = said;
        sleep(EVERY).await;
    }
}

/// Tells that nobody leads; who takes over tells soon enough if that does not work.
pub(crate) async fn fall_silent(herald: &Herald, fence: Fence) {
    match timeout(GOODBYE_MAX, herald.fall_silent(fence)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the Lease can not be given up; it runs out"),
        Err(_) => tracing::debug!("the Lease was not given up in time; it runs out"),
    }
}
