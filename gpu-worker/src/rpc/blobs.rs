//! Bytes that are too large for a message: kept by their content's address, within a budget, for a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use proto::{BlobChunk, BlobReceipt};
use sha2::{Digest, Sha256};
use tonic::{Status, Streaming};

use crate::failure::{Code, Failure};

/// Largest chunk that is taken.
const CHUNK_LIMIT: usize = 1 << 20;

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of one blob.
    pub blob_bytes: u64,
    /// Of all together.
    pub total_bytes: u64,
    /// After the last use.
    pub ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { blob_bytes: 512 << 20, total_bytes: 2 << 30, ttl: Duration::from_secs(600) }
    }
}

/// The store; cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    limits: Limits,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    by_id: HashMap<String, (Bytes, Instant)>,
    bytes: u64,
    /// Promised to uploads that are under way.
    incoming: u64,
}

impl Blobs {
    pub fn new(limits: Limits) -> Self {
        Self { limits, kept: Arc::default() }
    }

    /// Bytes of all that is kept.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// The bytes of `id`, whose time then starts anew.
    pub fn get(&self, id: &str) -> Option<Bytes> {
        let mut kept = self.lock();
        let (bytes, used) = kept.by_id.get_mut(id)?;
        *used = Instant::now();
        Some(bytes.clone())
    }

    fn keep(&self, data: Vec<u8>) -> BlobReceipt {
        let digest = Sha256::digest(&data);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let blob_id = format!("sha256:{hex}");
        let bytes = data.len() as u64;
        let mut kept = self.lock();
        if kept.by_id.insert(blob_id.clone(), (data.into(), Instant::now())).is_none() {
            kept.bytes += bytes;
        }
        BlobReceipt { blob_id, bytes, ttl_ms: self.limits.ttl.as_millis() as u64 }
    }

    /// Promises room for `more` bytes, after dropping what has expired.
    fn reserve(&self, more: u64) -> Result<(), Failure> {
        let mut kept = self.lock();
        let ttl = self.limits.ttl;
        let expired: Vec<String> = kept
            .by_id
            .iter()
            .filter(|(_, (_, used))| used.elapsed() >= ttl)
            .map(|(id, _)| id.clone())
            .collect();
        for id in expired {
            if let Some((data, _)) = kept.by_id.remove(&id) {
                kept.bytes -= data.len() as u64;
            }
        }
        if kept.bytes + kept.incoming + more > self.limits.total_bytes {
            return Err(Failure::new(Code::Overloaded, "no room for more blobs now")
                .number("limit", self.limits.total_bytes)
                .retry_after(Duration::from_secs(5)));
        }
        kept.incoming += more;
        Ok(())
    }

    fn unreserve(&self, bytes: u64) {
        self.lock().incoming -= bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room promised to one upload, given back however it ends.
struct Reservation<'a> {
    blobs: &'a Blobs,
    bytes: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.blobs.unreserve(self.bytes);
    }
}

pub async fn put(blobs: &Blobs, mut chunks: Streaming<BlobChunk>) -> Result<BlobReceipt, Status> {
    let mut data = Vec::new();
    let mut reservation = Reservation { blobs, bytes: 0 };
    while let Some(chunk) = chunks.message().await? {
        if chunk.data.len() > CHUNK_LIMIT {
            return Err(too_large("a chunk", chunk.data.len() as u64, CHUNK_LIMIT as u64));
        }
        let more = chunk.data.len() as u64;
        if data.len() as u64 + more > blobs.limits.blob_bytes {
            return Err(too_large("a blob", data.len() as u64 + more, blobs.limits.blob_bytes));
        }
        blobs.reserve(more)?;
        reservation.bytes += more;
        data.extend_from_slice(&chunk.data);
    }
    Ok(blobs.keep(data))
}

fn too_large(what: &str, size: u64, limit: u64) -> Status {
    let failure = Failure::new(
        Code::PayloadTooLarge,
        format!("{what} may have {limit} bytes, this one has {size} or more"),
    );
    failure.number("size", size).number("limit", limit).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { blob_bytes: 100, total_bytes: 150, ttl: Duration::from_secs(60) }
    }

    #[test]
    fn the_same_bytes_have_the_same_id_and_count_once() {
        let blobs = Blobs::new(limits());
        let first = blobs.keep(vec![7; 10]);
        let second = blobs.keep(vec![7; 10]);
        assert_eq!(first.blob_id, second.blob_id);
        assert_eq!(blobs.lock().bytes, 10);
        assert_eq!(blobs.get(&first.blob_id).as_deref(), Some(&[7; 10][..]));
    }

    #[test]
    fn refuses_more_than_its_budget_and_gives_promises_back() {
        let blobs = Blobs::new(limits());
        blobs.reserve(100).expect("there is room");
        assert_eq!(blobs.reserve(60).unwrap_err().code, Code::Overloaded);
        blobs.unreserve(100);
        blobs.reserve(60).expect("there is room again");
    }

    #[test]
    fn drops_what_has_expired_when_room_is_needed() {
        let blobs = Blobs::new(Limits { ttl: Duration::ZERO, ..limits() });
        let receipt = blobs.keep(vec![1; 100]);
        blobs.reserve(100).expect("the expired blob left");
        assert_eq!(blobs.get(&receipt.blob_id), None);
    }
}
