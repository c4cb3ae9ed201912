//! What the Hub refuses, breaks or delays is named, and nothing of it is stored.

use std::{fs, time::Duration};

use gpu_worker::hub::{Hub, HubConfig, Token};
use tempfile::TempDir;

use super::{
    CONFIG, WEIGHTS, blobs, code, config, hub, repository,
    server::{COMMIT, Fault, HubServer, MODEL},
    weights,
};

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
    let config = HubConfig { stall_timeout: Duration::from_secs(1), ..config(&server, &cache) };
    let repository = Hub::new(config).unwrap().resolve(MODEL, "").await.unwrap();
    let trickle = Fault::Trickle(Duration::from_millis(10));
    server.misbehave(WEIGHTS, [trickle.clone(), trickle]);
    assert_eq!(code(repository.fetch(WEIGHTS).await), "download_stalled");
    server.misbehave(WEIGHTS, [Fault::Hang]);
    assert!(fs::read(repository.fetch(WEIGHTS).await.unwrap()).unwrap() == weights);
    assert_eq!(server.content_requests(WEIGHTS).len(), 4);
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
