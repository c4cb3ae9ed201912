//! Text encoders and their heads: one text, a padded batch, the pooling layer, checkpoints with and without a prefix.

use gpu_worker::{
    layers::Step,
    models::{Model, ModelKind},
};
use tch::{Kind, Tensor};

use crate::fixture::{Fixture, assert_close};

/// Those that have all heads.
const COMPLETE: &[&str] = &[
    "albert",
    "bert",
    "camembert",
    "deberta-v2",
    "distilbert",
    "electra",
    "modernbert",
    "mpnet",
    "roberta",
    "xlm-roberta",
];
/// Those that have some, and variants.
const ENCODERS: &[&str] = &[
    "deberta-v2-content",
    "deberta-v2-conv",
    "deberta-v2-far",
    "gte",
    "gte-split",
    "gte-untyped",
    "modernbert-biased",
    "modernbert-far",
    "mpnet-far",
    "new",
    "nomic_bert",
    "nomic_bert-split",
];
const SEQUENCE_CLASSIFIERS: &[&str] = &[
    "deberta-v2-conv-sequence",
    "gte-sequence",
    "modernbert-biased-sequence",
    "new-sequence",
    "nomic_bert-sequence",
];
const TOKEN_CLASSIFIERS: &[&str] = &["gte-token", "modernbert-biased-token", "nomic_bert-token"];
const MASKED_LMS: &[&str] = &[
    "bert-untied-masked",
    "deberta-v2-conv-masked",
    "electra-wide-masked",
    "gte-masked",
    "modernbert-biased-masked",
    "nomic_bert-masked",
];

const SUFFIXES: [(ModelKind, &str); 5] = [
    (ModelKind::TextEncoder, ""),
    (ModelKind::SequenceClassifier, "-sequence"),
    (ModelKind::TokenClassifier, "-token"),
    (ModelKind::QuestionAnswerer, "-question"),
    (ModelKind::MaskedLm, "-masked"),
];

/// The fixtures of a kind.
fn fixtures(kind: ModelKind) -> Vec<String> {
    let (_, suffix) = SUFFIXES.into_iter().find(|(of, _)| *of == kind).unwrap();
    let others = match kind {
        ModelKind::TextEncoder => ENCODERS,
        ModelKind::SequenceClassifier => SEQUENCE_CLASSIFIERS,
        ModelKind::TokenClassifier => TOKEN_CLASSIFIERS,
        ModelKind::MaskedLm => MASKED_LMS,
        _ => &[],
    };
    let complete = COMPLETE.iter().map(|name| format!("{name}{suffix}"));
    complete.chain(others.iter().map(|&name| name.to_owned())).collect()
}

/// What a model of whatever kind answers.
pub fn answer(model: &Model, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
    match model {
        Model::TextEncoder(model) => model.hidden(ids, type_ids, step),
        Model::SequenceClassifier(model) => model.logits(ids, type_ids, step),
        Model::TokenClassifier(model) | Model::QuestionAnswerer(model) => {
            model.logits(ids, type_ids, step)
        }
        Model::MaskedLm(model) => {
            let hidden = model.hidden(ids, type_ids, step);
            // As rows, of which a task asks for some.
            let (batch, seq, dim) = hidden.size3().unwrap();
            let rows: Vec<i64> = (0..batch * seq).map(|token| token / seq).collect();
            let logits = model.logits(&hidden.view([batch * seq, dim]), &step.of_rows(&rows));
            logits.view([batch, seq, model.vocab_size()])
        }
        _ => panic!("the model is not what was asked for"),
    }
}

pub fn every_fixture(mut test: impl FnMut(&str, ModelKind, &Fixture)) {
    let _guard = tch::no_grad_guard();
    for (kind, _) in SUFFIXES {
        for name in fixtures(kind) {
            test(&name, kind, &Fixture::open(&name));
        }
    }
}

/// Of a very long text only the last tokens are compared.
fn assert_ends(found: &Tensor, expected: &Tensor, what: &str) {
    let (n_found, n_expected) = (found.size()[0], expected.size()[0]);
    assert_close(&found.narrow(0, n_found - n_expected, n_expected), expected, what);
}

