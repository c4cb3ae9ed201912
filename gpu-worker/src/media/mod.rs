//! Pictures on their way in: bytes to RGB pixels, RGB pixels to the floats a model expects. And on their way out:
//! [`encode`] makes bytes of them.
//!
//! [`decode`] turns bytes into a [`Picture`] as the reference's `load_image` does, and
//! [`ImageProcessor`] turns a picture into [`Pixels`] as the model's own image processor does.
//! Neither knows a model or a device; both are plain CPU work and belong off the async threads.

mod crop;
mod encode;
mod error;
mod gif;
mod image_processor;
mod jpeg;
mod normalize;
mod orientation;
mod picture;
mod pieces;
mod pillow_resize;
mod processor_classes;
mod processor_config;
mod raster;
mod resample;
mod sniff;
mod target_size;
mod torch_resize;

pub use encode::{EncodeError, OutputFormat, encode};
pub use error::{MediaError, ProcessorError};
pub use image_processor::{Backend, ImageProcessor, Pixels};
pub use normalize::Levels;
pub use picture::{Limits, Picture, decode};
pub use pieces::{Area, Source};
pub use pillow_resize::resize as resize_like_pillow;
pub use resample::Resample;
pub use torch_resize::resize as resize_like_torchvision;
