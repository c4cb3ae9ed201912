//! Figures for Prometheus: requests as they happen, workers and models as they were last told.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::OnceLock,
    thread,
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use proto::{Histogram, infer_event::Event};
use tokio::time::Instant;

use crate::fleet::{Fleet, Link};

/// Seconds; from the overhead of a request to the load of a large model.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];

/// How often what was observed goes into the histograms. Until then every observation is held by itself, and a process that
/// nobody asks for its figures would grow with each request.
const UPKEEP: Duration = Duration::from_secs(2);

/// Why figures cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("the recorder of metrics cannot be set up")]
pub struct SetupError(#[source] BuildError);

/// The recorder of this process; the first call installs it.
///
/// # Errors
/// When another recorder is installed already.
pub fn recorder() -> Result<PrometheusHandle, SetupError> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .map_err(SetupError)?
        .build_recorder();
    let handle = RECORDER.get_or_init(|| recorder.handle()).clone();
    // Losing a race against another first call leaves that one's recorder in place, as it should.
    if metrics::set_global_recorder(recorder).is_ok() {
        let kept_up = handle.clone();
        let upkeep = move || {
            loop {
                thread::sleep(UPKEEP);
                kept_up.run_upkeep();
            }
        };
        // Without this thread figures are still right, only larger.
        if let Err(error) = thread::Builder::new().name("figures".to_owned()).spawn(upkeep) {
            tracing::warn!(%error, "figures are kept up only when they are asked for");
        }
        return Ok(handle);
    }
    Ok(RECORDER.get().cloned().unwrap_or(handle))
}

/// One request on its way through the figures. Dropped unfinished, it counts as cancelled.
pub struct Tally {
    arrived: Instant,
    task: &'static str,
    /// Empty until the model is resolved.
    model_name: String,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    tokens: u64,
    finished: bool,
}

impl Tally {
    pub fn start() -> Self {
        Self {
            arrived: Instant::now(),
            task: "",
            model_name: String::new(),
            first_token: None,
            last_token: None,
            tokens: 0,
            finished: false,
        }
    }

    pub fn task(&mut self, task: &'static str) {
        self.task = task;
    }

    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Started(started) => self.model_name.clone_from(&started.model_id),
            Event::Token(_) => self.token(),
            Event::Result(result) => {
                let Some(metadata) = &result.metadata else { return };
                self.model_name.clone_from(&metadata.resolved_model_id);
                let seconds = metadata.queue_ms / 1e3;
                metrics::histogram!("inference_queue_seconds", "task" => self.task).record(seconds);
            }
            _ => {}
        }
    }

    fn token(&mut self) {
        let now = Instant::now();
        self.tokens += 1;
        if let Some(last) = self.last_token.replace(now) {
            let gap = now.duration_since(last).as_secs_f64();
            metrics::histogram!("inference_inter_token_seconds", "task" => self.task).record(gap);
        } else {
            self.first_token = Some(now);
            let wait = now.duration_since(self.arrived).as_secs_f64();
            metrics::histogram!("inference_time_to_first_token_seconds", "task" => self.task)
                .record(wait);
        }
    }

    /// Milliseconds since the request arrived.
    pub fn runtime_ms(&self) -> f64 {
        milliseconds(self.arrived.elapsed())
    }

    /// Milliseconds from arrival to the first token that was passed on.
    pub fn first_token_ms(&self) -> Option<f64> {
        self.first_token.map(|at| milliseconds(at.duration_since(self.arrived)))
    }

    /// Tokens that were passed on.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Records the end; `code` is `ok` or the failure's.
    pub fn finish(mut self, code: &'static str) {
        self.record(code);
    }

    fn record(&mut self, code: &'static str) {
        self.finished = true;
        let model = self.model_name.clone();
        metrics::counter!("inference_requests_total", "task" => self.task, "code" => code, "model_name" => model.clone())
            .increment(1);
        metrics::histogram!("inference_request_seconds", "task" => self.task, "model_name" => model)
            .record(self.arrived.elapsed().as_secs_f64());
        if self.tokens > 0 {
            metrics::counter!("inference_streamed_tokens_total", "task" => self.task)
                .increment(self.tokens);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.finished {
            self.record("cancelled");
        }
    }
}

