//! The page through a daemon that stands by: the leader alone knows who is signed in, and the other passes the cookie on.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};

use crate::server::server;
use crate::support::{Daemon, wait_for};

/// The status and what is said, asked with the page's cookie.
fn ask(
    url: &str,
    method: &str,
    path: &str,
    cookie: &str,
    csrf: Option<&str>,
    body: Option<&Value>,
) -> Option<(u16, Value)> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request =
        ureq::http::Request::builder().method(method).uri(format!("{url}{path}")).header("cookie", cookie);
    if let Some(csrf) = csrf {
        request = request.header("x-hai-csrf", csrf);
    }
    let request = request.header("content-type", "application/json");
    let text = body.map(Value::to_string).unwrap_or_default();
    let mut answer = match body {
        Some(_) => agent.run(request.body(text).ok()?).ok()?,
        None => agent.run(request.body(()).ok()?).ok()?,
    };
    Some((answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null)))
}

#[test]
fn who_signed_in_at_either_daemon_is_known_at_both_until_another_leads() {
    let Some(postgres) = server() else { return };
    let mut daemon = Daemon::on(postgres.url(), 4);
    let second = daemon.beside();
    let (leader_url, second_url) = (daemon.url.clone(), second.url.clone());

    let sign_in = ureq::post(format!("{second_url}/studio/sign-in")).send_json(json!({"token": daemon.token}));
    let mut signed_in = sign_in.expect("the leader signs in through it");
    let cookie =
        signed_in.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a part").to_owned();
    let said: Value = signed_in.body_mut().read_json().expect("JSON");
    let csrf = said["csrf"].as_str().expect("a value").to_owned();
    for url in [&leader_url, &second_url] {
        let (status, me) = ask(url, "GET", "/v1/me", &cookie, None, None).expect("an answer");
        assert_eq!((status, &me["role"]), (200, &json!("operator")), "{url}: {me}");
        let (status, session) = ask(url, "GET", "/studio/session", &cookie, None, None).expect("an answer");
        assert_eq!((status, &session["csrf"]), (200, &json!(csrf)), "{url}");
        let task = json!({"command": ["true"], "devices": 1});
        assert_eq!(ask(url, "POST", "/v1/tasks", &cookie, None, Some(&task)).expect("an answer").0, 403, "{url}");
        assert_eq!(
            ask(url, "POST", "/v1/tasks", &cookie, Some(&csrf), Some(&task)).expect("an answer").0,
            201,
            "{url}"
        );
    }

    // Events are heard there too.
    let stream =
        ureq::get(format!("{second_url}/v1/events?after=0")).header("cookie", &cookie).call().expect("a stream");
    let mut lines = BufReader::new(stream.into_body().into_reader()).lines();
    assert!(lines.any(|line| line.expect("text").starts_with("data: ")));
    drop(lines);

    // The page itself comes from each.
    let page = ureq::get(format!("{second_url}/studio/tasks")).call().expect("the page");
    assert_eq!(page.headers()["content-type"].to_str().expect("text"), "text/html; charset=utf-8");

    // Another leads: it knows nobody yet, and says so in a way that leads to signing in again.
    daemon.go_on_with(second);
    let status = wait_for("the second to lead", || {
        let (status, _) = ask(&second_url, "GET", "/v1/me", &cookie, None, None)?;
        assert!([401, 502, 503].contains(&status), "an old cookie opens nothing: {status}");
        (status == 401).then_some(status)
    });
    assert_eq!(status, 401);
    let again = ureq::post(format!("{second_url}/studio/sign-in")).send_json(json!({"token": daemon.token}));
    assert_eq!(again.expect("signed in again").status().as_u16(), 200);
}
