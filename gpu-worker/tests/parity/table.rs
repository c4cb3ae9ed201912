//! The table of what equals the reference, `gpu-worker/parity.md`: every fixture has its row. With
//! `ANYMODEL_WRITE_PARITY=1` it is written anew.

use std::{fmt::Write, fs, path::Path};

use gpu_worker::{layers::Step, models::ModelKind};
use tch::{Kind, Tensor};

use crate::{
    causal, diffusion, encoder, enhancer,
    fixture::{Fixture, assert_close, assert_within, difference},
    image, lora, seq2seq, tables, transformers,
};

const TITLE: &str = "# What equals the reference

Each row is a small model whose weights are computed from a hash, once by `transformers` or `diffusers` and once by this
library: float32, CPU, eager attention. The figure is the largest absolute difference between the two over all values of an
answer; texts are also generated greedily, with a cache of keys and values, and the ids must be the same. Names behind the
type of a model are variants of its config; an adapter beside its model is compared with what PEFT makes of the two. `cargo
test --release --workspace --test parity` checks all of it and much more; with `ANYMODEL_WRITE_PARITY=1` it writes this table.

| What it is loaded as | Model | Largest difference | Greedy ids |
|---|---|---|---|
";

struct Row {
    loaded_as: String,
    name: String,
    /// Nothing where only ids are compared.
    difference: Option<f64>,
    has_ids: bool,
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |kind: ModelKind, name: &str, found: &Tensor, expected: &Tensor, has_ids| {
        assert_close(found, expected, name);
        let (loaded_as, name) = (kind.to_string(), name.to_owned());
        let difference = Some(difference(found, expected));
        rows.push(Row { loaded_as, name, difference, has_ids });
    };
    causal::every_decoder(|case| {
        let found = case.logits(&[(&case.slot(), 0, case.fixture.expected("long"))]);
        let expected = case.fixture.expected("long_logits");
        row(ModelKind::CausalLm, case.name, &found, expected, true);
    });
    seq2seq::every_model(|case| {
        let source = case.remembered(&case.encode("long"));
        let target = case.fixture.expected("target");
        let found = case.logits(&[(&case.slot(), 0, target, &source)]);
        let expected = case.fixture.expected("long_logits");
        row(ModelKind::Seq2SeqLm, case.name, &found, expected, true);
    });
    encoder::every_fixture(|name, kind, fixture| {
        let model = fixture.load(kind, Kind::Float);
        let ids = fixture.expected("long").unsqueeze(0);
        let found = encoder::answer(&model, &ids, None, &Step::whole()).select(0, 0);
        let expected = fixture.expected("single");
        let (n_found, n_expected) = (found.size()[0], expected.size()[0]);
        let found = found.narrow(0, n_found - n_expected, n_expected);
        row(kind, name, &found, expected, false);
    });
    for name in tables::TABLE_ANSWERERS {
        let (found, expected) = tables::long_logits(&Fixture::open(name));
        row(ModelKind::TableAnswerer, name, &found, &expected, false);
    }
    for name in image::CLASSIFIERS {
        let fixture = Fixture::open(name);
        let model = fixture.image_classifier(Kind::Float);
        let found: Tensor = model.logits(&image::pixels(&*model), &Step::whole());
        row(ModelKind::ImageClassifier, name, &found, fixture.expected("logits"), false);
    }
    for name in enhancer::ENHANCERS {
        let fixture = Fixture::open(name);
        let model = enhancer::model(&fixture);
        let expected = fixture.expected("odd");
        let pixels = enhancer::pixels(&*model, "odd", expected);
        let found = model.enhance(&pixels, &Step::whole());
        assert_within(enhancer::TOLERANCE, &found, expected, name);
        let (loaded_as, name) = (ModelKind::ImageEnhancer.to_string(), (*name).to_owned());
        let difference = Some(difference(&found, expected));
        rows.push(Row { loaded_as, name, difference, has_ids: false });
    }
    diffusion::every_network(|loaded_as, name, difference| {
        let (loaded_as, name) = (loaded_as.to_owned(), name.to_owned());
        rows.push(Row { loaded_as, name, difference: Some(difference), has_ids: false });
    });
    lora::every_adapter(|name, kind, pair| {
        if let Some((found, expected)) = pair {
            assert_close(found, expected, name);
        }
        let (loaded_as, name) = (format!("adapter of a {kind}"), name.to_owned());
        let difference = pair.map(|(found, expected)| difference(found, expected));
        let has_ids = matches!(kind, ModelKind::CausalLm | ModelKind::Seq2SeqLm);
        rows.push(Row { loaded_as, name, difference, has_ids });
    });
    transformers::every_transformer(|name, difference| {
        let (loaded_as, name) = ("denoiser".to_owned(), name.to_owned());
        rows.push(Row { loaded_as, name, difference: Some(difference), has_ids: false });
    });
    rows
}

fn rendered(rows: &[Row]) -> String {
    let mut text = TITLE.to_owned();
    for Row { loaded_as, name, difference, has_ids } in rows {
        let ids = if *has_ids { "equal" } else { "–" };
        let difference =
            difference.map_or("–".to_owned(), |difference| format!("{difference:.0e}"));
        writeln!(text, "| {loaded_as} | `{name}` | {difference} | {ids} |").unwrap();
    }
    text
}

#[test]
fn every_model_has_its_row_in_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity.md");
    let rows = rows();
    if std::env::var_os("ANYMODEL_WRITE_PARITY").is_some() {
        fs::write(&path, rendered(&rows)).unwrap();
    }
    let table = fs::read_to_string(&path).unwrap();
    for Row { loaded_as, name, .. } in &rows {
        let has_row = table.contains(&format!("| {loaded_as} | `{name}` |"));
        assert!(has_row, "{name} as {loaded_as} has no row");
    }
    let n_rows = table.lines().filter(|line| line.contains("| `")).count();
    assert_eq!(n_rows, rows.len(), "the table has rows of models that are gone");
}
