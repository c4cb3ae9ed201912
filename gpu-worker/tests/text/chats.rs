//! Prompts byte for byte as the reference renders them, and templates that mean harm.

use gpu_worker::text::{ChatInput, ChatTemplate, SpecialTokens, TextError};
use serde_json::{Map, Value, json};
use time::macros::datetime;

use crate::fixture;

pub fn compile(source: &str, special: &Value) -> Result<ChatTemplate, TextError> {
    let special = SpecialTokens::from_files(Some(&special.to_string()), None).unwrap();
    let config = json!({ "chat_template": source }).to_string();
    ChatTemplate::from_files(Some(&config), None, special).map(Option::unwrap)
}

fn list(value: &Value) -> Option<&[Value]> {
    value.as_array().map(Vec::as_slice)
}

pub fn render(template: &ChatTemplate, case: &Value) -> Result<String, TextError> {
    let messages: Vec<Map<String, Value>> = case["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message.as_object().unwrap().clone())
        .collect();
    template.render(&ChatInput {
        messages: &messages,
        tools: list(&case["tools"]),
        documents: list(&case["documents"]),
        add_generation_prompt: case["add_generation_prompt"] == true,
        extra: case["extra"].as_object().unwrap_or(&Map::new()),
        now: datetime!(2024-07-04 15:06:09),
    })
}

#[test]
fn prompts_are_the_references() {
    let fixture = fixture(include_str!("../fixtures/text/chats.json"));
    for (idx, case) in fixture["cases"].as_array().unwrap().iter().enumerate() {
        let name = case["template"].as_str().unwrap();
        let template =
            compile(fixture["templates"][name].as_str().unwrap(), &fixture["special"]).unwrap();
        let rendered = render(&template, case);
        match (case.get("prompt"), rendered) {
            (Some(expected), Ok(prompt)) => {
                assert_eq!(prompt, expected.as_str().unwrap(), "{name}, case {idx}")
            }
            (None, Err(TextError::TemplateRaised { message })) => {
                assert_eq!(message, case["error"].as_str().unwrap(), "{name}, case {idx}");
            }
            (None, Err(TextError::TemplateFailed { .. }))
                if case["error"].as_str().unwrap().contains("undefined") => {}
            (_, other) => {
                panic!("{name}, case {idx}: {other:?} instead of {:?}", case.get("error"))
            }
        }
    }
}

fn fails(source: &str) -> TextError {
    match compile(source, &json!({})) {
        Ok(template) => {
            render(&template, &json!({"messages": [{"role": "user", "content": "x"}]})).unwrap_err()
        }
        Err(error) => error,
    }
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let thousand =
        "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}";
    let ends = "{% endfor %}{% endfor %}{% endfor %}";
    assert!(matches!(fails(&format!("{thousand}x{ends}")), TextError::TemplateEndless));
    let doubling = "{% set ns = namespace(x='x') %}{% for a in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    assert!(matches!(fails(doubling), TextError::TemplateEndless));
    assert!(matches!(
        fails("{{ 'x' * 9999999999 }}"),
        TextError::TemplateEndless | TextError::TemplateFailed { .. }
    ));
    assert!(matches!(
        fails("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}"),
        TextError::TemplateFailed { .. }
    ));
}

#[test]
fn a_value_nested_without_end_is_no_crash() {
    let nested = |n: usize, what: &str| {
        let list = format!("{}ns.x{}", "[".repeat(n), "]".repeat(n));
        format!(
            "{{% set ns = namespace(x=[], y=[]) %}}{{% for a in range(9) %}}{{% for b in range(10000) %}}{{% set ns.x = {list} %}}{{% set ns.y = {} %}}{{% endfor %}}{{% endfor %}}{what}",
            list.replace('x', "y"),
        )
    };
    assert!(matches!(fails(&nested(1, "{{ ns.x | tojson }}")), TextError::TemplateFailed { .. }));
    assert!(matches!(fails(&nested(1, "{{ ns.x }}")), TextError::TemplateFailed { .. }));
    let template = compile(&nested(1, "{{ ns.x == ns.y }}"), &json!({})).unwrap();
    render(&template, &json!({"messages": [{"role": "user", "content": "x"}]})).ok();
    assert!(matches!(fails(&nested(20, "")), TextError::TemplateEndless));
}

#[test]
fn what_a_template_raises_is_its_own_message() {
    let error =
        fails("{% macro m() %}{{ raise_exception('no \"tools\" here') }}{% endmacro %}{{ m() }}");
    assert_eq!(error.code(), "invalid_request");
    assert!(
        matches!(error, TextError::TemplateRaised { message } if message == "no \"tools\" here")
    );
}

#[test]
fn what_is_wrong_in_a_template_is_named_with_its_line() {
    let error = fails("a\n{% if %}");
    assert!(
        matches!(&error, TextError::TemplateSyntax { message } if message.contains("line 2")),
        "{error}"
    );
    assert!(matches!(fails("{{ strftime_now('%Q') }}"), TextError::TemplateFailed { .. }));
}

#[test]
fn of_several_templates_the_one_for_tools_is_taken_with_tools() {
    let config = json!({"chat_template": [
        {"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "tools"},
    ]})
    .to_string();
    let build = |jinja| {
        ChatTemplate::from_files(Some(&config), jinja, SpecialTokens::default()).unwrap().unwrap()
    };
    let messages = json!([{"role": "user", "content": "x"}]);
    let case = |tools: Value| json!({"messages": messages, "tools": tools});
    let named = ChatTemplate::with_named(
        Some(&config),
        Some("file"),
        &[("tool_use", "named"), ("rag", "other")],
        SpecialTokens::default(),
    );
    let named = named.unwrap().unwrap();
    assert_eq!(named.names(), ["default", "tool_use", "rag"]);
    assert_eq!(render(&named, &case(json!([]))).unwrap(), "named");
    assert_eq!(render(&named, &case(Value::Null)).unwrap(), "file");
    assert_eq!(render(&build(None), &case(Value::Null)).unwrap(), "plain");
    assert_eq!(render(&build(None), &case(json!([]))).unwrap(), "tools");
    assert_eq!(render(&build(Some("file")), &case(json!([]))).unwrap(), "file");
    assert!(
        ChatTemplate::from_files(Some("{}"), None, SpecialTokens::default()).unwrap().is_none()
    );
}
