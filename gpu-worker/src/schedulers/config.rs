//! A model's `scheduler_config.json`.

use serde_json::{Map, Value};

use super::{
    CLASSES, Class, Request, Scheduler, SchedulerError, Start, choice, fields::Fields,
    shift::ShiftLine,
};

/// A config whose class and values are known to be supported.
pub struct SchedulerConfig {
    class: &'static Class,
    fields: Map<String, Value>,
    shift: Option<ShiftLine>,
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
        let class = choice::find_class(name).ok_or_else(|| SchedulerError::UnknownClass {
            class: name.to_owned(),
            known: CLASSES.iter().map(|class| class.name).collect(),
        })?;
        Self::load(class, fields.clone())
    }

    fn load(class: &'static Class, fields: Map<String, Value>) -> Result<Self, SchedulerError> {
        let start = (class.load)(&Fields(&fields))?;
        let shift = ShiftLine::read(&Fields(&fields))?;
        Ok(Self { class, fields, shift, start })
    }

    /// The same config with another scheduler: a class of `diffusers`, or a short name such as `euler` or
    /// `dpm++_2m_karras`. What the config does not say is the other class's default.
    ///
    /// # Errors
    /// A name that is not among [`Self::choices`], or a value of the config that the other class does not know.
    pub fn switched(&self, name: &str) -> Result<Self, SchedulerError> {
        let (class, fields) = choice::choose(name, self.class, &self.fields)?;
        Self::load(class, fields)
    }

    /// What [`Self::switched`] takes: classes first, then short names.
    pub fn choices(&self) -> Vec<&'static str> {
        choice::names(self.class)
    }

    /// The name of its class in `diffusers`.
    pub fn class_name(&self) -> &'static str {
        self.class.name
    }

    /// The [`Request::mu`] for pictures of so many tokens; none where the config has no use for one.
    pub fn shift_for(&self, n_tokens: usize) -> Option<f64> {
        self.shift.map(|line| line.mu(n_tokens))
    }

    /// The scheduler of one request.
    ///
    /// # Errors
    /// Steps that the class cannot take.
    pub fn start(&self, request: &Request) -> Result<Box<dyn Scheduler>, SchedulerError> {
        (self.start)(request)
    }
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
            assert!(refuse(class.name, Steps::Count(0)).contains("at least one"), "{}", class.name);
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

    #[test]
    fn a_model_of_betas_can_switch_and_keeps_its_config() {
        let pndm = json!({
            "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "skip_prk_steps": true, "steps_offset": 1,
        });
        let config = SchedulerConfig::read(&pndm).unwrap();
        let choices = config.choices();
        for name in &choices {
            let switched = config.switched(name).unwrap();
            assert!(switched.start(&Request::of(8)).is_ok(), "{name}");
        }
        assert!(choices.contains(&"LCMScheduler") && choices.contains(&"dpm++_2m_sde_karras"));
        assert!(!choices.contains(&"FlowMatchEulerDiscreteScheduler"));
        let message = config.switched("flow_match_euler").err().unwrap().to_string();
        assert!(message.contains("flow_match_euler") && message.contains("EulerDiscreteScheduler"));
        assert!(config.switched("best").is_err());
        // Spacing is not in the config: it is what the other class has, and the offset has no part in that.
        let euler = config.switched("euler").unwrap().start(&Request::of(2)).unwrap();
        assert_eq!(euler.timesteps(), [999.0, 0.0]);
        let karras = |name: &str| {
            let scheduler = config.switched(name).unwrap().start(&Request::of(8)).unwrap();
            scheduler.sigmas().to_vec()
        };
        assert_ne!(karras("dpm++_2m_karras"), karras("dpm++_2m"));
    }

    #[test]
    fn a_flow_only_knows_its_own_class_and_its_shift() {
        let flux =
            json!({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true});
        let config = SchedulerConfig::read(&flux).unwrap();
        assert_eq!(config.choices(), ["FlowMatchEulerDiscreteScheduler", "flow_match_euler"]);
        assert!(config.start(&Request::of(4)).err().unwrap().to_string().contains("size"));
        let mu = config.shift_for(4096);
        assert_eq!(mu.map(|mu| (mu * 1e6).round() / 1e6), Some(1.15));
        assert!(config.start(&Request { mu, ..Request::of(4) }).is_ok());
    }

    #[test]
    fn combinations_that_would_divide_by_zero_are_refused() {
        for (class, fields, named) in [
            (
                "DPMSolverMultistepScheduler",
                json!({"algorithm_type": "dpmsolver"}),
                "final_sigmas_type",
            ),
            (
                "DPMSolverMultistepScheduler",
                json!({"algorithm_type": "sde-dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min"}),
                "solver_order",
            ),
            (
                "DPMSolverMultistepScheduler",
                json!({"variance_type": "learned_range"}),
                "variance_type",
            ),
            (
                "DPMSolverMultistepScheduler",
                json!({"lambda_min_clipped": 100.0}),
                "lambda_min_clipped",
            ),
            (
                "DPMSolverMultistepScheduler",
                json!({"prediction_type": "flow_prediction"}),
                "prediction_type",
            ),
            ("UniPCMultistepScheduler", json!({"lower_order_final": false}), "lower_order_final"),
            (
                "UniPCMultistepScheduler",
                json!({"solver_p": {"_class_name": "DDIMScheduler"}}),
                "solver_p",
            ),
            ("UniPCMultistepScheduler", json!({"shift_terminal": 0.1}), "shift_terminal"),
            ("EulerDiscreteScheduler", json!({"beta_start": 0.0}), "beta_end"),
        ] {
            let mut document = fields;
            document["_class_name"] = json!(class);
            let message = error(&document);
            assert!(message.contains(named), "{message}");
        }
        let leading =
            json!({"_class_name": "UniPCMultistepScheduler", "timestep_spacing": "leading"});
        let config = SchedulerConfig::read(&leading).unwrap();
        let message = config.start(&Request::of(1000)).err().unwrap().to_string();
        assert!(message.contains("same level"), "{message}");
    }
}
