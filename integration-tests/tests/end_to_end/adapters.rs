//! LoRA adapters through the whole chain: chosen per request, several at once, bounded in memory, refused by name.

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    adapters::{OF_SENTENCES, OF_TINY, change},
    events::{check_whole, joined},
    models::{TINY, write_json},
    system::{Setup, System},
    zoo::{self, SENTENCES, list},
};

const TINY_ID: &str = "it/tiny";

fn story(adapter: Option<&str>) -> Value {
    let mut options = json!({"do_sample": false, "max_new_tokens": 24});
    if let Some(adapter) = adapter {
        options["adapter"] = adapter.into();
    }
    let inputs = json!({"text": "Once there was"});
    json!({"model_id": TINY_ID, "task": "text-generation", "inputs": inputs, "options": options})
}

/// A hub with a small model and its adapters `it/a`, `it/b` and `it/c`.
fn hub() -> TempDir {
    let hub = tempfile::tempdir().expect("a folder");
    TINY.write(hub.path(), TINY_ID);
    for (seed, name) in (1..).zip(["it/a", "it/b", "it/c"]) {
        OF_TINY.write(hub.path(), name, 8, seed);
    }
    hub
}

async fn text(system: &System, adapter: Option<&str>) -> String {
    let output = system.api().output(&story(adapter)).await;
    output["text"].as_str().expect("a text").to_owned()
}

/// Returns once exactly these adapters are beside the model, and fails when that doesn't come.
pub async fn until_resident(system: &System, expected: &[&str]) {
    let holds = |model: &Value| {
        let adapters = model["adapters"].as_array().map(Vec::as_slice).unwrap_or_default();
        adapters
            .iter()
            .map(|adapter| adapter["adapter_id"].as_str())
            .eq(expected.iter().map(|id| Some(*id)))
    };
    system.api().until_models("the adapters", |models| models.iter().any(holds)).await;
}

#[tokio::test]
async fn an_adapter_changes_the_answer_of_its_request_only() {
    let hub = hub();
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let plain = text(&system, None).await;
    let answer = api.infer(&story(Some("it/a"))).await.ok();
    let metadata = &answer["result"]["metadata"];
    assert_eq!(
        (&metadata["adapter"], &metadata["resolved_model_id"]),
        (&json!("it/a"), &json!(TINY_ID))
    );
    assert!(metadata["adapter_revision"].as_str().is_some_and(|commit| !commit.is_empty()));
    let adapted = answer["result"]["task_output"]["text"].as_str().expect("a text");
    assert_ne!(adapted, plain);
    assert_ne!(adapted, text(&system, Some("it/b")).await);
    assert_eq!(text(&system, Some("it/a@main")).await, adapted);
    assert_eq!(text(&system, None).await, plain);
    let events = api.stream(&story(Some("it/a"))).await.all().await;
    check_whole(&events);
    assert_eq!(joined(&events, 0), adapted);
    let metadata = api.infer(&story(None)).await.ok()["result"]["metadata"].take();
    assert!(metadata.get("adapter").is_none(), "{metadata}");

    // Their bytes are the model's: they are told, charged, and gone with it.
    until_resident(&system, &["it/a", "it/b"]).await;
    let model = api.model(TINY_ID).await.expect("it is there");
    let bytes = model["bytes"]["adapters"].as_u64().expect("bytes");
    assert_eq!(bytes, 2 * 4 * 8 * (2 * (64 + 192) + (64 + 256)));
    let sum: u64 = ["weights", "cache", "adapters", "workspace"]
        .iter()
        .map(|part| model["bytes"][part].as_u64().expect("bytes"))
        .sum();
    assert_eq!(model["bytes"]["total"], sum);
    let is_charged = |workers: &[Value]| {
        let device = &workers[0]["devices"][0];
        device["adapters_bytes"] == bytes && device["charged_bytes"] == sum
    };
    system.until_workers("the adapters are charged", is_charged).await;
    api.post("/api/models/unload", &json!({"model_id": TINY_ID})).await.ok();
    let is_free = |workers: &[Value]| {
        let device = &workers[0]["devices"][0];
        device["adapters_bytes"] == 0 && device["charged_bytes"] == 0
    };
    system.until_workers("the memory is back", is_free).await;
    assert_eq!(text(&system, Some("it/a")).await, adapted);
}

