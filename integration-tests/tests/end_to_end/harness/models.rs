//! Models that tests write: GPT-2 shaped, random weights, the zoo's tokenizer.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::zoo;

/// Tokens of the zoo's tokenizer.
const N_TOKENS: usize = 886;

/// The shape of a GPT-2.
#[derive(Clone, Copy)]
pub struct Gpt2 {
    pub dim: usize,
    pub layers: usize,
    pub positions: usize,
}

/// A few hundred kB.
pub const TINY: Gpt2 = Gpt2 { dim: 64, layers: 2, positions: 512 };

/// About 130 MB: slow enough to be caught in the middle of an answer.
pub const SLOW: Gpt2 = Gpt2 { dim: 512, layers: 10, positions: 2048 };

impl Gpt2 {
    /// Names and shapes of the tensors.
    fn tensors(self) -> Vec<(String, Vec<usize>)> {
        let dim = self.dim;
        let mut tensors = vec![
            ("wte.weight".to_owned(), vec![N_TOKENS, dim]),
            ("wpe.weight".to_owned(), vec![self.positions, dim]),
            ("ln_f.weight".to_owned(), vec![dim]),
            ("ln_f.bias".to_owned(), vec![dim]),
        ];
        for layer in 0..self.layers {
            for (name, shape) in [
                ("ln_1.weight", vec![dim]),
                ("ln_1.bias", vec![dim]),
                ("attn.c_attn.weight", vec![dim, 3 * dim]),
                ("attn.c_attn.bias", vec![3 * dim]),
                ("attn.c_proj.weight", vec![dim, dim]),
                ("attn.c_proj.bias", vec![dim]),
                ("ln_2.weight", vec![dim]),
                ("ln_2.bias", vec![dim]),
                ("mlp.c_fc.weight", vec![dim, 4 * dim]),
                ("mlp.c_fc.bias", vec![4 * dim]),
                ("mlp.c_proj.weight", vec![4 * dim, dim]),
                ("mlp.c_proj.bias", vec![dim]),
            ] {
                tensors.push((format!("h.{layer}.{name}"), shape));
            }
        }
        tensors
    }

    /// Writes the model with weights that are all zero, in a file that takes next to no room on the disk.
    pub fn write_sparse(self, hub: &Path, model_id: &str) {
        let folder = self.write_small_files(hub, model_id);
        let tensors = self.tensors();
        let header = safetensors_header(&tensors);
        let bytes: usize =
            tensors.iter().map(|(_, shape)| shape.iter().product::<usize>() * 4).sum();
        let mut file = File::create(folder.join("model.safetensors")).expect("a file");
        file.write_all(&header).expect("written");
        file.set_len((header.len() + bytes) as u64).expect("a sparse file");
    }

    fn config(self) -> Value {
        json!({
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": N_TOKENS,
            "n_embd": self.dim, "n_layer": self.layers, "n_head": 8, "n_positions": self.positions,
            "bos_token_id": 0, "eos_token_id": 1,
        })
    }

    /// Writes the model into `hub/model_id`.
    pub fn write(self, hub: &Path, model_id: &str) {
        let folder = self.write_small_files(hub, model_id);
        write_safetensors(&folder.join("model.safetensors"), &self.tensors(), 0);
    }

    fn write_small_files(self, hub: &Path, model_id: &str) -> PathBuf {
        let folder = hub.join(model_id);
        fs::create_dir_all(&folder).expect("a folder");
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
            fs::copy(zoo::folder(zoo::STORYTELLER).join(file), folder.join(file)).expect("a copy");
        }
        write_json(&folder.join("config.json"), &self.config());
        folder
    }
}

/// A model of the zoo again, in another hub, to be spoilt.
pub fn copy_of(model_id: &str, hub: &Path, copy_id: &str) {
    let folder = hub.join(copy_id);
    fs::create_dir_all(&folder).expect("a folder");
    for entry in fs::read_dir(zoo::folder(model_id)).expect("the model is there") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
        }
    }
}

pub fn write_json(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).expect("written");
}

/// Changes fields of a JSON file; `null` removes one.
pub fn change_json(path: &Path, change: &Value) {
    let text = fs::read_to_string(path).expect("the file is there");
    let mut fields: Map<String, Value> = serde_json::from_str(&text).expect("an object");
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    write_json(path, &Value::Object(fields));
}

/// float32 values: around 1 for norms, else small around 0, always the same for one seed.
pub fn write_safetensors(path: &Path, tensors: &[(String, Vec<usize>)], seed: u64) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    file.write_all(&safetensors_header(tensors)).expect("written");
    write_values(&mut file, tensors, seed);
    file.flush().expect("written");
}

/// The length of the header and the header.
pub fn safetensors_header(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    safetensors_header_with(tensors, &json!({"format": "pt"}))
}

/// As [`safetensors_header`], with texts by their names.
pub fn safetensors_header_with(tensors: &[(String, Vec<usize>)], metadata: &Value) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), metadata.clone());
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * 4;
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

fn write_values(file: &mut impl Write, tensors: &[(String, Vec<usize>)], seed: u64) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * seed + 1);
    for (name, shape) in tensors {
        let centre = if name.contains("ln_") && name.ends_with("weight") { 1.0 } else { 0.0 };
        for _ in 0..shape.iter().product::<usize>() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let unit = (random >> 40) as f32 / (1_u32 << 23) as f32 - 1.0;
            file.write_all(&(centre + unit * 0.1).to_le_bytes()).expect("written");
        }
    }
}