/// To microseconds: more would be noise.
fn milliseconds(duration: std::time::Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// What the workers told last, in Prometheus' text format. Rendered anew each time, so that nothing stale remains.
pub fn render_fleet(fleet: &Fleet) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_fleet(&mut text, fleet);
    text
}

fn write_fleet(out: &mut String, fleet: &Fleet) -> fmt::Result {
    let mut figures = Figures::default();
    for worker in fleet.workers() {
        let id = worker.id();
        let view = worker.view();
        let of_worker = format!("worker=\"{}\"", escape(&id));
        figures.add("worker_up", "gauge", &of_worker, f64::from(u8::from(view.link == Link::Up)));
        if let Some(gauges) = &view.gauges {
            figures.add("inference_running", "gauge", &of_worker, gauges.running.into());
            figures.add("inference_waiting", "gauge", &of_worker, gauges.waiting.into());
            let tokens = gauges.generated_tokens as f64;
            figures.add("inference_generated_tokens_total", "counter", &of_worker, tokens);
            let (hits, spared) = (gauges.prefix_hits as f64, gauges.prefix_tokens as f64);
            figures.add("inference_prefix_hits_total", "counter", &of_worker, hits);
            figures.add("inference_prefix_tokens_total", "counter", &of_worker, spared);
            let cancelled = gauges.cancelled as f64;
            figures.add("inference_cancelled_total", "counter", &of_worker, cancelled);
            // From a client's disappearance to the end of its work, as the worker measured it.
            if let Some(histogram) = &gauges.cancel_seconds {
                figures.histogram("inference_cancel_seconds", &of_worker, histogram);
            }
            let longest = gauges.cancel_seconds_max;
            figures.add("inference_cancel_seconds_max", "gauge", &of_worker, longest);
            let late = gauges.steps_after_disconnect as f64;
            figures.add("inference_steps_after_disconnect_total", "counter", &of_worker, late);
            let most = gauges.steps_after_disconnect_max as f64;
            figures.add("inference_steps_after_disconnect_max", "gauge", &of_worker, most);
            figures.by_reason("model_load_failures_total", &of_worker, &gauges.load_failures);
            figures.by_reason("model_evictions_total", &of_worker, &gauges.evictions);
            if let Some(ages) = &gauges.age_at_eviction_seconds {
                figures.histogram("model_age_at_eviction_seconds", &of_worker, ages);
            }
            if let Some(sizes) = &gauges.batch_size {
                figures.histogram("inference_batch_size", &of_worker, sizes);
            }
        }
        let Some(status) = &view.status else { continue };
        for device in &status.devices {
            let labels = format!("{of_worker},device=\"{}\"", escape(&device.name));
            figures.add("worker_memory_used_bytes", "gauge", &labels, device.used_bytes as f64);
            figures.add("worker_memory_total_bytes", "gauge", &labels, device.total_bytes as f64);
            figures.add("worker_memory_budget_bytes", "gauge", &labels, device.budget_bytes as f64);
            figures.add(
                "worker_memory_charged_bytes",
                "gauge",
                &labels,
                device.charged_bytes as f64,
            );
            figures.add(
                "worker_memory_reserved_bytes",
                "gauge",
                &labels,
                device.reserved_bytes as f64,
            );
            let (used, kept) = (device.cache_used_bytes as f64, device.cache_kept_bytes as f64);
            figures.add("worker_cache_used_bytes", "gauge", &labels, used);
            figures.add("worker_cache_kept_bytes", "gauge", &labels, kept);
            if let Some(baseline) = device.baseline_bytes {
                figures.add("worker_memory_baseline_bytes", "gauge", &labels, baseline as f64);
            }
            if let Some(utilization) = device.utilization {
                figures.add("gpu_utilization_ratio", "gauge", &labels, utilization);
            }
        }
        for residency in &status.residencies {
            let mut labels = format!("{of_worker},model_name=\"{}\"", escape(&residency.model_id));
            if !residency.kind.is_empty() {
                // One repository can be resident as several kinds.
                labels.push_str(&format!(",kind=\"{}\"", escape(&residency.kind)));
            }
            let bytes: u64 = residency
                .bytes
                .iter()
                .map(proto::DeviceBytes::charged)
                .fold(0, u64::saturating_add);
            figures.add("model_bytes", "gauge", &labels, bytes as f64);
            let learned = residency.learned.as_ref();
            if let Some(error) = learned.and_then(|learned| learned.estimate_error_ratio) {
                figures.add("model_estimate_error_ratio", "gauge", &labels, error);
            }
            if let Some(load_ms) = residency.load_time_ms {
                figures.add("model_load_seconds", "gauge", &labels, load_ms / 1e3);
            }
        }
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let tasks = runtime.metrics().num_alive_tasks() as f64;
        figures.add("control_plane_tasks", "gauge", "", tasks);
    }
    figures.add("inference_waiting_for_room", "gauge", "", fleet.waiting() as f64);
    figures.write(out)
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Samples by metric, in the order in which metrics were first named.
#[derive(Default)]
struct Figures(Vec<(&'static str, &'static str, Vec<String>)>);

impl Figures {
    fn add(&mut self, name: &'static str, kind: &'static str, labels: &str, value: f64) {
        self.sample(name, kind, sample(name, "", labels, value));
    }

    fn by_reason(&mut self, name: &'static str, labels: &str, counts: &HashMap<String, u64>) {
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_unstable();
        for (reason, &count) in counts {
            let labels = format!("{labels},reason=\"{}\"", escape(reason));
            self.add(name, "counter", &labels, count as f64);
        }
    }

    /// Buckets that count everything below them, the sum, and the count.
    fn histogram(&mut self, name: &'static str, labels: &str, histogram: &Histogram) {
        let mut count = 0;
        let bounds = histogram.bounds.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, in_bucket) in bounds.zip(&histogram.counts) {
            count += in_bucket;
            let labels = format!("{labels},le=\"{bound}\"");
            self.sample(name, "histogram", sample(name, "_bucket", &labels, count as f64));
        }
        self.sample(name, "histogram", sample(name, "_sum", labels, histogram.sum));
        self.sample(name, "histogram", sample(name, "_count", labels, count as f64));
    }

    fn sample(&mut self, name: &'static str, kind: &'static str, sample: String) {
        match self.0.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., samples)) => samples.push(sample),
            None => self.0.push((name, kind, vec![sample])),
        }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        for (name, kind, samples) in &self.0 {
            writeln!(out, "# TYPE {name} {kind}")?;
            for sample in samples {
                writeln!(out, "{sample}")?;
            }
        }
        Ok(())
    }
}

