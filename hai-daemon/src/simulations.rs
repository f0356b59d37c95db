//! Simulations that the daemon plays for people: beside the scheduler, one at a time, on a thread that yields to all else.
//!
//! See [`Simulations`] for the primary entry point. What comes out is kept in memory, the last few of it, and is gone with the
//! daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use flate2::bufread::MultiGzDecoder;
use hai_core::engine::EngineConfig;
use hai_core::log::Workload;
use hai_core::model::{GroupName, Time, UserName};
use hai_core::sim::study::{Cluster, Contender, Load, Options, Submits};
use hai_core::trace::Format;
use rustix::process::setpriority_process;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::cli::simulate::given::{Given, given};
use crate::cli::simulate::{Run, Study};
use crate::report;
use crate::scheduler::wall_clock;

/// How many are kept, of all users together.
const KEPT_MAX: usize = 20;
/// How many of one user's are kept.
const KEPT_OF_ONE: usize = 5;
/// The most policies of one.
pub const POLICIES_MAX: usize = 8;
/// The most tasks that are played, under each policy.
const TASKS_MAX: usize = 200_000;
/// A trace may be packed, but not grow beyond this.
const UNPACKED_MAX: u64 = 256 << 20;
/// A page that is larger is of no use to anybody.
const PAGE_MAX: usize = 64 << 20;
/// How long one may take.
const TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// The thread yields to everybody.
const NICENESS: i32 = 19;
/// Names a policy that is read from a log.
const AS_LOGGED: &str = "log";

/// What is to be played.
pub struct Wanted {
    /// What it is, in words.
    pub what: String,
    /// The work.
    pub source: Source,
    /// On what, unless the work says so itself.
    pub cluster: Cluster,
    /// By what; see `hai simulate --words`.
    pub policies: Vec<String>,
    /// What is drawn by lot.
    pub seed: u64,
    /// All nodes and tasks into this group.
    pub one_group: Option<GroupName>,
    /// As if every task were of a user of its own.
    pub strangers: bool,
    /// As if everybody had said truly how long the work runs.
    pub oracle: bool,
}

/// Where the work comes from.
pub enum Source {
    /// A trace as somebody sent it, plain or packed.
    Trace {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its format, if it can not be found out.
        format: Option<Format>,
        /// Lines that can not be read are left out.
        skip_bad_lines: bool,
    },
    /// A log, which may take a while to read.
    Log(Box<dyn FnOnce() -> Result<Workload, String> + Send>),
}

/// What became of one so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Whose it is.
    pub user: UserName,
    /// What is played, in words.
    pub what: String,
    /// By what.
    pub policies: Vec<String>,
    /// When it was asked for.
    pub since: Time,
    /// How much of it is done, from 0 to 1.
    pub progress: f64,
    /// Whether it is over, and what went wrong if something did.
    pub end: Option<Result<(), String>>,
    /// What is odd about the work, in words.
    pub remarks: Vec<String>,
}

/// Why none is begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Each user has one at a time.
    #[error("simulation {0} of yours is still being played; wait for it, or remove it")]
    Busy(u64),
    /// Everything that is kept is being played.
    #[error("too many simulations are being played; try again later")]
    Full,
}

/// Those that are played and were; cheap to clone.
#[derive(Clone, Debug)]
pub struct Simulations {
    kept: Arc<Mutex<Kept>>,
    turn: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    all: BTreeMap<u64, Arc<Play>>,
}

#[derive(Debug)]
struct Play {
    user: UserName,
    what: String,
    policies: Vec<String>,
    since: Time,
    stop: CancellationToken,
    /// In thousandths.
    progress: AtomicU64,
    remarks: Mutex<Vec<String>>,
    end: OnceLock<Result<Arc<str>, String>>,
}

impl Default for Simulations {
    fn default() -> Self {
        Simulations { kept: Arc::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Simulations {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one in the name of a user, until `stop`; returns its number. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn begin(&self, user: UserName, wanted: Wanted, stop: CancellationToken) -> Result<u64, Refused> {
        let play = Arc::new(Play {
            user,
            what: wanted.what.clone(),
            policies: wanted.policies.clone(),
            since: wall_clock(),
            stop,
            progress: AtomicU64::new(0),
            remarks: Mutex::default(),
            end: OnceLock::new(),
        });
        let id = self.kept().add(play.clone())?;
        let turn = self.turn.clone();
        tokio::spawn(async move {
            let turn = tokio::select! {
                () = play.stop.cancelled() => None,
                turn = turn.acquire_owned() => turn.ok(),
            };
            let Some(turn) = turn else {
                drop(play.end.set(Err("it was ended before it began".to_owned())));
                return;
            };
            let ended = play.clone();
            let played = std::thread::Builder::new().name("simulation".to_owned()).spawn(move || {
                let _turn = turn;
                yield_to_all();
                let page = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play.play(wanted)));
                let page =
                    page.unwrap_or_else(|_| Err("it ran into a fault of the server's; its log says more".to_owned()));
                drop(play.end.set(page.map(Arc::from)));
            });
            if let Err(error) = played {
                drop(ended.end.set(Err(format!("no thread could be started: {error}"))));
            }
        });
        Ok(id)
    }

    /// What became of one.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Standing> {
        self.kept().all.get(&id).map(|play| play.standing())
    }

