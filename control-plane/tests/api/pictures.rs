//! Pictures that a worker made: in the result, or in chunks ahead of it.

use proto::{
    ImagesOutput, InferResult, MadeImage, Media, MediaChunk, ProgressEvent, ResultMetadata,
    infer_event::Event, infer_result::Output, media::Content,
};
use serde_json::{Value, json};

use crate::{
    Server,
    fake_worker::{FakeWorker, Script, Step, event, started},
};

fn chunk(output_index: u32, data: &[u8]) -> Step {
    event(Event::MediaChunk(MediaChunk { output_index, data: data.to_vec() }))
}

fn result(contents: Vec<Content>) -> Step {
    let image = |content| {
        let image = Media { content: Some(content), mime_type: "image/png".into() };
        MadeImage { image: Some(image), width: 2, height: 3, is_refused: None }
    };
    let images = contents.into_iter().map(image).collect();
    let output = Some(Output::Images(ImagesOutput { images, notices: Vec::new() }));
    event(Event::Result(InferResult { metadata: Some(ResultMetadata::default()), output }))
}

fn request() -> Value {
    json!({"model_id": "org/model", "task": "image-super-resolution", "inputs": {"image_base64": "aGk="}})
}

async fn serve(steps: Vec<Step>) -> (Server, FakeWorker) {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready().infer(steps)).await;
    (Server::with(&[&worker], &[]).await, worker)
}

#[tokio::test]
async fn chunks_and_small_pictures_are_one_answer() {
    let steps = vec![
        started(),
        chunk(0, b"la"),
        chunk(0, b"rge"),
        result(vec![Content::Inline(b"small".to_vec()), Content::Chunked(0)]),
    ];
    let (server, _worker) = serve(steps).await;
    let answer = server.infer(&request()).await;
    let shape = |base64: &str| json!({"image_base64": format!("data:image/png;base64,{base64}"), "width": 2, "height": 3});
    let images = json!({"images": [shape("c21hbGw="), shape("bGFyZ2U=")]});
    assert_eq!(answer.json()["result"]["task_output"], images);
}

#[tokio::test]
async fn chunks_that_do_not_fit_are_failures() {
    let inline = || Content::Inline(b"a".to_vec());
    for steps in [
        vec![started(), chunk(1, b"a"), result(vec![inline()])],
        vec![started(), result(vec![Content::Chunked(0)])],
        vec![started(), result(Vec::new())],
        vec![chunk(0, b"a"), started(), result(vec![inline()])],
    ] {
        let (server, _worker) = serve(steps).await;
        let answer = server.infer(&request()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (500, "inference_failed"));
    }
}

#[tokio::test]
async fn a_picture_is_needed_and_its_options_are_known() {
    let (server, _worker) = serve(Vec::new()).await;
    for task in ["image-super-resolution", "image-restoration"] {
        let mut body = request();
        body["task"] = json!(task);
        body["options"] = json!({"strength": 1});
        let answer = server.infer(&body).await;
        assert_eq!(answer.code(), "unknown_option");
        body["inputs"] = json!({});
        assert_eq!(server.infer(&body).await.code(), "missing_inputs");
    }
}

#[tokio::test]
async fn progress_goes_on_as_it_comes() {
    let progress = |step| {
        let percent = 50.0 * f64::from(step);
        event(Event::Progress(ProgressEvent {
            step,
            total_steps: 2,
            percent,
            ..Default::default()
        }))
    };
    let steps =
        vec![started(), progress(1), progress(2), result(vec![Content::Inline(b"a".to_vec())])];
    let (server, _worker) = serve(steps).await;
    let answer = server.post("/api/inference/stream", &request()).await;
    let names: Vec<String> = answer.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["start", "progress", "progress", "done"]);
}
