//! `[cluster]` and `[kubernetes]`: what is read, what a cluster is made from, and what is refused with which words.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hai_daemon::cluster::kubernetes::{
    GpuMode, GroupConfig, KubernetesConfig, LocationLabels, Mount, MountSource, RunAs,
};
use hai_daemon::compose::kubernetes_config;
use hai_daemon::config::flags::ConfigFlags;
use hai_daemon::config::{ClusterKind, Config, EXAMPLE, Kubernetes, Origin};

use super::{NODE, environment, parse, problem, problems, same};

/// Every setting, with values that are not the defaults.
pub(crate) const ALL: &str = r#"
    [cluster]
    kind = "kubernetes"
    [tasks]
    default_group = "train"
    log_bytes_max = "1MiB"
    [kubernetes]
    namespace = "workers"
    instance = "lab"
    kubeconfig = "/etc/hai/kubeconfig"
    context = "admin@lab"
    server = "http://hai.hai.svc:8420/"
    group_label = "lab/group"
    leaf_label = "lab/leaf"
    spine_label = "lab/spine"
    zone_label = "lab/zone"
    image = "registry.lab:5000/train:3"
    image_pull_policy = "IfNotPresent"
    image_pull_secrets = ["registry", "other.one"]
    service_account = "workers"
    tolerates = ["nvidia.com/gpu", "slow"]
    lost_after = "30s"
    image_patience = "5m"
    host_paths = ["/nfs-shared/", "/data"]
    run_as = 1000
    [kubernetes.users]
    ada = "1001:100"
    "b@lab" = 0
    [[kubernetes.group]]
    name = "train"
    nodes = ["worker", "10.0.0.2", "fd00::2"]
    gpus = "plugin"
    runtime_class = "nvidia"
    [[kubernetes.group]]
    name = "jupyter"
    [[kubernetes.mount]]
    name = "shared"
    path = "/nfs-shared"
    host_path = "/nfs-shared/./a/"
    read_only = true
    [[kubernetes.mount]]
    name = "home"
    path = "/home/{user}"
    nfs = "nas.lab:/homes//all"
    sub_path = "{user}/files"
    [[kubernetes.mount]]
    name = "secret"
    path = "/secret"
    claim = "of-ada"
    users = ["ada", "b@lab"]
    [[kubernetes.mount]]
    name = "other-secret"
    path = "/secret"
    claim = "of-grace"
    users = ["grace"]
    "#;

fn made(text: &str) -> KubernetesConfig {
    let config = parse(text);
    same(&parse(&config.show()), &config);
    kubernetes_config(&config, PathBuf::from("/logs"))
}

