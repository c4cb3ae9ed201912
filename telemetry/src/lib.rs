//! Log lines and traces of both programs: one set-up, and what carries a trace from HTTP over gRPC into a lane.
//!
//! Every line that is written inside of a request's span carries `request_id`. Spans of requests are made at the level
//! `ERROR`, so that a filter such as `warn` leaves the id on the lines that remain.

mod follow;
mod propagate;

use std::io::IsTerminal;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

pub use self::{
    follow::{FollowedBody, FollowedStream},
    propagate::{adopt, call},
};

/// Crates whose spans are exported; those of HTTP and gRPC libraries are of no interest to an operator.
const TRACED: &[&str] = &["control_plane", "gpu_worker", "telemetry"];

/// How one process logs and traces.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// `service.name` of its traces.
    pub service: &'static str,
    /// `service.instance.id` of its traces, such as the worker's name.
    pub instance: &'a str,
    /// What is logged unless `RUST_LOG` says otherwise.
    pub filter: &'static str,
    /// Lines of JSON instead of text.
    pub json: bool,
    /// Where traces go by OTLP over gRPC, such as `http://127.0.0.1:4317`. Absent: nowhere, and nothing is recorded.
    pub otlp_endpoint: Option<&'a str>,
}

/// Why neither logs nor traces can begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("--otlp-endpoint cannot be used")]
    Endpoint(#[from] ExporterBuildError),
    #[error("another log is installed already")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the last spans when the process ends.
#[must_use = "dropped, it ends the traces"]
pub struct Telemetry(Option<SdkTracerProvider>);

/// Starts log and traces. Within a tokio runtime when traces are wanted: the exporter's connection lives on it.
///
/// # Errors
/// When the endpoint is malformed or the process has a log already.
pub fn start(settings: &Settings<'_>) -> Result<Telemetry, StartError> {
    let provider =
        settings.otlp_endpoint.map(|endpoint| exporting(settings, endpoint)).transpose()?;
    let traces = provider.as_ref().map(|provider| {
        let filter =
            Targets::new().with_targets(TRACED.iter().map(|&target| (target, LevelFilter::INFO)));
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("anymodel"))
            // Lines of the log are no events of a span: they may name what a client sent.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(filter)
    });
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(settings.filter));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let lines = if settings.json {
        lines.json().with_span_list(false).with_filter(filter).boxed()
    } else {
        lines.with_filter(filter).boxed()
    };
    tracing_subscriber::registry().with(traces).with(lines).try_init()?;
    Ok(Telemetry(provider))
}

fn exporting(
    settings: &Settings<'_>,
    endpoint: &str,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let resource = Resource::builder()
        .with_service_name(settings.service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", settings.instance.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

impl Telemetry {
    /// Sends what is left; at most five seconds. Must not be called on the runtime's only thread.
    pub fn stop(self) {
        let Some(provider) = self.0 else { return };
        if let Err(error) = provider.shutdown() {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}
