//! Shell completions and man pages of both commands, made from their command lines.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

/// Writes the completions of a command for a shell.
///
/// # Errors
/// As `out` says.
pub fn completions<C: CommandFactory>(shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut command = C::command();
    let name = command.get_name().to_owned();
    // The generator panics if its writer fails, so it gets one that can not.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    out.write_all(&text)?;
    out.flush()
}

/// Writes a man page for the command and each of its subcommands into `dir`, which is created if need be.
///
/// # Errors
/// As the file system says.
pub fn man<C: CommandFactory>(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(C::command(), dir)
}
