//! What is done to a daemon and its database, and how it is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::{Lab, signal};
use crate::proxy::{COMMIT, Catch, OPENING};
use crate::support::wait_for;

/// From the freeze of one leader to the first answer of the next.
const TAKE_OVER_MAX: Duration = Duration::from_secs(10);
/// How much a clock jumps, in seconds.
const JUMP: i64 = 3600;
/// More than the daemon has connections for those who only read, and how many connections it has then.
const READERS: usize = 12;
const CONNECTIONS: usize = 9;
/// How many tasks each of two people submits meanwhile.
const TASKS: u64 = 2;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of the daemon.
    KillDaemon,
    /// The same of all processes of the database's server.
    KillServer,
    /// The same of both.
    KillBoth,
    /// The leader is frozen, another takes over and works, and then the first thaws.
    Freeze,
    /// All connections to the database break, at any moment.
    Reset,
    /// One breaks at a commit.
    AtCommit(Catch),
    /// The way to the database is slow.
    Delay,
    /// All connections fall silent for ever, new ones go well; the server may have closed its side.
    Mute { server_forgets: bool },
    /// All connections break, and the next that would write falls silent before it has.
    MuteOpening,
    /// Nothing comes through at all, for longer than a daemon believes that it will.
    BlackHole,
    /// The database's disk is full, and then there is room again.
    FullDisk,
    /// The machine's clock jumps forward, back by twice as much, and is set right.
    Clock,
}

impl Fault {
    /// All that a database on a server can suffer.
    pub(crate) const ALL: [Fault; 15] = [
        Fault::KillDaemon,
        Fault::KillServer,
        Fault::KillBoth,
        Fault::Freeze,
        Fault::Reset,
        Fault::AtCommit(Catch::ResetBefore),
        Fault::AtCommit(Catch::ResetAfter),
        Fault::AtCommit(Catch::MuteAfter),
        Fault::Delay,
        Fault::Mute { server_forgets: false },
        Fault::Mute { server_forgets: true },
        Fault::MuteOpening,
        Fault::BlackHole,
        Fault::FullDisk,
        Fault::Clock,
    ];
    /// All that one in a file can.
    pub(crate) const EMBEDDED: [Fault; 3] = [Fault::KillDaemon, Fault::FullDisk, Fault::Clock];

    /// A daemon that hears nothing waits for its patience to end, which takes long.
    pub(crate) fn takes_long(self) -> bool {
        matches!(self, Fault::Mute { .. } | Fault::MuteOpening | Fault::AtCommit(Catch::MuteAfter))
    }

    /// Whether this lab can play it. What it can not is told aloud.
    pub(crate) fn can_be(self, lab: &Lab) -> bool {
        let can = match self {
            Fault::Clock => lab.trouble.is_some(),
            Fault::FullDisk => lab.server.as_ref().map_or(lab.trouble.is_some(), |server| server.small_disk),
            _ => true,
        };
        if !can {
            eprintln!("SKIPPED: {self:?} can not be played here");
        }
        can
    }

    /// Lets it happen while tasks are submitted, and leaves everything well.
    pub(crate) fn play(self, lab: &mut Lab) {
        let since = Instant::now();
        match self {
            Fault::KillDaemon | Fault::KillServer | Fault::KillBoth => self.kill(lab),
            Fault::Freeze => freeze(lab),
            Fault::Reset => reset(lab),
            Fault::AtCommit(what) => at_commit(lab, what),
            Fault::Delay => {
                lab.server().proxy.delay(Duration::from_millis(20));
                lab.amid_submissions(TASKS, || ());
                lab.server().proxy.delay(Duration::ZERO);
            }
            Fault::Mute { server_forgets } => mute(lab, server_forgets),
            Fault::MuteOpening => {
                let proxy = &lab.server.as_ref().expect("a database on a server").proxy;
                proxy.catch(OPENING, Catch::MuteAfter);
                proxy.reset();
                lab.amid_submissions(TASKS, || lab.wait_until_it_says_so());
            }
            Fault::BlackHole => {
                lab.server().proxy.swallow(true);
                lab.amid_submissions(TASKS, || lab.wait_until_it_says_so());
                lab.server().proxy.swallow(false);
            }
            Fault::FullDisk => full_disk(lab),
            Fault::Clock => clock(lab),
        }
        lab.wait_until_well();
        eprintln!("{self:?} was over after {:.1} s", since.elapsed().as_secs_f64());
    }

