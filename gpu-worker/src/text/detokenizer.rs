//! Token ids to text while they arrive: what comes out can no longer change.
//!
//! Every decoder of the `tokenizers` library is run as a stage that keeps only what later tokens may still alter: an
//! unfinished UTF-8 character, a run of byte tokens (one bad byte spoils the run in the reference), the spaces that a
//! tidying pass may drop. So the cost of a token does not grow with the text, and the pieces joined are the reference's
//! `decode` of all ids.

mod texts;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
};

use tokenizers::{Decoder, DecoderWrapper};

use self::texts::TextStage;
use super::{
    TextError, Tokenizer,
    literal::Literal,
    sentencepiece::{Decoding, Processor},
};

/// The passes of the reference's `clean_up_tokenization`, in its order.
const TIDYING: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// The stages a tokenizer's text goes through: over tokens first, then over the text they were joined to.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    tokens: Vec<TokenStage>,
    texts: Vec<TextStage>,
}

impl Layout {
    pub(super) fn new(decoder: Option<&DecoderWrapper>, tidy: bool) -> Self {
        let mut layout = Self { tokens: Vec::new(), texts: Vec::new() };
        match decoder {
            // Without a decoder the reference joins the tokens with spaces.
            None => layout.tokens.push(TokenStage::Spaced { first: true }),
            Some(decoder) => {
                let mut joined = false;
                layout.add(decoder, &mut joined);
            }
        }
        layout.tidied(tidy)
    }

    /// Pieces between special tokens are decoded by themselves; `gap` follows each special token.
    pub(super) fn pieces(
        processor: Arc<Processor>,
        special: HashSet<String>,
        gap: &'static str,
    ) -> Self {
        let state = processor.decoding();
        let stage = TokenStage::Pieces { processor, special: Arc::new(special), gap, state };
        let strip = TextStage::Strip { held: String::new(), is_start: true };
        Self { tokens: vec![stage], texts: vec![strip] }
    }

    /// One string in place of another, before all else that is done to the text.
    pub(super) fn replacing(mut self, from: &str, to: &str) -> Self {
        self.texts.insert(0, TextStage::Replace(Literal::new(from, to)));
        self
    }

    /// Words and their parts (`##s`), joined with spaces.
    pub(super) fn words() -> Self {
        let strip = TextStage::Strip { held: String::new(), is_start: true };
        let texts = vec![TextStage::Replace(Literal::new(" ##", "")), strip];
        Self { tokens: vec![TokenStage::Spaced { first: true }], texts }
    }

    /// With the reference's tidying of spaces at the end, where it is wanted.
    pub(super) fn tidied(mut self, tidy: bool) -> Self {
        if tidy {
            let literals = TIDYING.map(|(from, to)| TextStage::Replace(Literal::new(from, to)));
            self.texts.extend(literals);
        }
        self
    }

    fn add(&mut self, decoder: &DecoderWrapper, joined: &mut bool) {
        if let DecoderWrapper::Sequence(sequence) = decoder {
            for decoder in sequence.get_decoders() {
                self.add(decoder, joined);
            }
            return;
        }
        if *joined {
            self.texts.extend(TextStage::new(decoder));
            return;
        }
        match decoder {
            DecoderWrapper::Fuse(_) => *joined = true,
            DecoderWrapper::ByteLevel(_) => {
                self.tokens.push(TokenStage::Bytes { pending: Vec::new() });
                *joined = true;
            }
            DecoderWrapper::ByteFallback(_) => {
                self.tokens.push(TokenStage::ByteRun { pending: Vec::new() })
            }
            DecoderWrapper::BPE(_) => {
                self.tokens.push(TokenStage::Late { decoder: decoder.clone(), held: None })
            }
            DecoderWrapper::CTC(_) => {
                self.tokens.push(TokenStage::Distinct { decoder: decoder.clone(), last: None })
            }
            DecoderWrapper::WordPiece(_) | DecoderWrapper::Metaspace(_) => {
                self.tokens.push(TokenStage::Placed { decoder: decoder.clone(), first: true });
            }
            _ => self.tokens.push(TokenStage::Single(decoder.clone())),
        }
    }
}

