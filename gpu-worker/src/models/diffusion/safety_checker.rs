//! Tells pictures that a pipeline must not show: CLIP's vector of the picture against those of concepts.
//!
//! Reference: `diffusers/pipelines/stable_diffusion/safety_checker.py`, and `CLIPVisionModel` of
//! `transformers/models/clip/modeling_clip.py`.

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::clip_layer::{Layer, LayerConfig};
use crate::{
    layers::{Activation, LayerNorm, Linear, PatchEmbedding, Step},
    models::{LoadError, check_divides, check_positive},
    weights::{Rename, Weights},
};

/// Concepts, and those that make a picture be looked at more strictly.
const CONCEPTS: i64 = 17;
const SPECIAL_CONCEPTS: i64 = 3;
/// How much more strictly.
const ADJUSTMENT: f32 = 0.01;
/// Scores are rounded to thousandths before they are held against nothing.
const ROUNDED: f32 = 1000.0;
/// Least length of a vector that is brought to length 1.
const LEAST_LENGTH: f64 = 1e-12;

/// Defaults are the reference's.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "projection_dim")]
    projection_dim: i64,
    vision_config: Option<VisionConfig>,
    /// What older configs say beside it, or instead of it, and then counts.
    vision_config_dict: Option<VisionConfig>,
}

fn projection_dim() -> i64 {
    512
}

#[derive(Deserialize)]
#[serde(default)]
struct VisionConfig {
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_channels: i64,
    image_size: i64,
    patch_size: i64,
    hidden_act: Activation,
    layer_norm_eps: f64,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl VisionConfig {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_channels", self.num_channels),
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
        ])?;
        check_positive(&[("image_size / patch_size", self.image_size / self.patch_size)])?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)
    }

    fn n_patches(&self) -> i64 {
        (self.image_size / self.patch_size).pow(2)
    }
}

pub struct SafetyChecker {
    class_embedding: Tensor,
    patch_embedding: PatchEmbedding,
    position_embedding: Tensor,
    pre_layrnorm: LayerNorm,
    layers: Vec<Layer>,
    post_layernorm: LayerNorm,
    visual_projection: Linear,
    concept_embeds: Tensor,
    special_care_embeds: Tensor,
    concept_embeds_weights: Tensor,
    special_care_embeds_weights: Tensor,
    image_size: i64,
}

/// How much nearer one picture is to each concept than it may be: similarity less the concept's threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct SafetyScores {
    pub special: Vec<f32>,
    pub concepts: Vec<f32>,
}

impl SafetyScores {
    /// Whether the picture must not be shown.
    pub fn is_refused(&self) -> bool {
        let exceeds = |score: f32, adjustment: f32| {
            ((score + adjustment) * ROUNDED).round_ties_even() / ROUNDED > 0.0
        };
        let mut adjustment = 0.0;
        for &score in &self.special {
            if exceeds(score, adjustment) {
                adjustment = ADJUSTMENT;
            }
        }
        self.concepts.iter().any(|&score| exceeds(score, adjustment))
    }
}

