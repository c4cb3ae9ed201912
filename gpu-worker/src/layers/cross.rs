//! Attention to a source whose keys and values were computed once and lie in a slot of their own.

use tch::Tensor;

use super::{KvSlot, Step};

/// An encoded source that a sequence attends to.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where its keys and values are.
    pub slot: &'a KvSlot,
    /// How many tokens it has.
    pub tokens: i64,
}

impl Source<'_> {
    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.slot, other.slot)
    }
}

impl Step<'_> {
    /// Attention of every token of a batch to itself and those before it: `q`, `k`, `v` are
    /// `[batch, seq, n_heads × head_dim]`, and so is the answer. Padding has to come last, where no token sees it.
    pub fn attend_before(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        n_heads: i64,
        scale: f64,
    ) -> Tensor {
        let (batch, seq, dim) = q.size3().expect("q is [batch, seq, dim]");
        let heads = |xs: &Tensor| xs.view([batch, seq, n_heads, dim / n_heads]).transpose(1, 2);
        let attended = Tensor::scaled_dot_product_attention(
            &heads(q),
            &heads(k),
            &heads(v),
            None::<Tensor>,
            0.0,
            true,
            scale,
            false,
        );
        attended.transpose(1, 2).reshape([batch, seq, dim])
    }

    /// Puts the keys and values of a flat pass, each `[tokens, kv_heads, head_dim]`, into the slots of its segments.
    pub fn store(&self, layer: usize, k: &Tensor, v: &Tensor) {
        let mut start = 0;
        for segment in &self.flat().segments {
            let part = |xs: &Tensor| xs.narrow(0, start, segment.tokens);
            segment.slot.write(layer, segment.cached, &part(k), &part(v));
            start += segment.tokens;
        }
    }

    /// Attention of every token of a flat pass to the source of its sequence: `q` is `[tokens, n_heads, head_dim]`,
    /// the answer is `[tokens, n_heads × head_dim]`. Neighbours with one source are answered together.
    pub fn attend_source(&self, layer: usize, scale: f64, q: &Tensor) -> Tensor {
        let sequences = self.flat();
        let (_, n_heads, head_dim) = q.size3().expect("q is [tokens, heads, head_dim]");
        let mut groups: Vec<(Source, i64)> = Vec::new();
        for (segment, source) in sequences.segments.iter().zip(&sequences.sources) {
            match groups.last_mut() {
                Some((last, tokens)) if last.is(source) => *tokens += segment.tokens,
                _ => groups.push((*source, segment.tokens)),
            }
        }
        let mut start = 0;
        let attended: Vec<Tensor> = groups
            .iter()
            .map(|(source, tokens)| {
                let q = q.narrow(0, start, *tokens).transpose(0, 1).unsqueeze(0);
                start += tokens;
                let (keys, values) = source.slot.read(layer, 0, source.tokens);
                let attended = Tensor::scaled_dot_product_attention(
                    &q,
                    &keys,
                    &values,
                    None::<Tensor>,
                    0.0,
                    false,
                    scale,
                    false,
                );
                attended.squeeze_dim(0).transpose(0, 1).reshape([*tokens, n_heads * head_dim])
            })
            .collect();
        if let [only] = attended.as_slice() {
            only.shallow_clone()
        } else {
            Tensor::cat(&attended, 0)
        }
    }
}
