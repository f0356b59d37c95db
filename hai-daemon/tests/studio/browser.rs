//! Chromium, driven through chromedriver; both end with the test, whatever becomes of it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Daemon;

/// How long anything may take before a test gives up; generous, since machines may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
const AXE: &str = include_str!("axe.min.js");
const MISSING: &str = "these tests drive a browser: install the Debian packages chromium and chromium-driver";

pub(crate) struct Browser {
    pub(crate) client: Client,
    driver: Child,
    session: String,
    _profile: TempDir,
}

/// Which it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Light {
    Light,
    Dark,
}

impl Light {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Light::Light => "light",
            Light::Dark => "dark",
        }
    }
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("chromium")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no chromium: {MISSING}"))
}

impl Browser {
    /// A new browser that knows nothing.
    pub(crate) async fn open() -> Self {
        let chromium = chromium();
        // A group of its own, so that all that it starts ends with it.
        let started = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        let mut driver = started.unwrap_or_else(|error| panic!("chromedriver: {error}; {MISSING}"));
        let mut lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver says where it listens").expect("text");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse::<u16>().expect("a port");
            }
        };
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let profile = tempfile::tempdir().expect("a temporary directory");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=en",
            "--window-size=1280,860",
        ];
        let mut args: Vec<String> = args.map(str::to_owned).into();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({
            "goog:chromeOptions": {"args": args, "binary": chromium},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(wanted) = wanted else { unreachable!("it is an object") };
        let base = format!("http://127.0.0.1:{port}");
        let connected = ClientBuilder::new(HttpConnector::new()).capabilities(wanted).connect(&base).await;
        let client = connected.unwrap_or_else(|error| panic!("chromium does not start: {error}"));
        let id = client.session_id().await.expect("it answers").expect("a session");
        Browser { client, driver, session: format!("{base}/session/{id}"), _profile: profile }
    }

    /// Signed in to a daemon's page.
    pub(crate) async fn signed_in(daemon: &Daemon) -> Self {
        Self::signed_in_with(&daemon.url, &daemon.token).await
    }

    pub(crate) async fn signed_in_with(url: &str, token: &str) -> Self {
        let browser = Browser::open().await;
        browser.go(&format!("{url}/studio/")).await;
        browser.fill("#token", token).await;
        browser.click("form button.main").await;
        browser.there(".side").await;
        browser
    }

    pub(crate) async fn go(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// What a script returns.
    pub(crate) async fn js(&self, script: &str) -> Value {
        let done = self.client.execute(script, Vec::new()).await;
        done.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Waits until a script returns something true.
    pub(crate) async fn until(&self, script: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.js(script).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if Instant::now() >= deadline {
                self.picture("waited-in-vain").await;
                let text = self.js("return document.body.innerText.slice(0, 3000)").await;
                panic!("waited in vain for {script}; the log: {:?}; the page: {text}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until something is there and in sight.
    pub(crate) async fn there(&self, css: &str) {
        self.until(&format!("const it = document.querySelector({css:?}); return it && it.getClientRects().length > 0"))
            .await;
    }

    pub(crate) async fn gone(&self, css: &str) {
        self.until(&format!("return !document.querySelector({css:?})")).await;
    }

    /// Waits until a part of the page has this text in it.
    pub(crate) async fn says(&self, css: &str, text: &str) {
        let script = format!(
            "return [...document.querySelectorAll({css:?})].some((it) => it.textContent.includes({}))",
            json!(text)
        );
        self.until(&script).await;
    }

    /// Clicks as a mouse does: what is covered or disabled can not be.
    pub(crate) async fn click(&self, css: &str) {
        self.until(&format!(
            "const it = document.querySelector({css:?}); return it && !it.disabled && it.getClientRects().length > 0"
        ))
        .await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The page may draw it anew between the two.
            let clicked = match self.client.find(Locator::Css(css)).await {
                Ok(found) => found.click().await,
                Err(error) => Err(error),
            };
            match clicked {
                Ok(()) => return,
                Err(error) if Instant::now() >= deadline => panic!("{css} can not be clicked: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    /// Puts text into a field as somebody who types.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        self.there(css).await;
        let field = self.client.find(Locator::Css(css)).await.expect(css);
        field.clear().await.expect(css);
        field.send_keys(text).await.expect(css);
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn keys(&self, keys: &str) {
        let focused = self.client.active_element().await.expect("a focus");
        focused.send_keys(keys).await.expect("keys");
    }

    /// A picture of what is in sight, for people to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let dir = target.parent().expect("the target directory").join("studio");
        std::fs::create_dir_all(&dir).expect("a directory");
        let picture = self.client.screenshot().await.expect("a picture");
        std::fs::write(dir.join(format!("{name}.png")), picture).expect("a file");
    }

    /// What only chromedriver knows of.
    fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = ureq::post(format!("{}/{path}", self.session)).send_json(body);
        let mut answer = answer.unwrap_or_else(|error| panic!("chromedriver: {path}: {error}"));
        let mut answer: Value = answer.body_mut().with_config().limit(64 << 20).read_json().expect("JSON");
        answer["value"].take()
    }

    pub(crate) fn devtools(&self, command: &str, params: Value) -> Value {
        self.ask("goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    pub(crate) fn size(&self, width: u32, height: u32) {
        let phone = width < 500;
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.devtools("Emulation.setDeviceMetricsOverride", params);
    }

    /// As a system that asks for this.
    pub(crate) fn light(&self, light: Light) {
        let feature = json!({"name": "prefers-color-scheme", "value": light.word()});
        self.devtools("Emulation.setEmulatedMedia", json!({"features": [feature]}));
    }

    /// What the browser's console said since it was last asked.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.ask("se/log", &json!({"type": "browser"}));
        let entries = log.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| format!("{} {}", entry["level"].as_str().unwrap_or_default(), entry["message"]))
            .collect()
    }

    /// Nothing broke the content security policy, and no script failed.
    pub(crate) fn all_is_quiet(&self, what: &str) {
        let loud: Vec<String> = self
            .log()
            .into_iter()
            .filter(|line| {
                line.contains("Content Security Policy") || line.contains("Uncaught") || line.starts_with("SEVERE")
            })
            .collect();
        assert!(loud.is_empty(), "{what}: {loud:#?}");
    }

    /// What keeps people out, as far as axe-core knows; nothing, one hopes.
    pub(crate) async fn barriers(&self, what: &str) -> Vec<String> {
        let there = self.js("return typeof window.axe !== 'undefined'").await;
        if there == false {
            self.js(AXE).await;
        }
        let run = "const done = arguments[arguments.length - 1]; \
                   axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations.map((one) => \
                   ({ id: one.id, help: one.help, nodes: one.nodes.slice(0, 4).map((node) => node.html.slice(0, 300) + ' :: ' + (node.failureSummary || '').slice(0, 300)) }))), (error) => done([String(error)]));";
        let found = self.client.execute_async(run, Vec::new()).await.expect("axe runs");
        let found = found.as_array().expect("a list").clone();
        found.iter().map(|one| format!("{what}: {one:#}")).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session's end takes the browser with it; the rest is for when that does not answer.
        let _ = ureq::delete(&self.session).config().timeout_global(Some(Duration::from_secs(5))).build().call();
        if let Some(group) = i32::try_from(self.driver.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}
