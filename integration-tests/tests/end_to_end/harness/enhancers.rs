//! Small models that enlarge pictures, with the weights of the parity fixtures, and pictures for them.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ImageFormat, RgbImage};
use serde_json::{Value, json};

use super::{hashed, models::write_json};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name("gpu-worker").join("tests/fixtures")
}

fn json_of(name: &str, file: &str) -> Value {
    let text = fs::read_to_string(fixtures().join(name).join(file)).expect("the fixture is there");
    serde_json::from_str(&text).expect("JSON")
}

/// Writes the Swin2SR of this fixture as a repository, in the library's layout.
pub fn write(hub: &Path, name: &str) {
    let folder = hub.join("it").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    write_json(&folder.join("config.json"), &json_of(name, "config.json"));
    let processor = json!({"image_processor_type": "Swin2SRImageProcessor", "pad_size": 8});
    write_json(&folder.join("preprocessor_config.json"), &processor);
    hashed::write(&folder.join("model.safetensors"), &json_of(name, "tensors.json"));
}

/// Writes the RRDBNet of this fixture as such networks are published: one file, no config.
pub fn write_bare(hub: &Path, name: &str, file: &str) {
    let folder = hub.join("it").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    hashed::write(&folder.join(file), &json_of(name, "tensors.json"));
}

/// A picture of the fixtures of decoding.
pub fn file(name: &str) -> Vec<u8> {
    fs::read(fixtures().join("images").join(name)).expect("the picture is there")
}

/// A picture with something different everywhere, as PNG.
pub fn noise(width: u32, height: u32) -> Vec<u8> {
    let mut random = 1_u32;
    let mut level = move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    };
    let pixel = |_, _| image::Rgb([level(), level(), level()]);
    let mut bytes = Vec::new();
    RgbImage::from_fn(width, height, pixel)
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .expect("written");
    bytes
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a data URI and their type.
pub fn of_uri(uri: &Value) -> (String, Vec<u8>) {
    let uri = uri.as_str().expect("a text");
    let (head, payload) = uri.split_once(";base64,").expect("a data URI");
    let kind = head.strip_prefix("data:").expect("a data URI").to_owned();
    (kind, STANDARD.decode(payload).expect("base64"))
}

/// The pixels of the only picture of an output.
pub fn pixels(output: &Value) -> RgbImage {
    assert_eq!(output["images"].as_array().map(Vec::len), Some(1), "{output}");
    let made = &output["images"][0];
    let (_, bytes) = of_uri(&made["image_base64"]);
    let picture = image::load_from_memory(&bytes).expect("a picture").to_rgb8();
    let told = (made["width"].as_u64(), made["height"].as_u64());
    assert_eq!(told, (Some(picture.width().into()), Some(picture.height().into())));
    picture
}
