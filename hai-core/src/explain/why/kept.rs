//! Nodes that are kept for a task, and starts of it that came to nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::count;
use crate::engine::Engine;
use crate::model::{NodeName, Refusal, TaskId, Time};

/// A reservation, or when there will be one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptLink {
    /// The nodes that are kept; none yet before [`KeptLink::from`].
    pub nodes: Vec<NodeName>,
    /// Since when they are kept, or from when on they will be if it still waits.
    pub from: Time,
    /// When it starts at the latest if no better work comes; `None` if nobody can say.
    pub by: Option<Time>,
}

/// Starts that came to nothing since it last ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedLink {
    /// Refused starts in a row.
    pub refusals: u32,
    /// Runs in a row that were lost before long.
    pub losses: u32,
    /// The last one.
    pub last: Option<Refusal>,
    /// When it is tried again, if it waits for that.
    pub again_at: Option<Time>,
}

pub(super) fn look(engine: &Engine, id: TaskId) -> Option<KeptLink> {
    if let Some((nodes, by, from)) = engine.look_kept(id) {
        return Some(KeptLink { nodes, from, by });
    }
    let from = engine.look_kept_from(id).filter(|from| *from > engine.now())?;
    Some(KeptLink { nodes: Vec::new(), from, by: None })
}

pub(super) fn look_refused(engine: &Engine, id: TaskId) -> Option<RefusedLink> {
    let (refusals, losses, last, again_at) = engine.look_refusals(id)?;
    let any = refusals > 0 || losses > 0 || last.is_some() || again_at.is_some();
    any.then(|| RefusedLink { refusals, losses, last: last.cloned(), again_at })
}

/// One sentence for people.
impl fmt::Display for KeptLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return write!(f, "if it still waits at {}, nodes will be kept for it", self.from);
        }
        let names: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        write!(
            f,
            "{} {} kept for it since {}",
            names.join(", "),
            if names.len() == 1 { "is" } else { "are" },
            self.from
        )?;
        match self.by {
            Some(by) => write!(f, "; it starts by {by} if no better work comes"),
            None => f.write_str("; a run that never has to leave is in its way"),
        }
    }
}

/// One sentence for people.
impl fmt::Display for RefusedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.refusals, self.losses) {
            (0, 0) => f.write_str("its last try failed")?,
            (0, losses) => write!(f, "{} in a row came to nothing", count(losses, "run"))?,
            (refusals, _) => write!(f, "{} in a row came to nothing", count(refusals, "start"))?,
        }
        if let Some(last) = &self.last {
            write!(f, ", the last at {}", last.at)?;
            if let Some(node) = &last.node {
                write!(f, " on {node}")?;
            }
            write!(f, ": {}", last.reason)?;
        }
        match self.again_at {
            Some(at) => write!(f, "; it is tried again at {at}"),
            None => Ok(()),
        }
    }
}
