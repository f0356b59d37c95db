//! Changes that are looked at before they are made: rights, nodes, people.

use std::fs;

use serde_json::json;

use crate::browser::Browser;
use crate::support::{Daemon, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_right_is_cut_after_a_look_at_who_has_to_leave() {
    let daemon = Daemon::start(4, "");
    let said: serde_json::Value =
        serde_json::from_str(&daemon.says(&["--json", "users", "add", "alice"])).expect("JSON");
    let alice = said["token"].as_str().expect("a token");
    daemon.says(&["rights", "set", "--user", "alice", "--priority", "NORMAL", "--devices", "4"]);
    let hold = daemon.scratch().join("hold");
    fs::write(&hold, "").expect("a file");
    let script = "trap 'exit 0' TERM; while [ -e \"$0\" ]; do sleep 0.05; done";
    let command =
        json!({"name": "alices", "command": ["/bin/sh", "-c", script, hold], "devices": 4, "priority": "NORMAL"});
    let submitted = ureq::post(format!("{}/v1/tasks", daemon.url)).header("Authorization", format!("Bearer {alice}"));
    let task: serde_json::Value = submitted.send_json(&command).expect("taken").body_mut().read_json().expect("JSON");
    let id = task["id"].as_u64().expect("a number");
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));

    let browser = Browser::signed_in(&daemon).await;
    browser.click("#nav-rights").await;
    browser.says("[data-right=alice]", "4").await;
    browser.click("[data-right=alice] .edit").await;
    browser.fill("input[name=devices]", "many").await;
    browser.click("#to-preview").await;
    browser.says(".wrong", "many").await;
    browser.fill("input[name=devices]", "1").await;
    browser.click("#to-preview").await;
    // What it would do is told, and nothing is done yet.
    browser.says(".effects", &format!("#{id}")).await;
    browser.picture("rights-preview").await;
    assert_eq!(daemon.state(id), "running");
    let devices = || {
        let rights = daemon.get("/v1/rights");
        let rows = rights["rights"].as_array().expect("rows").clone();
        rows.iter().find(|row| row["user"] == "alice" && row["priority"] == "NORMAL").map(|row| row["devices"].clone())
    };
    assert_eq!(devices(), Some(json!(4)), "looking changes nothing");
    browser.click("#apply").await;
    browser.gone("dialog").await;
    wait_for("the right", || (devices() == Some(json!(1))).then_some(()));
    browser.until("return [...document.querySelectorAll('[data-right=alice] td.num')].some((cell) => cell.textContent === '1')").await;
    browser.all_is_quiet("rights");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_cordoned_drained_and_given_back_after_a_look() {
    let daemon = Daemon::start(2, "");
    let hold = daemon.scratch().join("hold");
    fs::write(&hold, "").expect("a file");
    let script = "trap 'exit 0' TERM; while [ -e \"$0\" ]; do sleep 0.05; done";
    let id = daemon.submit(&json!({"name": "in-the-way", "command": ["/bin/sh", "-c", script, hold], "devices": 1}));
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));
    let node = || daemon.get("/v1/nodes")["nodes"][0].clone();
    let browser = Browser::signed_in(&daemon).await;
    browser.click("#nav-nodes").await;
    browser.click("[data-node=n0] [data-act=cordon]").await;
    browser.says(".effects", "No work is lost").await;
    assert_eq!(node()["cordoned"], false, "looking changes nothing");
    browser.click("#apply").await;
    browser.says("[data-node=n0] .badge", "cordoned").await;
    assert_eq!((node()["cordoned"].clone(), daemon.state(id)), (json!(true), "running".to_owned()));
    browser.click("[data-node=n0] [data-act=drain]").await;
    browser.says(".effects", &format!("#{id}")).await;
    browser.picture("nodes-drain").await;
    browser.click("#apply").await;
    browser.says("[data-node=n0] .badge", "draining").await;
    wait_for("it to leave", || (daemon.state(id) == "suspended").then_some(()));
    browser.click("[data-node=n0] [data-act=uncordon]").await;
    browser.click("#apply").await;
    browser.says("[data-node=n0] .badge", "well").await;
    wait_for("it to run again", || (daemon.state(id) == "running").then_some(()));
    browser.all_is_quiet("nodes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_added_with_a_token_that_is_shown_once() {
    let daemon = Daemon::start(1, "");
    let browser = Browser::signed_in(&daemon).await;
    browser.click("#nav-people").await;
    browser.click("#add-user").await;
    browser.fill("dialog input[name=name]", "bad name").await;
    browser.click("dialog button.main").await;
    browser.there("dialog .trouble").await;
    browser.fill("dialog input[name=name]", "chen.wei").await;
    browser.click("dialog button.main").await;
    let token = browser.until("return document.querySelector('#new-token')?.textContent").await;
    let token = token.as_str().expect("text").to_owned();
    browser.picture("people-token").await;
    let me = ureq::get(format!("{}/v1/me", daemon.url)).header("Authorization", format!("Bearer {token}")).call();
    assert_eq!(me.expect("it opens").status().as_u16(), 200);
    browser.click("dialog button.main").await;
    browser.says("[data-user='chen.wei']", "chen.wei").await;
    let kept = browser.js("return document.documentElement.outerHTML").await;
    assert!(!kept.as_str().expect("text").contains(&token), "it is shown once");
    // Who takes a new token for themselves sees it, and stays signed in.
    browser.click("[data-user=operator] button").await;
    browser.click("#confirm").await;
    let renewed = browser.until("return document.querySelector('#new-token')?.textContent").await;
    let renewed = renewed.as_str().expect("text").to_owned();
    let me = ureq::get(format!("{}/v1/me", daemon.url)).header("Authorization", format!("Bearer {renewed}")).call();
    assert_eq!(me.expect("it opens").status().as_u16(), 200);
    browser.click("dialog button.main").await;
    browser.click("#nav-nodes").await;
    browser.there("[data-node=n0]").await;
    // Who is no operator has no such view.
    let own = Browser::signed_in_with(&daemon.url, &token).await;
    own.there("#nav-tasks").await;
    assert_eq!(own.js("return document.querySelector('#nav-people')").await, serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_days_are_played_and_the_report_is_read() {
    let daemon = Daemon::start(2, "");
    for _ in 0..5 {
        let id = daemon.submit(&json!({"command": ["true"], "devices": 1}));
        wait_for("its end", || (daemon.state(id) == "finished").then_some(()));
    }
    let browser = Browser::signed_in(&daemon).await;
    browser.click("#nav-simulate").await;
    browser.click("#simulate form button.main").await;
    browser.there(".simulation a.main").await;
    browser.picture("simulate-done").await;
    let read = "return fetch(document.querySelector('.simulation a.main').href).then((answer) => answer.text())";
    let report = browser.until(read).await;
    assert!(report.as_str().expect("text").contains("<html"), "{report}");
}
