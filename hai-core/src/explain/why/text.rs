//! The reason as a short text: one sentence, then a few lines for each link.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Why;
use super::nodes::{NodeRefusal, NodesLink};
use super::right::{Borrowing, RightLink, charge};
use super::who::{count, list};
use super::yielding::{StayReason, YieldLink};
use crate::model::{Charge, Lack, TaskState, Verdict, YieldRule};

/// A part of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What it is about.
    pub title: String,
    /// What there is to say, a sentence a line.
    pub lines: Vec<String>,
}

impl Section {
    pub(crate) fn new(title: &str, lines: Vec<String>) -> Self {
        Section { title: title.to_owned(), lines }
    }
}

/// Two spaces, the title, and the lines below it.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.title)?;
        for line in &self.lines {
            write!(f, "\n  - {line}")?;
        }
        Ok(())
    }
}

/// The dominant reason in one sentence.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(verdict) = &self.verdict else {
            return match (&self.running, self.state) {
                (Some(run), TaskState::Starting) => write!(f, "its workers are being started; {run}"),
                (Some(run), _) => write!(f, "it runs: {run}"),
                (None, TaskState::Stopping) => f.write_str("it was told to end"),
                (None, state) => write!(f, "it is {}", state.word()),
            };
        };
        match (verdict, &self.head) {
            (Verdict::Behind { head }, Some((_, of_head))) => {
                write!(
                    f,
                    "it waits behind task {head}, which asks for the same and came first; {}",
                    self.in_words(of_head)
                )
            }
            _ => f.write_str(&self.in_words(verdict)),
        }
    }
}

impl Why {
    /// What the task waits for, with what the links know of it.
    fn in_words(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::NotYetSeen => {
                "no round has looked at it since it came or changed; ask again in a moment".to_owned()
            }
            Verdict::NoRight { user, group, asked, .. } | Verdict::RightUsed { user, group, asked, .. } => {
                let right = self.right_in_words(verdict, &format!("{user} in group {group}"), *asked);
                match self.nodes.as_ref().filter(|nodes| nodes.could_never_hold_it()) {
                    // More right would not help.
                    Some(nodes) => format!("{}; besides, {right}", never_fits(nodes)),
                    None => right,
                }
            }
            Verdict::TeamUsed { team, group, .. } => {
                let pool = self.right.as_ref().and_then(RightLink::nearest);
                let pool = pool.and_then(|level| level.teams.iter().find(|pool| pool.team == *team));
                match pool {
                    Some(pool) => format!("its team's share is used up: in group {group} {pool}"),
                    None => format!("the share of team {team} in group {group} is used up"),
                }
            }
            Verdict::NeverFits { lack } => match &self.nodes {
                Some(nodes) => never_fits(nodes),
                None => format!("no node of its group could ever hold it: {lack}"),
            },
            Verdict::NoRoom { lack } => self.no_room(lack),
            verdict => verdict.to_string(),
        }
    }

    fn right_in_words(&self, verdict: &Verdict, whose: &str, asked: Charge) -> String {
        let never = matches!(verdict, Verdict::NoRight { .. });
        let none = self.right.as_ref().is_some_and(|right| right.levels.iter().all(|level| level.given_by.is_empty()));
        if none {
            let at = match self.right.as_ref().map(|right| right.levels.as_slice()) {
                Some([one]) => format!(" at {}", one.level),
                _ => String::new(),
            };
            return format!("{whose} has no right{at}: none was given; an operator can give one");
        }
        let what = if never { "is too small for it" } else { "is used up" };
        let detail = match self.right.as_ref().and_then(RightLink::nearest) {
            Some(level) => level.to_string(),
            None => format!("it needs {}", charge(asked)),
        };
        format!("the right of {whose} {what}: {detail}")
    }

    fn no_room(&self, lack: &Lack) -> String {
        let Some(nodes) = &self.nodes else { return format!("no room for it now: {lack}") };
        let mut text = if nodes.workers > 1 {
            format!("only {} of its {} workers have room now", nodes.workers_now.min(nodes.workers), nodes.workers)
        } else {
            "no node has room for it now".to_owned()
        };
        if let Some(together) = nodes.together {
            return format!("{text}: {together}");
        }
        if let Some(refusal) = main_refusals(nodes) {
            text += &format!(": {refusal}");
        }
        if let Some(stays) = self.yielding.as_ref().and_then(main_stay) {
            text += &format!("; nobody there has to make room ({stays})");
        }
        text
    }

    /// All links as short sections, empty ones left out.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        let mut add = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                sections.push(Section::new(title, lines));
            }
        };
        if let Some(run) = &self.running {
            add("Place", vec![format!("it has {}", run.places()), run.place_reason()]);
            add("How long", vec![run.basis.to_string(), run.yields()]);
        }
        if let Some(left) = &self.left {
            let mut lines = vec![left.to_string()];
            if left.suspensions > 1 {
                lines.push(format!("it had to leave for others {} in all", count(left.suspensions, "time")));
            }
            if left.rule == Some(YieldRule::WithinRight) {
                lines.push("work within its right can not be displaced like this".to_owned());
            }
            add("Last time", lines);
        }
        add("Asks for", self.asks.iter().map(ToString::to_string).collect());
        add("Right", self.right.as_ref().map(right_lines).unwrap_or_default());
        add("Line", self.line.iter().map(ToString::to_string).collect());
        add("Nodes", self.nodes.as_ref().map(node_lines).unwrap_or_default());
        add("Who is in the way", self.yielding.as_ref().map(yield_lines).unwrap_or_default());
        let lacks_right = self.right.as_ref().is_some_and(|right| !right.standing.is_enough());
        let hopeless = lacks_right || self.nodes.as_ref().is_some_and(NodesLink::could_never_hold_it);
        let kept = self.kept.iter().filter(|kept| !kept.nodes.is_empty() || !hopeless);
        add("Kept nodes", kept.map(ToString::to_string).collect());
        add("Earlier tries", self.refused.iter().map(ToString::to_string).collect());
        sections
    }
}

