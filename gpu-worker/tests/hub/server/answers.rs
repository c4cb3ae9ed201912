//! The answers themselves: facts, lists of files, contents with ranges, and the ways in which they go wrong.

use std::{io, sync::Arc, sync::Mutex};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use futures::{StreamExt, stream, stream::BoxStream};
use serde_json::{Value, json};

use super::{Fault, HubFile, Shared, World, empty, note};

const PAGE: usize = 2;

pub(super) async fn hub(
    State(world): Shared,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut world = world.lock().unwrap();
    note(&mut world, &uri, &headers, false);
    let path = uri.path();
    if let Some(rest) = path.strip_prefix("/api/models/") {
        let (model, kind, revision) = if let Some((model, revision)) = rest.split_once("/revision/")
        {
            (model, "info", revision)
        } else if let Some((model, revision)) = rest.split_once("/tree/") {
            (model, "tree", revision)
        } else {
            (rest, "info", "main")
        };
        return match world.fault(kind) {
            Some(Fault::Status(status, code, retry_after)) => failure(status, code, retry_after),
            _ => api(&world, model, kind, revision, uri.query().unwrap_or_default()),
        };
    }
    let Some((model, rest)) = path.split_once("/resolve/") else { return empty(404, &[]) };
    let (revision, name) = rest.split_once('/').unwrap_or((rest, ""));
    let Some((commit, files)) = world.models.get(&model[1..]) else {
        return failure(401, Some("RepoNotFound"), None);
    };
    if revision != commit && revision != "main" {
        return failure(404, Some("RevisionNotFound"), None);
    }
    let Some(file) = files.get(name).cloned() else {
        return failure(404, Some("EntryNotFound"), None);
    };
    let commit = commit.clone();
    if method == Method::HEAD {
        return empty(200, &facts(&file, &commit));
    }
    let fault = world.fault(name);
    if let Some(Fault::Status(status, code, retry_after)) = fault {
        return failure(status, code, retry_after);
    }
    if file.lfs {
        if let Some(fault) = fault {
            world.faults.entry(file.etag()).or_default().push_back(fault);
        }
        let mut headers = facts(&file, &commit);
        headers
            .push(("location", format!("{}/blob/{}?signature=secret", world.storage, file.etag())));
        return empty(302, &headers);
    }
    content(&file, &headers, fault, &facts(&file, &commit))
}

/// The host to which LFS files are redirected.
pub(super) async fn storage(
    State(world): State<Arc<Mutex<World>>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut world = world.lock().unwrap();
    note(&mut world, &uri, &headers, true);
    let etag = uri.path().trim_start_matches("/blob/").to_owned();
    let fault = world.fault(&etag);
    let files = world.models.values().flat_map(|(_, files)| files.values());
    match files.into_iter().find(|file| file.etag() == etag) {
        Some(file) => content(file, &headers, fault, &[]),
        None => empty(404, &[]),
    }
}

fn api(world: &World, model: &str, kind: &str, revision: &str, query: &str) -> Response {
    let Some((commit, files)) = world.models.get(model) else {
        return failure(401, Some("RepoNotFound"), None);
    };
    if revision != commit && revision != "main" && revision != "refs%2Fpr%2F1" {
        return failure(404, Some("RevisionNotFound"), None);
    }
    if kind == "info" {
        let facts = json!({"_id": "1", "id": model, "sha": commit, "pipeline_tag": "fill-mask", "library_name": "x"});
        return answer(&facts, None);
    }
    let entry = |(path, file): (&String, &HubFile)| {
        let size = file.content.len();
        match file.lfs {
            false => json!({"type": "file", "oid": file.etag(), "size": size, "path": path}),
            true => json!({"type": "file", "oid": "f".repeat(40), "size": size, "path": path,
                "lfs": {"oid": file.etag(), "size": size, "pointerSize": 134}}),
        }
    };
    let mut entries: Vec<Value> = files.iter().map(entry).collect();
    entries.insert(
        0,
        json!({"type": "directory", "oid": "d".repeat(40), "size": 0, "path": "folder"}),
    );
    let page: usize =
        query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
    let next = (entries.len() > (page + 1) * PAGE).then(|| {
        format!(
            "</api/models/{model}/tree/{revision}?recursive=true&cursor={}>; rel=\"next\"",
            page + 1
        )
    });
    let entries: Vec<Value> = entries.into_iter().skip(page * PAGE).take(PAGE).collect();
    answer(&json!(entries), next)
}

