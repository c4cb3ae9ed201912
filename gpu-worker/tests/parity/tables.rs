//! Questions about tables: TAPAS against the reference, and `table-question-answering` from table to answer against its
//! pipeline; `fixtures/make_tables` makes the fixtures.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

use gpu_worker::{
    layers::Step,
    models::{self, Model, ModelKind, TableAnswerer},
    tasks::{self, Files, Made, Prepared, Processor, TableRow, TableScores, Work},
    weights::Checkpoint,
};
use proto::{InferRequest, TableQuestionAnsweringRequest, http::TaskOutput, infer_request::Input};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::{
    fixture::{Fixture, assert_close},
    hashed_weights,
};

pub const TABLE_ANSWERERS: [&str; 4] = ["tapas", "tapas-cells", "tapas-clipped", "tapas-tokens"];

fn answerer(fixture: &Fixture) -> Box<dyn TableAnswerer> {
    match fixture.load(ModelKind::TableAnswerer, Kind::Float) {
        Model::TableAnswerer(model) => model,
        _ => panic!("the model is not what was asked for"),
    }
}

/// Logits of tokens that are not impossible: beside ten thousand nothing else would count.
fn possible(found: &Tensor, expected: &Tensor) -> (Tensor, Tensor) {
    let is_possible = |logits: &Tensor| logits.gt(-5000);
    let chosen = is_possible(expected);
    assert!(bool::try_from(is_possible(found).eq_tensor(&chosen).all()).unwrap());
    (found.masked_select(&chosen), expected.masked_select(&chosen))
}

fn assert_same(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let (found, expected) = possible(found, expected);
    assert_close(&found, &expected, what);
}

/// What the tokens of the long table score, and what the reference says.
pub fn long_logits(fixture: &Fixture) -> (Tensor, Tensor) {
    let numbers = fixture.expected("channels").unsqueeze(0);
    let ids = fixture.expected("long").unsqueeze(0);
    let found = answerer(fixture).logits(&ids, &numbers, &Step::whole()).0.select(0, 0);
    possible(&found, fixture.expected("single"))
}

fn every_fixture(mut test: impl FnMut(&str, &Fixture, &dyn TableAnswerer)) {
    let _guard = tch::no_grad_guard();
    for name in TABLE_ANSWERERS {
        let fixture = Fixture::open(name);
        let (_, unused) = fixture.load_with_unused(ModelKind::TableAnswerer, Kind::Float);
        assert_eq!(unused, Vec::<String>::new(), "{name}");
        test(name, &fixture, &*answerer(&fixture));
    }
}

#[test]
fn one_table_equals_the_reference() {
    every_fixture(|name, fixture, model| {
        let (ids, numbers) = (fixture.expected("long"), fixture.expected("channels"));
        let (tokens, aggregation) =
            model.logits(&ids.unsqueeze(0), &numbers.unsqueeze(0), &Step::whole());
        assert_same(&tokens.select(0, 0), fixture.expected("single"), name);
        match (aggregation, fixture.find("aggregation")) {
            (Some(found), Some(expected)) => assert_close(&found.select(0, 0), expected, name),
            (found, expected) => assert!(found.is_none() && expected.is_none(), "{name}"),
        }
    });
}

#[test]
fn a_padded_batch_of_tables_equals_the_reference() {
    every_fixture(|name, fixture, model| {
        let (ids, numbers) = (fixture.expected("padded"), fixture.expected("padded_channels"));
        let step = Step::padded(fixture.expected("mask"));
        let (tokens, aggregation) = model.logits(ids, numbers, &step);
        assert_same(&tokens.select(0, 0), fixture.expected("long_in_batch"), name);
        let expected = fixture.expected("short_in_batch");
        let short = tokens.select(0, 1).narrow(0, 0, expected.size()[0]);
        assert_same(&short, expected, name);
        if let Some(expected) = fixture.find("aggregation_in_batch") {
            assert_close(&aggregation.unwrap(), expected, name);
        }
    });
}

#[test]
fn a_row_of_a_batch_equals_the_table_alone() {
    every_fixture(|name, fixture, model| {
        let step = Step::padded(fixture.expected("mask"));
        let batch =
            model.logits(fixture.expected("padded"), fixture.expected("padded_channels"), &step);
        let (ids, numbers) = (fixture.expected("short"), fixture.expected("short_channels"));
        let alone = model.logits(&ids.unsqueeze(0), &numbers.unsqueeze(0), &Step::whole()).0;
        let alone = alone.select(0, 0);
        assert_same(&batch.0.select(0, 1).narrow(0, 0, alone.size()[0]), &alone, name);
    });
}

