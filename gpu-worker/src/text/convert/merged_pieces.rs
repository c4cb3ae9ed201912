//! Classes with a SentencePiece model of merged pieces (BPE), and the one for a model of which no class is known.
//!
//! Reference: `build_tokenizer_from_spm_proto` in `transformers/convert_slow_tokenizer.py` and
//! `transformers/models/{llama,gemma,nllb}/tokenization_*.py`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{
    Ends, Files, Given, Recipe, Settings,
    byte_level::FAIRSEQ_ROLES,
    languages::NLLB,
    scored_pieces::{given, metaspace, replace, sequence, single_spaces},
    unusable,
    vocabulary::{charsmap, merged, scores, sentence_pieces, unigram},
};
use crate::text::{
    TextError,
    sentencepiece::proto::{ModelKind, ModelProto},
};

pub(super) fn llama(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let proto = sentence_pieces(files, "tokenizer.model")?;
    let add_prefix_space = settings.flag("add_prefix_space")?.unwrap_or(true);
    let legacy = settings.flag("legacy")?.unwrap_or(false);
    let model = merged(&proto, pieces(&proto))?.fuse_unk(true).byte_fallback(true);
    let scheme = match (add_prefix_space, legacy) {
        (false, _) => "never",
        (true, true) => "always",
        (true, false) => "first",
    };
    let before = json!({
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false,
    });
    let mut after = bytes_and_spaces();
    if add_prefix_space {
        after.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let recipe =
        Recipe::new(model.build().map_err(unusable)?, Ends::Flags { bos: false, eos: false });
    let recipe = recipe.steps(Value::Null, before, decoders(&after))?;
    let roles = [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")];
    let mut recipe = recipe.roles(settings, &roles)?;
    recipe.extra = settings.extra(given(&proto));
    Ok(recipe)
}

pub(super) fn gemma(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let proto = sentence_pieces(files, "tokenizer.model")?;
    let unk_token = settings.content("unk_token", "<unk>")?;
    let model = merged(&proto, pieces(&proto))?.fuse_unk(true).byte_fallback(true);
    let model = model.unk_token(unk_token).build().map_err(unusable)?;
    let before = json!({
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": false,
    });
    let recipe = Recipe::new(model, Ends::Flags { bos: false, eos: false });
    let recipe = recipe.steps(replace(" ", "▁"), before, decoders(&bytes_and_spaces()))?;
    let roles = [
        ("bos_token", "<bos>"),
        ("eos_token", "<eos>"),
        ("unk_token", "<unk>"),
        ("pad_token", "<pad>"),
        ("mask_token", "<mask>"),
    ];
    let mut recipe = recipe.roles(settings, &roles)?;
    recipe.extra = settings.extra(given(&proto));
    Ok(recipe)
}

pub(super) fn nllb(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let proto = sentence_pieces(files, "sentencepiece.bpe.model")?;
    let unk_token = settings.content("unk_token", "<unk>")?;
    let eos = settings.content("eos_token", "</s>")?;
    let first = [
        settings.content("bos_token", "<s>")?,
        settings.content("pad_token", "<pad>")?,
        eos.clone(),
        unk_token.clone(),
    ];
    let mut seen: HashSet<&str> = HashSet::new();
    let all = first.iter().map(String::as_str);
    let all = all.chain(proto.pieces.iter().map(|piece| piece.piece()));
    let distinct = all.filter(|piece| seen.insert(piece)).map(str::to_owned);
    let vocab: Vec<(String, u32)> = distinct.zip(0..).collect();
    let model = merged(&proto, vocab)?.unk_token(unk_token).fuse_unk(true);
    let model = model.build().map_err(unusable)?;
    let language = settings.text("src_lang")?.unwrap_or("eng_Latn");
    let ends = if settings.flag("legacy_behaviour")?.unwrap_or(false) {
        Ends::template(&format!("$A {eos} {language}"), &format!("$A $B {eos} {language}"))
    } else {
        Ends::template(&format!("{language} $A {eos}"), &format!("{language} $A $B {eos}"))
    };
    let normalizer = match charsmap(&proto)? {
        Some(charsmap) => sequence(&[charsmap, single_spaces()]),
        None => Value::Null,
    };
    let recipe = Recipe::new(model, ends);
    let recipe = recipe.steps(normalizer, metaspace("always"), metaspace("always"))?;
    let mut recipe = recipe.roles(settings, &FAIRSEQ_ROLES)?;
    for (role, given) in &mut recipe.roles {
        if *role == "mask_token" && matches!(given, Given::Text(_)) {
            *given = Given::Token(given.token().normalized(true).lstrip(true));
        }
    }
    let codes = NLLB.iter().map(|code| Given::Text((*code).to_owned()));
    recipe.extra = settings.extra(codes.collect());
    Ok(recipe)
}

/// For a model whose class the reference does not know, or knows to be said wrongly.
pub(super) fn any(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let proto = sentence_pieces(files, "tokenizer.model")?;
    let trainer = proto.trainer();
    let byte_fallback = trainer.byte_fallback();
    let ends = Ends::Flags { bos: false, eos: false };
    let recipe = match trainer.model_type() {
        ModelKind::Unigram => {
            let unk_id = usize::try_from(trainer.unk_id()).unwrap_or_default();
            Recipe::new(unigram(scores(&proto), unk_id)?, ends)
        }
        _ => {
            let vocab = renamed(settings, &proto);
            let model = merged(&proto, vocab)?.unk_token(trainer.unk_piece().to_owned());
            let model = model.fuse_unk(true).byte_fallback(byte_fallback).build();
            Recipe::new(model.map_err(unusable)?, ends)
        }
    };
    let mut steps: Vec<Value> = charsmap(&proto)?.into_iter().collect();
    steps.push(replace(" ", "▁"));
    let after = if byte_fallback { bytes_and_spaces() } else { vec![replace("▁", " ")] };
    let recipe = recipe.steps(sequence(&steps), Value::Null, decoders(&after))?;
    let mut roles = Vec::new();
    let said = [
        ("bos_token", trainer.bos_id(), trainer.bos_piece()),
        ("eos_token", trainer.eos_id(), trainer.eos_piece()),
        ("unk_token", trainer.unk_id(), trainer.unk_piece()),
    ];
    for (role, id, piece) in said {
        if id >= 0 {
            roles.push((role, piece));
        }
    }
    let mut recipe = recipe.roles(settings, &roles)?;
    recipe.extra = settings.extra(given(&proto));
    Ok(recipe)
}

fn pieces(proto: &ModelProto) -> Vec<(String, u32)> {
    proto.pieces.iter().map(|piece| piece.piece().to_owned()).zip(0..).collect()
}

/// Placeholders in the vocabulary get the names that the settings give their ids.
fn renamed(settings: &Settings, proto: &ModelProto) -> Vec<(String, u32)> {
    let mut vocab = pieces(proto);
    let known: HashSet<String> = vocab.iter().map(|(piece, _)| piece.clone()).collect();
    for (id, token) in settings.added_ids() {
        let place = usize::try_from(id).ok().and_then(|id| vocab.get_mut(id));
        if let Some((piece, _)) = place.filter(|_| !known.contains(&token.content)) {
            piece.clone_from(&token.content);
        }
    }
    vocab
}

fn bytes_and_spaces() -> Vec<Value> {
    vec![replace("▁", " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})]
}

fn decoders(decoders: &[Value]) -> Value {
    json!({"type": "Sequence", "decoders": decoders})
}
