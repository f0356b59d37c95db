//! `hai-daemon db check`: whether what is stored is as its log says.

use std::process::ExitCode;

use anyhow::Result;

use super::Place;
use crate::store::{self, Reader};

pub(super) async fn check(place: &Place) -> Result<ExitCode> {
    looked_at(&place.open_there().await?.reader()).await
}

/// Follows the log, and tells what came of it.
pub(super) async fn looked_at(reader: &Reader) -> Result<ExitCode> {
    let found = store::check(reader).await?;
    if found.pruned > 0 {
        println!("the first {} records were pruned; a snapshot says what they had made", found.pruned);
    }
    println!("{} records were followed; they made {} tasks and {} runs", found.records, found.tasks, found.runs);
    for problem in &found.problems {
        eprintln!("{problem}");
    }
    if found.problems.is_empty() {
        println!("all that is stored is as the log says");
        return Ok(ExitCode::SUCCESS);
    }
    if found.moved {
        eprintln!("a daemon wrote meanwhile, which may be all that there is to it; stop it and check again");
    }
    Ok(ExitCode::FAILURE)
}
