//! The field names of a message as JSON knows them, read from its own `Deserialize`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
    forward_to_deserialize_any,
};

/// Names of the fields of `T` in the order of the contract; empty when `T` isn't read as a struct.
pub fn fields_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe always ends in an error; what counts is what it was asked for.
    let _ = T::deserialize(Probe(&mut names));
    names
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Asked> {
        Err(Asked)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Asked> {
        *self.0 = fields;
        Err(Asked)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[derive(Debug)]
struct Asked;

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the probe holds no value")
    }
}

impl std::error::Error for Asked {}

impl Error for Asked {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_the_order_of_the_contract_and_as_json_spells_them() {
        assert_eq!(
            fields_of::<crate::ImageClassificationOptions>(),
            ["top_k", "function_to_apply", "adapter"]
        );
        assert_eq!(fields_of::<crate::ImageClassificationInputs>(), ["image_base64"]);
        assert!(fields_of::<String>().is_empty());
    }
}
