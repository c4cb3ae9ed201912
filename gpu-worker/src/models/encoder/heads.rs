//! What stands on an encoder: the heads of all kinds, of one shape with different names.

use tch::{Kind, Tensor};

use super::{Encoder, EncoderConfig};
use crate::{
    layers::{Activation, LayerNorm, Linear, Step},
    models::{
        LoadError, MaskedLm, Model, ModelKind, SequenceClassifier, TextEncoder, TextModel,
        TokenScorer, check_positive, unsupported,
    },
    weights::{Weights, WeightsError},
};

/// Where the heads' tensors are and how they are computed.
#[derive(Clone, Debug)]
pub struct HeadsConfig {
    /// The pooling layer of a bare encoder, which a checkpoint may lack.
    pub pooler: Option<&'static str>,
    pub n_labels: i64,
    /// What stands for a whole text.
    pub pooling: TextPooling,
    /// What a text's vector goes through before its labels.
    pub sequence: TransformConfig,
    pub sequence_labels: &'static str,
    /// What every token goes through before its labels.
    pub token: Option<TransformConfig>,
    pub token_labels: &'static str,
    pub question_labels: &'static str,
    /// What a hidden token goes through before it is compared with the vocabulary.
    pub masked: TransformConfig,
    pub decoder: DecoderConfig,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPooling {
    /// Its first token.
    First,
    /// The mean of its tokens.
    Mean,
}

/// A linear layer, an activation and perhaps a norm.
#[derive(Clone, Copy, Debug)]
pub struct TransformConfig {
    pub dense: &'static str,
    pub bias: bool,
    pub act: Activation,
    pub norm: Option<&'static str>,
    pub out_dim: i64,
}

/// The layer from a token's vector to the vocabulary.
#[derive(Clone, Copy, Debug)]
pub struct DecoderConfig {
    /// Without a weight of its own there, it has that of the word embeddings if that is wanted.
    pub path: &'static str,
    pub is_tied: bool,
    /// Its bias, where `path` has none; `None`: it has no bias.
    pub bias: Option<&'static str>,
}

/// The model of that kind.
pub fn load(
    config: &EncoderConfig,
    heads: &HeadsConfig,
    kind: ModelKind,
    weights: &Weights,
) -> Result<Model, LoadError> {
    let encoder = Encoder::load(config, weights)?;
    let labels = |path| -> Result<Linear, LoadError> {
        check_positive(&[("id2label", heads.n_labels)])?;
        Ok(Linear::load(&weights.at(path), config.dim, heads.n_labels)?)
    };
    Ok(match kind {
        ModelKind::SequenceClassifier => {
            let head = SequenceHead {
                transform: Transform::load(&heads.sequence, config, weights)?,
                labels: labels(heads.sequence_labels)?,
                n_labels: heads.n_labels,
                pooling: heads.pooling,
            };
            Model::SequenceClassifier(Box::new(OnEncoder { encoder, head }))
        }
        ModelKind::TokenClassifier | ModelKind::QuestionAnswerer => {
            let answers_questions = kind == ModelKind::QuestionAnswerer;
            if answers_questions && heads.n_labels != 2 {
                return Err(unsupported("id2label", format!("{} labels", heads.n_labels)));
            }
            let path = if answers_questions { heads.question_labels } else { heads.token_labels };
            let head = TokenHead {
                transform: match &heads.token {
                    Some(transform) => Some(Transform::load(transform, config, weights)?),
                    None => None,
                },
                labels: labels(path)?,
                n_labels: heads.n_labels,
            };
            let scorer = Box::new(OnEncoder { encoder, head });
            if answers_questions {
                Model::QuestionAnswerer(scorer)
            } else {
                Model::TokenClassifier(scorer)
            }
        }
        ModelKind::MaskedLm => {
            let head = MaskedHead {
                transform: Transform::load(&heads.masked, config, weights)?,
                decoder: decoder(&heads.decoder, &encoder, heads.masked.out_dim, weights)?,
            };
            Model::MaskedLm(Box::new(OnEncoder { encoder, head }))
        }
        _ => {
            let head = match heads.pooler.map(|path| weights.at(path)) {
                Some(pooler) if pooler.has("weight") => {
                    Pooler(Some(Linear::load(&pooler, config.dim, config.dim)?))
                }
                _ => Pooler(None),
            };
            Model::TextEncoder(Box::new(OnEncoder { encoder, head }))
        }
    })
}

fn decoder(
    config: &DecoderConfig,
    encoder: &Encoder,
    dim: i64,
    weights: &Weights,
) -> Result<Linear, WeightsError> {
    let own = weights.at(config.path);
    let weight = if config.is_tied && !own.has("weight") {
        encoder.embeddings.words.weight().shallow_clone()
    } else {
        own.matrix("weight", &[encoder.vocab_size, dim])?
    };
    let shape = [encoder.vocab_size];
    let bias = match config.bias {
        None => None,
        Some(_) if own.has("bias") => Some(own.get("bias", &shape)?),
        Some(path) => Some(weights.get(path, &shape)?),
    };
    Ok(Linear::of(weight, bias))
}

struct Transform {
    dense: Linear,
    act: Activation,
    norm: Option<LayerNorm>,
}

impl Transform {
    fn load(
        config: &TransformConfig,
        encoder: &EncoderConfig,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let (dense, out_dim) = (weights.at(config.dense), config.out_dim);
        let has_bias = encoder.biases.norms;
        Ok(Self {
            dense: Linear::load_with(&dense, encoder.dim, out_dim, config.bias)?,
            act: config.act,
            norm: match config.norm {
                Some(path) => {
                    Some(LayerNorm::load_with(&weights.at(path), out_dim, encoder.eps, has_bias)?)
                }
                None => None,
            },
        })
    }

