//! Tasks of encoders with a head: texts in, logits out.

mod pipeline;

pub use self::pipeline::{Scorer, ScoringPipeline};
