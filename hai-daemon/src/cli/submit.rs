//! `hai submit`: from flags to a submission, and waiting for its end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, ValueHint};
use hai_core::model::{GroupName, Priority, Rank, UserName};
use ureq::http::Method;

use super::ask::{DeviceArgs, LifeArgs, PlaceArgs};
use super::client::Client;
use super::error::CliError;
use super::logs::{self, Follow};
use super::output::{Printer, clean, humane};
use super::wait;
use crate::api::wire::{SubmitRequest, Task, Verdict, Why};

/// What to submit.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai submit -- python3 train.py                      one device, in this directory\n  \
    hai submit -d 2 --model \"RTX 3070\" -- ./train.sh    two devices of this model\n  \
    hai submit -w 4 -d 8 --distinct-nodes -- ./gang.sh  four workers that start together\n  \
    hai submit --whole-node --priority HIGH -- ./big.sh\n  \
    hai submit -d 0 -c 4 --memory 8GiB -- make -j4      processors alone\n  \
    hai submit --share 0.25 -- ./notebook.sh            a quarter of a device, others have the rest\n  \
    hai submit --share-memory 6GiB -- ./serve.sh        6 GiB of whichever device has them\n  \
    hai submit -m H100 -m A100 --same-model -w 8 -- ./gang.sh   H100 if there are 8, else A100\n  \
    hai submit -w 16 --workers-min 4 -- ./elastic.sh    4 to 16 workers, as there is room\n  \
    hai submit --kind interactive --lease 4h --idle-after 30m -- jupyter lab\n  \
    hai submit --after 7 --retries 3 -- ./evaluate.sh   once task 7 has succeeded; 3 more tries\n  \
    hai submit --follow -- ./train.sh                   print its output, end as it ends\n\n\
    Where standard output is no terminal, the task's number alone is printed: task=$(hai submit …).")]
pub struct SubmitArgs {
    /// How urgent: EXTREME_HIGH, VERY_HIGH, HIGH, ABOVE_NORMAL, NORMAL, UNDER_NORMAL, BELOW_NORMAL, LOW or AUTO
    #[arg(long, short, value_name = "LEVEL")]
    pub priority: Option<Priority>,
    /// The group of nodes it may have
    #[arg(long, short)]
    pub group: Option<GroupName>,
    /// What people call it; the program's name when left out
    #[arg(long, short)]
    pub name: Option<String>,
    /// A variable for the workers, NAME=VALUE, or NAME to take its value from here; may be repeated
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The directory that the workers start in; this one when left out
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workdir: Option<PathBuf>,
    /// The container image, on a cluster whose workers are containers; the operator's when left out
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Its place in the queue; a smaller one goes first (operators)
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub custom_rank: Option<f64>,
    /// Whose task it will be (operators)
    #[arg(long, value_name = "USER")]
    pub user: Option<UserName>,
    /// Submit nothing; say when it would start and whom it would suspend
    #[arg(long, conflicts_with_all = ["wait", "follow"])]
    pub dry_run: bool,
    /// Wait until the task ends, and end as it did
    #[arg(long)]
    pub wait: bool,
    /// Print its output until it ends, and end as it did
    #[arg(long, short)]
    pub follow: bool,
    /// How much of the machines it takes.
    #[command(flatten)]
    pub devices: DeviceArgs,
    /// Where it may be.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How long it runs, when, and what happens to it.
    #[command(flatten)]
    pub life: LifeArgs,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND", help_heading = None)]
    pub command: Vec<String>,
}

/// A rank as it is typed.
pub(super) fn rank(number: Option<f64>) -> Result<Option<Rank>, CliError> {
    let wrong = || CliError::Usage("--custom-rank must be a finite number".to_owned());
    number.map(|number| Rank::new(number).ok_or_else(wrong)).transpose()
}

impl SubmitArgs {
    /// The submission that the flags describe.
    ///
    /// # Errors
    /// [`CliError::Usage`] for a variable that is not set here, or a directory that can not be named.
    pub fn request(&self) -> Result<SubmitRequest, CliError> {
        self.request_at(Utc::now())
    }

