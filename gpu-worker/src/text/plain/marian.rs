//! Marian: two SentencePiece models and a vocabulary of both languages.
//!
//! Reference: `transformers/models/marian/tokenization_marian.py`.

use std::{collections::HashMap, sync::Arc};

use super::{Added, Cutter, Made, PlainTokenizer};
use crate::text::{
    TextError,
    convert::{Files, Given, Settings, ids, needed},
    detokenizer::Layout,
    sentencepiece::Processor,
    special_tokens::SpecialTokens,
};

pub(super) fn build(settings: &Settings, files: Files<'_>) -> Result<Made, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let processor = |file| Processor::new(file, needed(files, file)?).map(Arc::new);
    let source = processor("source.spm")?;
    let vocab: HashMap<String, u32> = ids(files, "vocab.json")?.into_iter().collect();
    let separate = settings.flag("separate_vocabs")?.unwrap_or(false);
    let (written, writer) = if separate {
        (ids(files, "target_vocab.json")?, processor("target.spm")?)
    } else {
        (ids(files, "vocab.json")?, Arc::clone(&source))
    };
    let defaults = [("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")];
    let (special, given) = specials(settings, &defaults)?;
    let added = Added::new(settings, &given, &vocab)?;
    let missing = |token: &str| TextError::Vocabulary {
        message: format!("the token {token:?} is not in vocab.json"),
    };
    let unk_token = settings.content("unk_token", "<unk>")?;
    let unknown = vocab.get(&unk_token).copied().ok_or_else(|| missing(&unk_token))?;
    let eos = settings.content("eos_token", "</s>")?;
    let eos = added.id(&eos).ok_or_else(|| missing(&eos))?;
    // Pieces that only the other model knows are shown with their spaces too.
    let layout = Layout::pieces(writer, added.special().clone(), " ").replacing("▁", " ");
    let tokenizer = PlainTokenizer {
        size: PlainTokenizer::size(&vocab, &added),
        by_id: written.into_iter().map(|(token, id)| (id, token)).collect(),
        vocab,
        added,
        cutter: Cutter::Marian(source),
        unknown,
        before: Vec::new(),
        after: vec![eos],
        between: Vec::new(),
    };
    let tidy = settings.flag("clean_up_tokenization_spaces")?.unwrap_or(false);
    let layout = layout.tidied(tidy);
    Ok(Made { tokenizer, special, layout, model_max_length: Some(512) })
}

/// The tokens of all roles, and all that are special in the reference's order.
pub(super) fn specials(
    settings: &Settings,
    defaults: &[(&'static str, &str)],
) -> Result<(SpecialTokens, Vec<Given>), TextError> {
    let mut roles = Vec::new();
    for role in crate::text::special_tokens::ROLES {
        let default = defaults.iter().find(|(known, _)| *known == role).map(|row| row.1);
        roles.extend(settings.role(role, default)?.map(|given| (role, given)));
    }
    let by_role = roles.iter().map(|(role, given)| (*role, given.content().to_owned()));
    let special = SpecialTokens::new(by_role);
    let mut given: Vec<Given> = roles.into_iter().map(|(_, given)| given).collect();
    given.extend(settings.named());
    given.extend(settings.extra(settings.additional().unwrap_or_default()));
    Ok((special, given))
}
