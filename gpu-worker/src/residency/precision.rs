//! Which data type a model's weights get here. A pure rule over figures.

use tch::Kind;

use crate::failure::Failure;

/// Models with at least this many parameters run in half precision on a GPU.
const LARGE: u64 = 1_000_000_000;

/// What the rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    pub is_cuda: bool,
    /// The GPU computes in bfloat16 (compute capability 8.0 and later).
    pub has_bfloat16: bool,
    pub parameters: u64,
    /// Bytes of the weights where the model computes in float32.
    pub float32_bytes: u64,
    /// What most of the checkpoint's floating tensors are stored as.
    pub stored: Kind,
    /// Bytes that residencies may use on the device in all.
    pub budget: u64,
}

/// `float32` on a CPU unless only the checkpoint's half type fits; on a GPU half for large models: `bfloat16` where
/// the checkpoint says so and the chip has it, else `float16`.
pub fn choose(situation: Situation) -> Kind {
    let is_half = matches!(situation.stored, Kind::Half | Kind::BFloat16);
    if situation.is_cuda {
        if situation.parameters < LARGE && !is_half {
            return Kind::Float;
        }
        return if situation.stored == Kind::BFloat16 && situation.has_bfloat16 {
            Kind::BFloat16
        } else {
            Kind::Half
        };
    }
    if is_half && situation.float32_bytes > situation.budget {
        situation.stored
    } else {
        Kind::Float
    }
}

/// Reads a `dtype` that a user asked for.
pub fn parse(name: &str) -> Result<Kind, Failure> {
    match name {
        "float32" | "fp32" => Ok(Kind::Float),
        "float16" | "fp16" => Ok(Kind::Half),
        "bfloat16" | "bf16" => Ok(Kind::BFloat16),
        other => Err(Failure::invalid(
            "run.dtype",
            format!("is {other:?}, expected float32, float16 or bfloat16"),
        )),
    }
}

/// The name in status and results.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "float32",
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Double => "float64",
        _ => "other",
    }
}

/// Bytes of one value of a floating type.
pub fn bytes_per_value(kind: Kind) -> u64 {
    match kind {
        Kind::Double => 8,
        Kind::Half | Kind::BFloat16 => 2,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_rule_in_a_table() {
        let cpu = Situation {
            is_cuda: false,
            has_bfloat16: false,
            parameters: 0,
            float32_bytes: 0,
            stored: Kind::Float,
            budget: 16 * GIB,
        };
        let gpu = Situation { is_cuda: true, has_bfloat16: true, budget: 80 * GIB, ..cpu };
        let cases = [
            (cpu, 100_000_000, Kind::Float, Kind::Float),
            (cpu, 100_000_000, Kind::BFloat16, Kind::Float),
            (cpu, 7_000_000_000, Kind::BFloat16, Kind::BFloat16),
            (cpu, 7_000_000_000, Kind::Float, Kind::Float),
            (gpu, 100_000_000, Kind::Float, Kind::Float),
            (gpu, 100_000_000, Kind::BFloat16, Kind::BFloat16),
            (gpu, 7_000_000_000, Kind::Float, Kind::Half),
            (gpu, 7_000_000_000, Kind::BFloat16, Kind::BFloat16),
            (Situation { has_bfloat16: false, ..gpu }, 7_000_000_000, Kind::BFloat16, Kind::Half),
        ];
        for (situation, parameters, stored, expected) in cases {
            let float32_bytes = 4 * parameters;
            let situation = Situation { parameters, float32_bytes, stored, ..situation };
            assert_eq!(choose(situation), expected, "{situation:?}");
        }
    }

    #[test]
    fn matrices_that_stay_in_their_half_type_make_room_for_float32() {
        let situation = Situation {
            is_cuda: false,
            has_bfloat16: false,
            parameters: 7_000_000_000,
            float32_bytes: 14_000_000_000,
            stored: Kind::BFloat16,
            budget: 16 * GIB,
        };
        assert_eq!(choose(situation), Kind::Float);
        assert_eq!(choose(Situation { budget: 8 * GIB, ..situation }), Kind::BFloat16);
    }

    #[test]
    fn an_unknown_dtype_names_the_field() {
        assert_eq!(parse("int3").unwrap_err().field, "run.dtype");
    }
}
