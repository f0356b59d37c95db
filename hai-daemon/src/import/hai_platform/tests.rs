//! Rows as they are there, odd ones and wrong ones, and what becomes of each.

use hai_core::model::{Limit, Priority, RightKey, Span};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: Clock = Clock { east: 8 * 3600, now: Time::from_ms(1_700_000_000_000) };

fn read(rows: impl IntoIterator<Item = (Table, Value)>) -> (Plan, Report) {
    plan(rows.into_iter().map(|(table, row)| (table, row.to_string())), NOW)
}

fn user(name: &str, role: &str) -> (Table, Value) {
    (Table::User, json!({"user_id": 10_020, "user_name": name, "token": "s3cr3t", "role": role, "active": true}))
}

fn quota(owner: &str, resource: &str, amount: i64) -> (Table, Value) {
    (Table::Quota, json!({"user_name": owner, "resource": resource, "quota": amount, "expire_time": null}))
}

fn host(node: &str, group: &str) -> (Table, Value) {
    (Table::Host, json!({"node": node, "gpu_num": 8, "origin_group": group, "schedule_zone": "A"}))
}

fn member(user: &str, group: &str) -> (Table, Value) {
    (Table::UserGroup, json!({"user_name": user, "group": group}))
}

/// A task, with some of its columns otherwise.
fn task(id: i64, other: Value) -> (Table, Value) {
    let mut row = json!({
        "id": id, "first_id": id, "chain_id": format!("chain-{id}"), "nb_name": format!("train-{id}"), "user_name": "ada",
        "code_file": "train.py", "workspace": "/work/ada", "group": "train", "nodes": 2, "priority": 30,
        "task_type": "training", "queue_status": "queued", "whole_life_state": 0,
        "config_json": {"version": 2, "spec": {"workspace": "/work/ada", "entrypoint": "train.py",
            "parameters": "--lr 0.1", "environments": {"A": "b", "N": 5}}, "resource": {"image": "default"}, "options": {}},
    });
    for (name, value) in other.as_object().expect("an object") {
        row[name] = value.clone();
    }
    (Table::UnfinishedTask, row)
}

fn told(remarks: &[Remark]) -> Vec<String> {
    remarks.iter().map(|Remark { table, key, column, reason }| format!("{table} {key} {column}: {reason}")).collect()
}

