//! One download for everyone who wants the same file, in this process and in others.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use gpu_worker::hub::{DownloadProgress, Hub, HubConfig};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{
    WEIGHTS, config, leave_partial, repository,
    server::{Fault, HubServer, MODEL},
    weights,
};

/// For the process that another one waits for.
const LOCK_VARIABLE: &str = "HUB_TEST_LOCK";

#[tokio::test]
async fn many_who_want_the_same_file_download_it_once() {
    let weights = weights(2_000_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    let gate = Arc::new(Notify::new());
    server.misbehave(WEIGHTS, [Fault::HoldUntil(gate.clone())]);
    // Two handles of one hub share the download in memory; a third hub, like another process, by the lock.
    let (first, other) = (repository(&server, &cache).await, repository(&server, &cache).await);
    let second = first.clone();
    let paths = [WEIGHTS.to_owned()];
    let opened = |progress: DownloadProgress| {
        if progress.done_bytes > 0 {
            gate.notify_one();
        }
    };
    let (one, two, three) =
        tokio::join!(first.fetch(WEIGHTS), second.fetch_all(&paths, &opened), other.fetch(WEIGHTS));
    for path in [one.unwrap(), two.unwrap().remove(0), three.unwrap()] {
        assert!(fs::read(path).unwrap() == weights);
    }
    assert_eq!(server.content_requests(WEIGHTS).len(), 1);
}

#[tokio::test]
async fn a_download_that_nobody_wants_any_more_stops_and_is_taken_up_later() {
    let weights = weights(6_000_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    server.misbehave(WEIGHTS, [Fault::HoldUntil(Arc::new(Notify::new()))]);
    let hub =
        Hub::new(HubConfig { stall_timeout: Duration::from_secs(60), ..config(&server, &cache) })
            .unwrap();
    let repository = hub.resolve(MODEL, "").await.unwrap();
    let paths = [WEIGHTS.to_owned()];
    let halfway = Notify::new();
    let notice = |progress: DownloadProgress| {
        if progress.done_bytes == 3_000_000 {
            halfway.notify_one();
        }
    };
    tokio::select! {
        _ = repository.fetch_all(&paths, &notice) => panic!("half of it is held back"),
        () = halfway.notified() => {}
    }
    assert!(fs::read(repository.fetch(WEIGHTS).await.unwrap()).unwrap() == weights);
    let asked = server.content_requests(WEIGHTS);
    assert!(asked.len() == 2 && asked[1].is_some(), "{asked:?}");
}

/// Not a test of its own: what the other process of the next test does.
#[test]
fn holds_a_lock_for_another_process() {
    let Some(path) = std::env::var_os(LOCK_VARIABLE) else { return };
    let lock = fs::File::options().write(true).create(true).truncate(false).open(path).unwrap();
    lock.lock().unwrap();
    println!("\nlocked");
    std::io::stdout().flush().unwrap();
    std::io::stdin().lines().next();
}

fn process_that_locks(path: &Path) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sharing::holds_a_lock_for_another_process", "--nocapture"])
        .env(LOCK_VARIABLE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "locked"));
    process
}

#[tokio::test]
async fn follows_another_process_and_takes_over_when_it_dies() {
    let weights = weights(900_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    leave_partial(&server, &cache, &weights[..500_000]);
    let locks = cache.path().join(".locks/models--org--name");
    fs::create_dir_all(&locks).unwrap();
    let process = process_that_locks(&locks.join(format!("{}.lock", server.etag(WEIGHTS))));

    let repository = repository(&server, &cache).await;
    let (process, steps) = (Mutex::new(process), Mutex::new(Vec::new()));
    let follow = |progress: DownloadProgress| {
        steps.lock().unwrap().push(progress.done_bytes);
        match progress.done_bytes {
            // The other process's file grows, then it dies in the middle.
            500_000 => leave_partial(&server, &cache, &weights[..600_000]),
            600_000 => process.lock().unwrap().kill().unwrap(),
            _ => {}
        }
    };
    let paths = repository.fetch_all(&[WEIGHTS.to_owned()], &follow).await.unwrap();
    assert!(fs::read(&paths[0]).unwrap() == weights);
    assert_eq!(server.content_requests(WEIGHTS), [Some("bytes=600000-".to_owned())]);
    assert!(steps.lock().unwrap().contains(&600_000));
    process.lock().unwrap().wait().unwrap();
}
