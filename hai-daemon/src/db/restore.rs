//! `hai-daemon db restore`: what a backup holds, into a database with nothing in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::progress::Progress;
use super::{Place, check};
use crate::store::Reader;
use crate::store::moving::{BackupReader, RestoreError, Tally};

/// Pieces that are read at a time.
const PIECES: usize = 1000;

/// Reads `file`; `-` is standard input.
pub(super) async fn restore(place: &Place, file: &Path, replace: bool) -> Result<ExitCode> {
    let (name, input): (String, Box<dyn Read>) = if file == Path::new("-") {
        ("standard input".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let name = file.display().to_string();
        let input = File::open(file).with_context(|| format!("{name} can not be read"))?;
        (name, Box::new(input))
    };
    let backup = BackupReader::new(input).with_context(|| name.clone())?;
    let header = backup.header();
    eprintln!("a backup of {}, by hai {}, with about {}", header.at, header.hai, header.about);
    let _lock = place.hold_to_write().await?;
    let (reader, tally) = taken(place, backup, replace).await.map_err(|error| error.context(name))?;
    println!("restored {tally} into {place}");
    finish(place, &reader, tally).await
}

async fn taken<R: Read>(place: &Place, mut backup: BackupReader<R>, replace: bool) -> Result<(Reader, Tally)> {
    let store = place.opened().await?;
    let reader = store.reader();
    let mut restoring = store.restore(replace).await.map_err(|error| told(error, place))?;
    let mut progress = Progress::new("restoring", backup.header().about);
    loop {
        let pieces = backup.next(PIECES)?;
        if pieces.is_empty() {
            break;
        }
        restoring.take(pieces).await?;
        progress.is(restoring.taken());
    }
    Ok((reader, restoring.commit(backup.header()).await?))
}

/// An error that says what can be done about it.
pub(super) fn told(error: RestoreError, place: &Place) -> anyhow::Error {
    match error {
        RestoreError::NotEmpty { tables } => anyhow::anyhow!(
            "something is kept in {place} already (in {tables}), and nothing was changed; name an empty one, or put this in \
             its place with --replace"
        ),
        error => error.into(),
    }
}

/// Checks what was taken, which is there whatever comes of it.
pub(super) async fn finish(place: &Place, reader: &Reader, tally: Tally) -> Result<ExitCode> {
    let kept: u64 = reader.counts().await?.states.values().sum();
    if kept != tally.tasks {
        bail!("{} tasks were taken, but {kept} are in {place}", tally.tasks);
    }
    eprintln!("now it is checked; that can be left out, and done later with `hai-daemon db check`");
    check::looked_at(reader).await
}
