//! What a loaded model can be. A new kind is a new kind of output, never a new architecture.

use std::fmt;

use tch::Tensor;

use super::diffusion::{ImageGenerator, Unconditional};
use crate::layers::{CacheShape, Step};

pub enum Model {
    CausalLm(Box<dyn CausalLm>),
    Seq2SeqLm(Box<dyn Seq2SeqLm>),
    TextEncoder(Box<dyn TextEncoder>),
    SequenceClassifier(Box<dyn SequenceClassifier>),
    TokenClassifier(Box<dyn TokenScorer>),
    QuestionAnswerer(Box<dyn TokenScorer>),
    TableAnswerer(Box<dyn TableAnswerer>),
    MaskedLm(Box<dyn MaskedLm>),
    ImageClassifier(Box<dyn ImageClassifier>),
    ImageGenerator(Box<dyn ImageGenerator>),
    UnconditionalGenerator(Box<Unconditional>),
    ImageEnhancer(Box<dyn ImageEnhancer>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    CausalLm,
    Seq2SeqLm,
    TextEncoder,
    SequenceClassifier,
    TokenClassifier,
    QuestionAnswerer,
    TableAnswerer,
    MaskedLm,
    ImageClassifier,
    ImageGenerator,
    UnconditionalGenerator,
    ImageEnhancer,
}

impl ModelKind {
    /// As the contract spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CausalLm => "causal_lm",
            Self::Seq2SeqLm => "seq2seq_lm",
            Self::TextEncoder => "text_encoder",
            Self::SequenceClassifier => "sequence_classifier",
            Self::TokenClassifier => "token_classifier",
            Self::QuestionAnswerer => "question_answerer",
            Self::TableAnswerer => "table_answerer",
            Self::MaskedLm => "masked_lm",
            Self::ImageClassifier => "image_classifier",
            Self::ImageGenerator => "image_generator",
            Self::UnconditionalGenerator => "unconditional_generator",
            Self::ImageEnhancer => "image_enhancer",
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CausalLm => "causal language model",
            Self::Seq2SeqLm => "sequence-to-sequence language model",
            Self::TextEncoder => "text encoder",
            Self::SequenceClassifier => "sequence classifier",
            Self::TokenClassifier => "token classifier",
            Self::QuestionAnswerer => "question answerer",
            Self::TableAnswerer => "table question answerer",
            Self::MaskedLm => "masked language model",
            Self::ImageClassifier => "image classifier",
            Self::ImageGenerator => "image generator",
            Self::UnconditionalGenerator => "unconditional image generator",
            Self::ImageEnhancer => "image enhancer",
        })
    }
}

/// Predicts the next token of every running sequence.
pub trait CausalLm: Send {
    /// `[tokens]` ids, those of all the step's segments one after the other, to `[tokens, dim]`.
    /// Ids must be below [`Self::vocab_size`] and positions below [`Self::context_length`].
    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor;

    /// `[rows, dim]`, the rows whose next token is wanted, to `[rows, vocab_size]` in float32.
    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor;

    fn cache_shape(&self) -> CacheShape;

    /// The most tokens a sequence can have.
    fn context_length(&self) -> i64;

    /// A sequence that outgrows this many tokens is read anew from its beginning: all its keys change.
    fn rereads_beyond(&self) -> Option<i64> {
        None
    }

    /// How the keys and values of a sequence are computed of which `known` tokens are known: two that begin alike have the
    /// same ones there only in the same regime. `None`: as in no sequence of another length.
    fn regime(&self, _known: i64) -> Option<u32> {
        Some(0)
    }

    fn vocab_size(&self) -> i64;
}

/// Reads a source text once and writes a target text token by token.
pub trait Seq2SeqLm: Send {
    /// `[batch, source]` ids to `[batch, source, dim]`. Ids must be below [`Self::vocab_size`].
    fn encode(&self, ids: &Tensor, step: &Step) -> Tensor;

    /// Stores what every later token looks up of encoded sources: `[tokens, dim]`, those of all the step's segments
    /// one after the other and without padding, go to the segments' slots.
    fn remember(&self, encoded: &Tensor, step: &Step);

