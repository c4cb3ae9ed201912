//! What a commit is, independent of any device: its task, architecture, tensors and small files.
//!
//! Read from `config.json` and the tensor headers; nothing is downloaded but the small files.

mod bare;
mod described;
mod flat;
mod pickles;
mod selected;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
};

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tch::{Device, Kind};

pub use self::pickles::WeightsFormat;
pub(super) use self::selected::read_header;
use self::{described::Described, selected::Selected};
use super::precision::bytes_per_value;
use crate::{
    failure::{Code, Failure},
    hub::{
        HubError, Repository,
        facts::infer_task,
        select::{SelectError, inside},
    },
    models::{self, Architecture},
    tasks::{self, Files, Processor},
    weights::{Part, peft},
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
    /// The text of `config.json`; of a pipeline the configs of all its components, see [`described`].
    pub config: String,
    /// Of a pipeline its class.
    pub model_type: String,
    /// `None` when this worker has no such architecture.
    pub architecture: Option<&'static Architecture>,
    /// The task that the repository is for, as far as it says.
    pub inferred_task: Option<String>,
    /// Checkpoint files, in order.
    pub weight_files: Vec<String>,
    /// The part of a pipeline whose files lie in no folder.
    part_in_root: Option<String>,
    pub format: WeightsFormat,
    pub parameters: u64,
    /// Values in floating tensors.
    floating_values: u64,
    /// Of these, the ones of [`Self::float32_parts`].
    float32_values: u64,
    /// Parts that are float32 where the rest is a half type.
    float32_parts: Vec<String>,
    /// Of the floating values, those of matrices that a CPU multiplies by as they are stored, in a half type.
    kept_values: u64,
    /// Bytes in all other tensors.
    other_bytes: u64,
    /// What most floating values are stored as.
    pub stored: Kind,
    processors: Mutex<HashMap<&'static str, Arc<dyn Processor>>>,
    /// Requests that are being prepared for it.
    pub coming: Arc<AtomicUsize>,
}

impl Facts {
    pub fn model_id(&self) -> &str {
        self.repository.model_id()
    }

    pub fn revision(&self) -> &str {
        self.repository.revision()
    }

    /// Bytes of the weights on that device when floating tensors become `dtype`.
    pub fn weight_bytes(&self, dtype: Kind, device: Device) -> u64 {
        let wider = bytes_per_value(dtype).max(bytes_per_value(Kind::Float));
        let all = (self.floating_values - self.float32_values) * bytes_per_value(dtype)
            + self.float32_values * wider
            + self.other_bytes;
        let keeps = device == Device::Cpu && dtype == Kind::Float;
        let saved = bytes_per_value(Kind::Float) - bytes_per_value(Kind::Half);
        if keeps { all - self.kept_values * saved } else { all }
    }

