//! The way to a GPU: file → pinned buffer → device, in slices, into few large allocations.

use tch::{Device, Kind, TchError, Tensor};

use super::{DEVICE_CHUNK, Item, SLICE_BYTES, Slices, Tally, Tensors, pack};
use crate::{memory::shim, weights::WeightsError};

/// Tensors on `device`, as views of allocations of at most [`DEVICE_CHUNK`] bytes.
pub(in crate::weights) fn to_device(
    items: &[Item<'_>],
    device: Device,
    tally: &mut Tally<'_>,
) -> Result<Tensors, WeightsError> {
    let mut tensors = Tensors::with_capacity(items.len());
    let mut slices = Slices::default();
    let mut staging: Option<Staging> = None;
    for chunk in pack(items.iter().map(Item::wanted_bytes), DEVICE_CHUNK) {
        let first = items[chunk.places[0].0];
        let arena = Tensor::f_empty([chunk.bytes as i64], (Kind::Uint8, device))
            .map_err(|error| first.failed(error))?;
        for &(idx, offset) in &chunk.places {
            let item = items[idx];
            let flat = flat_view(&arena, &item, offset).map_err(|error| item.failed(error))?;
            if staging.is_none() {
                staging = Some(Staging::new(device).map_err(|error| item.failed(error))?);
            }
            let staging = staging.as_mut().expect("just made");
            slices.each(&item, tally, |stored, begin| {
                staging.send(&stored, &mut flat.f_narrow(0, begin, stored.size()[0])?)
            })?;
            let tensor =
                flat.f_view(item.info.shape.as_slice()).map_err(|error| item.failed(error))?;
            tensors.insert(item.info.name.clone(), tensor);
            tally.add(0, 1)?;
        }
    }
    if let Some(staging) = staging {
        staging.finish();
    }
    Ok(tensors)
}

fn flat_view(arena: &Tensor, item: &Item<'_>, offset: u64) -> Result<Tensor, TchError> {
    arena.f_narrow(0, offset as i64, item.wanted_bytes() as i64)?.f_view_dtype(item.wanted)
}

/// Two pinned buffers: one is filled while the other one is on its way.
struct Staging {
    buffers: [Tensor; 2],
    next: usize,
    device: Device,
}

impl Staging {
    fn new(device: Device) -> Result<Self, TchError> {
        let buffer = || {
            let plain = Tensor::f_empty([SLICE_BYTES as i64], (Kind::Uint8, Device::Cpu))?;
            if device.is_cuda() { plain.f_pin_memory(device) } else { Ok(plain) }
        };
        Ok(Self { buffers: [buffer()?, buffer()?], next: 0, device })
    }

    /// Copies `stored` to `target`, which may be of another kind: the device converts.
    fn send(&mut self, stored: &Tensor, target: &mut Tensor) -> Result<(), TchError> {
        let kind = stored.kind();
        let bytes = stored.numel() * kind.elt_size_in_bytes();
        let mut pinned =
            self.buffers[self.next].f_narrow(0, 0, bytes as i64)?.f_view_dtype(kind)?;
        pinned.f_copy_(stored)?;
        // Ends the transfer out of the other buffer, which overlapped with the copy above; it is filled next.
        self.synchronize();
        target.f_copy_(&pinned.f_to_device_(self.device, kind, true, false)?)?;
        self.next = 1 - self.next;
        Ok(())
    }

    fn synchronize(&self) {
        if let Device::Cuda(device) = self.device {
            tch::Cuda::synchronize(device as i64);
        }
    }

    /// The buffers may go once nothing reads them, and what was staged on the device goes back to it.
    fn finish(self) {
        self.synchronize();
        if let Err(error) = shim::empty_cache() {
            tracing::warn!(%error, "the device's cache was not emptied after loading");
        }
    }
}
