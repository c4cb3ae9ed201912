//! Pictures out of tensors.

use tch::{Device, Kind, Tensor};

use crate::media::Picture;

/// `[3, height, width]` values, 0 to 1 where they are within range, as a picture.
pub(super) fn picture(values: &Tensor) -> Picture {
    let (_, height, width) = values.size3().expect("a picture has three dimensions");
    let bytes = (values.to_kind(Kind::Float).clamp(0.0, 1.0) * 255.0).round();
    let bytes = bytes.permute([1, 2, 0]).to_kind(Kind::Uint8).contiguous().to_device(Device::Cpu);
    let rgb = Vec::try_from(bytes.flatten(0, -1)).expect("a list of bytes");
    Picture { width: width as u32, height: height as u32, rgb }
}
