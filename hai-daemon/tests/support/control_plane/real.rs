//! A real control plane: `etcd` and `kube-apiserver` out of `KUBEBUILDER_ASSETS`, on loopback.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use tempfile::TempDir;

/// How long either may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// The control plane; dropping it ends its processes.
#[derive(Debug)]
pub(crate) struct Real {
    assets: PathBuf,
    dir: TempDir,
    etcd: Child,
    server: Option<Child>,
    store: u16,
    port: u16,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of the kernel's choice");
    listener.local_addr().expect("it is bound").port()
}

fn end(child: &mut Child) {
    // An error only says that it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn log(dir: &Path, name: &str) -> Stdio {
    fs::OpenOptions::new().create(true).append(true).open(dir.join(name)).expect("a file for the log").into()
}

fn pem(label: &str, der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = if at <= chunk.len() { LETTERS[(word >> (18 - 6 * at) & 63) as usize] } else { b'=' };
            text.push(char::from(letter));
        }
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("letters")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Real {
    /// `tokens`: lines of a token file, `token,user,uid,"group"`.
    pub(crate) fn start(assets: &Path, tokens: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("tokens.csv"), tokens).expect("the tokens are written");
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("it was made just now");
        // SubjectPublicKeyInfo of a point on P-256.
        let mut public =
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\
                           \x03\x42\x00"
                .to_vec();
        public.extend_from_slice(pair.public_key().as_ref());
        for (name, label, der) in
            [("accounts.key", "PRIVATE KEY", key.as_ref()), ("accounts.pub", "PUBLIC KEY", &public)]
        {
            fs::write(dir.path().join(name), pem(label, der)).expect("the key is written");
        }
        let (store, peers) = (free_port(), free_port());
        let etcd = Command::new(assets.join("etcd"))
            .arg(format!("--data-dir={}", dir.path().join("etcd").display()))
            .arg(format!("--listen-client-urls=http://127.0.0.1:{store}"))
            .arg(format!("--advertise-client-urls=http://127.0.0.1:{store}"))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{peers}"))
            .arg("--unsafe-no-fsync")
            .stdin(Stdio::null())
            .stdout(log(dir.path(), "etcd.log"))
            .stderr(log(dir.path(), "etcd.log"))
            .spawn()
            .expect("etcd is executed");
        let mut real = Self { assets: assets.to_owned(), dir, etcd, server: None, store, port: free_port() };
        let deadline = Instant::now() + PATIENCE;
        while ureq::get(format!("http://127.0.0.1:{store}/health")).call().is_err() {
            real.still_runs("etcd");
            assert!(Instant::now() < deadline, "etcd does not answer: {}", real.tail("etcd.log"));
            std::thread::sleep(Duration::from_millis(50));
        }
        real.resume();
        real
    }

    fn tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        text.lines().rev().take(15).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn still_runs(&mut self, name: &str) {
        let child = if name == "etcd" { Some(&mut self.etcd) } else { self.server.as_mut() };
        let ended = child.and_then(|child| child.try_wait().expect("it is ours"));
        assert!(ended.is_none(), "{name} ended with {ended:?}: {}", self.tail(&format!("{name}.log")));
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// What to trust it by.
    pub(crate) fn authority(&self) -> PathBuf {
        self.dir.path().join("certs/apiserver.crt")
    }

    /// Ends the API server at once, as a crash would; the data stay.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            end(&mut server);
        }
    }

    /// Starts the API server again, where it was; it may take a while to be ready.
    pub(crate) fn resume(&mut self) {
        if self.server.is_some() {
            return;
        }
        let dir = self.dir.path();
        let server = Command::new(self.assets.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.store))
            .arg("--bind-address=127.0.0.1")
            .arg("--advertise-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--cert-dir={}", dir.join("certs").display()))
            .arg(format!("--token-auth-file={}", dir.join("tokens.csv").display()))
            .arg("--authorization-mode=RBAC")
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            .arg("--service-account-issuer=https://localhost")
            .arg(format!("--service-account-key-file={}", dir.join("accounts.pub").display()))
            .arg(format!("--service-account-signing-key-file={}", dir.join("accounts.key").display()))
            // No controller gives namespaces their account.
            .arg("--disable-admission-plugins=ServiceAccount")
            .arg("--allow-privileged=true")
            // Kubelets are played on this machine, whatever address their nodes have.
            .arg("--kubelet-preferred-address-types=ExternalIP")
            .stdin(Stdio::null())
            .stdout(log(dir, "kube-apiserver.log"))
            .stderr(log(dir, "kube-apiserver.log"))
            .spawn()
            .expect("kube-apiserver is executed");
        self.server = Some(server);
    }

    /// Fails if one of the processes has ended by itself.
    pub(crate) fn check(&mut self) {
        self.still_runs("etcd");
        self.still_runs("kube-apiserver");
    }

    pub(crate) fn why(&self) -> String {
        self.tail("kube-apiserver.log")
    }

    /// Forgets what happened up to now. What the API server itself remembers goes when it is started again.
    pub(crate) fn compact(&self) {
        let call = |path: &str, body: &serde_json::Value| -> serde_json::Value {
            ureq::post(format!("http://127.0.0.1:{}/v3/{path}", self.store))
                .send_json(body)
                .expect("etcd answers")
                .body_mut()
                .read_json()
                .expect("JSON")
        };
        let found = call("kv/range", &serde_json::json!({"key": "AA=="}));
        let revision = found["header"]["revision"].clone();
        call("kv/compaction", &serde_json::json!({"revision": revision, "physical": true}));
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.stop();
        end(&mut self.etcd);
    }
}
