//! Finds model folders: `DIR/<org>/<name>/` and `DIR/<name>/`, told by their config file.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

const CONFIGS: &[&str] = &["config.json", "model_index.json", "modules.json"];

/// A model folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub model_id: String,
    /// When its config file changed last.
    pub modified: Option<SystemTime>,
}

/// All models of the hubs by name; of two with the same name the first hub's.
pub fn scan(hubs: &[PathBuf]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for hub in hubs {
        for (name, folder) in folders(hub) {
            if let Some(modified) = config_of(&folder) {
                add(&mut found, name, modified);
                continue;
            }
            for (inner, folder) in folders(&folder) {
                if let Some(modified) = config_of(&folder) {
                    add(&mut found, format!("{name}/{inner}"), modified);
                }
            }
        }
    }
    found.sort_by(|a, b| a.model_id.cmp(&b.model_id));
    found
}

fn add(found: &mut Vec<Found>, model_id: String, modified: Option<SystemTime>) {
    if found.iter().all(|known| known.model_id != model_id) {
        found.push(Found { model_id, modified });
    }
}

/// Sub-folders with names that a model id can have.
fn folders(parent: &Path) -> Vec<(String, PathBuf)> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::warn!(folder = %parent.display(), %error, "cannot be listed");
            return Vec::new();
        }
    };
    entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| !name.starts_with('.') && !name.contains('@'))
        .collect()
}

/// `Some` when the folder holds a model, with the time of its config file where the system tells it.
fn config_of(folder: &Path) -> Option<Option<SystemTime>> {
    let config = CONFIGS.iter().map(|name| folder.join(name)).find(|path| path.is_file())?;
    Some(fs::metadata(config).and_then(|meta| meta.modified()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_models_with_and_without_an_organisation() {
        let hub = tempfile::tempdir().unwrap();
        for (folder, file) in [
            ("zoo/shapes", "config.json"),
            ("gpt2", "config.json"),
            ("zoo/notes", "readme"),
            (".git/x", "config.json"),
        ] {
            let folder = hub.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), "{}").unwrap();
        }
        let names: Vec<String> =
            scan(&[hub.path().to_owned()]).into_iter().map(|found| found.model_id).collect();
        assert_eq!(names, ["gpt2", "zoo/shapes"]);
    }

    #[test]
    fn a_hub_that_is_not_there_has_no_models() {
        assert!(scan(&[PathBuf::from("no/such/hub")]).is_empty());
    }
}
