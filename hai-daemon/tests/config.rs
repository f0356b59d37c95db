//! The configuration: what is read, what is refused and with which words, and what `config show` prints.

#[path = "config/kubernetes.rs"]
mod kubernetes;
#[path = "config/scheduler.rs"]
mod scheduler;
#[path = "config/team.rs"]
mod team;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use hai_core::engine::{Churn, Policy};
use hai_core::model::{Allowance, Amount, Limit, Priority, Span};
use hai_core::placement::PlacementPolicy;
use hai_core::queue::order::{Aging, EarliestDeadline, OrderPolicy};
use hai_daemon::config::flags::ConfigFlags;
use hai_daemon::config::{Config, EXAMPLE, Environment, LogFormat, LogLevel, Origin};
use proptest::prelude::*;

fn parse(text: &str) -> Config {
    Config::parse(text, "hai.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

/// All problems, without the excerpts.
fn problems(text: &str) -> Vec<String> {
    let errors = Config::parse(text, "hai.toml").expect_err("it should be refused");
    errors
        .0
        .into_iter()
        .map(|mut problem| {
            problem.line_text = None;
            problem.to_string()
        })
        .collect()
}

fn problem(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap_or_default()
}

fn environment(vars: &[(&str, &str)]) -> Environment {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    Environment { vars, root: false }
}

const NODE: &str = "[[node]]\nname = \"a\"\ncpu = 8\nmemory = \"16GiB\"\n";

// === What is read ===

#[test]
fn nothing_is_the_embedded_default() {
    let config = parse("");
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen.as_str(), "127.0.0.1:8420");
    assert_eq!(config.engine(), hai_core::engine::EngineConfig::default());
    let levels: Vec<_> = config.rights.iter().filter_map(|right| right.key.priority).collect();
    assert_eq!(levels.first(), Some(&Priority::High));
    assert_eq!(levels.last(), Some(&Priority::Low));
    assert!(config.rights.iter().all(|right| right.allowance == Allowance::UNLIMITED && right.key.user.is_none()));
}

#[test]
fn every_value_arrives() {
    let config = parse(
        r#"
        log = { level = "debug", format = "json" }
        [scheduler]
        policy = "hai-fifo"
        borrow = true
        slice = "2h"
        protected = "5m"
        [scheduler.levels.HIGH]
        slice = "1h"
        [tasks]
        default_priority = "LOW"
        [[right]]
        user = "ada"
        nodes = 2
        devices = "unlimited"
        [[node]]
        name = "a"
        group = "default"
        cpu = 0.5
        memory = 1024
        taints = ["slow"]
        cordoned = true
        [[node.device]]
        model = "RTX 3070"
        memory = "8GiB"
        count = 2
        [[node.device]]
        model = "A100"
        memory = 40960
        uuid = "GPU-1"
        "#,
    );
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    let engine = config.engine();
    assert_eq!((engine.policy, engine.borrow), (Policy::HaiFifo, true));
    assert_eq!(engine.timing(Priority::Low).slice, Span::from_mins(120));
    assert_eq!(engine.timing(Priority::High).slice, Span::from_mins(60));
    assert_eq!(engine.timing(Priority::High).protected, Span::from_mins(5), "what a level leaves out is inherited");
    assert_eq!(config.tasks.default_priority, Priority::Low);
    let right = &config.rights[0];
    assert_eq!((config.rights.len(), right.key.user.as_ref().map(ToString::to_string)), (1, Some("ada".to_owned())));
    assert_eq!(right.allowance, Allowance { nodes: Limit::at_most(2), devices: Limit::Unlimited });
    let node = &config.nodes[0];
    assert_eq!((node.cpu_milli, node.memory_mib, node.cordoned, node.ready), (500, 1024, true, true));
    assert_eq!(node.taints.iter().collect::<Vec<_>>(), ["slow"]);
    let memory: Vec<_> = node.devices.iter().map(|device| device.memory_mib).collect();
    assert_eq!(memory, [8192, 8192, 40960]);
    assert_eq!(node.devices[2].id.as_str(), "GPU-1");
}

#[test]
fn made_up_uuids_stay_the_same_and_differ() {
    let device = "[[node.device]]\nmodel = \"X\"\nmemory = 1\n";
    let two = parse(&format!("{NODE}{device}count = 2"));
    let one = parse(&format!("{NODE}{device}{device}"));
    assert_eq!(two.nodes, one.nodes, "two of one kind are the same as one and one");
    let [first, second] = &two.nodes[0].devices[..] else { panic!("two devices") };
    assert_ne!(first.id, second.id);
    assert_eq!(first.id.as_str().len(), "GPU-00000000-0000-0000-0000-000000000000".len());
}

#[test]
fn the_example_parses_and_tells_the_true_defaults() {
    let example = parse(EXAMPLE);
    assert_eq!(example.nodes.iter().map(|node| node.devices.len()).collect::<Vec<_>>(), [2, 1]);
    // With every commented setting taken in, what is a default must still be the default.
    let whole: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '#'])) => setting,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let whole = parse(&whole);
    let default = Config::default();
    assert_eq!((whole.server, whole.data.dir, whole.log), (default.server, default.data.dir, default.log));
    assert!(
        whole.data.database.is_some() && default.data.database.is_none(),
        "the one setting there without a default"
    );
    assert_eq!((whole.scheduler, whole.tasks), (default.scheduler, default.tasks));
    assert_eq!(whole.rights, example.rights);
    for line in Config::default().show().lines().filter(|line| !line.starts_with(['#', '['])) {
        let key = line.split(" = ").next().unwrap_or_default();
        assert!(EXAMPLE.contains(&format!("{key} = ")) || key.is_empty(), "the example does not show `{key}`");
    }
}

