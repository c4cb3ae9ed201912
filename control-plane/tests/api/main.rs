//! The router over a fake worker: every test speaks HTTP on one side and scripts gRPC on the other.

#![expect(clippy::unwrap_used, reason = "what surrounds tests may fail loudly too")]

#[path = "../fake_worker/mod.rs"]
mod fake_worker;

mod errors;
mod forms;
mod garbage;
mod models;
mod pictures;
mod placing;
mod streaming;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use clap::Parser;
use control_plane::{
    config::Config,
    fleet::{Address, Fleet, Link, Settings},
    http::{App, router},
};
use fake_worker::FakeWorker;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Server {
    router: Router,
    fleet: Arc<Fleet>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The code of the error, in its envelope.
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("{}", self.text)).to_owned()
    }

    /// Names and data of the events.
    fn events(&self) -> Vec<(String, Value)> {
        self.text.split("\n\n").filter_map(event_of).collect()
    }
}

/// `None` for a comment.
fn event_of(frame: &str) -> Option<(String, Value)> {
    let line = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = serde_json::from_str(line("data:")?).unwrap();
    Some((line("event:")?.to_owned(), data))
}

impl Server {
    /// Waits until every worker has been heard.
    async fn over(workers: &[&FakeWorker]) -> Self {
        Self::with(workers, &[]).await
    }

    async fn with(workers: &[&FakeWorker], flags: &[&str]) -> Self {
        let config = Config::parse_from([&["control-plane"], flags].concat());
        let addresses: Vec<Address> = workers
            .iter()
            .map(|worker| Address {
                name: worker.url.clone(),
                url: worker.url.clone(),
                token: None,
                supervision: None,
            })
            .collect();
        let settings = Settings { lost_after: config.lost_after, ..Settings::default() };
        let fleet = Fleet::connect(&addresses, settings).unwrap();
        let app = App::new(fleet.clone(), config).unwrap();
        let server = Self { router: router(&app), fleet };
        server
            .until(|fleet| fleet.workers().iter().all(|worker| worker.view().link == Link::Up))
            .await;
        server
    }

    /// Waits for the fleet to be as described.
    async fn until(&self, holds: impl Fn(&Fleet) -> bool) {
        let mut changes = self.fleet.changes();
        let waiting = async {
            while !holds(&self.fleet) {
                let _ = changes.recv().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .expect("the fleet becomes as described");
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(json_request("POST", path, body)).await
    }

    async fn infer(&self, body: &Value) -> Answer {
        self.post("/api/inference", body).await
    }
}

fn json_request(method: &str, path: &str, body: &Value) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// A prediction that the ready worker can answer.
fn story(model_id: &str) -> Value {
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}})
}
