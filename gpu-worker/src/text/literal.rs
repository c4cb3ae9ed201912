//! Replacing a literal in a stream: the same as `str::replace` on the whole text, whatever the pieces.

/// Replaces every occurrence of one string, from the left.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    from: String,
    to: String,
    /// The end of the text, which may still become an occurrence.
    held: String,
}

impl Literal {
    /// `from` is not empty.
    pub(super) fn new(from: impl Into<String>, to: impl Into<String>) -> Self {
        Self { from: from.into(), to: to.into(), held: String::new() }
    }

    pub(super) fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let mut text = String::with_capacity(self.held.len());
        let mut rest = self.held.as_str();
        while let Some(start) = rest.find(&self.from) {
            text.push_str(&rest[..start]);
            text.push_str(&self.to);
            rest = &rest[start + self.from.len()..];
        }
        let longest = rest.len().min(self.from.len() - 1);
        let keep = (1..=longest)
            .rev()
            .find(|&n| rest.as_bytes()[rest.len() - n..] == self.from.as_bytes()[..n])
            .unwrap_or(0);
        text.push_str(&rest[..rest.len() - keep]);
        self.held = rest[rest.len() - keep..].to_owned();
        text
    }

    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_replacing_in_the_whole_text(
            from in "[aé ]{1,3}",
            pieces in prop::collection::vec("[aé b]{0,4}", 0..12),
        ) {
            let mut literal = Literal::new(from.clone(), "x");
            let mut text: String = pieces.iter().map(|piece| literal.push(piece)).collect();
            text.push_str(&literal.finish());
            prop_assert_eq!(text, pieces.concat().replace(&from, "x"));
        }
    }
}
