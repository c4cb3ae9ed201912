//! Facts of a model whose weights are PyTorch's own files: read from the archive's directory and description, without a download.

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tch::Kind;

use super::{
    READS_AT_ONCE,
    bare::Shapes,
    bytes_per_value, read_file,
    selected::{Sizes, Totals},
};
use crate::{
    failure::{Code, Failure},
    hub::{
        Repository,
        select::{SelectError, is_torch, pickle_files, pickles_index},
    },
    weights::pickle::{self, Checkpoint, Description, Dtype, END_BYTES, TensorRecord},
};

/// Of an older file so much is looked at for its description.
const DESCRIPTION_BYTES: u64 = 4 << 20;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsFormat {
    Safetensors,
    /// `torch.save` since version 1.6.
    TorchZip,
    /// `torch.save` before that: one pickle after the other, which says nothing at its ends.
    LegacyPickle,
}

impl WeightsFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "torch zip",
            Self::LegacyPickle => "legacy pickle",
        }
    }

    /// Bytes and parameters are taken from the size of the files.
    pub fn is_coarse(self) -> bool {
        self == Self::LegacyPickle
    }
}

/// The checkpoint of a repository, or of one of its folders, without safetensors; `error` says why there are none, and stands where there is no
/// other checkpoint either.
pub(super) async fn instead(
    repository: &Repository,
    folder: &str,
    config: &Value,
    error: SelectError,
) -> Result<(Vec<String>, WeightsFormat, Totals), Failure> {
    if !matches!(&error, SelectError::FormatNotSupported { format } if is_torch(format)) {
        return Err(error.into());
    }
    let path = pickles_index(repository.files(), folder);
    let index = match &path {
        Some(path) => Some(read_file(repository, path).await?),
        None => None,
    };
    let index = index.as_deref().map(String::from_utf8_lossy);
    let index = path.as_deref().zip(index.as_deref());
    let Some(files) = pickle_files(repository.files(), folder, index)? else {
        return Err(error.into());
    };
    of_files(repository, files, config).await
}

/// What these files hold, of one checkpoint.
pub(super) async fn of_files(
    repository: &Repository,
    files: Vec<String>,
    config: &Value,
) -> Result<(Vec<String>, WeightsFormat, Totals), Failure> {
    let reads: Vec<_> = files.iter().map(|path| read(repository, path)).collect();
    let checkpoints: Vec<Option<Checkpoint>> =
        futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    let Some(checkpoints) = checkpoints.into_iter().collect::<Option<Vec<Checkpoint>>>() else {
        let bytes = files.iter().filter_map(|path| repository.file(path)).map(|file| file.size);
        return Ok((files.clone(), WeightsFormat::LegacyPickle, by_size(bytes.sum(), config)));
    };
    let tensors = checkpoints.iter().flat_map(Checkpoint::distinct);
    let totals = Totals::sum(tensors.map(|tensor| Sizes {
        values: tensor.elements(),
        bytes: tensor.bytes(),
        kind: floating_kind(tensor.dtype),
        is_kept: matches!(tensor.dtype, Dtype::F16 | Dtype::BF16)
            && tensor.shape.len() == 2
            && tensor.is_contiguous(),
    }));
    Ok((files, WeightsFormat::TorchZip, totals))
}

/// Names and shapes of a file's weights; `None` where its beginning does not tell them.
pub(super) async fn shapes(repository: &Repository, path: &str) -> Result<Option<Shapes>, Failure> {
    let of = |checkpoint: &Checkpoint| {
        let shape = |record: &TensorRecord| record.shape.iter().map(|&size| size as i64).collect();
        let weights = checkpoint.weights();
        weights.map(|(name, record)| (name.to_owned(), shape(record))).collect::<Shapes>()
    };
    if let Some(checkpoint) = read(repository, path).await? {
        return Ok(Some(of(&checkpoint)));
    }
    let size = repository.file(path).map_or(0, |file| file.size);
    let beginning = repository.read_range(path, 0..size.min(DESCRIPTION_BYTES)).await?;
    let parsed = tokio::task::spawn_blocking(move || Description::parse(&beginning)).await;
    let parsed = parsed.map_err(|error| Failure::new(Code::LoadFailed, error))?;
    Ok(parsed.ok().map(|description| of(description.checkpoint())))
}

