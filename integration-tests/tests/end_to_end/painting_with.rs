//! Painting with LoRA adapters, and after pictures with a ControlNet, through the public API: what the reference paints,
//! several adapters and none at once, and what is refused.

use std::fs;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    adapters::until_resident,
    harness::{
        models::{change_json, write_safetensors},
        painters::{self, ADAPTER_FILE, Case},
        system::{Setup, System},
    },
    painting::{self, assert_same, pixels},
};

const ADAPTERS: [&str; 6] = [
    "picture-lora-control",
    "picture-lora-kohya",
    "picture-lora-old",
    "picture-lora-plain",
    "picture-lora-settled",
    "picture-lora-xl",
];

/// A case of an adapter's fixture as a request of the API.
fn request(adapter: &str, base: &str, case: &Case) -> Value {
    let base = base.strip_prefix("painters/").expect("a painter");
    let mut request = painting::request_of(base, case);
    request["options"]["adapter"] = json!(adapter);
    request
}

/// Adapters that are not what they seem stand beside sound ones.
async fn painter(adapters: &[&str]) -> (System, tempfile::TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd1");
    for name in adapters {
        painters::write_adapter(hub.path(), name);
    }
    (Setup::of(&[hub.path()]).start().await, hub)
}

fn asked(options: Value) -> Value {
    let inputs = json!({"text": "a circle"});
    json!({"model_id": "painters/pipeline-sd1", "task": "text-to-image", "inputs": inputs, "options": options})
}

#[tokio::test]
async fn adapters_paint_what_the_reference_paints_alone_and_together() {
    let hub = tempfile::tempdir().expect("a folder");
    let mut all: Vec<(Value, Case)> = Vec::new();
    for name in ADAPTERS {
        let (adapter, base) = painters::write_adapter(hub.path(), name);
        painters::write(hub.path(), base.strip_prefix("painters/").expect("a painter"));
        let cases = painters::cases(name).into_iter();
        all.extend(cases.map(|case| (request(&adapter, &base, &case), case)));
    }
    // Those without an adapter are painted as ever, in between.
    let plain = painters::cases("pipeline-sd1").into_iter();
    all.extend(plain.map(|case| (painting::request_of("pipeline-sd1", &case), case)));
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    for (request, case) in &all {
        assert_same(&api.output(request).await, &case.expected, &request["options"].to_string());
    }
    let outputs = join_all(all.iter().map(|(request, _)| api.output(request))).await;
    for (output, (request, case)) in outputs.iter().zip(&all) {
        assert_same(output, &case.expected, &format!("together: {}", request["options"]));
    }
    let answer = api.infer(&all[0].0).await.ok();
    let metadata = &answer["result"]["metadata"];
    assert_eq!(metadata["adapter"], all[0].0["options"]["adapter"], "{metadata}");
}

#[tokio::test]
async fn adapters_of_a_painter_stay_within_their_memory() {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd1");
    let names = ["picture-lora-old", "picture-lora-plain"];
    let bytes = |name: &str| {
        painters::write_adapter(hub.path(), name);
        // The file holds little but its values.
        fs::metadata(hub.path().join("painters").join(name).join(ADAPTER_FILE)).expect("it").len()
    };
    let most = names.map(bytes).into_iter().max().expect("two");
    let setup = Setup::of(&[hub.path()]);
    let system = setup.environment("ANYMODEL_ADAPTER_MEMORY", &most.to_string()).start().await;
    let paint = async |name: &str| {
        let options =
            json!({"num_inference_steps": 2, "seed": 1, "adapter": format!("painters/{name}")});
        pixels(&system.api().output(&asked(options)).await)
    };
    let first = paint(names[0]).await;
    until_resident(&system, &["painters/picture-lora-old"]).await;
    let second = paint(names[1]).await;
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 1);
    assert!(differ(&first, &second));
    until_resident(&system, &["painters/picture-lora-plain"]).await;
    assert!(!differ(&first, &paint(names[0]).await));
}

