//! What an operator sets about scheduling arrives at the engine, at the first start and when it is changed later.

use std::fs;

use serde_json::json;

use crate::support::{Daemon, wait_for};

const FIRST: &str = r#"
[scheduler]
order = "fair"
placement = "best-fit"
reserve_after = "never"
cross_zone_tasks = 3
[scheduler.aging]
every = "6h"
cap = 2
[scheduler.weights]
"RTX 3070" = 2
"#;

const TEAM: &str = r#"
[[team]]
name = "vision"
members = ["ada"]
[[team.pool]]
group = "default"
devices = 2
"#;

const LATER: &str = r#"
[scheduler]
cool_down = "1s"
reserve_after = "2m"
order = { policy = "least-attained-service", thresholds = ["1h", "2h"] }
[scheduler.placement]
policy = "weighted"
[[scheduler.placement.part]]
weight = 3
policy = "random"
seed = 7
[[scheduler.placement.part]]
weight = 1
policy = "fgd"
typical = [{ weight = 1, share = 0.5 }]
[scheduler.churn]
free = 1
every = "2h"
"#;

#[test]
fn settings_reach_the_engine_and_may_change_between_two_starts() {
    let mut daemon = Daemon::start(4, &format!("{FIRST}{TEAM}"));
    let hold = daemon.scratch().join("hold");
    fs::write(&hold, "").expect("a file");
    let script = "while [ -e \"$0\" ]; do sleep 0.02; done";
    let task = daemon.submit(&json!({"command": ["/bin/sh", "-c", script, hold.to_str()], "devices": 2}));
    wait_for("the start", || (daemon.state(task) == "running").then_some(()));

    let config = daemon.get("/v1/engine/config");
    assert_eq!(config["order"], json!({"policy": "fair", "half_life": 604_800_000}));
    assert_eq!((&config["placement"], &config["reserve_after"]), (&json!("best-fit"), &json!(null)));
    assert_eq!((&config["cross_zone_tasks"], &config["churn"]), (&json!(3), &json!(null)));
    assert_eq!(config["aging"], json!({"every": 21_600_000, "cap": 2}));
    assert_eq!(config["weights"], json!({"RTX 3070": 2}));

    let vision = daemon.get("/v1/teams")["teams"][0].clone();
    assert_eq!((&vision["name"], &vision["members"]), (&json!("vision"), &json!(["ada"])));
    assert_eq!(vision["pools"][0]["devices"], 2);
    daemon.says(&["teams", "set", "vision", "--member", "bob"]);

    daemon.kill();
    let path = daemon.scratch().join("hai.toml");
    let text = fs::read_to_string(&path).expect("the configuration");
    let rest = text.strip_prefix(FIRST).expect("it begins so");
    fs::write(&path, format!("{LATER}{rest}")).expect("it is written");
    daemon.restart();

    let config = daemon.get("/v1/engine/config");
    assert_eq!(config["order"], json!({"policy": "least-attained-service", "thresholds": [3_600_000, 7_200_000]}));
    assert_eq!((&config["reserve_after"], &config["cool_down"]), (&json!(120_000), &json!(1000)));
    assert_eq!(config["churn"], json!({"free": 1, "every": 7_200_000}));
    let [random, fgd] = &config["placement"]["weighted"].as_array().expect("parts")[..] else { panic!("two parts") };
    assert_eq!(random, &json!({"weight": 3, "policy": {"random": {"seed": 7}}}));
    assert_eq!(fgd["policy"]["fgd"]["typical"][0]["request"]["devices"], json!({"share": 500}));
    for gone in ["aging", "weights", "cross_zone_tasks"] {
        assert_eq!(config.get(gone).unwrap_or(&json!(null)), &json!(null), "what is not set any more is the default");
    }

    let vision = daemon.get("/v1/teams")["teams"][0].clone();
    assert_eq!(vision["members"], json!(["bob"]), "the configuration only starts a database");
    daemon.says(&["teams", "rm", "vision"]);
    daemon.restart();
    assert_eq!(daemon.get("/v1/teams"), json!({"teams": []}), "what was removed does not come back");

    // What ran goes on, and new work is placed by the new rules.
    assert_eq!(daemon.state(task), "running");
    let next = daemon.submit(&json!({"command": ["true"], "share": 0.5}));
    fs::remove_file(&hold).expect("it is there");
    for task in [task, next] {
        wait_for("the end", || (daemon.task(task)["outcome"] == "succeeded").then_some(()));
    }
}
