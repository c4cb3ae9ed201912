//! Disentangled attention (He et al., 2020, <https://arxiv.org/abs/2006.03654>): tokens and distances have vectors of their
//! own, and a score is made of token to token, token to distance and distance to token.
//!
//! Reference: `DisentangledSelfAttention` in `transformers/models/deberta_v2/modeling_deberta_v2.py`.

use tch::{Device, Kind, Tensor};

use super::{LayerNorm, Linear, Step, attention::attend_masked};
use crate::weights::{Weights, WeightsError};

#[derive(Clone, Debug)]
pub struct RelativePositionsConfig {
    /// Where the distances' embeddings are, from the model's root; `None`: no distance counts.
    pub embeddings: Option<&'static str>,
    /// Their norm.
    pub norm: Option<(&'static str, f64)>,
    /// How many distances to each side have an embedding.
    pub span: i64,
    /// Beyond half of as many, distances share them by their logarithm up to this one.
    pub log_up_to: Option<i64>,
    /// Whether tokens look for distances …
    pub content_to_position: bool,
    /// … and distances for tokens.
    pub position_to_content: bool,
    /// Whether distances are projected as tokens are.
    pub shares_projections: bool,
    /// Projections of queries, keys, of distances that are looked for, and of those that look, from the layer's path.
    pub query: &'static str,
    pub key: &'static str,
    pub position_key: &'static str,
    pub position_query: &'static str,
}

/// The rows of the distances' embeddings for every pair of tokens.
pub struct RelativeTable {
    span: i64,
    log_up_to: Option<i64>,
    device: Device,
}

/// What a pass needs of it.
pub struct RelativePositions {
    /// `[seq, seq]`, query by key, counted from `first`.
    rows: Tensor,
    /// The same for the mirrored distance, key by query.
    mirrored: Tensor,
    first: i64,
    n_rows: i64,
}

impl RelativeTable {
    pub fn new(config: &RelativePositionsConfig, device: Device) -> Self {
        Self { span: config.span, log_up_to: config.log_up_to, device }
    }

    /// Those of a batch of `seq` tokens a row.
    pub fn positions(&self, seq: i64) -> RelativePositions {
        let options = (Kind::Int64, self.device);
        let (buckets, last) = (self.buckets(seq), seq - 1);
        // The farthest distance is in the farthest bucket; embeddings beyond it are not looked at.
        let reach = buckets.int64_value(&[2 * last]).min(self.span);
        let buckets = buckets.to_device(self.device);
        let first = self.span - reach;
        let n_rows = (self.span + reach + 1).min(2 * self.span) - first;
        let positions = Tensor::arange(seq, options);
        let distance = positions.unsqueeze(1) - positions.unsqueeze(0);
        let rows = |distance: &Tensor, sign: i64| {
            let bucket = buckets.index_select(0, &(distance + last).view([-1])).view([seq, seq]);
            (bucket * sign + self.span).clamp(0, 2 * self.span - 1) - first
        };
        let (rows, mirrored) = (rows(&distance, 1), rows(&distance, -1));
        RelativePositions { rows, mirrored, first, n_rows }
    }

    /// The bucket of every distance from `-(seq - 1)` to `seq - 1`, in the reference's own operations: others would round a
    /// few distances into other buckets.
    fn buckets(&self, seq: i64) -> Tensor {
        let distance = Tensor::arange_start(1 - seq, seq, (Kind::Int64, Device::Cpu));
        let Some(up_to) = self.log_up_to else { return distance };
        let mid = self.span / 2;
        let near = distance.lt(mid).logical_and(&distance.gt(-mid));
        let absolute = distance.abs().where_self(&near.logical_not(), &Tensor::from(mid - 1));
        let widest = Tensor::from((up_to - 1) as f64 / mid as f64).to_kind(Kind::Float).log();
        let far = (((absolute.to_kind(Kind::Float) / mid).log() / widest * (mid - 1)).ceil() + mid)
            * distance.sign();
        let bucket = distance.to_kind(Kind::Float).where_self(&absolute.le(mid), &far);
        bucket.to_kind(Kind::Int64)
    }
}

/// The attention of one layer.
pub struct RelativeAttention {
    /// `[n_heads, head_dim, 2 × span]`: what tokens are compared with, and what compares itself with tokens.
    position_keys: Option<Tensor>,
    position_queries: Option<Tensor>,
    n_heads: i64,
    scale: f64,
}

impl RelativeAttention {
    /// Distances are projected here and not in every pass. `weights` is at the layer, `root` at the model.
    pub fn load(
        config: &RelativePositionsConfig,
        n_heads: i64,
        dim: i64,
        weights: &Weights,
        root: &Weights,
    ) -> Result<Self, WeightsError> {
        let n_parts =
            1 + i64::from(config.content_to_position) + i64::from(config.position_to_content);
        let scale = ((dim / n_heads * n_parts) as f64).powf(-0.5);
        let (mut position_keys, mut position_queries) = (None, None);
        if let Some(path) = config.embeddings {
            let step = Step::whole();
            // Only its products stay.
            let table = root.at(path).matrix("weight", &[2 * config.span, dim])?;
            let mut table = table.to_kind(root.kind());
            if let Some((path, eps)) = config.norm {
                table = LayerNorm::load(&root.at(path), dim, eps)?.forward(&table, &step);
            }
            let project =
                |separate: &'static str, shared: &'static str| -> Result<Tensor, WeightsError> {
                    let path = if config.shares_projections { shared } else { separate };
                    let own = weights.at(path);
                    let projected = Linear::load(&own, dim, dim)?.forward(&table, &step);
                    own.fix_module();
                    let heads = projected.view([2 * config.span, n_heads, dim / n_heads]);
                    Ok(heads.permute([1, 2, 0]).contiguous())
                };
            if config.content_to_position {
                position_keys = Some(project(config.position_key, config.key)?);
            }
            if config.position_to_content {
                position_queries = Some(project(config.position_query, config.query)?);
            }
        }
        Ok(Self { position_keys, position_queries, n_heads, scale })
    }

    /// As [`Step::attend`].
    pub fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        positions: &RelativePositions,
        step: &Step,
    ) -> Tensor {
        let (batch, seq, dim) = q.size3().expect("q is [batch, seq, dim]");
        let heads =
            |xs: &Tensor| xs.view([batch, seq, self.n_heads, dim / self.n_heads]).transpose(1, 2);
        let scores = |xs: &Tensor, table: &Tensor, rows: &Tensor| {
            let table = table.narrow(2, positions.first, positions.n_rows).unsqueeze(0);
            let rows = rows.expand([batch, self.n_heads, seq, seq], false);
            (heads(xs) * self.scale).matmul(&table).gather(-1, &rows, false)
        };
        let mut bias = self.position_keys.as_ref().map(|table| scores(q, table, &positions.rows));
        if let Some(table) = &self.position_queries {
            let mirrored = scores(k, table, &positions.mirrored).transpose(-1, -2);
            bias = Some(match bias {
                Some(bias) => bias + mirrored,
                None => mirrored.contiguous(),
            });
        }
        let mask = match (bias, step.padding(q.kind())) {
            (Some(bias), Some(padding)) => Some(bias + padding),
            (Some(bias), None) => Some(bias),
            (None, padding) => padding.map(Tensor::shallow_clone),
        };
        attend_masked(q, k, v, self.n_heads, self.scale, mask.as_ref())
    }
}
