//! Opening checkpoints: what is mapped, read, converted, shared, missing and refused.

mod parts;

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use super::{
    Access, Checkpoint, GAMMA_BETA, LoadProgress, OpenOptions, Part, Rename, WeightsError,
    header::parse_file,
    load::{Item, Tally, device::to_device},
    source,
};

fn options(kind: Kind, access: Access) -> OpenOptions {
    OpenOptions { device: Device::Cpu, kind, access, keeps_matrices: false }
}

fn go_on(_: LoadProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn open(files: &[PathBuf], kind: Kind, access: Access) -> Result<Checkpoint, WeightsError> {
    Checkpoint::open(files, &options(kind, access), &go_on)
}

/// Dtype, shape and bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn floats(shape: &[usize]) -> Stored {
    let values = (0..shape.iter().product::<usize>()).map(|i| i as f32 * 0.37 - 5.0);
    (Dtype::F32, shape.to_vec(), values.flat_map(f32::to_le_bytes).collect())
}

fn write(path: &Path, tensors: &[(&str, Stored)]) -> PathBuf {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    path.to_owned()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

#[test]
fn a_tensor_of_the_wanted_kind_is_the_map_and_writing_to_it_leaves_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("m.safetensors"), &[("w", floats(&[64, 64]))]);
    let before = fs::read(&file).unwrap();
    let checkpoint = open(std::slice::from_ref(&file), Kind::Float, Access::Map).unwrap();
    assert_eq!(checkpoint.mapped_bytes(), 64 * 64 * 4);
    checkpoint.prefault();
    let mut tensor = checkpoint.root().get("w", &[64, 64]).unwrap();
    let expected: Vec<f32> = values(&tensor).iter().map(|value| value + 1.0).collect();
    drop(checkpoint);
    let _ = tensor.g_add_scalar_(1.0);
    assert_eq!(values(&tensor), expected);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_folder_that_is_read_may_change_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        write(&folder.path().join("m.safetensors"), &[("w", floats(&[1000])), ("v", floats(&[3]))]);
    let checkpoint = open(std::slice::from_ref(&file), Kind::Float, Access::Read).unwrap();
    fs::write(&file, b"").unwrap();
    assert_eq!(checkpoint.mapped_bytes(), 0);
    assert_eq!(values(&checkpoint.root().get("w", &[1000]).unwrap())[1], 0.37 - 5.0);
    assert_eq!(values(&checkpoint.root().get("v", &[3]).unwrap()), [-5.0, 0.37 - 5.0, 0.74 - 5.0]);
}

#[test]
fn converts_every_floating_dtype_as_libtorch_does_and_keeps_the_others() {
    let folder = tempfile::tempdir().unwrap();
    // Every 16-bit pattern that is not a NaN, and every byte.
    let patterns: Vec<u8> = (0..=u16::MAX)
        .filter(|bits| {
            half::bf16::from_bits(*bits).is_finite() && half::f16::from_bits(*bits).is_finite()
        })
        .flat_map(u16::to_le_bytes)
        .collect();
    let n = patterns.len() / 2;
    let bytes: Vec<u8> = (0..=255).collect();
    let file = write(
        &folder.path().join("m.safetensors"),
        &[
            ("bf16", (Dtype::BF16, vec![n], patterns.clone())),
            ("f16", (Dtype::F16, vec![n], patterns.clone())),
            ("f64", (Dtype::F64, vec![32], bytes.iter().map(|byte| byte & 0x3f).collect())),
            ("f8", (Dtype::F8_E4M3, vec![127], bytes[..127].to_vec())),
            ("bool", (Dtype::BOOL, vec![2, 2], vec![0, 1, 2, 255])),
            ("i64", (Dtype::I64, vec![1], 42i64.to_le_bytes().to_vec())),
            ("u8", (Dtype::U8, vec![256], bytes.clone())),
            ("scalar", (Dtype::F32, vec![], 1.5f32.to_le_bytes().to_vec())),
            ("empty", (Dtype::BF16, vec![0, 4], vec![])),
        ],
    );
    for access in [Access::Map, Access::Read] {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let checkpoint = open(std::slice::from_ref(&file), kind, access).unwrap();
            let root = checkpoint.root();
            for (name, stored) in [("bf16", Kind::BFloat16), ("f16", Kind::Half)] {
                let reference = Tensor::from_slice(&patterns).view_dtype(stored).to_kind(kind);
                let tensor = root.get(name, &[n as i64]).unwrap();
                assert_eq!(tensor.kind(), kind);
                assert!(tensor.equal(&reference), "{name} to {kind:?}, {access:?}");
            }
            let float8 =
                Tensor::from_slice(&bytes[..127]).view_dtype(Kind::Float8e4m3fn).to_kind(kind);
            assert!(root.get("f8", &[127]).unwrap().equal(&float8));
            assert_eq!(root.get("f64", &[32]).unwrap().kind(), kind);
            let flags = root.get("bool", &[2, 2]).unwrap();
            assert_eq!(flags.kind(), Kind::Bool);
            assert_eq!(values(&flags), [0.0, 1.0, 1.0, 1.0]);
            assert_eq!(root.get("i64", &[1]).unwrap().kind(), Kind::Int64);
            assert_eq!(root.get("i64", &[1]).unwrap().int64_value(&[0]), 42);
            assert_eq!(Vec::<u8>::try_from(root.get("u8", &[256]).unwrap()).unwrap(), bytes);
            assert_eq!(root.get("scalar", &[]).unwrap().double_value(&[]), 1.5);
            assert_eq!(root.get("empty", &[0, 4]).unwrap().size(), [0, 4]);
            assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
        }
    }
}

