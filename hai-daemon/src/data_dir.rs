//! The daemon's directory: made for its user alone, locked while it is used, with the operator's token and the address in it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::FlockOperation;

use crate::store::Token;

/// How long another daemon may take to let go of the data directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Makes the directory for this user alone. True if it was not there.
pub(crate) fn make_private_dir(dir: &Path) -> Result<bool> {
    let missing = !dir.join("token").exists();
    let unusable = |what: &str| {
        let user = rustix::process::geteuid().as_raw();
        format!(
            "the data directory {} can not be {what}; let user {user} write there (on NFS, root_squash makes root somebody else), \
             or name another with --data",
            dir.display()
        )
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| unusable("made"))?;
    // Everybody's output and environments lie below; one that was there before may be open to others.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).with_context(|| unusable("closed to others"))?;
    Ok(missing)
}

/// Held as long as a daemon uses a data directory.
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Those who share a directory all hold the lock, and keep out whoever would have it alone.
    pub(crate) fn take(dir: &Path, shared: bool) -> Result<Self> {
        let operation =
            if shared { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
        let path = dir.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.with_context(|| format!("{} can not be opened", path.display()))?;
        let patience = Instant::now() + LOCK_PATIENCE;
        while let Err(error) = rustix::fs::flock(&file, operation) {
            if error != rustix::io::Errno::WOULDBLOCK {
                bail!("{} can not be locked: {error}", path.display());
            }
            // A daemon that was killed while it began a worker may have left a child that is about to let go.
            if Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let mut holder = String::new();
            // Who holds it is only told; not knowing does no harm.
            let _ = file.read_to_string(&mut holder);
            bail!(
                "another hai-daemon (process {}) uses {}; stop it, or give this one its own --data",
                holder.trim(),
                dir.display()
            );
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .context("the lock can not be written")?;
        Ok(DirLock { _file: file })
    }
}

/// Keeps the operator's token, for nobody but this user.
pub(crate) fn write_token(dir: &Path, token: &Token) -> Result<()> {
    let (path, fresh) = (dir.join("token"), dir.join("token.new"));
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    open.and_then(|mut file| writeln!(file, "{}", token.as_str()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("the operator's token can not be written to {}", path.display()))
}

/// Tells the `hai` command of this machine where the daemon listens.
pub(crate) fn write_address(dir: &Path, address: SocketAddr) -> Result<()> {
    let (path, fresh) = (dir.join("address"), dir.join("address.new"));
    fs::write(&fresh, format!("{address}\n"))
        .and_then(|()| fs::rename(&fresh, &path))
        .with_context(|| format!("the address can not be written to {}", path.display()))
}
