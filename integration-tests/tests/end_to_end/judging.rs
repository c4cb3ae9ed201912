//! `text-classification`, `zero-shot-classification`, `text-ranking` and `text-retrieval` through the public API: what the
//! reference answers, one by one and in lists, and what is refused.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    assert_near,
    events::check_whole,
    judges::{self, JUDGES},
    system::{Setup, System},
    zoo::{self, SENTENCES, list, numbers},
};

const TOLERANCE: f64 = 1e-5;

struct Judges {
    system: System,
    _hub: tempfile::TempDir,
}

async fn judges() -> Judges {
    let hub = tempfile::tempdir().expect("a folder");
    for name in JUDGES {
        judges::write(hub.path(), name);
    }
    Judges { system: Setup::of(&[hub.path(), &zoo::hub()]).start().await, _hub: hub }
}

fn request(model_id: &str, case: &Value) -> Value {
    json!({
        "model_id": model_id, "task": case["task"], "inputs": case["inputs"],
        "options": case["options"],
    })
}

/// Names and scores, best first.
fn judged(answer: &Value) -> (Vec<Value>, Vec<f64>) {
    let name = |one: &Value| one.get("label").or(one.get("index")).expect("a name").clone();
    let score = |one: &Value| one["score"].as_f64().expect("a number");
    let answer = list(answer);
    (answer.iter().map(name).collect(), answer.iter().map(score).collect())
}

#[track_caller]
fn assert_same(output: &Value, case: &Value) {
    let found = output.get("predictions").or(output.get("results")).expect("an answer");
    let ((names, scores), (expected, wanted)) = (judged(found), judged(&case["answer"]));
    assert_eq!(names, expected, "{case}");
    assert_near(&case.to_string(), &scores, &wanted, TOLERANCE);
}

#[tokio::test]
async fn judges_say_what_the_reference_says() {
    let judges = judges().await;
    let api = judges.system.api();
    for name in JUDGES {
        let (model, model_id) = (judges::read(name), format!("judges/{name}"));
        let cases = list(&model["cases"]);
        for case in cases {
            assert_same(&api.output(&request(&model_id, case)).await, case);
        }
        let requests: Vec<Value> = cases.iter().map(|case| request(&model_id, case)).collect();
        let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
        outputs.iter().zip(cases).for_each(|(output, case)| assert_same(output, case));
    }
}

#[tokio::test]
async fn candidates_are_found_by_the_references_similarity() {
    let judges = judges().await;
    let api = judges.system.api();
    let model = judges::read("sentences");
    let cases = list(&model["cases"]);
    for case in cases {
        assert_same(&api.output(&request(SENTENCES, case)).await, case);
    }
    // Under its other name a task is the same.
    let ranker = judges::read("ranker");
    let ranks = &list(&ranker["cases"])[0];
    let mut asked = request("judges/ranker", ranks);
    asked["task"] = json!("reranking");
    assert_same(&api.output(&asked).await, ranks);
    let mut asked = request(SENTENCES, &cases[0]);
    asked["options"] = json!({"top_k": 1, "return_text": true});
    let best = &cases[0]["answer"][0];
    let output = api.output(&asked).await;
    let [only] = list(&output["results"]) else { panic!("several: {output}") };
    assert_eq!(only["index"], best["index"]);
    assert_eq!(only["text"], cases[0]["inputs"]["candidates"][0]);
}

#[tokio::test]
async fn a_list_is_judged_in_order_and_streamed_whole() {
    let judges = judges().await;
    let api = judges.system.api();
    for (name, task) in [("mood", "text-classification"), ("follows", "zero-shot-classification")] {
        let model = judges::read(name);
        let options = &list(&model["cases"])[0]["options"];
        let is_alike = |case: &&Value| {
            case["task"] == task
                && case["options"] == *options
                && case["inputs"]["text_pair"].is_null()
        };
        let cases: Vec<&Value> = list(&model["cases"]).iter().filter(is_alike).collect();
        assert!(cases.len() > 3);
        let mut asked = request(&format!("judges/{name}"), cases[0]);
        asked["inputs"]["text"] = cases.iter().map(|case| case["inputs"]["text"].clone()).collect();
        let output = api.output(&asked).await;
        assert_eq!(list(&output["batch"]).len(), cases.len());
        list(&output["batch"]).iter().zip(&cases).for_each(|(item, case)| assert_same(item, case));
        let events = api.stream(&asked).await.all().await;
        let done = check_whole(&events);
        let streamed = list(&done["result"]["task_output"]["batch"]);
        streamed.iter().zip(&cases).for_each(|(item, case)| assert_same(item, case));
    }
    let model = judges::read("mood");
    let pairs: Vec<&Value> = list(&model["cases"])
        .iter()
        .filter(|case| !case["inputs"]["text_pair"].is_null())
        .collect();
    let mut asked = request("judges/mood", pairs[0]);
    for input in ["text", "text_pair"] {
        asked["inputs"][input] = pairs.iter().map(|case| case["inputs"][input].clone()).collect();
    }
    let output = api.output(&asked).await;
    list(&output["batch"]).iter().zip(&pairs).for_each(|(item, case)| assert_same(item, case));
}

