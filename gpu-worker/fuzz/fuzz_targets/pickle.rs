//! Any bytes at all are a PyTorch checkpoint or a typed error; an accepted file's tensors lie inside of their storages, and those
//! inside of the file.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/weights/pickle/mod.rs"]
mod pickle;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(found) = pickle::parse_file(bytes) else { return };
    for tensor in &found.tensors {
        let storage = &found.storages[&tensor.storage];
        let end = (tensor.offset + tensor.span()) * tensor.dtype.bytes();
        assert!(tensor.elements() == 0 || end <= storage.bytes);
        let start = match storage.place {
            pickle::Place::Header(start) | pickle::Place::Data(start) => start,
            pickle::Place::Unknown => panic!("a storage that was not found"),
        };
        assert!(start + storage.bytes <= bytes.len() as u64);
    }
});
