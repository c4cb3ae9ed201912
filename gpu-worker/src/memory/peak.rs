//! How much more memory a piece of work had allocated at its highest than at its beginning.

use tch::Device;

use super::{allocator, shim};

/// A piece of work that is being watched, on the thread that does it.
pub struct Peak {
    device: Device,
    /// Bytes that were allocated on a GPU at the beginning.
    before: u64,
}

impl Peak {
    pub fn start(device: Device) -> Self {
        let before = match device {
            Device::Cuda(index) => {
                // A device that cannot say it tells nothing of the peak either.
                let _ = shim::reset_peak(index);
                on_device(index).map_or(u64::MAX, |memory| memory.allocated.unsigned_abs())
            }
            _ => {
                allocator::reset_peak();
                0
            }
        };
        Self { device, before }
    }

    /// Bytes; 0 where they aren't known.
    pub fn bytes(&self) -> u64 {
        match self.device {
            Device::Cuda(index) => on_device(index).map_or(0, |memory| {
                memory.allocated_peak.unsigned_abs().saturating_sub(self.before)
            }),
            _ => allocator::peak().unwrap_or(0),
        }
    }
}

fn on_device(index: usize) -> Option<shim::DeviceMemory> {
    shim::device_memory(index).ok().flatten()
}
