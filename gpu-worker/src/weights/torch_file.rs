//! Opening a checkpoint that PyTorch wrote (`pytorch_model.bin`): its tensors as places in the file, like those of a
//! safetensors file, and what is left to be done to some of them once they are read.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use safetensors::Dtype as Stored;

use super::{
    error::WeightsError,
    header::{Header, TensorInfo},
    pickle::{
        self, Checkpoint, CheckpointError, Description, Dtype, END_BYTES, MAX_PICKLE_BYTES, Member,
        PickleError, Place, TensorRecord,
    },
};

/// The part of a member's header that tells how long the rest is, at least.
const FIXED_BYTES: u64 = 64;
/// Of an older file so much is read at first.
const FIRST_BYTES: u64 = 1 << 20;

/// The tensors of one file.
pub(super) struct TorchFile {
    pub(super) header: Header,
    /// Tensors that are read as a row of values, with the shape and the strides they are shown with.
    pub(super) strided: HashMap<String, Strided>,
    /// Further names of tensors: the name, and the one it is read under.
    pub(super) aliases: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strided {
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// Whether a file is to be read as one of PyTorch's: by its ending, else by how it begins.
pub(super) fn is_torch(path: &Path, file: &File) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        Some("safetensors") => false,
        Some("bin" | "pt" | "pth") => true,
        _ => {
            let mut beginning = [0; pickle::MAGIC_BYTES as usize];
            let is_long = file.read_exact_at(&mut beginning, 0).is_ok();
            is_long && (pickle::is_archive(&beginning) || pickle::is_legacy(&beginning))
        }
    }
}

impl TorchFile {
    /// Opens a file of `size` bytes.
    pub(super) fn read(path: &Path, file: &File, size: u64) -> Result<Self, WeightsError> {
        let reader = Reader { path, file, size };
        let beginning = reader.bytes(0..size.min(pickle::MAGIC_BYTES))?;
        let (checkpoint, starts) =
            if pickle::is_archive(&beginning) { reader.archive()? } else { reader.legacy()? };
        reader.tensors(&checkpoint, &starts)
    }
}

/// Where the data of each storage begin.
type Starts = HashMap<String, u64>;

struct Reader<'a> {
    path: &'a Path,
    file: &'a File,
    size: u64,
}

