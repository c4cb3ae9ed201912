//! The hub against a server that speaks the Hub's protocol and misbehaves on demand.

mod hub_server;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use gpu_worker::hub::{
    DownloadProgress, Hub, HubConfig, HubError, Repository, RetryPolicy, Source, Token,
};
use hub_server::{COMMIT, Fault, HubServer, MODEL};
use tempfile::TempDir;
use tokio::sync::Notify;

const CONFIG: &[u8] = br#"{"model_type": "bert"}"#;
const WEIGHTS: &str = "model.safetensors";
/// For the process that another one waits for.
const LOCK_VARIABLE: &str = "HUB_TEST_LOCK";

/// Bytes that are different everywhere, so that a shifted resume is noticed.
fn weights(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

fn config(server: &HubServer, cache: &TempDir) -> HubConfig {
    let first_pause = Duration::from_millis(5);
    HubConfig {
        endpoint: server.endpoint.clone(),
        stall_timeout: Duration::from_millis(400),
        retry: RetryPolicy { attempts: 3, first_pause, longest_pause: Duration::from_secs(2) },
        ..HubConfig::new(cache.path())
    }
}

fn hub(server: &HubServer, cache: &TempDir) -> Hub {
    Hub::new(config(server, cache)).unwrap()
}

async fn repository(server: &HubServer, cache: &TempDir) -> Repository {
    hub(server, cache).resolve(MODEL, "").await.unwrap()
}

fn offline(server: &HubServer, cache: &TempDir) -> Hub {
    Hub::new(HubConfig { offline: true, ..config(server, cache) }).unwrap()
}

fn blobs(cache: &TempDir) -> Vec<String> {
    let Ok(entries) = fs::read_dir(cache.path().join("models--org--name/blobs")) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn blob(cache: &TempDir, name: &str) -> std::path::PathBuf {
    cache.path().join("models--org--name/blobs").join(name)
}

/// Writes what an earlier, interrupted download would have left.
fn leave_partial(server: &HubServer, cache: &TempDir, bytes: &[u8]) {
    fs::create_dir_all(cache.path().join("models--org--name/blobs")).unwrap();
    fs::write(blob(cache, &format!("{}.incomplete", server.etag(WEIGHTS))), bytes).unwrap();
}

fn code<T: std::fmt::Debug>(result: Result<T, HubError>) -> &'static str {
    result.unwrap_err().code()
}

#[tokio::test]
async fn downloads_into_the_layout_that_python_uses() {
    let weights = weights(300_000);
    let server =
        HubServer::start(&[("config.json", CONFIG), ("unet/part.safetensors", &weights)]).await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    assert_eq!((repository.revision(), repository.source()), (COMMIT, Source::Hub));
    assert_eq!(
        (repository.pipeline_tag(), repository.library_name()),
        (Some("fill-mask"), Some("x"))
    );
    assert!(repository.is_immutable() && !repository.is_stale());
    assert_eq!(repository.files().len(), 2);

    let path = repository.fetch("unet/part.safetensors").await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), weights);
    let root = cache.path().join("models--org--name");
    assert_eq!(path, root.join("snapshots").join(COMMIT).join("unet/part.safetensors"));
    let target = format!("../../../blobs/{}", server.etag("unet/part.safetensors"));
    assert_eq!(fs::read_link(&path).unwrap(), Path::new(&target));
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(fs::read(repository.fetch("config.json").await.unwrap()).unwrap(), CONFIG);
    assert!(!blobs(&cache).iter().any(|name| name.ends_with(".incomplete")));

    let again = hub(&server, &cache).resolve(MODEL, "main").await.unwrap();
    again.fetch("unet/part.safetensors").await.unwrap();
    assert_eq!(server.content_requests("unet/part.safetensors").len(), 1);
    assert_eq!(server.requests_to("/tree/"), 2, "two pages, once");
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let server = HubServer::start(&[("empty.txt", b"")]).await;
    let cache = TempDir::new().unwrap();
    assert_eq!(
        fs::read(repository(&server, &cache).await.fetch("empty.txt").await.unwrap()).unwrap(),
        b""
    );
}

