//! Text encoders: one text, a padded batch, the pooling layer.

use gpu_worker::layers::Step;
use tch::{Kind, Tensor};

use crate::fixture::{Fixture, assert_close};

const ENCODERS: &[&str] = &["bert", "bert-masked-lm"];

#[test]
fn one_text_equals_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ENCODERS {
        let fixture = Fixture::open(name);
        let model = fixture.text_encoder(Kind::Float);
        let step = Step::whole();
        let hidden = model.hidden(&fixture.expected("long").unsqueeze(0), None, &step);
        assert_close(&hidden.select(0, 0), fixture.expected("long_hidden"), name);
        match model.pooled(&hidden, &step) {
            Some(pooled) => assert_close(&pooled, fixture.expected("pooled"), name),
            None => assert_eq!(*name, "bert-masked-lm"),
        }
    }
}

#[test]
fn a_padded_batch_equals_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ENCODERS {
        let fixture = Fixture::open(name);
        let model = fixture.text_encoder(Kind::Float);
        let step = Step::padded(fixture.expected("mask"));
        let hidden = model.hidden(&padded_ids(&fixture), Some(fixture.expected("type_ids")), &step);
        assert_close(&hidden.select(0, 0), fixture.expected("long_hidden_in_batch"), name);
        assert_close(
            &hidden.select(0, 1).narrow(0, 0, 5),
            fixture.expected("short_hidden_in_batch"),
            name,
        );
    }
}

#[test]
fn a_row_of_a_batch_equals_the_text_alone() {
    let _guard = tch::no_grad_guard();
    for name in ENCODERS {
        let fixture = Fixture::open(name);
        let model = fixture.text_encoder(Kind::Float);
        let batch =
            model.hidden(&padded_ids(&fixture), None, &Step::padded(fixture.expected("mask")));
        let alone = model.hidden(&fixture.expected("short").unsqueeze(0), None, &Step::whole());
        assert_close(&batch.select(0, 1).narrow(0, 0, 5), &alone.select(0, 0), name);
    }
}

fn padded_ids(fixture: &Fixture) -> Tensor {
    let (long, short) = (fixture.expected("long"), fixture.expected("short"));
    let padding = long.size()[0] - short.size()[0];
    Tensor::stack(&[long.shallow_clone(), short.constant_pad_nd([0, padding])], 0)
}
