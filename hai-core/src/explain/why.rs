//! Why a task waits, runs where it runs, or had to leave: the dominant reason, and the chain of links behind it.
//!
//! See [`why`] for the primary entry point. Every link is data with a sentence for people; [`Why::sections`] is all of it
//! as a short text.

mod asks;
mod kept;
mod left;
mod line;
mod nodes;
mod right;
mod running;
mod text;
mod who;
pub(super) mod words;
mod yielding;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::model::{TaskId, TaskState, Time, UserName, Verdict};

pub use asks::AskLink;
pub use kept::{KeptLink, RefusedLink};
pub use left::LeftLink;
pub use line::{Ahead, Because, LineLink};
pub use nodes::{DeviceClass, NodeClass, NodeRefusal, NodesLink, Refused, Together};
pub use right::{Borrowing, Holder, LevelRight, ModelRight, RightLink, RightStanding, TeamRight};
pub use running::{Basis, Rated, RunLink, Spread};
pub use text::Section;
pub use who::{Named, Other};
pub use yielding::{StayReason, Stays, YieldLink};

/// So many tasks or nodes are named in each place; the others are counted.
pub const NAMED: usize = 3;

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub user: UserName,
    /// As of when.
    pub at: Time,
    /// What it is doing.
    pub state: TaskState,
    /// The dominant reason; `None` if it does not wait.
    pub verdict: Option<Verdict>,
    /// If it waits behind another of its shape: that one, and what it waits for. The links are then of both alike, their
    /// places in line left aside.
    pub head: Option<(TaskId, Verdict)>,
    /// What it asks for, if it waits.
    pub asks: Option<AskLink>,
    /// What it may hold, and who holds it. `None` for work that needs no right, and for what does not wait for its turn.
    pub right: Option<RightLink>,
    /// Its place in the line of its group.
    pub line: Option<LineLink>,
    /// Which nodes would take it, and why the others do not.
    pub nodes: Option<NodesLink>,
    /// Who is on the nodes that would do, and why they stay.
    pub yielding: Option<YieldLink>,
    /// Nodes that are kept for it, or will be.
    pub kept: Option<KeptLink>,
    /// Starts that came to nothing.
    pub refused: Option<RefusedLink>,
    /// Why it runs where it does, and until when it has its place for sure.
    pub running: Option<RunLink>,
    /// The last time that it had to leave.
    pub left: Option<LeftLink>,
}

/// Why an unfinished task is where it is; `None` if there is no such task.
///
/// # Complexity
/// A copy of the engine is made, and all nodes of the task's group, its runs and its waiting tasks are looked at once.
#[must_use]
pub fn why(engine: &Engine, task: TaskId) -> Option<Why> {
    why_naming(engine, task, NAMED)
}

/// The same with up to so many tasks and nodes named in each place.
#[must_use]
pub fn why_naming(engine: &Engine, task: TaskId, named: usize) -> Option<Why> {
    engine.task(task)?;
    // Rights and requests are worked out when they are looked at, and remembered by who looks.
    why_of_copy(&mut engine.clone(), task, named)
}

/// The same, of a copy of an engine that may be written to.
pub(super) fn why_of_copy(engine: &mut Engine, id: TaskId, named: usize) -> Option<Why> {
    let view = engine.task(id)?;
    let verdict = engine.verdict(id);
    let head = match &verdict {
        Some(Verdict::Behind { head }) => engine.verdict(*head).map(|verdict| (*head, verdict)),
        _ => None,
    };
    let queued = engine.look_queued(id);
    // Whoever waits for something else would still be told what comes after that.
    let held_back = matches!(
        verdict,
        Some(Verdict::Held | Verdict::After { .. } | Verdict::NotBefore { .. } | Verdict::BackOff { .. })
    );
    let waits = queued || held_back;
    let needs_right = waits && !view.spec.kind.is_background();
    Some(Why {
        task: id,
        user: view.spec.user.clone(),
        at: engine.now(),
        state: view.state,
        asks: waits.then(|| AskLink::of(&view.spec)),
        right: if needs_right { right::look(engine, id, named) } else { None },
        line: if queued { line::look(engine, id, named) } else { None },
        nodes: if waits { nodes::look(engine, id, named) } else { None },
        yielding: if queued { yielding::look(engine, id, named) } else { None },
        kept: kept::look(engine, id),
        refused: kept::look_refused(engine, id),
        running: running::look(engine, id),
        left: left::look(engine, id, &view),
        verdict,
        head,
    })
}

impl Why {
    /// Leaves of other people's tasks only their numbers and levels, as far as the links go; what the verdict says stays.
    pub fn hide_others(&mut self, from: &UserName) {
        if let Some(right) = &mut self.right {
            right.hide_others(from);
        }
        if let Some(line) = &mut self.line {
            line.hide_others(from);
        }
        if let Some(nodes) = &mut self.nodes {
            nodes.hide_others(from);
        }
        if let Some(yielding) = &mut self.yielding {
            yielding.hide_others(from);
        }
        if let Some(left) = &mut self.left {
            left.hide_others(from);
        }
    }
}
