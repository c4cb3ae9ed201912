//! Opens a fixture: its model with hashed weights, and what the reference answered.

use std::{collections::HashMap, fs, path::PathBuf};

use gpu_worker::{
    models::{self, CausalLm, ImageClassifier, Model, ModelKind, Seq2SeqLm, TextEncoder},
    tasks::{Bounds, Pipelines},
    weights::{Checkpoint, Rename},
};
use tch::{Device, Kind, Tensor};

use crate::hashed_weights;

/// Largest difference that counts as the same, for values up to 1.
pub const TOLERANCE: f64 = 1e-5;

pub struct Fixture {
    config: String,
    shapes: HashMap<String, Vec<i64>>,
    expected: HashMap<String, Tensor>,
    matrices: Matrices,
}

/// How a fixture's matrices come to a model that computes in float32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Matrices {
    /// As they are hashed.
    Exact,
    /// Rounded to a half type, and float32 again.
    Rounded(Kind),
    /// In that half type, as a CPU keeps those of a checkpoint that is stored so.
    Kept(Kind),
}

impl Fixture {
    pub fn open(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        Self {
            config: text("config.json"),
            shapes: serde_json::from_str(&text("tensors.json")).unwrap(),
            expected: Self::tensors(name),
            matrices: Matrices::Exact,
        }
    }

    pub fn with(self, matrices: Matrices) -> Self {
        Self { matrices, ..self }
    }

