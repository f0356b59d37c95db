//! Makes the fake library, and changes what it plays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("fake_nvml.rs");

/// Two cards as in a lab: a 3070 with a desktop's worth of memory free, and a 3060.
pub(crate) const LAB: &str = "
driver 570.86
gpu 0 GPU-3070 NVIDIA GeForce RTX 3070
memory 8192 300
set temperature 45
set slowdown 93
set utilisation 7
set power 21500
set major 8
set minor 6
set bus 1
gpu 1 GPU-3060 NVIDIA GeForce RTX 3060
memory 12288 0
set temperature 40
set slowdown 93
set utilisation 0
set power 12000
set major 8
set minor 6
set bus 2
level 0 1 30
";

/// A copy of the library with a state of its own; in a folder that goes with it.
pub(crate) struct Library {
    dir: tempfile::TempDir,
}

impl Library {
    /// A library that plays `state`.
    pub(crate) fn playing(state: &str) -> Self {
        Self::built(state, &[])
    }

    /// One without the functions that came with driver 510.
    pub(crate) fn old(state: &str) -> Self {
        Self::built(state, &["--cfg", "old_driver"])
    }

    fn built(state: &str, flags: &[&str]) -> Self {
        let library = Library { dir: tempfile::tempdir().expect("a temporary directory") };
        library.plays(state);
        fs::copy(compiled(flags), library.path()).expect("copied");
        library
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("libnvidia-ml.so.1")
    }

    /// From now on it plays this.
    pub(crate) fn plays(&self, state: &str) {
        let fresh = self.dir.path().join("fresh");
        fs::write(&fresh, state).expect("written");
        fs::rename(fresh, self.dir.path().join("libnvidia-ml.so.1.state")).expect("put in place");
    }
}

/// The compiled library. Tests run in processes of their own, so whoever comes first leaves it for the others.
fn compiled(flags: &[&str]) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = format!("libfake-nvml-{:016x}.so", digest(&[SOURCE, &flags.join(" ")]));
    let library = kept.join(&name);
    if !library.exists() {
        let work = tempfile::tempdir_in(kept).expect("a temporary directory");
        let (source, made) = (work.path().join("fake_nvml.rs"), work.path().join(&name));
        fs::write(&source, SOURCE).expect("written");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args([
            "--edition",
            "2024",
            "--crate-type",
            "cdylib",
            "--check-cfg",
            "cfg(old_driver)",
            "-C",
            "debuginfo=0",
        ]);
        let output = rustc.args(flags).arg("-o").arg(&made).arg(&source).output().expect("rustc can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::rename(made, &library).expect("put in place");
    }
    library
}

/// FNV-1a.
fn digest(texts: &[&str]) -> u64 {
    texts
        .iter()
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