#[test]
fn rights_and_nodes_may_say_more() {
    let config = parse(
        r#"
        [[right]]
        team = "vision"
        priority = "LOW"
        devices = 2.5
        expires = 2027-01-31T19:00:00+01:00

        [[right]]
        model = "RTX 3070"
        cap = true
        devices = 3

        [[node]]
        name = "lab-1"
        cpu = 4
        memory = "8GiB"
        labels = { disk = "fast", "odd name" = "x" }
        leaf = "leaf-1"
        spine = "spine-1"
        zone = "room 2"

        [[node.device]]
        model = "A100"
        memory = "5GiB"
        mig_profile = "1g.5gb"
        compute_capability = "8.0"
        "#,
    );
    let [lent, cap] = &config.rights[..] else { panic!("two rights: {:?}", config.rights) };
    assert_eq!(lent.key.team.as_ref().map(ToString::to_string), Some("vision".to_owned()));
    assert_eq!(lent.allowance.devices, Limit::AtMost(Amount::from_milli(2500)));
    assert_eq!(lent.expires.expect("it does").to_string(), "2027-01-31T18:00:00.000Z");
    assert_eq!((cap.key.cap, cap.key.model.as_ref().map(ToString::to_string)), (true, Some("RTX 3070".to_owned())));
    let node = &config.nodes[0];
    assert_eq!(node.labels.get("disk").map(String::as_str), Some("fast"));
    assert_eq!(node.location.zone.as_ref().map(ToString::to_string), Some("room 2".to_owned()));
    let device = &node.devices[0];
    assert_eq!(device.mig_profile.as_ref().map(ToString::to_string), Some("1g.5gb".to_owned()));
    assert_eq!(device.compute_capability.map(|least| least.to_string()), Some("8.0".to_owned()));
    same(&parse(&config.show()), &config);

    let both = problem("[[right]]\nuser = \"ada\"\nteam = \"vision\"\ndevices = 1");
    assert_eq!(both, "hai.toml:1:1: a right is for a user or for each member of a team; give one of user and team");
}