    /// The same, where times that are so long from now count from `now`.
    ///
    /// # Errors
    /// As from [`SubmitArgs::request`].
    pub fn request_at(&self, now: DateTime<Utc>) -> Result<SubmitRequest, CliError> {
        let mut request = SubmitRequest {
            command: self.command.clone(),
            name: self.name.clone(),
            env: self.env.iter().map(|pair| variable(pair)).collect::<Result<BTreeMap<_, _>, _>>()?,
            workdir: Some(self.workdir()?),
            image: self.image.clone(),
            group: self.group.clone(),
            priority: self.priority,
            custom_rank: rank(self.custom_rank)?,
            user: self.user.clone(),
            ..SubmitRequest::default()
        };
        self.devices.fill(&mut request);
        self.place.fill(&mut request);
        self.life.fill(&mut request, now);
        Ok(request)
    }

    fn workdir(&self) -> Result<String, CliError> {
        let dir = match &self.workdir {
            Some(dir) => std::path::absolute(dir),
            None => std::env::current_dir(),
        };
        let dir = dir.map_err(|source| CliError::File { what: "the directory to start in".to_owned(), source })?;
        dir.into_os_string().into_string().map_err(|dir| {
            CliError::Usage(format!("{} is not valid UTF-8; name another directory with --workdir", dir.display()))
        })
    }
}

/// `NAME=VALUE`, or `NAME` with the value that it has here.
fn variable(pair: &str) -> Result<(String, String), CliError> {
    if let Some((name, value)) = pair.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    match std::env::var(pair) {
        Ok(value) => Ok((pair.to_owned(), value)),
        Err(std::env::VarError::NotPresent) => {
            Err(CliError::Usage(format!("--env {pair}: the variable is not set here; write {pair}=VALUE")))
        }
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(CliError::Usage(format!("--env {pair}: its value is not valid UTF-8")))
        }
    }
}

