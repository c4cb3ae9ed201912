//! Classes with a SentencePiece model of scored pieces (unigram).
//!
//! Reference: `transformers/convert_slow_tokenizer.py` and
//! `transformers/models/{albert,camembert,deberta_v2,mbart,mbart50,pegasus,t5,xlm_roberta}/tokenization_*.py`.

use serde_json::{Value, json};
use tokenizers::AddedToken;

use super::{
    Ends, Files, Given, Recipe, Settings,
    byte_level::{BRACKET_ROLES, FAIRSEQ_ROLES},
    languages::{MBART, MBART50},
    vocabulary::{charsmap, marked_pieces, scores, sentence_pieces, unigram},
    word_piece::takes_space_before,
};
use crate::text::{TextError, sentencepiece::proto::ModelProto};

type Scores = Vec<(String, f64)>;

pub(super) fn albert(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "spiece.model")?;
    let (cls, sep) =
        (settings.content("cls_token", "[CLS]")?, settings.content("sep_token", "[SEP]")?);
    let ends = match Ends::cls_sep(&cls, &sep) {
        Ends::Template { single, pair } => Ends::TemplateUnlessFlags { single, pair },
        other => other,
    };
    let mut steps = vec![replace("``", "\""), replace("''", "\"")];
    if !settings.flag("keep_accents")?.unwrap_or(false) {
        steps.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
    }
    if settings.flag("do_lower_case")?.unwrap_or(true) {
        steps.push(json!({"type": "Lowercase"}));
    }
    steps.extend(charsmap(&proto)?);
    let pieces = (scores(&proto), 1);
    let recipe = build(pieces, ends, sequence(&steps), spaced_words(prefix(settings)?))?;
    let roles = [
        ("bos_token", "[CLS]"),
        ("eos_token", "[SEP]"),
        ("unk_token", "<unk>"),
        ("sep_token", "[SEP]"),
        ("pad_token", "<pad>"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ];
    with_tokens(recipe, settings, &roles, given(&proto))
}

pub(super) fn deberta_v2(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "spm.model")?;
    let (cls, sep) =
        (settings.content("cls_token", "[CLS]")?, settings.content("sep_token", "[SEP]")?);
    let unk_token = settings.content("unk_token", "[UNK]")?;
    let pieces = scores(&proto);
    let unk_id = position(&pieces, &unk_token, 0)
        .unwrap_or_else(|| usize::try_from(proto.trainer().unk_id()).unwrap_or_default());
    let mut steps = Vec::new();
    if settings.flag("do_lower_case")?.unwrap_or(false) {
        steps.push(json!({"type": "Lowercase"}));
    }
    let spaces = json!({
        "type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " ",
    });
    let strip = json!({"type": "Strip", "strip_left": false, "strip_right": true});
    steps.extend([spaces, json!({"type": "NFC"}), strip]);
    let scheme =
        if settings.flag("add_prefix_space")?.unwrap_or(true) { "always" } else { "first" };
    let mut before = Vec::new();
    if settings.flag("split_by_punct")?.unwrap_or(false) {
        before.push(json!({"type": "Punctuation", "behavior": "Isolated"}));
    }
    before.push(metaspace(scheme));
    let before = json!({"type": "Sequence", "pretokenizers": before});
    let ends = Ends::cls_sep(&cls, &sep);
    let recipe = build((pieces, unk_id), ends, sequence(&steps), (before, metaspace(scheme)))?;
    with_tokens(recipe, settings, &BRACKET_ROLES, given(&proto))
}

pub(super) fn xlm_roberta(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "sentencepiece.bpe.model")?;
    let mut pieces = fairseq(settings, &proto, "bos_token", "<s>")?;
    pieces.push((settings.content("mask_token", "<mask>")?, 0.0));
    let ends = Ends::double_sep(
        &settings.content("bos_token", "<s>")?,
        &settings.content("eos_token", "</s>")?,
    );
    let normalizer = charsmap(&proto)?.unwrap_or_default();
    let recipe = build((pieces, 3), ends, normalizer, spaced_words(prefix(settings)?))?;
    with_tokens(recipe, settings, &FAIRSEQ_ROLES, given(&proto))
}

