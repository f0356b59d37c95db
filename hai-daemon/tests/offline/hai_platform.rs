//! `hai-daemon import hai-platform`: from a real Postgres with upstream's tables, into a file and into another Postgres.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use hai_core::model::{TaskState, Time};
use hai_daemon::store::{Page, PostgresStore, Reader, Role, SqliteStore, TaskFilter, check};
use serde_json::Value;

use crate::postgres::Postgres;
use crate::{good, text};

/// The tables, as far as they are read or counted.
const TABLES: &str = r#"
    CREATE TABLE "user" (user_id integer PRIMARY KEY, user_name varchar UNIQUE, nick_name varchar, token varchar UNIQUE,
        role varchar, active boolean DEFAULT true, last_activity timestamp, shared_group varchar);
    CREATE TABLE user_group (user_name varchar, "group" varchar);
    CREATE TABLE quota (user_name varchar, resource varchar, quota bigint, expire_time timestamp,
        created_at timestamp DEFAULT now(), PRIMARY KEY (user_name, resource));
    CREATE TABLE host (node varchar PRIMARY KEY, gpu_num integer, type varchar DEFAULT 'gpu', use varchar DEFAULT 'training',
        origin_group varchar CHECK (origin_group <> ''), room varchar, schedule_zone varchar, flags varchar[] DEFAULT '{}');
    CREATE TABLE train_environment (env_name varchar, image varchar, schema_template varchar, config jsonb);
    CREATE TABLE task_runtime_config (task_id integer, chain_id varchar, source varchar, config_json jsonb);
    CREATE TABLE task_ng (id serial PRIMARY KEY, nb_name varchar(511), user_name varchar, code_file varchar(2047),
        workspace varchar(255), config_json jsonb, "group" varchar(2048), nodes integer, assigned_nodes varchar[] DEFAULT '{}',
        restart_count integer DEFAULT 0, whole_life_state integer DEFAULT 0, first_id integer, backend varchar,
        task_type varchar, queue_status varchar DEFAULT 'finished', notes text, priority integer DEFAULT 0,
        chain_id varchar(255), stop_code integer DEFAULT 0, worker_status varchar DEFAULT 'queued',
        created_at timestamp DEFAULT now());
    CREATE TABLE unfinished_task_ng (UNIQUE (user_name, nb_name)) INHERITS (task_ng);
    ALTER TABLE unfinished_task_ng ALTER queue_status SET DEFAULT 'queued';
    CREATE TABLE storage (host_path varchar);
"#;

const ROWS: &str = r#"
    INSERT INTO "user" VALUES (10020, 'ada', 'Ada', 's3cr3t-one', 'internal', true, now(), NULL),
        (10021, 'bob', 'Bob', 's3cr3t-two', 'external', true, now(), 'guests_of_ada'),
        (10022, 'gone', 'Gone', 's3cr3t-three', 'internal', false, now(), NULL),
        (10023, 'no such name', '', 's3cr3t-four', 'internal', true, now(), NULL);
    INSERT INTO user_group VALUES ('ada', 'nlp'), ('guests_of_ada', 'guests'), ('nobody', 'nlp'), ('ada', 'root');
    INSERT INTO quota VALUES ('ada', 'node-train-HIGH', 4, '2099-01-01 08:00:00'), ('nlp', 'node-train-NORMAL', 8, 'infinity'),
        ('ada', 'node-with-dash-LOW', 1, NULL), ('guests', 'node_limit-train-LOW', 2, NULL), ('ada', 'port', 30001, NULL),
        ('ada', 'node-train-LOW', 3, '2020-01-01 00:00:00'), ('bob', 'node-train-URGENT', 1, NULL), ('ada', 'node-train', 1, NULL),
        ('nobody', 'node-train-HIGH', 1, NULL), ('bob', 'jupyter:lab', 100012802, NULL), ('bob', 'spot_jupyter', 1, NULL);
    INSERT INTO host (node, gpu_num, origin_group) VALUES ('n1', 8, 'train'), ('n2', 8, 'train'), ('n3', 8, 'meta.with-dash');
    INSERT INTO train_environment VALUES ('cu113', 'registry.lab/cu113:1', '', '{}');
    INSERT INTO task_runtime_config VALUES (NULL, 'chain-c', 'runtime_priority', '{"custom_rank": 0.5}');
    INSERT INTO storage VALUES ('/nfs-shared');
    INSERT INTO task_ng (nb_name, user_name, chain_id, task_type) SELECT 'old', 'ada', 'old', 'training' FROM generate_series(1, 7);
    INSERT INTO unfinished_task_ng (nb_name, user_name, code_file, "group", nodes, first_id, task_type, priority, chain_id,
        queue_status, config_json) VALUES
        ('a', 'ada', 'a.py', 'train', 2, 101, 'training', 30, 'chain-a', 'queued',
            '{"version": 2, "spec": {"workspace": "/w", "entrypoint": "a.py", "parameters": "-x 1", "environments": {"K": "v"}}}'),
        ('b', 'bob', 'b.sh', 'train', 1, 102, 'training', -1, 'chain-b', 'scheduled',
            '{"version": 2, "spec": {"workspace": "/w", "entrypoint": "b.sh"}, "resource": {"image": "cu113"}}'),
        ('c', 'ada', 'c.py', 'train', 1, 103, 'training', 10, 'chain-c', 'queued', '{"version": 2, "spec": {"workspace": "/w"}}'),
        ('nb', 'ada', '', 'lab', 1, 104, 'jupyter', 10, 'chain-d', 'queued', '{"version": 2}'),
        ('bad', 'ada', 'x.py', 'train', 0, 105, 'training', 10, 'chain-e', 'queued', '{"version": 2, "spec": {"workspace": "/w"}}'),
        ('worse', 'gone', 'x.py', 'train', 1, 106, 'training', 10, 'chain-f', 'queued', '{"version": 2}'),
        ('worst', 'ada', 'x.py', 'train', 1, 107, 'training', 10, 'chain-g', 'queued', '[]');
