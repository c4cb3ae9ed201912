//! Classes with a `vocab.txt` of words and their parts.
//!
//! Reference: `transformers/models/{bert,mpnet}/tokenization_*.py`.

use serde_json::{Value, json};

use super::{Ends, Files, Given, Recipe, Settings, vocabulary};
use crate::text::TextError;

/// BERT, DistilBERT, ELECTRA and many others.
pub(super) fn bert(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let cls = settings.content("cls_token", "[CLS]")?;
    let sep = settings.content("sep_token", "[SEP]")?;
    let defaults = [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ];
    let mut recipe = words(settings, files, Ends::cls_sep(&cls, &sep))?;
    recipe = recipe.roles(settings, &defaults)?;
    recipe.extra = settings.extra(settings.additional().unwrap_or_default());
    Ok(recipe)
}

pub(super) fn mpnet(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let ends = Ends::Roberta {
        cls: settings.content("cls_token", "<s>")?,
        sep: settings.content("sep_token", "</s>")?,
        trim_offsets: true,
        add_prefix_space: false,
    };
    let defaults = [
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "[UNK]"),
        ("sep_token", "</s>"),
        ("pad_token", "<pad>"),
        ("cls_token", "<s>"),
        ("mask_token", "<mask>"),
    ];
    let mut recipe = words(settings, files, ends)?.roles(settings, &defaults)?;
    takes_space_before(&mut recipe, "mask_token");
    recipe.extra = settings.extra(settings.additional().unwrap_or_default());
    Ok(recipe)
}

/// A token of which only the text is known takes the space before it along, as a word does.
pub(super) fn takes_space_before(recipe: &mut Recipe, role: &str) {
    for (known, given) in &mut recipe.roles {
        if *known == role && matches!(given, Given::Text(_)) {
            *given = Given::Token(given.token().lstrip(true));
        }
    }
}

fn words(settings: &Settings, files: Files<'_>, ends: Ends) -> Result<Recipe, TextError> {
    settings.refuse(&["never_split"])?;
    let unk_token = settings.content("unk_token", "[UNK]")?;
    let normalizer = json!({
        "type": "BertNormalizer",
        "clean_text": true,
        "handle_chinese_chars": settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
        "strip_accents": settings.flag("strip_accents")?,
        "lowercase": settings.flag("do_lower_case")?.unwrap_or(true),
    });
    Recipe::new(vocabulary::word_piece(files, unk_token)?, ends).steps(
        normalizer,
        json!({"type": "BertPreTokenizer"}),
        decoder(),
    )
}

fn decoder() -> Value {
    json!({"type": "WordPiece", "prefix": "##", "cleanup": true})
}
