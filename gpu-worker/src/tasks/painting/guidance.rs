//! Several looks at the same latents become one.

use tch::Tensor;

use super::super::{Manner, Paint};

impl Paint {
    /// How often a step looks at the latents: with guidance more than once.
    pub(super) fn looks(&self) -> usize {
        match (&self.negative, self.manner()) {
            (None, _) => 1,
            (Some(_), Some(Manner::Edited { .. })) => 3,
            (Some(_), _) => 2,
        }
    }

    fn manner(&self) -> Option<&Manner> {
        self.given.as_ref().map(|given| &given.manner)
    }

    /// Whether the negative text comes after the text itself, once for each of two looks.
    pub(super) fn negative_comes_last(&self) -> bool {
        matches!(self.manner(), Some(Manner::Edited { .. }))
    }

    /// What the network said of every look, one look's rows after the other's, as one.
    pub(super) fn guided(&self, output: Tensor) -> Tensor {
        let scale = self.guidance_scale;
        match (self.looks(), self.manner()) {
            (1, _) => output,
            (_, Some(Manner::Edited { guidance_scale })) => {
                // With text and picture, with the picture alone, with neither.
                let parts = output.chunk(3, 0);
                let by_text = (&parts[0] - &parts[1]) * scale;
                let by_picture = (&parts[1] - &parts[2]) * *guidance_scale;
                &parts[2] + by_text + by_picture
            }
            _ => {
                let parts = output.chunk(2, 0);
                let guided = &parts[0] + (&parts[1] - &parts[0]) * scale;
                match self.guidance_rescale {
                    0.0 => guided,
                    share => rescaled(&guided, &parts[1], share),
                }
            }
        }
    }
}

/// By a share of the way towards the spread of what the text alone says, picture by picture
/// (Lin et al., 2023, <https://arxiv.org/abs/2305.08891>, section 3.4).
fn rescaled(guided: &Tensor, of_text: &Tensor, share: f64) -> Tensor {
    let spread = |xs: &Tensor| xs.std_dim([1i64, 2, 3].as_slice(), true, true);
    let rescaled = guided * (spread(of_text) / spread(guided));
    rescaled * share + guided * (1.0 - share)
}
