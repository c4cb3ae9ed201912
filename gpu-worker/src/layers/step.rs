//! What one forward pass knows about its requests. Models pass it on unread; the layers use it.

use std::cell::{OnceCell, RefCell};

use tch::{Device, Kind, Tensor};

use super::{KvSlot, cross::Source};

/// One forward pass.
pub struct Step<'a> {
    plan: Plan<'a>,
}

enum Plan<'a> {
    Batch(Padding),
    Sequences(Sequences<'a>),
}

/// Padding of a rectangular batch.
#[derive(Default)]
pub(super) struct Padding {
    /// `[batch, seq]`, true where there is a token; `None` when nothing is padded.
    mask: Option<Tensor>,
    additive: OnceCell<Tensor>,
}

/// The running sequences whose tokens lie one after the other in a flat pass.
pub(super) struct Sequences<'a> {
    pub(super) segments: Vec<Segment<'a>>,
    /// What each segment attends to beside itself; empty where there is no such thing.
    pub(super) sources: Vec<Source<'a>>,
    /// `[tokens]`.
    pub(super) positions: Tensor,
    masks: RefCell<Vec<(usize, Option<i64>, Tensor)>>,
}

/// One sequence's part of a flat pass.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// Where the sequence's keys and values are.
    pub slot: &'a KvSlot,
    /// Tokens that are in the slot already.
    pub cached: i64,
    /// Tokens of this pass. They and the cached ones together must fit into the slot.
    pub tokens: i64,
}

impl<'a> Step<'a> {
    /// A rectangular batch in which nothing is padded.
    pub fn whole() -> Self {
        Self { plan: Plan::Batch(Padding::default()) }
    }

    /// A rectangular batch with padding: `mask` is `[batch, seq]`, 1 or true where there is a token.
    pub fn padded(mask: &Tensor) -> Self {
        Self {
            plan: Plan::Batch(Padding {
                mask: Some(mask.to_kind(Kind::Bool)),
                additive: OnceCell::new(),
            }),
        }
    }

    /// A flat pass over sequences with caches; `ids` then holds the tokens of all segments, in this order.
    pub fn sequences(segments: Vec<Segment<'a>>, device: Device) -> Self {
        Self::with_sources(segments, Vec::new(), device)
    }

    /// A flat pass whose sequences each have a source, in the same order.
    pub fn with_sources(
        segments: Vec<Segment<'a>>,
        sources: Vec<Source<'a>>,
        device: Device,
    ) -> Self {
        let positions: Vec<i64> = segments
            .iter()
            .flat_map(|segment| segment.cached..segment.cached + segment.tokens)
            .collect();
        let positions = Tensor::from_slice(&positions).to_device(device);
        let masks = RefCell::default();
        Self { plan: Plan::Sequences(Sequences { segments, sources, positions, masks }) }
    }

    /// The position of every token of a flat pass, `[tokens]`.
    pub fn positions(&self) -> &Tensor {
        &self.flat().positions
    }

    pub(super) fn flat(&self) -> &Sequences<'a> {
        match &self.plan {
            Plan::Sequences(sequences) => sequences,
            Plan::Batch(_) => panic!("a causal model runs on sequences"),
        }
    }

    /// What is added to the scores of a batch, `[batch, 1, 1, seq]`, or `None` when nothing is padded.
    pub(super) fn padding(&self, kind: Kind) -> Option<&Tensor> {
        let Plan::Batch(Padding { mask, additive }) = &self.plan else {
            panic!("a batch model runs on a batch");
        };
        let mask = mask.as_ref()?;
        Some(additive.get_or_init(|| {
            let absent = mask.logical_not().unsqueeze(1).unsqueeze(1);
            Tensor::zeros(absent.size(), (kind, mask.device()))
                .masked_fill(&absent, f64::NEG_INFINITY)
        }))
    }
}

impl Sequences<'_> {
    /// What is added to the scores of one segment's tokens against the keys from position `from` on,
    /// `[1, 1, tokens, keys]`: a token sees the positions up to its own, the last `window` of them if there is one.
    pub(super) fn mask(
        &self,
        segment_idx: usize,
        window: Option<i64>,
        from: i64,
        kind: Kind,
    ) -> Tensor {
        let mut masks = self.masks.borrow_mut();
        let known =
            masks.iter().find(|(idx, of_window, _)| (*idx, *of_window) == (segment_idx, window));
        if let Some((.., mask)) = known {
            return mask.shallow_clone();
        }
        let Segment { cached, tokens, .. } = self.segments[segment_idx];
        let device = self.positions.device();
        let queries =
            Tensor::arange_start(cached, cached + tokens, (Kind::Int64, device)).unsqueeze(1);
        let keys = Tensor::arange_start(from, cached + tokens, (Kind::Int64, device)).unsqueeze(0);
        let mut hidden = keys.gt_tensor(&queries);
        if let Some(window) = window {
            hidden = hidden.logical_or(&keys.le_tensor(&(&queries - window)));
        }
        let mask = Tensor::zeros(hidden.size(), (kind, device))
            .masked_fill(&hidden, f64::NEG_INFINITY)
            .unsqueeze(0)
            .unsqueeze(0);
        masks.push((segment_idx, window, mask.shallow_clone()));
        mask
    }
}