#[tokio::test]
async fn requests_with_different_adapters_and_with_none_run_together() {
    let hub = hub();
    let system = Setup::of(&[hub.path()]).start().await;
    let wanted = [None, Some("it/a"), Some("it/b"), None, Some("it/a"), Some("it/c"), Some("it/b")];
    let mut alone = Vec::new();
    for adapter in wanted {
        alone.push(text(&system, adapter).await);
    }
    // Adapters come while others are in the middle of their answers.
    let system = Setup::of(&[hub.path()]).start().await;
    let together = join_all(wanted.iter().map(|&adapter| text(&system, adapter))).await;
    assert_eq!(together, alone);
}

#[tokio::test]
async fn what_is_kept_of_a_prompt_is_of_its_adapter() {
    let hub = hub();
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let cached = |output: &Value| output["cached_tokens"].as_u64().expect("a count");
    for adapter in [Some("it/a"), Some("it/b"), None] {
        let mut asked = story(adapter);
        // Short prompts are not worth keeping.
        asked["inputs"]["text"] = "Once there was a small red circle. ".repeat(4).into();
        let mut anew = asked.clone();
        anew["options"]["cache"] = false.into();
        let anew = api.output(&anew).await;
        let first = api.output(&asked).await;
        let second = api.output(&asked).await;
        assert_eq!((cached(&anew), cached(&first)), (0, 0), "{adapter:?}");
        let prompt = second["prompt_tokens"].as_u64().expect("a count");
        assert_eq!(cached(&second), prompt - 1, "{adapter:?}");
        assert_eq!((&first["text"], &second["text"]), (&anew["text"], &anew["text"]));
    }
}

#[tokio::test]
async fn those_used_last_stay_within_their_memory() {
    let hub = hub();
    // Room for two of three.
    let setup = Setup::of(&[hub.path()]).environment("ANYMODEL_ADAPTER_MEMORY", "60000");
    let system = setup.start().await;
    let first = text(&system, Some("it/a")).await;
    text(&system, Some("it/b")).await;
    until_resident(&system, &["it/a", "it/b"]).await;
    text(&system, Some("it/a")).await;
    text(&system, Some("it/c")).await;
    until_resident(&system, &["it/a", "it/c"]).await;
    text(&system, Some("it/b")).await;
    assert_eq!(text(&system, Some("it/a")).await, first);
    OF_TINY.write(hub.path(), "it/wide", 64, 9);
    let answer = system.api().infer(&story(Some("it/wide"))).await;
    let details = answer.fails(422, "too_large")["details"].take();
    assert_eq!(
        (&details["field"], &details["budget_bytes"]),
        (&json!("options.adapter"), &json!(60000))
    );
}

