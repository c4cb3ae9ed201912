//! Rotary positions over several axes (Su et al., 2021, <https://arxiv.org/abs/2104.09864>): each axis turns a part of a
//! head, whose neighbouring values are the two coordinates.

use tch::{Device, Kind, Tensor};

const LONGEST_PERIOD: f64 = 10000.0;

/// How many values of a head each axis turns: one that nothing here moves along, rows, columns.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Axes(pub [i64; 3]);

/// How far every token is turned, the same in all blocks.
pub(in super::super) struct Turns {
    /// `[tokens, 1, head_dim / 2]` in float32, and so is `sin`.
    cos: Tensor,
    sin: Tensor,
}

impl Axes {
    /// The turns of a text's tokens, which stand nowhere, and of a picture's, row by row.
    pub(in super::super) fn turns(
        self,
        text_tokens: i64,
        [height, width]: [i64; 2],
        device: Device,
    ) -> Turns {
        let options = (Kind::Double, device);
        let of_text = Tensor::zeros([text_tokens], options);
        let positions = |of_picture: Tensor| {
            let of_picture = of_picture.expand([height, width], false).reshape([-1]);
            Tensor::cat(&[&of_text, &of_picture], 0)
        };
        let axes = [
            positions(Tensor::zeros([1, 1], options)),
            positions(Tensor::arange(height, options).unsqueeze(1)),
            positions(Tensor::arange(width, options).unsqueeze(0)),
        ];
        let angles: Vec<Tensor> = axes
            .iter()
            .zip(self.0)
            .map(|(positions, dim)| positions.unsqueeze(1) * frequencies(dim, device))
            .collect();
        let angles = Tensor::cat(&angles, 1).unsqueeze(1);
        Turns { cos: angles.cos().to_kind(Kind::Float), sin: angles.sin().to_kind(Kind::Float) }
    }
}

/// `[dim / 2]`.
fn frequencies(dim: i64, device: Device) -> Tensor {
    let exponents = Tensor::arange(dim / 2, (Kind::Double, device)) * 2.0 / dim as f64;
    (exponents * -LONGEST_PERIOD.ln()).exp()
}

impl Turns {
    /// `[batch, tokens, heads, head_dim]` to the same shape; what is half is turned in float32.
    pub(in super::super) fn apply(&self, xs: &Tensor) -> Tensor {
        let size = xs.size();
        let pairs = xs.to_kind(Kind::Float).reshape([size[0], size[1], size[2], -1, 2]);
        let (x, y) = (pairs.select(-1, 0), pairs.select(-1, 1));
        let turned = [&x * &self.cos - &y * &self.sin, &y * &self.cos + &x * &self.sin];
        Tensor::stack(&turned, -1).flatten(3, 4).to_kind(xs.kind())
    }
}
