//! `task_output`, in the shapes of `tasks.md`.

use serde::Serialize;
use utoipa::ToSchema;

use super::{EntitiesAnswer, QuestionAnswer, TableAnswer};
use crate::{
    ChatMessage, Embedding, EmbeddingOutput, FillMaskOutput, GeneratedText, ImagesOutput, Labels,
    LabelsOutput, RankingOutput, Seq2SeqOutput, Seq2SeqTexts, SimilarityOutput, TextOutput,
    infer_result::Output,
};

/// What a task made; the shape goes by the task.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TaskOutput {
    /// `text-generation`
    Text(TextAnswer),
    /// `feature-extraction`
    Embedding(EmbeddingAnswer),
    /// `sentence-similarity`
    Similarity(SimilarityAnswer),
    /// `image-classification`, `text-classification`, `zero-shot-classification`
    Labels(LabelsAnswer),
    /// `text-ranking`, `text-retrieval`
    Ranking(RankingOutput),
    /// `text2text-generation`, `summarization`, `translation`
    Written(WrittenAnswer),
    /// `token-classification`
    Entities(EntitiesAnswer),
    /// `question-answering`
    Question(QuestionAnswer),
    /// `table-question-answering`
    Table(TableAnswer),
    /// `fill-mask`
    Filled(FillMaskOutput),
    /// `text-to-image`, `image-to-image`, `unconditional-image-generation`, `image-super-resolution`, `image-restoration`
    Images(ImagesOutput),
}

impl From<Output> for TaskOutput {
    fn from(output: Output) -> Self {
        match output {
            Output::Text(output) => Self::Text(output.into()),
            Output::Embeddings(output) => Self::Embedding(output.into()),
            Output::Similarity(output) => Self::Similarity(output.into()),
            Output::Labels(output) => Self::Labels(output.into()),
            Output::Ranking(output) => Self::Ranking(output),
            Output::Seq2seq(output) => Self::Written(output.into()),
            Output::Entities(output) => Self::Entities(output.into()),
            Output::Answers(output) => Self::Question(output.into()),
            Output::TableAnswer(output) => Self::Table(output.into()),
            Output::Filled(output) => Self::Filled(output),
            Output::Images(output) => Self::Images(output),
        }
    }
}

impl Output {
    /// Whether every score and value is a number that JSON can carry.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Text(output) => output.choices.iter().all(text_is_finite),
            Self::Embeddings(output) => {
                output.items.iter().flat_map(|item| &item.values).all(|value| value.is_finite())
            }
            Self::Similarity(output) => output.scores.iter().all(|score| score.is_finite()),
            Self::Labels(output) => output
                .items
                .iter()
                .flat_map(|item| &item.predictions)
                .all(|prediction| prediction.score.is_finite()),
            Self::Ranking(output) => output.results.iter().all(|result| result.score.is_finite()),
            Self::Seq2seq(output) => {
                output.items.iter().flat_map(|item| &item.choices).all(text_is_finite)
            }
            Self::Entities(output) => output
                .items
                .iter()
                .flat_map(|item| &item.entities)
                .all(|entity| entity.score.is_finite()),
            Self::Answers(output) => output.answers.iter().all(|answer| answer.score.is_finite()),
            Self::TableAnswer(_) => true,
            Self::Filled(output) => output
                .masks
                .iter()
                .flat_map(|mask| &mask.predictions)
                .all(|filled| filled.score.is_finite()),
            Self::Images(_) => true,
        }
    }
}

fn text_is_finite(text: &GeneratedText) -> bool {
    text.logprobs.iter().all(|token| {
        token.logprob.is_finite() && token.top.iter().all(|other| other.logprob.is_finite())
    })
}

/// One generated text, or the `n` that were asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum TextAnswer {
    /// One text.
    One(TextChoice),
    /// Several texts.
    Several {
        /// The texts.
        choices: Vec<TextChoice>,
    },
}

/// One generated text; with messages as input also the next message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextChoice {
    #[serde(flatten)]
    text: GeneratedText,
    /// The answer as a message that the next request can carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<ChatMessage>,
}

