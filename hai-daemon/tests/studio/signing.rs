//! Signing in and out, and what the cookie opens and does not.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::support::Daemon;

/// An answer to a request with the cookie, as a browser would send it: status, headers, body.
fn with_cookie(
    daemon: &Daemon,
    method: &str,
    path: &str,
    cookie: &str,
    csrf: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let url = format!("{}{path}", daemon.url);
    let mut request = ureq::http::Request::builder().method(method).uri(url).header("cookie", cookie);
    if let Some(csrf) = csrf {
        request = request.header("x-hai-csrf", csrf);
    }
    let mut answer = match body {
        Some(body) => {
            let request = request.header("content-type", "application/json").body(body.to_string()).expect("a request");
            agent.run(request).expect("an answer")
        }
        None => agent.run(request.body(()).expect("a request")).expect("an answer"),
    };
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap_or(Value::Null))
}

/// The cookie and the header's value.
fn sign_in(daemon: &Daemon, token: &str) -> (String, String) {
    let mut answer =
        ureq::post(format!("{}/studio/sign-in", daemon.url)).send_json(json!({"token": token})).expect("signed in");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let said: Value = answer.body_mut().read_json().expect("JSON");
    (cookie.split(';').next().expect("a first part").to_owned(), said["csrf"].as_str().expect("a value").to_owned())
}

