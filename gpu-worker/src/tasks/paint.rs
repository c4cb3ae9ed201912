//! What a lane is asked to paint, and what it painted.

use std::sync::Arc;

use super::{adapters::AdapterUse, painting::ControlPicture};
use crate::{
    media::{ImageProcessor, Picture},
    schedulers::{self, SchedulerConfig},
};

/// Make pictures out of noise in view of a text.
pub struct Paint {
    pub prompt: PromptIds,
    /// What the pictures should not show; `None`: no guidance.
    pub negative: Option<Negative>,
    /// How closely the text is followed: how far it is led away from what pictures should not show.
    pub guidance_scale: f64,
    /// The strength of guidance that a network is told, where it was distilled so.
    pub told_guidance: f64,
    /// How far that is brought back to the spread without guidance, 0 to 1.
    pub guidance_rescale: f64,
    /// Layers of the text encoders, from their last, that texts do without.
    pub clip_skip: usize,
    /// Height and width in pixels, multiples of what the autoencoder works in.
    pub size: [usize; 2],
    /// At least 1.
    pub n_images: usize,
    pub seed: u64,
    pub scheduler: Arc<SchedulerConfig>,
    pub schedule: schedulers::Request,
    /// 0: no previews.
    pub preview_every: usize,
    /// `None`: noise becomes a picture, and nothing else.
    pub given: Option<Given>,
    /// What is painted after, where there is a ControlNet.
    pub control: Option<ControlPicture>,
    /// The right to a ControlNet in place of the pipeline's own.
    pub control_net: Option<AdapterUse>,
    /// Prepares pictures for the safety checker, where the repository has one.
    pub for_checker: Option<Arc<ImageProcessor>>,
    /// How much there is of the job's adapter, if it has one.
    pub adapter_scale: f64,
}

/// Make pictures out of noise, in view of nothing.
pub struct Imagine {
    /// Height and width of the model's pictures.
    pub size: [usize; 2],
    /// At least 1.
    pub n_images: usize,
    pub seed: u64,
    pub scheduler: Arc<SchedulerConfig>,
    pub schedule: schedulers::Request,
    /// 0: no previews.
    pub preview_every: usize,
}

/// A picture that was made.
#[derive(Clone, Debug)]
pub struct Painted {
    pub picture: Picture,
    /// The safety checker's verdict, where there is one; what was refused is black.
    pub is_refused: Option<bool>,
    /// It was too large to be decoded at once.
    pub in_tiles: bool,
}

/// A picture that another is made of.
pub struct Given {
    /// Of the size of what is painted, unless that is larger.
    pub picture: Picture,
    /// True where it is painted anew, row by row; `None`: all of it is changed.
    pub mask: Option<Vec<bool>>,
    /// How many of the scheduler's steps are left out: the fewer, the less is left of the picture.
    pub skipped_steps: usize,
    /// Nothing is left of what is painted anew.
    pub is_anew: bool,
    pub manner: Manner,
}

/// What is done with a picture that is given.
pub enum Manner {
    /// What is painted begins with it.
    Begun,
    /// The same, and the network is told how beautiful the result should be, 0 to 10, and what it is guided away from.
    Refined { score: f64, negative_score: f64 },
    /// The network looks at it all the while, and what is painted begins with noise; nothing is skipped.
    Edited {
        /// How closely the picture is followed.
        guidance_scale: f64,
    },
    /// The same with a picture that is smaller by the autoencoder's factor, into which noise is put.
    Enlarged {
        noising: Arc<SchedulerConfig>,
        /// One timestep of training.
        level: schedulers::Request,
    },
}

impl Given {
    pub fn is_edited(&self) -> bool {
        matches!(self.manner, Manner::Edited { .. })
    }

    pub fn is_scored(&self) -> bool {
        matches!(self.manner, Manner::Refined { .. })
    }

    /// Of the noise in a picture that is enlarged.
    pub fn noise_level(&self) -> Option<usize> {
        let Manner::Enlarged { level, .. } = &self.manner else { return None };
        let schedulers::Steps::Timesteps(levels) = &level.steps else { return None };
        levels.first().copied()
    }
}

/// The tokens of one text, for each text encoder.
pub type PromptIds = Vec<Vec<u32>>;

/// What pictures are guided away from.
pub enum Negative {
    Text(PromptIds),
    /// Vectors of zeros, which are no text's.
    Nothing,
}
