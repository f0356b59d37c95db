//! Which process holds a lead, so that another on the same machine sees that it is gone and need not wait.

use std::fs;

/// This process: boot, process namespace, number and start time. Nothing else ever is this process.
pub(crate) fn own() -> Option<String> {
    let place = place()?;
    let pid = std::process::id();
    Some(format!("{place} {pid} {}", started(pid)?))
}

/// Whether `holder` was a process of this very system, and has ended. Of one elsewhere nobody here can tell.
pub(crate) fn is_gone(holder: &str) -> bool {
    let Some((there, pid, start)) = parts(holder) else { return false };
    place().is_some_and(|here| here == there) && started(pid) != Some(start)
}

fn parts(holder: &str) -> Option<(&str, u32, u64)> {
    let (rest, start) = holder.rsplit_once(' ')?;
    let (place, pid) = rest.rsplit_once(' ')?;
    Some((place, pid.parse().ok()?, start.parse().ok()?))
}

/// Where process numbers mean the same: this boot's, in this container.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// When a process began, in ticks since boot; `None` if it is gone, also if nobody has taken note of its end yet.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_here_that_ended_are_gone() {
        let own = own().expect("a system with /proc");
        assert!(!is_gone(&own));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let other = format!("{} {} {}", place().expect("/proc"), child.id(), started(child.id()).expect("it runs"));
        assert!(!is_gone(&other));
        child.kill().expect("it is ours");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        // A zombie is gone too.
        while !is_gone(&other) {
            assert!(std::time::Instant::now() < deadline);
        }
        child.wait().expect("it is ours");
        assert!(is_gone(&other));
        assert!(!is_gone(&format!("another-boot pid:[1] {} 1", child.id())));
        for nonsense in ["", "x", "a b c", "a b 99999999999 1"] {
            assert!(!is_gone(nonsense), "{nonsense}");
        }
    }
}
