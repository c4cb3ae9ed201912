//! The index of a sharded checkpoint (`model.safetensors.index.json`): which tensor is in which file.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Tensor names by shard; a shard is the name of a file in the index's own folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    pub shards: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{0}")]
    Json(#[source] serde_json::Error),
    #[error("weight_map is empty")]
    Empty,
    #[error("tensor {tensor} is said to be in {shard:?}, which is not the name of a weights file")]
    ShardName { tensor: String, shard: String },
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: BTreeMap<String, String>,
}

/// Parses an index. A shard outside of the index's folder is refused.
pub fn parse_index(json: &[u8]) -> Result<Index, IndexError> {
    let RawIndex { weight_map } = serde_json::from_slice(json).map_err(IndexError::Json)?;
    if weight_map.is_empty() {
        return Err(IndexError::Empty);
    }
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in weight_map {
        let has_folder = shard.contains(['/', '\\', '\0']);
        let is_weights = [".safetensors", ".bin"].iter().any(|ending| shard.ends_with(ending));
        if has_folder || !is_weights {
            return Err(IndexError::ShardName { tensor, shard });
        }
        shards.entry(shard).or_default().push(tensor);
    }
    Ok(Index { shards })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_tensors_by_shard() {
        let json = br#"{"metadata": {"total_size": 8}, "weight_map":
            {"b": "model-1.safetensors", "a": "model-1.safetensors", "c": "model-2.safetensors"}}"#;
        let shards = parse_index(json).unwrap().shards;
        assert_eq!(shards["model-1.safetensors"], ["a", "b"]);
        assert_eq!(shards["model-2.safetensors"], ["c"]);
    }

    #[test]
    fn refuses_what_is_not_an_index() {
        for (json, expected) in [
            ("", "EOF while parsing"),
            ("[]", "invalid length 0"),
            ("{}", "missing field `weight_map`"),
            (r#"{"weight_map": {}}"#, "weight_map is empty"),
            (r#"{"weight_map": {"a": 1}}"#, "invalid type"),
            (r#"{"weight_map": {"a": "../m.safetensors"}}"#, "tensor a is said to be in"),
            (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "tensor a is said to be in"),
            (r#"{"weight_map": {"a": "model.h5"}}"#, "tensor a is said to be in"),
        ] {
            let message = parse_index(json.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{json}: {message}");
        }
    }
}
