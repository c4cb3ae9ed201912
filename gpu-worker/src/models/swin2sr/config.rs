//! What `config.json` of a Swin2SR says.

use serde::Deserialize;

use crate::{
    layers::Activation,
    models::{LoadError, check_divides, check_positive, sides::Size, unsupported},
};

/// More stages or layers than this no model has.
const MOST_LAYERS: i64 = 256;
/// Larger windows would hold more values for one of them than a picture has.
const WIDEST_WINDOW: i64 = 64;
/// Pictures are not enlarged by more than this.
const MOST_SCALE: i64 = 16;

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    image_size: Size,
    patch_size: Size,
    pub(super) num_channels: i64,
    num_channels_out: Option<i64>,
    pub(super) embed_dim: i64,
    pub(super) depths: Vec<i64>,
    pub(super) num_heads: Vec<i64>,
    pub(super) window_size: i64,
    mlp_ratio: f64,
    pub(super) qkv_bias: bool,
    pub(super) hidden_act: Activation,
    use_absolute_embeddings: bool,
    pub(super) layer_norm_eps: f64,
    pub(super) upscale: i64,
    pub(super) img_range: f64,
    pub(super) resi_connection: String,
    pub(super) upsampler: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            image_size: Size::Square(64),
            patch_size: Size::Square(1),
            num_channels: 3,
            num_channels_out: None,
            embed_dim: 180,
            depths: vec![6; 6],
            num_heads: vec![6; 6],
            window_size: 8,
            mlp_ratio: 2.0,
            qkv_bias: true,
            hidden_act: Activation::Gelu,
            use_absolute_embeddings: false,
            layer_norm_eps: 1e-5,
            upscale: 2,
            img_range: 1.0,
            resi_connection: "1conv".to_owned(),
            upsampler: Some("pixelshuffle".to_owned()),
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let sides = self.image_size.sides();
        check_positive(&[
            ("embed_dim", self.embed_dim),
            ("image_size", sides[0].min(sides[1])),
            ("window_size", self.window_size),
            ("upscale", self.upscale),
            ("depths", self.depths.len() as i64),
        ])?;
        // Every stage cuts into patches anew, which only patches of one pixel survive.
        if self.patch_size.sides() != [1, 1] {
            return Err(unsupported("patch_size", format!("{:?}", self.patch_size.sides())));
        }
        for (field, channels) in
            [("num_channels", self.num_channels), ("num_channels_out", self.n_channels_out())]
        {
            if ![1, 3].contains(&channels) {
                return Err(unsupported(field, channels));
            }
        }
        if self.num_channels != self.n_channels_out() {
            return Err(unsupported("num_channels_out", "other than num_channels"));
        }
        if self.use_absolute_embeddings {
            return Err(unsupported("use_absolute_embeddings", true));
        }
        if self.window_size > WIDEST_WINDOW {
            return Err(unsupported("window_size", self.window_size));
        }
        if !(1e-3..=1e6).contains(&self.img_range) {
            return Err(unsupported("img_range", self.img_range));
        }
        let inner = self.mlp_ratio * self.embed_dim as f64;
        if !(1.0..1e9).contains(&inner) {
            return Err(unsupported("mlp_ratio", self.mlp_ratio));
        }
        self.check_stages()?;
        self.check_upsampler()
    }

    fn check_stages(&self) -> Result<(), LoadError> {
        if self.num_heads.len() != self.depths.len() {
            let value =
                format!("a list of {}, but depths has {}", self.num_heads.len(), self.depths.len());
            return Err(unsupported("num_heads", value));
        }
        let is_deep = |depth: &i64| !(1..=MOST_LAYERS).contains(depth);
        if self.depths.len() as i64 > MOST_LAYERS || self.depths.iter().any(is_deep) {
            return Err(unsupported("depths", format!("{:?}", self.depths)));
        }
        for &heads in &self.num_heads {
            check_positive(&[("num_heads", heads)])?;
            check_divides("num_heads", heads, self.embed_dim)?;
        }
        match self.resi_connection.as_str() {
            "1conv" => Ok(()),
            "3conv" => check_positive(&[("embed_dim / 4", self.embed_dim / 4)]),
            other => Err(unsupported("resi_connection", other)),
        }
    }

    fn check_upsampler(&self) -> Result<(), LoadError> {
        let scale = self.upscale;
        let shuffles = scale.count_ones() == 1 || scale == 3;
        let (name, fits) = match self.upsampler.as_deref() {
            Some(name @ "pixelshuffle") => (name, shuffles),
            Some("pixelshuffle_aux") if self.num_channels != 3 => {
                return Err(unsupported("num_channels", "1 with pixelshuffle_aux"));
            }
            Some(name @ "pixelshuffle_aux") => (name, shuffles),
            Some(name @ "pixelshuffledirect") => (name, true),
            Some(name @ "nearest+conv") => (name, scale == 4),
            None | Some("") => ("none", scale == 1),
            Some(other) => return Err(unsupported("upsampler", other)),
        };
        if fits && scale <= MOST_SCALE {
            Ok(())
        } else {
            Err(unsupported("upscale", format!("{scale} with the upsampler {name}")))
        }
    }

    pub(super) fn n_channels_out(&self) -> i64 {
        self.num_channels_out.unwrap_or(self.num_channels)
    }

    pub(super) fn inner_dim(&self) -> i64 {
        (self.mlp_ratio * self.embed_dim as f64) as i64
    }

    /// Side of a window in the layers, and by how much every second layer shifts its windows: pictures of the size that
    /// the model was made for may be no larger than one window.
    pub(super) fn window(&self) -> (i64, i64) {
        let grid = self.image_size.sides()[0];
        let side = self.window_size.min(grid);
        (side, if grid <= side { 0 } else { self.window_size / 2 })
    }
}