// === What is refused ===

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    let text = "[server]\nlistn = \"127.0.0.1:1\"\n";
    assert_eq!(problem(text), "hai.toml:2:1: unknown key `listn` in [server]; did you mean `listen`?");
    assert_eq!(
        Config::parse(text, "hai.toml").unwrap_err().to_string(),
        "hai.toml:2:1: unknown key `listn` in [server]; did you mean `listen`?\n    \
         2 | listn = \"127.0.0.1:1\"\n      | ^^^^^"
    );
    assert_eq!(problem("[server]\ncolour = 1"), "hai.toml:2:1: unknown key `colour` in [server]");
    assert_eq!(
        problem(&format!("{NODE}cpus = 1")),
        "hai.toml:5:1: unknown key `cpus` in [[node]]; did you mean `cpu`?"
    );
    assert_eq!(
        problem(&format!("{NODE}[[node.device]]\nmodel = \"X\"\nmemory = 1\nuid = \"1\"")),
        "hai.toml:8:1: unknown key `uid` in [[node.device]]; did you mean `uuid`?"
    );
    assert_eq!(
        problem("[[right]]\nnodes = 1\ngrup = \"a\""),
        "hai.toml:3:1: unknown key `grup` in [[right]]; did you mean `group`?"
    );
    assert_eq!(
        problem("[scheduler.levels.HIHG]\nslice = \"1h\""),
        "hai.toml:1:19: `HIHG` is not a level; did you mean `HIGH`?"
    );
    assert_eq!(
        problem("[scheduler.levels.HIGH]\nslize = \"1h\""),
        "hai.toml:2:1: unknown key `slize` in [scheduler.levels.HIGH]; did you mean `slice`?"
    );
}

#[test]
fn an_unknown_table_is_refused_with_what_was_meant() {
    assert_eq!(problem("[servers]"), "hai.toml:1:2: unknown table `servers`; did you mean [server]?");
    assert_eq!(problem("[[nodes]]"), "hai.toml:1:3: unknown table `nodes`; did you mean [[node]]?");
    assert_eq!(problem("listen = \"\""), "hai.toml:1:1: `listen` stands outside its table; write it under [server]");
    assert_eq!(
        problem("[zzzzzzzz]"),
        "hai.toml:1:2: unknown table `zzzzzzzz`; there are [server], [data], [log], [scheduler], [cluster], [kubernetes], \
         [devices], [tasks], [[node]], [[team]] and [[right]]"
    );
    assert_eq!(
        problem("[node]\nname = \"a\""),
        "hai.toml:1:1: [[node]] is a list of tables; write it in double brackets: [[node]]"
    );
    assert_eq!(
        problem("[[server]]"),
        "hai.toml:1:1: [server] is one table, not a list; write it once, in single brackets"
    );
    assert_eq!(problem("server = 1"), "hai.toml:1:10: [server] is a table, not a single value");
}

#[test]
fn a_wrong_type_is_refused_with_what_was_expected() {
    let table = [
        (
            "[server]\nlisten = 8420",
            "2:10: listen: expected an address with a port in quotes, e.g. \"127.0.0.1:8420\", found the number 8420",
        ),
        ("[server]\nlisten = \"127.0.0.1\"", "2:10: listen: `127.0.0.1` has no port; write e.g. `127.0.0.1:8420`"),
        (
            "[server]\nbody_bytes_max = \"1MB\"",
            "2:18: body_bytes_max: `MB` is not a unit of size; did you mean `1MiB`?",
        ),
        ("[data]\ndir = []", "2:7: dir: expected a path in quotes, found a list"),
        ("[data]\ndir = \"\"", "2:7: dir: the path is empty"),
        ("[log]\nlevel = \"inof\"", "2:9: level: `inof` is not a log level; did you mean `info`?"),
        (
            "[log]\nformat = true",
            "2:10: format: expected a log format in quotes: one of \"text\", \"json\", found `true`",
        ),
        (
            "[scheduler]\nslice = 30",
            "2:9: slice: expected a length of time in quotes, e.g. \"30m\" or \"4h\", found the number 30",
        ),
        (
            "[scheduler]\nslice = \"4 hours\"",
            "2:9: slice: `4 hours` is not a length of time; write a whole number with a unit, e.g. `500ms`, `5s`, `30m`, `4h` or `2d`",
        ),
        ("[scheduler]\npolicy = \"fair\"", "2:10: policy: `fair` is not a policy; write one of \"hai\", \"hai-fifo\""),
        ("[scheduler]\nborrow = \"true\"", "2:10: borrow: expected `true` or `false`, found the text \"true\""),
        (
            "[tasks]\ndefault_priority = \"NORML\"",
            "2:20: default_priority: `NORML` is not a priority; did you mean `NORMAL`?",
        ),
        (
            "[tasks]\ndefault_group = \"a b\"",
            "2:17: default_group: a group name \"a b\" has ' ' in it; allowed are letters, digits and - _ . @",
        ),
        (
            "[[right]]\nnodes = -1",
            "2:9: nodes: expected a number that is not negative, to a thousandth, or \"unlimited\", found the number -1",
        ),
        (
            "[[right]]\ndevices = 0.0005",
            "2:11: devices: expected a number that is not negative, to a thousandth, or \"unlimited\", found the number 0.0005",
        ),
        (
            "[[right]]\ndevices = 1\nexpires = 2027-01-31",
            "3:11: expires: expected a date with a time and its zone, e.g. 2027-01-31T18:00:00Z, found `2027-01-31`",
        ),
        (
            "[[right]]\ndevices = \"all\"",
            "2:11: devices: expected a number that is not negative, to a thousandth, or \"unlimited\", found the text \"all\"",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problem(text), format!("hai.toml:{expected}"));
    }
}

