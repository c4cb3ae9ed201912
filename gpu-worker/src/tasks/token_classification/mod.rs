//! `token-classification`: texts in, their labelled parts out.
//!
//! Reference: `transformers/pipelines/token_classification.py`. A text that is too long is refused rather than cut,
//! unless a stride asks for windows.

mod entities;

use std::sync::Arc;

use proto::{
    Entities, EntitiesOutput, Entity, InferRequest, TokenClassificationOptions,
    TokenClassificationRequest, infer_request::Input, infer_result::Output,
};

use self::entities::{Labelled, Token, aggregate, merge_windows};
use super::{
    Files, Made, Prepared, Processor, Score, TokenRow, Vectors, Work,
    labels::Function,
    texts::check_texts,
    token_reader::{self, TokenReader},
    windows::{Frame, Window},
};
use crate::{
    failure::{Code, Failure},
    models,
    text::Encoding,
};

/// What is left out when the request doesn't say.
const IGNORED: &str = "O";

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let labels = models::labels(files.text("config.json").unwrap_or("{}"))?;
    Ok(Arc::new(TokenClassification(Arc::new(Shared {
        reader: TokenReader::of_windows(files, &["truncation_side"])?,
        labels,
    }))))
}

struct TokenClassification(Arc<Shared>);

struct Shared {
    reader: TokenReader,
    labels: Vec<String>,
}

/// How the labels of tokens become labels of more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregation {
    None,
    Simple,
    First,
    Average,
    Max,
}

struct Options {
    aggregation: Aggregation,
    ignored: Vec<String>,
    stride: Option<usize>,
}

impl Options {
    fn read(options: TokenClassificationOptions) -> Result<Self, Failure> {
        let aggregation = match options.aggregation_strategy.as_deref() {
            None | Some("simple") => Aggregation::Simple,
            Some("none") => Aggregation::None,
            Some("first") => Aggregation::First,
            Some("average") => Aggregation::Average,
            Some("max") => Aggregation::Max,
            Some(other) => {
                let message = format!("is {other:?}, expected none, simple, first, average or max");
                return Err(Failure::invalid("options.aggregation_strategy", message));
            }
        };
        if options.stride.is_some() && aggregation == Aggregation::None {
            let message = "needs another aggregation_strategy than none";
            return Err(Failure::invalid("options.stride", message));
        }
        let ignored =
            options.ignore_labels.map_or_else(|| vec![IGNORED.to_owned()], |list| list.items);
        Ok(Self { aggregation, ignored, stride: options.stride.map(|stride| stride as usize) })
    }
}

/// One text of a request.
struct Text {
    chars: Vec<char>,
    encoding: Encoding,
    windows: Vec<Window>,
}

impl Processor for TokenClassification {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::TokenClassification(TokenClassificationRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for token-classification"));
        };
        let texts = inputs.as_ref().and_then(|inputs| inputs.text.as_ref());
        let texts = texts.ok_or_else(|| Failure::invalid("inputs.text", "is missing"))?;
        check_texts("inputs.text", &texts.items)?;
        let options = Options::read(options.clone().unwrap_or_default())?;
        let is_list = texts.is_list;
        let field = |at: usize| {
            if is_list { format!("inputs.text[{at}]") } else { "inputs.text".to_owned() }
        };
        let mut spent = 0;
        let texts: Vec<Text> = texts
            .items
            .iter()
            .enumerate()
            .map(|(at, text)| self.0.text(text, options.stride, &mut spent, &field(at)))
            .collect::<Result<_, _>>()?;
        let rows: Vec<TokenRow> = texts
            .iter()
            .flat_map(|text| text.windows.iter().map(|window| window.row(&text.encoding)))
            .collect();
        let prompt_tokens = rows.iter().map(|row| row.ids.len() as u32).sum();
        let shared = Arc::clone(&self.0);
        Ok(Prepared {
            work: Work::Score(Score { rows, wanted: Vec::new() }),
            finish: Box::new(move |made| shared.finish(&texts, &options, is_list, made)),
            prompt_tokens: Some(prompt_tokens),
            seed: None,
        })
    }
}

