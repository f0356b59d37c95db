//! What `hai-daemon manifests`, `up`, `down`, `doctor` and `probe` are told, and what they exit with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};

use super::connect::Trouble;
use super::doctor::{Known, Verdict};
use super::up::Manner;
use super::{Data, Database, Ingress, Plan, PlanError, ServiceKind, doctor, objects, probe, up};
use crate::api::wire::{Node, NodeList};
use crate::config::flags::ConfigFlags;
use crate::config::{Config, Environment};

/// What is to be set up, beyond what the configuration says.
#[derive(Clone, Debug, Default, Args)]
pub struct PlanArgs {
    /// The image with hai-daemon in it
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// A setting above what the configuration says; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// How people outside of the cluster reach the daemon
    #[arg(long, value_enum, default_value_t)]
    pub service: ServiceKind,
    /// The port of every node, 30000 to 32767; left out, any that is free
    #[arg(long, value_name = "PORT")]
    pub node_port: Option<i32>,
    /// A DNS name by which an ingress leads to the daemon
    #[arg(long, value_name = "HOST")]
    pub ingress_host: Option<String>,
    /// The class of that ingress; left out, the cluster's usual one
    #[arg(long, value_name = "CLASS", requires = "ingress_host")]
    pub ingress_class: Option<String>,
    /// The secret with that ingress's certificate; left out, plain HTTP
    #[arg(long, value_name = "SECRET", requires = "ingress_host")]
    pub ingress_tls: Option<String>,
    /// Claim so much for the data
    #[arg(long, value_name = "SIZE", default_value = "10Gi")]
    pub data_size: String,
    /// Of this storage class; left out, the cluster's usual one
    #[arg(long, value_name = "CLASS", conflicts_with = "data_path")]
    pub storage_class: Option<String>,
    /// Keep the data in this directory of a node in place of a claim
    #[arg(long, value_name = "DIR")]
    pub data_path: Option<String>,
    /// That node, by its hostname label; left out where the directory is the same on all nodes, and the database is elsewhere
    #[arg(long, value_name = "NODE", requires = "data_path")]
    pub data_node: Option<String>,
    /// How many daemons; more than one needs a database that they share. Their data are then shared too (--data-path, or
    /// --storage-class of a file system that many nodes may write), or go with the pod of each
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub replicas: i32,
    /// The secret hai-database, which you made, says where the database is: its key `url` is a postgres:// URL
    #[arg(long)]
    pub database_secret: bool,
}

/// What `hai-daemon up` is told.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// What is to be there.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Ask the API server what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take over fields that somebody else has set
    #[arg(long)]
    pub force: bool,
    /// Give up when it does not work after so long
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    pub timeout: Duration,
}

/// What `hai-daemon down` is told.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    /// What is there.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Say what would be taken away, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take the data away too, and the namespace with all that is in it
    #[arg(long)]
    pub delete_data: bool,
}

/// What `hai-daemon doctor` is told.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// What is to be there.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Do not start pods that try the mounts
    #[arg(long)]
    pub no_pods: bool,
    /// Ask this daemon what its agents see, e.g. `http://10.0.0.2:31000`; its token is HAI_TOKEN
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// How long such a pod may take
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span)]
    pub mount_timeout: Duration,
}

/// What `hai-daemon probe` is told.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// Directories that must be writable
    pub writable: Vec<PathBuf>,
    /// Directories that must be readable
    #[arg(long = "read-only", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub read_only: Vec<PathBuf>,
}

/// One of them.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print everything.
    Manifests(PlanArgs),
    /// Put it there.
    Up(UpArgs),
    /// Take it away.
    Down(DownArgs),
    /// Look what is wrong.
    Doctor(DoctorArgs),
    /// Try directories.
    Probe(ProbeArgs),
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as section.key=value")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse::<hai_core::model::Span>().map(hai_core::model::Span::to_std).map_err(|error| error.to_string())
}