#[test]
fn no_cell_is_possible_where_no_column_is_the_best_choice() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("tapas-empty");
    let model = answerer(&fixture);
    let numbers = fixture.expected("padded_channels");
    let step = Step::padded(fixture.expected("mask"));
    let (found, _) = model.logits(fixture.expected("padded"), numbers, &step);
    for (row, name) in ["long_in_batch", "short_in_batch"].into_iter().enumerate() {
        let expected = fixture.expected(name);
        let found = found.select(0, row as i64).narrow(0, 0, expected.size()[0]);
        assert_eq!(expected.gt(-5000).any().int64_value(&[]), 0, "{name}");
        // Their sizes are beside ten thousand.
        let difference = (found - expected).abs().max().double_value(&[]);
        assert!(difference < 0.01, "{name}: {difference}");
    }
}

const TASK: &str = "table-question-answering";

/// A file of the tokenizer that the repository has.
fn vocabulary(tokenizer: &str, name: &str) -> (String, Vec<u8>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
    (name.to_owned(), fs::read(folder.join(tokenizer).join(name)).unwrap())
}

fn choosing(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../fixtures/tables/answers.json")).unwrap();
    all[name].clone()
}

fn processor(kind: ModelKind, files: HashMap<String, Vec<u8>>) -> Arc<dyn Processor> {
    (tasks::find_on(TASK, &[kind]).unwrap().processor)(&Files::new(files)).unwrap()
}

fn chooser(fixture: &Value) -> Arc<dyn Processor> {
    let file = |name: &str, value: &Value| (name.to_owned(), value.to_string().into_bytes());
    let files = HashMap::from([
        file("config.json", &fixture["config"]),
        file("tokenizer_config.json", &fixture["tokenizer_config"]),
        vocabulary("tapas", "vocab.txt"),
    ]);
    processor(ModelKind::TableAnswerer, files)
}

fn writer() -> (Arc<dyn Processor>, Value) {
    let text = include_str!("../fixtures/tables/writing.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let given = fixture["files"].as_object().unwrap().iter();
    let mut files: HashMap<String, Vec<u8>> =
        given.map(|(name, value)| (name.clone(), value.to_string().into_bytes())).collect();
    files.extend([vocabulary("bart", "vocab.json"), vocabulary("bart", "merges.txt")]);
    (processor(ModelKind::Seq2SeqLm, files), fixture)
}

fn request(inputs: &Value, options: &Value) -> InferRequest {
    let input = Input::TableQuestionAnswering(TableQuestionAnsweringRequest {
        inputs: Some(serde_json::from_value(inputs.clone()).unwrap()),
        options: Some(serde_json::from_value(options.clone()).unwrap()),
    });
    InferRequest { input: Some(input), ..Default::default() }
}

fn load(fixture: &Value) -> (Box<dyn TableAnswerer>, Checkpoint) {
    let shapes: HashMap<String, Vec<i64>> =
        serde_json::from_value(fixture["tensors"].clone()).unwrap();
    let tensors = shapes.iter().map(|(name, shape)| {
        (name.clone(), hashed_weights::tensor(name, shape, hashed_weights::SEED))
    });
    let mut checkpoint = Checkpoint::from_tensors(tensors.collect());
    let architecture = models::find("tapas").unwrap();
    checkpoint.rename(architecture.renames);
    let config = fixture["config"].to_string();
    match architecture.load(&config, ModelKind::TableAnswerer, &checkpoint.root()).unwrap() {
        Model::TableAnswerer(model) => (model, checkpoint),
        _ => panic!("the model is not what was asked for"),
    }
}

fn scores(model: &dyn TableAnswerer, row: &TableRow) -> TableScores {
    let ids: Vec<i64> = row.ids.iter().map(|&id| id.into()).collect();
    let numbers: Vec<i64> = row.channels.iter().flatten().map(|&number| number.into()).collect();
    let (ids, numbers) = (Tensor::from_slice(&ids).unsqueeze(0), Tensor::from_slice(&numbers));
    let numbers = numbers.view([1, -1, 7]);
    let (tokens, aggregations) = model.logits(&ids, &numbers, &Step::whole());
    let values = |logits: Tensor| Vec::try_from(logits.view([-1])).unwrap();
    TableScores {
        tokens: values(tokens),
        aggregations: aggregations.map(values).unwrap_or_default(),
    }
}

#[test]
fn answers_from_tables_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ["aggregating", "choosing"] {
        let fixture = choosing(name);
        let (model, _checkpoint) = load(&fixture);
        let processor = chooser(&fixture);
        for case in fixture["cases"].as_array().unwrap() {
            let Prepared { work, finish, .. } =
                processor.prepare(&request(&case["inputs"], &case["options"])).unwrap();
            let Work::AskTable(row) = work else { panic!("other work") };
            let output = finish(Made::Table(scores(&*model, &row))).unwrap();
            let found = serde_json::to_value(TaskOutput::from(output)).unwrap();
            assert_eq!(found, case["output"], "{name}: {}", case["inputs"]);
        }
    }
}

#[track_caller]
fn refuses(processor: &dyn Processor, inputs: &Value, options: &Value) -> (String, String) {
    let refused = processor.prepare(&request(inputs, options));
    let detail = refused.err().expect("a refusal").detail();
    (detail.field, detail.message)
}

