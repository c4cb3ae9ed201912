//! Any bytes at all are an index or a typed error; an accepted index stays in its folder.
#![no_main]

#[path = "../../src/weights/index.rs"]
mod index;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = index::parse_index(bytes) else { return };
    for shard in index.shards.keys() {
        let is_weights = shard.ends_with(".safetensors") || shard.ends_with(".bin");
        assert!(!shard.contains('/') && is_weights);
    }
});