pub(super) fn camembert(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "sentencepiece.bpe.model")?;
    let unk_token = settings.content("unk_token", "<unk>")?;
    let mut pieces: Scores = vec![
        ("<s>NOTUSED".to_owned(), 0.0),
        (settings.content("pad_token", "<pad>")?, 0.0),
        ("</s>NOTUSED".to_owned(), 0.0),
        (unk_token.clone(), 0.0),
        ("<unk>NOTUSED".to_owned(), -100.0),
    ];
    pieces.extend(scores(&proto).into_iter().skip(1));
    pieces.push((settings.content("mask_token", "<mask>")?, 0.0));
    let unk_id = pieces.iter().position(|(piece, _)| *piece == unk_token).unwrap_or(0);
    let ends = Ends::double_sep(
        &settings.content("bos_token", "<s>")?,
        &settings.content("eos_token", "</s>")?,
    );
    let normalizer = charsmap(&proto)?.unwrap_or_default();
    let mut recipe = build((pieces, unk_id), ends, normalizer, spaced_words(prefix(settings)?))?;
    recipe = with_tokens(recipe, settings, &FAIRSEQ_ROLES, given(&proto))?;
    takes_space_before(&mut recipe, "mask_token");
    Ok(recipe)
}

pub(super) fn mbart(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "sentencepiece.bpe.model")?;
    let mut pieces = fairseq(settings, &proto, "bos_token", "<s>")?;
    pieces.extend(MBART.map(|code| (code.to_owned(), 0.0)));
    pieces.push((settings.content("mask_token", "<mask>")?, 0.0));
    let eos = settings.content("eos_token", "</s>")?;
    let language = settings.text("src_lang")?.unwrap_or("en_XX");
    let ends = Ends::template(&format!("$A {eos} {language}"), &format!("$A $B {eos} {language}"));
    // The reference drops the model's own replacements here.
    let recipe = build((pieces, 3), ends, Value::Null, spaced_words("always"))?;
    let codes = MBART.iter().map(|code| Given::Text((*code).to_owned()));
    let extra = codes.chain(given(&proto)).collect();
    let mut recipe = with_tokens(recipe, settings, &FAIRSEQ_ROLES, extra)?;
    takes_space_before(&mut recipe, "mask_token");
    Ok(recipe)
}

pub(super) fn mbart50(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "sentencepiece.bpe.model")?;
    let mut pieces = fairseq(settings, &proto, "cls_token", "<s>")?;
    pieces.extend(MBART50.map(|code| (code.to_owned(), 0.0)));
    pieces.push((settings.content("mask_token", "<mask>")?, 0.0));
    let eos = settings.content("eos_token", "</s>")?;
    let language = settings.text("src_lang")?.unwrap_or("en_XX");
    let ends = Ends::template(&format!("{language} $A {eos}"), &format!("{language} $A $B {eos}"));
    let mut steps: Vec<Value> = charsmap(&proto)?.into_iter().collect();
    steps.push(single_spaces());
    let around = (metaspace("always"), metaspace("always"));
    let recipe = build((pieces, 3), ends, sequence(&steps), around)?;
    let codes = MBART50.iter().map(|code| Given::Text((*code).to_owned()));
    let extra = given(&proto).into_iter().chain(codes).collect();
    // Its class knows no first token.
    let mut recipe = with_tokens(recipe, settings, &FAIRSEQ_ROLES[1..], extra)?;
    takes_space_before(&mut recipe, "mask_token");
    Ok(recipe)
}

pub(super) fn t5(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "spiece.model")?;
    let n_extra = settings.count("extra_ids")?.unwrap_or(100);
    let sentinel = |idx: usize| format!("<extra_id_{idx}>");
    let mut pieces = scores(&proto);
    pieces.extend((0..n_extra).rev().map(|idx| (sentinel(idx), 0.0)));
    let ends = Ends::template("$A </s>", "$A </s> $B </s>");
    let normalizer = charsmap(&proto)?.unwrap_or_default();
    let recipe = build((pieces, 2), ends, normalizer, spaced_words("always"))?;
    let roles = [("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")];
    let mut extra = given(&proto);
    if !extra.iter().any(|given| given.content().contains("<extra_id_")) {
        extra.extend((0..n_extra).map(|idx| Given::Text(sentinel(idx))));
    }
    with_tokens(recipe, settings, &roles, extra)
}