#[test]
fn a_cluster_is_made_from_all_that_is_set() {
    let name = |text: &str| text.parse().expect("a name");
    let mount = |name: &str, path: &str, source| Mount {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
        sub_path: None,
        read_only: false,
        users: [].into(),
    };
    let claim = |claim: &str| MountSource::Claim(claim.to_owned());
    let users = |names: &[&str]| names.iter().map(|name| name.parse().expect("a user")).collect();
    let expected = KubernetesConfig {
        instance: "lab".to_owned(),
        namespace: "workers".to_owned(),
        group_label: "lab/group".to_owned(),
        groups: vec![
            GroupConfig {
                name: name("train"),
                nodes: ["worker", "10.0.0.2", "fd00::2"].map(str::to_owned).to_vec(),
                gpus: GpuMode::Plugin,
                runtime_class: Some("nvidia".to_owned()),
            },
            GroupConfig { name: name("jupyter"), nodes: vec![], gpus: GpuMode::Visible, runtime_class: None },
        ],
        location: LocationLabels {
            leaf: "lab/leaf".to_owned(),
            spine: "lab/spine".to_owned(),
            zone: "lab/zone".to_owned(),
        },
        image: Some("registry.lab:5000/train:3".to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        image_pull_secrets: vec!["registry".to_owned(), "other.one".to_owned()],
        service_account: Some("workers".to_owned()),
        tolerates: ["nvidia.com/gpu".to_owned(), "slow".to_owned()].into(),
        mounts: vec![
            Mount {
                read_only: true,
                ..mount("shared", "/nfs-shared", MountSource::HostPath("/nfs-shared/a".to_owned()))
            },
            Mount {
                sub_path: Some("{user}/files".to_owned()),
                ..mount(
                    "home",
                    "/home/{user}",
                    MountSource::Nfs { server: "nas.lab".to_owned(), path: "/homes/all".to_owned() },
                )
            },
            Mount { users: users(&["ada", "b@lab"]), ..mount("secret", "/secret", claim("of-ada")) },
            Mount { users: users(&["grace"]), ..mount("other-secret", "/secret", claim("of-grace")) },
        ],
        users: [
            ("ada".parse().expect("a user"), RunAs { uid: 1001, gid: 100 }),
            ("b@lab".parse().expect("a user"), RunAs { uid: 0, gid: 0 }),
        ]
        .into(),
        run_as: Some(RunAs { uid: 1000, gid: 1000 }),
        server: Some("http://hai.hai.svc:8420".to_owned()),
        lost_after: Duration::from_secs(30),
        image_patience: Duration::from_secs(300),
        log_dir: PathBuf::from("/logs"),
        log_bytes_max: 1 << 20,
        log_segments: 8,
    };
    assert_eq!(made(ALL), expected);
    let config = parse(ALL);
    assert_eq!(config.cluster.kind, ClusterKind::Kubernetes);
    assert_eq!(config.kubernetes.kubeconfig.as_deref(), Some(Path::new("/etc/hai/kubeconfig")));
    assert_eq!(config.kubernetes.context.as_ref().map(|context| context.as_str()), Some("admin@lab"));
}

#[test]
fn nothing_is_what_the_cluster_takes_as_usual() {
    assert_eq!(made(""), KubernetesConfig::new("hai", PathBuf::from("/logs")));
    assert_eq!(Config::default().cluster.kind, ClusterKind::Local);
}

#[test]
fn the_example_is_right_for_kubernetes_too_and_tells_the_true_defaults() {
    let (before, after) = EXAMPLE.split_once("#kind = \"local\"").expect("it shows the kind");
    let (after, _) = after.split_once("\n[[node]]").expect("it shows nodes");
    let mut config = parse(&format!("{before}kind = \"kubernetes\"{after}"));
    let made = kubernetes_config(&config, PathBuf::from("/logs"));
    let mounts: Vec<_> = made.mounts.iter().map(|mount| (mount.name.as_str(), &mount.source)).collect();
    let nfs = MountSource::Nfs { server: "nas.lab".to_owned(), path: "/homes".to_owned() };
    let (host, claim) = (MountSource::HostPath("/nfs-shared".to_owned()), MountSource::Claim("datasets".to_owned()));
    assert_eq!(mounts, [("shared", &host), ("home", &nfs), ("datasets", &claim)]);
    assert_eq!(made.groups.iter().map(|group| group.nodes.len()).collect::<Vec<_>>(), [1]);
    same(&parse(&config.show()), &config);

    // What is commented out there is the default, but for what has none.
    let settings = &mut config.kubernetes;
    assert_eq!(settings.host_paths.len(), 1);
    (settings.host_paths, settings.groups, settings.mounts) = (vec![], vec![], vec![]);
    assert_eq!(*settings, Kubernetes::default());
    let usual: Vec<String> = Config::default()
        .show()
        .lines()
        .skip_while(|line| *line != "[kubernetes]")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned())
        .collect();
    assert_eq!(usual.len(), 11, "{usual:?}");
    for line in usual.iter().filter(|line| !line.ends_with("[]")) {
        assert!(EXAMPLE.lines().any(|shown| shown == format!("#{line}")), "the example does not show {line}");
    }
}

