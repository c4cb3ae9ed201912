//! Activation functions by the names that `config.json` uses.
//!
//! Reference: `transformers/activations.py`.

use std::str::FromStr;

use serde::Deserialize;
use tch::Tensor;

/// What `hidden_act` and its relatives may name here; any other name is refused when the config is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Activation {
    Gelu,
    GeluTanh,
    QuickGelu,
    Relu,
    ReluSquared,
    Relu6,
    Silu,
    Tanh,
    Sigmoid,
    Mish,
    Hardswish,
    Linear,
}

impl Activation {
    /// Any shape to the same shape.
    pub fn forward(self, xs: &Tensor) -> Tensor {
        match self {
            Self::Gelu => xs.gelu("none"),
            Self::GeluTanh => xs.gelu("tanh"),
            Self::QuickGelu => xs * (xs * 1.702).sigmoid(),
            Self::Relu => xs.relu(),
            Self::ReluSquared => xs.relu().square(),
            Self::Relu6 => xs.relu6(),
            Self::Silu => xs.silu(),
            Self::Tanh => xs.tanh(),
            Self::Sigmoid => xs.sigmoid(),
            Self::Mish => xs.mish(),
            Self::Hardswish => xs.hardswish(),
            Self::Linear => xs.shallow_clone(),
        }
    }
}

/// A rectifier that lets `slope` (0 to 1) of what is negative through.
pub fn leaky_relu(xs: &Tensor, slope: f64) -> Tensor {
    xs.maximum(&(xs * slope))
}

/// An activation that this library does not have.
#[derive(Debug, thiserror::Error)]
#[error("activation {name:?} is not supported")]
pub struct UnknownActivation {
    name: String,
}

impl FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> Result<Self, UnknownActivation> {
        Ok(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            // The reference spells the same approximation in several ways that differ by rounding only.
            "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh"
            | "gelu_python_tanh" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "relu" => Self::Relu,
            "relu2" => Self::ReluSquared,
            "relu6" => Self::Relu6,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "mish" => Self::Mish,
            "hardswish" => Self::Hardswish,
            "linear" => Self::Linear,
            _ => return Err(UnknownActivation { name: name.to_owned() }),
        })
    }
}

impl TryFrom<String> for Activation {
    type Error = UnknownActivation;

    fn try_from(name: String) -> Result<Self, UnknownActivation> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_activation_is_refused_by_name() {
        let error = serde_json::from_str::<Activation>("\"xielu\"").unwrap_err();
        assert!(error.to_string().contains("\"xielu\" is not supported"), "{error}");
    }

    #[test]
    fn the_usual_names_are_known() {
        for (name, activation) in [
            ("gelu", Activation::Gelu),
            ("gelu_new", Activation::GeluTanh),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
            ("quick_gelu", Activation::QuickGelu),
            ("relu", Activation::Relu),
            ("silu", Activation::Silu),
        ] {
            assert_eq!(name.parse::<Activation>().unwrap(), activation);
        }
    }
}