/// A stream of ids to text.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    skip_special: bool,
    layout: Layout,
}

impl Detokenizer {
    pub(super) fn new(tokenizer: Tokenizer, layout: &Layout, skip_special: bool) -> Self {
        Self { tokenizer, skip_special, layout: layout.clone() }
    }

    /// The text that is certain now and was not before. Unknown ids add nothing.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        match self.tokenizer.decodable(id, self.skip_special) {
            Some(token) => self.run(0, vec![token]),
            None => Ok(String::new()),
        }
    }

    /// The rest, once no id follows.
    pub fn finish(&mut self) -> Result<String, TextError> {
        let mut text = String::new();
        for idx in 0..self.layout.tokens.len() {
            let tokens = self.layout.tokens[idx].finish()?;
            text.push_str(&self.run(idx + 1, tokens)?);
        }
        for idx in 0..self.layout.texts.len() {
            let rest = self.layout.texts[idx].finish()?;
            text.push_str(&self.layout.run_texts(idx + 1, rest));
        }
        Ok(text)
    }

    /// Takes tokens through the stages from `from` on.
    fn run(&mut self, from: usize, mut tokens: Vec<String>) -> Result<String, TextError> {
        for stage in &mut self.layout.tokens[from..] {
            let mut through = Vec::with_capacity(tokens.len());
            for token in tokens {
                stage.push(token, &mut through)?;
            }
            tokens = through;
        }
        Ok(self.layout.run_texts(0, tokens.concat()))
    }
}

impl Layout {
    fn run_texts(&mut self, from: usize, text: String) -> String {
        self.texts[from..].iter_mut().fold(text, |text, stage| stage.push(&text))
    }
}

/// A stage over tokens.
#[derive(Clone, Debug)]
enum TokenStage {
    /// Treats every token by itself.
    Single(DecoderWrapper),
    /// Treats the first token otherwise than all others.
    Placed { decoder: DecoderWrapper, first: bool },
    /// Treats the last token otherwise than all others.
    Late { decoder: DecoderWrapper, held: Option<String> },
    /// Drops a token that is equal to the one before.
    Distinct { decoder: DecoderWrapper, last: Option<String> },
    /// Tokens of `<0x..>`: a run of them is one string, or as many replacement characters.
    ByteRun { pending: Vec<u8> },
    /// Tokens spell bytes.
    Bytes { pending: Vec<u8> },
    /// A space between tokens.
    Spaced { first: bool },
    /// Pieces of a SentencePiece model, which begin anew after a special token.
    Pieces {
        processor: Arc<Processor>,
        special: Arc<HashSet<String>>,
        gap: &'static str,
        state: Decoding,
    },
}

