//! TAPAS: words of a `vocab.txt`, as its Python class cuts them.
//!
//! Reference: `transformers/models/tapas/tokenization_tapas.py`.

use std::collections::HashMap;

use tokenizers::models::wordpiece::WordPiece;

use super::{Added, Cutter, Made, PlainTokenizer, Words, marian::specials};
use crate::text::{
    TextError,
    convert::{Files, Given, Settings, needed},
    detokenizer::Layout,
};

pub(super) fn build(settings: &Settings, files: Files<'_>) -> Result<Made, TextError> {
    settings.refuse(&["never_split"])?;
    if settings.flag("do_basic_tokenize")? == Some(false) {
        return Err(TextError::Unsupported {
            file: "tokenizer_config.json",
            field: "do_basic_tokenize".to_owned(),
            value: "false".to_owned(),
        });
    }
    let vocab: HashMap<String, u32> = WordPiece::read_bytes(needed(files, "vocab.txt")?)
        .map_err(|error| TextError::Vocabulary { message: error.to_string() })?
        .into_iter()
        .collect();
    let defaults = [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ];
    let empty = settings.text("empty_token")?.unwrap_or("[EMPTY]").to_owned();
    let (special, mut given) = specials(settings, &defaults)?;
    if !given.iter().any(|known| known.content() == empty) {
        given.push(Given::Text(empty.clone()));
    }
    let added = Added::new(settings, &given, &vocab)?.without(&vocab);
    let id = |role: &'static str, default: &str| -> Result<u32, TextError> {
        let token = settings.content(role, default)?;
        let id = added.id(&token).or_else(|| vocab.get(&token).copied());
        id.ok_or_else(|| TextError::Vocabulary {
            message: format!("the token {token:?} is not in vocab.txt"),
        })
    };
    let (cls, sep) = (id("cls_token", "[CLS]")?, id("sep_token", "[SEP]")?);
    let unknown = id("unk_token", "[UNK]")?;
    let words = Words {
        vocab: vocab.keys().cloned().collect(),
        longest: vocab.keys().map(String::len).max().unwrap_or(0),
        unk_token: settings.content("unk_token", "[UNK]")?,
        empty_token: empty,
        whole: added.special().clone(),
        lowercase: settings.flag("do_lower_case")?.unwrap_or(true),
        chinese: settings.flag("tokenize_chinese_chars")?.unwrap_or(true),
        strip_accents: settings.flag("strip_accents")?,
    };
    let tokenizer = PlainTokenizer {
        size: PlainTokenizer::size(&vocab, &added),
        by_id: vocab.iter().map(|(token, &id)| (id, token.clone())).collect(),
        vocab,
        added,
        cutter: Cutter::Words(words),
        unknown,
        before: vec![cls],
        after: vec![sep],
        between: vec![sep],
    };
    let tidy = settings.flag("clean_up_tokenization_spaces")?.unwrap_or(true);
    let layout = Layout::words().tidied(tidy);
    Ok(Made { tokenizer, special, layout, model_max_length: Some(512) })
}
