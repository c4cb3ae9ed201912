//! The networks of diffusion pipelines: a batch, and one of it alone.

use gpu_worker::{
    layers::Step,
    memory::peak::Peak,
    models::{
        LoadError,
        diffusion::{
            Added, AutoencoderKl, ClipText, Condition, SafetyChecker, SafetyScores, Unet2d,
            Unet2dCondition, needs_float32,
        },
    },
    weights::Rename,
};
use tch::{Device, Kind, Tensor};

use crate::{
    control_net,
    fixture::{Fixture, assert_within, difference},
};

/// Deep networks of convolutions add up more rounding than others.
pub const TOLERANCE: f64 = 5e-5;

pub const UNETS: &[&str] = &[
    "unet-inpaint",
    "unet-scaled",
    "unet-sd1",
    "unet-sd2",
    "unet-sdxl",
    "unet-segmind",
    "unet-small",
    "unet-upscaler",
];
const UNETS_2D: &[&str] = &["unet2d-butterflies", "unet2d-ddpm", "unet2d-plain", "unet2d-scaled"];
const AUTOENCODERS: &[&str] = &["vae-flux", "vae-plain", "vae-sd"];
pub const TEXT_ENCODERS: &[&str] = &["clip-new", "clip-old", "clip-projected"];

fn fixture(name: &str) -> Fixture {
    Fixture::open(&format!("diffusion/{name}"))
}

