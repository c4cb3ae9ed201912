//! How large a step is.

/// What a pipeline says of the step that it has prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepShape {
    /// Tokens, padding included; 0: the pipeline does not say.
    pub tokens: u32,
    /// Sequences, texts or pictures.
    pub rows: u32,
    /// Of the largest step that the pipeline takes, 0 to 1.
    pub fill: f64,
}

impl StepShape {
    /// `of` is what is counted of a step, `largest` the most that one takes of it.
    pub fn new(tokens: usize, rows: usize, of: usize, largest: usize) -> Self {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX >> 1);
        let fill = of as f64 / largest.max(1) as f64;
        Self { tokens: count(tokens), rows: count(rows), fill: fill.min(1.0) }
    }
}
