//! Reads what is to be played: cluster, trace and policies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use hai_core::engine::EngineConfig;
use hai_core::model::{Span, Time};
use hai_core::sim::study::{Cluster, ClusterFile, Contender, Load, Profile, Submits, helios, openb};
use hai_core::trace::TraceError;

use super::SimulateArgs;
use super::given::{Given, bad, given};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::output::Printer;
use crate::config::{Config, Tasks};

/// All that is played.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) cluster: Cluster,
    /// In words, for people.
    pub(super) cluster_name: String,
    pub(super) trace_name: String,
    /// The work that all seeds have alike, if they have.
    pub(super) load: Arc<Load>,
    /// Where work is made up by lot.
    pub(super) profile: Option<Profile>,
    pub(super) bad_lines: u64,
    log_config: Option<EngineConfig>,
}

impl Inputs {
    /// What decides under a policy's name, judged by the work that it will see.
    pub(super) fn policy(&self, name: &str, load: &Load) -> Result<Contender, CliError> {
        let engine = |config: EngineConfig| Contender::Engine(Box::new(config), Submits::default());
        if name == "log" {
            let config = self.log_config.clone();
            let config =
                config.ok_or_else(|| CliError::Usage("--policy log: the trace is no event log of hai".into()))?;
            return Ok(engine(config));
        }
        if Path::new(name).extension().is_some_and(|extension| extension == "toml") {
            let text =
                std::fs::read_to_string(name).map_err(|source| CliError::File { what: name.to_owned(), source })?;
            let config = Config::parse(&text, name).map_err(|errors| bad(name, &errors))?;
            return Ok(engine(config.engine()));
        }
        let contender =
            Contender::named(name, load).map_err(|problem| CliError::Usage(format!("--policy {problem}")))?;
        match contender.objection(&self.cluster, load) {
            Some(objection) => Err(CliError::Usage(format!("--policy {objection}"))),
            None => Ok(contender),
        }
    }

    /// The work of a seed.
    pub(super) fn load(&self, args: &SimulateArgs, seed: u64) -> Result<Arc<Load>, CliError> {
        if self.profile.is_none() && args.jitter.is_none() {
            return Ok(Arc::clone(&self.load));
        }
        let mut load = match (&self.profile, args.synthetic) {
            (Some(profile), Some(count)) => {
                let start = self.load.first().unwrap_or(Time::ZERO);
                let drawn = profile.draw(count, start, seed).map_err(|error| CliError::Usage(error.to_string()))?;
                finish(drawn, args)
            }
            _ => Load::clone(&self.load),
        };
        if let Some(most) = args.jitter {
            load = load.jittered(most, seed);
        }
        Ok(Arc::new(load))
    }
}

fn finish(load: Load, args: &SimulateArgs) -> Load {
    let load = if args.from > Span::ZERO || args.until.is_some() { load.window(args.from, args.until) } else { load };
    let load = if args.load == 1000 { load } else { load.denser(args.load) };
    let load = if args.one_group { load.one_group(&Tasks::default().default_group) } else { load };
    let load = if args.strangers { load.strangers() } else { load };
    if args.oracle { load.foretold() } else { load }
}

/// The bytes of a file, unpacked if it is packed.
fn reader(path: &Path) -> Result<Box<dyn BufRead>, CliError> {
    let failed = |source| CliError::File { what: path.display().to_string(), source };
    let file = File::open(path).map_err(failed)?;
    let mut plain = BufReader::with_capacity(1 << 18, file);
    let packed = plain.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(plain))) } else { Box::new(plain) })
}

