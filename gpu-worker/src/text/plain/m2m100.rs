//! M2M-100: a SentencePiece model, a vocabulary, and a token for each language behind it.
//!
//! Reference: `transformers/models/m2m_100/tokenization_m2m_100.py`.

use std::{collections::HashMap, sync::Arc};

use super::{Added, Cutter, Made, PlainTokenizer, marian::specials};
use crate::text::{
    TextError,
    convert::{Files, M2M100, Settings, WMT21, ids, needed},
    detokenizer::Layout,
    sentencepiece::Processor,
};

const PIECES: &str = "sentencepiece.bpe.model";

pub(super) fn build(settings: &Settings, files: Files<'_>) -> Result<Made, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let processor = Arc::new(Processor::new(PIECES, needed(files, PIECES)?)?);
    let mut vocab: HashMap<String, u32> = ids(files, "vocab.json")?.into_iter().collect();
    let codes: &[&str] = match settings.text("language_codes")?.unwrap_or("m2m100") {
        "m2m100" => &M2M100,
        "wmt21" => &WMT21,
        other => {
            return Err(TextError::Unsupported {
                file: "tokenizer_config.json",
                field: "language_codes".to_owned(),
                value: other.to_owned(),
            });
        }
    };
    let token = |code: &str| format!("__{code}__");
    let defaults = [
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
        ("sep_token", "</s>"),
        ("pad_token", "<pad>"),
    ];
    // Languages are special only where the files list them.
    let (special, given) = specials(settings, &defaults)?;
    let added = Added::new(settings, &given, &vocab)?;
    let mut by_id: HashMap<u32, String> =
        vocab.iter().map(|(token, &id)| (id, token.clone())).collect();
    let missing = |token: &str| TextError::Vocabulary {
        message: format!("the token {token:?} is not in vocab.json"),
    };
    let unk_token = settings.content("unk_token", "<unk>")?;
    let unknown = vocab.get(&unk_token).copied().ok_or_else(|| missing(&unk_token))?;
    let size = PlainTokenizer::size(&vocab, &added);
    // Languages come right after the vocabulary, in their order.
    for (id, code) in (u32::try_from(vocab.len()).unwrap_or(u32::MAX)..).zip(codes) {
        vocab.insert(token(code), id);
        by_id.insert(id, token(code));
    }
    let source = settings.text("src_lang")?.unwrap_or("en");
    let source = codes.contains(&source).then(|| vocab[&token(source)]).ok_or_else(|| {
        TextError::Unsupported {
            file: "tokenizer_config.json",
            field: "src_lang".to_owned(),
            value: source.to_owned(),
        }
    })?;
    let eos = settings.content("eos_token", "</s>")?;
    let eos = added.id(&eos).ok_or_else(|| missing(&eos))?;
    let layout = Layout::pieces(Arc::clone(&processor), added.special().clone(), "");
    let tokenizer = PlainTokenizer {
        size,
        vocab,
        by_id,
        added,
        cutter: Cutter::Pieces(processor),
        unknown,
        before: vec![source],
        after: vec![eos],
        between: Vec::new(),
    };
    let tidy = settings.flag("clean_up_tokenization_spaces")?.unwrap_or(false);
    let layout = layout.tidied(tidy);
    Ok(Made { tokenizer, special, layout, model_max_length: None })
}
