//! How quick the page is on a large cluster: measured, not judged, since machines differ. See CONTRIBUTING.md for the command.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::playing::{Playing, World};
use crate::support::Daemon;

/// Notes when the first device was to be seen, and every task of the main thread that took long.
const NOTES: &str = "window.notes = { tile: 0, long: [] }; \
    new PerformanceObserver((list) => list.getEntries().forEach((one) => window.notes.long.push([Math.round(one.startTime), Math.round(one.duration)]))).observe({ type: 'longtask', buffered: true }); \
    new MutationObserver((_, watch) => { if (document.querySelector('.tile')) { watch.disconnect(); requestAnimationFrame(() => setTimeout(() => { window.notes.tile = performance.now(); })); } }).observe(document, { childList: true, subtree: true });";

struct Counters {
    task: f64,
    script: f64,
    layout: f64,
    heap: f64,
}

fn counters(browser: &Browser) -> Counters {
    let metrics = browser.devtools("Performance.getMetrics", json!({}));
    let of = |name: &str| {
        let found = metrics["metrics"].as_array().expect("metrics").iter().find(|one| one["name"] == name);
        found.and_then(|one| one["value"].as_f64()).expect(name)
    };
    let layout = of("LayoutDuration") + of("RecalcStyleDuration");
    Counters { task: of("TaskDuration"), script: of("ScriptDuration"), layout, heap: of("JSHeapUsedSize") / 1e6 }
}

fn heap(browser: &Browser) -> f64 {
    browser.devtools("HeapProfiler.collectGarbage", json!({}));
    counters(browser).heap
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures for minutes; CONTRIBUTING.md says how to run it"]
async fn of_a_thousand_nodes_and_a_hundred_thousand_tasks() {
    let daemon = Daemon::start(1, "");
    let playing = Playing::before(&daemon.url, World::new(1000, 8, 100_000)).await;
    let browser = Browser::signed_in_with(&playing.url, &daemon.token).await;
    browser.devtools("Performance.enable", json!({}));
    browser.devtools("HeapProfiler.enable", json!({}));
    browser.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": NOTES}));
    for round in 1..=3 {
        browser.go(&format!("{}/studio/", playing.url)).await;
        browser.until("return window.notes.tile > 0").await;
        let told: Value = browser
            .js("return { paint: Math.round(performance.getEntriesByName('first-contentful-paint')[0]?.startTime), devices: Math.round(window.notes.tile), long: window.notes.long }")
            .await;
        println!(
            "load {round}: first paint {} ms, devices in sight {} ms; long tasks [start, ms] {}",
            told["paint"], told["devices"], told["long"]
        );
    }
    for view in ["", "tasks", "nodes"] {
        browser.go(&format!("{}/studio/{view}", playing.url)).await;
        browser.there("[data-line=live]").await;
        browser.there(if view == "tasks" { "[data-task]" } else { "[data-node]" }).await;
        browser.js("window.notes.long.length = 0").await;
        let (before, asked, since) =
            (counters(&browser), playing.world.asked_nodes.load(Ordering::Relaxed), Instant::now());
        let told = playing.world.told.load(Ordering::Relaxed);
        // 20 events each 100 ms; the page hears of them in batches of 250 ms.
        playing.world.beat.store(100_000, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(20)).await;
        playing.world.beat.store(0, Ordering::Relaxed);
        let after = counters(&browser);
        let batches = since.elapsed().as_secs_f64() / 0.25;
        let looks = playing.world.asked_nodes.load(Ordering::Relaxed) - asked;
        let events = playing.world.told.load(Ordering::Relaxed) - told;
        let longest = browser.js("return Math.max(0, ...window.notes.long.map((one) => one[1]))").await;
        println!(
            "{}: {events} events in {batches:.0} batches, nodes looked at {looks} times: main thread {:.1} ms a batch (script {:.1}, layout {:.1}); longest task {longest} ms (0: none over 50)",
            if view.is_empty() { "now" } else { view },
            (after.task - before.task) * 1000.0 / batches,
            (after.script - before.script) * 1000.0 / batches,
            (after.layout - before.layout) * 1000.0 / batches,
        );
    }
    // An hour of 20 events a second, as fast as they are taken in.
    browser.go(&format!("{}/studio/tasks", playing.url)).await;
    browser.there("[data-task]").await;
    let hour = 72_000;
    let begin = playing.world.told.load(Ordering::Relaxed);
    println!("heap before: {:.1} MB", heap(&browser));
    playing.world.beat.store(15_000, Ordering::Relaxed);
    for part in 1..=6 {
        while playing.world.told.load(Ordering::Relaxed) - begin < hour * part / 6 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("heap after {} events: {:.1} MB", playing.world.told.load(Ordering::Relaxed) - begin, heap(&browser));
    }
    // All tasks, scrolled through.
    playing.world.beat.store(0, Ordering::Relaxed);
    for _ in 0..200 {
        browser.js("const list = document.querySelector('.rows'); list.scrollTop = list.scrollHeight").await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let seen = browser.js("return Number([...document.querySelectorAll('[data-task]')].pop()?.dataset.task)").await;
    println!("heap after scrolling down to task {seen}: {:.1} MB", heap(&browser));
}
