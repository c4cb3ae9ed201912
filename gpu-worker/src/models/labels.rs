//! The names of a classifier's outputs, as `config.json` gives them.

use std::collections::HashMap;

use serde::Deserialize;

use super::{LoadError, unsupported};

/// Flatten it into a model's config.
#[derive(Debug, Default, Deserialize)]
pub(super) struct LabelConfig {
    id2label: Option<HashMap<String, String>>,
    num_labels: Option<usize>,
}

/// How many labels a classifier has when its config does not say.
const DEFAULT_N_LABELS: usize = 2;

impl LabelConfig {
    /// The labels in the order of the outputs.
    pub(super) fn labels(&self) -> Result<Vec<String>, LoadError> {
        let Some(names) = &self.id2label else {
            let n_labels = self.num_labels.unwrap_or(DEFAULT_N_LABELS);
            return Ok((0..n_labels).map(|id| format!("LABEL_{id}")).collect());
        };
        (0..names.len())
            .map(|id| {
                names
                    .get(&id.to_string())
                    .cloned()
                    .ok_or_else(|| unsupported("id2label", format!("a table without {id}")))
            })
            .collect()
    }
}

/// The labels of a `config.json`, in the order of the outputs.
pub fn labels(config: &str) -> Result<Vec<String>, LoadError> {
    serde_json::from_str::<LabelConfig>(config)?.labels()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(config: &str) -> Result<Vec<String>, LoadError> {
        serde_json::from_str::<LabelConfig>(config).unwrap().labels()
    }

    #[test]
    fn labels_are_in_the_order_of_their_numbers() {
        let names: Vec<String> = (0..12).map(|id| format!("\"{id}\": \"label {id}\"")).collect();
        let labels = labels(&format!("{{\"id2label\": {{{}}}}}", names.join(", "))).unwrap();
        assert_eq!(
            (labels[2].as_str(), labels[10].as_str(), labels.len()),
            ("label 2", "label 10", 12)
        );
    }

    #[test]
    fn labels_without_names_are_numbered() {
        assert_eq!(labels("{}").unwrap(), ["LABEL_0", "LABEL_1"]);
        assert_eq!(labels(r#"{"num_labels": 1}"#).unwrap(), ["LABEL_0"]);
    }

    #[test]
    fn a_gap_in_the_table_is_refused() {
        let error = labels(r#"{"id2label": {"0": "a", "2": "b"}}"#).unwrap_err();
        assert!(error.to_string().contains("id2label = a table without 1"), "{error}");
    }
}