/// `remarks` are as many as `parts`, and each has its part in it.
fn tells(remarks: &[Remark], parts: &[&str]) {
    let told = told(remarks);
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    for (told, part) in told.iter().zip(parts) {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
}

fn key(user: &str, group: &str, priority: Option<Priority>) -> RightKey {
    let user = Some(hai_core::model::UserName::new(user).expect("a name"));
    let group = Some(hai_core::model::GroupName::new(group).expect("a name"));
    RightKey { user, group, priority, ..RightKey::default() }
}

#[test]
fn quotas_of_users_and_groups_become_rights() {
    let (plan, report) = read([
        host("n1", "train"),
        host("n2", "meta.big-lab"),
        user("ada", "internal"),
        user("bob", "external"),
        member("ada", "nlp"),
        quota("ada", "node-train-HIGH", 4),
        quota("ada", "node-big-lab-LOW", i64::MAX),
        quota("nlp", "node-train-NORMAL", 6),
        quota("public", "node-train-LOW", 1),
        quota("external", "node_role_limit-train-LOW", 3),
        quota("ada", "node_limit-train-HIGH", 5),
        quota("ada", "node_limit-x-train-HIGH", 2),
        quota("bob", "jupyter:interactive", 100_012_810),
        quota("bob", "jupyter:jupyter_cpu", 100_012_810),
        quota("bob", "spot_jupyter", 1),
        quota("bob", "cap:IPC_LOCK", 1),
    ]);
    tells(&report.malformed, &[]);
    assert_eq!(plan.rights.len(), 7, "{:#?}", plan.rights);
    let nodes = |key: &RightKey| {
        let found = plan.rights.iter().find(|right| right.key == *key);
        found.unwrap_or_else(|| panic!("{key:?} is not in {:#?}", plan.rights)).allowance
    };
    let high = Some(Priority::High);
    assert_eq!(nodes(&key("ada", "train", high)), hai_core::model::Allowance::nodes(4));
    assert_eq!(nodes(&key("ada", "big-lab", Some(Priority::Low))).nodes, Limit::Unlimited);
    // The least of what bounds; what it does not bound is free.
    let cap = nodes(&RightKey { cap: true, ..key("ada", "train", high) });
    assert_eq!((cap.nodes, cap.devices), (Limit::at_most(2), Limit::Unlimited));
    assert_eq!(nodes(&key("bob", "interactive", None)), hai_core::model::Allowance::nodes(10));
    let team = |name: &str, priority, cap| {
        let team = Some(hai_core::model::TeamName::new(name).expect("a name"));
        RightKey { user: None, team, cap, ..key("x", "train", Some(priority)) }
    };
    assert_eq!(nodes(&team("nlp", Priority::Normal, false)).nodes, Limit::at_most(6));
    assert_eq!(nodes(&team("public", Priority::Low, false)).nodes, Limit::at_most(1));
    assert_eq!(nodes(&team("external", Priority::Low, true)).nodes, Limit::at_most(3));
    let teams: Vec<_> =
        plan.teams.iter().map(|team| (team.name.as_str(), team.members.iter().map(|m| m.as_str()).collect())).collect();
    let teams: Vec<(&str, Vec<&str>)> = teams;
    assert_eq!(teams, [("external", vec!["bob"]), ("nlp", vec!["ada"]), ("public", vec!["ada", "bob"])]);
    tells(
        &report.left_out,
        &[
            "bob/jupyter:jupyter_cpu quota: 10 interactive tasks with 128 processors and 1000 GiB",
            "spot_jupyter",
            "IPC_LOCK",
        ],
    );
    let changed = told(&report.changed).join("\n");
    for part in [
        "host n2 origin_group: the group is big-lab",
        "quota ada/node-big-lab-LOW resource: upstream can not read it",
        "quota ada/node-big-lab-LOW quota: 9223372036854775807 nodes are as many as there are",
        "quota ada/node_limit-x-train-HIGH resource: several rows",
        "quota public user_name: everybody was in it by being there",
        "10 whole nodes at every level",
    ] {
        assert!(changed.contains(part), "{part} is not in {changed}");
    }
    let config = crate::config::Config::parse(&report.configuration, "x").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.kubernetes.groups.len(), config.kubernetes.users.len()), (2, 2));
}

#[test]
fn rights_expire_when_they_did_there() {
    let until = |name: &str, time: Value| {
        let resource = format!("node-{name}-HIGH");
        (Table::Quota, json!({"user_name": "ada", "resource": resource, "quota": 1, "expire_time": time}))
    };
    let (plan, report) = read([
        user("ada", "internal"),
        until("a", json!("2030-01-01T08:00:00")),
        until("b", json!("2030-01-01T08:00:00.123456")),
        until("c", json!("infinity")),
        // 2023-11-15 06:13:20 there is now.
        until("d", json!("2023-11-15T06:13:20")),
        until("e", json!("2023-11-15T06:13:21")),
        until("f", json!("soon")),
        until("g", json!("-infinity")),
        until("h", json!(5)),
    ]);
    let expires: Vec<_> =
        plan.rights.iter().map(|right| (right.key.group.as_ref().expect("a group").as_str(), right.expires)).collect();
    let at = |ms| Some(Time::from_ms(ms));
    let new_year = 1_893_456_000_000;
    assert_eq!(
        expires,
        [("a", at(new_year)), ("b", at(new_year + 123)), ("c", None), ("e", at(NOW.now.as_ms() + 1000))]
    );
    tells(&report.left_out, &["node-d-HIGH expire_time: it counted no more"]);
    tells(
        &report.malformed,
        &["node-f-HIGH expire_time: \"soon\"", "node-g-HIGH expire_time", "node-h-HIGH expire_time"],
    );
}

