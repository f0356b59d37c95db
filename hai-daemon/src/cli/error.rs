//! Why `hai` could not do what it was asked, and what to do about it.

use std::process::ExitCode;

use crate::api::wire::Problem;

/// Why it did not work. The message ends with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// What was typed can not be right.
    #[error("{0}")]
    Usage(String),
    /// It is not known where a daemon is.
    #[error(
        "no server is known; start one on this machine with `hai-daemon`, or name one with --server, HAI_SERVER or \
         `hai init`"
    )]
    NoServer,
    /// There is a server, but no token for it.
    #[error(
        "no token for {server} is known; give one with HAI_TOKEN or `hai init` (an operator makes them with `hai \
         users add NAME`), or read the daemon's own if you may: it is in the file `token` of its data directory"
    )]
    NoToken {
        /// The server.
        server: String,
    },
    /// Nobody answers.
    #[error(
        "no hai daemon answers at {server} ({origin}): {reason}; start it with `hai-daemon`, or name another with --server"
    )]
    Unreachable {
        /// The server.
        server: String,
        /// Where that address came from.
        origin: String,
        /// What the system said.
        reason: String,
    },
    /// Something answers, but not as a hai daemon does.
    #[error("what answers at {server} ({origin}) is not a hai daemon of this version: {reason}")]
    NotHai {
        /// The server.
        server: String,
        /// Where that address came from.
        origin: String,
        /// What was strange.
        reason: String,
    },
    /// The server does not know the token.
    #[error(
        "{server} does not accept the token ({origin}); ask an operator for a new one (`hai users token NAME`) and \
         keep it with `hai init`"
    )]
    Unauthorized {
        /// The server.
        server: String,
        /// Where the token came from.
        origin: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    File {
        /// Which, and what for.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is in a file can not be used.
    #[error("{file}: {problem}")]
    BadFile {
        /// The file.
        file: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// Nobody reads what is printed any more, or it can not be written.
    #[error("the output can not be written: {0}")]
    Output(#[from] std::io::Error),
    /// For several tasks, some could not be done; each was told by itself.
    #[error("{failed} of {all} could not be done")]
    Some {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
}

impl CliError {
    /// The exit status of a command that ended so.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether trying again in a moment may help: the daemon may be restarting.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            CliError::Unreachable { .. } => true,
            CliError::Refused(problem) => problem.status == 503,
            _ => false,
        }
    }

    /// Whether the output's reader went away, which is no failure of ours.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}
