//! A fixture of a whole diffusion pipeline, and requests to it.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use gpu_worker::{
    failure::Failure,
    media::{self, OutputFormat, Picture},
    models::{self, Model},
    tasks::{self, Bounds, Files, Pipelines, Prepared},
    weights::Checkpoint,
};
use proto::{
    ImageEnhancementInputs, ImageEnhancementOptions, ImageSuperResolutionRequest,
    ImageToImageInputs, ImageToImageOptions, ImageToImageRequest, InferRequest, Media,
    TextToImageInputs, TextToImageOptions, TextToImageRequest, UnconditionalImageGenerationOptions,
    UnconditionalImageGenerationRequest, infer_request::Input, media::Content,
};
use serde_json::{Value, json};
use tch::{Device, Tensor};

pub use crate::asking::{Asked, paint, step};
use crate::hashed_weights;

pub struct Repository {
    folder: PathBuf,
    index: Value,
    /// Components that are another fixture's.
    others: HashMap<String, PathBuf>,
}

impl Repository {
    pub fn open(name: &str) -> Self {
        let folder = fixtures().join("diffusion").join(name);
        let index = serde_json::from_str(&text(&folder.join("model_index.json"))).unwrap();
        Self { folder, index, others: HashMap::new() }
    }

    /// The same with a component of another fixture.
    pub fn with(mut self, component: &str, other: &str) -> Self {
        self.others.insert(component.to_owned(), fixtures().join("diffusion").join(other));
        self
    }

    fn folder_of(&self, component: &str) -> PathBuf {
        self.others.get(component).cloned().unwrap_or_else(|| self.folder.join(component))
    }

    pub fn class(&self) -> &str {
        self.index["_class_name"].as_str().unwrap()
    }

    /// Components that are there.
    fn components(&self) -> Vec<&str> {
        let named = self.index.as_object().unwrap().iter();
        named.filter(|(_, of)| of[1].is_string()).map(|(name, _)| name.as_str()).collect()
    }

    /// The document that describes the whole pipeline.
    pub fn config(&self) -> Value {
        let configs: HashMap<&str, Value> = self
            .components()
            .into_iter()
            .filter_map(|name| {
                let config = fs::read_to_string(self.folder_of(name).join("config.json")).ok()?;
                Some((name, serde_json::from_str(&config).unwrap()))
            })
            .collect();
        json!({"_class_name": self.class(), "index": self.index, "components": configs})
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let mut tensors = HashMap::new();
        for component in self.components() {
            let path = self.folder_of(component).join("tensors.json");
            let Ok(shapes) = fs::read_to_string(path) else { continue };
            let shapes: HashMap<String, Vec<i64>> = serde_json::from_str(&shapes).unwrap();
            for (name, shape) in shapes {
                let tensor = hashed_weights::tensor(&name, &shape, hashed_weights::SEED);
                tensors.insert(format!("{component}.{name}"), tensor);
            }
        }
        Checkpoint::from_tensors(tensors)
    }

    pub fn pipelines(&self) -> Pipelines {
        self.pipelines_with(u64::MAX)
    }

    /// Those in which decoding one picture may take so many bytes.
    pub fn pipelines_with(&self, decoding_bytes: u64) -> Pipelines {
        let (model, checkpoint) = self.model();
        let bounds = Bounds { cache_bytes: 0, decoding_bytes };
        Pipelines::new(model, checkpoint, Device::Cpu, bounds)
    }

    /// The model, and the checkpoint that it was loaded with.
    pub fn model(&self) -> (Model, Checkpoint) {
        let architecture = models::find(self.class()).unwrap();
        let mut checkpoint = self.checkpoint();
        checkpoint.rename(architecture.renames);
        let config = self.config().to_string();
        let model = architecture.load(&config, architecture.kinds[0], &checkpoint.root()).unwrap();
        assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
        (model, checkpoint)
    }

