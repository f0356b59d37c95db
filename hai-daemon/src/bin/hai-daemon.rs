//! The `hai-daemon` program: reads the command line, and runs what it asks for.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use hai_daemon::agent;
use hai_daemon::cli::generate;
use hai_daemon::cluster::local::shim;
use hai_daemon::config::flags::{ConfigCommand, DaemonArgs, DaemonCommand};
use hai_daemon::config::{Config, ConfigErrors, EXAMPLE, Environment, LogFormat};
use hai_daemon::daemon;
use hai_daemon::db;
use hai_daemon::import;
use hai_daemon::setup::{self, args::Command};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = DaemonArgs::parse();
    let environment = Environment::of_process();
    match args.command.unwrap_or(DaemonCommand::Serve) {
        DaemonCommand::Agent(agent) => {
            if !agent.once {
                let level = args.config.log_level.as_deref().unwrap_or("info");
                log_to_stderr(level, LogFormat::Text);
            }
            agent::main(&agent, &environment)
        }
        DaemonCommand::Db { command } => match Config::load(&args.config, &environment) {
            Ok(config) => {
                log_to_stderr("warn", config.log.format);
                db::main(&command, &config, &environment)
            }
            Err(errors) => refused(&errors),
        },
        DaemonCommand::Import { command } => import::main(&command, &args.config, &environment),
        DaemonCommand::Shim { dir } => shim::main(&dir),
        DaemonCommand::Completions { shell } => {
            done(generate::completions::<DaemonArgs>(shell, &mut std::io::stdout().lock()))
        }
        DaemonCommand::Man { dir } => done(generate::man::<DaemonArgs>(&dir)),
        DaemonCommand::Config { command: ConfigCommand::Example } => {
            print!("{EXAMPLE}");
            ExitCode::SUCCESS
        }
        DaemonCommand::Config { command } => match Config::load(&args.config, &environment) {
            Ok(config) => {
                match command {
                    ConfigCommand::Show => print!("{}", config.show()),
                    _ => eprintln!("the configuration is good"),
                }
                ExitCode::SUCCESS
            }
            Err(errors) => refused(&errors),
        },
        DaemonCommand::Serve => match Config::load(&args.config, &environment) {
            Ok(config) => serve(&config, &environment),
            Err(errors) => refused(&errors),
        },
        DaemonCommand::Manifests(plan) => setup::main(&Command::Manifests(plan), &args.config, &environment),
        DaemonCommand::Up(up) => setup::main(&Command::Up(up), &args.config, &environment),
        DaemonCommand::Down(down) => setup::main(&Command::Down(down), &args.config, &environment),
        DaemonCommand::Doctor(doctor) => setup::main(&Command::Doctor(doctor), &args.config, &environment),
        DaemonCommand::Probe(probe) => setup::main(&Command::Probe(probe), &args.config, &environment),
        _ => ExitCode::from(2),
    }
}

fn refused(errors: &ConfigErrors) -> ExitCode {
    eprintln!("{errors}");
    ExitCode::from(2)
}

fn done(result: std::io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hai-daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(level: &str, format: LogFormat) {
    let filter = EnvFilter::new(format!("warn,hai_core={level},hai_daemon={level}"));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    let log = log.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
}

fn serve(config: &Config, environment: &Environment) -> ExitCode {
    log_to_stderr(config.log.level.word(), config.log.format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hai-daemon: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(daemon::serve(config, environment)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hai-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}
