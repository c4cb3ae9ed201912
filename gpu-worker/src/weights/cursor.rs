//! A cursor into a checkpoint: `weights.at("encoder").at(0)` is `cd encoder/0`.

use std::fmt::Display;

use tch::{Device, Kind, Tensor};

use super::{
    checkpoint::{Checkpoint, Module, is_half, widened},
    error::WeightsError,
};

/// Reads tensors below one prefix, with the shape the caller expects.
#[derive(Clone)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// Empty, or ends with a dot.
    prefix: String,
    /// Half types become float32.
    widens: bool,
    /// Whether what is loaded from here takes adapters.
    is_adapted: bool,
}

impl<'a> Weights<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, prefix: String::new(), widens: false, is_adapted: true }
    }

    /// One level down; `name` may hold several (`"encoder.layer"`), and an empty one stays here.
    pub fn at(&self, name: impl Display) -> Self {
        let name = name.to_string();
        let prefix =
            if name.is_empty() { self.prefix.clone() } else { format!("{}{name}.", self.prefix) };
        Self { prefix, ..*self }
    }

    /// The same place, whose tensors of half types are handed out as float32. Those that were loaded so (see
    /// [`super::Part::in_float32`]) share their storage, others are converted.
    pub fn in_float32(&self) -> Self {
        Self { widens: true, ..self.clone() }
    }

    /// The same place; adapters find nothing of what is loaded from it, because its steps know none.
    #[must_use]
    pub fn without_adapters(self) -> Self {
        Self { is_adapted: false, ..self }
    }

    /// The tensor of that name, which must have that shape. It shares its storage with every other one of the same name.
    ///
    /// A missing name is remembered and answered with zeros that take no memory, so that [`Checkpoint::finish`] lists all.
    pub fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        let tensor = self.matrix(name, shape)?;
        if self.kind() != Kind::Float || !is_half(tensor.kind()) {
            return Ok(tensor);
        }
        let wide = self.wide(name, &tensor)?;
        self.checkpoint.count_copy(&wide);
        Ok(wide)
    }

    /// As [`Self::get`], but one that was kept in its half type (see [`super::OpenOptions::keeps_matrices`]) is handed out
    /// as that, for layers that multiply by it as it is.
    pub fn matrix(&self, name: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        let name = self.full(name);
        let Some(tensor) = self.checkpoint.tensors.get(&name) else {
            let zeros = Tensor::f_zeros([0i64; 0], (self.kind(), self.device()))
                .and_then(|zero| zero.f_expand(shape, false));
            let zeros =
                zeros.map_err(|source| WeightsError::Torch { tensor: name.clone(), source })?;
            self.checkpoint.missing.borrow_mut().insert(name);
            return Ok(zeros);
        };
        let found = tensor.size();
        if found != shape {
            return Err(WeightsError::Shape { name, found, expected: shape.to_vec() });
        }
        // In a checkpoint of a half type, what was not loaded as float32 is no matrix that was kept.
        let is_converted = self.widens && is_half(self.checkpoint.kind);
        let tensor = if is_converted { self.wide(&name, tensor)? } else { tensor.shallow_clone() };
        self.checkpoint.used.borrow_mut().insert(name);
        Ok(tensor)
    }

    /// The tensor with a half type become float32; one that is float32 already stays itself.
    fn wide(&self, name: &str, tensor: &Tensor) -> Result<Tensor, WeightsError> {
        let wide = tensor.f_to_kind(widened(tensor.kind()));
        wide.map_err(|source| WeightsError::Torch { tensor: name.to_owned(), source })
    }

    /// Whether there is a tensor of that name. Does not count as asking for it.
    pub fn has(&self, name: &str) -> bool {
        self.checkpoint.tensors.contains_key(&self.full(name))
    }

    /// The shape of that tensor, if there is one. Does not count as asking for it.
    pub fn shape_of(&self, name: &str) -> Option<Vec<i64>> {
        self.checkpoint.tensors.get(&self.full(name)).map(Tensor::size)
    }

    /// Notes that a linear layer is loaded from here; its place among all that adapters can add to, if it is one.
    pub fn module(&self, in_dim: i64, out_dim: i64, is_transposed: bool) -> Option<usize> {
        self.register(in_dim, out_dim, None, is_transposed)
    }

    /// As [`Self::module`], of a convolution with a square kernel.
    pub fn convolution(&self, in_dim: i64, out_dim: i64, kernel: i64) -> Option<usize> {
        self.register(in_dim, out_dim, Some(kernel), false)
    }

    fn register(
        &self,
        in_dim: i64,
        out_dim: i64,
        kernel: Option<i64>,
        is_transposed: bool,
    ) -> Option<usize> {
        if !self.is_adapted {
            return None;
        }
        let mut modules = self.checkpoint.modules.borrow_mut();
        let name = self.prefix.trim_end_matches('.');
        if let Some(known) = modules.iter().position(|module| module.name == name) {
            return Some(known);
        }
        let name = name.to_owned();
        modules.push(Module { name, in_dim, out_dim, kernel, is_transposed, is_fixed: false });
        Some(modules.len() - 1)
    }

    /// Notes that an adapter cannot add to the linear layer that is loaded from here.
    pub fn fix_module(&self) {
        let name = self.prefix.trim_end_matches('.');
        let mut modules = self.checkpoint.modules.borrow_mut();
        modules.iter_mut().filter(|module| module.name == name).for_each(|module| {
            module.is_fixed = true;
        });
    }

    /// What floating tensors are here.
    pub fn kind(&self) -> Kind {
        if self.widens { widened(self.checkpoint.kind) } else { self.checkpoint.kind }
    }

    pub fn device(&self) -> Device {
        self.checkpoint.device
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
