//! Trouble that a machine gives a daemon: its clock is set, and its disk is full.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As the library has it.
const DIR_BYTES: usize = 1024;

const SOURCE: &str = include_str!("trouble.c");

/// What a daemon that was started with [`Trouble::environment`] suffers, from one moment to the next.
pub(crate) struct Trouble {
    file: fs::File,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Trouble {
    /// None yet; `None`, aloud, where no C compiler is.
    pub(crate) fn none(place: &Path) -> Option<Self> {
        let library = compiled()?;
        let path = place.join("trouble");
        let file = fs::File::options().create(true).read(true).write(true).truncate(true).open(&path).expect("a file");
        file.set_len(16 + DIR_BYTES as u64).expect("room");
        let environment = vec![("LD_PRELOAD", library), ("TROUBLE_FILE", path)];
        Some(Trouble { file, environment })
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        self.environment.clone()
    }

    /// The machine's clock is so many seconds ahead of the time, or behind.
    pub(crate) fn set_clock(&self, ahead: i64) {
        self.file.write_all_at(&ahead.to_ne_bytes(), 0).expect("written");
    }

    /// The disk with this directory.
    pub(crate) fn disk_of(&self, dir: &Path) {
        let dir = dir.as_os_str().as_bytes();
        assert!(dir.len() < DIR_BYTES, "a path that fits");
        self.file.write_all_at(dir, 16).expect("written");
    }

    /// It has no room left, or has again.
    pub(crate) fn fill_disk(&self, full: bool) {
        self.file.write_all_at(&i64::from(full).to_ne_bytes(), 8).expect("written");
    }
}

/// The compiled library. Tests run in processes of their own, so whoever comes first leaves it for the others.
fn compiled() -> Option<PathBuf> {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let digest = SOURCE
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let library = kept.join(format!("libtrouble-{digest:016x}.so"));
    if !library.exists() {
        let work = tempfile::tempdir_in(kept).expect("a temporary directory");
        let (source, made) = (work.path().join("trouble.c"), work.path().join("made.so"));
        fs::write(&source, SOURCE).expect("written");
        let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        let output = match cc.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&made).arg(&source).output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("SKIPPED: no C compiler here: {error}");
                return None;
            }
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(made, &library).expect("put in place");
    }
    Some(library)
}
