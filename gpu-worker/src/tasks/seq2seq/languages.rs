//! How a translator is told its languages: tokens beside the source, and a first token of the target.
//!
//! Reference: `transformers/models/{marian,mbart,mbart50,nllb,m2m_100}/tokenization_*.py`.

use serde_json::Value;

use crate::{failure::Failure, text::Tokenizer};

/// A model's way.
#[derive(Clone, Debug, PartialEq)]
pub enum Languages {
    /// One pair, or no languages at all.
    Fixed(Pair),
    /// `>>fra<<` (Marian) or `<2fr>` (MADLAD) before the source names the target.
    Marked { mark: [&'static str; 2] },
    /// The code of the source's language stands beside it, that of the target's is the target's first token.
    Coded { code: Code, defaults: Pair },
}

/// Languages as a model writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub source: Option<String>,
    pub target: Option<String>,
}

/// How a code is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Before the source, else after its end.
    is_first: bool,
    /// `__en__` and not `en`.
    has_lines: bool,
}

/// What the languages of one request come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// What stands directly before a source.
    pub before: Vec<u32>,
    /// What stands around it instead of what the tokenizer would put there.
    pub around: Option<Around>,
    pub forced_bos: Option<u32>,
}

/// All that stands around a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    pub first: Vec<u32>,
    pub last: Vec<u32>,
}

impl Languages {
    /// `config` is `tokenizer_config.json`, `model_type` that of `config.json`.
    pub fn of(config: &Value, model_type: &str, tokenizer: &Tokenizer) -> Self {
        let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
        let class = text("tokenizer_class").unwrap_or_default();
        let class = class.strip_suffix("Fast").unwrap_or(&class);
        let is_legacy = config.get("legacy_behaviour").and_then(Value::as_bool).unwrap_or(false);
        let coded = |is_first, has_lines, source: &str| Self::Coded {
            code: Code { is_first, has_lines },
            defaults: Pair {
                source: Some(text("src_lang").unwrap_or_else(|| source.to_owned())),
                target: text("tgt_lang"),
            },
        };
        match class {
            "MBartTokenizer" => coded(false, false, "en_XX"),
            "MBart50Tokenizer" => coded(true, false, "en_XX"),
            "NllbTokenizer" => coded(!is_legacy, false, "eng_Latn"),
            "M2M100Tokenizer" => coded(true, true, "en"),
            _ => match mark_of(model_type, tokenizer) {
                Some(mark) => Self::Marked { mark },
                None => Self::Fixed(Pair {
                    source: text("source_lang").or_else(|| text("src_lang")),
                    target: text("target_lang").or_else(|| text("tgt_lang")),
                }),
            },
        }
    }

    /// What the languages that a request names, or else the model's own, come to. `start` and `forced_bos` are what
    /// targets begin with without that.
    pub fn marks(
        &self,
        asked: &Pair,
        tokenizer: &Tokenizer,
        start: Option<u32>,
        forced_bos: Option<u32>,
    ) -> Result<Marks, Failure> {
        match self {
            Self::Fixed(own) => {
                check_fixed("inputs.src_lang", asked.source.as_deref(), own.source.as_deref())?;
                check_fixed("inputs.tgt_lang", asked.target.as_deref(), own.target.as_deref())?;
                Ok(Marks::default())
            }
            Self::Marked { mark: [before, after] } => {
                let Some(target) = &asked.target else { return Ok(Marks::default()) };
                let name = target.strip_prefix(before).unwrap_or(target);
                let name = name.strip_suffix(after).unwrap_or(name);
                let id = tokenizer.id(&format!("{before}{name}{after}"));
                let id = id.ok_or_else(|| unknown(target, tokenizer, [before, after]))?;
                Ok(Marks { before: vec![id], ..Marks::default() })
            }
            Self::Coded { code, defaults } => {
                let source = asked.source.as_ref().or(defaults.source.as_ref());
                let source = source.map(|name| code.id("inputs.src_lang", name, tokenizer));
                let source = source.transpose()?.into_iter().collect();
                let target = asked.target.as_ref().or(defaults.target.as_ref());
                let target = target.map(|name| code.id("inputs.tgt_lang", name, tokenizer));
                let target = target.transpose()?;
                let begins = start.is_some_and(|start| code.is_language(start, tokenizer));
                if target.is_none() && forced_bos.is_none() && !begins {
                    let message = "is needed: this model translates into several languages";
                    return Err(Failure::invalid("inputs.tgt_lang", message)
                        .texts("known", code.known(tokenizer)));
                }
                let end: Vec<u32> = tokenizer.special_id("eos_token").into_iter().collect();
                let around = if code.is_first {
                    Around { first: source, last: end }
                } else {
                    Around { first: Vec::new(), last: [end, source].concat() }
                };
                // A target that starts with its language needs it no second time.
                let forced_bos = target.filter(|&id| Some(id) != start);
                Ok(Marks { before: Vec::new(), around: Some(around), forced_bos })
            }
        }
    }
}

