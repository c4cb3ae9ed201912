//! What loading a model and running its steps has cost here, and what follows from it. Pure.

use serde::{Deserialize, Serialize};

use crate::lane::StepPeaks;

/// Of a model, as a kind, in a data type, on a device.
pub type CostKey = (String, String, String, String);

/// What was measured of a model here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnedCost {
    pub model_id: String,
    /// Kind of model that the repository was loaded as; empty in what an older worker wrote.
    pub kind: String,
    pub dtype: String,
    pub device: String,
    /// The commit that it was measured on; another one may need something else.
    pub revision: String,
    /// By how many bytes the process or the device grew during the last load.
    pub load_bytes: Option<u64>,
    /// From the load's start to ready, in milliseconds, downloads left out.
    pub load_ms: Option<f64>,
    /// Bytes of intermediate tensors that were estimated before anything was measured.
    pub estimated_workspace: u64,
    pub steps: StepPeaks,
}

impl LearnedCost {
    pub fn key(&self) -> CostKey {
        (self.model_id.clone(), self.kind.clone(), self.dtype.clone(), self.device.clone())
    }

    /// `(estimate − measured) / measured` of the intermediate tensors; `None` before enough was measured.
    pub fn estimate_error(&self) -> Option<f64> {
        let measured = self.steps.of_full_step().filter(|&bytes| bytes > 0)? as f64;
        Some((self.estimated_workspace as f64 - measured) / measured)
    }

    /// Bytes to charge for intermediate tensors.
    pub fn workspace(&self) -> u64 {
        self.steps.workspace(self.estimated_workspace)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tasks::StepShape;

    const MIB: u64 = 1 << 20;

    fn shape(tokens: u32, rows: u32, fill: f64) -> StepShape {
        StepShape { tokens, rows, fill }
    }

    fn learned(estimate: u64, seen: &[(StepShape, u64)]) -> LearnedCost {
        let mut cost = LearnedCost { estimated_workspace: estimate, ..LearnedCost::default() };
        for &(shape, bytes) in seen {
            cost.steps.see(shape, bytes);
        }
        cost
    }

    #[test]
    fn what_was_measured_takes_the_place_of_the_estimate() {
        let small = (shape(1, 1, 0.002), MIB);
        let half = (shape(256, 1, 0.5), 10 * MIB);
        let cases = [
            // Small steps say nothing about large ones …
            (learned(40 * MIB, &[small]), 40 * MIB, None),
            // … unless they already need more than was estimated.
            (learned(MIB / 2, &[small]), MIB, None),
            (learned(40 * MIB, &[small, half]), 20 * MIB, Some(1.0)),
            (learned(10 * MIB, &[small, half]), 20 * MIB, Some(-0.5)),
        ];
        for (cost, workspace, error) in cases {
            assert_eq!((cost.workspace(), cost.estimate_error()), (workspace, error), "{cost:?}");
        }
    }

    proptest! {
        #[test]
        fn never_less_than_was_seen(
            estimate in 0_u64..1 << 40,
            seen in proptest::collection::vec((1_u32..5000, 1_u32..64, 0.0_f64..1.0, 0_u64..1 << 40), 0..20),
        ) {
            let mut cost = learned(estimate, &[]);
            for (tokens, rows, fill, bytes) in seen {
                cost.steps.see(shape(tokens, rows, fill), bytes);
                let highest = cost.steps.highest();
                prop_assert!(cost.workspace() >= highest);
                prop_assert!(cost.estimate_error().is_none_or(f64::is_finite));
                // What is no news is within a margin.
                prop_assert!(bytes <= highest + highest / 20 + (64 << 10));
            }
        }
    }
}