    /// The tasks that this worker could run this model for.
    pub fn tasks(&self) -> Vec<&'static str> {
        let Some(architecture) = self.architecture else { return Vec::new() };
        let config: Value = serde_json::from_str(&self.config).unwrap_or_default();
        let offered = tasks::TASKS.iter().filter(|task| {
            architecture.kinds.contains(&task.kind)
                && tasks::misfit(task, &config, &self.files).is_none()
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
        let kinds = self.architecture.map(|architecture| architecture.kinds);
        let task = tasks::find_on(id, kinds.unwrap_or_default()).or_else(|| tasks::find(id));
        let Some(task) = task else {
            let mut known: Vec<String> = tasks::TASKS.iter().map(|task| task.id.into()).collect();
            known.dedup();
            return Err(Failure::new(
                Code::TaskNotSupported,
                format!("this server cannot run the task {id:?} yet"),
            )
            .at("task")
            .texts("supported", known));
        };
        let Some(architecture) = self.architecture else {
            let kinds = tasks::named(id).map(|task| task.kind);
            let supported = kinds.flat_map(models::supporting).map(str::to_owned).collect();
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
        if let Some(why) = tasks::misfit(task, &config, &self.files) {
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
        let mut files = read_small_files(&repository).await?;
        let mut config_json = files.json("config.json")?;
        let model_index = files.json("model_index.json")?;
        let bare = match (&config_json, &model_index) {
            (None, None) => bare::recognise(&repository).await?,
            _ => None,
        };
        if let Some(bare) = &bare {
            files.insert("config.json", bare.config.to_string().into_bytes());
            config_json = Some(bare.config.clone());
        }
        let part_in_root =
            model_index.as_ref().and_then(|index| flat::settle(&repository, &mut files, index));
        let inferred_task = infer_task(
            config_json.as_ref(),
            files.bytes("modules.json").is_some(),
            model_index.as_ref(),
            repository.pipeline_tag(),
        );
        let described = match (bare, config_json, &model_index) {
            (Some(bare), ..) => Described::bare(bare),
            // Some pipelines have a `config.json` beside their index that says nothing of a model.
            (None, config, Some(index)) if !config.as_ref().is_some_and(names_model) => {
                Described::pipeline(&repository, &files, index, part_in_root.as_deref())?
            }
            (None, Some(config), _) => Described::single(&files, config),
            (None, None, _) => return Err(no_config(&repository)),
        };
        let selected = Selected::of(&repository, &described.parts).await?;
        Ok(Self {
            config: described.config,
            architecture: models::find(&described.model_type).ok(),
            model_type: described.model_type,
            inferred_task,
            weight_files: selected.files,
            part_in_root,
            format: selected.format,
            parameters: selected.totals.parameters,
            floating_values: selected.totals.floating_values,
            float32_values: selected.float32_values,
            float32_parts: described
                .parts
                .iter()
                .filter(|part| part.in_float32)
                .map(|part| part.folder.clone())
                .collect(),
            kept_values: selected.totals.kept_values,
            other_bytes: selected.totals.other_bytes,
            stored: selected.totals.stored,
            processors: Mutex::default(),
            coming: Arc::default(),
            files,
            repository,
        })
    }

    /// The checkpoint's files on this machine, `paths` in the order of [`Self::weight_files`], by the parts of the model:
    /// a pipeline's are named as the folders they lie in, but for the one that lies in none.
    pub fn parts(&self, paths: Vec<PathBuf>) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for (file, path) in self.weight_files.iter().zip(paths) {
            let in_root = self.part_in_root.as_deref().unwrap_or_default();
            let name = file.rsplit_once('/').map_or(in_root, |(folder, _)| folder);
            match parts.iter_mut().find(|part| part.name == name) {
                Some(part) => part.files.push(path),
                None => parts.push(Part {
                    in_float32: self.float32_parts.iter().any(|part| part == name),
                    name: name.to_owned(),
                    files: vec![path],
                }),
            }
        }
        parts
    }
}

fn names_model(config: &Value) -> bool {
    config.get("model_type").is_some_and(Value::is_string)
}

fn no_config(repository: &Repository) -> Failure {
    let id = repository.model_id();
    if repository.file(peft::CONFIG_FILE).is_some() {
        let message = format!("{id} is an adapter: name its model, and {id} in options.adapter");
        return Failure::new(Code::FormatNotSupported, message).at("model_id");
    }
    let has = |extension: &str| {
        repository.files().iter().any(|file| file.path.ends_with(&format!(".{extension}")))
    };
    let formats = [("gguf", "GGUF"), ("onnx", "ONNX")];
    let found = formats.into_iter().find(|(extension, _)| has(extension));
    let holds = found.map_or("no config.json", |(_, name)| name);
    let message = format!("{id} holds {holds}, which this server cannot load");
    Failure::new(Code::FormatNotSupported, message)
}

async fn read_small_files(repository: &Repository) -> Result<Files, Failure> {
    let has = |path: String| repository.file(&path).is_some();
    let is_pipeline = has("model_index.json".to_owned());
    let wanted = repository.files().iter().filter(|file| {
        is_small_file(&file.path, is_pipeline) && file.size <= SMALL_FILE_LIMIT && {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            let beside = |name: &str| has(inside(folder, name));
            // Marian and M2M-100 read their own files even beside a `tokenizer.json`.
            let is_plain =
                beside("source.spm") || (beside("sentencepiece.bpe.model") && beside("vocab.json"));
            !(VOCABULARIES.contains(&name) && beside("tokenizer.json") && !is_plain)
        }
    });
    let paths: Vec<String> = wanted.map(|file| file.path.clone()).collect();
    let reads: Vec<_> = paths.iter().map(|path| read_file(repository, path)).collect();
    let contents: Vec<Vec<u8>> =
        futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(Files::new(paths.into_iter().zip(contents).collect()))
}

pub(super) async fn read_file(repository: &Repository, path: &str) -> Result<Vec<u8>, Failure> {
    let local = repository.fetch(path).await?;
    tokio::fs::read(&local).await.map_err(|error| {
        Failure::new(Code::LoadFailed, format!("{path} could not be read: {}", error.kind()))
    })
}

/// The listed names, named chat templates, the configs of sentence-transformers' modules (`1_Pooling/config.json`), and
/// the listed names in the folders of a pipeline.
fn is_small_file(path: &str, is_pipeline: bool) -> bool {
    let is_template = |rest: &str| rest.ends_with(".jinja") && !rest.contains('/');
    SMALL_FILES.contains(&path)
        || (is_pipeline && path == "scheduler_config.json")
        || path.strip_prefix("additional_chat_templates/").is_some_and(is_template)
        || path.split_once('/').is_some_and(|(folder, file)| {
            let is_module = folder.starts_with(|first: char| first.is_ascii_digit());
            (file == "config.json" && is_module)
                || (is_pipeline && (SMALL_FILES.contains(&file) || file == "scheduler_config.json"))
        })
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
