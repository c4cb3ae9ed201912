//! `config.json` of a `UNet2DConditionModel`, and what it may not say.

use serde::Deserialize;

use super::super::{
    blocks::AttentionConfig,
    embeddings::Waves,
    per_block::PerBlock,
    resnet::{ResnetConfig, TimeConfig},
    transformer::TextAttentionConfig,
    u_shape::{DescentConfig, MidConfig, PartConfig, UShapeConfig},
};
use crate::{
    layers::Activation,
    models::{LoadError, check_divides, check_positive, unsupported},
};

const DOWN_TEXT: &str = "CrossAttnDownBlock2D";
const DOWN: &str = "DownBlock2D";
const UP_TEXT: &str = "CrossAttnUpBlock2D";
const UP: &str = "UpBlock2D";

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    sample_size: Option<PerBlock<i64>>,
    pub in_channels: i64,
    pub out_channels: i64,
    pub center_input_sample: bool,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    down_block_types: Vec<String>,
    pub mid_block_type: Option<String>,
    up_block_types: Vec<String>,
    only_cross_attention: PerBlock<bool>,
    pub block_out_channels: Vec<i64>,
    layers_per_block: PerBlock<usize>,
    downsample_padding: i64,
    mid_block_scale_factor: f64,
    pub act_fn: Activation,
    pub norm_num_groups: i64,
    pub norm_eps: f64,
    cross_attention_dim: PerBlock<i64>,
    transformer_layers_per_block: PerBlock<PerBlock<i64>>,
    reverse_transformer_layers_per_block: Option<PerBlock<PerBlock<i64>>>,
    attention_head_dim: PerBlock<i64>,
    use_linear_projection: bool,
    pub class_embed_type: Option<String>,
    pub addition_embed_type: Option<String>,
    pub addition_time_embed_dim: Option<i64>,
    pub num_class_embeds: Option<i64>,
    resnet_time_scale_shift: String,
    time_embedding_dim: Option<i64>,
    pub time_cond_proj_dim: Option<i64>,
    pub conv_in_kernel: i64,
    pub conv_out_kernel: i64,
    pub projection_class_embeddings_input_dim: Option<i64>,
    #[serde(flatten)]
    refused: Refused,
}

/// What changes the result in ways that this network does not have.
#[derive(Deserialize)]
#[serde(default)]
struct Refused {
    encoder_hid_dim: Option<i64>,
    encoder_hid_dim_type: Option<String>,
    dual_cross_attention: bool,
    time_embedding_type: String,
    time_embedding_act_fn: Option<String>,
    timestep_post_act: Option<String>,
    attention_type: String,
    class_embeddings_concat: bool,
    cross_attention_norm: Option<String>,
    /// The reference refuses it too.
    num_attention_heads: Option<PerBlock<i64>>,
}

