//! Low-rank adapters (Hu et al., 2021, <https://arxiv.org/abs/2106.09685>): what is added to the products of a model's
//! linear layers and convolutions, for the rows whose requests asked for it. The weights stay as they are, so rows with
//! different adapters, and with none, go through one pass.

use std::{cell::OnceCell, collections::HashMap, rc::Rc};

use tch::Tensor;

use super::Conv2dConfig;
use crate::weights::peft::Part;

/// What one adapter does to a model's layers. All tensors have the model's device and kind.
pub struct Adapter {
    /// By the layer's place in [`crate::weights::Checkpoint::modules`].
    parts: Rc<HashMap<usize, Part>>,
    /// How much of it there is: 1 as it was trained, 0 nothing.
    strength: f64,
}

impl Adapter {
    pub fn new(parts: HashMap<usize, Part>) -> Self {
        Self { parts: Rc::new(parts), strength: 1.0 }
    }

    /// The same tensors with another strength.
    #[must_use]
    pub fn with_strength(&self, strength: f64) -> Self {
        Self { parts: Rc::clone(&self.parts), strength }
    }
}

/// How a layer makes its products.
#[derive(Clone, Copy)]
pub(super) enum Product {
    Linear,
    Convolution(Conv2dConfig),
}

impl Product {
    pub(super) fn of(self, xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        match self {
            Self::Linear => xs.linear(weight, bias),
            Self::Convolution(Conv2dConfig { stride, padding, .. }) => {
                xs.conv2d(weight, bias, [stride, stride], [padding, padding], [1, 1], 1)
            }
        }
    }

    /// Of what the first half made with the second one, which moves nothing.
    fn of_second(self, xs: &Tensor, weight: &Tensor) -> Tensor {
        match self {
            Self::Linear => self.of(xs, weight, None),
            Self::Convolution(_) => Self::Convolution(Conv2dConfig::same(1)).of(xs, weight, None),
        }
    }
}

/// The adapters of one pass.
pub(super) struct Adapted {
    of_rows: Vec<Option<Rc<Adapter>>>,
    groups: Vec<Group>,
}

/// The rows that have the same adapter.
struct Group {
    adapter: Rc<Adapter>,
    rows: Rows,
}

enum Rows {
    Range { start: i64, length: i64 },
    Scattered { rows: Vec<i64>, on_device: OnceCell<Tensor> },
}

impl Adapted {
    /// `None` when no row has an adapter.
    pub(super) fn of(of_rows: Vec<Option<Rc<Adapter>>>) -> Option<Self> {
        let mut groups: Vec<(Rc<Adapter>, Vec<i64>)> = Vec::new();
        for (row, adapter) in (0..).zip(&of_rows) {
            let Some(adapter) = adapter else { continue };
            match groups.iter_mut().find(|(known, _)| Rc::ptr_eq(known, adapter)) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((Rc::clone(adapter), vec![row])),
            }
        }
        let groups: Vec<Group> = groups
            .into_iter()
            .map(|(adapter, rows)| Group { adapter, rows: Rows::of(rows) })
            .collect();
        (!groups.is_empty()).then_some(Self { of_rows, groups })
    }

    /// Those of some rows.
    pub(super) fn pick(&self, rows: &[i64]) -> Option<Self> {
        Self::of(rows.iter().map(|&row| self.of_rows[row as usize].clone()).collect())
    }

    /// Does to `ys`, the product of `xs` and the layer at `module`, what the rows' adapters do to that layer.
    pub(super) fn apply(&self, module: usize, product: Product, xs: &Tensor, ys: &mut Tensor) {
        let (n_rows, found) = (self.of_rows.len() as i64, xs.size()[0]);
        assert_eq!(found, n_rows, "a layer's rows are those of the step whose adapters it has");
        for Group { adapter, rows } in &self.groups {
            let Some(part) = adapter.parts.get(&module) else { continue };
            match rows {
                &Rows::Range { start, length } => {
                    let mut ys = ys.narrow(0, start, length);
                    let (xs, own) = (xs.narrow(0, start, length), || ys.shallow_clone());
                    match adapter.made(part, product, &xs, own) {
                        Made::Added(delta) => drop(ys.g_add_(&delta)),
                        Made::Instead(made) => ys.copy_(&made),
                    }
                }
                Rows::Scattered { rows, on_device } => {
                    let indices = || Tensor::from_slice(rows).to_device(xs.device());
                    let rows = on_device.get_or_init(indices);
                    let (xs, own) = (xs.index_select(0, rows), || ys.index_select(0, rows));
                    match adapter.made(part, product, &xs, own) {
                        Made::Added(delta) => drop(ys.index_add_(0, rows, &delta)),
                        Made::Instead(made) => drop(ys.index_copy_(0, rows, &made)),
                    }
                }
            }
        }
    }
}

impl Rows {
    /// Of ascending rows.
    fn of(rows: Vec<i64>) -> Self {
        match (rows.first(), rows.last()) {
            (Some(&first), Some(&last)) if last - first + 1 == rows.len() as i64 => {
                Self::Range { start: first, length: rows.len() as i64 }
            }
            _ => Self::Scattered { rows, on_device: OnceCell::new() },
        }
    }
}

enum Made {
    Added(Tensor),
    Instead(Tensor),
}

impl Adapter {
    /// What becomes of the layer's `own` product of `xs`.
    fn made(
        &self,
        part: &Part,
        product: Product,
        xs: &Tensor,
        own: impl FnOnce() -> Tensor,
    ) -> Made {
        match part {
            Part::LowRank { down, up } => {
                let narrow = product.of(xs, down, None);
                let narrow = if self.strength == 1.0 { narrow } else { narrow * self.strength };
                Made::Added(product.of_second(&narrow, up))
            }
            Part::Whole { weight, bias } => {
                let made = product.of(xs, weight, bias.as_ref());
                if self.strength == 1.0 {
                    return Made::Instead(made);
                }
                Made::Added((made - own()) * self.strength)
            }
        }
    }
}
