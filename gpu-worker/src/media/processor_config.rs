//! `preprocessor_config.json` to settled values: the file's, else its class's defaults.

use serde_json::{Map, Value};

use super::{
    ProcessorError, Resample,
    normalize::Arithmetic,
    processor_classes::{CLASSES, Class, by_model_type, by_name},
};

const FILE: &str = "preprocessor_config.json";

/// What the configured size means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Exact {
        height: u32,
        width: u32,
    },
    Shortest(u32),
    ShortestWithin {
        shortest: u32,
        longest: u32,
    },
    Longest(u32),
    /// As large as fits, keeping the aspect ratio.
    Within {
        height: u32,
        width: u32,
    },
}

/// Where a class leaves the common order "resize, crop, rescale, normalize, pad".
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    Plain,
    /// ConvNeXT: below 384 the shorter edge becomes `edge / crop_pct` and the centre is cut out;
    /// from 384 on the picture is warped to a square.
    CropPctOrWarp {
        crop_pct: f64,
    },
    /// PoolFormer: the edges are divided by `crop_pct` before the crop.
    CropPct {
        crop_pct: f64,
    },
    /// LeViT: the shorter edge becomes 256/224 of the configured one.
    Levit,
    /// DPT: every edge a multiple, then padded around the centre to a multiple of `pad_to`.
    MultipleOf {
        keep_aspect_ratio: bool,
        multiple: u32,
        pad_to: Option<u32>,
    },
    /// GLPN: every edge rounded down to a multiple.
    FloorToMultiple {
        divisor: u32,
    },
    /// Perceiver: a centre crop in proportion to the shorter edge, then the resize.
    CropThenResize,
    /// SAM: the longer edge becomes the configured one.
    LongestEdge,
    /// LLaVA: with `do_pad`, the picture is first padded to a square of the mean colour.
    PadToSquare,
    /// DINOv3: resizes floats.
    RescaleThenResize,
    /// MobileViT: never normalized; BGR if `flip`.
    RescaleAndFlip {
        flip: bool,
    },
    /// EfficientNet: `offset` maps to −1…1, `include_top` divides by the deviation again.
    RescaleOffset {
        offset: bool,
        include_top: bool,
    },
    /// Swin2SR: mirrored at the right and the bottom to the next multiple.
    SymmetricPad {
        divisor: u32,
    },
}

/// A processor's settings, all decided.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub class: &'static str,
    pub rule: Rule,
    pub resize: bool,
    pub size: Option<Size>,
    pub resample: Resample,
    pub center_crop: bool,
    /// `(height, width)`.
    pub crop_size: Option<(u32, u32)>,
    pub arithmetic: Arithmetic,
    pub mean: Option<[f64; 3]>,
    pub pad: bool,
    /// `(height, width)`.
    pub pad_size: Option<(u32, u32)>,
}

/// Finds the class that the files name and settles its configuration.
pub(super) fn parse(
    preprocessor_config: &str,
    model_config: Option<&str>,
) -> Result<(&'static Class, Settings), ProcessorError> {
    let json = |file, text: &str| {
        serde_json::from_str::<Value>(text).map_err(|source| ProcessorError::Json { file, source })
    };
    let mut file = json(FILE, preprocessor_config)?;
    // `processor_config.json` holds the image processor's configuration nested.
    if let Some(nested) = file.get_mut("image_processor") {
        file = nested.take();
    }
    let Value::Object(map) = file else {
        return Err(ProcessorError::Field { field: "(file)", reason: "is no JSON object".into() });
    };
    let model = model_config.map(|text| json("config.json", text)).transpose()?;
    let class = class(&map, model.as_ref())?;
    let settings = Fields(map).settle(class)?;
    Ok((class, settings))
}

fn class(
    map: &Map<String, Value>,
    model: Option<&Value>,
) -> Result<&'static Class, ProcessorError> {
    let named = |key: &str| map.get(key).and_then(Value::as_str);
    let in_model = |key: &str| model.and_then(|model| model.get(key)).and_then(Value::as_str);
    let name = named("image_processor_type")
        .or_else(|| named("feature_extractor_type"))
        .or_else(|| in_model("image_processor_type"));
    if let Some(class) = name.and_then(by_name) {
        return Ok(class);
    }
    // A name nobody knows falls back on the model's own processor, as in the reference.
    let model_type = in_model("model_type");
    if let Some(class) = model_type.and_then(by_model_type)
        && name.is_none_or(|name| name == "ImageProcessor" || name == "ImageFeatureExtractor")
    {
        return Ok(class);
    }
    match name.or(model_type) {
        None => Err(ProcessorError::NoType),
        Some(name) => {
            let supported: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
            let supported = supported.join(", ");
            Err(ProcessorError::Unsupported { name: name.to_owned(), supported })
        }
    }
}

