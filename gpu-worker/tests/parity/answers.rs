//! `token-classification`, `question-answering` and `fill-mask` from text to text, against the reference's pipelines.

use std::collections::HashMap;

use gpu_worker::{
    layers::Step,
    models::{self, Model, ModelKind},
    tasks::{self, Files, Made, Prepared, Processor, Score, TokenRow, Vectors, Work},
    weights::Checkpoint,
};
use proto::{
    FillMaskRequest, InferRequest, QuestionAnsweringRequest, TokenClassificationRequest,
    http::TaskOutput, infer_request::Input,
};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::{fixture::TOLERANCE, hashed_weights};

struct Answers {
    task: &'static str,
    fixture: Value,
    model: Model,
    _checkpoint: Checkpoint,
}

impl Answers {
    fn open(task: &'static str, kind: ModelKind, text: &str) -> Self {
        let fixture: Value = serde_json::from_str(text).unwrap();
        let shapes: HashMap<String, Vec<i64>> =
            serde_json::from_value(fixture["tensors"].clone()).unwrap();
        let tensors = shapes.iter().map(|(name, shape)| {
            (name.clone(), hashed_weights::tensor(name, shape, hashed_weights::SEED))
        });
        let mut checkpoint = Checkpoint::from_tensors(tensors.collect());
        let architecture = models::find("bert").unwrap();
        checkpoint.rename(architecture.renames);
        let config = fixture["config"].to_string();
        let model = architecture.load(&config, kind, &checkpoint.root()).unwrap();
        Self { task, fixture, model, _checkpoint: checkpoint }
    }

    fn processor(&self, tokenizer: &str) -> std::sync::Arc<dyn Processor> {
        let tokenizers: Value =
            serde_json::from_str(include_str!("../fixtures/answers/tokenizers.json")).unwrap();
        let files = tokenizers[tokenizer].as_object().unwrap();
        let mut files: HashMap<String, Vec<u8>> =
            files.iter().map(|(name, file)| (name.clone(), file.to_string().into())).collect();
        files.insert("config.json".into(), self.fixture["config"].to_string().into());
        (tasks::find(self.task).unwrap().processor)(&Files::new(files)).unwrap()
    }

    fn request(&self, inputs: &Value, options: &Value) -> InferRequest {
        fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
            Some(serde_json::from_value(value.clone()).unwrap())
        }
        let input = match self.task {
            "token-classification" => Input::TokenClassification(TokenClassificationRequest {
                inputs: read(inputs),
                options: read(options),
            }),
            "question-answering" => Input::QuestionAnswering(QuestionAnsweringRequest {
                inputs: read(inputs),
                options: read(options),
            }),
            _ => Input::FillMask(FillMaskRequest { inputs: read(inputs), options: read(options) }),
        };
        InferRequest { input: Some(input), ..Default::default() }
    }

    fn answer(&self, processor: &dyn Processor, inputs: &Value, options: &Value) -> Value {
        let Prepared { work, finish, .. } =
            processor.prepare(&self.request(inputs, options)).unwrap();
        let Work::Score(Score { rows, wanted }) = work else { panic!("other work") };
        let wanted = wanted.into_iter().chain(std::iter::repeat_with(Vec::new));
        let scores = rows.iter().zip(wanted).map(|(row, places)| self.scores(row, &places));
        let output = finish(Made::Scores(scores.collect())).unwrap();
        serde_json::to_value(TaskOutput::from(output)).unwrap()
    }

    fn scores(&self, row: &TokenRow, places: &[usize]) -> Vectors {
        let column = |ids: &[u32]| {
            let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            Tensor::from_slice(&ids).unsqueeze(0)
        };
        let (ids, types, step) = (column(&row.ids), column(&row.type_ids), Step::whole());
        let logits = match &self.model {
            Model::TokenClassifier(model) | Model::QuestionAnswerer(model) => {
                model.logits(&ids, Some(&types), &step).squeeze_dim(0)
            }
            Model::MaskedLm(model) => {
                let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
                let hidden = model.hidden(&ids, Some(&types), &step).squeeze_dim(0);
                model.logits(&hidden.index_select(0, &Tensor::from_slice(&places)), &step)
            }
            _ => panic!("another kind of model"),
        };
        let dim = logits.size()[1] as usize;
        let values = Vec::try_from(logits.to_kind(Kind::Float).contiguous().view([-1])).unwrap();
        Vectors { values, dim }
    }

    fn check(&self) {
        let _guard = tch::no_grad_guard();
        let mut processors = HashMap::new();
        for case in self.fixture["cases"].as_array().unwrap() {
            let name = case["tokenizer"].as_str().unwrap();
            let processor = processors.entry(name).or_insert_with(|| self.processor(name));
            let found = self.answer(&**processor, &case["inputs"], &case["options"]);
            let what = format!("{name}: {} {}", case["inputs"], case["options"]);
            same(&found, &case["output"], &what);
        }
    }

    /// The field that a refused request names, and the figure that goes with it.
    #[track_caller]
    fn refuses(&self, tokenizer: &str, inputs: &Value, options: &Value) -> (String, String) {
        let refused = self.processor(tokenizer).prepare(&self.request(inputs, options));
        let detail = refused.err().expect("a refusal").detail();
        (detail.field, detail.message)
    }
}