#[tokio::test]
async fn a_scale_says_how_much_of_an_adapter_there_is() {
    let (system, _hub) = painter(&["picture-lora-kohya"]).await;
    let paint = async |scale: Option<f64>| {
        let mut options = json!({"num_inference_steps": 2, "seed": 1});
        if let Some(scale) = scale {
            options["adapter"] = json!("painters/picture-lora-kohya");
            options["adapter_scale"] = json!(scale);
        }
        pixels(&system.api().output(&asked(options)).await)
    };
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 1);
    let (plain, whole) = (paint(None).await, paint(Some(1.0)).await);
    assert!(differ(&plain, &whole));
    assert!(!differ(&plain, &paint(Some(0.0)).await));
    let half = paint(Some(0.5)).await;
    assert!(differ(&half, &plain) && differ(&half, &whole));
    let scaled =
        |options: Value| asked(json!({"num_inference_steps": 2, "adapter_scale": options}));
    let mut alone = scaled(json!(0.5));
    let mut large = scaled(json!(11));
    large["options"]["adapter"] = json!("painters/picture-lora-kohya");
    for request in [&mut alone, &mut large] {
        let failure = system.api().infer(request).await.fails(422, "invalid_request");
        assert_eq!(failure["details"]["field"], "options.adapter_scale", "{failure}");
    }
}

#[tokio::test]
async fn adapters_that_cannot_be_used_are_refused_by_name() {
    let (system, hub) = painter(&["picture-lora-kohya", "picture-lora-xl"]).await;
    let write = |id: &str, file: &str, tensors: &[(&str, &[usize])]| {
        let folder = hub.path().join(id);
        fs::create_dir_all(&folder).expect("a folder");
        let tensors: Vec<_> =
            tensors.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect();
        write_safetensors(&folder.join(file), &tensors, 1);
    };
    let (down, up) = ("lora_unet_conv_in.lora_down.weight", "lora_unet_conv_in.lora_up.weight");
    let sound: [(&str, &[usize]); 2] = [(down, &[2, 4, 3, 3]), (up, &[8, 2, 1, 1])];
    write("it/only", "style.safetensors", &sound);
    write("it/several", "a.safetensors", &sound);
    write("it/several", "b.safetensors", &sound);
    write("it/half", ADAPTER_FILE, &sound[..1]);
    write("it/rank", ADAPTER_FILE, &[sound[0], (up, &[8, 3, 1, 1])]);
    write("it/shape", ADAPTER_FILE, &[(down, &[2, 5, 3, 3]), sound[1]]);
    write("it/dora", ADAPTER_FILE, &[sound[0], sound[1], ("lora_unet_conv_in.dora_scale", &[8])]);
    write("it/weights", ADAPTER_FILE, &[("unet.conv_in.weight", &[8, 4, 3, 3])]);
    let vae = ["vae.decoder.conv_in.lora_A.weight", "vae.decoder.conv_in.lora_B.weight"];
    write("it/vae", ADAPTER_FILE, &[(vae[0], &[2, 4, 3, 3]), (vae[1], &[8, 2, 1, 1])]);
    let api = system.api();
    let request = |adapter: &str| asked(json!({"num_inference_steps": 2, "adapter": adapter}));
    api.output(&request("it/only")).await;
    for (adapter, status, code, says) in [
        ("painters/picture-lora-xl", 422, "invalid_request", "lora_te2_text_model"),
        ("painters/pipeline-sd1", 501, "format_not_supported", "is no adapter"),
        ("it/several", 501, "format_not_supported", "a.safetensors, b.safetensors"),
        ("it/half", 500, "corrupt_checkpoint", down),
        ("it/rank", 500, "corrupt_checkpoint", "[8, 3, 1, 1]"),
        ("it/shape", 422, "invalid_request", "this one needs [2, 4, 3, 3]"),
        ("it/dora", 501, "format_not_supported", "dora_scale"),
        ("it/weights", 501, "format_not_supported", "unet.conv_in.weight"),
        ("it/vae", 422, "invalid_request", "vae.decoder.conv_in"),
    ] {
        let answer = api.infer(&request(adapter)).await;
        let details = answer.fails(status, code)["details"].take();
        assert!(answer.text.contains(says), "{adapter}: {}", answer.text);
        assert_eq!(details["field"], "options.adapter", "{adapter}: {}", answer.text);
    }
}

