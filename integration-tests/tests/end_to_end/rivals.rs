//! Two control planes on the same two workers, whose models don't all fit: both get their answers.

use std::{convert::Infallible, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    models::TINY,
    system::{Setup, System},
    worker::Worker,
};

const ROUNDS: usize = 12;

fn ask(model_id: &str) -> Value {
    let options = json!({"max_new_tokens": 2, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

async fn use_in_turns(system: &System, models: &[&str]) -> usize {
    let api = system.api();
    let mut rejected = 0;
    for round in 0..ROUNDS {
        let model = models[round % models.len()];
        // A conflict may be refused with a time to come again; it is never a hang and never another error.
        loop {
            let answer = api.infer(&ask(model)).await;
            if answer.status == 200 {
                let resolved = answer.ok()["result"]["metadata"]["resolved_model_id"].clone();
                assert_eq!(resolved, model);
                break;
            }
            answer.fails(503, "no_room");
            rejected += 1;
        }
    }
    rejected
}

fn devices(workers: &[Value]) -> impl Iterator<Item = &Value> {
    workers.iter().flat_map(|worker| worker["devices"].as_array().expect("a list"))
}

/// What is there fits, and so does what will be: a load is promised the bytes of those that leave for it, and takes them
/// when they are back.
fn keeps_to_budgets(workers: &[Value]) {
    for device in devices(workers) {
        let bytes = |name: &str| device[name].as_u64().expect("bytes");
        let (charged, budget) = (bytes("charged_bytes"), bytes("budget_bytes"));
        assert!(charged + bytes("releasing_bytes") <= budget, "{device}");
        assert!(charged + bytes("reserved_bytes") <= budget, "{device}");
    }
}

async fn watch(system: &System) -> Infallible {
    loop {
        keeps_to_budgets(&system.workers().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn conflicting_loads_of_two_control_planes_all_happen_and_no_budget_is_exceeded() {
    let hub = tempfile::tempdir().expect("a folder");
    let models = ["it/a", "it/b", "it/c", "it/d", "it/e", "it/f"];
    for model in models {
        TINY.write(hub.path(), model);
    }
    let folder = hub.path().to_str().expect("UTF-8");
    // Room for two of the tiny models each.
    let flags = ["--hub", folder, "--memory-budget", "24MB", "--min-residency", "0s"];
    let workers = [(); 2].map(|()| Worker::start(&flags));
    let rivals = [&workers[0], &workers[1]];
    let (first, second) = (Setup::over(&rivals).start().await, Setup::over(&rivals).start().await);
    let uses = async {
        tokio::join!(
            use_in_turns(&first, &models),
            use_in_turns(&second, &["it/f", "it/c", "it/e", "it/a", "it/d", "it/b"]),
            use_in_turns(&second, &["it/a", "it/f"]),
        )
    };
    let (a, b, c) = tokio::select! {
        refusals = uses => refusals,
        never = watch(&first) => match never {},
    };
    let at_rest = |workers: &[Value]| {
        devices(workers)
            .all(|device| device["reserved_bytes"] == 0 && device["releasing_bytes"] == 0)
    };
    first.until_workers("no load and no release is under way", at_rest).await;
    keeps_to_budgets(&first.workers().await);
    println!("{} answers, {} refusals with a time to come again", 3 * ROUNDS, a + b + c);
}
