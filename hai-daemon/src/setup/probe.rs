//! `hai-daemon probe`: says whether directories can be written, from within a pod on the node that mounts them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Tries one directory: a file is made in it and removed again, or it is listed if it is read only.
///
/// # Errors
/// What does not work.
pub fn directory(path: &Path, read_only: bool) -> Result<(), String> {
    let said = |what: &str, error: &std::io::Error| format!("{} {what}: {error}", path.display());
    std::fs::read_dir(path).map_err(|error| said("can not be read", &error))?;
    if read_only {
        return Ok(());
    }
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let mut name = ".hai-probe-".to_owned();
    for byte in random {
        // Writing to a string does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    let file = path.join(name);
    std::fs::write(&file, b"hai").map_err(|error| said("can not be written", &error))?;
    std::fs::remove_file(&file).map_err(|error| said("does not let files be removed", &error))
}

/// Tries all: those in `read_only` are only read. What does not work is printed, a line each.
#[must_use]
pub fn main(writable: &[PathBuf], read_only: &[PathBuf]) -> ExitCode {
    let all = writable.iter().map(|path| (path, false)).chain(read_only.iter().map(|path| (path, true)));
    let faults: Vec<String> = all.filter_map(|(path, read_only)| directory(path, read_only).err()).collect();
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_left_as_it_was() {
        let dir = std::env::temp_dir().join(format!("hai-probe-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        assert_eq!(directory(&dir, false), Ok(()));
        assert_eq!(std::fs::read_dir(&dir).expect("it is there").count(), 0);
        std::fs::remove_dir(&dir).expect("it is empty");
        let error = directory(&dir, true).expect_err("it is gone");
        assert!(error.contains("can not be read"), "{error}");
    }
}
