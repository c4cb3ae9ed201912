//! What a pickle's instructions make: values that refer to each other by their place in one list.

use super::tensors::Dtype;

/// A value's place in the list.
pub(super) type Id = usize;

/// A value, as far as tensors are concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Name(Name),
    Storage(Box<StorageValue>),
    Tensor(Box<TensorValue>),
    /// Anything that is no part of a tensor's description.
    Other,
}

/// The names that a description of tensors is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    OrderedDict,
    Size,
    RebuildTensor,
    /// As [`Self::RebuildTensor`], and the data type comes with it.
    RebuildTensorOfDtype,
    RebuildParameter,
    /// Storage of one data type.
    TypedStorage(Dtype),
    /// Storage of bytes.
    UntypedStorage,
    Dtype(Dtype),
}

impl Name {
    pub(super) fn find(module: &str, attribute: &str) -> Option<Self> {
        Some(match (module, attribute) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "Size") => Self::Size,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::RebuildTensorOfDtype,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch.storage", "UntypedStorage") | ("torch", "UntypedStorage") => {
                Self::UntypedStorage
            }
            ("torch", name) => match Dtype::of_storage(name) {
                Some(dtype) => Self::TypedStorage(dtype),
                None => Self::Dtype(Dtype::of_name(name)?),
            },
            _ => return None,
        })
    }
}

/// `('storage', class, key, location, elements)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StorageValue {
    /// `None`: bytes.
    pub dtype: Option<Dtype>,
    pub key: String,
    pub elements: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct TensorValue {
    pub storage: Id,
    pub dtype: Dtype,
    /// Elements from the storage's start.
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// A pickle that was read to its end.
pub(super) struct Values {
    values: Vec<Value>,
    pub root: Id,
}

impl Values {
    pub(super) fn new(values: Vec<Value>, root: Id) -> Self {
        Self { values, root }
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }
}
