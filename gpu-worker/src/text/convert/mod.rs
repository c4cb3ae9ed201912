//! Tokenizers without `tokenizer.json`: built from the vocabulary files of the model's own tokenizer class.
//!
//! Reference: `AutoTokenizer`, `transformers/tokenization_utils_tokenizers.py` and the class of each model. A class is
//! a function here that makes a [`Recipe`]: its model of the vocabulary, its steps before and after, and its tokens.

mod byte_level;
mod classes;
mod ends;
mod languages;
mod merged_pieces;
mod scored_pieces;
mod settings;
mod vocabulary;
mod word_piece;

use serde_json::Value;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper,
};

use self::ends::Ends;
pub(super) use self::{
    classes::{Class, Plain, choose},
    ends::{flagged, template},
    languages::{M2M100, WMT21},
    settings::{Given, Settings},
    vocabulary::{ids, needed},
};
use super::{
    TextError,
    special_tokens::{ROLES, SpecialTokens},
};

/// A repository's small files by name.
pub type Files<'a> = &'a dyn Fn(&str) -> Option<&'a [u8]>;

/// A file that has to be there and to be UTF-8, if it is there.
pub(super) fn text_of<'a>(
    files: Files<'a>,
    file: &'static str,
) -> Result<Option<&'a str>, TextError> {
    let read = |bytes| std::str::from_utf8(bytes).map_err(|_| TextError::NotUtf8 { file });
    files(file).map(read).transpose()
}

/// What a class makes of its files.
pub(super) struct Recipe {
    pub(super) model: ModelWrapper,
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    pub(super) decoder: Option<DecoderWrapper>,
    /// Role and token; the order is that of [`ROLES`].
    pub(super) roles: Vec<(&'static str, Given)>,
    pub(super) extra: Vec<Given>,
    pub(super) ends: Ends,
    /// All special tokens are matched as they are written, whatever the files say of them.
    pub(super) plain_specials: bool,
}

impl Recipe {
    /// A recipe with no steps around the model.
    pub(super) fn new(model: impl Into<ModelWrapper>, ends: Ends) -> Self {
        Self {
            model: model.into(),
            normalizer: None,
            pre_tokenizer: None,
            decoder: None,
            roles: Vec::new(),
            extra: Vec::new(),
            ends,
            plain_specials: false,
        }
    }

    /// Steps as `tokenizer.json` writes them; `null` is none.
    pub(super) fn steps(
        mut self,
        normalizer: Value,
        pre_tokenizer: Value,
        decoder: Value,
    ) -> Result<Self, TextError> {
        self.normalizer = step(normalizer)?;
        self.pre_tokenizer = step(pre_tokenizer)?;
        self.decoder = step(decoder)?;
        Ok(self)
    }

    /// Reads the tokens of all roles; `defaults` are the class's own.
    pub(super) fn roles(
        mut self,
        settings: &Settings,
        defaults: &[(&'static str, &str)],
    ) -> Result<Self, TextError> {
        for role in ROLES {
            let default = defaults.iter().find(|(known, _)| *known == role).map(|row| row.1);
            self.roles.extend(settings.role(role, default)?.map(|given| (role, given)));
        }
        Ok(self)
    }

    /// The tokenizer with its tokens, and the roles they have.
    pub(super) fn finish(
        self,
        settings: &Settings,
    ) -> Result<(tokenizers::Tokenizer, SpecialTokens), TextError> {
        let mut tokenizer = tokenizers::Tokenizer::new(self.model);
        tokenizer.with_normalizer(self.normalizer).map_err(unusable)?;
        tokenizer.with_pre_tokenizer(self.pre_tokenizer);
        tokenizer.with_decoder(self.decoder);
        let special = SpecialTokens::new(
            self.roles.iter().map(|(role, given)| (*role, given.content().to_owned())),
        );
        let named: Vec<Given> =
            self.roles.into_iter().map(|(_, given)| given).chain(settings.named()).collect();
        let tokens = tokens(settings, &named, &self.extra);
        tokenizer.add_tokens(tokens).map_err(unusable)?;
        if self.plain_specials {
            let all = named.iter().chain(&self.extra);
            let plain = all.map(|given| AddedToken::from(given.content(), true));
            tokenizer.add_tokens(plain.collect::<Vec<_>>()).map_err(unusable)?;
        }
        let ends = self.ends.with_flags(settings)?;
        let ends = ends.build(&tokenizer, &special)?;
        tokenizer.with_post_processor(Some(ends));
        Ok((tokenizer, special))
    }
}

/// Every token beside the vocabulary once, in the order in which the reference numbers them.
fn tokens(settings: &Settings, named: &[Given], extra: &[Given]) -> Vec<AddedToken> {
    let mut tokens: Vec<AddedToken> = settings.added().cloned().collect();
    let listed: Vec<String> = tokens.iter().map(|token| token.content.clone()).collect();
    let mut seen: Vec<Given> = Vec::new();
    for given in named.iter().chain(extra) {
        if !listed.iter().any(|content| content == given.content()) && !seen.contains(given) {
            seen.push(given.clone());
            tokens.push(given.token());
        }
    }
    let is_named = |content: &str| named.iter().any(|given| given.content() == content);
    for token in &mut tokens {
        token.special |= is_named(&token.content);
    }
    tokens
}

fn step<T: serde::de::DeserializeOwned>(value: Value) -> Result<Option<T>, TextError> {
    serde_json::from_value(value)
        .map_err(|error| TextError::Vocabulary { message: error.to_string() })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unusable(error: tokenizers::Error) -> TextError {
    TextError::Vocabulary { message: error.to_string() }
}
