//! Weights that need not be stored: every value is a function of (tensor name, index, seed), the same as in
//! `tests/fixtures/make/hashed_weights.py`.

use tch::Tensor;

pub const SEED: u64 = 7;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// `n_values` values in -1..1, multiples of 2^-23.
pub fn unit(name: &str, n_values: i64, seed: u64) -> Vec<f32> {
    let start = fnv1a(name).wrapping_add(seed.wrapping_mul(GOLDEN));
    (1..=n_values as u64)
        .map(|step| {
            let bits = mix(start.wrapping_add(step.wrapping_mul(GOLDEN))) >> 40;
            (bits as i64 - (1 << 23)) as f32 / (1 << 23) as f32
        })
        .collect()
}

/// Norm weights lie around 1, everything else around 0.
pub fn tensor(name: &str, shape: &[i64], seed: u64) -> Tensor {
    let values = unit(name, shape.iter().product(), seed).into_iter();
    let values: Vec<f32> = match shape {
        [_] if name.ends_with("weight") => values.map(|value| 1.0 + value * 0.25).collect(),
        [_] => values.map(|value| value * 0.125).collect(),
        _ => values.map(|value| value * 0.25).collect(),
    };
    Tensor::from_slice(&values).view(shape)
}

/// splitmix64's finaliser.
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
