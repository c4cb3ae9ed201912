//! Old spellings of tensor names, as a table that is applied where a checkpoint is opened.

/// One rule. A rule never overwrites: a tensor whose new name is taken keeps its old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// `LayerNorm.gamma` becomes `LayerNorm.weight`: only at the end of a name.
    Suffix { from: &'static str, to: &'static str },
    /// Every occurrence anywhere in a name.
    Part { from: &'static str, to: &'static str },
    /// Names that begin with the prefix lose it.
    StripPrefix(&'static str),
    /// If no name begins with the prefix, all get it, except those that begin with one of `except` (a head's names).
    AddPrefix { prefix: &'static str, except: &'static [&'static str] },
}

/// Spellings of the checkpoints that were converted from TensorFlow.
pub const GAMMA_BETA: &[Rename] = &[
    Rename::Suffix { from: ".gamma", to: ".weight" },
    Rename::Suffix { from: ".beta", to: ".bias" },
];

impl Rename {
    /// The new name, `None` if it stays. `has_prefix` answers whether any name of the checkpoint begins with a prefix.
    pub(super) fn apply(&self, name: &str, has_prefix: impl Fn(&str) -> bool) -> Option<String> {
        match *self {
            Self::Suffix { from, to } => name.strip_suffix(from).map(|stem| format!("{stem}{to}")),
            Self::Part { from, to } => name.contains(from).then(|| name.replace(from, to)),
            Self::StripPrefix(prefix) => name.strip_prefix(prefix).map(str::to_owned),
            Self::AddPrefix { prefix, except } => {
                let stays =
                    except.iter().any(|except| name.starts_with(except)) || has_prefix(prefix);
                (!stays).then(|| format!("{prefix}{name}"))
            }
        }
    }
}
