//! What an adapter is, independent of any model: its config, if it has one, its tensors' names and shapes. Nothing but the
//! config and the header is downloaded for it.

use std::sync::Arc;

use safetensors::Dtype;
use serde_json::Value;
use tch::{Device, Kind};

use super::super::{
    facts::{read_file, read_header},
    precision::bytes_per_value,
};
use crate::{
    failure::{Code, Failure},
    hub::{
        Repository,
        select::{WeightsQuery, select_weights, weights_index},
    },
    tasks::{
        AdapterKey, Addition, FetchedAdapter,
        adapters::{CONTROL_NET_FIELD, FIELD},
    },
    weights::{
        Access, AdapterPlan, Checkpoint, OpenOptions, lora_file,
        peft::{self, CONFIG_FILE, Config},
    },
};

/// One commit of one adapter, or of a ControlNet beside a pipeline.
pub struct AdapterFacts {
    pub key: AdapterKey,
    /// Where a request names it.
    pub field: &'static str,
    repository: Repository,
    /// Its tensors, in the repository.
    files: Vec<String>,
    addition: Addition,
    values: u64,
}

impl AdapterFacts {
    /// Refuses what is no adapter, or one that this library cannot use.
    pub(in crate::residency) async fn read(repository: Repository) -> Result<Self, Failure> {
        let is_peft = repository.file(CONFIG_FILE).is_some();
        let file = if is_peft { peft_file(&repository)? } else { single_file(&repository)? };
        let config = match is_peft {
            true => Some(Config::parse(&read_file(&repository, CONFIG_FILE).await?)?),
            false => None,
        };
        let header = read_header(&repository, &file).await?;
        let is_float = |dtype| matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64);
        if let Some(tensor) = header.tensors.iter().find(|tensor| !is_float(tensor.dtype)) {
            let message = format!(
                "the adapter's tensor {} is {:?}, which is not supported",
                tensor.name, tensor.dtype
            );
            return Err(Failure::new(Code::FormatNotSupported, message));
        }
        let named =
            header.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()));
        let plan = match &config {
            Some(config) => AdapterPlan::Peft(peft::Plan::new(config, named)?),
            None => {
                let settings = header.metadata.get(lora_file::METADATA).map(String::as_str);
                AdapterPlan::File(lora_file::Plan::new(named, settings)?)
            }
        };
        Ok(Self {
            key: AdapterKey::new(repository.model_id(), repository.revision()),
            field: FIELD,
            addition: Addition::Layers(Arc::new(plan)),
            values: header.parameters(),
            files: vec![file],
            repository,
        })
    }

    /// Of a repository of a ControlNet alone. Refuses what is none.
    pub(in crate::residency) async fn read_control_net(
        repository: Repository,
    ) -> Result<Self, Failure> {
        const CONFIG: &str = "config.json";
        const CLASS: &str = "ControlNetModel";
        let id = repository.model_id();
        let not_one = |what: &str| {
            Failure::new(Code::FormatNotSupported, format!("{id} is no {CLASS}: it {what}"))
        };
        if repository.file(CONFIG).is_none() {
            return Err(not_one("has no config.json"));
        }
        let text = read_file(&repository, CONFIG).await?;
        let config: Value = serde_json::from_slice(&text).map_err(|error| {
            Failure::new(Code::CorruptCheckpoint, format!("config.json of {id}: {error}"))
        })?;
        match config.get("_class_name").and_then(Value::as_str) {
            Some(CLASS) => {}
            Some(other) => return Err(not_one(&format!("is a {other}"))),
            None => return Err(not_one("names no class")),
        }
        let query = WeightsQuery { config: Some(&config), ..WeightsQuery::default() };
        let index = match weights_index(repository.files(), query) {
            Some(path) => Some(read_file(&repository, &path).await?),
            None => None,
        };
        let index = index.as_deref().map(String::from_utf8_lossy);
        let files = select_weights(repository.files(), query, index.as_deref())?.files;
        let mut values = 0;
        for file in &files {
            values += read_header(&repository, file).await?.parameters();
        }
        Ok(Self {
            key: AdapterKey::new(id, repository.revision()),
            field: CONTROL_NET_FIELD,
            addition: Addition::ControlNet(config.to_string().into()),
            values,
            files,
            repository,
        })
    }

    pub fn id(&self) -> &str {
        self.repository.model_id()
    }

    pub fn revision(&self) -> &str {
        self.repository.revision()
    }

    /// Bytes of its tensors beside a model of that type.
    pub fn bytes(&self, dtype: Kind) -> u64 {
        self.values.saturating_mul(bytes_per_value(dtype))
    }

    /// Its tensors, downloaded first if need be. They are read and not mapped, since the lane puts the scale into them.
    pub(super) async fn fetch(&self, dtype: Kind) -> Result<FetchedAdapter, Failure> {
        let mut files = Vec::new();
        for file in &self.files {
            files.push(self.repository.fetch(file).await?);
        }
        let options = OpenOptions {
            device: Device::Cpu,
            kind: dtype,
            access: Access::Read,
            keeps_matrices: false,
        };
        let open =
            move || Checkpoint::open(&files, &options, &|_| std::ops::ControlFlow::Continue(()));
        let opened = tokio::task::spawn_blocking(open).await;
        let opened = opened.map_err(|error| {
            tracing::error!(%error, "an adapter could not be read: a panic");
            Failure::new(Code::LoadFailed, "the adapter could not be read")
        })?;
        let (key, addition) = (self.key.clone(), self.addition.clone());
        Ok(FetchedAdapter { key, addition, tensors: opened?.into_tensors() })
    }
}

/// The tensors beside a config of PEFT's.
fn peft_file(repository: &Repository) -> Result<String, Failure> {
    let file = peft::WEIGHTS_FILE;
    if repository.file(file).is_some() {
        return Ok(file.to_owned());
    }
    let has_pickle = repository.file("adapter_model.bin").is_some();
    let (code, holds) = if has_pickle {
        (Code::FormatNotSupported, "adapter_model.bin, which is not supported, and no")
    } else {
        (Code::CorruptCheckpoint, "no")
    };
    let message = format!("the adapter {} has {holds} {file}", repository.model_id());
    Err(Failure::new(code, message))
}

/// The one file of an adapter for a pipeline: by its usual name, or the only one that it can be.
fn single_file(repository: &Repository) -> Result<String, Failure> {
    let id = repository.model_id();
    let is_model =
        ["config.json", "model_index.json"].into_iter().any(|file| repository.file(file).is_some());
    if !is_model && repository.file(lora_file::WEIGHTS_FILE).is_some() {
        return Ok(lora_file::WEIGHTS_FILE.to_owned());
    }
    let files: Vec<&str> = repository
        .files()
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| path.ends_with(".safetensors") && !path.contains('/'))
        .collect();
    let why = match files.as_slice() {
        [file] if !is_model => return Ok((*file).to_owned()),
        [_, _, ..] if !is_model => {
            format!("has {}, of which none is {}", files.join(", "), lora_file::WEIGHTS_FILE)
        }
        _ => format!("is no adapter: it has no {CONFIG_FILE} and is no file of LoRA's tensors"),
    };
    Err(Failure::new(Code::FormatNotSupported, format!("{id} {why}")))
}
