//! Batches without their padding (Zeng et al., 2022, <https://arxiv.org/abs/2208.08124>): what an encoder's layers compute
//! for every token by itself, they compute for tokens only. What looks from one token at another sees rows.

use std::rc::Rc;

use tch::Tensor;

use super::Step;

/// A batch is packed when no more of its places than this have tokens: moving tokens about costs something too.
const FULLEST: f64 = 0.9;

/// Where the tokens of a packed batch are.
pub(super) struct Places {
    /// `[tokens]`: those that have one, of all `batch × seq`.
    tokens: Tensor,
    batch: i64,
    seq: i64,
}

impl Places {
    /// `mask` is `[batch, seq]`, true where there is a token; `None` when there is little padding.
    fn of(mask: &Tensor) -> Option<Self> {
        let (batch, seq) = mask.size2().expect("a mask is [batch, seq]");
        let tokens = mask.reshape([-1]).nonzero().squeeze_dim(1);
        let is_full = tokens.size()[0] as f64 > (batch * seq) as f64 * FULLEST;
        (!is_full).then_some(Self { tokens, batch, seq })
    }

    /// The row of every token.
    fn rows(&self) -> Vec<i64> {
        let tokens = Vec::<i64>::try_from(&self.tokens).expect("places are whole numbers");
        tokens.into_iter().map(|place| place / self.seq).collect()
    }
}

impl Step<'_> {
    /// The step of this batch's tokens, which [`Self::pack`] brings together: that of its rows where there is little
    /// padding. What it knows of padding stays, for what sees rows.
    pub fn packed(&self) -> Step<'static> {
        let places = self.present().and_then(Places::of);
        let adapted = match (&places, &self.adapted) {
            (Some(places), Some(adapted)) => adapted.pick(&places.rows()).map(Rc::new),
            (_, adapted) => adapted.clone(),
        };
        self.of_batch(adapted, places)
    }

    /// `[batch, seq, dim]` to `[tokens, dim]`, when this is the step of a batch's tokens.
    pub fn pack(&self, xs: &Tensor) -> Tensor {
        match &self.places {
            Some(Places { tokens, .. }) => xs.flatten(0, 1).index_select(0, tokens),
            None => xs.shallow_clone(),
        }
    }

    /// What [`Self::pack`] made of `[batch, seq, dim]`, back to that; zeros where there is no token.
    pub fn spread(&self, xs: &Tensor) -> Tensor {
        let Some(Places { tokens, batch, seq }) = &self.places else { return xs.shallow_clone() };
        let dim = xs.size().last().copied().unwrap_or(0);
        let mut spread = Tensor::zeros([batch * seq, dim], (xs.kind(), xs.device()));
        let _ = spread.index_copy_(0, tokens, xs);
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
        let step = Step::padded(&mask).packed();
        let xs = Tensor::arange(12, (Kind::Int64, Device::Cpu)).view([2, 3, 2]);
        let packed = step.pack(&xs);
        assert_eq!(packed.size(), [4, 2]);
        assert_eq!(values(&packed), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(values(&step.spread(&packed)), [0, 1, 2, 3, 0, 0, 0, 0, 8, 9, 10, 11]);
        assert!(step.present().is_some());
    }

    #[test]
    fn a_batch_with_little_padding_stays_as_it_is() {
        let xs = Tensor::zeros([2, 8, 1], (Kind::Float, Device::Cpu));
        let mask = Tensor::ones([2, 8], (Kind::Bool, Device::Cpu));
        let _ = mask.get(1).get(7).fill_(0.0);
        for step in [Step::padded(&mask), Step::whole()] {
            let step = step.packed();
            assert_eq!(step.pack(&xs).size(), [2, 8, 1]);
            assert_eq!(step.spread(&xs).size(), [2, 8, 1]);
        }
    }
}