/// The configured fields; `null` counts as absent, as in the reference.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn settle(&self, class: &Class) -> Result<Settings, ProcessorError> {
        let default_to_square = self.flag("default_to_square", class.default_to_square)?;
        let max_size = match class.max_size {
            Some(max_size) => Some(self.whole("max_size", Some(max_size))?.unwrap_or(max_size)),
            None => None,
        };
        let rule = self.rule(class)?;
        let size = match (&rule, self.get("size")) {
            (_, None) => class.size,
            (_, Some(size)) => Some(parse_size("size", size, default_to_square, max_size)?),
        };
        let crop_size = match self.get("crop_size") {
            None => class.crop_size,
            Some(size) => Some(exact("crop_size", size)?),
        };
        // Swin2SR's old files call the divisor `pad_size`.
        let pad_size = match self.get("pad_size") {
            Some(size) if !matches!(rule, Rule::SymmetricPad { .. }) => {
                Some(exact("pad_size", size)?)
            }
            _ => class.pad_size,
        };
        let center_crop = self.flag("do_center_crop", class.center_crop)?;
        if center_crop && crop_size.is_none() {
            return Err(field("crop_size", "is missing, but do_center_crop is on"));
        }
        let pad = self.flag("do_pad", self.flag("pad_and_return_pixel_mask", class.pad)?)?;
        let resample = self.resample(class)?;
        let mean = self.per_channel("image_mean", class.mean_std.map(|(mean, _)| mean))?;
        let std = self.per_channel("image_std", class.mean_std.map(|(_, std)| std))?;
        let arithmetic = self.arithmetic(class, &rule, mean, std)?;
        Ok(Settings {
            class: class.name,
            rule,
            resize: self.flag("do_resize", class.resize)?,
            size,
            resample,
            center_crop,
            crop_size,
            arithmetic,
            mean,
            pad,
            pad_size,
        })
    }

    fn arithmetic(
        &self,
        class: &Class,
        rule: &Rule,
        mean: Option<[f64; 3]>,
        std: Option<[f64; 3]>,
    ) -> Result<Arithmetic, ProcessorError> {
        // OWL-ViT's early files say `rescale`.
        let do_rescale = self.flag("do_rescale", self.flag("rescale", true)?)?;
        let factor = self.number("rescale_factor", class.rescale_factor)?;
        if factor <= 0.0 {
            return Err(field("rescale_factor", "must be positive"));
        }
        let never = matches!(rule, Rule::RescaleAndFlip { .. } | Rule::SymmetricPad { .. });
        let do_normalize = self.flag("do_normalize", class.normalize)? && !never;
        let normalize = match (do_normalize, mean, std) {
            (false, ..) => None,
            (true, Some(mean), Some(std)) => Some((mean, std)),
            (true, None, _) => {
                return Err(field("image_mean", "is missing, but do_normalize is on"));
            }
            (true, _, None) => {
                return Err(field("image_std", "is missing, but do_normalize is on"));
            }
        };
        let (offset, std_again) = match rule {
            Rule::RescaleOffset { offset, include_top: true } => (*offset, std),
            Rule::RescaleOffset { offset, include_top: false } => (*offset, None),
            _ => (false, None),
        };
        Ok(Arithmetic { rescale: do_rescale.then_some(factor), normalize, offset, std_again })
    }

    fn rule(&self, class: &Class) -> Result<Rule, ProcessorError> {
        let crop_pct = |default| match self.number("crop_pct", default)? {
            crop_pct if crop_pct > 0.0 => Ok(crop_pct),
            _ => Err(field("crop_pct", "must be positive")),
        };
        Ok(match class.rule.clone() {
            Rule::CropPctOrWarp { crop_pct: default } => {
                Rule::CropPctOrWarp { crop_pct: crop_pct(default)? }
            }
            Rule::CropPct { crop_pct: default } => Rule::CropPct { crop_pct: crop_pct(default)? },
            Rule::MultipleOf { keep_aspect_ratio, multiple, .. } => Rule::MultipleOf {
                keep_aspect_ratio: self.flag("keep_aspect_ratio", keep_aspect_ratio)?,
                multiple: self.whole("ensure_multiple_of", Some(multiple))?.unwrap_or(multiple),
                pad_to: self.whole("size_divisor", None)?,
            },
            Rule::FloorToMultiple { divisor } => Rule::FloorToMultiple {
                divisor: self.whole("size_divisor", Some(divisor))?.unwrap_or(divisor),
            },
            Rule::SymmetricPad { divisor } => {
                let old = match self.get("pad_size") {
                    Some(Value::Number(_)) => self.whole("pad_size", None)?,
                    _ => None,
                };
                let divisor = self.whole("size_divisor", old)?.unwrap_or(divisor);
                Rule::SymmetricPad { divisor }
            }
            Rule::RescaleAndFlip { flip } => {
                Rule::RescaleAndFlip { flip: self.flag("do_flip_channel_order", flip)? }
            }
            Rule::RescaleOffset { offset, include_top } => Rule::RescaleOffset {
                offset: self.flag("rescale_offset", offset)?,
                include_top: self.flag("include_top", include_top)?,
            },
            rule => rule,
        })
    }

    fn resample(&self, class: &Class) -> Result<Resample, ProcessorError> {
        let Some(value) = self.get("resample") else { return Ok(class.resample) };
        value
            .as_u64()
            .and_then(Resample::from_number)
            .ok_or_else(|| field("resample", format!("must be 0 to 5, but is {value}")))
    }

    fn flag(&self, name: &'static str, default: bool) -> Result<bool, ProcessorError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(field(name, format!("must be true or false, but is {other}"))),
        }
    }

    fn number(&self, name: &'static str, default: f64) -> Result<f64, ProcessorError> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .ok_or_else(|| field(name, format!("must be a number, but is {value}"))),
        }
    }

    fn whole(
        &self,
        name: &'static str,
        default: Option<u32>,
    ) -> Result<Option<u32>, ProcessorError> {
        self.get(name).map_or(Ok(default), |value| edge(name, value).map(Some))
    }

    fn per_channel(
        &self,
        name: &'static str,
        default: Option<[f64; 3]>,
    ) -> Result<Option<[f64; 3]>, ProcessorError> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let wrong = || field(name, format!("must be a number or three, but is {value}"));
        if let Some(number) = value.as_f64() {
            return Ok(Some([number; 3]));
        }
        let numbers = value.as_array().ok_or_else(wrong)?;
        let numbers: Vec<f64> = numbers.iter().filter_map(Value::as_f64).collect();
        numbers.try_into().map(Some).map_err(|_| wrong())
    }
}

