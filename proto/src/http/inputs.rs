//! `Texts` is a string or a list of strings.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{PartialSchema, ToSchema, openapi::RefOr, openapi::schema::Schema};

use crate::Texts;

/// One text, or several that are answered in order.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) => Self { items: vec![text], is_list: false },
            OneOrMany::Many(items) => Self { items, is_list: true },
        })
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.items.as_slice() {
            [text] if !self.is_list => serializer.serialize_str(text),
            items => items.serialize(serializer),
        }
    }
}

impl PartialSchema for Texts {
    fn schema() -> RefOr<Schema> {
        OneOrMany::schema()
    }
}

impl ToSchema for Texts {}

#[cfg(test)]
mod tests {
    use crate::{FeatureExtractionInputs, Texts};

    #[test]
    fn one_text_and_a_list_of_one_stay_different() {
        for json in [r#""a""#, r#"["a"]"#, r#"["a","b"]"#, "[]"] {
            let texts: Texts = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&texts).unwrap(), json);
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        let refusal =
            serde_json::from_str::<FeatureExtractionInputs>(r#"{"text":[1]}"#).unwrap_err();
        assert!(refusal.to_string().contains("a string or a list of strings"), "{refusal}");
    }
}
