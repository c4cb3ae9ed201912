//! Tokenizers that the reference has in Python only: added tokens are cut out of a text, the rest goes to a class's own
//! cutter, whose pieces are looked up in a table.
//!
//! Reference: `transformers/tokenization_python.py`.

mod added;
mod m2m100;
mod marian;
mod tapas;
mod words;

use std::{collections::HashMap, ops::Range, sync::Arc};

use self::{added::Added, words::Words};
use super::{
    Encoding, TextError,
    convert::{Class, Files, Plain, Settings, choose},
    detokenizer::Layout,
    sentencepiece::Processor,
    special_tokens::SpecialTokens,
};

/// What cuts text that holds no added token.
enum Cutter {
    /// A language code (`>>fra<<`) at the beginning is a piece of its own.
    Marian(Arc<Processor>),
    Pieces(Arc<Processor>),
    Words(Words),
}

/// A tokenizer of one of the classes.
pub(super) struct PlainTokenizer {
    vocab: HashMap<String, u32>,
    by_id: HashMap<u32, String>,
    added: Added,
    cutter: Cutter,
    unknown: u32,
    size: usize,
    /// Around one text, or around two together.
    before: Vec<u32>,
    after: Vec<u32>,
    /// Between two texts.
    between: Vec<u32>,
}

/// What is made of a class's files.
pub(super) struct Made {
    pub tokenizer: PlainTokenizer,
    pub special: SpecialTokens,
    pub layout: Layout,
    /// Where the files say nothing.
    pub model_max_length: Option<usize>,
}

/// Whether a repository is of one of these classes and has its files.
pub(super) fn is_meant(files: Files<'_>) -> bool {
    let needed: &[&str] = match choose(files) {
        Ok((Class::Plain(Plain::Marian), _)) => &["source.spm", "vocab.json"],
        Ok((Class::Plain(Plain::M2m100), _)) => &["sentencepiece.bpe.model", "vocab.json"],
        Ok((Class::Plain(Plain::Tapas), _)) => &["vocab.txt"],
        _ => return false,
    };
    needed.iter().all(|file| files(file).is_some())
}

pub(super) fn build(
    class: Plain,
    settings: &Settings,
    files: Files<'_>,
) -> Result<Made, TextError> {
    match class {
        Plain::Marian => marian::build(settings, files),
        Plain::M2m100 => m2m100::build(settings, files),
        Plain::Tapas => tapas::build(settings, files),
    }
}

impl PlainTokenizer {
    pub(super) fn encode(&self, text: &str, add_special_tokens: bool) -> Encoding {
        let mut encoding = Encoding::default();
        self.put(&mut encoding, &self.before, 0, add_special_tokens);
        self.append(&mut encoding, text, 0);
        self.put(&mut encoding, &self.after, 0, add_special_tokens);
        encoding
    }

    /// The second text and what follows it are of type 1, from where the first one alone would have ended.
    pub(super) fn encode_pair(&self, text: &str, pair: &str, add_special_tokens: bool) -> Encoding {
        let mut encoding = Encoding::default();
        self.put(&mut encoding, &self.before, 0, add_special_tokens);
        self.append(&mut encoding, text, 0);
        self.put(&mut encoding, &self.between, 0, add_special_tokens);
        self.append(&mut encoding, pair, 1);
        self.put(&mut encoding, &self.after, 1, add_special_tokens);
        let alone = if add_special_tokens { self.after.len() - self.between.len() } else { 0 };
        let first = encoding.type_ids.iter().take_while(|&&kind| kind == 0).count();
        encoding.type_ids.iter_mut().skip(first).take(alone).for_each(|kind| *kind = 0);
        encoding
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.added.id(token).or_else(|| self.vocab.get(token).copied())
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.added.token(id).or_else(|| self.by_id.get(&id).map(String::as_str))
    }

    pub(super) fn is_special(&self, token: &str) -> bool {
        self.added.is_special(token)
    }

    /// Tokens of the vocabulary and beside it; languages that have no token of their own don't count.
    pub(super) fn vocab_size(&self) -> usize {
        self.size
    }

    fn size(vocab: &HashMap<String, u32>, added: &Added) -> usize {
        vocab.len() + added.tokens().filter(|token| !vocab.contains_key(*token)).count()
    }

    pub(super) fn added_ids(&self) -> impl Iterator<Item = u32> {
        self.added.ids()
    }

    /// All tokens, in no order.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        let beside = self.added.tokens().filter(|token| !self.vocab.contains_key(*token));
        self.vocab.keys().map(String::as_str).chain(beside)
    }

    fn put(&self, encoding: &mut Encoding, ids: &[u32], kind: u32, wanted: bool) {
        for &id in ids.iter().filter(|_| wanted) {
            encoding.ids.push(id);
            encoding.type_ids.push(kind);
            encoding.offsets.push((0, 0));
            encoding.special.push(true);
            encoding.sequence.push(None);
            encoding.words.push(None);
        }
    }

    fn append(&self, encoding: &mut Encoding, text: &str, sequence: usize) {
        let mut characters = Characters::new(text);
        for (range, is_added) in self.added.split(text) {
            if is_added {
                let token = &text[range.clone()];
                self.push(encoding, token, characters.of(&range), sequence);
                continue;
            }
            let start = range.start;
            for (piece, inner) in self.cut(&text[range]) {
                let range = start + inner.start..start + inner.end;
                self.push(encoding, &piece, characters.of(&range), sequence);
            }
        }
    }

    fn push(&self, encoding: &mut Encoding, piece: &str, at: (usize, usize), sequence: usize) {
        encoding.ids.push(self.id(piece).unwrap_or(self.unknown));
        encoding.type_ids.push(u32::from(sequence > 0));
        encoding.offsets.push(at);
        encoding.special.push(false);
        encoding.sequence.push(Some(sequence));
        encoding.words.push(None);
    }

    /// Pieces with their bytes in the text.
    fn cut(&self, text: &str) -> Vec<(String, Range<usize>)> {
        match &self.cutter {
            Cutter::Words(words) => words.cut(text),
            Cutter::Pieces(processor) => pieces(processor, text, 0),
            Cutter::Marian(processor) => {
                let code = text.starts_with(">>").then(|| text.find("<<")).flatten();
                let end = code.map_or(0, |at| at + 2);
                let mut found = Vec::new();
                if end > 0 {
                    found.push((text[..end].to_owned(), 0..end));
                }
                found.extend(pieces(processor, &text[end..], end));
                found
            }
        }
    }
}

fn pieces(processor: &Processor, text: &str, start: usize) -> Vec<(String, Range<usize>)> {
    let cuts = processor.encode(text).into_iter();
    cuts.map(|cut| (cut.piece, start + cut.range.start..start + cut.range.end)).collect()
}

/// Bytes of a text as its characters. Ranges are asked for from left to right.
struct Characters<'a> {
    text: &'a str,
    byte: usize,
    count: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, byte: 0, count: 0 }
    }

    fn at(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            (self.byte, self.count) = (0, 0);
        }
        let passed = self.text.get(self.byte..byte).unwrap_or_default();
        self.count += passed.chars().count();
        self.byte = byte;
        self.count
    }

    fn of(&mut self, range: &Range<usize>) -> (usize, usize) {
        (self.at(range.start), self.at(range.end))
    }
}
