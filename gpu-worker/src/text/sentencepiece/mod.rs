//! SentencePiece itself, for the tokenizers that the reference runs through that library: text to pieces and back.
//!
//! Reference: `src/sentencepiece_processor.cc` of SentencePiece.

mod charsmap;
mod merges;
mod normalizer;
mod pieces;
pub(super) mod proto;
mod unigram;

use std::ops::Range;

pub(super) use self::charsmap::Charsmap;
use self::{
    normalizer::{Normalizer, SPACE},
    pieces::Pieces,
    proto::{ModelKind, ModelProto, PieceKind},
};
use super::TextError;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub piece: String,
    /// Bytes of the text.
    pub range: Range<usize>,
}

/// A model that is ready to work.
#[derive(Clone, Debug)]
pub(super) struct Processor {
    pieces: Pieces,
    normalizer: Normalizer,
    is_bpe: bool,
    byte_fallback: bool,
    unk_surface: String,
}

impl Processor {
    pub(super) fn new(file: &str, bytes: &[u8]) -> Result<Self, TextError> {
        let proto = proto::read(file, bytes)?;
        Self::of(&proto).map_err(|error| match error {
            TextError::Vocabulary { message } => {
                TextError::Vocabulary { message: format!("{file}: {message}") }
            }
            other => other,
        })
    }

    fn of(proto: &ModelProto) -> Result<Self, TextError> {
        let wrong = |message: &str| TextError::Vocabulary { message: message.to_owned() };
        let trainer = proto.trainer();
        let is_bpe = match trainer.model_type() {
            ModelKind::Unigram => false,
            ModelKind::Bpe => true,
            ModelKind::Word | ModelKind::Char => {
                return Err(wrong("models of whole words or of characters are not supported"));
            }
        };
        let denormalizer = proto.denormalizer_spec.as_ref();
        if denormalizer.is_some_and(|spec| !spec.precompiled_charsmap().is_empty()) {
            return Err(wrong("a denormalizer is not supported"));
        }
        let pieces = Pieces::new(proto)?;
        if trainer.byte_fallback()
            && (0..=255_u8).any(|byte| pieces.kind(pieces.id(&byte_piece(byte))) != PieceKind::Byte)
        {
            return Err(wrong("byte_fallback needs 256 byte pieces"));
        }
        Ok(Self {
            normalizer: Normalizer::new(proto, pieces.user_defined())?,
            is_bpe,
            byte_fallback: trainer.byte_fallback(),
            unk_surface: trainer.unk_surface().to_owned(),
            pieces,
        })
    }

    /// The pieces of a text. Unknown characters beside each other are one piece, whose text is theirs.
    pub(super) fn encode(&self, text: &str) -> Vec<Cut> {
        let normalized = self.normalizer.normalize(text);
        let cuts = if self.is_bpe {
            merges::cut(&self.pieces, &self.normalizer, &normalized.text)
        } else {
            unigram::cut(&self.pieces, &normalized.text)
        };
        let mut found: Vec<Cut> = Vec::with_capacity(cuts.len());
        let (mut start, mut after_unknown) = (0, false);
        for (end, id) in cuts {
            let piece = &normalized.text[start..end];
            let range = normalized.origins[start]..normalized.origins[end];
            start = end;
            let is_unknown = self.pieces.kind(id) == PieceKind::Unknown;
            if is_unknown && self.byte_fallback {
                let last = piece.len() - 1;
                found.extend(piece.bytes().enumerate().map(|(idx, byte)| Cut {
                    piece: byte_piece(byte),
                    // The text belongs to the last byte.
                    range: if idx == last { range.clone() } else { range.start..range.start },
                }));
            } else if let (true, true, Some(last)) = (is_unknown, after_unknown, found.last_mut()) {
                last.piece.push_str(piece);
                last.range.end = range.end;
            } else {
                found.push(Cut { piece: piece.to_owned(), range });
            }
            after_unknown = is_unknown;
        }
        found
    }

    /// A new stream of pieces to text.
    pub(super) fn decoding(&self) -> Decoding {
        Decoding { is_start: true, bytes: Vec::new() }
    }

    /// The text of one more piece, as far as it is certain.
    pub(super) fn decode_next(&self, state: &mut Decoding, piece: &str) -> String {
        let id = self.pieces.id(piece);
        if self.pieces.kind(id) == PieceKind::Byte {
            state.bytes.extend(byte_of(piece));
            return String::new();
        }
        let mut text = self.decode_end(state);
        let (decoded, has_space) = self.surface(piece, id, state.is_start);
        state.is_start &= !has_space && text.is_empty() && decoded.is_empty();
        text.push_str(&decoded);
        text
    }

    /// The rest of a stream, which begins anew.
    pub(super) fn decode_end(&self, state: &mut Decoding) -> String {
        let bytes = std::mem::take(&mut state.bytes);
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        state.is_start &= text.is_empty();
        text
    }

    /// How a piece is written, and whether a space was taken off its beginning that counts as the text's own.
    fn surface(&self, piece: &str, id: u32, is_start: bool) -> (String, bool) {
        match self.pieces.kind(id) {
            PieceKind::Control => return (String::new(), false),
            PieceKind::Unknown => {
                let is_the_piece = self.pieces.text(id) == Some(piece);
                let text = if is_the_piece { self.unk_surface.clone() } else { piece.to_owned() };
                return (text, false);
            }
            _ => {}
        }
        let removes = self.normalizer.remove_extra_whitespaces;
        let mut rest = piece;
        let mut has_space = false;
        if is_start
            && (self.normalizer.add_dummy_prefix || removes)
            && let Some(cut) = piece.strip_prefix(SPACE)
        {
            rest = cut;
            has_space = !removes;
        }
        (rest.replace(SPACE, " "), has_space)
    }
}

/// Where a stream of pieces is.
#[derive(Clone, Debug)]
pub(super) struct Decoding {
    /// Nothing was written yet.
    is_start: bool,
    /// Byte pieces that wait for the rest of a character.
    bytes: Vec<u8>,
}

fn byte_piece(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

fn byte_of(piece: &str) -> Option<u8> {
    u8::from_str_radix(piece.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}
