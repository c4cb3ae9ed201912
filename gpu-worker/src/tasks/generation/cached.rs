//! What a sequence has in the cache, and how much of that another one could go on from.

/// The tokens of a sequence whose keys and values are in its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cached {
    tokens: usize,
    /// How many of them, from the first on, were computed in one regime.
    alike: usize,
    /// Of the first one.
    regime: Option<u32>,
}

impl Cached {
    /// What an earlier text had in this regime.
    pub fn taken_over(tokens: usize, regime: Option<u32>) -> Self {
        Self { tokens, alike: tokens, regime }
    }

    pub fn tokens(self) -> usize {
        self.tokens
    }

    /// Notes that more tokens are there, computed in this regime ([`crate::models::CausalLm::regime`]).
    pub fn advance(&mut self, tokens: usize, regime: Option<u32>) {
        if self.tokens == 0 {
            self.regime = regime;
        }
        if self.alike == self.tokens && regime.is_some() && regime == self.regime {
            self.alike += tokens;
        }
        self.tokens += tokens;
    }

    /// How many tokens another text could go on from, if it is read in this regime.
    pub fn reusable(self) -> Option<(usize, u32)> {
        self.regime.map(|regime| (self.alike, regime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_computed_alike_from_the_first_token_on_is_reusable() {
        for (advances, expected) in [
            (vec![(5, Some(0)), (1, Some(0))], Some((6, 0))),
            (vec![(5, Some(1)), (1, Some(1))], Some((6, 1))),
            (vec![(5, Some(0)), (1, Some(1)), (1, Some(1))], Some((5, 0))),
            (vec![(5, Some(0)), (1, None), (1, Some(0))], Some((5, 0))),
            (vec![(5, None), (1, Some(0))], None),
        ] {
            let mut cached = Cached::default();
            for &(tokens, regime) in &advances {
                cached.advance(tokens, regime);
            }
            assert_eq!(cached.reusable(), expected, "{advances:?}");
            assert_eq!(cached.tokens(), advances.iter().map(|(tokens, _)| tokens).sum::<usize>());
        }
        let mut cached = Cached::taken_over(4, Some(0));
        cached.advance(2, Some(0));
        assert_eq!(cached.reusable(), Some((6, 0)));
    }
}