    /// Its page, once there is one.
    #[must_use]
    pub fn page(&self, id: u64) -> Option<Arc<str>> {
        self.kept().all.get(&id)?.end.get()?.as_ref().ok().cloned()
    }

    /// Ends it if it is being played, and forgets it; `false` if there is no such one.
    pub fn remove(&self, id: u64) -> bool {
        let removed = self.kept().all.remove(&id);
        removed.inspect(|play| play.stop.cancel()).is_some()
    }
}

impl Kept {
    fn add(&mut self, play: Arc<Play>) -> Result<u64, Refused> {
        let of_user = |other: &&Arc<Play>| other.user == play.user;
        let busy = self.all.iter().find(|(_, other)| of_user(other) && other.end.get().is_none());
        if let Some((id, _)) = busy {
            return Err(Refused::Busy(*id));
        }
        let over = |all: &BTreeMap<u64, Arc<Play>>, own: bool| {
            let of = |(id, other): (&u64, &Arc<Play>)| {
                (other.end.get().is_some() && (!own || other.user == play.user)).then_some(*id)
            };
            all.iter().find_map(of)
        };
        while self.all.values().filter(of_user).count() >= KEPT_OF_ONE
            && let Some(oldest) = over(&self.all, true)
        {
            self.all.remove(&oldest);
        }
        if self.all.len() >= KEPT_MAX {
            let oldest = over(&self.all, false).ok_or(Refused::Full)?;
            self.all.remove(&oldest);
        }
        self.last += 1;
        self.all.insert(self.last, play);
        Ok(self.last)
    }
}

impl Play {
    fn standing(&self) -> Standing {
        let end = self.end.get().map(|end| end.as_ref().map(drop).map_err(Clone::clone));
        Standing {
            user: self.user.clone(),
            what: self.what.clone(),
            policies: self.policies.clone(),
            since: self.since,
            progress: if matches!(end, Some(Ok(()))) {
                1.0
            } else {
                self.progress.load(Ordering::Relaxed) as f64 / 1000.0
            },
            end,
            remarks: self.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn remark(&self, remark: String) {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).push(remark);
    }

    /// Plays all of it; returns the page.
    fn play(&self, wanted: Wanted) -> Result<String, String> {
        let begun = Instant::now();
        let Wanted { what, source, cluster: now, policies, seed, one_group, strangers, oracle } = wanted;
        let Given { mut load, cluster, config, bad_lines, .. } = self.read(source, &what)?;
        let (mut cluster, cluster_name) = match cluster {
            Some(cluster) => (cluster, "as in the log"),
            None => (now, "this daemon's"),
        };
        if let Some(group) = &one_group {
            load = load.one_group(group);
            cluster.one_group(group);
        }
        load = if strangers { load.strangers() } else { load };
        load = if oracle { load.foretold() } else { load };
        self.look_at(&load, &cluster)?;
        let mut contenders = Vec::new();
        for name in &policies {
            contenders.push(contender(name, &load, &cluster, config.as_ref())?);
        }
        let tasks = load.tasks().len();
        let mut study = Study {
            hai_study: 1,
            hai: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: cluster_name.to_owned(),
            nodes: cluster.nodes.len(),
            devices: cluster.devices(),
            trace: what,
            bad_lines,
            start: load.first().unwrap_or(Time::ZERO),
            ..Study::default()
        };
        for (played, (policy, contender)) in policies.iter().zip(contenders).enumerate() {
            let outcome = contender.play(&cluster, &load, seed, &Options::default(), &mut |progress| {
                let over = played * tasks + progress.over;
                let part = 1000 * over as u64 / (policies.len() * tasks).max(1) as u64;
                // Not yet all of it: the page is still to be made.
                self.progress.store(part.min(990), Ordering::Relaxed);
                let enough = self.stop.is_cancelled() || begun.elapsed() > TIME_MAX;
                if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            self.may_go_on(begun)?;
            let outcome = outcome.map_err(|error| error.to_string())?;
            study.runs.push(Run { policy: policy.clone(), seed, outcome });
        }
        let page = report::page(&[(String::new(), &study)]).map_err(|error| error.to_string())?;
        if page.len() > PAGE_MAX {
            return Err(format!("its page would have {} MiB; play less work or fewer policies", page.len() >> 20));
        }
        Ok(page)
    }

    fn may_go_on(&self, begun: Instant) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("it was ended before all was played".to_owned());
        }
        if begun.elapsed() > TIME_MAX {
            let minutes = TIME_MAX.as_secs() / 60;
            return Err(format!(
                "it took longer than {minutes} min; play less work here, or all of it with `hai simulate`"
            ));
        }
        Ok(())
    }

    fn read(&self, source: Source, what: &str) -> Result<Given, String> {
        match source {
            Source::Log(read) => {
                let workload = read()?;
                let cluster = Some(workload.cluster().map_err(|error| error.to_string())?);
                let config = Some(workload.config().clone());
                Ok(Given { load: workload.load(), cluster, config, ..Given::default() })
            }
            Source::Trace { bytes, format, skip_bad_lines } => {
                let packed = bytes.starts_with(&[0x1f, 0x8b]);
                let plain = BufReader::new(Cursor::new(bytes));
                let unpacked: Box<dyn Read> =
                    if packed { Box::new(MultiGzDecoder::new(plain)) } else { Box::new(plain) };
                let input: Box<dyn BufRead> = Box::new(BufReader::new(Bounded { inner: unpacked, left: UNPACKED_MAX }));
                let read = given(what, input, format, skip_bad_lines).map_err(|error| error.to_string())?;
                if read.bad_lines > 0 {
                    let first = read.bad_told.first().map(|told| format!(", the first: {told}")).unwrap_or_default();
                    self.remark(format!("{} lines could not be read and are left out{first}", read.bad_lines));
                }
                Ok(read)
            }
        }
    }

    /// Whether the work can be played at all; and what of it never starts.
    fn look_at(&self, load: &Load, cluster: &Cluster) -> Result<(), String> {
        match load.tasks().len() {
            0 => return Err("there is no task in it".to_owned()),
            many if many > TASKS_MAX => {
                return Err(format!(
                    "it has {many} tasks, and at most {TASKS_MAX} are played here; `hai simulate` plays all"
                ));
            }
            _ => {}
        }
        if cluster.nodes.is_empty() {
            return Err("there is no node to play it on".to_owned());
        }
        let known: BTreeSet<&str> = cluster.nodes.iter().map(|node| node.group.as_str()).collect();
        let strange = load.tasks().iter().filter(|task| !known.contains(task.spec.group.as_str())).count();
        if strange > 0 {
            self.remark(format!(
                "{strange} tasks ask for groups that the cluster does not have, and never start; `one_group` puts all into one"
            ));
        }
        Ok(())
    }
}

/// What decides under a name.
///
/// # Errors
/// The name is none, or it objects to the work or the cluster; in words.
fn contender(name: &str, load: &Load, cluster: &Cluster, logged: Option<&EngineConfig>) -> Result<Contender, String> {
    if name == AS_LOGGED {
        let config = logged.ok_or("policy `log`: the work comes from no event log of hai")?;
        return Ok(Contender::Engine(Box::new(config.clone()), Submits::default()));
    }
    let contender = Contender::named(name, load)?;
    match contender.objection(cluster, load) {
        Some(objection) => Err(objection),
        None => Ok(contender),
    }
}

/// Whether a policy has such a name.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_policy(name: &str) -> Result<(), String> {
    if name == AS_LOGGED { Ok(()) } else { Contender::named(name, &Load::default()).map(drop) }
}

