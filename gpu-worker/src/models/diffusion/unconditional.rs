//! Pipelines that remove noise from pictures themselves and look at nothing else
//! (Ho et al., 2020, <https://arxiv.org/abs/2006.11239>; Song et al., 2020, <https://arxiv.org/abs/2010.02502>).
//!
//! Reference: `diffusers/pipelines/ddpm/pipeline_ddpm.py` and `ddim/pipeline_ddim.py`.

use tch::{Kind, Tensor};

use super::{Unet2d, components::Components};
use crate::{
    layers::Step,
    models::{Architecture, LoadError, Model, ModelKind, unsupported},
    weights::Weights,
};

pub(in crate::models) const DDPM: Architecture = architecture("DDPMPipeline");
pub(in crate::models) const DDIM: Architecture = architecture("DDIMPipeline");

const fn architecture(class: &'static str) -> Architecture {
    Architecture {
        model_type: class,
        kinds: &[ModelKind::UnconditionalGenerator],
        renames: Unet2d::RENAMES,
        ignored: &[],
        load,
    }
}

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    Ok(Model::UnconditionalGenerator(Box::new(Unconditional::load(config, weights)?)))
}

/// Networks that such a pipeline has.
const COMPONENTS: &[&str] = &["unet"];

pub struct Unconditional {
    unet: Unet2d,
    size: [i64; 2],
}

impl Unconditional {
    /// `config` is the document of the whole pipeline, and tensors begin with the names of their components.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let components = Components::parse(config)?;
        components.refuse_others(COMPONENTS)?;
        let unet = components.load("unet", |class, config| {
            (class == "UNet2DModel").then(|| Unet2d::load(config, &weights.at("unet")))
        })?;
        if ![1, 3].contains(&unet.in_channels()) {
            return Err(unsupported("in_channels", unet.in_channels()));
        }
        if unet.out_channels() != unet.in_channels() {
            return Err(unsupported("out_channels", unet.out_channels()));
        }
        if let Some(n_classes) = unet.n_classes() {
            return Err(unsupported("num_class_embeds", n_classes));
        }
        let size = unet.sample_size().ok_or_else(|| unsupported("sample_size", "null"))?;
        Ok(Self { unet, size })
    }

    /// The noise, or whatever the network was trained to tell, in `[batch, n_channels, height, width]` pictures of values
    /// -1 to 1 at `times`, `[batch]`.
    pub fn denoise(&self, pictures: &Tensor, times: &Tensor, step: &Step) -> Tensor {
        self.unet.forward(pictures, times, None, step)
    }

    /// 1, which is grey, or 3.
    pub fn n_channels(&self) -> i64 {
        self.unet.in_channels()
    }

    /// Height and width of its pictures.
    pub fn size(&self) -> [i64; 2] {
        self.size
    }

    /// The kind of its weights, which pictures must have too.
    pub fn kind(&self) -> Kind {
        self.unet.kind()
    }
}
