//! The daemon's program: for now only the part of it that watches over one worker.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [word, dir] if word == "shim" => hai_daemon::cluster::local::shim::main(Path::new(dir)),
        _ => ExitCode::FAILURE,
    }
}
