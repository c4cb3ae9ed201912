//! What may name a model, a revision and a file: everything here becomes part of a path and of an address.

use super::HubError;

const LONGEST_MODEL_ID: usize = 96;
const LONGEST_REVISION: usize = 255;
const LONGEST_PATH: usize = 1024;
/// Length of what an error repeats of a bad name.
const QUOTED: usize = 120;

/// The Hub's own rules: `name` or `organisation/name` of letters, digits, `-`, `_` and `.`.
pub(super) fn check_model_id(model_id: &str) -> Result<(), HubError> {
    match model_id_fault(model_id) {
        None => Ok(()),
        Some(reason) => Err(HubError::InvalidModelId { model_id: quoted(model_id), reason }),
    }
}

fn model_id_fault(model_id: &str) -> Option<&'static str> {
    if model_id.is_empty() {
        return Some("it is empty");
    }
    if model_id.len() > LONGEST_MODEL_ID {
        return Some("it is longer than 96 characters");
    }
    if !model_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) {
        return Some("only letters, digits, '-', '_', '.' and one '/' are allowed");
    }
    if model_id.contains("--") || model_id.contains("..") {
        return Some("'--' and '..' are not allowed");
    }
    let parts: Vec<&str> = model_id.split('/').collect();
    if parts.len() > 2 {
        return Some("it has more than one '/'");
    }
    if parts
        .iter()
        .any(|part| part.is_empty() || part.starts_with(['-', '.']) || part.ends_with(['-', '.']))
    {
        return Some("a part of it is empty, or begins or ends with '-' or '.'");
    }
    model_id.ends_with(".git").then_some("it ends with '.git'")
}

/// A branch, a tag, a commit or `refs/pr/1`, by git's rules for names.
pub(super) fn check_revision(revision: &str) -> Result<(), HubError> {
    let fault = if revision.is_empty() {
        Some("it is empty")
    } else if revision.len() > LONGEST_REVISION {
        Some("it is longer than 255 characters")
    } else if !revision.bytes().all(|byte| byte.is_ascii_graphic() && !b"~^:?*[\\".contains(&byte))
    {
        Some("it has characters that git does not allow")
    } else if revision.contains("..") || revision.contains("@{") {
        Some("'..' and '@{' are not allowed")
    } else if revision
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
    {
        Some("a part of it is empty, begins with '.' or ends with '.lock'")
    } else {
        None
    };
    match fault {
        None => Ok(()),
        Some(reason) => Err(HubError::InvalidRevision { revision: quoted(revision), reason }),
    }
}

/// A file's path inside its repository: relative, `/` between its parts, never upwards.
pub(super) fn check_path(path: &str) -> Result<(), HubError> {
    let fault = if path.is_empty() {
        Some("it is empty")
    } else if path.len() > LONGEST_PATH {
        Some("it is longer than 1024 characters")
    } else if path.chars().any(|character| character.is_control() || character == '\\') {
        Some("control characters and '\\' are not allowed")
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("it must be relative, without '.' and '..'")
    } else {
        None
    };
    match fault {
        None => Ok(()),
        Some(reason) => Err(HubError::InvalidPath { path: quoted(path), reason }),
    }
}

/// A full commit id.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_lower_hex(revision)
}

/// A git blob id or a sha256: what the Hub names file contents by.
pub(super) fn is_content_id(etag: &str) -> bool {
    matches!(etag.len(), 40 | 64) && is_lower_hex(etag)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn quoted(name: &str) -> String {
    name.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_follow_the_hubs_rules() {
        for good in ["gpt2", "org/name", "org/Name-1.5_x", "a/b", &"x".repeat(96)] {
            assert!(check_model_id(good).is_ok(), "{good}");
        }
        let long = "x".repeat(97);
        let bad = [
            "",
            "/",
            "a/",
            "/a",
            "../x",
            "a/..",
            "a/../b",
            "a/b/c",
            "a--b",
            "-a",
            "a/.b",
            "a.",
            "a b",
            "a\\b",
            "ä",
            "a/b.git",
            "a\0b",
            "a%2fb",
            "C:",
            long.as_str(),
        ];
        for bad in bad {
            assert!(check_model_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn revisions_never_leave_their_folder() {
        for good in ["main", "refs/pr/1", "v1.0-rc+2", "feature/x", "6f0c2b"] {
            assert!(check_revision(good).is_ok(), "{good}");
        }
        for bad in [
            "", "/etc", "a//b", "../main", "a/../b", "a/.b", "a b", "a\n", "a~1", "x.lock",
            "a@{1}", "a/",
        ] {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn file_paths_never_leave_their_repository() {
        for good in
            ["config.json", "1_Pooling/config.json", "a b#1.bin", ".gitattributes", "файл.txt"]
        {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\\..\\b", "a\0"]
        {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn errors_repeat_only_the_beginning_of_a_bad_name() {
        let error = check_model_id(&"/".repeat(1_000_000)).unwrap_err();
        assert!(error.to_string().len() < 300);
    }
}
