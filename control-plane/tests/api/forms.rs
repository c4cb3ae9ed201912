//! Predictions as `multipart/form-data`: files without base64, and every way to get a form wrong.

use std::convert::Infallible;

use axum::{body::Body, http::Request};
use bytes::Bytes;
use futures::stream;
use proto::{infer_request::Input, media::Content};
use serde_json::{Value, json};

use crate::{
    Answer, Server,
    fake_worker::{FakeWorker, Script, labels, started, text},
    story,
};

const PATH: &str = "/api/inference";
const END: &str = "--edge--\r\n";

fn part(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\nContent-Type: image/png\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn spec(spec: &Value) -> Vec<u8> {
    part("spec", spec.to_string().as_bytes())
}

fn picture_spec() -> Value {
    json!({"model_id": "org/model", "task": "image-classification", "options": {"top_k": 1}})
}

fn form(path: &str, parts: &[Vec<u8>]) -> Request<Body> {
    request(path, [parts.concat(), END.as_bytes().to_vec()].concat().into())
}

fn request(path: &str, body: Body) -> Request<Body> {
    let kind = "multipart/form-data; boundary=edge";
    Request::post(path).header("content-type", kind).body(body).unwrap()
}

async fn send(server: &Server, parts: &[Vec<u8>]) -> Answer {
    server.send(form(PATH, parts)).await
}

/// What the worker got as picture.
fn content(worker: &FakeWorker) -> Option<Content> {
    match worker.infers().pop()?.input? {
        Input::ImageClassification(request) => request.inputs?.image?.content,
        _ => None,
    }
}

#[tokio::test]
async fn a_file_arrives_byte_for_byte_in_any_order_of_parts() {
    // Line ends and half a boundary are content.
    let picture = b"\x89PNG\r\n--edg\r\n\x00\xff--edge".to_vec();
    let script = Script::ready().infer([started(), labels()]).infer([started(), labels()]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let (spec, image) = (spec(&picture_spec()), file("image", &picture));
    for parts in [[spec.clone(), image.clone()], [image.clone(), spec.clone()]] {
        let answer = send(&server, &parts).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
        assert_eq!(answer.json()["result"]["task_output"]["predictions"][0]["label"], "red circle");
        assert_eq!(content(&worker), Some(Content::Inline(picture.clone())));
    }
}

#[tokio::test]
async fn a_large_file_goes_ahead_as_a_blob() {
    let script = Script::ready().infer([started(), labels()]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::with(&[&worker], &["--body-limit", "1MiB"]).await;
    let body =
        [spec(&picture_spec()), file("image", &vec![b'\r'; 5 << 20]), END.as_bytes().to_vec()]
            .concat();
    // In pieces, as a socket brings them.
    let pieces: Vec<Result<Bytes, Infallible>> =
        body.chunks(60_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let answer = server.send(request(PATH, Body::from_stream(stream::iter(pieces)))).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert_eq!(worker.blobs(), [5 << 20]);
    assert_eq!(content(&worker), Some(Content::BlobId("sha256:fake".into())));
}

#[tokio::test]
async fn a_form_streams_too_and_needs_no_file() {
    let script = Script::ready().infer([started(), text("upon")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let answer = server.send(form("/api/inference/stream", &[spec(&story("org/model"))])).await;
    let names: Vec<String> = answer.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["start", "done"], "{}", answer.text);
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_named() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let picture = || spec(&picture_spec());
    let both = {
        let mut both = picture_spec();
        both["inputs"] = json!({"image_base64": "aGk="});
        spec(&both)
    };
    let image = || file("image", b"hi");
    for (parts, status, code, field) in [
        (vec![image()], 422, "invalid_request", "spec"),
        (vec![], 422, "invalid_request", "spec"),
        (vec![picture(), picture()], 422, "invalid_request", "spec"),
        (vec![picture(), image(), image()], 422, "invalid_request", "image"),
        (vec![picture(), file("picture", b"hi")], 422, "invalid_request", "picture"),
        (vec![picture(), file("audio", b"hi")], 422, "invalid_request", "audio"),
        (vec![spec(&story("org/model")), image()], 422, "invalid_request", "image"),
        (vec![both, image()], 422, "invalid_request", "inputs.image_base64"),
        (vec![picture(), file("image", b"")], 400, "invalid_media", "image"),
        (vec![part("spec", b"{"), image()], 400, "invalid_json", "spec"),
        (vec![part("spec", b"{\"a\": \"\xff\"}"), image()], 400, "invalid_json", "spec"),
        (vec![part("spec", b""), image()], 400, "invalid_json", "spec"),
        (vec![part("spec", b"{\"priority\": NaN}")], 422, "invalid_request", "priority"),
        (vec![part("spec", b"[]"), image()], 422, "invalid_request", "body"),
    ] {
        let answer = send(&server, &parts).await;
        let sent = String::from_utf8_lossy(&parts.concat()).into_owned();
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{sent}\n{}",
            answer.text
        );
        assert_eq!(answer.json()["error"]["details"]["field"], field, "{sent}\n{}", answer.text);
    }
    let missing = send(&server, &[picture()]).await;
    assert_eq!(missing.json()["error"]["details"]["missing"], json!(["image_base64"]));
    assert!(worker.infers().is_empty());
}

#[tokio::test]
async fn a_form_that_breaks_off_or_is_none_is_refused() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let whole = [spec(&picture_spec()), file("image", b"hi")].concat();
    let nameless = b"--edge\r\nContent-Type: text/plain\r\n\r\nhi\r\n--edge--\r\n".to_vec();
    let endless = [b"--edge\r\nX: ".to_vec(), vec![b'a'; 3 << 20]].concat();
    for body in [
        Vec::new(),
        b"not a form".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        whole.clone(),
        nameless,
        endless,
    ] {
        let pieces: Vec<Result<Bytes, Infallible>> =
            body.chunks(60_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let answer = server.send(request(PATH, Body::from_stream(stream::iter(pieces)))).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (422, "invalid_request"),
            "{}",
            answer.text
        );
        assert_eq!(answer.json()["error"]["details"]["field"], "body");
    }
}

#[tokio::test]
async fn the_whole_form_and_its_spec_have_limits() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let flags = ["--body-limit", "1000", "--multipart-limit", "3000"];
    let server = Server::with(&[&worker], &flags).await;
    let large = send(&server, &[spec(&picture_spec()), file("image", &[7; 4000])]).await;
    assert_eq!((large.status.as_u16(), large.code().as_str()), (413, "payload_too_large"));
    assert_eq!(large.json()["error"]["details"]["limit"], 3000);
    let padded = [picture_spec().to_string().into_bytes(), vec![b' '; 2000]].concat();
    let long = send(&server, &[part("spec", &padded), file("image", b"hi")]).await;
    assert_eq!((long.status.as_u16(), long.code().as_str()), (413, "payload_too_large"));
    let details = &long.json()["error"]["details"];
    assert_eq!((&details["limit"], &details["field"]), (&1000.into(), &"spec".into()));
}

#[tokio::test]
async fn bodies_of_another_type_or_of_none_are_unsupported() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let body = story("org/model").to_string();
    for (path, kind, supported) in [
        (PATH, Some("text/plain"), json!(["application/json", "multipart/form-data"])),
        (PATH, None, json!(["application/json", "multipart/form-data"])),
        ("/api/inference/stream", None, json!(["application/json", "multipart/form-data"])),
        (
            PATH,
            Some("multipart/mixed; boundary=edge"),
            json!(["application/json", "multipart/form-data"]),
        ),
        (PATH, Some("multipart/form-data"), Value::Null),
        (
            "/api/models/load",
            Some("multipart/form-data; boundary=edge"),
            json!(["application/json"]),
        ),
    ] {
        let request = Request::post(path);
        let request = match kind {
            Some(kind) => request.header("content-type", kind),
            None => request,
        };
        let answer = server.send(request.body(Body::from(body.clone())).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (415, "unsupported_media_type"),
            "{path} {kind:?}"
        );
        assert_eq!(answer.json()["error"]["details"]["supported"], supported, "{path} {kind:?}");
    }
}
