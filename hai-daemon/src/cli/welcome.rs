//! What the daemon prints when it has started: where it is, where the data lies, and how to submit a first task.

use std::net::SocketAddr;
use std::path::Path;

use super::access::{local_url, usual_data_dirs};
use crate::config::Environment;

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub struct Started<'a> {
    /// Where the daemon listens, with the real port.
    pub listen: SocketAddr,
    /// Where its data lies.
    pub data_dir: &'a Path,
    /// The data directory was empty.
    pub first: bool,
    /// Nodes it has.
    pub nodes: usize,
    /// Devices on them.
    pub devices: usize,
}

/// The text for standard error, of a few lines; `environment` is that of the daemon.
#[must_use]
pub fn welcome(started: &Started<'_>, environment: &Environment) -> String {
    let Started { listen, data_dir, first, nodes, devices } = *started;
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let url = local_url(listen);
    let dir = data_dir.display();
    let machine = format!("{}, {}", many(nodes, "node"), many(devices, "device"));
    if !first {
        return format!("hai listens on {url}; data in {dir}; {machine}\n");
    }
    // Where `hai` looks by itself, nothing needs to be named.
    let found = usual_data_dirs(environment).first().is_some_and(|usual| usual == data_dir);
    let flag = if found { String::new() } else { format!(" --data {}", quoted(&dir.to_string())) };
    let need = if devices == 0 { " -d 0" } else { "" };
    format!(
        "hai is ready: {machine}\n  \
           address  {url}\n  \
           page     {url}/studio/ (sign in with the token)\n  \
           data     {dir}\n  \
           token    {dir}/token (yours; make others with `hai{flag} users add NAME`)\n\n\
         Submit a first task from another terminal:\n\n  \
           hai{flag} submit{need} --follow -- echo hello\n\n"
    )
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_names_the_command_that_works() {
        let mut environment = Environment::default();
        environment.vars.insert("HOME".to_owned(), "/home/ada".into());
        let listen = "0.0.0.0:8420".parse().expect("an address");
        let usual = Path::new("/home/ada/.local/share/hai");
        let started = Started { listen, data_dir: usual, first: true, nodes: 1, devices: 4 };
        let text = welcome(&started, &environment);
        for part in [
            "http://127.0.0.1:8420\n",
            "http://127.0.0.1:8420/studio/ ",
            "/home/ada/.local/share/hai/token",
            "  hai submit --follow -- echo hello\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let elsewhere = Started { data_dir: Path::new("/my data"), devices: 0, ..started };
        assert!(
            welcome(&elsewhere, &environment).contains("hai --data '/my data' submit -d 0 --follow -- echo hello\n")
        );
        let again = Started { first: false, ..started };
        assert_eq!(welcome(&again, &environment).lines().count(), 1);
    }
}