fn parse_size(
    name: &'static str,
    value: &Value,
    square: bool,
    max_size: Option<u32>,
) -> Result<Size, ProcessorError> {
    if value.is_number() {
        let edge = edge(name, value)?;
        return Ok(match (square, max_size) {
            (true, _) => Size::Exact { height: edge, width: edge },
            (false, None) => Size::Shortest(edge),
            (false, Some(longest)) => Size::ShortestWithin { shortest: edge, longest },
        });
    }
    if let Some(list) = value.as_array() {
        let [height, width] = list.as_slice() else {
            return Err(field(name, format!("must be [height, width], but is {value}")));
        };
        return Ok(Size::Exact { height: edge(name, height)?, width: edge(name, width)? });
    }
    let Some(map) = value.as_object() else {
        return Err(field(name, format!("must be a number, a list or an object, but is {value}")));
    };
    let get =
        |key: &str| map.get(key).filter(|value| !value.is_null()).map(|value| edge(name, value));
    let get = |key: &str| get(key).transpose();
    let edges = (get("height")?, get("width")?, get("shortest_edge")?, get("longest_edge")?);
    match (edges, (get("max_height")?, get("max_width")?)) {
        ((None, None, Some(shortest), Some(longest)), _) => {
            Ok(Size::ShortestWithin { shortest, longest })
        }
        ((None, None, Some(edge), None), _) => Ok(Size::Shortest(edge)),
        ((None, None, None, Some(edge)), _) => Ok(Size::Longest(edge)),
        ((Some(height), Some(width), None, None), _) => Ok(Size::Exact { height, width }),
        ((None, None, None, None), (Some(height), Some(width))) => {
            Ok(Size::Within { height, width })
        }
        _ => Err(field(
            name,
            format!(
                "must have height and width, shortest_edge, longest_edge, or max_height and \
                 max_width, but is {value}"
            ),
        )),
    }
}

fn exact(name: &'static str, value: &Value) -> Result<(u32, u32), ProcessorError> {
    match parse_size(name, value, true, None)? {
        Size::Exact { height, width } => Ok((height, width)),
        // BridgeTower's and old CLIP's files give one edge of a square crop.
        Size::Shortest(edge) => Ok((edge, edge)),
        _ => Err(field(name, format!("must have height and width, but is {value}"))),
    }
}

fn edge(name: &'static str, value: &Value) -> Result<u32, ProcessorError> {
    let edge = value.as_u64().and_then(|edge| u32::try_from(edge).ok()).filter(|&edge| edge > 0);
    edge.ok_or_else(|| field(name, format!("must be a positive whole number, but is {value}")))
}

pub(super) fn field(field: &'static str, reason: impl Into<String>) -> ProcessorError {
    ProcessorError::Field { field, reason: reason.into() }
}
