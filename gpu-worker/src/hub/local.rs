//! Folders of the user's as a hub: `DIR/<org>/<name>/`, and `DIR/<name>/` for ids without a slash.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha1::{Digest, Sha1};

use super::{RepoFile, cache, cache::Listing};

const DEEPEST: usize = 8;
const MOST_FILES: usize = 20_000;
const LARGEST_CARD: u64 = 1 << 20;
/// What makes a folder a model, or an adapter of one, and not an organisation.
const MODEL_FILES: [&str; 4] =
    ["config.json", "model_index.json", "modules.json", "adapter_config.json"];
const WEIGHT_ENDINGS: [&str; 5] = [".safetensors", ".gguf", ".onnx", ".bin", ".pt"];

/// One model of a local folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModel {
    pub model_id: String,
    pub path: PathBuf,
}

/// The folder of `model_id` in the first of `hubs` that has it.
pub(super) fn find(hubs: &[PathBuf], model_id: &str) -> Option<PathBuf> {
    hubs.iter().map(|hub| hub.join(model_id)).find(|folder| is_model(folder))
}

/// Every model of `hubs`, sorted by id; of two with the same id the first hub's.
pub(super) fn models(hubs: &[PathBuf]) -> Vec<LocalModel> {
    let mut models: Vec<LocalModel> = Vec::new();
    let mut add = |model_id: String, path: PathBuf| {
        let known = models.iter().any(|model| model.model_id == model_id);
        if !known && super::identity::check_model_id(&model_id).is_ok() && is_model(&path) {
            models.push(LocalModel { model_id, path });
        }
    };
    for hub in hubs {
        for (name, path) in folders(hub) {
            for (inner, inner_path) in folders(&path) {
                add(format!("{name}/{inner}"), inner_path);
            }
            add(name, path);
        }
    }
    models.sort_by(|a, b| a.model_id.cmp(&b.model_id));
    models
}

/// Files and facts of a model folder. Its revision is a digest of every file's path, size and time.
pub(super) fn listing(folder: &Path) -> io::Result<Listing> {
    let mut files = Vec::new();
    let mut digest = Sha1::new();
    for path in walk(folder)? {
        let metadata = fs::metadata(folder.join(&path))?;
        let modified = cache::nanoseconds(metadata.modified().ok());
        digest.update(format!("{path}\0{}\0{modified}\n", metadata.len()));
        files.push(RepoFile { path, size: metadata.len(), etag: None });
    }
    let card = read_card(&folder.join("README.md"));
    Ok(Listing {
        commit: format!("{:x}", digest.finalize()),
        pipeline_tag: front_matter(&card, "pipeline_tag"),
        library_name: front_matter(&card, "library_name"),
        files,
    })
}

/// Paths of all files below `folder`, sorted, `/` between their parts; hidden ones are left out.
pub(super) fn walk(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((current, prefix, depth)) = pending.pop() {
        for entry in fs::read_dir(&current)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            let path = format!("{prefix}{name}");
            if name.starts_with('.') || super::identity::check_path(&path).is_err() {
                continue;
            }
            if metadata.is_dir() && depth < DEEPEST {
                pending.push((entry.path(), format!("{path}/"), depth + 1));
            } else if metadata.is_file() {
                if found.len() == MOST_FILES {
                    return Err(io::Error::other(format!(
                        "the folder has more than {MOST_FILES} files"
                    )));
                }
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_model(folder: &Path) -> bool {
    if MODEL_FILES.iter().any(|name| folder.join(name).is_file()) {
        return true;
    }
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        WEIGHT_ENDINGS.iter().any(|ending| name.ends_with(ending)) && entry.path().is_file()
    })
}

/// Visible sub-folders with their names. A hub that cannot be listed has none; the log says why.
fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot list a local hub");
            return Vec::new();
        }
    };
    let named = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.to_owned(), entry.path())));
    named.filter(|(name, path)| !name.starts_with('.') && path.is_dir()).collect()
}

fn read_card(path: &Path) -> String {
    let small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= LARGEST_CARD);
    if small { fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

/// A top-level scalar of the card's front matter: the block between the first two lines `---`.
fn front_matter(card: &str, key: &str) -> Option<String> {
    let mut lines = card.trim_start_matches('\u{feff}').lines();
    if lines.next()?.trim_end() != "---" {
        return None;
    }
    let value = lines
        .take_while(|line| line.trim_end() != "---")
        .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
    let value = value.split(" #").next()?.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cards_front_matter_is_read_and_nothing_else() {
        let card = "---\nlicense: mit\npipeline_tag: \"text-generation\"  # ours\nlibrary_name: transformers\n---\npipeline_tag: no";
        assert_eq!(front_matter(card, "pipeline_tag").as_deref(), Some("text-generation"));
        assert_eq!(front_matter(card, "library_name").as_deref(), Some("transformers"));
        assert_eq!(front_matter(card, "base_model"), None);
        assert_eq!(front_matter("# Title\npipeline_tag: x", "pipeline_tag"), None);
        assert_eq!(front_matter("---\npipeline_tag:\n---", "pipeline_tag"), None);
        assert_eq!(front_matter("", "pipeline_tag"), None);
    }
}
