//! Numbers that later networks of Stable Diffusion are told of a picture: its size, where it was cut, and the size that is
//! wanted, or how beautiful it is; and the level of noise in it.

use tch::{Device, Kind, Tensor};

use super::super::{Manner, Paint};
use crate::models::diffusion::ImageGenerator;

impl Paint {
    /// `[rows, n]` in float32, one look's rows after the other's; `None` where the network is told none.
    pub(super) fn numbers(&self, model: &dyn ImageGenerator, device: Device) -> Option<Tensor> {
        let n = model.n_numbers()?;
        let [height, width] = self.size.map(|side| side as f32);
        let sizes = [height, width, 0.0, 0.0, height, width];
        let scored = |score: f64| vec![height, width, 0.0, 0.0, score as f32];
        let looks = match self.given.as_ref().map(|given| &given.manner) {
            Some(Manner::Refined { score, negative_score }) if self.looks() == 2 => {
                [scored(*negative_score), scored(*score)].concat()
            }
            Some(Manner::Refined { score, .. }) => scored(*score),
            _ => sizes.repeat(self.looks()),
        };
        let looks = Tensor::from_slice(&looks).view([-1, n]).to_device(device);
        Some(looks.repeat_interleave_self_int(self.n_images as i64, 0, None))
    }

    /// `[rows]`, the level of noise in the picture that the network looks at; `None` where it looks at none.
    pub(super) fn noise_levels(&self, device: Device) -> Option<Tensor> {
        let level = self.given.as_ref()?.noise_level()? as i64;
        let rows = self.n_images * self.looks();
        Some(Tensor::full([rows as i64], level, (Kind::Int64, device)))
    }
}
