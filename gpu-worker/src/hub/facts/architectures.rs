//! The task of a `transformers` model, by the class and the type that its `config.json` names.

use serde_json::Value;

/// Endings of `architectures[0]` that tell the task by themselves; the first that fits counts.
const BY_ENDING: [(&str, &str); 38] = [
    ("WithLMHeadModel", "fill-mask"),
    ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"),
    ("ForSequenceClassification", "text-classification"),
    ("ForTokenClassification", "token-classification"),
    ("ForTableQuestionAnswering", "table-question-answering"),
    ("ForVisualQuestionAnswering", "visual-question-answering"),
    ("ForDocumentQuestionAnswering", "document-question-answering"),
    ("ForQuestionAnsweringSimple", "question-answering"),
    ("ForQuestionAnswering", "question-answering"),
    ("ForMaskedLM", "fill-mask"),
    ("ForVideoClassification", "video-classification"),
    ("ForAudioClassification", "audio-classification"),
    ("ForAudioFrameClassification", "voice-activity-detection"),
    ("ForImageClassificationWithTeacher", "image-classification"),
    ("ForImageClassification", "image-classification"),
    ("ForZeroShotImageClassification", "zero-shot-image-classification"),
    ("ForZeroShotObjectDetection", "zero-shot-object-detection"),
    ("ForObjectDetection", "object-detection"),
    ("ForSemanticSegmentation", "image-segmentation"),
    ("ForInstanceSegmentation", "image-segmentation"),
    ("ForUniversalSegmentation", "image-segmentation"),
    ("ForImageSegmentation", "image-segmentation"),
    ("ForSegmentation", "image-segmentation"),
    ("ForDepthEstimation", "depth-estimation"),
    ("ForKeypointDetection", "keypoint-detection"),
    ("ForKeypointMatching", "keypoint-detection"),
    ("ForPoseEstimation", "keypoint-detection"),
    ("ForMaskGeneration", "mask-generation"),
    ("ForImageSuperResolution", "image-super-resolution"),
    ("ForImageToImage", "image-to-image"),
    ("ForCTC", "automatic-speech-recognition"),
    ("ForTDT", "automatic-speech-recognition"),
    ("ForRNNT", "automatic-speech-recognition"),
    ("ForSpeechToText", "automatic-speech-recognition"),
    ("ForTextToSpeech", "text-to-speech"),
    ("ForPrediction", "time-series-forecasting"),
    ("ForRetrieval", "visual-document-retrieval"),
];

/// Model types whose architecture's name does not tell, or tells something else.
const BY_MODEL_TYPE: [(&str, &str); 67] = [
    ("whisper", "automatic-speech-recognition"),
    ("speech_to_text", "automatic-speech-recognition"),
    ("speech-encoder-decoder", "automatic-speech-recognition"),
    ("moonshine", "automatic-speech-recognition"),
    ("kyutai_speech_to_text", "automatic-speech-recognition"),
    ("marian", "translation"),
    ("m2m_100", "translation"),
    ("nllb-moe", "translation"),
    ("fsmt", "translation"),
    ("pegasus", "summarization"),
    ("pegasus_x", "summarization"),
    ("bigbird_pegasus", "summarization"),
    ("blip", "image-to-text"),
    ("git", "image-to-text"),
    ("pix2struct", "image-to-text"),
    ("vision-encoder-decoder", "image-to-text"),
    ("blip-2", "image-text-to-text"),
    ("instructblip", "image-text-to-text"),
    ("kosmos-2", "image-text-to-text"),
    ("florence2", "image-text-to-text"),
    ("udop", "document-question-answering"),
    ("video_llava", "video-text-to-text"),
    ("llava_next_video", "video-text-to-text"),
    ("instructblipvideo", "video-text-to-text"),
    ("qwen2_audio", "audio-text-to-text"),
    ("voxtral", "audio-text-to-text"),
    ("granite_speech", "audio-text-to-text"),
    ("audioflamingo3", "audio-text-to-text"),
    ("janus", "any-to-any"),
    ("qwen2_5_omni", "any-to-any"),
    ("qwen3_omni_moe", "any-to-any"),
    ("musicgen", "text-to-audio"),
    ("musicgen_melody", "text-to-audio"),
    ("bark", "text-to-speech"),
    ("vits", "text-to-speech"),
    ("csm", "text-to-speech"),
    ("dia", "text-to-speech"),
    ("fastspeech2_conformer", "text-to-speech"),
    ("fastspeech2_conformer_with_hifigan", "text-to-speech"),
    ("encodec", "audio-to-audio"),
    ("dac", "audio-to-audio"),
    ("mimi", "audio-to-audio"),
    ("clip", "zero-shot-image-classification"),
    ("siglip", "zero-shot-image-classification"),
    ("siglip2", "zero-shot-image-classification"),
    ("align", "zero-shot-image-classification"),
    ("altclip", "zero-shot-image-classification"),
    ("chinese_clip", "zero-shot-image-classification"),
    ("metaclip_2", "zero-shot-image-classification"),
    ("clap", "zero-shot-audio-classification"),
    ("sam", "mask-generation"),
    ("sam2", "mask-generation"),
    ("sam_hq", "mask-generation"),
    ("sam3_video", "mask-generation"),
    ("chronos", "time-series-forecasting"),
    ("timesfm", "time-series-forecasting"),
    ("timesfm2_5", "time-series-forecasting"),
    ("clipseg", "image-segmentation"),
    ("vitpose", "keypoint-detection"),
    ("superpoint", "keypoint-detection"),
    ("owlvit", "zero-shot-object-detection"),
    ("owlv2", "zero-shot-object-detection"),
    ("grounding-dino", "zero-shot-object-detection"),
    ("vit", "image-feature-extraction"),
    ("dinov2", "image-feature-extraction"),
    ("speecht5", "text-to-speech"),
    ("rrdbnet", "image-super-resolution"),
];

