//! Executes a worker: finds its program, gives it its environment, and says in plain words why it can not be executed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hai_core::model::WorkerFate;
use rustix::io::Errno;

use super::super::files::{ANSWER, DONE, RankDir, SUSPEND, WORK};
use super::super::order::{MASTER, WorkerOrder};
use super::super::standing::refused;
use super::output::Output;

/// Where programs are looked for if neither the task nor the daemon has a `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Executes the worker as the leader of a process group of its own.
pub(super) fn execute(dir: &RankDir, order: &WorkerOrder, output: &Output) -> Result<Child, WorkerFate> {
    let not_executed = |reason| WorkerFate::NotExecuted { reason };
    let Some((name, arguments)) = order.program.command.split_first() else {
        return Err(not_executed("the command is empty".to_owned()));
    };
    let environment = environment(dir, order);
    let workdir = workdir(dir, order).map_err(not_executed)?;
    let path = environment.get(OsStr::new("PATH")).map_or(OsStr::new(PATH_DEFAULT), OsString::as_os_str);
    let program = resolve(name, path, &workdir).map_err(not_executed)?;
    let mut command = Command::new(program);
    command.arg0(name).args(arguments).env_clear().envs(&environment).current_dir(&workdir).process_group(0);
    let spawned = output.writer().and_then(|writer| {
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        command.spawn()
    });
    spawned.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        // The machine is short of something; another time it will do.
        Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE) => {
            refused(format!("`{name}` can not be executed now: {error}"))
        }
        Some(Errno::NOENT) => not_executed(format!("`{name}`: the interpreter that it names does not exist")),
        Some(Errno::NOEXEC) => {
            not_executed(format!("`{name}`: neither a program for this machine nor a script that begins with #!"))
        }
        Some(Errno::TOOBIG) => not_executed(format!("`{name}`: its arguments and environment are too long")),
        _ => not_executed(format!("`{name}`: {error}")),
    })
}

/// What the shim has, without what was meant for the daemon; then what the task brings; then what nobody overrides.
fn environment(dir: &RankDir, order: &WorkerOrder) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> =
        std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("HAI_")).collect();
    all.extend(order.program.env.iter().map(|(name, value)| (name.into(), value.into())));
    let devices: Vec<&str> = order.place.devices.iter().map(|device| device.as_str()).collect();
    let texts = [
        ("HAI_TASK_ID", order.task.to_string()),
        ("HAI_RUN_ID", order.run.to_string()),
        ("HAI_TASK_NAME", order.name.clone()),
        ("HAI_USER", order.user.to_string()),
        ("HAI_NODE", order.place.node.to_string()),
        ("HAI_WHOLE_LIFE_STATE", order.whole_life_state.to_string()),
        ("RANK", order.rank.to_string()),
        ("WORLD_SIZE", order.world_size.to_string()),
        ("MASTER_ADDR", MASTER.to_owned()),
        ("MASTER_PORT", order.master_port.to_string()),
        ("CUDA_VISIBLE_DEVICES", devices.join(",")),
    ];
    all.extend(order.variables.iter().map(|(name, value)| (name.into(), value.into())));
    all.extend(texts.map(|(name, value)| (name.into(), value.into())));
    let paths = [
        ("HAI_LOG_PATH", order.log_dir.clone()),
        ("MARSV2_LOG_DIR", order.log_dir.clone()),
        ("HAI_SUSPEND_FILE", dir.file(SUSPEND)),
        ("HAI_ANSWER_FILE", dir.file(ANSWER)),
        ("HAI_STATE_FILE", dir.state_file()),
        ("HAI_DONE_FILE", dir.file(DONE)),
    ];
    all.extend(paths.map(|(name, value)| (name.into(), value.into())));
    all
}

fn workdir(dir: &RankDir, order: &WorkerOrder) -> Result<PathBuf, String> {
    let workdir = order.program.workdir.as_ref().map_or_else(|| dir.file(WORK), PathBuf::from);
    let problem = match fs::metadata(&workdir) {
        Ok(metadata) if metadata.is_dir() => return Ok(workdir),
        Ok(_) => "is no directory".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("can not be used: {error}"),
    };
    Err(format!("the working directory {} {problem}", workdir.display()))
}

/// The file to execute for `name`, as a shell would find it.
fn resolve(name: &str, path: &OsStr, workdir: &Path) -> Result<PathBuf, String> {
    if name.contains('/') {
        let program = workdir.join(name);
        return match unfit(&program) {
            None => Ok(program),
            Some(problem) => Err(format!("`{name}`: {problem}")),
        };
    }
    let mut hidden = None;
    for dir in std::env::split_paths(path) {
        let program = workdir.join(dir).join(name);
        if !program.is_file() {
            continue;
        }
        match unfit(&program) {
            None => return Ok(program),
            Some(problem) => {
                hidden = hidden.or(Some(format!("`{name}`: {} is there, but {problem}", program.display())))
            }
        }
    }
    Err(hidden.unwrap_or_else(|| format!("`{name}`: no such command in PATH ({})", path.to_string_lossy())))
}

/// Why a file can not be executed, if it can not.
fn unfit(program: &Path) -> Option<String> {
    match fs::metadata(program) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Some("it is no file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("no such file".to_owned()),
        Err(error) => return Some(error.to_string()),
    }
    match rustix::fs::access(program, rustix::fs::Access::EXEC_OK) {
        Ok(()) => None,
        Err(_) => Some("it is not executable (chmod +x makes it so)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (work, bin) = (temp.path().join("work"), temp.path().join("bin"));
        fs::create_dir(&work).expect("created");
        fs::create_dir(&bin).expect("created");
        fs::write(work.join("plain"), "#!/bin/sh\n").expect("written");
        let path = OsString::from(format!("{}:/nonexistent:/bin:.", bin.display()));
        let find = |name: &str| resolve(name, &path, &work);
        assert_eq!(find("sh"), Ok(PathBuf::from("/bin/sh")));
        assert_eq!(find("/bin/sh"), Ok(PathBuf::from("/bin/sh")));
        assert!(find("nonsense").unwrap_err().contains("`nonsense`: no such command in PATH"));
        assert!(find("/nonsense").unwrap_err().contains("no such file"));
        assert!(find("./plain").unwrap_err().contains("chmod +x"));
        assert!(find("plain").unwrap_err().contains("is there, but"));
        assert!(find("/").unwrap_err().contains("no file"));
        std::os::unix::fs::symlink("/bin/sh", bin.join("mine")).expect("linked");
        assert_eq!(find("mine"), Ok(bin.join("mine")));
    }
}
