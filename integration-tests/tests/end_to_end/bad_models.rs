//! Everything that can be wrong with a model is said by name, and none of it harms the next request.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::harness::{
    models::{TINY, change_json, copy_of, write_json},
    system::{Setup, System},
    zoo::{self, SHAPES, STORYTELLER},
};

fn ask(model_id: &str) -> Value {
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": {"max_new_tokens": 2}})
}

async fn system(write: impl FnOnce(&Path)) -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    write(hub.path());
    (Setup::of(&[hub.path(), &zoo::hub()]).start().await, hub)
}

/// A Hub on this machine that knows no repository, and of `zoo/` ones no revision.
async fn empty_hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                // A request fits into one read; then the connection is closed.
                let mut request = vec![0; 8192];
                let size = connection.read(&mut request).await.unwrap_or(0);
                let known = request[..size].windows(5).any(|part| part == b"/zoo/");
                let missing = if known { "RevisionNotFound" } else { "RepoNotFound" };
                let answer = format!(
                    "HTTP/1.1 404 Not Found\r\nx-error-code: {missing}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let _ = connection.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_model_or_revision_that_nobody_has_is_not_found() {
    let setup = Setup::of(&[&zoo::hub()]).environment("HF_HUB_OFFLINE", "false");
    let system = setup.environment("HF_ENDPOINT", &empty_hub().await).start().await;
    let api = system.api();
    for model_id in ["it/nowhere", "nowhere"] {
        api.infer(&ask(model_id)).await.fails(404, "model_not_found");
        let load = json!({"model_id": model_id});
        api.post("/api/models/load", &load).await.fails(404, "model_not_found");
        // Without a task it has to be looked up first.
        let body = json!({"model_id": model_id, "inputs": {"text": "Once"}});
        api.infer(&body).await.fails(404, "model_not_found");
    }
    let revision = format!("{STORYTELLER}@{}", "0".repeat(40));
    api.infer(&ask(&revision)).await.fails(404, "revision_not_found");
}

#[tokio::test]
async fn offline_a_model_that_is_not_here_is_out_of_reach() {
    let (system, _hub) = system(|_| {}).await;
    let error = system.api().infer(&ask("it/nowhere")).await.fails(502, "hub_unreachable");
    assert!(error["message"].as_str().is_some_and(|it| it.contains("offline")), "{error}");
}

#[tokio::test]
async fn what_this_server_cannot_run_is_named_with_what_it_can() {
    let (system, _hub) = system(|hub| {
        copy_of(STORYTELLER, hub, "it/martian");
        change_json(
            &hub.join("it/martian/config.json"),
            &json!({"model_type": "martian", "architectures": ["MartianForCausalLM"]}),
        );
    })
    .await;
    let api = system.api();
    let error = api.infer(&ask("it/martian")).await.fails(501, "architecture_not_supported");
    assert!(error.to_string().contains("martian"), "{error}");
    assert!(error["details"]["supported"].to_string().contains("llama"), "{error}");
    // A picture model cannot write.
    let error = api.infer(&ask(SHAPES)).await.json()["error"].take();
    assert!(
        matches!(error["code"].as_str(), Some("task_not_supported" | "architecture_not_supported")),
        "{error}"
    );
    assert!(error.to_string().contains("vit"), "{error}");
}

/// A pipeline of the storyteller's weights under the names of a component.
fn pipeline(hub: &Path, name: &str, class: &str) {
    let folder = hub.join(name);
    copy_of(STORYTELLER, hub, &format!("{name}/transformer"));
    let index = json!({
        "_class_name": class,
        "safety_checker": [null, null],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "transformer": ["diffusers", "Transformer2DModel"],
    });
    write_json(&folder.join("model_index.json"), &index);
    fs::create_dir_all(folder.join("scheduler")).expect("a folder");
    write_json(&folder.join("scheduler/scheduler_config.json"), &json!({}));
}

#[tokio::test]
async fn a_pipeline_is_known_by_its_class_and_its_components() {
    let (system, _hub) = system(|hub| {
        for name in ["it/whole", "it/no-scheduler", "it/no-weights", "it/no-class"] {
            pipeline(hub, name, "NovelStorytellerPipeline");
        }
        fs::remove_dir_all(hub.join("it/no-scheduler/scheduler")).expect("removed");
        let weights = hub.join("it/no-weights/transformer/model.safetensors");
        fs::remove_file(weights).expect("removed");
        let index = hub.join("it/no-class/model_index.json");
        change_json(&index, &json!({"_class_name": 3}));
    })
    .await;
    let api = system.api();
    let error = api.infer(&ask("it/whole")).await.fails(501, "architecture_not_supported");
    assert_eq!(error["details"]["architecture"], "NovelStorytellerPipeline", "{error}");
    let error = api.infer(&ask("it/no-scheduler")).await.fails(500, "corrupt_checkpoint");
    assert_eq!(error["details"]["component"], "scheduler", "{error}");
    let error = api.infer(&ask("it/no-weights")).await.fails(501, "format_not_supported");
    assert!(error["message"].to_string().contains("transformer/"), "{error}");
    let error = api.infer(&ask("it/no-class")).await.fails(500, "corrupt_checkpoint");
    assert!(error["message"].to_string().contains("_class_name"), "{error}");
}

