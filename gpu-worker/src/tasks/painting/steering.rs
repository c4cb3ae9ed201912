//! What a ControlNet adds at every step, after the picture of a request.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::super::{Paint, RowAdapter};
use crate::{
    layers::Step,
    models::diffusion::{Conditioning, Control, ControlNet, ImageGenerator, Prompt},
};

pub(super) struct Steering {
    /// In place of the pipeline's own.
    network: Option<Rc<ControlNet>>,
    /// What the network sees of the picture, `[1, channels, height, width]`: the same at every step and in every row.
    embedded: Tensor,
    conditioning: Conditioning,
    /// Shares of all steps between which it adds something.
    start: f64,
    end: f64,
}

/// What a request has beside the pipeline.
#[derive(Clone, Default)]
pub(super) struct Besides {
    /// In the strength that was asked for.
    pub adapter: RowAdapter,
    /// In place of the pipeline's own.
    pub control_net: Option<Rc<ControlNet>>,
}

/// What a step begins with.
pub(super) struct Sight<'a> {
    /// `[rows, latent_channels, height, width]`, with guidance everything twice.
    pub sample: &'a Tensor,
    /// `[rows]`.
    pub times: &'a Tensor,
    pub prompt: &'a Prompt,
    /// How often a step looks at the latents.
    pub looks: usize,
}

impl Steering {
    /// `None` where there is no ControlNet, neither `beside` the pipeline nor in it.
    pub(super) fn begin(
        paint: &Paint,
        model: &dyn ImageGenerator,
        beside: Option<Rc<ControlNet>>,
        kind: Kind,
        device: Device,
    ) -> Option<Self> {
        let network = beside.as_deref().or(model.control_net())?;
        let control = paint.control.as_ref()?;
        let (height, width) = (i64::from(control.picture.height), i64::from(control.picture.width));
        let levels = Tensor::from_slice(&control.picture.rgb).view([1, height, width, 3]);
        let levels = levels.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0;
        let levels = levels.contiguous().to_kind(kind).to_device(device);
        let guesses = control.guesses || network.always_guesses();
        Some(Self {
            embedded: network.embed(&levels, &Step::whole()),
            conditioning: Conditioning { scale: control.scale, guesses },
            start: control.start,
            end: control.end,
            network: beside,
        })
    }

    /// What is added at the step `at` of `total`, if anything is.
    pub(super) fn control(
        &self,
        at: usize,
        total: usize,
        sight: &Sight,
        model: &dyn ImageGenerator,
    ) -> Option<Control> {
        let network = self.network.as_deref().or(model.control_net())?;
        let share = |step: usize| step as f64 / total as f64;
        let rests = share(at) < self.start || share(at + 1) > self.end;
        if rests || self.conditioning.scale == 0.0 {
            return None;
        }
        let &Sight { sample, times, prompt, looks } = sight;
        // Whoever guesses looks at the rows with the text only, which come last, and adds nothing to the others.
        let rows = sample.size()[0] / if self.conditioning.guesses { looks as i64 } else { 1 };
        let others = sample.size()[0] - rows;
        let own = |of: &Tensor| of.narrow(0, others, rows);
        let control = network.forward(
            &own(sample),
            &own(times),
            &own(&prompt.text),
            &self.embedded,
            self.conditioning,
            &Step::whole(),
        );
        if others == 0 {
            return Some(control);
        }
        let beside = |told: &Tensor| Tensor::cat(&[&told.zeros_like(), told], 0);
        Some(Control { down: control.down.iter().map(beside).collect(), mid: beside(&control.mid) })
    }
}
