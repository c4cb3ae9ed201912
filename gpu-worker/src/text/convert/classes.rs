//! Which tokenizer class a repository means, and what builds it.
//!
//! Reference: `AutoTokenizer.from_pretrained` in `transformers/models/auto/tokenization_auto.py`.

use serde_json::{Map, Value};

use super::{
    Files, Recipe, byte_level, merged_pieces, scored_pieces,
    settings::{CONFIG, Settings},
    text_of, word_piece,
};
use crate::text::{TextError, special_tokens::object};

/// Builds from the files of its class.
type Build = fn(&Settings, Files<'_>) -> Result<Recipe, TextError>;

/// What makes a tokenizer of a class.
#[derive(Clone, Copy)]
pub(in crate::text) enum Class {
    /// The `tokenizers` library, from the files that the class has.
    Library(Build),
    /// Python code of the class's own, here in [`crate::text::plain`].
    Plain(Plain),
}

/// Classes that the reference has in Python only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::text) enum Plain {
    Marian,
    M2m100,
    Tapas,
}

/// The class that any SentencePiece model can be loaded as.
const ANY: &str = "TokenizersBackend";

/// Classes by their names, `Fast` left out.
const CLASSES: [(&str, Class); 34] = [
    ("AlbertTokenizer", Class::Library(scored_pieces::albert)),
    ("BartTokenizer", Class::Library(byte_level::roberta)),
    ("BertTokenizer", Class::Library(word_piece::bert)),
    ("CLIPTokenizer", Class::Library(byte_level::clip)),
    ("CamembertTokenizer", Class::Library(scored_pieces::camembert)),
    ("ConvBertTokenizer", Class::Library(word_piece::bert)),
    ("DebertaTokenizer", Class::Library(byte_level::deberta)),
    ("DebertaV2Tokenizer", Class::Library(scored_pieces::deberta_v2)),
    ("DistilBertTokenizer", Class::Library(word_piece::bert)),
    ("ElectraTokenizer", Class::Library(word_piece::bert)),
    ("GemmaTokenizer", Class::Library(merged_pieces::gemma)),
    ("GPT2Tokenizer", Class::Library(byte_level::gpt2)),
    ("GPTNeoXTokenizer", Class::Library(byte_level::gpt_neox)),
    ("LEDTokenizer", Class::Library(byte_level::roberta)),
    ("LayoutLMTokenizer", Class::Library(word_piece::bert)),
    ("LlamaTokenizer", Class::Library(merged_pieces::llama)),
    ("LongformerTokenizer", Class::Library(byte_level::roberta)),
    ("LxmertTokenizer", Class::Library(word_piece::bert)),
    ("M2M100Tokenizer", Class::Plain(Plain::M2m100)),
    ("MBart50Tokenizer", Class::Library(scored_pieces::mbart50)),
    ("MBartTokenizer", Class::Library(scored_pieces::mbart)),
    ("MPNetTokenizer", Class::Library(word_piece::mpnet)),
    ("MarianTokenizer", Class::Plain(Plain::Marian)),
    ("MobileBertTokenizer", Class::Library(word_piece::bert)),
    ("MvpTokenizer", Class::Library(byte_level::roberta)),
    ("NllbTokenizer", Class::Library(merged_pieces::nllb)),
    ("PegasusTokenizer", Class::Library(scored_pieces::pegasus)),
    ("Qwen2Tokenizer", Class::Library(byte_level::qwen2)),
    ("RobertaTokenizer", Class::Library(byte_level::roberta)),
    ("T5Tokenizer", Class::Library(scored_pieces::t5)),
    ("TapasTokenizer", Class::Plain(Plain::Tapas)),
    ("TapexTokenizer", Class::Library(byte_level::roberta)),
    ("XLMRobertaTokenizer", Class::Library(scored_pieces::xlm_roberta)),
    (ANY, Class::Library(merged_pieces::any)),
];

