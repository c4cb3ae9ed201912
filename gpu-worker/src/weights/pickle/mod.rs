//! PyTorch checkpoints (`torch.save`): which tensors they hold and where their bytes are. Nothing in them is ever executed.
//!
//! A newer file is a zip archive: `…/data.pkl` describes the tensors, `…/data/KEY` holds the bytes of a storage. The three parts
//! that say this (the end of the archive, its directory, `data.pkl`) are a small share of the file, so that ranges of it suffice.
//! An older file is one pickle after the other, and then the storages ([`legacy`]).
//! The pickle is read by [`machine`], which knows the few instructions and the few names that describe tensors and refuses all
//! others. Format: `torch/serialization.py`, `torch/_utils.py`, Python's `pickletools.py`.
//!
//! Knows nothing about libtorch.

mod archive;
mod legacy;
mod machine;
mod opcodes;
mod tensors;
mod values;

#[cfg(test)]
mod tests;

pub use self::{
    archive::{
        ArchiveError, Directory, END_BYTES, Member, find_directory, is_archive, parse_directory,
    },
    legacy::{Description, MAGIC_BYTES, is_legacy, parse_legacy},
    machine::PickleError,
    tensors::{Checkpoint, Dtype, Place, Storage, TensorRecord},
};

/// Why a file is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the archive is damaged: {0}")]
    Archive(#[from] ArchiveError),
    #[error("its data.pkl cannot be read: {0}")]
    Pickle(#[from] PickleError),
    #[error("it has no data.pkl")]
    NoPickle,
    #[error("its data.pkl has {bytes} bytes, the limit is {MAX_PICKLE_BYTES}")]
    PickleTooLarge { bytes: u64 },
    #[error("it was written on a big-endian machine")]
    BigEndian,
    #[error("it holds no tensors under names")]
    NoTensors,
    #[error(
        "tensor {tensor} has the shape {shape:?} and the strides {strides:?}, which do not belong together"
    )]
    Shape { tensor: String, shape: Vec<u64>, strides: Vec<u64> },
    #[error("tensor {tensor} reaches beyond its storage {storage:?}")]
    Beyond { tensor: String, storage: String },
    #[error("storage {storage:?} is not in the archive")]
    NoStorage { storage: String },
    #[error("storage {storage:?} has {found} bytes in the archive, expected {expected}")]
    StorageSize { storage: String, expected: u64, found: u64 },
    #[error("storage {storage:?} is compressed, which PyTorch never does")]
    Compressed { storage: String },
    #[error("storage {storage:?} is described in two ways")]
    Ambiguous { storage: String },
    #[error("storage {storage:?} is listed, but no tensor is on it")]
    NoTensor { storage: String },
    #[error("tensor {tensor} would be {bytes} bytes, far more than its storage has")]
    Expanded { tensor: String, bytes: u64 },
    #[error("tensor {tensor} is there twice")]
    NameTwice { tensor: String },
    #[error("it is no checkpoint that PyTorch wrote")]
    NotTorch,
}

/// A larger description is refused before it is read.
pub const MAX_PICKLE_BYTES: u64 = 64 << 20;

/// What a whole file in memory holds, of either format.
pub fn parse_file(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    if is_archive(bytes) { parse_archive(bytes) } else { parse_legacy(bytes) }
}

/// What a whole archive in memory holds.
pub fn parse_archive(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let size = bytes.len() as u64;
    let tail_start = size.saturating_sub(END_BYTES);
    let directory = find_directory(&bytes[tail_start as usize..], size)?;
    let range = directory.range.start as usize..directory.range.end as usize;
    let members = parse_directory(&bytes[range], &directory)?;
    let read = |member: &Member| -> Result<&[u8], CheckpointError> {
        let header = bytes.get(member.header as usize..).unwrap_or_default();
        let range = member.data_range(header, size)?;
        Ok(&bytes[range.start as usize..range.end as usize])
    };
    if let Some(order) = byte_order_of(&members) {
        check_byte_order(read(order)?)?;
    }
    let checkpoint = Checkpoint::parse(read(pickle_of(&members)?)?, &members)?;
    let is_of = |member: &Member, storage: &Storage| storage.place == Place::Header(member.header);
    for storage in checkpoint.storages.values() {
        members
            .iter()
            .filter(|member| is_of(member, storage))
            .try_for_each(|m| read(m).map(drop))?;
    }
    Ok(checkpoint)
}

/// The member that describes the tensors.
pub fn pickle_of(members: &[Member]) -> Result<&Member, CheckpointError> {
    let pickle = members.iter().find(|member| member.name_in_folder() == Some("data.pkl"));
    let pickle = pickle.ok_or(CheckpointError::NoPickle)?;
    if pickle.bytes > MAX_PICKLE_BYTES {
        return Err(CheckpointError::PickleTooLarge { bytes: pickle.bytes });
    }
    if !pickle.is_stored {
        return Err(CheckpointError::Compressed { storage: "data.pkl".to_owned() });
    }
    Ok(pickle)
}

/// The member that says in which order the bytes of a number stand; older archives have none and are little-endian.
pub fn byte_order_of(members: &[Member]) -> Option<&Member> {
    let order = members.iter().find(|member| member.name_in_folder() == Some("byteorder"));
    order.filter(|order| order.is_stored && order.bytes <= 16)
}

pub fn check_byte_order(order: &[u8]) -> Result<(), CheckpointError> {
    if order == b"big" { Err(CheckpointError::BigEndian) } else { Ok(()) }
}
