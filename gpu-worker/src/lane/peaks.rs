//! Peaks of memory by the size of a step, and what they tell of the largest one. Pure.

use serde::{Deserialize, Serialize};

use crate::tasks::StepShape;

/// Steps that fill at least this share of the largest step tell what that one needs.
const TELLING_FILL: f64 = 0.25;
/// A peak that is higher by less than this changes nothing.
const NEWS_BYTES: u64 = 64 << 10;
const NEWS_SHARE: u64 = 20;

/// Peaks of allocated bytes by the size of the step, as powers of two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepPeaks(Vec<StepPeak>);

/// The highest peak of steps of about one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPeak {
    /// At most so many tokens …
    pub tokens: u32,
    /// … in at most so many rows.
    pub rows: u32,
    /// Of the largest step there is, 0 to 1.
    pub fill: f64,
    pub bytes: u64,
}

impl StepPeaks {
    pub fn iter(&self) -> impl Iterator<Item = &StepPeak> {
        self.0.iter()
    }

    /// Takes a measurement; true when it says something new.
    pub fn see(&mut self, shape: StepShape, bytes: u64) -> bool {
        let (tokens, rows) = (shape.tokens.next_power_of_two(), shape.rows.next_power_of_two());
        let peak = StepPeak { tokens, rows, fill: shape.fill.clamp(0.0, 1.0), bytes };
        let same = |known: &&mut StepPeak| (known.tokens, known.rows) == (tokens, rows);
        let Some(known) = self.0.iter_mut().find(same) else {
            self.0.push(peak);
            return true;
        };
        let news = known.bytes + known.bytes / NEWS_SHARE + NEWS_BYTES;
        if bytes > news {
            *known = peak;
        }
        bytes > news
    }

    /// What the largest step would need, by proportion from steps that come near it; at least what was ever seen.
    pub fn of_full_step(&self) -> Option<u64> {
        let telling = self.0.iter().filter(|peak| peak.fill >= TELLING_FILL);
        let full = telling.map(|peak| (peak.bytes as f64 / peak.fill.min(1.0)) as u64).max()?;
        Some(full.max(self.highest()))
    }

    /// What was measured, once it tells enough; until then the estimate, unless more was seen.
    pub fn workspace(&self, estimate: u64) -> u64 {
        self.of_full_step().unwrap_or_else(|| estimate.max(self.highest()))
    }

    pub fn highest(&self) -> u64 {
        self.0.iter().map(|peak| peak.bytes).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn shape(tokens: u32, rows: u32, fill: f64) -> StepShape {
        StepShape { tokens, rows, fill }
    }

    #[test]
    fn only_a_clearly_higher_peak_is_news() {
        let mut peaks = StepPeaks::default();
        assert!(peaks.see(shape(100, 3, 0.2), 100 * MIB));
        assert!(!peaks.see(shape(120, 4, 0.2), 104 * MIB));
        assert!(peaks.see(shape(120, 4, 0.2), 110 * MIB));
        assert!(peaks.see(shape(129, 4, 0.2), MIB));
        assert_eq!(peaks.iter().count(), 2);
    }
}
