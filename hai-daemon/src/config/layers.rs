//! Puts the layers on each other: defaults, file, variables, flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hai_core::model::Priority;

use super::error::{ConfigErrors, Origin, Problem, did_you_mean};
use super::file::{Source, read};
use super::flags::ConfigFlags;
use super::scheduler::{AGING, CHURN, Group};
use super::settings::{Entry, LEVEL_SETTINGS, SECTIONS, SETTINGS};
use super::value::Raw;
use super::{Config, LevelTiming, check};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Variables of the worker's environment that begin like a setting: a daemon may be started by a task.
const NOT_SETTINGS: [&str; 1] = ["HAI_LOG_PATH"];

/// What the daemon's surroundings say.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Its environment variables.
    pub vars: BTreeMap<String, OsString>,
    /// It runs as root.
    pub root: bool,
}

impl Environment {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let vars = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Environment { vars, root: rustix::process::geteuid().is_root() }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.vars.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// Where the daemon keeps its data unless told otherwise.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        if self.root {
            return PathBuf::from("/var/lib/hai");
        }
        match self.path("XDG_DATA_HOME").filter(|path| path.is_absolute()) {
            Some(path) => path.join("hai"),
            None => PathBuf::from("~/.local/share/hai"),
        }
    }

    /// The file that is read, if it exists, when none is named.
    fn config_file(&self) -> Option<PathBuf> {
        if self.root {
            return Some(PathBuf::from("/etc/hai/hai.toml"));
        }
        let base = self.path("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        Some(base.or_else(|| Some(self.home()?.join(".config")))?.join("hai/hai.toml"))
    }

    /// The path with a leading `~` replaced, if the home directory is known.
    ///
    /// # Errors
    /// What is missing, if it begins with `~` and there is no home directory.
    pub fn expand(&self, path: &Path) -> Result<PathBuf, String> {
        let Ok(rest) = path.strip_prefix("~") else { return Ok(path.to_owned()) };
        let home = self.home();
        home.map(|home| home.join(rest)).ok_or_else(|| "`~` is the home directory, but HOME is not set".to_owned())
    }
}

impl Config {
    /// The defaults, and on them what `text` says; `file` is its name in messages. Reads nothing else.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
        let source = Source::new(file, text);
        Layers::new(Config::default()).file(&source).finish(Some(&source))
    }

    /// The effective configuration: defaults, file, variables, flags.
    ///
    /// # Errors
    /// Everything that is wrong, also with the file itself.
    pub fn load(flags: &ConfigFlags, environment: &Environment) -> Result<Config, ConfigErrors> {
        let mut config = Config::default();
        config.data.dir = environment.data_dir();
        let mut layers = Layers::new(config);
        let text = layers.open(flags, environment);
        let name = layers.config.file.as_deref().unwrap_or(Path::new("")).display().to_string();
        let source = text.as_deref().map(|text| Source::new(&name, text));
        if let Some(source) = &source {
            layers = layers.file(source);
        }
        layers.variables(environment);
        layers.flags(flags);
        layers.expand(environment);
        layers.finish(source.as_ref())
    }
}

/// A configuration on the way.
struct Layers {
    config: Config,
    problems: Vec<Problem>,
}

impl Layers {
    fn new(config: Config) -> Self {
        Layers { config, problems: Vec::new() }
    }

    fn problem(&mut self, origin: Origin, message: impl Into<String>) {
        self.problems.push(Problem { origin, message: message.into(), line_text: None });
    }

