//! What an adapter's config and its tensors may say, and what is refused by its name.

use std::collections::HashMap;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::weights::{Checkpoint, Rename};

fn config(changes: &Value) -> Result<Config, PeftError> {
    let mut fields = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q", "v"],
        "bias": "none", "init_lora_weights": true, "fan_in_fan_out": false, "lora_dropout": 0.1,
        "task_type": "CAUSAL_LM", "inference_mode": true, "modules_to_save": null, "loftq_config": {}});
    for (name, value) in changes.as_object().unwrap() {
        fields[name] = value.clone();
    }
    Config::parse(fields.to_string().as_bytes())
}

fn refusal(changes: &Value) -> String {
    config(changes).map(|_| ()).expect_err(&changes.to_string()).to_string()
}

/// Tensors by the ends of their names, with their shapes.
fn plan(config: &Config, tensors: &[(&str, &[i64])]) -> Result<Plan, PeftError> {
    let names: Vec<String> =
        tensors.iter().map(|(end, _)| format!("base_model.model.{end}")).collect();
    Plan::new(config, names.iter().map(String::as_str).zip(tensors.iter().map(|(_, shape)| *shape)))
}

fn pair(path: &str) -> Vec<(String, Vec<i64>)> {
    vec![
        (format!("base_model.model.{path}.lora_A.weight"), vec![4, 6]),
        (format!("base_model.model.{path}.lora_B.weight"), vec![5, 4]),
    ]
}

