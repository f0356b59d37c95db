//! Where the daemon is and which token it takes: flags, variables, `cli.toml`, then a daemon's data directory.
//!
//! A token is only ever sent to the server that it was kept for, or that was named together with it.

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::args::AccessFlags;
use super::error::CliError;
use crate::config::Environment;

/// The file of a data directory in which a daemon leaves its address.
pub const ADDRESS_FILE: &str = "address";
/// The file of a data directory in which a daemon leaves its operator's token.
pub const TOKEN_FILE: &str = "token";

/// Whom to speak to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The server, `http://host:port` without a slash at the end.
    pub server: String,
    /// Where that came from, for messages.
    pub server_origin: String,
    /// The token, if one is known.
    pub token: Option<String>,
    /// Where that came from, for messages.
    pub token_origin: String,
}

/// `cli.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// The server.
    pub server: String,
    /// The token for it.
    pub token: String,
}

impl Access {
    /// Finds the first server that is named anywhere, and the first token that is meant for it.
    ///
    /// # Errors
    /// [`CliError::NoServer`], [`CliError::Usage`] for an address that can not be one, or [`CliError::File`] for a
    /// `cli.toml` that can not be read.
    pub fn find(flags: &AccessFlags, environment: &Environment) -> Result<Access, CliError> {
        let var =
            |name: &str| environment.vars.get(name).and_then(|value| value.to_str()).filter(|text| !text.is_empty());
        let remembered = remembered(environment)?;
        let mut kept = Vec::new();
        if let Some((path, file)) = remembered {
            kept.push((normal(&file.server)?, Some(file.token), format!("from {}", path.display())));
        }
        let local = local(flags, environment);
        // A directory that is named goes before what is remembered.
        if flags.data.is_some() {
            kept.splice(0..0, local)
        } else {
            kept.splice(kept.len().., local)
        };

        let named = match (&flags.server, var("HAI_SERVER")) {
            (Some(server), _) => Some((normal(server)?, "from --server".to_owned())),
            (None, Some(server)) if flags.data.is_none() => Some((normal(server)?, "from HAI_SERVER".to_owned())),
            _ => None,
        };
        let (server, server_origin) = named
            .or_else(|| kept.first().map(|(server, _, origin)| (server.clone(), origin.clone())))
            .ok_or_else(|| missing(flags))?;
        let token = match (&flags.token, var("HAI_TOKEN")) {
            (Some(token), _) => Some((token.clone(), "from --token".to_owned())),
            (None, Some(token)) if flags.data.is_none() => Some((token.to_owned(), "from HAI_TOKEN".to_owned())),
            _ => kept.into_iter().find_map(|(of, token, origin)| Some((token.filter(|_| of == server)?, origin))),
        };
        let (token, token_origin) = token.map_or((None, String::new()), |(token, origin)| (Some(token), origin));
        Ok(Access { server, server_origin, token, token_origin })
    }

    /// Whether the server is this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let Some(host) = self.server.split_once("://").map(|(_, rest)| rest) else { return false };
        let host = host.split('/').next().unwrap_or(host);
        match host.parse::<SocketAddr>() {
            Ok(address) => address.ip().is_loopback(),
            Err(_) => host.rsplit_once(':').map_or(host, |(host, _)| host) == "localhost",
        }
    }
}

fn missing(flags: &AccessFlags) -> CliError {
    match &flags.data {
        Some(dir) => CliError::Usage(format!(
            "there is no daemon's address in {}; start a daemon with `hai-daemon --data {}`",
            dir.display(),
            dir.display()
        )),
        None => CliError::NoServer,
    }
}

/// The address as it is compared and used.
pub(crate) fn normal(server: &str) -> Result<String, CliError> {
    let server = server.trim();
    let full = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let wrong = || CliError::Usage(format!("`{server}` is not a server's address; write e.g. http://lab-1:8420"));
    let uri: ureq::http::Uri = full.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(full.trim_end_matches('/').to_owned()),
        _ => Err(wrong()),
    }
}

/// Where `cli.toml` is, if there is a home directory.
pub(crate) fn remembered_path(environment: &Environment) -> Option<PathBuf> {
    let path = |name: &str| environment.vars.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")))?;
    Some(base.join("hai/cli.toml"))
}

fn remembered(environment: &Environment) -> Result<Option<(PathBuf, Remembered)>, CliError> {
    let Some(path) = remembered_path(environment) else { return Ok(None) };
    let failed = |source| CliError::File { what: path.display().to_string(), source };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // The error's own text would print the line, which may hold the token.
    let file = toml::from_str(&text).map_err(|error: toml::de::Error| {
        failed(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}; write it anew with `hai init`", error.message()),
        ))
    })?;
    Ok(Some((path, file)))
}

/// Keeps `remembered` for the next commands; only the user can read it. Returns where.
///
/// # Errors
/// [`CliError::File`].
pub fn remember(remembered: &Remembered, environment: &Environment) -> Result<PathBuf, CliError> {
    let path = remembered_path(environment)
        .ok_or_else(|| CliError::Usage("HOME is not set, so it is not known where to keep them".to_owned()))?;
    let failed = |source| CliError::File { what: path.display().to_string(), source };
    let text = toml::to_string(remembered).map_err(|error| failed(io::Error::other(error)))?;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    write_private(&path, &text).map_err(failed)?;
    Ok(path)
}