    fn kill(self, lab: &mut Lab) {
        let pause = Duration::from_millis(lab.random.below(80));
        let mut server = lab.server.take();
        lab.amid_submissions(TASKS, || {
            // Any moment will do.
            std::thread::sleep(pause);
            if self != Fault::KillDaemon {
                server.as_mut().expect("a database on a server").postgres.kill();
            }
            if self != Fault::KillServer {
                signal(lab.daemon.pid(), Signal::KILL);
            }
            if self != Fault::KillDaemon {
                server.as_mut().expect("a database on a server").postgres.restart();
            }
        });
        lab.server = server;
        if self != Fault::KillServer {
            lab.daemon.restart();
        }
    }
}

fn freeze(lab: &mut Lab) {
    let pause = Duration::from_millis(lab.random.below(40));
    let second = lab.daemon.beside();
    let frozen = lab.daemon.pid();
    std::thread::scope(|scope| {
        // Who asks the frozen one waits until it thaws.
        scope.spawn(|| lab.submit(TASKS));
        std::thread::sleep(pause);
        signal(frozen, Signal::STOP);
        let since = Instant::now();
        let leads = || lab.daemon.answer_of(&second.url, "/readyz", None).is_some_and(|answer| answer.0 == 200);
        wait_for("the second to lead", || leads().then_some(()));
        assert!(since.elapsed() < TAKE_OVER_MAX, "{:?}", since.elapsed());
        lab.submit_to(&second.url, TASKS);
        signal(frozen, Signal::CONT);
    });
    wait_for("the old leader to stop", || lab.daemon.has_ended().then_some(()));
    lab.daemon.go_on_with(second);
}

fn reset(lab: &mut Lab) {
    for _ in 0..3 {
        let pause = Duration::from_millis(lab.random.below(30));
        let proxy = &lab.server.as_ref().expect("a database on a server").proxy;
        lab.amid_submissions(TASKS, || {
            std::thread::sleep(pause);
            proxy.reset();
        });
    }
}

/// Those who read are caught in the middle of it too, as many as there may be.
fn mute(lab: &Lab, server_forgets: bool) {
    let proxy = &lab.server.as_ref().expect("a database on a server").proxy;
    let muted = AtomicBool::new(false);
    proxy.delay(Duration::from_millis(20));
    lab.amid_submissions(TASKS, || {
        std::thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    while !muted.load(Ordering::Relaxed) {
                        lab.daemon.answer_of(&lab.daemon.url, "/v1/tasks?limit=1", None);
                    }
                });
            }
            wait_for("all to read", || (proxy.connections() >= CONNECTIONS).then_some(()));
            muted.store(true, Ordering::Relaxed);
            proxy.mute(server_forgets);
            proxy.delay(Duration::ZERO);
            lab.wait_until_it_says_so();
        });
    });
}

fn at_commit(lab: &mut Lab, what: Catch) {
    let proxy = &lab.server.as_ref().expect("a database on a server").proxy;
    let before = proxy.caught();
    proxy.catch(COMMIT, what);
    lab.amid_submissions(TASKS, || wait_for("a commit", || (proxy.caught() > before).then_some(())));
}

fn full_disk(lab: &mut Lab) {
    match &lab.server {
        Some(server) => server.postgres.fill_disk(),
        None => lab.trouble.as_ref().expect("asked before").fill_disk(true),
    }
    // Until something does not fit any more.
    let away = || lab.metric("hai_store_up") == Some(0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !away() {
        assert!(Instant::now() < deadline, "the disk is full, and everything is stored");
        lab.submit_large();
    }
    lab.wait_until_it_says_so();
    lab.submit(1);
    match &mut lab.server {
        Some(server) => server.postgres.empty_disk(),
        None => lab.trouble.as_ref().expect("asked before").fill_disk(false),
    }
}

fn clock(lab: &mut Lab) {
    for ahead in [JUMP, -JUMP, 0] {
        // It must not be as if it had run for longer than it may.
        lab.submit_lasting();
        lab.trouble.as_ref().expect("asked before").set_clock(ahead);
        lab.amid_submissions(TASKS, || ());
        lab.wait_until_all_ended();
        if ahead < 0 {
            // The log ends later than this daemon believes it to be.
            lab.daemon.restart();
            lab.amid_submissions(TASKS, || ());
            lab.wait_until_all_ended();
        }
    }
}
