//! A Postgres server of a test's own, which ends with it; or the one that `HAI_TEST_DATABASE_URL` names.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

/// The user of the server's processes if the test is root's, whom Postgres refuses: `nobody`.
const NOBODY: u32 = 65534;
const PATIENCE: Duration = Duration::from_secs(60);
/// A fresh database takes about 30 MiB.
const DISK_MIB: u32 = 72;

/// A server, and a schema in its database that nobody else uses.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: Option<Server>,
    base: String,
    schema: String,
}

/// A server's processes and files.
#[derive(Debug)]
struct Server {
    dir: TempDir,
    binaries: PathBuf,
    settings: Vec<String>,
    postmaster: Option<Child>,
    disk: Option<Disk>,
}

/// A file system of its own, of few MiB, which exists only for those who are in a namespace with its keeper.
#[derive(Debug)]
struct Disk {
    keeper: Child,
}

/// Where `initdb` and `postgres` are.
fn binaries() -> Option<PathBuf> {
    let named = std::env::var_os("HAI_TEST_PG_BIN").map(PathBuf::from);
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = named.into_iter().chain(found.into_iter().rev()).chain(std::env::split_paths(&path));
    candidates.into_iter().find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
}

impl Postgres {
    /// A fresh database; `None`, aloud, where there is neither a server nor a way to start one.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn start() -> Option<Self> {
        Self::with_settings(&["fsync=off", "full_page_writes=off"])
    }

    /// The same, but what is acknowledged is on the disk.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn durable() -> Option<Self> {
        Self::with_settings(&["fsync=on"])
    }

    /// The same, and its data is on a disk of its own that is no larger than needed.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn on_small_disk() -> Option<Self> {
        Self::made(&["fsync=on", "min_wal_size=2MB", "max_wal_size=16MB"], true)
    }

    fn with_settings(settings: &[&str]) -> Option<Self> {
        Self::made(settings, false)
    }

    fn made(settings: &[&str], small_disk: bool) -> Option<Self> {
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        let schema = format!("t_{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
        if let Ok(base) = std::env::var("HAI_TEST_DATABASE_URL") {
            return Some(Postgres { server: None, base, schema });
        }
        let Some(binaries) = binaries() else {
            eprintln!("SKIPPED: no Postgres here; install it, or name a server with HAI_TEST_DATABASE_URL");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("hai-pg").tempdir().expect("a temporary directory");
        if rustix::process::geteuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Server { dir, binaries, settings, postmaster: None, disk: None };
        if small_disk {
            match Disk::make(&server.dir.path().join("disk")) {
                Ok(disk) => server.disk = Some(disk),
                Err(problem) => {
                    eprintln!("SKIPPED: no file system of a test's own can be made here: {problem}");
                    return None;
                }
            }
        }
        server.init();
        server.start();
        let base = format!("postgres://postgres@localhost/postgres?host={}", server.dir.path().display());
        Some(Postgres { server: Some(server), base, schema })
    }

    /// A schema of its own on the same server.
    pub(crate) fn url(&self) -> String {
        let joint = if self.base.contains('?') { '&' } else { '?' };
        format!("{}{joint}options=-c%20search_path%3D{}", self.base, self.schema)
    }

    /// The same, reached through a port of this machine that leads to [`Postgres::socket`].
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn url_through(&self, port: u16) -> String {
        let schema = &self.schema;
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable&options=-c%20search_path%3D{schema}")
    }

    /// Where a server of our own listens.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn socket(&self) -> PathBuf {
        self.server.as_ref().expect("a server of our own").dir.path().join(".s.PGSQL.5432")
    }

    /// Fills its small disk to the last byte.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn fill_disk(&self) {
        let server = self.server.as_ref().expect("a server of our own");
        let filled = server.inside("sh").args(["-c", "cat /dev/zero > \"$0\""]).arg(server.filler()).output();
        let filled = filled.expect("sh is executed");
        assert!(String::from_utf8_lossy(&filled.stderr).contains("No space left"), "{filled:?}");
    }

    /// Makes room on it again; a server that could not go on is started.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn empty_disk(&mut self) {
        let server = self.server.as_mut().expect("a server of our own");
        let removed = server.inside("rm").arg(server.filler()).status().expect("rm is executed");
        assert!(removed.success(), "it was filled");
        let child = server.postmaster.as_mut().expect("it was started");
        // One that can not write its log ends by itself, if it does; one that goes on is left alone.
        let ends = Instant::now() + Duration::from_secs(1);
        while Instant::now() < ends {
            if child.try_wait().expect("it is ours").is_some() {
                server.postmaster = None;
                return server.start();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the schema; must come before the first use.
    pub(crate) async fn prepare(&self) {
        self.execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", self.schema)).await;
    }

    /// Begins again in an empty schema.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) async fn empty(&self) {
        self.execute(&format!("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}", self.schema)).await;
    }

    /// Another program's hand on the database.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.url()).await.expect("Postgres");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("the statement");
        connection.close().await.expect("closing");
    }

    /// A program of the server's own, such as `pgbench`, that speaks to this database.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn tool(&self, name: &str) -> Command {
        let server = self.server.as_ref().expect("a server of our own");
        let mut command = Command::new(server.binaries.join(name));
        command.env("PGHOST", server.dir.path()).env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        command
    }

    /// Ends the server as a crash would, the processes that serve connections included.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn kill(&mut self) {
        self.server.as_mut().expect("a server of our own").kill();
    }

    /// Starts it again after that.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn restart(&mut self) {
        self.server.as_mut().expect("a server of our own").start();
    }

    /// Whether it may be killed: somebody else's may not.
    #[allow(dead_code, reason = "not every test binary needs it")]
    pub(crate) fn is_ours(&self) -> bool {
        self.server.is_some()
    }
}

