//! LoRA adapters of pipelines that make pictures: what `diffusers` makes with them, in every spelling of their names,
//! several and none at the same time.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
};

use gpu_worker::{
    layers::{Adapter, Step},
    models::diffusion::{Added, Condition, Unet2dCondition},
    tasks::{AdapterKey, AdapterUse, Addition, FetchedAdapter, JobCount, Pipelines, Prepared},
    weights::{AdapterPlan, Checkpoint, lora_file::Plan},
};
use serde_json::{Value, json};
use tch::Tensor;

use crate::{
    fixture::{Fixture, assert_close, difference},
    hashed_weights,
    painting::{self, TOLERANCE},
    pipeline::{Asked, Case, Repository, cases, fixtures, step},
};

const ADAPTERS: &[&str] = &[
    "picture-lora-control",
    "picture-lora-kohya",
    "picture-lora-old",
    "picture-lora-plain",
    "picture-lora-settled",
    "picture-lora-xl",
];

struct Lora {
    name: &'static str,
    folder: PathBuf,
    base: String,
    plan: AdapterPlan,
    tensors: HashMap<String, Tensor>,
}

impl Lora {
    fn open(name: &'static str) -> Self {
        let folder = fixtures().join("diffusion").join(name);
        let text = fs::read_to_string(folder.join("adapter.json")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let shapes: HashMap<String, Vec<i64>> =
            serde_json::from_value(file["tensors"].clone()).unwrap();
        let values: HashMap<String, f32> = serde_json::from_value(file["values"].clone()).unwrap();
        let seed = file["seed"].as_u64().unwrap();
        let hashed = shapes
            .iter()
            .map(|(name, shape)| (name.clone(), hashed_weights::tensor(name, shape, seed)));
        let told = values.iter().map(|(name, value)| (name.clone(), Tensor::from(*value)));
        let tensors: HashMap<String, Tensor> = hashed.chain(told).collect();
        let sizes: HashMap<&String, Vec<i64>> =
            tensors.iter().map(|(name, tensor)| (name, tensor.size())).collect();
        let named = sizes.iter().map(|(name, size)| (name.as_str(), size.as_slice()));
        let settings = file["settings"].is_object().then(|| file["settings"].to_string());
        let plan = AdapterPlan::File(Plan::new(named, settings.as_deref()).unwrap());
        let base = file["base"].as_str().unwrap().to_owned();
        Self { name, folder, base, plan, tensors }
    }

    /// Nobody else has these: the scale is put into them.
    fn tensors(&self) -> HashMap<String, Tensor> {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect()
    }

    fn adapter(&self, checkpoint: &Checkpoint) -> Adapter {
        Adapter::new(self.plan.parts(self.tensors(), checkpoint).unwrap())
    }

    fn key(&self) -> AdapterKey {
        AdapterKey::new(self.name, "1")
    }

    fn adopt(&self, pipelines: &Pipelines) {
        let addition = Addition::Layers(Arc::new(self.plan.clone()));
        let (key, tensors) = (self.key(), self.tensors());
        pipelines.adopt(FetchedAdapter { key, addition, tensors }).unwrap();
    }

    fn case(&self, at: usize) -> Case {
        let mut case = cases(&self.folder).remove(at);
        case.request["adapter"] = json!(self.name);
        case
    }
}

fn asked(pipelines: &mut Pipelines, prepared: Prepared, lora: Option<&Lora>) -> Asked {
    let count = JobCount::new(&Arc::new(AtomicUsize::new(0)));
    let used = lora.map(|lora| AdapterUse { key: lora.key(), count });
    Asked::with_adapter(pipelines, prepared, "", used)
}

/// One look of a U-Net whose rows have these adapters.
fn look(unet: &Unet2dCondition, of: &HashMap<String, Tensor>, step: &Step) -> Tensor {
    let added = of.get("pooled").zip(of.get("numbers"));
    let condition = Condition {
        text: &of["text"],
        class: None,
        added: added.map(|(text, numbers)| Added { text, numbers }),
        guidance: None,
    };
    unet.forward(&of["sample"], &of["times"], &condition, step)
}

#[test]
fn one_look_with_an_adapter_equals_the_reference_row_by_row() {
    let _guard = tch::no_grad_guard();
    for name in ADAPTERS {
        let lora = Lora::open(name);
        let repository = Repository::open(&lora.base);
        let (_model, checkpoint) = repository.model();
        let config = repository.config()["components"]["unet"].to_string();
        let unet = Unet2dCondition::load(&config, &checkpoint.root().at("unet")).unwrap();
        let adapter = Rc::new(lora.adapter(&checkpoint));
        let expected = Fixture::tensors(&format!("diffusion/{name}"));
        let plain = look(&unet, &expected, &Step::whole());
        let with = |rows: &[bool], adapter: &Rc<Adapter>| {
            let rows: Vec<_> = rows.iter().map(|has| has.then(|| Rc::clone(adapter))).collect();
            look(&unet, &expected, &Step::whole().with_adapters(&rows))
        };
        assert_close(&with(&[true, true], &adapter), &expected["answer"], name);
        assert!(difference(&plain, &expected["answer"]) > 0.01, "{name} does nothing");
        let second = with(&[false, true], &adapter);
        assert_close(&second.select(0, 0), &plain.select(0, 0), "without");
        assert_close(&second.select(0, 1), &expected["answer"].select(0, 1), name);
        let nothing = Rc::new(adapter.with_strength(0.0));
        assert_close(&with(&[true, true], &nothing), &plain, "no strength");
    }
}

#[test]
fn pictures_with_an_adapter_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ADAPTERS {
        let lora = Lora::open(name);
        let repository = Repository::open(&lora.base);
        let mut pipelines = repository.pipelines();
        lora.adopt(&pipelines);
        for at in 0..cases(&lora.folder).len() {
            let Case { request, brought, expected } = lora.case(at);
            let prepared = repository.prepare_with(&request, &brought).unwrap();
            let mut asked = asked(&mut pipelines, prepared, Some(&lora));
            while step(&mut pipelines) {}
            let difference = painting::difference(&asked.answer().unwrap().0, &expected);
            assert!(difference <= TOLERANCE, "{name}: {difference} for {request}");
        }
    }
}

