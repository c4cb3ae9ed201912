//! What is put around a text, and between two.

use tokenizers::{
    PostProcessorWrapper, Tokenizer,
    processors::{roberta::RobertaProcessing, template::TemplateProcessing},
};

use super::settings::Settings;
use crate::text::{TextError, special_tokens::SpecialTokens};

/// A class's way of marking the ends. Tokens are given by their text.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::text) enum Ends {
    /// Pieces of a template each: `$A`, `$B` and tokens, a type after the colon.
    Template { single: Vec<String>, pair: Vec<String> },
    /// As [`Self::Template`], unless the settings name `add_bos_token` or `add_eos_token`.
    TemplateUnlessFlags { single: Vec<String>, pair: Vec<String> },
    /// The first token, the last one, twice between two texts. Offsets leave out the space a token begins with.
    Roberta { cls: String, sep: String, trim_offsets: bool, add_prefix_space: bool },
    /// What `add_bos_token` and `add_eos_token` say.
    Flags { bos: bool, eos: bool },
}

impl Ends {
    /// Templates are written with spaces between their pieces.
    pub(super) fn template(single: &str, pair: &str) -> Self {
        Self::Template { single: pieces(single), pair: pieces(pair) }
    }

    /// First token, text, last token; of two texts the second is of type 1.
    pub(super) fn cls_sep(cls: &str, sep: &str) -> Self {
        Self::Template {
            single: vec![format!("{cls}:0"), "$A:0".to_owned(), format!("{sep}:0")],
            pair: vec![
                format!("{cls}:0"),
                "$A:0".to_owned(),
                format!("{sep}:0"),
                "$B:1".to_owned(),
                format!("{sep}:1"),
            ],
        }
    }

    /// First token, text, last token, which is doubled between two texts.
    pub(super) fn double_sep(cls: &str, sep: &str) -> Self {
        let [cls, sep] = [cls.to_owned(), sep.to_owned()];
        let (a, b) = ("$A".to_owned(), "$B".to_owned());
        Self::Template {
            single: vec![cls.clone(), a.clone(), sep.clone()],
            pair: vec![cls, a, sep.clone(), sep.clone(), b, sep],
        }
    }

    pub(super) fn with_flags(self, settings: &Settings) -> Result<Self, TextError> {
        let flags = (settings.flag("add_bos_token")?, settings.flag("add_eos_token")?);
        Ok(match (self, flags) {
            (Self::TemplateUnlessFlags { single, pair }, (None, None)) => {
                Self::Template { single, pair }
            }
            (Self::TemplateUnlessFlags { .. }, (bos, eos)) => {
                Self::Flags { bos: bos.unwrap_or(false), eos: eos.unwrap_or(false) }
            }
            (Self::Flags { bos, eos }, (said_bos, said_eos)) => {
                Self::Flags { bos: said_bos.unwrap_or(bos), eos: said_eos.unwrap_or(eos) }
            }
            (other, _) => other,
        })
    }

    pub(super) fn build(
        &self,
        tokenizer: &Tokenizer,
        special: &SpecialTokens,
    ) -> Result<PostProcessorWrapper, TextError> {
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| TextError::Vocabulary {
                message: format!("the token {token:?} is not in the vocabulary"),
            })
        };
        match self {
            Self::Template { single, pair } | Self::TemplateUnlessFlags { single, pair } => {
                template(single, pair, &id)
            }
            Self::Roberta { cls, sep, trim_offsets, add_prefix_space } => {
                let ends = RobertaProcessing::new((sep.clone(), id(sep)?), (cls.clone(), id(cls)?));
                let ends = ends.trim_offsets(*trim_offsets).add_prefix_space(*add_prefix_space);
                Ok(PostProcessorWrapper::Roberta(ends))
            }
            Self::Flags { bos, eos } => {
                let (single, pair) = flagged(
                    special.get("bos_token").filter(|_| *bos),
                    special.get("eos_token").filter(|_| *eos),
                );
                template(&single, &pair, &id)
            }
        }
    }
}

/// Templates of a beginning and an end around each text, where there are such tokens.
pub(in crate::text) fn flagged(bos: Option<&str>, eos: Option<&str>) -> (Vec<String>, Vec<String>) {
    let around = |text: &str, kind: u32| {
        let token = |content: Option<&str>| content.map(|content| format!("{content}:{kind}"));
        [token(bos), Some(format!("{text}:{kind}")), token(eos)].into_iter().flatten()
    };
    let single: Vec<String> = around("$A", 0).collect();
    let pair = single.iter().cloned().chain(around("$B", 1)).collect();
    (single, pair)
}

/// `id` answers for every token of the templates.
pub(in crate::text) fn template(
    single: &[String],
    pair: &[String],
    id: &dyn Fn(&str) -> Result<u32, TextError>,
) -> Result<PostProcessorWrapper, TextError> {
    let wrong = |message: String| TextError::Vocabulary { message };
    let mut tokens: Vec<(String, u32)> = Vec::new();
    for piece in single.iter().chain(pair) {
        let token = token_of(piece);
        if !matches!(token, "$A" | "$B") && !tokens.iter().any(|(known, _)| known == token) {
            tokens.push((token.to_owned(), id(token)?));
        }
    }
    let template = TemplateProcessing::builder()
        .try_single(single.to_vec())
        .map_err(wrong)?
        .try_pair(pair.to_vec())
        .map_err(wrong)?
        .special_tokens(tokens)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    Ok(PostProcessorWrapper::Template(template))
}

/// A piece without its type.
fn token_of(piece: &str) -> &str {
    match piece.rsplit_once(':') {
        Some((token, kind)) if kind.parse::<u32>().is_ok() => token,
        _ => piece,
    }
}

fn pieces(template: &str) -> Vec<String> {
    template.split(' ').map(str::to_owned).collect()
}
