//! The files of a checkpoint, opened and checked: every header is valid and agrees with the index and the file's length.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::WeightsError,
    header::{Header, HeaderError, PREFIX_BYTES, header_length_prefix, parse_header},
    index::{Index, parse_index},
    load::Access,
    torch_file::{self, Strided, TorchFile},
};
use crate::memory::region::Region;

/// The files of one part of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Empty for a model that has no parts.
    pub name: String,
    /// Safetensors or PyTorch files, or the index of sharded ones.
    pub files: Vec<PathBuf>,
    /// Its floating tensors become float32 where those of the others become a half type.
    pub in_float32: bool,
}

/// One opened file.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) header: Header,
    /// The mapped file, with [`Access::Map`].
    pub(super) region: Option<Arc<Region>>,
    /// Tensors that are read as a row of values, with the shape and the strides they are shown with.
    pub(super) strided: HashMap<String, Strided>,
    /// Further names of tensors: the name, and the one it is read under.
    pub(super) aliases: Vec<(String, String)>,
    /// Of a part with [`Part::in_float32`].
    pub(super) in_float32: bool,
}

impl Source {
    fn open(path: &Path, access: Access) -> Result<Self, WeightsError> {
        let unreadable = |source| WeightsError::Read { file: path.to_owned(), source };
        let invalid = |source| WeightsError::Header { file: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?.len();
        if torch_file::is_torch(path, &file) {
            let TorchFile { header, strided, aliases } = TorchFile::read(path, &file, found)?;
            let region = map(&file, found, access).map_err(unreadable)?;
            let path = path.to_owned();
            return Ok(Self { path, file, header, region, strided, aliases, in_float32: false });
        }

        let mut bytes = vec![0; PREFIX_BYTES as usize];
        let expected = PREFIX_BYTES;
        read_exact(&mut file, &mut bytes)
            .map_err(unreadable)?
            .ok_or_else(|| invalid(HeaderError::Truncated { expected, found }))?;
        let prefix = *bytes.first_chunk().expect("8 bytes were read");
        let expected = PREFIX_BYTES + header_length_prefix(prefix).map_err(invalid)?;
        // Before the header is allocated: a short file must not cost what it promises.
        if found < expected {
            return Err(invalid(HeaderError::Truncated { expected, found }));
        }
        bytes.resize(expected as usize, 0);
        read_exact(&mut file, &mut bytes[PREFIX_BYTES as usize..])
            .map_err(unreadable)?
            .ok_or_else(|| invalid(HeaderError::Truncated { expected, found }))?;
        let header = parse_header(&bytes).map_err(invalid)?;
        header.check_file_bytes(found).map_err(invalid)?;

        let region = map(&file, found, access).map_err(unreadable)?;
        let (strided, aliases) = (HashMap::new(), Vec::new());
        let path = path.to_owned();
        Ok(Self { path, file, header, region, strided, aliases, in_float32: false })
    }

    /// Puts `prefix` before all names.
    fn prefix(&mut self, prefix: &str) {
        let prefixed = |name: &str| format!("{prefix}{name}");
        for tensor in &mut self.header.tensors {
            tensor.name = prefixed(&tensor.name);
        }
        let strided = std::mem::take(&mut self.strided);
        self.strided =
            strided.into_iter().map(|(name, strided)| (prefixed(&name), strided)).collect();
        for (name, of) in &mut self.aliases {
            (*name, *of) = (prefixed(name), prefixed(of));
        }
    }

    /// Names of its tensors, all of them.
    fn names(&self) -> impl Iterator<Item = &str> {
        let read = self.header.tensors.iter().map(|tensor| tensor.name.as_str());
        read.chain(self.aliases.iter().map(|(name, _)| name.as_str()))
    }
}

fn map(file: &File, size: u64, access: Access) -> io::Result<Option<Arc<Region>>> {
    match access {
        Access::Map => {
            let bytes =
                usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
            Region::of_file(file, bytes).map(|region| Some(Arc::new(region)))
        }
        Access::Read => Ok(None),
    }
}

/// `None`: the file ends before `target` is full.
fn read_exact(file: &mut File, target: &mut [u8]) -> io::Result<Option<()>> {
    match file.read_exact(target) {
        Ok(()) => Ok(Some(())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the files of every part, whose name and a dot come before the names of its tensors, unless the name is empty.
pub(super) fn open_parts(parts: &[Part], access: Access) -> Result<Vec<Source>, WeightsError> {
    let mut all = Vec::new();
    for part in parts {
        let mut sources = open_all(&part.files, access)?;
        sources.iter_mut().for_each(|source| source.in_float32 = part.in_float32);
        if !part.name.is_empty() {
            sources.iter_mut().for_each(|source| source.prefix(&format!("{}.", part.name)));
        }
        all.append(&mut sources);
    }
    check_unique(&all)?;
    Ok(all)
}

/// Opens every file. An index (`*.json`) stands for its shards, which lie next to it.
pub(super) fn open_all(files: &[PathBuf], access: Access) -> Result<Vec<Source>, WeightsError> {
    let is_index = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
    let mut paths = BTreeSet::new();
    let mut indexes = Vec::new();
    for file in files {
        if is_index(file) {
            let index = read_index(file)?;
            paths.extend(index.shards.keys().map(|shard| file.with_file_name(shard)));
            indexes.push((file, index));
        } else {
            paths.insert(file.clone());
        }
    }
    if paths.is_empty() {
        return Err(WeightsError::NoFiles);
    }
    let sources =
        paths.iter().map(|path| Source::open(path, access)).collect::<Result<Vec<_>, _>>()?;
    let found = check_unique(&sources)?;
    for (file, index) in indexes {
        check_index(file, &index, &found)?;
    }
    Ok(sources)
}

fn read_index(file: &Path) -> Result<Index, WeightsError> {
    let json = std::fs::read(file)
        .map_err(|source| WeightsError::Read { file: file.to_owned(), source })?;
    parse_index(&json).map_err(|source| WeightsError::Index { file: file.to_owned(), source })
}

/// Answers in which file every tensor is.
fn check_unique(sources: &[Source]) -> Result<HashMap<&str, &Path>, WeightsError> {
    let mut found = HashMap::new();
    for source in sources {
        for name in source.names() {
            if let Some(first) = found.insert(name, source.path.as_path()) {
                let (first, second) = (first.to_owned(), source.path.clone());
                return Err(WeightsError::DuplicateAcrossFiles {
                    tensor: name.to_owned(),
                    first,
                    second,
                });
            }
        }
    }
    Ok(found)
}

fn check_index(
    file: &Path,
    index: &Index,
    found: &HashMap<&str, &Path>,
) -> Result<(), WeightsError> {
    for (shard, tensors) in &index.shards {
        let path = file.with_file_name(shard);
        if let Some(tensor) =
            tensors.iter().find(|tensor| found.get(tensor.as_str()) != Some(&path.as_path()))
        {
            return Err(WeightsError::NotInShard { tensor: tensor.clone(), file: path });
        }
    }
    Ok(())
}
