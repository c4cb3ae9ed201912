//! The tensors of a checkpoint: names, shapes, and where their bytes are.

use std::collections::BTreeMap;

use super::{
    CheckpointError, Member, PickleError, machine,
    values::{Id, TensorValue, Value, Values},
};

/// libtorch's operators work on at most this many dimensions.
const MAX_DIMENSIONS: usize = 64;
/// A tensor that shows more bytes than its storage has is refused beyond this.
const MAX_EXPANDED_BYTES: u64 = 64 << 20;
/// Names of the dictionary that weights may be in, beside whatever else a training script kept. BasicSR keeps the weights
/// and their running mean, which is the better one.
const WRAPPERS: [&str; 4] = ["state_dict.", "model_state_dict.", "params_ema.", "params."];
/// How deep the names may be nested: `{"state_dict": {…}}` is a checkpoint too.
const MAX_DEPTH: usize = 4;

/// Data types of PyTorch's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    F8E5M2,
    F8E4M3,
    C64,
    C128,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

/// Each with the class of its storages, where it has one, the name of the type, and the bytes of a value.
const DTYPES: [(Dtype, &str, &str, u64); 17] = [
    (Dtype::F64, "DoubleStorage", "float64", 8),
    (Dtype::F32, "FloatStorage", "float32", 4),
    (Dtype::F16, "HalfStorage", "float16", 2),
    (Dtype::BF16, "BFloat16Storage", "bfloat16", 2),
    (Dtype::F8E5M2, "", "float8_e5m2", 1),
    (Dtype::F8E4M3, "", "float8_e4m3fn", 1),
    (Dtype::C64, "ComplexFloatStorage", "complex64", 8),
    (Dtype::C128, "ComplexDoubleStorage", "complex128", 16),
    (Dtype::I64, "LongStorage", "int64", 8),
    (Dtype::I32, "IntStorage", "int32", 4),
    (Dtype::I16, "ShortStorage", "int16", 2),
    (Dtype::I8, "CharStorage", "int8", 1),
    (Dtype::U64, "", "uint64", 8),
    (Dtype::U32, "", "uint32", 4),
    (Dtype::U16, "", "uint16", 2),
    (Dtype::U8, "ByteStorage", "uint8", 1),
    (Dtype::Bool, "BoolStorage", "bool", 1),
];

impl Dtype {
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        DTYPES.iter().find(|row| !class.is_empty() && row.1 == class).map(|row| row.0)
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        DTYPES.iter().find(|row| row.2 == name).map(|row| row.0)
    }

    /// As PyTorch calls it.
    pub fn name(self) -> &'static str {
        DTYPES.iter().find(|row| row.0 == self).map_or("", |row| row.2)
    }

    /// Bytes of one value.
    pub fn bytes(self) -> u64 {
        DTYPES.iter().find(|row| row.0 == self).map_or(1, |row| row.3)
    }
}

/// One tensor. Several may share a storage, tied weights do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorRecord {
    /// Keys of nested dictionaries are joined with a dot.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// Values from one element to the next along each dimension.
    pub strides: Vec<u64>,
    /// Key of its storage.
    pub storage: String,
    /// Values from the storage's start to its first.
    pub offset: u64,
}

impl TensorRecord {
    /// Number of values; 1 for a scalar.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }

    pub fn bytes(&self) -> u64 {
        self.elements() * self.dtype.bytes()
    }

    /// Values from its first to its last, both included.
    pub fn span(&self) -> u64 {
        if self.elements() == 0 {
            return 0;
        }
        let steps = self.shape.iter().zip(&self.strides);
        1 + steps.map(|(&size, &stride)| (size - 1) * stride).sum::<u64>()
    }

    /// Its values lie one after the other, in order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        let mut dimensions = self.shape.iter().zip(&self.strides).rev();
        let mut is_next = |(&size, &stride): (&u64, &u64)| {
            let is_next = size == 1 || stride == expected;
            expected *= size;
            is_next
        };
        self.elements() == 0 || dimensions.all(&mut is_next)
    }
}

/// One storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    pub bytes: u64,
    /// Bytes of one of its values.
    pub value_bytes: u64,
    pub place: Place,
}

/// Where a storage is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not found yet.
    Unknown,
    /// The header of its member begins here, which [`Member::data_range`] turns into the place of its data.
    Header(u64),
    /// Its data begin here.
    Data(u64),
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// In the order of the file.
    pub tensors: Vec<TensorRecord>,
    /// Those of the tensors, by key.
    pub storages: BTreeMap<String, Storage>,
}