#[test]
fn an_impossible_value_is_refused() {
    let device = "[[node.device]]\nmodel = \"X\"\nmemory = \"8GiB\"\n";
    let table = [
        (
            "[server]\nbody_bytes_max = 10".to_owned(),
            "2:18: server.body_bytes_max: 10 bytes is too little; at least 4096 are needed",
        ),
        (
            "[scheduler]\nprotected = \"5h\"".to_owned(),
            "2:13: protected (5h) is longer than slice (4h), so equals would interrupt what better ones may not; make slice at least as long",
        ),
        (
            "[scheduler.levels.HIGH]\nprotected = \"5h\"".to_owned(),
            "2:13: HIGH: protected (5h) is longer than slice (4h); make slice at least as long",
        ),
        (
            "[scheduler]\nback_off = \"0s\"".to_owned(),
            "2:12: back_off is zero, so a refused start would be tried without pause; write e.g. \"1s\"",
        ),
        ("[scheduler]\nback_off_max = \"1ms\"".to_owned(), "2:16: back_off_max (1ms) is shorter than back_off (1s)"),
        (
            "[[right]]\nuser = \"ada\"".to_owned(),
            "1:1: this [[right]] gives nothing; write nodes = … or devices = …, a number or \"unlimited\"",
        ),
        (
            "[[right]]\npriority = \"AUTO\"\nnodes = 1".to_owned(),
            "1:1: priority: a right is for a fixed level; AUTO takes the best of those",
        ),
        (
            "[[right]]\nnodes = 1\n[[right]]\ndevices = 1".to_owned(),
            "3:1: a right for the same user, group and priority stands at hai.toml:1:1 already; keep one",
        ),
        (
            "[[node]]\nname = \"a\"\ncpu = 0\nmemory = 1".to_owned(),
            "3:7: cpu: `0` is impossible: cores go from 0.001 to 4294967",
        ),
        ("[[node]]\nname = \"a\"\ncpu = 1\nmemory = 0".to_owned(), "4:10: memory: the memory is zero"),
        ("[[node]]\ncpu = 1\nmemory = 1".to_owned(), "1:1: [[node]] has no name; write e.g. name = \"lab-1\""),
        (format!("{NODE}\n{NODE}"), "7:8: there are two nodes named `a`; the first is at hai.toml:1:1"),
        (format!("{NODE}{device}count = 0"), "8:9: count: 0 is impossible; a node has 1 to 64 devices"),
        (
            format!("{NODE}{device}count = 2\nuuid = \"1\""),
            "8:9: count: one uuid can not be that of 2 devices; write each by itself",
        ),
        (format!("{NODE}{device}count = 64\n{device}"), "9:1: node a has more than 64 devices; that many is the most"),
        (
            format!("{NODE}{device}uuid = \"1\"\n{device}uuid = \"1\""),
            "9:1: uuid: device `1` stands on node a already, at hai.toml:5:1",
        ),
        (format!("{NODE}group = \"lab\""), "1:1: default_group: no [[node]] belongs to group `default`, only to lab"),
        (
            format!("{NODE}group = \"lab\"\n[tasks]\ndefault_group = \"lav\""),
            "7:17: default_group: no [[node]] belongs to group `lav`, only to lab; did you mean `lab`?",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problem(&text), format!("hai.toml:{expected}"), "{text}");
    }
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let found = problems("[tasks]\nx = 1\n[server]\nlisten = 1\n[log]\nlevel = 2\n[[node]]\nname = \"\"\n");
    let lines: Vec<_> = found.iter().filter_map(|text| text.split(':').nth(1)).collect();
    assert_eq!(lines, ["2", "4", "6", "7", "7", "8"], "{found:#?}");
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let found = problems("[server]\nlisten = \n");
    assert!(found[0].starts_with("hai.toml:2:") && found[0].contains("this is not TOML"), "{found:?}");
    assert!(problems("[server]\n[server]\n")[0].starts_with("hai.toml:2:"));
    assert!(problems("a = 1\na = 2\n")[0].starts_with("hai.toml:2:"));
}

