//! The names in a state, to be collected or replaced.

use std::sync::Arc;

use crate::model::named::{NameKind, Named, Renamer, show};

use super::snapshot::EngineState;
use super::state::{Loss, Run, Status, Task};

impl Named for EngineState {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let EngineState {
            nodes,
            rights,
            teams,
            tasks,
            runs,
            kept,
            usage,
            cooling,
            schema: _,
            now: _,
            last_task: _,
            next_run: _,
            gone: _,
            failed: _,
            kept_from: _,
            config: _,
        } = self;
        nodes.each_name(renamer);
        rights.each_name(renamer);
        teams.each_name(renamer);
        tasks.iter_mut().for_each(|(_, task)| task.each_name(renamer));
        runs.iter_mut().for_each(|(_, run)| run.each_name(renamer));
        kept.iter_mut().for_each(|(_, nodes, ..)| nodes.each_name(renamer));
        if let Some(usage) = usage {
            usage.each_name(renamer);
        }
        cooling.iter_mut().for_each(|(node, ..)| node.each_name(renamer));
    }
}

impl Named for Task {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let Task {
            spec,
            status,
            avoids,
            yielded,
            displaced,
            refused,
            submitted_at: _,
            started_at: _,
            waiting_since: _,
            runs: _,
            whole_life_state: _,
            ran: _,
            refusals: _,
            losses: _,
            retried: _,
            awaits: _,
            attained: _,
            suspensions: _,
            swap_cost: _,
            hold: _,
            concluded: _,
            told: _,
            queued: _,
            account: _,
            usage: _,
            found: _,
        } = self;
        Arc::make_mut(spec).each_name(renamer);
        if let Status::BackOff { until: _, reason } = status {
            show(NameKind::Text, reason, renamer);
        }
        avoids.each_name(renamer);
        if let Some(yielded) = yielded {
            yielded.reason.each_name(renamer);
        }
        if let Some(winner) = displaced.as_mut().and_then(|displaced| displaced.winner.as_mut()) {
            winner.user.each_name(renamer);
        }
        if let Some(refused) = refused {
            show(NameKind::Text, &mut refused.reason, renamer);
            refused.node.each_name(renamer);
        }
    }
}

impl Named for Run {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let Run {
            placement,
            workers,
            failure,
            loss,
            failed_on,
            task: _,
            attempt: _,
            phase: _,
            decided_at: _,
            started_at: _,
            checkpointed_at: _,
            whole_life_state: _,
            level: _,
            entitled: _,
            demoted: _,
            risen: _,
            declared_done: _,
            interrupted: _,
            cancelled: _,
            hopeless: _,
            idle_since: _,
            leased_at: _,
            notice: _,
            told_at: _,
            // Models keep their names.
            billed: _,
            bill: _,
        } = self;
        placement.each_name(renamer);
        workers.each_name(renamer);
        if let Some(failure) = failure {
            show(NameKind::Text, failure, renamer);
        }
        if let Some(Loss { reason, by_node, refused: _ }) = loss {
            show(NameKind::Text, reason, renamer);
            by_node.each_name(renamer);
        }
        failed_on.each_name(renamer);
    }
}
