//! Every view in both languages, by day and by night, on a desk and on a phone: nothing is cut off, and nobody is kept out.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;

use crate::browser::{Browser, Light};
use crate::support::{Daemon, wait_for};

const WORDS: [(&str, &str); 2] = [
    ("en", include_str!("../../src/web/assets/words/en.js")),
    ("zh", include_str!("../../src/web/assets/words/zh.js")),
];

/// A lab in which something of everything is to be seen; the numbers of a task that runs, one that waits and one that failed.
fn lab() -> (Daemon, [u64; 3]) {
    let more = "[[node]]\nname = \"n1\"\ncpu = 16\nmemory = \"32GiB\"\n[[node.device]]\nmodel = \"A100\"\nmemory = \"40GiB\"\ncount = 8\n";
    let daemon = Daemon::start(8, more);
    for user in ["alice", "bob", "chen.wei"] {
        daemon.says(&["users", "add", user]);
        daemon.says(&["rights", "set", "--user", user, "--priority", "NORMAL", "--devices", "6"]);
    }
    let hold = daemon.scratch().join("hold");
    fs::write(&hold, "").expect("a file");
    let script = "echo 'epoch 1 loss 0.42'; while [ -e \"$0\" ]; do sleep 0.1; done";
    let work = |name: &str, user: &str, devices: u32| json!({"name": name, "user": user, "command": ["/bin/sh", "-c", script, hold], "devices": devices, "priority": "NORMAL"});
    let runs = daemon.submit(&work("resnet-50", "alice", 4));
    daemon.submit(&work("llama-sft", "bob", 6));
    daemon.submit(&work("diffusion", "chen.wei", 2));
    let waits = daemon.submit(&work("too-much", "alice", 8));
    let failed = daemon
        .submit(&json!({"name": "typo", "command": ["/bin/sh", "-c", "echo no such file >&2; exit 2"], "devices": 1}));
    wait_for("it to run", || (daemon.state(runs) == "running").then_some(()));
    wait_for("it to fail", || (daemon.state(failed) == "finished").then_some(()));
    (daemon, [runs, waits, failed])
}

/// Paths of all views and what is there once they are drawn.
fn views(tasks: [u64; 3]) -> Vec<(String, String, &'static str)> {
    let [runs, waits, failed] = tasks;
    let view = |name: &str, path: String, ready| (name.to_owned(), path, ready);
    vec![
        view("now", String::new(), "#line .line-list"),
        view("tasks", "tasks".into(), "[data-task]"),
        view("task-runs", format!("tasks/{runs}"), "#why-sentence"),
        view("task-waits", format!("tasks/{waits}"), ".when .fact"),
        view("task-failed", format!("tasks/{failed}"), ".run-row .mark.failed"),
        view("time", "time".into(), "#gantt"),
        view("nodes", "nodes".into(), "[data-node]"),
        view("node", "nodes/n0".into(), "dialog table"),
        view("rights", "rights".into(), "[data-right=alice]"),
        view("people", "people".into(), "[data-user=alice]"),
        view("simulate", "simulate".into(), "#simulate form"),
    ]
}

