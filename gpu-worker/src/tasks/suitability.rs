//! Whether a repository can do a task at all, as far as its config says: a checkpoint without the task's head would only
//! fail once it is loaded.

use serde_json::Value;

use super::{Files, Task, table_question_answering};
use crate::models::{ModelKind, diffusion::PipelineClass, enlargement};

/// Why not; `None` where the config and the other small files have nothing against it.
pub fn misfit(task: &Task, config: &Value, files: &Files) -> Option<String> {
    if let Some(architecture) = other_head(task.kind, config) {
        return Some(format!("it holds a {architecture}, which is no {}", task.kind));
    }
    match task.id {
        "table-question-answering" if task.kind == ModelKind::Seq2SeqLm => {
            table_question_answering::misfit(files)
        }
        "zero-shot-classification" if entailment(config).is_none() => {
            Some("config.json names no label that begins with \"entail\"".to_owned())
        }
        "text-ranking" => match n_labels(config) {
            1 => None,
            n_labels => Some(format!("it has {n_labels} labels, and only a single one can rank")),
        },
        "image-super-resolution" if task.kind == ModelKind::ImageGenerator => {
            (!PipelineClass::of(config).enlarges)
                .then(|| "it paints pictures of their own size".to_owned())
        }
        "text-to-image" | "image-to-image" if PipelineClass::of(config).enlarges => {
            Some("it only enlarges pictures; ask for image-super-resolution".to_owned())
        }
        "image-super-resolution" if enlargement(config).scale == 1 => {
            Some("it keeps the size of pictures; ask for image-restoration".to_owned())
        }
        "image-restoration" if enlargement(config).scale > 1 => {
            let scale = enlargement(config).scale;
            Some(format!("it enlarges pictures by {scale}; ask for image-super-resolution"))
        }
        _ => None,
    }
}

/// The class that the config names, where that is one with another head than the kind needs.
fn other_head(kind: ModelKind, config: &Value) -> Option<&str> {
    let named = config.get("architectures").and_then(Value::as_array)?;
    let mut names = named.iter().filter_map(Value::as_str);
    let first = names.clone().next()?;
    (!names.any(|name| has_head(kind, name))).then_some(first)
}

fn has_head(kind: ModelKind, class: &str) -> bool {
    const TEXTS: &[&str] = &["ForSequenceClassification"];
    const TOKENS: &[&str] = &["ForTokenClassification"];
    const ANSWERS: &[&str] = &["ForQuestionAnswering", "ForQuestionAnsweringSimple"];
    const GAPS: &[&str] = &["ForMaskedLM", "WithLMHeadModel", "ForPreTraining"];
    let ends = |endings: &[&str]| endings.iter().any(|ending| class.ends_with(ending));
    match kind {
        ModelKind::SequenceClassifier => ends(TEXTS),
        ModelKind::TokenClassifier => ends(TOKENS),
        ModelKind::QuestionAnswerer | ModelKind::TableAnswerer => ends(ANSWERS),
        ModelKind::MaskedLm => ends(GAPS),
        // These write with the table of words that they read, which a checkpoint with another head has too.
        ModelKind::CausalLm | ModelKind::Seq2SeqLm => {
            !ends(TEXTS) && !ends(TOKENS) && !ends(ANSWERS) && !ends(&["EncoderModel"])
        }
        ModelKind::ImageEnhancer => ends(&["ForImageSuperResolution"]),
        ModelKind::TextEncoder
        | ModelKind::ImageClassifier
        | ModelKind::ImageGenerator
        | ModelKind::UnconditionalGenerator => true,
    }
}

/// The number of the label that says that one text follows from another.
pub fn entailment(config: &Value) -> Option<usize> {
    let is_named = |name: &str| name.to_lowercase().starts_with("entail");
    let table = |name: &str| config.get(name).and_then(Value::as_object);
    let ids: Vec<usize> = match (table("label2id"), table("id2label")) {
        (Some(ids), _) => {
            let named = ids.iter().filter(|(name, _)| is_named(name));
            named.filter_map(|(_, id)| usize::try_from(id.as_u64()?).ok()).collect()
        }
        (None, Some(names)) => {
            let named = names.iter().filter(|(_, name)| name.as_str().is_some_and(is_named));
            named.filter_map(|(id, _)| id.parse().ok()).collect()
        }
        (None, None) => Vec::new(),
    };
    ids.into_iter().min()
}

