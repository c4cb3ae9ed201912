//! The worker's own door: reflection, health, its token, an answer typed by hand.

use proto::{
    ImageClassificationInputs, ImageClassificationOptions, ImageClassificationRequest,
    InferRequest, Media, ModelRef, infer_event::Event, infer_request::Input, infer_result::Output,
    media::Content, worker_client::WorkerClient,
};
use tokio_stream::StreamExt;
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::harness::{
    program::Program,
    worker::{Worker, detail},
    zoo::{self, SHAPES},
};

const SERVICE: &str = "anymodel.v1.Worker";

/// A request for the held-out picture 00.
pub fn picture_request(content: Content) -> InferRequest {
    let image = Media { content: Some(content), mime_type: String::new() };
    InferRequest {
        model: Some(ModelRef { model_id: SHAPES.to_owned(), revision: String::new() }),
        input: Some(Input::ImageClassification(ImageClassificationRequest {
            inputs: Some(ImageClassificationInputs { image: Some(image) }),
            options: Some(ImageClassificationOptions::default()),
        })),
        ..InferRequest::default()
    }
}

/// The label that the stream's result puts first.
pub async fn best_label(client: &mut WorkerClient<Channel>, request: InferRequest) -> String {
    let events = client.infer(request).await.expect("a stream").into_inner();
    let events: Vec<_> = events.map(|event| event.expect("no failure")).collect().await;
    assert!(events.iter().zip(1..).all(|(event, n)| event.sequence == n), "{events:?}");
    let Some(Event::Result(result)) = events.last().and_then(|event| event.event.clone()) else {
        panic!("no result: {events:?}");
    };
    let Some(Output::Labels(labels)) = result.output else { panic!("no labels: {result:?}") };
    labels.items[0].predictions[0].label.clone()
}

#[tokio::test]
async fn reflection_of_both_versions_lists_and_describes_the_service() {
    let worker = Worker::start(&[]);
    let channel = worker.channel().await;
    macro_rules! check {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest as Ask,
                server_reflection_response::MessageResponse as Told,
            };
            let mut client = ServerReflectionClient::new(channel.clone());
            let ask =
                |ask| ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
            let asked = [
                ask(Ask::ListServices(String::new())),
                ask(Ask::FileContainingSymbol(SERVICE.to_owned())),
                ask(Ask::FileContainingSymbol("anymodel.v1.InferRequest".to_owned())),
            ];
            let answers = client.server_reflection_info(tokio_stream::iter(asked)).await;
            let answers = answers.expect("a stream").into_inner();
            let answers: Vec<_> =
                answers.map(|answer| answer.expect("fine").message_response).collect().await;
            let Some(Told::ListServicesResponse(list)) = &answers[0] else { panic!("{answers:?}") };
            let names: Vec<&str> =
                list.service.iter().map(|service| service.name.as_str()).collect();
            assert!(
                names.contains(&SERVICE) && names.contains(&"grpc.health.v1.Health"),
                "{names:?}"
            );
            for answer in &answers[1..] {
                let Some(Told::FileDescriptorResponse(files)) = answer else {
                    panic!("{answer:?}")
                };
                assert!(!files.file_descriptor_proto.is_empty());
            }
        }};
    }
    check!(v1);
    check!(v1alpha);
}

#[tokio::test]
async fn health_says_serving_until_the_worker_is_told_to_end() {
    let mut worker = Worker::start(&[]);
    let mut client = HealthClient::new(worker.channel().await);
    for service in ["", SERVICE] {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await;
        let answer = answer.expect("an answer").into_inner();
        assert_eq!(answer.status().as_str_name(), "SERVING", "{service:?}");
    }
    worker.program.terminate();
    assert!(worker.program.wait().success(), "{}", worker.program.output());
}

#[tokio::test]
async fn an_infer_by_hand_answers_with_numbered_events() {
    let worker = Worker::start(&[]);
    let mut client = worker.client().await;
    let (cases, _) = zoo::cases(SHAPES);
    let bytes = zoo::picture_bytes(cases[0]["file"].as_str().expect("a file"));
    let label = best_label(&mut client, picture_request(Content::Inline(bytes))).await;
    assert_eq!(label, cases[0]["label"].as_str().expect("a label"));

    let nothing =
        client.infer(InferRequest::default()).await.expect("a stream").into_inner().message().await;
    let status = nothing.expect_err("a request without input is refused");
    assert_eq!((status.code(), detail(&status).field.as_str()), (Code::InvalidArgument, "input"));
}

#[tokio::test]
async fn a_token_is_asked_for_on_every_call_but_not_for_health() {
    let worker = Worker::start(&["--worker-token", "open sesame"]);
    let mut client = worker.client().await;
    let request = || proto::PlanModelRequest {
        model: Some(ModelRef { model_id: SHAPES.to_owned(), revision: String::new() }),
        ..proto::PlanModelRequest::default()
    };
    let refused = client.plan_model(request()).await.expect_err("no token was sent");
    assert_eq!(
        (refused.code(), detail(&refused).code.as_str()),
        (Code::Unauthenticated, "unauthorized")
    );
    let with = |token: &str| {
        let mut request = Request::new(request());
        request.metadata_mut().insert("authorization", token.parse().expect("ASCII"));
        request
    };
    let wrong = client.plan_model(with("Bearer open Sesame")).await.expect_err("the wrong token");
    assert_eq!(wrong.code(), Code::Unauthenticated);
    let plan = client.plan_model(with("Bearer open sesame")).await.expect("the right token");
    assert_eq!(plan.into_inner().task, "image-classification");
    let health =
        HealthClient::new(worker.channel().await).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok(), "{health:?}");
    assert!(!worker.program.output().contains("sesame"), "the token is in the log");
}

#[test]
fn a_worker_beyond_loopback_without_a_token_does_not_start() {
    let mut program = Program::start("gpu-worker", |command| {
        command.args(["--listen", "0.0.0.0:0"]);
    });
    assert!(!program.wait().success());
    assert!(program.output().contains("--worker-token"), "{}", program.output());
}
