//! What stands in another platform's database: rows as JSON.

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{Fact, TaskId, Time};
use hai_daemon::config::Config;
use hai_daemon::import::hai_platform::{Clock, Table, plan};

/// Every line is a table's name, a space and a row. Whatever the rows say, what is taken of them can be taken: the engine takes
/// teams, rights and tasks, the configuration is good, and every remark has a reason.
pub fn upstream_rows(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let rows = text.lines().filter_map(|line| {
        let (name, json) = line.split_once(' ')?;
        let table = Table::ALL.into_iter().find(|table| table.name() == name)?;
        Some((table, json.to_owned()))
    });
    let now = Time::from_ms(1_700_000_000_000);
    let (plan, report) = plan(rows, Clock { east: 0, now });
    let mut engine = Engine::new(EngineConfig::default());
    let teams = plan.teams.into_iter().map(|team| Fact::TeamSet { team });
    let rights = plan.rights.into_iter().map(|right| Fact::RightSet { right });
    let tasks = (1..).zip(plan.tasks).map(|(id, task)| {
        task.submitted.program.check().expect("a program that is taken is good");
        Fact::Submitted { task: TaskId(id), spec: task.submitted.spec.into() }
    });
    for fact in teams.chain(rights).chain(tasks) {
        engine.observe(now, &fact).unwrap_or_else(|error| panic!("{fact:?}: {error}"));
    }
    engine.schedule(now);
    Config::parse(&report.configuration, "piece.toml")
        .unwrap_or_else(|errors| panic!("{errors}\n{}", report.configuration));
    for remark in report.changed.iter().chain(&report.left_out).chain(&report.malformed) {
        assert!(!remark.reason.is_empty() && !remark.column.is_empty(), "{remark:?}");
    }
    assert!(!report.text().contains('\r'));
}
