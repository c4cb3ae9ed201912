//! How the vectors of a text's tokens become one.
//!
//! Reference: `sentence_transformers/models/Pooling.py`.

use tch::{Kind, Tensor};

use crate::tasks::{Encode, Pooling};

/// Smallest length that a vector is divided by, as in `torch.nn.functional.normalize`.
const EPSILON: f64 = 1e-12;

/// `[len, dim]` vectors of the tokens of one text, without padding, to `[1, dim]`, or `[len, dim]` for
/// [`Pooling::None`]; float32. The first `prompt_tokens` are left out where a mean is taken.
pub fn pool(tokens: &Tensor, pooling: Pooling, prompt_tokens: usize) -> Tensor {
    let tokens = tokens.to_kind(Kind::Float);
    let length = tokens.size()[0];
    let skipped = (prompt_tokens as i64).min(length - 1).max(0);
    let content = || tokens.narrow(0, skipped, length - skipped);
    let mean = [0_i64];
    match pooling {
        Pooling::None => tokens,
        Pooling::Cls => tokens.narrow(0, skipped, 1),
        Pooling::Last => tokens.narrow(0, length - 1, 1),
        Pooling::Mean => content().mean_dim(&mean[..], true, Kind::Float),
        Pooling::Max => content().amax(mean, true),
        Pooling::MeanSqrtLen => {
            content().sum_dim_intlist(&mean[..], true, Kind::Float)
                / ((length - skipped) as f64).sqrt()
        }
        Pooling::WeightedMean => {
            let weights =
                Tensor::arange_start(skipped + 1, length + 1, (Kind::Float, tokens.device()));
            let sum = weights.sum(Kind::Float);
            (content() * weights.unsqueeze(1)).sum_dim_intlist(&mean[..], true, Kind::Float) / sum
        }
    }
}

/// Scales and cuts pooled vectors `[n, dim]` as the request and the model say.
pub fn shape(pooled: Tensor, work: &Encode) -> Tensor {
    let mut pooled = if work.scaling.own { normalize(&pooled) } else { pooled };
    if let Some(dimensions) = work.dimensions {
        pooled = pooled.narrow(1, 0, (dimensions as i64).min(pooled.size()[1]));
    }
    if work.scaling.asked { normalize(&pooled) } else { pooled }
}

fn normalize(vectors: &Tensor) -> Tensor {
    let norm = vectors.norm_scalaropt_dim(2, [-1_i64], true).clamp_min(EPSILON);
    vectors / norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Scaling;

    fn pooled(pooling: Pooling, prompt_tokens: usize) -> Vec<f32> {
        let tokens = Tensor::from_slice(&[1_f32, 10., 2., 20., 6., 0.]).view([3, 2]);
        Vec::try_from(pool(&tokens, pooling, prompt_tokens).reshape([-1])).expect("floats")
    }

    #[test]
    fn every_way_of_pooling() {
        assert_eq!(pooled(Pooling::Cls, 0), [1., 10.]);
        assert_eq!(pooled(Pooling::Last, 0), [6., 0.]);
        assert_eq!(pooled(Pooling::Mean, 0), [3., 10.]);
        assert_eq!(pooled(Pooling::Max, 0), [6., 20.]);
        assert_eq!(pooled(Pooling::None, 0).len(), 6);
        assert_eq!(pooled(Pooling::WeightedMean, 0), [23. / 6., 50. / 6.]);
        let root = 3_f32.sqrt();
        assert!((pooled(Pooling::MeanSqrtLen, 0)[0] - 9. / root).abs() < 1e-6);
    }

    #[test]
    fn the_prompt_is_left_out() {
        assert_eq!(pooled(Pooling::Mean, 1), [4., 10.]);
        assert_eq!(pooled(Pooling::Mean, 9), [6., 0.]);
    }

    #[test]
    fn cutting_comes_between_the_two_scalings() {
        let work = |own, asked| Encode {
            rows: Vec::new(),
            pooling: Pooling::Mean,
            scaling: Scaling { own, asked },
            dimensions: Some(1),
        };
        let vector = || Tensor::from_slice(&[3_f32, 4.]).view([1, 2]);
        assert!((shape(vector(), &work(true, false)).double_value(&[0, 0]) - 0.6).abs() < 1e-6);
        assert!((shape(vector(), &work(true, true)).double_value(&[0, 0]) - 1.0).abs() < 1e-6);
        assert!((shape(vector(), &work(false, false)).double_value(&[0, 0]) - 3.0).abs() < 1e-6);
    }
}