impl TokenStage {
    fn push(&mut self, token: String, out: &mut Vec<String>) -> Result<(), TextError> {
        match self {
            Self::Single(decoder) => out.extend(single(decoder, token)?),
            Self::Placed { decoder, first } => {
                let tokens = if *first { vec![token] } else { vec![String::new(), token] };
                *first = false;
                out.extend(decode(decoder, tokens)?.pop());
            }
            Self::Late { decoder, held } => {
                if let Some(before) = held.replace(token) {
                    let decoded = decode(decoder, vec![before, String::new()])?;
                    out.extend(decoded.into_iter().next());
                }
            }
            Self::Distinct { decoder, last } => {
                if last.as_ref() != Some(&token) {
                    *last = Some(token.clone());
                    out.extend(decode(decoder, vec![token])?);
                }
            }
            Self::ByteRun { pending } => match byte_token(&token) {
                Some(byte) => pending.push(byte),
                None => {
                    out.extend(end_of_run(pending));
                    out.push(token);
                }
            },
            Self::Bytes { pending } => {
                append_bytes(pending, &token);
                out.push(whole_characters(pending));
            }
            Self::Spaced { first } => {
                out.push(if *first { token } else { format!(" {token}") });
                *first = false;
            }
            Self::Pieces { processor, special, gap, state } => {
                if special.contains(&token) {
                    out.push(processor.decode_end(state));
                    *state = processor.decoding();
                    out.push(token + gap);
                } else {
                    out.push(processor.decode_next(state, &token));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<String>, TextError> {
        match self {
            Self::Late { decoder, held } => {
                held.take().map_or(Ok(Vec::new()), |last| decode(decoder, vec![last]))
            }
            Self::ByteRun { pending } => Ok(end_of_run(pending)),
            Self::Pieces { processor, state, .. } => Ok(vec![processor.decode_end(state)]),
            Self::Bytes { pending } => {
                Ok(vec![String::from_utf8_lossy(&std::mem::take(pending)).into_owned()])
            }
            Self::Single(_) | Self::Placed { .. } | Self::Distinct { .. } | Self::Spaced { .. } => {
                Ok(Vec::new())
            }
        }
    }
}

fn decode(decoder: &DecoderWrapper, tokens: Vec<String>) -> Result<Vec<String>, TextError> {
    decoder.decode_chain(tokens).map_err(|error| TextError::Decode { message: error.to_string() })
}

/// The library's `Strip` panics on a token shorter than what it may cut, so that one is done here.
fn single(decoder: &DecoderWrapper, token: String) -> Result<Vec<String>, TextError> {
    match decoder {
        DecoderWrapper::Strip(strip) => {
            let length = token.chars().count();
            let start = token.chars().take(strip.start).take_while(|&c| c == strip.content).count();
            let stop =
                token.chars().rev().take(strip.stop).take_while(|&c| c == strip.content).count();
            let kept = length.saturating_sub(start + stop);
            Ok(vec![token.chars().skip(start).take(kept).collect()])
        }
        _ => decode(decoder, vec![token]),
    }
}

fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

fn end_of_run(pending: &mut Vec<u8>) -> Vec<String> {
    if pending.is_empty() {
        return Vec::new();
    }
    let run = std::mem::take(pending);
    let length = run.len();
    String::from_utf8(run).map_or_else(|_| vec!["\u{fffd}".to_owned(); length], |text| vec![text])
}

/// The bytes a token of a byte-level vocabulary spells; one with other characters stands for itself.
fn append_bytes(pending: &mut Vec<u8>, token: &str) {
    let spelled: Option<Vec<u8>> = token.chars().map(|c| BYTE_OF.get(&c).copied()).collect();
    match spelled {
        Some(bytes) => pending.extend(bytes),
        None => pending.extend(token.as_bytes()),
    }
}

/// Printable bytes stand for themselves, the others follow from 256 on, in order.
/// Source: `bytes_to_unicode` of GPT-2's `encoder.py`.
static BYTE_OF: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let mut next = 256;
    (0..=255u8)
        .filter_map(|byte| {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
            let code = if printable { u32::from(byte) } else { next };
            next += u32::from(!printable);
            Some((char::from_u32(code)?, byte))
        })
        .collect()
});

/// Takes everything but a character whose end has not come. Bad bytes become replacement characters, as in the
/// reference.
fn whole_characters(pending: &mut Vec<u8>) -> String {
    let unfinished = match pending.utf8_chunks().last() {
        // A chunk at the end is unfinished, not bad, when more bytes could make it good.
        Some(chunk) if !chunk.invalid().is_empty() => {
            let invalid = chunk.invalid();
            match std::str::from_utf8(invalid) {
                Err(error) if error.error_len().is_none() => invalid.len(),
                _ => 0,
            }
        }
        _ => 0,
    };
    let rest = pending.split_off(pending.len() - unfinished);
    let whole = std::mem::replace(pending, rest);
    String::from_utf8_lossy(&whole).into_owned()
}