    /// The small files, those of the tokenizers included.
    fn files(&self) -> Files {
        let mut files = HashMap::new();
        let mut add = |path: String, file: &Path| files.insert(path, fs::read(file).unwrap());
        add("model_index.json".to_owned(), &self.folder.join("model_index.json"));
        for component in self.components() {
            for file in ["config.json", "preprocessor_config.json", "scheduler_config.json"] {
                let path = self.folder.join(component).join(file);
                if path.exists() {
                    add(format!("{component}/{file}"), &path);
                }
            }
            if component.starts_with("tokenizer") {
                let (folder, names) = tokenizer(&self.index[component]);
                for file in names {
                    let path = fixtures().join("tokenizers").join(folder).join(file);
                    add(format!("{component}/{file}"), &path);
                }
            }
        }
        Files::new(files)
    }

    pub fn prepare(&self, request: &Value) -> Result<Prepared, Failure> {
        self.prepare_with(request, &Brought::default())
    }

    pub fn prepare_with(&self, request: &Value, brought: &Brought) -> Result<Prepared, Failure> {
        let number = |name: &str| request.get(name).and_then(Value::as_u64);
        let count = |name: &str| number(name).map(|number| u32::try_from(number).unwrap());
        let real = |name: &str| request.get(name).and_then(Value::as_f64);
        let text = |name: &str| request.get(name).map(|text| text.as_str().unwrap().to_owned());
        let [truncate, guess_mode] =
            ["truncate", "guess_mode"].map(|name| request.get(name).and_then(Value::as_bool));
        let (task, input) = if ["DDIMPipeline", "DDPMPipeline"].contains(&self.class()) {
            let options = UnconditionalImageGenerationOptions {
                num_inference_steps: count("num_inference_steps"),
                seed: number("seed"),
                num_images: count("num_images"),
                preview_every: count("preview_every"),
                eta: real("eta"),
                scheduler: text("scheduler"),
                ..UnconditionalImageGenerationOptions::default()
            };
            let asked =
                UnconditionalImageGenerationRequest { inputs: None, options: Some(options) };
            ("unconditional-image-generation", Input::UnconditionalImageGeneration(asked))
        } else if self.class() == "StableDiffusionUpscalePipeline" {
            let inputs = ImageEnhancementInputs {
                image: brought.picture.as_ref().map(file),
                text: text("text"),
                negative_prompt: text("negative_prompt"),
            };
            let options = ImageEnhancementOptions {
                scale: count("scale"),
                tile: count("tile"),
                num_inference_steps: count("num_inference_steps"),
                guidance_scale: real("guidance_scale"),
                noise_level: count("noise_level"),
                seed: number("seed"),
                num_images: count("num_images"),
                clip_skip: count("clip_skip"),
                eta: real("eta"),
                ..ImageEnhancementOptions::default()
            };
            let asked =
                ImageSuperResolutionRequest { inputs: Some(inputs), options: Some(options) };
            ("image-super-resolution", Input::ImageSuperResolution(asked))
        } else if let Some(picture) = &brought.picture {
            let inputs = ImageToImageInputs {
                image: Some(file(picture)),
                text: text("text"),
                negative_prompt: text("negative_prompt"),
                mask: brought.mask.as_ref().map(file),
                control_image: brought.control.as_ref().map(file),
            };
            let options = ImageToImageOptions {
                num_inference_steps: count("num_inference_steps"),
                guidance_scale: real("guidance_scale"),
                guidance_rescale: real("guidance_rescale"),
                strength: real("strength"),
                image_guidance_scale: real("image_guidance_scale"),
                aesthetic_score: real("aesthetic_score"),
                negative_aesthetic_score: real("negative_aesthetic_score"),
                seed: number("seed"),
                num_images: count("num_images"),
                truncate,
                max_sequence_length: count("max_sequence_length"),
                true_cfg_scale: real("true_cfg_scale"),
                adapter: text("adapter"),
                adapter_scale: real("adapter_scale"),
                controlnet_conditioning_scale: real("controlnet_conditioning_scale"),
                control_guidance_start: real("control_guidance_start"),
                control_guidance_end: real("control_guidance_end"),
                guess_mode,
                ..ImageToImageOptions::default()
            };
            let asked = ImageToImageRequest { inputs: Some(inputs), options: Some(options) };
            ("image-to-image", Input::ImageToImage(asked))
        } else {
            let inputs = TextToImageInputs {
                text: text("text"),
                negative_prompt: text("negative_prompt"),
                control_image: brought.control.as_ref().map(file),
            };
            let options = TextToImageOptions {
                num_inference_steps: count("num_inference_steps"),
                guidance_scale: real("guidance_scale"),
                guidance_rescale: real("guidance_rescale"),
                width: count("width"),
                height: count("height"),
                seed: number("seed"),
                num_images: count("num_images"),
                preview_every: count("preview_every"),
                clip_skip: count("clip_skip"),
                eta: real("eta"),
                truncate,
                max_sequence_length: count("max_sequence_length"),
                true_cfg_scale: real("true_cfg_scale"),
                adapter: text("adapter"),
                adapter_scale: real("adapter_scale"),
                controlnet_conditioning_scale: real("controlnet_conditioning_scale"),
                control_guidance_start: real("control_guidance_start"),
                control_guidance_end: real("control_guidance_end"),
                guess_mode,
                ..TextToImageOptions::default()
            };
            let asked = TextToImageRequest { inputs: Some(inputs), options: Some(options) };
            ("text-to-image", Input::TextToImage(asked))
        };
        let request = InferRequest { input: Some(input), ..InferRequest::default() };
        let kinds = models::find(self.class()).unwrap().kinds;
        (tasks::find_on(task, kinds).unwrap().processor)(&self.files())?.prepare(&request)
    }

