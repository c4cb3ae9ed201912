//! What a commit is, independent of any device: its task, architecture, tensors and small files.
//!
//! Read from `config.json` and the tensor headers; nothing is downloaded but the small files.

mod pickles;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use safetensors::Dtype;
use serde_json::Value;
use tch::Kind;

pub use self::pickles::WeightsFormat;
use super::precision::bytes_per_value;
use crate::{
    failure::{Code, Failure},
    hub::{
        HubError, Repository,
        facts::infer_task,
        select::{SelectError, WeightsQuery, select_weights, weights_index},
    },
    models::{self, Architecture},
    tasks::{self, Files, Processor},
    weights::header,
};

/// Larger "small files" are refused: a tokenizer of this size is not one.
const SMALL_FILE_LIMIT: u64 = 64 << 20;

/// Small files or headers that are read at once.
const READS_AT_ONCE: usize = 8;

/// The small files that some task reads.
const SMALL_FILES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "model_index.json",
    "modules.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "target.spm",
    "target_vocab.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Of these files none is read where a `tokenizer.json` says all.
const VOCABULARIES: &[&str] = &[
    "merges.txt",
    "sentencepiece.bpe.model",
    "source.spm",
    "spiece.model",
    "spm.model",
    "target.spm",
    "target_vocab.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
];

/// Everything known about one commit.
pub struct Facts {
    pub repository: Repository,
    pub files: Files,
    /// The text of `config.json`.
    pub config: String,
    pub model_type: String,
    /// `None` when this worker has no such architecture.
    pub architecture: Option<&'static Architecture>,
    /// The task that the repository is for, as far as it says.
    pub inferred_task: Option<String>,
    /// Checkpoint files, in order.
    pub weight_files: Vec<String>,
    pub format: WeightsFormat,
    pub parameters: u64,
    /// Values in floating tensors.
    floating_values: u64,
    /// Bytes in all other tensors.
    other_bytes: u64,
    /// What most floating values are stored as.
    pub stored: Kind,
    processors: Mutex<HashMap<&'static str, Arc<dyn Processor>>>,
}

impl Facts {
    pub fn model_id(&self) -> &str {
        self.repository.model_id()
    }

    pub fn revision(&self) -> &str {
        self.repository.revision()
    }

    /// Bytes of the weights when floating tensors become `dtype`.
    pub fn weight_bytes(&self, dtype: Kind) -> u64 {
        self.floating_values * bytes_per_value(dtype) + self.other_bytes
    }

    /// The tasks that this worker could run this model for.
    pub fn tasks(&self) -> Vec<&'static str> {
        let Some(architecture) = self.architecture else { return Vec::new() };
        let config: Value = serde_json::from_str(&self.config).unwrap_or_default();
        let offered = tasks::TASKS.iter().filter(|task| {
            architecture.kinds.contains(&task.kind) && tasks::misfit(task, &config).is_none()
        });
        offered.map(|task| task.id).collect()
    }

    /// The asked or inferred task, and the architecture to run it; or why it cannot be.
    pub fn plan(
        &self,
        asked: &str,
    ) -> Result<(&'static tasks::Task, &'static Architecture), Failure> {
        let id = if asked.is_empty() {
            self.inferred_task.as_deref().unwrap_or_default()
        } else {
            asked
        };
        if id.is_empty() {
            let message =
                format!("{} does not say which task it is for; name one", self.model_id());
            return Err(Failure::new(Code::MissingTask, message).at("task"));
        }
        let Some(task) = tasks::find(id) else {
            let known = tasks::TASKS.iter().map(|task| task.id.to_owned()).collect();
            return Err(Failure::new(
                Code::TaskNotSupported,
                format!("this server cannot run the task {id:?} yet"),
            )
            .at("task")
            .texts("supported", known));
        };
        let Some(architecture) = self.architecture else {
            let supported = models::supporting(task.kind).map(str::to_owned).collect();
            let message = format!(
                "{} is a {:?}, which this server cannot run yet",
                self.model_id(),
                self.model_type
            );
            return Err(Failure::new(Code::ArchitectureNotSupported, message)
                .text("architecture", self.model_type.as_str())
                .texts("supported", supported));
        };
        if !architecture.kinds.contains(&task.kind) {
            let message = format!("a {:?} model cannot do {id}", self.model_type);
            let able = self.tasks().into_iter().map(str::to_owned).collect();
            return Err(Failure::new(Code::TaskNotSupported, message)
                .at("task")
                .texts("supported", able));
        }
        let config: Value = serde_json::from_str(&self.config).unwrap_or_default();
        if let Some(why) = tasks::misfit(task, &config) {
            let message = format!("{} cannot do {id}: {why}", self.model_id());
            let able = self.tasks().into_iter().map(str::to_owned).collect();
            return Err(Failure::new(Code::TaskNotSupported, message)
                .at("task")
                .texts("supported", able));
        }
        Ok((task, architecture))
    }

    /// The task's processor, built once per commit. Parses megabytes of tokenizer: not for the async threads.
    pub fn processor(&self, task: &'static tasks::Task) -> Result<Arc<dyn Processor>, Failure> {
        let mut processors = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(processor) = processors.get(task.id) {
            return Ok(Arc::clone(processor));
        }
        let processor = (task.processor)(&self.files)?;
        processors.insert(task.id, Arc::clone(&processor));
        Ok(processor)
    }

    pub(super) async fn read(repository: Repository) -> Result<Self, Failure> {
        let files = read_small_files(&repository).await?;
        let config_json = files.json("config.json")?;
        let model_index = files.json("model_index.json")?;
        let inferred_task = infer_task(
            config_json.as_ref(),
            files.bytes("modules.json").is_some(),
            model_index.as_ref(),
            repository.pipeline_tag(),
        );
        let Some(config_json) = config_json else {
            return Err(no_config(&repository, model_index.as_ref()));
        };
        let model_type =
            config_json.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let query = WeightsQuery { config: Some(&config_json), ..WeightsQuery::default() };
        let index = match weights_index(repository.files(), query) {
            Some(path) => Some(read_file(&repository, &path).await?),
            None => None,
        };
        let index = index.as_deref().map(String::from_utf8_lossy);
        let (weight_files, format, totals) =
            match select_weights(repository.files(), query, index.as_deref()) {
                Ok(selected) => {
                    let headers = read_headers(&repository, &selected.files).await?;
                    (selected.files, WeightsFormat::Safetensors, Totals::of(&headers))
                }
                Err(error) => pickles::instead(&repository, &config_json, error).await?,
            };
        Ok(Self {
            config: files.text("config.json").unwrap_or_default().to_owned(),
            architecture: models::find(&model_type).ok(),
            model_type,
            inferred_task,
            weight_files,
            format,
            parameters: totals.parameters,
            floating_values: totals.floating_values,
            other_bytes: totals.other_bytes,
            stored: totals.stored,
            processors: Mutex::default(),
            files,
            repository,
        })
    }
}

