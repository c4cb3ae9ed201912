//! Classes with `vocab.json` and `merges.txt`, whose tokens spell bytes.
//!
//! Reference: `transformers/models/{gpt2,roberta,gpt_neox,qwen2,deberta,clip}/tokenization_*.py`.

use serde_json::{Value, json};
use tokenizers::models::bpe::BPE;

use super::{Ends, Files, Recipe, Settings, unusable, vocabulary};
use crate::text::TextError;

/// How Qwen2 cuts a text before its merges: contractions, words, single digits, marks, ends of lines, spaces.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn gpt2(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let steps = (Value::Null, byte_level(prefix_space(settings)?, true));
    let end = "<|endoftext|>";
    let defaults = [("bos_token", end), ("eos_token", end), ("unk_token", end)];
    build(settings, files, Ends::Flags { bos: false, eos: false }, steps, &defaults)
}

pub(super) fn gpt_neox(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let pre_tokenizer = byte_level(prefix_space(settings)?, true);
    let end = "<|endoftext|>";
    let defaults =
        [("bos_token", end), ("eos_token", end), ("unk_token", end), ("pad_token", "<|padding|>")];
    let steps = (json!({"type": "NFC"}), pre_tokenizer);
    build(settings, files, Ends::Flags { bos: false, eos: false }, steps, &defaults)
}

pub(super) fn qwen2(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let pre_tokenizer = json!({"type": "Sequence", "pretokenizers": [
        {
            "type": "Split",
            "pattern": {"Regex": QWEN2_WORDS},
            "behavior": "Isolated",
            "invert": false,
        },
        byte_level(prefix_space(settings)?, false),
    ]});
    let end = "<|endoftext|>";
    let defaults = [("eos_token", end), ("unk_token", end), ("pad_token", end)];
    let steps = (json!({"type": "NFC"}), pre_tokenizer);
    let flags = Ends::Flags { bos: false, eos: false };
    let mut recipe = build(settings, files, flags, steps, &defaults)?;
    recipe.plain_specials = true;
    Ok(recipe)
}

/// CLIP: lower case, a mark at the end of every word.
pub(super) fn clip(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    const WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    const SUFFIX: &str = "</w>";
    // Of spaces at the ends of a decoded text.
    const EVERY: usize = 1 << 20;
    let (start, end) = ("<|startoftext|>", "<|endoftext|>");
    let defaults =
        [("bos_token", start), ("eos_token", end), ("unk_token", end), ("pad_token", end)];
    let ends = Ends::Roberta {
        cls: settings.content("bos_token", start)?,
        sep: settings.content("eos_token", end)?,
        trim_offsets: false,
        add_prefix_space: false,
    };
    let normalizer = json!({"type": "Sequence", "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]});
    let pre_tokenizer = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
        byte_level(false, true),
    ]});
    let decoder = json!({"type": "Sequence", "decoders": [
        byte_level(true, true),
        {"type": "Replace", "pattern": {"String": SUFFIX}, "content": " "},
        {"type": "Strip", "content": " ", "start": EVERY, "stop": EVERY},
    ]});
    let model: BPE = vocabulary::merges(files, SUFFIX)?
        .unk_token(settings.content("unk_token", end)?)
        .build()
        .map_err(unusable)?;
    let recipe = Recipe::new(model, ends).steps(normalizer, pre_tokenizer, decoder)?;
    let mut recipe = recipe.roles(settings, &defaults)?;
    recipe.extra = settings.extra(settings.additional().unwrap_or_default());
    Ok(recipe)
}

/// RoBERTa, BART and others.
pub(super) fn roberta(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let add_prefix_space = prefix_space(settings)?;
    let ends = Ends::Roberta {
        cls: settings.content("cls_token", "<s>")?,
        sep: settings.content("sep_token", "</s>")?,
        trim_offsets: settings.flag("trim_offsets")?.unwrap_or(true),
        add_prefix_space,
    };
    let steps = (Value::Null, byte_level(add_prefix_space, true));
    build(settings, files, ends, steps, &FAIRSEQ_ROLES)
}

pub(super) fn deberta(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let cls = settings.content("cls_token", "[CLS]")?;
    let sep = settings.content("sep_token", "[SEP]")?;
    let steps = (Value::Null, byte_level(prefix_space(settings)?, true));
    build(settings, files, Ends::double_sep(&cls, &sep), steps, &BRACKET_ROLES)
}

/// The special tokens of models that were trained with fairseq.
pub(super) const FAIRSEQ_ROLES: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("sep_token", "</s>"),
    ("pad_token", "<pad>"),
    ("cls_token", "<s>"),
    ("mask_token", "<mask>"),
];

/// Those of the DeBERTas.
pub(super) const BRACKET_ROLES: [(&str, &str); 7] = [
    ("bos_token", "[CLS]"),
    ("eos_token", "[SEP]"),
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

fn prefix_space(settings: &Settings) -> Result<bool, TextError> {
    Ok(settings.flag("add_prefix_space")?.unwrap_or(false))
}

fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": true,
        "use_regex": use_regex,
    })
}

fn build(
    settings: &Settings,
    files: Files<'_>,
    ends: Ends,
    (normalizer, pre_tokenizer): (Value, Value),
    defaults: &[(&'static str, &str)],
) -> Result<Recipe, TextError> {
    if let Some(errors) = settings.text("errors")?.filter(|&errors| errors != "replace") {
        return Err(TextError::Unsupported {
            file: super::settings::CONFIG,
            field: "errors".to_owned(),
            value: errors.to_owned(),
        });
    }
    let model: BPE = vocabulary::merges(files, "")?.build().map_err(unusable)?;
    let decoder = byte_level(true, true);
    let recipe = Recipe::new(model, ends).steps(normalizer, pre_tokenizer, decoder)?;
    let mut recipe = recipe.roles(settings, defaults)?;
    recipe.extra = settings.extra(settings.additional().unwrap_or_default());
    Ok(recipe)
}
