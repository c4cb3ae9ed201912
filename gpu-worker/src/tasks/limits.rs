//! What an operator allows one request to cost, beside what every request may have.

use super::{Imagine, Paint, Work};
use crate::{
    failure::{Code, Failure},
    schedulers::Steps,
};

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels of all pictures that one request makes.
    pub output_pixels: u64,
    pub painting: PaintingLimits,
}

/// Of pictures that are made out of noise.
#[derive(Clone, Copy, Debug)]
pub struct PaintingLimits {
    /// Pixels of one picture.
    pub pixels: u64,
    /// Pictures of one request.
    pub images: u64,
    /// Steps from noise to a picture.
    pub steps: u64,
    /// Pixels times steps, of all pictures of one request.
    pub pixel_steps: u64,
}

/// What pipelines may take beside weights, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Keys and values of models that write.
    pub cache_bytes: u64,
    /// Decoding one picture at once, where it is larger than those that the model was trained on.
    pub decoding_bytes: u64,
}

/// What a request asks for beside the limit that holds for it.
struct Asked {
    field: &'static str,
    size: u64,
    unit: &'static str,
    limit: u64,
    /// The worker's flag that sets the limit.
    flag: &'static str,
    code: Code,
}

const OUTPUT_PIXELS_FLAG: &str = "--output-pixels-limit";

impl Limits {
    /// Refuses work beyond the limits, before anything is loaded for it.
    pub fn check(&self, work: &Work) -> Result<(), Failure> {
        match work {
            Work::Paint(paint) => self.check_paint(paint),
            Work::Imagine(work) => self.check_imagine(work),
            _ => Asked {
                field: "inputs.image_base64",
                size: work.output_pixels(),
                unit: "pixels",
                limit: self.output_pixels,
                flag: OUTPUT_PIXELS_FLAG,
                code: Code::PayloadTooLarge,
            }
            .check(),
        }
    }

    fn check_paint(&self, paint: &Paint) -> Result<(), Failure> {
        let [height, width] = paint.size.map(|side| side as u64);
        let sides = match &paint.given {
            Some(_) => "inputs.image_base64",
            None if height > width => "options.height",
            None => "options.width",
        };
        let skipped = paint.given.as_ref().map_or(0, |given| given.skipped_steps);
        self.check_painted(sides, paint.size, paint.n_images, &paint.schedule.steps, skipped)
    }

    fn check_imagine(&self, work: &Imagine) -> Result<(), Failure> {
        // The size is the model's.
        self.check_painted("model_id", work.size, work.n_images, &work.schedule.steps, 0)
    }

    /// `sides` is the field that the size comes from.
    fn check_painted(
        &self,
        sides: &'static str,
        size: [usize; 2],
        n_images: usize,
        steps: &Steps,
        skipped: usize,
    ) -> Result<(), Failure> {
        let [height, width] = size.map(|side| side as u64);
        let pixels = height.saturating_mul(width);
        let images = n_images as u64;
        let steps = match steps {
            Steps::Count(steps) => *steps,
            Steps::Timesteps(steps) => steps.len(),
            Steps::Sigmas(sigmas) => sigmas.len(),
        };
        // Only the steps that are taken cost anything.
        let taken = steps.saturating_sub(skipped) as u64;
        let all_pixels = pixels.saturating_mul(images);
        let painting = &self.painting;
        let (large, wrong) = (Code::PayloadTooLarge, Code::InvalidRequest);
        for (field, size, unit, limit, flag, code) in [
            (sides, pixels, "pixels a picture", painting.pixels, "--painting-pixels-limit", large),
            (
                "options.num_images",
                images,
                "pictures",
                painting.images,
                "--painting-images-limit",
                wrong,
            ),
            (
                "options.num_images",
                all_pixels,
                "pixels in all",
                self.output_pixels,
                OUTPUT_PIXELS_FLAG,
                large,
            ),
            (
                "options.num_inference_steps",
                steps as u64,
                "steps",
                painting.steps,
                "--painting-steps-limit",
                wrong,
            ),
            (
                "options.num_inference_steps",
                all_pixels.saturating_mul(taken),
                "pixels times steps",
                painting.pixel_steps,
                "--painting-pixel-steps-limit",
                wrong,
            ),
        ] {
            Asked { field, size, unit, limit, flag, code }.check()?;
        }
        Ok(())
    }
}

