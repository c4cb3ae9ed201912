//! Conversations: what was read for an earlier turn is not read again, and the answer is the same.

use serde_json::{Value, json};

use crate::harness::{
    events::check_whole,
    system::{Setup, System},
    zoo::{self, STORYTELLER},
};

fn turn(messages: &[Value], cache: bool) -> Value {
    let options = json!({"do_sample": false, "max_new_tokens": 60, "cache": cache});
    json!({"model_id": STORYTELLER, "inputs": {"messages": messages}, "options": options})
}

fn count(output: &Value, name: &str) -> u64 {
    output[name].as_u64().unwrap_or_else(|| panic!("no {name}: {output}"))
}

/// Waits until the only worker's figures of the cache are as described: bytes kept, texts that went on, their tokens.
async fn until(system: &System, what: &str, holds: impl Fn(u64, u64, u64) -> bool) {
    let of = |workers: &[Value]| {
        let (worker, device) = (&workers[0], &workers[0]["devices"][0]);
        assert!(count(device, "cache_kept_bytes") <= count(device, "cache_used_bytes"));
        assert!(count(device, "cache_used_bytes") <= count(device, "cache_bytes"));
        let (hits, tokens) = (count(worker, "prefix_hits"), count(worker, "prefix_tokens"));
        holds(count(device, "cache_kept_bytes"), hits, tokens)
    };
    system.until_workers(what, of).await;
}

#[tokio::test]
async fn the_second_turn_goes_on_from_the_first_and_says_what_it_would_have_said() {
    let system = Setup::of(&[&zoo::hub()]).start().await;
    let api = system.api();
    let mut messages =
        vec![json!({"role": "user", "content": "Tell a story about a small red circle."})];
    let first = api.output(&turn(&messages, true)).await;
    assert_eq!(count(&first, "cached_tokens"), 0);
    messages.push(first["message"].clone());
    messages.push(json!({"role": "user", "content": "Tell a story about a large blue star."}));

    let anew = api.output(&turn(&messages, false)).await;
    let events = api.stream(&turn(&messages, true)).await.all().await;
    let second = check_whole(&events)["result"]["task_output"].take();
    let cached = count(&second, "cached_tokens");
    assert!(cached >= count(&first, "prompt_tokens"), "{first}, {second}");
    assert!(cached < count(&second, "prompt_tokens"), "{second}");
    assert_eq!(count(&anew, "cached_tokens"), 0);
    assert_eq!((&second["text"], &second["message"]), (&anew["text"], &anew["message"]));
    until(&system, "what is kept and was of use", |kept, hits, tokens| {
        kept > 0 && hits == 1 && tokens == cached
    })
    .await;
    let metrics = api.get("/metrics").await.text;
    for figure in ["inference_prefix_hits_total{", "inference_prefix_tokens_total{"] {
        assert!(metrics.contains(figure), "{metrics}");
    }

    // The same turn once more, beside others that have it in common.
    let requests = [turn(&messages, true), turn(&messages[..1], true), turn(&messages, true)];
    let again = futures::future::join_all(requests.iter().map(|request| api.output(request))).await;
    for (output, expected) in again.iter().zip([&anew, &first, &anew]) {
        assert_eq!(output["text"], expected["text"]);
        assert_eq!(count(output, "cached_tokens"), count(output, "prompt_tokens") - 1);
    }

    // It is the first to go where memory is short, and goes with the model.
    api.patch("/api/workers/cpu", &json!({"budgets": {"cpu": "1MB"}})).await.ok();
    until(&system, "nothing is kept under a small budget", |kept, _, _| kept == 0).await;
    api.patch("/api/workers/cpu", &json!({"budgets": {"cpu": "1GB"}})).await.ok();
    assert_eq!(count(&api.output(&turn(&messages, true)).await, "cached_tokens"), 0);
    until(&system, "it is kept again", |kept, _, _| kept > 0).await;
    let unload = json!({"model_id": STORYTELLER, "force": true});
    api.post("/api/models/unload", &unload).await.ok();
    until(&system, "nothing is kept of a model that has left", |kept, _, _| kept == 0).await;
}
