//! Everything that can be wrong with a request has its status, its code and the name of the field.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    api::{Answer, Api},
    system::System,
    zoo::{self, SENTENCES, SHAPES, STORYTELLER},
};

/// The same answer from both doors: before its first event a stream fails like any other call.
async fn both(api: &Api, body: &Value) -> [Answer; 2] {
    [api.infer(body).await, api.post("/api/inference/stream", body).await]
}

fn story(options: Value) -> Value {
    json!({"model_id": STORYTELLER, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

fn picture(base64: &str) -> Value {
    json!({"model_id": SHAPES, "task": "image-classification", "inputs": {"image_base64": base64}})
}

async fn raw(api: &Api, body: impl Into<Vec<u8>>) -> [Answer; 2] {
    let body = body.into();
    [
        api.post_raw("/api/inference", body.clone()).await,
        api.post_raw("/api/inference/stream", body).await,
    ]
}

#[tokio::test]
async fn a_body_that_is_no_json_or_no_text_says_where() {
    let system = System::shared().await;
    let api = system.api();
    for body in ["", "{", "{\"model_id\": }", "[1, 2", "nonsense"] {
        for answer in raw(&api, body).await {
            let error = answer.fails(400, "invalid_json");
            assert!(error["details"]["line"].is_u64(), "{body:?}: {error}");
        }
    }
    for answer in raw(&api, b"{\"model_id\": \"\xff\xfe\"}").await {
        assert_eq!(answer.fails(400, "invalid_json")["details"]["byte"], 14);
    }
    for answer in raw(&api, "[".repeat(100_000)).await {
        answer.fails(400, "invalid_json");
    }
}

#[tokio::test]
async fn missing_inputs_are_named_with_an_example_that_works() {
    let system = System::shared().await;
    let api = system.api();
    for (model_id, task, missing) in [
        (STORYTELLER, "text-generation", json!(["text"])),
        (SENTENCES, "feature-extraction", json!(["text"])),
        (SENTENCES, "sentence-similarity", json!(["source_sentence", "sentences"])),
        (SHAPES, "image-classification", json!(["image_base64"])),
    ] {
        for inputs in [json!({}), Value::Null] {
            let body = json!({"model_id": model_id, "task": task, "inputs": inputs});
            for answer in both(&api, &body).await {
                let error = answer.fails(422, "missing_inputs");
                assert_eq!(error["details"]["missing"], missing, "{task}");
                let mut example = error["details"]["example"].clone();
                example["model_id"] = json!(model_id);
                example["task"] = json!(task);
                api.infer(&example).await.ok();
            }
        }
    }
    let half =
        json!({"model_id": SENTENCES, "inputs": {"text": "a"}, "task": "sentence-similarity"});
    let error = api.infer(&half).await.fails(422, "missing_inputs");
    assert_eq!(error["details"]["missing"], json!(["text_pair"]));
}

#[tokio::test]
async fn fields_of_the_envelope_are_checked_by_name() {
    let system = System::shared().await;
    let api = system.api();
    let with = |field: &str, value: Value| {
        let mut body = story(json!({}));
        body[field] = value;
        body
    };
    for (body, status, code, field) in [
        (json!({"inputs": {"text": "a"}}), 422, "invalid_request", "model_id"),
        (with("model_id", json!(7)), 422, "invalid_request", "model_id"),
        (with("model_id", json!("../../secret")), 422, "invalid_request", "model_id"),
        (with("colour", json!(1)), 422, "invalid_request", "colour"),
        (with("task", json!("tea-making")), 400, "unknown_task", "task"),
        (with("task", json!("text-to-image")), 501, "task_not_supported", "task"),
        (with("run", json!({"timeout": "soon"})), 422, "invalid_request", "run.timeout"),
        (with("run", json!({"timeout": "10000d"})), 422, "invalid_request", "run.timeout"),
        (with("run", json!({"speed": 9})), 422, "unknown_option", "run.speed"),
        (with("run", json!({"dtype": "int3"})), 422, "invalid_request", "run.dtype"),
        (with("inputs", json!("Once")), 422, "invalid_request", "inputs"),
        (with("inputs", json!({"words": "x"})), 422, "invalid_request", "inputs.words"),
        (with("inputs", json!({"text": 7})), 422, "invalid_request", "inputs.text"),
        (with("options", json!({"warmth": 1})), 422, "unknown_option", "options.warmth"),
        (json!([]), 422, "invalid_request", "body"),
    ] {
        for answer in both(&api, &body).await {
            let error = answer.fails(status, code);
            assert_eq!(error["details"]["field"], field, "{body}: {error}");
        }
    }
    let error = api.infer(&with("options", json!({"warmth": 1}))).await.json()["error"].take();
    assert!(zoo::list(&error["details"]["options"]).contains(&json!("temperature")), "{error}");
    let error = api.infer(&with("task", json!("tea-making"))).await.json()["error"].take();
    assert!(
        zoo::list(&error["details"]["supported"]).contains(&json!("text-generation")),
        "{error}"
    );
}

#[tokio::test]
async fn numbers_out_of_range_name_their_option() {
    let system = System::shared().await;
    let api = system.api();
    for (option, values) in [
        ("max_new_tokens", vec![json!(-1), json!(0), json!(1.5), json!(99_999_999_999_u64)]),
        ("temperature", vec![json!(-0.5), json!("hot"), json!(1e300)]),
        ("top_k", vec![json!(-1), json!(1e10)]),
        ("top_p", vec![json!(0), json!(-1), json!(1.5)]),
        ("min_p", vec![json!(-0.1), json!(2)]),
        ("typical_p", vec![json!(0), json!(1.5)]),
        ("no_repeat_ngram_size", vec![json!(-1), json!("two")]),
        ("num_beams", vec![json!(0), json!(17)]),
        ("repetition_penalty", vec![json!(0), json!(-3)]),
        ("frequency_penalty", vec![json!(-2.5), json!(100)]),
        ("presence_penalty", vec![json!(3)]),
        ("n", vec![json!(0), json!(17), json!(-1)]),
        ("logprobs", vec![json!(21), json!(-1)]),
        ("seed", vec![json!(-7), json!(0.5)]),
        ("cache", vec![json!("no"), json!(0)]),
        ("stop", vec![json!("x"), json!([""]), json!([7]), json!(vec!["a"; 17])]),
    ] {
        for value in values {
            let body = story(json!({option: value}));
            for answer in both(&api, &body).await {
                let error = answer.fails(422, "invalid_request");
                // An item of a list may be named with its place.
                let field = error["details"]["field"].as_str().expect("a field");
                let field = field.split('[').next().unwrap_or_default();
                assert_eq!(field, format!("options.{option}"), "{body}");
            }
        }
    }
    for (value, option) in [("NaN", "temperature"), ("-Infinity", "top_p"), ("1e999", "min_p")] {
        let body = story(json!({option: 0.5})).to_string().replace("0.5", value);
        for answer in raw(&api, body).await {
            assert_eq!(answer.fails(422, "invalid_request")["details"]["field"], option);
        }
    }
    for (option, value) in [("top_k", json!(0)), ("function_to_apply", json!("cube"))] {
        let mut body = picture(&zoo::picture("pictures/held-out-00.png"));
        body["options"] = json!({option: value});
        let error = api.infer(&body).await.fails(422, "invalid_request");
        assert_eq!(error["details"]["field"], format!("options.{option}"));
    }
    for (option, value) in
        [("dimensions", json!(0)), ("dimensions", json!(97)), ("pooling", json!("best"))]
    {
        let body = json!({"model_id": SENTENCES, "task": "feature-extraction", "inputs": {"text": "a"}, "options": {option: value}});
        let error = api.infer(&body).await.fails(422, "invalid_request");
        assert_eq!(error["details"]["field"], format!("options.{option}"));
    }
}

#[tokio::test]
async fn what_is_longer_than_the_context_is_refused_with_its_figures_or_cut_when_asked() {
    let system = System::shared().await;
    let api = system.api();
    let long = "Once there was a small red circle. ".repeat(200);
    for (mut body, limit) in [
        (
            json!({"model_id": STORYTELLER, "task": "text-generation", "inputs": {"text": long}, "options": {"max_new_tokens": 4}}),
            512,
        ),
        (
            json!({"model_id": SENTENCES, "task": "feature-extraction", "inputs": {"text": long}, "options": {}}),
            64,
        ),
    ] {
        for answer in both(&api, &body).await {
            let error = answer.fails(422, "input_too_long");
            let figure =
                |name: &str| error["details"][name].as_u64().unwrap_or_else(|| panic!("{error}"));
            assert!(figure("tokens") > figure("limit") && figure("limit") <= limit, "{error}");
        }
        body["options"]["truncate"] = json!(true);
        api.infer(&body).await.ok();
    }
    // Whatever is asked for, an answer ends where the context does.
    let endless =
        story(json!({"max_new_tokens": 100_000, "min_new_tokens": 510, "do_sample": false}));
    let output = api.output(&endless).await;
    let total =
        |output: &Value| output["prompt_tokens"].as_u64().zip(output["generated_tokens"].as_u64());
    assert!(total(&output).is_some_and(|(prompt, new)| prompt + new == 512), "{output}");
    assert_eq!(output["finish_reason"], "length");
}

/// A PNG that says it is that large, and ends soon after.
fn declared_png(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(&header);
    png.extend(crc32(&header).to_be_bytes());
    png.resize(200, 0);
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

#[tokio::test]
async fn pictures_that_are_none_say_what_they_are() {
    let system = System::shared().await;
    let api = system.api();
    let whole = zoo::picture_bytes("pictures/held-out-00.png");
    let mut corrupt = whole.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 200].fill(0x55);
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("text", b"this is no picture".to_vec()),
        ("a PDF", b"%PDF-1.7 something".to_vec()),
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("only a signature", whole[..8].to_vec()),
        ("corrupt", corrupt),
    ] {
        for answer in both(&api, &picture(&STANDARD.encode(&bytes))).await {
            let error = answer.fails(400, "invalid_media");
            assert_eq!(error["details"]["field"], "inputs.image_base64", "{name}: {error}");
        }
    }
    for text in ["not base64!", "data:image/png;base64,###", "data:image/png,plain"] {
        api.infer(&picture(text)).await.fails(400, "invalid_media");
    }
    for answer in both(&api, &picture(&STANDARD.encode(declared_png(30_000, 30_000)))).await {
        let error = answer.fails(413, "payload_too_large");
        assert_eq!(error["details"]["size"], 900_000_000_u64, "{error}");
        assert!(error["details"]["limit"].is_u64(), "{error}");
    }
    api.output(&picture(&STANDARD.encode(whole))).await;
}

#[tokio::test]
async fn a_body_of_a_hundred_megabytes_hears_its_size_and_the_limit() {
    let system = System::shared().await;
    let api = system.api();
    let size = 100_000_000;
    let mut body = br#"{"model_id": "a/b", "inputs": {"text": ""#.to_vec();
    body.resize(size, b'x');
    let error = api.post_raw("/api/inference", body).await.fails(413, "payload_too_large");
    assert_eq!(
        (&error["details"]["size"], &error["details"]["limit"]),
        (&json!(size), &json!(64 << 20))
    );
    let two_megabytes =
        story(json!({}))["inputs"]["text"].as_str().expect("a text").repeat(1 << 19);
    let mut body = story(json!({}));
    body["inputs"]["text"] = json!(two_megabytes);
    let error = api.infer(&body).await.fails(413, "payload_too_large");
    assert_eq!(error["details"]["field"], "inputs.text");
}

#[tokio::test]
async fn the_manners_of_http_are_kept() {
    let system = System::shared().await;
    let api = system.api();
    let send = |method: Method, path: &str, headers: [(&'static str, &'static str); 2]| {
        let mut request =
            api.request(method, path).body(story(json!({"max_new_tokens": 1})).to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async {
            let response = request.send().await.expect("an answer");
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, text: response.text().await.expect("whole") }
        }
    };
    let json = ("content-type", "application/json");
    let any = ("accept", "*/*");
    let path = "/api/inference";
    send(Method::POST, path, [json, any]).await.ok();
    send(Method::POST, path, [("content-type", "text/plain"), any])
        .await
        .fails(415, "unsupported_media_type");
    send(Method::POST, path, [json, ("accept", "image/png")]).await.fails(406, "not_acceptable");
    send(Method::PUT, path, [json, any]).await.fails(405, "method_not_allowed");
    send(Method::POST, "/api/no/such/thing", [json, any]).await.fails(404, "not_found");
    let named = send(Method::POST, path, [json, ("x-request-id", "mine-7")]).await;
    assert_eq!(named.headers["x-request-id"], "mine-7");
    assert_eq!(named.ok()["result"]["info"]["request_id"], "mine-7");
}
