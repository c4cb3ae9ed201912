//! The image processors of the reference, one entry per class: what it does where the repository's
//! configuration is silent, for which models it is the default, and which backend runs it.
//!
//! Reference: `image_processing_*.py` of each model and `models/auto/image_processing_auto.py` of
//! transformers 5.23 with torchvision 0.26. There `AutoImageProcessor` takes torchvision, except for
//! the classes that resample with Lanczos, which torchvision has only from 0.27 on.

use super::{
    Backend, Resample,
    processor_config::{Rule, Size},
};

/// A processor class by its name without the `ImageProcessor` at its end.
pub(super) struct Class {
    pub name: &'static str,
    /// `model_type`s that take this class where nothing names one.
    pub model_types: &'static [&'static str],
    pub backend: Backend,
    pub rule: Rule,
    pub resize: bool,
    pub size: Option<Size>,
    /// Whether a bare number for `size` means a square or the shorter edge.
    pub default_to_square: bool,
    /// The longer edge that belongs to a bare number for `size` (DETR's old `max_size`).
    pub max_size: Option<u32>,
    pub resample: Resample,
    pub center_crop: bool,
    /// `(height, width)`.
    pub crop_size: Option<(u32, u32)>,
    pub rescale_factor: f64,
    pub normalize: bool,
    pub mean_std: Option<([f64; 3], [f64; 3])>,
    pub pad: bool,
    /// `(height, width)`.
    pub pad_size: Option<(u32, u32)>,
}

const HALVES: ([f64; 3], [f64; 3]) = ([0.5; 3], [0.5; 3]);
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const OPENAI: ([f64; 3], [f64; 3]) =
    ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]);

const fn square(edge: u32) -> Option<Size> {
    Some(Size::Exact { height: edge, width: edge })
}

/// What most classes have in common.
const COMMON: Class = Class {
    name: "",
    model_types: &[],
    backend: Backend::Torchvision,
    rule: Rule::Plain,
    resize: true,
    size: square(224),
    default_to_square: true,
    max_size: None,
    resample: Resample::Bicubic,
    center_crop: false,
    crop_size: None,
    rescale_factor: 1.0 / 255.0,
    normalize: true,
    mean_std: Some(HALVES),
    pad: false,
    pad_size: None,
};

/// The shorter edge to 224, the centre of it, OpenAI's colours.
const CLIP: Class = Class {
    size: Some(Size::Shortest(224)),
    default_to_square: false,
    center_crop: true,
    crop_size: Some((224, 224)),
    mean_std: Some(OPENAI),
    ..COMMON
};

const DETR: Class = Class {
    size: Some(Size::ShortestWithin { shortest: 800, longest: 1333 }),
    default_to_square: false,
    max_size: Some(1333),
    resample: Resample::Bilinear,
    mean_std: Some(IMAGENET),
    pad: true,
    ..COMMON
};

