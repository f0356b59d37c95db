//! Each fault by itself, before a database on a server.

use crate::faults::Fault;
use crate::lab::Lab;
use crate::proxy::Catch;

/// Plays it twice, with work before, between and after.
fn alone(fault: Fault, seed: u64) {
    alone_times(fault, seed, 2);
}

fn alone_times(fault: Fault, seed: u64, times: u32) {
    let Some(mut lab) = Lab::on_a_server(seed, fault == Fault::FullDisk) else { return };
    if !fault.can_be(&lab) {
        return;
    }
    lab.submit(4);
    for _ in 0..times {
        fault.play(&mut lab);
        lab.submit(2);
    }
    lab.verify();
}

#[test]
fn the_daemon_is_killed() {
    alone(Fault::KillDaemon, 1);
}

#[test]
fn the_server_is_killed() {
    alone(Fault::KillServer, 2);
}

#[test]
fn both_are_killed() {
    alone(Fault::KillBoth, 3);
}

#[test]
fn the_leader_is_frozen() {
    alone_times(Fault::Freeze, 4, 1);
}

#[test]
fn connections_break() {
    alone(Fault::Reset, 5);
}

#[test]
fn a_connection_breaks_before_a_commit() {
    alone(Fault::AtCommit(Catch::ResetBefore), 6);
}

#[test]
fn a_connection_breaks_after_a_commit() {
    alone(Fault::AtCommit(Catch::ResetAfter), 7);
}

#[test]
fn the_way_is_slow() {
    alone(Fault::Delay, 9);
}

/// A daemon that hears nothing waits long until it does not believe any more that it will; so all of them wait together.
#[test]
fn connections_fall_silent_or_are_half_open_or_a_commit_is_never_answered() {
    let silent = Fault::Mute { server_forgets: false };
    let half_open = Fault::Mute { server_forgets: true };
    std::thread::scope(|scope| {
        for (fault, seed) in
            [(silent, 10), (half_open, 11), (Fault::AtCommit(Catch::MuteAfter), 8), (Fault::MuteOpening, 15)]
        {
            scope.spawn(move || alone_times(fault, seed, 1));
        }
    });
}

#[test]
fn nothing_comes_through() {
    alone_times(Fault::BlackHole, 12, 1);
}

#[test]
fn the_server_s_disk_is_full() {
    alone(Fault::FullDisk, 13);
}

#[test]
fn the_daemon_s_clock_jumps() {
    alone_times(Fault::Clock, 14, 1);
}
