//! The command line of `hai-daemon`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use hai_core::model::Span;

use crate::agent::AgentArgs;
use crate::import::ImportCommand;
use crate::setup::args::{DoctorArgs, DownArgs, PlanArgs, ProbeArgs, UpArgs};

/// The command line of `hai-daemon`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "hai-daemon",
    version,
    about = "Shares this machine's GPUs between people by time",
    long_about = "Shares this machine's GPUs between people by time: every task gets what it needs while it holds \
                  the right to it, is suspended with a checkpoint when a better one comes, and resumes by itself.\n\n\
                  Without a configuration it finds this machine's processors, memory and GPUs, listens on \
                  127.0.0.1:8420, and keeps its data in ~/.local/share/hai (root: /var/lib/hai).",
    after_long_help = "Examples:\n  \
        hai-daemon                                 start with the defaults\n  \
        hai-daemon --data /srv/hai --listen 0.0.0.0:8420\n  \
        hai-daemon config example > hai.toml       a file with every setting, explained\n  \
        hai-daemon config check --config hai.toml  say what is wrong with it\n  \
        hai-daemon config show                     what holds, and where it was set\n\n\
        Every setting is read from the file, then from the environment (HAI_SERVER_LISTEN is `listen` in [server]), \
        then from the flags. The file is --config, else HAI_CONFIG, else ~/.config/hai/hai.toml (root: \
        /etc/hai/hai.toml) if that exists.\n\n\
        Exit status: 0 stopped as asked, 1 error, 2 wrong usage or configuration."
)]
pub struct DaemonArgs {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    pub command: Option<DaemonCommand>,
    /// Settings.
    #[command(flatten)]
    pub config: ConfigFlags,
}

/// What `hai-daemon` can do.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub enum DaemonCommand {
    /// Schedule until told to stop; this is what happens without a subcommand
    Serve,
    /// Show or check the configuration
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look after the database
    Db {
        /// What to do with it.
        #[command(subcommand)]
        command: DbCommand,
    },
    /// Report this machine's GPUs to a daemon, or with --once show them
    Agent(AgentArgs),
    /// Take over the set-up of another platform
    Import {
        /// Of which.
        #[command(subcommand)]
        command: ImportCommand,
    },
    /// Print everything that hai is on a Kubernetes cluster, as YAML for `kubectl apply -f -`
    Manifests(PlanArgs),
    /// Put hai on a Kubernetes cluster, or bring it up to date there, and wait until it works
    Up(UpArgs),
    /// Take hai off a Kubernetes cluster; the data stay unless told otherwise
    Down(DownArgs),
    /// Say what would keep hai from working on a Kubernetes cluster, and what to do about it
    Doctor(DoctorArgs),
    /// Say whether directories can be written; the doctor starts this itself
    #[command(hide = true)]
    Probe(ProbeArgs),
    /// Watch over one worker; the daemon starts this itself
    #[command(hide = true)]
    Shim {
        /// The worker's directory.
        dir: PathBuf,
    },
    /// Print shell completions, e.g. `hai-daemon completions bash > /etc/bash_completion.d/hai-daemon`
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    Man {
        /// The directory; it is created if it does not exist.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// What `hai-daemon db` can do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DbCommand {
    /// Follow the whole log, and say what is not as it says; best while no daemon runs
    Check,
    /// Write all that is stored to one file, also while a daemon runs
    #[command(
        long_about = "Writes all that is stored to one file, as it is at one moment, also while a daemon runs: the log, \
                      tasks, runs, rights, events, and users with the hashes of their tokens. Not in it are the output of \
                      tasks (logs/), what runs on this machine (runs/), and the operator's own token (token), which lie \
                      beside the database in the data directory.\n\n\
                      The file is gzipped lines of JSON, the same for SQLite and Postgres, and ends in a digest: what was \
                      cut off or altered is not restored. It is for its owner's eyes only, since it holds everybody's \
                      programs.",
        after_long_help = "Examples:\n  \
            hai-daemon db backup /backup/hai-$(date +%F).gz\n  \
            hai-daemon db backup --config hai.toml - | ssh safe 'cat > hai.gz'\n  \
            zcat hai.gz | head -1                        when it was made, and what is in it"
    )]
    Backup {
        /// The file, which must not exist yet; `-` for standard output
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Take back what a backup holds, into a database with nothing in it
    #[command(
        long_about = "Takes back what a backup holds, into a database with nothing in it: the one that the configuration \
                      names (`database` or `dir` in [data]), SQLite or Postgres, whichever the backup was made of. All \
                      comes in one transaction: whatever goes wrong, the database is as it was. Then all of it is \
                      checked, as `db check` does.\n\n\
                      The next daemon goes on where the backup was made: users' tokens open as before, what waited waits, \
                      and what ran is started again unless it still runs there. The operator gets a new token unless the \
                      old file `token` is put into the data directory first. What happened after the backup is forgotten; \
                      see that nothing of it still runs on the cluster, since the numbers of its runs are given again.",
        after_long_help = "Examples:\n  \
            hai-daemon db restore hai.gz --data /srv/hai         into a file on a new machine\n  \
            hai-daemon db restore hai.gz --config hai.toml       into the database that hai.toml names\n  \
            zcat -t hai.gz && hai-daemon db restore hai.gz --replace --data /srv/hai"
    )]
    Restore {
        /// The file; `-` for standard input
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Remove what is kept in the database, if anything is; without this, that is refused
        #[arg(long)]
        replace: bool,
    },
    /// Copy all that is stored to another database: from SQLite to Postgres, back, or to one of the same kind
    #[command(
        long_about = "Copies all that is stored to another database: from SQLite to Postgres, back, or to one of the same \
                      kind. No daemon may use either meanwhile. All comes in one transaction, and is checked afterwards, \
                      as `db check` does. The source stays as it is.\n\n\
                      To move: stop the daemon, copy, write `database = \"postgres://…\"` into [data], and start it \
                      again with the same data directory. Work that runs on this machine goes on meanwhile.\n\n\
                      A password is better not written here, where others can see it: PGPASSWORD and ~/.pgpass count too.",
        after_long_help = "Examples:\n  \
            hai-daemon db copy --from /var/lib/hai --to postgres://hai@db.lab/hai --dry-run\n  \
            hai-daemon db copy --from /var/lib/hai --to postgres://hai@db.lab/hai\n  \
            hai-daemon db copy --from postgres://hai@db.lab/hai --to /srv/hai/hai.sqlite"
    )]
    Copy {
        /// The URL of a Postgres, an SQLite file, or the data directory that it lies in
        #[arg(long, value_name = "URL_OR_FILE", value_hint = ValueHint::AnyPath)]
        from: String,
        /// The same, with nothing in it; a file is made if there is none
        #[arg(long, value_name = "URL_OR_FILE", value_hint = ValueHint::AnyPath)]
        to: String,
        /// Remove what is kept there, if anything is; without this, that is refused
        #[arg(long)]
        replace: bool,
        /// Read and check everything, and only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Take away what is over for long: tasks that ended, events, and the log up to a snapshot; a daemon may run
    Prune(PruneArgs),
}

