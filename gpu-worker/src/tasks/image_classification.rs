//! `image-classification`: a picture in, the best labels out.
//!
//! Reference: `transformers/pipelines/image_classification.py`.

use std::sync::Arc;

use proto::{
    ImageClassificationRequest, InferRequest, Labels, LabelsOutput, infer_request::Input,
    infer_result::Output, media::Content,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{
    Files, Made, Prepared, Processor, RowAdapter, StepShape, Work,
    batched::{BatchPipeline, Batched},
    labels::{Function, LabelNames, top_k},
};
use crate::{
    failure::{Code, Failure},
    layers::Step,
    media::{ImageProcessor, Limits, Pixels, decode},
    models::ImageClassifier,
};

/// Labels that are given when the request does not say how many.
const DEFAULT_TOP_K: usize = 5;
/// Pictures of one step.
const STEP_PICTURES: usize = 16;

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let Some(config) = files.text("preprocessor_config.json") else {
        let message =
            "preprocessor_config.json is missing, without which a picture cannot be prepared";
        return Err(
            Failure::new(Code::CorruptCheckpoint, message).text("file", "preprocessor_config.json")
        );
    };
    let model = files.json("config.json")?.unwrap_or_default();
    Ok(Arc::new(ImageClassification {
        images: ImageProcessor::from_config(config, files.text("config.json"))?,
        function: own_function(&model),
        labels: LabelNames::of_config(&model),
    }))
}

struct ImageClassification {
    images: ImageProcessor,
    function: Function,
    labels: LabelNames,
}

/// The model's own choice of what turns logits into scores, as the reference makes it.
fn own_function(config: &Value) -> Function {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let is_single = config.get("num_labels").and_then(Value::as_u64) == Some(1)
        || config
            .get("id2label")
            .and_then(Value::as_object)
            .is_some_and(|labels| labels.len() == 1);
    match (text("problem_type"), text("function_to_apply").and_then(Function::parse)) {
        (Some("multi_label_classification"), _) => Function::Sigmoid,
        (Some("single_label_classification"), _) => Function::Softmax,
        (_, Some(own)) => own,
        _ if is_single => Function::Sigmoid,
        _ => Function::Softmax,
    }
}

impl Processor for ImageClassification {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::ImageClassification(ImageClassificationRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for image-classification"));
        };
        let options = options.clone().unwrap_or_default();
        let top_k = top_k(options.top_k)?.unwrap_or(DEFAULT_TOP_K);
        let function = match options.function_to_apply.as_deref() {
            None => self.function,
            Some(name) => Function::asked(name)?,
        };
        let media = inputs
            .as_ref()
            .and_then(|inputs| inputs.image.as_ref())
            .and_then(|media| media.content.as_ref());
        let Some(Content::Inline(bytes)) = media else {
            return Err(Failure::invalid("inputs.image_base64", "is missing"));
        };
        let picture = decode(bytes, &Limits::default())
            .map_err(|error| Failure::from(error).at("inputs.image_base64"))?;
        let pixels = self.images.process(&picture)?;
        let labels = self.labels.clone();
        Ok(Prepared {
            work: Work::Classify(pixels),
            finish: Box::new(move |made| {
                let Made::Logits(logits) = made else {
                    return Err(Failure::new(Code::InferenceFailed, "the lane made no logits"));
                };
                let predictions = labels.best(&function.apply(&logits), top_k)?;
                Ok(Output::Labels(LabelsOutput {
                    items: vec![Labels { predictions }],
                    is_list: false,
                }))
            }),
            prompt_tokens: None,
            seed: None,
        })
    }
}

pub type ImagePipeline = BatchPipeline<Classification>;

pub struct Classification {
    model: Box<dyn ImageClassifier>,
    device: Device,
}

impl ImagePipeline {
    pub fn of(model: Box<dyn ImageClassifier>, device: Device) -> Self {
        Self::new(Classification { model, device })
    }
}

impl Batched for Classification {
    type Item = Pixels;
    type Output = Vec<f32>;

    fn smallest(&self) -> Pixels {
        let (height, width) = self.model.image_size();
        let (channels, height, width) =
            (self.model.n_channels() as usize, height as usize, width as usize);
        Pixels {
            data: vec![0.0; channels * height * width],
            channels,
            height,
            width,
            valid: (height, width),
        }
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Classify(_))
    }

    fn refusal(&self, work: &Work) -> Option<Failure> {
        let Work::Classify(pixels) = work else { return None };
        let (height, width) = self.model.image_size();
        let expected = (self.model.n_channels(), height, width);
        let given = (pixels.channels as i64, pixels.height as i64, pixels.width as i64);
        (given != expected).then(|| {
            let message = format!(
                "preprocessor_config.json makes pictures of {given:?} values, the model takes {expected:?}"
            );
            Failure::new(Code::CorruptCheckpoint, message).text("file", "preprocessor_config.json")
        })
    }

    fn split(&self, work: Work) -> Vec<Pixels> {
        match work {
            Work::Classify(pixels) => vec![pixels],
            _ => Vec::new(),
        }
    }

    fn size(&self, _: &Pixels) -> usize {
        1
    }

    fn choose(&self, waiting: &[&Pixels]) -> Vec<usize> {
        let size = |pixels: &Pixels| (pixels.channels, pixels.height, pixels.width);
        let of_first = waiting.first().map(|first| size(first));
        let same = waiting.iter().enumerate().filter(|(_, pixels)| Some(size(pixels)) == of_first);
        same.map(|(at, _)| at).take(STEP_PICTURES).collect()
    }

    /// Pictures of one model are of one size, so their number is all that differs.
    fn shape(&self, pictures: &[&Pixels]) -> StepShape {
        let rows = pictures.len();
        StepShape::new(rows, rows, rows, STEP_PICTURES)
    }

    fn run(&self, pictures: &[&Pixels], adapters: &[RowAdapter]) -> Vec<Vec<f32>> {
        let tensor = |pixels: &&Pixels| {
            let shape = [pixels.channels as i64, pixels.height as i64, pixels.width as i64];
            Tensor::from_slice(&pixels.data).view(shape)
        };
        let batch = Tensor::stack(&pictures.iter().map(tensor).collect::<Vec<_>>(), 0)
            .to_device(self.device);
        let logits = self.model.logits(&batch, &Step::whole().with_adapters(adapters));
        let logits = logits.to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let row = |at: usize| Vec::try_from(logits.select(0, at as i64)).expect("a row of floats");
        (0..pictures.len()).map(row).collect()
    }

    fn collect(&self, outputs: Vec<Vec<f32>>) -> Made {
        Made::Logits(outputs.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_models_own_function_is_the_references_choice() {
        let cases = [
            (json!({}), Function::Softmax),
            (json!({"problem_type": "multi_label_classification"}), Function::Sigmoid),
            (json!({"id2label": {"0": "only"}}), Function::Sigmoid),
            (json!({"function_to_apply": "none"}), Function::None),
        ];
        for (config, expected) in cases {
            assert_eq!(own_function(&config), expected, "{config}");
        }
    }
}
