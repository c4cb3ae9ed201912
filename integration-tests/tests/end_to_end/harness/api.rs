//! A client of the HTTP API whose answers are looked at as JSON.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

use super::{events::Events, within};

/// Talks to one control plane.
pub struct Api {
    client: Client,
    base: String,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Api {
    pub fn new(address: &str) -> Self {
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .build()
            .expect("a client");
        Self { client, base: format!("http://{address}") }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }

    /// A body that need not be JSON, sent as JSON.
    pub async fn post_raw(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        send(request.body(body)).await
    }

    pub async fn infer(&self, body: &Value) -> Answer {
        self.post("/api/inference", body).await
    }

    /// `task_output` of a prediction that must work.
    pub async fn output(&self, body: &Value) -> Value {
        self.infer(body).await.ok()["result"]["task_output"].take()
    }

    /// The same call as a stream that must begin.
    pub async fn stream(&self, body: &Value) -> Events {
        self.events(self.request(Method::POST, "/api/inference/stream").json(body)).await
    }

    pub async fn events(&self, request: RequestBuilder) -> Events {
        let request = request.header("accept", "text/event-stream");
        let response = within("the answer's head", request.send()).await.expect("an answer");
        let status = response.status().as_u16();
        if status != 200 {
            panic!("{status}: {}", response.text().await.unwrap_or_default());
        }
        Events::new(response)
    }

    /// Every model as `/api/models/status` tells it.
    pub async fn models(&self) -> Vec<Value> {
        let status = self.get("/api/models/status").await.ok();
        status["models"].as_array().expect("a list").clone()
    }

    /// Waits until the models are as described: a worker tells its status beside its answers, not within them.
    pub async fn until_models(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let become_so = async {
            loop {
                let models = self.models().await;
                if holds(&models) {
                    return models;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(what, become_so).await
    }

    /// The status of this model, as soon as it is there.
    pub async fn until_model(&self, model_id: &str) -> Value {
        let is_it = |model: &Value| model["model_id"] == model_id;
        let models = self.until_models(model_id, |models| models.iter().any(is_it)).await;
        models.into_iter().find(is_it).expect("it is there")
    }

    /// The status of this model, if it is there now.
    pub async fn model(&self, model_id: &str) -> Option<Value> {
        self.models().await.into_iter().find(|model| model["model_id"] == model_id)
    }

    pub async fn status_stream(&self) -> Events {
        self.events(self.request(Method::GET, "/api/models/status/stream")).await
    }

    /// Waits until the live status says that every worker answers.
    pub async fn workers_up(&self) {
        let mut status = self.status_stream().await;
        let mut links = BTreeMap::new();
        while links.is_empty() || links.values().any(|link| link != "up") {
            let event = status.next().await.expect("the status goes on");
            let told = match event.name.as_str() {
                "snapshot" => {
                    // A worker may have got another name.
                    links.clear();
                    event.data["workers"].as_array().expect("a list").clone()
                }
                "worker" => vec![event.data],
                _ => Vec::new(),
            };
            links.extend(told.iter().map(|w| (w["id"].to_string(), w["link"].clone())));
        }
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let answer = async {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a whole answer") }
    };
    within("an answer", answer).await
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// `error` of an answer that must fail with this status and code; checks what every failure has.
    #[track_caller]
    pub fn fails(&self, status: u16, code: &str) -> Value {
        let error = self.json()["error"].take();
        assert_eq!((self.status, error["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        assert!(error["details"].is_object(), "{error}");
        let waits = matches!(status, 429 | 503);
        assert_eq!(self.headers.contains_key("retry-after"), waits, "Retry-After of {error}");
        assert!(self.headers.contains_key("x-request-id"), "{:?}", self.headers);
        error
    }
}