impl From<TextOutput> for TextAnswer {
    fn from(output: TextOutput) -> Self {
        let message = |text: &GeneratedText| ChatMessage {
            role: "assistant".to_owned(),
            content: text.text.clone(),
        };
        let mut choices: Vec<TextChoice> = output
            .choices
            .into_iter()
            .map(|text| TextChoice { message: output.is_chat.then(|| message(&text)), text })
            .collect();
        match choices.pop() {
            Some(only) if choices.is_empty() => Self::One(only),
            last => {
                choices.extend(last);
                Self::Several { choices }
            }
        }
    }
}

/// One vector, or one item per text of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EmbeddingAnswer {
    /// Of one text.
    One(Vectors),
    /// Of a list.
    Batch {
        /// One per text, in order.
        batch: Vec<Vectors>,
    },
}

/// One pooled vector, or one vector per token with pooling `none`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vectors {
    /// The pooled vector.
    Pooled {
        /// The values.
        embedding: Vec<f32>,
        /// How many values.
        dim: u32,
    },
    /// One vector per token.
    PerToken {
        /// The vectors.
        tokens: Vec<Vec<f32>>,
        /// How many values each has.
        dim: u32,
    },
}

impl From<Embedding> for Vectors {
    fn from(item: Embedding) -> Self {
        let dim = item.dim;
        if item.tokens == 0 {
            return Self::Pooled { embedding: item.values, dim };
        }
        let width = (dim as usize).max(1);
        Self::PerToken { tokens: item.values.chunks(width).map(<[f32]>::to_vec).collect(), dim }
    }
}

impl From<EmbeddingOutput> for EmbeddingAnswer {
    fn from(output: EmbeddingOutput) -> Self {
        match one_or_batch(output.items, output.is_list) {
            Ok(only) => Self::One(only.into()),
            Err(items) => Self::Batch { batch: items.into_iter().map(Into::into).collect() },
        }
    }
}

/// Cosine similarities, -1 to 1.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SimilarityAnswer {
    /// Of a pair.
    Pair {
        /// Its similarity.
        score: f64,
    },
    /// Of one sentence with each of several.
    Several {
        /// In order.
        scores: Vec<f64>,
    },
}

impl From<SimilarityOutput> for SimilarityAnswer {
    fn from(output: SimilarityOutput) -> Self {
        match output.scores.as_slice() {
            [score] if output.is_pair => Self::Pair { score: *score },
            _ => Self::Several { scores: output.scores },
        }
    }
}

/// Labels of one input, or of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum LabelsAnswer {
    /// Of one input.
    One(Labels),
    /// Of a list.
    Batch {
        /// One per input, in order.
        batch: Vec<Labels>,
    },
}

impl From<LabelsOutput> for LabelsAnswer {
    fn from(output: LabelsOutput) -> Self {
        match one_or_batch(output.items, output.is_list) {
            Ok(only) => Self::One(only),
            Err(batch) => Self::Batch { batch },
        }
    }
}

/// What was written for one text, or one item per text of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum WrittenAnswer {
    /// For one text.
    One(WrittenTexts),
    /// For a list.
    Batch {
        /// One per text, in order.
        batch: Vec<WrittenTexts>,
    },
}

/// One written text, or the several that were asked for, best first.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum WrittenTexts {
    /// One text.
    One(GeneratedText),
    /// Several texts.
    Several {
        /// The texts.
        choices: Vec<GeneratedText>,
    },
}

impl From<Seq2SeqTexts> for WrittenTexts {
    fn from(texts: Seq2SeqTexts) -> Self {
        match one_or_batch(texts.choices, false) {
            Ok(only) => Self::One(only),
            Err(choices) => Self::Several { choices },
        }
    }
}

impl From<Seq2SeqOutput> for WrittenAnswer {
    fn from(output: Seq2SeqOutput) -> Self {
        match one_or_batch(output.items, output.is_list) {
            Ok(only) => Self::One(only.into()),
            Err(items) => Self::Batch { batch: items.into_iter().map(Into::into).collect() },
        }
    }
}

