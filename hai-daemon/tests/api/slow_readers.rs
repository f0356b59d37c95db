//! Readers of the log that do not read.

use std::time::{Duration, Instant};

use hai_core::backend::MemoryCluster;
use hai_core::model::NodeSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Client, PATIENCE};
use crate::lab::{Lab, node};

/// A node of which there is much to say.
fn large() -> NodeSpec {
    NodeSpec { labels: [("about".to_owned(), "x".repeat(500_000))].into(), ..node("large", 1) }
}

/// More than the kernel's buffers take: with each change the log says all of a large node again.
async fn with_a_long_log(lab: &Lab, cluster: &MemoryCluster) {
    for more in 1..=40 {
        let memory_mib = 16384 + more;
        cluster.set_node(NodeSpec { memory_mib, ..large() });
        // Told faster than they are heard, only the last would be.
        while lab.root.get("/v1/nodes").await.ok(200)["nodes"][0]["memory_mib"] != memory_mib {}
    }
}

/// Asks for the log, and takes nothing of it but its beginning.
async fn stuck(client: &Client) -> TcpStream {
    let address = client.base.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let token = client.token.as_deref().expect("a token");
    let request = format!("GET /v1/log HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn who_does_not_read_is_hung_up_on() {
    let (lab, cluster) = Lab::in_memory_with_stall([large()], Duration::from_millis(500)).await;
    with_a_long_log(&lab, &cluster).await;
    let mut slow = stuck(&lab.root).await;
    // The same user: the turn is over only when the other reader is.
    lab.root.get("/v1/audit").await.ok(200);
    // And the connection with it, so that nobody takes this for a whole answer.
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("it ends");
    assert!(read.is_err() || !rest.ends_with(b"0\r\n\r\n"), "{} bytes look like all", rest.len());
    assert!(rest.len() > 1 << 20, "that was no long log");

    // Nor does the server keep the connection until somebody reads: to what it has closed nothing can be sent.
    let mut slow = stuck(&lab.root).await;
    let closed = async {
        while slow.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("it is closed");
    lab.close().await;
}

#[tokio::test]
async fn one_user_has_one_place_among_those_who_read() {
    let (lab, cluster) = Lab::in_memory([large()]).await;
    with_a_long_log(&lab, &cluster).await;
    let slow = stuck(&lab.root).await;
    let waits: Vec<_> = (0..2)
        .map(|_| {
            let root = lab.root.clone();
            tokio::spawn(async move { root.get("/v1/audit").await })
        })
        .collect();
    let begun = Instant::now();
    lab.alice.get("/v1/audit").await.ok(200);
    assert!(begun.elapsed() < Duration::from_secs(10), "somebody else's turn came first");
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    drop(slow);
    for wait in waits {
        wait.await.expect("no panic").ok(200);
    }
    lab.close().await;
}
