//! Pipelines of the first repositories, whose one network lies beside the index instead of in a folder of its own.

use serde_json::Value;

use super::described::components;
use crate::{hub::Repository, tasks::Files};

const CONFIG: &str = "config.json";
const SCHEDULER: &str = "scheduler_config.json";

/// Shows the configs of components without a folder where those of others lie. The answer is the network whose weights lie
/// in the root.
pub(super) fn settle(repository: &Repository, files: &mut Files, index: &Value) -> Option<String> {
    let has_folder = |name: &str| {
        let folder = format!("{name}/");
        repository.files().iter().any(|file| file.path.starts_with(&folder))
    };
    let without: Vec<(&str, &str)> =
        components(index.as_object()?).filter(|(name, _)| !has_folder(name)).collect();
    let config: Value = files.json(CONFIG).ok()??;
    let of_root = config.get("_class_name").and_then(Value::as_str)?;
    let (name, _) = without.iter().find(|(_, class)| *class == of_root)?;
    let scheduler = without.iter().find(|(_, class)| class.ends_with("Scheduler"));
    let shown = [Some((*name, CONFIG)), scheduler.map(|(name, _)| (*name, SCHEDULER))];
    for (name, file) in shown.into_iter().flatten() {
        if let Some(bytes) = files.bytes(file).map(<[u8]>::to_vec) {
            files.insert(&format!("{name}/{file}"), bytes);
        }
    }
    Some((*name).to_owned())
}
