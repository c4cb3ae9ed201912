//! LoRA adapters: beside the model they give what PEFT's merged model gives; rows with different adapters, and with none,
//! don't touch each other, in any architecture.

use std::{collections::HashMap, rc::Rc};

use gpu_worker::{
    layers::{Adapter, KvArena, Segment, Source, Step},
    models::{CausalLm, Model, ModelKind, Seq2SeqLm},
    weights::{
        Checkpoint, Module,
        peft::{Config, Part, Plan},
    },
};
use tch::{Device, Kind, Tensor};

use crate::{
    causal, encoder,
    fixture::{Fixture, assert_close, difference},
    hashed_weights, image, seq2seq,
};

/// Adapters of the same model stand together.
const CAUSAL: &[&[&str]] = &[
    &["lora-llama", "lora-llama-patterns"],
    &["lora-gpt2", "lora-gpt2-narrow"],
    &["lora-qwen3"],
    &["lora-gemma"],
    &["lora-phi3"],
];
const SEQUENCE_CLASSIFIERS: &[&str] = &["lora-bert-sequence", "lora-bert-sequence-plain"];
const TOKEN_CLASSIFIERS: &[&str] = &["lora-roberta-token"];
const IMAGE_CLASSIFIERS: &[&str] = &["lora-vit"];
const WRITERS: &[&str] = &["lora-t5"];

type Row = Option<Rc<Adapter>>;

struct Lora {
    name: &'static str,
    expected: HashMap<String, Tensor>,
    adapter: Rc<Adapter>,
}

impl Lora {
    fn expected(&self, name: &str) -> &Tensor {
        &self.expected[name]
    }
}

/// The model that an adapter is for.
fn base(name: &str) -> Fixture {
    Fixture::open(Fixture::json(name, "base.json")["base"].as_str().unwrap())
}

/// The adapters of a model that was loaded with `checkpoint`.
fn adapters(names: &[&'static str], checkpoint: &Checkpoint) -> Vec<Lora> {
    let open = |name: &'static str| {
        let shapes: HashMap<String, Vec<i64>> =
            serde_json::from_value(Fixture::json(name, "tensors.json")).unwrap();
        let seed = Fixture::json(name, "base.json")["seed"].as_u64().unwrap();
        let config = Fixture::json(name, "adapter_config.json").to_string();
        let config = Config::parse(config.as_bytes()).unwrap();
        let named = shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
        let plan = Plan::new(&config, named).unwrap();
        let tensor = |(name, shape): (&String, &Vec<i64>)| {
            (name.clone(), hashed_weights::tensor(name, shape, seed))
        };
        let parts = plan.parts(shapes.iter().map(tensor).collect(), checkpoint).unwrap();
        let adapter = Rc::new(Adapter::new(parts));
        Lora { name, expected: Fixture::tensors(name), adapter }
    };
    names.iter().map(|&name| open(name)).collect()
}

struct Decoder {
    model: Box<dyn CausalLm>,
    arena: KvArena,
}

impl Decoder {
    fn new(model: Model) -> Self {
        let Model::CausalLm(model) = model else { panic!("the model is not what was asked for") };
        let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 20);
        Self { model, arena }
    }

    /// The logits of every text of one pass, texts in pieces of at most `piece` tokens.
    fn logits(&self, texts: &[(&Tensor, Row)], piece: i64) -> Vec<Tensor> {
        let slots: Vec<_> = texts.iter().map(|_| self.arena.reserve(64).unwrap()).collect();
        let mut found: Vec<Vec<Tensor>> = texts.iter().map(|_| Vec::new()).collect();
        let mut cached = 0;
        loop {
            let part = |text: &Tensor| (text.size()[0] - cached).clamp(0, piece);
            let now: Vec<usize> = (0..texts.len()).filter(|&at| part(texts[at].0) > 0).collect();
            if now.is_empty() {
                return found.iter().map(|parts| Tensor::cat(parts, 0)).collect();
            }
            let segment =
                |&at: &usize| Segment { slot: &slots[at], cached, tokens: part(texts[at].0) };
            let rows: Vec<Row> = now.iter().map(|&at| texts[at].1.clone()).collect();
            let step = Step::sequences(now.iter().map(segment).collect(), Device::Cpu)
                .with_adapters(&rows);
            let ids: Vec<Tensor> =
                now.iter().map(|&at| texts[at].0.narrow(0, cached, part(texts[at].0))).collect();
            let hidden = self.model.hidden(&Tensor::cat(&ids, 0), &step);
            let logits = self.model.logits(&hidden, &step);
            let mut start = 0;
            for &at in &now {
                found[at].push(logits.narrow(0, start, part(texts[at].0)));
                start += part(texts[at].0);
            }
            cached += piece;
        }
    }
}

