//! Checkpoints whose values are computed from a hash of their names, as `gpu-worker/tests/fixtures/make/hashed_weights.py`
//! computes them for the reference.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use serde_json::Value;

use super::{models::safetensors_header, zoo::list};

pub const SEED: u64 = 7;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Writes the tensors of these names and shapes.
pub fn write(path: &Path, tensors: &Value) {
    let size = |size: &Value| size.as_u64().expect("a size") as usize;
    let tensors: Vec<(String, Vec<usize>)> = tensors
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, shape)| (name.clone(), list(shape).iter().map(size).collect()))
        .collect();
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    file.write_all(&safetensors_header(&tensors)).expect("written");
    for (name, shape) in &tensors {
        for value in values(name, shape, SEED) {
            file.write_all(&value.to_le_bytes()).expect("written");
        }
    }
    file.flush().expect("written");
}

/// Around 1 for norms, else around 0.
pub fn values(name: &str, shape: &[usize], seed: u64) -> Vec<f32> {
    let start = fnv1a(name).wrapping_add(seed.wrapping_mul(GOLDEN));
    let unit = |step: u64| {
        let bits = mix(start.wrapping_add(step.wrapping_mul(GOLDEN))) >> 40;
        (bits as i64 - (1 << 23)) as f32 / (1 << 23) as f32
    };
    let scaled = |value: f32| match shape {
        [_] if name.ends_with("weight") => 1.0 + value * 0.25,
        [_] => value * 0.125,
        _ => value * 0.25,
    };
    (1..=shape.iter().product::<usize>() as u64).map(|step| scaled(unit(step))).collect()
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |value, byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}
