//! Many models on one worker do not mean many threads.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{models::TINY, system::Setup};

const LANES: usize = 20;
/// Beside the lanes and the cores: the main thread, those that load and prepare, and a few helpers.
const OTHERS: usize = 8;

fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path().join("comm");
        Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
    };
    tasks.filter_map(name).collect()
}

fn story(model: usize) -> Value {
    let options = json!({"max_new_tokens": 60, "min_new_tokens": 60, "do_sample": false});
    json!({"model_id": format!("it/tiny-{model}"), "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn twenty_lanes_need_few_threads_beside_their_own() {
    let hub = tempfile::tempdir().expect("a folder");
    (0..LANES).for_each(|model| TINY.write(hub.path(), &format!("it/tiny-{model}")));
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let pid = system.worker_pid().await;
    for model in 0..LANES {
        api.infer(&story(model)).await.ok();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = LANES + cores + OTHERS;
    // Alone, each of them had all cores for its load. Now all of them are busy.
    let all = join_all((0..LANES).map(|model| {
        let (api, request) = (system.api(), story(model));
        async move { api.infer(&request).await.ok() }
    }));
    let watch = async {
        let mut most = Vec::new();
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let now = threads(pid);
            if now.len() > most.len() {
                most = now;
            }
        }
        most
    };
    let (_, most) = tokio::join!(all, watch);
    println!("{} threads at {LANES} lanes on {cores} cores: {most:?}", most.len());
    assert!(most.len() <= bound, "{} > {bound}: {most:?}", most.len());
}
