//! Why a checkpoint cannot be opened or read. Every variant names the file and the tensor it is about.

use std::path::PathBuf;

use safetensors::Dtype;
use tch::TchError;

use super::{header::HeaderError, index::IndexError, pickle::CheckpointError};
use crate::memory::shim::ShimError;

#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("no checkpoint file was given")]
    NoFiles,
    #[error("loading was cancelled")]
    Cancelled,
    #[error("{} cannot be read", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a valid safetensors file: {source}", file.display())]
    Header {
        file: PathBuf,
        #[source]
        source: HeaderError,
    },
    #[error("{} is not a valid checkpoint index: {source}", file.display())]
    Index {
        file: PathBuf,
        #[source]
        source: IndexError,
    },
    #[error("{} is not a checkpoint that can be read: {source}", file.display())]
    Pickle {
        file: PathBuf,
        #[source]
        source: CheckpointError,
    },
    #[error("tensor {tensor} in {} has the data type {dtype}, which libtorch cannot compute with", file.display())]
    PickledDtype { tensor: String, file: PathBuf, dtype: String },
    #[error("the index says that tensor {tensor} is in {}, but it is not", file.display())]
    NotInShard { tensor: String, file: PathBuf },
    #[error("tensor {tensor} is in {} and in {}", first.display(), second.display())]
    DuplicateAcrossFiles { tensor: String, first: PathBuf, second: PathBuf },
    #[error("tensor {tensor} in {} has dtype {dtype}, which libtorch cannot compute with", file.display())]
    UnsupportedDtype { tensor: String, file: PathBuf, dtype: Dtype },
    #[error("the memory for {bytes} bytes of weights cannot be had")]
    Memory {
        bytes: u64,
        #[source]
        source: std::io::Error,
    },
    #[error("libtorch refused tensor {tensor}")]
    Torch {
        tensor: String,
        #[source]
        source: TchError,
    },
    #[error("tensor {tensor} cannot be a view of its memory")]
    View {
        tensor: String,
        #[source]
        source: ShimError,
    },
    #[error("{} tensors are missing from the checkpoint: {}", names.len(), names.join(", "))]
    Missing { names: Vec<String> },
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape { name: String, found: Vec<i64>, expected: Vec<i64> },
}
