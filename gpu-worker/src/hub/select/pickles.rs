//! Which files hold PyTorch's own checkpoint: `pytorch_model.bin`, or the shards that its index names.

use std::collections::BTreeSet;

use super::{RepoFile, SelectError, ShardIndex, inside};

/// The name of the format in refusals.
pub const TORCH_BIN: &str = "PyTorch pickle (.bin)";
/// What every such format is called, its ending left out.
const TORCH: &str = "PyTorch pickle";
/// Names of a whole checkpoint, the usual one first.
const FILES: [&str; 7] = [
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "pytorch_model.pt",
    "pytorch_model.pth",
    "model.bin",
    "model.pt",
    "model.pth",
];
const INDEXES: [&str; 2] =
    ["pytorch_model.bin.index.json", "diffusion_pytorch_model.bin.index.json"];

/// Whether a format's name in a refusal is one of PyTorch's.
pub fn is_torch(format: &str) -> bool {
    format.starts_with(TORCH)
}

/// The index that has to be read before [`pickle_files`] can answer; `None` where there are no shards. `folder` is that
/// of a component, empty for the repository's root.
pub fn pickles_index(files: &[RepoFile], folder: &str) -> Option<String> {
    let find = |names: &[&str]| {
        let mut paths = names.iter().map(|name| inside(folder, name));
        paths.find(|path| files.iter().any(|file| file.path == *path))
    };
    if find(&FILES[..2]).is_some() { None } else { find(&INDEXES) }
}

/// The files of the checkpoint, each once, sorted; `None` where there is none. `index` is what [`pickles_index`] names.
pub fn pickle_files(
    files: &[RepoFile],
    folder: &str,
    index: Option<(&str, &str)>,
) -> Result<Option<Vec<String>>, SelectError> {
    let is_there = |path: &String| files.iter().any(|file| file.path == *path);
    let Some((path, index)) = index else {
        let mut paths = FILES.iter().map(|name| inside(folder, name));
        return Ok(paths.find(is_there).map(|path| vec![path]));
    };
    let path = path.to_owned();
    let shards: BTreeSet<String> = match serde_json::from_str::<ShardIndex>(index) {
        Ok(index) => index.weight_map.values().map(|shard| inside(folder, shard)).collect(),
        Err(source) => return Err(SelectError::IndexInvalid { path, source }),
    };
    if shards.is_empty() {
        return Err(SelectError::IndexEmpty { path });
    }
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
        let one = files(&[FILES[0], INDEXES[0]]);
        assert_eq!(pickles_index(&one, ""), None);
        assert_eq!(pickle_files(&one, "", None).unwrap(), Some(vec![FILES[0].to_owned()]));
        let two = files(&[INDEXES[0], "b.bin", "a.bin", "c.bin"]);
        assert_eq!(pickles_index(&two, "").as_deref(), Some(INDEXES[0]));
        let index = r#"{"weight_map": {"x": "b.bin", "y": "a.bin", "z": "b.bin"}}"#;
        let of = |index| pickle_files(&two, "", Some((INDEXES[0], index)));
        assert_eq!(of(index).unwrap().unwrap(), ["a.bin", "b.bin"]);
        let others = files(&["training_args.bin", "best.pt", "unet/pytorch_model.bin"]);
        assert_eq!(pickle_files(&others, "", None).unwrap(), None);
        let other = pickle_files(&files(&["model.pth"]), "", None).unwrap().unwrap();
        assert_eq!(other, ["model.pth"]);
        for bad in
            ["", "{}", r#"{"weight_map": {}}"#, r#"{"weight_map": {"a": "../../etc/passwd"}}"#]
        {
            assert_eq!(of(bad).unwrap_err().code(), "corrupt_checkpoint", "{bad}");
        }
    }

    #[test]
    fn a_component_has_its_files_in_its_folder() {
        let one = files(&["unet/diffusion_pytorch_model.bin", "pytorch_model.bin"]);
        assert_eq!(pickles_index(&one, "unet"), None);
        let found = pickle_files(&one, "unet", None).unwrap().unwrap();
        assert_eq!(found, ["unet/diffusion_pytorch_model.bin"]);
        let index = "unet/diffusion_pytorch_model.bin.index.json";
        let shards = files(&[index, "unet/a.bin"]);
        assert_eq!(pickles_index(&shards, "unet").as_deref(), Some(index));
        let found =
            pickle_files(&shards, "unet", Some((index, r#"{"weight_map": {"x": "a.bin"}}"#)));
        assert_eq!(found.unwrap().unwrap(), ["unet/a.bin"]);
    }
}
