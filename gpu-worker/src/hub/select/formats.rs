//! The formats that are not read, by name, and why a repository has nothing to load.

use serde_json::Value;

use super::{RepoFile, SelectError, TORCH_BIN, WeightsQuery, inside, name_in};

/// File endings of formats that are not read, with their names. Earlier ones are the better explanation.
const OTHER_FORMATS: [(&str, &str); 19] = [
    ("pytorch_model.bin", TORCH_BIN),
    ("pytorch_model.bin.index.json", TORCH_BIN),
    ("pytorch_model.pt", "PyTorch pickle (.pt)"),
    ("pytorch_model.pth", "PyTorch pickle (.pth)"),
    (".gguf", "GGUF"),
    ("openvino_model.bin", "OpenVINO"),
    ("openvino_model.xml", "OpenVINO"),
    (".onnx", "ONNX"),
    ("tf_model.h5", "TensorFlow"),
    ("saved_model.pb", "TensorFlow"),
    (".h5", "TensorFlow"),
    (".msgpack", "Flax"),
    (".tflite", "TensorFlow Lite"),
    (".mlmodel", "Core ML"),
    (".nemo", "NeMo"),
    (".ckpt", "PyTorch pickle (.ckpt)"),
    (".pth", "PyTorch pickle (.pth)"),
    (".pt", "PyTorch pickle (.pt)"),
    (".bin", TORCH_BIN),
];

/// The name of a quantisation, as the configuration states it.
pub(super) fn quantisation(files: &[RepoFile], query: WeightsQuery<'_>) -> Option<String> {
    let config = query.config;
    if let Some(quantisation) =
        config.and_then(|config| config.get("quantization_config")).filter(|it| it.is_object())
    {
        let flag = |name: &str| quantisation.get(name).and_then(Value::as_bool) == Some(true);
        let method = match quantisation.get("quant_method").and_then(Value::as_str) {
            Some(method) => method,
            None if flag("load_in_4bit") || flag("load_in_8bit") => "bitsandbytes",
            None => "of a method that its quantization_config does not name",
        };
        return Some(match method {
            "gptq" => "GPTQ".to_owned(),
            "awq" => "AWQ".to_owned(),
            other => format!("quantised: {}", other.chars().take(60).collect::<String>()),
        });
    }
    let mlx = config
        .and_then(|config| config.get("quantization"))
        .is_some_and(|it| it.get("bits").is_some());
    if mlx {
        return Some("MLX, quantised".to_owned());
    }
    let gptq = inside(query.folder, "quantize_config.json");
    files.iter().any(|file| file.path == gptq).then(|| "GPTQ".to_owned())
}

/// Why there is nothing to load.
pub(super) fn explain(files: &[RepoFile], folder: &str) -> SelectError {
    let names: Vec<&str> = files.iter().filter_map(|file| name_in(&file.path, folder)).collect();
    if names.iter().any(|name| name.starts_with("adapter_model.")) {
        return SelectError::FormatNotSupported {
            format: "an adapter (PEFT) without its base model".to_owned(),
        };
    }
    // Exports are often in a folder of their own (`onnx/`), so that deeper files explain too; those of a pipeline's other
    // components do not.
    let within = inside(folder, "");
    let deeper: Vec<&str> = files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| path.starts_with(&within))
        .collect();
    for names in [names, deeper] {
        if let Some((_, format)) =
            OTHER_FORMATS.iter().find(|(end, _)| names.iter().any(|name| name.ends_with(end)))
        {
            return SelectError::FormatNotSupported { format: (*format).to_owned() };
        }
        if let Some(name) = names.iter().find(|name| name.ends_with(".safetensors")) {
            let format =
                format!("safetensors under a name that says nothing of their layout ({name})");
            return SelectError::FormatNotSupported { format };
        }
    }
    let place = if folder.is_empty() { "its root".to_owned() } else { format!("{folder}/") };
    SelectError::NoWeights { place }
}