    /// `[…, dim]` to `[…, out_dim]`.
    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let activated = self.act.forward(&self.dense.forward(xs, step));
        match &self.norm {
            Some(norm) => norm.forward(&activated, step),
            None => activated,
        }
    }
}

/// An encoder with a head.
pub(super) struct OnEncoder<H> {
    pub(super) encoder: Encoder,
    pub(super) head: H,
}

struct Pooler(Option<Linear>);

impl TextEncoder for OnEncoder<Pooler> {
    fn hidden(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        self.encoder.forward(ids, type_ids, step)
    }

    fn pooled(&self, hidden: &Tensor, step: &Step) -> Option<Tensor> {
        let pooler = self.head.0.as_ref()?;
        // The first token ([CLS]) stands for the whole text.
        Some(pooler.forward(&hidden.select(1, 0), step).tanh())
    }

    fn dim(&self) -> i64 {
        self.encoder.dim
    }
}

struct SequenceHead {
    pooling: TextPooling,
    transform: Transform,
    labels: Linear,
    n_labels: i64,
}

impl SequenceClassifier for OnEncoder<SequenceHead> {
    fn logits(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let hidden = self.encoder.forward(ids, type_ids, step);
        let text = match self.head.pooling {
            TextPooling::First => hidden.select(1, 0),
            TextPooling::Mean => mean(&hidden, step),
        };
        self.head
            .labels
            .forward(&self.head.transform.forward(&text, step), step)
            .to_kind(Kind::Float)
    }

    fn n_labels(&self) -> i64 {
        self.head.n_labels
    }
}

/// `[batch, seq, dim]` to `[batch, dim]`.
fn mean(hidden: &Tensor, step: &Step) -> Tensor {
    let Some(present) = step.present() else {
        return hidden.mean_dim(1, false, None);
    };
    let present = present.unsqueeze(-1).to_kind(hidden.kind());
    let sum = (hidden * &present).sum_dim_intlist(1, false, None);
    sum / present.sum_dim_intlist(1, false, None)
}

struct TokenHead {
    transform: Option<Transform>,
    labels: Linear,
    n_labels: i64,
}

impl TokenScorer for OnEncoder<TokenHead> {
    fn logits(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let mut hidden = self.encoder.forward(ids, type_ids, step);
        if let Some(transform) = &self.head.transform {
            hidden = transform.forward(&hidden, step);
        }
        self.head.labels.forward(&hidden, step).to_kind(Kind::Float)
    }

    fn n_labels(&self) -> i64 {
        self.head.n_labels
    }
}

struct MaskedHead {
    transform: Transform,
    decoder: Linear,
}

impl MaskedLm for OnEncoder<MaskedHead> {
    fn hidden(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        self.encoder.forward(ids, type_ids, step)
    }

    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor {
        self.head
            .decoder
            .forward(&self.head.transform.forward(hidden, step), step)
            .to_kind(Kind::Float)
    }
}

impl<H: Send> TextModel for OnEncoder<H> {
    fn context_length(&self) -> i64 {
        self.encoder.context_length
    }

    fn vocab_size(&self) -> i64 {
        self.encoder.vocab_size
    }

    /// A model without segments takes any number and uses none.
    fn type_vocab_size(&self) -> i64 {
        if self.encoder.n_types > 0 { self.encoder.n_types } else { i64::MAX }
    }
}