// === Layers ===

#[test]
fn flags_go_over_variables_over_the_file_over_defaults() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("hai.toml");
    std::fs::write(
        &file,
        "[server]\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"\n[tasks]\ndefault_priority = \"LOW\"\n\
         [scheduler]\ncross_zone_tasks = 2\norder = \"fair\"\nchurn = { free = 1, every = \"2h\" }\n",
    )
    .expect("it is written");
    let environment = environment(&[
        ("HAI_SERVER_LISTEN", "127.0.0.1:2"),
        ("HAI_LOG_LEVEL", "debug"),
        ("HAI_SCHEDULER_BORROW", "yes"),
        ("HAI_SCHEDULER_LEVELS_VERY_HIGH_SLICE", "1h"),
        ("HAI_SCHEDULER_ORDER", "earliest-deadline"),
        ("HAI_SCHEDULER_PLACEMENT", "random"),
        ("HAI_SCHEDULER_CROSS_ZONE_TASKS", "unlimited"),
        ("HAI_SCHEDULER_RESERVE_AFTER", "never"),
        ("HAI_SCHEDULER_AGING_EVERY", "1h"),
        ("HAI_SCHEDULER_AGING_CAP", "3"),
        ("HAI_SCHEDULER_CHURN_FREE", "7"),
        ("HAI_LOG_PATH", "/of/a/worker"),
        ("HAI_SERVER", "http://for.the.client"),
        ("HOME", "/home/ada"),
    ]);
    let flags =
        ConfigFlags { config: Some(file.clone()), listen: Some("127.0.0.1:3".to_owned()), ..Default::default() };
    let config = Config::load(&flags, &environment).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.server.listen.as_str(), "127.0.0.1:3");
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.tasks.default_priority, Priority::Low);
    assert_eq!(config.engine().timing(Priority::VeryHigh).slice, Span::from_mins(60));
    let scheduler = &config.scheduler;
    assert_eq!(scheduler.order, OrderPolicy::EarliestDeadline(EarliestDeadline {}));
    assert_eq!(scheduler.placement, PlacementPolicy::Random { seed: 0 });
    assert_eq!((scheduler.cross_zone_tasks, scheduler.reserve_after), (None, None));
    assert_eq!(scheduler.aging, Some(Aging { every: Span::from_mins(60), cap: 3 }));
    assert_eq!(scheduler.churn, Some(Churn { free: 7, every: Span::from_mins(120) }), "one of two is overridden");
    assert_eq!(config.data.dir, Path::new("/home/ada/.local/share/hai"));
    assert_eq!(config.origin("server.listen"), &Origin::Flag("--listen".to_owned()));
    assert_eq!(config.origin("log.format"), &Origin::Default);

    let shown = config.show();
    let name = file.display().to_string();
    for (key, from) in [
        ("listen = \"127.0.0.1:3\"", "(from --listen)".to_owned()),
        ("level = \"debug\"", "(from HAI_LOG_LEVEL)".to_owned()),
        ("default_priority = \"LOW\"", format!("(from {name}:6:20)")),
        ("order = \"earliest-deadline\"", "(from HAI_SCHEDULER_ORDER)".to_owned()),
        ("cap = 3", "(from HAI_SCHEDULER_AGING_CAP)".to_owned()),
        ("free = 7", "(from HAI_SCHEDULER_CHURN_FREE)".to_owned()),
        ("every = \"2h\"", format!("(from {name}:10:29)")),
        ("slice = \"1h\"", "(from HAI_SCHEDULER_LEVELS_VERY_HIGH_SLICE)".to_owned()),
    ] {
        assert!(shown.lines().any(|line| line.starts_with(key) && line.ends_with(&from)), "{key}: {shown}");
    }
    assert!(shown.lines().any(|line| line.starts_with("format = \"text\"") && !line.contains("(from")));
}

