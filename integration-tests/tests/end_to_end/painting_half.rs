//! A painter in half precision, whose autoencoder stays float32 where its config says that it must.

use serde_json::{Value, json};

use crate::harness::{
    models::change_json,
    painters,
    system::{Setup, System},
    zoo::list,
};

/// Values of the tensors of a component.
fn values(component: &str) -> u64 {
    let shapes = painters::tensors_of("pipeline-sd1", component);
    let shapes = shapes.as_object().expect("an object").values();
    shapes.map(|shape| list(shape).iter().filter_map(Value::as_u64).product::<u64>()).sum()
}

/// Paints one picture in that data type; the bytes of the weights that were loaded for it.
async fn painted(system: &System, model_id: &str, dtype: &str) -> u64 {
    let api = system.api();
    let request = json!({
        "model_id": model_id, "task": "text-to-image", "inputs": {"text": "a circle"},
        "options": {"num_inference_steps": 2, "seed": 1}, "run": {"dtype": dtype},
    });
    let answer = api.infer(&request).await.ok();
    assert_eq!(answer["result"]["metadata"]["dtype"], dtype);
    assert_eq!(list(&answer["result"]["task_output"]["images"]).len(), 1);
    let models = api
        .until_models("the weights", |models| {
            models.iter().any(|model| model["model_id"] == model_id && model["dtype"] == dtype)
        })
        .await;
    let model =
        models.iter().find(|model| model["model_id"] == model_id && model["dtype"] == dtype);
    model.expect("it is there")["bytes"]["weights"].as_u64().expect("bytes")
}

#[tokio::test]
async fn an_autoencoder_that_is_forced_to_float32_stays_so_in_half_precision() {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd1");
    let free = hub.path().join("painters/free");
    std::fs::rename(hub.path().join("painters/pipeline-sd1"), &free).expect("moved");
    change_json(&free.join("vae/config.json"), &json!({"force_upcast": false}));
    painters::write(hub.path(), "pipeline-sd1");
    let system = Setup::of(&[hub.path()]).start().await;
    let autoencoder = values("vae");
    let others = values("unet") + values("text_encoder");
    for dtype in ["bfloat16", "float16"] {
        let forced = painted(&system, "painters/pipeline-sd1", dtype).await;
        assert_eq!(forced, others * 2 + autoencoder * 4, "{dtype}");
        let free = painted(&system, "painters/free", dtype).await;
        assert_eq!(free, (others + autoencoder) * 2, "{dtype}");
    }
}