/// Numbers within the tolerance, all else exact.
fn same(found: &Value, expected: &Value, what: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names = |fields: &serde_json::Map<String, Value>| {
                let mut names: Vec<String> = fields.keys().cloned().collect();
                names.sort_unstable();
                names
            };
            assert_eq!(names(found), names(expected), "{what}");
            expected.iter().for_each(|(name, value)| same(&found[name], value, what));
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}: {found:?}");
            found.iter().zip(expected).for_each(|(found, expected)| same(found, expected, what));
        }
        (Value::Number(found), Value::Number(expected)) => {
            let difference = found.as_f64().unwrap() - expected.as_f64().unwrap();
            assert!(difference.abs() <= TOLERANCE, "{what}: {found}, expected {expected}");
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}

fn token() -> Answers {
    let text = include_str!("../fixtures/answers/token.json");
    Answers::open("token-classification", ModelKind::TokenClassifier, text)
}

fn question() -> Answers {
    let text = include_str!("../fixtures/answers/question.json");
    Answers::open("question-answering", ModelKind::QuestionAnswerer, text)
}

fn masked() -> Answers {
    let text = include_str!("../fixtures/answers/masked.json");
    Answers::open("fill-mask", ModelKind::MaskedLm, text)
}

#[test]
fn entities_equal_the_reference() {
    token().check();
}

#[test]
fn answers_equal_the_reference() {
    question().check();
}

#[test]
fn filled_masks_equal_the_reference() {
    masked().check();
}

#[test]
fn a_question_is_cut_where_that_is_asked_for() {
    let answers = question();
    let _guard = tch::no_grad_guard();
    let processor = answers.processor("word_piece");
    let context = "Ada Lovelace was born in London.";
    let answer = |question: &str, options: Value| {
        answers.answer(&*processor, &json!({"question": question, "context": context}), &options)
    };
    let cut = answer("a b", json!({"max_question_len": 1}));
    assert_eq!(cut, answer("a", json!({})));
    assert_ne!(cut, answer("a b", json!({})));
}

#[test]
fn what_cannot_be_labelled_is_refused_by_its_field() {
    let answers = token();
    let long = "Ada ".repeat(200);
    for (text, options, field, says) in [
        (json!([]), json!({}), "inputs.text", "is empty"),
        (json!(long), json!({}), "inputs.text", "the model takes 64; options.stride"),
        (json!(["a", long]), json!({}), "inputs.text[1]", "the model takes 64"),
        (json!("a"), json!({"stride": 62}), "options.stride", "a window holds 62"),
        (
            json!("a"),
            json!({"stride": 2, "aggregation_strategy": "none"}),
            "options.stride",
            "none",
        ),
        (
            json!("a"),
            json!({"aggregation_strategy": "sum"}),
            "options.aggregation_strategy",
            "\"sum\"",
        ),
        (json!("Ada ".repeat(150_000)), json!({"stride": 61}), "options.stride", "the limit is"),
    ] {
        let (found, message) = answers.refuses("word_piece", &json!({"text": text}), &options);
        assert_eq!(found, field, "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn what_cannot_be_answered_is_refused_by_its_field() {
    let answers = question();
    let (why, text, long) = ("Why?", "A boat.", "Ada ".repeat(200));
    for (question, context, options, field, says) in [
        ("", text, json!({}), "inputs.question", "is empty"),
        (why, "", json!({}), "inputs.context", "is empty"),
        (why, " \n", json!({}), "inputs.context", "has no tokens"),
        (&*long, text, json!({}), "inputs.question", "leaves 0"),
        (why, &*long, json!({"doc_stride": 60}), "options.doc_stride", "a window holds"),
        (why, text, json!({"max_seq_len": 65}), "options.max_seq_len", "1 to 64"),
        (why, text, json!({"top_k": 0}), "options.top_k", "1 to 100"),
        (why, text, json!({"max_answer_len": 0}), "options.max_answer_len", "1 to 512"),
        (why, text, json!({"max_question_len": 0}), "options.max_question_len", "expected 1"),
    ] {
        let inputs = json!({"question": question, "context": context});
        let (found, message) = answers.refuses("word_piece", &inputs, &options);
        assert_eq!(found, field, "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn what_cannot_be_filled_is_refused_by_its_field() {
    let answers = masked();
    let one = "A [MASK].";
    for (text, options, field, says) in [
        ("No gap.".to_owned(), json!({}), "inputs.text", "this model's is [MASK]"),
        ("[MASK] ".repeat(70), json!({}), "inputs.text", "the model takes 64"),
        (one.into(), json!({"top_k": 0}), "options.top_k", "at least 1"),
        (one.into(), json!({"top_k": 4_000_000}), "options.top_k", "the limit"),
        (one.into(), json!({"targets": []}), "options.targets", "is empty"),
        (
            one.into(),
            json!({"targets": ["[CLS]", "London"]}),
            "options.targets[1]",
            "tokens, expected one",
        ),
        (one.into(), json!({"targets": "👍"}), "options.targets", "not in the model's vocabulary"),
        (one.into(), json!({"targets": ["[MASK]", " "]}), "options.targets[1]", "has no tokens"),
    ] {
        let (found, message) = answers.refuses("word_piece", &json!({"text": text}), &options);
        assert_eq!(found, field, "{message}");
        assert!(message.contains(says), "{message}");
    }
}
