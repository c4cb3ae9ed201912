//! What one forward pass knows about its requests. Models pass it on unread; the layers use it.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use tch::{Device, Kind, Tensor};

use super::{Adapter, KvSlot, cross::Source, lora::Adapted, packing::Places};

/// One forward pass.
pub struct Step<'a> {
    plan: Plan<'a>,
    /// What is added to the products of its rows, if anything is.
    pub(super) adapted: Option<Rc<Adapted>>,
    /// Where its tokens are in a batch, if its padding was left out.
    pub(super) places: Option<Places>,
}

enum Plan<'a> {
    Batch(Rc<Padding>),
    Sequences(Sequences<'a>),
}

/// Padding of a rectangular batch.
#[derive(Default)]
pub(super) struct Padding {
    /// `[batch, seq]`, true where there is a token; `None` when nothing is padded.
    mask: Option<Tensor>,
    additive: OnceCell<Tensor>,
    /// What is added where a token sees only so far, by how far.
    windows: RefCell<Vec<(i64, Tensor)>>,
}

/// The running sequences whose tokens lie one after the other in a flat pass.
pub(super) struct Sequences<'a> {
    pub(super) segments: Vec<Segment<'a>>,
    /// How many tokens of each segment's sequence are known, those of later passes included; empty: no more than
    /// this pass reaches.
    lengths: Vec<i64>,
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
        Self::of(Plan::Batch(Rc::default()))
    }

    /// A rectangular batch with padding: `mask` is `[batch, seq]`, 1 or true where there is a token.
    pub fn padded(mask: &Tensor) -> Self {
        let mask = Some(mask.to_kind(Kind::Bool));
        Self::of(Plan::Batch(Rc::new(Padding { mask, ..Padding::default() })))
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
        let (lengths, masks) = (Vec::new(), RefCell::default());
        Self::of(Plan::Sequences(Sequences { segments, lengths, sources, positions, masks }))
    }

    fn of(plan: Plan<'a>) -> Self {
        Self { plan, adapted: None, places: None }
    }

    /// Says which adapter every row of a batch has, or every segment of a flat pass, if it has one.
    #[must_use]
    pub fn with_adapters(mut self, adapters: &[Option<Rc<Adapter>>]) -> Self {
        let rows = match &self.plan {
            Plan::Batch(_) => adapters.to_vec(),
            Plan::Sequences(Sequences { segments, .. }) => segments
                .iter()
                .zip(adapters)
                .flat_map(|(segment, adapter)| vec![adapter.clone(); segment.tokens as usize])
                .collect(),
        };
        self.adapted = Adapted::of(rows).map(Rc::new);
        self
    }

    /// The step of some of its rows, in that order, and perhaps several times: what a head or an expert computes on them.
    #[must_use]
    pub fn of_rows(&self, rows: &[i64]) -> Step<'static> {
        let adapted = self.adapted.as_ref().and_then(|adapted| adapted.pick(rows));
        Step { plan: Plan::Batch(Rc::default()), adapted: adapted.map(Rc::new), places: None }
    }

    /// A step of the same batch, with the same padding.
    pub(super) fn of_batch(
        &self,
        adapted: Option<Rc<Adapted>>,
        places: Option<Places>,
    ) -> Step<'static> {
        Step { plan: Plan::Batch(Rc::clone(self.batch())), adapted, places }
    }

    /// Says how many tokens of each segment's sequence are known, those of later passes included: a prompt that is read
    /// in pieces is then read as it would be at once, where that depends on its length.
    #[must_use]
    pub fn of_lengths(mut self, lengths: Vec<i64>) -> Self {
        if let Plan::Sequences(sequences) = &mut self.plan {
            sequences.lengths = lengths;
        }
        self
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

    fn batch(&self) -> &Rc<Padding> {
        match &self.plan {
            Plan::Batch(padding) => padding,
            Plan::Sequences(_) => panic!("a batch model runs on a batch"),
        }
    }

    /// Where a batch has tokens, `[batch, seq]`, or `None` when nothing is padded.
    pub fn present(&self) -> Option<&Tensor> {
        self.batch().mask.as_ref()
    }

    /// What is added to the scores of a batch whose tokens see `window` tokens to either side: `[1 or batch, 1, seq, seq]`,
    /// or what [`Self::padding`] says when no row is longer than that.
    ///
    /// A padded position may see nothing at all. What hides is finite, or its undefined values would spread.
    pub(super) fn window(&self, window: i64, seq: i64, like: &Tensor) -> Option<Tensor> {
        if seq - 1 <= window {
            return self.padding(like.kind()).map(Tensor::shallow_clone);
        }
        let mut windows = self.batch().windows.borrow_mut();
        if let Some((_, mask)) = windows.iter().find(|(of, _)| *of == window) {
            return Some(mask.shallow_clone());
        }
        let positions = Tensor::arange(seq, (Kind::Int64, like.device()));
        let distance = (positions.unsqueeze(0) - positions.unsqueeze(1)).abs();
        let mut hidden = distance.gt(window).unsqueeze(0).unsqueeze(0);
        if let Some(present) = self.present() {
            hidden = hidden.logical_or(&present.logical_not().unsqueeze(1).unsqueeze(1));
        }
        let lowest = match like.kind() {
            Kind::Half => -65504.0,
            _ => -3.0e38,
        };
        let options = (like.kind(), like.device());
        let mask = Tensor::zeros(hidden.size(), options).masked_fill(&hidden, lowest);
        windows.push((window, mask.shallow_clone()));
        Some(mask)
    }

    /// What is added to the scores of a batch, `[batch, 1, 1, seq]`, or `None` when nothing is padded.
    pub(super) fn padding(&self, kind: Kind) -> Option<&Tensor> {
        let Padding { mask, additive, .. } = &**self.batch();
        let mask = mask.as_ref()?;
        Some(additive.get_or_init(|| {
            let absent = mask.logical_not().unsqueeze(1).unsqueeze(1);
            Tensor::zeros(absent.size(), (kind, mask.device()))
                .masked_fill(&absent, f64::NEG_INFINITY)
        }))
    }
}

impl Sequences<'_> {
    /// How long a segment's sequence is known to be.
    pub(super) fn length(&self, segment_idx: usize) -> i64 {
        let Segment { cached, tokens, .. } = self.segments[segment_idx];
        self.lengths.get(segment_idx).copied().unwrap_or(0).max(cached + tokens)
    }

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