impl Checkpoint {
    /// Reads a description and checks it against the archive's members.
    pub fn parse(pickle: &[u8], members: &[Member]) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self::describe(&machine::run(pickle)?)?;
        checkpoint.locate(members)?;
        Ok(checkpoint)
    }

    /// The tensors of a description; where their storages are is still to be found.
    pub(super) fn describe(values: &Values) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self::default();
        let mut left = Visits(1 << 20);
        checkpoint.collect(values, values.root, "", MAX_DEPTH, &mut left)?;
        if checkpoint.tensors.is_empty() {
            return Err(CheckpointError::NoTensors);
        }
        Ok(checkpoint)
    }

    /// The weights with their names, without what a training script wrapped them in and what it kept beside them.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &TensorRecord)> {
        let is_there =
            |wrapper: &&&str| self.tensors.iter().any(|tensor| tensor.name.starts_with(**wrapper));
        let wrapper = WRAPPERS.iter().find(is_there).copied().unwrap_or_default();
        let inside = move |tensor: &'_ TensorRecord| tensor.name.starts_with(wrapper);
        let tensors = self.tensors.iter().filter(move |tensor| inside(tensor));
        tensors.map(move |tensor| (&tensor.name[wrapper.len()..], tensor))
    }

    /// Weights of which none is another one under a second name.
    pub fn distinct(&self) -> impl Iterator<Item = &TensorRecord> {
        let mut seen = std::collections::HashSet::new();
        self.weights().map(|(_, tensor)| tensor).filter(move |tensor| {
            seen.insert((&tensor.storage, tensor.offset, &tensor.shape, &tensor.strides))
        })
    }

    fn collect(
        &mut self,
        values: &Values,
        id: Id,
        prefix: &str,
        depth: usize,
        left: &mut Visits,
    ) -> Result<(), CheckpointError> {
        let Value::Dict(entries) = values.get(id) else { return Ok(()) };
        for &(key, value) in entries {
            left.count()?;
            let Value::Text(key) = values.get(key) else { continue };
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match values.get(value) {
                Value::Tensor(tensor) => self.add(values, name, tensor)?,
                Value::Dict(_) if depth > 1 => {
                    self.collect(values, value, &name, depth - 1, left)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        values: &Values,
        name: String,
        tensor: &TensorValue,
    ) -> Result<(), CheckpointError> {
        let Value::Storage(storage) = values.get(tensor.storage) else {
            return Err(PickleError::Value { expected: "a storage" }.into());
        };
        let TensorValue { dtype, offset, ref shape, ref strides, .. } = *tensor;
        let size = storage.dtype.map_or(1, Dtype::bytes).checked_mul(storage.elements);
        let beyond =
            || CheckpointError::Beyond { tensor: name.clone(), storage: storage.key.clone() };
        let size = size.filter(|&size| i64::try_from(size).is_ok()).ok_or_else(beyond)?;
        let is_shaped = shape.len() == strides.len() && shape.len() <= MAX_DIMENSIONS;
        let values_of = |sum: u64, &size: &u64| sum.checked_mul(size.max(1));
        let elements =
            shape.iter().try_fold(1, values_of).and_then(|n| n.checked_mul(dtype.bytes()));
        if !is_shaped || elements.is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            let (shape, strides) = (shape.clone(), strides.clone());
            return Err(CheckpointError::Shape { tensor: name, shape, strides });
        }
        if !shape.contains(&0) {
            // The last value that the tensor reaches, and the end of its bytes.
            let steps = shape.iter().zip(strides);
            let last = steps.into_iter().try_fold(offset, |sum, (&size, &stride)| {
                sum.checked_add((size - 1).checked_mul(stride)?)
            });
            let end = last.and_then(|last| last.checked_add(1)?.checked_mul(dtype.bytes()));
            if end.is_none_or(|end| end > size) {
                return Err(beyond());
            }
        }
        // A view that repeats its values costs what it shows once it is read.
        let bytes = elements.unwrap_or(u64::MAX);
        if !shape.contains(&0) && bytes > size && bytes > MAX_EXPANDED_BYTES {
            return Err(CheckpointError::Expanded { tensor: name, bytes });
        }
        match self.storages.get(&storage.key) {
            Some(known) if known.bytes != size => {
                return Err(CheckpointError::Ambiguous { storage: storage.key.clone() });
            }
            Some(_) => {}
            None => {
                let value_bytes = storage.dtype.map_or(1, Dtype::bytes);
                let known = Storage { bytes: size, value_bytes, place: Place::Unknown };
                self.storages.insert(storage.key.clone(), known);
            }
        }
        self.tensors.push(TensorRecord {
            name,
            dtype,
            shape: shape.clone(),
            strides: strides.clone(),
            storage: storage.key.clone(),
            offset,
        });
        Ok(())
    }

    /// Finds the member of every storage.
    fn locate(&mut self, members: &[Member]) -> Result<(), CheckpointError> {
        let by_key: BTreeMap<&str, &Member> = members
            .iter()
            .filter_map(|member| Some((member.name_in_folder()?.strip_prefix("data/")?, member)))
            .collect();
        for (key, storage) in &mut self.storages {
            let member = by_key.get(key.as_str());
            let member = member.ok_or(CheckpointError::NoStorage { storage: key.clone() })?;
            if !member.is_stored {
                return Err(CheckpointError::Compressed { storage: key.clone() });
            }
            if member.bytes != storage.bytes {
                let (expected, found) = (storage.bytes, member.bytes);
                return Err(CheckpointError::StorageSize { storage: key.clone(), expected, found });
            }
            storage.place = Place::Header(member.header);
        }
        Ok(())
    }
}

/// Entries that may still be looked at: dictionaries that are shared and nested could be walked for ever.
struct Visits(u64);

impl Visits {
    fn count(&mut self) -> Result<(), PickleError> {
        self.0 = self.0.checked_sub(1).ok_or(PickleError::TooManyValues)?;
        Ok(())
    }
}