"#;

struct Lab {
    home: tempfile::TempDir,
    upstream: Postgres,
}

impl Lab {
    async fn new() -> Option<Self> {
        let upstream = Postgres::start()?;
        upstream.prepare().await;
        upstream.execute(TABLES).await;
        upstream.execute(ROWS).await;
        Some(Lab { home: tempfile::tempdir().expect("a directory"), upstream })
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// The command, into the file of this home or into a server.
    fn import(&self, database: Option<&str>, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .args(["import", "hai-platform", "--from", &self.upstream.url(), "--utc-offset", "+08:00"])
            .args(["--data", &self.path("data")])
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(database.map(|url| ("HAI_DATA_DATABASE", url)))
            .output()
            .expect("it runs")
    }

    fn json(&self, database: Option<&str>, args: &[&str]) -> Value {
        let told = good(self.import(database, &[&["--json"], args].concat()));
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
    }
}

/// All that the server of upstream holds.
async fn dump(upstream: &Postgres) -> Vec<String> {
    use sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect(&upstream.url()).await.expect("Postgres");
    let mut all = Vec::new();
    for table in ["\"user\"", "user_group", "quota", "host", "task_ng", "unfinished_task_ng", "storage"] {
        let sql = format!("SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1");
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("rows");
        all.extend(rows);
    }
    all
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("a directory")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

async fn tasks(reader: &Reader) -> Vec<(u64, String, TaskState, Vec<String>)> {
    let page = reader.tasks(&TaskFilter::default(), Page::default()).await.expect("tasks");
    let mut found = Vec::new();
    for task in page.tasks.into_iter().rev() {
        let program = reader.program(task.id).await.expect("a program").expect("a program");
        let mut words = program.command;
        words.extend(program.env.into_iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(program.image);
        found.push((task.id.0, task.spec.name.clone(), task.state, words));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_taken_once_and_what_can_not_be_is_told() {
    let Some(lab) = Lab::new().await else { return };
    let before = dump(&lab.upstream).await;
    let server = Postgres::start().expect("there was one");
    server.prepare().await;
    for (round, database) in [None, Some(server.url())].into_iter().enumerate() {
        let database = database.as_deref();
        let tried = lab.json(database, &["--dry-run"]);
        assert_eq!(tried["dry_run"], true);
        if round == 0 {
            assert!(files(lab.home.path()).is_empty(), "{:?}", files(lab.home.path()));
        } else {
            let found = PostgresStore::look(&server.url()).await.expect("an answer");
            assert!(!found.tables, "a dry run makes no tables");
        }

        let refused = lab.import(database, &[]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("--tokens"), "{}", text(&refused.stderr));
        assert!(round > 0 || files(lab.home.path()).is_empty(), "{:?}", files(lab.home.path()));

        let (tokens, config) = (lab.path(&format!("tokens-{round}")), lab.path(&format!("groups-{round}.toml")));
        let done = lab.json(database, &["--tokens", &tokens, "--output", &config]);
        for part in ["taken", "changed", "left_out", "malformed", "not_read", "configuration"] {
            assert_eq!(done[part], tried[part], "{part} is what the dry run told");
        }
        assert_eq!(done["taken"], serde_json::json!({"users": 2, "teams": 2, "rights": 5, "tasks": 3}));
        assert!(!done.to_string().contains("s3cr3t"));
        let told: Vec<String> = done["malformed"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|r| ["table", "key", "column"].map(|part| r[part].as_str().expect("text")).join(" "))
            .collect();
        let mut told = told;
        told.sort();
        assert_eq!(
            told,
            [
                "quota ada/node-train resource",
                "quota bob/node-train-URGENT resource",
                "quota nobody/node-train-HIGH user_name",
                "unfinished_task_ng 12 nodes",
                "unfinished_task_ng 14 config_json",
                "user no such name user_name",
                "user_group nobody/nlp user_name",
            ]
        );
        assert_eq!(done["not_read"]["task_ng (tasks that ended)"], 7);
        assert_eq!(fs::metadata(&tokens).expect("a file").permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&config).expect("text").contains("nodes = [\"n1\", \"n2\"]"));

        let (reader, accounts) = match database {
            None => {
                let store = SqliteStore::open(lab.home.path().join("data/hai.sqlite")).await.expect("it opens");
                (store.reader(), store.accounts())
            }
            Some(url) => {
                let store = PostgresStore::open(url).await.expect("it opens");
                (store.reader(), store.accounts())
            }
        };
        let given = fs::read_to_string(&tokens).expect("text");
        let given: BTreeMap<&str, &str> = given.lines().filter_map(|line| line.split_once(' ')).collect();
        assert_eq!(given.keys().copied().collect::<Vec<_>>(), ["ada", "bob"]);
        for (name, token) in &given {
            let user = accounts.authenticate(token).await.expect("an answer").expect("it opens");
            assert_eq!((user.name.as_str(), user.role), (*name, Role::User));
        }
        let rights = reader.rights().await.expect("rights");
        let high = rights.iter().find(|right| right.expires.is_some()).expect("one expires");
        assert_eq!(high.expires, Some(Time::from_ms(4_070_908_800_000)), "2099-01-01 by UTC");
        let waiting = tasks(&reader).await;
        let state = TaskState::Waiting;
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            waiting,
            [
                (1, "c".into(), state, words(&["python3", "-u", "c.py", "HAI_PLATFORM_CHAIN_ID=chain-c"])),
                (
                    2,
                    "a".into(),
                    state,
                    words(&["python3", "-u", "a.py", "-x", "1", "HAI_PLATFORM_CHAIN_ID=chain-a", "K=v"])
                ),
                (
                    3,
                    "b".into(),
                    state,
                    words(&["bash", "b.sh", "HAI_PLATFORM_CHAIN_ID=chain-b", "registry.lab/cu113:1"])
                ),
            ]
        );
        let sound = check(&reader).await.expect("an answer");
        assert_eq!((sound.problems.as_slice(), sound.tasks), (&[] as &[String], 3));

        // Once more: nothing is new, and what was changed here stays.
        let old = accounts.list().await.expect("users");
        let again = lab.json(database, &[]);
        assert_eq!(again["taken"], serde_json::json!({"users": 0, "teams": 0, "rights": 0, "tasks": 0}));
        assert_eq!(again["already"], done["taken"]);
        assert_eq!((tasks(&reader).await, reader.rights().await.expect("rights")), (waiting, rights));
        assert_eq!(accounts.list().await.expect("users"), old);
        assert!(check(&reader).await.expect("an answer").problems.is_empty());
    }
    assert_eq!(dump(&lab.upstream).await, before, "upstream is as it was");
    let table = good(lab.import(None, &[]));
    for part in [
        "Malformed, one by one:",
        "user_group, row nobody/nlp, user_name: there is no user",
        "task_ng (tasks that ended): 7 rows",
    ] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_missing_or_other_are_the_rows_trouble() {
    let Some(lab) = Lab::new().await else { return };
    lab.upstream
        .execute(
            "ALTER TABLE unfinished_task_ng NO INHERIT task_ng; ALTER TABLE quota DROP COLUMN expire_time; \
             ALTER TABLE unfinished_task_ng ALTER nodes TYPE text; DROP TABLE host; DROP TABLE task_runtime_config; \
             UPDATE quota SET quota = NULL WHERE resource = 'node-train-HIGH'",
        )
        .await;
    let told = lab.json(None, &["--dry-run"]);
    assert_eq!(told["taken"]["tasks"], 0);
    assert_eq!(told["taken"]["users"], 2);
    let malformed = told["malformed"].to_string();
    assert!(malformed.contains("it is no whole number") && malformed.contains("ada/node-train-HIGH"), "{malformed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_of_theirs_is_refused_and_no_password_is_told() {
    let Some(postgres) = Postgres::start() else { return };
    postgres.prepare().await;
    let home = tempfile::tempdir().expect("a directory");
    let import = |url: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
            .args(["import", "hai-platform", "--from", url])
            .env_clear()
            .env("HOME", home.path())
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        text(&output.stderr)
    };
    let told = import(&postgres.url());
    assert!(told.contains("has no tables `user` and `quota`"), "{told}");
    for url in ["postgres://ann:s3cr3t@127.0.0.1:1/d", "postgres://ann:s3cr3t@[", "mysql://ann:s3cr3t@h/d"] {
        let told = import(url);
        assert!(!told.contains("s3cr3t") && told.starts_with("hai-daemon import: "), "{told}");
    }
    assert!(files(home.path()).is_empty());
}
