//! A thousand first requests at once, and waiting ones that go away.

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::harness::{
    models::{Gpt2, SLOW},
    system::Setup,
};

const MANY: usize = 1000;

fn ask(model_id: &str) -> Value {
    let options = json!({"max_new_tokens": 1, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn a_thousand_simultaneous_first_requests_load_once() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let system = Setup::of(&[hub.path()]).workers("cpu*2").start().await;
    let api = system.api();
    let body = ask("it/slow");
    let answers: Vec<_> =
        stream::iter(0..MANY).map(|_| api.infer(&body)).buffer_unordered(MANY).collect().await;
    let answered = answers.iter().filter(|answer| answer.status == 200).count();
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.fails(429, "overloaded");
    }
    println!("{answered} of {MANY} were answered, the others sent away with Retry-After");
    // As many as a lane's queue holds, at least.
    assert!(answered >= 256, "{answered}");
    let models = api.until_models("the load is told", |models| !models.is_empty()).await;
    assert_eq!(models.len(), 1, "{models:?}");
    assert_eq!(models[0]["residency_id"], "r1", "it was loaded more than once");
}

#[tokio::test]
async fn when_the_last_waiter_goes_the_load_is_given_up_and_the_next_one_moves_up() {
    let hub = tempfile::tempdir().expect("a folder");
    let large = Gpt2 { dim: 1024, layers: 12, positions: 1024 };
    let names = ["it/a", "it/b", "it/c", "it/d"];
    large.write(hub.path(), names[0]);
    for name in &names[1..] {
        std::fs::create_dir_all(hub.path().join(name)).expect("a folder");
        for entry in std::fs::read_dir(hub.path().join(names[0])).expect("it is there") {
            let entry = entry.expect("an entry");
            let copy = hub.path().join(name).join(entry.file_name());
            std::fs::hard_link(entry.path(), copy).expect("a link");
        }
    }
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let mut streams = Vec::new();
    for name in names {
        streams.push(api.stream(&ask(name)).await);
    }
    // Two load at a time; the others hear of their place.
    let mut last = streams.pop().expect("four streams");
    let mut third = streams.pop().expect("three streams");
    let place = last.find("queued", |queued| queued["reason"] == "loading").await.data;
    assert!(place["position"].as_u64().is_some_and(|place| place <= 2), "{place}");
    third.until("queued").await;
    drop(third);
    drop(streams);
    // Those that nobody waits for any more leave, and the last one gets their turn.
    let loading = last.until("loading").await.data;
    assert_eq!(loading["bytes_total"].as_u64().map(|bytes| bytes > 500_000_000), Some(true));
    last.find("loading", |loading| {
        loading["bytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0)
    })
    .await;
    last.until("done").await;
    api.until_models("the loads that nobody wants have ended", |models| {
        models.len() == 1 && models[0]["model_id"] == "it/d"
    })
    .await;
}
