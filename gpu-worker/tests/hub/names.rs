//! Ids, paths and settings from outside, and the folders of the user.

use std::fs;

use gpu_worker::hub::{Hub, HubConfig, Source};
use tempfile::TempDir;

use super::{
    CONFIG, WEIGHTS, code, config, hub,
    server::{COMMIT, HubServer, MODEL},
};

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
    assert_eq!(code(hub.resolve("org/evil", "").await), "hub_unreachable");
    assert!(!cache.path().join("models--org--evil").exists());
    server.put("org/odd", "../../../commit", &[("config.json", CONFIG)]);
    assert_eq!(code(hub.resolve("org/odd", "").await), "hub_unreachable");
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
