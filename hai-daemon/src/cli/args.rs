//! The command line of `hai`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use hai_core::model::{GroupName, ModelName, Priority, RunId, TaskId, TeamName, UserName};

use super::ask::{When, when};
use super::history::{AuditArgs, LogCommand};
use super::replay::ReplayArgs;
use super::reproduce::ReproduceArgs;
use super::submit::SubmitArgs;
use super::teams::TeamsCommand;
use crate::api::wire::{Limit, OutcomeWord, Role};

/// The command line of `hai`.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "hai",
    version,
    about = "Submits tasks to a hai daemon and looks after them",
    long_about = "Submits tasks to a hai daemon and looks after them. A task waits until there is room and a right \
                  for it, is suspended when a better one needs its place, resumes by itself, and ends.",
    after_long_help = "Examples:\n  \
        hai submit -- python3 train.py             one device, in this directory\n  \
        hai submit -d 4 --priority HIGH --follow -- ./train.sh\n  \
        hai ls                                     what waits and runs\n  \
        hai why 7                                  why task 7 does not run\n  \
        hai when 7                                 by when it will likely start\n  \
        hai logs -f 7                              its output, through suspends, until it ends\n  \
        hai audit --since 7d                       who used what\n\n\
        The server and the token are, first found first used: --server and --token; HAI_SERVER and HAI_TOKEN; what \
        `hai init` wrote; what a daemon on this machine left in its data directory. On the machine of a fresh daemon \
        nothing needs to be set up.\n\n\
        Exit status: 0 done; 1 it did not work; 2 wrong usage. `hai submit --wait` and `--follow` end as the task \
        did: 0 succeeded, the exit status of the worker that failed (128 + N for signal N), 143 stopped; and 125 if \
        hai itself could not go on."
)]
pub struct HaiArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where the daemon is, and who asks.
    #[command(flatten)]
    pub access: AccessFlags,
    /// Print what the server answers, as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// Flags that say where the daemon is, and who asks.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessFlags {
    /// The daemon's address, e.g. http://lab-1:8420 [env: HAI_SERVER]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,
    /// The token that says who you are; better in HAI_TOKEN or `hai init`, as others see your command line
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Use address and token of the daemon that keeps its data here [env: HAI_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

/// What `hai` can do.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Submit a task
    #[command(visible_alias = "run")]
    Submit(Box<SubmitArgs>),
    /// List tasks, the newest first; without --all those that are not finished
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show all that is known of a task
    Show {
        /// The task's number
        #[arg(value_parser = task_number)]
        task: u64,
    },
    /// Print what a task writes
    Logs(LogsArgs),
    /// End tasks for good, after their grace
    Stop(StopArgs),
    /// Suspend tasks until they are resumed by hand
    Suspend(TasksArg),
    /// Let suspended tasks run again when their turn comes
    Resume(TasksArg),
    /// Let the lease of interactive tasks begin anew
    Renew(TasksArg),
    /// Change how urgent a task is
    Priority {
        /// The task's number
        #[arg(value_parser = task_number)]
        task: u64,
        /// EXTREME_HIGH, VERY_HIGH, HIGH, ABOVE_NORMAL, NORMAL, UNDER_NORMAL, BELOW_NORMAL, LOW or AUTO
        priority: Priority,
        /// Its place in the queue; a smaller one goes first (operators)
        #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
        custom_rank: Option<f64>,
    },
    /// Say why a task does not run, or what it is doing
    Why {
        /// The task's number
        #[arg(value_parser = task_number)]
        task: u64,
    },
    /// Show what something would do, before it is done
    Preview(super::preview::PreviewArgs),
    /// Decide once about a cluster described in a file, without a daemon
    Plan(super::plan::PlanArgs),
    /// Say by when a task will likely start, and how surely
    #[command(after_help = "Examples:\n  \
        hai when 7           likely by 14:05, nearly surely by 15:40\n  \
        hai when 7 --json    the same for programs: p50 and p90, and what they were made from\n\n\
        The scheduler is played on many times, with what is known of how long tasks run and what people submit. Half \
        of the tasks start by the first time, nine of ten by the second. Say --expected when you submit, and it knows \
        better.")]
    When {
        /// The task's number
        #[arg(value_parser = task_number)]
        task: u64,
    },
    /// List nodes, their devices and who is on them
    Nodes {
        /// One line a device: how it is, how hot, and who uses it, as last reported
        #[arg(long)]
        devices: bool,
    },
    /// List or change who may hold how much
    Rights {
        /// What to do; `ls` when left out.
        #[command(subcommand)]
        command: Option<RightsCommand>,
    },
    /// List or change who shares rights with whom (operators)
    Teams {
        /// What to do; `ls` when left out.
        #[command(subcommand)]
        command: Option<TeamsCommand>,
    },
    /// List or change who may use the daemon (operators)
    Users {
        /// What to do; `ls` when left out.
        #[command(subcommand)]
        command: Option<UsersCommand>,
    },
    /// Write the event log: all facts and decisions, for `hai replay` (operators)
    Log {
        /// What to do.
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Decide a log anew and name the first difference, or tell what a change would have made of it; needs no daemon
    Replay(ReplayArgs),
    /// Play a trace on a cluster under several policies, and compare; needs no daemon
    Simulate(Box<super::simulate::SimulateArgs>),
    /// Play published experiments of others on public traces, and tell ours beside theirs; needs no daemon
    Reproduce(ReproduceArgs),
    /// Add up device-hours used, lost and due, by user; with --entries list who did what, when and why
    Audit(AuditArgs),
    /// Remember a daemon's address and your token, once the daemon has accepted them
    #[command(after_help = "Example:\n  hai init --server http://lab-1:8420 --token …\n\n\
        Without flags it asks. They are written to ~/.config/hai/cli.toml, which only you can read.")]
    Init,
    /// Print shell completions, e.g. `hai completions bash > ~/.local/share/bash-completion/completions/hai`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    Man {
        /// The directory; it is created if it does not exist
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// Some tasks.
#[derive(Clone, Debug, Args)]
pub struct TasksArg {
    /// The tasks' numbers
    #[arg(required = true, value_name = "TASK", value_parser = task_number)]
    pub tasks: Vec<u64>,
}

/// Which tasks to stop, and how they have ended then.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Which
    #[command(flatten)]
    pub tasks: TasksArg,
    /// How they have ended then: succeeded, failed or stopped; by default they were stopped
    #[arg(long = "as", value_name = "OUTCOME", value_parser = outcome)]
    pub outcome: Option<OutcomeWord>,
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:\n  \
    hai ls --state running,suspended\n  \
    hai ls --all --outcome failed --name train\n  \
    hai ls --all --limit 20 --before 1000       the next 20 of a long list")]
pub struct ListArgs {
    /// Finished tasks too
    #[arg(long, short)]
    pub all: bool,
    /// Only these states, with commas: waiting, suspended, promised, starting, running, suspending, stopping, held,
    /// finished, unfinished
    #[arg(long, short, value_name = "STATES", conflicts_with = "all")]
    pub state: Option<String>,
    /// Only those that ended this way: succeeded, failed or stopped
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    pub outcome: Option<OutcomeWord>,
    /// Only this user's
    #[arg(long, short)]
    pub user: Option<UserName>,
    /// Only those for this group
    #[arg(long, short)]
    pub group: Option<GroupName>,
    /// Only those of this priority
    #[arg(long, short)]
    pub priority: Option<Priority>,
    /// Only those with this text in their name
    #[arg(long, short, value_name = "TEXT")]
    pub name: Option<String>,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only those with a smaller number
    #[arg(long, value_name = "TASK", value_parser = task_id)]
    pub before: Option<TaskId>,
}

/// Which output to print.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai logs 7                the output of the last run's first worker\n  \
    hai logs -f 7             the same, and on through suspends until the task ends\n  \
    hai logs --all-runs 7     from the first run on\n  \
    hai logs --tail 2000 7    the last 2000 bytes")]
pub struct LogsArgs {
    /// The task's number
    #[arg(value_parser = task_number)]
    pub task: u64,
    /// Go on until the task ends, also in the runs to come
    #[arg(long, short)]
    pub follow: bool,
    /// The worker
    #[arg(long, value_name = "RANK", default_value_t = 0)]
    pub rank: u32,
    /// This run alone; `hai show` lists them
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub run: Option<RunId>,
    /// All runs, from the first
    #[arg(long, conflicts_with = "run")]
    pub all_runs: bool,
    /// Only this many bytes from the end of the run
    #[arg(long, value_name = "BYTES", conflicts_with = "all_runs")]
    pub tail: Option<u64>,
}

/// What `hai rights` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum RightsCommand {
    /// List rights
    Ls(RightKeyArgs),
    /// Give or change a right (operators)
    #[command(after_help = "Examples:\n  \
        hai rights set --user ada --priority HIGH --devices 4\n  \
        hai rights set --priority NORMAL --nodes unlimited --devices unlimited\n  \
        hai rights set --team vision --priority NORMAL --devices 2.5      each member of the team\n  \
        hai rights set --user ada --priority HIGH --devices 8 --expires 7d\n  \
        hai rights set --model H100 --devices 4                           at most 4 of these each\n\n\
        What is left out of --user, --group and --priority means every one. The most specific row counts. Rows with \
        --model or --cap give nothing, they bound what that one gives.")]
    Set {
        /// Which.
        #[command(flatten)]
        key: RightKeyArgs,
        /// Nodes at once, for tasks that take whole nodes: a number or `unlimited`; 0 when left out
        #[arg(long, value_name = "LIMIT", required_unless_present = "devices")]
        nodes: Option<Limit>,
        /// Devices at once, for tasks that take single devices or parts of them: a number, e.g. 2.5, or `unlimited`; 0 when left out
        #[arg(long, value_name = "LIMIT", required_unless_present = "nodes")]
        devices: Option<Limit>,
        /// From when on it counts no more: a time, or how long from now
        #[arg(long, value_name = "WHEN", value_parser = when)]
        expires: Option<When>,
    },
    /// Take a right away (operators)
    Rm(RightKeyArgs),
}

/// Which right.
#[derive(Clone, Debug, Default, Args)]
pub struct RightKeyArgs {
    /// The user; every user when left out
    #[arg(long, short)]
    pub user: Option<UserName>,
    /// The group; every group when left out
    #[arg(long, short)]
    pub group: Option<GroupName>,
    /// The priority; every one when left out
    #[arg(long, short)]
    pub priority: Option<Priority>,
    /// Each member of this team
    #[arg(long, conflicts_with = "user")]
    pub team: Option<TeamName>,
    /// Only what is held of this device model; such a row only bounds what others give
    #[arg(long, value_name = "MODEL")]
    pub model: Option<ModelName>,
    /// A row that only bounds what others give
    #[arg(long)]
    pub cap: bool,
}

/// What `hai users` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum UsersCommand {
    /// List users
    Ls,
    /// Add a user; prints their token, this once
    Add {
        /// The name
        name: UserName,
        /// user, operator, or agent (who reports devices and may do nothing else)
        #[arg(long, default_value = "user")]
        role: Role,
    },
    /// Remove a user; their token is void at once
    Rm {
        /// The name
        name: UserName,
    },
    /// Give a user a new token, and print it; the old one is void
    Token {
        /// The name
        name: UserName,
    },
}

/// A task's number, as it is typed.
pub(super) fn task_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a task is named by its number; `hai ls` lists them".to_owned())
}

fn task_id(text: &str) -> Result<TaskId, String> {
    task_number(text).map(TaskId)
}

fn run_id(text: &str) -> Result<RunId, String> {
    text.parse().map(RunId).map_err(|_| "a run is named by its number; `hai show TASK` lists them".to_owned())
}

fn outcome(text: &str) -> Result<OutcomeWord, String> {
    match text {
        "succeeded" => Ok(OutcomeWord::Succeeded),
        "failed" => Ok(OutcomeWord::Failed),
        "stopped" => Ok(OutcomeWord::Stopped),
        _ => Err("outcomes are succeeded, failed and stopped".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        HaiArgs::command().debug_assert();
    }
}
