//! Tasks of encoders with a head: texts in, logits out.

mod classification;
mod pipeline;
mod ranking;
mod reader;
mod zero_shot;

pub use self::{
    classification::text_classification,
    pipeline::{Scorer, ScoringPipeline},
    ranking::text_ranking,
    reader::{has_segments, positions},
    zero_shot::zero_shot_classification,
};
use super::{Made, Vectors};
use crate::failure::{Code, Failure};

/// The logits of each row; all of them numbers.
fn scores(made: Made) -> Result<Vec<Vectors>, Failure> {
    let Made::Scores(scores) = made else {
        return Err(Failure::new(Code::InferenceFailed, "the lane made no scores"));
    };
    if scores.iter().any(|row| row.values.is_empty() || row.values.iter().any(|v| !v.is_finite())) {
        return Err(Failure::new(Code::InferenceFailed, "the model's output is not finite"));
    }
    Ok(scores)
}
