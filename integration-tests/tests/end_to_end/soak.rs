//! Two hundred clients on four workers for a minute, or as long as `SOAK_SECONDS` says: no error but "come again later",
//! and nothing grows.

use std::{
    collections::BTreeMap,
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    api::Answer,
    models::TINY,
    system::{Setup, System},
    zoo::{self, SENTENCES, SHAPES, STORYTELLER},
};

const CLIENTS: usize = 200;
const MODELS: [&str; 4] = ["it/a", "it/b", "it/c", "it/d"];
/// What a process may grow between the first third and the end, beyond noise.
const MOST_GROWTH_KB: u64 = 48 << 10;
/// Files and tasks that may be left when all clients have gone, beyond those from before they came.
const MOST_LEFT: u64 = 8;
/// How many of one set of requests there are: [`request`] repeats itself after them, but for the number of tokens.
const KINDS: usize = 8;

fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// What the client's n-th request is.
fn request(client: usize, n: usize) -> Value {
    let tokens = 1 + (client + n) % 12;
    let story = |model: &str| {
        let options = json!({"max_new_tokens": tokens, "do_sample": false});
        json!({"model_id": model, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
    };
    match (client + n) % KINDS {
        0..=3 => story(MODELS[(client + n) % MODELS.len()]),
        4 => story(STORYTELLER),
        5 => json!({"model_id": SHAPES, "task": "image-classification",
            "inputs": {"image_base64": zoo::picture("pictures/held-out-00.png")}}),
        _ => {
            json!({"model_id": SENTENCES, "task": "feature-extraction", "inputs": {"text": "a red circle"}})
        }
    }
}

/// What one process has now.
#[derive(Clone, Copy, Debug)]
struct Size {
    anonymous_kb: u64,
    files: u64,
    threads: u64,
}

fn size(pid: u32) -> Size {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    Size {
        anonymous_kb: field("RssAnon:"),
        files: fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count() as u64,
        threads: field("Threads:"),
    }
}

async fn tasks(system: &System) -> u64 {
    let metrics = system.api().get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("control_plane_tasks "));
    line.expect("the number of tasks").parse::<f64>().expect("a number") as u64
}

async fn sizes(system: &System) -> Vec<Size> {
    let pids = system.worker_pids().await;
    [system.program.pid()].into_iter().chain(pids).map(size).collect()
}

/// Waits until what the clients opened is closed again: the files of each process, and the tasks of the control plane.
///
/// While clients are there, the number of connections is up to them: one whose answer has just ended may open another
/// before the first is back in its pool.
async fn closed(system: &System, files: &[u64], tasks_before: u64) {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        let (sizes, tasks) = (sizes(system).await, tasks(system).await);
        let left = sizes.iter().zip(files).all(|(now, before)| now.files <= before + MOST_LEFT);
        if left && tasks <= tasks_before + MOST_LEFT {
            return;
        }
        let patient = Instant::now() < patience;
        assert!(patient, "before: {files:?}, {tasks_before} tasks; left: {sizes:?}, {tasks} tasks");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[derive(Default)]
struct Seen {
    /// Milliseconds by task.
    latencies: BTreeMap<String, Vec<f64>>,
    overloaded: usize,
    others: Vec<String>,
}

/// Writes an answer down; how long its client stays away now.
fn note(seen: &mut Seen, body: &Value, answer: &Answer, ms: f64, after: Option<&str>) -> Duration {
    match (answer.status, after.and_then(|after| after.parse().ok())) {
        (200, _) => {
            let task = body["task"].as_str().expect("a task").to_owned();
            seen.latencies.entry(task).or_default().push(ms);
        }
        (429, Some(wait)) => {
            seen.overloaded += 1;
            return Duration::from_secs(wait);
        }
        _ => seen.others.push(format!("{}: {}", answer.status, answer.text)),
    }
    Duration::ZERO
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_meet_no_error_and_nothing_grows() {
    let hub = tempfile::tempdir().expect("a folder");
    for model in MODELS {
        TINY.write(hub.path(), model);
    }
    let system = Setup::of(&[hub.path(), &zoo::hub()]).workers("cpu*4").start().await;
    for n in 0..KINDS {
        assert_eq!(system.api().infer(&request(0, n)).await.status, 200);
    }
    let files: Vec<u64> = sizes(&system).await.iter().map(|size| size.files).collect();
    let tasks_before = tasks(&system).await;
    let duration = Duration::from_secs(seconds());
    let end = Instant::now() + duration;
    let seen = Mutex::new(Seen::default());
    let client = |client: usize| {
        let (api, seen) = (system.api(), &seen);
        async move {
            let mut n = 0;
            while Instant::now() < end {
                let body = request(client, n);
                n += 1;
                let asked = Instant::now();
                let answer = api.infer(&body).await;
                let ms = asked.elapsed().as_secs_f64() * 1e3;
                let after = answer.headers.get("retry-after").and_then(|it| it.to_str().ok());
                let pause =
                    note(&mut seen.lock().expect("no panic before"), &body, &answer, ms, after);
                let left = end.saturating_duration_since(Instant::now());
                tokio::time::sleep(pause.min(left)).await;
            }
        }
    };
    let watch = async {
        tokio::time::sleep(duration / 3).await;
        let first = sizes(&system).await;
        tokio::time::sleep(end.saturating_duration_since(Instant::now()) - duration / 30).await;
        (first, sizes(&system).await)
    };
    let clients = futures::future::join_all((0..CLIENTS).map(client));
    let (_, (before, after)) = tokio::join!(clients, watch);

    let mut seen = seen.into_inner().expect("no panic before");
    for (task, latencies) in &mut seen.latencies {
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        let (n, p50, p99) = (latencies.len(), at(0.5), at(0.99));
        println!("{task}: {n} answers, p50 {p50:.0} ms, p99 {p99:.0} ms");
    }
    println!("sent away with Retry-After: {}", seen.overloaded);
    println!("control plane and workers, before and after: {before:?} {after:?}");
    assert!(seen.others.is_empty(), "{} errors, such as {:?}", seen.others.len(), seen.others[0]);
    assert!(seen.latencies.values().map(Vec::len).sum::<usize>() > CLIENTS, "hardly any answers");
    for (before, after) in before.iter().zip(&after) {
        let within = after.anonymous_kb <= before.anonymous_kb + MOST_GROWTH_KB;
        assert!(within && after.threads <= before.threads + MOST_LEFT, "{before:?} {after:?}");
    }
    closed(&system, &files, tasks_before).await;
}
