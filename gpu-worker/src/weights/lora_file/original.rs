//! The layers of a U-Net as the program names them that Stable Diffusion was published with. Adapters of Stable Diffusion
//! XL from Kohya's programs do so too.
//!
//! Reference: `diffusers/loaders/lora_conversion_utils.py`, `_maybe_map_sgm_blocks_to_diffusers`.

use std::collections::BTreeSet;

/// Layers that stand alone.
const ALONE: &[(&str, &str)] = &[
    ("conv_in", "input_blocks.0.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
];

/// Layers of a residual block.
const RESIDUAL: &[(&str, &str)] = &[
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
];

/// What must be known of a U-Net to number its blocks.
pub(super) struct Original {
    /// Residual blocks of a part on the way down; on the way up there is one more.
    n_layers: usize,
    /// Parts on the way up that have attention.
    attend: BTreeSet<usize>,
}

impl Original {
    /// Of a U-Net whose layers are at these paths.
    pub(super) fn of<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let (mut n_layers, mut attend) = (0, BTreeSet::new());
        for path in paths {
            match Block::read(path) {
                Some(Block { side: "down_blocks", part: 0, kind: "resnets", at, .. }) => {
                    n_layers = n_layers.max(at + 1);
                }
                Some(Block { side: "up_blocks", part, kind: "attentions", .. }) => {
                    attend.insert(part);
                }
                _ => {}
            }
        }
        Self { n_layers, attend }
    }

    /// The published name of the layer at `path`.
    pub(super) fn name(&self, path: &str) -> Option<String> {
        if let Some((_, name)) = ALONE.iter().find(|(own, _)| *own == path) {
            return Some((*name).to_owned());
        }
        if let Some(rest) = path.strip_prefix("mid_block.") {
            let (kind, rest) = rest.split_once('.')?;
            let (at, rest) = rest.split_once('.')?;
            let at = match (kind, at) {
                ("resnets", "0") => 0,
                ("attentions", "0") => 1,
                ("resnets", "1") => 2,
                _ => return None,
            };
            return Some(format!("middle_block.{at}.{}", within(kind, rest)?));
        }
        let Block { side, part, kind, at, rest } = Block::read(path)?;
        let of_part = part * (self.n_layers + 1);
        let n_layers = self.n_layers;
        Some(match (side, kind) {
            ("down_blocks", "downsamplers") if rest == "conv" => {
                format!("input_blocks.{}.0.op", 1 + of_part + n_layers)
            }
            ("up_blocks", "upsamplers") if rest == "conv" => {
                let after = if self.attend.contains(&part) { 2 } else { 1 };
                format!("output_blocks.{}.{after}.conv", of_part + n_layers)
            }
            (_, "resnets" | "attentions") => {
                let inner = usize::from(kind == "attentions");
                let rest = within(kind, rest)?;
                match side {
                    "down_blocks" => format!("input_blocks.{}.{inner}.{rest}", 1 + of_part + at),
                    _ => format!("output_blocks.{}.{inner}.{rest}", of_part + at),
                }
            }
            _ => return None,
        })
    }
}

/// Parts of a path such as `down_blocks.1.resnets.0.conv1`.
struct Block<'a> {
    side: &'a str,
    part: usize,
    kind: &'a str,
    at: usize,
    rest: &'a str,
}

impl<'a> Block<'a> {
    fn read(path: &'a str) -> Option<Self> {
        let mut parts = path.splitn(5, '.');
        let side = parts.next().filter(|side| ["down_blocks", "up_blocks"].contains(side))?;
        let part = parts.next()?.parse().ok()?;
        let kind = parts.next()?;
        let at = parts.next()?.parse().ok()?;
        Some(Self { side, part, kind, at, rest: parts.next()? })
    }
}

/// A layer within a residual block or attention.
fn within<'a>(kind: &str, rest: &'a str) -> Option<&'a str> {
    match kind {
        "resnets" => RESIDUAL.iter().find(|(own, _)| *own == rest).map(|(_, name)| *name),
        _ => Some(rest),
    }
}