const MOBILENET: Class = Class {
    size: Some(Size::Shortest(256)),
    default_to_square: false,
    resample: Resample::Bilinear,
    center_crop: true,
    crop_size: Some((224, 224)),
    ..COMMON
};

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "Beit",
        model_types: &["beit", "data2vec-vision"],
        crop_size: Some((224, 224)),
        ..COMMON
    },
    Class { name: "Bit", model_types: &["bit", "dinov2", "focalnet", "hiera", "pixio"], ..CLIP },
    Class {
        name: "Blip",
        model_types: &["blip", "blip-2", "instructblip"],
        size: square(384),
        mean_std: Some(OPENAI),
        ..COMMON
    },
    Class {
        name: "CLIP",
        model_types: &[
            "clip",
            "aimv2",
            "aimv2_vision_model",
            "altclip",
            "florence2",
            "git",
            "groupvit",
            "kosmos-2",
            "metaclip_2",
            "mlcd",
            "vipllava",
            "xclip",
        ],
        ..CLIP
    },
    Class {
        name: "Chameleon",
        model_types: &["chameleon"],
        backend: Backend::Pillow,
        size: Some(Size::Shortest(512)),
        resample: Resample::Lanczos,
        crop_size: Some((512, 512)),
        rescale_factor: 0.0078,
        mean_std: Some(([1.0; 3], [1.0; 3])),
        ..CLIP
    },
    Class { name: "ChineseCLIP", model_types: &["chinese_clip"], ..CLIP },
    Class { name: "ConditionalDetr", model_types: &["conditional_detr"], ..DETR },
    Class {
        name: "ConvNext",
        model_types: &["convnext", "convnextv2", "cvt", "regnet", "resnet"],
        rule: Rule::CropPctOrWarp { crop_pct: 224.0 / 256.0 },
        size: Some(Size::Shortest(384)),
        default_to_square: false,
        ..COMMON
    },
    Class {
        name: "DINOv3ViT",
        model_types: &["dinov3_vit"],
        rule: Rule::RescaleThenResize,
        resample: Resample::Bilinear,
        mean_std: Some(IMAGENET),
        ..COMMON
    },
    Class {
        name: "DPT",
        model_types: &["dpt", "depth_anything"],
        rule: Rule::MultipleOf { keep_aspect_ratio: false, multiple: 1, pad_to: None },
        size: square(384),
        ..COMMON
    },
    Class { name: "DeformableDetr", model_types: &["deformable_detr", "lw_detr"], ..DETR },
    Class {
        name: "DeiT",
        model_types: &["deit"],
        size: square(256),
        center_crop: true,
        crop_size: Some((224, 224)),
        ..COMMON
    },
    Class { name: "Detr", model_types: &["detr", "omdet-turbo", "table-transformer"], ..DETR },
    Class {
        name: "EfficientNet",
        model_types: &["efficientnet", "align"],
        rule: Rule::RescaleOffset { offset: false, include_top: true },
        size: square(346),
        crop_size: Some((289, 289)),
        ..COMMON
    },
    Class {
        name: "Flava",
        model_types: &["flava"],
        backend: Backend::Pillow,
        center_crop: true,
        crop_size: Some((224, 224)),
        mean_std: Some(OPENAI),
        ..COMMON
    },
    Class {
        name: "GLPN",
        model_types: &["glpn"],
        rule: Rule::FloorToMultiple { divisor: 32 },
        size: None,
        resample: Resample::Bilinear,
        normalize: false,
        mean_std: None,
        ..COMMON
    },
    Class { name: "GroundingDino", model_types: &["grounding-dino", "mm-grounding-dino"], ..DETR },
    Class {
        name: "Levit",
        model_types: &["levit"],
        rule: Rule::Levit,
        mean_std: Some(IMAGENET),
        ..CLIP
    },
    Class { name: "Llava", model_types: &["llava"], rule: Rule::PadToSquare, ..CLIP },
    Class { name: "MobileNetV1", model_types: &["mobilenet_v1"], ..MOBILENET },
    Class { name: "MobileNetV2", model_types: &["mobilenet_v2"], ..MOBILENET },
    Class {
        name: "MobileViT",
        model_types: &["mobilevit", "mobilevitv2"],
        rule: Rule::RescaleAndFlip { flip: true },
        size: Some(Size::Shortest(224)),
        default_to_square: false,
        center_crop: true,
        crop_size: Some((256, 256)),
        normalize: false,
        ..COMMON
    },
    Class {
        name: "OwlViT",
        model_types: &["owlvit"],
        size: square(768),
        crop_size: Some((768, 768)),
        mean_std: Some(OPENAI),
        ..COMMON
    },
    Class {
        name: "PI0",
        model_types: &["pi0"],
        size: Some(Size::Within { height: 224, width: 224 }),
        default_to_square: false,
        pad: true,
        pad_size: Some((224, 224)),
        ..COMMON
    },
    Class {
        name: "PPChart2Table",
        model_types: &["pp_chart2table"],
        size: square(1024),
        mean_std: Some(OPENAI),
        ..COMMON
    },
    Class {
        name: "Perceiver",
        model_types: &["perceiver"],
        rule: Rule::CropThenResize,
        center_crop: true,
        crop_size: Some((256, 256)),
        mean_std: Some(IMAGENET),
        ..COMMON
    },
    Class {
        name: "PoolFormer",
        model_types: &["poolformer"],
        rule: Rule::CropPct { crop_pct: 0.9 },
        mean_std: Some(IMAGENET),
        ..CLIP
    },
    Class { name: "Pvt", model_types: &["pvt", "pvt_v2"], mean_std: Some(IMAGENET), ..COMMON },
    Class {
        name: "RTDetr",
        model_types: &["rt_detr", "deimv2"],
        size: square(640),
        max_size: None,
        normalize: false,
        pad: false,
        ..DETR
    },
    Class {
        name: "Sam",
        model_types: &["sam", "sam_hq"],
        rule: Rule::LongestEdge,
        size: Some(Size::Longest(1024)),
        resample: Resample::Bilinear,
        mean_std: Some(IMAGENET),
        pad: true,
        pad_size: Some((1024, 1024)),
        ..COMMON
    },
    Class {
        name: "Sam2",
        model_types: &["sam2", "edgetam", "sam2_video"],
        size: square(1024),
        resample: Resample::Bilinear,
        mean_std: Some(IMAGENET),
        ..COMMON
    },
    Class {
        name: "Segformer",
        model_types: &["segformer", "upernet"],
        size: square(512),
        resample: Resample::Bilinear,
        mean_std: Some(IMAGENET),
        ..COMMON
    },
    Class {
        name: "Siglip",
        model_types: &["siglip", "colpali", "gemma3n", "paligemma"],
        default_to_square: false,
        ..COMMON
    },
    Class {
        name: "Swin2SR",
        model_types: &["swin2sr"],
        rule: Rule::SymmetricPad { divisor: 8 },
        resize: false,
        size: None,
        normalize: false,
        mean_std: None,
        pad: true,
        ..COMMON
    },
    Class {
        name: "ViT",
        model_types: &[
            "vit",
            "clipseg",
            "dinat",
            "ijepa",
            "mgp-str",
            "swiftformer",
            "swin",
            "swinv2",
            "trocr",
            "vit_mae",
            "vit_msn",
        ],
        resample: Resample::Bilinear,
        ..COMMON
    },
];

/// The class of a configured name such as `ViTImageProcessorFast` or `ViTFeatureExtractor`.
pub(super) fn by_name(name: &str) -> Option<&'static Class> {
    let name = name.strip_suffix("Fast").unwrap_or(name);
    let name = name.strip_suffix("Pil").unwrap_or(name);
    let name =
        name.strip_suffix("ImageProcessor").or_else(|| name.strip_suffix("FeatureExtractor"))?;
    CLASSES.iter().find(|class| class.name == name)
}

/// The class that a model takes whose repository names none.
pub(super) fn by_model_type(model_type: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|class| class.model_types.contains(&model_type))
}