/// The class of a `model_type`, where no file names one, and against which one that is named is held.
const OF_MODELS: [(&str, &str); 68] = [
    ("albert", "AlbertTokenizer"),
    ("bart", "RobertaTokenizer"),
    ("bert", "BertTokenizer"),
    ("camembert", "CamembertTokenizer"),
    ("clip", "CLIPTokenizer"),
    ("clip_text_model", "CLIPTokenizer"),
    ("convbert", "BertTokenizer"),
    ("data2vec-text", "RobertaTokenizer"),
    ("deberta", "DebertaTokenizer"),
    ("deberta-v2", "DebertaV2Tokenizer"),
    ("distilbert", "BertTokenizer"),
    ("electra", "BertTokenizer"),
    ("ernie", "BertTokenizer"),
    ("falcon_mamba", "GPTNeoXTokenizer"),
    ("gemma", "GemmaTokenizer"),
    ("gemma2", "GemmaTokenizer"),
    ("gemma3", "GemmaTokenizer"),
    ("gemma3_text", "GemmaTokenizer"),
    ("glm", ANY),
    ("glm4", ANY),
    ("gpt2", "GPT2Tokenizer"),
    ("gpt_bigcode", ANY),
    ("gpt_neo", "GPT2Tokenizer"),
    ("gpt_neox", "GPTNeoXTokenizer"),
    ("gptj", "GPT2Tokenizer"),
    ("granite", ANY),
    ("granitemoe", ANY),
    ("gte", "XLMRobertaTokenizer"),
    ("ibert", "RobertaTokenizer"),
    ("jina_embeddings_v3", "XLMRobertaTokenizer"),
    ("layoutlm", "BertTokenizer"),
    ("led", "LEDTokenizer"),
    ("lilt", "RobertaTokenizer"),
    ("longformer", "RobertaTokenizer"),
    ("m2m_100", "M2M100Tokenizer"),
    ("mamba", "GPTNeoXTokenizer"),
    ("marian", "MarianTokenizer"),
    ("mbart", "MBartTokenizer"),
    ("mbart50", "MBart50Tokenizer"),
    ("megatron-bert", "BertTokenizer"),
    ("mistral", ANY),
    ("mixtral", ANY),
    ("mobilebert", "MobileBertTokenizer"),
    ("modernbert", ANY),
    ("mpnet", "MPNetTokenizer"),
    ("mpt", "GPTNeoXTokenizer"),
    ("mt5", "T5Tokenizer"),
    ("mvp", "MvpTokenizer"),
    ("nezha", "BertTokenizer"),
    ("nllb-moe", "NllbTokenizer"),
    ("nomic_bert", "BertTokenizer"),
    ("olmo", "GPTNeoXTokenizer"),
    ("olmo2", ANY),
    ("olmo3", ANY),
    ("olmoe", "GPTNeoXTokenizer"),
    ("opt", "GPT2Tokenizer"),
    ("pegasus", "PegasusTokenizer"),
    ("phi3", ANY),
    ("qwen2", "Qwen2Tokenizer"),
    ("qwen2_moe", "Qwen2Tokenizer"),
    ("qwen3", "Qwen2Tokenizer"),
    ("qwen3_moe", "Qwen2Tokenizer"),
    ("roberta", "RobertaTokenizer"),
    ("switch_transformers", "T5Tokenizer"),
    ("t5", "T5Tokenizer"),
    ("tapas", "TapasTokenizer"),
    ("umt5", ANY),
    ("xlm-roberta", "XLMRobertaTokenizer"),
];

/// Models whose files are known to name the wrong class.
const NAMED_WRONGLY: [&str; 4] = ["modernbert", "phi3", "phimoe", "qwen2"];

/// Names under which a class is also known.
const ALIASES: [(&str, &str); 3] =
    [("PreTrainedTokenizer", ANY), ("Phi3Tokenizer", "LlamaTokenizer"), ("BloomTokenizer", ANY)];