impl Asked {
    fn check(self) -> Result<(), Failure> {
        let Self { field, size, unit, limit, flag, code } = self;
        if size <= limit {
            return Ok(());
        }
        let message = format!(
            "{field} asks for {size} {unit}, more than the {limit} that this worker allows; {flag} raises that"
        );
        Err(Failure::new(code, message)
            .at(field)
            .number("size", size)
            .number("limit", limit)
            .text("flag", flag))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        media::Picture,
        schedulers::{Request, SchedulerConfig},
        tasks::{Given, Manner},
    };

    const LIMITS: Limits = Limits {
        output_pixels: 600,
        painting: PaintingLimits { pixels: 400, images: 3, steps: 20, pixel_steps: 5_000 },
    };

    fn paint(size: [usize; 2], n_images: usize, steps: usize) -> Paint {
        let scheduler = json!({"_class_name": "DDIMScheduler"});
        Paint {
            prompt: Vec::new(),
            negative: None,
            guidance_scale: 1.0,
            told_guidance: 1.0,
            guidance_rescale: 0.0,
            clip_skip: 0,
            size,
            n_images,
            seed: 0,
            scheduler: Arc::new(SchedulerConfig::read(&scheduler).unwrap()),
            schedule: Request::of(steps),
            preview_every: 0,
            given: None,
            control: None,
            control_net: None,
            for_checker: None,
            adapter_scale: 1.0,
        }
    }

    fn given(skipped_steps: usize) -> Option<Given> {
        let picture = Picture { width: 1, height: 1, rgb: vec![0; 3] };
        let manner = Manner::Begun;
        Some(Given { picture, mask: None, skipped_steps, is_anew: false, manner })
    }

    fn refusal(paint: Paint) -> Failure {
        LIMITS.check(&Work::Paint(Box::new(paint))).unwrap_err()
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_by_its_field_with_the_flag_that_raises_it() {
        for (size, n_images, steps, field, flag) in [
            ([16, 32], 1, 1, "options.width", "--painting-pixels-limit"),
            ([32, 16], 1, 1, "options.height", "--painting-pixels-limit"),
            ([8, 8], 4, 1, "options.num_images", "--painting-images-limit"),
            ([16, 16], 3, 1, "options.num_images", "--output-pixels-limit"),
            ([8, 8], 1, 21, "options.num_inference_steps", "--painting-steps-limit"),
            ([16, 16], 1, 20, "options.num_inference_steps", "--painting-pixel-steps-limit"),
        ] {
            let failure = refusal(paint(size, n_images, steps));
            assert_eq!(failure.field, field, "{failure}");
            assert!(failure.message.contains(flag), "{failure}");
            let detail = failure.detail();
            let facts: Vec<&str> = detail.facts.iter().map(|fact| fact.name.as_str()).collect();
            assert_eq!(facts, ["size", "limit", "flag"]);
        }
        let large = Paint { given: given(0), ..paint([16, 32], 1, 1) };
        assert_eq!(refusal(large).field, "inputs.image_base64");
        let endless = paint([usize::MAX, usize::MAX], usize::MAX, usize::MAX);
        assert_eq!(refusal(endless).code, Code::PayloadTooLarge);
    }

    #[test]
    fn pictures_of_nothing_have_the_same_limits() {
        let imagine = |n_images, steps| Imagine {
            size: [16, 16],
            n_images,
            seed: 0,
            scheduler: paint([8, 8], 1, 1).scheduler,
            schedule: Request::of(steps),
            preview_every: 0,
        };
        let refusal = |work| LIMITS.check(&Work::Imagine(work)).unwrap_err().field;
        assert!(LIMITS.check(&Work::Imagine(imagine(1, 19))).is_ok());
        assert_eq!(refusal(imagine(3, 1)), "options.num_images");
        assert_eq!(refusal(imagine(1, 20)), "options.num_inference_steps");
        assert_eq!(refusal(Imagine { size: [32, 16], ..imagine(1, 1) }), "model_id");
    }

    #[test]
    fn steps_that_are_left_out_cost_nothing() {
        let weak = Paint { given: given(5), ..paint([16, 16], 1, 20) };
        assert!(LIMITS.check(&Work::Paint(Box::new(weak))).is_ok());
        assert!(LIMITS.check(&Work::Paint(Box::new(paint([16, 16], 1, 19)))).is_ok());
    }
}
