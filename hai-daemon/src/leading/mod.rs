//! Of several daemons on one database one leads; what the others wait for, and what keeps one that does not lead from acting.
//!
//! What a daemon writes is guarded by the store's fence, by which alone nothing is decided twice. The lead is what tells the
//! others when to take the store over, and keeps one that was frozen, and thinks that it still leads, from giving orders.

pub(crate) mod holder;

use std::time::{Duration, Instant};

use hai_core::backend::{Cluster, Listing, StartOrder};
use hai_core::model::{Fact, Grace, NodeName, RunId};
use tokio::sync::watch;

use crate::store::StoreError;
use crate::store::postgres::{Candidate, LEAD, Standing};

/// How often the leader says that it is there, and the others ask.
const EVERY: Duration = Duration::from_millis(1500);
/// So long before it runs out a lead counts as doubtful: orders that are on their way take a while.
const MARGIN: Duration = Duration::from_millis(1500);

/// Another daemon leads.
#[derive(Debug, thiserror::Error)]
#[error("another daemon has taken over{}; this one stops", if .leader.is_empty() { String::new() } else { format!(", at {}", .leader) })]
pub struct Lost {
    /// Where it can be reached, if that is known.
    pub leader: String,
}

/// The lead of this daemon, once it has it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lead {
    renewed: watch::Receiver<Instant>,
}

/// Waits until `candidate` leads; `follow` is told each time who does meanwhile. The keeper must be run from then on.
pub async fn wait_to_lead(
    candidate: Candidate,
    mut follow: impl FnMut(&str) + Send,
) -> Result<(Lead, Keeper), StoreError> {
    let mut gone = None;
    loop {
        let asked = Instant::now();
        match candidate.ask(gone.take().as_deref()).await {
            Ok(Standing::Leads) => {
                let (renewed, lead) = watch::channel(asked);
                return Ok((Lead { renewed: lead }, Keeper { candidate, renewed }));
            }
            Ok(Standing::Follows { holder, .. }) if holder::is_gone(&holder) => {
                gone = Some(holder);
                continue;
            }
            Ok(Standing::Follows { leader, .. }) => follow(&leader),
            Err(error) if error.may_pass() => tracing::warn!(%error, "the database can not tell who leads"),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Keeps the lead; clones keep the same one.
#[derive(Clone, Debug)]
pub struct Keeper {
    candidate: Candidate,
    renewed: watch::Sender<Instant>,
}

impl Keeper {
    /// Renews it until another has it.
    pub async fn keep(&self) -> Lost {
        loop {
            tokio::time::sleep(EVERY).await;
            let asked = Instant::now();
            match self.candidate.ask(None).await {
                Ok(Standing::Leads) => drop(self.renewed.send_replace(asked)),
                Ok(Standing::Follows { leader, .. }) => return Lost { leader },
                // As long as the database is away nobody else can take it either.
                Err(error) => tracing::warn!(%error, "the lead can not be renewed"),
            }
        }
    }

    /// Lets another lead at once.
    pub async fn give_up(&self) {
        if let Err(error) = self.candidate.give_up().await {
            tracing::warn!(%error, "the lead can not be given up; it ends by itself within {LEAD:?}");
        }
    }
}

impl Lead {
    /// Returns once it is sure that this daemon leads: at once as a rule, and never if it does not any more.
    pub(crate) async fn sure(&mut self) {
        loop {
            let renewed = *self.renewed.borrow_and_update();
            if renewed.elapsed() + MARGIN < LEAD {
                return;
            }
            if self.renewed.changed().await.is_err() {
                // Who keeps it has stopped, and so will all else.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// A cluster that gets orders only while this daemon leads.
#[derive(Debug)]
pub struct Led<C> {
    cluster: C,
    lead: Option<Lead>,
}

impl<C> Led<C> {
    /// `None` leads always: nobody else is there.
    #[must_use]
    pub fn new(cluster: C, lead: Option<Lead>) -> Self {
        Led { cluster, lead }
    }

    async fn sure(&mut self) {
        if let Some(lead) = &mut self.lead {
            lead.sure().await;
        }
    }
}

impl<C: Cluster> Cluster for Led<C> {
    type Error = C::Error;

    async fn list(&mut self) -> Result<Listing, C::Error> {
        self.cluster.list().await
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), C::Error> {
        self.sure().await;
        self.cluster.start(order).await
    }

    async fn suspend(&mut self, run: RunId, grace: Grace) -> Result<(), C::Error> {
        self.sure().await;
        self.cluster.suspend(run, grace).await
    }

    async fn stop(&mut self, run: RunId, grace: Grace) -> Result<(), C::Error> {
        self.sure().await;
        self.cluster.stop(run, grace).await
    }

    async fn cordon(&mut self, node: &NodeName, cordoned: bool) -> Result<(), C::Error> {
        self.sure().await;
        self.cluster.cordon(node, cordoned).await
    }

    async fn forget(&mut self, run: RunId) -> Result<(), C::Error> {
        self.sure().await;
        self.cluster.forget(run).await
    }

    async fn next(&mut self) -> Fact {
        self.cluster.next().await
    }
}

#[cfg(test)]
mod tests {
    use hai_core::backend::MemoryCluster;

    use super::*;

    #[tokio::test]
    async fn a_doubtful_lead_gives_no_orders_until_it_is_renewed() {
        let (renewed, lead) = watch::channel(Instant::now());
        let mut led = Led::new(MemoryCluster::new([]), Some(Lead { renewed: lead }));
        led.stop(RunId(1), Grace::default()).await.expect("it leads");
        renewed.send_replace(Instant::now().checked_sub(LEAD).expect("it was up so long"));
        let mut waiting = Box::pin(led.stop(RunId(1), Grace::default()));
        assert!(tokio::time::timeout(Duration::from_millis(30), waiting.as_mut()).await.is_err());
        renewed.send_replace(Instant::now());
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it is sure again").expect("told");
    }
}
