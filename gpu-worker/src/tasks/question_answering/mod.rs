//! `question-answering`: a question and a text in, the parts of the text that answer it out.
//!
//! Reference: `transformers/pipelines/question_answering.py` of transformers 4.57, the last that has it.

mod spans;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use proto::{
    AnswersOutput, ContextAnswer, InferRequest, QuestionAnsweringOptions, QuestionAnsweringRequest,
    infer_request::Input, infer_result::Output,
};

use self::spans::{Ends, Span};
use super::{
    Files, Prepared, Processor, Score, Vectors, Work,
    texts::check_texts,
    token_reader::{self, TokenReader},
    windows::{Frame, Window},
};
use crate::{
    failure::{Code, Failure},
    text::Encoding,
};

const MAX_SEQ_LEN: usize = 384;
const DOC_STRIDE: usize = 128;
const MAX_ANSWER_LEN: usize = 15;
/// Most answers of a request.
const LIMIT_TOP_K: usize = 100;
/// Most tokens of an answer that may be asked for.
const LIMIT_ANSWER_LEN: usize = 512;
/// Most tokens of a window of a model that sets no limit.
const LIMIT_SEQ_LEN: usize = 1 << 16;
/// More tokens than a question can have.
const LIMIT_QUESTION_LEN: usize = 1 << 20;
/// The text to be looked at; the question is text 0.
const CONTEXT: usize = 1;

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(QuestionAnswering(TokenReader::of_windows(
        files,
        &["padding_side", "truncation_side"],
    )?)))
}

struct QuestionAnswering(TokenReader);

/// What becomes of the scores.
struct Rules {
    top_k: usize,
    max_answer_len: usize,
    handle_impossible_answer: bool,
    align_to_words: bool,
    cls: Option<u32>,
}

/// How the text is cut.
struct Cuts {
    max_seq_len: usize,
    doc_stride: Option<usize>,
    max_question_len: usize,
}

/// A value of 1 to `limit`.
fn count(value: Option<u32>, name: &str, default: usize, limit: usize) -> Result<usize, Failure> {
    let value = value.map_or(default, |value| value as usize);
    if (1..=limit).contains(&value) {
        return Ok(value);
    }
    let message = format!("is {value}, expected 1 to {limit}");
    Err(Failure::invalid(&format!("options.{name}"), message).number("limit", limit as u64))
}

impl Processor for QuestionAnswering {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::QuestionAnswering(QuestionAnsweringRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for question-answering"));
        };
        let inputs = inputs.clone().unwrap_or_default();
        let given = |field: &str, text: Option<String>| {
            let text = text.ok_or_else(|| Failure::invalid(field, "is missing"))?;
            check_texts(field, std::slice::from_ref(&text))?;
            if text.is_empty() { Err(Failure::invalid(field, "is empty")) } else { Ok(text) }
        };
        let question = given("inputs.question", inputs.question)?;
        let context = given("inputs.context", inputs.context)?;
        let (rules, cuts) = self.read_options(&options.clone().unwrap_or_default())?;
        let encoding = self.0.encode(&question, Some(&context))?;
        let windows = windows(&encoding, &cuts)?;
        let rows: Vec<_> = windows.iter().map(|window| window.row(&encoding)).collect();
        let prompt_tokens = rows.iter().map(|row| row.ids.len() as u32).sum();
        let context: Vec<char> = context.chars().collect();
        Ok(Prepared {
            work: Work::Score(Score { rows, wanted: Vec::new() }),
            finish: Box::new(move |made| {
                let lengths: Vec<usize> = windows.iter().map(|window| window.0.len()).collect();
                let scores = token_reader::scores(made, lengths.into_iter())?;
                let answers = rules.answers(&encoding, &windows, &scores, &context)?;
                Ok(Output::Answers(AnswersOutput { answers }))
            }),
            prompt_tokens: Some(prompt_tokens),
            seed: None,
        })
    }
}

impl QuestionAnswering {
    fn read_options(&self, options: &QuestionAnsweringOptions) -> Result<(Rules, Cuts), Failure> {
        let limit = self.0.max_tokens.unwrap_or(LIMIT_SEQ_LEN);
        let max_seq_len = count(options.max_seq_len, "max_seq_len", MAX_SEQ_LEN.min(limit), limit)?;
        let doc_stride = options.doc_stride.map(|stride| stride as usize);
        let cuts = Cuts {
            max_seq_len,
            doc_stride,
            max_question_len: count(
                options.max_question_len,
                "max_question_len",
                LIMIT_QUESTION_LEN,
                LIMIT_QUESTION_LEN,
            )?,
        };
        let rules = Rules {
            top_k: count(options.top_k, "top_k", 1, LIMIT_TOP_K)?,
            max_answer_len: count(
                options.max_answer_len,
                "max_answer_len",
                MAX_ANSWER_LEN,
                LIMIT_ANSWER_LEN,
            )?,
            handle_impossible_answer: options.handle_impossible_answer.unwrap_or(false),
            align_to_words: options.align_to_words.unwrap_or(true),
            cls: self.0.tokenizer.special_id("cls_token"),
        };
        Ok((rules, cuts))
    }
}

