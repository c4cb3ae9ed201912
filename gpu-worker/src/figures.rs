//! The worker's own figures for Prometheus: read from its status once a second, never counted twice.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use proto::DeviceBytes;

use crate::{
    residency::{Residencies, device},
    tasks::{AGE_BOUNDS, BATCH_BOUNDS, CANCEL_BOUNDS},
};

const EVERY: Duration = Duration::from_secs(1);

/// Serves the figures on `address`.
///
/// # Errors
/// When the address cannot be used.
pub fn serve(address: SocketAddr) -> Result<(), BuildError> {
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(
            Matcher::Full("inference_cancel_seconds".to_owned()),
            &CANCEL_BOUNDS,
        )?
        .set_buckets_for_metric(
            Matcher::Full("model_age_at_eviction_seconds".to_owned()),
            &AGE_BOUNDS,
        )?
        .set_buckets_for_metric(Matcher::Full("inference_batch_size".to_owned()), &BATCH_BOUNDS)?
        .install()
}

/// Keeps the figures up to date for as long as the worker lives.
pub async fn publish(residencies: Residencies) {
    let mut ticks = tokio::time::interval(EVERY);
    let mut published_models: Vec<String> = Vec::new();
    loop {
        ticks.tick().await;
        let status = device::message(residencies.device(), residencies.accounts());
        let device = status.name.clone();
        gauge!("worker_up").set(1.0);
        gauge!("worker_memory_used_bytes", "device" => device.clone())
            .set(status.used_bytes as f64);
        gauge!("worker_memory_total_bytes", "device" => device.clone())
            .set(status.total_bytes as f64);
        gauge!("worker_memory_budget_bytes", "device" => device.clone())
            .set(status.budget_bytes as f64);
        gauge!("worker_memory_charged_bytes", "device" => device.clone())
            .set(status.charged_bytes as f64);
        gauge!("worker_memory_reserved_bytes", "device" => device.clone())
            .set(status.reserved_bytes as f64);
        gauge!("worker_cache_used_bytes", "device" => device.clone())
            .set(status.cache_used_bytes as f64);
        gauge!("worker_cache_kept_bytes", "device" => device.clone())
            .set(status.cache_kept_bytes as f64);
        if let Some(baseline) = status.baseline_bytes {
            gauge!("worker_memory_baseline_bytes", "device" => device.clone()).set(baseline as f64);
        }
        if let Some(utilization) = status.utilization {
            gauge!("gpu_utilization_ratio", "device" => device).set(utilization);
        }
        let counters = residencies.counters();
        let cancels = counters.cancels();
        counter!("inference_generated_tokens_total")
            .absolute(counters.generated_tokens.load(Ordering::Relaxed));
        counter!("inference_prefix_hits_total")
            .absolute(counters.prefix_hits.load(Ordering::Relaxed));
        counter!("inference_prefix_tokens_total")
            .absolute(counters.prefix_tokens.load(Ordering::Relaxed));
        counter!("inference_cancelled_total").absolute(cancels.count);
        gauge!("inference_cancel_seconds_max").set(cancels.longest.as_secs_f64());
        counter!("inference_steps_after_disconnect_total").absolute(cancels.late_steps);
        gauge!("inference_steps_after_disconnect_max").set(cancels.late_steps_max as f64);
        published_models = publish_models(&residencies, published_models);
    }
}

/// Sets the figures of every residency, and those that left to nothing. Answers whom it set.
fn publish_models(residencies: &Residencies, before: Vec<String>) -> Vec<String> {
    let now = residencies.list();
    for residency in &now {
        let name = residency.model_id.clone();
        let bytes: u64 = residency.bytes.iter().map(DeviceBytes::charged).sum();
        gauge!("model_bytes", "model_name" => name.clone()).set(bytes as f64);
        gauge!("inference_running", "model_name" => name.clone())
            .set(f64::from(residency.in_flight));
        gauge!("inference_waiting", "model_name" => name.clone()).set(f64::from(residency.queued));
        if let Some(error) = residency.learned.as_ref().and_then(|cost| cost.estimate_error_ratio) {
            gauge!("model_estimate_error_ratio", "model_name" => name.clone()).set(error);
        }
        if let Some(ms) = residency.load_time_ms {
            gauge!("model_load_seconds", "model_name" => name).set(ms / 1e3);
        }
    }
    let names: Vec<String> = now.into_iter().map(|residency| residency.model_id).collect();
    for gone in before.into_iter().filter(|name| !names.contains(name)) {
        for figure in ["model_bytes", "inference_running", "inference_waiting"] {
            gauge!(figure, "model_name" => gone.clone()).set(0.0);
        }
    }
    names
}