    /// `[tokens]` ids of targets, those of all the step's segments one after the other, to `[tokens, dim]`. Each
    /// segment has its source. Ids must be below [`Self::target_vocab_size`].
    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor;

    /// `[rows, dim]`, the rows whose next token is wanted, to `[rows, target_vocab_size]` in float32.
    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor;

    /// Of a token of the target, and of one of the source.
    fn cache_shape(&self) -> CacheShape;

    /// The most tokens a source can have.
    fn source_length(&self) -> i64;

    /// The most tokens a target can have, its first included.
    fn target_length(&self) -> i64;

    fn vocab_size(&self) -> i64;

    fn target_vocab_size(&self) -> i64;
}

/// What texts a model takes.
pub trait TextModel: Send {
    /// The most tokens a text can have.
    fn context_length(&self) -> i64;

    fn vocab_size(&self) -> i64;

    /// Segment numbers must be below this.
    fn type_vocab_size(&self) -> i64;
}

/// Turns texts into one vector per token.
pub trait TextEncoder: TextModel {
    /// `[batch, seq]` ids and segment numbers to `[batch, seq, dim]`. Without `type_ids` all tokens are of segment 0.
    fn hidden(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor;

    /// `[batch, seq, dim]` to `[batch, dim]` through the checkpoint's own pooling layer, where it has one.
    fn pooled(&self, hidden: &Tensor, step: &Step) -> Option<Tensor>;

    /// Length of a vector.
    fn dim(&self) -> i64;
}

/// Scores whole texts.
pub trait SequenceClassifier: TextModel {
    /// `[batch, seq]` ids and segment numbers to `[batch, n_labels]` in float32.
    fn logits(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor;

    fn n_labels(&self) -> i64;
}

/// Scores every token of a text.
pub trait TokenScorer: TextModel {
    /// `[batch, seq]` ids and segment numbers to `[batch, seq, n_labels]` in float32.
    fn logits(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor;

    /// For a question answerer these are two: the start of the answer and its end.
    fn n_labels(&self) -> i64;
}

/// Numbers that a token of a table has beside its id: segment, column, row, whether it answered the last question, rank in
/// its column from below and from above, relation to the question's numbers.
pub const TABLE_CHANNELS: usize = 7;

/// Answers questions about tables by choosing cells.
pub trait TableAnswerer: TextModel {
    /// `[batch, seq]` ids and `[batch, seq, 7]` numbers to `[batch, seq]`, how much each token is part of the answer, and
    /// `[batch, n_aggregations]`, what is to be done with the cells, where the model says so; both logits in float32.
    fn logits(&self, ids: &Tensor, channels: &Tensor, step: &Step) -> (Tensor, Option<Tensor>);

    /// Numbers of each channel must be below these.
    fn channel_sizes(&self) -> [i64; TABLE_CHANNELS];
}

/// Predicts hidden tokens.
pub trait MaskedLm: TextModel {
    /// `[batch, seq]` ids and segment numbers to `[batch, seq, dim]`.
    fn hidden(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor;

    /// `[rows, dim]`, the rows that are asked for, to `[rows, vocab_size]` in float32.
    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor;
}

/// Scores what a picture shows.
pub trait ImageClassifier: Send {
    /// `[batch, n_channels, height, width]` to `[batch, n_labels]` in float32.
    fn logits(&self, pixels: &Tensor, step: &Step) -> Tensor;

    /// The labels in the order of the logits.
    fn labels(&self) -> &[String];

    /// Height and width that pixels must have.
    fn image_size(&self) -> (i64, i64);

    fn n_channels(&self) -> i64;
}

/// Makes a picture out of a picture: larger by a fixed factor, or repaired at its size.
pub trait ImageEnhancer: Send {
    /// `[batch, n_channels, height, width]` of values 0 to 1, any size, to
    /// `[batch, n_channels, scale × height, scale × width]` in float32; values may lie beyond 0 and 1.
    fn enhance(&self, pixels: &Tensor, step: &Step) -> Tensor;

    /// By how much both sides grow; 1 or more.
    fn scale(&self) -> i64;

    /// 1 or 3.
    fn n_channels(&self) -> i64;

    /// Pieces of a picture are seen as parts of the whole where they begin at multiples of this.
    fn multiple(&self) -> i64;
}