fn no_config(repository: &Repository, model_index: Option<&Value>) -> Failure {
    let id = repository.model_id();
    match model_index.and_then(|index| index.get("_class_name")).and_then(Value::as_str) {
        Some(class) => Failure::new(
            Code::ArchitectureNotSupported,
            format!("{id} is a {class} pipeline, which this server cannot run yet"),
        )
        .text("architecture", class),
        None => {
            let formats: Vec<&str> = [("gguf", "GGUF"), ("onnx", "ONNX")]
                .into_iter()
                .filter(|(extension, _)| {
                    repository
                        .files()
                        .iter()
                        .any(|file| file.path.ends_with(&format!(".{extension}")))
                })
                .map(|(_, name)| name)
                .collect();
            let holds = if formats.is_empty() { "no config.json" } else { formats[0] };
            Failure::new(
                Code::FormatNotSupported,
                format!("{id} holds {holds}, which this server cannot load"),
            )
        }
    }
}

async fn read_small_files(repository: &Repository) -> Result<Files, Failure> {
    let has_tokenizer = repository.file("tokenizer.json").is_some();
    let wanted = repository.files().iter().filter(|file| {
        is_small_file(&file.path)
            && file.size <= SMALL_FILE_LIMIT
            && !(has_tokenizer && VOCABULARIES.contains(&file.path.as_str()))
    });
    let paths: Vec<String> = wanted.map(|file| file.path.clone()).collect();
    let reads: Vec<_> = paths.iter().map(|path| read_file(repository, path)).collect();
    let contents: Vec<Vec<u8>> =
        futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(Files::new(paths.into_iter().zip(contents).collect()))
}

async fn read_file(repository: &Repository, path: &str) -> Result<Vec<u8>, Failure> {
    let local = repository.fetch(path).await?;
    tokio::fs::read(&local).await.map_err(|error| {
        Failure::new(Code::LoadFailed, format!("{path} could not be read: {}", error.kind()))
    })
}

/// The listed names, named chat templates, and the configs of sentence-transformers' modules (`1_Pooling/config.json`).
fn is_small_file(path: &str) -> bool {
    let is_template = |rest: &str| rest.ends_with(".jinja") && !rest.contains('/');
    SMALL_FILES.contains(&path)
        || path.strip_prefix("additional_chat_templates/").is_some_and(is_template)
        || path.split_once('/').is_some_and(|(folder, file)| {
            file == "config.json" && folder.starts_with(|first: char| first.is_ascii_digit())
        })
}

async fn read_headers(
    repository: &Repository,
    files: &[String],
) -> Result<Vec<header::Header>, Failure> {
    let reads: Vec<_> = files.iter().map(|path| read_header(repository, path)).collect();
    futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
}

async fn read_header(repository: &Repository, path: &str) -> Result<header::Header, Failure> {
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

#[derive(Debug)]
struct Totals {
    parameters: u64,
    floating_values: u64,
    other_bytes: u64,
    stored: Kind,
}

impl Totals {
    fn of(headers: &[header::Header]) -> Self {
        let tensors = headers.iter().flat_map(|header| &header.tensors);
        Self::sum(
            tensors.map(|tensor| (tensor.elements(), tensor.bytes(), floating_kind(tensor.dtype))),
        )
    }

    /// Of tensors by their values, bytes and, where they are floating, their type.
    fn sum(tensors: impl Iterator<Item = (u64, u64, Option<Kind>)>) -> Self {
        let mut by_kind: Vec<(Kind, u64)> = Vec::new();
        let (mut parameters, mut floating_values, mut other_bytes) = (0, 0, 0);
        for (values, bytes, kind) in tensors {
            parameters += values;
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
        Self { parameters, floating_values, other_bytes, stored }
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

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        tracing::warn!(error = ?error, "the hub could not answer");
        let code = match error.code() {
            "file_not_found" => Code::CorruptCheckpoint,
            "corrupt_download" | "cache_failed" => Code::LoadFailed,
            name => Code::from_name(name).unwrap_or(Code::HubUnreachable),
        };
        let retry_after = error.retry_after();
        Self { retry_after, ..Self::new(code, error) }
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        Self::new(Code::from_name(error.code()).unwrap_or(Code::FormatNotSupported), error)
    }
}
