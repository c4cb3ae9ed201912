//! The gRPC contract between control planes and workers: the one vocabulary of the whole system.

#[cfg(feature = "http")]
pub mod http;
mod input_media;

tonic::include_proto!("anymodel.v1");

/// Every message and service with its comments, for `grpc.reflection`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Grows with every addition to the contract; a worker says it in its status.
pub const CONTRACT_VERSION: u32 = 5;

/// Largest gRPC message either side sends or takes, in bytes. Tonic's own limit of 4 MiB is too low for embeddings.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Largest `Media.inline`; more goes through `PutBlob` or `MediaChunk`s.
pub const MAX_INLINE_MEDIA_BYTES: usize = 1 << 20;

/// Size of a `MediaChunk`.
pub const MEDIA_CHUNK_BYTES: usize = 256 << 10;

impl DeviceBytes {
    /// Bytes that count against the device's budget. Figures of others are believed only so far that no sum overflows.
    pub fn charged(&self) -> u64 {
        [self.weights, self.cache, self.adapters, self.workspace]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}
