//! A block in which a picture's tokens and a text's have weights of their own and look at each other.

use tch::Tensor;

use super::{
    FeedForward, Shape, Turns,
    attention::{Attention, JointAttention},
    clamp_half,
    modulation::{LastNorm, Modulation, moved, plain_norm},
};
use crate::{
    layers::{LayerNorm, Step},
    weights::{Weights, WeightsError},
};

/// Shift, scale and gate for attention, and the same for what feeds forward.
const PARTS: i64 = 6;
/// Three more, for attention of the picture to itself alone.
const DUAL_PARTS: i64 = 9;

#[derive(Clone, Copy)]
pub(in super::super) struct JointBlockConfig {
    pub shape: Shape,
    /// Nothing comes after the text's tokens: only the picture's are changed.
    pub is_last: bool,
    /// The picture's tokens look at themselves alone, too.
    pub is_dual: bool,
}

pub(in super::super) struct JointBlock {
    norm: LayerNorm,
    norm1: Modulation,
    norm1_context: TextNorm,
    attn: JointAttention,
    attn2: Option<Attention>,
    ff: FeedForward,
}

enum TextNorm {
    /// The text's tokens are changed too.
    Changed {
        modulation: Modulation,
        ff_context: FeedForward,
    },
    Last(LastNorm),
}

impl JointBlock {
    pub(in super::super) fn load(
        weights: &Weights,
        config: JointBlockConfig,
    ) -> Result<Self, WeightsError> {
        let JointBlockConfig { shape, is_last, is_dual } = config;
        let dim = shape.dim;
        let (norm1, norm1_context) = (weights.at("norm1"), weights.at("norm1_context"));
        let attn2 = || Attention::load(&weights.at("attn2"), shape, true);
        Ok(Self {
            norm: plain_norm(dim),
            norm1: Modulation::load(&norm1, dim, if is_dual { DUAL_PARTS } else { PARTS })?,
            norm1_context: if is_last {
                TextNorm::Last(LastNorm::load(&norm1_context, dim)?)
            } else {
                TextNorm::Changed {
                    modulation: Modulation::load(&norm1_context, dim, PARTS)?,
                    ff_context: FeedForward::load(&weights.at("ff_context"), dim)?,
                }
            },
            attn: JointAttention::load(&weights.at("attn"), shape, !is_last)?,
            attn2: is_dual.then(attn2).transpose()?,
            ff: FeedForward::load(&weights.at("ff"), dim)?,
        })
    }

    /// `[batch, positions, dim]` and `[batch, seq, dim]`, in view of `[batch, dim]`, to the same shapes; of the last
    /// block the text is as it was.
    pub(in super::super) fn forward(
        &self,
        picture: &Tensor,
        text: &Tensor,
        conditioning: &Tensor,
        turns: Option<&Turns>,
        step: &Step,
    ) -> (Tensor, Tensor) {
        let parts = self.norm1.forward(conditioning, step);
        let normed = self.norm.forward(picture, step);
        let seen = moved(&normed, &parts[0], &parts[1]);
        let (text_seen, text_parts) = match &self.norm1_context {
            TextNorm::Changed { modulation, .. } => {
                let parts = modulation.forward(conditioning, step);
                (moved(&self.norm.forward(text, step), &parts[0], &parts[1]), parts)
            }
            TextNorm::Last(norm) => (norm.forward(text, conditioning, step), Vec::new()),
        };
        let (attended, text_attended) = self.attn.forward(&seen, &text_seen, turns, step);
        let picture = picture + attended * &parts[2];
        let picture = match &self.attn2 {
            Some(attn2) => {
                let alone = attn2.forward(&moved(&normed, &parts[6], &parts[7]), turns, step);
                picture + alone * &parts[8]
            }
            None => picture,
        };
        let picture = self.fed(&picture, &self.ff, &parts, step);
        let text = match (&self.norm1_context, text_attended) {
            (TextNorm::Changed { ff_context, .. }, Some(attended)) => {
                let text = text + attended * &text_parts[2];
                clamp_half(self.fed(&text, ff_context, &text_parts, step))
            }
            _ => text.shallow_clone(),
        };
        (picture, text)
    }

    fn fed(&self, xs: &Tensor, ff: &FeedForward, parts: &[Tensor], step: &Step) -> Tensor {
        let seen = moved(&self.norm.forward(xs, step), &parts[3], &parts[4]);
        xs + ff.forward(&seen, step) * &parts[5]
    }
}
