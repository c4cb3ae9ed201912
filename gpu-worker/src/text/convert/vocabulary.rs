//! Vocabulary files as models of the `tokenizers` library.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::models::{
    bpe::{BPE, BpeBuilder, Vocab},
    unigram::Unigram,
    wordpiece::WordPiece,
};

use super::{Files, text_of, unusable};
use crate::text::{
    TextError,
    sentencepiece::{
        Charsmap,
        proto::{ModelProto, PieceKind, read},
    },
};

/// The bytes of a file that must be there.
pub(in crate::text) fn needed<'a>(
    files: Files<'a>,
    file: &'static str,
) -> Result<&'a [u8], TextError> {
    files(file).ok_or(TextError::NoVocabulary { file })
}

/// `vocab.txt`: a token a line.
pub(super) fn word_piece(files: Files<'_>, unk_token: String) -> Result<WordPiece, TextError> {
    let vocab = WordPiece::read_bytes(needed(files, "vocab.txt")?).map_err(unusable)?;
    WordPiece::builder().vocab(vocab).unk_token(unk_token).build().map_err(unusable)
}

/// Tokens with their ids.
pub(in crate::text) fn ids(
    files: Files<'_>,
    file: &'static str,
) -> Result<Vec<(String, u32)>, TextError> {
    needed(files, file)?;
    let json = text_of(files, file)?.unwrap_or_default();
    let json: Value =
        serde_json::from_str(json).map_err(|source| TextError::Json { file, source })?;
    let expected = "tokens with their ids";
    let wrong = |field: &str| TextError::Field { file, field: field.to_owned(), expected };
    let tokens = json.as_object().ok_or_else(|| wrong(""))?;
    let id = |(token, id): (&String, &Value)| {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        id.map(|id| (token.clone(), id)).ok_or_else(|| wrong(token))
    };
    tokens.iter().map(id).collect()
}

/// `vocab.json` with `merges.txt`; `suffix` marks the ends of words.
pub(super) fn merges(files: Files<'_>, suffix: &str) -> Result<BpeBuilder, TextError> {
    const FILE: &str = "merges.txt";
    let vocab = ids(files, "vocab.json")?;
    needed(files, FILE)?;
    let lines = text_of(files, FILE)?.unwrap_or_default().lines();
    let mut merges = Vec::new();
    for (idx, line) in lines.enumerate().filter(|(_, line)| !line.starts_with("#version")) {
        let pair = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let (left, right) = pair.ok_or_else(|| TextError::Field {
            file: FILE,
            field: format!("line {}", idx + 1),
            expected: "two tokens with a space between them",
        })?;
        merges.push((left.to_owned(), right.to_owned()));
    }
    let builder = bpe(vocab.into_iter().collect(), merges)?;
    Ok(builder.continuing_subword_prefix(String::new()).end_of_word_suffix(suffix.to_owned()))
}

/// A builder whose merges all lead to tokens: the library trusts them.
fn bpe(vocab: Vocab, merges: Vec<(String, String)>) -> Result<BpeBuilder, TextError> {
    let is_missing = |(left, right): &&(String, String)| {
        !vocab.contains_key(left)
            || !vocab.contains_key(right)
            || !vocab.contains_key(&format!("{left}{right}"))
    };
    if let Some((left, right)) = merges.iter().find(is_missing) {
        let message = format!("the merge of {left:?} and {right:?} is not in the vocabulary");
        return Err(TextError::Vocabulary { message });
    }
    Ok(BPE::builder().vocab_and_merges(vocab, merges))
}

/// A SentencePiece model, from the file of that class or one of the usual name.
pub(super) fn sentence_pieces(
    files: Files<'_>,
    file: &'static str,
) -> Result<ModelProto, TextError> {
    const USUAL: &str = "tokenizer.model";
    match (files(file), files(USUAL)) {
        (Some(bytes), _) => read(file, bytes),
        (None, Some(bytes)) => read(USUAL, bytes),
        (None, None) => Err(TextError::NoVocabulary { file }),
    }
}

/// Pieces with their scores, in the order of their ids.
pub(super) fn scores(proto: &ModelProto) -> Vec<(String, f64)> {
    let pieces = proto.pieces.iter();
    pieces.map(|piece| (piece.piece().to_owned(), f64::from(piece.score()))).collect()
}

/// A model of scored pieces.
pub(super) fn unigram(pieces: Vec<(String, f64)>, unk_id: usize) -> Result<Unigram, TextError> {
    Unigram::from(pieces, Some(unk_id), false).map_err(unusable)
}

/// Control and user-defined pieces, which are added tokens too; only the first are special.
pub(super) fn marked_pieces(proto: &ModelProto) -> Vec<tokenizers::AddedToken> {
    let marked = proto.pieces.iter().filter_map(|piece| {
        let is_special = match piece.kind() {
            PieceKind::Control => true,
            PieceKind::UserDefined => false,
            _ => return None,
        };
        let token = tokenizers::AddedToken::from(piece.piece(), is_special);
        Some(token.normalized(false))
    });
    marked.collect()
}

/// The replacements of a model, checked, as the library reads them.
pub(super) fn charsmap(proto: &ModelProto) -> Result<Option<Value>, TextError> {
    let Some(bytes) = proto.charsmap() else { return Ok(None) };
    Charsmap::read(bytes)?;
    let precompiled = tokenizers::normalizers::Precompiled::from(bytes)
        .map_err(|error| TextError::Vocabulary { message: error.to_string() })?;
    serde_json::to_value(precompiled)
        .map(Some)
        .map_err(|error| TextError::Vocabulary { message: error.to_string() })
}

/// A model of merges out of pieces: two that are next to each other are merged when together they are a piece, in the
/// order of that piece's id. `vocab` may name the pieces otherwise.
pub(super) fn merged(
    proto: &ModelProto,
    vocab: impl IntoIterator<Item = (String, u32)>,
) -> Result<BpeBuilder, TextError> {
    let pieces: HashMap<&str, u32> =
        (0..).zip(&proto.pieces).map(|(id, piece)| (piece.piece(), id)).collect();
    let mut found: Vec<(u32, usize, &str)> = Vec::new();
    for (&piece, &id) in &pieces {
        for (idx, (at, _)) in piece.char_indices().enumerate().skip(1) {
            let (left, right) = piece.split_at(at);
            if pieces.contains_key(left) && pieces.contains_key(right) {
                found.push((id, idx, piece));
            }
        }
    }
    found.sort_unstable();
    let split = |(_, characters, piece): (u32, usize, &str)| {
        let at = piece.char_indices().nth(characters).map_or(piece.len(), |(at, _)| at);
        let (left, right) = piece.split_at(at);
        (left.to_owned(), right.to_owned())
    };
    bpe(vocab.into_iter().collect(), found.into_iter().map(split).collect())
}
