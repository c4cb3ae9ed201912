//! Both halves over a whole text, for what is no text itself: vectors of tokens, labels of a text. The target is then
//! the source again, one token later; nothing is cached.

use tch::{Kind, Tensor};

use super::{EncDecConfig, Halves};
use crate::{
    layers::{Linear, Step},
    models::{SequenceClassifier, TextEncoder, TextModel},
    weights::{Weights, WeightsError},
};

/// The two halves, reading one text.
pub(in crate::models) struct WholeText {
    halves: Halves,
    /// The first token of every target.
    start: i64,
    dim: i64,
    max_positions: i64,
    vocab_size: i64,
}

impl WholeText {
    pub fn load(
        config: &EncDecConfig,
        start: i64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            halves: Halves::load(config, weights)?,
            start,
            dim: config.d_model,
            max_positions: config.max_positions,
            vocab_size: config.vocab_size,
        })
    }
}

impl TextEncoder for WholeText {
    fn hidden(&self, ids: &Tensor, _type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let encoded = self.halves.encoder.forward(ids, step);
        let (batch, seq) = ids.size2().expect("ids are [batch, seq]");
        let start = Tensor::full([batch, 1], self.start, (Kind::Int64, ids.device()));
        let shifted = Tensor::cat(&[start, ids.narrow(1, 0, seq - 1)], 1);
        self.halves.decoder.forward_batch(&shifted, &encoded, step)
    }

    fn pooled(&self, _hidden: &Tensor, _step: &Step) -> Option<Tensor> {
        None
    }

    fn dim(&self) -> i64 {
        self.dim
    }
}

impl TextModel for WholeText {
    fn context_length(&self) -> i64 {
        self.max_positions
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }

    fn type_vocab_size(&self) -> i64 {
        1
    }
}

/// Labels of a whole text, by what stands where it ends.
pub(in crate::models) struct WholeTextClassifier {
    text: WholeText,
    dense: Linear,
    out_proj: Linear,
    /// The token that ends a text.
    end: i64,
    n_labels: i64,
}

impl WholeTextClassifier {
    pub fn load(
        text: WholeText,
        end: i64,
        n_labels: i64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let head = weights.at("classification_head");
        Ok(Self {
            dense: Linear::load(&head.at("dense"), text.dim, text.dim)?,
            out_proj: Linear::load(&head.at("out_proj"), text.dim, n_labels)?,
            text,
            end,
            n_labels,
        })
    }
}

impl SequenceClassifier for WholeTextClassifier {
    fn logits(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let hidden = self.text.hidden(ids, type_ids, step);
        let (batch, seq, dim) = hidden.size3().expect("hidden states are [batch, seq, dim]");
        // The last of a text's ends counts: a pair of texts has several.
        let places = Tensor::arange_start(1, seq + 1, (Kind::Int64, ids.device()));
        let last = (ids.eq(self.end).to_kind(Kind::Int64) * places).argmax(1, true);
        let last = last.unsqueeze(-1).expand([batch, 1, dim], false);
        let vector = hidden.gather(1, &last, false).squeeze_dim(1);
        let inner = self.dense.forward(&vector, step).tanh();
        self.out_proj.forward(&inner, step).to_kind(Kind::Float)
    }

    fn n_labels(&self) -> i64 {
        self.n_labels
    }
}

impl TextModel for WholeTextClassifier {
    fn context_length(&self) -> i64 {
        self.text.context_length()
    }

    fn vocab_size(&self) -> i64 {
        self.text.vocab_size()
    }

    fn type_vocab_size(&self) -> i64 {
        self.text.type_vocab_size()
    }
}