#[test]
fn a_tensor_longer_than_a_slice_is_converted_and_sent_whole() {
    let folder = tempfile::tempdir().unwrap();
    let n = (17 << 20) / 2;
    let stored: Vec<u8> = (0..n)
        .flat_map(|i| half::bf16::from_f32((i % 1013) as f32).to_bits().to_le_bytes())
        .collect();
    let reference = Tensor::from_slice(&stored).view_dtype(Kind::BFloat16);
    let file = write(
        &folder.path().join("m.safetensors"),
        &[("w", (Dtype::BF16, vec![n], stored)), ("v", floats(&[3, 5]))],
    );
    for access in [Access::Map, Access::Read] {
        let checkpoint = open(std::slice::from_ref(&file), Kind::Float, access).unwrap();
        let tensor = checkpoint.root().get("w", &[n as i64]).unwrap();
        assert!(tensor.equal(&reference.to_kind(Kind::Float)), "{access:?}");

        // The way to a device, with the CPU as the device: all but pinning and waiting.
        let sources = source::open_all(std::slice::from_ref(&file), access).unwrap();
        let infos = &sources[0].header.tensors;
        let items: Vec<_> = infos
            .iter()
            .map(|info| Item::new(&sources[0], info, Kind::Half, false).unwrap())
            .collect();
        let sent =
            to_device(&items, Device::Cpu, &mut Tally::start(&items, &go_on).unwrap()).unwrap();
        assert!(sent["w"].equal(&reference.to_kind(Kind::Half)), "{access:?}");
        assert_eq!((sent["v"].size(), sent["v"].kind()), (vec![3, 5], Kind::Half));
    }
}

#[test]
fn a_matrix_of_a_half_type_is_kept_where_the_rest_becomes_float32() {
    let folder = tempfile::tempdir().unwrap();
    for (dtype, half) in [(Dtype::BF16, Kind::BFloat16), (Dtype::F16, Kind::Half)] {
        let stored = |shape: &[usize]| {
            (dtype, shape.to_vec(), vec![0x3C; 2 * shape.iter().product::<usize>()])
        };
        let tensors =
            [("matrix", stored(&[6, 4])), ("row", stored(&[4])), ("own", stored(&[2, 4]))];
        let file = write(&folder.path().join("m.safetensors"), &tensors);
        for access in [Access::Map, Access::Read] {
            let options = OpenOptions { keeps_matrices: true, ..options(Kind::Float, access) };
            let files = std::slice::from_ref(&file);
            let checkpoint = Checkpoint::open(files, &options, &go_on).unwrap();
            let root = checkpoint.root();
            let matrix = root.matrix("matrix", &[6, 4]).unwrap();
            let others = [root.get("row", &[4]).unwrap(), root.get("own", &[2, 4]).unwrap()];
            assert_eq!(matrix.kind(), half, "{access:?}");
            assert!(others.iter().all(|other| other.kind() == Kind::Float), "{access:?}");
            let value = matrix.double_value(&[0, 0]);
            assert!(
                others.iter().all(|other| values(other).iter().all(|&x| f64::from(x) == value))
            );
            // One that a layer cannot use so is there twice.
            assert_eq!(checkpoint.bytes(), 24 * 2 + 4 * 4 + 8 * (2 + 4));
            let mapped = if access == Access::Map { (24 + 8) * 2 } else { 0 };
            assert_eq!(checkpoint.mapped_bytes(), mapped);
            assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
        }
    }
}

