//! The Lease that tells who leads, for people and their tools: `kubectl get lease`.
//!
//! Who leads is decided by the store alone: its fence lets only one write, and of several daemons on one database the row
//! that runs out says who. The Lease decides nothing, so neither ends the other: while the API server is away the Lease is
//! not renewed and the leader goes on leading (it gives its orders when the server is back), and a leader that lost the
//! database ends although its Lease has not run out. Only who leads writes it. A leader that was frozen, and writes late, is
//! refused by the version of what it read; and having read anew it sees the fence of who came after it, and leaves it alone.

use std::collections::BTreeMap;
use std::time::Duration;

use hai_core::backend::Fence;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Error};
use tokio::time::Instant;

use super::retry::code;

/// The annotation with the fence of who leads.
const FENCE: &str = "hai/fence";
/// The annotation that says where who leads is reached.
const ADDRESS: &str = "hai/address";
/// How often a write is tried again that came between another's.
const TRIES: usize = 3;
/// How long a Lease holds that says nothing of it.
const USUAL: Duration = Duration::from_secs(15);

/// Tells who leads.
#[derive(Debug)]
pub struct Herald {
    leases: Api<Lease>,
    name: String,
    identity: String,
    address: String,
    since: Timestamp,
    /// The version that was seen last, and since when it has been there: clocks of others are not asked.
    seen: Option<(String, Instant)>,
}

/// What came of telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is told.
    Written,
    /// Somebody with a fence that is not smaller holds the Lease, and it has not run out: it was left alone.
    Another {
        /// Who, as it calls itself.
        holder: String,
        /// With which fence.
        fence: u64,
    },
}

impl Herald {
    /// One that speaks for `identity`, reached at `address`, in the Lease `name`.
    #[must_use]
    pub fn new(leases: Api<Lease>, name: String, identity: String, address: String) -> Self {
        Herald { leases, name, identity, address, since: Timestamp::now(), seen: None }
    }

    /// Tells that its daemon leads under `fence`, and does for as long as `lasts` from now.
    ///
    /// # Errors
    /// What the API server says; then it may or may not be told.
    pub async fn tell(&mut self, fence: Fence, lasts: Duration) -> Result<Told, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let found = self.leases.get_opt(&self.name).await?;
            if let Some(found) = &found {
                let run_out = self.has_run_out(found);
                if let Some((holder, theirs)) = self.held_by_another(found, fence).filter(|_| !run_out) {
                    return Ok(Told::Another { holder, fence: theirs });
                }
            }
            let wanted = self.lease(found.as_ref(), fence, Some(lasts));
            let written = match &found {
                None => self.leases.create(&PostParams::default(), &wanted).await,
                Some(_) => self.leases.replace(&self.name, &PostParams::default(), &wanted).await,
            };
            match written {
                Ok(_) => return Ok(Told::Written),
                // Somebody was quicker, or has removed it: what they wrote says whether to go on.
                Err(error) if matches!(code(&error), Some(404 | 409)) && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells that nobody leads, unless somebody else does meanwhile.
    ///
    /// # Errors
    /// What the API server says; then the Lease runs out by itself.
    pub async fn fall_silent(&self, fence: Fence) -> Result<(), Error> {
        let Some(found) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        if holder_of(&found) != Some(&self.identity) || fence_of(&found) != fence.0 {
            return Ok(());
        }
        let wanted = self.lease(Some(&found), fence, None);
        match self.leases.replace(&self.name, &PostParams::default(), &wanted).await {
            Err(error) if !matches!(code(&error), Some(404 | 409)) => Err(error),
            _ => Ok(()),
        }
    }

    fn held_by_another(&self, found: &Lease, fence: Fence) -> Option<(String, u64)> {
        let (holder, theirs) = (holder_of(found)?, fence_of(found));
        let own = theirs == fence.0 && *holder == self.identity;
        (theirs >= fence.0 && !own).then(|| (holder.clone(), theirs))
    }

    /// Whether it has been as it is for longer than it holds. The numbers of a database that was put in another's place begin
    /// anew, so a greater one does not hold for ever.
    fn has_run_out(&mut self, found: &Lease) -> bool {
        let version = found.metadata.resource_version.clone().unwrap_or_default();
        let holds = found.spec.as_ref().and_then(|spec| u64::try_from(spec.lease_duration_seconds?).ok());
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() > holds.map_or(USUAL, Duration::from_secs),
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    /// The Lease as it is to be; `None` if nobody is to hold it.
    fn lease(&self, found: Option<&Lease>, fence: Fence, lasts: Option<Duration>) -> Lease {
        let mut metadata = match found {
            // With its version, so that it is not written over what somebody else has written since.
            Some(found) => found.metadata.clone(),
            None => ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
        };
        let notes = metadata.annotations.get_or_insert_with(BTreeMap::new);
        notes.insert(FENCE.to_owned(), fence.0.to_string());
        notes.insert(ADDRESS.to_owned(), self.address.clone());
        let seconds = lasts.map_or(1, |lasts| i32::try_from(lasts.as_secs()).unwrap_or(i32::MAX).max(1));
        let spec = LeaseSpec {
            holder_identity: lasts.map(|_| self.identity.clone()),
            lease_duration_seconds: Some(seconds),
            acquire_time: Some(MicroTime(self.since)),
            renew_time: Some(MicroTime(Timestamp::now())),
            // As many daemons have led before, or were about to.
            lease_transitions: Some(i32::try_from(fence.0).unwrap_or(i32::MAX)),
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }
}

fn holder_of(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

/// 0 for one that another program made.
fn fence_of(lease: &Lease) -> u64 {
    let note = lease.metadata.annotations.as_ref().and_then(|notes| notes.get(FENCE));
    note.and_then(|text| text.parse().ok()).unwrap_or(0)
}
