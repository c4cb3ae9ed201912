//! Which files hold the weights of a commit, and what their headers say.

use futures::{StreamExt, TryStreamExt};
use safetensors::Dtype;
use tch::Kind;

use super::{
    READS_AT_ONCE, WeightsFormat, bare::Shapes, described::PartConfig, pickles, read_file,
};
use crate::{
    failure::{Code, Failure},
    hub::{
        Repository,
        select::{WeightsQuery, select_weights, weights_index},
    },
    weights::{header, is_kept},
};

/// The weights of all parts.
pub(super) struct Selected {
    pub(super) files: Vec<String>,
    /// The coarsest of its parts.
    pub(super) format: WeightsFormat,
    pub(super) totals: Totals,
    /// Of the floating values those that are float32 whatever the rest is.
    pub(super) float32_values: u64,
}

impl Selected {
    pub(super) async fn of(repository: &Repository, parts: &[PartConfig]) -> Result<Self, Failure> {
        let mut all = Self {
            files: Vec::new(),
            format: WeightsFormat::Safetensors,
            totals: Totals::sum(std::iter::empty()),
            float32_values: 0,
        };
        let mut largest = 0;
        for part in parts {
            let one = Self::of_part(repository, part).await?;
            all.files.extend(one.files);
            if one.format != WeightsFormat::Safetensors && all.format != WeightsFormat::LegacyPickle
            {
                all.format = one.format;
            }
            if one.totals.floating_values > largest {
                largest = one.totals.floating_values;
                all.totals.stored = one.totals.stored;
            }
            all.totals.parameters += one.totals.parameters;
            all.totals.floating_values += one.totals.floating_values;
            if part.in_float32 {
                all.float32_values += one.totals.floating_values;
            }
            all.totals.kept_values += one.totals.kept_values;
            all.totals.other_bytes += one.totals.other_bytes;
        }
        Ok(all)
    }

    async fn of_part(repository: &Repository, part: &PartConfig) -> Result<Self, Failure> {
        if let Some(file) = &part.file {
            return Self::of_file(repository, file, &part.config).await;
        }
        let query = WeightsQuery {
            folder: &part.folder,
            config: Some(&part.config),
            ..WeightsQuery::default()
        };
        let index = match weights_index(repository.files(), query) {
            Some(path) => Some(read_file(repository, &path).await?),
            None => None,
        };
        let index = index.as_deref().map(String::from_utf8_lossy);
        let (files, format, totals) =
            match select_weights(repository.files(), query, index.as_deref()) {
                Ok(selected) => {
                    let headers = read_headers(repository, &selected.files).await?;
                    (selected.files, WeightsFormat::Safetensors, Totals::of(&headers))
                }
                Err(error) => {
                    pickles::instead(repository, &part.folder, &part.config, error).await?
                }
            };
        Ok(Self { files, format, totals, float32_values: 0 })
    }

    async fn of_file(
        repository: &Repository,
        file: &str,
        config: &serde_json::Value,
    ) -> Result<Self, Failure> {
        let files = vec![file.to_owned()];
        if file.ends_with(".safetensors") {
            let totals = Totals::of(&read_headers(repository, &files).await?);
            let format = WeightsFormat::Safetensors;
            return Ok(Self { files, format, totals, float32_values: 0 });
        }
        let (files, format, totals) = pickles::of_files(repository, files, config).await?;
        Ok(Self { files, format, totals, float32_values: 0 })
    }
}

/// Names and shapes of the tensors of a safetensors file.
pub(super) async fn shapes(repository: &Repository, path: &str) -> Result<Shapes, Failure> {
    let header = read_header(repository, path).await?;
    Ok(header.tensors.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect())
}

async fn read_headers(
    repository: &Repository,
    files: &[String],
) -> Result<Vec<header::Header>, Failure> {
    let reads: Vec<_> = files.iter().map(|path| read_header(repository, path)).collect();
    futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
}

pub(in crate::residency) async fn read_header(
    repository: &Repository,
    path: &str,
) -> Result<header::Header, Failure> {
    let corrupt = |why: &dyn std::fmt::Display| {
        Failure::new(Code::CorruptCheckpoint, format!("{path}: {why}")).text("file", path)
    };
    let size = repository.file(path).map_or(0, |file| file.size);
    let prefix = repository.read_range(path, 0..header::PREFIX_BYTES.min(size)).await?;
    let prefix =
        prefix.as_ref().try_into().map_err(|_| corrupt(&format!("it has only {size} bytes")))?;
    let length = header::header_length_prefix(prefix).map_err(|error| corrupt(&error))?;
    let end = (header::PREFIX_BYTES + length).min(size);
    let bytes = repository.read_range(path, 0..end).await?;
    let header = header::parse_header(&bytes).map_err(|error| corrupt(&error))?;
    header.check_file_bytes(size).map_err(|error| corrupt(&error))?;
    Ok(header)
}

/// Of one tensor.
pub(super) struct Sizes {
    pub(super) values: u64,
    pub(super) bytes: u64,
    /// `None`: it is not floating.
    pub(super) kind: Option<Kind>,
    /// A matrix that stays in its half type on a CPU.
    pub(super) is_kept: bool,
}

#[derive(Debug)]
pub(super) struct Totals {
    pub(super) parameters: u64,
    /// Values in floating tensors.
    pub(super) floating_values: u64,
    /// Of these, the ones of matrices that stay in their half type on a CPU.
    pub(super) kept_values: u64,
    /// Bytes in all other tensors.
    pub(super) other_bytes: u64,
    /// What most floating values are stored as.
    pub(super) stored: Kind,
}

impl Totals {
    fn of(headers: &[header::Header]) -> Self {
        let tensors = headers.iter().flat_map(|header| &header.tensors);
        Self::sum(tensors.map(|tensor| Sizes {
            values: tensor.elements(),
            bytes: tensor.bytes(),
            kind: floating_kind(tensor.dtype),
            is_kept: is_kept(tensor.dtype, tensor.shape.len()),
        }))
    }

    pub(super) fn sum(tensors: impl Iterator<Item = Sizes>) -> Self {
        let mut by_kind: Vec<(Kind, u64)> = Vec::new();
        let (mut parameters, mut floating_values, mut kept_values, mut other_bytes) = (0, 0, 0, 0);
        for Sizes { values, bytes, kind, is_kept } in tensors {
            parameters += values;
            if is_kept {
                kept_values += values;
            }
            let Some(kind) = kind else {
                other_bytes += bytes;
                continue;
            };
            floating_values += values;
            match by_kind.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, sum)) => *sum += values,
                None => by_kind.push((kind, values)),
            }
        }
        let stored =
            by_kind.into_iter().max_by_key(|(_, sum)| *sum).map_or(Kind::Float, |(kind, _)| kind);
        Self { parameters, floating_values, kept_values, other_bytes, stored }
    }
}

/// What floating tensors are stored as; other tensors keep their type when they are loaded. Of the 8-bit types it only
/// matters that they are floating.
fn floating_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F64 => Some(Kind::Double),
        Dtype::F32 => Some(Kind::Float),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F16 | Dtype::F8_E5M2 | Dtype::F8_E4M3 | Dtype::F8_E5M2FNUZ | Dtype::F8_E4M3FNUZ => {
            Some(Kind::Half)
        }
        _ => None,
    }
}
