//! The page at `/`, embedded at build time; whatever else nobody answers.

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderMap, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::failure::{Code, Failure};

/// What `npm run build` made of the frontend.
#[derive(RustEmbed)]
#[folder = "../frontend/dist"]
struct Page;

/// Where programs look for an API: what isn't there is said in its own words, never with the page.
const DIALECTS: &[&str] = &["/api", "/v1", "/v2", "/models", "/pipeline", "/hf-inference"];
const INDEX: &str = "index.html";
/// Vite puts a hash of the content into the names of these.
const HASHED: &str = "assets/";
const NOT_BUILT: &str = "The page is not built into this server. Run `npm ci && npm run build` in frontend/, \
then build the control plane again. The API is at /docs.\n";

pub(super) async fn serve(request: Request) -> Response {
    let path = request.uri().path();
    if DIALECTS.iter().any(|&dialect| {
        path == dialect || path.strip_prefix(dialect).is_some_and(|rest| rest.starts_with('/'))
    }) {
        return Failure::new(Code::NotFound, format!("there is nothing at {path}")).into_response();
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let message = format!("{} is not possible on {path}", request.method());
        return Failure::new(Code::MethodNotAllowed, message).into_response();
    }
    let name = path.trim_start_matches('/');
    if let Some(file) = Page::get(name) {
        return answer(request.headers(), name, &file);
    }
    // Paths of the page's own router have no extension; a missing file is missing.
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains('.') {
        return Failure::new(Code::NotFound, format!("there is nothing at {path}")).into_response();
    }
    match Page::get(INDEX) {
        Some(index) => answer(request.headers(), INDEX, &index),
        None => (StatusCode::NOT_FOUND, NOT_BUILT).into_response(),
    }
}

fn answer(headers: &HeaderMap, name: &str, file: &EmbeddedFile) -> Response {
    let hash: String =
        file.metadata.sha256_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    let cached =
        if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag), (CACHE_CONTROL, cached.to_owned())])
            .into_response();
    }
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    let kind = if kind.type_() == mime_guess::mime::TEXT {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_string()
    };
    let headers = [(CONTENT_TYPE, kind), (ETAG, tag), (CACHE_CONTROL, cached.to_owned())];
    (headers, Body::from(file.data.clone().into_owned())).into_response()
}