fn new_user(daemon: &Daemon, name: &str, role: &str) -> String {
    let said = daemon.says(&["--json", "users", "add", name, "--role", role]);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    said["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_said_and_a_right_one_opens() {
    let daemon = Daemon::start(2, "");
    let browser = Browser::open().await;
    // Who comes to the front door with a browser is led to the page.
    browser.go(&daemon.url).await;
    browser.there("#token").await;
    let at = browser.client.current_url().await.expect("an address");
    assert_eq!(at.path(), "/studio/");
    browser.all_is_quiet("the front door");

    browser.fill("#token", "hai_0000").await;
    browser.click("form button.main").await;
    browser.says(".wrong", "opens nothing").await;
    browser.picture("sign-in-wrong").await;
    // Typing and Enter are enough.
    browser.fill("#token", &format!("{}\u{e007}", daemon.token)).await;
    browser.says("#fact-free", "2").await;
    browser.picture("now-empty").await;
    // No script can read what was given for the token, and the token is not kept.
    let kept =
        browser.js("return document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)").await;
    assert!(!kept.as_str().expect("text").contains("hai_"), "{kept}");
    assert!(!kept.as_str().expect("text").contains("hai-session"), "{kept}");
    let cookies = browser.client.get_all_cookies().await.expect("cookies");
    let cookie = cookies.iter().find(|cookie| cookie.name() == "hai-session").expect("the cookie");
    assert_eq!((cookie.http_only(), cookie.path()), (Some(true), Some("/")));
    assert_eq!(cookie.same_site().map(|site| site.is_strict()), Some(true));
    let value = format!("hai-session={}", cookie.value());
    assert_eq!(with_cookie(&daemon, "GET", "/v1/me", &value, None, None).0, 200);

    browser.click("#sign-out").await;
    browser.there("#token").await;
    let (status, said) = with_cookie(&daemon, "GET", "/v1/me", &value, None, None);
    assert_eq!(status, 401, "who signed out is out: {said}");
    // The browser's back button does not bring it back.
    browser.go(&format!("{}/studio/tasks", daemon.url)).await;
    browser.there("#token").await;
}

#[test]
fn a_change_with_the_cookie_needs_the_header() {
    let daemon = Daemon::start(2, "");
    let (cookie, csrf) = sign_in(&daemon, &daemon.token);
    let task = json!({"command": ["true"]});
    let submit = |csrf: Option<&str>| with_cookie(&daemon, "POST", "/v1/tasks", &cookie, csrf, Some(&task));
    for wrong in [None, Some(""), Some("0"), Some(&csrf[1..])] {
        let (status, said) = submit(wrong);
        assert_eq!((status, &said["type"]), (403, &json!("/problems/not-from-the-page")), "{wrong:?}: {said}");
    }
    let (_, other) = sign_in(&daemon, &daemon.token);
    assert_eq!(submit(Some(&other)).0, 403, "one session's header is not another's");
    assert_eq!(daemon.get("/v1/tasks")["tasks"], json!([]), "nothing was submitted");
    assert_eq!(submit(Some(&csrf)).0, 201);
    for (method, path) in [("DELETE", "/v1/users/nobody"), ("POST", "/studio/sign-out"), ("PUT", "/v1/rights")] {
        assert_eq!(with_cookie(&daemon, method, path, &cookie, None, Some(&json!({}))).0, 403, "{method} {path}");
    }
    assert_eq!(with_cookie(&daemon, "GET", "/v1/tasks", &cookie, None, None).0, 200);
    let (status, said) = with_cookie(&daemon, "GET", "/studio/session", &cookie, None, None);
    assert_eq!((status, &said["csrf"], &said["user"]["role"]), (200, &json!(csrf), &json!("operator")));
    let (status, said) = with_cookie(&daemon, "GET", "/studio/session", "", None, None);
    assert_eq!((status, said), (200, Value::Null), "nobody is signed in");
}

#[test]
fn another_page_can_sign_nobody_in_and_agents_have_no_page() {
    let daemon = Daemon::start(2, "");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let sign_in = format!("{}/studio/sign-in", daemon.url);
    let body = json!({"token": daemon.token});
    let crossed = agent.post(&sign_in).header("sec-fetch-site", "cross-site").send_json(&body).expect("an answer");
    assert_eq!((crossed.status().as_u16(), crossed.headers().get("set-cookie")), (403, None));
    let form = agent.post(&sign_in).content_type("application/x-www-form-urlencoded").send(body.to_string());
    assert_eq!(form.expect("an answer").status().as_u16(), 415, "a form of another page can not");
    let robot = new_user(&daemon, "robot", "agent");
    let refused = agent.post(&sign_in).send_json(json!({"token": robot})).expect("an answer");
    assert_eq!((refused.status().as_u16(), refused.headers().get("set-cookie")), (403, None));
    let secure = agent.post(&sign_in).header("x-forwarded-proto", "https").send_json(&body).expect("an answer");
    assert!(secure.headers()["set-cookie"].to_str().expect("text").ends_with("; Secure"));
}

#[test]
fn a_session_ends_with_its_token_and_users_see_their_own() {
    let daemon = Daemon::start(2, "");
    let alice = new_user(&daemon, "alice", "user");
    let (cookie, csrf) = sign_in(&daemon, &alice);
    daemon.submit(&json!({"command": ["true"], "name": "the operator's"}));
    let (status, page) = with_cookie(&daemon, "GET", "/v1/tasks", &cookie, None, None);
    assert_eq!((status, &page["tasks"]), (200, &json!([])), "a cookie opens no more than its token");
    assert_eq!(with_cookie(&daemon, "GET", "/v1/users", &cookie, None, None).0, 403);
    let rights = json!({"user": "alice", "devices": 2});
    assert_eq!(with_cookie(&daemon, "PUT", "/v1/rights", &cookie, Some(&csrf), Some(&rights)).0, 403);
    daemon.says(&["users", "token", "alice"]);
    assert_eq!(with_cookie(&daemon, "GET", "/v1/me", &cookie, None, None).0, 401, "the token behind it was replaced");
}

#[test]
fn the_page_says_what_it_may_load_and_is_not_sent_twice() {
    let daemon = Daemon::start(1, "");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let get = |path: &str| agent.get(format!("{}{path}", daemon.url));
    for path in ["/studio/", "/studio/tasks/1", "/studio/assets/live/main.js", "/studio/assets/live/vendor/preact.js"] {
        let answer = get(path).call().expect("an answer");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        let policy = header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
    let first = get("/studio/assets/live/main.js").call().expect("an answer");
    let again = get("/studio/assets/live/main.js").header("if-none-match", first.headers()["etag"].clone()).call();
    assert_eq!(again.expect("an answer").status().as_u16(), 304);
    assert_eq!(get("/studio/assets/live/none.js").call().expect("an answer").status().as_u16(), 404);
    assert_eq!(get("/studio/assets/live/../../Cargo.toml").call().expect("an answer").status().as_u16(), 404);
    // Programs that ask at the front door are told of the API, as ever.
    let mut text = get("/").call().expect("an answer");
    assert!(text.body_mut().read_to_string().expect("text").contains("GET /openapi.json"));
    let page = get("/").header("accept", "text/html,*/*").call().expect("an answer");
    assert_eq!((page.status().as_u16(), page.headers()["location"].to_str().expect("text")), (303, "/studio/"));
}
