//! Neighbours merged into pieces, the best pair first.
//!
//! Reference: `Model::SampleEncode` in `src/bpe_model.cc` of SentencePiece, without sampling.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap},
    ops::Range,
};

use super::{normalizer::Normalizer, pieces::Pieces};

struct Symbol {
    /// Empty once it was merged into the one before.
    range: Range<usize>,
    before: Option<usize>,
    after: Option<usize>,
    /// A piece of its own that is never merged.
    is_frozen: bool,
}

/// Two neighbours that make a piece: the highest score first, then the leftmost.
struct Pair {
    score: f32,
    left: Reverse<usize>,
    right: usize,
    length: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then(self.left.cmp(&other.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Pieces of a normalised text: where each ends, and its id.
pub(super) fn cut(pieces: &Pieces, normalizer: &Normalizer, text: &str) -> Vec<(usize, u32)> {
    let mut merging = Merging { pieces, text, symbols: Vec::new(), agenda: BinaryHeap::new() };
    merging.split(normalizer);
    // How pieces that are not to be used came about, so that they can be taken apart again.
    let mut parts: HashMap<&str, usize> = HashMap::new();
    for right in 1..merging.symbols.len() {
        merging.propose(Some(right - 1), Some(right), &mut parts);
    }
    while let Some(Pair { left: Reverse(left), right, length, .. }) = merging.agenda.pop() {
        let (first, second) = (&merging.symbols[left].range, &merging.symbols[right].range);
        if first.is_empty() || second.is_empty() || first.len() + second.len() != length {
            continue;
        }
        let end = second.end;
        let after = merging.symbols[right].after;
        merging.symbols[right].range = end..end;
        merging.symbols[left].range.end = end;
        merging.symbols[left].after = after;
        if let Some(after) = after {
            merging.symbols[after].before = Some(left);
        }
        merging.propose(merging.symbols[left].before, Some(left), &mut parts);
        merging.propose(Some(left), after, &mut parts);
    }
    let mut cuts = Vec::new();
    let mut next = (!merging.symbols.is_empty()).then_some(0);
    while let Some(idx) = next {
        take_apart(pieces, text, merging.symbols[idx].range.clone(), &parts, &mut cuts);
        next = merging.symbols[idx].after;
    }
    cuts
}

struct Merging<'a> {
    pieces: &'a Pieces,
    text: &'a str,
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
}

impl<'a> Merging<'a> {
    /// Into characters, and pieces that are taken as they are.
    fn split(&mut self, normalizer: &Normalizer) {
        let mut start = 0;
        while let Some(c) = self.text[start..].chars().next() {
            let whole = normalizer.untouched(&self.text[start..]);
            let end = start + whole.map_or(c.len_utf8(), str::len);
            let idx = self.symbols.len();
            self.symbols.push(Symbol {
                range: start..end,
                before: idx.checked_sub(1),
                after: (end < self.text.len()).then_some(idx + 1),
                is_frozen: whole.is_some(),
            });
            start = end;
        }
    }

    fn propose(
        &mut self,
        left: Option<usize>,
        right: Option<usize>,
        parts: &mut HashMap<&'a str, usize>,
    ) {
        let (Some(left), Some(right)) = (left, right) else { return };
        let (first, second) = (&self.symbols[left], &self.symbols[right]);
        if first.is_frozen || second.is_frozen {
            return;
        }
        let merged = &self.text[first.range.start..second.range.end];
        let Some(id) = self.pieces.normal(merged) else { return };
        if self.pieces.is_unused(id) {
            parts.insert(merged, first.range.len());
        }
        self.agenda.push(Pair {
            score: self.pieces.score(id),
            left: Reverse(left),
            right,
            length: merged.len(),
        });
    }
}

fn take_apart(
    pieces: &Pieces,
    text: &str,
    range: Range<usize>,
    parts: &HashMap<&str, usize>,
    cuts: &mut Vec<(usize, u32)>,
) {
    let mut waiting = vec![range];
    while let Some(range) = waiting.pop() {
        let piece = &text[range.clone()];
        let id = pieces.id(piece);
        match parts.get(piece).filter(|_| pieces.is_unused(id)) {
            Some(&first) => {
                let middle = range.start + first;
                waiting.push(middle..range.end);
                waiting.push(range.start..middle);
            }
            None => cuts.push((range.end, id)),
        }
    }
}
