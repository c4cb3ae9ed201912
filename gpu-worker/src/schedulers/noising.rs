//! Mixes noise into a clean sample. The reference rounds the level to the sample's kind first, so it is a tensor here.

use tch::Tensor;

/// `alpha` is the share of the sample's variance that is left.
pub(super) fn at_alpha(original: &Tensor, noise: &Tensor, alpha: f32) -> Tensor {
    let alpha = level(alpha, original);
    let rest = (1f64 - &alpha).sqrt();
    alpha.sqrt() * original + rest * noise
}

/// Noise is added to a sample of full strength.
pub(super) fn at_sigma(original: &Tensor, noise: &Tensor, sigma: f32) -> Tensor {
    original + noise * level(sigma, original)
}

fn level(value: f32, like: &Tensor) -> Tensor {
    // A dimension of its own: a scalar would not be rounded to the kind of what it is multiplied with.
    Tensor::from_slice(&[value]).to_kind(like.kind()).to_device(like.device())
}
