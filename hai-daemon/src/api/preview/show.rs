//! What a preview says, as far as the caller may know it.

use hai_core::explain::{self, Hold, Leave, OutlookKind, Start};
use hai_core::model::{TaskId, UserName};

use super::Waiting;
use crate::api::auth::Caller;
use crate::api::wire::{
    Outlook, PlannedHeld, PlannedNotice, PlannedShare, PlannedStart, PlannedSuspend, PlannedTask, Preview, Verdict, utc,
};

pub(super) fn preview(shown: &explain::Preview, caller: &Caller, can_be_applied: bool) -> Preview {
    let starts = |starts: &[Start]| starts.iter().map(|it| start(it, caller)).collect();
    let leaves = |leaves: &[Leave]| leaves.iter().map(|it| suspend(it, caller)).collect();
    let lost = shown.leaves.iter().fold(0, |sum: u64, leave| sum.saturating_add(leave.lost));
    Preview {
        at: utc(shown.at),
        stamp: shown.stamp.to_string(),
        can_be_applied,
        at_rest: shown.before.at_rest && shown.after.at_rest,
        starts: starts(&shown.starts),
        starts_no_more: starts(&shown.starts_no_more),
        suspends: leaves(&shown.leaves),
        suspends_no_more: leaves(&shown.leaves_no_more),
        stops: shown.stops.iter().map(|stop| who(stop.task, &stop.user, caller)).collect(),
        notices: shown
            .notices
            .iter()
            .map(|notice| PlannedNotice { who: who(notice.task, &notice.user, caller), until: notice.until.map(utc) })
            .collect(),
        lost_device_seconds: seconds(lost),
        outlooks: shown.outlooks.iter().map(|it| outlook(it, caller)).collect(),
        shares: shown
            .shares
            .iter()
            .filter(|share| caller.may_see(&share.user))
            .map(|share| PlannedShare {
                user: share.user.clone(),
                before: held(share.before),
                after: held(share.after),
            })
            .collect(),
    }
}

fn who(task: TaskId, user: &UserName, caller: &Caller) -> PlannedTask {
    let known = caller.may_see(user);
    PlannedTask { task: known.then_some(task), user: known.then(|| user.clone()) }
}

fn start(start: &Start, caller: &Caller) -> PlannedStart {
    let devices: usize = start.placement.workers.iter().map(|place| place.devices.len()).sum();
    PlannedStart {
        who: who(start.task, &start.user, caller),
        level: start.level,
        hold: word(start.hold).to_owned(),
        nodes: start.placement.workers.iter().map(|place| place.node.clone()).collect(),
        devices: u32::try_from(devices).unwrap_or(u32::MAX),
        after: u32::try_from(start.after.len()).unwrap_or(u32::MAX),
    }
}

const fn word(hold: Hold) -> &'static str {
    match hold {
        Hold::Right => "right",
        Hold::Borrowed => "borrowed",
        Hold::Background => "background",
    }
}

fn suspend(leave: &Leave, caller: &Caller) -> PlannedSuspend {
    PlannedSuspend {
        who: who(leave.task, &leave.user, caller),
        reason: leave.reason.to_string(),
        lost_device_seconds: seconds(leave.lost),
    }
}

/// Device-milliseconds as device-seconds.
fn seconds(device_ms: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nobody needs a thousandth of a second of a million years")]
    let ms = device_ms as f64;
    ms / 1000.0
}

fn held(held: explain::Held) -> PlannedHeld {
    PlannedHeld { right: held.right, borrowed: held.borrowed, background: held.background }
}

fn outlook(outlook: &explain::Outlook, caller: &Caller) -> Outlook {
    let (word, sentence, started, verdict) = match &outlook.kind {
        OutlookKind::Starts { start: it } => {
            let started = start(it, caller);
            let mut nodes: Vec<&str> = started.nodes.iter().map(hai_core::model::NodeName::as_str).collect();
            nodes.dedup();
            let wait = match started.after {
                0 => String::new(),
                1 => ", once 1 run has left".to_owned(),
                many => format!(", once {many} runs have left"),
            };
            let borrowed = if it.hold == Hold::Right { "" } else { ", on what others leave unused" };
            ("starts", format!("it starts now on {}{borrowed}{wait}", nodes.join(", ")), Some(started), None)
        }
        OutlookKind::Waits { verdict } => ("waits", format!("it waits: {verdict}"), None, Some(verdict)),
        OutlookKind::Never { verdict } => {
            ("never", format!("as things are it can never run: {verdict}"), None, Some(verdict))
        }
        OutlookKind::Stays => ("stays", "it keeps its place".to_owned(), None, None),
        _ => ("over", "it would be over at once".to_owned(), None, None),
    };
    Outlook {
        task: outlook.task,
        outlook: word.to_owned(),
        sentence,
        start: started,
        verdict: verdict.map(Verdict::from),
        place: None,
        p50: None,
        p90: None,
    }
}

/// Adds to what is said of a task that waits where it would stand, and when it would start.
pub(super) fn waits(outlook: &mut Outlook, waiting: &Waiting) {
    if let Some(line) = &waiting.line {
        outlook.place = Some(line.place);
        outlook.sentence = format!("{}; it is number {} of {} in line", outlook.sentence, line.place, line.of);
    }
    if let Some(forecast) = &waiting.forecast {
        (outlook.p50, outlook.p90) = (forecast.p50.map(utc), forecast.p90.map(utc));
        outlook.sentence = format!("{}; {forecast}", outlook.sentence);
    }
}

#[cfg(test)]
mod tests {
    use hai_core::engine::{Engine, EngineConfig};
    use hai_core::model::{Fact, GroupName, NodeName, NodeSpec, Time};

    use super::*;
    use crate::store::{Role, User};

    #[test]
    fn what_is_cut_off_says_so() {
        let name = UserName::new("root").expect("a name");
        let user = User { name, role: Role::Operator, created_at: Time::from_ms(0), disabled: false };
        let caller = Caller { user };
        let engine = Engine::new(EngineConfig::default());
        let node =
            NodeSpec::new(NodeName::new("n1").expect("a name"), GroupName::new("lab").expect("a name"), 1000, 1024);
        let change = explain::Change::Tell(Box::new(Fact::NodeSet { node }));
        let mut shown = explain::what_if(&engine, Time::from_ms(1), &[change]).expect("it can be");
        assert!(preview(&shown, &caller, true).at_rest);
        shown.after.at_rest = false;
        assert!(!preview(&shown, &caller, true).at_rest);
        shown.after.at_rest = true;
        shown.before.at_rest = false;
        assert!(!preview(&shown, &caller, true).at_rest);
    }
}
