//! The pieces of a model: their ids, scores and kinds, and which of them a text begins with.

use std::collections::HashMap;

use super::proto::{ModelProto, PieceKind};
use crate::text::TextError;

/// How much worse than the worst piece an unknown character is.
pub(super) const UNKNOWN_PENALTY: f32 = 10.0;

#[derive(Clone, Debug)]
pub(super) struct Pieces {
    list: Vec<Piece>,
    /// Pieces that can be found in a text.
    normal: HashMap<String, u32>,
    /// Control, unknown and byte pieces.
    reserved: HashMap<String, u32>,
    /// Ids of the first ones by their bytes, to be narrowed byte by byte.
    sorted: Vec<u32>,
    /// Where in `sorted` those begin that begin with a byte; one more for the end.
    first: Vec<usize>,
    pub(super) unknown: u32,
    pub(super) min_score: f32,
    pub(super) max_score: f32,
}

#[derive(Clone, Debug)]
struct Piece {
    text: String,
    score: f32,
    kind: PieceKind,
}

impl Pieces {
    pub(super) fn new(proto: &ModelProto) -> Result<Self, TextError> {
        let mut pieces = Self {
            list: Vec::with_capacity(proto.pieces.len()),
            normal: HashMap::new(),
            reserved: HashMap::new(),
            sorted: Vec::new(),
            first: Vec::new(),
            unknown: 0,
            min_score: f32::MAX,
            max_score: f32::MIN_POSITIVE,
        };
        let wrong = |message: String| TextError::Vocabulary { message };
        for (id, piece) in (0u32..).zip(&proto.pieces) {
            let (text, kind) = (piece.piece(), piece.kind());
            let known = match kind {
                PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused => {
                    pieces.sorted.push(id);
                    pieces.normal.insert(text.to_owned(), id)
                }
                PieceKind::Unknown | PieceKind::Control | PieceKind::Byte => {
                    pieces.reserved.insert(text.to_owned(), id)
                }
            };
            if known.is_some() || text.is_empty() {
                return Err(wrong(format!("the piece {text:?} is empty or there twice")));
            }
            if kind == PieceKind::Unknown {
                pieces.unknown = id;
            }
            if kind == PieceKind::Normal {
                pieces.min_score = pieces.min_score.min(piece.score());
                pieces.max_score = pieces.max_score.max(piece.score());
            }
            pieces.list.push(Piece { text: text.to_owned(), score: piece.score(), kind });
        }
        let unknown = proto.pieces.iter().filter(|piece| piece.kind() == PieceKind::Unknown);
        if unknown.count() != 1 {
            return Err(wrong("there must be one piece for what is unknown".to_owned()));
        }
        let list = &pieces.list;
        pieces.sorted.sort_by(|&a, &b| list[a as usize].text.cmp(&list[b as usize].text));
        let begins = |&id: &u32| usize::from(list[id as usize].text.as_bytes()[0]);
        pieces.first =
            (0..=256).map(|byte| pieces.sorted.partition_point(|id| begins(id) < byte)).collect();
        Ok(pieces)
    }

    /// Pieces that a text begins with, the shortest first: their lengths and ids.
    pub(super) fn prefixes<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (usize, u32)> + 'a {
        let bytes = text.as_bytes();
        let first = bytes.first().map_or(0, |&byte| usize::from(byte));
        let mut range = &self.sorted[self.first[first]..self.first[first + 1]];
        let mut length = 0;
        std::iter::from_fn(move || {
            while length < bytes.len() && !range.is_empty() {
                let next = bytes[length];
                let at = |id: &u32| self.list[*id as usize].text.as_bytes().get(length).copied();
                let start = range.partition_point(|id| at(id) < Some(next));
                let end = start + range[start..].partition_point(|id| at(id) == Some(next));
                range = &range[start..end];
                length += 1;
                // The shortest of those that begin so is the first one.
                if let Some(&id) = range.first()
                    && self.list[id as usize].text.len() == length
                    && !self.is_unused(id)
                {
                    return Some((length, id));
                }
            }
            None
        })
    }

    /// The id of a piece that can be found in a text.
    pub(super) fn normal(&self, piece: &str) -> Option<u32> {
        self.normal.get(piece).copied()
    }

    /// The id of a piece, that of the unknown one where there is none.
    pub(super) fn id(&self, piece: &str) -> u32 {
        let known = self.reserved.get(piece).or_else(|| self.normal.get(piece));
        known.copied().unwrap_or(self.unknown)
    }

    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.list.get(id as usize).map(|piece| piece.text.as_str())
    }

    pub(super) fn score(&self, id: u32) -> f32 {
        self.list[id as usize].score
    }

    pub(super) fn kind(&self, id: u32) -> PieceKind {
        self.list[id as usize].kind
    }

    pub(super) fn is_unused(&self, id: u32) -> bool {
        self.kind(id) == PieceKind::Unused
    }

    pub(super) fn is_user_defined(&self, id: u32) -> bool {
        self.kind(id) == PieceKind::UserDefined
    }

    pub(super) fn user_defined(&self) -> Vec<String> {
        let defined = self.list.iter().filter(|piece| piece.kind == PieceKind::UserDefined);
        defined.map(|piece| piece.text.clone()).collect()
    }
}