impl Shared {
    fn text(
        &self,
        text: &str,
        stride: Option<usize>,
        spent: &mut usize,
        field: &str,
    ) -> Result<Text, Failure> {
        let encoding = self.reader.encode(text, None)?;
        if encoding.is_empty() {
            return Err(Failure::invalid(field, "has no tokens"));
        }
        let frame = Frame::new(&encoding, 0, |_| true);
        let windows = match (self.reader.max_tokens, stride) {
            (Some(limit), Some(stride)) => {
                let room = limit.saturating_sub(frame.around());
                if stride >= room {
                    let message = format!("is {stride}, a window holds {room} tokens of the text");
                    return Err(Failure::invalid("options.stride", message)
                        .number("limit", room.saturating_sub(1) as u64));
                }
                TokenReader::windows(&frame, room, stride, spent, "options.stride")?
            }
            (Some(limit), None) if encoding.len() > limit => {
                let way_out = "; options.stride reads it in windows";
                return Err(token_reader::too_long(field, encoding.len(), limit, way_out));
            }
            _ => vec![frame.whole()],
        };
        Ok(Text { chars: text.chars().collect(), windows, encoding })
    }

    fn finish(
        &self,
        texts: &[Text],
        options: &Options,
        is_list: bool,
        made: Made,
    ) -> Result<Output, Failure> {
        let windows: Vec<usize> = texts
            .iter()
            .flat_map(|text| text.windows.iter().map(|window| window.0.len()))
            .collect();
        let mut scores = token_reader::scores(made, windows.into_iter())?.into_iter();
        let entity = |found: Labelled| {
            let (entity, entity_group) = match options.aggregation {
                Aggregation::None => (Some(found.label), None),
                _ => (None, Some(found.label)),
            };
            Entity {
                entity_group,
                entity,
                score: found.score,
                word: found.word,
                start: found.start as u32,
                end: found.end as u32,
            }
        };
        let items = texts.iter().map(|text| {
            let scores: Vec<Vectors> = scores.by_ref().take(text.windows.len()).collect();
            let found = self.entities(text, &scores, options)?;
            Ok(Entities { entities: found.into_iter().map(entity).collect() })
        });
        let items = items.collect::<Result<_, Failure>>()?;
        Ok(Output::Entities(EntitiesOutput { items, is_list }))
    }

    fn entities(
        &self,
        text: &Text,
        scores: &[Vectors],
        options: &Options,
    ) -> Result<Vec<Labelled>, Failure> {
        let label = |id: usize| self.labels[id].clone();
        let mut found = Vec::new();
        for (window, scores) in text.windows.iter().zip(scores) {
            if scores.dim != self.labels.len() {
                let message = "the model's labels are not those of its config";
                return Err(Failure::new(Code::InferenceFailed, message));
            }
            let tokens = self.tokens(text, window, scores);
            let labelled = aggregate(&tokens, options.aggregation, label, &self.reader.tokenizer)?;
            found.extend(
                labelled.into_iter().filter(|entity| !options.ignored.contains(&entity.label)),
            );
        }
        Ok(if scores.len() > 1 { merge_windows(found) } else { found })
    }

    /// The tokens of a window that belong to the text.
    fn tokens(&self, text: &Text, window: &Window, scores: &Vectors) -> Vec<Token> {
        let tokenizer = &self.reader.tokenizer;
        let unknown = tokenizer.special_id("unk_token");
        let marks_subwords = tokenizer.marks_subwords();
        let encoding = &text.encoding;
        let places = window.0.iter().zip(scores.values.chunks(scores.dim));
        places
            .filter(|&(&place, _)| !encoding.special[place])
            .map(|(&place, logits)| {
                let (id, (start, end)) = (encoding.ids[place], encoding.offsets[place]);
                let shown = token_reader::part(&text.chars, start, end);
                let word = tokenizer.token(id).unwrap_or_default();
                let is_unknown = Some(id) == unknown;
                let is_subword = if marks_subwords {
                    word.chars().count() != shown.chars().count()
                } else {
                    // Without such marks a word is what spaces divide.
                    start > 0
                        && !token_reader::part(&text.chars, start - 1, start + 1).contains(' ')
                };
                Token {
                    word: if is_unknown { shown } else { word },
                    scores: Function::Softmax.apply(logits),
                    start,
                    end,
                    is_subword: is_subword && !is_unknown,
                }
            })
            .collect()
    }
}