impl Server {
    fn command(&self, name: &str) -> Command {
        self.inside(self.binaries.join(name))
    }

    /// A program as the server's user, who sees what the server sees.
    fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match &self.disk {
            None => Command::new(program),
            Some(disk) => {
                // There the user is mapped to root, whom Postgres refuses.
                let mut command = Command::new("nsenter");
                command.args([
                    "--preserve-credentials",
                    "-U",
                    "-m",
                    "-t",
                    &disk.keeper.id().to_string(),
                    "--wd=/",
                    "--",
                ]);
                command.args(["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).env_remove("PGDATA");
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn data(&self) -> PathBuf {
        let dir = if self.disk.is_some() { "disk/data" } else { "data" };
        self.dir.path().join(dir)
    }

    /// The same as it is seen from here.
    fn seen(&self, path: &Path) -> PathBuf {
        match &self.disk {
            None => path.to_owned(),
            Some(disk) => {
                let root = PathBuf::from(format!("/proc/{}/root", disk.keeper.id()));
                root.join(path.strip_prefix("/").expect("an absolute path"))
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("disk/filler")
    }

    fn init(&self) {
        let mut initdb = self.command("initdb");
        initdb.args(["-N", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-D"]).arg(self.data());
        if self.disk.is_some() {
            initdb.arg("--wal-segsize=1");
        }
        let output = initdb.stderr(Stdio::piped()).output().expect("initdb is executed");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn start(&mut self) {
        let (deadline, data) = (Instant::now() + PATIENCE, self.seen(&self.data()));
        // A crash may have left processes that still hold the memory for a moment; then the new server ends at once.
        while Instant::now() < deadline {
            let mut postgres = self.command("postgres");
            postgres.arg("-D").arg(self.data()).arg("-k").arg(self.dir.path()).args(["-c", "listen_addresses="]);
            for setting in &self.settings {
                postgres.arg("-c").arg(setting);
            }
            let log = fs::File::create(self.dir.path().join("log")).expect("a file");
            let child = self.postmaster.insert(postgres.stderr(log).spawn().expect("postgres is executed"));
            while Instant::now() < deadline {
                if child.try_wait().expect("it is ours").is_some() {
                    break;
                }
                if is_ready(&data, child.id()) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("Postgres does not start: {log}");
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.postmaster.take() {
            let of = format!("/proc/{0}/task/{0}/children", child.id());
            let children = fs::read_to_string(of).expect("the server's processes");
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            // Those who serve connections would end by themselves, but may do what they were asked for before.
            for pid in children.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.postmaster.take() {
            let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            // Ends all its processes at once, unlike a kill; gone already is fine.
            let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::QUIT));
            let _ = child.wait();
        }
    }
}

impl Disk {
    /// Mounts one at `at`. Needs no rights beyond namespaces of one's own.
    fn make(at: &Path) -> Result<Self, String> {
        fs::create_dir(at).map_err(|error| error.to_string())?;
        let mut keeper = Command::new("unshare");
        if rustix::process::geteuid().is_root() {
            chown(at, Some(NOBODY), Some(NOBODY)).expect("root may");
            keeper.uid(NOBODY).gid(NOBODY);
        }
        let script =
            format!("mount -t tmpfs -o mode=700,size={DISK_MIB}m tmpfs \"$0\" && echo made && exec sleep 100000");
        keeper.args(["-rm", "sh", "-c", &script]).arg(at).current_dir("/");
        let spawned = keeper.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut disk = Disk { keeper: spawned.map_err(|error| format!("unshare: {error}"))? };
        let mut said = String::new();
        let out = disk.keeper.stdout.as_mut().expect("it is piped");
        BufReader::new(out).read_line(&mut said).map_err(|error| error.to_string())?;
        if said == "made\n" {
            return Ok(disk);
        }
        let _ = disk.keeper.stderr.as_mut().expect("it is piped").read_to_string(&mut said);
        Err(said.trim().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A server writes into this file who it is and, in the last line, how it is; one that was killed leaves it behind.
fn is_ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}
