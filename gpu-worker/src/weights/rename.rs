//! Old spellings of tensor names, as a table that is applied where a checkpoint is opened.

use std::collections::BTreeSet;

/// One rule. A rule never overwrites: a tensor whose new name is taken keeps its old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// `LayerNorm.gamma` becomes `LayerNorm.weight`: only at the end of a name.
    Suffix { from: &'static str, to: &'static str },
    /// Every occurrence anywhere in a name.
    Part { from: &'static str, to: &'static str },
    /// Names that begin with the prefix lose it.
    StripPrefix(&'static str),
    /// All names lose a prefix that they all begin with: what a training script wrapped the whole model in.
    StripWrapper(&'static str),
    /// If no name begins with the prefix, all get it, except those that begin with one of `except` (a head's names).
    AddPrefix { prefix: &'static str, except: &'static [&'static str] },
}

/// Spellings of the checkpoints that were converted from TensorFlow.
pub const GAMMA_BETA: &[Rename] = &[
    Rename::Suffix { from: ".gamma", to: ".weight" },
    Rename::Suffix { from: ".beta", to: ".bias" },
];

/// Spellings that any architecture's checkpoint may have, to be applied before its own: what PyTorch's data parallelism
/// and its compiler put before every name, and layer norms as TensorFlow names them.
pub const OF_ANY_MODEL: &[Rename] = &[
    Rename::StripWrapper("_orig_mod."),
    Rename::StripWrapper("module."),
    Rename::StripWrapper("_orig_mod."),
    Rename::Suffix { from: "LayerNorm.gamma", to: "LayerNorm.weight" },
    Rename::Suffix { from: "LayerNorm.beta", to: "LayerNorm.bias" },
];

impl Rename {
    /// The new name, `None` if it stays. `names` are all those of the checkpoint.
    pub(super) fn apply(&self, name: &str, names: &Names) -> Option<String> {
        match *self {
            Self::Suffix { from, to } => name.strip_suffix(from).map(|stem| format!("{stem}{to}")),
            Self::Part { from, to } => name.contains(from).then(|| name.replace(from, to)),
            Self::StripPrefix(prefix) => name.strip_prefix(prefix).map(str::to_owned),
            Self::StripWrapper(prefix) => {
                let rest = name.strip_prefix(prefix)?;
                names.all_begin(prefix).then(|| rest.to_owned())
            }
            Self::AddPrefix { prefix, except } => {
                let stays = except.iter().any(|except| name.starts_with(except))
                    || names.some_begin(prefix);
                (!stays).then(|| format!("{prefix}{name}"))
            }
        }
    }
}

/// The names after all rules in turn, in the same order.
pub fn renamed<'a>(
    rules: impl IntoIterator<Item = &'a Rename>,
    mut names: Vec<String>,
) -> Vec<String> {
    for rule in rules {
        let all = Names(names.iter().cloned().collect());
        for name in &mut names {
            if let Some(renamed) = rule.apply(name, &all) {
                *name = renamed;
            }
        }
    }
    names
}

/// All names of a checkpoint.
pub(super) struct Names(pub(super) BTreeSet<String>);

impl Names {
    fn some_begin(&self, prefix: &str) -> bool {
        let first = self.0.range(prefix.to_owned()..).next();
        first.is_some_and(|name| name.starts_with(prefix))
    }

    /// Those between the first and the last of a sorted list begin as these two do.
    fn all_begin(&self, prefix: &str) -> bool {
        let ends = [self.0.first(), self.0.last()];
        ends.into_iter().all(|name| name.is_some_and(|name| name.starts_with(prefix)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(names: &[&str]) -> Vec<String> {
        super::renamed(OF_ANY_MODEL, names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn wrappers_go_only_when_all_names_have_them() {
        assert_eq!(renamed(&["module.a.weight", "module.b"]), ["a.weight", "b"]);
        assert_eq!(renamed(&["module._orig_mod.a", "module._orig_mod.b"]), ["a", "b"]);
        assert_eq!(renamed(&["_orig_mod.module.a"]), ["a"]);
        assert_eq!(renamed(&["a", "module.b"]), ["a", "module.b"]);
    }

    #[test]
    fn layer_norms_are_renamed_and_other_gammas_are_not() {
        assert_eq!(renamed(&["x.LayerNorm.gamma", "x.gamma"]), ["x.LayerNorm.weight", "x.gamma"]);
        assert_eq!(renamed(&["LayerNorm.beta"]), ["LayerNorm.bias"]);
    }
}