/// Address and token of daemons on this machine, the first first.
fn local(flags: &AccessFlags, environment: &Environment) -> Vec<(String, Option<String>, String)> {
    let dirs = match (&flags.data, environment.vars.get("HAI_DATA_DIR").filter(|dir| !dir.is_empty())) {
        (Some(dir), _) => vec![dir.clone()],
        (None, Some(dir)) => vec![PathBuf::from(dir)],
        (None, None) => usual_data_dirs(environment),
    };
    let read = |dir: &Path, file: &str| {
        fs::read_to_string(dir.join(file)).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    dirs.iter()
        .filter_map(|dir| environment.expand(dir).ok())
        .filter_map(|dir| {
            let address = read(&dir, ADDRESS_FILE)?;
            let server = address.parse().map_or_else(|_| normal(&address).ok(), |listen| Some(local_url(listen)))?;
            Some((server, read(&dir, TOKEN_FILE), format!("from {}", dir.display())))
        })
        .collect()
}

/// Where a daemon of this user, or of root, keeps its data unless told otherwise.
#[must_use]
pub fn usual_data_dirs(environment: &Environment) -> Vec<PathBuf> {
    let own = environment.expand(&environment.data_dir()).ok();
    let system = PathBuf::from("/var/lib/hai");
    own.into_iter().filter(|dir| *dir != system).chain([system.clone()]).collect()
}

/// How programs on this machine reach a daemon that listens at `listen`.
#[must_use]
pub fn local_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// Writes a file that others can not read, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(new);
    // One that a crash left behind may have other rights.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(home: &Path, vars: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::default();
        environment.vars.insert("HOME".to_owned(), home.into());
        for (name, value) in vars {
            environment.vars.insert((*name).to_owned(), value.into());
        }
        environment
    }

    #[test]
    fn a_token_goes_only_to_the_server_it_was_kept_for() {
        let home = tempfile::tempdir().expect("a directory");
        let plain = environment(home.path(), &[]);
        let lab = Remembered { server: "http://lab:1".to_owned(), token: "lab token".to_owned() };
        remember(&lab, &plain).expect("it is kept");
        let data = home.path().join(".local/share/hai");
        fs::create_dir_all(&data).expect("it is created");
        fs::write(data.join(ADDRESS_FILE), "0.0.0.0:8420\n").expect("it is written");
        fs::write(data.join(TOKEN_FILE), "own token\n").expect("it is written");

        let none = AccessFlags::default();
        let found = |flags: &AccessFlags, environment: &Environment| {
            let access = Access::find(flags, environment).expect("a server is known");
            (access.server, access.token.unwrap_or_default())
        };
        let pair = |server: &str, token: &str| (server.to_owned(), token.to_owned());
        assert_eq!(found(&none, &plain), pair("http://lab:1", "lab token"));
        let elsewhere = AccessFlags { server: Some("elsewhere:2/".to_owned()), ..AccessFlags::default() };
        assert_eq!(found(&elsewhere, &plain), pair("http://elsewhere:2", ""));
        let own = AccessFlags { server: Some("127.0.0.1:8420".to_owned()), ..AccessFlags::default() };
        assert_eq!(found(&own, &plain), pair("http://127.0.0.1:8420", "own token"));
        let named = AccessFlags { data: Some(data), ..AccessFlags::default() };
        let vars = environment(home.path(), &[("HAI_SERVER", "http://x:3"), ("HAI_TOKEN", "x")]);
        assert_eq!(found(&none, &vars), pair("http://x:3", "x"));
        assert_eq!(found(&named, &vars), pair("http://127.0.0.1:8420", "own token"));
        assert_eq!(found(&elsewhere, &vars), pair("http://elsewhere:2", "x"));
    }

    #[test]
    fn without_anything_there_is_no_server() {
        let home = tempfile::tempdir().expect("a directory");
        let empty = home.path().display().to_string();
        let environment = environment(home.path(), &[("HAI_DATA_DIR", &empty)]);
        assert!(matches!(Access::find(&AccessFlags::default(), &environment), Err(CliError::NoServer)));
    }

    #[test]
    fn a_broken_file_is_told_without_its_token() {
        let home = tempfile::tempdir().expect("a directory");
        let environment = environment(home.path(), &[]);
        let path = remembered_path(&environment).expect("there is a home");
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is created");
        fs::write(&path, "server = \"http://a:1\"\ntoken = \"secret\" \"secret\"\n").expect("it is written");
        let error = Access::find(&AccessFlags::default(), &environment).expect_err("it is broken").to_string();
        assert!(error.contains("cli.toml") && error.contains("hai init") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn addresses_are_checked_and_completed() {
        assert_eq!(normal("lab:1").expect("an address"), "http://lab:1");
        assert_eq!(normal(" https://lab/ ").expect("an address"), "https://lab");
        for bad in ["", "http://", "ftp://lab", "a b", "http:///x"] {
            assert!(normal(bad).is_err(), "{bad}");
        }
        assert_eq!(local_url("[::]:8420".parse().expect("an address")), "http://[::1]:8420");
        let access = |server: &str| Access {
            server: server.to_owned(),
            server_origin: String::new(),
            token: None,
            token_origin: String::new(),
        };
        for (server, local) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://lab:1", false),
        ] {
            assert_eq!(access(server).is_loopback(), local, "{server}");
        }
    }
}