/// The class to build, and its name for errors.
pub(in crate::text) fn choose(files: Files<'_>) -> Result<(Class, String), TextError> {
    let config = object(CONFIG, text_of(files, CONFIG)?)?;
    let model = object("config.json", text_of(files, "config.json")?)?;
    let said = class_of(&config).or_else(|| class_of(&model));
    let model_type = model.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let name = resolve(said.as_deref(), model_type);
    let class = CLASSES.iter().find(|(known, _)| *known == name).map(|row| row.1);
    // A class nobody knows is taken for the general one by the reference, which then needs a file of its kind.
    let general = || files("tokenizer.model").map(|_| Class::Library(merged_pieces::any));
    match class.or_else(general) {
        Some(Class::Library(_)) if name == ANY && files("tokenizer.model").is_none() => {
            Err(unknown(files, said.as_deref(), model_type))
        }
        Some(class) => Ok((class, name.to_owned())),
        None => Err(unknown(files, said.as_deref(), model_type)),
    }
}

fn class_of(config: &Map<String, Value>) -> Option<String> {
    let class = config.get("tokenizer_class").and_then(Value::as_str)?;
    let class = class.strip_suffix("Fast").unwrap_or(class);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == class).map(|row| row.1);
    Some(alias.unwrap_or(class).to_owned())
}

/// The name of the class that counts.
fn resolve<'a>(said: Option<&'a str>, model_type: &str) -> &'a str {
    let of_model = OF_MODELS.iter().find(|(known, _)| *known == model_type).map(|row| row.1);
    match (said, of_model) {
        (Some(said), Some(of_model)) if said != of_model => {
            if of_model == ANY || said == ANY {
                ANY
            } else if NAMED_WRONGLY.contains(&model_type) {
                of_model
            } else {
                said
            }
        }
        (Some(said), _) => said,
        (None, of_model) => of_model.unwrap_or(ANY),
    }
}

fn unknown(files: Files<'_>, said: Option<&str>, model_type: &str) -> TextError {
    const KNOWN: [&str; 11] = [
        "vocab.txt",
        "vocab.json",
        "merges.txt",
        "spiece.model",
        "spm.model",
        "tokenizer.model",
        "sentencepiece.bpe.model",
        "source.spm",
        "tekken.json",
        "tiktoken.model",
        "tokenizer_config.json",
    ];
    let found: Vec<&str> = KNOWN.into_iter().filter(|file| files(file).is_some()).collect();
    TextError::UnknownTokenizer {
        class: said.unwrap_or("not given").to_owned(),
        model_type: model_type.to_owned(),
        found: if found.is_empty() { "nothing".to_owned() } else { found.join(", ") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_that_of_the_files_unless_the_model_is_known_to_lie() {
        for (said, model_type, expected) in [
            (Some("BertTokenizer"), "bert", "BertTokenizer"),
            (Some("XLMRobertaTokenizer"), "bert", "XLMRobertaTokenizer"),
            (None, "opt", "GPT2Tokenizer"),
            (Some("LlamaTokenizer"), "llama", "LlamaTokenizer"),
            (Some("LlamaTokenizer"), "mistral", ANY),
            (Some("LlamaTokenizer"), "qwen2", "Qwen2Tokenizer"),
            (Some("GPT2Tokenizer"), "opt", "GPT2Tokenizer"),
            (None, "nothing", ANY),
        ] {
            assert_eq!(resolve(said, model_type), expected, "{said:?} {model_type}");
        }
    }

    #[test]
    fn a_class_that_is_not_known_is_named_with_the_files_that_are_there() {
        let config = br#"{"tokenizer_class": "WhateverTokenizer"}"#;
        let files = |name: &str| -> Option<&[u8]> {
            match name {
                "tokenizer_config.json" => Some(config),
                "vocab.txt" => Some(b""),
                _ => None,
            }
        };
        let Err(error) = choose(&files) else { panic!("a class") };
        assert_eq!(error.code(), "format_not_supported");
        let message = error.to_string();
        assert!(message.contains("\"WhateverTokenizer\""), "{message}");
        assert!(message.contains("vocab.txt"), "{message}");
    }
}
