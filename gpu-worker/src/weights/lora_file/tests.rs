//! Which names are read, and what is refused by its name.

use std::collections::HashMap;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use super::{
    names::{self, Layer, Role},
    original::Original,
    *,
};
use crate::weights::{
    Checkpoint, Rename,
    peft::{Part, PeftError},
};

type Shapes<'a> = &'a [(&'a str, &'a [i64])];

fn plan(tensors: Shapes, settings: Option<&Value>) -> Result<Plan, PeftError> {
    let settings = settings.map(Value::to_string);
    Plan::new(tensors.iter().copied(), settings.as_deref())
}

/// A pipeline of one linear layer, 6 to 5, and one convolution.
fn model() -> Checkpoint {
    let mut model = Checkpoint::from_tensors(HashMap::new());
    model.rename(&[Rename::Part { from: ".text_model.", to: "." }]);
    model.root().at("text_encoder.encoder.layers.0.self_attn.q_proj").module(6, 5, false);
    model.root().at("unet.down_blocks.0.resnets.0.conv1").convolution(6, 5, 3);
    model.root().at("vae").without_adapters().at("encoder.conv_in").convolution(3, 5, 3);
    model
}

fn parts(tensors: Shapes, settings: Option<&Value>) -> Result<HashMap<usize, Part>, PeftError> {
    let plan = plan(tensors, settings)?;
    let values = |shape: &[i64]| Tensor::full(shape, 3.0, (Kind::Float, Device::Cpu));
    let tensors = tensors.iter().map(|(name, shape)| ((*name).to_owned(), values(shape)));
    plan.parts(tensors.collect(), &model())
}

/// The scale, as it was put into tensors of threes.
fn scale(parts: &HashMap<usize, Part>, place: usize) -> f64 {
    let Some(Part::LowRank { up, .. }) = parts.get(&place) else { panic!("{parts:?}") };
    up.flatten(0, -1).double_value(&[0]) / 3.0
}

#[test]
fn every_spelling_of_a_layer_is_read() {
    let path = |path: &str, role| Some((Layer::Path(path.to_owned()), role));
    let flat = |component, path: &str, role| {
        Some((Layer::Flat { component, path: path.to_owned() }, role))
    };
    for (name, expected) in [
        (
            "lora_unet_mid_block_x_to_q.lora_down.weight",
            flat("unet", "mid_block_x_to_q", Role::Down),
        ),
        (
            "lora_te_text_model_encoder_x.lora_up.weight",
            flat("text_encoder", "encoder_x", Role::Up),
        ),
        ("lora_te1_text_model_encoder_x.alpha", flat("text_encoder", "encoder_x", Role::Alpha)),
        ("lora_te2_text_projection.alpha", flat("text_encoder_2", "text_projection", Role::Alpha)),
        ("unet.a.to_q.lora_A.weight", path("unet.a.to_q", Role::Down)),
        ("unet.a.to_q.lora.up.weight", path("unet.a.to_q", Role::Up)),
        (
            "text_encoder.a.fc1.lora_linear_layer.down.weight",
            path("text_encoder.a.fc1", Role::Down),
        ),
        ("unet.a.attn1.processor.to_out_lora.up.weight", path("unet.a.attn1.to_out.0", Role::Up)),
        (
            "mid_block.attn1.processor.to_k_lora.down.weight",
            path("unet.mid_block.attn1.to_k", Role::Down),
        ),
        (
            "text_encoder.a.self_attn.to_v_lora.up.weight",
            path("text_encoder.a.self_attn.v_proj", Role::Up),
        ),
        ("lora_unet_a.dora_scale", None),
        ("lora_unet_a.hada_w1_a", None),
        ("lora_unet_a.lora_mid.weight", None),
        ("unet.a.lora_B.bias", None),
        ("unet.a.lora_magnitude_vector", None),
        ("unet.conv_in.weight", None),
    ] {
        assert_eq!(names::read(name), expected, "{name}");
    }
}

