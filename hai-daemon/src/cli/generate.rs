//! Shell completions and man pages of both commands, made from their command lines.

use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Prints the completions of a command for a shell.
///
/// # Errors
/// As standard output says.
pub fn completions(command: &mut Command, shell: Shell) -> io::Result<()> {
    let name = command.get_name().to_owned();
    // The generator panics if its writer fails, so it gets one that can not.
    let mut text = Vec::new();
    clap_complete::generate(shell, command, name, &mut text);
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}

/// Writes a man page for the command and each of its subcommands into `dir`, which is created if need be.
///
/// # Errors
/// As the file system says.
pub fn man_pages(command: &Command, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command.clone(), dir)
}