#[tokio::test]
async fn formats_that_are_not_read_are_told_by_name() {
    let (system, _hub) = system(|hub| {
        for name in ["it/gguf", "it/gptq"] {
            copy_of(STORYTELLER, hub, name);
        }
        let gguf = hub.join("it/gguf");
        let renamed = fs::rename(gguf.join("model.safetensors"), gguf.join("model-Q4_K_M.gguf"));
        renamed.expect("renamed");
        let quantised = json!({"quantization_config": {"quant_method": "gptq", "bits": 4}});
        change_json(&hub.join("it/gptq/config.json"), &quantised);
        // As such repositories are: nothing but the file.
        fs::create_dir_all(hub.join("it/bare-gguf")).expect("a folder");
        fs::write(hub.join("it/bare-gguf/model.gguf"), b"GGUF\x03\0\0\0").expect("written");
    })
    .await;
    let api = system.api();
    for (model_id, format) in [("it/gguf", "GGUF"), ("it/bare-gguf", "GGUF"), ("it/gptq", "GPTQ")] {
        let error = api.infer(&ask(model_id)).await.fails(501, "format_not_supported");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(format), "{error}");
        assert_eq!(error["retryable"], false);
    }
}

#[tokio::test]
async fn a_spoilt_checkpoint_is_told_with_its_file_and_what_is_wrong() {
    let weights = |hub: &Path, name: &str| hub.join(name).join("model.safetensors");
    let (system, _hub) = system(|hub| {
        for name in ["it/truncated", "it/huge-header", "it/other-shape", "it/missing"] {
            TINY.write(hub, name);
        }
        let cut = |name: &str, change: fn(&mut Vec<u8>)| {
            let path = weights(hub, name);
            let mut bytes = fs::read(&path).expect("there");
            change(&mut bytes);
            fs::write(path, bytes).expect("written");
        };
        cut("it/truncated", |bytes| bytes.truncate(bytes.len() / 2));
        cut("it/huge-header", |bytes| bytes[..8].copy_from_slice(&(1_u64 << 63).to_le_bytes()));
        change_json(&hub.join("it/other-shape/config.json"), &json!({"n_positions": 1024}));
        change_json(&hub.join("it/missing/config.json"), &json!({"n_layer": 3}));
    })
    .await;
    let api = system.api();
    for (model_id, part) in [
        ("it/truncated", "model.safetensors"),
        ("it/huge-header", "model.safetensors"),
        ("it/other-shape", "wpe.weight"),
        ("it/missing", "h.2."),
    ] {
        let error = api.infer(&ask(model_id)).await.fails(500, "corrupt_checkpoint");
        assert!(error.to_string().contains(part), "{model_id}: {error}");
    }
    api.infer(&ask(STORYTELLER)).await.ok();
}

#[tokio::test]
async fn a_repository_without_sense_is_no_panic() {
    let (system, _hub) = system(|hub| {
        for name in ["it/no-json", "it/no-type", "it/no-tokenizer"] {
            copy_of(STORYTELLER, hub, name);
        }
        fs::write(hub.join("it/no-json/config.json"), "{").expect("written");
        change_json(
            &hub.join("it/no-type/config.json"),
            &json!({"model_type": null, "architectures": null}),
        );
        fs::remove_file(hub.join("it/no-tokenizer/tokenizer.json")).expect("removed");
        copy_of(STORYTELLER, hub, "it/absurd");
        change_json(
            &hub.join("it/absurd/config.json"),
            &json!({"num_attention_heads": 0, "hidden_size": -4}),
        );
        fs::create_dir_all(hub.join("it/empty")).expect("a folder");
        write_json(&hub.join("it/empty/config.json"), &json!({"model_type": "gpt2"}));
    })
    .await;
    let api = system.api();
    let worker = system.worker_pid().await;
    for model_id in ["it/no-json", "it/no-type", "it/no-tokenizer", "it/absurd", "it/empty"] {
        let answer = api.infer(&ask(model_id)).await;
        let error = answer.json()["error"].take();
        println!("{model_id}: {} {error}", answer.status);
        assert!(answer.status >= 400 && answer.status != 503, "{model_id}: {}", answer.text);
        assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
        assert!(!error.to_string().contains("panic"), "{error}");
    }
    api.infer(&ask(STORYTELLER)).await.ok();
    assert_eq!(system.worker_pid().await, worker, "the worker was started anew");
}
