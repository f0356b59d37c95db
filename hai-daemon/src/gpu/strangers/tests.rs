//! Who is a stranger, by examples, and with real processes.

use std::process::{Child, Command, Stdio};

use super::*;

const POD: &str = "0a1b2c3d-0000-4000-8000-00000000abcd";

fn process(pid: u32, name: &str, memory_mib: Option<u64>, ours: bool) -> Process {
    Process { pid, name: Some(name.to_owned()), memory_mib, computes: false, ours }
}

#[test]
fn a_desktop_is_a_stranger_until_it_is_allowed() {
    let desktop = [process(900, "Xorg", Some(120), false), process(950, "gnome-shell", Some(90), false)];
    let strict = Tolerance::default();
    assert_eq!(strict.stranger(&desktop).as_deref(), Some("Xorg (process 900) and 1 more"));
    let allows =
        |names: &[&str]| Tolerance { programs: names.iter().map(ToString::to_string).collect(), ..strict.clone() };
    assert_eq!(allows(&["Xorg"]).stranger(&desktop).as_deref(), Some("gnome-shell (process 950)"));
    assert_eq!(allows(&["Xorg", "gnome-shell"]).stranger(&desktop), None);
}

#[test]
fn little_memory_is_overlooked_but_not_if_it_is_unknown() {
    let tolerance = Tolerance::default();
    assert_eq!(tolerance.stranger(&[process(1, "Xorg", Some(4), false)]), None);
    // Many little ones are as much as a large one.
    let many: Vec<Process> = (1..10).map(|pid| process(pid, "x", Some(4), false)).collect();
    assert!(tolerance.stranger(&many).is_some());
    assert!(tolerance.stranger(&[process(1, "Xorg", None, false)]).is_some());
    assert_eq!(tolerance.stranger(&[process(1, "python", Some(9000), true)]), None);
    assert_eq!(Tolerance { memory_mib: 0, ..tolerance }.stranger(&[]), None);
}

#[test]
fn a_name_longer_than_the_system_s_means_the_same() {
    let tolerance = Tolerance { programs: ["gnome-remote-desktop".to_owned()].into(), ..Tolerance::default() };
    assert_eq!(tolerance.stranger(&[process(1, "gnome-remote-de", Some(500), false)]), None);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // The shell leads a group, so that its child goes with it; both may be gone already.
        let group = rustix::process::Pid::from_raw(self.0.id().cast_signed()).expect("a process");
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

fn sleeps(variable: Option<&str>) -> Killed {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 & echo $!; wait"]).stdin(Stdio::null()).stdout(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.env_remove("HAI_SUSPEND_FILE");
    if let Some(value) = variable {
        command.env("HAI_SUSPEND_FILE", value);
    }
    Killed(command.spawn().expect("a shell"))
}

/// The shell's child, once it says so.
fn child_of(shell: &mut Killed) -> u32 {
    use std::io::{BufRead as _, BufReader};
    let mut line = String::new();
    BufReader::new(shell.0.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    line.trim().parse().expect("a number")
}

#[test]
fn workers_and_their_children_are_ours_and_those_of_another_daemon_are_not() {
    let workers = LocalWorkers::of("/srv/hai/runs");
    let mut ours = sleeps(Some("/srv/hai/runs/7/0/suspend"));
    let child = child_of(&mut ours);
    assert!(workers.is_ours(ours.0.id()) && workers.is_ours(child));
    let mut other = sleeps(Some("/srv/hai-other/runs/7/0/suspend"));
    let child = child_of(&mut other);
    assert!(!workers.is_ours(child));
    assert!(LocalWorkers::of_any().is_ours(child));
    let mut stranger = sleeps(None);
    let child = child_of(&mut stranger);
    assert!(!LocalWorkers::of_any().is_ours(child));
    assert!(std::fs::exists(format!("/proc/{child}/comm")).expect("readable"), "it runs");
}

#[test]
fn a_pod_is_found_in_every_way_of_writing_it() {
    let with = POD.replace('-', "_");
    for line in [
        format!("0::/kubepods/besteffort/pod{POD}/4f5e"),
        format!(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{with}.slice/cri-containerd-4f5e.scope"
        ),
        // As it looks from a container with control groups of its own.
        format!("0::/../../../burstable/pod{POD}/4f5e"),
        format!("12:devices:/kubepods/pod{POD}/4f5e\n1:name=systemd:/kubepods/pod{POD}/4f5e\n"),
        format!("0::/system.slice/containerd.service/kubepods-pod{with}.slice:cri-containerd:4f5e"),
    ] {
        assert_eq!(pod_of(&line).as_deref(), Some(POD), "{line}");
    }
    for line in ["0::/user.slice/user-1000.slice/session-2.scope", "0::/podman/pod-x", ""] {
        assert_eq!(pod_of(line), None, "{line}");
    }
}

#[test]
fn pods_get_the_benefit_of_the_doubt_only_until_the_daemon_speaks() {
    let workers = PodWorkers::default();
    assert!(workers.is_known(POD));
    workers.set(["another".to_owned()]);
    assert!(!workers.is_known(POD));
    workers.set([POD.to_owned()]);
    assert!(workers.is_known(POD));
    // This process is in no pod, or in one that is not hai's.
    assert!(!workers.is_ours(std::process::id()));
}
