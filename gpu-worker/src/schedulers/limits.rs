//! Bounds for the clean sample that a denoiser implies: clipping, or dynamic thresholding
//! (<https://arxiv.org/abs/2205.11487>).

use tch::{Kind, Tensor};

use super::{SchedulerError, fields::Fields};

#[derive(Clone, Copy)]
pub(super) enum Limits {
    Open,
    Clip {
        range: f64,
    },
    /// Values beyond this quantile of their row's magnitudes are cut, and the rest scaled into -1..1.
    Threshold {
        quantile: f64,
        max: f64,
    },
}

impl Limits {
    /// `clips` is the class's default of `clip_sample`.
    pub(super) fn read(fields: &Fields, clips: bool) -> Result<Self, SchedulerError> {
        match Self::thresholding(fields)? {
            Self::Open => Self::clipping(fields, clips),
            limits => Ok(limits),
        }
    }

    /// Of the classes that only clip.
    pub(super) fn clipping(fields: &Fields, clips: bool) -> Result<Self, SchedulerError> {
        if !fields.flag("clip_sample", clips)? {
            return Ok(Self::Open);
        }
        Ok(Self::Clip { range: fields.positive("clip_sample_range", 1.0)? })
    }

    /// Of the classes that never clip.
    pub(super) fn thresholding(fields: &Fields) -> Result<Self, SchedulerError> {
        if !fields.flag("thresholding", false)? {
            return Ok(Self::Open);
        }
        let quantile = fields.positive("dynamic_thresholding_ratio", 0.995)?;
        if quantile > 1.0 {
            let (field, value) = ("dynamic_thresholding_ratio", quantile.to_string());
            return Err(SchedulerError::UnsupportedValue { field, value });
        }
        Ok(Self::Threshold { quantile, max: fields.positive("sample_max_value", 1.0)? })
    }

    pub(super) fn apply(self, sample: Tensor) -> Tensor {
        match self {
            Self::Open => sample,
            Self::Clip { range } => sample.clamp(-range, range),
            Self::Threshold { quantile, max } => {
                let (kind, shape) = (sample.kind(), sample.size());
                let rows = sample.to_kind(Kind::Float).view([shape[0], -1]);
                let bound = rows.abs().quantile_scalar(quantile, 1, true, "linear").clamp(1.0, max);
                let cut = rows.clamp_tensor(Some(&-&bound), Some(&bound));
                (cut / bound).view(&shape[..]).to_kind(kind)
            }
        }
    }
}