#[test]
fn variables_set_it_too() {
    let vars = [
        ("HOME", "/home/ada"),
        ("HAI_CLUSTER_KIND", "kubernetes"),
        ("HAI_KUBERNETES_NAMESPACE", "elsewhere"),
        ("HAI_KUBERNETES_KUBECONFIG", "~/.kube/config"),
        ("HAI_KUBERNETES_TOLERATES", "nvidia.com/gpu, slow"),
        ("HAI_KUBERNETES_RUN_AS", "7:8"),
        ("HAI_KUBERNETES_LOST_AFTER", "90s"),
    ];
    let config = Config::load(&ConfigFlags::default(), &environment(&vars)).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.cluster.kind, ClusterKind::Kubernetes);
    assert_eq!(config.kubernetes.kubeconfig.as_deref(), Some(Path::new("/home/ada/.kube/config")));
    assert_eq!(config.origin("kubernetes.namespace"), &Origin::Env("HAI_KUBERNETES_NAMESPACE".to_owned()));
    assert!(config.show().contains("(from HAI_KUBERNETES_TOLERATES)"), "{}", config.show());
    let made = kubernetes_config(&config, PathBuf::new());
    assert_eq!((made.namespace.as_str(), made.run_as), ("elsewhere", Some(RunAs { uid: 7, gid: 8 })));
    assert_eq!(made.tolerates, ["nvidia.com/gpu".to_owned(), "slow".to_owned()].into());
    assert_eq!(made.lost_after, Duration::from_secs(90));

    let refused = |vars: &[(&str, &str)]| {
        let mut all = vec![("HAI_DATA_DIR", "/data")];
        all.extend(vars);
        Config::load(&ConfigFlags::default(), &environment(&all)).expect_err("it should be refused").to_string()
    };
    assert_eq!(
        refused(&[("HAI_CLUSTER_KIND", "kubernets")]),
        "HAI_CLUSTER_KIND: `kubernets` is not a kind of cluster; did you mean `kubernetes`?"
    );
    assert_eq!(
        refused(&[("HAI_KUBERNETES_NAMESPAC", "x")]),
        "HAI_KUBERNETES_NAMESPAC: there is no setting of this name; did you mean `HAI_KUBERNETES_NAMESPACE`?"
    );
    assert_eq!(
        refused(&[("HAI_KUBERNETES_KUBECONFIG", "~/.kube/config")]),
        "HAI_KUBERNETES_KUBECONFIG: kubeconfig: `~` is the home directory, but HOME is not set; write the whole path"
    );
    assert_eq!(
        refused(&[("HAI_KUBERNETES_HOST_PATHS", "/a,b")]),
        "HAI_KUBERNETES_HOST_PATHS: `b` is not an absolute path; write it from the root on, e.g. `/data`"
    );
}

#[test]
fn a_host_path_has_to_be_allowed() {
    let mount = |allowed: &str, path: &str| {
        format!(
            "[kubernetes]\nhost_paths = {allowed}\n[[kubernetes.mount]]\nname = \"m\"\npath = \"/m\"\nhost_path = {path:?}"
        )
    };
    for (allowed, path) in [("[\"/nfs\"]", "/nfs"), ("[\"/a\", \"/nfs/\"]", "//nfs/./x/{user}"), ("[\"/\"]", "/etc")] {
        parse(&mount(allowed, path));
    }
    for path in ["/nfs-other", "/", "/etc/nfs", "/{user}"] {
        assert_eq!(
            problem(&mount("[\"/nfs\", \"/data\"]", path)),
            format!(
                "hai.toml:6:13: mount `m`: host_path {path} is not allowed: it is not one of host_paths in \
                 [kubernetes] nor below one; they are /nfs, /data"
            )
        );
    }
    assert_eq!(
        problem(&mount("[]", "/nfs")),
        "hai.toml:6:13: mount `m`: host_path /nfs is not allowed: host_paths in [kubernetes] allows no directory; \
         list it, or one above it, there"
    );
    let told = problem(&mount("[\"/nfs\"]", "/nfs/{user}/work"));
    assert!(told.contains("{user} must be the last part of host_path"), "{told}");
    let told = problem(&mount("[\"/nfs\"]", "/nfs/../etc"));
    assert_eq!(told, "hai.toml:6:13: host_path: `/nfs/../etc` has `..` in it; write where that leads");
}

#[test]
fn what_kind_it_is_says_where_nodes_come_from() {
    let kubernetes = "[cluster]\nkind = \"kubernetes\"\n";
    let group = "[[kubernetes.group]]\nname = \"train\"\n";
    parse(&format!("{NODE}[kubernetes]\nnamespace = \"x\"\n{group}nodes = [\"w\"]"));
    parse(kubernetes);
    parse(&format!("{kubernetes}{group}"));
    parse(&format!("{kubernetes}{group}nodes = [\"w\"]\n[[kubernetes.group]]\nname = \"other\""));
    assert_eq!(
        problem(&format!("{kubernetes}{NODE}")),
        "hai.toml:3:1: [[node]] declares a machine, but with kind = \"kubernetes\" in [cluster] the nodes come from \
         Kubernetes; remove it, or list the node in a [[kubernetes.group]]"
    );
    assert_eq!(
        problem(&format!("{kubernetes}{group}nodes = [\"w\"]")),
        "hai.toml:3:1: default_group: no [[kubernetes.group]] is named `default`, only train"
    );
    assert_eq!(
        problem(&format!("{kubernetes}{group}nodes = [\"w\"]\n[tasks]\ndefault_group = \"trian\"")),
        "hai.toml:7:17: default_group: no [[kubernetes.group]] is named `trian`, only train; did you mean `train`?"
    );
}

