//! Files that come beside the JSON of a request and stand for an input of it.

use serde_json::Value;

use crate::failure::Failure;

/// Inputs as they were sent.
#[derive(Debug, Default)]
pub struct Sent {
    pub json: Option<Value>,
    pub files: Vec<File>,
}

/// The bytes of one input.
#[derive(Debug)]
pub struct File {
    /// One of [`File::NAMES`].
    name: &'static str,
    pub bytes: Vec<u8>,
}

impl File {
    /// Every name that a file may have; the input that it stands for is `<name>_base64`.
    pub const NAMES: &[&str] = &["image", "audio", "video", "mask", "document"];

    /// The file of this name, empty; `None` when there is no such name.
    pub fn named(name: &str) -> Option<Self> {
        let name = Self::NAMES.iter().find(|known| **known == name)?;
        Some(Self { name, bytes: Vec::new() })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Name of the input that it stands for.
    pub fn input(&self) -> String {
        format!("{}_base64", self.name)
    }
}

impl From<Option<Value>> for Sent {
    fn from(json: Option<Value>) -> Self {
        Self { json, files: Vec::new() }
    }
}

impl Sent {
    /// Refuses files that stand for none of the inputs `known`, or for one that the JSON gives too.
    pub(super) fn check(&mut self, known: &[&str]) -> Result<(), Failure> {
        let takes: Vec<&str> = File::NAMES
            .iter()
            .copied()
            .filter(|name| known.contains(&format!("{name}_base64").as_str()))
            .collect();
        for file in &self.files {
            let input = file.input();
            if !takes.contains(&file.name) {
                let list = if takes.is_empty() { "no files".to_owned() } else { takes.join(", ") };
                return Err(Failure::invalid(
                    file.name,
                    format!("the task does not take it; it takes {list}"),
                )
                .with("known", takes));
            }
            let given = self
                .json
                .as_mut()
                .and_then(Value::as_object_mut)
                .and_then(|fields| fields.shift_remove(&input));
            if given.is_some_and(|value| !value.is_null()) {
                let message = format!("comes as the file {} too; send it once", file.name);
                return Err(Failure::invalid(format!("inputs.{input}"), message));
            }
        }
        Ok(())
    }
}