#[test]
fn what_is_not_supported_is_refused_by_its_name() {
    for (changes, expected) in [
        (json!({"peft_type": "IA3"}), r#"peft_type = "IA3" is not supported"#),
        (json!({"peft_type": null}), "peft_type is missing"),
        (json!({"use_dora": true}), "use_dora = true is not supported"),
        (json!({"bias": "all"}), r#"bias = "all" is not supported"#),
        (json!({"lora_bias": true}), "lora_bias = true is not supported"),
        (json!({"init_lora_weights": "pissa"}), r#"init_lora_weights = "pissa""#),
        (json!({"layers_to_transform": [1]}), "layers_to_transform = [1] is not supported"),
        (json!({"target_parameters": ["experts"]}), "target_parameters"),
        (json!({"trainable_token_indices": [3]}), "trainable_token_indices = [3]"),
        (json!({"a_later_idea": 1}), "a_later_idea = 1 is not supported"),
    ] {
        let message = refusal(&changes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_malformed_is_refused_by_its_field() {
    for (changes, expected) in [
        (json!({"r": 0}), "r is 0"),
        (json!({"r": 1.5}), "r is 1.5"),
        (json!({"r": "four"}), "r is no number"),
        (json!({"target_modules": null}), "target_modules is missing"),
        (json!({"target_modules": 7}), "target_modules must be"),
        (json!({"target_modules": ["q", 1]}), "target_modules must hold texts"),
        (json!({"target_modules": "("}), "target_modules is no regular expression"),
        (json!({"rank_pattern": {"q": "x"}}), "rank_pattern must hold numbers"),
        (json!({"alpha_pattern": {"(": 1}}), "alpha_pattern is no regular expression"),
        (json!({"modules_to_save": "score"}), "modules_to_save must be a list"),
        (json!({"use_rslora": 1}), "use_rslora must be"),
    ] {
        let message = refusal(&changes);
        assert!(message.contains(expected), "{message}");
    }
    assert!(matches!(Config::parse(b"[1]"), Err(PeftError::Json(_))));
    assert!(matches!(Config::parse(b"{"), Err(PeftError::Json(_))));
}

#[test]
fn ranks_and_scales_follow_their_patterns() {
    let terms = |changes: &Value, path: &str| {
        let terms = config(changes).unwrap().terms(path).unwrap();
        (terms.rank, terms.scale)
    };
    assert_eq!(terms(&json!({}), "layers.0.q"), (4, 2.0));
    assert_eq!(terms(&json!({"use_rslora": true}), "layers.0.q"), (4, 4.0));
    let patterns = json!({"rank_pattern": {"layers.1.q": 2, "q": 8}, "alpha_pattern": {r"layers\.\d+\.q": 16}});
    assert_eq!(terms(&patterns, "model.layers.1.q"), (2, 8.0));
    assert_eq!(terms(&patterns, "model.layers.11.q"), (8, 2.0));
    assert_eq!(terms(&patterns, "model.layers.1.v"), (4, 2.0));
    // The end of a name is not the end of a path.
    assert_eq!(terms(&patterns, "layers.1.freq"), (4, 2.0));
}

#[test]
fn targets_are_ends_of_paths_or_one_expression_for_whole_paths() {
    let targets = |changes: &Value, path: &str| config(changes).unwrap().targets(path).unwrap();
    assert!(targets(&json!({}), "q") && targets(&json!({}), "layers.0.q"));
    assert!(!targets(&json!({}), "layers.0.k") && !targets(&json!({}), "layers.0.freq"));
    let expression = json!({"target_modules": r"(?!.*vision).*layers\.\d+\.(q|v)"});
    assert!(targets(&expression, "model.layers.3.q"));
    assert!(!targets(&expression, "vision.layers.3.q") && !targets(&expression, "layers.3.q.x"));
    assert!(!targets(&json!({"exclude_modules": ["layers.0.q"]}), "model.layers.0.q"));
}

#[test]
fn tensors_that_do_not_belong_together_are_named() {
    let config = config(&json!({"modules_to_save": ["score"]})).unwrap();
    let score = ("score.weight", [5_i64, 6].as_slice());
    let down = ("a.q.lora_A.weight", [4, 6].as_slice());
    let up = ("a.q.lora_B.weight", [5, 4].as_slice());
    assert!(plan(&config, &[score, down, up]).is_ok());
    type Tensors<'a> = &'a [(&'a str, &'a [i64])];
    let cases: &[(Tensors, &str)] = &[
        (&[score, down], "not base_model.model.a.q.lora_B.weight"),
        (&[score, up], "not base_model.model.a.q.lora_A.weight"),
        (
            &[score, ("a.k.lora_A.weight", &[4, 6]), ("a.k.lora_B.weight", &[5, 4])],
            "tensors of a.k",
        ),
        (&[score, ("a.q.lora_A.weight", &[3, 6]), up], "shape [3, 6], expected [4, 6]"),
        (&[score, down, ("a.q.lora_B.weight", &[5, 3])], "shape [5, 3], expected [5, 4]"),
        (&[score, ("a.q.lora_A.weight", &[4, 6, 1]), up], "expected [4, 6]"),
        (&[score, ("a.q.lora_embedding_A", &[4, 6])], "a.q.lora_embedding_A is not supported"),
        (&[score, ("a.q.lora_magnitude_vector", &[4])], "lora_magnitude_vector is not supported"),
        (&[score, ("a.q.lora_B.bias", &[4])], "a.q.lora_B.bias is not supported"),
        (&[score, ("embed_tokens.weight", &[4, 6])], "embed_tokens.weight is not supported"),
        (&[("score.bias", &[4])], "not base_model.model.score.weight"),
    ];
    for (tensors, expected) in cases {
        let message = plan(&config, tensors).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
    let bare = self::config(&json!({})).unwrap();
    assert!(matches!(plan(&bare, &[]), Err(PeftError::Empty)));
    let elsewhere = Plan::new(&bare, [("q.lora_A.weight", [4_i64, 6].as_slice())]);
    assert!(matches!(elsewhere, Err(PeftError::Tensor { .. })));
}

/// A model of one layer, 6 to 5, whose checkpoint says `body.` before its names.
fn model(fixed: bool) -> Checkpoint {
    let tensors = HashMap::from([(
        "body.a.q.weight".to_owned(),
        Tensor::zeros([5, 6], (Kind::Float, Device::Cpu)),
    )]);
    let mut model = Checkpoint::from_tensors(tensors);
    model.rename(&[Rename::StripPrefix("body.")]);
    let layer = model.root().at("a.q");
    layer.module(6, 5, false);
    if fixed {
        layer.fix_module();
    }
    model
}

fn parts(
    tensors: &[(String, Vec<i64>)],
    model: &Checkpoint,
) -> Result<HashMap<usize, Part>, PeftError> {
    let shapes = tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
    let plan = Plan::new(&config(&json!({})).unwrap(), shapes)?;
    let ones = |shape: &Vec<i64>| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let tensors = tensors.iter().map(|(name, shape)| (name.clone(), ones(shape)));
    plan.parts(tensors.collect(), model)
}

#[test]
fn paths_are_those_of_the_model_once_its_rules_are_applied() {
    for path in ["body.a.q", "a.q"] {
        let parts = parts(&pair(path), &model(false)).unwrap();
        let Some(Part::LowRank { down, up }) = parts.get(&0) else { panic!("{parts:?}") };
        assert_eq!((down.size(), up.size()), (vec![4, 6], vec![5, 4]));
        assert_eq!(up.double_value(&[0, 0]), 2.0, "alpha / r is in it");
    }
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let message = |tensors: &[(String, Vec<i64>)], model| {
        parts(tensors, model).map(|_| ()).unwrap_err().to_string()
    };
    let whole = model(false);
    assert!(message(&pair("b.q"), &whole).contains("no linear layer b.q"));
    let mut wide = pair("a.q");
    wide[0].1 = vec![4, 7];
    assert!(message(&wide, &whole).contains("has shape [4, 7], this one needs [-1, 6]"));
    let mut long = pair("a.q");
    long[1].1 = vec![9, 4];
    assert!(message(&long, &whole).contains("has shape [9, 4], this one needs [5, 4]"));
    let twice = [pair("a.q"), pair("body.a.q")].concat();
    assert!(message(&twice, &whole).contains("no linear layer body.a.q"));
    assert!(message(&pair("a.q"), &model(true)).contains("a.q cannot be adapted"));
}
