//! The document of a pipeline: which classes its components are of, and their configs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::PipelineClass;
use crate::models::LoadError;

/// Ends of the classes that are no networks; tasks read what they say.
const NO_NETWORKS: [&str; 6] = [
    "Scheduler",
    "Tokenizer",
    "TokenizerFast",
    "ImageProcessor",
    "ImageProcessorFast",
    "FeatureExtractor",
];

#[derive(Deserialize)]
pub(super) struct Components {
    /// `model_index.json`.
    index: BTreeMap<String, Value>,
    /// Configs by component.
    components: BTreeMap<String, Value>,
}

impl Components {
    pub(super) fn parse(document: &str) -> Result<Self, LoadError> {
        Ok(serde_json::from_str(document)?)
    }

    /// What the class of the pipeline means.
    pub(super) fn pipeline(&self) -> &'static PipelineClass {
        let name = self.index.get("_class_name").and_then(Value::as_str);
        PipelineClass::named(name.unwrap_or_default())
    }

    /// What the index says beside its components.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.index.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn has(&self, component: &str) -> bool {
        self.class(component).is_some()
    }

    fn class(&self, component: &str) -> Option<&str> {
        self.index.get(component)?.as_array()?.get(1)?.as_str()
    }

    /// A network, by what is done with its class and config; `None` of that: the class is not known.
    pub(super) fn load<T>(
        &self,
        component: &str,
        load: impl FnOnce(&str, &str) -> Option<Result<T, LoadError>>,
    ) -> Result<T, LoadError> {
        let named = || component.to_owned();
        let (Some(class), Some(config)) = (self.class(component), self.components.get(component))
        else {
            return Err(LoadError::MissingComponent { component: named() });
        };
        match load(class, &config.to_string()) {
            Some(Ok(network)) => Ok(network),
            // A checkpoint's names say themselves which component they are of.
            Some(Err(error @ LoadError::Weights(_))) => Err(error),
            Some(Err(error)) => {
                Err(LoadError::Component { component: named(), source: Box::new(error) })
            }
            None => Err(LoadError::UnknownClass { component: named(), class: class.to_owned() }),
        }
    }

    /// Refuses networks that the pipeline would do without although its authors did not.
    pub(super) fn refuse_others(&self, known: &[&str]) -> Result<(), LoadError> {
        let other = self.index.keys().find_map(|component| {
            let class = self.class(component)?;
            let is_network = !NO_NETWORKS.iter().any(|end| class.ends_with(end));
            (is_network && !known.contains(&component.as_str())).then_some((component, class))
        });
        match other {
            Some((component, class)) => Err(LoadError::UnknownClass {
                component: component.clone(),
                class: class.to_owned(),
            }),
            None => Ok(()),
        }
    }
}
