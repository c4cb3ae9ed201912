//! Typed values out of a `scheduler_config.json`; an error names the field.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::SchedulerError;

/// Absent and `null` both mean the class's default, which every reader is told.
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl Fields<'_> {
    pub(super) fn flag(&self, field: &'static str, default: bool) -> Result<bool, SchedulerError> {
        self.read(field, "true or false", Value::as_bool).map(|value| value.unwrap_or(default))
    }

    pub(super) fn number(&self, field: &'static str, default: f64) -> Result<f64, SchedulerError> {
        self.optional_number(field).map(|value| value.unwrap_or(default))
    }

    pub(super) fn optional_number(
        &self,
        field: &'static str,
    ) -> Result<Option<f64>, SchedulerError> {
        self.read(field, "a number", Value::as_f64)
    }

    /// Above zero.
    pub(super) fn positive(
        &self,
        field: &'static str,
        default: f64,
    ) -> Result<f64, SchedulerError> {
        let is_positive = |value: &Value| value.as_f64().filter(|&number| number > 0.0);
        self.read(field, "a number above 0", is_positive).map(|value| value.unwrap_or(default))
    }

    /// A whole number in the range.
    pub(super) fn whole(
        &self,
        field: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, SchedulerError> {
        let found = self.read(field, "a whole number", |value| {
            // `1.0` is what some programs make of `1`.
            value.as_u64().or_else(|| {
                value
                    .as_f64()
                    .filter(|number| number.fract() == 0.0 && *number >= 0.0)
                    .map(|number| number as u64)
            })
        })?;
        let value = found.map_or(default, |value| usize::try_from(value).unwrap_or(usize::MAX));
        if range.contains(&value) {
            return Ok(value);
        }
        Err(SchedulerError::UnsupportedValue { field, value: value.to_string() })
    }

    /// A list of whole numbers; empty where there is none.
    pub(super) fn indices(&self, field: &'static str) -> Result<Vec<usize>, SchedulerError> {
        let indices = self.read(field, "a list of whole numbers", |value| {
            let items = value.as_array()?.iter();
            items.map(|item| usize::try_from(item.as_u64()?).ok()).collect()
        })?;
        Ok(indices.unwrap_or_default())
    }

    pub(super) fn numbers(&self, field: &'static str) -> Result<Option<Vec<f64>>, SchedulerError> {
        self.read(field, "a list of numbers", |value| {
            value.as_array()?.iter().map(Value::as_f64).collect()
        })
    }

    /// One of the names in the table.
    pub(super) fn choose<T: Copy>(
        &self,
        field: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, SchedulerError> {
        let Some(name) = self.text(field)? else { return Ok(default) };
        choices
            .iter()
            .find(|(choice, _)| *choice == name)
            .map(|(_, value)| *value)
            .ok_or_else(|| SchedulerError::UnsupportedValue { field, value: format!("{name:?}") })
    }

    fn text(&self, field: &'static str) -> Result<Option<&str>, SchedulerError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(SchedulerError::Type { field, expected: "a name" }),
        }
    }

    /// That the field is absent, `null`, `false` or empty: the class does something with it that this library does not.
    pub(super) fn refuse(&self, field: &'static str) -> Result<(), SchedulerError> {
        match self.0.get(field) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(()),
            Some(value) => {
                Err(SchedulerError::UnsupportedValue { field, value: value.to_string() })
            }
        }
    }

    /// The same for some of its values.
    pub(super) fn refuse_values(
        &self,
        field: &'static str,
        values: &[&str],
    ) -> Result<(), SchedulerError> {
        match self.text(field)? {
            Some(value) if values.contains(&value) => {
                Err(SchedulerError::UnsupportedValue { field, value: format!("{value:?}") })
            }
            _ => Ok(()),
        }
    }

    fn read<T>(
        &self,
        field: &'static str,
        expected: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, SchedulerError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => convert(value).map(Some).ok_or(SchedulerError::Type { field, expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error<T>(result: Result<T, SchedulerError>) -> String {
        result.err().expect("an error").to_string()
    }

    #[test]
    fn an_error_names_the_field_and_what_it_should_be() {
        let config = json!({
            "clip_sample": 1, "beta_start": "low", "steps_offset": -1, "num_train_timesteps": 0,
            "beta_schedule": "cubic", "trained_betas": [0.1, "x"], "prediction_type": 3,
        });
        let fields = Fields(config.as_object().unwrap());
        assert!(
            error(fields.flag("clip_sample", true)).contains("clip_sample must be true or false")
        );
        assert!(error(fields.number("beta_start", 0.0)).contains("beta_start must be a number"));
        assert!(
            error(fields.whole("steps_offset", 0, 0..=9)).contains("steps_offset must be a whole")
        );
        assert!(
            error(fields.whole("num_train_timesteps", 9, 1..=9))
                .contains("num_train_timesteps = 0")
        );
        assert!(error(fields.choose("beta_schedule", 0, &[("linear", 1)])).contains("\"cubic\""));
        assert!(error(fields.choose("prediction_type", 0, &[])).contains("prediction_type"));
        assert!(error(fields.numbers("trained_betas")).contains("trained_betas"));
    }

    #[test]
    fn null_and_absent_are_the_default() {
        let config = json!({"clip_sample": null, "steps_offset": 1.0});
        let fields = Fields(config.as_object().unwrap());
        assert!(fields.flag("clip_sample", true).unwrap());
        assert!(!fields.flag("thresholding", false).unwrap());
        assert_eq!(fields.whole("steps_offset", 0, 0..=9).unwrap(), 1);
        assert_eq!(fields.optional_number("sigma_min").unwrap(), None);
    }
}