impl PlanArgs {
    /// The plan by these arguments and the configuration that `flags` name.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn plan(&self, flags: &ConfigFlags, environment: &Environment) -> Result<Plan, PlanError> {
        let config = Config::load(flags, environment).map_err(|errors| PlanError::Wrong(errors.to_string()))?;
        let text = match config.file() {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| PlanError::Unreadable {
                path: path.display().to_string(),
                problem: error.to_string(),
            })?,
        };
        let mut plan = Plan::of_config(&config, &text)?;
        if let Some(image) = &self.image {
            plan.image.clone_from(image);
        }
        plan.settings = self.settings.iter().cloned().collect();
        plan.service = self.service;
        plan.node_port = self.node_port;
        plan.replicas = self.replicas;
        plan.ingress = self.ingress_host.clone().map(|host| {
            let (class, tls) = (self.ingress_class.clone(), self.ingress_tls.clone());
            Ingress { host, class, tls }
        });
        plan.data = match &self.data_path {
            Some(path) => Data::Host { path: path.clone(), node: self.data_node.clone() },
            None if self.replicas > 1 && self.storage_class.is_none() => Data::Pod,
            None => Data::Claim { size: self.data_size.clone(), class: self.storage_class.clone() },
        };
        if let Some(url) = plan.settings.remove("data.database") {
            // Not into the deployment, where others read it.
            let text = format!("[data]\ndatabase = {}\n", toml::Value::String(url));
            let read =
                Config::parse(&text, "--set data.database").map_err(|errors| PlanError::Wrong(errors.to_string()))?;
            plan.database = read.data.database.map_or(Database::File, Database::Given);
        }
        if self.database_secret {
            plan.database = Database::Secret;
        }
        plan.check()?;
        Ok(plan)
    }
}

/// How many devices the agent of each node reported to the daemon at `server`.
fn reported(server: &str, environment: &Environment) -> Result<BTreeMap<String, u32>, Trouble> {
    let token = environment.vars.get("HAI_TOKEN").and_then(|token| token.to_str()).unwrap_or_default();
    let url = format!("{}/v1/nodes", server.trim_end_matches('/'));
    let failed = |error: ureq::Error| {
        Trouble::new(
            format!("{url} can not be read: {error}"),
            "correct --server, or set HAI_TOKEN to a token of that daemon, or leave --server out",
        )
    };
    let answer = ureq::get(&url).header("Authorization", format!("Bearer {token}")).call();
    let list: NodeList = answer.and_then(|mut answer| answer.body_mut().read_json()).map_err(failed)?;
    let count = |node: Node| (node.name.to_string(), u32::try_from(node.devices.len()).unwrap_or(u32::MAX));
    Ok(list.nodes.into_iter().filter(|node| node.reported_at.is_some()).map(count).collect())
}

fn refused(error: &PlanError) -> ExitCode {
    eprintln!("hai-daemon: {error}");
    ExitCode::from(2)
}

/// Does what one of the commands says. Exit status: 0 done, 1 something is wrong, 2 wrong usage or configuration.
#[must_use]
pub fn main(command: &Command, flags: &ConfigFlags, environment: &Environment) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hai-daemon: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let plan = |args: &PlanArgs| args.plan(flags, environment);
    match command {
        Command::Probe(args) => probe::main(&args.writable, &args.read_only),
        Command::Manifests(args) => match plan(args) {
            Ok(plan) => manifests(&plan),
            Err(error) => refused(&error),
        },
        Command::Up(args) => match plan(&args.plan) {
            Ok(plan) => {
                let (dry_run, force, patience) = (args.dry_run, args.force, args.timeout);
                let manner = Manner { dry_run, force, patience, delete_data: false };
                done(runtime.block_on(up::up(&plan, manner)))
            }
            Err(error) => refused(&error),
        },
        Command::Down(args) => match plan(&args.plan) {
            Ok(plan) => {
                let (dry_run, delete_data) = (args.dry_run, args.delete_data);
                let manner = Manner { dry_run, force: false, patience: Duration::ZERO, delete_data };
                done(runtime.block_on(up::down(&plan, manner)))
            }
            Err(error) => refused(&error),
        },
        Command::Doctor(args) => {
            let mounts = Some(args.mount_timeout).filter(|_| !args.no_pods);
            let devices = args.server.as_deref().map(|server| reported(server, environment)).transpose();
            let devices = match devices {
                Ok(devices) => devices,
                Err(trouble) => {
                    eprintln!("hai-daemon: {trouble}");
                    return ExitCode::from(2);
                }
            };
            let known = Known { devices, mounts };
            let checks = runtime.block_on(doctor::examine(&plan(&args.plan), &known));
            if args.json {
                println!("{}", serde_json::to_string_pretty(&checks).expect("checks are data"));
            } else {
                checks.iter().for_each(|check| println!("{check}"));
            }
            if checks.iter().any(|check| check.verdict == Verdict::Bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
    }
}

fn manifests(plan: &Plan) -> ExitCode {
    let printed = up::fresh_token().map_err(|trouble| trouble.to_string());
    match printed.and_then(|token| objects::yaml(&objects::all(plan, &token))) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hai-daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

fn done(result: Result<(), Trouble>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("hai-daemon: {trouble}");
            ExitCode::FAILURE
        }
    }
}
