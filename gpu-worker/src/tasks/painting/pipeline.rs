//! The lane's side.

use std::{rc::Rc, time::Instant};

use tch::{Device, Kind, Tensor};

use super::{
    super::{Adapters, Ask, Given, Job, Paint, Pipeline, PromptIds, StepShape, Work, adapters},
    preview::Previews,
    request::Request,
    steering::Besides,
    turns::Turns,
};
use crate::{
    failure::{Code, Failure},
    layers::Step,
    models::diffusion::{
        Beside, Conditioning, ControlNet, ImageGenerator, Surroundings, TextLimits,
    },
};

/// Latents on a side of the picture that is painted before the first request, where the model can paint as many.
const WARM_SIDE: i64 = 8;

pub struct PaintingPipeline {
    model: Box<dyn ImageGenerator>,
    previews: Previews,
    adapters: Adapters,
    turns: Turns<Request>,
}

impl PaintingPipeline {
    /// `decoding_bytes` is what the autoencoder may take for one picture, at least for those larger than the model was
    /// trained on.
    pub fn new(
        model: Box<dyn ImageGenerator>,
        device: Device,
        decoding_bytes: u64,
        adapters: Adapters,
    ) -> Self {
        let usual = model.vae().working_bytes(model.picture_size());
        model.vae().bound_memory(decoding_bytes.max(usual));
        Self { model, previews: Previews::new(device), adapters, turns: Turns::default() }
    }

    fn factor(&self) -> usize {
        self.model.vae().factor() as usize
    }

    /// What the request wants in place of the pipeline's own ControlNet.
    fn control_net(&self, paint: &Paint) -> Result<Option<Rc<ControlNet>>, Failure> {
        let Some(used) = &paint.control_net else { return Ok(None) };
        let network = self.adapters.control_net(&used.key).ok_or_else(|| {
            let message = "the request's ControlNet has left before the request came";
            Failure::new(Code::InferenceFailed, message)
        })?;
        self.model.fits(&network).map_err(|error| {
            Failure::new(Code::InvalidRequest, error).at(adapters::CONTROL_NET_FIELD)
        })?;
        Ok(Some(network))
    }

    /// Why the model cannot do that work at all.
    fn refusal(&self, paint: &Paint) -> Option<Failure> {
        let encoders = self.model.text_limits();
        let unreadable = |ids: &PromptIds| {
            ids.len() != encoders.len()
                || encoders.iter().zip(ids).any(|(limits, ids)| !reads(*limits, ids))
        };
        let negative = match &paint.negative {
            Some(super::Negative::Text(ids)) => Some(ids),
            _ => None,
        };
        if [Some(&paint.prompt), negative].into_iter().flatten().any(unreadable) {
            let message = "the tokenizer makes ids that the text encoder does not have";
            return Some(Failure::new(Code::CorruptCheckpoint, message));
        }
        let fits = match (self.model.beside(), &paint.given) {
            (Beside::Mask, given) => given.as_ref().is_some_and(|given| given.mask.is_some()),
            (Beside::Picture, given) => given.as_ref().is_some_and(Given::is_edited),
            (Beside::SmallPicture, given) => given
                .as_ref()
                .and_then(Given::noise_level)
                .is_some_and(|level| Some(level as i64) < self.model.n_noise_levels()),
            (Beside::Nothing, given) => {
                let is_looked_at =
                    |given: &Given| given.is_edited() || given.noise_level().is_some();
                !given.as_ref().is_some_and(is_looked_at)
            }
        };
        let is_scored = paint.given.as_ref().is_some_and(Given::is_scored);
        if !fits || is_scored != self.model.wants_score() {
            let message = "the network looks at something else than what the configs promise";
            return Some(Failure::new(Code::CorruptCheckpoint, message));
        }
        // A picture must not be shown unchecked because of what a repository lacks.
        if self.model.safety_checker().is_some() != paint.for_checker.is_some() {
            let message = "the safety_checker and what prepares pictures for it are not both there";
            return Some(Failure::new(Code::CorruptCheckpoint, message));
        }
        let follows = self.model.control_net().is_some() || paint.control_net.is_some();
        if follows != paint.control.is_some() {
            let message = "the controlnet and a picture to paint after are not both there";
            return Some(Failure::new(Code::CorruptCheckpoint, message));
        }
        let factor = self.model.multiple() as usize;
        if paint.size.iter().any(|side| *side == 0 || !side.is_multiple_of(factor)) {
            let message = format!("the size of a picture must be a multiple of {factor}");
            return Some(Failure::new(Code::InvalidRequest, message));
        }
        if let Some(longest) = self.model.largest()
            && paint.size.iter().any(|side| *side as i64 > longest)
        {
            let message = format!("the model paints {longest} pixels on a side at most");
            return Some(Failure::new(Code::InvalidRequest, message));
        }
        (paint.clip_skip >= self.model.layers())
            .then(|| Failure::invalid("options.clip_skip", "leaves no layer of the text encoder"))
    }
}

