//! The envelope of a prediction: read first, so that the task decides how the rest is read.

use std::time::Duration;

use proto::{ModelRef, OnConflict};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    model::model_ref,
    quantities::{KeepAlive, Span},
};
use crate::{
    failure::{Code, Failure},
    placement::Conflict,
    strict,
};

const DTYPES: &[&str] = &["float32", "float16", "bfloat16"];

/// A prediction as it was asked for; inputs and options still unread.
pub(super) struct Envelope {
    pub(super) model: ModelRef,
    pub(super) task: Option<String>,
    pub(super) inputs: Option<Value>,
    pub(super) options: Option<Value>,
    pub(super) run: RunTerms,
    pub(super) echo: Echo,
}

/// What is given back as it came.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct Echo {
    /// As in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_type: Option<String>,
    /// As in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    intent_id: Option<String>,
}

/// How a request runs; everything is optional.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunOptions {
    /// False: fail at once when the model isn't there (default true).
    #[serde(default)]
    wait: Option<bool>,
    /// Longest time for the whole request (default 10m).
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "5m")]
    timeout: Option<Span>,
    /// What to do when there is no room (default evict).
    #[serde(default)]
    on_conflict: Option<OnConflict>,
    /// `float32`, `float16` or `bfloat16`; absent: the worker's rule.
    #[serde(default)]
    dtype: Option<String>,
    /// How long the model stays after its last use; `-1`: until evicted.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "10m")]
    keep_alive: Option<KeepAlive>,
    /// Higher goes first (default 0).
    #[serde(default)]
    priority: Option<i32>,
}

/// [`RunOptions`] with its defaults.
#[derive(Clone, Debug)]
pub(super) struct RunTerms {
    pub(super) wait: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) conflict: Conflict,
    pub(super) dtype: String,
    pub(super) keep_alive_ms: Option<i64>,
    pub(super) priority: i32,
}

/// The fields whose values are plain.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    model_id: Option<String>,
    task: Option<String>,
    #[serde(rename = "inputs")]
    _inputs: Option<()>,
    #[serde(rename = "options")]
    _options: Option<()>,
    #[serde(rename = "run")]
    _run: Option<()>,
    input_type: Option<String>,
    intent_id: Option<String>,
}

impl Envelope {
    pub(super) fn read(mut body: Value) -> Result<Self, Failure> {
        let mut take =
            |name: &str| body.as_object_mut().and_then(|fields| fields.shift_remove(name));
        let (inputs, options, run) = (take("inputs"), take("options"), take("run"));
        let head: Head = strict::read("", Code::InvalidRequest, Some(body))?;
        let run: RunOptions = strict::read("run", Code::UnknownOption, run)?;
        Ok(Self {
            model: model_ref(head.model_id.as_deref(), "model_id")?,
            task: head.task.filter(|task| !task.is_empty()),
            inputs,
            options,
            run: run.terms()?,
            echo: Echo { input_type: head.input_type, intent_id: head.intent_id },
        })
    }
}

impl RunOptions {
    fn terms(self) -> Result<RunTerms, Failure> {
        if self.timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            return Err(Failure::invalid("run.timeout", "must be longer than nothing"));
        }
        Ok(RunTerms {
            wait: self.wait.unwrap_or(true),
            timeout: self.timeout.map(|timeout| timeout.0),
            conflict: conflict(self.on_conflict),
            dtype: dtype(self.dtype, "run.dtype")?,
            keep_alive_ms: self.keep_alive.map(KeepAlive::milliseconds),
            priority: self.priority.unwrap_or(0),
        })
    }
}

pub(super) fn conflict(on_conflict: Option<OnConflict>) -> Conflict {
    match on_conflict {
        None | Some(OnConflict::Unspecified | OnConflict::Evict) => Conflict::Evict,
        Some(OnConflict::Wait) => Conflict::Wait,
        Some(OnConflict::Refuse) => Conflict::Refuse,
    }
}

/// Empty when absent.
pub(super) fn dtype(dtype: Option<String>, field: &str) -> Result<String, Failure> {
    let dtype = dtype.unwrap_or_default();
    if dtype.is_empty() || DTYPES.contains(&dtype.as_str()) {
        return Ok(dtype);
    }
    let message = format!("{dtype:?} is none of {}", DTYPES.join(", "));
    Err(Failure::invalid(field, message).with("known", DTYPES))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> Failure {
        Envelope::read(body).err().unwrap()
    }

    #[test]
    fn a_full_envelope_is_read() {
        let run = json!({"wait": false, "timeout": "5m", "on_conflict": "wait", "dtype": "float16",
            "keep_alive": "-1", "priority": 3});
        let body = json!({"model_id": "org/name@main", "task": "text-generation", "inputs": {}, "options": {},
            "run": run, "input_type": "text", "intent_id": "x"});
        let envelope = Envelope::read(body).unwrap();
        assert_eq!(envelope.model.revision, "main");
        assert_eq!(envelope.run.timeout, Some(Duration::from_secs(300)));
        assert_eq!((envelope.run.conflict, envelope.run.keep_alive_ms), (Conflict::Wait, Some(-1)));
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (body, field) in [
            (json!({}), "model_id"),
            (json!({"model_id": 7}), "model_id"),
            (json!({"model_id": "a/b", "colour": 1}), "colour"),
            (json!({"model_id": "a/b", "run": {"timeout": "soon"}}), "run.timeout"),
            (json!({"model_id": "a/b", "run": {"timeout": "0"}}), "run.timeout"),
            (json!({"model_id": "a/b", "run": {"on_conflict": "explode"}}), "run.on_conflict"),
            (json!({"model_id": "a/b", "run": {"dtype": "int3"}}), "run.dtype"),
            (json!({"model_id": "a/b", "run": []}), "run"),
            (json!([]), "body"),
        ] {
            let failure = refused(body.clone());
            assert_eq!(failure.code, Code::InvalidRequest, "{body}");
            assert_eq!(failure.details["field"], field, "{body}");
        }
    }

    #[test]
    fn resumable_is_not_there_yet_and_says_so() {
        let failure = refused(json!({"model_id": "a/b", "run": {"resumable": true}}));
        assert_eq!(failure.code, Code::UnknownOption);
        assert_eq!(failure.details["field"], "run.resumable");
    }
}
