//! `hai-daemon agent`: tells a daemon elsewhere about the GPUs of this machine.
//!
//! See [`main`] for the primary entry point.

mod send;
mod table;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::ValueHint;

use crate::config::Environment;
use crate::gpu::health::Limits;
use crate::gpu::observer::Rules;
use crate::gpu::strangers::{LocalWorkers, STRANGER_MEMORY_MIB, Tolerance};
use crate::gpu::watching::{Options, look_once};

/// What `hai-daemon agent` is told.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// Look once, print what there is, and end; nobody is told
    #[arg(long)]
    pub once: bool,
    /// With --once: print JSON
    #[arg(long, requires = "once")]
    pub json: bool,
    /// The daemon to report to, e.g. `http://hai:8420`; else HAI_SERVER
    #[arg(long, value_name = "URL", conflicts_with = "once")]
    pub server: Option<String>,
    /// A file with the agent's token, read again for each report; else HAI_AGENT_TOKEN
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "once")]
    pub token_file: Option<PathBuf>,
    /// What the daemon calls this machine; else HAI_NODE_NAME, else the machine's own name
    #[arg(long, value_name = "NAME", conflicts_with = "once")]
    pub node: Option<String>,
    /// Look this often; errors are noticed at once, and changes told at once
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = every)]
    pub every: Duration,
    /// Load this library in place of the system's libnvidia-ml.so.1
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub nvml: Option<PathBuf>,
    /// Let this program use a device beside hai's work, e.g. `Xorg`; its name as `ps -o comm` shows it; may be repeated
    #[arg(long = "allow", value_name = "PROGRAM")]
    pub allow: Vec<String>,
    /// Overlook strangers that hold less device memory than this together, in MiB
    #[arg(long, value_name = "MIB", default_value_t = STRANGER_MEMORY_MIB)]
    pub stranger_memory: u64,
}

impl AgentArgs {
    fn tolerance(&self) -> Tolerance {
        Tolerance { programs: self.allow.iter().cloned().collect(), memory_mib: self.stranger_memory }
    }

    fn nvml(&self) -> Option<OsString> {
        self.nvml.as_ref().map(|path| path.clone().into_os_string())
    }
}

fn every(text: &str) -> Result<Duration, String> {
    let span: hai_core::model::Span = text.parse().map_err(|error| format!("{error}"))?;
    let time = Duration::from_millis(span.as_ms());
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(600));
    if time < least || time > most {
        return Err("must be from 100ms to 10m".to_owned());
    }
    Ok(time)
}

/// Runs the command.
#[must_use]
pub fn main(args: &AgentArgs, environment: &Environment) -> ExitCode {
    if args.once {
        return once(args);
    }
    match send::run(args, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hai-daemon agent: {error}");
            ExitCode::from(2)
        }
    }
}

fn once(args: &AgentArgs) -> ExitCode {
    let owners = Arc::new(LocalWorkers::of_any());
    let rules = Rules { limits: Limits::default(), tolerance: args.tolerance(), owners };
    let report = match look_once(&Options { nvml: args.nvml(), every: args.every, rules }) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("hai-daemon agent: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if args.json { serde_json::to_string_pretty(&report).unwrap_or_default() } else { table::text(&report) };
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