fn windows(encoding: &Encoding, cuts: &Cuts) -> Result<Vec<Window>, Failure> {
    let question: Vec<usize> =
        (0..encoding.len()).filter(|&place| encoding.sequence[place] == Some(0)).collect();
    let cut = question.get(cuts.max_question_len).copied().unwrap_or(usize::MAX);
    let frame =
        Frame::new(encoding, CONTEXT, |place| encoding.sequence[place] != Some(0) || place < cut);
    if frame.tokens() == 0 {
        return Err(Failure::invalid("inputs.context", "has no tokens"));
    }
    let limit = cuts.max_seq_len;
    let room = limit.saturating_sub(frame.around());
    if frame.tokens() <= room {
        return Ok(vec![frame.whole()]);
    }
    let stride = cuts.doc_stride.unwrap_or((limit / 2).min(DOC_STRIDE));
    if stride < room {
        return TokenReader::windows(&frame, room, stride, &mut 0, "options.doc_stride");
    }
    if room > 0 && cuts.doc_stride.is_some() {
        let message = format!("is {stride}, a window holds {room} tokens of the context");
        return Err(
            Failure::invalid("options.doc_stride", message).number("limit", room as u64 - 1)
        );
    }
    let message = format!(
        "inputs.question has {} tokens, which leaves {room} of options.max_seq_len {limit} for the context; \
         options.max_question_len cuts it",
        question.len()
    );
    Err(Failure::new(Code::InputTooLong, message)
        .at("inputs.question")
        .number("tokens", question.len() as u64)
        .number("limit", limit as u64))
}

impl Rules {
    fn answers(
        &self,
        encoding: &Encoding,
        windows: &[Window],
        scores: &[Vectors],
        context: &[char],
    ) -> Result<Vec<ContextAnswer>, Failure> {
        // Some of them become the same once they are widened to words.
        let candidates = if self.align_to_words { self.top_k * 2 + 10 } else { self.top_k };
        let mut answers: Vec<ContextAnswer> = Vec::new();
        // Where each answer is, whatever its letters' case.
        let mut places_of: HashMap<String, usize> = HashMap::new();
        let mut null = f64::INFINITY;
        for (Window(places), scores) in windows.iter().zip(scores) {
            if scores.dim != 2 {
                let message = "the model does not score beginnings and ends";
                return Err(Failure::new(Code::InferenceFailed, message));
            }
            let is_context = |at: usize| encoding.sequence[places[at]] == Some(CONTEXT);
            // The token that stands for the whole is where models say that there is no answer.
            let counts: Vec<bool> = (0..places.len())
                .map(|at| is_context(at) || Some(encoding.ids[places[at]]) == self.cls)
                .collect();
            let ends = Ends::new(&scores.values, &counts);
            null = null.min(ends.null);
            for span in ends.best(candidates, self.max_answer_len, |at| at > 0 && is_context(at)) {
                let (start, end) = self.offsets(encoding, places, span);
                let answer = token_reader::part(context, start, end);
                match places_of.entry(answer.to_lowercase()) {
                    Entry::Occupied(place) => answers[*place.get()].score += span.score,
                    Entry::Vacant(place) => {
                        place.insert(answers.len());
                        answers.push(ContextAnswer {
                            answer,
                            score: span.score,
                            start: start as u32,
                            end: end as u32,
                        });
                    }
                }
            }
        }
        if self.handle_impossible_answer {
            answers.push(ContextAnswer { score: null, ..Default::default() });
        }
        answers.sort_by(|a, b| b.score.total_cmp(&a.score));
        answers.truncate(self.top_k);
        Ok(answers)
    }

    /// Where a span stands in the context, widened to the words of its ends as far as the window shows them.
    fn offsets(&self, encoding: &Encoding, places: &[usize], span: Span) -> (usize, usize) {
        let (first, last) = (places[span.first], places[span.last]);
        let exact = (encoding.offsets[first].0, encoding.offsets[last].1);
        if !self.align_to_words {
            return exact;
        }
        let of_word = |place: usize| {
            let word = encoding.words[place]?;
            let is_same = |other: &&usize| {
                encoding.sequence[**other] == Some(CONTEXT) && encoding.words[**other] == Some(word)
            };
            let first = places.iter().find(is_same)?;
            let last = places.iter().rfind(is_same)?;
            Some((encoding.offsets[*first].0, encoding.offsets[*last].1))
        };
        match (of_word(first), of_word(last)) {
            (Some((start, _)), Some((_, end))) => (start, end),
            _ => exact,
        }
    }
}