#[tokio::test]
async fn painters_whose_adapters_were_never_compared_take_none() {
    let hub = tempfile::tempdir().expect("a folder");
    let model_id = painters::write(hub.path(), "pipeline-schnell");
    let shape = painters::tensors_of("pipeline-schnell", "transformer")["x_embedder.weight"].take();
    let side = |at: usize| shape[at].as_u64().expect("a side") as usize;
    let name = |half: &str| format!("transformer.x_embedder.lora_{half}.weight");
    let tensors = [(name("A"), vec![2, side(1)]), (name("B"), vec![side(0), 2])];
    fs::create_dir_all(hub.path().join("it/flux")).expect("a folder");
    write_safetensors(&hub.path().join("it/flux").join(ADAPTER_FILE), &tensors, 1);
    let system = Setup::of(&[hub.path()]).start().await;
    let mut request = asked(json!({"num_inference_steps": 1, "adapter": "it/flux"}));
    request["model_id"] = json!(model_id);
    let failure = system.api().infer(&request).await.fails(501, "format_not_supported");
    assert_eq!(failure["details"]["field"], "options.adapter", "{failure}");
}

#[tokio::test]
async fn a_picture_to_paint_after_must_be_there_where_there_is_a_control_net() {
    let (system, _hub) = painting::painters(&["pipeline-control", "pipeline-sd1"]).await;
    let case = painters::cases("pipeline-control").remove(0);
    let whole = painting::request_of("pipeline-control", &case);
    let mut without = whole.clone();
    without["inputs"].as_object_mut().expect("an object").remove("control_image_base64");
    let mut elsewhere = whole.clone();
    elsewhere["model_id"] = json!("painters/pipeline-sd1");
    let mut garbled = whole.clone();
    garbled["inputs"]["control_image_base64"] = json!("aGVsbG8=");
    let image = "inputs.control_image_base64";
    for (request, status, code, field) in [
        (without, 422, "invalid_request", image),
        (elsewhere, 422, "invalid_request", image),
        (garbled, 400, "invalid_media", image),
    ] {
        let failure = system.api().infer(&request).await.fails(status, code);
        assert_eq!(failure["details"]["field"], field, "{failure}");
    }
    let mut request = whole.clone();
    request["options"]["control_guidance_start"] = json!(1.0);
    let failure = system.api().infer(&request).await.fails(422, "invalid_request");
    assert_eq!(failure["details"]["field"], "options.control_guidance_start", "{failure}");
    assert_same(&system.api().output(&whole).await, &case.expected, "all the same");
}

#[tokio::test]
async fn a_control_net_of_its_own_repository_is_followed_as_if_it_were_the_pipelines() {
    let hub = tempfile::tempdir().expect("a folder");
    for name in ["pipeline-control", "pipeline-xl"] {
        painters::write(hub.path(), name);
    }
    let (base, network) =
        (hub.path().join("painters/pipeline-control"), hub.path().join("nets/edges"));
    fs::create_dir_all(hub.path().join("nets")).expect("a folder");
    fs::rename(base.join("controlnet"), &network).expect("moved");
    let plain = json!({"_class_name": "StableDiffusionPipeline", "controlnet": [null, null]});
    change_json(&base.join("model_index.json"), &plain);
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let all: Vec<(Value, Case)> = painters::cases("pipeline-control")
        .into_iter()
        .map(|case| {
            let mut request = painting::request_of("pipeline-control", &case);
            request["options"]["controlnet"] = json!("nets/edges");
            (request, case)
        })
        .collect();
    let outputs = join_all(all.iter().map(|(request, _)| api.output(request))).await;
    for (output, (request, case)) in outputs.iter().zip(&all) {
        assert_same(output, &case.expected, &request["options"].to_string());
    }
    until_resident(&system, &["nets/edges"]).await;
    let answer = api.infer(&all[0].0).await.ok();
    assert_eq!(answer["result"]["metadata"]["controlnet"], "nets/edges");

    let mut alone = all[0].0.clone();
    alone["inputs"].as_object_mut().expect("an object").remove("control_image_base64");
    let failure = api.infer(&alone).await.fails(422, "invalid_request");
    assert_eq!(failure["details"]["field"], "inputs.control_image_base64", "{failure}");
    let mut wide = all[0].0.clone();
    wide["model_id"] = json!("painters/pipeline-xl");
    for (request, named, status, code, says) in [
        (&all[0].0, "painters/pipeline-xl", 501, "format_not_supported", "is no ControlNetModel"),
        (&all[0].0, "", 422, "invalid_request", "is empty"),
        (&wide, "nets/edges", 422, "invalid_request", "cross_attention_dim"),
    ] {
        let mut request = request.clone();
        request["options"]["controlnet"] = json!(named);
        let answer = api.infer(&request).await;
        let details = answer.fails(status, code)["details"].take();
        assert!(answer.text.contains(says), "{named}: {}", answer.text);
        assert_eq!(details["field"], "options.controlnet", "{named}: {}", answer.text);
    }
}