/// Types whose pretraining head fills masks (and does something else besides).
const MASKED_PRETRAINING: [&str; 6] =
    ["albert", "bert", "big_bird", "fnet", "megatron-bert", "mobilebert"];

/// Picture models besides those above whose plain architecture yields features.
const PICTURE_TYPES: [&str; 14] = [
    "beit",
    "convnext",
    "convnextv2",
    "data2vec-vision",
    "deit",
    "dinov2_with_registers",
    "dinov3_convnext",
    "dinov3_vit",
    "hiera",
    "ijepa",
    "resnet",
    "swin",
    "swinv2",
    "vit_mae",
];

pub(super) fn by_config(config: &Value) -> Option<&'static str> {
    match by_names(config) {
        // One that does not enlarge repairs.
        Some("image-super-resolution") if keeps_size(config) => Some("image-restoration"),
        task => task,
    }
}

fn keeps_size(config: &Value) -> bool {
    ["upscale", "scale"].iter().find_map(|name| config.get(*name)?.as_u64()) == Some(1)
}

fn by_names(config: &Value) -> Option<&'static str> {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let by_type =
        || BY_MODEL_TYPE.iter().find(|(name, _)| *name == model_type).map(|(_, task)| *task);
    let Some(architecture) =
        config.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str)
    else {
        return by_type();
    };
    // The same ending means another task for sound and for pairs of text and picture.
    let sound = [
        "wav2vec2",
        "hubert",
        "wavlm",
        "unispeech",
        "sew",
        "whisper",
        "data2vec-audio",
        "audio-spectrogram",
    ];
    if architecture.ends_with("ForSequenceClassification")
        && sound.iter().any(|name| model_type.starts_with(name))
    {
        return Some("audio-classification");
    }
    if architecture.ends_with("ForQuestionAnswering") {
        match model_type {
            "vilt" | "blip" | "lxmert" => return Some("visual-question-answering"),
            "layoutlm" | "layoutlmv2" | "layoutlmv3" => return Some("document-question-answering"),
            "tapas" => return Some("table-question-answering"),
            _ => {}
        }
    }
    if architecture.ends_with("ForObjectDetection")
        && by_type() == Some("zero-shot-object-detection")
    {
        return by_type();
    }
    if architecture.ends_with("ForPreTraining") && MASKED_PRETRAINING.contains(&model_type) {
        return Some("fill-mask");
    }
    if let Some((_, task)) = BY_ENDING.iter().find(|(ending, _)| architecture.ends_with(ending)) {
        let by_causal_head = *task == "text-generation";
        let multimodal =
            config.get("vision_config").is_some() || config.get("audio_config").is_some();
        return if by_causal_head && (multimodal || model_type == "git") {
            conditional(config, by_type())
        } else {
            Some(task)
        };
    }
    if architecture.ends_with("ForConditionalGeneration")
        || architecture.ends_with("EncoderDecoderModel")
    {
        return conditional(config, by_type());
    }
    if architecture.ends_with("MTModel") || architecture.ends_with("ForSpeechToSpeech") {
        return by_type();
    }
    by_type().or_else(|| plain(architecture, model_type))
}

/// A decoder with a condition: what the condition is, the configuration shows.
fn conditional(config: &Value, by_type: Option<&'static str>) -> Option<&'static str> {
    if by_type.is_some() {
        return by_type;
    }
    let has = |part: &str| config.get(part).is_some_and(Value::is_object);
    match (has("vision_config"), has("audio_config")) {
        (true, true) => Some("any-to-any"),
        (true, false) => Some("image-text-to-text"),
        (false, true) => Some("audio-text-to-text"),
        (false, false) => Some("text2text-generation"),
    }
}

/// An architecture without a head yields features.
fn plain(architecture: &str, model_type: &str) -> Option<&'static str> {
    if PICTURE_TYPES.contains(&model_type) {
        Some("image-feature-extraction")
    } else if architecture.ends_with("Model") {
        Some("feature-extraction")
    } else {
        None
    }
}
