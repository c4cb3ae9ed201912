//! Files arrive whole, resumed where they broke off, in the layout that Python uses.

use std::{fs, path::Path, sync::Mutex};

use gpu_worker::hub::{HubError, Source};
use tempfile::TempDir;

use super::{
    CONFIG, WEIGHTS, blob, blobs, code, hub, leave_partial, repository,
    server::{COMMIT, Fault, HubServer, MODEL},
    weights,
};

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
