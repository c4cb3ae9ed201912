//! Allocations that fail for real: the request hears of it, and the worker lives on.

use proto::{
    InferRequest, ModelRef, TextGenerationInputs, TextGenerationOptions, TextGenerationRequest,
    infer_event::Event, infer_request::Input,
};
use tonic::Status;

use crate::harness::{
    models::{SLOW, TINY},
    signals, within,
    worker::{Worker, detail},
};

fn ask(model_id: &str) -> InferRequest {
    let options =
        TextGenerationOptions { max_new_tokens: Some(2), ..TextGenerationOptions::default() };
    let inputs = TextGenerationInputs { text: Some("Once".to_owned()), messages: Vec::new() };
    InferRequest {
        model: Some(ModelRef { model_id: model_id.to_owned(), revision: String::new() }),
        input: Some(Input::TextGeneration(TextGenerationRequest {
            inputs: Some(inputs),
            options: Some(options),
        })),
        ..InferRequest::default()
    }
}

async fn answer(worker: &Worker, model_id: &str) -> Result<(), Status> {
    let mut events = worker.client().await.infer(ask(model_id)).await?.into_inner();
    loop {
        match within("an event", events.message()).await?.expect("an end").event {
            Some(Event::Result(_)) => return Ok(()),
            _ => continue,
        }
    }
}

#[tokio::test]
async fn a_load_that_finds_no_memory_fails_with_its_reason_and_small_models_still_run() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    TINY.write(hub.path(), "it/tiny");
    let worker = Worker::start(&["--hub", hub.path().to_str().expect("UTF-8")]);
    answer(&worker, "it/tiny").await.expect("it runs");
    // Enough for threads and small tensors, not for 130 MB of weights.
    signals::limit_data(worker.program.pid(), 40 << 20);
    let status = answer(&worker, "it/slow").await.expect_err("there is no memory");
    assert_eq!(detail(&status).code, "out_of_memory", "{status:?}");
    answer(&worker, "it/tiny").await.expect("it lives on");
    // Until its pause is over the failure is told again, with the time of the next try.
    let again = detail(&answer(&worker, "it/slow").await.expect_err("it cools down"));
    assert_eq!(again.code, "out_of_memory");
    assert!(again.retry_after_ms.is_some_and(|after| after > 0 && after <= 5_000), "{again:?}");
    assert!(again.facts.iter().any(|fact| fact.name == "retry_at"), "{again:?}");

    signals::unlimit_data(worker.program.pid());
    tokio::time::sleep(std::time::Duration::from_millis(again.retry_after_ms.unwrap_or(0) + 50))
        .await;
    answer(&worker, "it/slow").await.expect("with memory it runs");
}