impl Reader<'_> {
    fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>, WeightsError> {
        let unreadable = |source| WeightsError::Read { file: self.path.to_owned(), source };
        let length = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| unreadable(io::ErrorKind::FileTooLarge.into()))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, range.start).map_err(unreadable)?;
        Ok(bytes)
    }

    fn wrong(&self, source: impl Into<CheckpointError>) -> WeightsError {
        WeightsError::Pickle { file: self.path.to_owned(), source: source.into() }
    }

    fn archive(&self) -> Result<(Checkpoint, Starts), WeightsError> {
        let tail = self.bytes(self.size.saturating_sub(END_BYTES)..self.size)?;
        let directory =
            pickle::find_directory(&tail, self.size).map_err(|error| self.wrong(error))?;
        let entries = self.bytes(directory.range.clone())?;
        let members =
            pickle::parse_directory(&entries, &directory).map_err(|error| self.wrong(error))?;
        if let Some(order) = pickle::byte_order_of(&members) {
            let order = self.bytes(self.data_of(order)?)?;
            pickle::check_byte_order(&order).map_err(|error| self.wrong(error))?;
        }
        let description = pickle::pickle_of(&members).map_err(|error| self.wrong(error))?;
        let description = self.bytes(self.data_of(description)?)?;
        let checkpoint =
            Checkpoint::parse(&description, &members).map_err(|error| self.wrong(error))?;
        let by_header: HashMap<u64, &Member> =
            members.iter().map(|member| (member.header, member)).collect();
        let mut starts = Starts::new();
        for (key, storage) in &checkpoint.storages {
            let Place::Header(header) = storage.place else { continue };
            if let Some(member) = by_header.get(&header) {
                starts.insert(key.clone(), self.data_of(member)?.start);
            }
        }
        Ok((checkpoint, starts))
    }

    /// Where the data of a member are.
    fn data_of(&self, member: &Member) -> Result<Range<u64>, WeightsError> {
        let start = member.header.min(self.size);
        let end = start.saturating_add(FIXED_BYTES).min(self.size);
        let beginning = self.bytes(start..end)?;
        member.data_range(&beginning, self.size).map_err(|error| self.wrong(error))
    }

    fn legacy(&self) -> Result<(Checkpoint, Starts), WeightsError> {
        let mut length = FIRST_BYTES;
        let description = loop {
            let end = length.min(self.size).min(MAX_PICKLE_BYTES);
            match Description::parse(&self.bytes(0..end)?) {
                Err(CheckpointError::Pickle(PickleError::Truncated))
                    if end < self.size.min(MAX_PICKLE_BYTES) =>
                {
                    length *= 8;
                }
                parsed => break parsed.map_err(|error| self.wrong(error))?,
            }
        };
        let located = description.locate(self.size, |at| {
            let bytes = self.bytes(at..at + 8).map_err(Located::Read)?;
            let bytes: Result<[u8; 8], _> = bytes.try_into();
            bytes.map_err(|_| Located::Wrong(PickleError::Truncated.into()))
        });
        let checkpoint = located.map_err(|error| match error {
            Located::Read(error) => error,
            Located::Wrong(error) => self.wrong(error),
        })?;
        let starts = checkpoint.storages.iter().filter_map(|(key, storage)| match storage.place {
            Place::Data(start) => Some((key.clone(), start)),
            _ => None,
        });
        let starts = starts.collect();
        Ok((checkpoint, starts))
    }

    fn tensors(&self, checkpoint: &Checkpoint, starts: &Starts) -> Result<TorchFile, WeightsError> {
        let mut found = TorchFile {
            header: Header { file_bytes: self.size, ..Header::default() },
            strided: HashMap::new(),
            aliases: Vec::new(),
        };
        // Tied weights are there once, under the first of their names.
        let mut first: HashMap<Seen<'_>, String> = HashMap::new();
        let mut names: HashSet<&str> = HashSet::new();
        for (name, record) in checkpoint.weights() {
            if !names.insert(name) {
                return Err(self.wrong(CheckpointError::NameTwice { tensor: name.to_owned() }));
            }
            let seen = (record.storage.as_str(), record.offset, &record.shape, &record.strides);
            if let Some(known) = first.get(&seen) {
                found.aliases.push((name.to_owned(), known.clone()));
                continue;
            }
            first.insert(seen, name.to_owned());
            let start = *starts.get(&record.storage).ok_or_else(|| {
                self.wrong(CheckpointError::NoStorage { storage: record.storage.clone() })
            })?;
            let info = self.tensor(name, record, start)?;
            if !record.is_contiguous() {
                let strides = signed(&record.strides);
                let strided = Strided { shape: signed(&record.shape), strides };
                found.strided.insert(name.to_owned(), strided);
            }
            found.header.tensors.push(info);
        }
        found.header.tensors.sort_by_key(|info| info.range.start);
        Ok(found)
    }

    fn tensor(
        &self,
        name: &str,
        record: &TensorRecord,
        start: u64,
    ) -> Result<TensorInfo, WeightsError> {
        let dtype = stored(record.dtype).ok_or_else(|| WeightsError::PickledDtype {
            tensor: name.to_owned(),
            file: self.path.to_owned(),
            dtype: record.dtype.name().to_owned(),
        })?;
        let is_contiguous = record.is_contiguous();
        let values = if is_contiguous { record.elements() } else { record.span() };
        let begin = start + record.offset * record.dtype.bytes();
        let shape = if is_contiguous { signed(&record.shape) } else { vec![values as i64] };
        let range = begin..begin + values * record.dtype.bytes();
        Ok(TensorInfo { name: name.to_owned(), dtype, shape, range })
    }
}

/// Storage, offset, shape and strides.
type Seen<'a> = (&'a str, u64, &'a Vec<u64>, &'a Vec<u64>);

/// Why the storages of an older file were not found.
enum Located {
    Read(WeightsError),
    Wrong(CheckpointError),
}

impl From<CheckpointError> for Located {
    fn from(error: CheckpointError) -> Self {
        Self::Wrong(error)
    }
}

/// Checked when the description was read: each is below 2⁶³.
fn signed(sizes: &[u64]) -> Vec<i64> {
    sizes.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

fn stored(dtype: Dtype) -> Option<Stored> {
    Some(match dtype {
        Dtype::F64 => Stored::F64,
        Dtype::F32 => Stored::F32,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::F8E5M2 => Stored::F8_E5M2,
        Dtype::F8E4M3 => Stored::F8_E4M3,
        Dtype::C64 => Stored::C64,
        Dtype::I64 => Stored::I64,
        Dtype::I32 => Stored::I32,
        Dtype::I16 => Stored::I16,
        Dtype::I8 => Stored::I8,
        Dtype::U8 => Stored::U8,
        Dtype::Bool => Stored::BOOL,
        Dtype::C128 | Dtype::U64 | Dtype::U32 | Dtype::U16 => return None,
    })
}