#[test]
fn malformed_rows_are_told_one_by_one_and_stop_nothing() {
    let (plan, report) = read([
        (Table::Host, json!({"node": "n 1", "origin_group": "train"})),
        (Table::Host, json!({"node": "n3", "origin_group": ""})),
        (Table::Host, json!({"node": null, "origin_group": "train"})),
        user("ada", "internal"),
        user("a b", "internal"),
        user("ada", "internal"),
        user("eve", "admin"),
        user("operator", "internal"),
        (Table::User, json!({"user_name": "max", "user_id": -1, "token": "s3cr3t"})),
        (Table::User, json!({"user_name": "kim", "active": "yes", "token": "s3cr3t"})),
        (Table::User, json!({"user_name": "gone", "active": false, "token": "s3cr3t"})),
        member("nobody", "nlp"),
        member("ada", "two words"),
        quota("ada", "node-train-URGENT", 1),
        quota("ada", "node-train-HIGH", -1),
        quota("nobody", "node-train-HIGH", 1),
        quota("gone", "node-train-HIGH", 1),
        quota("ada", "gpus", 1),
        (Table::Quota, json!({"user_name": "ada", "resource": "node-train-LOW", "quota": null})),
        (Table::Quota, json!({"user_name": "ada", "resource": "node-train-LOW", "quota": "many"})),
        (Table::Quota, json!([1])),
        quota("ada", "node-train-NORMAL", 3),
    ]);
    assert_eq!(plan.users.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["ada"]);
    assert_eq!((plan.rights.len(), plan.rights[0].key.priority), (1, Some(Priority::Normal)));
    tells(
        &report.malformed,
        &[
            "host n 1 node: ",
            "host n3 origin_group: it is empty",
            "host  node: it is empty",
            "user a b user_name: ",
            "user ada user_name: there is another row",
            "user eve role: \"admin\" is neither",
            "user operator user_name: one of hai's own is called so",
            "user max user_id: -1",
            "user kim active: it is neither true nor false",
            "user_group nobody/nlp user_name: there is no user \"nobody\"",
            "quota ? all: invalid type",
            "user_group two words group: ",
            "quota ada/node-train-URGENT resource: \"URGENT\" is no priority",
            "quota ada/node-train-HIGH quota: -1 is negative",
            "quota nobody/node-train-HIGH user_name: there is neither a user nor a group",
            "quota ada/gpus resource: \"gpus\" is no resource",
            "quota ada/node-train-LOW quota: it is empty",
            "quota ada/node-train-LOW quota: it is no whole number",
        ],
    );
    tells(&report.left_out, &["user gone active", "quota gone/node-train-HIGH user_name"]);
    let all = format!("{} {report:?}", report.text());
    assert!(!all.contains("s3cr3t"), "no token is told: {all}");
}

#[test]
fn who_shares_a_group_is_in_it_and_powers_are_no_team() {
    let (plan, report) = read([
        user("ada", "internal"),
        (Table::User, json!({"user_name": "bob", "role": "external", "shared_group": "lab-7", "token": null})),
        member("lab-7", "guests"),
        member("ada", "root"),
        member("ada", "guests"),
    ]);
    let teams: Vec<_> = plan.teams.iter().map(|team| (team.name.as_str(), team.members.len())).collect();
    assert_eq!(teams, [("guests", 2)]);
    tells(
        &report.changed,
        &["user_group root group: its members are users here; who is to see and do all is made an operator: ada"],
    );
}

#[test]
fn a_token_of_our_own_form_stays_and_others_are_made_anew() {
    let ours = format!("hai_{}", "0a".repeat(32));
    let (plan, _) =
        read([(Table::User, json!({"user_name": "ada", "role": "internal", "token": ours})), user("bob", "internal")]);
    let kept: Vec<_> = plan.users.values().map(|token| token.as_ref().map(|token| token.as_str().to_owned())).collect();
    assert_eq!(kept, [Some(ours), None]);
}

