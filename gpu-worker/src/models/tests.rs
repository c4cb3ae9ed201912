//! The table of architectures: what they refuse, and that each is there once.

use std::collections::HashMap;

use super::*;
use crate::weights::Checkpoint;

fn refusal(model_type: &str, kind: ModelKind, config: &str) -> String {
    let checkpoint = Checkpoint::from_tensors(HashMap::new());
    let architecture = find(model_type).unwrap();
    match architecture.load(config, kind, &checkpoint.root()) {
        Ok(_) => panic!("{model_type} with {config} was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_an_architecture_cannot_do_is_refused_by_name() {
    use ModelKind::{
        CausalLm, ImageClassifier, ImageEnhancer, ImageGenerator, MaskedLm, QuestionAnswerer,
        Seq2SeqLm, SequenceClassifier, TableAnswerer, TextEncoder,
    };
    for (model_type, kind, config, expected) in [
        ("bert", CausalLm, "{}", "bert cannot be loaded as a causal language model"),
        (
            "bert",
            TextEncoder,
            r#"{"position_embedding_type": "relative_key"}"#,
            "position_embedding_type",
        ),
        ("bert", TextEncoder, r#"{"hidden_act": "prelu"}"#, "\"prelu\" is not supported"),
        ("bert", TextEncoder, r#"{"is_decoder": true}"#, "is_decoder = true"),
        ("bert", TextEncoder, r#"{"num_attention_heads": 7}"#, "num_attention_heads = 7"),
        ("bert", TextEncoder, r#"{"num_hidden_layers": 5000}"#, "num_hidden_layers = 5000"),
        ("nomic_bert", TextEncoder, r#"{"n_layer": 5000}"#, "num_hidden_layers = 5000"),
        ("gte", TextEncoder, r#"{"head_dim": 4000000000}"#, "head_dim = 48000000000"),
        ("bert", QuestionAnswerer, r#"{"num_labels": 3}"#, "id2label = 3 labels"),
        ("bert", SequenceClassifier, r#"{"id2label": {}}"#, "id2label = 0"),
        ("roberta", TextEncoder, r#"{"pad_token_id": 511}"#, "pad_token_id = 511"),
        ("xlm-roberta", MaskedLm, r#"{"type_vocab_size": 0}"#, "type_vocab_size = 0"),
        ("camembert", TextEncoder, r#"{"is_decoder": true}"#, "is_decoder = true"),
        ("distilbert", TextEncoder, r#"{"n_heads": 5}"#, "n_heads = 5"),
        ("distilbert", TextEncoder, r#"{"activation": "snake"}"#, "\"snake\" is not supported"),
        (
            "electra",
            MaskedLm,
            r#"{"position_embedding_type": "relative_key_query"}"#,
            "position_embedding_type = relative_key_query",
        ),
        ("albert", TextEncoder, r#"{"num_hidden_groups": 0}"#, "num_hidden_groups = 0"),
        ("albert", TextEncoder, r#"{"inner_group_num": 100000}"#, "inner_group_num = 100000"),
        (
            "mpnet",
            TextEncoder,
            r#"{"relative_attention_num_buckets": 64}"#,
            "relative_attention_num_buckets = 64",
        ),
        ("deberta-v2", TextEncoder, r#"{"conv_kernel_size": 4}"#, "conv_kernel_size = 4"),
        ("deberta-v2", TextEncoder, r#"{"attention_head_size": 9}"#, "attention_head_size = 9"),
        (
            "deberta-v2",
            TextEncoder,
            r#"{"relative_attention": true, "position_buckets": 2048}"#,
            "max_relative_positions = -513",
        ),
        (
            "deberta-v2",
            MaskedLm,
            r#"{"embedding_size": 128, "legacy": false}"#,
            "embedding_size = 128",
        ),
        (
            "modernbert",
            TextEncoder,
            r#"{"layer_types": ["chunked_attention"]}"#,
            "chunked_attention",
        ),
        ("modernbert", TextEncoder, r#"{"layer_types": []}"#, "layer_types = a list of 0"),
        ("modernbert", SequenceClassifier, r#"{"classifier_pooling": "max"}"#, "`max`"),
        ("modernbert", TextEncoder, r#"{"rope_scaling": {"factor": 2}}"#, "rope_scaling = {"),
        ("nomic_bert", TextEncoder, r#"{"moe_every_n_layers": 2}"#, "moe_every_n_layers = 2"),
        ("nomic_bert", TextEncoder, r#"{"prenorm": true}"#, "prenorm = true"),
        ("nomic_bert", QuestionAnswerer, "{}", "cannot be loaded as a question answerer"),
        (
            "gte",
            TextEncoder,
            r#"{"rope_scaling": {"type": "ntk", "factor": 8.0}}"#,
            "rope_type \"ntk\" is not supported",
        ),
        ("new", TextEncoder, r#"{"logn_attention_scale": true}"#, "logn_attention_scale = true"),
        ("new", TextEncoder, r#"{"layer_norm_type": "rms_norm"}"#, "layer_norm_type = rms_norm"),
        (
            "new",
            TextEncoder,
            r#"{"rope_scaling": {"type": "ntk", "factor": 8.0, "mixed_b": 0.6}}"#,
            "rope_scaling.mixed_b = 0.6",
        ),
        ("new", TextEncoder, r#"{"rope_scaling": {"type": "ntk"}}"#, "rope_scaling.factor = null"),
        (
            "gte",
            TextEncoder,
            r#"{"rope_scaling": {"type": "dynamic", "factor": 8.0}}"#,
            "rope_type = one that depends on the text's length",
        ),
        ("gpt2", CausalLm, r#"{"add_cross_attention": true}"#, "add_cross_attention = true"),
        ("gpt2", CausalLm, r#"{"n_layer": -1}"#, "n_layer = -1"),
        (
            "llama",
            CausalLm,
            r#"{"rope_scaling": {"rope_type": "mrope"}}"#,
            "rope_type \"mrope\" is not supported",
        ),
        ("llama", CausalLm, r#"{"partial_rotary_factor": 0.5}"#, "partial_rotary_factor = 0.5"),
        ("llama", CausalLm, r#"{"num_hidden_layers": 4097}"#, "num_hidden_layers = 4097"),
        ("gemma", CausalLm, r#"{"use_bidirectional_attention": true}"#, "use_bidirectional"),
        ("gemma2", CausalLm, r#"{"attn_logit_softcapping": 0}"#, "attn_logit_softcapping = 0"),
        ("gemma2", CausalLm, r#"{"sliding_window": null}"#, "without a window"),
        ("gemma3_text", CausalLm, r#"{"sliding_window_pattern": 0}"#, "sliding_window_pattern"),
        (
            "gemma3_text",
            CausalLm,
            r#"{"rope_parameters": {"rope_type": "default"}}"#,
            "rope_parameters = one for all kinds of layers",
        ),
        ("gpt_neox", CausalLm, r#"{"rotary_pct": 0.001}"#, "of which 0 values turn"),
        ("gpt_neox", CausalLm, r#"{"hidden_act": "snake"}"#, "\"snake\" is not supported"),
        ("mixtral", CausalLm, r#"{"num_experts_per_tok": 9}"#, "num_experts_per_tok = 9"),
        ("mixtral", CausalLm, r#"{"num_local_experts": 0}"#, "num_local_experts = 0"),
        ("qwen2_moe", CausalLm, r#"{"decoder_sparse_step": 0}"#, "decoder_sparse_step = 0"),
        (
            "qwen2_moe",
            CausalLm,
            r#"{"shared_expert_intermediate_size": 0}"#,
            "shared_expert_intermediate_size = 0",
        ),
        ("qwen3_moe", CausalLm, r#"{"num_experts": 100000}"#, "num_experts = 100000"),
        ("olmo2", CausalLm, r#"{"num_key_value_heads": 5}"#, "num_key_value_heads = 5"),
        ("opt", CausalLm, r#"{"word_embed_proj_dim": 0}"#, "word_embed_proj_dim = 0"),
        (
            "phi3",
            CausalLm,
            r#"{"rope_scaling": {"type": "linear", "factor": 2}}"#,
            "rope_type \"linear\" is not supported",
        ),
        (
            "phi3",
            CausalLm,
            r#"{"rope_scaling": {"type": "su", "short_factor": [1], "long_factor": [1]}}"#,
            "short_factor = a list of 1",
        ),
        ("smollm3", CausalLm, r#"{"no_rope_layers": [1]}"#, "no_rope_layers = a list of 1"),
        ("smollm3", CausalLm, r#"{"no_rope_layer_interval": 0}"#, "no_rope_layer_interval = 0"),
        (
            "llama",
            CausalLm,
            r#"{"quantization_config": {"quant_method": "gptq"}}"#,
            "quantization_config = gptq",
        ),
        ("qwen3", CausalLm, r#"{"layer_types": ["linear_attention"]}"#, "layer_types"),
        ("bart", Seq2SeqLm, r#"{"is_encoder_decoder": false}"#, "is_encoder_decoder = false"),
        ("bart", Seq2SeqLm, r#"{"encoder_attention_heads": 7}"#, "encoder_attention_heads = 7"),
        ("bart", CausalLm, "{}", "bart cannot be loaded as a causal language model"),
        ("mbart", Seq2SeqLm, r#"{"decoder_ffn_dim": 0}"#, "decoder_ffn_dim = 0"),
        ("mvp", Seq2SeqLm, r#"{"use_prompt": true}"#, "use_prompt = true"),
        ("bart", SequenceClassifier, r#"{"eos_token_id": -1}"#, "eos_token_id = -1"),
        ("pegasus", Seq2SeqLm, r#"{"is_decoder": true}"#, "is_decoder = true"),
        (
            "marian",
            Seq2SeqLm,
            r#"{"max_position_embeddings": 1000000000}"#,
            "max_position_embeddings = 1000000000",
        ),
        ("m2m_100", Seq2SeqLm, r#"{"pad_token_id": null}"#, "pad_token_id = null"),
        ("m2m_100", Seq2SeqLm, r#"{"pad_token_id": -1}"#, "pad_token_id = -1"),
        ("swin2sr", ImageClassifier, "{}", "swin2sr cannot be loaded as a image classifier"),
        ("swin2sr", ImageEnhancer, r#"{"patch_size": 2}"#, "patch_size = [2, 2]"),
        ("swin2sr", ImageEnhancer, r#"{"num_channels": 4}"#, "num_channels = 4"),
        ("swin2sr", ImageEnhancer, r#"{"num_channels_out": 1}"#, "num_channels_out"),
        ("swin2sr", ImageEnhancer, r#"{"use_absolute_embeddings": true}"#, "use_absolute"),
        ("swin2sr", ImageEnhancer, r#"{"window_size": 65}"#, "window_size = 65"),
        ("swin2sr", ImageEnhancer, r#"{"img_range": 0}"#, "img_range = 0"),
        ("swin2sr", ImageEnhancer, r#"{"depths": [2]}"#, "num_heads = a list of 6"),
        ("swin2sr", ImageEnhancer, r#"{"depths": [2], "num_heads": [7]}"#, "num_heads = 7"),
        ("swin2sr", ImageEnhancer, r#"{"depths": [900], "num_heads": [6]}"#, "depths = [900]"),
        ("swin2sr", ImageEnhancer, r#"{"resi_connection": "2conv"}"#, "resi_connection = 2conv"),
        ("swin2sr", ImageEnhancer, r#"{"upscale": 5}"#, "upscale = 5 with the upsampler pixels"),
        ("swin2sr", ImageEnhancer, r#"{"upsampler": "bilinear"}"#, "upsampler = bilinear"),
        ("swin2sr", ImageEnhancer, r#"{"upsampler": "nearest+conv"}"#, "upscale = 2 with"),
        ("swin2sr", ImageEnhancer, r#"{"upsampler": null}"#, "upscale = 2 with the upsampler none"),
        ("rrdbnet", ImageEnhancer, "{}", "missing field"),
        (
            "rrdbnet",
            ImageEnhancer,
            r#"{"model_type": "rrdbnet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 23,
                "num_grow_ch": 32, "scale": 3}"#,
            "scale = 3",
        ),
        (
            "t5",
            Seq2SeqLm,
            r#"{"feed_forward_proj": "gated-maxout"}"#,
            "feed_forward_proj: activation \"maxout\" is not supported",
        ),
        (
            "t5",
            TextEncoder,
            r#"{"relative_attention_num_buckets": 2}"#,
            "relative_attention_num_buckets = 2",
        ),
        (
            "umt5",
            Seq2SeqLm,
            r#"{"relative_attention_max_distance": 1073741824}"#,
            "relative_attention_max_distance = 1073741824",
        ),
        ("mt5", Seq2SeqLm, r#"{"num_decoder_layers": -1}"#, "num_decoder_layers = -1"),
        ("tapas", TextEncoder, "{}", "tapas cannot be loaded as a text encoder"),
        ("tapas", TableAnswerer, r#"{"type_vocab_sizes": [3, 9]}"#, "type_vocab_sizes = [3, 9]"),
        ("tapas", TableAnswerer, r#"{"temperature": 0}"#, "temperature = 0"),
        ("tapas", TableAnswerer, r#"{"max_num_rows": 0}"#, "max_num_rows = 0"),
        ("tapas", TableAnswerer, r#"{"is_decoder": true}"#, "is_decoder = true"),
        ("FluxPipeline", TextEncoder, "{}", "FluxPipeline cannot be loaded as a text encoder"),
        ("FluxPipeline", ImageGenerator, "{}", "config.json is invalid"),
        (
            "FluxPipeline",
            ImageGenerator,
            r#"{"index": {"unet": ["diffusers", "UNet2DConditionModel"]}, "components": {}}"#,
            "the pipeline's unet is a UNet2DConditionModel",
        ),
        (
            "StableDiffusion3Pipeline",
            ImageGenerator,
            r#"{"index": {}, "components": {}}"#,
            "the pipeline has no text_encoder",
        ),
        ("vit", ImageClassifier, r#"{"hidden_size": 0}"#, "hidden_size = 0"),
        ("vit", ImageClassifier, "[]", "config.json is invalid"),
    ] {
        let refusal = refusal(model_type, kind, config);
        assert!(refusal.contains(expected), "{model_type} {config}: {refusal}");
    }
    assert!(find("no_such_architecture").is_err());
}

#[test]
fn model_types_are_unique() {
    for (idx, architecture) in ARCHITECTURES.iter().enumerate() {
        assert!(
            ARCHITECTURES[..idx].iter().all(|other| other.model_type != architecture.model_type)
        );
    }
}
