//! The most probable way to cut a text into pieces.
//!
//! Reference: `Model::EncodeOptimized` in `src/unigram_model.cc` of SentencePiece, its single precision included.

use super::pieces::{Pieces, UNKNOWN_PENALTY};

/// The best way to an end.
#[derive(Clone, Copy)]
struct Best {
    id: u32,
    score: f32,
    start: usize,
}

/// Pieces of a normalised text: where each ends, and its id.
pub(super) fn cut(pieces: &Pieces, text: &str) -> Vec<(usize, u32)> {
    let unknown_score = pieces.min_score - UNKNOWN_PENALTY;
    let mut best: Vec<Option<Best>> = vec![None; text.len() + 1];
    for (start, c) in text.char_indices() {
        let so_far = best[start].map_or(0.0, |best| best.score);
        let mut take = |end: usize, id: u32, score: f64| {
            let score = score + f64::from(so_far);
            if best[end].is_none_or(|best| score > f64::from(best.score)) {
                best[end] = Some(Best { id, score: score as f32, start });
            }
        };
        let mut has_character = false;
        for (length, id) in pieces.prefixes(&text[start..]) {
            let score = if pieces.is_user_defined(id) {
                // Always better than its parts.
                f64::from(length as f32 * pieces.max_score) - 0.1
            } else {
                f64::from(pieces.score(id))
            };
            take(start + length, id, score);
            has_character |= length == c.len_utf8();
        }
        if !has_character {
            take(start + c.len_utf8(), pieces.unknown, f64::from(unknown_score));
        }
    }
    let mut cuts = Vec::new();
    let mut end = text.len();
    while end > 0 {
        let Some(node) = best[end] else { break };
        cuts.push((end, node.id));
        end = node.start;
    }
    cuts.reverse();
    cuts
}