#[test]
fn requests_with_different_adapters_and_with_none_run_together() {
    let _guard = tch::no_grad_guard();
    let names = ["picture-lora-kohya", "picture-lora-old", "picture-lora-plain"];
    let loras = names.map(Lora::open);
    let repository = Repository::open("pipeline-sd1");
    let mut pipelines = repository.pipelines();
    loras.iter().for_each(|lora| lora.adopt(&pipelines));
    let mut plain = repository.cases().into_iter().next().map(|case| (None, case));
    let mut wanted: Vec<(Option<&Lora>, Case)> =
        loras.iter().flat_map(|lora| [0, 1].map(|at| (Some(lora), lora.case(at)))).collect();
    wanted.extend(plain.take());
    let mut all: Vec<Asked> = wanted
        .iter()
        .map(|(lora, case)| {
            asked(&mut pipelines, repository.prepare(&case.request).unwrap(), *lora)
        })
        .collect();
    while step(&mut pipelines) {}
    for ((_, Case { request, expected, .. }), asked) in wanted.iter().zip(&mut all) {
        let difference = painting::difference(&asked.answer().unwrap().0, expected);
        assert!(difference <= TOLERANCE, "{difference} for {request}");
    }
}

#[test]
fn an_adapter_for_another_pipeline_is_refused_by_its_tensor() {
    let _guard = tch::no_grad_guard();
    for (name, base, expected) in [
        ("picture-lora-xl", "pipeline-sd1", "lora_te2_text_model"),
        ("picture-lora-kohya", "pipeline-xl", "lora_unet_down_blocks_0_attentions"),
        ("picture-lora-plain", "pipeline-sd2", "has shape"),
    ] {
        let (_model, checkpoint) = Repository::open(base).model();
        let lora = Lora::open(name);
        let refused = lora.plan.parts(lora.tensors(), &checkpoint).map(drop);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("for another model"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
