//! All tensors of one checkpoint, and which of them were asked for.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    path::PathBuf,
    sync::Arc,
};

use tch::{Device, Kind, Tensor};

use super::{
    cursor::Weights,
    error::WeightsError,
    load::{self, Item, LoadProgress, OpenOptions, Tally},
    rename::{Names, Rename},
    source::{self, Part},
};
use crate::memory::region::Region;

/// All tensors of one checkpoint, on one device.
pub struct Checkpoint {
    pub(super) tensors: HashMap<String, Tensor>,
    pub(super) device: Device,
    pub(super) kind: Kind,
    /// Names somebody asked for and that are there.
    pub(super) used: RefCell<BTreeSet<String>>,
    /// Names somebody asked for and that are not.
    pub(super) missing: RefCell<BTreeSet<String>>,
    mapped_bytes: u64,
    /// Of tensors that were handed out as copies, beside their originals.
    copied_bytes: Cell<u64>,
    regions: Vec<Arc<Region>>,
    /// The layers that were loaded and take adapters, in this order.
    pub(super) modules: RefCell<Vec<Module>>,
    renames: Vec<Rename>,
}

/// A linear layer or a convolution of a model, to which an adapter can add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// As the checkpoint names it, old spellings replaced.
    pub name: String,
    pub in_dim: i64,
    pub out_dim: i64,
    /// Side of a convolution's kernel; `None` for a linear layer.
    pub kernel: Option<i64>,
    /// Its weight is stored as `[in, out]`.
    pub is_transposed: bool,
    /// What it makes of parts of the model was computed while loading: an adapter would come too late.
    pub is_fixed: bool,
}

/// Names in the checkpoint that nobody asked for, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unused(pub Vec<String>);

impl Checkpoint {
    /// Opens safetensors or PyTorch files, or the index of a sharded checkpoint, and brings every tensor to the wanted device and kind.
    ///
    /// `progress` is called on this thread, first with nothing done; `Break` ends with [`WeightsError::Cancelled`].
    pub fn open(
        files: &[PathBuf],
        options: &OpenOptions,
        progress: &dyn Fn(LoadProgress) -> ControlFlow<()>,
    ) -> Result<Self, WeightsError> {
        let whole = Part { name: String::new(), files: files.to_vec(), in_float32: false };
        Self::open_parts(&[whole], options, progress)
    }

    /// As [`Self::open`], of a model in parts: the tensor `conv.weight` of the part `unet` is named `unet.conv.weight`.
    pub fn open_parts(
        parts: &[Part],
        options: &OpenOptions,
        progress: &dyn Fn(LoadProgress) -> ControlFlow<()>,
    ) -> Result<Self, WeightsError> {
        let sources = source::open_parts(parts, options.access)?;
        let items = sources
            .iter()
            .flat_map(|source| source.header.tensors.iter().map(move |info| (source, info)))
            .map(|(source, info)| {
                let kind = if source.in_float32 { widened(options.kind) } else { options.kind };
                Item::new(source, info, kind, options.keeps_matrices)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut tally = Tally::start(&items, progress)?;
        // Weights are no part of any gradient, whoever loads them.
        let (tensors, mapped_bytes) = tch::no_grad(|| match options.device {
            Device::Cpu => load::to_host(&items, &mut tally),
            device => Ok((load::device::to_device(&items, device, &mut tally)?, 0)),
        })?;
        let mut tensors = tensors;
        for source in &sources {
            tch::no_grad(|| load::show(source, &mut tensors))?;
        }
        let mut checkpoint = Self::new(tensors, options.device, options.kind);
        checkpoint.mapped_bytes = mapped_bytes;
        // A file that no tensor is a view of is unmapped here.
        let regions = sources.into_iter().filter_map(|source| source.region);
        checkpoint.regions = regions.filter(|region| Arc::strong_count(region) > 1).collect();
        Ok(checkpoint)
    }

    /// A checkpoint of tensors that are already there; its device is that of the first, its kind that of the first floating one.
    pub fn from_tensors(tensors: HashMap<String, Tensor>) -> Self {
        let device = tensors.values().next().map_or(Device::Cpu, Tensor::device);
        // Matrices that were kept are narrower than what the model computes in.
        let kind = tensors
            .values()
            .map(Tensor::kind)
            .filter(|kind| is_floating(*kind))
            .max_by_key(|kind| kind.elt_size_in_bytes())
            .unwrap_or(Kind::Float);
        Self::new(tensors, device, kind)
    }

    fn new(tensors: HashMap<String, Tensor>, device: Device, kind: Kind) -> Self {
        Self {
            tensors,
            device,
            kind,
            used: RefCell::default(),
            missing: RefCell::default(),
            mapped_bytes: 0,
            copied_bytes: Cell::default(),
            regions: Vec::new(),
            modules: RefCell::default(),
            renames: Vec::new(),
        }
    }

    pub fn root(&self) -> Weights<'_> {
        Weights::new(self)
    }

    /// Applies each rule in turn to every name; what was asked for so far is forgotten.
    pub fn rename(&mut self, rules: &[Rename]) {
        for rule in rules {
            let names = Names(self.tensors.keys().cloned().collect());
            for name in &names.0 {
                let Some(renamed) = rule.apply(name, &names) else { continue };
                if self.tensors.contains_key(&renamed) {
                    tracing::debug!(
                        name,
                        renamed,
                        "a tensor keeps its old name, the new one is taken"
                    );
                } else if let Some(tensor) = self.tensors.remove(name) {
                    self.tensors.insert(renamed, tensor);
                }
            }
        }
        self.used.get_mut().clear();
        self.missing.get_mut().clear();
        self.renames.extend_from_slice(rules);
    }

    /// The rules that were applied so far, for what names the same model's layers.
    pub fn renames(&self) -> &[Rename] {
        &self.renames
    }

    /// The layers that were loaded and take adapters; their places in this list are those that [`Weights::module`] answered.
    pub fn modules(&self) -> Vec<Module> {
        self.modules.borrow().clone()
    }

    /// The tensors by name, for what is no model.
    pub fn into_tensors(self) -> HashMap<String, Tensor> {
        self.tensors
    }

    /// Bytes of all tensors, mapped ones included.
    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(bytes).sum::<u64>() + self.copied_bytes.get()
    }

    pub(super) fn count_copy(&self, copy: &Tensor) {
        self.copied_bytes.set(self.copied_bytes.get() + bytes(copy));
    }

    /// Bytes of those tensors that are a mapped file itself.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }

    /// Number of elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.numel() as u64).sum()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// To be called when the model is built: every name that was asked for must have been there.
    pub fn finish(&self) -> Result<Unused, WeightsError> {
        let missing = self.missing.borrow();
        if !missing.is_empty() {
            return Err(WeightsError::Missing { names: missing.iter().cloned().collect() });
        }
        let used = self.used.borrow();
        let mut unused: Vec<String> =
            self.tensors.keys().filter(|name| !used.contains(*name)).cloned().collect();
        unused.sort();
        Ok(Unused(unused))
    }

    /// Makes mapped files resident, so that the first forward does not wait for their pages.
    pub fn prefault(&self) {
        for region in &self.regions {
            region.prefault();
        }
    }
}

fn bytes(tensor: &Tensor) -> u64 {
    (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
}

/// A half type becomes float32, others stay.
pub(super) fn widened(kind: Kind) -> Kind {
    if is_half(kind) { Kind::Float } else { kind }
}

pub(super) fn is_half(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16)
}

fn is_floating(kind: Kind) -> bool {
    matches!(kind, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double)
}
