//! What the cache knows by itself, and when it is asked whether that still holds.

use std::{fs, time::Duration};

use gpu_worker::hub::{Hub, HubConfig};
use tempfile::TempDir;

use super::{
    CONFIG, WEIGHTS, code, config, hub, offline, repository,
    server::{COMMIT, HubServer, MODEL},
    weights,
};

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
