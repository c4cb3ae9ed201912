//! What `adapter_config.json` says. Reference: `LoraConfig` in `peft/tuners/lora/config.py`.

use serde_json::{Map, Value};

use super::{
    PeftError,
    pattern::{Names, Overrides, invalid},
};

/// Fields that change nothing of what a trained adapter computes.
const WITHOUT_EFFECT: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    // Of linear layers, `lora_A` and `lora_B` are stored in one way, whichever way their weight is.
    "fan_in_fan_out",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Ways to begin training that leave the model's own weights as they were.
const PLAIN_BEGINNINGS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// Beyond this no layer has so many dimensions.
const MOST_RANK: f64 = (1_u64 << 20) as f64;

#[derive(Clone, Debug)]
pub struct Config {
    rank: f64,
    alpha: f64,
    /// Divide by the root of the rank (Kalajdzievski, 2023, <https://arxiv.org/abs/2312.03732>).
    uses_root: bool,
    targets: Names,
    excluded: Option<Names>,
    rank_pattern: Overrides,
    alpha_pattern: Overrides,
    /// Layers that were trained as a whole, by the parts of their paths.
    pub(super) whole: Vec<String>,
}

/// What the config says of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::weights) struct Terms {
    pub(in crate::weights) rank: i64,
    pub(in crate::weights) scale: f64,
}

impl Config {
    /// Reads it strictly: a field that this library does not know has to be absent, `null`, `false` or empty.
    pub fn parse(text: &[u8]) -> Result<Self, PeftError> {
        let mut fields: Map<String, Value> = serde_json::from_slice(text)?;
        let mut take = |name: &str| fields.shift_remove(name).filter(|value| !is_nothing(value));
        match take("peft_type") {
            Some(Value::String(kind)) if kind == "LORA" => {}
            Some(other) => return Err(unsupported("peft_type", &other)),
            None => return Err(invalid("peft_type", "is missing")),
        }
        match take("bias") {
            Some(Value::String(bias)) if bias != "none" => {
                return Err(unsupported("bias", &Value::String(bias)));
            }
            Some(Value::String(_)) | None => {}
            Some(_) => return Err(invalid("bias", "must be a text")),
        }
        match take("init_lora_weights") {
            None | Some(Value::Bool(_)) => {}
            Some(Value::String(way)) if PLAIN_BEGINNINGS.contains(&way.as_str()) => {}
            Some(other) => return Err(unsupported("init_lora_weights", &other)),
        }
        let rank = number("r", take("r"), 8.0)?;
        check_rank("r", rank)?;
        let config = Self {
            rank,
            alpha: number("lora_alpha", take("lora_alpha"), 8.0)?,
            uses_root: match take("use_rslora") {
                None => false,
                Some(Value::Bool(uses)) => uses,
                Some(_) => return Err(invalid("use_rslora", "must be true or false")),
            },
            targets: match take("target_modules") {
                Some(value) => Names::parse("target_modules", &value)?,
                None => return Err(invalid("target_modules", "is missing")),
            },
            excluded: take("exclude_modules")
                .map(|value| Names::parse("exclude_modules", &value))
                .transpose()?,
            rank_pattern: take("rank_pattern").map_or_else(
                || Ok(Overrides::default()),
                |v| Overrides::parse("rank_pattern", &v),
            )?,
            alpha_pattern: take("alpha_pattern").map_or_else(
                || Ok(Overrides::default()),
                |value| Overrides::parse("alpha_pattern", &value),
            )?,
            whole: take("modules_to_save").map_or_else(|| Ok(Vec::new()), |value| texts(&value))?,
        };
        let unknown = fields
            .iter()
            .find(|(name, value)| !WITHOUT_EFFECT.contains(&name.as_str()) && !is_nothing(value));
        match unknown {
            Some((name, value)) => Err(unsupported(name, value)),
            None => Ok(config),
        }
    }

    /// Whether the layer at `path` is one that the adapter was trained for.
    pub(in crate::weights) fn targets(&self, path: &str) -> Result<bool, PeftError> {
        if let Some(excluded) = &self.excluded
            && excluded.match_path("exclude_modules", path)?
        {
            return Ok(false);
        }
        self.targets.match_path("target_modules", path)
    }

    /// Rank and scale at the layer at `path`.
    pub(in crate::weights) fn terms(&self, path: &str) -> Result<Terms, PeftError> {
        let rank = self.rank_pattern.of("rank_pattern", path)?.unwrap_or(self.rank);
        check_rank("rank_pattern", rank)?;
        let alpha = self.alpha_pattern.of("alpha_pattern", path)?.unwrap_or(self.alpha);
        let divisor = if self.uses_root { rank.sqrt() } else { rank };
        Ok(Terms { rank: rank as i64, scale: alpha / divisor })
    }
}

fn check_rank(field: &str, rank: f64) -> Result<(), PeftError> {
    let is_possible = (1.0..=MOST_RANK).contains(&rank) && rank.fract() == 0.0;
    if is_possible { Ok(()) } else { Err(invalid(field, format!("is {rank}, which is no rank"))) }
}

fn number(field: &str, value: Option<Value>, default: f64) -> Result<f64, PeftError> {
    let Some(value) = value else { return Ok(default) };
    value.as_f64().filter(|value| value.is_finite()).ok_or_else(|| invalid(field, "is no number"))
}

fn texts(value: &Value) -> Result<Vec<String>, PeftError> {
    let items = value.as_array().into_iter().flatten().map(|item| item.as_str().map(str::to_owned));
    match items.collect::<Option<Vec<String>>>() {
        Some(texts) if value.is_array() => Ok(texts),
        _ => Err(invalid("modules_to_save", "must be a list of texts")),
    }
}

/// `null`, `false`, and what is empty: the field does not ask for anything.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(_) | Value::Number(_) | Value::Bool(true) => false,
    }
}

fn unsupported(field: &str, value: &Value) -> PeftError {
    const LONGEST: usize = 100;
    let value = value.to_string().chars().take(LONGEST).collect();
    PeftError::Unsupported { field: field.to_owned(), value }
}
