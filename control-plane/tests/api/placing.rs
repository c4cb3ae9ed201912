//! Placement over real connections: loads with victims, rejections, room, loss and retry.

use proto::status_event::Change;
use serde_json::json;
use tonic::{Code as Grpc, Status};

use crate::{
    Server,
    fake_worker::{FakeWorker, Script, Step, detail, labels, started, text},
    story,
};

fn no_room() -> Status {
    detail(Grpc::ResourceExhausted, "no_room", "", "there is no room")
}

#[tokio::test]
async fn a_model_that_needs_room_names_its_victims() {
    let script = Script { budget: 50, ..Script::ready() }.infer([started(), text("a")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let answer = server.infer(&story("org/other")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let victims = &worker.infers()[0].victims;
    assert_eq!(victims.len(), 1);
    assert_eq!((victims[0].residency_id.as_str(), victims[0].generation), ("r-org/model", 7));
    let regret = victims[0].regret.expect("the terms travel along");
    assert!(regret.regret_s > 0.0 && regret.reuse_probability < 1.0, "{regret:?}");
}

#[tokio::test]
async fn a_victim_that_changed_is_decided_again_three_times() {
    let changed = || Step::Refuse(detail(Grpc::Aborted, "in_use", "", "a victim changed"));
    let script =
        Script::ready().infer([changed()]).infer([changed()]).infer([started(), text("a")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    assert_eq!(server.infer(&story("org/model")).await.status.as_u16(), 200);
    let attempts: Vec<u32> = worker.infers().iter().map(|infer| infer.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);

    // Then it waits for a change, unless it would rather not.
    worker.script(|script| {
        script.infers.extend((0..4).map(|_| [changed()].into()));
        script.infers.push_back([started(), text("a")].into());
    });
    assert_eq!(server.infer(&story("org/model")).await.status.as_u16(), 200);
    worker.script(|script| script.infers.extend((0..4).map(|_| [changed()].into())));
    let mut impatient = story("org/model");
    impatient["run"] = json!({"wait": false});
    let given_up = server.infer(&impatient).await;
    assert_eq!((given_up.status.as_u16(), given_up.code().as_str()), (503, "no_room"));
}

#[tokio::test]
async fn what_is_pinned_is_waited_for_until_it_goes() {
    let mut pinned = Script::residency("org/model", 40);
    pinned.pinned = true;
    let script = Script { budget: 50, residencies: vec![pinned], ..Script::ready() }
        .infer([started(), text("a")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;

    let mut impatient = story("org/other");
    impatient["run"] = json!({"wait": false});
    assert_eq!(server.infer(&impatient).await.code(), "no_room");
    impatient["run"] = json!({"on_conflict": "refuse"});
    let refused = server.infer(&impatient).await;
    let details = &refused.json()["error"]["details"];
    let holder = json!({"model_id": "org/model", "bytes": 40, "state": "pinned"});
    assert_eq!((&details["holders"], &details["free_bytes"]), (&json!([holder]), &json!(10)));

    let unloading = async {
        server.until(|fleet| fleet.waiting() == 1).await;
        worker.tell(Change::ResidencyGone("r-org/model".into()));
    };
    let body = story("org/other");
    let (answer, ()) = tokio::join!(server.post("/api/inference/stream", &body), unloading);
    let names: Vec<String> = answer.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["queued", "start", "done"]);
    assert_eq!(answer.events()[0].1["reason"], "no_room");
}

#[tokio::test]
async fn room_that_the_worker_denies_is_tried_again() {
    let script = Script::ready().infer([Step::Refuse(no_room())]).infer([started(), text("a")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    assert_eq!(server.infer(&story("org/model")).await.status.as_u16(), 200);
    assert_eq!(worker.infers().len(), 2);
}

#[tokio::test]
async fn a_model_larger_than_every_budget_is_too_large() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let answer = server.infer(&story("org/huge")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "too_large"));
    assert!(!answer.headers.contains_key("retry-after"));
    let strange = server.infer(&story("org/strange")).await;
    assert_eq!(
        (strange.status.as_u16(), strange.code().as_str()),
        (501, "architecture_not_supported")
    );
}

#[tokio::test]
async fn a_loss_before_execution_is_retried_elsewhere_once() {
    let dying = Script::ready().infer([Step::Fail(Status::unavailable("reset"))]);
    let (first, _first_cancelled) = FakeWorker::start("first", dying).await;
    let (second, _second_cancelled) =
        FakeWorker::start("second", Script::ready().infer([started(), text("a")])).await;
    let server = Server::over(&[&first, &second]).await;
    let answer = server.infer(&story("org/model")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert_eq!((first.infers().len(), second.infers().len()), (1, 1));
    // The same seed, so that a retry gives the same.
    assert_eq!(first.infers()[0].seed, second.infers()[0].seed);
}

#[tokio::test]
async fn a_worker_killed_during_execution_is_worker_lost() {
    let script = Script::ready().infer([started(), Step::Hang]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::with(&[&worker], &["--lost-after", "300ms"]).await;
    let killing = async {
        while worker.infers().is_empty() {
            tokio::task::yield_now().await;
        }
        // The start event must be under way before the end.
        server.until(|fleet| fleet.workers()[0].in_flight() == 1).await;
        worker.kill();
    };
    let body = story("org/model");
    let (answer, ()) = tokio::join!(server.infer(&body), killing);
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.text);
    assert!(["worker_lost", "no_worker"].contains(&answer.code().as_str()));
}

#[tokio::test]
async fn large_media_go_ahead_as_a_blob() {
    use base64::Engine;

    let script = Script::ready().infer([started(), labels()]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let picture = base64::prelude::BASE64_STANDARD.encode(vec![7_u8; 3 << 20]);
    let body = json!({"model_id": "org/model", "task": "image-classification", "inputs": {"image_base64": picture}});
    let answer = server.infer(&body).await;
    assert_eq!(
        answer.json()["result"]["task_output"]["predictions"][0]["label"],
        "red circle",
        "{}",
        answer.text
    );
    assert_eq!(worker.blobs(), [3 << 20]);
    let Some(proto::infer_request::Input::ImageClassification(request)) =
        worker.infers()[0].input.clone()
    else {
        panic!("another task");
    };
    let image = request.inputs.unwrap().image.unwrap();
    assert_eq!(image.content, Some(proto::media::Content::BlobId("sha256:fake".into())));
}
