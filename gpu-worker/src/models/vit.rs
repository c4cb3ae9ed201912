//! Vision Transformer (Dosovitskiy et al., 2020, <https://arxiv.org/abs/2010.11929>) as an image classifier.
//!
//! Reference: `transformers/models/vit/modeling_vit.py`. Names are those of published checkpoints.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{
    Architecture, ImageClassifier, LoadError, Model, ModelKind, check_divides, check_positive,
    labels::LabelConfig, sides::Size,
};
use crate::{
    layers::{Activation, LayerNorm, Linear, PatchEmbedding, Step},
    weights::{Rename, Weights, WeightsError},
};

pub(super) const VIT: Architecture = Architecture {
    model_type: "vit",
    kinds: &[ModelKind::ImageClassifier],
    // Published checkpoints have other names than the library has in memory; adapters may have either.
    renames: &[
        Rename::StripPrefix("vit."),
        Rename::Part { from: ".attention.q_proj.", to: ".attention.attention.query." },
        Rename::Part { from: ".attention.k_proj.", to: ".attention.attention.key." },
        Rename::Part { from: ".attention.v_proj.", to: ".attention.attention.value." },
        Rename::Part { from: ".attention.o_proj.", to: ".attention.output.dense." },
        Rename::Part { from: ".mlp.fc1.", to: ".intermediate.dense." },
        Rename::Part { from: ".mlp.fc2.", to: ".output.dense." },
        Rename::Part { from: "encoder.layer.", to: "layers." },
    ],
    // A classifier has no use for the pooling layer of the bare model it may have been made from.
    ignored: &["pooler.dense.weight", "pooler.dense.bias"],
    load,
};

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    let labels = config.labels.labels()?;
    Ok(Model::ImageClassifier(Box::new(Classifier::load(&config, labels, weights)?)))
}

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    layer_norm_eps: f64,
    image_size: Size,
    patch_size: Size,
    num_channels: i64,
    qkv_bias: bool,
    #[serde(flatten)]
    labels: LabelConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            image_size: Size::Square(224),
            patch_size: Size::Square(16),
            num_channels: 3,
            qkv_bias: true,
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        let ([height, width], [patch_height, patch_width]) =
            (self.image_size.sides(), self.patch_size.sides());
        check_positive(&[
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("image_size", height.min(width)),
            ("patch_size", patch_height.min(patch_width)),
            ("num_channels", self.num_channels),
        ])?;
        check_positive(&[
            ("image_size", height.max(width)),
            ("patch_size", patch_height.max(patch_width)),
        ])?;
        // Parts that do not fill a patch are cut off, as in the reference.
        check_positive(&[(
            "image_size / patch_size",
            (height / patch_height).min(width / patch_width),
        )])?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)
    }

    fn n_patches(&self) -> i64 {
        let ([height, width], [patch_height, patch_width]) =
            (self.image_size.sides(), self.patch_size.sides());
        (height / patch_height) * (width / patch_width)
    }
}

struct Classifier {
    embeddings: Embeddings,
    encoder: Vec<Layer>,
    layernorm: LayerNorm,
    classifier: Linear,
    labels: Vec<String>,
    image_size: [i64; 2],
    n_channels: i64,
}

impl Classifier {
    fn load(config: &Config, labels: Vec<String>, weights: &Weights) -> Result<Self, WeightsError> {
        let layers = weights.at("layers");
        Ok(Self {
            embeddings: Embeddings::load(config, &weights.at("embeddings"))?,
            encoder: (0..config.num_hidden_layers)
                .map(|layer| Layer::load(config, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            layernorm: LayerNorm::load(
                &weights.at("layernorm"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            classifier: Linear::load(
                &weights.at("classifier"),
                config.hidden_size,
                labels.len() as i64,
            )?,
            labels,
            image_size: config.image_size.sides(),
            n_channels: config.num_channels,
        })
    }
}

impl ImageClassifier for Classifier {
    fn logits(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let mut hidden = self.embeddings.forward(pixels, step);
        for layer in &self.encoder {
            hidden = layer.forward(hidden, step);
        }
        // The first position ([CLS]) stands for the whole picture, and normalisation is per position.
        let first = self.layernorm.forward(&hidden.select(1, 0), step);
        self.classifier.forward(&first, step).to_kind(Kind::Float)
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn image_size(&self) -> (i64, i64) {
        (self.image_size[0], self.image_size[1])
    }

    fn n_channels(&self) -> i64 {
        self.n_channels
    }
}

struct Embeddings {
    cls_token: Tensor,
    position_embeddings: Tensor,
    patch_embeddings: PatchEmbedding,
}

impl Embeddings {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let dim = config.hidden_size;
        let patches = weights.at("patch_embeddings").at("projection");
        Ok(Self {
            cls_token: weights.get("cls_token", &[1, 1, dim])?,
            position_embeddings: weights
                .get("position_embeddings", &[1, config.n_patches() + 1, dim])?,
            patch_embeddings: PatchEmbedding::load(
                &patches,
                config.num_channels,
                dim,
                config.patch_size.sides(),
            )?,
        })
    }

    /// `[batch, n_channels, height, width]` to `[batch, 1 + n_patches, dim]`.
    fn forward(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let patches = self.patch_embeddings.forward(pixels, step);
        let cls_token = self.cls_token.expand([patches.size()[0], -1, -1], false);
        Tensor::cat(&[cls_token, patches], 1) + &self.position_embeddings
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    intermediate: Linear,
    output: Linear,
    layernorm_before: LayerNorm,
    layernorm_after: LayerNorm,
    act: Activation,
    n_heads: i64,
    scale: f64,
}

impl Layer {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (config.hidden_size, config.intermediate_size);
        let attention = weights.at("attention");
        let projection = |name| {
            Linear::load_with(&attention.at("attention").at(name), dim, dim, config.qkv_bias)
        };
        let norm = |name| LayerNorm::load(&weights.at(name), dim, config.layer_norm_eps);
        Ok(Self {
            query: projection("query")?,
            key: projection("key")?,
            value: projection("value")?,
            attention_output: Linear::load(&attention.at("output").at("dense"), dim, dim)?,
            intermediate: Linear::load(&weights.at("intermediate").at("dense"), dim, inner_dim)?,
            output: Linear::load(&weights.at("output").at("dense"), inner_dim, dim)?,
            layernorm_before: norm("layernorm_before")?,
            layernorm_after: norm("layernorm_after")?,
            act: config.hidden_act,
            n_heads: config.num_attention_heads,
            scale: ((dim / config.num_attention_heads) as f64).powf(-0.5),
        })
    }

    /// `[batch, positions, dim]` to the same shape.
    fn forward(&self, xs: Tensor, step: &Step) -> Tensor {
        let normalised = self.layernorm_before.forward(&xs, step);
        let project = |linear: &Linear| linear.forward(&normalised, step);
        let (q, k, v) = (project(&self.query), project(&self.key), project(&self.value));
        let attended = step.attend(&q, &k, &v, self.n_heads, self.scale);
        let xs = self.attention_output.forward(&attended, step) + xs;
        let normalised = self.layernorm_after.forward(&xs, step);
        let expanded = self.act.forward(&self.intermediate.forward(&normalised, step));
        self.output.forward(&expanded, step) + xs
    }
}
