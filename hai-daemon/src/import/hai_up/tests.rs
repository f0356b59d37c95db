//! The sample of `hai-up.sh config` and a real lab, and every way to get them wrong.

use proptest::prelude::*;

use super::*;

/// As an operator of two machines would write it.
const LAB: &str = r#"
    export TASK_NAMESPACE="hai-platform" # task namespace
    export SHARED_FS_ROOT="/nfs-shared" # shared filesystem root path
    export MARS_PREFIX="lab"
    export TRAINING_GROUP="train"
    export JUPYTER_GROUP="jupyter_cpu" # label ${MARS_PREFIX}_mars_group
    export TRAINING_NODES="worker 192.168.1.20" # format: "node1 node2"
    export JUPYTER_NODES="master"
    export MANAGER_NODES="master"
    export INGRESS_HOST="hai.example.org"
    export USER_INFO="haiadmin:10020:s3cr3t-one,ada:10021:s3cr3t-two"
    export ROOT_USER="haiadmin"
    export BFF_ADMIN_TOKEN=$(echo $RANDOM | md5sum | head -c 20)    # token of the reserved admin user for bff
    export TRAIN_IMAGE="registry.example.org/train:1"
    export NODE_GPUS=4 # gpus per node
    export KUBECONFIG="$HOME/.kube/config"
    export POSTGRES_PASSWORD="s3cr3t-three"
    export DB_PATH="${SHARED_FS_ROOT}/hai-platform/db"
    export EXTRA_MOUNTS="/data/sets:/sets:directory:ro,
      /opt/a b:/opt/ab:file"
    export PLATFORM_NAMESPACE="${TASK_NAMESPACE}"
    export MY_OWN=1
"#;

fn table(text: &str) -> toml::Table {
    convert(text).expect("it is taken").parse().expect("it is TOML")
}

fn refused(text: &str) -> Vec<String> {
    convert(text).expect_err("refused").iter().map(ToString::to_string).collect()
}

#[test]
fn the_daemon_takes_what_is_made() {
    let made = convert(LAB).expect("it is taken");
    let config = crate::config::Config::parse(&made, "hai.toml").unwrap_or_else(|error| panic!("{error}\n{made}"));
    assert_eq!(config.kubernetes.groups.len(), 2);
    assert_eq!(config.kubernetes.mounts.len(), 1);
}

