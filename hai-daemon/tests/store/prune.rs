//! `hai-daemon db`, over the file and over the server.

use std::process::{Command, Output};

use hai_core::backend::MemoryCluster;
use serde_json::Value;

use crate::block_on;
use crate::contract::driver::node;
use crate::contract::history::{month, months};
use crate::place::Place;

fn db(place: &Place, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hai-daemon"));
    command.env_clear().env("HOME", "/nonexistent").arg("db").args(args);
    match place {
        Place::File(dir) => command.arg("--data").arg(dir.path().join("data")),
        Place::Server(server) => command.env("HAI_DATA_DATABASE", server.url()),
    };
    command.output().expect("hai-daemon is executed")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn prunes(place: &Place) {
    months(place, &MemoryCluster::new([node()]), 1..=4).await;
    let refused = db(place, &["prune"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("--older-than"), "{}", said(&refused));

    // In days, so that the months before the third are older.
    let days = (chrono::Utc::now().timestamp_millis() - month(3).as_ms()) / (24 * 3600 * 1000);
    let older_than = format!("{days}d");
    let would = db(place, &["prune", "--older-than", &older_than, "--dry-run", "--json"]);
    let would: Value = serde_json::from_slice(&would.stdout).unwrap_or_else(|_| panic!("{}", said(&would)));
    assert_eq!((&would["before"], &would["dry_run"]), (&"2024-03-01T00:00:00.000Z".into(), &true.into()));
    assert!(would["gone"]["tasks"].as_u64() > Some(5) && would["gone"]["records"].as_u64() > Some(20), "{would}");

    let went = db(place, &["prune", "--older-than", &older_than]);
    assert!(went.status.success(), "{}", said(&went));
    for (name, what) in [("tasks", "tasks with"), ("runs", "runs"), ("records", "records of the log")] {
        assert!(said(&went).contains(&format!("{} {what}", would["gone"][name])), "{would}: {}", said(&went));
    }
    let again = db(place, &["prune", "--older-than", &older_than, "--json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap_or_else(|_| panic!("{}", said(&again)));
    assert!(again["gone"].as_object().is_some_and(|gone| gone.values().all(|number| number == 0)), "{again}");

    let checked = db(place, &["check"]);
    assert!(checked.status.success() && said(&checked).contains("were pruned"), "{}", said(&checked));
}

#[test]
fn a_file_is_pruned_on_demand_and_is_found_sound() {
    block_on(async { prunes(&Place::file()).await });
}

#[test]
fn a_server_is_pruned_on_demand_and_is_found_sound() {
    block_on(async {
        if let Some(place) = Place::server().await {
            prunes(&place).await;
        }
    });
}