#[test]
fn a_causal_model_with_an_adapter_equals_the_merged_reference() {
    let _guard = tch::no_grad_guard();
    for names in CAUSAL {
        let fixture = base(names[0]);
        let (model, checkpoint, _) = fixture.load_with_checkpoint(ModelKind::CausalLm, Kind::Float);
        let decoder = Decoder::new(model);
        let (long, short) = (fixture.expected("long"), fixture.expected("short"));
        for lora in adapters(names, &checkpoint) {
            let adapter = || Some(Rc::clone(&lora.adapter));
            let texts = [(long, adapter()), (short, adapter())];
            for piece in [64, 3] {
                let found = decoder.logits(&texts, piece);
                assert_close(&found[0], lora.expected("long_logits"), lora.name);
                assert_close(&found[1], lora.expected("short_logits"), lora.name);
            }
            let apart =
                difference(&decoder.logits(&[(long, None)], 64)[0], lora.expected("long_logits"));
            assert!(apart > 0.01, "{} does nothing: {apart}", lora.name);
            for (prompt, expected) in [(long, "long_greedy"), (short, "short_greedy")] {
                let mut ids = prompt.shallow_clone();
                let expected = lora.expected(expected);
                for _ in 0..expected.size()[0] {
                    let logits = &decoder.logits(&[(&ids, adapter())], 64)[0];
                    let token = logits.select(0, -1).argmax(0, false).view([1]);
                    ids = Tensor::cat(&[ids, token], 0);
                }
                let found = ids.narrow(0, prompt.size()[0], expected.size()[0]);
                assert!(found.equal(expected), "{}: {found} {expected}", lora.name);
            }
        }
    }
}

/// Every adapter's name, the kind of its model, and what it answers beside what the reference does; nothing where only ids
/// are compared.
pub fn every_adapter(mut visit: impl FnMut(&str, ModelKind, Option<(&Tensor, &Tensor)>)) {
    let _guard = tch::no_grad_guard();
    for names in CAUSAL {
        let fixture = base(names[0]);
        let (model, checkpoint, _) = fixture.load_with_checkpoint(ModelKind::CausalLm, Kind::Float);
        let decoder = Decoder::new(model);
        for lora in adapters(names, &checkpoint) {
            let found =
                decoder.logits(&[(fixture.expected("long"), Some(lora.adapter.clone()))], 64);
            let pair = (&found[0], lora.expected("long_logits"));
            visit(lora.name, ModelKind::CausalLm, Some(pair));
        }
    }
    let readers = [SEQUENCE_CLASSIFIERS, TOKEN_CLASSIFIERS];
    for (names, kind) in
        readers.into_iter().zip([ModelKind::SequenceClassifier, ModelKind::TokenClassifier])
    {
        let fixture = base(names[0]);
        let (model, checkpoint, _) = fixture.load_with_checkpoint(kind, Kind::Float);
        for lora in adapters(names, &checkpoint) {
            let step = Step::whole().with_adapters(&[Some(lora.adapter.clone())]);
            let ids = fixture.expected("long").unsqueeze(0);
            let found = encoder::answer(&model, &ids, None, &step).select(0, 0);
            visit(lora.name, kind, Some((&found, lora.expected("long_logits"))));
        }
    }
    for names in IMAGE_CLASSIFIERS {
        let fixture = base(names);
        let (model, checkpoint, _) =
            fixture.load_with_checkpoint(ModelKind::ImageClassifier, Kind::Float);
        let Model::ImageClassifier(model) = model else { panic!("no image classifier") };
        for lora in adapters(&[*names], &checkpoint) {
            let pixels = image::pixels(&*model);
            let rows = vec![Some(lora.adapter.clone()); pixels.size()[0] as usize];
            let found = model.logits(&pixels, &Step::whole().with_adapters(&rows));
            visit(lora.name, ModelKind::ImageClassifier, Some((&found, lora.expected("logits"))));
        }
    }
    for name in WRITERS {
        visit(name, ModelKind::Seq2SeqLm, None);
    }
}

