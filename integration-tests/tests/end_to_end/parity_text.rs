//! `zoo/storyteller` through the public API says exactly what the reference says.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    assert_near,
    events::{check_whole, joined},
    system::System,
    zoo::{self, STORYTELLER, list},
};

/// A greedy request for a case of `parity.json`.
fn greedy(case: &Value, max_new_tokens: &Value) -> Value {
    let inputs = match case.get("messages") {
        Some(messages) => json!({"messages": messages}),
        None => json!({"text": case["prompt"]}),
    };
    let options = json!({"do_sample": false, "max_new_tokens": max_new_tokens});
    json!({"model_id": STORYTELLER, "task": "text-generation", "inputs": inputs, "options": options})
}

fn assert_is(output: &Value, case: &Value) {
    assert_eq!(output["text"], case["greedy_text"], "{case}");
    let tokens = |name: &str| list(&case[name]).len();
    assert_eq!(output["generated_tokens"], tokens("greedy_ids"), "{case}");
    if case.get("prompt_ids").is_some() {
        assert_eq!(output["prompt_tokens"], tokens("prompt_ids"), "{case}");
    }
}

#[tokio::test]
async fn greedy_texts_are_the_references_one_by_one_and_all_at_once() {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(STORYTELLER);
    let cases = list(&expected["cases"]);
    let length = &expected["max_new_tokens"];
    for case in cases {
        assert_is(&api.output(&greedy(case, length)).await, case);
    }
    let requests: Vec<Value> = cases.iter().map(|case| greedy(case, length)).collect();
    let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
    for (output, case) in outputs.iter().zip(cases) {
        assert_is(output, case);
    }
}

#[tokio::test]
async fn a_story_goes_to_its_end() {
    let system = System::shared().await;
    let expected = zoo::parity(STORYTELLER);
    let case = &expected["story_to_its_end"];
    let output = system.api().output(&greedy(case, &json!(200))).await;
    assert_is(&output, case);
    assert_eq!(output["finish_reason"], "stop");
    let message = json!({"role": "assistant", "content": case["greedy_text"]});
    assert_eq!(output["message"], message);
}

#[tokio::test]
async fn streamed_tokens_put_together_are_the_text() {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(STORYTELLER);
    for case in list(&expected["cases"]) {
        let request = greedy(case, &expected["max_new_tokens"]);
        let events = api.stream(&request).await.all().await;
        let done = check_whole(&events);
        assert_is(&done["result"]["task_output"], case);
        assert_eq!(joined(&events, 0), case["greedy_text"].as_str().expect("a text"));
        let tokens: Vec<_> = events.iter().filter(|event| event.name == "token").collect();
        let ids: Vec<&Value> = tokens.iter().map(|event| &event.data["token_id"]).collect();
        // The end of text may come as a token without text, or not at all.
        let expected_ids: Vec<&Value> = list(&case["greedy_ids"]).iter().collect();
        assert!(expected_ids.starts_with(&ids) && ids.len() + 1 >= expected_ids.len(), "{ids:?}");
        assert!(tokens.iter().zip(0..).all(|(event, index)| event.data["index"] == index));
        let start = events.iter().find(|event| event.name == "start").expect("checked");
        assert_eq!(start.data["model_id"], STORYTELLER);
        assert_eq!(start.data["prompt_tokens"], list(&case["prompt_ids"]).len());
        assert_eq!(done["tokens"], expected_ids.len());
        assert!(done["first_token_latency_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{done}");
        assert!(done["tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{done}");
    }
}

#[tokio::test]
async fn a_stream_by_query_parameters_says_the_same() {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(STORYTELLER);
    let case = &list(&expected["cases"])[0];
    let prompt = case["prompt"].as_str().expect("a text").replace(' ', "%20");
    let query = format!(
        "model_id={STORYTELLER}&prompt={prompt}&do_sample=false&max_new_tokens={}",
        expected["max_new_tokens"]
    );
    let path = format!("/api/inference/stream?{query}");
    let request = api.request(reqwest::Method::GET, &path);
    let events = api.events(request).await.all().await;
    assert_is(&check_whole(&events)["result"]["task_output"], case);
    // A browser that reconnects by itself never starts the work again.
    let again = api.request(reqwest::Method::GET, "/api/inference/stream?model_id=zoo/storyteller");
    let again = again.header("last-event-id", "3").send().await.expect("an answer");
    assert_eq!(again.status(), 204);
}

#[tokio::test]
async fn logarithms_of_probabilities_differ_as_the_references_logits_do() {
    let system = System::shared().await;
    let api = system.api();
    for case in list(&zoo::parity(STORYTELLER)["cases"]) {
        let mut request = greedy(case, &json!(1));
        let n_top = list(&case["top_ids"]).len();
        request["options"]["logprobs"] = json!(n_top);
        let output = api.output(&request).await;
        let chosen = &output["logprobs"][0];
        assert_eq!(chosen["token_id"], case["greedy_ids"][0]);
        let top = list(&chosen["top"]);
        let ids: Vec<&Value> = top.iter().map(|token| &token["token_id"]).collect();
        assert_eq!(ids, list(&case["top_ids"]).iter().collect::<Vec<_>>());
        let from_first = |values: Vec<f64>| values.iter().map(|value| value - values[0]).collect();
        let found: Vec<f64> =
            top.iter().map(|token| token["logprob"].as_f64().expect("a number")).collect();
        assert!(found.iter().map(|logprob| logprob.exp()).sum::<f64>() <= 1.0 + 1e-6, "{found:?}");
        let (found, logits): (Vec<f64>, Vec<f64>) =
            (from_first(found), from_first(zoo::numbers(&case["top_logits"])));
        assert_near("logprobs", &found, &logits, 1e-4);
    }
}
