//! `task_output` of the tasks that look at tokens.

use serde::Serialize;
use utoipa::ToSchema;

use super::answers::one_or_batch;
use crate::{AnswersOutput, ContextAnswer, Entities, EntitiesOutput};

/// What was found in one text, or in each text of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EntitiesAnswer {
    /// In one text.
    One(Entities),
    /// In a list.
    Batch {
        /// One per text, in order.
        batch: Vec<Entities>,
    },
}

impl From<EntitiesOutput> for EntitiesAnswer {
    fn from(output: EntitiesOutput) -> Self {
        match one_or_batch(output.items, output.is_list) {
            Ok(only) => Self::One(only),
            Err(batch) => Self::Batch { batch },
        }
    }
}

/// The best answer, and as many as were asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QuestionAnswer {
    #[serde(flatten)]
    best: ContextAnswer,
    /// Best first; the first is the one above.
    answers: Vec<ContextAnswer>,
}

impl From<AnswersOutput> for QuestionAnswer {
    fn from(output: AnswersOutput) -> Self {
        let answers = output.answers;
        Self { best: answers.first().cloned().unwrap_or_default(), answers }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Entity, http::TaskOutput, infer_result::Output};

    fn json_of(output: Output) -> serde_json::Value {
        serde_json::to_value(TaskOutput::from(output)).unwrap()
    }

    #[test]
    fn an_entity_has_its_label_under_one_name_only() {
        let entity = Entity {
            entity_group: Some("PER".into()),
            score: 0.5,
            word: "Ada".into(),
            end: 3,
            ..Default::default()
        };
        let items = vec![Entities { entities: vec![entity] }];
        let one =
            json_of(Output::Entities(EntitiesOutput { items: items.clone(), is_list: false }));
        let entity =
            json!({"entity_group": "PER", "score": 0.5, "word": "Ada", "start": 0, "end": 3});
        assert_eq!(one, json!({"entities": [entity]}));
        let list = json_of(Output::Entities(EntitiesOutput { items, is_list: true }));
        assert_eq!(list, json!({"batch": [{"entities": [entity]}]}));
    }

    #[test]
    fn the_best_answer_stands_in_front_of_all() {
        let answer = |answer: &str, score| ContextAnswer {
            answer: answer.into(),
            score,
            ..Default::default()
        };
        let answers = vec![answer("a boat", 0.5), answer("", 0.25)];
        let found = json_of(Output::Answers(AnswersOutput { answers }));
        assert_eq!(found["answer"], "a boat");
        assert_eq!(found["answers"][1], json!({"answer": "", "score": 0.25, "start": 0, "end": 0}));
    }
}
