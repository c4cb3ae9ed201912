//! What a denoiser's output means, and the clean picture and the noise that it implies.

use tch::Tensor;

use super::{SchedulerError, fields::Fields, path::Share};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Prediction {
    /// The noise.
    Epsilon,
    /// The clean sample.
    Sample,
    /// `alpha * noise - sigma * sample`, <https://arxiv.org/abs/2202.00512>.
    Velocity,
    /// `noise - sample`.
    Flow,
}

pub(super) const EPSILON: (&str, Prediction) = ("epsilon", Prediction::Epsilon);
pub(super) const SAMPLE: (&str, Prediction) = ("sample", Prediction::Sample);
pub(super) const VELOCITY: (&str, Prediction) = ("v_prediction", Prediction::Velocity);
pub(super) const FLOW: (&str, Prediction) = ("flow_prediction", Prediction::Flow);

impl Prediction {
    pub(super) fn read(fields: &Fields, known: &[(&str, Self)]) -> Result<Self, SchedulerError> {
        fields.choose("prediction_type", Self::Epsilon, known)
    }

    /// The clean sample.
    pub(super) fn original(self, output: &Tensor, sample: &Tensor, share: Share) -> Tensor {
        let (alpha, sigma) = (f64::from(share.alpha), f64::from(share.sigma));
        match self {
            Self::Epsilon => (sample - output * sigma) / alpha,
            Self::Sample => output.shallow_clone(),
            Self::Velocity => sample * alpha - output * sigma,
            Self::Flow => sample - output * sigma,
        }
    }

    /// The noise; of [`Self::Flow`] no class asks for it.
    pub(super) fn noise(self, output: &Tensor, sample: &Tensor, share: Share) -> Tensor {
        let (alpha, sigma) = (f64::from(share.alpha), f64::from(share.sigma));
        match self {
            Self::Sample => (sample - output * alpha) / sigma,
            Self::Velocity => output * alpha + sample * sigma,
            Self::Epsilon | Self::Flow => output.shallow_clone(),
        }
    }

    /// The clean sample, where `sigma` is the noise's deviation beside a picture of full strength.
    pub(super) fn original_at_sigma(self, output: &Tensor, sample: &Tensor, sigma: f32) -> Tensor {
        match self {
            Self::Epsilon | Self::Flow => sample - output * f64::from(sigma),
            Self::Sample => output.shallow_clone(),
            Self::Velocity => {
                let total = sigma * sigma + 1.0;
                output * f64::from(-sigma / total.sqrt()) + sample / f64::from(total)
            }
        }
    }
}

/// The reference keeps such numbers in float32.
pub(super) fn root(value: f32) -> f64 {
    f64::from(value.sqrt())
}
