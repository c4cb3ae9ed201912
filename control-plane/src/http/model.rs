//! Model ids in requests.

use proto::ModelRef;

use crate::failure::{Code, Failure};

const LONGEST_ID: usize = 256;

/// `org/name[@revision]` or `name[@revision]`.
///
/// # Errors
/// `invalid_request` naming `field`.
pub(super) fn model_ref(text: Option<&str>, field: &str) -> Result<ModelRef, Failure> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Err(Failure::invalid(field, "a model id such as org/name is needed"));
    };
    let (model_id, revision) = match text.split_once('@') {
        Some((_, "")) => return Err(Failure::invalid(field, "the revision after @ is empty")),
        Some((model_id, revision)) => (model_id, revision),
        None => (text, ""),
    };
    let valid = text.len() <= LONGEST_ID
        && model_id.split('/').count() <= 2
        && model_id.split('/').all(is_segment)
        && (revision.is_empty() || revision.split('/').all(is_segment));
    if !valid {
        let message = format!("{text:?} is no model id such as org/name or org/name@revision");
        return Err(Failure::new(Code::InvalidRequest, message).with("field", field));
    }
    Ok(ModelRef { model_id: model_id.to_owned(), revision: revision.to_owned() })
}

/// Letters, digits, `-`, `_` and `.`, and not a way up in a folder.
fn is_segment(segment: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !segment.is_empty()
        && !segment.starts_with('.')
        && !segment.contains("..")
        && segment.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_name_an_organisation_and_a_revision() {
        for (text, model_id, revision) in [
            ("gpt2", "gpt2", ""),
            ("org/name", "org/name", ""),
            ("org/name@refs/pr/1", "org/name", "refs/pr/1"),
        ] {
            let model = model_ref(Some(text), "model_id").unwrap();
            assert_eq!((model.model_id.as_str(), model.revision.as_str()), (model_id, revision));
        }
    }

    #[test]
    fn what_could_leave_the_hub_is_no_id() {
        for text in
            ["", "a/b/c", "../x", "a/..", "/a", "a/", "a b", "a@", "a@../..", ".hidden/x", "a\0"]
        {
            let failure = model_ref(Some(text), "model_id").unwrap_err();
            assert_eq!(failure.details["field"], "model_id", "{text}");
        }
        assert!(model_ref(None, "model_id").is_err());
    }
}