/// A reader that fails instead of giving more than so much.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| std::io::Error::other(format!("it unpacks to more than {} MiB", UNPACKED_MAX >> 20)))?;
        Ok(read)
    }
}

/// This thread goes on only where nobody else wants the processor. On Linux that is a thread's own.
fn yield_to_all() {
    if let Err(error) = setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a simulation can not be made to yield");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::new(name).expect("a name")
    }

    fn play(name: &str, over: bool) -> Arc<Play> {
        let play = Play {
            user: user(name),
            what: String::new(),
            policies: Vec::new(),
            since: Time::ZERO,
            stop: CancellationToken::new(),
            progress: AtomicU64::new(0),
            remarks: Mutex::default(),
            end: OnceLock::new(),
        };
        if over {
            play.end.set(Err("over".to_owned())).expect("it had none");
        }
        Arc::new(play)
    }

    #[test]
    fn each_has_one_at_a_time_and_only_the_last_are_kept() {
        let mut kept = Kept::default();
        for _ in 0..7 {
            kept.add(play("ann", true)).expect("the last is over");
        }
        assert_eq!(kept.all.keys().copied().collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
        kept.add(play("ann", false)).expect("the last is over");
        assert_eq!(kept.add(play("ann", false)), Err(Refused::Busy(8)));
        for number in 0..KEPT_MAX {
            kept.add(play(&format!("u{number}"), false)).map(drop).unwrap_or_default();
        }
        assert_eq!(kept.all.len(), KEPT_MAX);
        assert!(kept.all.values().all(|play| play.end.get().is_none()), "those that are over went first");
        assert_eq!(kept.add(play("new", false)), Err(Refused::Full));
    }

    #[test]
    fn what_grows_without_end_is_broken_off() {
        let mut bounded = Bounded { inner: std::io::repeat(0), left: 1000 };
        let error = bounded.read_to_end(&mut Vec::new()).expect_err("it ends");
        assert!(error.to_string().contains("unpacks to more"), "{error}");
    }
}
