//! Batches without their padding (Zeng et al., 2022, <https://arxiv.org/abs/2208.08124>): what is computed for every token
//! by itself, which is nearly everything of an encoder, is computed for tokens only. Attention alone sees rows again.

use tch::Tensor;

use super::Step;

/// A batch is packed when no more of its places than this have tokens: moving tokens about costs something too.
const FULLEST: f64 = 0.9;

/// Where the tokens of a batch are, if its padding is left out.
pub struct Packing(Option<Places>);

struct Places {
    /// `[tokens]`: the places that have one, of all `batch × seq`.
    tokens: Tensor,
    batch: i64,
    seq: i64,
}

impl Step<'_> {
    /// How this batch is packed: not at all when it has little padding, or adapters, which go by rows.
    pub fn packing(&self) -> Packing {
        match self.present() {
            Some(mask) if self.adapted.is_none() => Packing::of(mask),
            _ => Packing::none(),
        }
    }
}

impl Packing {
    /// Everything stays where it is.
    pub fn none() -> Self {
        Self(None)
    }

    /// `mask` is `[batch, seq]`, true where there is a token.
    fn of(mask: &Tensor) -> Self {
        let (batch, seq) = mask.size2().expect("a mask is [batch, seq]");
        let tokens = mask.reshape([-1]).nonzero().squeeze_dim(1);
        let is_full = tokens.size()[0] as f64 > (batch * seq) as f64 * FULLEST;
        Self((!is_full).then_some(Places { tokens, batch, seq }))
    }

    /// `[batch, seq, dim]` to `[1, tokens, dim]`.
    pub fn pack(&self, xs: &Tensor) -> Tensor {
        match &self.0 {
            Some(Places { tokens, .. }) => xs.flatten(0, 1).index_select(0, tokens).unsqueeze(0),
            None => xs.shallow_clone(),
        }
    }

    /// `[1, tokens, dim]` to `[batch, seq, dim]`, zeros where there is no token.
    pub fn spread(&self, xs: &Tensor) -> Tensor {
        let Some(Places { tokens, batch, seq }) = &self.0 else { return xs.shallow_clone() };
        let dim = xs.size().last().copied().unwrap_or(0);
        let mut spread = Tensor::zeros([batch * seq, dim], (xs.kind(), xs.device()));
        let _ = spread.index_copy_(0, tokens, &xs.squeeze_dim(0));
        spread.view([*batch, *seq, dim])
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn values(xs: &Tensor) -> Vec<i64> {
        Vec::try_from(xs.contiguous().view([-1])).unwrap()
    }

    #[test]
    fn tokens_go_together_and_back_to_their_places() {
        let mask = Tensor::from_slice(&[true, true, false, false, true, true]).view([2, 3]);
        let step = Step::padded(&mask);
        let packing = step.packing();
        let xs = Tensor::arange(12, (Kind::Int64, Device::Cpu)).view([2, 3, 2]);
        let packed = packing.pack(&xs);
        assert_eq!(packed.size(), [1, 4, 2]);
        assert_eq!(values(&packed), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(values(&packing.spread(&packed)), [0, 1, 2, 3, 0, 0, 0, 0, 8, 9, 10, 11]);
    }

    #[test]
    fn a_batch_with_little_padding_stays_as_it_is() {
        let xs = Tensor::zeros([2, 8, 1], (Kind::Float, Device::Cpu));
        let mask = Tensor::ones([2, 8], (Kind::Bool, Device::Cpu));
        let _ = mask.get(1).get(7).fill_(0.0);
        for step in [Step::padded(&mask), Step::whole()] {
            let packing = step.packing();
            assert_eq!(packing.pack(&xs).size(), [2, 8, 1]);
            assert_eq!(packing.spread(&xs).size(), [2, 8, 1]);
        }
    }
}