fn reads(limits: TextLimits, ids: &[u32]) -> bool {
    let is_known = |id: &u32| i64::from(*id) < limits.vocab_size;
    !ids.is_empty() && ids.len() as i64 <= limits.context_length && ids.iter().all(is_known)
}

impl Pipeline for PaintingPipeline {
    fn warm(&mut self) {
        let (model, device, step) = (&self.model, self.previews.device(), Step::whole());
        let ids: Vec<Tensor> = model
            .text_limits()
            .iter()
            .map(|_| Tensor::zeros([1, 1], (Kind::Int64, device)))
            .collect();
        let prompt = model.encode(&ids, 0, &step);
        let options = (prompt.text.kind(), device);
        let vae = model.vae();
        let side =
            model.largest().map_or(WARM_SIDE, |pixels| (pixels / vae.factor()).min(WARM_SIDE));
        let latents = Tensor::zeros([1, model.in_channels(), side, side], options);
        let numbers = model.n_numbers().map(|n| Tensor::ones([1, n], (Kind::Float, device)));
        let guidance = model.guidance(1.0, device).map(|vector| vector.to_kind(options.0));
        let levels = model.n_noise_levels().map(|_| Tensor::zeros([1], (Kind::Int64, device)));
        let times = Tensor::zeros([1], (Kind::Float, device));
        let control = model.control_net().map(|network| {
            let side = side * network.factor();
            let picture = Tensor::zeros([1, network.picture_channels(), side, side], options);
            let embedded = network.embed(&picture, &step);
            let latents = latents.narrow(1, 0, network.in_channels());
            let conditioning = Conditioning { scale: 1.0, guesses: false };
            network.forward(&latents, &times, &prompt.text, &embedded, conditioning, &step)
        });
        let surroundings = Surroundings {
            numbers: numbers.as_ref(),
            guidance: guidance.as_ref(),
            noise_levels: levels.as_ref(),
            control: control.as_ref(),
        };
        let noise = model.denoise(&latents, &times, &prompt, &surroundings, &step);
        // Read back, so that it has run when this returns.
        let _ = vae.decode(&noise, &step).to_device(Device::Cpu);
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Paint(_))
    }

    fn admit(&mut self, mut job: Job) {
        let Some(Work::Paint(paint)) = job.work.take() else { return };
        if job.adapter.is_some() && !self.model.takes_adapters() {
            let message = "this kind of painter takes no adapters yet";
            return job.fail(Failure::new(Code::FormatNotSupported, message).at(adapters::FIELD));
        }
        let control_net = match self.control_net(&paint) {
            Ok(control_net) => control_net,
            Err(failure) => return job.fail(failure),
        };
        if let Some(failure) = self.refusal(&paint) {
            job.fail(failure);
            return;
        }
        let adapter = self.adapters.of(&job).filter(|_| paint.adapter_scale != 0.0);
        let adapter = adapter.map(|adapter| Rc::new(adapter.with_strength(paint.adapter_scale)));
        let besides = Besides { adapter, control_net };
        self.turns.admit(job, Request::new(paint, besides));
    }

    fn prepare_step(&mut self, now: Instant) -> Option<Ask> {
        let factor = self.factor();
        self.turns.choose(now, |request| request.size(factor))
    }

    fn shape(&self) -> StepShape {
        let Some(request) = self.turns.chosen() else { return StepShape::default() };
        let [height, width] = self.model.picture_size();
        // What a picture of the usual size takes when it is decoded.
        let usual = (height * width) as usize;
        let size = request.size(self.factor());
        StepShape::new(size, request.paint.n_images, size, usual)
    }

    fn step(&mut self) {
        let (factor, model, previews) = (self.factor(), &*self.model, &self.previews);
        self.turns.step(|request| request.size(factor), |request| request.step(model, previews));
    }

    fn abort_step(&mut self, failure: &Failure) {
        self.turns.abort_step(failure);
    }

    fn abort_all(&mut self, failure: &Failure) {
        self.turns.abort_all(failure);
    }

    fn jobs(&self) -> usize {
        self.turns.len()
    }

    fn running(&self) -> usize {
        self.turns.running()
    }
}
