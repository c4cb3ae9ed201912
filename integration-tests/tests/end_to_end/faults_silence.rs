//! A worker that is stopped for twenty seconds and wakes up again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{models::SLOW, signals, system::Setup};

fn ask(n: u32) -> Value {
    let options = json!({"max_new_tokens": n, "min_new_tokens": n, "do_sample": false});
    json!({"model_id": "it/slow", "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn a_stopped_worker_is_suspected_then_given_up_and_taken_back_when_it_wakes() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let system = Setup::of(&[hub.path()]).workers("cpu*2").start().await;
    let api = system.api();
    let mut stream = api.stream(&ask(1500)).await;
    stream.until("token").await;
    let holder = api.until_model("it/slow").await["worker"].clone();
    let link = |workers: &[Value]| {
        let worker = workers.iter().find(|worker| worker["id"] == holder).expect("it is known");
        (worker["link"].clone(), worker["incarnation"].clone(), worker["pid"].clone())
    };
    let (_, incarnation, pid) = link(&system.workers().await);
    let pid = pid.as_u64().expect("a process id") as u32;

    let stopped = Instant::now();
    signals::stop(pid);
    system.until_workers("suspicion", |workers| link(workers).0 == "suspect").await;
    let suspected = stopped.elapsed();
    assert!(suspected < Duration::from_secs(3), "{suspected:?}");
    // New work goes elsewhere, at once.
    assert_eq!(api.output(&ask(2)).await["generated_tokens"], 2);
    let answered = stopped.elapsed();
    assert!(answered < Duration::from_secs(12), "{answered:?}");

    // What it executed is given up when it is.
    let error = stream.until("error").await.data;
    let given_up = stopped.elapsed();
    assert_eq!((&error["code"], &error["retryable"]), (&json!("worker_lost"), &json!(true)));
    assert!(stream.next().await.is_none(), "an error is the last event");
    system.until_workers("the loss", |workers| link(workers).0 == "lost").await;
    assert!(
        given_up > Duration::from_secs(10) && given_up < Duration::from_secs(17),
        "{given_up:?}"
    );
    println!("suspected after {suspected:?}, given up after {given_up:?}");

    tokio::time::sleep(Duration::from_secs(20).saturating_sub(stopped.elapsed())).await;
    let woken = Instant::now();
    signals::wake(pid);
    system.until_workers("its return", |workers| link(workers).0 == "up").await;
    println!("taken back {:?} after it woke", woken.elapsed());
    let (_, same, _) = link(&system.workers().await);
    assert_eq!(same, incarnation, "it is the same process");
    // The request whose stream was given up is not computed any further.
    let idle = |workers: &[Value]| {
        let worker = workers.iter().find(|worker| worker["id"] == holder).expect("it is known");
        worker["running"] == 0 && worker["waiting"] == 0
    };
    system.until_workers("the end of the old work", idle).await;
    assert_eq!(api.output(&ask(2)).await["generated_tokens"], 2);
}
