//! Files as `torch.save` wrote them before version 1.6: a magic number, a version, the machine's sizes, the description and
//! the keys of the storages, a pickle each; then each storage's length and bytes.
//!
//! Reference: `_legacy_load` in `torch/serialization.py`.

use super::{
    Checkpoint, CheckpointError, MAX_PICKLE_BYTES, PickleError,
    machine::run_prefix,
    tensors::Place,
    values::{Value, Values},
};

/// The magic number as the pickle that a file begins with.
const MAGIC: [u8; 15] =
    [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, b'.'];
const PROTOCOL: i64 = 1001;
/// Before the bytes of a storage stands how many values they are.
const COUNT_BYTES: u64 = 8;

/// Bytes at a file's beginning that tell its format.
pub const MAGIC_BYTES: u64 = MAGIC.len() as u64;

/// Whether a file that begins so is of this format.
pub fn is_legacy(beginning: &[u8]) -> bool {
    beginning.starts_with(&MAGIC)
}

/// Everything before the storages.
pub struct Description {
    checkpoint: Checkpoint,
    keys: Vec<String>,
    /// Where the first storage begins.
    end: u64,
}

impl Description {
    /// Reads the beginning of a file. [`PickleError::Truncated`] asks for more of it.
    pub fn parse(beginning: &[u8]) -> Result<Self, CheckpointError> {
        let mut rest = beginning.strip_prefix(&MAGIC).ok_or(CheckpointError::NotTorch)?;
        let mut next = || -> Result<Values, CheckpointError> {
            let (values, length) = run_prefix(rest)?;
            rest = &rest[length..];
            Ok(values)
        };
        let protocol = next()?;
        if *protocol.get(protocol.root) != Value::Int(PROTOCOL) {
            return Err(CheckpointError::NotTorch);
        }
        let machine = next()?;
        if !is_little_endian(&machine) {
            return Err(CheckpointError::BigEndian);
        }
        let checkpoint = Checkpoint::describe(&next()?)?;
        let keys = next()?;
        let Value::List(items) = keys.get(keys.root) else {
            return Err(PickleError::Value { expected: "a list of storages" }.into());
        };
        let text = |&id: &usize| match keys.get(id) {
            Value::Text(key) => Ok(key.clone()),
            _ => Err(PickleError::Value { expected: "a storage's key" }),
        };
        let keys = items.iter().map(text).collect::<Result<_, _>>()?;
        let end = (beginning.len() - rest.len()) as u64;
        Ok(Self { checkpoint, keys, end })
    }

    /// Its tensors; where their storages are is not known yet.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Finds the storages in a file of `size` bytes; `count_at` reads the eight bytes at a place of it.
    pub fn locate<E: From<CheckpointError>>(
        mut self,
        size: u64,
        mut count_at: impl FnMut(u64) -> Result<[u8; 8], E>,
    ) -> Result<Checkpoint, E> {
        let mut at = self.end;
        for key in &self.keys {
            // A storage that no tensor is on still takes its place, but how much isn't said anywhere else.
            let Some(storage) = self.checkpoint.storages.get_mut(key) else {
                return Err(CheckpointError::NoTensor { storage: key.clone() }.into());
            };
            let expected = storage.bytes;
            let start = at + COUNT_BYTES;
            let end = start.checked_add(expected).filter(|&end| end <= size);
            let cut_off = || CheckpointError::StorageSize {
                storage: key.clone(),
                expected,
                found: size.saturating_sub(start),
            };
            let end = end.ok_or_else(cut_off)?;
            let count = u64::from_le_bytes(count_at(at)?);
            let found = count.saturating_mul(storage.value_bytes);
            if found != expected {
                let storage = key.clone();
                return Err(CheckpointError::StorageSize { storage, expected, found }.into());
            }
            storage.place = Place::Data(start);
            at = end;
        }
        let missing = |place: &Place| !matches!(place, Place::Data(_));
        match self.checkpoint.storages.iter().find(|(_, storage)| missing(&storage.place)) {
            Some((key, _)) => Err(CheckpointError::NoStorage { storage: key.clone() }.into()),
            None => Ok(self.checkpoint),
        }
    }
}

/// What a whole file in memory holds.
pub fn parse_legacy(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let beginning = &bytes[..bytes.len().min(MAX_PICKLE_BYTES as usize)];
    Description::parse(beginning)?.locate(bytes.len() as u64, |at| {
        let found = bytes.get(at as usize..).and_then(|rest| rest.first_chunk());
        found.copied().ok_or(CheckpointError::Pickle(PickleError::Truncated))
    })
}

fn is_little_endian(machine: &Values) -> bool {
    let Value::Dict(entries) = machine.get(machine.root) else { return false };
    entries.iter().any(|&(key, value)| {
        let is_it = matches!(machine.get(key), Value::Text(key) if key == "little_endian");
        is_it && *machine.get(value) == Value::Bool(true)
    })
}