    /// What the reference answered.
    pub fn tensors(name: &str) -> HashMap<String, Tensor> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let file = folder.join("expected.safetensors");
        Tensor::read_safetensors(file).unwrap().into_iter().collect()
    }

    pub fn expected(&self, name: &str) -> &Tensor {
        self.expected.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
    }

    /// Another file of the fixture.
    pub fn json(name: &str, file: &str) -> serde_json::Value {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        serde_json::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap()
    }

    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.expected.get(name)
    }

    /// The same model from a checkpoint whose body has no prefix, if it has one here.
    pub fn without_prefix(&self) -> Self {
        let prefixed = |name: &str| {
            name.split_once('.').is_some_and(|(_, rest)| rest.starts_with("embeddings."))
        };
        let prefix = self.shapes.keys().find(|name| prefixed(name));
        let prefix =
            prefix.and_then(|name| name.split_once('.')).map(|(prefix, _)| format!("{prefix}."));
        let strip = |name: &str| match &prefix {
            Some(prefix) => name.strip_prefix(prefix.as_str()).unwrap_or(name).to_owned(),
            None => name.to_owned(),
        };
        Self {
            config: self.config.clone(),
            shapes: self.shapes.iter().map(|(name, shape)| (strip(name), shape.clone())).collect(),
            expected: HashMap::new(),
            matrices: self.matrices,
        }
    }

    pub fn causal_lm(&self) -> Box<dyn CausalLm> {
        self.causal_lm_of(Kind::Float)
    }

    pub fn causal_lm_of(&self, kind: Kind) -> Box<dyn CausalLm> {
        match self.load(ModelKind::CausalLm, kind) {
            Model::CausalLm(model) => model,
            _ => panic!("the model is not what was asked for"),
        }
    }

    pub fn seq2seq_lm(&self, kind: Kind) -> Box<dyn Seq2SeqLm> {
        match self.load(ModelKind::Seq2SeqLm, kind) {
            Model::Seq2SeqLm(model) => model,
            _ => panic!("the model is not what was asked for"),
        }
    }

    pub fn text_encoder(&self, kind: Kind) -> Box<dyn TextEncoder> {
        match self.load(ModelKind::TextEncoder, kind) {
            Model::TextEncoder(model) => model,
            _ => panic!("the model is not what was asked for"),
        }
    }

    pub fn image_classifier(&self, kind: Kind) -> Box<dyn ImageClassifier> {
        match self.load(ModelKind::ImageClassifier, kind) {
            Model::ImageClassifier(model) => model,
            _ => panic!("the model is not what was asked for"),
        }
    }

    /// The model in the pipeline that a lane would run.
    pub fn pipelines(&self, wanted: ModelKind) -> Pipelines {
        self.pipelines_with(wanted, 1 << 20)
    }

    /// As [`Self::pipelines`], with so many bytes for keys and values.
    pub fn pipelines_with(&self, wanted: ModelKind, cache_bytes: u64) -> Pipelines {
        let (model, checkpoint, _) = self.load_with_checkpoint(wanted, Kind::Float);
        let bounds = Bounds { cache_bytes, decoding_bytes: u64::MAX };
        Pipelines::new(model, checkpoint, Device::Cpu, bounds)
    }

    /// The model of a checkpoint whose tensors, under their new names, are changed first.
    pub fn edited(
        &self,
        wanted: ModelKind,
        edit: impl FnOnce(&mut HashMap<String, Tensor>),
    ) -> Model {
        let (_, checkpoint, _) = self.load_with_checkpoint(wanted, Kind::Float);
        let mut tensors = checkpoint.into_tensors();
        edit(&mut tensors);
        let config: serde_json::Value = serde_json::from_str(&self.config).unwrap();
        let architecture = models::find(config["model_type"].as_str().unwrap()).unwrap();
        let checkpoint = Checkpoint::from_tensors(tensors);
        architecture.load(&self.config, wanted, &checkpoint.root()).unwrap()
    }

    pub fn load(&self, wanted: ModelKind, kind: Kind) -> Model {
        self.load_with_checkpoint(wanted, kind).0
    }

    /// The model, and what its checkpoint has besides.
    pub fn load_with_unused(&self, wanted: ModelKind, kind: Kind) -> (Model, Vec<String>) {
        let (model, _, unused) = self.load_with_checkpoint(wanted, kind);
        (model, unused)
    }

    /// The text of `config.json`.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The checkpoint, its names as `renames` make them.
    pub fn checkpoint(&self, renames: &[Rename], kind: Kind) -> Checkpoint {
        let tensors = self.shapes.iter().map(|(name, shape)| {
            let tensor = hashed_weights::tensor(name, shape, hashed_weights::SEED).to_kind(kind);
            let tensor = match self.matrices {
                Matrices::Rounded(half) if shape.len() == 2 => tensor.to_kind(half).to_kind(kind),
                Matrices::Kept(half) if shape.len() == 2 => tensor.to_kind(half),
                _ => tensor,
            };
            (name.clone(), tensor)
        });
        let mut checkpoint = Checkpoint::from_tensors(tensors.collect());
        checkpoint.rename(renames);
        checkpoint
    }

    pub fn load_with_checkpoint(
        &self,
        wanted: ModelKind,
        kind: Kind,
    ) -> (Model, Checkpoint, Vec<String>) {
        let config: serde_json::Value = serde_json::from_str(&self.config).unwrap();
        let architecture = models::find(config["model_type"].as_str().unwrap()).unwrap();
        let checkpoint = self.checkpoint(architecture.renames, kind);
        let model = architecture.load(&self.config, wanted, &checkpoint.root()).unwrap();
        let mut unused = checkpoint.finish().unwrap().0;
        unused.retain(|name| !architecture.ignored.iter().any(|ending| name.ends_with(ending)));
        (model, checkpoint, unused)
    }
}

/// The largest one.
pub fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    (found.to_kind(Kind::Float) - expected).abs().max().double_value(&[])
}

/// Fails with the largest difference if there is one above the tolerance.
pub fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_within(TOLERANCE, found, expected, what);
}

/// As [`assert_close`] with another tolerance for values up to 1. Larger ones are rounded in proportion, and how depends
/// on the processor's vector width.
pub fn assert_within(tolerance: f64, found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = difference(found, expected);
    let largest = expected.to_kind(Kind::Float).abs().max().double_value(&[]);
    let tolerance = tolerance * largest.max(1.0);
    // Seen with `--nocapture`.
    println!("{what}: {difference:.1e}");
    assert!(difference <= tolerance, "{what}: {difference:e}, at most {tolerance:e}");
}
