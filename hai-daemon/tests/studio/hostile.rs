//! Names that want to be more than names are shown as what they are.

use serde_json::json;

use crate::browser::Browser;
use crate::playing::{Playing, World};
use crate::support::{Daemon, wait_for};

const MARKUP: &str = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";
const BACKWARDS: &str =
    "\u{202e}gpj.exe \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{627}\u{644}\u{639}\u{631}\u{628}\u{64a}\u{629}";

/// Nothing of a name was executed, and the page is no wider than the window.
async fn is_unharmed(browser: &Browser, what: &str) {
    assert_eq!(browser.js("return window.hacked ?? null").await, json!(null), "{what}");
    assert_eq!(browser.js("return document.querySelectorAll('img, main script').length").await, 0, "{what}");
    let room = browser.js("return [document.scrollingElement.scrollWidth, innerWidth]").await;
    assert!(room[0].as_u64() <= room[1].as_u64(), "{what}: it is wider than the window: {room}");
    browser.all_is_quiet(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_output_of_tasks_are_text() {
    let daemon = Daemon::start(1, "");
    let long = "\u{4e2d}w".repeat(63);
    let mut ids = Vec::new();
    for name in [MARKUP, BACKWARDS, &long] {
        let script = format!("echo '{MARKUP}' >&2; echo \"$0\"; exit 3");
        let environment = json!({"X": MARKUP, "LONG": "y".repeat(10_000)});
        let task = json!({"name": name, "command": ["/bin/sh", "-c", script, "z".repeat(10_000)], "devices": 1, "env": environment});
        ids.push((daemon.submit(&task), name.to_owned()));
    }
    for (id, _) in &ids {
        wait_for("its end", || (daemon.state(*id) == "finished").then_some(()));
    }
    let browser = Browser::signed_in(&daemon).await;
    for width in [1280, 360] {
        browser.size(width, 800);
        browser.go(&format!("{}/studio/tasks", daemon.url)).await;
        for (id, name) in &ids {
            browser.says(&format!("[data-task='{id}'] .name"), name).await;
        }
        browser.picture(&format!("hostile-tasks-{width}")).await;
        is_unharmed(&browser, "the list").await;
        for (id, name) in &ids {
            browser.go(&format!("{}/studio/tasks/{id}", daemon.url)).await;
            browser.says("h1 .name", name).await;
            browser.says("#log", "<script>").await;
            browser.there("#command").await;
            is_unharmed(&browser, name).await;
        }
        browser.picture(&format!("hostile-task-{width}")).await;
        let direction = browser.js("return document.querySelector('h1 .name').getAttribute('dir')").await;
        assert_eq!(direction, "auto");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_ten_thousand_characters_break_nothing() {
    let daemon = Daemon::start(1, "");
    let world = World {
        name: |id| match id % 3 {
            0 => MARKUP.repeat(200),
            1 => BACKWARDS.repeat(400),
            _ => "w".repeat(10_000),
        },
        user: |id| if id % 2 == 0 { MARKUP.to_owned() } else { "\u{5e9}".repeat(10_000) },
        ..World::new(3, 8, 60)
    };
    let playing = Playing::before(&daemon.url, world).await;
    let browser = Browser::signed_in_with(&playing.url, &daemon.token).await;
    for width in [1280, 360] {
        browser.size(width, 800);
        for view in ["", "tasks", "nodes", "rights", "people"] {
            browser.go(&format!("{}/studio/{view}", playing.url)).await;
            let ready = match view {
                "" => ".tile.held",
                "tasks" => "[data-task]",
                "nodes" => "[data-node]",
                _ => "table",
            };
            browser.there(ready).await;
            is_unharmed(&browser, view).await;
            browser.picture(&format!("hostile-long-{}-{width}", if view.is_empty() { "now" } else { view })).await;
        }
    }
}