impl Default for Refused {
    fn default() -> Self {
        Self {
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            dual_cross_attention: false,
            time_embedding_type: "positional".to_owned(),
            time_embedding_act_fn: None,
            timestep_post_act: None,
            attention_type: "default".to_owned(),
            class_embeddings_concat: false,
            cross_attention_norm: None,
            num_attention_heads: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let text = |name: &str| vec![name.to_owned(); 3];
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: [text(DOWN_TEXT), vec![DOWN.to_owned()]].concat(),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            up_block_types: [vec![UP.to_owned()], text(UP_TEXT)].concat(),
            only_cross_attention: PerBlock::One(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerBlock::One(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: PerBlock::One(1280),
            transformer_layers_per_block: PerBlock::One(PerBlock::One(1)),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: PerBlock::One(8),
            use_linear_projection: false,
            class_embed_type: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            num_class_embeds: None,
            resnet_time_scale_shift: "default".to_owned(),
            time_embedding_dim: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            projection_class_embeddings_input_dim: None,
            refused: Refused::default(),
        }
    }
}

/// One part of the network, on the way down or up.
struct Part {
    n_resnets: usize,
    looks_at_text: bool,
    n_heads: i64,
    text_dim: i64,
    /// Of the transformer after each residual block.
    transformer_layers: Vec<i64>,
    only_text: bool,
}

impl Refused {
    fn check(&self) -> Result<(), LoadError> {
        let text = |value: &Option<String>| value.clone();
        let unless = |value: &str, usual: &str| (value != usual).then(|| value.to_owned());
        let flag = |is_set: bool| is_set.then(|| "what it is set to".to_owned());
        let fields = [
            ("encoder_hid_dim", self.encoder_hid_dim.map(|dim| dim.to_string())),
            ("encoder_hid_dim_type", text(&self.encoder_hid_dim_type)),
            ("dual_cross_attention", flag(self.dual_cross_attention)),
            ("time_embedding_type", unless(&self.time_embedding_type, "positional")),
            ("time_embedding_act_fn", text(&self.time_embedding_act_fn)),
            ("timestep_post_act", text(&self.timestep_post_act)),
            ("attention_type", unless(&self.attention_type, "default")),
            ("class_embeddings_concat", flag(self.class_embeddings_concat)),
            ("cross_attention_norm", text(&self.cross_attention_norm)),
            ("num_attention_heads", flag(self.num_attention_heads.is_some())),
        ];
        match fields.into_iter().find_map(|(field, value)| Some((field, value?))) {
            Some((field, value)) => Err(unsupported(field, value)),
            None => Ok(()),
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), LoadError> {
        self.refused.check()?;
        check_positive(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("norm_num_groups", self.norm_num_groups),
            ("block_out_channels", self.block_out_channels.len() as i64),
            ("time_embedding_dim", self.time_embedding_dim.unwrap_or(1)),
            ("time_cond_proj_dim", self.time_cond_proj_dim.unwrap_or(1)),
        ])?;
        for channels in &self.block_out_channels {
            check_positive(&[("block_out_channels", *channels)])?;
            check_divides("norm_num_groups", self.norm_num_groups, *channels)?;
        }
        if self.block_out_channels[0] < 4 {
            return Err(unsupported("block_out_channels", self.block_out_channels[0]));
        }
        for (field, kernel) in
            [("conv_in_kernel", self.conv_in_kernel), ("conv_out_kernel", self.conv_out_kernel)]
        {
            if ![1, 3, 5, 7].contains(&kernel) {
                return Err(unsupported(field, kernel));
            }
        }
        if ![0, 1].contains(&self.downsample_padding) {
            return Err(unsupported("downsample_padding", self.downsample_padding));
        }
        if !["default", "scale_shift"].contains(&self.resnet_time_scale_shift.as_str()) {
            return Err(unsupported("resnet_time_scale_shift", &self.resnet_time_scale_shift));
        }
        Ok(())
    }

    pub(super) fn sample_size(&self) -> Result<Option<[i64; 2]>, LoadError> {
        self.sample_size.as_ref().map(|size| size.sides("sample_size")).transpose()
    }

    /// The parts on the way down.
    fn parts(&self) -> Result<Vec<Part>, LoadError> {
        let n_blocks = self.block_out_channels.len();
        let looks =
            looks_at_text("down_block_types", &self.down_block_types, [DOWN, DOWN_TEXT], n_blocks)?;
        let (field, layers) = ("transformer_layers_per_block", &self.transformer_layers_per_block);
        let transformer_layers = layers.resolve(field, n_blocks)?;
        self.parts_with(&looks, (field, &transformer_layers), false, 0)
    }

    /// The parts on the way up, the deepest first.
    fn parts_up(&self) -> Result<Vec<Part>, LoadError> {
        let n_blocks = self.block_out_channels.len();
        let looks = looks_at_text("up_block_types", &self.up_block_types, [UP, UP_TEXT], n_blocks)?;
        let (field, layers) = match &self.reverse_transformer_layers_per_block {
            Some(layers) => {
                let field = "reverse_transformer_layers_per_block";
                (field, layers.resolve(field, n_blocks)?)
            }
            None => {
                let field = "transformer_layers_per_block";
                let mut layers = self.transformer_layers_per_block.resolve(field, n_blocks)?;
                layers.reverse();
                if layers.iter().any(|layers| matches!(layers, PerBlock::Each(_))) {
                    let field = "reverse_transformer_layers_per_block";
                    return Err(unsupported(field, "null"));
                }
                (field, layers)
            }
        };
        self.parts_with(&looks, (field, &layers), true, 1)
    }

    fn parts_with(
        &self,
        looks_at_text: &[bool],
        (layers_field, transformer_layers): (&'static str, &[PerBlock<i64>]),
        is_up: bool,
        more_layers: usize,
    ) -> Result<Vec<Part>, LoadError> {
        let n_blocks = self.block_out_channels.len();
        let n_layers = self.layers_per_block.resolve("layers_per_block", n_blocks)?;
        let n_heads = self.heads()?;
        let text_dims = self.cross_attention_dim.resolve("cross_attention_dim", n_blocks)?;
        let only_text = self.only_cross_attention.resolve("only_cross_attention", n_blocks)?;
        (0..n_blocks)
            .map(|block| {
                let at = if is_up { n_blocks - 1 - block } else { block };
                check_positive(&[
                    ("layers_per_block", n_layers[at] as i64),
                    ("cross_attention_dim", text_dims[at]),
                ])?;
                let n_resnets = n_layers[at] + more_layers;
                let transformer_layers =
                    transformer_layers[block].resolve(layers_field, n_resnets)?;
                for layers in &transformer_layers {
                    check_positive(&[(layers_field, *layers)])?;
                }
                Ok(Part {
                    n_resnets,
                    looks_at_text: looks_at_text[block],
                    n_heads: n_heads[at],
                    text_dim: text_dims[at],
                    transformer_layers,
                    only_text: only_text[at],
                })
            })
            .collect()
    }

    /// How many heads each part has. Published configs call this number the dimension of a head.
    fn heads(&self) -> Result<Vec<i64>, LoadError> {
        let n_blocks = self.block_out_channels.len();
        let field = "attention_head_dim";
        let heads = self.attention_head_dim.resolve(field, n_blocks)?;
        for (heads, channels) in heads.iter().zip(&self.block_out_channels) {
            check_positive(&[(field, *heads)])?;
            check_divides(field, *heads, *channels)?;
        }
        Ok(heads)
    }

    /// The network's body.
    pub(super) fn body(&self) -> Result<UShapeConfig, LoadError> {
        let descent = self.descent()?;
        let up = self.parts_up()?.iter().map(|part| self.part(part)).collect();
        Ok(UShapeConfig { descent, up })
    }

    /// The way down and the bottom.
    pub(super) fn descent(&self) -> Result<DescentConfig, LoadError> {
        let down = self.parts()?;
        let deepest = down.last().expect("a config that was checked has a block");
        let mid = match self.mid_block_type.as_deref() {
            None => None,
            Some("UNetMidBlock2D") => Some((0, AttentionConfig::None)),
            // Like the last part on the way down, with one transformer.
            Some("UNetMidBlock2DCrossAttn") => {
                let config = self.text_attention(deepest, false);
                let layers = deepest.transformer_layers[..1].to_vec();
                Some((1, AttentionConfig::Text(config, layers)))
            }
            Some(other) => return Err(unsupported("mid_block_type", other)),
        };
        Ok(DescentConfig {
            channels: self.block_out_channels.clone(),
            down: down.iter().map(|part| self.part(part)).collect(),
            mid: mid.map(|(n_attentions, attention)| MidConfig {
                n_attentions,
                attention,
                resnet: self.resnet(self.mid_block_scale_factor),
            }),
            downsample_padding: self.downsample_padding,
            resnet: self.resnet(1.0),
        })
    }

    fn part(&self, part: &Part) -> PartConfig {
        let attention = if part.looks_at_text {
            let config = self.text_attention(part, part.only_text);
            AttentionConfig::Text(config, part.transformer_layers.clone())
        } else {
            AttentionConfig::None
        };
        PartConfig { n_resnets: part.n_resnets, attention }
    }

    fn text_attention(&self, part: &Part, only_text: bool) -> TextAttentionConfig {
        TextAttentionConfig {
            n_heads: part.n_heads,
            text_dim: part.text_dim,
            n_groups: self.norm_num_groups,
            linear: self.use_linear_projection,
            only_text,
        }
    }

    fn resnet(&self, output_scale: f64) -> ResnetConfig {
        let time = TimeConfig {
            dim: self.time_dim(),
            scale_shift: self.resnet_time_scale_shift == "scale_shift",
        };
        ResnetConfig {
            act: self.act_fn,
            n_groups: self.norm_num_groups,
            eps: self.norm_eps,
            time: Some(time),
            output_scale,
        }
    }

    pub(super) fn waves(&self, dim: i64) -> Waves {
        Waves { dim, cos_first: self.flip_sin_to_cos, freq_shift: self.freq_shift }
    }

    pub(super) fn time_dim(&self) -> i64 {
        self.time_embedding_dim.unwrap_or(4 * self.block_out_channels[0])
    }

    /// Texts have one length of vectors in all networks that pipelines use.
    pub(super) fn text_dim(&self) -> i64 {
        match &self.cross_attention_dim {
            PerBlock::One(dim) => *dim,
            PerBlock::Each(dims) => dims[0],
        }
    }

    pub(super) fn n_classes(&self) -> Option<i64> {
        self.num_class_embeds.filter(|_| self.class_embed_type.is_none())
    }
}

/// Which parts look at a text.
fn looks_at_text(
    field: &'static str,
    types: &[String],
    [plain, text]: [&str; 2],
    n_blocks: usize,
) -> Result<Vec<bool>, LoadError> {
    if types.len() != n_blocks {
        return Err(unsupported(field, format!("{} instead of {n_blocks}", types.len())));
    }
    let looks = |name: &String| match name.as_str() {
        name if name == text => Ok(true),
        name if name == plain => Ok(false),
        other => Err(unsupported(field, other)),
    };
    types.iter().map(looks).collect()
}