#[tokio::test]
async fn a_repository_is_resident_as_every_kind_that_is_asked_for() {
    let judges = judges().await;
    let api = judges.system.api();
    let asked = |task: &str| json!({"model_id": "judges/mood", "task": task, "inputs": {"text": "a red circle"}});
    let labels = api.output(&asked("text-classification")).await;
    let vector = api.output(&asked("feature-extraction")).await;
    assert_eq!(numbers(&vector["embedding"]).len(), 32);
    assert_eq!(list(&labels["predictions"]).len(), 3);
    let kinds = |models: &[Value]| {
        let mut kinds: Vec<String> =
            models.iter().map(|model| model["kind"].as_str().expect("a kind").into()).collect();
        kinds.sort_unstable();
        kinds
    };
    let both = ["sequence_classifier", "text_encoder"];
    api.until_models("both kinds", |models| kinds(models) == both).await;
    // Both stay, so that neither task loads anything again.
    for task in ["text-classification", "feature-extraction", "text-retrieval"] {
        let mut asked = asked(task);
        if task == "text-retrieval" {
            asked["inputs"] = json!({"query": "a", "candidates": ["red", "blue"]});
        }
        let answer = api.infer(&asked).await.ok();
        assert_eq!(answer["result"]["metadata"]["load_ms"], Value::Null, "{task}");
    }
    let path = "/api/models/feature-extraction/judges/mood";
    let left = api.delete(path).await.ok();
    assert_eq!(left["unloaded"][0]["weights_kept"], true, "text-retrieval still uses it: {left}");
    api.delete("/api/models/text-retrieval/judges/mood").await.ok();
    api.until_models("one kind", |models| kinds(models) == ["sequence_classifier"]).await;
}

#[tokio::test]
async fn what_cannot_be_judged_is_refused_by_its_field() {
    let judges = judges().await;
    let api = judges.system.api();
    let long = "a small red circle ".repeat(40);
    let (classify, choose) = ("text-classification", "zero-shot-classification");
    let (rank, find) = ("text-ranking", "text-retrieval");
    let text = json!({"text": "a"});
    let labels = json!({"text": "a", "labels": ["b"]});
    let ranks = json!({"query": "a", "candidates": ["b"]});
    let many: Vec<&str> = vec!["a"; 2049];
    for (name, task, inputs, options, code, field) in [
        ("mood", classify, json!({"text": long}), json!({}), "input_too_long", "inputs.text"),
        ("mood", classify, json!({"text": many}), json!({}), "invalid_request", "inputs.text"),
        (
            "mood",
            classify,
            json!({"text": ["a"], "text_pair": "b"}),
            json!({}),
            "invalid_request",
            "inputs.text_pair",
        ),
        ("mood", classify, text.clone(), json!({"top_k": 0}), "invalid_request", "options.top_k"),
        (
            "mood",
            classify,
            text.clone(),
            json!({"function_to_apply": "tanh"}),
            "invalid_request",
            "options.function_to_apply",
        ),
        ("mood", classify, text, json!({"warmth": 1}), "unknown_option", "options.warmth"),
        (
            "follows",
            choose,
            json!({"text": "a", "labels": ["b", " "]}),
            json!({}),
            "invalid_request",
            "inputs.labels",
        ),
        (
            "follows",
            choose,
            json!({"text": &many[..30], "labels": &many[..70]}),
            json!({}),
            "invalid_request",
            "inputs.labels",
        ),
        (
            "follows",
            choose,
            labels.clone(),
            json!({"hypothesis_template": "no place"}),
            "invalid_request",
            "options.hypothesis_template",
        ),
        (
            "follows",
            choose,
            json!({"text": "a", "labels": [long]}),
            json!({"truncate": true}),
            "input_too_long",
            "inputs.text",
        ),
        (
            "ranker",
            rank,
            json!({"query": "a", "candidates": [long]}),
            json!({}),
            "input_too_long",
            "inputs.candidates",
        ),
        ("ranker", rank, ranks.clone(), json!({"top_k": 0}), "invalid_request", "options.top_k"),
        (
            "mood",
            find,
            json!({"query": long, "candidates": ["b"]}),
            json!({}),
            "input_too_long",
            "inputs.query",
        ),
        (
            "mood",
            find,
            ranks.clone(),
            json!({"raw_scores": true}),
            "unknown_option",
            "options.raw_scores",
        ),
    ] {
        let body = json!({"model_id": format!("judges/{name}"), "task": task, "inputs": inputs, "options": options});
        let error = api.infer(&body).await.fails(422, code);
        assert_eq!(error["details"]["field"], field, "{task} {options}: {error}");
        if code == "input_too_long" {
            assert_eq!(error["details"]["limit"], 64, "{error}");
        }
    }
    for (task, inputs, missing) in [
        (classify, json!({}), json!(["text"])),
        (choose, json!({}), json!(["text", "labels"])),
        (choose, json!({"text": "a", "labels": []}), json!(["labels"])),
        (rank, json!({"candidates": ["a"]}), json!(["query"])),
        (find, json!({"query": "a"}), json!(["candidates"])),
    ] {
        let body = json!({"model_id": "judges/follows", "task": task, "inputs": inputs});
        let error = api.infer(&body).await.fails(422, "missing_inputs");
        assert_eq!(error["details"]["missing"], missing, "{task}");
    }
    // What a repository cannot do is known before anything is loaded.
    for (model_id, task, inputs) in [
        ("judges/mood", choose, labels),
        ("judges/mood", rank, ranks),
        (SENTENCES, classify, json!({"text": "a"})),
    ] {
        let body = json!({"model_id": model_id, "task": task, "inputs": inputs});
        let error = api.infer(&body).await.fails(501, "task_not_supported");
        assert_eq!(error["details"]["field"], "task", "{error}");
        assert!(!list(&error["details"]["supported"]).is_empty(), "{error}");
    }
}
