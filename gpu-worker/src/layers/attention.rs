//! Scaled dot-product attention (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>), over a batch or over the
//! caches of running sequences. Query heads may share key and value heads in groups
//! (Ainslie et al., 2023, <https://arxiv.org/abs/2305.13245>).

use tch::{Kind, Tensor};

use super::{
    Step,
    step::{Segment, Sequences},
};

/// The attention of one layer of a causal model.
#[derive(Clone, Copy, Debug)]
pub struct Attend {
    /// Which of the cache's layers is this one's.
    pub layer: usize,
    pub scale: f64,
    /// How many of the newest positions a token sees, itself included; `None` for all.
    pub window: Option<i64>,
    /// Scores are bent to lie between minus this and this (Gemma 2, <https://arxiv.org/abs/2408.00118>).
    pub softcap: Option<f64>,
}

impl Step<'_> {
    /// Attention of every token of a batch to every other: `q`, `k`, `v` are `[batch, seq, n_heads × head_dim]`,
    /// and so is the answer. Padding is not attended to.
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, n_heads: i64, scale: f64) -> Tensor {
        attend_masked(q, k, v, n_heads, scale, self.padding(q.kind()))
    }

    /// Attention of every position of a batch to all of another sequence, or of the same: `q` is
    /// `[batch, seq, n_heads × head_dim]`, and so is the answer; `k` and `v` are `[batch, other_seq, n_heads × head_dim]`.
    /// Nothing is hidden.
    pub fn attend_all(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        n_heads: i64,
        scale: f64,
    ) -> Tensor {
        attend_masked(q, k, v, n_heads, scale, None)
    }

    /// As [`Self::attend`], but a token sees only `window` tokens to either side.
    pub fn attend_within(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        n_heads: i64,
        scale: f64,
        window: i64,
    ) -> Tensor {
        let mask = self.window(window, q.size()[1], q);
        attend_masked(q, k, v, n_heads, scale, mask.as_ref())
    }

    /// Causal attention of a flat pass: `q` is `[tokens, n_heads, head_dim]`, `k` and `v` are
    /// `[tokens, kv_heads, head_dim]`, the answer is `[tokens, n_heads × head_dim]`. Keys and values go to the caches
    /// first.
    pub fn attend_cached(&self, attend: Attend, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let sequences = self.flat();
        let (tokens, n_heads, head_dim) = q.size3().expect("q is [tokens, heads, head_dim]");
        if let [segment] = sequences.segments.as_slice() {
            return attend_segment(sequences, 0, segment, attend, q, k, v)
                .reshape([tokens, n_heads * head_dim]);
        }
        let mut start = 0;
        let attended: Vec<Tensor> = sequences
            .segments
            .iter()
            .enumerate()
            .map(|(idx, segment)| {
                let part = |xs: &Tensor| xs.narrow(0, start, segment.tokens);
                let (q, k, v) = (part(q), part(k), part(v));
                start += segment.tokens;
                attend_segment(sequences, idx, segment, attend, &q, &k, &v)
                    .reshape([segment.tokens, n_heads * head_dim])
            })
            .collect();
        Tensor::cat(&attended, 0)
    }
}

/// Attention of a batch with `mask` added to the scores; the shapes are those of [`Step::attend_all`].
pub(super) fn attend_masked(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    n_heads: i64,
    scale: f64,
    mask: Option<&Tensor>,
) -> Tensor {
    let (batch, seq, dim) = q.size3().expect("q is [batch, seq, dim]");
    let heads = |xs: &Tensor| xs.view([batch, -1, n_heads, dim / n_heads]).transpose(1, 2);
    let attended = Tensor::scaled_dot_product_attention(
        &heads(q),
        &heads(k),
        &heads(v),
        mask,
        0.0,
        false,
        scale,
        false,
    );
    attended.transpose(1, 2).reshape([batch, seq, dim])
}

/// One sequence's attention; the answer is `[tokens, n_heads, head_dim]` or flattens to it.
fn attend_segment(
    sequences: &Sequences<'_>,
    idx: usize,
    segment: &Segment<'_>,
    Attend { layer, scale, window, softcap }: Attend,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Tensor {
    let Segment { slot, cached, tokens } = *segment;
    slot.write(layer, cached, k, v);
    // The oldest position that any of these tokens sees.
    let from = window.map_or(0, |window| (cached + 1 - window).max(0));
    let to = cached + tokens;
    let (keys, values) = slot.read(layer, from, to);
    if let Some(cap) = softcap {
        let mask = (tokens > 1).then(|| sequences.mask(idx, window, from, q.kind()));
        return capped(q, &keys, &values, mask.as_ref(), scale, cap);
    }
    if tokens == 1 {
        // The query heads of a group stand where the tokens of a longer query would: nothing is repeated.
        let (kv_heads, head_dim) = (keys.size()[1], keys.size()[3]);
        let q = q.reshape([1, kv_heads, -1, head_dim]);
        return Tensor::scaled_dot_product_attention(
            &q,
            &keys,
            &values,
            None::<Tensor>,
            0.0,
            false,
            scale,
            false,
        );
    }
    let q = q.transpose(0, 1).unsqueeze(0);
    let shares_heads = q.size()[1] != keys.size()[1];
    let fits_window = window.is_none_or(|window| to - from <= window);
    let (mask, is_causal) = if cached == 0 && fits_window {
        (None, true)
    } else {
        (Some(sequences.mask(idx, window, from, q.kind())), false)
    };
    let attended = Tensor::scaled_dot_product_attention(
        &q,
        &keys,
        &values,
        mask,
        0.0,
        is_causal,
        scale,
        shares_heads,
    );
    attended.squeeze_dim(0).transpose(0, 1)
}

/// Attention with bent scores, which the fused kernels don't have: `q` is `[tokens, n_heads, head_dim]`, and so is the
/// answer; keys and values are `[1, kv_heads, keys, head_dim]`, the mask is `[1, 1, tokens, keys]`.
fn capped(
    q: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    mask: Option<&Tensor>,
    scale: f64,
    cap: f64,
) -> Tensor {
    let (tokens, n_heads, head_dim) = q.size3().expect("q is [tokens, heads, head_dim]");
    let (keys, values) = (keys.squeeze_dim(0), values.squeeze_dim(0));
    let (kv_heads, n_keys) = (keys.size()[0], keys.size()[1]);
    // The query heads of a group are rows of one product with the keys that they share.
    let q = q.transpose(0, 1).reshape([kv_heads, -1, head_dim]);
    let scores = (q.bmm(&keys.transpose(1, 2)) * (scale / cap)).tanh() * cap;
    let scores = match mask {
        Some(mask) => {
            (scores.view([kv_heads, -1, tokens, n_keys]) + mask).view(scores.size().as_slice())
        }
        None => scores,
    };
    let weights = scores.softmax(-1, Kind::Float).to_kind(values.kind());
    weights.bmm(&values).view([n_heads, tokens, head_dim]).transpose(0, 1)
}
