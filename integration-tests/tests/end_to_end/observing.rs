//! One request as an operator sees it: its trace at a collector, from HTTP over gRPC to the lane, and its lines in the log.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value as Any,
    trace::v1::Span,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::harness::{system::Setup, within, zoo};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const ID: &str = "seen-by-an-operator";

/// A collector that keeps what it is sent.
struct Collector(mpsc::UnboundedSender<(String, Span)>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for group in request.into_inner().resource_spans {
            let attributes = group.resource.unwrap_or_default().attributes;
            let service = attributes
                .into_iter()
                .find(|attribute| attribute.key == "service.name")
                .and_then(|attribute| match attribute.value?.value? {
                    Any::StringValue(name) => Some(name),
                    _ => None,
                });
            for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let _ = self.0.send((service.clone().unwrap_or_default(), span));
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn collector() -> (String, mpsc::UnboundedReceiver<(String, Span)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, spans) = mpsc::unbounded_channel();
    let server = Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (url, spans)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_request_is_one_trace_from_http_over_grpc_to_the_lane() {
    let (url, mut spans) = collector().await;
    let system = Setup::of(&[&zoo::hub()])
        .argument("--otlp-endpoint", &url)
        .environment("OTEL_BSP_SCHEDULE_DELAY", "200")
        .start()
        .await;
    let body = json!({"model_id": "zoo/storyteller", "task": "text-generation",
        "inputs": {"text": "Once"}, "options": {"max_new_tokens": 8, "do_sample": false}});
    let request = system
        .api()
        .request(reqwest::Method::POST, "/api/inference/stream")
        .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
        .header("x-request-id", ID);
    let answer = within("an answer", request.json(&body).send()).await.expect("an answer");
    let text = within("its events", answer.text()).await.expect("its events");
    assert!(text.contains("event: done"), "{text}");

    let mut found: Vec<(String, Span)> = Vec::new();
    let has =
        |found: &[(String, Span)], name: &str| found.iter().any(|(_, span)| span.name == name);
    while !["POST /api/inference/stream", "infer", "load", "lane"]
        .iter()
        .all(|name| has(&found, name))
    {
        let next = within("every span", spans.recv()).await.expect("the collector lives");
        if hex(&next.1.trace_id) == TRACE {
            found.push(next);
        }
    }
    let span = |name: &str| found.iter().find(|(_, span)| span.name == name).expect("seen above");
    let (http, infer) = (span("POST /api/inference/stream"), span("infer"));
    let (load, lane) = (span("load"), span("lane"));
    assert_eq!(hex(&http.1.parent_span_id), CALLER);
    assert_eq!(hex(&infer.1.parent_span_id), hex(&http.1.span_id));
    assert_eq!(hex(&load.1.parent_span_id), hex(&infer.1.span_id));
    assert_eq!(hex(&lane.1.parent_span_id), hex(&infer.1.span_id));
    let services: Vec<&str> =
        [http, infer, load, lane].map(|(service, _)| service.as_str()).to_vec();
    assert_eq!(services, ["control-plane", "gpu-worker", "gpu-worker", "gpu-worker"]);
    // Each lies within its parent, and the lane's figures are there.
    for (child, parent) in [(&infer.1, &http.1), (&lane.1, &infer.1), (&load.1, &infer.1)] {
        assert!(child.start_time_unix_nano >= parent.start_time_unix_nano, "{}", child.name);
        assert!(child.end_time_unix_nano <= parent.end_time_unix_nano, "{}", child.name);
    }
    assert!(load.1.end_time_unix_nano <= lane.1.start_time_unix_nano);
    let keys: Vec<&str> =
        lane.1.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    for key in ["request_id", "queue_ms", "steps_ms", "tokens"] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_harms_nobody() {
    let system = Setup::of(&[&zoo::hub()])
        .argument("--otlp-endpoint", "http://127.0.0.1:9")
        .environment("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start()
        .await;
    let body = json!({"model_id": "zoo/sentences", "task": "feature-extraction", "inputs": {"text": "Hello"}});
    for _ in 0..3 {
        system.api().infer(&body).await.ok();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn every_line_of_a_request_carries_its_id() {
    let system = Setup::of(&[&zoo::hub()])
        .environment("ANYMODEL_LOG_JSON", "true")
        .environment("RUST_LOG", "info,gpu_worker=debug")
        .start()
        .await;
    let body = json!({"model_id": "zoo/no-such-model", "task": "text-generation", "inputs": {"text": "x"}});
    let request = system.api().request(reqwest::Method::POST, "/api/inference");
    let sent = request.header("x-request-id", ID).json(&body).send();
    assert_eq!(within("a refusal", sent).await.expect("an answer").status(), 502);
    let body = json!({"model_id": "zoo/sentences", "task": "feature-extraction", "inputs": {"text": "Hello"}});
    let request = system.api().request(reqwest::Method::POST, "/api/inference");
    let sent = request.header("x-request-id", ID).json(&body).send();
    assert_eq!(within("an answer", sent).await.expect("an answer").status(), 200);

    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let output = system.program.output();
        let lines: Vec<Value> =
            output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of_request: Vec<&Value> =
            lines.iter().filter(|line| line["span"]["request_id"] == ID).collect();
        let (control_plane, worker): (Vec<&Value>, Vec<&Value>) =
            of_request.iter().partition(|line| {
                line["target"].as_str().is_some_and(|it| it.starts_with("control_plane"))
            });
        let codes: Vec<&Value> = control_plane
            .iter()
            .map(|line| &line["fields"]["code"])
            .filter(|it| !it.is_null())
            .collect();
        let is_loaded = worker.iter().any(|line| line["span"]["model_name"] == "zoo/sentences");
        if codes == ["hub_unreachable", "ok"] && is_loaded {
            return;
        }
        assert!(Instant::now() < deadline, "{codes:?}, {is_loaded}:\n{output}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Names in a query that are no metric of ours.
const FUNCTIONS: [&str; 10] =
    ["by", "histogram_quantile", "increase", "le", "max", "rate", "sum", "code", "ok", "cancelled"];

#[tokio::test]
async fn the_dashboard_asks_for_figures_that_there_are() {
    let system = Setup::of(&[&zoo::hub()]).start().await;
    let api = system.api();
    let story = json!({"model_id": "zoo/storyteller", "task": "text-generation",
        "inputs": {"text": "Once"}, "options": {"max_new_tokens": 8}});
    let mut stream = api.stream(&story).await;
    stream.until("done").await;
    api.delete("/api/models/text-generation/zoo/storyteller").await.ok();
    let mut metrics = api.get("/metrics").await.text;
    for _ in 0..100 {
        if metrics.contains("model_evictions_total{") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        metrics = api.get("/metrics").await.text;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/grafana-dashboard.json");
    let text = std::fs::read_to_string(file).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut asked = 0;
    for query in queries.filter_map(|target| target["expr"].as_str()) {
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| word.contains('_') && !FUNCTIONS.contains(word)) {
            // Labels, and what only exists once something failed or a GPU is there.
            let is_rare = [
                "model_name",
                "__rate_interval",
                "worker_restarts_total",
                "gpu_utilization_ratio",
                "model_load_failures_total",
                "model_estimate_error_ratio",
                "model_load_seconds",
                "model_bytes",
            ];
            if is_rare.contains(&word) {
                continue;
            }
            asked += 1;
            assert!(metrics.contains(word), "{word} of {query:?} is not in\n{metrics}");
        }
    }
    assert!(asked > 20, "only {asked} names were found");
}
