//! The device of this worker: what it is, and what it says of its memory now.

use std::sync::Arc;

use proto::Device as Message;
use tch::Device;

use super::Accounts;
use crate::{
    config::DeviceName,
    memory::{
        allocator,
        nvml::{DeviceStatus, Driver},
        process::{self, Resident},
        shim,
    },
};

/// What does not change while the worker lives.
#[derive(Clone)]
pub struct DeviceInfo {
    /// `cpu`, `cuda:0` …
    pub name: String,
    pub torch: Device,
    /// Such as `NVIDIA H200` or the processor's name.
    pub model: String,
    /// On a CPU the cgroup's limit counts.
    pub total_bytes: u64,
    /// Cores that this process may use.
    pub cores: usize,
    pub has_bfloat16: bool,
    /// `None` on a CPU, and where there is no NVIDIA driver.
    driver: Option<Arc<Driver>>,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("cuda:{index} is not there: libtorch sees {count} CUDA devices")]
    Absent { index: usize, count: i64 },
}

impl DeviceInfo {
    pub fn open(name: &DeviceName) -> Result<Self, DeviceError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match *name {
            DeviceName::Cpu => Ok(Self {
                name: "cpu".to_owned(),
                torch: Device::Cpu,
                model: processor_name(),
                total_bytes: process::usable_memory().unwrap_or(0),
                cores,
                has_bfloat16: true,
                driver: None,
            }),
            DeviceName::Cuda(index) => {
                let count = tch::Cuda::device_count();
                if index as i64 >= count {
                    return Err(DeviceError::Absent { index, count });
                }
                let driver = Driver::open().map(Arc::new);
                let of_driver = driver.as_ref().and_then(|driver| status(driver, index));
                let of_torch = shim::device_memory(index)
                    .ok()
                    .flatten()
                    .map_or(0, |memory| memory.device_total);
                Ok(Self {
                    name: format!("cuda:{index}"),
                    torch: Device::Cuda(index),
                    model: of_driver
                        .as_ref()
                        .map_or_else(|| "CUDA device".to_owned(), |gpu| gpu.name.clone()),
                    total_bytes: of_driver.as_ref().map_or(of_torch, |gpu| gpu.total),
                    cores,
                    has_bfloat16: of_driver
                        .and_then(|gpu| gpu.compute_capability)
                        .is_none_or(|capability| capability >= (8, 0)),
                    driver,
                })
            }
        }
    }

    /// What the driver says of this device now.
    fn status(&self, index: usize) -> Option<DeviceStatus> {
        status(self.driver.as_ref()?, index)
    }
}

fn status(driver: &Driver, index: usize) -> Option<DeviceStatus> {
    driver.cuda_device(index, std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
}

/// The processor's name, as the kernel gives it.
fn processor_name() -> String {
    let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = information.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or_else(|| "CPU".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Bytes that this process uses on the device now: on a CPU its resident pages, on a GPU what libtorch has reserved.
pub fn measure(device: &DeviceInfo) -> u64 {
    match device.torch {
        Device::Cuda(index) => shim::device_memory(index)
            .ok()
            .flatten()
            .map_or(0, |memory| memory.reserved.max(0) as u64),
        _ => resident(),
    }
}

/// Bytes that an idle worker keeps: on a CPU its anonymous memory, once what is free has gone back, on a GPU what libtorch has
/// reserved. Not for the async threads.
pub fn idle(device: &DeviceInfo) -> u64 {
    match device.torch {
        Device::Cuda(_) => measure(device),
        _ => {
            allocator::trim();
            Resident::read().map_or(0, |resident| resident.anonymous)
        }
    }
}

/// The device as status shows it.
pub fn message(device: &DeviceInfo, accounts: Accounts) -> Message {
    let base = Message {
        name: device.name.clone(),
        model: device.model.clone(),
        total_bytes: device.total_bytes,
        budget_bytes: accounts.budget,
        charged_bytes: accounts.charged,
        reserved_bytes: accounts.reserved,
        releasing_bytes: accounts.releasing,
        weights_bytes: accounts.weights,
        cache_bytes: accounts.cache,
        adapters_bytes: accounts.adapters,
        workspace_bytes: accounts.workspace,
        cache_used_bytes: accounts.cache_used,
        cache_kept_bytes: accounts.cache_kept,
        baseline_bytes: accounts.baseline,
        baseline_growth_bytes: accounts.baseline_growth,
        baseline_growth_limit_bytes: accounts.baseline_growth_limit,
        ..Message::default()
    };
    // What is only reserved is no part of what the process uses; steps give back what they took.
    let attributed = accounts.weights + accounts.adapters + accounts.cache_used;
    match device.torch {
        Device::Cuda(index) => match device.status(index) {
            Some(gpu) => Message {
                used_bytes: gpu.used,
                process_bytes: gpu.own,
                process_bytes_source: if gpu.own.is_some() { "nvml" } else { "" }.to_owned(),
                utilization: gpu.utilization.map(|percent| f64::from(percent) / 100.0),
                unattributed_bytes: gpu.own.map(|own| own.saturating_sub(attributed)),
                ..base
            },
            None => base,
        },
        _ => {
            let resident = Resident::read().unwrap_or_default();
            let own = resident.total();
            Message {
                mapped_bytes: Some(resident.file),
                anonymous_bytes: Some(resident.anonymous),
                used_bytes: process::used_memory().unwrap_or(own),
                process_bytes: Some(own),
                process_bytes_source: "proc".to_owned(),
                unattributed_bytes: Some(own.saturating_sub(attributed)),
                ..base
            }
        }
    }
}

/// Resident pages of this process, anonymous and mapped.
fn resident() -> u64 {
    Resident::read().map_or(0, |resident| resident.total())
}
