//! `hai-daemon db backup`: all that is stored in one file, beside a daemon that goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::Place;
use super::progress::Progress;
use crate::store::Frozen;
use crate::store::moving::{BackupWriter, Tally};

/// Writes to `file`, which must not exist yet; `-` is standard output.
pub(super) async fn backup(place: &Place, file: &Path) -> Result<ExitCode> {
    if file == Path::new("-") {
        let store = place.open_there().await?;
        let (_, tally) = write(store.freeze().await?, io::stdout().lock()).await?;
        eprintln!("backed up {tally}");
        return Ok(ExitCode::SUCCESS);
    }
    if file.exists() {
        bail!("there is a file {} already; name another one", file.display());
    }
    let store = place.open_there().await?;
    let partial = partial(file)?;
    let can_not = || format!("the backup can not be written to {}", file.display());
    // One that a kill left is of no use; and it may be somebody else's, who would read what comes now.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(can_not),
        _ => {}
    }
    // Everybody's programs are in it, with whatever their environments hold.
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let out = open.with_context(can_not)?;
    let done = async {
        let (out, tally) = write(store.freeze().await?, BufWriter::new(out)).await?;
        let out = out.into_inner().map_err(io::IntoInnerError::into_error).with_context(can_not)?;
        out.sync_all().and_then(|()| place_file(&partial, file)).with_context(can_not)?;
        Ok::<_, anyhow::Error>(tally)
    }
    .await;
    match done {
        Ok(tally) => {
            println!("backed up {tally} of {place} to {}", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // What is left of it is of no use; that it can not be removed is no news beside why it is there.
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

/// The name under which it is written until it is whole.
fn partial(file: &Path) -> Result<PathBuf> {
    let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
    let mut partial = name.to_os_string();
    partial.push(".part");
    Ok(file.with_file_name(partial))
}

/// Never over a file that somebody made meanwhile.
fn place_file(partial: &Path, file: &Path) -> io::Result<()> {
    match fs::hard_link(partial, file) {
        Ok(()) => fs::remove_file(partial)?,
        // Not every file system has links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !file.exists() => fs::rename(partial, file)?,
        Err(error) => return Err(error),
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

async fn write<W: Write>(mut frozen: Frozen, out: W) -> Result<(W, Tally)> {
    let mut progress = Progress::new("backing up", frozen.header().about);
    let mut backup = BackupWriter::new(out, frozen.header()).context("the backup can not be written")?;
    loop {
        let pieces = frozen.next().await?;
        if pieces.is_empty() {
            break;
        }
        for piece in &pieces {
            backup.piece(piece).context("the backup can not be written")?;
        }
        progress.is(frozen.given());
    }
    backup.finish().context("the backup can not be written")
}
