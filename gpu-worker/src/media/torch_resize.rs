//! torchvision's resizing, by calling the operators it calls.
//!
//! This is the one file of `media` that uses libtorch. torchvision resizes with libtorch's own
//! antialiased upsampling, whose rounding depends on the instruction set it finds; only the same
//! operator gives the same pixels. Its tensors live on the CPU and never leave these functions:
//! plain buffers go in and come out.

use tch::{Kind, TchError, Tensor, no_grad};

use super::{Picture, Resample};

/// `picture` at `width` × `height` as torchvision's `resize(uint8, antialias=True)` makes it.
pub fn resize(
    picture: &Picture,
    width: u32,
    height: u32,
    resample: Resample,
) -> Result<Picture, TchError> {
    if (width, height) == (picture.width, picture.height) {
        return Ok(picture.clone());
    }
    no_grad(|| {
        let shape = [1, i64::from(picture.height), i64::from(picture.width), 3];
        let pixels = Tensor::f_from_slice(&picture.rgb)?
            .f_view(shape)?
            .f_permute([0, 3, 1, 2])?
            .f_contiguous()?;
        let resized = if takes_bytes(resample) {
            upsample(&pixels, width, height, resample)?
        } else {
            let resized = upsample(&pixels.f_to_kind(Kind::Float)?, width, height, resample)?;
            let resized = resized.f_clamp(0, 255)?;
            resized.f_round()?.f_to_kind(Kind::Uint8)?
        };
        let resized = resized.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_view([-1])?;
        Ok(Picture { width, height, rgb: Vec::<u8>::try_from(&resized)? })
    })
}

/// `[channels, height, width]` floats at another size, as torchvision's `resize(float32)`.
pub(super) fn resize_floats(
    pixels: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    resample: Resample,
) -> Result<Vec<f32>, TchError> {
    if from == to {
        return Ok(pixels.to_vec());
    }
    no_grad(|| {
        let pixels = Tensor::f_from_slice(pixels)?.f_view([1, -1, from.0 as i64, from.1 as i64])?;
        let resized = upsample(&pixels, to.1 as u32, to.0 as u32, resample)?;
        Vec::<f32>::try_from(&resized.f_contiguous()?.f_view([-1])?)
    })
}

fn upsample(
    pixels: &Tensor,
    width: u32,
    height: u32,
    resample: Resample,
) -> Result<Tensor, TchError> {
    let size = [i64::from(height), i64::from(width)];
    match resample {
        Resample::Nearest => pixels.f_internal_upsample_nearest_exact2d(size, None, None),
        Resample::Bilinear => pixels.f_internal_upsample_bilinear2d_aa(size, false, None, None),
        // torchvision has no Lanczos filter before 0.27 and the reference takes bicubic instead;
        // box and Hamming are refused when the processor is built.
        Resample::Bicubic | Resample::Lanczos | Resample::Box | Resample::Hamming => {
            pixels.f_internal_upsample_bicubic2d_aa(size, false, None, None)
        }
    }
}

/// torchvision resizes bytes bilinearly as they are only where libtorch has AVX2 kernels for it.
fn takes_bytes(resample: Resample) -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_kernels = std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let has_kernels = false;
    resample != Resample::Bilinear || has_kernels
}