async fn each_view_looks_well(light: Light, language: &str) {
    let (daemon, tasks) = lab();
    let browser = Browser::open().await;
    browser.light(light);
    browser.go(&format!("{}/studio/", daemon.url)).await;
    browser.there("#token").await;
    browser.js(&format!("localStorage.setItem('hai.language', {language:?})")).await;
    browser.go(&format!("{}/studio/", daemon.url)).await;
    browser.there("#token").await;
    let mut barriers = browser.barriers("sign-in").await;
    browser.picture(&format!("sign-in-{language}-{}", light.word())).await;
    browser.fill("#token", &daemon.token).await;
    browser.click("form button.main").await;
    browser.there(".side").await;
    assert_eq!(browser.js("return document.documentElement.lang").await, language);
    let dark = browser.js("const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number); return r + g + b < 300").await;
    assert_eq!(dark, light == Light::Dark);
    for width in [1280, 360] {
        browser.size(width, if width == 360 { 740 } else { 860 });
        for (name, path, ready) in views(tasks) {
            browser.go(&format!("{}/studio/{path}", daemon.url)).await;
            browser.there(ready).await;
            browser.there("[data-line=live]").await;
            let what = format!("{name} {language} {} {width}", light.word());
            let room = browser.js("return [document.scrollingElement.scrollWidth, innerWidth]").await;
            assert!(room[0].as_u64() <= room[1].as_u64(), "{what}: it is wider than the window: {room}");
            browser.picture(&what.replace(' ', "-")).await;
            barriers.extend(browser.barriers(&what).await);
            browser.all_is_quiet(&what);
        }
    }
    assert!(barriers.is_empty(), "{}", barriers.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_by_day() {
    each_view_looks_well(Light::Light, "en").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_by_night_in_chinese() {
    each_view_looks_well(Light::Dark, "zh").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_suffices_to_look_suspend_and_stop() {
    let (daemon, [runs, ..]) = lab();
    let browser = Browser::open().await;
    browser.size(360, 640);
    browser.go(&format!("{}/studio/", daemon.url)).await;
    browser.fill("#token", &daemon.token).await;
    browser.click("form button.main").await;
    browser.click("#nav-tasks").await;
    browser.click(&format!("[data-task='{runs}'] .task-link")).await;
    browser.click("#act-suspend").await;
    browser.until("return document.querySelector('.task-sub .state.held, .task-sub .state.suspended')").await;
    browser.click("#act-stop").await;
    browser.click("#confirm").await;
    browser.there(".task-sub .state.stopped").await;
    assert_eq!(daemon.task(runs)["outcome"], "stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn language_and_light_are_switched_and_kept() {
    let daemon = Daemon::start(1, "");
    let browser = Browser::signed_in(&daemon).await;
    browser.says("#nav-tasks", "Tasks").await;
    browser.click("#language").await;
    browser.says("#nav-tasks", "\u{4efb}\u{52a1}").await;
    assert_eq!(browser.js("return document.documentElement.lang").await, "zh");
    browser.click("#theme").await;
    browser.until("return document.documentElement.dataset.theme === 'light'").await;
    browser.click("#theme").await;
    browser.until("return document.documentElement.dataset.theme === 'dark'").await;
    let back = "return getComputedStyle(document.body).backgroundColor";
    let dark = browser.js(back).await;
    browser.go(&format!("{}/studio/tasks", daemon.url)).await;
    browser.says("#nav-tasks", "\u{4efb}\u{52a1}").await;
    assert_eq!(browser.js(back).await, dark, "both are kept");
    browser.click("#language").await;
    browser.says("#nav-tasks", "Tasks").await;
    browser.all_is_quiet("switching");
}

/// `'key': 'text',` of each line.
fn words(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.strip_prefix("  '")?.strip_suffix("',")?.split_once("': '"));
    pairs.map(|(key, text)| (key.to_owned(), text.to_owned())).collect()
}

fn places(text: &str) -> Vec<&str> {
    let mut places: Vec<&str> = text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect();
    places.sort_unstable();
    places
}

#[test]
fn both_languages_say_the_same_things() {
    let [(_, en), (_, zh)] = WORDS.map(|(name, text)| (name, words(text)));
    assert!(en.len() > 200, "they are read: {}", en.len());
    assert_eq!(en.keys().collect::<Vec<_>>(), zh.keys().collect::<Vec<_>>());
    for (key, text) in &en {
        assert_eq!(places(text), places(&zh[key]), "{key}");
        assert!(!zh[key].is_empty() && !text.is_empty(), "{key}");
    }
}

#[test]
fn every_word_that_the_page_asks_for_is_there() {
    let en = words(WORDS[0].1);
    let mut asked = 0;
    for file in sources() {
        let text = fs::read_to_string(&file).expect("text");
        for part in text.split("t('").skip(1) {
            let before = text.find(part).and_then(|at| text[..at.saturating_sub(3)].chars().last());
            let Some((key, rest)) = part.split_once('\'') else { continue };
            if before.is_some_and(|before| before.is_alphanumeric() || before == '.') || !rest.starts_with([')', ',']) {
                continue;
            }
            asked += 1;
            assert!(en.contains_key(key), "{}: {key}", file.display());
        }
    }
    assert!(asked > 200, "they are found: {asked}");
}

fn sources() -> Vec<std::path::PathBuf> {
    let assets = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets");
    let files = [assets.clone(), assets.join("views")]
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir).expect("a directory").flatten());
    let files: Vec<_> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "js")).collect();
    files
}
