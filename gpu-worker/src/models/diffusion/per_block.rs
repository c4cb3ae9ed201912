//! Fields of a config that have one value for all blocks of a network, or one for each.

use serde::Deserialize;

use crate::models::{LoadError, check_positive, unsupported};

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum PerBlock<T> {
    Each(Vec<T>),
    One(T),
}

impl<T: Clone> PerBlock<T> {
    /// One value for each of `n_blocks` blocks.
    pub(super) fn resolve(
        &self,
        field: &'static str,
        n_blocks: usize,
    ) -> Result<Vec<T>, LoadError> {
        match self {
            Self::One(value) => Ok(vec![value.clone(); n_blocks]),
            Self::Each(values) if values.len() == n_blocks => Ok(values.clone()),
            Self::Each(values) => {
                let found = format!("{} values instead of {n_blocks}", values.len());
                Err(unsupported(field, found))
            }
        }
    }
}

impl PerBlock<i64> {
    /// Height and width, where one number stands for both.
    pub(super) fn sides(&self, field: &'static str) -> Result<[i64; 2], LoadError> {
        let sides = self.resolve(field, 2)?;
        check_positive(&[(field, sides[0]), (field, sides[1])])?;
        Ok([sides[0], sides[1]])
    }
}
