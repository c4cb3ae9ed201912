//! Large messages and blobs, each way.

use proto::{
    BlobChunk, FeatureExtractionInputs, FeatureExtractionOptions, FeatureExtractionRequest,
    InferRequest, MAX_MESSAGE_BYTES, ModelRef, Texts, infer_event::Event, infer_request::Input,
    infer_result::Output, media::Content,
};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::{
    grpc::{best_label, picture_request},
    harness::{
        within,
        worker::{Worker, detail},
        zoo::{self, SENTENCES, SHAPES},
    },
};

const FILE_BYTES: usize = 50 << 20;
const CHUNK_BYTES: usize = 1 << 20;

fn chunks(data: &[u8], size: usize) -> Vec<BlobChunk> {
    data.chunks(size).map(|chunk| BlobChunk { data: chunk.to_vec() }).collect()
}

/// The held-out picture 00, with bytes after its end so that the file has 50 MiB.
fn large_picture() -> (Vec<u8>, String) {
    let (cases, _) = zoo::cases(SHAPES);
    let small = zoo::picture_bytes(cases[0]["file"].as_str().expect("a file"));
    let picture = image::load_from_memory(&small).expect("a picture").to_rgb8();
    let mut bytes = Vec::new();
    let format = image::ImageFormat::Bmp;
    picture.write_to(&mut std::io::Cursor::new(&mut bytes), format).expect("written");
    bytes.resize(FILE_BYTES, 0);
    (bytes, cases[0]["label"].as_str().expect("a label").to_owned())
}

#[tokio::test]
async fn a_file_of_fifty_megabytes_goes_in_by_chunks_and_is_used_by_its_id() {
    let worker = Worker::start(&[]);
    let mut client = worker.client().await;
    let (bytes, label) = large_picture();
    let sent = client.put_blob(tokio_stream::iter(chunks(&bytes, CHUNK_BYTES)));
    let receipt = within("a receipt", sent).await.expect("taken").into_inner();
    assert_eq!(receipt.bytes, FILE_BYTES as u64);
    assert!(receipt.blob_id.starts_with("sha256:") && receipt.blob_id.len() == 71, "{receipt:?}");
    assert!(receipt.ttl_ms > 0);
    for _ in 0..2 {
        let request = picture_request(Content::BlobId(receipt.blob_id.clone()));
        assert_eq!(best_label(&mut client, request).await, label);
    }
    let again = client.put_blob(tokio_stream::iter(chunks(&bytes, CHUNK_BYTES))).await;
    assert_eq!(again.expect("taken").into_inner().blob_id, receipt.blob_id);
}

#[tokio::test]
async fn a_file_of_fifty_megabytes_goes_in_as_one_message_and_one_above_the_limit_does_not() {
    let worker = Worker::start(&[]);
    let mut client = worker.client().await;
    let (bytes, label) = large_picture();
    let whole = picture_request(Content::Inline(bytes));
    // Media of that size belong into a blob, but the limit of a message is not what forbids it.
    let mut answer = client.infer(whole).await.expect("a stream").into_inner();
    loop {
        match within("an event", answer.message()).await {
            Ok(Some(event)) => {
                let Some(Event::Result(result)) = event.event else { continue };
                let Some(Output::Labels(labels)) = result.output else { panic!("{result:?}") };
                assert_eq!(labels.items[0].predictions[0].label, label);
                break;
            }
            Ok(None) => panic!("the stream ended without a result"),
            Err(status) => {
                assert_eq!(detail(&status).code, "payload_too_large", "{status:?}");
                break;
            }
        }
    }
    let unlimited = picture_request(Content::Inline(vec![0; MAX_MESSAGE_BYTES + 1024]));
    let mut client = client.max_encoding_message_size(usize::MAX);
    let refused = client.infer(unlimited).await.expect_err("above the limit");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    // The connection survives it.
    let (bytes, label) = (zoo::picture_bytes("pictures/held-out-00.png"), label);
    assert_eq!(best_label(&mut client, picture_request(Content::Inline(bytes))).await, label);
}

#[tokio::test]
async fn chunks_that_are_too_large_and_blobs_that_are_not_there_are_refused() {
    let worker = Worker::start(&[]);
    let mut client = worker.client().await;
    let sent = chunks(&vec![0; CHUNK_BYTES + 1], CHUNK_BYTES + 1);
    let refused = client.put_blob(tokio_stream::iter(sent)).await.expect_err("too large");
    assert_eq!(detail(&refused).code, "payload_too_large");
    let unknown = picture_request(Content::BlobId(format!("sha256:{}", "0".repeat(64))));
    let refused = client.infer(unknown).await.expect("a stream").into_inner().message().await;
    let detail = detail(&refused.expect_err("there is no such blob"));
    assert_eq!((detail.code.as_str(), detail.field.as_str()), ("not_found", "blob_id"));
}

#[tokio::test]
async fn an_answer_of_many_megabytes_arrives_whole() {
    // 2048 texts of some forty tokens with 96 values each: above 30 MB, where gRPC's usual limit is 4.
    const N_TEXTS: usize = 2048;
    let worker = Worker::start(&[]);
    let mut client = worker.client().await;
    let texts = Texts { items: vec!["red circle ".repeat(20); N_TEXTS], is_list: true };
    let request = InferRequest {
        model: Some(ModelRef { model_id: SENTENCES.to_owned(), revision: String::new() }),
        input: Some(Input::FeatureExtraction(FeatureExtractionRequest {
            inputs: Some(FeatureExtractionInputs { text: Some(texts) }),
            options: Some(FeatureExtractionOptions {
                pooling: Some("none".to_owned()),
                ..FeatureExtractionOptions::default()
            }),
        })),
        ..InferRequest::default()
    };
    let events = client.infer(request).await.expect("a stream").into_inner();
    let events: Vec<_> = within("all events", events.collect::<Vec<_>>()).await;
    let last = events.into_iter().last().expect("events").expect("no failure");
    let Some(Event::Result(result)) = last.event else { panic!("no result") };
    let Some(Output::Embeddings(embeddings)) = result.output else { panic!("no vectors") };
    assert_eq!(embeddings.items.len(), N_TEXTS);
    let bytes: usize = embeddings.items.iter().map(|item| item.values.len() * 4).sum();
    println!("{bytes} bytes of vectors");
    assert!((8 << 20..MAX_MESSAGE_BYTES).contains(&bytes), "{bytes}");
    let first = &embeddings.items[0];
    assert!(
        first.tokens >= 40
            && embeddings.items.iter().all(|item| item.values.len() == first.values.len())
    );
}
