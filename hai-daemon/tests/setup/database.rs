//! Setting hai up with its database on a server: what is printed, what is refused, and what the doctor says of the server.

use std::time::Duration;

use hai_daemon::setup::doctor::database::{SCHEMA, server};
use hai_daemon::setup::doctor::{Check, Verdict};
use hai_daemon::store::PostgresStore;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::control_plane::eventually;
use crate::postgres::Postgres;
use crate::{Operator, lab};

/// One line that says what is wrong and what to do.
fn one_line(text: &str) -> &str {
    let text = text.trim_end();
    assert!(!text.is_empty() && !text.contains('\n'), "one line: {text:?}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_take_a_database_and_are_both_waited_for() {
    let (plane, _kubelet) = lab().await;
    let client = plane.client().await;
    let operator = Operator::new(&plane.kubeconfig(), "");
    for command in [&["up", "--timeout", "1s"][..], &["manifests"]] {
        let said = operator.says(&[command, &["--replicas", "2"]].concat()).await;
        assert_eq!(said.code, 2, "{said:?}");
        let line = one_line(&said.err);
        assert!(line.contains("2 daemons need a database that they share") && line.contains("data.database"), "{line}");
    }
    let with_secret = ["up", "--replicas", "2", "--database-secret", "--service", "node-port", "--timeout"];
    let said = operator.says(&[&with_secret[..], &["1s"]].concat()).await;
    assert_eq!(said.code, 1, "{said:?}");
    let line = said.err.lines().last().expect("a line");
    assert!(line.contains("there is no secret hai-database with the key url in hai"), "{said:?}");
    assert!(line.contains("kubectl -n hai create secret generic hai-database --from-literal=url="), "{said:?}");
    let spaces: Api<Namespace> = Api::all(client.clone());
    assert!(spaces.get_opt("hai").await.expect("an answer").is_none(), "nothing was made");

    let space = serde_json::from_value(json!({"metadata": {"name": "hai"}})).expect("a namespace");
    spaces.create(&PostParams::default(), &space).await.expect("made");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "hai");
    let secret = json!({"metadata": {"name": "hai-database"}, "stringData": {"url": "postgres://hai@db.hai.svc/hai"},
                        "data": {"url": "cG9zdGdyZXM6Ly9oYWlAZGIuaGFpLnN2Yy9oYWk="}});
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a secret")).await.expect("made");
    operator.hears("database", "skipped", &["db.hai.svc", "was not tried from here"]).await;

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "hai");
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), "hai");
    let ready = async |count: i32| {
        let found = eventually("the deployment", async || deployments.get_opt("hai").await.ok()?).await;
        let status = json!({"status": {"observedGeneration": found.metadata.generation, "replicas": 2, "updatedReplicas": 2,
                                       "readyReplicas": count, "availableReplicas": count}});
        deployments.patch_status("hai", &PatchParams::default(), &Patch::Merge(status)).await.expect("patched");
        let found = eventually("the daemon set", async || sets.get_opt("hai-agent").await.ok()?).await;
        let status = json!({"status": {"observedGeneration": found.metadata.generation, "desiredNumberScheduled": 1,
                                       "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1}});
        sets.patch_status("hai-agent", &PatchParams::default(), &Patch::Merge(status)).await.expect("patched");
    };
    let patient = [&with_secret[..], &["3s"]].concat();
    let (said, ()) = tokio::join!(operator.says(&patient), ready(1));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("waited in vain for the daemon: 1 of 2 ready"), "{said:?}");
    let patient = [&with_secret[..], &["100s"]].concat();
    let (said, ()) = tokio::join!(operator.says(&patient), ready(2));
    assert_eq!(said.code, 0, "{said:?}");

    let spec = serde_json::to_value(deployments.get("hai").await.expect("it is there").spec).expect("JSON");
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(2), &json!("RollingUpdate")));
    let pod = &spec["template"]["spec"];
    let apart = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["podAffinityTerm"]["topologyKey"], "kubernetes.io/hostname");
    let data = pod["volumes"].as_array().expect("volumes").iter().find(|volume| volume["name"] == "data");
    assert!(data.is_some_and(|data| data["emptyDir"].is_object()), "{data:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_in_the_secret_and_nowhere_else() {
    let (plane, _kubelet) = lab().await;
    let operator = Operator::new(&plane.kubeconfig(), "# yes\n[data]\ndatabase = \"postgres://hai:geheim@db/hai\"\n");
    let other = Operator::new(&plane.kubeconfig(), "");
    let set = ["manifests", "--set", "data.database=postgres://hai:geheim@db/hai"];
    for said in [operator.says(&["manifests"]).await, other.says(&set).await] {
        assert_eq!(said.code, 0, "{said:?}");
        let (mut objects, mut urls): (Vec<Value>, Vec<Value>) =
            (serde_saphyr::from_multiple(&said.out).expect("YAML"), Vec::new());
        objects.retain(|object| {
            let own = object["kind"] == "Secret" && object["metadata"]["name"] == "hai-database";
            urls.extend(own.then(|| object["data"]["url"].clone()));
            !own
        });
        let url = serde_json::from_value::<k8s_openapi::ByteString>(urls.remove(0)).expect("base64").0;
        assert_eq!(url, b"postgres://hai:geheim@db/hai");
        let rest = json!(objects).to_string();
        assert!(!rest.contains("geheim") && !rest.contains("postgres://"), "{rest}");
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").expect("a daemon");
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().expect("variables").clone();
        let from = json!({"name": "HAI_DATA_DATABASE", "valueFrom": {
            "secretKeyRef": {"name": "hai-database", "key": "url", "optional": true}}});
        assert!(env.contains(&from), "{env:?}");
        assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    }
}

