//! Relative positions as a bias on the attention's scores, one learned value per head and bucket of distances
//! (Raffel et al., 2019, <https://arxiv.org/abs/1910.10683>).
//!
//! Reference: `T5Attention` in `transformers/models/t5/modeling_t5.py`.

use tch::{Device, Kind, Tensor};

use super::{Embedding, Step, attention::attend_masked};
use crate::weights::{Weights, WeightsError};

/// How distances become buckets.
#[derive(Clone, Copy, Debug)]
pub struct RelativeBuckets {
    pub n_buckets: i64,
    /// This far and farther is one bucket.
    pub max_distance: i64,
    /// Whether tokens ahead have buckets of their own.
    pub bidirectional: bool,
}

impl RelativeBuckets {
    /// Distances that have a bucket each, in one direction.
    fn exact(&self) -> i64 {
        self.one_way() / 2
    }

    fn one_way(&self) -> i64 {
        if self.bidirectional { self.n_buckets / 2 } else { self.n_buckets }
    }

    /// Whether there are exact buckets and distances beyond them.
    pub fn is_usable(&self) -> bool {
        self.exact() >= 1 && self.max_distance > self.exact()
    }

    /// The bucket of every distance from `-max_distance` to `max_distance`; farther ones are as these.
    /// The reference's operations on its type: another order would round a few distances into other buckets.
    fn table(&self, device: Device) -> Tensor {
        let (exact, one_way) = (self.exact(), self.one_way());
        let options = (Kind::Int64, Device::Cpu);
        let ahead = Tensor::arange_start(-self.max_distance, self.max_distance + 1, options);
        let (offset, distance) = if self.bidirectional {
            (ahead.gt(0).to_kind(Kind::Int64) * one_way, ahead.abs())
        } else {
            (ahead.zeros_like(), -ahead.clamp_max(0))
        };
        let far = (distance.to_kind(Kind::Float) / exact as f64).log()
            / (self.max_distance as f64 / exact as f64).ln()
            * (one_way - exact) as f64;
        let far = (far.clamp_min(0.0).to_kind(Kind::Int64) + exact).clamp_max(one_way - 1);
        (offset + distance.where_self(&distance.lt(exact), &far)).to_device(device)
    }
}

pub struct RelativeBias {
    /// `[n_buckets, n_heads]`.
    values: Embedding,
    /// `[2 × max_distance + 1]`.
    buckets: Tensor,
    max_distance: i64,
}

impl RelativeBias {
    pub fn load(
        weights: &Weights,
        buckets: RelativeBuckets,
        n_heads: i64,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            values: Embedding::load(weights, buckets.n_buckets, n_heads)?,
            buckets: buckets.table(weights.device()),
            max_distance: buckets.max_distance,
        })
    }

    /// `[queries]` and `[keys]` positions to `[1, n_heads, queries, keys]`.
    fn between(&self, queries: &Tensor, keys: &Tensor, step: &Step) -> Tensor {
        let shape = [queries.size()[0], keys.size()[0]];
        let distance = (keys.unsqueeze(0) - queries.unsqueeze(1))
            .clamp(-self.max_distance, self.max_distance)
            + self.max_distance;
        let buckets = self.buckets.index_select(0, &distance.reshape([-1])).view(shape);
        self.values.forward(&buckets, step).permute([2, 0, 1]).unsqueeze(0).contiguous()
    }

    /// The bias of a batch of `seq` tokens a row, padding included: `[1 or batch, n_heads, seq, seq]`.
    pub fn of_batch(&self, seq: i64, step: &Step) -> Tensor {
        let positions = Tensor::arange(seq, (Kind::Int64, self.buckets.device()));
        let bias = self.between(&positions, &positions, step);
        match step.padding(bias.kind()) {
            Some(padding) => bias + padding,
            None => bias,
        }
    }

    /// The bias of every segment of a flat pass against all of its tokens so far, those ahead left out:
    /// `[1, n_heads, tokens, cached + tokens]`.
    pub fn of_segments(&self, step: &Step) -> Vec<Tensor> {
        let options = (Kind::Int64, self.buckets.device());
        let of_segment = |(cached, tokens)| {
            let queries = Tensor::arange_start(cached, cached + tokens, options);
            let keys = Tensor::arange(cached + tokens, options);
            let bias = self.between(&queries, &keys, step);
            if tokens == 1 {
                return bias;
            }
            let ahead = keys.unsqueeze(0).gt_tensor(&queries.unsqueeze(1));
            bias.masked_fill(&ahead, f64::NEG_INFINITY)
        };
        step.flat()
            .segments
            .iter()
            .map(|segment| (segment.cached, segment.tokens))
            .map(of_segment)
            .collect()
    }
}

impl Step<'_> {
    /// As [`Step::attend`], with `bias` (see [`RelativeBias::of_batch`]) added to the scores.
    pub fn attend_biased(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        n_heads: i64,
        scale: f64,
        bias: &Tensor,
    ) -> Tensor {
        attend_masked(q, k, v, n_heads, scale, Some(bias))
    }

    /// As [`Step::attend_cached`] over all positions, with each segment's bias (see [`RelativeBias::of_segments`])
    /// added to the scores.
    pub fn attend_cached_biased(
        &self,
        layer: usize,
        scale: f64,
        biases: &[Tensor],
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
    ) -> Tensor {
        let (_, n_heads, head_dim) = q.size3().expect("q is [tokens, heads, head_dim]");
        self.store(layer, k, v);
        let mut start = 0;
        let attended: Vec<Tensor> = self
            .flat()
            .segments
            .iter()
            .zip(biases)
            .map(|(segment, bias)| {
                let q = q.narrow(0, start, segment.tokens).transpose(0, 1).unsqueeze(0);
                start += segment.tokens;
                let (keys, values) = segment.slot.read(layer, 0, segment.cached + segment.tokens);
                let attended = Tensor::scaled_dot_product_attention(
                    &q,
                    &keys,
                    &values,
                    Some(bias),
                    0.0,
                    false,
                    scale,
                    false,
                );
                attended
                    .squeeze_dim(0)
                    .transpose(0, 1)
                    .reshape([segment.tokens, n_heads * head_dim])
            })
            .collect();
        Tensor::cat(&attended, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(n_buckets: i64, max_distance: i64, bidirectional: bool) -> Vec<i64> {
        let buckets = RelativeBuckets { n_buckets, max_distance, bidirectional };
        Vec::try_from(buckets.table(Device::Cpu)).unwrap()
    }

    #[test]
    fn near_distances_have_a_bucket_each_and_far_ones_share() {
        let one_way = buckets(8, 16, false);
        assert_eq!(one_way[16..], [0; 17]);
        let behind: Vec<i64> = one_way[..16].iter().rev().copied().collect();
        assert_eq!(behind, [1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn both_ways_have_half_of_the_buckets_each() {
        let both = buckets(8, 8, true);
        assert_eq!(both, [3, 3, 3, 3, 3, 2, 2, 1, 0, 5, 6, 6, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn buckets_without_an_exact_one_or_beyond_the_last_distance_are_unusable() {
        for (n_buckets, max_distance, bidirectional) in
            [(2, 8, true), (1, 8, false), (32, 8, false)]
        {
            assert!(!RelativeBuckets { n_buckets, max_distance, bidirectional }.is_usable());
        }
    }
}
