//! `hai-daemon db copy`: from one database to another, of whichever kinds.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::progress::Progress;
use super::restore::{finish, told};
use super::{Place, check};
use crate::store::{AnyStore, Reader};

pub(super) async fn copy(from: &Place, to: &Place, replace: bool, dry_run: bool) -> Result<ExitCode> {
    if from == to {
        bail!("{from} is where it is already; name two different places");
    }
    let _source_lock = from.hold().await?;
    let store = from.open_there().await?;
    if dry_run {
        return looked(from, &store, to, replace).await;
    }
    let _lock = to.hold_to_write().await?;
    let target = to.opened().await?;
    let reader = target.reader();
    let mut restoring = target.restore(replace).await.map_err(|error| told(error, to))?;
    let mut frozen = store.freeze().await?;
    let mut progress = Progress::new("copying", frozen.header().about);
    loop {
        let pieces = frozen.next().await?;
        if pieces.is_empty() {
            break;
        }
        restoring.take(pieces).await?;
        progress.is(restoring.taken());
    }
    drop(progress);
    let header = frozen.header().clone();
    drop(frozen);
    unmoved(from, &store, header.fence, header.about.records).await?;
    let tally = restoring.commit(&header).await?;
    println!("copied {tally} from {from} to {to}");
    println!("{from} is as it was; let no daemon use it any more, or the two go different ways");
    finish(to, &reader, tally).await
}

/// A daemon that began to lead meanwhile wrote, or will: what was copied is not what it goes on from.
async fn unmoved(from: &Place, store: &AnyStore, fence: u64, records: u64) -> Result<()> {
    let now = store.freeze().await?;
    if (now.header().fence, now.header().about.records) != (fence, records) {
        bail!("a daemon used {from} meanwhile, so nothing was copied; stop it and try again");
    }
    Ok(())
}

/// Says what would be done, after reading all that would be copied.
async fn looked(from: &Place, store: &AnyStore, to: &Place, replace: bool) -> Result<ExitCode> {
    let mut frozen = store.freeze().await?;
    let mut progress = Progress::new("reading", frozen.header().about);
    while !frozen.next().await?.is_empty() {
        progress.is(frozen.given());
    }
    drop(progress);
    let tally = frozen.given();
    drop(frozen);
    let reader: Reader = store.reader();
    let sound = check::looked_at(&reader).await?;
    match to.look().await? {
        Some(found) if found.leader.is_some() => {
            bail!("a daemon leads in {to}, at {}; it would have to be stopped", found.leader.unwrap_or_default());
        }
        Some(found) if !found.filled.is_empty() && !replace => {
            bail!(
                "something is kept in {to} already (in {}); name an empty one, or put this in its place with --replace",
                found.filled.join(", ")
            );
        }
        Some(found) if !found.filled.is_empty() => println!("would remove what is in {to}"),
        Some(_) => println!("{to} can be reached, and is empty"),
        None => println!("would make {to}"),
    }
    println!("would copy {tally} from {from} to {to}; nothing was changed");
    Ok(sound)
}