impl SafetyChecker {
    /// Checkpoints name the picture's encoder twice.
    pub const RENAMES: &'static [Rename] =
        &[Rename::Part { from: "vision_model.vision_model.", to: "vision_model." }];
    /// Saved, but nothing that was learned.
    pub const IGNORED: &'static [&'static str] = &["embeddings.position_ids"];

    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let Config { projection_dim, vision_config, vision_config_dict } =
            serde_json::from_str(config)?;
        let config = vision_config_dict.or(vision_config).unwrap_or_default();
        check_positive(&[("projection_dim", projection_dim)])?;
        config.check()?;
        let (dim, vision) = (config.hidden_size, weights.at("vision_model"));
        let (embeddings, layers) = (vision.at("embeddings"), vision.at("encoder.layers"));
        let norm = |name| LayerNorm::load(&vision.at(name), dim, config.layer_norm_eps);
        let layer = LayerConfig {
            dim,
            inner_dim: config.intermediate_size,
            n_heads: config.num_attention_heads,
            act: config.hidden_act,
            eps: config.layer_norm_eps,
            is_causal: false,
        };
        let projection = weights.at("visual_projection");
        Ok(Self {
            class_embedding: embeddings.get("class_embedding", &[dim])?,
            patch_embedding: PatchEmbedding::load_with(
                &embeddings.at("patch_embedding"),
                config.num_channels,
                dim,
                [config.patch_size, config.patch_size],
                false,
            )?,
            position_embedding: embeddings
                .at("position_embedding")
                .get("weight", &[config.n_patches() + 1, dim])?,
            pre_layrnorm: norm("pre_layrnorm")?,
            layers: (0..config.num_hidden_layers)
                .map(|number| Layer::load(layer, &layers.at(number)))
                .collect::<Result<_, _>>()?,
            post_layernorm: norm("post_layernorm")?,
            visual_projection: Linear::load_with(&projection, dim, projection_dim, false)?,
            concept_embeds: weights.get("concept_embeds", &[CONCEPTS, projection_dim])?,
            special_care_embeds: weights
                .get("special_care_embeds", &[SPECIAL_CONCEPTS, projection_dim])?,
            concept_embeds_weights: weights.get("concept_embeds_weights", &[CONCEPTS])?,
            special_care_embeds_weights: weights
                .get("special_care_embeds_weights", &[SPECIAL_CONCEPTS])?,
            image_size: config.image_size,
        })
    }

    /// Of each picture of `[batch, channels, image_size, image_size]`, as the repository's feature extractor makes them.
    pub fn scores(&self, pixels: &Tensor, step: &Step) -> Vec<SafetyScores> {
        let embedded = unit(&self.embed(pixels, step));
        let against = |concepts: &Tensor, thresholds: &Tensor| {
            let scores = embedded.matmul(&unit(concepts).tr());
            let scores = scores.to_kind(Kind::Float) - thresholds.to_kind(Kind::Float);
            let n_concepts = thresholds.size()[0] as usize;
            let scores = Vec::<f32>::try_from(scores.flatten(0, -1)).expect("float32 in a row");
            scores.chunks(n_concepts).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let special = against(&self.special_care_embeds, &self.special_care_embeds_weights);
        let concepts = against(&self.concept_embeds, &self.concept_embeds_weights);
        let pairs = special.into_iter().zip(concepts);
        pairs.map(|(special, concepts)| SafetyScores { special, concepts }).collect()
    }

    /// Height and width that pixels must have.
    pub fn image_size(&self) -> i64 {
        self.image_size
    }

    fn embed(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let patches = self.patch_embedding.forward(pixels, step);
        let class = self.class_embedding.expand([patches.size()[0], 1, -1], false);
        let embedded = Tensor::cat(&[class, patches], 1) + &self.position_embedding;
        let mut state = self.pre_layrnorm.forward(&embedded, step);
        for layer in &self.layers {
            state = layer.forward(state, step);
        }
        let pooled = self.post_layernorm.forward(&state.select(1, 0), step);
        self.visual_projection.forward(&pooled, step)
    }
}

/// Rows of length 1.
fn unit(rows: &Tensor) -> Tensor {
    let lengths = rows.norm_scalaropt_dim(2.0, [-1], true).clamp_min(LEAST_LENGTH);
    rows / lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(special: [f32; 3], concept: f32) -> bool {
        SafetyScores { special: special.to_vec(), concepts: vec![-1.0, concept] }.is_refused()
    }

    #[test]
    fn a_special_concept_makes_the_others_stricter() {
        let calm = [-0.1; 3];
        assert!(refused(calm, 0.001) && !refused(calm, -0.005));
        assert!(refused([-0.1, 0.002, -0.1], -0.005) && !refused([-0.1, 0.002, -0.1], -0.011));
        // Special concepts alone refuse nothing.
        assert!(!refused([1.0; 3], -0.5));
    }

    #[test]
    fn scores_are_rounded_to_thousandths() {
        let calm = [-0.1; 3];
        assert!(!refused(calm, 0.0004) && refused(calm, 0.0006));
        assert!(refused([-0.1, -0.1, 0.0006], -0.009) && !refused([-0.1, -0.1, 0.0004], -0.009));
    }
}
