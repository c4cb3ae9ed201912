//! A repository's tokenizer.
//!
//! Reference: `transformers/tokenization_utils_tokenizers.py`. What `tokenizer.json` says about cutting and padding is
//! dropped: whoever encodes does that, visibly.

use std::sync::Arc;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, EncodeInput, ModelWrapper};

use super::{
    Detokenizer, SpecialTokens, TextError,
    convert::{self, Class, Files, Settings},
    detokenizer::Layout,
    plain::{self, PlainTokenizer},
    special_tokens::{added_tokens, object},
};

/// Larger than this is how the reference writes that there is no limit.
const NO_LIMIT: f64 = 1e15;

/// One text, or a pair, as tokens. All lists have one entry per token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    pub ids: Vec<u32>,
    /// 0 for the first text, 1 for the second, where the model tells them apart.
    pub type_ids: Vec<u32>,
    /// Start and end in the text the token came from, in Unicode code points; `(0, 0)` for tokens that were put in.
    pub offsets: Vec<(usize, usize)>,
    /// True for tokens that were put in (`[CLS]` …).
    pub special: Vec<bool>,
    /// Which of the texts the token came from; none for tokens that were put in.
    pub sequence: Vec<Option<usize>>,
    /// The word of its text that the token belongs to, where the tokenizer knows words.
    pub words: Vec<Option<u32>>,
}

impl Encoding {
    /// Tokens; nothing is padding, so this many are attended to.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn new(encoding: &tokenizers::Encoding) -> Self {
        Self {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            special: encoding.get_special_tokens_mask().iter().map(|&flag| flag != 0).collect(),
            sequence: encoding.get_sequence_ids(),
            words: encoding.get_word_ids().to_vec(),
        }
    }
}

/// A tokenizer; a clone is another handle to the same one.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    special: SpecialTokens,
    layout: Layout,
    model_max_length: Option<usize>,
}

/// What does the work.
enum Engine {
    Library(Box<tokenizers::Tokenizer>),
    /// A class that the library cannot stand for.
    Plain(Box<PlainTokenizer>),
}

impl Tokenizer {
    /// Builds from what a repository has: `tokenizer.json`, else the vocabulary files of its tokenizer class. Classes
    /// that the reference has in Python only read their own files even beside a `tokenizer.json`.
    pub fn from_repository(files: Files<'_>) -> Result<Self, TextError> {
        let text = |file| convert::text_of(files, file);
        if let Some(json) = files("tokenizer.json").filter(|_| !plain::is_meant(files)) {
            let (config, map) = (text("tokenizer_config.json")?, text("special_tokens_map.json")?);
            return Self::from_files(json, config, map);
        }
        let (class, name) = convert::choose(files)?;
        let named = |source| TextError::Class { class: name.clone(), source: Box::new(source) };
        Self::of_class(class, files).map_err(named)
    }

