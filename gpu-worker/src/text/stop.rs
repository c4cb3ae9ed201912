//! Ends a stream of text before a stop string, whatever the pieces it arrives in.
//!
//! The first stop string to be complete wins, of those that end at one place the longest. So the outcome depends on
//! the text alone, never on where a token ends.

/// What one piece leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopOutcome {
    /// Text that belongs to the answer for certain.
    pub emit: String,
    /// A stop string was met: nothing follows.
    pub stopped: bool,
}

/// Watches for stop strings (Knuth, Morris, Pratt: linear in the text for each of them).
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    patterns: Vec<Pattern>,
    /// The end of the text, which may still become a stop string.
    held: String,
    stopped: bool,
}

#[derive(Clone, Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// For each prefix the length of its longest proper prefix that is also its suffix.
    borders: Vec<usize>,
    /// Bytes of the pattern that the text ends with.
    matched: usize,
}

impl StopMatcher {
    /// Empty strings never match.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Self {
        let patterns = stops
            .iter()
            .map(AsRef::as_ref)
            .filter(|stop| !stop.is_empty())
            .map(Pattern::new)
            .collect();
        Self { patterns, ..Self::default() }
    }

    /// Takes the next piece. After a stop everything is dropped.
    pub fn push(&mut self, piece: &str) -> StopOutcome {
        if self.stopped {
            return StopOutcome { emit: String::new(), stopped: true };
        }
        let before = self.held.len();
        self.held.push_str(piece);
        for (idx, byte) in piece.bytes().enumerate() {
            let mut longest = 0;
            for pattern in &mut self.patterns {
                if pattern.advance(byte) {
                    longest = longest.max(pattern.bytes.len());
                }
            }
            if longest > 0 {
                self.stopped = true;
                self.held.truncate(before + idx + 1 - longest);
                return StopOutcome { emit: std::mem::take(&mut self.held), stopped: true };
            }
        }
        let keep = self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        StopOutcome { emit: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// The text that was held back, once nothing follows.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes().to_vec();
        let mut borders = vec![0; bytes.len()];
        for idx in 1..bytes.len() {
            let mut length = borders[idx - 1];
            while length > 0 && bytes[idx] != bytes[length] {
                length = borders[length - 1];
            }
            borders[idx] = length + usize::from(bytes[idx] == bytes[length]);
        }
        Self { bytes, borders, matched: 0 }
    }

    /// True when the pattern is complete with this byte.
    fn advance(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.borders[self.matched - 1];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        self.matched == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops);
        let mut text = String::new();
        for piece in pieces {
            let outcome = matcher.push(piece);
            text.push_str(&outcome.emit);
            if outcome.stopped {
                return (text, true);
            }
        }
        text.push_str(&matcher.finish());
        (text, false)
    }

    #[test]
    fn a_match_may_span_pieces() {
        assert_eq!(stream(&["\n\nUser:"], &["Hello\n", "\nUs", "er: hi"]), ("Hello".into(), true));
    }

    #[test]
    fn a_false_beginning_is_given_back() {
        assert_eq!(stream(&["</end>"], &["a</en", "core>"]), ("a</encore>".into(), false));
        assert_eq!(stream(&["</end>"], &["a</en"]), ("a</en".into(), false));
    }

    #[test]
    fn the_first_to_be_complete_wins() {
        assert_eq!(stream(&["abcd", "c"], &["xabcd"]), ("xab".into(), true));
        assert_eq!(stream(&["b", "ab"], &["xab"]), ("x".into(), true));
    }

    #[test]
    fn only_what_may_still_match_is_held_back() {
        let mut matcher = StopMatcher::new(&["ené"]);
        assert_eq!(matcher.push("been è en").emit, "been è ");
    }

    /// Cuts before the stop that ends first, the longest of those.
    fn naive(stops: &[String], text: &str) -> (String, bool) {
        let first = stops
            .iter()
            .filter_map(|stop| text.find(stop.as_str()).map(|start| (start + stop.len(), start)))
            .min();
        first.map_or((text.to_owned(), false), |(_, start)| (text[..start].to_owned(), true))
    }

    proptest! {
        #[test]
        fn equals_a_naive_search(
            stops in prop::collection::vec("[abé]{1,4}", 1..4),
            pieces in prop::collection::vec("[abéc]{0,5}", 0..12),
        ) {
            let stop_refs: Vec<&str> = stops.iter().map(String::as_str).collect();
            let piece_refs: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(stream(&stop_refs, &piece_refs), naive(&stops, &pieces.concat()));
        }
    }
}
