//! Any bytes at all are a checkpoint file or a typed error; an accepted file's tensors lie inside of it, one after the other.
#![no_main]
#![allow(dead_code)]

#[path = "../../src/weights/header.rs"]
mod header;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = header::parse_file(bytes) else { return };
    let mut end = None;
    for tensor in &header.tensors {
        let range = tensor.range.start as usize..tensor.range.end as usize;
        assert!(end.is_none_or(|end| end == range.start));
        let bits = tensor.elements() * tensor.dtype.bitsize() as u64;
        assert_eq!(bytes[range.clone()].len() as u64 * 8, bits);
        end = Some(range.end);
    }
    assert!(safetensors::SafeTensors::deserialize(bytes).is_ok());
});