    /// The text of the file that is to be read, if there is one.
    fn open(&mut self, flags: &ConfigFlags, environment: &Environment) -> Option<String> {
        let named = match &flags.config {
            Some(path) => Some((Origin::Flag("--config".to_owned()), path.clone())),
            None => environment.path("HAI_CONFIG").map(|path| (Origin::Env("HAI_CONFIG".to_owned()), path)),
        };
        let (origin, path) = match named {
            Some(named) => named,
            None => (Origin::Default, environment.config_file()?),
        };
        match read_file(&path) {
            Ok(text) => {
                self.config.file = Some(path);
                Some(text)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && origin == Origin::Default => None,
            Err(error) => {
                self.problem(origin, format!("{} can not be read: {error}", path.display()));
                None
            }
        }
    }

    fn file(mut self, source: &Source<'_>) -> Self {
        let problems = read(source, &mut self.config);
        self.problems.extend(problems);
        self
    }

    fn variables(&mut self, environment: &Environment) {
        let mut known: Vec<String> = SETTINGS.iter().map(Entry::variable).collect();
        for entry in SETTINGS {
            if let Some((origin, text)) = self.variable(environment, &entry.variable()) {
                self.set(entry, origin, &text);
            }
        }
        for level in Priority::LEVELS {
            for entry in LEVEL_SETTINGS {
                let name = format!("HAI_SCHEDULER_LEVELS_{level}_{}", entry.key.to_ascii_uppercase());
                if let Some((origin, text)) = self.variable(environment, &name) {
                    self.set_level(level, entry, origin, &text);
                }
                known.push(name);
            }
        }
        known.extend(self.group(&AGING, environment));
        known.extend(self.group(&CHURN, environment));
        for name in environment.vars.keys() {
            let ours = SECTIONS.iter().any(|section| {
                let rest = name.strip_prefix("HAI_").and_then(|rest| rest.strip_prefix(&*section.to_ascii_uppercase()));
                rest.is_some_and(|rest| rest.starts_with('_'))
            });
            if ours && !known.contains(name) && !NOT_SETTINGS.contains(&name.as_str()) {
                let hint = did_you_mean(name, known.iter().map(String::as_str));
                self.problem(Origin::Env(name.clone()), format!("there is no setting of this name{hint}"));
            }
        }
    }

    /// Takes over what the variables say of a table that is there as a whole or not at all; returns their names.
    fn group<T: Copy>(&mut self, group: &Group<T>, environment: &Environment) -> Vec<String> {
        let there = (group.get)(&self.config.scheduler);
        let mut value = there.unwrap_or(group.example);
        let (mut given, mut missing) = (None, Vec::new());
        for entry in group.entries {
            let Some((origin, text)) = self.variable(environment, &entry.variable()) else {
                missing.push(entry);
                continue;
            };
            match (entry.set)(&mut value, Raw::Text(&text)) {
                Ok(()) => {
                    self.config.origins.insert(entry.name(), origin.clone());
                }
                Err(message) => self.problem(origin.clone(), message),
            }
            given = Some(origin);
        }
        if let Some(origin) = given {
            for entry in missing.into_iter().filter(|_| there.is_none()) {
                let (name, key, variable) = (group.name, entry.key, entry.variable());
                self.problem(origin.clone(), format!("{name} has no {key}; set {variable} too"));
            }
            (group.set)(&mut self.config.scheduler, value);
        }
        group.entries.iter().map(Entry::variable).collect()
    }

    fn variable(&mut self, environment: &Environment, name: &str) -> Option<(Origin, String)> {
        let origin = Origin::Env(name.to_owned());
        match environment.vars.get(name)?.to_str() {
            Some(text) => Some((origin, text.to_owned())),
            None => {
                self.problem(origin, "its value is not valid UTF-8");
                None
            }
        }
    }

    fn flags(&mut self, flags: &ConfigFlags) {
        for (flag, name, text) in flags.settings() {
            let entry = SETTINGS.iter().find(|entry| entry.name() == name);
            if let Some(entry) = entry {
                self.set(entry, Origin::Flag(flag.to_owned()), &text);
            }
        }
    }

    fn set(&mut self, entry: &Entry<Config>, origin: Origin, text: &str) {
        match (entry.set)(&mut self.config, Raw::Text(text)) {
            Ok(()) => {
                self.config.origins.insert(entry.name(), origin);
            }
            Err(message) => self.problem(origin, message),
        }
    }

    fn set_level(&mut self, level: Priority, entry: &Entry<LevelTiming>, origin: Origin, text: &str) {
        match (entry.set)(self.config.levels.entry(level).or_default(), Raw::Text(text)) {
            Ok(()) => {
                self.config.origins.insert(format!("scheduler.levels.{level}.{}", entry.key), origin);
            }
            Err(message) => self.problem(origin, message),
        }
    }

    fn expand(&mut self, environment: &Environment) {
        match environment.expand(&self.config.data.dir) {
            Ok(dir) => self.config.data.dir = dir,
            Err(message) => {
                let origin = self.config.origin("data.dir").clone();
                self.problem(origin, format!("dir: {message}; name a directory with --data"));
            }
        }
        let Some(kubeconfig) = &self.config.kubernetes.kubeconfig else { return };
        match environment.expand(kubeconfig) {
            Ok(path) => self.config.kubernetes.kubeconfig = Some(path),
            Err(message) => {
                let origin = self.config.origin("kubernetes.kubeconfig").clone();
                self.problem(origin, format!("kubeconfig: {message}; write the whole path"));
            }
        }
    }

    fn finish(mut self, source: Option<&Source<'_>>) -> Result<Config, ConfigErrors> {
        // Contradictions between values of which some could not be read would be guesses.
        if self.problems.is_empty() {
            self.problems = check::check(&self.config);
        }
        if self.problems.is_empty() {
            return Ok(self.config);
        }
        for problem in &mut self.problems {
            if let (Origin::File(place), Some(source)) = (&problem.origin, source) {
                // Such a line may hold a password.
                let line = source.line(place.line).filter(|line| !line.contains("database"));
                problem.line_text = line.map(str::to_owned);
            }
        }
        self.problems.sort();
        self.problems.dedup();
        Err(ConfigErrors(self.problems))
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > FILE_BYTES_MAX {
        let text = format!("it has {length} bytes, at most {FILE_BYTES_MAX} are read");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text));
    }
    std::fs::read_to_string(path)
}