#[test]
fn tasks_wait_in_the_order_in_which_they_waited() {
    let rank = |chain: &str, rank: Value| {
        (
            Table::TaskRuntimeConfig,
            json!({"chain_id": chain, "source": "runtime_priority", "config_json": {"custom_rank": rank}}),
        )
    };
    let (plan, report) = read([
        user("ada", "internal"),
        (Table::TrainEnvironment, json!({"env_name": "cu113", "image": "registry.lab/cu113:1"})),
        rank("chain-9", json!(1.5)),
        rank("chain-7", json!("x")),
        (Table::TaskRuntimeConfig, json!({"task_id": 7, "source": "running_priority", "config_json": []})),
        task(7, json!({})),
        task(9, json!({})),
        task(8, json!({"first_id": 2, "id": 8, "queue_status": "scheduled", "whole_life_state": 5})),
        task(
            3,
            json!({"priority": -1, "config_json": {"spec": {"entrypoint": "run.sh", "workspace": "/w",
            "parameters": "'a b' $X"}, "resource": {"image": "cu113"},
            "options": {"timeout": 60, "py_venv": "202111", "tags": []}, "services": [{"port": 80}], "schedule_zone": "A"}}),
        ),
    ]);
    assert_eq!(
        plan.tasks.iter().map(|task| task.chain.as_str()).collect::<Vec<_>>(),
        ["chain-9", "chain-8", "chain-3", "chain-7"]
    );
    let first = &plan.tasks[0].submitted;
    assert_eq!((first.spec.name.as_str(), first.spec.workers, first.spec.priority), ("train-9", 2, Priority::High));
    assert_eq!(first.spec.request, hai_core::model::WorkerRequest::whole_node());
    assert_eq!(first.program.command, ["python3", "-u", "train.py", "--lr", "0.1"]);
    assert_eq!((first.program.workdir.as_deref(), first.program.image.as_deref()), (Some("/work/ada"), None));
    let env: Vec<_> = first.program.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["A=b", "HAI_PLATFORM_CHAIN_ID=chain-9", "N=5"]);
    let third = &plan.tasks[2].submitted;
    assert_eq!(third.program.command, ["/bin/sh", "-c", "exec \"$@\" 'a b' $X", "sh", "bash", "run.sh"]);
    assert_eq!(third.program.image.as_deref(), Some("registry.lab/cu113:1"));
    assert_eq!((third.spec.limit, third.spec.priority), (Some(Span::from_secs(60)), Priority::Auto));
    tells(
        &report.malformed,
        &["task_runtime_config chain-7/runtime_priority config_json.custom_rank: it is no number"],
    );
    tells(
        &report.changed,
        &[
            "unfinished_task_ng 8 whole_life_state: it begins at 0",
            "unfinished_task_ng 8 queue_status: it runs there",
            "unfinished_task_ng 3 config_json.options.py_venv: left out",
            "unfinished_task_ng 3 config_json.services: left out",
            "unfinished_task_ng 3 config_json.schedule_zone: zone \"A\"",
        ],
    );
}