#[tokio::test]
async fn goes_on_where_the_connection_broke() {
    let weights = weights(5_000_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    server.misbehave(WEIGHTS, [Fault::DropAfter(2_000_000), Fault::DropAfter(1_000_000)]);
    let cache = TempDir::new().unwrap();
    let path = repository(&server, &cache).await.fetch(WEIGHTS).await.unwrap();
    assert!(fs::read(path).unwrap() == weights);
    let asked: Vec<Option<String>> = server.content_requests(WEIGHTS);
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0], None);
    let start = |range: &Option<String>| {
        range
            .as_ref()
            .unwrap()
            .trim_start_matches("bytes=")
            .trim_end_matches('-')
            .parse::<usize>()
            .unwrap()
    };
    assert!((1..=2_000_000).contains(&start(&asked[1])), "{asked:?}");
    assert!(start(&asked[2]) > start(&asked[1]), "{asked:?}");
}

#[tokio::test]
async fn asks_only_for_what_an_earlier_process_did_not_get() {
    let weights = weights(900_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    leave_partial(&server, &cache, &weights[..600_000]);
    let repository = repository(&server, &cache).await;
    assert_eq!(repository.missing_bytes(&[WEIGHTS.to_owned()]), 300_000);
    assert!(fs::read(repository.fetch(WEIGHTS).await.unwrap()).unwrap() == weights);
    assert_eq!(server.content_requests(WEIGHTS), [Some("bytes=600000-".to_owned())]);
    assert_eq!(repository.missing_bytes(&[WEIGHTS.to_owned()]), 0);
}

#[tokio::test]
async fn a_server_that_ignores_the_range_is_read_from_the_beginning() {
    let weights = weights(900_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    server.misbehave(WEIGHTS, [Fault::IgnoreRange]);
    let cache = TempDir::new().unwrap();
    leave_partial(&server, &cache, &weights[..600_000]);
    assert!(
        fs::read(repository(&server, &cache).await.fetch(WEIGHTS).await.unwrap()).unwrap()
            == weights
    );
}

#[tokio::test]
async fn what_was_left_damaged_is_downloaded_anew() {
    let weights = weights(900_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    for left in [vec![7; 600_000], vec![7; 900_000], vec![7; 2_000_000]] {
        fs::remove_dir_all(cache.path()).unwrap();
        leave_partial(&server, &cache, &left);
        assert!(
            fs::read(repository(&server, &cache).await.fetch(WEIGHTS).await.unwrap()).unwrap()
                == weights
        );
    }
}

#[tokio::test]
async fn a_refused_get_after_a_good_head_stores_nothing() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let head = reqwest::Client::new()
        .head(format!("{}/{MODEL}/resolve/{COMMIT}/config.json", server.endpoint));
    assert_eq!(head.send().await.unwrap().status(), 200);
    server.misbehave("config.json", [Fault::Status(403, None, None)]);
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    assert_eq!(code(repository.fetch("config.json").await), "forbidden");
    assert!(!blobs(&cache).contains(&server.etag("config.json")));
    assert_eq!(fs::read(repository.fetch("config.json").await.unwrap()).unwrap(), CONFIG);
}

#[tokio::test]
async fn a_wrong_hash_never_counts() {
    let weights = weights(100_000);
    let server = HubServer::start(&[("config.json", CONFIG), (WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    for path in ["config.json", WEIGHTS] {
        server.misbehave(path, [Fault::FlipByte]);
        let error = repository.fetch(path).await.unwrap_err();
        assert_eq!(error.code(), "corrupt_download");
        assert!(error.to_string().contains(&server.etag(path)), "{error}");
        assert!(!blobs(&cache).contains(&server.etag(path)));
        assert_eq!(
            repository.missing_bytes(&[path.to_owned()]),
            repository.file(path).unwrap().size
        );
        repository.fetch(path).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_file_of_the_cache_is_found_and_replaced() {
    let weights = weights(100_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    let path = repository(&server, &cache).await.fetch(WEIGHTS).await.unwrap();
    let mut damaged = weights.clone();
    damaged[5] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let without_network = offline(&server, &cache).resolve(MODEL, "").await.unwrap();
    assert_eq!(code(without_network.fetch(WEIGHTS).await), "corrupt_download");
    let path = repository(&server, &cache).await.fetch(WEIGHTS).await.unwrap();
    assert!(fs::read(path).unwrap() == weights);
}

#[tokio::test]
async fn waits_as_long_as_the_hub_asks_and_no_longer_than_is_bearable() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    server.misbehave("config.json", [Fault::Status(429, None, Some("3600"))]);
    let error = repository.fetch("config.json").await.unwrap_err();
    assert_eq!(
        (error.code(), error.retry_after()),
        ("hub_rate_limited", Some(Duration::from_secs(3600)))
    );
    server.misbehave("config.json", [Fault::Status(429, None, Some("1"))]);
    let before = std::time::Instant::now();
    repository.fetch("config.json").await.unwrap();
    assert!(before.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_failing_server_is_asked_again_and_then_given_up() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let failed = || Fault::Status(503, None, None);
    server.misbehave("info", [failed(), failed()]);
    server.misbehave("tree", [failed()]);
    let repository = repository(&server, &cache).await;
    server.misbehave("config.json", [failed(), failed(), failed()]);
    assert_eq!(code(repository.fetch("config.json").await), "hub_unreachable");
    assert_eq!(server.content_requests("config.json").len(), 3);
    repository.fetch("config.json").await.unwrap();
}

#[tokio::test]
async fn gated_and_private_models_say_what_is_needed() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    let cases = [
        (401, Some("GatedRepo"), "gated_model"),
        (403, Some("GatedRepo"), "gated_model"),
        (401, None, "unauthorized"),
        (403, None, "forbidden"),
        (401, Some("RepoNotFound"), "model_not_found"),
        (404, Some("EntryNotFound"), "file_not_found"),
        (404, Some("RevisionNotFound"), "revision_not_found"),
    ];
    for (status, error_code, expected) in cases {
        server.misbehave("config.json", [Fault::Status(status, error_code, None)]);
        assert_eq!(code(repository.fetch("config.json").await), expected);
        server.misbehave("info", [Fault::Status(status, error_code, None)]);
        let info = code(hub(&server, &TempDir::new().unwrap()).resolve(MODEL, "").await);
        assert!(info == expected || error_code == Some("EntryNotFound"), "{info}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let hub = hub(&server, &cache);
    assert_eq!(code(hub.resolve("org/nothing", "").await), "model_not_found");
    assert_eq!(code(hub.resolve(MODEL, "v9").await), "revision_not_found");
    let repository = hub.resolve(MODEL, "refs/pr/1").await.unwrap();
    assert_eq!(
        fs::read_to_string(cache.path().join("models--org--name/refs/refs/pr/1")).unwrap(),
        COMMIT
    );
    assert_eq!(code(repository.fetch("vocab.txt").await), "file_not_found");
    let both = ["config.json".to_owned(), "vocab.txt".to_owned()];
    assert_eq!(code(repository.fetch_all(&both, &|_| ()).await), "file_not_found");
    assert!(server.content_requests("config.json").is_empty());
}

#[tokio::test]
async fn a_trickle_and_a_silence_are_stalls() {
    let weights = weights(400_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    let trickle = Fault::Trickle(Duration::from_millis(10));
    server.misbehave(WEIGHTS, [trickle.clone(), trickle]);
    assert_eq!(code(repository.fetch(WEIGHTS).await), "download_stalled");
    server.misbehave(WEIGHTS, [Fault::Hang]);
    assert!(fs::read(repository.fetch(WEIGHTS).await.unwrap()).unwrap() == weights);
    assert_eq!(server.content_requests(WEIGHTS).len(), 4);
}

#[tokio::test]
async fn an_unreachable_hub_is_said_so_unless_the_cache_knows() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let unreachable =
        || Hub::new(HubConfig { endpoint: endpoint.clone(), ..config(&server, &cache) }).unwrap();
    assert_eq!(code(unreachable().resolve(MODEL, "").await), "hub_unreachable");
    repository(&server, &cache).await.fetch("config.json").await.unwrap();
    let known = unreachable().resolve(MODEL, "").await.unwrap();
    assert!(known.is_stale());
    assert_eq!(fs::read(known.fetch("config.json").await.unwrap()).unwrap(), CONFIG);
}

#[tokio::test]
async fn offline_nothing_is_asked() {
    let server = HubServer::start(&[("config.json", CONFIG), ("vocab.txt", b"a")]).await;
    let cache = TempDir::new().unwrap();
    assert_eq!(code(offline(&server, &cache).resolve(MODEL, "").await), "hub_offline");
    repository(&server, &cache).await.fetch("config.json").await.unwrap();
    let asked = server.seen().len();
    for revision in ["", COMMIT] {
        let repository = offline(&server, &cache).resolve(MODEL, revision).await.unwrap();
        assert_eq!(repository.pipeline_tag(), Some("fill-mask"));
        assert_eq!(fs::read(repository.fetch("config.json").await.unwrap()).unwrap(), CONFIG);
        assert_eq!(repository.read_range("config.json", 2..12).await.unwrap(), &CONFIG[2..12]);
        assert_eq!(code(repository.fetch("vocab.txt").await), "hub_offline");
        assert_eq!(code(repository.read_range("vocab.txt", 0..1).await), "hub_offline");
        assert_eq!(code(repository.fetch("nothing").await), "file_not_found");
    }
    assert_eq!(code(offline(&server, &cache).resolve(MODEL, "v1").await), "hub_offline");
    assert_eq!(server.seen().len(), asked);
}

#[tokio::test]
async fn offline_a_cache_made_by_python_is_enough() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let root = cache.path().join("models--org--name");
    let snapshot = root.join("snapshots").join(COMMIT);
    fs::create_dir_all(root.join("blobs")).unwrap();
    fs::create_dir_all(root.join("refs")).unwrap();
    fs::create_dir_all(snapshot.join("1_Pooling")).unwrap();
    fs::write(root.join("refs/main"), COMMIT).unwrap();
    fs::write(root.join("blobs").join(server.etag("config.json")), CONFIG).unwrap();
    let target = format!("../../../blobs/{}", server.etag("config.json"));
    std::os::unix::fs::symlink(target, snapshot.join("1_Pooling/config.json")).unwrap();
    fs::write(snapshot.join("copied.txt"), "no links on that file system").unwrap();

    let repository = offline(&server, &cache).resolve(MODEL, "main").await.unwrap();
    let paths: Vec<&str> = repository.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["1_Pooling/config.json", "copied.txt"]);
    assert_eq!(fs::read(repository.fetch("1_Pooling/config.json").await.unwrap()).unwrap(), CONFIG);
    assert_eq!(fs::read(repository.fetch("copied.txt").await.unwrap()).unwrap().len(), 28);
}

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
        .args(["--exact", "holds_a_lock_for_another_process", "--nocapture"])
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

#[tokio::test]
async fn names_that_would_leave_the_cache_are_refused() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let hub = hub(&server, &cache);
    for model_id in ["../x", "a/../b", "/etc", "a/b/c", "", "a\\b", "org/.name"] {
        assert_eq!(code(hub.resolve(model_id, "").await), "invalid_request", "{model_id}");
    }
    for revision in ["../main", "/etc", "a//b", "a b"] {
        assert_eq!(code(hub.resolve(MODEL, revision).await), "invalid_request", "{revision}");
    }
    assert!(server.seen().is_empty());
    let repository = hub.resolve(MODEL, "").await.unwrap();
    for path in ["../x", "/etc/passwd", "a/../../x", "", "a\0b"] {
        assert_eq!(code(repository.fetch(path).await), "invalid_request", "{path}");
        assert_eq!(code(repository.read_range(path, 0..1).await), "invalid_request", "{path}");
    }
    server.put("org/evil", COMMIT, &[("../../escaped", b"x")]);
    assert_eq!(code(hub.resolve("org/evil", "").await), "invalid_request");
    server.put("org/odd", "../../../commit", &[("config.json", CONFIG)]);
    assert_eq!(code(hub.resolve("org/odd", "").await), "hub_unreachable");
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_nowhere_else() {
    let weights = weights(100_000);
    let server = HubServer::start(&[("config.json", CONFIG), (WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    let token = Some(Token::new("hf_verysecret"));
    let config = HubConfig { token, ..config(&server, &cache) };
    assert!(!format!("{config:?}").contains("verysecret"));
    let repository = Hub::new(config.clone()).unwrap().resolve(MODEL, "").await.unwrap();
    repository.fetch("config.json").await.unwrap();
    repository.fetch(WEIGHTS).await.unwrap();
    let seen = server.seen();
    assert!(seen.iter().any(|seen| seen.at_storage));
    for seen in seen {
        let expected = (!seen.at_storage).then(|| "Bearer hf_verysecret".to_owned());
        assert_eq!(seen.authorization, expected, "{}", seen.target);
    }
    fs::remove_dir_all(cache.path().join("models--org--name/blobs")).unwrap();
    server.misbehave(WEIGHTS, vec![Fault::DropAfter(10); 3]);
    let error = repository.fetch(WEIGHTS).await.unwrap_err();
    let everything = format!("{error} {error:?}");
    assert!(!everything.contains("secret"), "{everything}");
    let unusable = HubConfig { token: Some(Token::new("verysecret\n")), ..config };
    let error = Hub::new(unusable).err().unwrap();
    assert!(!format!("{error} {error:?}").contains("verysecret"));
}

#[tokio::test]
async fn a_range_is_read_without_downloading_the_file() {
    let weights = weights(3_000_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    assert_eq!(repository.read_range(WEIGHTS, 8..5000).await.unwrap(), &weights[8..5000]);
    assert_eq!(server.content_requests(WEIGHTS), [Some("bytes=8-4999".to_owned())]);
    server.misbehave(WEIGHTS, [Fault::IgnoreRange, Fault::DropAfter(20)]);
    assert_eq!(
        repository.read_range(WEIGHTS, 100_000..200_000).await.unwrap(),
        &weights[100_000..200_000]
    );
    assert_eq!(repository.read_range(WEIGHTS, 9..99).await.unwrap(), &weights[9..99]);
    assert_eq!(repository.read_range(WEIGHTS, 3_000_000..3_000_000).await.unwrap(), &b""[..]);
    assert_eq!(code(repository.read_range(WEIGHTS, 0..3_000_001).await), "invalid_request");
    assert_eq!(
        code(repository.read_range(WEIGHTS, std::ops::Range { start: 9, end: 8 }).await),
        "invalid_request"
    );
    assert!(blobs(&cache).is_empty());
    repository.fetch(WEIGHTS).await.unwrap();
    let asked = server.seen().len();
    assert_eq!(repository.read_range(WEIGHTS, 8..5000).await.unwrap(), &weights[8..5000]);
    assert_eq!(server.seen().len(), asked);
}

#[tokio::test]
async fn a_full_disk_is_said_with_the_bytes_that_are_missing() {
    let weights = weights(100_000);
    let server = HubServer::start(&[(WEIGHTS, &weights)]).await;
    let cache = TempDir::new().unwrap();
    fs::create_dir_all(cache.path().join("models--org--name/blobs")).unwrap();
    let partial = blob(&cache, &format!("{}.incomplete", server.etag(WEIGHTS)));
    std::os::unix::fs::symlink("/dev/full", partial).unwrap();
    let error = repository(&server, &cache).await.fetch(WEIGHTS).await.unwrap_err();
    assert!(matches!(error, HubError::DiskFull { needed: 100_000, .. }), "{error:?}");
    assert_eq!(error.code(), "disk_full");
}

#[tokio::test]
async fn a_branch_is_asked_for_again_only_after_its_time() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let cache = TempDir::new().unwrap();
    let hub = hub(&server, &cache);
    for _ in 0..3 {
        hub.resolve(MODEL, "").await.unwrap();
    }
    assert_eq!(server.requests_to("/revision/"), 1);
    let other = "89abcdef0123456789abcdef0123456789abcdef";
    server.put(MODEL, other, &[("new.json", CONFIG)]);
    assert_eq!(hub.resolve(MODEL, "").await.unwrap().revision(), COMMIT);
    let config = HubConfig { metadata_ttl: Duration::ZERO, ..config(&server, &cache) };
    let repository = Hub::new(config).unwrap().resolve(MODEL, "").await.unwrap();
    assert_eq!((repository.revision(), repository.files()[0].path.as_str()), (other, "new.json"));
    assert_eq!(hub.resolve(MODEL, COMMIT).await.unwrap().files()[0].path, "config.json");
}

#[tokio::test]
async fn progress_counts_every_byte_once() {
    let (a, b) = (weights(3_000_000), weights(2_000_000));
    let server =
        HubServer::start(&[("a.safetensors", &a), ("b.safetensors", &b), ("copy.safetensors", &a)])
            .await;
    let cache = TempDir::new().unwrap();
    let repository = repository(&server, &cache).await;
    let steps = Mutex::new(Vec::new());
    let paths = ["a.safetensors", "b.safetensors", "copy.safetensors"].map(str::to_owned);
    assert_eq!(repository.missing_bytes(&paths), 5_000_000);
    let found = repository
        .fetch_all(&paths, &|progress| steps.lock().unwrap().push(progress))
        .await
        .unwrap();
    assert!(fs::read(&found[2]).unwrap() == a);
    let steps = steps.into_inner().unwrap();
    assert!(steps.iter().all(|step| step.total_bytes == 5_000_000));
    assert!(steps.windows(2).all(|pair| pair[0].done_bytes <= pair[1].done_bytes));
    assert_eq!(steps.last().unwrap().done_bytes, 5_000_000);
}

#[tokio::test]
async fn a_local_folder_is_a_hub_and_comes_first() {
    let server = HubServer::start(&[("config.json", CONFIG)]).await;
    let (cache, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let model = folder.path().join("org/name");
    fs::create_dir_all(model.join("1_Pooling")).unwrap();
    fs::create_dir_all(folder.path().join("alone")).unwrap();
    fs::create_dir_all(folder.path().join("org/notes")).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    fs::write(model.join("1_Pooling/config.json"), "{}").unwrap();
    fs::write(
        model.join("README.md"),
        "---\npipeline_tag: text-generation\nlibrary_name: 'x'\n---\n# Name\n",
    )
    .unwrap();
    fs::write(folder.path().join("alone/model.safetensors"), "12345678").unwrap();
    fs::write(folder.path().join("secret.txt"), "outside").unwrap();

    let hub =
        Hub::new(HubConfig { local: vec![folder.path().to_owned()], ..config(&server, &cache) })
            .unwrap();
    let ids: Vec<String> = hub.local_models().into_iter().map(|model| model.model_id).collect();
    assert_eq!(ids, ["alone", "org/name"]);
    let repository = hub.resolve(MODEL, "").await.unwrap();
    assert_eq!((repository.source(), repository.is_immutable()), (Source::Local, false));
    assert_eq!(
        (repository.pipeline_tag(), repository.library_name()),
        (Some("text-generation"), Some("x"))
    );
    let paths: Vec<&str> = repository.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["1_Pooling/config.json", "README.md", "config.json"]);
    assert_eq!(
        repository.fetch("1_Pooling/config.json").await.unwrap(),
        model.join("1_Pooling/config.json")
    );
    assert_eq!(code(repository.fetch("../../secret.txt").await), "invalid_request");
    assert_eq!(repository.missing_bytes(&["config.json".to_owned()]), 0);
    let alone = hub.resolve("alone", "main").await.unwrap();
    assert_eq!(alone.read_range(WEIGHTS, 2..4).await.unwrap(), &b"34"[..]);
    assert!(server.seen().is_empty());

    let before = repository.revision().to_owned();
    assert_eq!(hub.resolve(MODEL, &before).await.unwrap().source(), Source::Local);
    fs::write(model.join("config.json"), "{ }").unwrap();
    assert_ne!(hub.resolve(MODEL, "").await.unwrap().revision(), before);
    assert_eq!(hub.resolve(MODEL, COMMIT).await.unwrap().source(), Source::Hub);
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    for endpoint in ["", "huggingface.co", "ftp://host", "file:///etc", "mailto:a@b"] {
        let config = HubConfig { endpoint: endpoint.to_owned(), ..HubConfig::new("cache") };
        assert_eq!(
            Hub::new(config).err().map(|error| error.code()),
            Some("invalid_hub_settings"),
            "{endpoint}"
        );
    }
}