/// The only item where the input was no list; else all of them.
pub(super) fn one_or_batch<T>(mut items: Vec<T>, is_list: bool) -> Result<T, Vec<T>> {
    if is_list || items.len() != 1 {
        return Err(items);
    }
    items.pop().ok_or_else(Vec::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> GeneratedText {
        GeneratedText { text: text.into(), finish_reason: "stop".into(), ..Default::default() }
    }

    fn answer(output: Output) -> serde_json::Value {
        serde_json::to_value(TaskOutput::from(output)).unwrap()
    }

    #[test]
    fn one_text_stands_alone_and_several_are_choices() {
        let one = answer(Output::Text(TextOutput { choices: vec![text("a")], is_chat: false }));
        let shape = json!({"text": "a", "finish_reason": "stop", "prompt_tokens": 0, "generated_tokens": 0});
        assert_eq!(one, shape);
        let two = answer(Output::Text(TextOutput {
            choices: vec![text("a"), text("b")],
            is_chat: false,
        }));
        assert_eq!(two["choices"][1]["text"], "b");
    }

    #[test]
    fn a_chat_is_answered_with_a_message_too() {
        let chat = answer(Output::Text(TextOutput { choices: vec![text("hi")], is_chat: true }));
        assert_eq!(chat["message"], json!({"role": "assistant", "content": "hi"}));
        assert_eq!(chat["text"], "hi");
    }

    #[test]
    fn lists_are_batches_even_of_one() {
        let item = Embedding { values: vec![1.0, 2.0], dim: 2, tokens: 0 };
        let one = EmbeddingOutput { items: vec![item.clone()], is_list: false };
        assert_eq!(answer(Output::Embeddings(one)), json!({"embedding": [1.0, 2.0], "dim": 2}));
        let list = EmbeddingOutput { items: vec![item], is_list: true };
        let batch = json!({"batch": [{"embedding": [1.0, 2.0], "dim": 2}]});
        assert_eq!(answer(Output::Embeddings(list)), batch);
    }

    #[test]
    fn token_vectors_are_rows() {
        let item = Embedding { values: vec![1.0, 2.0, 3.0, 4.0], dim: 2, tokens: 2 };
        let output = EmbeddingOutput { items: vec![item], is_list: false };
        let rows = json!({"tokens": [[1.0, 2.0], [3.0, 4.0]], "dim": 2});
        assert_eq!(answer(Output::Embeddings(output)), rows);
    }

    #[test]
    fn a_pair_has_one_score() {
        let pair = SimilarityOutput { scores: vec![0.5], is_pair: true };
        assert_eq!(answer(Output::Similarity(pair)), json!({"score": 0.5}));
        let list = SimilarityOutput { scores: vec![0.5], is_pair: false };
        assert_eq!(answer(Output::Similarity(list)), json!({"scores": [0.5]}));
    }

    #[test]
    fn a_ranking_has_texts_only_where_they_were_asked_for() {
        let ranked = |text: Option<&str>| crate::RankedText {
            index: 1,
            score: 0.5,
            text: text.map(str::to_owned),
        };
        let results = vec![ranked(None), ranked(Some("a"))];
        let shape = json!({"results": [
            {"index": 1, "score": 0.5}, {"index": 1, "score": 0.5, "text": "a"},
        ]});
        assert_eq!(answer(Output::Ranking(RankingOutput { results })), shape);
    }

    #[test]
    fn written_texts_are_choices_of_items() {
        let texts = |choices: &[&str]| Seq2SeqTexts {
            choices: choices.iter().map(|&one| text(one)).collect(),
        };
        let one =
            answer(Output::Seq2seq(Seq2SeqOutput { items: vec![texts(&["a"])], is_list: false }));
        assert_eq!(one["text"], "a");
        let items = vec![texts(&["a", "b"]), texts(&["c"])];
        let list = answer(Output::Seq2seq(Seq2SeqOutput { items, is_list: true }));
        assert_eq!(list["batch"][0]["choices"][1]["text"], "b");
        assert_eq!(list["batch"][1]["text"], "c");
    }

    #[test]
    fn a_score_that_is_no_number_is_noticed() {
        let nan = SimilarityOutput { scores: vec![f64::NAN], is_pair: false };
        assert!(!Output::Similarity(nan).is_finite());
    }
}
