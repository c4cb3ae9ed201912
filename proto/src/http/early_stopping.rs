//! `EarlyStopping` is `true`, `false` or `"never"`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder, RefOr,
        schema::{Schema, Type},
    },
};

use crate::{EarlyStopping, EarlyStoppingMode};

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or \"never\"")]
enum Spelled {
    Bool(bool),
    Word(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Never,
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mode = match Spelled::deserialize(deserializer)? {
            Spelled::Bool(true) => EarlyStoppingMode::AtOnce,
            Spelled::Bool(false) => EarlyStoppingMode::Heuristic,
            Spelled::Word(Word::Never) => EarlyStoppingMode::Never,
        };
        Ok(Self { mode: mode.into() })
    }
}

impl Serialize for EarlyStopping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.mode() {
            EarlyStoppingMode::AtOnce => serializer.serialize_bool(true),
            EarlyStoppingMode::Heuristic | EarlyStoppingMode::Unspecified => {
                serializer.serialize_bool(false)
            }
            EarlyStoppingMode::Never => serializer.serialize_str("never"),
        }
    }
}

impl PartialSchema for EarlyStopping {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["never"]));
        OneOfBuilder::new()
            .item(bool::schema())
            .item(word)
            .description(Some("`true`, `false` or `\"never\"`."))
            .into()
    }
}

impl ToSchema for EarlyStopping {}

#[cfg(test)]
mod tests {
    use crate::{EarlyStopping, Seq2SeqOptions};

    #[test]
    fn the_three_ways_are_read_and_written() {
        for json in ["true", "false", r#""never""#] {
            let read: EarlyStopping = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
        let refusal = serde_json::from_str::<Seq2SeqOptions>(r#"{"early_stopping": "soon"}"#);
        assert!(refusal.unwrap_err().to_string().contains(r#"true, false or "never""#));
    }
}
