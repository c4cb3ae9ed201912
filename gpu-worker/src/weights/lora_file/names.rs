//! What the name of a tensor means: which layer, and which part of what is added to it.

/// A layer, as a file spells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    /// A path of component and layer: `unet.mid_block.attentions.0.proj_in`.
    Path(String),
    /// As Kohya's programs write it, every dot an underscore: of `lora_unet_mid_block_attentions_0_proj_in` the component
    /// is `unet`.
    Flat { component: &'static str, path: String },
}

/// A part of what is added to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Down,
    Up,
    /// A number: with the rank it scales the product of the other two.
    Alpha,
}

/// What stands before Kohya's names, and for which component.
const FLAT: &[(&str, &str)] = &[
    ("lora_unet_", "unet"),
    ("lora_te_", "text_encoder"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
];

const ENDINGS: &[(&str, Role)] = &[
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".alpha", Role::Alpha),
];

/// As `diffusers` wrote at first, when attention had processors that held the adapters.
const OLD_ENDINGS: &[(&str, Role)] =
    &[("_lora.down.weight", Role::Down), ("_lora.up.weight", Role::Up)];

/// Projections of attention as those old names call them: their ends, in a U-Net and in a text encoder.
const OLD_PROJECTIONS: [(&str, &str, &str); 4] = [
    ("to_q", "to_q", "q_proj"),
    ("to_k", "to_k", "k_proj"),
    ("to_v", "to_v", "v_proj"),
    ("to_out", "to_out.0", "out_proj"),
];

/// Parts of a U-Net with which names begin that say no component.
const OF_UNET: &[&str] = &["down_blocks.", "mid_block.", "up_blocks."];

/// `None`: it is no part of a low-rank adapter.
pub(super) fn read(name: &str) -> Option<(Layer, Role)> {
    let ending = |endings: &[(&str, Role)]| {
        endings.iter().find_map(|(ending, role)| Some((name.strip_suffix(ending)?, *role)))
    };
    if let Some((layer, role)) = ending(ENDINGS) {
        return Some((self::layer(layer), role));
    }
    let (layer, role) = ending(OLD_ENDINGS)?;
    Some((Layer::Path(with_component(&projection(layer)?)), role))
}

impl Layer {
    /// Component and path, where the file spells both.
    pub(super) fn path(&self) -> Option<(&str, &str)> {
        match self {
            Self::Path(path) => path.split_once('.'),
            Self::Flat { .. } => None,
        }
    }
}

fn layer(name: &str) -> Layer {
    let flat = FLAT.iter().find_map(|(prefix, component)| {
        let path = name.strip_prefix(prefix).filter(|path| !path.contains('.'))?;
        // What once held a text encoder together.
        let path = match *component {
            "unet" => path,
            _ => path.strip_prefix("text_model_").unwrap_or(path),
        };
        Some(Layer::Flat { component, path: path.to_owned() })
    });
    flat.unwrap_or_else(|| Layer::Path(with_component(name)))
}

fn with_component(path: &str) -> String {
    match OF_UNET.iter().any(|part| path.starts_with(part)) {
        true => format!("unet.{path}"),
        false => path.to_owned(),
    }
}

/// `mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out` as the layer is named.
fn projection(path: &str) -> Option<String> {
    let (attention, last) = path.rsplit_once('.')?;
    let (_, of_unet, of_text) = OLD_PROJECTIONS.iter().find(|(old, ..)| *old == last)?;
    let is_text = path.starts_with("text_encoder");
    let last = if is_text { of_text } else { of_unet };
    Some(format!("{}.{last}", attention.strip_suffix(".processor").unwrap_or(attention)))
}
