//! Lists of tasks in other orders, page by page, and looking for some.

use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, node, submit, wait};

fn names(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().expect("a list").iter();
    tasks.map(|task| task["name"].as_str().expect("a name").to_owned()).collect()
}

/// All pages, two tasks at a time.
async fn all(client: &Client, query: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/tasks?limit=2&{query}{cursor}")).await.ok(200);
        seen.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(next) => {
                cursor = format!("&cursor={}", next.replace('%', "%25").replace(' ', "%20").replace('&', "%26"))
            }
            None => return seen,
        }
    }
}

#[tokio::test]
async fn tasks_are_listed_in_any_order_that_is_quick() {
    let (lab, _cluster) = Lab::in_memory([node("one", 1)]).await;
    let runs = submit(&lab.root, json!({"command": ["x"], "name": "d & d", "priority": "EXTREME_HIGH"})).await;
    wait(&lab.root, &runs["id"], "running").await;
    for (client, name, priority) in
        [(&lab.bob, "b", "LOW"), (&lab.alice, "e.1%", "HIGH"), (&lab.bob, "a", "NORMAL"), (&lab.alice, "c", "NORMAL")]
    {
        submit(client, json!({"command": ["x"], "name": name, "priority": priority})).await;
    }
    let over = submit(&lab.alice, json!({"command": ["x"], "name": "f"})).await;
    lab.alice.act(&format!("/v1/tasks/{}/stop", over["id"])).await.ok(200);
    for (query, expected) in [
        ("", "fcae.1%bd & d"),
        ("order=asc", "d & dbe.1%acf"),
        ("sort=submitted&order=asc", "d & dbe.1%acf"),
        ("sort=user&order=asc", "e.1%cfbad & d"),
        ("sort=user", "d & dabfce.1%"),
        ("sort=name&order=asc&state=unfinished", "abcd & de.1%"),
        ("sort=name&state=unfinished", "e.1%d & dcba"),
        ("sort=priority&state=unfinished", "d & de.1%cab"),
        ("sort=state&order=asc&state=unfinished", "d & dbe.1%ac"),
        ("sort=name&order=asc&state=waiting", "abce.1%"),
        ("search=.1", "e.1%"),
        ("search=1", "e.1%d & d"),
        ("search=%20%26", "d & d"),
        ("sort=name&order=asc&state=unfinished&search=2", "b"),
    ] {
        assert_eq!(all(&lab.root, query).await.concat(), expected, "{query}");
    }
    assert_eq!(all(&lab.bob, "sort=name&order=asc&state=unfinished").await, ["a", "b"], "users see their own");
    assert_eq!(all(&lab.bob, &format!("search={}", runs["id"])).await, [""; 0], "others' numbers find nothing");

    for (query, field) in [
        ("sort=name", "sort"),
        ("sort=priority&state=finished", "sort"),
        ("sort=state&state=running,finished", "sort"),
        ("sort=user&before=3", "before"),
        ("cursor=x", "cursor"),
        ("cursor=x.y", "cursor"),
    ] {
        let wrong = lab.root.get(&format!("/v1/tasks?{query}")).await;
        assert_eq!(wrong.problem(400, "invalid-parameter")["field"], field, "{query}");
    }
    assert_eq!(lab.root.get("/v1/tasks?sort=colour").await.status, 400);
    lab.close().await;
}