pub fn unet(fixture: &Fixture) -> Unet2dCondition {
    let checkpoint = fixture.checkpoint(&[], Kind::Float);
    let unet = Unet2dCondition::load(fixture.config(), &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
    unet
}

fn unet_2d(fixture: &Fixture) -> Unet2d {
    let checkpoint = fixture.checkpoint(Unet2d::RENAMES, Kind::Float);
    let unet = Unet2d::load(fixture.config(), &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
    unet
}

fn autoencoder(fixture: &Fixture) -> AutoencoderKl {
    let checkpoint = fixture.checkpoint(AutoencoderKl::RENAMES, Kind::Float);
    let autoencoder = AutoencoderKl::load(fixture.config(), &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
    autoencoder
}

pub fn text_encoder(fixture: &Fixture, name: &str) -> ClipText {
    let checkpoint = fixture.checkpoint(ClipText::RENAMES, Kind::Float);
    let projects = name == "clip-projected";
    let encoder = ClipText::load(fixture.config(), projects, &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
    encoder
}

/// What a network makes of rows `start..` of the fixture's inputs.
pub fn denoised(unet: &Unet2dCondition, fixture: &Fixture, start: i64) -> Tensor {
    let rows = |name: &str| {
        let tensor = fixture.find(name)?;
        Some(tensor.narrow(0, start, tensor.size()[0] - start))
    };
    let (text, class, guidance) = (rows("text").unwrap(), rows("class"), rows("guidance"));
    let (pooled, numbers) = (rows("pooled"), rows("numbers"));
    assert_eq!(unet.wants_class(), class.is_some());
    assert_eq!(unet.wants_added(), pooled.is_some());
    assert_eq!(unet.guidance_dim().is_some(), guidance.is_some());
    let added = pooled.as_ref().zip(numbers.as_ref());
    let condition = Condition {
        text: &text,
        class: class.as_ref(),
        added: added.map(|(text, numbers)| Added { text, numbers }),
        guidance: guidance.as_ref(),
    };
    let (sample, times) = (rows("sample").unwrap(), rows("times").unwrap());
    unet.forward(&sample, &times, &condition, &Step::whole())
}

/// The largest difference of every network; none is above the tolerance.
pub fn every_network(mut found: impl FnMut(&str, &str, f64)) {
    let _guard = tch::no_grad_guard();
    let step = Step::whole();
    let mut compare = |loaded_as: &str, name: &str, answers: &[(Tensor, &Tensor)]| {
        for (answer, expected) in answers {
            assert_within(TOLERANCE, answer, expected, name);
        }
        let differences = answers.iter().map(|(answer, expected)| difference(answer, expected));
        found(loaded_as, name, differences.fold(0.0, f64::max));
    };
    for name in UNETS {
        let fixture = fixture(name);
        let answer = denoised(&unet(&fixture), &fixture, 0);
        compare("denoiser", name, &[(answer, fixture.expected("answer"))]);
    }
    for name in UNETS_2D {
        let fixture = fixture(name);
        let (sample, times) = (fixture.expected("sample"), fixture.expected("times"));
        let answer = unet_2d(&fixture).forward(sample, times, fixture.find("class"), &step);
        compare("denoiser", name, &[(answer, fixture.expected("answer"))]);
    }
    for name in control_net::CONTROL_NETS {
        let answers = control_net::answers(&fixture(name), 0);
        let answers: Vec<_> = answers.iter().map(|(a, b)| (a.shallow_clone(), b)).collect();
        compare("ControlNet", name, &answers);
    }
    for name in AUTOENCODERS {
        let fixture = fixture(name);
        let autoencoder = autoencoder(&fixture);
        let moments = autoencoder.encode(fixture.expected("pixels"), &step);
        let decoded = autoencoder.decode(fixture.expected("latents"), &step);
        let answers = [
            (moments.mean, fixture.expected("mean")),
            (moments.std, fixture.expected("std")),
            (decoded, fixture.expected("decoded")),
        ];
        compare("autoencoder", name, &answers);
    }
    for name in TEXT_ENCODERS {
        let fixture = fixture(name);
        let encoder = text_encoder(&fixture, name);
        let encoded = encoder.encode(fixture.expected("ids"), 0, &step);
        let last = encoder.normed(&encoded.hidden, &step);
        let answers =
            [(last, fixture.expected("last")), (encoded.pooled, fixture.expected("pooled"))];
        compare("text encoder of a pipeline", name, &answers);
    }
}

#[test]
fn every_network_equals_the_reference() {
    every_network(|_, name, difference| println!("{name}: {difference:.1e}"));
}

#[test]
fn a_row_of_a_batch_is_denoised_as_it_is_alone() {
    let _guard = tch::no_grad_guard();
    for name in UNETS {
        let fixture = fixture(name);
        let alone = denoised(&unet(&fixture), &fixture, 1);
        let expected = fixture.expected("answer").narrow(0, 1, 1);
        assert_within(TOLERANCE, &alone, &expected, name);
    }
    for name in UNETS_2D {
        let fixture = fixture(name);
        let row = |name: &str| fixture.expected(name).narrow(0, 1, 1);
        let class = fixture.find("class").map(|class| class.narrow(0, 1, 1));
        let unet = unet_2d(&fixture);
        assert_eq!(unet.n_classes().is_some(), class.is_some());
        let alone = unet.forward(&row("sample"), &row("times"), class.as_ref(), &Step::whole());
        assert_within(TOLERANCE, &alone, &row("answer"), name);
    }
}

#[test]
fn layers_of_a_text_encoder_are_skipped_from_the_last() {
    let _guard = tch::no_grad_guard();
    for name in TEXT_ENCODERS {
        let fixture = fixture(name);
        let encoder = text_encoder(&fixture, name);
        for skipped in 0..3 {
            let encoded = encoder.encode(fixture.expected("ids"), skipped, &Step::whole());
            let expected = fixture.expected(&format!("hidden_{skipped}"));
            assert_within(TOLERANCE, &encoded.hidden, expected, name);
            assert_within(TOLERANCE, &encoded.pooled, fixture.expected("pooled"), name);
        }
        // What pads the end of a text is seen by no token before it.
        let short = fixture.expected("ids").narrow(0, 1, 1).narrow(1, 0, 5);
        let encoded = encoder.encode(&short, 0, &Step::whole());
        let alone = encoder.normed(&encoded.hidden, &Step::whole());
        assert_within(TOLERANCE, &alone, fixture.expected("alone"), name);
    }
}

#[test]
fn pictures_are_refused_as_by_the_reference() {
    let _guard = tch::no_grad_guard();
    let fixture = fixture("safety-checker");
    // As published: the name of the picture's encoder twice.
    let old = Rename::Part { from: "vision_model.", to: "vision_model.vision_model." };
    let mut checkpoint = fixture.checkpoint(&[old], Kind::Float);
    checkpoint.rename(SafetyChecker::RENAMES);
    let checker = SafetyChecker::load(fixture.config(), &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
    assert_eq!(checker.image_size(), 24);
    let scores = checker.scores(fixture.expected("pixels"), &Step::whole());
    let rows = |row: fn(&SafetyScores) -> &Vec<f32>| {
        let rows: Vec<Tensor> = scores.iter().map(|one| Tensor::from_slice(row(one))).collect();
        Tensor::stack(&rows, 0)
    };
    assert_within(TOLERANCE, &rows(|one| &one.special), fixture.expected("special"), "special");
    assert_within(TOLERANCE, &rows(|one| &one.concepts), fixture.expected("concepts"), "concepts");
    let refused = fixture.expected("refused");
    for row in 0..refused.size()[0] {
        let shift = -1.0 + 0.1 * row as f32;
        for (idx, one) in scores.iter().enumerate() {
            let shifted = |scores: &[f32]| scores.iter().map(|score| score - shift).collect();
            let shifted =
                SafetyScores { special: shifted(&one.special), concepts: shifted(&one.concepts) };
            let expected = refused.int64_value(&[row, idx as i64]) != 0;
            assert_eq!(shifted.is_refused(), expected, "picture {idx} with {shift}");
        }
    }
}

#[test]
fn an_autoencoder_knows_its_scale() {
    let _guard = tch::no_grad_guard();
    let latents = Tensor::from_slice(&[1.0f32, -2.0]);
    for (name, scaled) in [("vae-sd", 0.18215), ("vae-flux", (1.0 - 0.1159) * 0.3611)] {
        let autoencoder = autoencoder(&fixture(name));
        let found = autoencoder.scaled(&latents);
        assert!((found.double_value(&[0]) - scaled).abs() < 1e-6, "{name}");
        assert_within(1e-6, &autoencoder.unscaled(&found), &latents, name);
    }
    let (sd, flux) = (autoencoder(&fixture("vae-sd")), autoencoder(&fixture("vae-flux")));
    assert_eq!((sd.factor(), sd.latent_channels(), sd.sample_size()), (4, 4, [16, 16]));
    assert_eq!((flux.factor(), flux.latent_channels()), (2, 6));
}

#[test]
fn pictures_that_are_too_large_are_worked_on_in_tiles_as_by_the_reference() {
    let _guard = tch::no_grad_guard();
    let step = Step::whole();
    for name in ["vae-tiled", "vae-tiled-plain"] {
        let fixture = fixture(name);
        let autoencoder = autoencoder(&fixture);
        let (pixels, latents) = (fixture.expected("pixels"), fixture.expected("latents"));
        assert!(autoencoder.tiles(latents).is_none());
        let whole = autoencoder.encode(pixels, &step).mean;
        assert_within(TOLERANCE, &whole, fixture.expected("whole_mean"), name);
        let whole = autoencoder.decode(latents, &step);
        assert_within(TOLERANCE, &whole, fixture.expected("whole_decoded"), name);

        autoencoder.bound_memory(autoencoder.working_bytes([40, 28]) - 1);
        let moments = autoencoder.encode(pixels, &step);
        assert_within(TOLERANCE, &moments.mean, fixture.expected("mean"), name);
        assert_within(TOLERANCE, &moments.std, fixture.expected("std"), name);
        autoencoder.bound_memory(0);
        let decoded = autoencoder.decode(latents, &step);
        assert_within(TOLERANCE, &decoded, fixture.expected("decoded"), name);
        // What is no larger than in training is never cut.
        let [height, width] = autoencoder.sample_size().map(|side| side / autoencoder.factor());
        let small = latents.narrow(2, 0, height).narrow(3, 0, width);
        assert!(autoencoder.tiles(&small).is_none(), "{name}");
    }
}

#[test]
fn tiles_take_a_part_of_the_memory() {
    let _guard = tch::no_grad_guard();
    let autoencoder = autoencoder(&fixture("vae-tiled"));
    let latents = Tensor::zeros([1, 4, 64, 64], (Kind::Float, Device::Cpu));
    let peak = |autoencoder: &AutoencoderKl| {
        let peak = Peak::start(Device::Cpu);
        let _ = autoencoder.decode(&latents, &Step::whole());
        peak.bytes()
    };
    let whole = peak(&autoencoder);
    autoencoder.bound_memory(0);
    let in_tiles = peak(&autoencoder);
    println!("{whole} bytes at once, {in_tiles} in tiles");
    assert!(whole > 3 * in_tiles, "{whole} bytes at once, {in_tiles} in tiles");
    // What is estimated is neither far too little nor far too much.
    let estimate = autoencoder.working_bytes([256, 256]);
    assert!((estimate / 2..estimate * 4).contains(&whole), "{whole} bytes, estimated {estimate}");
}

#[test]
fn an_autoencoder_that_overflows_in_half_types_is_float32() {
    let _guard = tch::no_grad_guard();
    for half in [Kind::Half, Kind::BFloat16] {
        for (name, kind) in [("vae-sd", Kind::Float), ("vae-flux", half)] {
            let fixture = fixture(name);
            let checkpoint = fixture.checkpoint(AutoencoderKl::RENAMES, half);
            let autoencoder = AutoencoderKl::load(fixture.config(), &checkpoint.root()).unwrap();
            assert_eq!(autoencoder.kind(), kind, "{name} in {half:?}");
            let latents = fixture.expected("latents").to_kind(half);
            let decoded = autoencoder.decode(&latents, &Step::whole());
            let moments = autoencoder.encode(fixture.expected("pixels"), &Step::whole());
            assert_eq!((decoded.kind(), moments.mean.kind()), (kind, kind), "{name}");
            // Only the weights and the latents were rounded.
            let tolerance = if half == Kind::Half { 0.01 } else { 0.08 };
            assert_within(tolerance, &decoded, fixture.expected("decoded"), name);
        }
    }
    // A config that says nothing says it, as the reference's default does.
    let says = |config: &str| serde_json::from_str(config).unwrap();
    assert!(needs_float32("AutoencoderKL", &says("{}")));
    assert!(!needs_float32("AutoencoderKL", &says(r#"{"force_upcast": false}"#)));
    assert!(!needs_float32("UNet2DConditionModel", &says("{}")));
}

/// Attention was named otherwise when most autoencoders and unconditional networks were published.
#[test]
fn old_names_of_attention_are_known() {
    let _guard = tch::no_grad_guard();
    let fixture = fixture("vae-sd");
    let old = [(".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value.")];
    let old = old.into_iter().chain([(".to_out.0.", ".proj_attn.")]);
    let old: Vec<_> = old.map(|(from, to)| Rename::Part { from, to }).collect();
    let mut checkpoint = fixture.checkpoint(&old, Kind::Float);
    assert!(checkpoint.names().any(|name| name.contains("proj_attn")));
    checkpoint.rename(AutoencoderKl::RENAMES);
    AutoencoderKl::load(fixture.config(), &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
}

#[test]
fn what_a_network_does_not_have_is_refused_by_its_field() {
    let _guard = tch::no_grad_guard();
    type Load = fn(&str, &Fixture) -> Result<(), LoadError>;
    let unet: Load = |config, fixture| {
        Unet2dCondition::load(config, &fixture.checkpoint(&[], Kind::Float).root()).map(drop)
    };
    let unet_2d: Load = |config, fixture| {
        Unet2d::load(config, &fixture.checkpoint(&[], Kind::Float).root()).map(drop)
    };
    let autoencoder: Load = |config, fixture| {
        AutoencoderKl::load(config, &fixture.checkpoint(&[], Kind::Float).root()).map(drop)
    };
    let clip: Load = |config, fixture| {
        ClipText::load(config, false, &fixture.checkpoint(ClipText::RENAMES, Kind::Float).root())
            .map(drop)
    };
    let text = |value: &str| serde_json::json!(value);
    for (load, name, field, value) in [
        (unet, "unet-sd1", "encoder_hid_dim_type", text("ip_image_proj")),
        (unet, "unet-sd1", "encoder_hid_dim", 8.into()),
        (unet, "unet-sd1", "dual_cross_attention", true.into()),
        (unet, "unet-sd1", "time_embedding_type", text("fourier")),
        (unet, "unet-sd1", "attention_type", text("gated")),
        (unet, "unet-sd1", "addition_embed_type", text("image")),
        (unet, "unet-sd1", "class_embed_type", text("novel")),
        (unet, "unet-sd1", "mid_block_type", text("UNetMidBlock2DSimpleCrossAttn")),
        (unet, "unet-sd1", "down_block_types", serde_json::json!(["DownBlock2D", "KDownBlock2D"])),
        (unet, "unet-sd1", "up_block_types", serde_json::json!(["UpBlock2D"])),
        (unet, "unet-sd1", "num_attention_heads", 2.into()),
        (unet, "unet-sd1", "attention_head_dim", 3.into()),
        (unet, "unet-sd1", "attention_head_dim", 0.into()),
        (unet, "unet-sd1", "norm_num_groups", 0.into()),
        (unet, "unet-sd1", "norm_num_groups", 5.into()),
        (unet, "unet-sd1", "block_out_channels", serde_json::json!([])),
        (unet, "unet-sd1", "layers_per_block", serde_json::json!([1, 2, 3])),
        (unet, "unet-sd1", "conv_in_kernel", 4.into()),
        (unet, "unet-sd1", "downsample_padding", (-1).into()),
        (unet, "unet-sd1", "resnet_time_scale_shift", text("ada_group")),
        (unet, "unet-segmind", "reverse_transformer_layers_per_block", serde_json::Value::Null),
        (unet, "unet-sdxl", "addition_time_embed_dim", serde_json::Value::Null),
        (unet_2d, "unet2d-ddpm", "time_embedding_type", text("fourier")),
        (unet_2d, "unet2d-ddpm", "downsample_type", text("resnet")),
        (
            unet_2d,
            "unet2d-ddpm",
            "down_block_types",
            serde_json::json!(["SkipDownBlock2D", "DownBlock2D"]),
        ),
        (unet_2d, "unet2d-ddpm", "attention_head_dim", 5.into()),
        (unet_2d, "unet2d-ddpm", "class_embed_type", text("timestep")),
        (autoencoder, "vae-sd", "down_block_types", serde_json::json!(["AttnDownEncoderBlock2D"])),
        (autoencoder, "vae-sd", "latents_mean", serde_json::json!([0.5, 0.5, 0.5, 0.5])),
        (autoencoder, "vae-sd", "scaling_factor", 0.0.into()),
        (autoencoder, "vae-sd", "norm_num_groups", 3.into()),
        (clip, "clip-old", "num_attention_heads", 5.into()),
        (clip, "clip-old", "num_hidden_layers", 0.into()),
    ] {
        let fixture = fixture(name);
        let mut config: serde_json::Value = serde_json::from_str(fixture.config()).unwrap();
        config[field] = value.clone();
        let refused = load(&config.to_string(), &fixture);
        let Err(LoadError::UnsupportedValue { field: named, .. }) = refused else {
            panic!("{name} with {field} = {value}: {:?}", refused.err());
        };
        assert_eq!(named, field, "{value}");
    }
}