#[test]
fn two_adapters_and_none_in_one_pass_equal_each_alone() {
    let _guard = tch::no_grad_guard();
    for names in CAUSAL.iter().filter(|names| names.len() > 1) {
        let fixture = base(names[0]);
        let (model, checkpoint, _) = fixture.load_with_checkpoint(ModelKind::CausalLm, Kind::Float);
        let decoder = Decoder::new(model);
        let loras = adapters(names, &checkpoint);
        let (long, short) = (fixture.expected("long"), fixture.expected("short"));
        let row = |at: usize| Some(Rc::clone(&loras[at].adapter));
        // The rows of the first adapter stand apart.
        let texts =
            [(short, row(0)), (long, None), (long, row(1)), (long, row(0)), (short, row(1))];
        for piece in [64, 4] {
            let found = decoder.logits(&texts, piece);
            assert_close(&found[1], fixture.expected("long_logits"), "without an adapter");
            assert_close(&found[0], loras[0].expected("short_logits"), loras[0].name);
            assert_close(&found[2], loras[1].expected("long_logits"), loras[1].name);
            assert_close(&found[3], loras[0].expected("long_logits"), loras[0].name);
            assert_close(&found[4], loras[1].expected("short_logits"), loras[1].name);
        }
    }
}

#[test]
fn an_encoder_with_adapters_in_a_padded_batch_equals_the_merged_reference() {
    let _guard = tch::no_grad_guard();
    let fixture = base(SEQUENCE_CLASSIFIERS[0]);
    let (model, checkpoint, _) =
        fixture.load_with_checkpoint(ModelKind::SequenceClassifier, Kind::Float);
    let loras = adapters(SEQUENCE_CLASSIFIERS, &checkpoint);
    let (long, short) = (fixture.expected("long"), fixture.expected("short"));
    let short = short.constant_pad_nd([0, long.size()[0] - short.size()[0]]);
    let ids = Tensor::stack(&[long, long, &short, long, &short], 0);
    let mask = fixture.expected("mask").index_select(0, &Tensor::from_slice(&[0_i64, 0, 1, 0, 1]));
    let row = |at: usize| Some(Rc::clone(&loras[at].adapter));
    let step = Step::padded(&mask).with_adapters(&[row(0), None, row(1), row(1), row(0)]);
    let found = encoder::answer(&model, &ids, None, &step);
    assert_close(&found.select(0, 0), loras[0].expected("long_logits"), loras[0].name);
    assert_close(&found.select(0, 1), fixture.expected("single"), "without an adapter");
    assert_close(&found.select(0, 2), loras[1].expected("short_logits"), loras[1].name);
    assert_close(&found.select(0, 3), loras[1].expected("long_logits"), loras[1].name);
    assert_close(&found.select(0, 4), loras[0].expected("short_logits"), loras[0].name);
}

