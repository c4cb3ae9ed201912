//! Rotary position embeddings (Su et al., 2021, <https://arxiv.org/abs/2104.09864>): a head's first and second half
//! are the two coordinates that turn with the position, or the halves of its first values where only these turn.

use tch::{Device, Kind, Tensor};

use super::{RopeParameters, Step};

pub struct Rotary {
    parameters: RopeParameters,
    /// How many of a head's values turn.
    dim: i64,
    /// `[dim / 2]` float32, for parameters that do not depend on the text's length.
    inverse_frequencies: Tensor,
}

/// The rotation of every token of one flat pass, the same in all layers.
pub struct Rotation {
    /// How many of a head's values turn.
    dim: i64,
    /// `[tokens, 1, dim]`.
    cos: Tensor,
    /// `[tokens, 1, dim]`; its first half is negative, so that swapping halves is all that remains to be done.
    sin: Tensor,
}

impl Rotary {
    pub fn new(parameters: RopeParameters, head_dim: i64, device: Device) -> Self {
        let dim = parameters.rotary_dim(head_dim);
        let inverse_frequencies = frequencies(&parameters, dim, 0, device);
        Self { parameters, dim, inverse_frequencies }
    }

    /// The longest text that the parameters are made for.
    pub fn context_length(&self) -> i64 {
        self.parameters.context_length()
    }

    /// As [`RopeParameters::regime`].
    pub fn regime(&self, length: i64) -> Option<u32> {
        self.parameters.regime(length)
    }

    /// The rotation of a pass, in the type that queries and keys have.
    pub fn rotation(&self, step: &Step, kind: Kind) -> Rotation {
        let positions = step.positions().to_kind(Kind::Float).unsqueeze(1);
        let angles = if self.parameters.depends_on_length() {
            positions * self.frequencies_by_length(step, step.positions().device())
        } else {
            positions * &self.inverse_frequencies
        };
        self.turned_by(&angles, kind)
    }

    /// The rotation of every row of a batch of `seq` tokens a row, whose parameters must not depend on its length.
    pub fn rotation_of_batch(&self, seq: i64, kind: Kind) -> Rotation {
        let options = (Kind::Float, self.inverse_frequencies.device());
        let positions = Tensor::arange(seq, options).unsqueeze(1);
        self.turned_by(&(positions * &self.inverse_frequencies), kind)
    }

    /// `[tokens, dim / 2]` angles.
    fn turned_by(&self, angles: &Tensor, kind: Kind) -> Rotation {
        let factor = self.parameters.attention_factor();
        let scaled = |xs: Tensor| if factor == 1.0 { xs } else { xs * factor };
        let (cos, sin) = (scaled(angles.cos()), scaled(angles.sin()));
        Rotation {
            dim: self.dim,
            cos: Tensor::cat(&[&cos, &cos], 1).unsqueeze(1).to_kind(kind),
            sin: Tensor::cat(&[&sin.neg(), &sin], 1).unsqueeze(1).to_kind(kind),
        }
    }

    /// `[tokens, dim / 2]`: a sequence that has outgrown the trained length turns more slowly.
    fn frequencies_by_length(&self, step: &Step, device: Device) -> Tensor {
        let sequences = step.flat();
        let rows: Vec<Tensor> = sequences
            .segments
            .iter()
            .enumerate()
            .map(|(idx, segment)| {
                frequencies(&self.parameters, self.dim, sequences.length(idx), device)
                    .expand([segment.tokens, self.dim / 2], false)
            })
            .collect();
        Tensor::cat(&rows, 0)
    }
}

impl Rotation {
    /// `[…, tokens, heads, head_dim]` to the same shape.
    pub fn apply(&self, xs: &Tensor) -> Tensor {
        let width = xs.size().last().copied().unwrap_or(0);
        if width == self.dim {
            return self.turn(xs);
        }
        let turned = self.turn(&xs.narrow(-1, 0, self.dim));
        Tensor::cat(&[turned, xs.narrow(-1, self.dim, width - self.dim)], -1)
    }

    /// `[…, tokens, heads, dim]` to the same shape.
    fn turn(&self, xs: &Tensor) -> Tensor {
        let swapped = xs.roll([self.dim / 2], [-1]);
        (xs * &self.cos).addcmul(&swapped, &self.sin)
    }
}

fn frequencies(parameters: &RopeParameters, dim: i64, length: i64, device: Device) -> Tensor {
    let frequencies = parameters.inverse_frequencies(dim, length);
    Tensor::from_slice(&frequencies).to_kind(Kind::Float).to_device(device)
}