#[test]
fn a_wrong_variable_or_flag_is_told_by_its_name() {
    let load = |flags: &ConfigFlags, vars: &[(&str, &str)]| {
        let mut all = vec![("HOME", "/h")];
        all.extend(vars);
        Config::load(flags, &environment(&all)).expect_err("it should be refused").to_string()
    };
    let none = ConfigFlags::default();
    assert_eq!(
        load(&none, &[("HAI_SERVER_LISTEN", "nowhere")]),
        "HAI_SERVER_LISTEN: `nowhere` has no port; write e.g. `nowhere:8420`"
    );
    assert_eq!(
        load(&none, &[("HAI_SERVER_LISTN", "x:1")]),
        "HAI_SERVER_LISTN: there is no setting of this name; did you mean `HAI_SERVER_LISTEN`?"
    );
    assert_eq!(
        load(&none, &[("HAI_SCHEDULER_LEVELS_HIGH_SLICE", "1")]),
        "HAI_SCHEDULER_LEVELS_HIGH_SLICE: `1` is not a length of time; write a whole number with a unit, e.g. \
         `500ms`, `5s`, `30m`, `4h` or `2d`"
    );
    assert_eq!(
        load(&none, &[("HAI_SCHEDULER_AGING_CAP", "2")]),
        "HAI_SCHEDULER_AGING_CAP: aging has no every; set HAI_SCHEDULER_AGING_EVERY too"
    );
    assert_eq!(
        load(&none, &[("HAI_SCHEDULER_CHURN_EVRY", "2h")]),
        "HAI_SCHEDULER_CHURN_EVRY: there is no setting of this name; did you mean `HAI_SCHEDULER_CHURN_EVERY`?"
    );
    assert_eq!(
        load(&none, &[("HAI_SCHEDULER_ORDER", "fiar")]),
        "HAI_SCHEDULER_ORDER: `fiar` is not an order; did you mean `fair`?"
    );
    let flags = ConfigFlags { log_level: Some("loud".to_owned()), ..Default::default() };
    assert_eq!(
        load(&flags, &[]),
        "--log-level: `loud` is not a log level; write one of \"error\", \"warn\", \"info\", \"debug\", \"trace\""
    );
    let flags = ConfigFlags { config: Some("/no/such/file".into()), ..Default::default() };
    assert!(load(&flags, &[]).starts_with("--config: /no/such/file can not be read: "));
    assert!(load(&none, &[("HAI_CONFIG", "/no/such/file")]).starts_with("HAI_CONFIG: /no/such/file can not be read: "));
    assert_eq!(
        Config::load(&none, &Environment::default()).expect_err("no home").to_string(),
        "dir: `~` is the home directory, but HOME is not set; name a directory with --data"
    );
}

#[test]
fn the_default_places_follow_the_user() {
    let home = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(home.path().join(".config/hai")).expect("it is created");
    let file = home.path().join(".config/hai/hai.toml");
    std::fs::write(&file, "[log]\nlevel = \"error\"\n").expect("it is written");
    let text = home.path().display().to_string();
    let config = Config::load(&ConfigFlags::default(), &environment(&[("HOME", &text)])).expect("it is right");
    assert_eq!((config.log.level, config.file()), (LogLevel::Error, Some(file.as_path())));
    let other = environment(&[("HOME", &text), ("XDG_CONFIG_HOME", "/nowhere"), ("XDG_DATA_HOME", "/data")]);
    let config = Config::load(&ConfigFlags::default(), &other).expect("it is right");
    assert_eq!((config.file(), config.data.dir.as_path()), (None, Path::new("/data/hai")));
    let root = Environment { root: true, vars: BTreeMap::new() };
    assert_eq!(root.data_dir(), Path::new("/var/lib/hai"));
}

// === What is shown ===

