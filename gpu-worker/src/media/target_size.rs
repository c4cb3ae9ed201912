//! The size a picture is resized to, by the rule of the processor's class.
//!
//! Reference: `image_transforms.py` and the `resize` of each class; every `int(…)` truncates.

use super::{
    ProcessorError,
    processor_config::{Rule, Size},
};

/// No step of a resize may make more pixels than this.
const MAX_PIXELS: u64 = 64_000_000;

/// The `(height, width)` that a picture of `(height, width)` is resized to.
pub(super) fn target_size(
    rule: &Rule,
    size: Option<Size>,
    from: (u32, u32),
) -> Result<(u32, u32), ProcessorError> {
    let size = || {
        size.ok_or_else(|| ProcessorError::Field {
            field: "size",
            reason: "is missing, but do_resize is on".to_owned(),
        })
    };
    let (height, width) = match *rule {
        Rule::CropPctOrWarp { crop_pct } => match size()? {
            Size::Shortest(edge) if edge < WARP_FROM => {
                shortest(from, crop_pct_edge(edge, crop_pct))
            }
            Size::Shortest(edge) => (u64::from(edge), u64::from(edge)),
            other => return Err(wrong(other, "shortest_edge")),
        },
        Rule::CropPct { crop_pct } => match size()? {
            Size::Shortest(edge) => shortest(from, crop_pct_edge(edge, crop_pct)),
            Size::Exact { height, width } if height == width => {
                shortest(from, crop_pct_edge(height, crop_pct))
            }
            Size::Exact { height, width } => {
                (crop_pct_edge(height, crop_pct), crop_pct_edge(width, crop_pct))
            }
            other => return Err(wrong(other, "shortest_edge, or height and width")),
        },
        Rule::Levit => match size()? {
            Size::Shortest(edge) => shortest(from, (256.0 / 224.0 * f64::from(edge)) as u64),
            size => plain(size, from)?,
        },
        Rule::MultipleOf { keep_aspect_ratio, multiple, .. } => match size()? {
            Size::Exact { height, width } => {
                multiple_of(from, (height, width), keep_aspect_ratio, multiple)
            }
            other => return Err(wrong(other, "height and width")),
        },
        Rule::FloorToMultiple { divisor } => {
            let floor = |edge: u32| u64::from(edge / divisor * divisor);
            (floor(from.0), floor(from.1))
        }
        Rule::LongestEdge => match size()? {
            Size::Longest(edge) => {
                let scale = f64::from(edge) / f64::from(from.0.max(from.1));
                let scaled = |edge: u32| (f64::from(edge) * scale + 0.5) as u64;
                (scaled(from.0), scaled(from.1))
            }
            other => return Err(wrong(other, "longest_edge")),
        },
        Rule::Plain
        | Rule::CropThenResize
        | Rule::PadToSquare
        | Rule::RescaleThenResize
        | Rule::RescaleAndFlip { .. }
        | Rule::RescaleOffset { .. }
        | Rule::SymmetricPad { .. } => plain(size()?, from)?,
    };
    check(from, (height, width))
}

/// From this shortest edge on ConvNeXT warps instead of cropping.
pub(super) const WARP_FROM: u32 = 384;

fn crop_pct_edge(edge: u32, crop_pct: f64) -> u64 {
    (f64::from(edge) / crop_pct) as u64
}

fn plain(size: Size, from: (u32, u32)) -> Result<(u64, u64), ProcessorError> {
    match size {
        Size::Exact { height, width } => Ok((u64::from(height), u64::from(width))),
        Size::Shortest(edge) => Ok(shortest(from, u64::from(edge))),
        Size::ShortestWithin { shortest, longest } => Ok(shortest_within(from, shortest, longest)),
        Size::Within { height, width } => {
            let scale =
                (f64::from(height) / f64::from(from.0)).min(f64::from(width) / f64::from(from.1));
            let scaled = |edge: u32| (f64::from(edge) * scale) as u64;
            Ok((scaled(from.0), scaled(from.1)))
        }
        other @ Size::Longest(_) => {
            Err(wrong(other, "height and width, shortest_edge, or max_height and max_width"))
        }
    }
}

/// The shorter edge becomes `edge`, the longer one follows.
fn shortest((height, width): (u32, u32), edge: u64) -> (u64, u64) {
    let (short, long) = (height.min(width), height.max(width));
    let new_long = (edge as f64 * f64::from(long) / f64::from(short)) as u64;
    if width <= height { (new_long, edge) } else { (edge, new_long) }
}

/// The shorter edge becomes `edge` unless the longer one would exceed `longest`.
fn shortest_within((height, width): (u32, u32), edge: u32, longest: u32) -> (u64, u64) {
    let (short, long) = (f64::from(height.min(width)), f64::from(height.max(width)));
    let mut edge = u64::from(edge);
    let mut exact = edge as f64;
    if long / short * exact > f64::from(longest) {
        exact = f64::from(longest) * short / long;
        edge = exact.round_ties_even() as u64;
    }
    if u64::from(height.min(width)) == edge {
        (u64::from(height), u64::from(width))
    } else if width < height {
        ((exact * f64::from(height) / f64::from(width)) as u64, edge)
    } else {
        (edge, (exact * f64::from(width) / f64::from(height)) as u64)
    }
}

/// DPT: scale as little as possible, each edge to a multiple.
fn multiple_of(
    (height, width): (u32, u32),
    size: (u32, u32),
    keep_aspect_ratio: bool,
    multiple: u32,
) -> (u64, u64) {
    let mut scale_height = f64::from(size.0) / f64::from(height);
    let mut scale_width = f64::from(size.1) / f64::from(width);
    if keep_aspect_ratio {
        if (1.0 - scale_width).abs() < (1.0 - scale_height).abs() {
            scale_height = scale_width;
        } else {
            scale_width = scale_height;
        }
    }
    let constrain = |edge: f64| {
        let multiple = f64::from(multiple);
        ((edge / multiple).round_ties_even() * multiple) as u64
    };
    (constrain(scale_height * f64::from(height)), constrain(scale_width * f64::from(width)))
}

fn wrong(size: Size, expected: &str) -> ProcessorError {
    let reason = format!("must have {expected} for this processor, but is {size:?}");
    ProcessorError::Field { field: "size", reason }
}

fn check(from: (u32, u32), to: (u64, u64)) -> Result<(u32, u32), ProcessorError> {
    let (height, width) = from;
    let (new_height, new_width) = to;
    if new_height == 0 || new_width == 0 {
        return Err(ProcessorError::ResizedEmpty { width, height });
    }
    // The first pass makes the new width at the old height.
    let pixels = new_width.saturating_mul(new_height.max(u64::from(height)));
    match (u32::try_from(new_height), u32::try_from(new_width)) {
        (Ok(new_height), Ok(new_width)) if pixels <= MAX_PIXELS => Ok((new_height, new_width)),
        _ => Err(ProcessorError::ResizedTooLarge {
            width,
            height,
            new_width,
            new_height,
            limit: MAX_PIXELS,
        }),
    }
}
