//! Workers that die while they load, answer and unload: nothing hangs, nobody else is hurt, and one that dies too often
//! is given up where everybody sees it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    models::{Gpt2, SLOW, TINY},
    signals,
    system::{Setup, System},
    within,
};

/// About 500 MB: its load can be met in the middle.
const LARGE: Gpt2 = Gpt2 { dim: 1024, layers: 10, positions: 2048 };

fn ask(model_id: &str, n: u32) -> Value {
    let options = json!({"max_new_tokens": n, "min_new_tokens": n, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

async fn system(
    workers: &str,
    models: &[(&str, Gpt2)],
    flags: &[(&str, &str)],
) -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    for (name, shape) in models {
        shape.write(hub.path(), name);
    }
    let setup = Setup::of(&[hub.path()]).workers(workers);
    let setup = flags.iter().fold(setup, |setup, (name, value)| setup.argument(name, value));
    (setup.start().await, hub)
}

fn worker_of<'a>(workers: &'a [Value], id: &str) -> &'a Value {
    workers.iter().find(|worker| worker["id"] == id).unwrap_or_else(|| panic!("no {id}"))
}

#[tokio::test]
async fn a_worker_killed_while_it_loads_costs_its_waiters_one_more_load() {
    let (system, _hub) = system("cpu*2", &[("it/large", LARGE)], &[]).await;
    let api = system.api();
    let mut stream = api.stream(&ask("it/large", 2)).await;
    stream.until("loading").await;
    let model = api.until_model("it/large").await;
    let workers = system.workers().await;
    let loader = worker_of(&workers, model["worker"].as_str().expect("a name"));
    signals::kill(loader["pid"].as_u64().expect("a process id") as u32);
    // The same request, on the other worker, without a word of the death.
    let done = stream.until("done").await.data;
    assert_eq!(done["tokens"], 2);
    let ready = |model: &&Value| model["status"] == "ready";
    let models = api.until_models("it is ready", |models| models.iter().any(|m| ready(&m))).await;
    assert_ne!(models.iter().find(ready).expect("it is ready")["worker"], loader["id"]);
}

#[tokio::test]
async fn a_death_in_the_middle_of_answers_is_seen_at_once_and_hurts_nobody_elsewhere() {
    let models = [("it/slow", SLOW), ("it/other", SLOW)];
    let (system, _hub) = system("cpu*2", &models, &[]).await;
    let api = system.api();
    // Each on a worker of its own: the second goes where more is free.
    let mut dying = api.stream(&ask("it/slow", 1500)).await;
    dying.until("token").await;
    let mut other = api.stream(&ask("it/other", 60)).await;
    other.until("token").await;
    let on = |models: &[Value], id: &str| {
        let model = models.iter().find(|model| model["model_id"] == id).expect("it is there");
        model["worker"].as_str().expect("a name").to_owned()
    };
    let models = api.until_models("both are there", |models| models.len() == 2).await;
    let (victim, survivor) = (on(&models, "it/slow"), on(&models, "it/other"));
    assert_ne!(victim, survivor);
    let workers = system.workers().await;
    let pid = worker_of(&workers, &victim)["pid"].as_u64().expect("a process id") as u32;
    let killed = Instant::now();
    signals::kill(pid);
    let error = dying.until("error").await.data;
    let seen = killed.elapsed();
    println!("a closed connection was seen after {seen:?}");
    assert_eq!((&error["code"], &error["retryable"]), (&json!("worker_lost"), &json!(true)));
    assert!(seen < Duration::from_secs(1), "{seen:?}");
    assert_eq!(other.until("done").await.data["tokens"], 60);
    system
        .until_workers("the restart", |workers| {
            let again = worker_of(workers, &victim);
            again["link"] == "up" && again["process"]["restarts"] == 1
        })
        .await;
    let workers = system.workers().await;
    let ended = worker_of(&workers, &victim)["process"]["last_end"].to_string();
    assert!(ended.contains("SIGKILL"), "{ended}");
    assert_eq!(worker_of(&workers, &survivor)["process"]["restarts"], 0);
}

#[tokio::test]
async fn a_worker_killed_while_it_unloads_ends_the_call() {
    let (system, _hub) = system("cpu", &[("it/slow", SLOW)], &[]).await;
    let api = system.api();
    let mut stream = api.stream(&ask("it/slow", 1500)).await;
    stream.until("token").await;
    let pid = system.worker_pid().await;
    // Stopped, it cannot have finished when it dies.
    signals::stop(pid);
    let body = json!({"model_id": "it/slow", "force": true});
    let unload = api.post("/api/models/unload", &body);
    let kill = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        signals::kill(pid);
    };
    let (answer, ()) = within("an answer", async { tokio::join!(unload, kill) }).await;
    answer.fails(503, "worker_lost");
    stream.until("error").await;
    // Afterwards everything works again.
    assert_eq!(api.output(&ask("it/slow", 2)).await["generated_tokens"], 2);
}

#[tokio::test]
async fn a_worker_that_dies_too_often_is_given_up_until_an_operator_says_so() {
    let flags = [("--restart-limit", "2"), ("--restart-pause", "1h")];
    let (system, _hub) = system("cpu", &[("it/tiny", TINY)], &flags).await;
    let api = system.api();
    for deaths in 1..=2 {
        let before = system.worker_pid().await;
        signals::kill(before);
        system
            .until_workers("the consequence of a death", |workers| {
                let process = &workers[0]["process"];
                if deaths < 2 {
                    workers[0]["link"] == "up" && workers[0]["pid"] != before
                } else {
                    process["state"] == "given_up"
                }
            })
            .await;
    }
    let process = system.workers().await[0]["process"].clone();
    assert!(process["next_start_in_s"].as_f64().is_some_and(|left| left > 3500.0), "{process}");
    // Nobody is expected, so nobody waits.
    let asked = Instant::now();
    api.infer(&ask("it/tiny", 2)).await.fails(503, "no_worker");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    api.post("/api/workers/cpu/restart", &json!({})).await.ok();
    system.until_workers("the restart", |workers| workers[0]["link"] == "up").await;
    assert_eq!(api.output(&ask("it/tiny", 2)).await["generated_tokens"], 2);
}

#[tokio::test]
async fn a_request_that_was_executing_at_two_deaths_is_refused_for_a_while_and_others_run() {
    let (system, _hub) = system("cpu", &[("it/slow", SLOW)], &[]).await;
    let api = system.api();
    let suspect = ask("it/slow", 1500);
    for _ in 0..2 {
        let mut stream = api.stream(&suspect).await;
        stream.until("token").await;
        let pid = system.worker_pid().await;
        signals::kill(pid);
        assert_eq!(stream.until("error").await.data["code"], "worker_lost");
        system.until_workers("the restart", |w| w[0]["link"] == "up" && w[0]["pid"] != pid).await;
    }
    let refused = api.infer(&suspect).await;
    refused.fails(429, "quarantined");
    let after: u64 =
        refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((500..=600).contains(&after), "{after}");
    assert_eq!(api.output(&ask("it/slow", 2)).await["generated_tokens"], 2);
}