/// Most languages that a refusal lists.
const MOST_LISTED: usize = 300;

impl Code {
    fn id(self, field: &str, name: &str, tokenizer: &Tokenizer) -> Result<u32, Failure> {
        let token = if self.has_lines { format!("__{name}__") } else { name.to_owned() };
        let code = Some(&token).filter(|token| self.language(token).is_some());
        let special =
            code.and_then(|token| tokenizer.id(token)).filter(|&id| tokenizer.is_added(id));
        special.ok_or_else(|| {
            let message = format!("{name:?} is no language of this model");
            Failure::invalid(field, message).texts("known", self.known(tokenizer))
        })
    }

    /// Whether the token is the code of a language.
    fn is_language(self, id: u32, tokenizer: &Tokenizer) -> bool {
        tokenizer.token(id).is_some_and(|token| self.language(&token).is_some())
    }

    /// `en` of `__en__`; `en_XX` and `eng_Latn` as they are.
    fn language(self, token: &str) -> Option<&str> {
        if self.has_lines {
            return token.strip_prefix("__")?.strip_suffix("__");
        }
        let (language, country) = token.split_once('_')?;
        let is_code = |part: &str| part.chars().all(|letter| letter.is_ascii_alphabetic());
        let fits = (2..=3).contains(&language.len()) && (2..=4).contains(&country.len());
        (fits && is_code(language) && is_code(country)).then_some(token)
    }

    fn known(self, tokenizer: &Tokenizer) -> Vec<String> {
        let ids = tokenizer.added_ids().into_iter();
        let tokens = ids.filter_map(|id| tokenizer.token(id));
        tokens
            .filter_map(|token| self.language(&token).map(str::to_owned))
            .take(MOST_LISTED)
            .collect()
    }
}

fn check_fixed(field: &str, asked: Option<&str>, own: Option<&str>) -> Result<(), Failure> {
    match asked {
        None => Ok(()),
        Some(asked) if own == Some(asked) => Ok(()),
        Some(asked) => {
            let has = own.map_or("names no languages".to_owned(), |own| format!("has {own:?}"));
            let message = format!("{asked:?} cannot be chosen: this model {has}");
            Err(Failure::invalid(field, message))
        }
    }
}

/// How the model's targets are marked; nothing where its vocabulary has no such marks.
fn mark_of(model_type: &str, tokenizer: &Tokenizer) -> Option<[&'static str; 2]> {
    let mark = match model_type {
        "marian" => [">>", "<<"],
        "t5" => ["<2", ">"],
        _ => return None,
    };
    let [before, after] = mark;
    (!tokenizer.tokens_like(before, after, 1).is_empty()).then_some(mark)
}

fn unknown(name: &str, tokenizer: &Tokenizer, [before, after]: [&str; 2]) -> Failure {
    let tokens = tokenizer.tokens_like(before, after, MOST_LISTED);
    let name_in =
        |token: &String| Some(token.strip_prefix(before)?.strip_suffix(after)?.to_owned());
    let known = tokens.iter().filter_map(name_in).collect();
    let message = format!("{name:?} is no language of this model");
    Failure::invalid("inputs.tgt_lang", message).texts("known", known)
}