fn same(left: &Config, right: &Config) {
    assert_eq!((&left.server, &left.data, &left.log), (&right.server, &right.data, &right.log));
    assert_eq!((&left.scheduler, &left.levels), (&right.scheduler, &right.levels));
    assert_eq!((&left.tasks, &left.rights, &left.nodes), (&right.tasks, &right.rights, &right.nodes));
    assert_eq!(left.teams, right.teams);
    assert_eq!((&left.cluster, &left.kubernetes), (&right.cluster, &right.kubernetes));
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    for text in [
        "",
        EXAMPLE,
        scheduler::ALL,
        kubernetes::ALL,
        include_str!("config/odd_keys.toml"),
        "[data]\ndir = \"a \\\"b\\\\ \\u0007 # ü\"\n[[node]]\nname=\"x\"\ncpu=0.25\nmemory=1\ntaints=[\"'\\\"\"]\n",
    ] {
        let config = parse(text);
        same(&parse(&config.show()), &config);
    }
}

/// Pieces of a configuration in every order, so that the reader gets further than with mere noise.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[server]\n"),
        Just("[[node]]\n"),
        Just("[[node.device]]\n"),
        Just("[[right]]\n"),
        Just("[scheduler]\n"),
        Just("[scheduler.levels.HIGH]\n"),
        Just("[scheduler.order]\n"),
        Just("[scheduler.placement]\n"),
        Just("[[scheduler.placement.typical]]\n"),
        Just("[[scheduler.placement.part]]\n"),
        Just("[scheduler.aging]\nevery = \"1h\"\ncap = 1\n"),
        Just("[scheduler.weights]\n"),
        Just("[kubernetes]\n"),
        Just("[kubernetes.users]\n"),
        Just("[[kubernetes.group]]\n"),
        Just("[[kubernetes.mount]]\n"),
        Just("path = "),
        Just("nfs = "),
        Just("run_as = "),
        Just("\"/a/{user}\"\n"),
        Just("\"a:/b\"\n"),
        Just("[[team]]\n"),
        Just("[[team.pool]]\n"),
        Just("policy = \"fair\"\n"),
        Just("policy = \"fgd\"\n"),
        Just("policy = \"weighted\"\n"),
        Just("half_life = "),
        Just("weight = 1\n"),
        Just("group = "),
        Just("[tasks]\n"),
        Just("[log]\n"),
        Just("[data]\n"),
        Just("name = "),
        Just("cpu = "),
        Just("memory = "),
        Just("count = "),
        Just("model = "),
        Just("slice = "),
        Just("listen = "),
        Just("level = "),
        Just("dir = "),
        Just("nodes = "),
        Just("priority = "),
        Just("uuid = "),
        Just("\"1h\"\n"),
        Just("\"a\"\n"),
        Just("8\n"),
        Just("-1\n"),
        Just("0x10\n"),
        Just("1e400\n"),
        Just("nan\n"),
        Just("true\n"),
        Just("[1, \"a\"]\n"),
        Just("{ a = 1 }\n"),
        Just("\"16GiB\"\n"),
        Just("99999999999999999999\n"),
        Just("2026-01-01\n"),
        Just("\"ä\n"),
        Just("'''\n"),
        Just("\r"),
        Just("="),
        Just("."),
        Just("\"HIGH\"\n"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![pieces(), "\\PC{0,200}", any::<String>()]) {
        match Config::parse(&text, "hai.toml") {
            Ok(config) => same(&parse(&config.show()), &config),
            Err(errors) => {
                prop_assert!(!errors.0.is_empty());
                prop_assert!(!errors.to_string().is_empty());
            }
        }
    }
}

#[test]
fn a_databases_password_is_never_shown() {
    let shown = parse("[data]\ndatabase = \"postgres://hai:s3cr3t@db.lab/hai\"").show();
    assert!(shown.contains("database = \"postgres://hai:***@db.lab/hai\"") && !shown.contains("s3cr3t"), "{shown}");
    for wrong in [
        "[data]\ndatabase = \"hai:s3cr3t@db.lab/hai\"",
        "data = { database = \"mysql://hai:s3cr3t@db.lab/hai\" }",
        "[data]\ndatabase = \"postgres://hai:s3cr3t@db.lab/hai\" x",
        "[data]\ndatabase_url = \"postgres://hai:s3cr3t@db.lab/hai\"",
    ] {
        let errors = Config::parse(wrong, "hai.toml").expect_err(wrong).to_string();
        assert!(!errors.contains("s3cr3t"), "{errors}");
    }
}