fn sample(name: &str, suffix: &str, labels: &str, value: f64) -> String {
    if labels.is_empty() {
        format!("{name}{suffix} {value}")
    } else {
        format!("{name}{suffix}{{{labels}}} {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_metric_stand_together_under_its_type() {
        let mut figures = Figures::default();
        figures.add("a", "gauge", "x=\"1\"", 1.0);
        figures.add("b", "counter", "", 2.0);
        figures.add("a", "gauge", "x=\"2\"", 3.0);
        let mut text = String::new();
        figures.write(&mut text).unwrap();
        assert_eq!(text, "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 3\n# TYPE b counter\nb 2\n");
    }

    #[test]
    fn buckets_of_a_histogram_add_up() {
        let mut figures = Figures::default();
        let histogram = Histogram { bounds: vec![0.1, 0.5], counts: vec![2, 0, 1], sum: 1.5 };
        figures.histogram("h", "x=\"1\"", &histogram);
        let mut text = String::new();
        figures.write(&mut text).unwrap();
        let lines = [
            "# TYPE h histogram",
            "h_bucket{x=\"1\",le=\"0.1\"} 2",
            "h_bucket{x=\"1\",le=\"0.5\"} 2",
            "h_bucket{x=\"1\",le=\"+Inf\"} 3",
            "h_sum{x=\"1\"} 1.5",
            "h_count{x=\"1\"} 3",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\c"), "a\\\"b\\\\c");
    }
}
