//! What an adapter is, independent of any model: its config, its tensors' names and shapes. Nothing but the config and the
//! header is downloaded for it.

use std::sync::Arc;

use safetensors::Dtype;
use tch::{Device, Kind};

use super::super::{
    facts::{read_file, read_header},
    precision::bytes_per_value,
};
use crate::{
    failure::{Code, Failure},
    hub::Repository,
    tasks::{AdapterKey, FetchedAdapter},
    weights::{
        Access, Checkpoint, OpenOptions,
        peft::{CONFIG_FILE, Config, Plan, WEIGHTS_FILE},
    },
};

/// One commit of one adapter.
pub struct AdapterFacts {
    pub key: AdapterKey,
    repository: Repository,
    plan: Arc<Plan>,
    values: u64,
}

impl AdapterFacts {
    /// Refuses what is no adapter, or one that this library cannot use.
    pub(in crate::residency) async fn read(repository: Repository) -> Result<Self, Failure> {
        let id = repository.model_id();
        if repository.file(CONFIG_FILE).is_none() {
            let message = format!("{id} is no adapter: it has no {CONFIG_FILE}");
            return Err(Failure::new(Code::FormatNotSupported, message));
        }
        let config = Config::parse(&read_file(&repository, CONFIG_FILE).await?)?;
        if repository.file(WEIGHTS_FILE).is_none() {
            let has_pickle = repository.file("adapter_model.bin").is_some();
            let (code, holds) = if has_pickle {
                (Code::FormatNotSupported, "adapter_model.bin, which is not supported, and no")
            } else {
                (Code::CorruptCheckpoint, "no")
            };
            let message = format!("the adapter {id} has {holds} {WEIGHTS_FILE}");
            return Err(Failure::new(code, message));
        }
        let header = read_header(&repository, WEIGHTS_FILE).await?;
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
        let plan = Arc::new(Plan::new(&config, named)?);
        Ok(Self {
            key: AdapterKey::new(id, repository.revision()),
            plan,
            values: header.parameters(),
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
        let file = self.repository.fetch(WEIGHTS_FILE).await?;
        let options = OpenOptions { device: Device::Cpu, kind: dtype, access: Access::Read };
        let open =
            move || Checkpoint::open(&[file], &options, &|_| std::ops::ControlFlow::Continue(()));
        let opened = tokio::task::spawn_blocking(open).await;
        let opened = opened.map_err(|error| {
            tracing::error!(%error, "an adapter could not be read: a panic");
            Failure::new(Code::LoadFailed, "the adapter could not be read")
        })?;
        let (key, plan) = (self.key.clone(), Arc::clone(&self.plan));
        Ok(FetchedAdapter { key, plan, tensors: opened?.into_tensors() })
    }
}
