//! Who listens to a daemon that stands by hears what the leader stores, as it does, and misses nothing.

use std::io::{BufRead as _, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::server;
use crate::support::{Daemon, wait_for};

/// How long after an end it is heard of at most. Who stands by looks by itself only every 10 s, so in less it was woken.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// One who listens, comes again when the stream ends, and checks that no event is missed or told twice.
struct Listener {
    url: String,
    token: String,
    last: u64,
    lines: Receiver<(u64, Value)>,
    came: u32,
}

impl Listener {
    /// Hears all after event number `last`.
    fn new(url: &str, token: &str, last: u64) -> Self {
        let (url, token) = (url.to_owned(), token.to_owned());
        let lines = stream(&url, &token, last);
        Listener { url, token, last, lines, came: 1 }
    }

    /// The next event; comes again as often as need be.
    fn next(&mut self, within: Duration) -> Value {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((id, event)) => {
                    assert_eq!(id, self.last + 1, "nothing is missed, nothing told twice: {event}");
                    self.last = id;
                    return event;
                }
                Err(RecvTimeoutError::Timeout) => panic!("no event after {} within {within:?}", self.last),
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(Duration::from_millis(50));
                    self.lines = stream(&self.url, &self.token, self.last);
                    self.came += 1;
                }
            }
        }
    }

    /// Reads on until the task is finished.
    fn until_finished(&mut self, task: u64, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let event = self.next(deadline.saturating_duration_since(Instant::now()));
            if event["task"]["id"] == task && event["task"]["state"] == "finished" {
                return;
            }
        }
    }
}

/// The events of one connection, until it ends.
fn stream(url: &str, token: &str, last: u64) -> Receiver<(u64, Value)> {
    let (sender, events) = channel();
    let call = ureq::get(format!("{url}/v1/events")).header("Authorization", format!("Bearer {token}"));
    let call = call.header("Last-Event-ID", last.to_string());
    std::thread::spawn(move || {
        let Ok(answer) = call.call() else { return };
        let mut id = 0;
        for line in BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("id: ").or(line.strip_prefix("id:")) {
                id = number.trim().parse().expect("a number");
            } else if let Some(data) = line.strip_prefix("data:") {
                let event = serde_json::from_str(data).expect("JSON");
                if sender.send((id, event)).is_err() {
                    return;
                }
            }
        }
    });
    events
}

fn finished(daemon: &Daemon, request: &Value) -> u64 {
    let id = wait_for("the submission to be taken", || daemon.try_submit(request));
    wait_for("the end", || {
        daemon.try_get(&format!("/v1/tasks/{id}")).filter(|task| task["state"] == "finished").map(drop)
    });
    id
}

#[test]
fn who_listens_to_the_second_daemon_hears_what_the_leader_stores() {
    let Some(mut postgres) = server() else { return };
    let mut daemon = Daemon::on(postgres.url(), 4);
    let request = json!({"command": ["true"]});
    let before = finished(&daemon, &request);

    let second = daemon.beside();
    let mut listener = Listener::new(&second.url, &daemon.token, 0);
    listener.until_finished(before, PATIENCE);
    for _ in 0..5 {
        let task = finished(&daemon, &request);
        let since = Instant::now();
        listener.until_finished(task, HEARD_WITHIN);
        eprintln!("heard {:?} after it was seen on the leader", since.elapsed());
    }
    assert_eq!(listener.came, 1, "one connection was enough");

    // The server goes away and comes back: what is stored before the second daemon listens again is told too.
    postgres.kill();
    postgres.restart();
    let task = finished(&daemon, &request);
    listener.until_finished(task, PATIENCE);
    // From then on it is woken again.
    let task = finished(&daemon, &request);
    listener.until_finished(task, HEARD_WITHIN);

    // Somebody else goes on in the middle.
    let mut other = Listener::new(&second.url, &daemon.token, listener.last - 1);
    assert_eq!(other.next(PATIENCE)["task"]["id"], task);

    // The second takes over: who comes again goes on where the stream broke off.
    daemon.go_on_with(second);
    let leads = |(status, _, text): (u16, Option<String>, String)| status == 200 && !text.contains("stands by");
    wait_for("the second to lead", || daemon.answer_of(&daemon.url, "/readyz", None).filter(|it| leads(it.clone())));
    let task = finished(&daemon, &request);
    listener.until_finished(task, HEARD_WITHIN);
    assert!(listener.came > 1, "whoever begins to lead begins anew");
}