#[test]
fn what_is_no_question_about_a_table_is_refused_by_its_field() {
    let mut fixture = choosing("choosing");
    fixture["config"]["type_vocab_sizes"] = json!([3, 4, 9, 2, 6, 6, 10]);
    let (processor, why) = (chooser(&fixture), "Why?");
    let column = |cells: Vec<String>| json!({ "a": cells });
    let numbers = |count: usize| column((0..count).map(|number| number.to_string()).collect());
    let long = column(vec!["the boat left".into(); 60]);
    for (question, table, options, field, says) in [
        ("", json!([["a"], ["1"]]), json!({}), "inputs.question", "is empty"),
        (why, json!([]), json!({}), "inputs.table", "has no columns"),
        (why, json!({}), json!({}), "inputs.table", "has no columns"),
        (why, json!([["a", "b"]]), json!({}), "inputs.table", "has no rows"),
        (why, json!({"a": []}), json!({}), "inputs.table", "has no rows"),
        (why, long, json!({}), "inputs.table", "the model takes 128; options.truncate"),
        (why, numbers(9), json!({}), "inputs.table", "has 9 rows, the model takes 8"),
        (why, numbers(7), json!({}), "inputs.table", "has 7 different values, the model takes 5"),
        (
            why,
            json!([["a", "b", "c", "d"], ["1", "2", "3", "4"]]),
            json!({}),
            "inputs.table",
            "has 4 columns",
        ),
        (
            &"why ".repeat(130),
            numbers(2),
            json!({"truncate": true}),
            "inputs.table",
            "even without",
        ),
    ] {
        let (found, message) =
            refuses(&*processor, &json!({"question": question, "table": table}), &options);
        assert_eq!(found, field, "{message}");
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn a_table_that_did_not_come_through_json_is_checked_too() {
    let processor = chooser(&choosing("choosing"));
    let ragged = proto::Table {
        columns: vec!["a".into(), "b".into()],
        rows: [vec!["1", "2"], vec!["3"]]
            .map(|cells| proto::TableRow { cells: cells.into_iter().map(str::to_owned).collect() })
            .to_vec(),
    };
    let huge = proto::Table {
        columns: vec![String::new(); 300],
        rows: vec![proto::TableRow { cells: vec![String::new(); 300] }; 300],
    };
    for (table, says) in [(ragged, "has 1 cells in row 1, and 2 columns"), (huge, "limit is 65536")]
    {
        let inputs = proto::TableQuestionAnsweringInputs {
            question: Some("Why?".into()),
            table: Some(table),
        };
        let input = Input::TableQuestionAnswering(TableQuestionAnsweringRequest {
            inputs: Some(inputs),
            options: None,
        });
        let refused = processor.prepare(&InferRequest { input: Some(input), ..Default::default() });
        let detail = refused.err().expect("a refusal").detail();
        assert_eq!(detail.field, "inputs.table");
        assert!(detail.message.contains(says), "{}", detail.message);
    }
}

#[test]
fn a_model_that_writes_reads_the_table_as_one_text() {
    let (processor, fixture) = writer();
    let case = &fixture["cases"][0];
    let flat: Value = serde_json::from_str(include_str!("../fixtures/tables/flat.json")).unwrap();
    let expected = flat.as_array().unwrap().iter().find(|flat| {
        flat["question"] == case["inputs"]["question"]
            && flat["columns"] == case["inputs"]["table"][0]
    });
    let ids: Vec<u32> = serde_json::from_value(expected.unwrap()["ids"].clone()).unwrap();
    let prepared = processor.prepare(&request(&case["inputs"], &case["options"])).unwrap();
    let Work::Write(work) = prepared.work else { panic!("other work") };
    let kept = work.sources[0].len();
    assert_eq!(work.sources[0][..kept - 1], ids[..kept - 1]);
    assert_eq!(work.sources[0].last(), ids.last());

    let long = json!({"question": "Why?", "table": {"a": vec!["the boat left"; 60]}});
    let (field, message) = refuses(&*processor, &long, &json!({}));
    assert_eq!(field, "inputs.table");
    assert!(message.contains("the model reads 128"), "{message}");
    let cut = processor.prepare(&request(&long, &json!({"truncate": true}))).unwrap();
    assert_eq!(cut.prompt_tokens, Some(128));
}

#[test]
fn a_model_that_writes_texts_only_is_refused() {
    let (_, fixture) = writer();
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    for name in ["config.json", "generation_config.json"] {
        files.insert(name.into(), fixture["files"][name].to_string().into_bytes());
    }
    files.extend([vocabulary("bart", "vocab.json"), vocabulary("bart", "merges.txt")]);
    let task = tasks::find_on(TASK, &[ModelKind::Seq2SeqLm]).unwrap();
    let refused = (task.processor)(&Files::new(files));
    let detail = refused.err().expect("a refusal").detail();
    assert!(detail.message.contains("TapexTokenizer"), "{}", detail.message);
}