/// Reads everything.
///
/// # Errors
/// [`CliError`] names the file, and the line and column as far as there are some.
pub(super) fn read(
    args: &SimulateArgs,
    client: &dyn Fn() -> Result<Client, CliError>,
    printer: &Printer,
) -> Result<Inputs, CliError> {
    if args.trace.is_none() && args.synthetic.is_none() {
        let what = "say which work with --trace FILE or --synthetic TASKS; `hai simulate --example DIR` writes something to begin with";
        return Err(CliError::Usage(what.into()));
    }
    let mut read = Given::default();
    if let Some(path) = &args.trace {
        read = trace(path, args)?;
        if read.bad_lines > 0 {
            for told in &read.bad_told {
                printer.warn(format!("left out: {}: {told}", path.display()));
            }
        }
        if read.load.tasks().is_empty() {
            let why = if read.bad_lines > 0 { "every line of it is bad" } else { "there is no task in it" };
            return Err(bad(&path.display().to_string(), &why));
        }
    }
    let mut profile = None;
    if args.synthetic.is_some() {
        profile = match Profile::of(&read.load) {
            Some(profile) => Some(profile),
            None => Some(Profile::laboratory().map_err(|error| CliError::Usage(error.to_string()))?),
        };
    }
    let from_trace = read.load.tasks().len();
    let load = finish(read.load, args);
    if load.tasks().is_empty() && from_trace > 0 {
        return Err(CliError::Usage(format!("no task of {from_trace} was submitted between --from and --until")));
    }
    let (cluster, cluster_name) = match (&args.cluster, read.cluster) {
        (Some(word), _) if word == "daemon" => (super::live::cluster(&client()?, printer)?, "the daemon's".to_owned()),
        (Some(word), _) => (cluster(word)?, word.clone()),
        (None, Some(cluster)) => (cluster, "as in the log".to_owned()),
        (None, None) => return Err(CliError::Usage("say on which cluster with --cluster FILE".into())),
    };
    let mut cluster = cluster;
    if args.one_group {
        cluster.one_group(&Tasks::default().default_group);
    }
    let cluster = cluster.times(args.size).map_err(|error| bad(&cluster_name, &error))?;
    if cluster.nodes.is_empty() {
        return Err(bad(&cluster_name, &"there is no node in it"));
    }
    if cluster.devices() == 0 {
        printer.warn(format!("{cluster_name}: there is no device in it; what asks for devices can never start"));
    }
    tell_strangers(&load, &cluster, printer);
    let trace_name = match (&args.trace, args.synthetic) {
        (Some(path), None) => path.display().to_string(),
        (Some(path), Some(count)) => format!("{count} tasks made up after {}", path.display()),
        (None, count) => format!("{} tasks made up after a laboratory", count.unwrap_or(0)),
    };
    let bad_lines = read.bad_lines;
    Ok(Inputs { cluster, cluster_name, trace_name, load: Arc::new(load), profile, bad_lines, log_config: read.config })
}

/// Says which groups of the work are not in the cluster: what asks for them can never start.
fn tell_strangers(load: &Load, cluster: &Cluster, printer: &Printer) {
    let known: BTreeSet<&str> = cluster.nodes.iter().map(|node| node.group.as_str()).collect();
    let mut strange: BTreeMap<&str, u64> = BTreeMap::new();
    for task in load.tasks() {
        if !known.contains(task.spec.group.as_str()) {
            *strange.entry(task.spec.group.as_str()).or_default() += 1;
        }
    }
    if !strange.is_empty() {
        let tasks: u64 = strange.values().sum();
        let names: Vec<&str> = strange.keys().copied().take(5).collect();
        let more = if strange.len() > names.len() { ", …" } else { "" };
        let there: Vec<&str> = known.into_iter().take(5).collect();
        printer.warn(format!(
            "{tasks} tasks ask for groups that the cluster does not have ({}{more}; it has {}, …): they can never start; \
             --one-group puts all nodes and tasks into one",
            names.join(", "),
            there.join(", ")
        ));
    }
}

fn trace(path: &Path, args: &SimulateArgs) -> Result<Given, CliError> {
    given(&path.display().to_string(), reader(path)?, args.format, args.skip_bad_lines)
}

fn cluster(word: &str) -> Result<Cluster, CliError> {
    let preset = |path: &str, read: fn(Box<dyn BufRead>) -> Result<Cluster, TraceError>| {
        read(reader(Path::new(path))?).map_err(|error| bad(path, &error))
    };
    if let Some(path) = word.strip_prefix("openb:") {
        return preset(path, openb);
    }
    if let Some(path) = word.strip_prefix("helios:") {
        return preset(path, helios);
    }
    let mut text = String::new();
    let failed = |source: io::Error| CliError::File { what: word.to_owned(), source };
    reader(Path::new(word))?.read_to_string(&mut text).map_err(failed)?;
    let file: ClusterFile = if text.trim_start().starts_with('{') {
        let mut json = serde_json::Deserializer::from_str(&text);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|error| bad(word, &format!("{}: {}", error.path(), error.inner())))?
    } else {
        toml::from_str(&text).map_err(|error| bad(word, &error.to_string().trim_end()))?
    };
    file.build().map_err(|error| bad(word, &error))
}