#[test]
fn token_classifiers_and_image_classifiers_equal_the_merged_reference() {
    let _guard = tch::no_grad_guard();
    let fixture = base(TOKEN_CLASSIFIERS[0]);
    let (model, checkpoint, _) =
        fixture.load_with_checkpoint(ModelKind::TokenClassifier, Kind::Float);
    let lora = adapters(TOKEN_CLASSIFIERS, &checkpoint).remove(0);
    let step = Step::whole().with_adapters(&[Some(lora.adapter.clone())]);
    let found = encoder::answer(&model, &fixture.expected("long").unsqueeze(0), None, &step);
    assert_close(&found.select(0, 0), lora.expected("long_logits"), lora.name);

    let fixture = base(IMAGE_CLASSIFIERS[0]);
    let (model, checkpoint, _) =
        fixture.load_with_checkpoint(ModelKind::ImageClassifier, Kind::Float);
    let Model::ImageClassifier(model) = model else { panic!("no image classifier") };
    let lora = adapters(IMAGE_CLASSIFIERS, &checkpoint).remove(0);
    let pixels = image::pixels(&*model);
    let both = [Some(lora.adapter.clone()), Some(lora.adapter.clone())];
    let found = model.logits(&pixels, &Step::whole().with_adapters(&both));
    assert_close(&found, lora.expected("logits"), lora.name);
    let found = model.logits(&pixels, &Step::whole().with_adapters(&[None, both[0].clone()]));
    assert_close(&found.select(0, 0), &fixture.expected("logits").select(0, 0), "without");
    assert_close(&found.select(0, 1), &lora.expected("logits").select(0, 1), lora.name);
}

/// Greedy ids of one source, with its adapter in every pass.
fn written(model: &dyn Seq2SeqLm, source: &Tensor, row: &Row, n_tokens: i64) -> Vec<i64> {
    let rows = std::slice::from_ref(row);
    let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 22);
    let tokens = source.size()[0];
    let (target, slot) = (arena.reserve(40).unwrap(), arena.reserve(tokens).unwrap());
    let encoded = model.encode(&source.unsqueeze(0), &Step::whole().with_adapters(rows));
    let segment = Segment { slot: &slot, cached: 0, tokens };
    let step = Step::sequences(vec![segment], Device::Cpu).with_adapters(rows);
    model.remember(&encoded.squeeze_dim(0), &step);
    let mut token = 3;
    (0..n_tokens)
        .map(|cached| {
            let segment = Segment { slot: &target, cached, tokens: 1 };
            let sources = vec![Source { slot: &slot, tokens }];
            let step = Step::with_sources(vec![segment], sources, Device::Cpu).with_adapters(rows);
            let hidden = model.hidden(&Tensor::from_slice(&[token]), &step);
            token = model.logits(&hidden, &step).select(0, 0).argmax(0, false).int64_value(&[]);
            token
        })
        .collect()
}

#[test]
fn an_encoder_decoder_with_an_adapter_writes_what_the_merged_reference_writes() {
    let _guard = tch::no_grad_guard();
    let fixture = base(WRITERS[0]);
    let (model, checkpoint, _) = fixture.load_with_checkpoint(ModelKind::Seq2SeqLm, Kind::Float);
    let Model::Seq2SeqLm(model) = model else { panic!("no model for sequences") };
    let lora = adapters(WRITERS, &checkpoint).remove(0);
    let expected: Vec<i64> = Vec::try_from(lora.expected("long_greedy")).unwrap();
    let source = fixture.expected("long");
    let found = written(&*model, source, &Some(lora.adapter), expected.len() as i64);
    assert_eq!(found, expected);
    let plain: Vec<i64> = Vec::try_from(fixture.expected("long_greedy")).unwrap();
    assert_eq!(written(&*model, source, &None, plain.len() as i64), plain);
    assert_ne!(plain, expected);
}

