//! The faults that a database in a file can suffer, each by itself and all together.

use crate::faults::Fault;
use crate::lab::Lab;

fn play(faults: &[Fault], seed: u64) {
    let mut lab = Lab::on_a_file(seed);
    lab.submit(4);
    for fault in faults {
        if fault.can_be(&lab) {
            fault.play(&mut lab);
        }
        lab.submit(2);
    }
    lab.verify();
}

#[test]
fn a_daemon_with_a_file_is_killed_under_load() {
    play(&[Fault::KillDaemon; 6], 21);
}

#[test]
fn a_file_s_disk_is_full() {
    play(&[Fault::FullDisk; 2], 22);
}

#[test]
fn the_clock_of_a_daemon_with_a_file_jumps() {
    play(&[Fault::Clock], 23);
}

#[test]
fn all_at_once_with_a_file() {
    use Fault::{Clock, FullDisk, KillDaemon};
    play(&[KillDaemon, FullDisk, KillDaemon, Clock, FullDisk, KillDaemon], 24);
}