#[test]
fn a_lab_becomes_a_configuration() {
    let config = table(LAB);
    assert_eq!(config["cluster"]["kind"].as_str(), Some("kubernetes"));
    let kubernetes = &config["kubernetes"];
    let text = |key: &str| kubernetes[key].as_str().expect("a text").to_owned();
    assert_eq!(
        [text("namespace"), text("image"), text("group_label")],
        ["hai-platform", "registry.example.org/train:1", "lab_mars_group"]
    );
    let groups = kubernetes["group"].as_array().expect("groups");
    let group = |index: usize| (groups[index]["name"].as_str(), groups[index]["nodes"].to_string());
    assert_eq!(group(0), (Some("train"), r#"["worker", "192.168.1.20"]"#.to_owned()));
    assert_eq!(group(1), (Some("jupyter_cpu"), r#"["master"]"#.to_owned()));
    assert!(groups.iter().all(|group| group["gpus"].as_str() == Some("visible")));
    let mounts = kubernetes["mount"].as_array().expect("mounts");
    assert_eq!((mounts.len(), mounts[0]["host_path"].as_str()), (1, Some("/nfs-shared")));
    assert_eq!(config["tasks"]["default_group"].as_str(), Some("train"));
}

#[test]
fn what_is_left_out_is_named_and_nothing_secret_is_told() {
    let text = convert(LAB).expect("it is taken");
    for told in [
        "#   NODE_GPUS: GPUs are counted",
        "#   BFF_ADMIN_TOKEN: the operator is made",
        "#   MY_OWN: hai-up does not know it",
        "#   hai users add haiadmin --role operator    (user id 10020)",
        "#   hai users add ada    (user id 10021)",
        "#host_path = \"/opt/a b\"",
        "#read_only = true",
    ] {
        assert!(text.contains(told), "{told} in\n{text}");
    }
    assert!(!text.contains("s3cr3t"), "{text}");
    // What stands behind a # is good too, once the # is taken away.
    let all = text.replace("#[[", "[[").replace("\n#name", "\nname").replace("\n#path", "\npath");
    let all = all.replace("\n#host_path", "\nhost_path").replace("\n#read_only", "\nread_only");
    let all: toml::Table = all
        .replace("\n#group", "\ngroup")
        .replace("\n#priority", "\npriority")
        .replace("\n#nodes", "\nnodes")
        .parse()
        .expect("TOML");
    assert_eq!(all["kubernetes"]["mount"].as_array().expect("mounts").len(), 3);
    assert_eq!(all["right"][0]["nodes"].as_integer(), Some(10));
}

#[test]
fn the_vendor_s_own_nodes_are_nobody_s() {
    let sample = "TRAINING_NODES=\"cn-hangzhou.172.23.183.227\"\nJUPYTER_NODES=\"cn-hangzhou.172.23.183.226\"\n";
    let told = refused(sample);
    assert!(told[0].starts_with("1: TRAINING_NODES names no node of yours"), "{told:?}");
    let text = convert(&sample.replace("cn-hangzhou.172.23.183.227", "worker")).expect("it is taken");
    assert!(text.contains("JUPYTER_NODES names no node of yours"), "{text}");
    assert_eq!(text.matches("\n[[kubernetes.group]]").count(), 1);
}

#[test]
fn what_can_not_be_is_named_by_its_line_without_its_value() {
    let with = |line: &str| format!("TRAINING_NODES=worker\n{line}\n");
    for (line, told) in [
        ("JUPYTER_NODES=worker", "2: JUPYTER_NODES names worker, which TRAINING_NODES names too"),
        ("USER_INFO=ada:s3cr3t", "2: user 1 of USER_INFO is not NAME:UID:TOKEN"),
        ("USER_INFO=ada:1:x,bob:s3cr3t:2", "2: user 2 of USER_INFO has a name or number that can not be"),
        ("USER_INFO=ada:1:x,ada:2:y", "2: user 2 of USER_INFO has the name of one before"),
        ("ROOT_USER=eve\nUSER_INFO=ada:1:s3cr3t", "2: ROOT_USER eve is not in USER_INFO"),
        ("TRAINING_GROUP='a b'", "2: TRAINING_GROUP: a group name"),
        ("JUPYTER_NODES=master JUPYTER_GROUP=x", "2: there is something behind the value of JUPYTER_NODES"),
        ("TRAIN_IMAGE=$(s3cr3t)", "2: TRAIN_IMAGE has a command in it"),
        ("SHARED_FS_ROOT=nfs", "2: SHARED_FS_ROOT is not a path"),
        ("EXTRA_MOUNTS=/a", "2: mount 1 of EXTRA_MOUNTS is not"),
        ("EXTRA_MOUNTS=/a:b:file", "2: mount 1 of EXTRA_MOUNTS has a path"),
        ("JUPYTER_NODES=m\nJUPYTER_GROUP=training", "3: JUPYTER_GROUP is TRAINING_GROUP"),
        ("s3cr3t", "2: this is not an assignment"),
    ] {
        let problems = refused(&with(line));
        assert_eq!(problems.len(), 1, "{line}: {problems:?}");
        assert!(problems[0].starts_with(told), "{line}: {problems:?}");
        assert!(!problems[0].contains("s3cr3t"), "{line}: {problems:?}");
    }
}

proptest! {
    /// Whatever the values are, the result is TOML that says them, or there is a message; and no token is in either.
    #[test]
    fn the_result_is_toml_without_secrets(
        image in "[ -~é]{0,20}", group in "[a-z\"\n#]{1,8}", root in "[ -~]{0,10}", bad in any::<bool>(),
    ) {
        let quote = |text: &str| format!("'{}'", text.replace('\'', ""));
        let user = if bad { "ada:S3CR3T" } else { "ada:7:S3CR3T" };
        let text = format!(
            "TRAINING_NODES=worker\nTRAIN_IMAGE={}\nTRAINING_GROUP={}\nSHARED_FS_ROOT={}\nUSER_INFO={user}\n\
             REDIS_PASSWORD=S3CR3T\nEXTRA_ENVIRONMENTS=KEY:S3CR3T\n",
            quote(&image), quote(&group), quote(&format!("/{root}")),
        );
        match convert(&text) {
            Ok(made) => {
                prop_assert!(!made.contains("S3CR3T"));
                let config: toml::Table = made.parse().expect("it is TOML");
                let said = image.replace('\'', "").trim().to_owned();
                prop_assert_eq!(config["kubernetes"].get("image").and_then(|image| image.as_str()).unwrap_or(""), said);
            }
            Err(problems) => {
                let told: String = problems.iter().map(ToString::to_string).collect();
                prop_assert!(!told.contains("S3CR3T"), "{}", told);
            }
        }
    }
}
