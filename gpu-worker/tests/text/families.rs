//! Templates in the manner of today's model families, and single expressions, byte for byte as the reference renders them.

use gpu_worker::text::{ChatTemplate, TextError};
use serde_json::Value;

use crate::{
    chats::{compile, render},
    fixture,
};

fn all() -> Value {
    fixture(include_str!("../fixtures/text/families.json"))
}

/// What differs, as a line.
fn difference(template: &ChatTemplate, case: &Value, expected: &Value) -> Option<String> {
    let rendered = render(template, case);
    let error = expected["error"].as_str().unwrap_or_default();
    match (expected.get("prompt"), rendered) {
        (Some(prompt), Ok(rendered)) if prompt == rendered.as_str() => None,
        (None, Err(TextError::TemplateRaised { message }))
            if expected["kind"] == "TemplateError" && message == error =>
        {
            None
        }
        (None, Err(TextError::TemplateFailed { .. } | TextError::NoMessages))
            if expected["kind"] != "TemplateError" =>
        {
            None
        }
        (_, rendered) => Some(format!("{rendered:?}\n  instead of {expected}")),
    }
}

#[test]
fn prompts_of_the_families_are_the_references() {
    let fixture = all();
    let mut wrong = Vec::new();
    for (idx, case) in fixture["cases"].as_array().unwrap().iter().enumerate() {
        let name = case["template"].as_str().unwrap();
        let source = fixture["templates"][name].as_str().unwrap();
        let template = compile(source, &fixture["special"]).unwrap();
        wrong.extend(
            difference(&template, case, case).map(|line| format!("{name}, case {idx}: {line}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_are_the_references() {
    let fixture = all();
    let mut wrong = Vec::new();
    for expression in fixture["expressions"].as_array().unwrap() {
        let source = expression["source"].as_str().unwrap();
        let line = match compile(source, &fixture["special"]) {
            Ok(template) => difference(&template, &fixture["common"], expression),
            Err(error) => Some(format!("{error:?}\n  instead of {expression}")),
        };
        wrong.extend(line.map(|line| format!("{source}: {line}")));
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