/// An adapter of rank 2 for every layer of a model, and the model whose weights have it in them.
fn everywhere(fixture: &Fixture, kind: ModelKind) -> (Model, Rc<Adapter>, Model) {
    let (model, checkpoint, _) = fixture.load_with_checkpoint(kind, Kind::Float);
    let modules: Vec<(usize, Module)> = checkpoint.modules().into_iter().enumerate().collect();
    let halves = |module: &Module| {
        let half = |end: &str, shape: &[i64]| {
            hashed_weights::tensor(&format!("{}.{end}", module.name), shape, hashed_weights::SEED)
        };
        (half("lora_A", &[2, module.in_dim]), half("lora_B", &[module.out_dim, 2]))
    };
    let free = || modules.iter().filter(|(_, module)| !module.is_fixed);
    let parts = free().map(|(at, module)| {
        let (down, up) = halves(module);
        (*at, Part::LowRank { down, up })
    });
    let adapter = Rc::new(Adapter::new(parts.collect()));
    let merged = fixture.edited(kind, |tensors| {
        for (_, module) in free() {
            let (down, up) = halves(module);
            let delta = up.matmul(&down);
            let delta = if module.is_transposed { delta.tr() } else { delta };
            let weight = tensors.get_mut(&format!("{}.weight", module.name)).unwrap();
            *weight = &*weight + delta;
        }
    });
    (model, adapter, merged)
}

#[test]
fn in_every_decoder_an_adapter_for_every_layer_is_as_if_it_were_in_the_weights() {
    causal::every_decoder(|case| {
        let (model, adapter, merged) = everywhere(&case.fixture, ModelKind::CausalLm);
        let (model, merged) = (Decoder::new(model), Decoder::new(merged));
        let (long, short) = (case.fixture.expected("long"), case.fixture.expected("short"));
        let texts = [(long, None), (short, Some(adapter.clone())), (long, Some(adapter))];
        let found = model.logits(&texts, 64);
        let expected = merged.logits(&[(short, None), (long, None)], 64);
        assert_close_to_size(&found[0], case.fixture.expected("long_logits"), case.name);
        assert_close_to_size(&found[1], &expected[0], case.name);
        assert_close_to_size(&found[2], &expected[1], case.name);
    });
}

#[test]
fn in_every_encoder_an_adapter_for_every_layer_is_as_if_it_were_in_the_weights() {
    encoder::every_fixture(|name, kind, fixture| {
        let (model, adapter, merged) = everywhere(fixture, kind);
        let (ids, mask) = (fixture.expected("padded"), fixture.expected("mask"));
        let plain = encoder::answer(&model, ids, None, &Step::padded(mask));
        let expected = encoder::answer(&merged, ids, None, &Step::padded(mask));
        let first = Step::padded(mask).with_adapters(&[Some(adapter.clone()), None]);
        let second = Step::padded(mask).with_adapters(&[None, Some(adapter)]);
        let first = encoder::answer(&model, ids, None, &first);
        assert_close_to_size(&first.select(0, 0), &expected.select(0, 0), name);
        // What stands where there is no token is nobody's business.
        let tokens = fixture.expected("short_in_batch").size();
        let shown = |xs: &Tensor| match tokens.as_slice() {
            [_] => xs.select(0, 1),
            _ => xs.select(0, 1).narrow(0, 0, tokens[0]),
        };
        assert_close_to_size(&shown(&first), &shown(&plain), name);
        let second = encoder::answer(&model, ids, None, &second);
        assert_close_to_size(&second.select(0, 0), &plain.select(0, 0), name);
        assert_close_to_size(&shown(&second), &shown(&expected), name);
    });
}

#[test]
fn in_every_encoder_decoder_an_adapter_for_every_layer_is_as_if_it_were_in_the_weights() {
    seq2seq::every_model(|case| {
        let (model, adapter, merged) = everywhere(&case.fixture, ModelKind::Seq2SeqLm);
        let (Model::Seq2SeqLm(model), Model::Seq2SeqLm(merged)) = (model, merged) else {
            panic!("no model for sequences")
        };
        let source = case.fixture.expected("long");
        let found = written(&*model, source, &Some(adapter), 8);
        assert_eq!(found, written(&*merged, source, &None, 8), "{}", case.name);
    });
}

/// Values of many adapted layers grow, and with them what rounding does to them.
fn assert_close_to_size(found: &Tensor, expected: &Tensor, what: &str) {
    let size = expected.abs().max().double_value(&[]).max(1.0);
    assert_close(&(found / size), &(expected / size), what);
}