/// What is too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
#[command(after_help = "Examples:\n  \
    hai-daemon db prune --older-than 90d --dry-run    say what would go\n  \
    hai-daemon db prune --older-than 90d              let it go\n\n\
    Months (UTC) go as a whole, so somewhat more is kept. With keep_history in [data] the daemon does so itself.")]
pub struct PruneArgs {
    /// What was over so long ago; keep_history of the configuration when left out
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<Span>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Say it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What `hai-daemon config` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration as TOML, with every default and where each other value was set
    Show,
    /// Say what is wrong with the configuration, if anything
    Check,
    /// Print an annotated example with every setting
    Example,
}

/// Flags that set a part of the configuration.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigFlags {
    /// Read this configuration file
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Keep the database, logs and runs here (`data.dir` in the file)
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<String>,
    /// Listen here; port 0 takes any that is free (`server.listen` in the file)
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Log this and what is worse: error, warn, info, debug or trace (`log.level` in the file)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl ConfigFlags {
    /// The flags that were given: flag, setting, value.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        [
            ("--data", "data.dir", &self.data),
            ("--listen", "server.listen", &self.listen),
            ("--log-level", "log.level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(flag, name, value)| Some((flag, name, value.clone()?)))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::settings::SETTINGS;

    #[test]
    fn the_command_line_is_well_formed_and_its_flags_are_settings() {
        DaemonArgs::command().debug_assert();
        let text = || Some("x".to_owned());
        let all = ConfigFlags { config: None, data: text(), listen: text(), log_level: text() };
        for (flag, name, _) in all.settings() {
            assert!(SETTINGS.iter().any(|entry| entry.name() == name), "{flag} sets {name}, which is no setting");
        }
    }
}
