//! The `hai` command.

fn main() -> std::process::ExitCode {
    hai_daemon::cli::main()
}
