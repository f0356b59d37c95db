//! Where the output of pods goes while they write it, so that the API server finds it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::super::ControlPlane;

/// Tells a played server; a real one asks.
pub(crate) type Tell = Box<dyn Fn(&str, &str, &[u8]) + Send + Sync>;

/// The output of one node's pods.
pub(super) enum Output {
    Told(Tell),
    Served(Served),
}

/// Files, and a process that serves them as a kubelet does.
pub(super) struct Served {
    dir: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl Output {
    pub(super) fn of(plane: &ControlPlane) -> Self {
        match plane.certificate() {
            None => Output::Told(plane.tell_output()),
            Some(certificate) => Output::Served(Served::start(&certificate)),
        }
    }

    /// Where it is served.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Output::Told(_) => None,
            Output::Served(served) => Some(served.port),
        }
    }

    pub(super) fn write(&self, namespace: &str, pod: &str, bytes: &[u8]) {
        match self {
            Output::Told(tell) => tell(namespace, pod, bytes),
            Output::Served(served) => {
                let path = served.file(namespace, pod, "log");
                let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
                file.write_all(bytes).expect("written");
            }
        }
    }

    /// That is all.
    pub(super) fn close(&self, namespace: &str, pod: &str) {
        if let Output::Served(served) = self {
            fs::write(served.file(namespace, pod, "done"), "").expect("written");
        }
    }
}

impl Served {
    fn start(certificate: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/control_plane/kubelet/logs.py");
        let mut server = Command::new("python3")
            .arg(script)
            .arg(dir.path())
            .arg(certificate)
            .arg(certificate.with_extension("key"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is executed");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut line).expect("its port");
        Served { dir, port: line.trim().parse().expect("a port"), server }
    }

    fn file(&self, namespace: &str, pod: &str, what: &str) -> PathBuf {
        let dir = self.dir.path().join(namespace);
        fs::create_dir_all(&dir).expect("made");
        dir.join(format!("{pod}.{what}"))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