fn answer(value: &Value, link: Option<String>) -> Response {
    let mut builder = Response::builder().header("content-type", "application/json");
    if let Some(link) = link {
        builder = builder.header("link", link);
    }
    builder.body(Body::from(value.to_string())).unwrap()
}

fn failure(status: u16, code: Option<&str>, retry_after: Option<&str>) -> Response {
    let named = [("x-error-code", code), ("retry-after", retry_after)];
    let headers: Vec<_> =
        named.iter().filter_map(|(name, value)| Some((*name, (*value)?.to_owned()))).collect();
    let mut response = empty(status, &headers);
    *response.body_mut() = Body::from("<html>an error page</html>");
    response
}

fn facts(file: &HubFile, commit: &str) -> Vec<(&'static str, String)> {
    let etag = format!("\"{}\"", file.etag());
    let mut headers = vec![("x-repo-commit", commit.to_owned())];
    if file.lfs {
        headers
            .extend([("x-linked-etag", etag), ("x-linked-size", file.content.len().to_string())]);
    } else {
        headers.push(("etag", etag));
    }
    headers
}

/// A file's bytes, from where the request wants them.
fn content(
    file: &HubFile,
    headers: &HeaderMap,
    fault: Option<Fault>,
    extra: &[(&'static str, String)],
) -> Response {
    let size = file.content.len();
    let range = headers.get("range").filter(|_| !matches!(fault, Some(Fault::IgnoreRange)));
    let (status, start, end) =
        match range.and_then(|range| range.to_str().unwrap().strip_prefix("bytes=")) {
            None => (200, 0, size),
            Some(range) => {
                let (start, end) = range.split_once('-').unwrap();
                let end = end.parse::<usize>().map_or(size, |last| (last + 1).min(size));
                (206, start.parse().unwrap(), end)
            }
        };
    if start >= size && status == 206 {
        return empty(416, &[("content-range", format!("bytes */{size}"))]);
    }
    let mut builder = Response::builder().status(status).header("content-length", end - start);
    for (name, value) in extra {
        builder = builder.header(*name, value);
    }
    if status == 206 {
        builder = builder.header("content-range", format!("bytes {start}-{}/{size}", end - 1));
    }
    builder.body(Body::from_stream(body(file.content[start..end].to_vec(), fault))).unwrap()
}

fn body(mut bytes: Vec<u8>, fault: Option<Fault>) -> BoxStream<'static, io::Result<Bytes>> {
    let whole = |bytes: Vec<u8>| stream::iter([Ok(Bytes::from(bytes))]);
    match fault {
        Some(Fault::DropAfter(count)) => {
            bytes.truncate(count);
            whole(bytes).chain(stream::iter([Err(io::Error::other("dropped"))])).boxed()
        }
        Some(Fault::FlipByte) => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            whole(bytes).boxed()
        }
        Some(Fault::Trickle(pause)) => stream::iter(bytes)
            .then(move |byte| async move {
                tokio::time::sleep(pause).await;
                Ok(Bytes::from(vec![byte]))
            })
            .boxed(),
        Some(Fault::Hang) => {
            bytes.truncate(bytes.len() / 2);
            whole(bytes).chain(stream::pending()).boxed()
        }
        Some(Fault::HoldUntil(gate)) => {
            let rest = bytes.split_off(bytes.len() / 2);
            let held = stream::once(async move {
                gate.notified().await;
                Ok(Bytes::from(rest))
            });
            whole(bytes).chain(held).boxed()
        }
        Some(Fault::Status(..) | Fault::IgnoreRange) | None => whole(bytes).boxed(),
    }
}
