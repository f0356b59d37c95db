//! A chain over several attempts: suspended, resumed, stopped; what its numbers and its output are then.

use serde_json::{Value, json};

use super::{accepted, ask, create, follow, good, refused, schema, until};
use crate::lab::{Lab, node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_chain_goes_on_under_another_number() {
    let lab = Lab::on_this_machine(vec![node("one", 1)]).await;
    let work = tempfile::tempdir().expect("a temporary directory");
    // Saves a number when it must leave, and is done the second time.
    let script = "echo attempt $MARSV2_TASK_ID from $MARSV2_WHOLE_LIFE_STATE\n\
                  if [ $MARSV2_WHOLE_LIFE_STATE = 42 ]; then exit 0; fi\n\
                  until [ -e \"$HAI_SUSPEND_FILE\" ]; do sleep 0.01; done\n\
                  : > \"$HAI_ANSWER_FILE\"; echo 42 > \"$HAI_STATE_FILE.new\"; mv \"$HAI_STATE_FILE.new\" \"$HAI_STATE_FILE\"\n";
    std::fs::write(work.path().join("run.sh"), script).expect("written");
    let mut wanted = schema("long", work.path(), "run.sh");
    wanted["options"]["whole_life_state"] = json!(5);
    let made = accepted(&create(&lab.alice, &wanted).await);
    let chain = made["task"]["chain_id"].as_str().expect("a chain").to_owned();
    let first = made["task"]["id"].clone();
    let running = until(&lab.alice, &format!("chain_id={chain}"), "running").await;
    assert_eq!((&running["id"], &running["first_id"], &running["whole_life_state"]), (&first, &first, &json!(5)));

    // Who is told before the shell has begun has nothing to save.
    while good(&lab.alice, "/query/task/log", &format!("chain_id={chain}")).await["data"] == "" {
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    good(&lab.alice, "/operating/task/suspend", &format!("chain_id={chain}&restart_delay=0")).await;
    let suspended = until(&lab.alice, &format!("id={first}"), "suspended").await;
    let second = first.as_u64().expect("a number") + 1;
    assert_eq!(
        (&suspended["id"], &suspended["first_id"], &suspended["restart_count"]),
        (&json!(second), &first, &json!(1))
    );
    assert_eq!(suspended["id_list"], json!([first, second]));
    assert_eq!((&suspended["stop_code_list"], &suspended["queue_status"]), (&json!([16, 0]), &json!("queued")));
    assert_eq!((&suspended["whole_life_state"], &suspended["suspend_code_list"][0]), (&json!(42), &json!(3)));
    // The workers of the attempt before.
    assert_eq!(suspended["_pods_"][0]["task_id"], first);

    assert_eq!(suspended["whole_life_state_list"], json!([42, 42]));

    let resumed = good(&lab.alice, "/operating/task/resume", &format!("chain_id={chain}")).await;
    assert_eq!(resumed["task"]["id"], second);
    let (text, exit) = follow(&lab.alice, &chain, 0).await;
    assert_eq!(text, format!("attempt {first} from 5\nattempt {second} from 42\n"));
    assert_eq!(exit, 0);
    let finished = until(&lab.alice, &format!("id={first}"), "finished").await;
    assert_eq!((&finished["id"], &finished["stop_code_list"]), (&json!(second), &json!([16, 1])));
    let msg = refused(&ask(&lab.alice, "/operating/task/resume", &format!("chain_id={chain}")).await);
    assert!(msg.contains("finished"), "{msg}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_keeps_the_number_that_it_left_behind() {
    let lab = Lab::on_this_machine(vec![node("one", 1)]).await;
    let work = tempfile::tempdir().expect("a temporary directory");
    // 5 is what was submitted; the first attempt says 6, the second nothing, the third 8.
    let script = "echo from $MARSV2_WHOLE_LIFE_STATE >> seen\n\
                  say() { echo $1 > \"$HAI_STATE_FILE.new\"; mv \"$HAI_STATE_FILE.new\" \"$HAI_STATE_FILE\"; }\n\
                  case $(wc -l < seen) in\n1) say 6;;\n3) say 8; exit 0;;\nesac\n\
                  echo ready\nuntil [ -e \"$HAI_SUSPEND_FILE\" ]; do sleep 0.01; done\n: > \"$HAI_ANSWER_FILE\"\n";
    std::fs::write(work.path().join("run.sh"), script).expect("written");
    let mut wanted = schema("numbers", work.path(), "run.sh");
    wanted["options"]["whole_life_state"] = json!(5);
    accepted(&create(&lab.alice, &wanted).await);
    for attempt in 1..=2 {
        let text = "ready\n".repeat(attempt);
        while good(&lab.alice, "/query/task/log", "nb_name=numbers").await["data"] != text {
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        good(&lab.alice, "/operating/task/suspend", "nb_name=numbers").await;
        until(&lab.alice, "nb_name=numbers", "suspended").await;
        good(&lab.alice, "/operating/task/resume", "nb_name=numbers").await;
    }
    let task = until(&lab.alice, "nb_name=numbers", "finished").await;
    assert_eq!(std::fs::read_to_string(work.path().join("seen")).expect("it ran"), "from 5\nfrom 6\nfrom 6\n");
    assert_eq!((&task["whole_life_state_list"], &task["whole_life_state"]), (&json!([6, 6, 8]), &json!(8)));
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_a_chain_may_say_how_it_has_ended() {
    let lab = Lab::on_this_machine(vec![node("one", 1), node("two", 1)]).await;
    let work = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(
        work.path().join("run.sh"),
        "echo here\nuntil [ -e \"$HAI_SUSPEND_FILE\" ]; do sleep 0.01; done\nexit 9\n",
    )
    .expect("written");
    for (op, code, word, exit) in [("succeed", 4096, "succeeded", 0), ("fail", 8192, "failed", 1)] {
        let made = accepted(&create(&lab.alice, &schema(op, work.path(), "run.sh")).await);
        let chain = made["task"]["chain_id"].as_str().expect("a chain").to_owned();
        while good(&lab.alice, "/query/task/log", &format!("chain_id={chain}")).await["data"] != "here\n" {
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        good(&lab.alice, "/operating/task/stop", &format!("chain_id={chain}&op={op}")).await;
        let task = until(&lab.alice, &format!("chain_id={chain}"), "finished").await;
        assert_eq!((&task["stop_code"], &task["worker_status"]), (&json!(code), &json!(word)), "{task}");
        assert_eq!((&task["stop_code_list"], &task["_pods_"][0]["status"]), (&json!([code]), &json!(word)));
        assert_eq!(follow(&lab.alice, &chain, 0).await, ("here\n".to_owned(), exit));
        let list = good(&lab.alice, "/query/task/list", &format!("worker_status={word}")).await;
        assert_eq!(list["result"]["total"], 1);
        // Version 1 tells the same.
        let told = lab.alice.get(&format!("/v1/tasks/{chain}")).await.ok(200);
        assert_eq!(told["outcome"], word);
    }
    // And asks for the same.
    let made = accepted(&create(&lab.alice, &schema("other", work.path(), "run.sh")).await);
    let chain = made["task"]["chain_id"].as_str().expect("a chain").to_owned();
    lab.alice.act(&format!("/v1/tasks/{chain}/stop?as=succeeded")).await;
    assert_eq!(until(&lab.alice, "nb_name=other", "finished").await["stop_code"], 4096);
    assert_eq!(lab.alice.act("/v1/tasks/1/stop?as=done").await.status, 400);
    refused(&ask(&lab.alice, "/operating/task/stop", "nb_name=other&op=done").await);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_ran_over_its_time_is_told_from_one_that_failed() {
    let lab = Lab::on_this_machine(vec![node("one", 1), node("two", 1)]).await;
    let work = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(work.path().join("long.sh"), "until [ -e \"$HAI_SUSPEND_FILE\" ]; do sleep 0.01; done\n")
        .expect("written");
    std::fs::write(work.path().join("bad.sh"), "sleep 1.2; exit 3\n").expect("written");
    for (file, timeout) in [("long.sh", 1), ("bad.sh", 600)] {
        let mut wanted = schema(file, work.path(), file);
        wanted["options"]["timeout"] = json!(timeout);
        accepted(&create(&lab.alice, &wanted).await);
    }
    for (name, code, exit) in [("long.sh", 512, 1), ("bad.sh", 128, 3)] {
        let task = until(&lab.alice, &format!("nb_name={name}"), "finished").await;
        assert_eq!((&task["stop_code"], &task["worker_status"]), (&json!(code), &json!("failed")), "{task}");
        assert_eq!(follow(&lab.alice, task["chain_id"].as_str().expect("a chain"), 0).await.1, exit);
    }
    let log = good(&lab.alice, "/query/task/sys_log", "nb_name=long.sh").await;
    assert!(log["data"].as_str().expect("text").contains("longer than its limit of 1s"), "{log}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_chain_ends_whoever_follows_it() {
    let lab = Lab::on_this_machine(vec![node("one", 1)]).await;
    let work = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(work.path().join("run.sh"), "echo here; exec sleep 1000\n").expect("written");
    for name in ["runs", "waits"] {
        accepted(&create(&lab.alice, &schema(name, work.path(), "run.sh")).await);
    }
    let runs = until(&lab.alice, "nb_name=runs", "running").await;
    while good(&lab.alice, "/query/task/log", "nb_name=runs").await["data"] != "here\n" {
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let waits = until(&lab.alice, "nb_name=waits", "waiting_init").await;
    assert_eq!(
        (&waits["queue_status"], &waits["worker_status"], &waits["_pods_"]),
        (&json!("queued"), &json!("queued"), &json!([]))
    );
    for op in ["stop", "succeed"] {
        let name = if op == "stop" { "runs" } else { "waits" };
        let reply = ask(&lab.alice, "/operating/task/stop", &format!("nb_name={name}&op={op}")).await;
        assert_eq!(reply.status, 200);
        accepted(&reply);
    }
    let stopped = until(&lab.alice, &format!("id={}", runs["id"]), "finished").await;
    assert_eq!((&stopped["stop_code"], &stopped["worker_status"]), (&json!(1024), &json!("stopped")));
    let canceled = until(&lab.alice, &format!("id={}", waits["id"]), "finished").await;
    assert_eq!((&canceled["stop_code"], &canceled["worker_status"]), (&json!(1), &json!("canceled")));
    for (task, text) in [(&runs, "here\n"), (&waits, "")] {
        let chain = task["chain_id"].as_str().expect("a chain");
        assert_eq!(follow(&lab.alice, chain, 0).await.0, text);
        // Stopping it again changes nothing.
        good(&lab.alice, "/operating/task/stop", &format!("chain_id={chain}&op=stop")).await;
    }
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priorities_are_those_of_the_levels_and_change_once_in_a_while() {
    let lab = Lab::in_memory([]).await.0;
    let work = tempfile::tempdir().expect("a temporary directory");
    let made = accepted(&create(&lab.alice, &schema("waits", work.path(), "run.sh")).await);
    let chain = made["task"]["chain_id"].as_str().expect("a chain").to_owned();
    let update = |more: &str| format!("chain_id={chain}&{more}");
    refused(&ask(&lab.alice, "/operating/task/priority/update", &update("priority=31")).await);
    refused(&ask(&lab.alice, "/operating/task/priority/update", &update("priority=50&custom_rank=1")).await);
    good(&lab.alice, "/operating/task/priority/update", &update("priority=50")).await;
    assert_eq!(until(&lab.alice, "nb_name=waits", "waiting_init").await["priority"], 50);
    let msg = refused(&ask(&lab.alice, "/operating/task/priority/update", &update("priority=40")).await);
    assert!(msg.contains("every 10 s"), "{msg}");
    let counts = good(&lab.alice, "/query/task/list_all_with_priority", "").await;
    assert_eq!(counts["result"], json!([{"priority": 50, "queue_status": "queued", "count": 1}]));
    // Who waits is told why.
    let log = good(&lab.alice, "/query/task/log", &format!("chain_id={chain}")).await;
    let said = log["error_msg"].as_str().expect("text").to_owned();
    assert_eq!(said, "no node belongs to group lab");
    assert_eq!((&log["data"], &log["stop_code"]), (&json!(""), &json!(0)));
    let events = good(&lab.alice, "/query/task/sys_log", &format!("chain_id={chain}")).await;
    assert!(events["data"].as_str().expect("text").ends_with(&said), "{events}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_paged_and_filtered() {
    let lab = Lab::in_memory([node("one", 1)]).await.0;
    let work = tempfile::tempdir().expect("a temporary directory");
    for number in 0..5 {
        accepted(&create(&lab.alice, &schema(&format!("job {number}"), work.path(), "run.sh")).await);
    }
    let alice = lab.alice.clone();
    let list = |query: &'static str| good(&alice, "/query/task/list", query);
    let names = |list: &Value| -> Vec<String> {
        let tasks = list["result"]["tasks"].as_array().expect("a list");
        tasks.iter().map(|task| task["nb_name"].as_str().expect("a name").to_owned()).collect()
    };
    let page = list("page=2&page_size=2").await;
    assert_eq!((&page["result"]["total"], names(&page)), (&json!(5), vec!["job 2".to_owned(), "job 1".to_owned()]));
    assert_eq!(names(&list("page=4&page_size=2").await), Vec::<String>::new());
    assert_eq!(names(&list("page=1&page_size=10&nb_name_pattern=b+3").await), ["job 3"]);
    assert_eq!(names(&list("page=1&page_size=10&queue_status=scheduled").await), ["job 0"]);
    assert_eq!(list("page=1&page_size=10&queue_status=queued").await["result"]["total"], 4);
    assert_eq!(list("page=1&page_size=10&worker_status=failed").await["result"]["total"], 0);
    assert_eq!(good(&lab.bob, "/query/task/list", "").await["result"]["total"], 0);
    // By number: of the chain, or the beginning of an attempt's.
    assert_eq!(names(&list("nb_name_pattern=3").await), ["job 3", "job 2"], "task 3 is called job 2");
    assert_eq!(names(&list("nb_name_pattern=40000").await), ["job 3"]);
    assert_eq!(list("task_type=jupyter").await["result"]["total"], 0);
    assert_eq!(list("task_type=virtual").await["result"]["total"], 0);
    assert_eq!(list("task_type=training&task_type=jupyter").await["result"]["total"], 5);
    assert_eq!(list("group=lab%23z").await["result"]["total"], 0);
    assert_eq!(list("created_start_time=2020-01-01&created_end_time=2020-01-02T00:00:00").await["result"]["total"], 0);
    assert_eq!(list("created_start_time=2020-01-01T00:00:00%2B08:00").await["result"]["total"], 5);
    good(&alice, "/operating/task/stop", "nb_name=job+4").await;
    assert_eq!(names(&list("worker_status=canceled").await), ["job 4"]);
    assert_eq!(names(&list("worker_status=canceled&page=2").await), Vec::<String>::new());
    assert_eq!(list("worker_status=stopped").await["result"]["total"], 0);
    // Several at once, also of what has ended and what has not.
    let both = list("worker_status=canceled&worker_status=running&worker_status=created").await;
    assert_eq!(names(&both), ["job 4", "job 0"]);
    assert_eq!(list("worker_status=queued&worker_status=canceled").await["result"]["total"], 4);
    assert_eq!(list("group=lab&group=other%23z").await["result"]["total"], 5);
    assert_eq!(list("group=other&group=another").await["result"]["total"], 0);
    assert_eq!(list("group=lab%23z&group=other").await["result"]["total"], 0);
    let line = good(&alice, "/query/task/list_all_unfinished", "task_type=training").await;
    assert_eq!(line["result"].as_array().expect("a list").len(), 4);
    assert_eq!(good(&alice, "/query/task/list_all_unfinished", "task_type=background").await["result"], json!([]));
    for wrong in ["page=0", "page_size=0", "page_size=101", "page=x", "tag=a", "created_start_time=soon"] {
        refused(&ask(&lab.alice, "/query/task/list", wrong).await);
    }
    lab.close().await;
}