    fn of_class(class: Class, files: Files<'_>) -> Result<Self, TextError> {
        let settings = Settings::read(files)?;
        let config = settings.config();
        let max_length = max_length(config);
        let inner = match class {
            Class::Library(build) => {
                let (mut tokenizer, special) = build(&settings, files)?.finish(&settings)?;
                tokenizer.set_encode_special_tokens(
                    flag(config, "split_special_tokens").unwrap_or(false),
                );
                let layout = layout(&tokenizer, config);
                let engine = Engine::Library(Box::new(tokenizer));
                Inner { engine, special, layout, model_max_length: max_length }
            }
            Class::Plain(class) => {
                settings.refuse(&["split_special_tokens"])?;
                let made = plain::build(class, &settings, files)?;
                Inner {
                    engine: Engine::Plain(Box::new(made.tokenizer)),
                    special: made.special,
                    layout: made.layout,
                    model_max_length: if config.contains_key("model_max_length") {
                        max_length
                    } else {
                        made.model_max_length
                    },
                }
            }
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Builds from the contents of `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.
    pub fn from_files(
        tokenizer_json: &[u8],
        tokenizer_config: Option<&str>,
        special_tokens_map: Option<&str>,
    ) -> Result<Self, TextError> {
        let config = object("tokenizer_config.json", tokenizer_config)?;
        let special = SpecialTokens::from_files(tokenizer_config, special_tokens_map)?;
        let mut tokenizer =
            tokenizers::Tokenizer::from_bytes(tokenizer_json).map_err(unreadable)?;
        tokenizer.with_truncation(None).map_err(unreadable)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(flag(&config, "split_special_tokens").unwrap_or(false));
        add_missing(&mut tokenizer, &config, &special)?;
        put_ends(&mut tokenizer, &config, &special)?;

        let layout = layout(&tokenizer, &config);
        let engine = Engine::Library(Box::new(tokenizer));
        let model_max_length = max_length(&config);
        Ok(Self { inner: Arc::new(Inner { engine, special, layout, model_max_length }) })
    }

    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Encoding, TextError> {
        match &self.inner.engine {
            Engine::Library(library) => encode(library, text.into(), add_special_tokens),
            Engine::Plain(plain) => Ok(plain.encode(text, add_special_tokens)),
        }
    }

    pub fn encode_pair(
        &self,
        text: &str,
        pair: &str,
        add_special_tokens: bool,
    ) -> Result<Encoding, TextError> {
        match &self.inner.engine {
            Engine::Library(library) => encode(library, (text, pair).into(), add_special_tokens),
            Engine::Plain(plain) => Ok(plain.encode_pair(text, pair, add_special_tokens)),
        }
    }

    /// Each text by itself; nothing is padded.
    pub fn encode_batch<S: AsRef<str>>(
        &self,
        texts: &[S],
        add_special_tokens: bool,
    ) -> Result<Vec<Encoding>, TextError> {
        texts.iter().map(|text| self.encode(text.as_ref(), add_special_tokens)).collect()
    }

    pub fn count(&self, text: &str, add_special_tokens: bool) -> Result<usize, TextError> {
        Ok(self.encode(text, add_special_tokens)?.len())
    }

    /// The text of all ids together, as the reference's `decode`. Unknown ids are left out.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        let mut detokenizer = self.detokenizer(skip_special);
        let mut text = String::new();
        for &id in ids {
            text.push_str(&detokenizer.push(id)?);
        }
        text.push_str(&detokenizer.finish()?);
        Ok(text)
    }

    /// A new stream of ids to text.
    pub fn detokenizer(&self, skip_special: bool) -> Detokenizer {
        Detokenizer::new(self.clone(), &self.inner.layout, skip_special)
    }

    /// The token as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        match &self.inner.engine {
            Engine::Library(library) => library.id_to_token(id),
            Engine::Plain(plain) => plain.token(id).map(str::to_owned),
        }
    }

    pub fn id(&self, token: &str) -> Option<u32> {
        match &self.inner.engine {
            Engine::Library(library) => library.token_to_id(token),
            Engine::Plain(plain) => plain.id(token),
        }
    }

    /// Tokens of the vocabulary that begin and end like this, in order, `limit` of them at most.
    pub fn tokens_like(&self, begin: &str, end: &str, limit: usize) -> Vec<String> {
        let fits = |token: &str| token.starts_with(begin) && token.ends_with(end);
        let mut tokens: Vec<String> = match &self.inner.engine {
            Engine::Library(library) => {
                library.get_vocab(true).into_keys().filter(|token| fits(token)).collect()
            }
            Engine::Plain(plain) => {
                plain.tokens().filter(|token| fits(token)).map(str::to_owned).collect()
            }
        };
        tokens.sort_unstable();
        tokens.truncate(limit);
        tokens
    }

    /// Whether the token was added to the vocabulary, as the codes of languages are.
    pub fn is_added(&self, id: u32) -> bool {
        match &self.inner.engine {
            Engine::Library(library) => {
                library.get_added_vocabulary().simple_id_to_token(id).is_some()
            }
            Engine::Plain(plain) => plain.added_ids().any(|added| added == id),
        }
    }

    /// The tokens that were added to the vocabulary, by rising id.
    pub fn added_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = match &self.inner.engine {
            Engine::Library(library) => library.get_added_tokens_decoder().into_keys().collect(),
            Engine::Plain(plain) => plain.added_ids().collect(),
        };
        ids.sort_unstable();
        ids
    }

    /// The id of a role: `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`, `cls_token`, `mask_token`.
    pub fn special_id(&self, role: &str) -> Option<u32> {
        self.id(self.inner.special.get(role)?)
    }

    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.inner.special
    }

    /// Tokens the model was made for, special ones included, where the repository says so.
    pub fn model_max_length(&self) -> Option<usize> {
        self.inner.model_max_length
    }

    /// Added tokens included.
    pub fn vocab_size(&self) -> usize {
        match &self.inner.engine {
            Engine::Library(library) => library.get_vocab_size(true),
            Engine::Plain(plain) => plain.vocab_size(),
        }
    }

    /// None for a class that the library cannot stand for.
    pub(super) fn library(&self) -> Option<&tokenizers::Tokenizer> {
        match &self.inner.engine {
            Engine::Library(library) => Some(library),
            Engine::Plain(_) => None,
        }
    }

    /// The token as decoding sees it; none when it is unknown or to be skipped.
    pub(super) fn decodable(&self, id: u32, skip_special: bool) -> Option<String> {
        match &self.inner.engine {
            Engine::Library(library) => {
                let added = library.get_added_vocabulary();
                let token = added.simple_id_to_token(id).or_else(|| library.id_to_token(id))?;
                (!skip_special || !added.is_special_token(&token)).then_some(token)
            }
            Engine::Plain(plain) => {
                let token = plain.token(id)?;
                (!skip_special || !plain.is_special(token)).then(|| token.to_owned())
            }
        }
    }
}

fn encode(
    library: &tokenizers::Tokenizer,
    input: EncodeInput<'_>,
    add_special_tokens: bool,
) -> Result<Encoding, TextError> {
    let encoded = library.encode_char_offsets(input, add_special_tokens);
    let encoding = encoded.map_err(|error| TextError::Encode { message: error.to_string() })?;
    Ok(Encoding::new(&encoding))
}

/// The reference tidies spaces for every kind of model but BPE, unless told to by this name.
fn layout(tokenizer: &tokenizers::Tokenizer, config: &Map<String, Value>) -> Layout {
    let is_bpe = matches!(tokenizer.get_model(), ModelWrapper::BPE(_));
    let for_bpe = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
    let tidy = flag(config, "clean_up_tokenization_spaces").unwrap_or(false)
        && (!is_bpe || flag(config, for_bpe).unwrap_or(false));
    Layout::new(tokenizer.get_decoder(), tidy)
}

fn max_length(config: &Map<String, Value>) -> Option<usize> {
    let length = config.get("model_max_length").and_then(Value::as_f64);
    length.filter(|length| (1.0..NO_LIMIT).contains(length)).map(|length| length as usize)
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("special", &self.inner.special)
            .finish_non_exhaustive()
    }
}

/// Tokens that only the configuration knows get the next free ids, as in the reference; named ones are special.
fn add_missing(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
    special: &SpecialTokens,
) -> Result<(), TextError> {
    let known = |tokenizer: &tokenizers::Tokenizer, content: &str| {
        tokenizer.get_added_tokens_decoder().values().any(|token| token.content == content)
    };
    for mut token in added_tokens(config) {
        token.special |= special.iter().any(|(_, content)| content == token.content);
        if !known(tokenizer, &token.content) || token.special {
            tokenizer.add_tokens([token]).map_err(unreadable)?;
        }
    }
    for role in super::special_tokens::ROLES {
        if let Some(content) = special.get(role).filter(|content| !known(tokenizer, content)) {
            tokenizer.add_tokens([AddedToken::from(content, true)]).map_err(unreadable)?;
        }
    }
    Ok(())
}

/// `add_bos_token` and `add_eos_token`, where the configuration names them, decide what is put around a text.
fn put_ends(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &Map<String, Value>,
    special: &SpecialTokens,
) -> Result<(), TextError> {
    let (bos, eos) = (flag(config, "add_bos_token"), flag(config, "add_eos_token"));
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let end = |wanted: Option<bool>, role| {
        let content = special.get(role).filter(|_| wanted == Some(true))?;
        tokenizer.token_to_id(content).map(|_| content)
    };
    let (single, pair) = convert::flagged(end(bos, "bos_token"), end(eos, "eos_token"));
    let id = |token: &str| {
        let missing = || TextError::Tokenizer { message: format!("there is no token {token:?}") };
        tokenizer.token_to_id(token).ok_or_else(missing)
    };
    let template = convert::template(&single, &pair, &id)?;
    tokenizer.with_post_processor(Some(template));
    Ok(())
}

fn flag(config: &Map<String, Value>, name: &str) -> Option<bool> {
    config.get(name).and_then(Value::as_bool)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unreadable(error: tokenizers::Error) -> TextError {
    TextError::Tokenizer { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tokenizer_is_an_error() {
        for bytes in
            [&b""[..], b"{}", b"\xff\xfe", b"[1]", br#"{"version":"1.0","model":{"type":"BPE"}}"#]
        {
            assert!(matches!(
                Tokenizer::from_files(bytes, None, None),
                Err(TextError::Tokenizer { .. })
            ));
        }
    }
}
