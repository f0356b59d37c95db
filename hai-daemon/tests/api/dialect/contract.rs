//! Each recorded request once, and every field that the client reads of its answer.

use serde_json::{Value, json};

use super::{accepted, ask, create, follow, good, refused, schema, until};
use crate::lab::{Lab, node};

/// The fields of a task that the client prints or decides by.
const TASK_FIELDS: [&str; 38] = [
    "id",
    "first_id",
    "chain_id",
    "nb_name",
    "user_name",
    "group",
    "backend",
    "task_type",
    "workspace",
    "code_file",
    "nodes",
    "restart_count",
    "priority",
    "mount_code",
    "chain_status",
    "queue_status",
    "worker_status",
    "created_at",
    "begin_at",
    "end_at",
    "suspend_updated_at",
    "id_list",
    "queue_status_list",
    "begin_at_list",
    "end_at_list",
    "created_at_list",
    "stop_code_list",
    "suspend_code_list",
    "whole_life_state_list",
    "worker_status_list",
    "stop_code",
    "suspend_code",
    "whole_life_state",
    "tags",
    "assigned_nodes",
    "config_json",
    "star",
    "_pods_",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_day_with_the_client() {
    let lab = Lab::on_this_machine(vec![node("one", 2)]).await;
    let token = lab.alice.token.clone().expect("one");
    let work = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(
        work.path().join("t.py"),
        "import os, sys\nprint(sys.argv[1:], os.environ['B'], os.environ['RANK'])\n",
    )
    .expect("written");

    // hai-cli init
    let made = good(&lab.alice, "/operating/user/access_token/create", "").await;
    assert_eq!(made["result"]["access_token"], token);
    assert_eq!((&made["result"]["from_user_name"], &made["result"]["access_scope"]), (&json!("alice"), &json!("all")));
    // whoami
    let info = good(&lab.alice, "/query/user/info", "").await;
    for field in ["user_name", "nick_name", "user_id", "shared_group", "role", "access_scope", "group_list"] {
        assert!(!info["result"][field].is_null(), "{field}: {info}");
    }
    let quota = good(&lab.alice, "/query/user/quota/list", "").await;
    assert_eq!(quota["result"]["node_quota"]["node-lab-HIGH"], 1_000_000);
    assert_eq!(quota["result"]["used_node_quota"]["lab-HIGH"], 0);
    let tokens = good(&lab.alice, "/query/user/access_token/list", "").await;
    assert_eq!(tokens["result"]["access_tokens"][0]["expire_at"], "3000-01-01T00:00:00");
    let images = good(&lab.alice, "/ugc/user/train_image/list", "").await;
    assert_eq!(images["result"], json!({"mars_images": [], "user_images": []}));
    // nodes
    let nodes = good(&lab.alice, "/query/node/list", "").await;
    assert_eq!(nodes["cluster_df"][0]["name"], "one");
    assert_eq!(nodes["cluster_df"][0]["status"], "Ready");
    assert_eq!(
        (&nodes["cluster_df"][0]["working"], &nodes["cluster_df"][0]["mars_group"]),
        (&Value::Null, &json!("lab"))
    );

    // python t.py a 'b c' -- -n 1 -e 'B=x y'
    let mut wanted = schema("t.py", work.path(), "t.py");
    wanted["spec"]["parameters"] = json!("a 'b c'");
    wanted["spec"]["environments"] = json!({"B": "'x y'"});
    let made = accepted(&create(&lab.alice, &wanted).await);
    let task = &made["task"];
    for field in ["id", "nb_name", "nodes", "chain_status", "task_type", "restart_count", "created_at"] {
        assert!(!task[field].is_null(), "{field}: {task}");
    }
    let chain = task["chain_id"].as_str().expect("a chain").to_owned();
    assert_eq!(follow(&lab.alice, &chain, 0).await, ("['a', 'b c'] x y 0\n".to_owned(), 0));

    // status, by name and by id
    let task = until(&lab.alice, "nb_name=t.py", "finished").await;
    for field in TASK_FIELDS {
        assert!(task.get(field).is_some(), "{field}: {task}");
    }
    assert_eq!(task["id"], 100_000);
    assert_eq!(
        (&task["worker_status"], &task["queue_status"], &task["stop_code"]),
        (&json!("succeeded"), &json!("finished"), &json!(1))
    );
    assert_eq!(task["code_file"], format!("{}/t.py a 'b c'", work.path().display()));
    assert_eq!(task["config_json"]["schema"], wanted);
    let pod = &task["_pods_"][0];
    for field in ["task_id", "pod_id", "job_id", "status", "node", "role"] {
        assert!(!pod[field].is_null(), "{field}: {pod}");
    }
    assert_eq!(
        (&pod["pod_id"], &pod["role"], &pod["exit_code"]),
        (&json!("alice-100000-0"), &json!("master"), &json!("0"))
    );
    assert_eq!(until(&lab.alice, "id=100000", "finished").await, task);
    // A time that the client's reader takes: local, without an offset.
    let created = task["created_at"].as_str().expect("text");
    assert_eq!((created.len(), &created[10..11]), (19, "T"));

    // list, as recorded
    let list = good(
        &lab.alice,
        "/query/task/list",
        "page=1&page_size=12&task_type=training&task_type=virtual&task_type=background&select_pods=False",
    )
    .await;
    assert_eq!(list["result"]["total"], 1);
    assert_eq!(list["result"]["tasks"][0]["nb_name"], "t.py");
    assert_eq!(list["result"]["tasks"][0]["_pods_"], json!([]));
    // A trailing slash in the address doubles one here.
    assert_eq!(good(&lab.alice, "//query/task", "id=100000").await["result"]["task"], task);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_unique_among_what_is_not_finished() {
    let lab = Lab::in_memory([node("one", 2)]).await.0;
    let work = tempfile::tempdir().expect("a temporary directory");
    let wanted = schema("same", work.path(), "run.sh");
    let both = tokio::join!(create(&lab.alice, &wanted), create(&lab.alice, &wanted));
    let both: Vec<Value> =
        [both.0, both.1].iter().map(|reply| serde_json::from_slice(&reply.body).expect("JSON")).collect();
    let done = both.iter().filter(|body| body["success"] == 1).count();
    assert_eq!(done, 1, "{both:?}");
    let refusal = both.iter().find(|body| body["success"] == 0).expect("one")["msg"].to_string();
    assert!(refusal.contains("same"), "{refusal}");
    // Somebody else's is another one, and so is one after it is over.
    accepted(&create(&lab.bob, &wanted).await);
    good(&lab.alice, "/operating/task/stop", "nb_name=same&op=stop").await;
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_ends_the_client_with_its_code() {
    let lab = Lab::on_this_machine(vec![node("one", 0)]).await;
    let work = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(work.path().join("run.sh"), "echo before; exit 7\n").expect("written");
    let made = accepted(&create(&lab.alice, &schema("fails", work.path(), "run.sh")).await);
    let chain = made["task"]["chain_id"].as_str().expect("a chain");
    assert_eq!(follow(&lab.alice, chain, 0).await, ("before\n".to_owned(), 7));
    let task = until(&lab.alice, "nb_name=fails", "finished").await;
    assert_eq!((&task["worker_status"], &task["stop_code"]), (&json!("failed"), &json!(128)));
    let found = good(&lab.alice, "/query/task/log/search", &format!("chain_id={chain}&content=before")).await;
    assert_eq!(found["data"], json!([1]));
    let log = good(&lab.alice, "/query/task/sys_log", &format!("chain_id={chain}")).await;
    assert!(log["data"].as_str().expect("text").contains("failed: "), "{log}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_counts_only_where_workers_have_one() {
    let mut wanted = schema("with image", std::path::Path::new("/tmp"), "run.sh");
    wanted["resource"]["image"] = json!("registry.test/lab/train:1");
    let lab = Lab::on_this_machine(vec![node("one", 1)]).await;
    let msg = refused(&create(&lab.alice, &wanted).await);
    assert!(msg.starts_with("resource.image: ") && msg.contains("registry.test/lab/train:1"), "{msg}");
    lab.close().await;
    let lab = Lab::in_memory([]).await.0;
    accepted(&create(&lab.alice, &wanted).await);
    assert_eq!(until(&lab.alice, "nb_name=with+image", "waiting_init").await["backend"], "registry.test/lab/train:1");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_the_pages_ask_is_answered_or_said_not_to_be_offered() {
    let lab = Lab::in_memory([node("one", 1)]).await.0;
    for path in [
        "/query/task/list_all_unfinished",
        "/query/task/list_all_with_priority",
        "/query/node/overview",
        "/query/node/client_overview",
        "/query/node/host_info",
        "/query/user/training_quota/get_used",
        "/query/user/tag/list",
        "/query/user/nodeport/list",
    ] {
        good(&lab.alice, path, "").await;
    }
    assert_eq!(good(&lab.alice, "/query/node/client_overview", "").await["result"]["free"], 1);
    for path in [
        "/operating/task/tag",
        "/operating/task/artifact/map",
        "/operating/service_task/delete",
        "/operating/node/label",
        "/ugc/user/nodeport/create",
        "/query/task/time_range_overview",
        "/query/user/training_quota/list_all",
        "/monitor/user/storage/list",
        "/monitor_v2/task_perf_api",
        "/monitor_v2/user/monitor",
        "/ugc/get_sts_token",
        "/ugc/sync_to_cluster",
    ] {
        let msg = refused(&ask(&lab.alice, path, "").await);
        assert!(msg.starts_with("not offered here: "), "{path}: {msg}");
    }
    // What is not known of a path is not left aside either.
    for (path, query) in [("/query/node/host_info", "node_regex=.*"), ("/query/task/log", "nb_name=x&service=jupyter")]
    {
        assert!(refused(&ask(&lab.alice, path, query).await).contains("not offered here: "), "{path}");
    }
    assert_eq!(good(&lab.alice, "/query/node/host_info", "type=gpu").await["result"][0]["node"], "one");
    assert_eq!(good(&lab.alice, "/query/node/host_info", "type=cpu").await["result"], json!([]));
    let unknown = ask(&lab.alice, "/query/nothing/like/this", "").await;
    assert_eq!((unknown.status, refused(&unknown).as_str()), (404, "Not Found"));
    let health = lab.anybody.get("/api_server_status").await.ok(200);
    assert_eq!((&health["success"], &health["status"]), (&json!(1), &json!("running")));
    lab.close().await;
}
