//! `zoo/sentences` through the public API computes the reference's vectors and similarities.

use serde_json::{Value, json};

use crate::harness::{
    assert_near,
    system::System,
    zoo::{self, SENTENCES, list, numbers},
};

const TOLERANCE: f64 = 1e-4;

fn embed(text: &Value, options: Value) -> Value {
    json!({"model_id": SENTENCES, "task": "feature-extraction", "inputs": {"text": text}, "options": options})
}

fn texts(expected: &Value) -> Vec<Value> {
    list(&expected["sentences"]).iter().map(|sentence| sentence["text"].clone()).collect()
}

#[tokio::test]
async fn vectors_are_the_references_alone_and_in_a_padded_batch() {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(SENTENCES);
    let batch = api.output(&embed(&json!(texts(&expected)), json!({"truncate": true}))).await;
    for (sentence, found) in list(&expected["sentences"]).iter().zip(list(&batch["batch"])) {
        let vector = numbers(&sentence["vector"]);
        assert_near("in a batch", &numbers(&found["embedding"]), &vector, TOLERANCE);
        assert_eq!(found["dim"], vector.len());
        let alone = api.output(&embed(&sentence["text"], json!({"truncate": true}))).await;
        assert_near("alone", &numbers(&alone["embedding"]), &vector, TOLERANCE);
    }
}

#[tokio::test]
async fn vectors_of_tokens_are_the_references() {
    let system = System::shared().await;
    let expected = &zoo::parity(SENTENCES)["token_vectors"];
    let options = json!({"pooling": "none", "normalize": false});
    let output = system.api().output(&embed(&expected["text"], options)).await;
    let (found, wanted) = (list(&output["tokens"]), list(&expected["vectors"]));
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_near("token", &numbers(found), &numbers(wanted), TOLERANCE);
    }
}

#[tokio::test]
async fn a_prompt_of_the_model_goes_in_front_by_its_name() {
    let system = System::shared().await;
    let api = system.api();
    let expected = &zoo::parity(SENTENCES)["query"];
    let named = embed(&expected["text"], json!({"prompt_name": expected["prompt_name"]}));
    let vector = api.output(&named).await;
    assert_near("query", &numbers(&vector["embedding"]), &numbers(&expected["vector"]), TOLERANCE);
    let unknown = embed(&expected["text"], json!({"prompt_name": "poem"}));
    let error = api.infer(&unknown).await.fails(422, "invalid_request");
    assert_eq!(error["details"]["field"], "options.prompt_name");
}

#[tokio::test]
async fn similarities_are_the_references() {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(SENTENCES);
    let texts = texts(&expected);
    for (source, wanted) in texts.iter().zip(list(&expected["similarities"])) {
        let inputs = json!({"source_sentence": source, "sentences": texts});
        let request =
            json!({"model_id": SENTENCES, "inputs": inputs, "options": {"truncate": true}});
        let output = api.output(&request).await;
        assert_near("similarity", &numbers(&output["scores"]), &numbers(wanted), TOLERANCE);
    }
    let inputs = json!({"text": texts[0], "text_pair": texts[1]});
    let pair = api
        .output(&json!({"model_id": SENTENCES, "task": "sentence-similarity", "inputs": inputs}))
        .await;
    let score = pair["score"].as_f64().expect("a number");
    assert_near("pair", &[score], &[numbers(&expected["similarities"][0])[1]], TOLERANCE);
}

#[tokio::test]
async fn every_task_streams() {
    let system = System::shared().await;
    let request = embed(&json!(["star", "circle"]), json!({"dimensions": 4}));
    let api = system.api();
    let events = api.stream(&request).await.all().await;
    let done = crate::harness::events::check_whole(&events);
    // Sums of floats depend on how many threads a step got, so two runs may differ in the last bits.
    let (streamed, whole) = (&done["result"]["task_output"], api.output(&request).await);
    for (of_stream, of_whole) in list(&streamed["batch"]).iter().zip(list(&whole["batch"])) {
        let (got, wanted) = (numbers(&of_stream["embedding"]), numbers(&of_whole["embedding"]));
        assert_near("streamed embedding", &got, &wanted, TOLERANCE);
    }
    assert_eq!(list(&streamed["batch"]).len(), 2);
    assert_eq!(streamed["batch"][0]["dim"], 4);
}
