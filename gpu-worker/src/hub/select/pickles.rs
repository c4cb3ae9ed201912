//! Which files hold PyTorch's own checkpoint: `pytorch_model.bin`, or the shards that its index names.

use std::collections::BTreeSet;

use super::{RepoFile, SelectError, ShardIndex};

/// The name of the format in refusals.
pub const TORCH_BIN: &str = "PyTorch pickle (.bin)";
/// What every such format is called, its ending left out.
const TORCH: &str = "PyTorch pickle";
/// Names of a whole checkpoint, the usual one first.
const FILES: [&str; 6] = [
    "pytorch_model.bin",
    "pytorch_model.pt",
    "pytorch_model.pth",
    "model.bin",
    "model.pt",
    "model.pth",
];
const INDEX: &str = "pytorch_model.bin.index.json";

/// Whether a format's name in a refusal is one of PyTorch's.
pub fn is_torch(format: &str) -> bool {
    format.starts_with(TORCH)
}

/// The index that has to be read before [`pickle_files`] can answer; `None` where there are no shards.
pub fn pickles_index(files: &[RepoFile]) -> Option<String> {
    let has = |path: &str| files.iter().any(|file| file.path == path);
    (!has(FILES[0]) && has(INDEX)).then(|| INDEX.to_owned())
}

/// The files of the checkpoint, each once, sorted; `None` where there is none. `index` is what [`pickles_index`] names.
pub fn pickle_files(
    files: &[RepoFile],
    index: Option<&str>,
) -> Result<Option<Vec<String>>, SelectError> {
    let Some(index) = index else {
        let has = |path: &&str| files.iter().any(|file| file.path == **path);
        return Ok(FILES.into_iter().find(has).map(|path| vec![path.to_owned()]));
    };
    let path = INDEX.to_owned();
    let shards: BTreeSet<String> = match serde_json::from_str::<ShardIndex>(index) {
        Ok(index) => index.weight_map.into_values().collect(),
        Err(source) => return Err(SelectError::IndexInvalid { path, source }),
    };
    if shards.is_empty() {
        return Err(SelectError::IndexEmpty { path });
    }
    let is_there = |shard: &String| files.iter().any(|file| file.path == *shard);
    let missing: Vec<String> = shards.iter().filter(|shard| !is_there(shard)).cloned().collect();
    if missing.is_empty() {
        Ok(Some(shards.into_iter().collect()))
    } else {
        Err(SelectError::ShardsMissing { path, missing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<RepoFile> {
        paths.iter().map(|path| RepoFile::new(*path, 1)).collect()
    }

    #[test]
    fn one_file_is_enough_and_shards_are_those_of_the_index() {
        let one = files(&[FILES[0], INDEX]);
        assert_eq!(pickles_index(&one), None);
        assert_eq!(pickle_files(&one, None).unwrap(), Some(vec![FILES[0].to_owned()]));
        let two = files(&[INDEX, "b.bin", "a.bin", "c.bin"]);
        assert_eq!(pickles_index(&two).as_deref(), Some(INDEX));
        let index = r#"{"weight_map": {"x": "b.bin", "y": "a.bin", "z": "b.bin"}}"#;
        let found = pickle_files(&two, Some(index)).unwrap().unwrap();
        assert_eq!(found, ["a.bin", "b.bin"]);
        assert_eq!(pickle_files(&files(&["training_args.bin", "best.pt"]), None).unwrap(), None);
        let other = pickle_files(&files(&["model.pth"]), None).unwrap().unwrap();
        assert_eq!(other, ["model.pth"]);
        for bad in
            ["", "{}", r#"{"weight_map": {}}"#, r#"{"weight_map": {"a": "../../etc/passwd"}}"#]
        {
            let error = pickle_files(&two, Some(bad)).unwrap_err();
            assert_eq!(error.code(), "corrupt_checkpoint", "{bad}");
        }
    }
}
