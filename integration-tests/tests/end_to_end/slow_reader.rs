//! A client that reads one byte a second holds up nobody but itself.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::harness::{
    models::SLOW,
    system::Setup,
    within,
    zoo::{self, STORYTELLER},
};

fn tokens(model_id: &str, n: u32) -> Value {
    let options = json!({"max_new_tokens": n, "min_new_tokens": n, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn others_are_answered_while_one_client_reads_a_byte_a_second() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let system = Setup::of(&[hub.path(), &zoo::hub()]).start().await;
    let api = system.api();
    let mut status = api.status_stream().await;

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut slow =
        socket.connect(system.address().parse().expect("an address")).await.expect("connected");
    let body = tokens("it/slow", 1500).to_string();
    let head = format!(
        "POST /api/inference/stream HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    slow.write_all(body.as_bytes()).await.expect("sent");
    let mut byte = [0];
    within("the first byte", slow.read_exact(&mut byte)).await.expect("an answer");
    status.find("worker", |worker| worker["running"] == 1).await;

    // The reader goes on a byte a second while others use the same model and another one.
    let reading = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            slow.read_exact(&mut byte).await.expect("the stream goes on");
        }
    };
    let others = async {
        for _ in 0..3 {
            for model_id in ["it/slow", STORYTELLER] {
                let output = api.output(&tokens(model_id, 8)).await;
                assert_eq!(output["generated_tokens"], 8);
            }
        }
    };
    tokio::select! {
        () = reading => panic!("reading goes on for ever"),
        () = others => {}
    }
    // Gone at last: its work ends with it.
    drop(slow);
    status.find("worker", |worker| worker["running"] == 0).await;
}