/// Submits, and waits if asked.
///
/// # Errors
/// [`CliError`].
pub fn run(args: &SubmitArgs, client: &Client, printer: &Printer) -> Result<ExitCode, CliError> {
    let request = args.request()?;
    if args.dry_run {
        super::preview::dry_run(&request, client, printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = client.send(&Method::POST, "/v1/tasks", Some(&request))?;
    let task: Task = answer.parse()?;
    let id = task.id;
    warn_if_in_vain(&task, client, printer);
    if args.wait || args.follow {
        printer.remark(format!("task {id} is submitted; Ctrl-C leaves it to itself, `hai stop {id}` ends it"));
        return Ok(follow(args.follow, &task, client, printer).unwrap_or_else(|error| {
            super::complain(&error);
            wait::lost()
        }));
    }
    if printer.json {
        printer.answer(&answer)?;
    } else if printer.terminal {
        printer.line(format!("task {id} is submitted; see `hai why {id}`, `hai logs -f {id}`, `hai stop {id}`"))?;
    } else {
        printer.line(id)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says so at once if as things are it can never run: a model that nobody has, a group that is misspelt, no right.
fn warn_if_in_vain(task: &Task, client: &Client, printer: &Printer) {
    // It is submitted, whatever becomes of this question.
    let Ok(why) = client.get(&format!("/v1/tasks/{}/why", task.id), &()).and_then(|answer| answer.parse::<Why>())
    else {
        return;
    };
    if let Some(Verdict::NoRight { .. } | Verdict::NeverFits { .. } | Verdict::NoSuchGroup { .. }) = why.verdict {
        let sentence = humane(&clean(&why.sentence), Utc::now());
        printer
            .remark(format!("as things are it can never run: {sentence}; `hai why {}` says what would help", task.id));
    }
}

fn follow(output: bool, task: &Task, client: &Client, printer: &Printer) -> Result<ExitCode, CliError> {
    if output {
        logs::follow(client, printer, &Follow { task: task.id, rank: 0, only: None, from_first: true, tail: None })?;
    }
    let (answer, end) = wait::until_finished(client, task.id)?;
    if printer.json {
        printer.answer(&answer)?;
    } else {
        printer.remark(wait::sentence(&end.task));
    }
    Ok(wait::exit_code(&end))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use hai_core::model::Span;

    use super::*;
    use crate::cli::args::{Command, HaiArgs};

    fn request(words: &[&str]) -> Result<SubmitRequest, String> {
        let args = HaiArgs::try_parse_from(["hai", "submit"].iter().chain(words)).map_err(|error| error.to_string())?;
        match args.command {
            Command::Submit(args) => args.request().map_err(|error| error.to_string()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn flags_become_a_submission() {
        let words = "-d 2 -w 3 --priority high -g lab -n x -m B -m A --device-memory 8GiB -c 1.5 --memory 512MiB \
                     -e A=b=c --workdir /tmp --tolerate slow --grace-finish 30s --custom-rank -1.5 --user ada \
                     --distinct-nodes -- python3 train.py --json -d 9";
        let request = request(&words.split_whitespace().collect::<Vec<_>>()).expect("it is right");
        assert_eq!(request.command, ["python3", "train.py", "--json", "-d", "9"]);
        assert_eq!((request.devices, request.workers, request.priority), (Some(2), Some(3), Some(Priority::High)));
        assert_eq!((request.device_memory_mib, request.memory_mib, request.cpu), (Some(8192), Some(512), Some(1.5)));
        assert_eq!(request.models.iter().map(|model| model.as_str()).collect::<Vec<_>>(), ["B", "A"]);
        assert_eq!(request.env.get("A").map(String::as_str), Some("b=c"));
        assert_eq!(request.workdir.as_deref(), Some("/tmp"));
        let grace = request.grace.expect("one was asked for");
        assert_eq!((grace.answer, grace.finish), (Span::from_secs(5), Span::from_secs(30)));
        assert_eq!(request.custom_rank.map(Rank::value), Some(-1.5));
        assert!(request.distinct_nodes && request.tolerates.contains("slow"));
    }

    #[test]
    fn the_command_may_stand_without_dashes_and_keeps_its_own_flags() {
        let request = request(&["-d", "1", "python3", "x.py", "--follow"]).expect("it is right");
        assert_eq!(request.command, ["python3", "x.py", "--follow"]);
        assert!(request.workdir.is_some_and(|dir| dir.starts_with('/')));
        assert!(request.grace.is_none());
    }

    #[test]
    fn what_can_not_be_right_is_said_before_anything_is_sent() {
        for (words, part) in [
            (&["--", "true", "x"][..0], "COMMAND"),
            (&["--memory", "8GB", "true"], "did you mean `8GiB`"),
            (&["-c", "0", "true"], "impossible"),
            (&["--priority", "urgent", "true"], "EXTREME_HIGH"),
            (&["--whole-node", "-d", "1", "true"], "cannot be used with"),
            (&["--share", "0.5", "-d", "1", "true"], "cannot be used with"),
            (&["-d", "0.5", "true"], "--share 0.5"),
            (&["--share", "50", "true"], "above 0 and at most 1"),
            (&["--share", "0.0001", "true"], "above 0 and at most 1"),
            (&["--compute-capability", "8", "true"], "two numbers"),
            (&["--lease", "1h", "true"], "--kind"),
            (&["--kind", "interactive", "true"], "--lease"),
            (&["--label", "disk", "true"], "NAME=VALUE"),
            (&["--deadline", "soon", "true"], "2026-12-01T09:00:00Z"),
            (&["--retry-anywhere", "true"], "--retries"),
            (&["-e", "HAI_NO_SUCH_VARIABLE", "true"], "is not set here"),
            (&["--lr", "3", "true"], "--lr"),
            (&["--grace-answer", "5", "true"], "not a length of time"),
        ] {
            let error = request(words).expect_err("it is wrong");
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
