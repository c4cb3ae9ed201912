//! By how much a model enlarges pictures, as its config says before anything is loaded.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlargement {
    /// By how much both sides grow.
    pub scale: u32,
    /// 1 or 3.
    pub channels: u32,
}

/// Of a `config.json`, in the words of the architectures that enlarge; what is absent is Swin2SR's default.
pub fn enlargement(config: &Value) -> Enlargement {
    let field = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| config.get(name)?.as_u64());
        value.and_then(|value| u32::try_from(value).ok())
    };
    let channels = if field(["num_channels", "num_in_ch"]) == Some(1) { 1 } else { 3 };
    Enlargement { scale: field(["upscale", "scale"]).unwrap_or(2).clamp(1, 64), channels }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_both_architectures_write() {
        for (config, scale, channels) in [
            (json!({}), 2, 3),
            (json!({"upscale": 4, "num_channels": 3}), 4, 3),
            (json!({"upscale": 1, "num_channels": 1}), 1, 1),
            (json!({"scale": 8, "num_in_ch": 3}), 8, 3),
        ] {
            assert_eq!(enlargement(&config), Enlargement { scale, channels }, "{config}");
        }
    }
}