/// What an archive holds; `None` for a file of the format before that.
async fn read(repository: &Repository, path: &str) -> Result<Option<Checkpoint>, Failure> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Failure::new(Code::CorruptCheckpoint, format!("{path}: {why}")).text("file", path)
    };
    let size = repository.file(path).map_or(0, |file| file.size);
    let beginning = repository.read_range(path, 0..size.min(pickle::MAGIC_BYTES)).await?;
    if pickle::is_legacy(&beginning) {
        return Ok(None);
    }
    if !pickle::is_archive(&beginning) {
        return Err(corrupt(&pickle::CheckpointError::NotTorch));
    }
    let tail_start = size.saturating_sub(END_BYTES);
    let tail = repository.read_range(path, tail_start..size).await?;
    let directory = pickle::find_directory(&tail, size).map_err(|error| corrupt(&error))?;
    let range = directory.range.clone();
    // It mostly came along with the tail.
    let entries = match range.start.checked_sub(tail_start) {
        Some(start) => tail.slice(start as usize..(range.end - tail_start) as usize),
        None => repository.read_range(path, range).await?,
    };
    let members = pickle::parse_directory(&entries, &directory).map_err(|error| corrupt(&error))?;
    let description = pickle::pickle_of(&members).map_err(|error| corrupt(&error))?;
    let mut wanted = vec![description];
    wanted.extend(pickle::byte_order_of(&members));
    let mut contents = Vec::new();
    for member in wanted {
        let reach = member.reach(size);
        let bytes = repository.read_range(path, reach.clone()).await?;
        let data = member.data_range(&bytes, size).map_err(|error| corrupt(&error))?;
        contents.push(
            bytes.slice((data.start - reach.start) as usize..(data.end - reach.start) as usize),
        );
    }
    if let Some(order) = contents.get(1) {
        pickle::check_byte_order(order).map_err(|error| corrupt(&error))?;
    }
    // Megabytes of pickle: not for the async threads.
    let description = contents.swap_remove(0);
    let parsed =
        tokio::task::spawn_blocking(move || Checkpoint::parse(&description, &members)).await;
    let parsed = parsed.map_err(|error| Failure::new(Code::LoadFailed, error))?;
    parsed.map(Some).map_err(|error| corrupt(&error))
}

/// All that the size of a file tells: values of the type that the config names.
fn by_size(bytes: u64, config: &Value) -> Totals {
    let name = ["torch_dtype", "dtype"].iter().find_map(|key| config.get(key)?.as_str());
    let stored = match name.unwrap_or_default().trim_start_matches("torch.") {
        "float16" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "float64" => Kind::Double,
        _ => Kind::Float,
    };
    let values = bytes / bytes_per_value(stored);
    // No shapes, so no matrix is known to stay in its half type.
    let (kept_values, other_bytes) = (0, 0);
    Totals { parameters: values, floating_values: values, kept_values, other_bytes, stored }
}

fn floating_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F64 => Some(Kind::Double),
        Dtype::F32 => Some(Kind::Float),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F16 | Dtype::F8E5M2 | Dtype::F8E4M3 => Some(Kind::Half),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_size_is_read_by_the_type_of_the_config() {
        for (config, values, stored) in [
            (json!({}), 25, Kind::Float),
            (json!({"torch_dtype": "float16"}), 50, Kind::Half),
            (json!({"dtype": "bfloat16"}), 50, Kind::BFloat16),
        ] {
            let totals = by_size(100, &config);
            assert_eq!((totals.parameters, totals.stored), (values, stored), "{config}");
        }
    }
}
