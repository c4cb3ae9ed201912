//! A model's `scheduler_config.json`.

use serde_json::{Map, Value};

use super::{CLASSES, Class, Request, Scheduler, SchedulerError, Start, fields::Fields};

/// A config whose class and values are known to be supported.
pub struct SchedulerConfig {
    class: &'static Class,
    start: Start,
}

impl SchedulerConfig {
    /// Reads the document of `scheduler/scheduler_config.json`.
    ///
    /// # Errors
    /// A class or a value that is not supported, by name.
    pub fn read(document: &Value) -> Result<Self, SchedulerError> {
        let fields = document.as_object().ok_or(SchedulerError::NotAnObject)?;
        let name =
            fields.get("_class_name").and_then(Value::as_str).ok_or(SchedulerError::NoClass)?;
        Self::load(find(name)?, fields)
    }

    fn load(class: &'static Class, fields: &Map<String, Value>) -> Result<Self, SchedulerError> {
        let start = (class.load)(&Fields(fields))?;
        Ok(Self { class, start })
    }

    /// The name of its class in `diffusers`.
    pub fn class_name(&self) -> &'static str {
        self.class.name
    }

    /// The scheduler of one request.
    ///
    /// # Errors
    /// Steps that the class cannot take.
    pub fn start(&self, request: &Request) -> Result<Box<dyn Scheduler>, SchedulerError> {
        (self.start)(request)
    }
}

fn find(name: &str) -> Result<&'static Class, SchedulerError> {
    CLASSES.iter().find(|class| class.name == name).ok_or_else(|| SchedulerError::UnknownClass {
        class: name.to_owned(),
        known: CLASSES.iter().map(|class| class.name).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::Steps, *};

    fn error(document: &Value) -> String {
        SchedulerConfig::read(document).err().expect("an error").to_string()
    }

    #[test]
    fn what_is_not_supported_is_named() {
        assert!(error(&json!([])).contains("not an object"));
        assert!(error(&json!({})).contains("_class_name"));
        let unknown = error(&json!({"_class_name": "KarrasVeScheduler"}));
        assert!(unknown.contains("KarrasVeScheduler") && unknown.contains("DDIMScheduler"));
        for (field, value) in [
            ("beta_schedule", json!("cubic")),
            ("prediction_type", json!("guess")),
            ("timestep_spacing", json!("random")),
            ("num_train_timesteps", json!(1)),
            ("trained_betas", json!([0.1])),
            ("beta_end", json!(7.0)),
        ] {
            let message = error(&json!({"_class_name": "DDIMScheduler", field: value}));
            assert!(message.contains(field), "{message}");
        }
        let both = json!({"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "use_beta_sigmas": true});
        assert!(error(&both).contains("use_beta_sigmas"));
    }

    #[test]
    fn steps_that_a_class_cannot_take_are_refused() {
        let config = |class: &str| {
            SchedulerConfig::read(&json!({"_class_name": class, "steps_offset": 1})).unwrap()
        };
        let refuse = |class: &str, steps: Steps| {
            let request = Request { steps, ..Request::of(1) };
            config(class).start(&request).err().expect("an error").to_string()
        };
        for class in CLASSES {
            assert!(refuse(class.name, Steps::Count(0)).contains("at least one"));
            assert!(refuse(class.name, Steps::Count(10_000)).contains("10000"));
        }
        // The offset pushes the first of them beyond training.
        assert!(refuse("DDIMScheduler", Steps::Count(1000)).contains("999"));
        assert!(refuse("PNDMScheduler", Steps::Count(3)).contains("fewer than the 4"));
        assert!(refuse("DDIMScheduler", Steps::Timesteps(vec![9])).contains("timesteps"));
        assert!(refuse("DDPMScheduler", Steps::Timesteps(vec![9, 9])).contains("fall"));
        assert!(refuse("DDPMScheduler", Steps::Timesteps(vec![1000])).contains("1000"));
        assert!(refuse("EulerDiscreteScheduler", Steps::Sigmas(vec![1.0, 2.0])).contains("fall"));
    }
}
