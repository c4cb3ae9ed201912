//! Texts that have ended and whose keys and values are kept, in case another text begins as they do.
//!
//! Pure: whatever holds the keys and values is opaque, and so is the room for more of it.

use std::{collections::VecDeque, rc::Rc, sync::Arc};

use crate::tasks::{AdapterKey, Job, Tenant};

/// Fewer tokens than these are not worth a copy.
const LEAST_TOKENS: usize = 16;

/// For whom keys and values were computed. Nobody else may learn from the time of an answer that they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub tenant: Tenant,
    /// `None`: the model as it is.
    pub adapter: Option<AdapterKey>,
}

impl Owner {
    pub fn of(job: &Job) -> Self {
        let adapter = job.adapter.as_ref().map(|used| used.key.clone());
        Self { tenant: Arc::clone(&job.tenant), adapter }
    }
}

/// A text that has ended.
pub struct Prefix<S> {
    pub owner: Owner,
    /// How its keys were computed ([`crate::models::CausalLm::regime`]).
    pub regime: u32,
    /// The tokens whose keys and values are held.
    pub ids: Vec<u32>,
    pub held: Rc<S>,
}

/// A text that is about to be read.
pub struct Wanted<'a> {
    pub owner: Owner,
    /// `None`: it can go on from nothing.
    pub regime: Option<u32>,
    pub prompt: &'a [u32],
    /// How many sequences need room for it.
    pub rows: usize,
}

/// Room for a text, and what it goes on from.
pub struct Opened<S> {
    /// One for each row.
    pub slots: Vec<S>,
    /// How many tokens of the prompt need not be read; there is always one left to read.
    pub cached: usize,
    /// Where they have to be copied from; `None`: they are in the only slot already.
    pub source: Option<Rc<S>>,
}

/// The texts that are kept; whoever was of use last stands last.
pub struct Prefixes<S>(VecDeque<Prefix<S>>);

/// What a text has in common with one that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    at: usize,
    tokens: usize,
    /// Nothing of what is kept comes after it.
    is_whole: bool,
}

impl<S> Default for Prefixes<S> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<S> Prefixes<S> {
    /// Keeps a text, and lets go of those that it goes on from: whatever goes on from them goes on from it.
    pub fn keep(&mut self, new: Prefix<S>) {
        if new.ids.len() < LEAST_TOKENS {
            return;
        }
        let is_akin = |other: &Prefix<S>| other.owner == new.owner && other.regime == new.regime;
        self.0.retain(|other| !(is_akin(other) && new.ids.starts_with(&other.ids)));
        match self.0.iter().position(|other| is_akin(other) && other.ids.starts_with(&new.ids)) {
            Some(longer) => self.touch(longer),
            None => self.0.push_back(new),
        }
    }

    /// Room for the rows of a text, with as much in it as can be had of what is kept. What is kept gives way, the least
    /// recently used first, for as long as `reserve` finds no room for a row.
    pub fn open(
        &mut self,
        wanted: &Wanted,
        reserve: impl Fn() -> Option<S>,
        fits: impl Fn(&S) -> bool,
    ) -> Option<Opened<S>> {
        if let Some(found) = self.longest(wanted) {
            let moves = |held: &S| wanted.rows == 1 && fits(held);
            // A text that only goes on needs no second copy of what it was.
            if found.is_whole
                && moves(&self.0[found.at].held)
                && let Some(slot) = self.take(found.at)
            {
                return Some(Opened { slots: vec![slot], cached: found.tokens, source: None });
            }
            let source = Rc::clone(&self.0[found.at].held);
            self.touch(found.at);
            if let Some(slots) = self.reserve(wanted.rows, &reserve) {
                return Some(Opened { slots, cached: found.tokens, source: Some(source) });
            }
            // There is no room for both: what is kept becomes the text, or gives way to it.
            let moves = moves(&source);
            drop(source);
            if moves && let Some(slot) = self.take(self.0.len() - 1) {
                return Some(Opened { slots: vec![slot], cached: found.tokens, source: None });
            }
        }
        let slots = self.reserve(wanted.rows, &reserve)?;
        Some(Opened { slots, cached: 0, source: None })
    }

    /// What holds the keys and values.
    pub fn held(&self) -> impl Iterator<Item = &S> {
        self.0.iter().map(|prefix| &*prefix.held)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The longest beginning that is kept; of equals one that is whole, and then the one that was of use last.
    fn longest(&self, wanted: &Wanted) -> Option<Match> {
        let regime = wanted.regime?;
        // The last token is read in any case: the next one is told by what it gives.
        let (_, readable) = wanted.prompt.split_last()?;
        let akin = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, kept)| kept.owner == wanted.owner && kept.regime == regime);
        akin.map(|(at, kept)| {
            let tokens = common(&kept.ids, readable);
            Match { at, tokens, is_whole: tokens == kept.ids.len() }
        })
        .filter(|found| found.tokens >= LEAST_TOKENS)
        .max_by_key(|found| (found.tokens, found.is_whole, found.at))
    }

    fn reserve(&mut self, rows: usize, reserve: &impl Fn() -> Option<S>) -> Option<Vec<S>> {
        (0..rows)
            .map(|_| {
                loop {
                    if let Some(slot) = reserve() {
                        return Some(slot);
                    }
                    // What is about to be copied from frees nothing yet.
                    let oldest =
                        self.0.iter().position(|kept| Rc::strong_count(&kept.held) == 1)?;
                    self.0.remove(oldest);
                }
            })
            .collect()
    }

    /// Takes what is held out, unless somebody is about to copy from it.
    fn take(&mut self, at: usize) -> Option<S> {
        let Prefix { owner, regime, ids, held } = self.0.remove(at)?;
        match Rc::try_unwrap(held) {
            Ok(held) => Some(held),
            Err(held) => {
                self.0.insert(at, Prefix { owner, regime, ids, held });
                None
            }
        }
    }

    fn touch(&mut self, at: usize) {
        if let Some(prefix) = self.0.remove(at) {
            self.0.push_back(prefix);
        }
    }
}

/// How many tokens two texts begin with alike.
fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests;
