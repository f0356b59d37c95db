//! `hai init`: keeps a daemon's address and a token once the daemon has accepted them.

use std::io::{self, BufRead, IsTerminal, Write};

use super::access::{Access, Remembered, normal, remember};
use super::args::AccessFlags;
use super::client::Client;
use super::error::CliError;
use super::output::Printer;
use crate::api::wire::User;
use crate::config::Environment;

/// Finds or asks for address and token, has the daemon check them, and keeps them.
///
/// # Errors
/// [`CliError`].
pub(super) fn run(flags: &AccessFlags, environment: &Environment, printer: &Printer) -> Result<(), CliError> {
    let known = match Access::find(flags, environment) {
        Ok(access) => Some(access),
        // A broken file is about to be replaced.
        Err(CliError::NoServer | CliError::File { .. }) => None,
        Err(error) => return Err(error),
    };
    let server = match (&flags.server, &known) {
        (Some(server), _) => normal(server)?,
        (None, Some(known)) if flags.data.is_some() || !io::stdin().is_terminal() => known.server.clone(),
        (None, known) => normal(&ask("server", known.as_ref().map(|known| known.server.as_str()))?)?,
    };
    let token = known.as_ref().filter(|known| known.server == server).and_then(|known| known.token.clone());
    let token = match flags.token.clone().or(token) {
        Some(token) => token,
        None => ask("token", None)?,
    };
    let access = Access {
        server: server.clone(),
        server_origin: "as you said".to_owned(),
        token: Some(token.clone()),
        token_origin: "as you said".to_owned(),
    };
    let answer = Client::new(access).get("/v1/me", &())?;
    let me: User = answer.parse()?;
    let path = remember(&Remembered { server: server.clone(), token }, environment)?;
    if printer.json {
        return printer.answer(&answer);
    }
    printer.line(format!("you are {} ({}) at {server}; kept in {}", me.name, me.role.word(), path.display()))
}

/// Asks on the terminal.
fn ask(what: &str, proposal: Option<&str>) -> Result<String, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("no {what} is known; name one with --{what}")));
    }
    let mut out = io::stderr().lock();
    match proposal {
        Some(proposal) => write!(out, "{what} [{proposal}]: ")?,
        None => write!(out, "{what}: ")?,
    }
    out.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match (line.trim(), proposal) {
        ("", Some(proposal)) => Ok(proposal.to_owned()),
        ("", None) => Err(CliError::Usage(format!("no {what} was given"))),
        (text, _) => Ok(text.to_owned()),
    }
}