pub(super) fn pegasus(settings: &Settings, files: Files<'_>) -> Result<Recipe, TextError> {
    let proto = sentence_pieces(files, "spiece.model")?;
    let offset = settings.count("offset")?.unwrap_or(103);
    let eos = settings.content("eos_token", "</s>")?;
    let (mask, mask_sent) = (settings.role("mask_token", None)?, settings.text("mask_token_sent")?);
    // The two defaults differ between the vocabulary and the class in the reference.
    let mask = mask.map_or_else(|| "<mask_1>".to_owned(), |given| given.content().to_owned());
    let sent = mask_sent.unwrap_or("<mask_2>").to_owned();
    let reserved = |idx: usize| format!("<unk_{idx}>");
    let mut pieces: Scores =
        vec![(settings.content("pad_token", "<pad>")?, 0.0), (eos.clone(), 0.0)];
    pieces.push((mask.clone(), 0.0));
    if sent != mask {
        pieces.push((sent, 0.0));
    }
    pieces.extend((2..offset).map(|idx| (reserved(idx), -100.0)));
    pieces.extend(scores(&proto).into_iter().skip(2));
    let unk_token = settings.content("unk_token", "<unk>")?;
    let unk_id = position(&pieces, &unk_token, 1).ok_or_else(|| TextError::Vocabulary {
        message: format!("{unk_token:?} is no piece with the score 0"),
    })?;
    let mut steps: Vec<Value> = charsmap(&proto)?.into_iter().collect();
    if steps.is_empty() {
        steps.push(json!({"type": "Replace", "pattern": {"Regex": r"\n"}, "content": " "}));
    }
    steps.push(single_spaces());
    let ends = Ends::template(&format!("$A {eos}"), &format!("$A $B {eos}"));
    let around = (metaspace("always"), metaspace("always"));
    let recipe = build((pieces, unk_id), ends, sequence(&steps), around)?;
    let roles = [
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
        ("pad_token", "<pad>"),
        ("mask_token", "<mask_2>"),
    ];
    let sent = Given::Text(mask_sent.unwrap_or("<mask_1>").to_owned());
    let extra = std::iter::once(sent).chain((2..offset).map(|idx| Given::Text(reserved(idx))));
    with_tokens(recipe, settings, &roles, extra.collect())
}

/// Four special tokens before the pieces, in place of the model's first three.
fn fairseq(
    settings: &Settings,
    proto: &ModelProto,
    first_role: &'static str,
    first: &str,
) -> Result<Scores, TextError> {
    let mut pieces: Scores = vec![
        (settings.content(first_role, first)?, 0.0),
        (settings.content("pad_token", "<pad>")?, 0.0),
        (settings.content("eos_token", "</s>")?, 0.0),
        (settings.content("unk_token", "<unk>")?, 0.0),
    ];
    pieces.extend(scores(proto).into_iter().skip(3));
    Ok(pieces)
}

/// Where a piece with the score 0 is, from some place on.
fn position(pieces: &Scores, piece: &str, from: usize) -> Option<usize> {
    let is_it = |(known, score): &(String, f64)| known == piece && *score == 0.0;
    pieces.iter().skip(from).position(is_it).map(|idx| idx + from)
}

/// Control and user-defined pieces, as further special tokens.
pub(super) fn given(proto: &ModelProto) -> Vec<Given> {
    marked_pieces(proto).into_iter().map(|token: AddedToken| Given::Token(token)).collect()
}

fn with_tokens(
    recipe: Recipe,
    settings: &Settings,
    roles: &[(&'static str, &str)],
    extra: Vec<Given>,
) -> Result<Recipe, TextError> {
    settings.refuse(&["sp_model_kwargs"])?;
    let mut recipe = recipe.roles(settings, roles)?;
    recipe.extra = settings.extra(extra);
    Ok(recipe)
}

fn build(
    (pieces, unk_id): (Scores, usize),
    ends: Ends,
    normalizer: Value,
    (before, decoder): (Value, Value),
) -> Result<Recipe, TextError> {
    Recipe::new(unigram(pieces, unk_id)?, ends).steps(normalizer, before, decoder)
}

fn prefix(settings: &Settings) -> Result<&'static str, TextError> {
    let always = settings.flag("add_prefix_space")?.unwrap_or(true);
    Ok(if always { "always" } else { "never" })
}

/// Words by white space, each with the mark of its space; and back.
fn spaced_words(scheme: &str) -> (Value, Value) {
    let before = json!({"type": "Sequence", "pretokenizers": [
        {"type": "WhitespaceSplit"}, metaspace(scheme),
    ]});
    (before, metaspace(scheme))
}

pub(super) fn metaspace(scheme: &str) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true})
}

pub(super) fn single_spaces() -> Value {
    json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
}

pub(super) fn sequence(normalizers: &[Value]) -> Value {
    json!({"type": "Sequence", "normalizers": normalizers})
}

pub(super) fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}
