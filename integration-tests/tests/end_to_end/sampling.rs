//! Options of text generation, seen from outside: seeds, several choices, stop strings, lengths.

use serde_json::{Value, json};

use crate::harness::{
    events::{check_whole, joined},
    system::System,
    zoo::{STORYTELLER, list},
};

fn request(options: Value) -> Value {
    json!({"model_id": STORYTELLER, "inputs": {"text": "Once there was"}, "options": options})
}

#[tokio::test]
async fn a_seed_gives_the_same_text_again_and_another_seed_another() {
    let system = System::shared().await;
    let api = system.api();
    let sampled = |seed: u64| {
        request(json!({"max_new_tokens": 40, "do_sample": true, "temperature": 1.5, "seed": seed}))
    };
    let first = api.infer(&sampled(7)).await.ok();
    let again = api.infer(&sampled(7)).await.ok();
    let other = api.output(&sampled(8)).await;
    assert_eq!(first["result"]["task_output"], again["result"]["task_output"]);
    assert_eq!(first["result"]["metadata"]["seed"], 7);
    assert_ne!(first["result"]["task_output"]["text"], other["text"]);
    // A seed that the server drew gives the same text when it is asked for.
    let drawn = api.infer(&request(json!({"max_new_tokens": 20, "do_sample": true}))).await.ok();
    let seed = drawn["result"]["metadata"]["seed"].as_u64().expect("a seed");
    let repeated = request(json!({"max_new_tokens": 20, "do_sample": true, "seed": seed}));
    assert_eq!(drawn["result"]["task_output"], api.output(&repeated).await);
}

#[tokio::test]
async fn a_seed_holds_whatever_else_runs() {
    let system = System::shared().await;
    let api = system.api();
    let sampled = request(json!({"max_new_tokens": 30, "do_sample": true, "seed": 11}));
    let alone = api.output(&sampled).await;
    let crowd = (0..6).map(|_| api.output(&sampled));
    for output in futures::future::join_all(crowd).await {
        assert_eq!(output, alone);
    }
}

#[tokio::test]
async fn two_choices_are_two_texts_whose_tokens_say_whose_they_are() {
    let system = System::shared().await;
    let options =
        json!({"max_new_tokens": 24, "n": 2, "do_sample": true, "temperature": 1.5, "seed": 3});
    let events = system.api().stream(&request(options)).await.all().await;
    let done = check_whole(&events);
    let choices = list(&done["result"]["task_output"]["choices"]).to_vec();
    assert_eq!(choices.len(), 2);
    assert_ne!(choices[0]["text"], choices[1]["text"]);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(joined(&events, index as u64), choice["text"].as_str().expect("a text"));
    }
}

#[tokio::test]
async fn a_stop_string_ends_the_text_in_front_of_it_and_none_of_it_is_streamed() {
    let system = System::shared().await;
    let api = system.api();
    let greedy = request(json!({"do_sample": false, "max_new_tokens": 40}));
    let whole = api.output(&greedy).await;
    let whole = whole["text"].as_str().expect("a text");
    let stop = "triangle wanted";
    let (before, _) = whole.split_once(stop).expect("the story begins as expected");
    let stopped = request(json!({"do_sample": false, "max_new_tokens": 40, "stop": [stop]}));
    let events = api.stream(&stopped).await.all().await;
    let output = check_whole(&events)["result"]["task_output"].take();
    assert_eq!(
        (&output["text"], &output["finish_reason"]),
        (&json!(before), &json!("stop_string"))
    );
    assert_eq!(joined(&events, 0), before);
}

#[tokio::test]
async fn lengths_prompts_and_echoes_are_as_asked_for() {
    let system = System::shared().await;
    let api = system.api();
    let mut asked =
        request(json!({"do_sample": false, "max_new_tokens": 3, "return_full_text": true}));
    asked["input_type"] = json!("text");
    asked["intent_id"] = json!("write");
    let answer = api.infer(&asked).await.ok();
    let output = &answer["result"]["task_output"];
    assert_eq!(
        (&output["generated_tokens"], &output["finish_reason"]),
        (&json!(3), &json!("length"))
    );
    assert!(
        output["text"].as_str().is_some_and(|text| text.starts_with("Once there was ")),
        "{output}"
    );
    assert_eq!(answer["result"]["echo"], json!({"input_type": "text", "intent_id": "write"}));
    // Absent: told from the repository.
    assert_eq!(answer["result"]["task"], "text-generation");
    let metadata = &answer["result"]["metadata"];
    assert_eq!(metadata["resolved_model_id"], STORYTELLER);
    assert_eq!((&metadata["backend"], &metadata["device"]), (&json!("torch"), &json!("cpu")));
    assert_eq!(metadata["architecture"], "llama");
    assert!(answer["runtime_ms"].as_f64() >= metadata["runtime_ms_model"].as_f64(), "{answer}");
    assert!(answer["error"].is_null());
}

#[tokio::test]
async fn beams_and_forbidden_repetitions_write_what_the_reference_writes() {
    let system = System::shared().await;
    let api = system.api();
    let begin = " a small yellow triangle. The yellow triangle wanted to be fast. Its neighbour was a small";
    let beams = request(json!({"do_sample": false, "num_beams": 3, "n": 2, "max_new_tokens": 24}));
    let output = api.output(&beams).await;
    let texts: Vec<&Value> =
        list(&output["choices"]).iter().map(|choice| &choice["text"]).collect();
    let ends = [" red circle. \"Who is", " blue circle. \"Who is"];
    assert_eq!(texts, ends.map(|end| json!(format!("{begin}{end}"))).iter().collect::<Vec<_>>());
    let events = api.stream(&beams).await.all().await;
    assert_eq!(check_whole(&events)["result"]["task_output"], output);
    let named = |name: &str| events.iter().filter(|event| event.name == name).count();
    assert!(named("token") == 0 && named("progress") > 0);

    let runs =
        request(json!({"do_sample": false, "no_repeat_ngram_size": 2, "max_new_tokens": 30}));
    let expected = " a small yellow triangle. The yellow star wanted to be fast. Its neighbour was an name was. \
                    \"Who is faster?\" asked the yellow square.";
    assert_eq!(api.output(&runs).await["text"], expected);
    let both = json!({
        "do_sample": false, "num_beams": 4, "no_repeat_ngram_size": 3, "repetition_penalty": 1.1, "max_new_tokens": 60,
    });
    let expected = " a small yellow star. The yellow star wanted to be fast. Its neighbour was a large red square. \
                    \"Who is faster?\" asked the yellow star did not red square was heard on the yellow square. \
                    In the end both came in at the same time. From that day on they were friends.";
    assert_eq!(api.output(&request(both)).await["text"], expected);
}

#[tokio::test]
async fn what_beams_cannot_do_is_refused_by_name() {
    let system = System::shared().await;
    for (options, field) in [
        (json!({"num_beams": 2, "do_sample": true}), "do_sample"),
        (json!({"num_beams": 2, "do_sample": false, "stop": ["."]}), "stop"),
        (json!({"num_beams": 2, "do_sample": false, "logprobs": 1}), "logprobs"),
        (json!({"num_beams": 2, "do_sample": false, "n": 3}), "n"),
    ] {
        let error = system.api().infer(&request(options)).await.fails(422, "invalid_request");
        assert_eq!(error["details"]["field"], format!("options.{field}"));
    }
}
