//! `hai-daemon import`: turns the set-up of another platform into ours.
//!
//! See [`main`] for the primary entry point.

mod env_file;
pub mod hai_platform;
mod hai_up;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueHint};

use crate::config::flags::ConfigFlags;
use crate::config::{Config, Environment};
pub use hai_platform::HaiPlatform;

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What can be taken over.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum ImportCommand {
    /// The environment file of HAI Platform's `hai-up.sh` (`hai-up.sh config` prints one)
    HaiUp {
        /// The file with TRAINING_NODES, USER_INFO and the like.
        #[arg(value_name = "ENVFILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Write the configuration to this file, which must not exist yet, for its owner's eyes only; else it is printed
        #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
    /// The database of HAI Platform: users, groups, quotas, and the tasks that wait
    HaiPlatform(HaiPlatform),
}

/// Runs the command.
#[must_use]
pub fn main(command: &ImportCommand, flags: &ConfigFlags, environment: &Environment) -> ExitCode {
    match command {
        ImportCommand::HaiUp { file, output } => hai_up(file, output.as_deref()),
        ImportCommand::HaiPlatform(asked) => match Config::load(flags, environment) {
            Ok(config) => hai_platform::main(asked, &config, environment),
            Err(errors) => {
                eprintln!("{errors}");
                ExitCode::from(2)
            }
        },
    }
}

fn hai_up(file: &Path, output: Option<&Path>) -> ExitCode {
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => return failed(&format!("{} can not be read: {error}", file.display())),
    };
    let config = match hai_up::convert(&text) {
        Ok(config) => config,
        Err(problems) => {
            for problem in problems {
                eprintln!("{}:{problem}", file.display());
            }
            return ExitCode::from(2);
        }
    };
    let written = match output {
        Some(output) => {
            write(output, &config).map_err(|error| format!("{} can not be written: {error}", output.display()))
        }
        None => io::stdout().lock().write_all(config.as_bytes()).map_err(|error| error.to_string()),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("hai-daemon import: {error}");
    ExitCode::FAILURE
}

fn read(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > FILE_BYTES_MAX {
        let text = format!("it has {length} bytes, at most {FILE_BYTES_MAX} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    fs::read_to_string(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
}
