//! Bodies of the fuzz targets. Each takes any bytes and panics where something that must hold does not.
//!
//! They are plain functions so that a test replays the committed corpus with them on every toolchain; see
//! `CONTRIBUTING.md` for how to fuzz with them.
#![forbid(unsafe_code)]

#[cfg(feature = "daemon")]
mod daemon;
mod engine;
mod log;
mod text;
mod traces;
#[cfg(feature = "daemon")]
mod upstream;
mod wire;

use std::path::Path;
use std::process::ExitCode;

#[cfg(feature = "daemon")]
pub use daemon::{config_toml, submit_json};
pub use engine::engine_ops;
pub use log::log_lines;
pub use text::names_and_spans;
pub use traces::traces;
#[cfg(feature = "daemon")]
pub use upstream::upstream_rows;
pub use wire::wire_json;

/// The body of a fuzz target.
pub type Target = fn(&[u8]);

/// Replays the files, and the files of the directories, that are named as arguments: the `main` of a target that is
/// built without a fuzzer.
#[must_use]
pub fn replay_arguments(target: Target) -> ExitCode {
    let mut count = 0;
    for path in std::env::args_os().skip(1) {
        match replay(target, Path::new(&path)) {
            Ok(replayed) => count += replayed,
            Err(error) => {
                eprintln!("{}: {error}", Path::new(&path).display());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("replayed {count} inputs");
    ExitCode::SUCCESS
}

/// Replays a file, or every file of a directory in the order of their names, and returns how many there were.
///
/// # Errors
/// What the file system says.
///
/// # Panics
/// If an input breaks what must hold; its path is printed before.
pub fn replay(target: Target, path: &Path) -> std::io::Result<usize> {
    if !path.is_dir() {
        let bytes = std::fs::read(path)?;
        eprintln!("{}", path.display());
        target(&bytes);
        return Ok(1);
    }
    let mut files: Vec<_> = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    files.iter().try_fold(0, |count, file| Ok(count + replay(target, file)?))
}