#[test]
fn a_wrong_setting_is_told_with_what_would_be_right() {
    let setting = |text: &str| format!("[kubernetes]\n{text}");
    let group = |text: &str| format!("[[kubernetes.group]]\nname = \"a\"\n{text}\n");
    let mount = |text: &str| format!("[[kubernetes.mount]]\nname = \"m\"\npath = \"/m\"\n{text}\n");
    let claim = mount("claim = \"c\"");
    let table = [
        (setting("namespac = \"a\""), "2:1: unknown key `namespac` in [kubernetes]; did you mean `namespace`?"),
        (setting("user = 1"), "2:1: unknown key `user` in [kubernetes]; did you mean `users`?"),
        (
            "[cluster]\nkind = \"k8s\"".to_owned(),
            "2:8: kind: `k8s` is not a kind of cluster; write one of \"local\", \"kubernetes\"",
        ),
        (
            setting("namespace = \"My Lab\""),
            "2:13: namespace: `My Lab` is not a DNS label: 1 to 63 small letters, digits and `-`, which is neither first nor last",
        ),
        (
            setting("instance = \"hai-of-the-whole-lab-two\""),
            "2:12: instance: `hai-of-the-whole-lab-two` is not a DNS label: 1 to 20 small letters, digits and `-`, which is neither first nor last",
        ),
        (setting("instance = \"2hai\""), "2:12: instance: `2hai` begins with a digit; begin with a letter"),
        (
            setting("context = \"\""),
            "2:11: context: \"\" is empty, or has blanks around it or control characters in it",
        ),
        (
            setting("server = \"hai.svc:8420\""),
            "2:10: server: `hai.svc:8420` does not begin with http:// or https://; write e.g. `http://hai.hai.svc:8420`",
        ),
        (
            setting("group_label = \"a b\""),
            "2:15: group_label: `a b` can not be a label's key; write e.g. `hai_mars_group` or `topology.kubernetes.io/zone`",
        ),
        (
            setting("image = \"docker://train\""),
            "2:9: image: `docker://train` is a URL; an image is written without one, e.g. `train`",
        ),
        (
            setting("image_pull_policy = \"ifnotpresent\""),
            "2:21: image_pull_policy: `ifnotpresent` is not a pull policy; did you mean `IfNotPresent`?",
        ),
        (
            setting("image_pull_secrets = \"registry\""),
            "2:22: image_pull_secrets: expected a list in brackets, found the text \"registry\"",
        ),
        (setting("tolerates = [\"a\", 1]"), "2:13: tolerates: expected a label's key in quotes, found the number 1"),
        (
            setting("lost_after = \"0s\""),
            "2:14: lost_after is zero, so every node would be given up at once; write e.g. \"60s\"",
        ),
        (
            setting("lost_after = 60"),
            "2:14: lost_after: expected a length of time in quotes, e.g. \"30m\" or \"4h\", found the number 60",
        ),
        (
            setting("run_as = \"ada\""),
            "2:10: run_as: expected a user's number, e.g. 1000, or \"1000:100\" with the group's, each from 0 to 2147483647, found the text \"ada\"",
        ),
        (
            setting("run_as = 2147483648"),
            "2:10: run_as: expected a user's number, e.g. 1000, or \"1000:100\" with the group's, each from 0 to 2147483647, found the number 2147483648",
        ),
        (
            "[kubernetes.users]\nada = \"1:+2\"".to_owned(),
            "2:7: ada: expected a user's number, e.g. 1000, or \"1000:100\" with the group's, each from 0 to 2147483647, found the text \"1:+2\"",
        ),
        (
            "[kubernetes.users]\n\"a b\" = 1".to_owned(),
            "2:1: a user name \"a b\" has ' ' in it; allowed are letters, digits and - _ . @",
        ),
        (
            "[kubernetes.group]\nname = \"a\"".to_owned(),
            "1:1: [[kubernetes.group]] is a list of tables; write it in double brackets: [[kubernetes.group]]",
        ),
        ("[[kubernetes.group]]".to_owned(), "1:1: [[kubernetes.group]] has no name; write e.g. name = \"train\""),
        (group("node = [\"w\"]"), "3:1: unknown key `node` in [[kubernetes.group]]; did you mean `nodes`?"),
        (group("nodes = \"w\""), "3:9: nodes: expected a list in brackets, found the text \"w\""),
        (
            group("nodes = [\"v\", \"w x\"]"),
            "3:15: nodes: `w x` can not be a node; write its name, its host's name or its address, each in its own quotes",
        ),
        (
            group("gpus = \"uuid\""),
            "3:8: gpus: `uuid` is not a way to get devices; write one of \"visible\", \"plugin\"",
        ),
        (group("") + &group(""), "5:8: there are two groups named `a`; the first is at hai.toml:1:1"),
        (
            group("nodes = [\"w\"]") + "[[kubernetes.group]]\nname = \"b\"\nnodes = [\"v\", \"w\"]",
            "6:15: nodes: `w` is in group a already, at hai.toml:3:10; a node belongs to one group",
        ),
        (group("nodes = [\"w\", \"w\"]"), "3:15: nodes: `w` stands there twice"),
        (
            "[[kubernetes.group]]\nname = \"a@b\"".to_owned(),
            "2:8: group `a@b` lists no nodes, and no label can have this value; list its nodes",
        ),
        (
            mount(""),
            "1:1: this [[kubernetes.mount]] does not say what is mounted; write one of host_path, nfs and claim",
        ),
        (mount("claim = \"c\"\nnfs = \"nas:/a\""), "1:1: only one of host_path, nfs and claim says what is mounted"),
        (
            mount("nfs = \"nas\""),
            "4:7: nfs: `nas` is not an NFS server and a path; write e.g. `nas.lab:/exports/shared`",
        ),
        (
            mount("claim = \"my claim\""),
            "4:9: claim: `my claim` can not be an object's name: small letters, digits, `-` and `.`, e.g. `my-name`",
        ),
        (
            mount("claim = \"c\"\nsub_path = \"/a\""),
            "5:12: sub_path: `/a` is absolute; write it as seen from what is mounted, e.g. `home/{user}`",
        ),
        (
            mount("claim = \"c\"\nusers = []"),
            "5:9: users: nobody would find it mounted; leave users out to mean everybody",
        ),
        (
            claim.replace("\"m\"", "\"M\""),
            "2:8: name: `M` is not a DNS label: 1 to 63 small letters, digits and `-`, which is neither first nor last",
        ),
        (
            claim.replace("\"m\"", "\"hai-shm\""),
            "2:8: name: `hai-shm` is the name of every worker's shared memory; take another",
        ),
        (claim.replace("/m", "m"), "3:8: path: `m` is not an absolute path; write it from the root on, e.g. `/data`"),
        (claim.replace("/m", "/a/../m"), "3:8: path: `/a/../m` has `..` in it; write where that leads"),
        (
            claim.replace("/m", "/home/{usr}"),
            "3:8: path: `/home/{usr}` has braces in it; `{user}` is all that may stand in them",
        ),
        (claim.replace("/m", "/dev/shm/"), "3:8: path: `/dev/shm/` is every worker's shared memory; mount elsewhere"),
        (format!("{claim}{claim}"), "6:8: there are two mounts named `m`; the first is at hai.toml:1:1"),
        (
            format!("{claim}{}", claim.replace("\"m\"", "\"n\"").replace("/m", "//m/") + "users = [\"ada\"]"),
            "7:8: path: `m` is mounted at /m already, at hai.toml:1:1; give each its own path",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(problem(&text), format!("hai.toml:{expected}"), "{text}");
    }
    // A mistake in one place does not hide those in others.
    let text = setting("image = 1\nrun_as = \"x\"\n") + &group("nodes = [1, \"w\", \" \"]") + &mount("read_only = 1");
    let lines: Vec<_> = problems(&text).iter().filter_map(|text| text.split(':').nth(1).map(str::to_owned)).collect();
    assert_eq!(lines, ["2", "3", "6", "6", "7", "10"]);
}

#[test]
fn the_example_in_the_readme_is_good() {
    let config = parse(include_str!("../../../examples/kubernetes.toml"));
    let made = kubernetes_config(&config, PathBuf::from("/logs"));
    assert_eq!((made.groups.len(), made.mounts.len()), (1, 1));
}
