//! What people watch: tasks that come and start, why one waits, what it writes, and a line that breaks.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::{Daemon, wait_for};
use crate::wire::Wire;

/// Work that lasts until a file is gone, and leaves when it is told to.
fn work(daemon: &Daemon, name: &str, devices: u32) -> (Value, std::path::PathBuf) {
    let hold = daemon.scratch().join(name);
    fs::write(&hold, "").expect("a file");
    let script = "trap 'exit 0' TERM; echo begun; while [ -e \"$0\" ]; do [ -e \"$HAI_SUSPEND_FILE\" ] && exit 0; sleep 0.05; done; echo over";
    (json!({"name": name, "command": ["/bin/sh", "-c", script, hold], "devices": devices}), hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_seen_to_come_start_and_end_without_a_reload() {
    let daemon = Daemon::start(2, "");
    let browser = Browser::signed_in(&daemon).await;
    browser.there("[data-line=live]").await;
    browser.click("#nav-tasks").await;
    browser.says("main", "No task is like that").await;
    browser.js("window.sameAsEver = true").await;
    let (task, hold) = work(&daemon, "seen", 1);
    let id = daemon.submit(&task);
    let row = format!("[data-task='{id}']");
    browser.says(&row, "seen").await;
    browser.there(&format!("{row} .state.running")).await;
    fs::remove_file(hold).expect("it is there");
    browser.there(&format!("{row} .state.succeeded")).await;
    assert_eq!(browser.js("return window.sameAsEver").await, true, "it was never loaded again");
    browser.all_is_quiet("tasks");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_show_their_holder_and_who_waits_is_told_why() {
    let daemon = Daemon::start(2, "");
    let browser = Browser::signed_in(&daemon).await;
    let (first, hold) = work(&daemon, "holder", 2);
    let holder = daemon.submit(&first);
    browser.until("return document.querySelectorAll('.tile.held').length === 2").await;
    let (second, _) = work(&daemon, "waits", 2);
    let waits = daemon.submit(&second);
    browser.says("#line", "waits").await;
    browser.picture("now-waiting").await;
    browser.click(&format!("#line [data-task='{waits}'] .task-link")).await;
    browser.there("#why-sentence").await;
    let sentence = daemon.get(&format!("/v1/tasks/{waits}/why"))["sentence"].as_str().expect("a sentence").to_owned();
    browser.says("#why-sentence", &sentence).await;
    browser.there("#when").await;
    browser.picture("task-waiting").await;
    // It starts before one's eyes.
    fs::remove_file(hold).expect("it is there");
    browser.there(".task-sub .state.running").await;
    let state = wait_for("the first to end", || Some(daemon.state(holder)).filter(|state| state == "finished"));
    assert_eq!(state, "finished");
    browser.all_is_quiet("a task that waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_suspended_resumed_and_stopped_from_the_page() {
    let daemon = Daemon::start(2, "");
    let browser = Browser::signed_in(&daemon).await;
    let (task, _) = work(&daemon, "acted-on", 1);
    let id = daemon.submit(&task);
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));
    browser.go(&format!("{}/studio/tasks/{id}", daemon.url)).await;
    browser.click("#act-suspend").await;
    browser.until("return document.querySelector('.task-sub .state.held, .task-sub .state.suspended')").await;
    browser.click("#act-resume").await;
    browser.there(".task-sub .state.running").await;
    wait_for("its second run", || (daemon.task(id)["history"].as_array()?.len() == 2).then_some(()));
    browser.until("return document.querySelectorAll('.runs [data-run]').length === 2").await;
    // Stopping asks first, and Escape is no.
    browser.click("#act-stop").await;
    browser.there("#confirm").await;
    browser.keys("\u{e00c}").await;
    browser.gone("dialog").await;
    assert_eq!(daemon.state(id), "running");
    browser.click("#act-stop").await;
    browser.click("#confirm").await;
    browser.there(".task-sub .state.stopped").await;
    assert_eq!(daemon.task(id)["outcome"], "stopped");
    browser.picture("task-stopped").await;
    browser.all_is_quiet("a task that is acted on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keyboard_alone_suffices() {
    let daemon = Daemon::start(2, "");
    let (task, _) = work(&daemon, "by-keyboard", 1);
    let id = daemon.submit(&task);
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));
    let browser = Browser::open().await;
    browser.go(&format!("{}/studio/", daemon.url)).await;
    browser.until("return document.activeElement?.id === 'token'").await;
    browser.keys(&format!("{}\u{e007}", daemon.token)).await;
    browser.there(".side").await;
    let walk = async |to: &str| {
        for _ in 0..80 {
            if browser.js(&format!("return document.activeElement?.matches({to:?}) ?? false")).await == true {
                return;
            }
            browser.keys("\u{e004}").await;
        }
        panic!("{to} can not be reached with the Tab key");
    };
    walk("#nav-tasks").await;
    browser.keys("\u{e007}").await;
    browser.says(&format!("[data-task='{id}']"), "by-keyboard").await;
    walk(&format!("[data-task='{id}'] .task-link")).await;
    let seen = browser.js("return getComputedStyle(document.activeElement).outlineStyle").await;
    assert_ne!(seen, "none", "who uses keys sees where they are");
    browser.keys("\u{e007}").await;
    browser.there("#act-suspend").await;
    walk("#act-suspend").await;
    browser.keys("\u{e007}").await;
    wait_for("it to be suspended", || ["held", "suspended"].contains(&daemon.state(id).as_str()).then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_followed_searched_and_kept_to_text() {
    let daemon = Daemon::start(1, "");
    let next = daemon.scratch().join("next");
    let script = "echo 'line one <b>&amp;</b> \u{1b}[31mred\u{1b}[0m'; until [ -e \"$0\" ]; do sleep 0.05; done; echo 'line two'; until [ -e \"$0.end\" ]; do sleep 0.05; done; echo 'the last'";
    let id = daemon.submit(&json!({"name": "writer", "command": ["/bin/sh", "-c", script, next], "devices": 1}));
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));
    let browser = Browser::signed_in(&daemon).await;
    browser.go(&format!("{}/studio/tasks/{id}", daemon.url)).await;
    browser.says("#log", "line one <b>&amp;</b> red").await;
    assert_eq!(browser.js("return document.querySelectorAll('#log b').length").await, 0);
    fs::write(&next, "").expect("a file");
    browser.says("#log", "line two").await;
    browser.fill(".logs-bar input[type=search]", "LINE").await;
    browser.until("return document.querySelectorAll('#log mark').length === 2").await;
    browser.picture("task-logs").await;
    fs::write(next.with_extension("end"), "").expect("a file");
    browser.says("#log", "the last").await;
    // The whole can be taken along.
    let whole = browser
        .until("return fetch(document.querySelector('.logs-bar a.button').href).then((answer) => answer.text())")
        .await;
    assert!(
        whole.as_str().expect("text").contains("line one") && whole.as_str().expect("text").contains("the last"),
        "{whole}"
    );
    browser.all_is_quiet("output");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_line_is_said_and_mended_and_nothing_is_missed() {
    let daemon = Daemon::start(2, "");
    let wire = Wire::to(&daemon.url).await;
    let browser = Browser::signed_in_with(&wire.url, &daemon.token).await;
    browser.click("#nav-tasks").await;
    browser.says("main", "No task is like that").await;
    browser.there("[data-line=live]").await;
    wire.cut();
    browser.says(".line-lost", "connection is lost").await;
    browser.picture("line-lost").await;
    let (task, _) = work(&daemon, "while-away", 1);
    let id = daemon.submit(&task);
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));
    wire.mend();
    browser.there("[data-line=live]").await;
    browser.there(&format!("[data-task='{id}'] .state.running")).await;
    browser.until("return document.querySelector('.line-lost').hidden").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_found_sorted_and_stopped_together() {
    let daemon = Daemon::start(1, "");
    let ids: Vec<u64> = ["b-two", "c-three", "a-one", "other"]
        .iter()
        .map(|name| daemon.submit(&json!({"name": name, "command": ["sleep", "1000"], "devices": 1})))
        .collect();
    let browser = Browser::signed_in(&daemon).await;
    browser.click("#nav-tasks").await;
    browser.fill("#search", "-").await;
    let names = "return [...document.querySelectorAll('[data-task] .c-name')].map((it) => it.textContent).join()";
    browser.until(&format!("{names} === 'a-one,c-three,b-two'")).await;
    browser.click(".row.head .c-name .sort").await;
    browser.until(&format!("{names} === 'a-one,b-two,c-three'")).await;
    browser.click(".row.head .c-name .sort").await;
    browser.until(&format!("{names} === 'c-three,b-two,a-one'")).await;
    // What was looked for stands in the address, so that it can be sent to somebody.
    assert!(browser.js("return location.search").await.as_str().expect("text").contains("search=-"));
    for id in [ids[1], ids[2]] {
        browser.click(&format!("[data-task='{id}'] input")).await;
    }
    browser.says(".bar-acts", "2 chosen").await;
    browser.picture("tasks-chosen").await;
    browser.click(".bar-acts #act-stop").await;
    browser.click("#confirm").await;
    for id in [ids[1], ids[2]] {
        wait_for("its end", || (daemon.task(id)["outcome"] == "stopped").then_some(()));
    }
    assert_ne!(daemon.state(ids[0]), "finished", "the others go on");
    assert_ne!(daemon.state(ids[3]), "finished");
    browser.all_is_quiet("several tasks");
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_of_time_tell_who_they_are_lead_there_and_are_saved() {
    let daemon = Daemon::start(2, "");
    let name = "<b>a & b</b>";
    let id = daemon.submit(&json!({"name": name, "command": ["sleep", "1000"], "devices": 2}));
    wait_for("it to run", || (daemon.state(id) == "running").then_some(()));
    let browser = Browser::signed_in(&daemon).await;
    // A window in which its bar begins near the left.
    let now = browser.js("return Date.now()").await.as_u64().expect("a time");
    browser.go(&format!("{}/studio/time?from={}&to={}", daemon.url, now - 60_000, now + 4_000)).await;
    browser.until("return document.querySelector('#gantt')?.getAttribute('aria-label').startsWith('1 runs')").await;
    let at = browser
        .js("const it = document.querySelector('#gantt').getBoundingClientRect(); return [it.left, it.top, it.width]")
        .await;
    let of = |index: usize| at[index].as_f64().expect("a place");
    // Just left of now, in the second lane of the one node.
    let x = of(0) + 128.0 + (of(2) - 128.0) * 60_000.0 / 64_000.0;
    let mouse = |kind: &str| {
        let press = json!({"type": kind, "x": x, "y": of(1) + 36.0, "button": if kind == "mouseMoved" { "none" } else { "left" }, "clickCount": 1});
        browser.devtools("Input.dispatchMouseEvent", press);
    };
    mouse("mouseMoved");
    browser.says(".gantt-tip", name).await;
    browser.picture("time-hover").await;
    browser.js(
        "const own = URL.createObjectURL; URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return own(blob); }",
    )
    .await;
    browser.click("#save-svg").await;
    let saved = browser.until("return window.saved").await;
    let saved = saved.as_str().expect("text");
    assert!(saved.starts_with("<svg") && saved.contains("&#60;b&#62;a &#38; b") && !saved.contains("<b>"), "{saved}");
    let whole = browser
        .js("return new DOMParser().parseFromString(window.saved, 'image/svg+xml').querySelector('parsererror')")
        .await;
    assert_eq!(whole, Value::Null, "it is well formed");
    mouse("mouseMoved");
    mouse("mousePressed");
    mouse("mouseReleased");
    browser.says("h1", name).await;
    assert!(browser.js("return location.pathname").await.as_str().expect("text").ends_with(&format!("/tasks/{id}")));
    browser.all_is_quiet("time");
}