#[tokio::test]
async fn an_encoder_takes_adapters_row_by_row() {
    let hub = tempfile::tempdir().expect("a folder");
    OF_SENTENCES.write(hub.path(), "it/a", 4, 1);
    OF_SENTENCES.write(hub.path(), "it/b", 2, 2);
    let system = Setup::of(&[&zoo::hub(), hub.path()]).start().await;
    let vectors = async |adapter: Option<&str>| {
        let mut request = json!({"model_id": SENTENCES, "task": "feature-extraction",
            "inputs": {"text": ["a red circle", "two blue squares are here"]}, "options": {}});
        if let Some(adapter) = adapter {
            request["options"]["adapter"] = adapter.into();
        }
        let output = system.api().output(&request).await;
        let vector = |found: &Value| -> Vec<f64> {
            serde_json::from_value(found["embedding"].clone()).expect("a vector")
        };
        list(&output["batch"]).iter().map(vector).collect::<Vec<_>>()
    };
    let wanted = [None, Some("it/a"), Some("it/b")];
    let alone = [vectors(None).await, vectors(wanted[1]).await, vectors(wanted[2]).await];
    assert!(alone[0] != alone[1] && alone[1] != alone[2]);
    let together = join_all((0..12).map(|at| vectors(wanted[at % 3]))).await;
    for (at, found) in together.iter().enumerate() {
        let pairs = found.iter().flatten().zip(alone[at % 3].iter().flatten());
        let apart = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-5, "{apart:e}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_name_and_harms_nobody() {
    let hub = hub();
    let path = hub.path();
    for (id, changes) in [
        ("it/dora", json!({"use_dora": true})),
        ("it/biased", json!({"bias": "all"})),
        ("it/other", json!({"peft_type": "IA3"})),
        ("it/ranked", json!({"r": 4})),
        ("it/untargeted", json!({"target_modules": ["c_attn"]})),
        ("it/nonsense", json!({"target_modules": "(("})),
    ] {
        OF_TINY.write(path, id, 8, 5);
        change(path, id, &changes);
    }
    OF_SENTENCES.write(path, "it/foreign", 4, 1);
    OF_TINY.write(path, "it/empty", 8, 1);
    std::fs::remove_file(path.join("it/empty/adapter_model.safetensors")).expect("removed");
    OF_TINY.write(path, "it/cut", 8, 1);
    std::fs::write(path.join("it/cut/adapter_model.safetensors"), [7; 40]).expect("written");
    OF_TINY.write(path, "it/garbled", 8, 1);
    write_json(&path.join("it/garbled/adapter_config.json"), &json!([1]));
    let system = Setup::of(&[path]).start().await;
    let api = system.api();
    for (adapter, status, code, says) in [
        ("it/dora", 501, "format_not_supported", "use_dora"),
        ("it/biased", 501, "format_not_supported", "bias"),
        ("it/other", 501, "format_not_supported", "IA3"),
        (TINY_ID, 501, "format_not_supported", "is no adapter"),
        ("it/ranked", 500, "corrupt_checkpoint", "expected [4, 64]"),
        ("it/untargeted", 500, "corrupt_checkpoint", "target_modules"),
        ("it/nonsense", 500, "corrupt_checkpoint", "regular expression"),
        ("it/empty", 500, "corrupt_checkpoint", "adapter_model.safetensors"),
        ("it/cut", 500, "corrupt_checkpoint", "adapter_model.safetensors"),
        ("it/garbled", 500, "corrupt_checkpoint", "adapter_config.json"),
        ("it/foreign", 422, "invalid_request", "no linear layer encoder.layer.0"),
        // Tests ask no Hub.
        ("it/nowhere", 502, "hub_unreachable", "it/nowhere"),
        ("it/a@nowhere", 502, "hub_unreachable", "it/a"),
        ("", 422, "invalid_request", "is empty"),
        ("../it/a", 422, "invalid_request", ""),
    ] {
        let answer = api.infer(&story(Some(adapter))).await;
        let details = answer.fails(status, code)["details"].take();
        assert!(answer.text.contains(says), "{adapter}: {}", answer.text);
        assert_eq!(details["field"], "options.adapter", "{adapter}: {}", answer.text);
    }
    let mut alone = story(None);
    alone["model_id"] = json!("it/a");
    let error = api.infer(&alone).await.fails(501, "format_not_supported");
    assert!(error["message"].as_str().is_some_and(|says| says.contains("options.adapter")));
    let mut request = story(None);
    request["options"]["adapter"] = json!(7);
    api.infer(&request).await.fails(422, "invalid_request");
    // What did not fit left nothing behind.
    assert_ne!(text(&system, Some("it/a")).await, text(&system, None).await);
    until_resident(&system, &["it/a"]).await;
}
