//! What a model would cost, before any of its weights is downloaded.

use gpu_worker::{
    failure::Code,
    hub::Hub,
    residency::{FactsCache, facts::WeightsFormat},
};
use tch::{Device, Kind};
use tempfile::tempdir;

use super::{blobs, hub, server::HubServer, server::MODEL};

const CONFIG: &[u8] =
    br#"{"model_type": "bert", "architectures": ["BertModel"], "torch_dtype": "float16"}"#;
const ARCHIVE: &str = "pytorch_model.bin";
const LEGACY: &[u8] = include_bytes!("../fixtures/pickles/legacy.bin");

/// What `torch.save({"w": torch.zeros(n, dtype=torch.float16)})` writes.
fn archive(n: u32) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((".to_vec();
    pickle.extend(b"X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ");
    pickle.extend(n.to_le_bytes());
    pickle.extend(b"tQK\0J");
    pickle.extend(n.to_le_bytes());
    pickle.extend(b"\x85K\x01\x85\x89NtRs.");
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in [("m/data.pkl", pickle), ("m/data/0", vec![0; 2 * n as usize])] {
        let sizes = [0_u32, data.len() as u32, data.len() as u32].map(u32::to_le_bytes).concat();
        let lengths = [name.len() as u8, 0, 0, 0];
        directory.extend(b"PK\x01\x02\0\0\0\0");
        directory.extend([&[0; 8], sizes.as_slice(), &lengths, &[0; 10]].concat());
        directory.extend((bytes.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        bytes.extend(b"PK\x03\x04\0\0");
        bytes.extend([&[0; 8], sizes.as_slice(), &lengths, name.as_bytes(), &data].concat());
    }
    let (start, length) = (bytes.len() as u32, directory.len() as u32);
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    bytes.extend([length.to_le_bytes(), start.to_le_bytes()].concat());
    bytes.extend([0, 0]);
    bytes
}

fn facts(hub: Hub) -> FactsCache {
    FactsCache::new(hub)
}

#[tokio::test]
async fn the_bytes_of_a_torch_archive_are_known_from_a_few_ranges_of_it() {
    const VALUES: u32 = 3_000_000;
    let archive = archive(VALUES);
    let server = HubServer::start(&[("config.json", CONFIG), (ARCHIVE, &archive)]).await;
    let cache = tempdir().unwrap();
    let facts = facts(hub(&server, &cache)).get(MODEL, "").await.unwrap();
    assert_eq!(facts.format, WeightsFormat::TorchZip);
    assert_eq!((facts.parameters, facts.stored), (u64::from(VALUES), Kind::Half));
    assert_eq!(facts.weight_bytes(Kind::Float, Device::Cpu), 4 * u64::from(VALUES));
    // It can be run, and nothing but the config was downloaded.
    assert_eq!(facts.plan("feature-extraction").unwrap().0.id, "feature-extraction");
    let etag = server.etag(ARCHIVE);
    assert!(!blobs(&cache).iter().any(|name| name.starts_with(&etag)));
    let ranges = server.content_requests(ARCHIVE);
    let asked = |range: &Option<String>| {
        let range = range.as_ref().and_then(|range| range.strip_prefix("bytes="))?;
        let (start, end) = range.split_once('-')?;
        Some(end.parse::<u64>().ok()? + 1 - start.parse::<u64>().ok()?)
    };
    let bytes: u64 = ranges.iter().map(|range| asked(range).expect("a range")).sum();
    assert!(bytes < 300_000, "{ranges:?}");
}

#[tokio::test]
async fn an_older_pickle_is_known_by_its_size_alone() {
    let server = HubServer::start(&[("config.json", CONFIG), (ARCHIVE, LEGACY)]).await;
    let cache = tempdir().unwrap();
    let facts = facts(hub(&server, &cache)).get(MODEL, "").await.unwrap();
    assert!(facts.format.is_coarse());
    assert_eq!((facts.parameters, facts.stored), (LEGACY.len() as u64 / 2, Kind::Half));
}

#[tokio::test]
async fn a_damaged_archive_is_told_with_its_file() {
    let cut = &archive(1000)[..1500];
    let server = HubServer::start(&[("config.json", CONFIG), (ARCHIVE, cut)]).await;
    let cache = tempdir().unwrap();
    let failure = facts(hub(&server, &cache)).get(MODEL, "").await.err().unwrap();
    assert_eq!(failure.code, Code::CorruptCheckpoint);
    assert!(failure.message.contains(ARCHIVE), "{failure}");
}
