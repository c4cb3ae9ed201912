//! The command line's part of what one request may cost.

use clap::Args;

use crate::tasks::{Limits, PaintingLimits};

#[derive(Args, Clone, Debug)]
pub struct LimitFlags {
    /// Most pixels of all pictures that one request makes.
    #[arg(long, env = "ANYMODEL_OUTPUT_PIXELS_LIMIT", default_value_t = 64_000_000)]
    pub output_pixels_limit: u64,

    /// Most pixels of one picture that is painted.
    #[arg(long, env = "ANYMODEL_PAINTING_PIXELS_LIMIT", default_value_t = 2048 * 2048)]
    pub painting_pixels_limit: u64,

    /// Most pictures that one request paints.
    #[arg(long, env = "ANYMODEL_PAINTING_IMAGES_LIMIT", default_value_t = 8)]
    pub painting_images_limit: u64,

    /// Most steps from noise to a picture; no scheduler takes more than its model was trained with (mostly 1000).
    #[arg(long, env = "ANYMODEL_PAINTING_STEPS_LIMIT", default_value_t = 1000)]
    pub painting_steps_limit: u64,

    /// Most pixels times steps, summed over the pictures that one request paints.
    #[arg(long, env = "ANYMODEL_PAINTING_PIXEL_STEPS_LIMIT", default_value_t = 2_000_000_000)]
    pub painting_pixel_steps_limit: u64,
}

impl LimitFlags {
    pub fn limits(&self) -> Limits {
        Limits {
            output_pixels: self.output_pixels_limit,
            painting: PaintingLimits {
                pixels: self.painting_pixels_limit,
                images: self.painting_images_limit,
                steps: self.painting_steps_limit,
                pixel_steps: self.painting_pixel_steps_limit,
            },
        }
    }
}