#[test]
fn a_task_that_can_not_be_is_told_by_its_column() {
    for (other, part) in [
        (json!({"nodes": 0}), "nodes: "),
        (json!({"nodes": -2}), "nodes: -2 can not be"),
        (json!({"nodes": null}), "nodes: it is empty"),
        (json!({"nb_name": "a\u{1}b"}), "nb_name: "),
        (json!({"nb_name": ""}), "nb_name: it is empty"),
        (json!({"nb_name": "x".repeat(256)}), "nb_name: "),
        (json!({"group": "a b"}), "group: "),
        (json!({"priority": 7}), "priority: 7 is no priority"),
        (json!({"chain_id": null}), "chain_id: it is empty"),
        (json!({"chain_id": "chain-2"}), "chain_id: there is another"),
        (json!({"user_name": "nobody"}), "user_name: there is no user \"nobody\""),
        (json!({"config_json": null}), "config_json: it is empty"),
        (json!({"config_json": "{"}), "config_json: it is no JSON"),
        (json!({"config_json": [1]}), "config_json: it is no object"),
        (json!({"config_json": {"version": 1}}), "config_json.version: \"1\" is not known"),
        (json!({"config_json": {"spec": 5}}), "config_json.spec: it is no object"),
        (
            json!({"config_json": {}, "code_file": null}),
            "config_json.spec.entrypoint: it is empty, and so is code_file",
        ),
        (json!({"config_json": {"spec": {"parameters": 5}}}), "config_json.spec.parameters: "),
        (
            json!({"config_json": {"spec": {"environments": {"A": []}}}}),
            "config_json.spec.environments.A: it is no text",
        ),
        (json!({"config_json": {"spec": {"environments": {"A=B": "c"}}}}), "config_json.spec: env"),
        (json!({"config_json": {"resource": {"image": "a b"}}}), "config_json.spec: image"),
        (json!({"config_json": {"options": {"timeout": -5}}}), "config_json.options.timeout: "),
    ] {
        let (plan, report) = read([user("ada", "internal"), task(2, json!({})), task(5, other.clone())]);
        assert_eq!(plan.tasks.len(), 1, "{other}");
        tells(&report.malformed, &[part]);
        assert!(told(&report.malformed)[0].starts_with("unfinished_task_ng 5 "), "{:?}", report.malformed);
    }
    for (kind, part) in [
        ("jupyter", "interactive work"),
        ("background", "a service"),
        ("virtual", "bookkeeping"),
        ("validation", "bookkeeping"),
        ("upgrade", "bookkeeping"),
        ("game", "\"game\" is no kind"),
    ] {
        let (plan, report) = read([user("ada", "internal"), task(5, json!({"task_type": kind}))]);
        assert!(plan.tasks.is_empty() && report.malformed.is_empty());
        tells(&report.left_out, &[part]);
    }
}

#[test]
fn offsets_are_read() {
    for (text, seconds) in [("+00:00", 0), ("+08:00", 28_800), ("-03:30", -12_600), ("+14:00", 50_400)] {
        assert_eq!(offset(text), Ok(seconds));
    }
    for wrong in ["", "8", "+8:00", "+08", "08:00", "+15:00", "+08:60", "+0x:00", "+é8:00", "UTC"] {
        assert!(offset(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    /// Whatever a row says, there is an answer, and each row that was taken can be taken here.
    #[test]
    fn any_text_in_any_column_is_answered(
        text in "[ -~é\u{1}]{0,12}", number in any::<i64>(), column in 0..24_usize, whole in "\\PC{0,40}",
    ) {
        let columns = [
            "user_name", "group", "resource", "quota", "expire_time", "nb_name", "nodes", "priority", "chain_id",
            "config_json", "node", "origin_group",
        ];
        let value = if column < 12 { json!(text) } else { json!(number) };
        let put = |(table, mut row): (Table, Value)| {
            row[columns[column % 12]] = value.clone();
            (table, row.to_string())
        };
        let rows = [
            host("n1", "train"), user("ada", "internal"), member("ada", "nlp"), quota("ada", "node-train-HIGH", 1), task(5, json!({})),
        ];
        let broken = Table::ALL.map(|table| (table, whole.clone()));
        let (plan, report) = plan(rows.into_iter().map(put).chain(broken), NOW);
        prop_assert!(report.malformed.len() >= broken_rows(&whole));
        for task in plan.tasks {
            prop_assert!(task.submitted.spec.check().is_ok() && task.submitted.program.check().is_ok());
        }
        let all = format!("{} {report:?}", report.text());
        prop_assert!(!all.contains("s3cr3t"));
    }
}

/// How many of the rows that are this text can not be read.
fn broken_rows(text: &str) -> usize {
    if serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok() { 0 } else { Table::ALL.len() }
}
