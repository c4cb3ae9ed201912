//! A Stable Diffusion of more than a gigabyte: the small one of the fixtures with channels so many times as wide.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use serde_json::{Value, json};

use super::{
    models::{change_json, safetensors_header},
    painters,
    zoo::list,
};

/// Of the U-Net and of the text that it looks at: more than a gigabyte of float32.
const WIDER: u64 = 72;
const WIDER_AUTOENCODER: u64 = 8;
/// Sizes below this one are those of pictures, latents and kernels.
const LEAST_CHANNELS: u64 = 8;
/// Random values that are written again and again.
const BLOCK: usize = 1 << 20;

/// Writes it into `hub/painters/wide` and answers its id and the bytes of its weights.
pub fn write(hub: &Path) -> (String, u64) {
    painters::write(hub, "pipeline-sd1");
    let model_id = "painters/wide".to_owned();
    let folder = hub.join(&model_id);
    fs::rename(hub.join("painters/pipeline-sd1"), &folder).expect("moved");
    let wide =
        |values: &[u64], times: u64| json!(values.iter().map(|n| n * times).collect::<Vec<_>>());
    let change = |component: &str, change: Value| {
        change_json(&folder.join(component).join("config.json"), &change);
    };
    let text_dim = 16 * WIDER;
    change(
        "unet",
        json!({"block_out_channels": wide(&[8, 16], WIDER), "cross_attention_dim": text_dim}),
    );
    change("text_encoder", json!({"hidden_size": text_dim, "intermediate_size": 24 * WIDER}));
    change("vae", json!({"block_out_channels": wide(&[8, 8, 8], WIDER_AUTOENCODER)}));
    let components = [
        ("unet", WIDER, &[][..]),
        // Its vocabulary and its positions stay.
        ("text_encoder", WIDER, &[468, 77][..]),
        ("vae", WIDER_AUTOENCODER, &[][..]),
    ];
    let bytes = components.map(|(component, times, kept)| {
        let shapes = painters::tensors_of("pipeline-sd1", component);
        let tensors: Vec<(String, Vec<usize>)> = shapes
            .as_object()
            .expect("an object")
            .iter()
            .map(|(name, shape)| (name.clone(), widened(name, list(shape), times, kept)))
            .collect();
        write_tensors(&folder.join(component).join("diffusion_pytorch_model.safetensors"), &tensors)
    });
    (model_id, bytes.iter().sum())
}

fn widened(name: &str, shape: &[Value], times: u64, kept: &[u64]) -> Vec<usize> {
    // What becomes the moments of latents: two values for each of four channels.
    let is_moments = |at: usize| match name {
        "quant_conv.weight" | "quant_conv.bias" => true,
        "encoder.conv_out.weight" | "encoder.conv_out.bias" => at == 0,
        _ => false,
    };
    let size = |(at, size): (usize, &Value)| {
        let size = size.as_u64().expect("a size");
        let stays = size < LEAST_CHANNELS || kept.contains(&size) || is_moments(at);
        (if stays { size } else { size * times }) as usize
    };
    shape.iter().enumerate().map(size).collect()
}

/// Small random values, the same block of them over and over. Answers their bytes.
fn write_tensors(path: &Path, tensors: &[(String, Vec<usize>)]) -> u64 {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let block: Vec<u8> = std::iter::repeat_with(|| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    })
    .take(BLOCK)
    .flat_map(|unit| (unit * 0.02).to_le_bytes())
    .collect();
    let mut file = File::create(path).expect("a file");
    file.write_all(&safetensors_header(tensors)).expect("written");
    let values: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let mut left = values * 4;
    while left > 0 {
        let bytes = left.min(block.len());
        file.write_all(&block[..bytes]).expect("written");
        left -= bytes;
    }
    (values * 4) as u64
}
