//! What a repository says about its task. Pure: parsed files in, a task id out.
//!
//! The Hub's tag is the author's word. Without one, what the library's own loader would build decides:
//! `modules.json` is sentence-transformers, `model_index.json` is diffusers, `config.json` is transformers.

mod architectures;
mod pipelines;

use serde_json::Value;

/// Other names of tasks.
const ALIASES: [(&str, &str); 14] = [
    ("conversational", "text-generation"),
    ("chat-completion", "text-generation"),
    ("sentiment-analysis", "text-classification"),
    ("ner", "token-classification"),
    ("embedding", "feature-extraction"),
    ("reranking", "text-ranking"),
    ("image-captioning", "image-to-text"),
    ("inpainting", "image-to-image"),
    ("vqa", "visual-question-answering"),
    ("image-text-to-image", "image-to-image"),
    ("image-text-to-video", "image-to-video"),
    ("keypoint-matching", "keypoint-detection"),
    ("text-to-music", "text-to-audio"),
    ("tts", "text-to-speech"),
];

/// Tasks of models that make one picture of another in one way only.
const ENHANCING: [&str; 2] = ["image-super-resolution", "image-restoration"];

/// The task that a name stands for: itself, unless it is an alias.
pub fn canonical_task(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, task)| task)
}

/// The task of a repository; `None` where nothing says it.
pub fn infer_task(
    config: Option<&Value>,
    has_modules: bool,
    model_index: Option<&Value>,
    pipeline_tag: Option<&str>,
) -> Option<String> {
    let tag = pipeline_tag.map(str::trim).filter(|tag| !matches!(*tag, "" | "other"));
    let task = match (tag, model_index) {
        // What a model that only enlarges is tagged with.
        (Some("image-to-image"), None) => {
            let of_config = config.and_then(architectures::by_config);
            of_config.filter(|task| ENHANCING.contains(task)).unwrap_or("image-to-image")
        }
        // A pipeline that only enlarges is told from those that follow words in the same way.
        (Some(tag @ ("image-to-image" | "text-to-image")), Some(index)) => {
            pipelines::by_pipeline(index).filter(|task| ENHANCING.contains(task)).unwrap_or(tag)
        }
        (Some(tag), _) => canonical_task(tag),
        (None, _) if has_modules => "sentence-similarity",
        (None, Some(index)) => pipelines::by_pipeline(index)?,
        (None, None) => architectures::by_config(config?)?,
    };
    Some(task.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn by_architecture(architecture: &str, model_type: &str) -> Option<String> {
        infer_task(
            Some(&json!({"architectures": [architecture], "model_type": model_type})),
            false,
            None,
            None,
        )
    }

    #[test]
    fn the_hubs_tag_comes_first_under_its_usual_name() {
        let config = json!({"architectures": ["BertForMaskedLM"]});
        let index = json!({"_class_name": "FluxPipeline"});
        let tagged = |tag: &str| infer_task(Some(&config), true, Some(&index), Some(tag)).unwrap();
        assert_eq!(tagged("conversational"), "text-generation");
        assert_eq!(tagged("sentiment-analysis"), "text-classification");
        assert_eq!(tagged("text-to-3d"), "text-to-3d");
        assert_eq!(tagged("other"), "sentence-similarity");
        assert_eq!(tagged(""), "sentence-similarity");
        assert_eq!(infer_task(Some(&config), false, Some(&index), None).unwrap(), "text-to-image");
    }

    #[test]
    fn a_model_that_enlarges_is_told_from_one_that_follows_words() {
        let tagged = |config: Value| {
            infer_task(Some(&config), false, None, Some("image-to-image")).expect("a task")
        };
        let swin2sr = |upscale: u32| {
            tagged(json!({"architectures": ["Swin2SRForImageSuperResolution"], "upscale": upscale}))
        };
        assert_eq!(swin2sr(2), "image-super-resolution");
        assert_eq!(swin2sr(1), "image-restoration");
        assert_eq!(tagged(json!({"model_type": "rrdbnet", "scale": 4})), "image-super-resolution");
        assert_eq!(tagged(json!({"architectures": ["NovelModel"]})), "image-to-image");
        let pipeline = |class: &str| {
            let index = json!({"_class_name": class});
            infer_task(None, false, Some(&index), Some("image-to-image")).expect("a task")
        };
        assert_eq!(pipeline("StableDiffusionUpscalePipeline"), "image-super-resolution");
        assert_eq!(pipeline("StableDiffusionPipeline"), "image-to-image");
    }

    #[test]
    fn a_pipelines_class_tells_its_task() {
        let cases = [
            ("StableDiffusionPipeline", "text-to-image"),
            ("StableDiffusionXLImg2ImgPipeline", "image-to-image"),
            ("StableDiffusionInpaintPipeline", "image-to-image"),
            ("StableDiffusionUpscalePipeline", "image-super-resolution"),
            ("FluxKontextPipeline", "image-to-image"),
            ("QwenImageEditPlusPipeline", "image-to-image"),
            ("DDPMPipeline", "unconditional-image-generation"),
            ("WanImageToVideoPipeline", "image-to-video"),
            ("WanPipeline", "text-to-video"),
            ("TextToVideoSDPipeline", "text-to-video"),
            ("StableVideoDiffusionPipeline", "image-to-video"),
            ("ShapEImg2ImgPipeline", "image-to-3d"),
            ("AudioLDM2Pipeline", "text-to-audio"),
        ];
        for (class, task) in cases {
            let index = json!({"_class_name": class});
            assert_eq!(
                infer_task(None, false, Some(&index), None).as_deref(),
                Some(task),
                "{class}"
            );
        }
        for unknown in
            [json!({"_class_name": "NovelPipeline"}), json!({"_class_name": 3}), json!([])]
        {
            assert_eq!(infer_task(None, false, Some(&unknown), None), None);
        }
    }

    #[test]
    fn an_architecture_tells_its_task() {
        let cases = [
            ("GPT2LMHeadModel", "gpt2", "text-generation"),
            ("LlamaForCausalLM", "llama", "text-generation"),
            ("BertModel", "bert", "feature-extraction"),
            ("BertForMaskedLM", "bert", "fill-mask"),
            ("BertForSequenceClassification", "bert", "text-classification"),
            ("BertForTokenClassification", "bert", "token-classification"),
            ("RobertaForQuestionAnswering", "roberta", "question-answering"),
            ("TapasForQuestionAnswering", "tapas", "table-question-answering"),
            ("ViltForQuestionAnswering", "vilt", "visual-question-answering"),
            ("LayoutLMForQuestionAnswering", "layoutlm", "document-question-answering"),
            ("Wav2Vec2ForSequenceClassification", "wav2vec2", "audio-classification"),
            ("Wav2Vec2ForCTC", "wav2vec2", "automatic-speech-recognition"),
            ("ViTForImageClassification", "vit", "image-classification"),
            ("ViTModel", "vit", "image-feature-extraction"),
            ("Dinov2Model", "dinov2", "image-feature-extraction"),
            ("CLIPModel", "clip", "zero-shot-image-classification"),
            ("T5ForConditionalGeneration", "t5", "text2text-generation"),
            ("BartForConditionalGeneration", "bart", "text2text-generation"),
            ("MarianMTModel", "marian", "translation"),
            ("WhisperForConditionalGeneration", "whisper", "automatic-speech-recognition"),
            ("BlipForConditionalGeneration", "blip", "image-to-text"),
            ("VisionEncoderDecoderModel", "vision-encoder-decoder", "image-to-text"),
            ("DetrForObjectDetection", "detr", "object-detection"),
            ("OwlViTForObjectDetection", "owlvit", "zero-shot-object-detection"),
            ("SegformerForSemanticSegmentation", "segformer", "image-segmentation"),
            ("SamModel", "sam", "mask-generation"),
            ("VitsModel", "vits", "text-to-speech"),
            ("MusicgenForConditionalGeneration", "musicgen", "text-to-audio"),
            ("FlaubertWithLMHeadModel", "flaubert", "fill-mask"),
        ];
        for (architecture, model_type, task) in cases {
            assert_eq!(
                by_architecture(architecture, model_type).as_deref(),
                Some(task),
                "{architecture}"
            );
        }
        assert_eq!(by_architecture("Unheard", "of"), None);
    }

    #[test]
    fn what_conditions_a_decoder_is_in_its_configuration() {
        let task = |config: Value| infer_task(Some(&config), false, None, None).unwrap();
        let architectures = json!(["NewForConditionalGeneration"]);
        let picture =
            json!({"architectures": architectures, "model_type": "new", "vision_config": {}});
        assert_eq!(task(picture), "image-text-to-text");
        let sound =
            json!({"architectures": architectures, "model_type": "new", "audio_config": {}});
        assert_eq!(task(sound), "audio-text-to-text");
        assert_eq!(
            task(json!({"architectures": architectures, "model_type": "new"})),
            "text2text-generation"
        );
        let causal = json!({"architectures": ["NewForCausalLM"], "vision_config": {}});
        assert_eq!(task(causal), "image-text-to-text");
    }

    #[test]
    fn nothing_is_inferred_from_nothing() {
        assert_eq!(infer_task(None, false, None, None), None);
        for config in [
            json!({}),
            json!([]),
            json!({"architectures": []}),
            json!({"architectures": [3]}),
            json!(null),
        ] {
            assert_eq!(infer_task(Some(&config), false, None, None), None, "{config}");
        }
    }
}