#[test]
fn layers_have_the_names_that_they_were_published_with() {
    // As Stable Diffusion XL: three parts, two layers each, no attention in the first.
    let known = [
        "down_blocks.0.resnets.1.conv1",
        "up_blocks.0.attentions.0.proj_in",
        "up_blocks.1.attentions.0.proj_in",
    ];
    let original = Original::of(known.into_iter());
    for (path, expected) in [
        ("conv_in", "input_blocks.0.0"),
        ("conv_out", "out.2"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
            "input_blocks.4.1.transformer_blocks.0.attn1.to_q",
        ),
        ("down_blocks.2.attentions.1.proj_in", "input_blocks.8.1.proj_in"),
        ("mid_block.resnets.0.conv2", "middle_block.0.out_layers.3"),
        ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
        ("mid_block.resnets.1.time_emb_proj", "middle_block.2.emb_layers.1"),
        ("up_blocks.0.attentions.2.proj_in", "output_blocks.2.1.proj_in"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("up_blocks.2.resnets.2.conv_shortcut", "output_blocks.8.0.skip_connection"),
    ] {
        assert_eq!(original.name(path).as_deref(), Some(expected), "{path}");
    }
    assert_eq!(original.name("add_embedding.linear_3"), None);
    assert_eq!(original.name("mid_block.resnets.7.conv1"), None);
}

const Q: &str = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
const CONV: &str = "lora_unet_input_blocks_1_0_in_layers_2";

#[test]
fn both_halves_come_to_their_layer_with_their_scale() {
    let [down, up, alpha] =
        ["lora_down.weight", "lora_up.weight", "alpha"].map(|end| format!("{Q}.{end}"));
    let q: Shapes = &[(&down, &[2, 6]), (&up, &[5, 2]), (&alpha, &[])];
    // Alpha is three, the rank two.
    assert_eq!(scale(&parts(q, None).unwrap(), 0), 1.5);
    assert_eq!(scale(&parts(&q[..2], None).unwrap(), 0), 1.0);
    let [down, up] = ["lora_down.weight", "lora_up.weight"].map(|end| format!("{CONV}.{end}"));
    let conv: Shapes = &[(&down, &[2, 6, 3, 3]), (&up, &[5, 2, 1, 1])];
    assert_eq!(scale(&parts(conv, None).unwrap(), 1), 1.0);
    let path = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj";
    let [down, up] = ["lora_A.weight", "lora_B.weight"].map(|end| format!("{path}.{end}"));
    let peft: Shapes = &[(&down, &[2, 6]), (&up, &[5, 2])];
    assert_eq!(scale(&parts(peft, None).unwrap(), 0), 1.0);
    let settings = json!({"text_encoder.peft_type": "LORA", "text_encoder.r": 2, "text_encoder.lora_alpha": 8,
        "text_encoder.target_modules": ["q_proj"], "text_encoder.use_dora": false, "unet.peft_type": "LORA",
        "unet.target_modules": ["to_q"], "unet.r": 4});
    assert_eq!(scale(&parts(peft, Some(&settings)).unwrap(), 0), 4.0);
    for (field, value, expected) in [
        ("text_encoder.r", json!(4), "expected [4, 6]"),
        ("text_encoder.use_dora", json!(true), "use_dora = true is not supported"),
        ("text_encoder.target_modules", json!(["k_proj"]), "target_modules do not name"),
        ("r", json!(1), "names no component before r"),
    ] {
        let mut settings = settings.clone();
        settings[field] = value;
        let message = parts(peft, Some(&settings)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let [down, up, alpha] =
        ["lora_down.weight", "lora_up.weight", "alpha"].map(|end| format!("{Q}.{end}"));
    let other = "lora_unet_up_blocks_9_conv.lora_down.weight";
    let other_up = "lora_unet_up_blocks_9_conv.lora_up.weight";
    let [conv_down, conv_up] =
        ["lora_down.weight", "lora_up.weight"].map(|end| format!("{CONV}.{end}"));
    let twice = "text_encoder.encoder.layers.0.self_attn.q_proj";
    let [twice_down, twice_up] =
        ["lora_A.weight", "lora_B.weight"].map(|end| format!("{twice}.{end}"));
    let vae = ["vae.encoder.conv_in.lora_A.weight", "vae.encoder.conv_in.lora_B.weight"];
    let cases: &[(Shapes, &str)] = &[
        (&[], "no tensors"),
        (&[(&down, &[2, 6])], "lora_down.weight and no other half"),
        (&[(&up, &[5, 2])], "lora_up.weight and no other half"),
        (&[(&alpha, &[])], "alpha and no other half"),
        (&[(&down, &[2, 6]), (&up, &[5, 2]), (&alpha, &[2])], "alpha is not supported"),
        (&[(&down, &[2, 6]), (&up, &[5, 3])], "shape [5, 3], expected [5, 2]"),
        (&[(&down, &[2, 6, 1]), (&up, &[5, 2, 1])], "shape [5, 2, 1]"),
        (&[(&down, &[2, 7]), (&up, &[5, 2])], "has shape [2, 7], this one needs [2, 6]"),
        (&[(&down, &[2, 6]), (&up, &[9, 2])], "has shape [9, 2], this one needs [5, 2]"),
        (&[(&conv_down, &[2, 6, 1, 1]), (&conv_up, &[5, 2, 1, 1])], "this one needs [2, 6, 3, 3]"),
        (&[(&conv_down, &[2, 6]), (&conv_up, &[5, 2])], "this one needs [2, 6, 3, 3]"),
        (&[(other, &[2, 6]), (other_up, &[5, 2])], "no layer for its tensor lora_unet_up_blocks_9"),
        (
            &[(vae[0], &[2, 3, 3, 3]), (vae[1], &[5, 2, 1, 1])],
            "no layer for its tensor vae.encoder",
        ),
        (
            &[(&down, &[2, 6]), (&up, &[5, 2]), (&twice_down, &[2, 6]), (&twice_up, &[5, 2])],
            "a second tensor",
        ),
        (&[("unet.conv_in.weight", &[5, 6])], "unet.conv_in.weight is not supported"),
    ];
    for (tensors, expected) in cases {
        let message = parts(tensors, None).map(|_| ()).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    }
}
