//! The facts of an error as a JSON object.

use serde_json::{Map, Value};

use crate::{ErrorDetail, error_fact::Fact};

impl ErrorDetail {
    /// The facts, and the field at fault where there is one.
    pub fn details(&self) -> Map<String, Value> {
        let mut details = Map::new();
        if !self.field.is_empty() {
            details.insert("field".to_owned(), self.field.as_str().into());
        }
        for fact in &self.facts {
            let value = match &fact.fact {
                Some(Fact::Number(number)) => (*number).into(),
                Some(Fact::Text(text)) => text.as_str().into(),
                Some(Fact::Texts(texts)) => texts.items.as_slice().into(),
                None => Value::Null,
            };
            details.insert(fact.name.clone(), value);
        }
        details
    }
}