#[test]
fn an_unaligned_tensor_is_copied_and_equal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let (_, _, data) = floats(&[5]);
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
        "w":{"dtype":"F32","shape":[5],"data_offsets":[1,21]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.push(9);
    bytes.extend(&data);
    fs::write(&path, &bytes).unwrap();
    for kind in [Kind::Float, Kind::Double] {
        let checkpoint = open(std::slice::from_ref(&path), kind, Access::Map).unwrap();
        let tensor = checkpoint.root().get("w", &[5]).unwrap();
        assert_eq!(tensor.data_ptr() as usize % 8, 0);
        assert!(
            tensor.to_kind(Kind::Float).equal(&Tensor::from_slice(&data).view_dtype(Kind::Float))
        );
        assert_eq!(checkpoint.bytes(), 1 + 5 * kind.elt_size_in_bytes() as u64);
        assert_eq!(checkpoint.parameters(), 6);
    }
}

#[test]
fn every_missing_name_is_listed_at_once_and_what_nobody_asked_for_too() {
    let tensors = HashMap::from([
        ("encoder.0.weight".to_owned(), Tensor::ones([2, 3], (Kind::BFloat16, Device::Cpu))),
        ("old".to_owned(), Tensor::ones([1], (Kind::BFloat16, Device::Cpu))),
    ]);
    let checkpoint = Checkpoint::from_tensors(tensors);
    let layer = checkpoint.root().at("encoder").at(0);
    assert_eq!((layer.kind(), layer.device()), (Kind::BFloat16, Device::Cpu));
    drop(layer.get("weight", &[2, 3]).unwrap());
    assert_eq!(checkpoint.finish().unwrap().0, ["old"]);

    assert!(!layer.has("bias") && layer.has("weight"));
    assert_eq!((layer.shape_of("weight"), layer.shape_of("bias")), (Some(vec![2, 3]), None));
    let placeholder = layer.get("bias", &[1 << 20, 1 << 20]).unwrap();
    assert_eq!((placeholder.size(), placeholder.kind()), (vec![1 << 20, 1 << 20], Kind::BFloat16));
    drop(layer.at("deeper").get("w", &[]).unwrap());
    let message = checkpoint.finish().unwrap_err().to_string();
    assert_eq!(
        message,
        "2 tensors are missing from the checkpoint: encoder.0.bias, encoder.0.deeper.w"
    );
}

#[test]
fn a_wrong_shape_is_an_error_at_once() {
    let tensors =
        HashMap::from([("w".to_owned(), Tensor::ones([2, 3], (Kind::Float, Device::Cpu)))]);
    let message =
        Checkpoint::from_tensors(tensors).root().get("w", &[3, 2]).unwrap_err().to_string();
    assert_eq!(message, "tensor w has shape [2, 3], expected [3, 2]");
}

#[test]
fn tied_weights_share_one_storage() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("m.safetensors"), &[("w", floats(&[4]))]);
    for (kind, access) in
        [(Kind::Float, Access::Map), (Kind::Float, Access::Read), (Kind::Half, Access::Map)]
    {
        let checkpoint = open(std::slice::from_ref(&file), kind, access).unwrap();
        let (embedding, mut head) =
            (checkpoint.root().get("w", &[4]).unwrap(), checkpoint.root().get("w", &[4]).unwrap());
        assert_eq!(embedding.data_ptr(), head.data_ptr());
        let _ = head.fill_(3.0);
        assert_eq!(values(&embedding), [3.0; 4]);
    }
}

#[test]
fn old_spellings_are_renamed_without_overwriting() {
    let renamed = |names: &[&str], rules: &[Rename]| {
        let tensor = || Tensor::zeros([1], (Kind::Float, Device::Cpu));
        let mut checkpoint = Checkpoint::from_tensors(
            names.iter().map(|name| ((*name).to_owned(), tensor())).collect(),
        );
        checkpoint.rename(rules);
        let mut names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        names.sort();
        names
    };
    let spelled = renamed(&["a.LayerNorm.gamma", "a.LayerNorm.beta", "gamma.x"], GAMMA_BETA);
    assert_eq!(spelled, ["a.LayerNorm.bias", "a.LayerNorm.weight", "gamma.x"]);
    assert_eq!(renamed(&["a.gamma", "a.weight"], GAMMA_BETA), ["a.gamma", "a.weight"]);
    assert_eq!(renamed(&["model.a", "b"], &[Rename::StripPrefix("model.")]), ["a", "b"]);
    let add = [Rename::AddPrefix { prefix: "bert.", except: &["cls."] }];
    assert_eq!(renamed(&["encoder.w", "cls.w"], &add), ["bert.encoder.w", "cls.w"]);
    assert_eq!(renamed(&["bert.w", "other"], &add), ["bert.w", "other"]);
    let part = [Rename::Part { from: "attn.c_", to: "attention." }];
    assert_eq!(renamed(&["h.0.attn.c_q"], &part), ["h.0.attention.q"]);
}

