//! Whether a repository can do a task at all, as far as its config says: a checkpoint without the task's head would only
//! fail once it is loaded.

use serde_json::Value;

use super::Task;
use crate::models::ModelKind;

/// Why not; `None` where the config has nothing against it.
pub fn misfit(task: &Task, config: &Value) -> Option<String> {
    if let Some(architecture) = other_head(task.kind, config) {
        return Some(format!("it holds a {architecture}, which is no {}", task.kind));
    }
    match task.id {
        "zero-shot-classification" if entailment(config).is_none() => {
            Some("config.json names no label that begins with \"entail\"".to_owned())
        }
        "text-ranking" => match n_labels(config) {
            1 => None,
            n_labels => Some(format!("it has {n_labels} labels, and only a single one can rank")),
        },
        _ => None,
    }
}

/// The class that the config names, where that is one with another head than the kind needs.
fn other_head(kind: ModelKind, config: &Value) -> Option<&str> {
    let endings: &[&str] = match kind {
        ModelKind::SequenceClassifier => &["ForSequenceClassification"],
        ModelKind::TokenClassifier => &["ForTokenClassification"],
        ModelKind::QuestionAnswerer => &["ForQuestionAnswering", "ForQuestionAnsweringSimple"],
        ModelKind::MaskedLm => &["ForMaskedLM", "WithLMHeadModel", "ForPreTraining"],
        ModelKind::CausalLm
        | ModelKind::Seq2SeqLm
        | ModelKind::TextEncoder
        | ModelKind::ImageClassifier => return None,
    };
    let named = config.get("architectures").and_then(Value::as_array)?;
    let fits = |name: &str| endings.iter().any(|ending| name.ends_with(ending));
    let mut names = named.iter().filter_map(Value::as_str);
    let first = names.clone().next()?;
    (!names.any(fits)).then_some(first)
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
    use serde_json::json;

    use super::*;
    use crate::tasks::find;

    fn fits(task: &str, config: &Value) -> bool {
        misfit(find(task).expect("a task"), config).is_none()
    }

    #[test]
    fn a_repository_without_the_tasks_head_is_no_fit() {
        let encoder = json!({"architectures": ["BertModel"]});
        let classifier = json!({"architectures": ["BertForSequenceClassification"]});
        assert!(!fits("text-classification", &encoder) && fits("feature-extraction", &encoder));
        assert!(fits("text-classification", &classifier));
        assert!(fits("feature-extraction", &classifier));
        assert!(fits("text-classification", &json!({})));
        let why = misfit(find("text-classification").expect("a task"), &encoder);
        assert_eq!(why.as_deref(), Some("it holds a BertModel, which is no sequence classifier"));
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
    fn only_a_single_label_ranks() {
        assert!(fits("text-ranking", &json!({"id2label": {"0": "LABEL_0"}})));
        assert!(fits("text-ranking", &json!({"num_labels": 1})));
        assert!(!fits("text-ranking", &json!({"id2label": {"0": "a", "1": "b"}})));
        assert!(!fits("text-ranking", &json!({})));
    }
}
