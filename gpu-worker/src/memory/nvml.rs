//! What the NVIDIA driver says about its devices, through NVML. Machines without a driver have none.

use std::process;

use nvml_wrapper::{Nvml, enums::device::UsedGpuMemory, error::NvmlError};

/// Containers get the driver's library only under this name, without the development link.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// The driver, opened once per process.
pub struct Driver {
    nvml: Nvml,
}

/// One device at one moment; bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// NVML's index, which `CUDA_VISIBLE_DEVICES` does not renumber; match by `uuid`.
    pub index: u32,
    pub uuid: String,
    pub name: String,
    pub total: u64,
    pub used: u64,
    /// Percent of the last sample period in which a kernel ran. `None`: the device does not say.
    pub utilization: Option<u32>,
    /// Major and minor; 8.0 and later compute in bfloat16.
    pub compute_capability: Option<(i32, i32)>,
    /// What this process uses. `None`: the driver does not say, as in most containers, whose process ids it does not know.
    pub own: Option<u64>,
}

impl Driver {
    /// `None`: there is no driver, which is logged.
    pub fn open() -> Option<Self> {
        match Nvml::builder().lib_path(LIBRARY.as_ref()).init() {
            Ok(nvml) => Some(Self { nvml }),
            Err(error) => {
                tracing::info!(%error, "no NVIDIA driver, devices are not watched");
                None
            }
        }
    }

    pub fn devices(&self) -> Result<Vec<DeviceStatus>, NvmlError> {
        (0..self.nvml.device_count()?).map(|index| self.device(index)).collect()
    }

    /// The device that CUDA calls `index`, which `CUDA_VISIBLE_DEVICES` (`visible`) may have renumbered.
    pub fn cuda_device(&self, index: usize, visible: Option<&str>) -> Option<DeviceStatus> {
        let Some(visible) = visible.filter(|list| !list.is_empty()) else {
            return self.device(u32::try_from(index).ok()?).ok();
        };
        let entry = visible.split(',').nth(index)?.trim();
        match entry.parse() {
            Ok(number) => self.device(number).ok(),
            Err(_) => {
                self.devices().ok()?.into_iter().find(|device| device.uuid.starts_with(entry))
            }
        }
    }

    pub fn device(&self, index: u32) -> Result<DeviceStatus, NvmlError> {
        let device = self.nvml.device_by_index(index)?;
        let memory = device.memory_info()?;
        let own = device.running_compute_processes().ok().and_then(|processes| {
            processes.iter().find(|other| other.pid == process::id()).and_then(|own| {
                match own.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                }
            })
        });
        Ok(DeviceStatus {
            index,
            uuid: device.uuid()?,
            compute_capability: device
                .cuda_compute_capability()
                .ok()
                .map(|capability| (capability.major, capability.minor)),
            name: device.name()?,
            total: memory.total,
            used: memory.used,
            utilization: device.utilization_rates().ok().map(|rates| rates.gpu),
            own,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_driver_that_answers_or_none_at_all() {
        let Some(driver) = Driver::open() else { return };
        for device in driver.devices().unwrap() {
            assert!(device.total > 0 && device.used <= device.total, "{device:?}");
        }
    }
}
