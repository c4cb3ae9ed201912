//! What a denoiser's output means, and the clean picture that it implies.

use tch::Tensor;

use super::{SchedulerError, fields::Fields};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Prediction {
    /// The noise.
    Epsilon,
    /// The clean sample.
    Sample,
    /// `alpha * noise - sigma * sample`, <https://arxiv.org/abs/2202.00512>.
    Velocity,
}

pub(super) const EPSILON: (&str, Prediction) = ("epsilon", Prediction::Epsilon);
pub(super) const SAMPLE: (&str, Prediction) = ("sample", Prediction::Sample);
pub(super) const VELOCITY: (&str, Prediction) = ("v_prediction", Prediction::Velocity);

impl Prediction {
    pub(super) fn read(fields: &Fields, known: &[(&str, Self)]) -> Result<Self, SchedulerError> {
        fields.choose("prediction_type", Self::Epsilon, known)
    }

    /// The clean sample, where `alpha` is the share of its variance that is left.
    pub(super) fn original_at_alpha(self, output: &Tensor, sample: &Tensor, alpha: f32) -> Tensor {
        let (alpha, beta) = (root(alpha), root(1.0 - alpha));
        match self {
            Self::Epsilon => (sample - output * beta) / alpha,
            Self::Sample => output.shallow_clone(),
            Self::Velocity => sample * alpha - output * beta,
        }
    }

    /// The clean sample, where `sigma` is the noise's level beside a picture of full strength.
    pub(super) fn original_at_sigma(self, output: &Tensor, sample: &Tensor, sigma: f32) -> Tensor {
        match self {
            Self::Epsilon => sample - output * f64::from(sigma),
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
