//! Repositories without a config: what they hold is told by the names and shapes of the tensors in their checkpoint.
//!
//! Real-ESRGAN and its many relatives are published so: one `.pth` or `.safetensors` at the root, or one for each factor,
//! of which that for 4 is the usual one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{pickles, selected};
use crate::{
    failure::{Code, Failure},
    hub::{RepoFile, Repository},
    models::{RrdbConfig, rrdbnet_renames},
    weights::{OF_ANY_MODEL, renamed},
};

const ENDINGS: [&str; 3] = [".safetensors", ".pth", ".pt"];
/// Files of more bytes are not such a network's; nobody reads their names for nothing.
const MOST_BYTES: u64 = 2 << 30;

/// Shapes of tensors by their names.
pub(super) type Shapes = BTreeMap<String, Vec<i64>>;

/// What such a repository would say if it had a config.
pub(super) struct Bare {
    pub(super) config: Value,
    /// The checkpoint.
    pub(super) file: String,
}

/// `None` where nothing is known that looks so.
pub(super) async fn recognise(repository: &Repository) -> Result<Option<Bare>, Failure> {
    let Some(file) = checkpoint(repository.files())? else { return Ok(None) };
    let shapes = if file.ends_with(".safetensors") {
        selected::shapes(repository, file).await.map(Some)
    } else {
        pickles::shapes(repository, file).await
    };
    let shapes = match shapes {
        Ok(Some(shapes)) => shapes,
        Ok(None) => return Ok(None),
        // Another kind of file altogether, such as a pickled program.
        Err(failure) if failure.code == Code::CorruptCheckpoint => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let (names, shapes): (Vec<String>, Vec<Vec<i64>>) = shapes.into_iter().unzip();
    let names = renamed(OF_ANY_MODEL.iter().chain(rrdbnet_renames()), names);
    let shapes: Shapes = names.into_iter().zip(shapes).collect();
    let config = RrdbConfig::of_shapes(&|name| shapes.get(name).cloned());
    Ok(config.map(|config| Bare { config: json!(config), file: file.to_owned() }))
}

/// The one file that it can be.
fn checkpoint(files: &[RepoFile]) -> Result<Option<&str>, Failure> {
    let is_checkpoint = |file: &&RepoFile| {
        !file.path.contains('/')
            && file.size <= MOST_BYTES
            && ENDINGS.iter().any(|ending| file.path.ends_with(ending))
    };
    let all: Vec<&str> =
        files.iter().filter(is_checkpoint).map(|file| file.path.as_str()).collect();
    let usual: Vec<&str> =
        all.iter().copied().filter(|path| path.to_lowercase().contains("x4")).collect();
    match (all.as_slice(), usual.as_slice()) {
        ([], _) => Ok(None),
        ([only], _) | (_, [only]) => Ok(Some(only)),
        _ => {
            let message = format!(
                "the repository has several checkpoints and no config.json that says which one counts: {}",
                all.join(", ")
            );
            let names = all.iter().map(|&name| name.to_owned()).collect();
            Err(Failure::new(Code::FormatNotSupported, message).texts("files", names))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str]) -> Result<Option<String>, String> {
        let files: Vec<RepoFile> = paths.iter().map(|path| RepoFile::new(*path, 1)).collect();
        let found = checkpoint(&files).map_err(|failure| failure.message)?;
        Ok(found.map(str::to_owned))
    }

    #[test]
    fn of_several_checkpoints_the_one_for_four_counts() {
        let one = Ok(Some("net.pth".to_owned()));
        assert_eq!(chosen(&["README.md", "net.pth", "other/net.pth"]), one);
        let ours = ["RealESRGAN_x2.pth", "RealESRGAN_x4.pth", "RealESRGAN_x8.pth"];
        assert_eq!(chosen(&ours), Ok(Some("RealESRGAN_x4.pth".to_owned())));
        assert_eq!(chosen(&["model.onnx"]), Ok(None));
        let message = chosen(&["a_x4.pth", "b_x4.pth"]).unwrap_err();
        assert!(message.contains("a_x4.pth, b_x4.pth"), "{message}");
    }
}
