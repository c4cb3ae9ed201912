//! What an operator allows one request to cost, beside what every request may have.

use super::Work;
use crate::failure::{Code, Failure};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels of all pictures that one request makes.
    pub output_pixels: u64,
}

impl Limits {
    /// Refuses work beyond the limits, before anything is loaded for it.
    pub fn check(&self, work: &Work) -> Result<(), Failure> {
        let pixels = work.output_pixels();
        if pixels <= self.output_pixels {
            return Ok(());
        }
        let limit = self.output_pixels;
        let message =
            format!("the picture would have {pixels} pixels, more than the limit of {limit}");
        Err(Failure::new(Code::PayloadTooLarge, message)
            .at("inputs.image_base64")
            .number("limit", limit)
            .number("size", pixels))
    }
}