#[test]
fn one_text_equals_the_reference() {
    every_fixture(|name, kind, fixture| {
        let (model, unused) = fixture.load_with_unused(kind, Kind::Float);
        assert_eq!(unused, Vec::<String>::new(), "{name}");
        let step = Step::whole();
        let found = answer(&model, &fixture.expected("long").unsqueeze(0), None, &step);
        assert_ends(&found.select(0, 0), fixture.expected("single"), name);
        if let Model::TextEncoder(model) = &model {
            match (model.pooled(&found, &step), fixture.find("pooled")) {
                (Some(pooled), Some(expected)) => assert_close(&pooled, expected, name),
                (pooled, expected) => assert!(pooled.is_none() && expected.is_none(), "{name}"),
            }
        }
    });
}

#[test]
fn a_padded_batch_equals_the_reference() {
    every_fixture(|name, kind, fixture| {
        let model = fixture.load(kind, Kind::Float);
        let step = Step::padded(fixture.expected("mask"));
        let type_ids = Some(fixture.expected("type_ids"));
        let found = answer(&model, fixture.expected("padded"), type_ids, &step);
        assert_ends(&found.select(0, 0), fixture.expected("long_in_batch"), name);
        let (short, expected) = (found.select(0, 1), fixture.expected("short_in_batch"));
        assert_close(&short.narrow(0, 0, expected.size()[0]), expected, name);
    });
}

#[test]
fn a_row_of_a_batch_equals_the_text_alone() {
    every_fixture(|name, kind, fixture| {
        let model = fixture.load(kind, Kind::Float);
        let step = Step::padded(fixture.expected("mask"));
        let batch = answer(&model, fixture.expected("padded"), None, &step).select(0, 1);
        let short = fixture.expected("short").unsqueeze(0);
        let alone = answer(&model, &short, None, &Step::whole()).select(0, 0);
        assert_close(&batch.narrow(0, 0, alone.size()[0]), &alone, name);
    });
}

#[test]
fn what_stands_in_the_padding_does_not_matter() {
    every_fixture(|name, kind, fixture| {
        let model = fixture.load(kind, Kind::Float);
        let step = Step::padded(fixture.expected("mask"));
        let padded = fixture.expected("padded").copy();
        let found = answer(&model, &padded, None, &step).select(0, 1);
        let _ = padded.narrow(0, 1, 1).narrow(1, 5, padded.size()[1] - 5).fill_(7);
        let other = answer(&model, &padded, None, &step).select(0, 1);
        let n_rows = fixture.expected("short_in_batch").size()[0];
        assert_close(&found.narrow(0, 0, n_rows), &other.narrow(0, 0, n_rows), name);
    });
}

#[test]
fn a_bare_encoder_loads_from_the_checkpoint_of_any_head() {
    let _guard = tch::no_grad_guard();
    for name in COMPLETE {
        for (_, suffix) in SUFFIXES {
            let fixture = Fixture::open(&format!("{name}{suffix}"));
            let Model::TextEncoder(model) = fixture.load(ModelKind::TextEncoder, Kind::Float)
            else {
                panic!("{name} is no encoder");
            };
            let ids = fixture.expected("long").unsqueeze(0);
            let hidden = model.hidden(&ids, None, &Step::whole());
            assert_eq!(hidden.size(), [1, 13, model.dim()]);
            assert!(bool::try_from(hidden.isfinite().all()).unwrap(), "{name}{suffix}");
        }
    }
}

#[test]
fn a_head_loads_without_the_prefix_of_its_body() {
    let _guard = tch::no_grad_guard();
    for name in COMPLETE {
        for (kind, suffix) in SUFFIXES {
            let fixture = Fixture::open(&format!("{name}{suffix}"));
            let model = fixture.without_prefix().load(kind, Kind::Float);
            let found =
                answer(&model, &fixture.expected("long").unsqueeze(0), None, &Step::whole());
            assert_eq!(found.size()[0], 1);
        }
    }
}

#[test]
fn limits_are_those_of_the_tables() {
    let limits = |name: &str| {
        let model = Fixture::open(name).text_encoder(Kind::Float);
        (model.context_length(), model.vocab_size(), model.type_vocab_size())
    };
    assert_eq!(limits("bert"), (40, 48, 2));
    // Positions begin behind that of the padding.
    assert_eq!(limits("roberta"), (38, 48, 1));
    assert_eq!(limits("xlm-roberta"), (36, 48, 1));
}