    /// A request that begins with this file.
    pub fn prepare_file(&self, bytes: Vec<u8>) -> Result<Prepared, Failure> {
        let image = Media { content: Some(Content::Inline(bytes)), mime_type: String::new() };
        let inputs = ImageToImageInputs {
            image: Some(image),
            text: Some("a circle".to_owned()),
            ..ImageToImageInputs::default()
        };
        let asked = ImageToImageRequest { inputs: Some(inputs), options: None };
        let input = Some(Input::ImageToImage(asked));
        let request = InferRequest { input, ..InferRequest::default() };
        (tasks::find("image-to-image").unwrap().processor)(&self.files())?.prepare(&request)
    }

    pub fn cases(&self) -> Vec<Case> {
        cases(&self.folder)
    }
}

/// The fixture of a tokenizer by its entry in the index, and its files.
fn tokenizer(of: &Value) -> (&'static str, [&'static str; 3]) {
    match of[1].as_str() {
        Some("T5Tokenizer") => ("t5", ["config.json", "spiece.model", "tokenizer_config.json"]),
        _ => ("clip", ["merges.txt", "tokenizer_config.json", "vocab.json"]),
    }
}

/// What the reference made of requests, and was given with them.
pub fn cases(folder: &Path) -> Vec<Case> {
    let cases: Vec<Value> = serde_json::from_str(&text(&folder.join("cases.json"))).unwrap();
    let expected = Tensor::read_safetensors(folder.join("expected.safetensors")).unwrap();
    let tensors: HashMap<String, Tensor> = expected.into_iter().collect();
    let brought = |name: &str, case: usize| {
        let tensor = tensors.get(&format!("{name} {case}"))?;
        pictures(&tensor.unsqueeze(0)).pop()
    };
    let cases = cases.into_iter().enumerate().map(|(case, request)| Case {
        request,
        brought: Brought {
            picture: brought("image", case),
            mask: brought("mask", case),
            control: brought("control", case),
        },
        expected: pictures(&tensors[&case.to_string()]),
    });
    cases.collect()
}

/// A request and the pictures that the reference made of it.
pub struct Case {
    pub request: Value,
    pub brought: Brought,
    pub expected: Vec<Picture>,
}

/// The pictures that a request brings.
#[derive(Default)]
pub struct Brought {
    pub picture: Option<Picture>,
    pub mask: Option<Picture>,
    /// What is painted after.
    pub control: Option<Picture>,
}

fn file(picture: &Picture) -> Media {
    let bytes = media::encode(picture, OutputFormat::Png).unwrap();
    Media { content: Some(Content::Inline(bytes)), mime_type: String::new() }
}

pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn pictures(bytes: &Tensor) -> Vec<Picture> {
    let (n_images, height, width, _) = bytes.size4().unwrap();
    (0..n_images)
        .map(|at| Picture {
            width: width as u32,
            height: height as u32,
            rgb: Vec::try_from(bytes.select(0, at).flatten(0, -1)).unwrap(),
        })
        .collect()
}