fn right_lines(right: &RightLink) -> Vec<String> {
    let mut lines = vec![right.to_string()];
    if let Some(level) = right.nearest().filter(|_| right.charged_to.is_none()) {
        let rows: Vec<String> = level.given_by.iter().map(row).collect();
        match rows.as_slice() {
            [] => lines.push("nobody has given this right; an operator can".to_owned()),
            rows => lines.push(format!("it comes from {}", list(rows))),
        }
        let bounds: Vec<String> = level.bounded_by.iter().map(row).collect();
        if !bounds.is_empty() {
            lines.push(format!("bounded by {}", list(&bounds)));
        }
        if !level.short.is_nothing() {
            lines.push(format!("a right to {} more would cover this task", charge(level.short)));
        }
        match &right.borrowing {
            Borrowing::Off => {}
            Borrowing::May => lines.push("beyond its right it may take what is idle (borrow)".to_owned()),
            Borrowing::TeamInTheWay { team } => {
                lines.push(format!("it could borrow what is idle, but team {team} may hold no more"));
            }
        }
    }
    lines
}

/// A row of rights as people say it.
fn row(row: &crate::model::RightRow) -> String {
    let key = &row.key;
    let whom = match (&key.user, &key.team) {
        (Some(user), _) => user.to_string(),
        (None, Some(team)) => format!("every member of {team}"),
        (None, None) => "everybody".to_owned(),
    };
    let group = key.group.as_ref().map_or("every group".to_owned(), |group| format!("group {group}"));
    let level = key.priority.map_or("every level", super::who::level_word);
    let kind = if key.cap { "the cap" } else { "the row" };
    let model = key.model.as_ref().map(|model| format!(", {model} only")).unwrap_or_default();
    format!(
        "{kind} for {whom}, {group}, {level}{model} ({} nodes, {} GPUs)",
        row.allowance.nodes, row.allowance.devices
    )
}

fn node_lines(nodes: &NodesLink) -> Vec<String> {
    let mut lines = vec![nodes.to_string()];
    for class in &nodes.classes {
        let mut line = class.to_string();
        if class.nodes_now > 0 {
            line += &format!("; {} would take it now", class.nodes_now);
        }
        for refused in &class.refused {
            line += &format!("; {refused}");
        }
        lines.push(line);
    }
    if !nodes.failed_on.is_empty() {
        let names: Vec<String> = nodes.failed_on.iter().map(ToString::to_string).collect();
        lines.push(format!("it failed on {}, and gets that only if nothing else will do", list(&names)));
    }
    lines
}

fn yield_lines(yielding: &YieldLink) -> Vec<String> {
    let mut lines: Vec<String> = yielding.stays.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        lines.push(yielding.to_string());
    }
    lines
}

/// For what most nodes are refused that are not hopeless, or most of all nodes.
fn main_refusals(nodes: &NodesLink) -> Option<String> {
    refusals(nodes, |why| (why.is_for_good(), !why.is_use()))
}

/// What one word in the request would change comes first, then what is wrong with the nodes.
fn never_rank(why: &NodeRefusal) -> (bool, bool) {
    use NodeRefusal::{Label, Taint, Zone};
    (!matches!(why, Taint { .. } | Label { .. } | Zone), !why.is_for_good())
}

/// The first two reasons for which nodes are refused.
fn refusals(nodes: &NodesLink, rank: impl Fn(&NodeRefusal) -> (bool, bool)) -> Option<String> {
    let mut counted: Vec<(&NodeRefusal, u32)> = Vec::new();
    for refused in nodes.classes.iter().flat_map(|class| &class.refused) {
        let same =
            |known: &&mut (&NodeRefusal, u32)| std::mem::discriminant(known.0) == std::mem::discriminant(&refused.why);
        match counted.iter_mut().find(same) {
            Some((_, nodes)) => *nodes += refused.nodes,
            None => counted.push((&refused.why, refused.nodes)),
        }
    }
    counted.sort_by_key(|(why, nodes)| (rank(why), std::cmp::Reverse(*nodes)));
    let parts: Vec<String> =
        counted.iter().take(2).map(|(why, nodes)| format!("{}: {why}", count(*nodes, "node"))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn main_stay(yielding: &YieldLink) -> Option<String> {
    let most = yielding.stays.iter().filter(|stays| stays.why != StayReason::NotEnough);
    most.max_by_key(|stays| stays.who.count).map(ToString::to_string)
}

fn never_fits(nodes: &NodesLink) -> String {
    let most = nodes.workers_ever;
    let text = "as asked it can never run: not even if all nodes of its group were empty and healthy";
    if let Some(refusals) = refusals(nodes, never_rank).filter(|_| most == 0) {
        return format!("{text}: {refusals}");
    }
    match nodes.together {
        Some(together) => format!("{text}: {together}"),
        None => format!("{text}: at most {} of {} would find a place", most, count(nodes.workers, "worker")),
    }
}
