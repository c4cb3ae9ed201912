//! The hub against a server that speaks the Hub's protocol and misbehaves on demand.

// Clippy lets tests unwrap, but not what they are set up with.
#![allow(clippy::unwrap_used)]

mod downloads;
mod failures;
mod names;
mod offline;
mod plans;
mod server;
mod sharing;

use std::{fs, path::PathBuf, time::Duration};

use gpu_worker::hub::{Hub, HubConfig, HubError, Repository, RetryPolicy};
use server::{HubServer, MODEL};
use tempfile::TempDir;

const CONFIG: &[u8] = br#"{"model_type": "bert"}"#;
const WEIGHTS: &str = "model.safetensors";

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
        stall_timeout: Duration::from_secs(20),
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

fn blob(cache: &TempDir, name: &str) -> PathBuf {
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