fn n_labels(config: &Value) -> u64 {
    let named = config.get("id2label").and_then(Value::as_object).map(|labels| labels.len() as u64);
    named.or_else(|| config.get("num_labels").and_then(Value::as_u64)).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;
    use crate::tasks::{find, find_on};

    fn fits(task: &str, config: &Value) -> bool {
        misfit(find(task).expect("a task"), config, &Files::new(HashMap::new())).is_none()
    }

    #[test]
    fn a_repository_without_the_tasks_head_is_no_fit() {
        let encoder = json!({"architectures": ["BertModel"]});
        let classifier = json!({"architectures": ["BertForSequenceClassification"]});
        assert!(!fits("text-classification", &encoder) && fits("feature-extraction", &encoder));
        assert!(fits("text-classification", &classifier));
        assert!(fits("feature-extraction", &classifier));
        assert!(fits("text-classification", &json!({})));
        let task = find("text-classification").expect("a task");
        let why = misfit(task, &encoder, &Files::new(HashMap::new()));
        assert_eq!(why.as_deref(), Some("it holds a BertModel, which is no sequence classifier"));
        let follows = json!({"architectures": ["BartForSequenceClassification"], "label2id": {"entailment": 0}});
        assert!(!fits("summarization", &follows) && fits("zero-shot-classification", &follows));
        assert!(fits("translation", &json!({"architectures": ["MarianMTModel"]})));
        assert!(fits("text-generation", &json!({"architectures": ["GPT2LMHeadModel"]})));
    }

    #[test]
    fn only_a_model_with_a_tokenizer_for_tables_writes_about_them() {
        let task = find_on("table-question-answering", &[ModelKind::Seq2SeqLm]).expect("a task");
        let config = json!({"architectures": ["BartForConditionalGeneration"]});
        let why = |class: &str| {
            let file = json!({"tokenizer_class": class}).to_string().into_bytes();
            let files = HashMap::from([("tokenizer_config.json".to_owned(), file)]);
            misfit(task, &config, &Files::new(files))
        };
        assert_eq!(why("TapexTokenizer"), None);
        assert!(why("BartTokenizer").is_some_and(|why| why.contains("TapexTokenizer")));
        assert!(fits(
            "table-question-answering",
            &json!({"architectures": ["TapasForQuestionAnswering"]})
        ));
        assert!(!fits("table-question-answering", &json!({"architectures": ["TapasForMaskedLM"]})));
    }

    #[test]
    fn the_entailment_label_is_looked_up_by_its_name() {
        for (config, expected) in [
            (json!({"label2id": {"contradiction": 0, "ENTAILMENT": 2}}), Some(2)),
            (json!({"id2label": {"0": "entailment", "1": "other"}}), Some(0)),
            (json!({"label2id": {"LABEL_0": 0}, "id2label": {"0": "entailment"}}), None),
            (json!({}), None),
        ] {
            assert_eq!(entailment(&config), expected, "{config}");
            assert_eq!(fits("zero-shot-classification", &config), expected.is_some());
        }
    }

    #[test]
    fn what_enlarges_is_not_what_repairs() {
        let larger = json!({"architectures": ["Swin2SRForImageSuperResolution"], "upscale": 4});
        let better = json!({"architectures": ["Swin2SRForImageSuperResolution"], "upscale": 1});
        assert!(fits("image-super-resolution", &larger) && !fits("image-restoration", &larger));
        assert!(fits("image-restoration", &better) && !fits("image-super-resolution", &better));
        let bare = json!({"architectures": ["Swin2SRModel"], "upscale": 2});
        assert!(!fits("image-super-resolution", &bare));
    }

    #[test]
    fn only_a_single_label_ranks() {
        assert!(fits("text-ranking", &json!({"id2label": {"0": "LABEL_0"}})));
        assert!(fits("text-ranking", &json!({"num_labels": 1})));
        assert!(!fits("text-ranking", &json!({"id2label": {"0": "a", "1": "b"}})));
        assert!(!fits("text-ranking", &json!({})));
    }
}