#[test]
fn shards_are_found_through_their_index() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("m-1.safetensors"), &[("a", floats(&[2]))]);
    write(&folder.path().join("m-2.safetensors"), &[("b", floats(&[3]))]);
    let index = folder.path().join("m.safetensors.index.json");
    let write_index = |map: BTreeMap<&str, &str>| {
        fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    };
    let open_index = || open(std::slice::from_ref(&index), Kind::Float, Access::Map);

    write_index([("a", "m-1.safetensors"), ("b", "m-2.safetensors")].into());
    let mut names: Vec<String> = open_index().unwrap().names().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["a", "b"]);

    write_index([("a", "m-1.safetensors"), ("b", "m-1.safetensors")].into());
    assert!(matches!(open_index(), Err(WeightsError::NotInShard { tensor, file })
        if tensor == "b" && file.ends_with("m-1.safetensors")));

    write_index([("a", "m-3.safetensors")].into());
    assert!(
        matches!(open_index(), Err(WeightsError::Read { file, .. }) if file.ends_with("m-3.safetensors"))
    );

    write(&folder.path().join("m-2.safetensors"), &[("a", floats(&[3]))]);
    let both = [folder.path().join("m-1.safetensors"), folder.path().join("m-2.safetensors")];
    let error = open(&both, Kind::Float, Access::Map).map(drop).unwrap_err();
    assert!(
        matches!(&error, WeightsError::DuplicateAcrossFiles { tensor, .. } if tensor == "a"),
        "{error}"
    );
}

#[test]
fn errors_name_the_file_and_the_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    let message = |files: &[PathBuf]| {
        open(files, Kind::Float, Access::Map).map(drop).unwrap_err().to_string()
    };
    assert_eq!(message(&[]), "no checkpoint file was given");
    assert!(message(std::slice::from_ref(&file)).ends_with("m.safetensors cannot be read"));

    write(&file, &[("w", floats(&[4]))]);
    let complete = fs::read(&file).unwrap();
    fs::write(&file, &complete[..complete.len() - 1]).unwrap();
    let cut_off = message(std::slice::from_ref(&file));
    assert!(
        cut_off.contains("m.safetensors is not a valid safetensors file: the file is cut off"),
        "{cut_off}"
    );

    for (dtype, bits) in [(Dtype::F8_E8M0, 8), (Dtype::F4, 4), (Dtype::U32, 32), (Dtype::U64, 64)] {
        write(&file, &[("w", (dtype, vec![8], vec![0; bits]))]);
        let unsupported = message(std::slice::from_ref(&file));
        assert!(
            unsupported.contains(&format!("tensor w in {} has dtype {dtype}", file.display())),
            "{unsupported}"
        );
    }
}

#[test]
fn a_break_cancels_and_progress_ends_with_everything_done() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        write(&folder.path().join("m.safetensors"), &[("a", floats(&[10])), ("b", floats(&[20]))]);
    for kind in [Kind::Float, Kind::Half] {
        let last = Cell::new(LoadProgress::default());
        let keep = |progress| {
            last.set(progress);
            ControlFlow::Continue(())
        };
        Checkpoint::open(std::slice::from_ref(&file), &options(kind, Access::Map), &keep).unwrap();
        let done =
            LoadProgress { bytes_done: 120, bytes_total: 120, tensors_done: 2, tensors_total: 2 };
        assert_eq!(last.get(), done);

        let stop = |progress: LoadProgress| {
            if progress.bytes_done > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let cancelled =
            Checkpoint::open(std::slice::from_ref(&file), &options(kind, Access::Read), &stop);
        assert!(matches!(cancelled, Err(WeightsError::Cancelled)));
    }
}

#[test]
fn what_is_written_here_is_what_the_header_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder.path().join("m.safetensors"), &[("w", floats(&[2, 3]))]);
    assert_eq!(parse_file(&fs::read(file).unwrap()).unwrap().tensors[0].shape, [2, 3]);
}