/// That this is said of the server that `url` names, with a fix if it is bad.
async fn hears(url: &str, verdict: Verdict, words: &[&str]) {
    let check: Check = server(url).await;
    let line = check.to_string();
    assert_eq!(check.verdict, verdict, "{line}");
    assert!(check.fix.is_some() || !matches!(verdict, Verdict::Bad | Verdict::Warning), "{line}");
    words.iter().for_each(|word| assert!(line.contains(word), "{word:?} is not in {line:?}"));
    assert!(!line.contains('\n') && !line.contains("geheim"), "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_knows_postgres() {
    hears(
        "postgres://hai:geheim@127.0.0.1:1/hai",
        Verdict::Bad,
        &["127.0.0.1:1/hai can not be reached", "refused", "start it"],
    )
    .await;
    hears("nonsense", Verdict::Bad, &["can not be read", "postgres://USER:PASSWORD@HOST/NAME"]).await;
    // One that accepts and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgres://hai:geheim@{}/hai", mute.local_addr().expect("an address"));
    hears(&url, Verdict::Bad, &["does not answer within 5 s", "firewall"]).await;

    let Some(postgres) = Postgres::durable().filter(Postgres::is_ours) else { return };
    hears(&postgres.url(), Verdict::Bad, &["no schema to make tables in", "CREATE SCHEMA"]).await;
    postgres.prepare().await;
    hears(&postgres.url(), Verdict::Good, &["Postgres", "still empty"]).await;
    drop(PostgresStore::open(&postgres.url()).await.expect("a store"));
    hears(&postgres.url(), Verdict::Good, &[&format!("tables of version {SCHEMA}")]).await;

    let elsewhere = |to: &str| postgres.url().replacen("/postgres?", &format!("/{to}?"), 1);
    hears(&elsewhere("nothing"), Verdict::Bad, &["\"nothing\" does not exist", "CREATE DATABASE nothing"]).await;
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0").await;
    hears(&elsewhere("latin"), Verdict::Bad, &["encoding LATIN1", "ENCODING 'UTF8'"]).await;
    postgres.execute("CREATE ROLE guest LOGIN; CREATE ROLE reader LOGIN; ALTER ROLE reader SET default_transaction_read_only = on")
        .await;
    let schema = postgres.url().rsplit("%3D").next().expect("a schema").to_owned();
    postgres
        .execute(&format!("GRANT USAGE ON SCHEMA {schema} TO guest, reader; GRANT SELECT ON _sqlx_migrations TO guest"))
        .await;
    let as_user = |user: &str| postgres.url().replacen("postgres@", &format!("{user}@"), 1);
    hears(&as_user("guest"), Verdict::Bad, &["does not let guest write", "GRANT ALL ON ALL TABLES"]).await;
    hears(&as_user("reader"), Verdict::Bad, &["takes no changes", "primary"]).await;
    hears(&as_user("nobody"), Verdict::Bad, &["refuses hai", "user and password"]).await;
    postgres
        .execute(
            "INSERT INTO _sqlx_migrations SELECT 99, description, installed_on, success, checksum, execution_time FROM \
                  _sqlx_migrations LIMIT 1",
        )
        .await;
    hears(&postgres.url(), Verdict::Bad, &["tables of version 99", "a newer one"]).await;

    let quick = Postgres::start().expect("as before");
    quick.prepare().await;
    hears(&quick.url(), Verdict::Warning, &["fsync = off", "power loss", "set fsync = on"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_is_another_one_for_each_user_is_said_not_to_be_tried() {
    let (plane, _kubelet) = lab().await;
    let spaces: Api<Namespace> = Api::all(plane.client().await);
    let space = serde_json::from_value(json!({"metadata": {"name": "hai"}})).expect("a namespace");
    spaces.create(&PostParams::default(), &space).await.expect("made");
    let mount = "host_paths = [\"/home\"]\n[[kubernetes.mount]]\nname = \"home\"\npath = \"/home\"\nhost_path = \"/home/{user}\"\n";
    let said = Operator::new(&plane.kubeconfig(), mount).says(&["doctor"]).await;
    let line = "skip  mounts: home (/home/{user}) is another one for each user, and was not tried";
    assert!(said.out.contains(line), "{said:?}");
}

/// A database that can not be used ends a daemon with the line that says so; one that is away is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_ends_with_the_line_that_says_what_is_wrong_with_its_database() {
    let Some(postgres) = Postgres::durable().filter(Postgres::is_ours) else { return };
    postgres.prepare().await;
    let (plane, _kubelet) = lab().await;
    let space = serde_json::from_value(json!({"metadata": {"name": "hai"}})).expect("a namespace");
    Api::<Namespace>::all(plane.client().await).create(&PostParams::default(), &space).await.expect("made");
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0").await;
    let operator = Operator::new(&plane.kubeconfig(), "image = \"example.test/train:1\"\n");
    let data = operator.dir.path().join("data");
    let serve = |url: &str| {
        let mut command = operator.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.arg("--data").arg(&data).env("HAI_CLUSTER_KIND", "kubernetes").env("HAI_DATA_DATABASE", url);
        command.stderr(std::process::Stdio::piped());
        command
    };
    let output = serve(&postgres.url().replacen("/postgres?", "/latin?", 1)).output().await.expect("executed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(one_line(&said).contains("its encoding is LATIN1; create the database with ENCODING 'UTF8'"), "{said}");
    let output = serve(&postgres.url().replacen("/postgres?", "/nothing?", 1)).output().await.expect("executed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && one_line(&said).contains("\"nothing\" does not exist"), "{said}");
    let mut waiting = serve("postgres://hai@127.0.0.1:1/hai").spawn().expect("executed");
    assert!(tokio::time::timeout(Duration::from_secs(3), waiting.wait()).await.is_err(), "it waits for the server");
    waiting.kill().await.expect("it is ours");
}
