//! Where a store is: in a file or on a server, and who uses it there.

use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::config::{Config, DatabaseUrl, Environment, Raw, Setting as _};
use crate::data_dir::DirLock;
use crate::store::moving::Found;
use crate::store::{AnyStore, PostgresStore, SqliteStore};

/// The file in a data directory.
const FILE: &str = "hai.sqlite";

/// Where a store is. Shown without a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Server(DatabaseUrl),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Server(url) => write!(f, "{url}"),
        }
    }
}

impl Place {
    /// The one that the configuration names.
    pub(crate) fn of(config: &Config, environment: &Environment) -> Result<Self> {
        if let Some(url) = &config.data.database {
            return Ok(Place::Server(url.clone()));
        }
        let dir = environment.expand(&config.data.dir).map_err(anyhow::Error::msg)?;
        Ok(Place::File(dir.join(FILE)))
    }

    /// The URL of a server, a file, or the data directory that it lies in.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.contains("://") {
            let url = DatabaseUrl::read(Raw::Text(text)).map_err(anyhow::Error::msg)?;
            return Ok(Place::Server(url));
        }
        let path = Path::new(text);
        Ok(Place::File(if path.is_dir() { path.join(FILE) } else { path.to_owned() }))
    }

    /// Opens what must be there.
    pub(crate) async fn open_there(&self) -> Result<AnyStore> {
        if let Place::File(path) = self
            && !path.exists()
        {
            bail!("there is no {}; name the directory with --data", path.display());
        }
        self.opened().await
    }

    /// Opens what may have to be made first.
    pub(crate) async fn opened(&self) -> Result<AnyStore> {
        Ok(match self {
            Place::File(path) => SqliteStore::open(path).await?.into(),
            Place::Server(url) => PostgresStore::open(url.secret()).await?.into(),
        })
    }

    /// What is there, which is left as it is; `None` if there is no such file.
    pub(crate) async fn look(&self) -> Result<Option<Found>> {
        Ok(match self {
            Place::File(path) if !path.exists() => None,
            Place::File(path) => Some(SqliteStore::look(path).await?),
            Place::Server(url) => Some(PostgresStore::look(url.secret()).await?),
        })
    }

    /// Keeps daemons out of a file's directory as long as what is returned lives, and refuses a database in which one leads.
    /// One that begins to lead later is fenced out by what is committed here.
    pub(crate) async fn hold(&self) -> Result<Option<DirLock>> {
        match self {
            Place::File(path) => {
                // Daemons use no file of another name.
                let dir = path.parent().filter(|_| path.file_name().is_some_and(|name| name == FILE));
                let Some(dir) = dir.filter(|dir| dir.join("lock").exists()) else { return Ok(None) };
                DirLock::take(dir, false).map(Some)
            }
            Place::Server(_) => {
                let found = self.look().await?.unwrap_or_default();
                if let Some(leader) = found.leader {
                    bail!(
                        "a daemon leads in {self}, at {leader}; stop it and those that stand by, then try again (after a \
                         kill wait for 6 s)"
                    );
                }
                Ok(None)
            }
        }
    }

    /// The same for a place that is to be written to, whose directory is made if there is none.
    pub(crate) async fn hold_to_write(&self) -> Result<Option<DirLock>> {
        if let Place::File(path) = self
            && path.file_name().is_some_and(|name| name == FILE)
            && let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty())
        {
            // One that is there may be anybody's: it is left as it is.
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(dir);
            made.with_context(|| format!("the directory {} can not be made", dir.display()))?;
            return DirLock::take(dir, false).map(Some).with_context(|| format!("{self} can not be written to"));
        }
        self.hold().await
    }
}
