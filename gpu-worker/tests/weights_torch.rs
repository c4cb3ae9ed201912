//! Checkpoints that PyTorch wrote, of both formats, against the same tensors as safetensors; and files that mean harm.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use gpu_worker::weights::{Access, Checkpoint, OpenOptions, WeightsError};
use tch::{Device, Kind};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickles").join(name)
}

fn open(files: &[PathBuf], kind: Kind, access: Access) -> Result<Checkpoint, WeightsError> {
    let options = OpenOptions { device: Device::Cpu, kind, access, keeps_matrices: false };
    Checkpoint::open(files, &options, &|_| ControlFlow::Continue(()))
}

/// Panics where the two differ in a name, a shape, a type or a bit.
fn assert_same(found: &Checkpoint, expected: &Checkpoint, what: &str) {
    let sorted = |checkpoint: &Checkpoint| {
        let mut names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(found), sorted(expected), "{what}");
    for name in sorted(expected) {
        let shape = expected.root().shape_of(&name).unwrap();
        let expected = expected.root().get(&name, &shape).unwrap();
        let found = found.root().get(&name, &shape).unwrap();
        assert_eq!(found.kind(), expected.kind(), "{what}: {name}");
        assert!(found.is_contiguous(), "{what}: {name}");
        let equal = found.numel() == 0 || found.equal(&expected);
        assert!(equal, "{what}: {name}: {found:?} for {expected:?}");
    }
}

#[test]
fn what_torch_save_wrote_is_what_is_loaded() {
    for (file, expected) in [
        ("zip.bin", "expected.safetensors"),
        ("legacy.bin", "expected.safetensors"),
        ("nested.bin", "expected.safetensors"),
        ("more.bin", "more_expected.safetensors"),
        ("more_legacy.bin", "more_expected.safetensors"),
        ("more_protocol_4.bin", "more_expected.safetensors"),
    ] {
        for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
            for access in [Access::Map, Access::Read] {
                let found = open(&[fixture(file)], kind, access).unwrap();
                let expected = open(&[fixture(expected)], kind, access).unwrap();
                assert_same(&found, &expected, &format!("{file} as {kind:?}, {access:?}"));
            }
        }
    }
}

#[test]
fn the_map_itself_is_used_and_tied_weights_are_there_once() {
    let checkpoint = open(&[fixture("zip.bin")], Kind::Float, Access::Map).unwrap();
    // Everything but the half, bfloat16 and float64 tensors, the mask and the transposed one, which is put in order.
    assert!(checkpoint.mapped_bytes() >= 48 + 56 + 12, "{}", checkpoint.mapped_bytes());
    let pointer = |name: &str| checkpoint.root().get(name, &[3, 4]).unwrap().data_ptr();
    assert_eq!(pointer("embeddings.weight"), pointer("decoder.weight"));
}

#[test]
fn shards_are_those_of_the_index() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [("zip.bin", "a.bin"), ("more_legacy.bin", "b.bin")] {
        fs::copy(fixture(from), folder.path().join(to)).unwrap();
    }
    let files = |names: &[&str]| names.iter().map(|name| folder.path().join(name)).collect();
    let both: Vec<PathBuf> = files(&["a.bin", "b.bin"]);
    let checkpoint = open(&both, Kind::Float, Access::Read).unwrap();
    assert_eq!(checkpoint.names().count(), 20);
    let index = folder.path().join("pytorch_model.bin.index.json");
    fs::write(&index, r#"{"weight_map": {"scalar": "a.bin", "permuted": "b.bin"}}"#).unwrap();
    let by_index = open(std::slice::from_ref(&index), Kind::Float, Access::Read).unwrap();
    assert_same(&by_index, &checkpoint, "by the index");
    fs::write(&index, r#"{"weight_map": {"scalar": "b.bin"}}"#).unwrap();
    assert!(matches!(
        open(&[index], Kind::Float, Access::Read).err().unwrap(),
        WeightsError::NotInShard { .. }
    ));
    fs::copy(fixture("legacy.bin"), folder.path().join("b.bin")).unwrap();
    let error = open(&both, Kind::Float, Access::Read).err().unwrap();
    assert!(matches!(error, WeightsError::DuplicateAcrossFiles { .. }), "{error}");
}

fn refusal(file: &Path) -> String {
    for access in [Access::Map, Access::Read] {
        if let Err(error) = open(&[file.to_owned()], Kind::Float, access) {
            return error.to_string();
        }
    }
    panic!("{} was loaded", file.display())
}

#[test]
fn what_would_run_is_refused_by_name_and_nothing_runs() {
    for (file, expected) in [
        ("harm_system.bin", "posix.system"),
        ("harm_system_legacy.bin", "posix.system"),
        ("harm_replaced.bin", "posix.system"),
        ("harm_eval.bin", "__builtin__.eval"),
        ("harm_eval_legacy.bin", "__builtin__.eval"),
        ("harm_nested.bin", "__builtin__.getattr"),
        ("harm_nested_legacy.bin", "__builtin__.getattr"),
        ("harm_compressed.bin", "compressed"),
    ] {
        let refusal = refusal(&fixture(file));
        assert!(refusal.contains(expected), "{file}: {refusal}");
        assert!(refusal.contains(file), "{file}: {refusal}");
    }
    assert!(!Path::new("/tmp/a-checkpoint-ran").exists());
}

#[test]
fn names_that_lead_elsewhere_are_only_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.bin");
    fs::copy(fixture("harm_escaping.bin"), &file).unwrap();
    let refusal = refusal(&file);
    assert!(refusal.contains("data.pkl"), "{refusal}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn files_that_end_too_early_or_lie_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.bin");
    for name in ["zip.bin", "legacy.bin", "more_legacy.bin"] {
        let whole = fs::read(fixture(name)).unwrap();
        for length in (0..whole.len()).step_by(7) {
            fs::write(&file, &whole[..length]).unwrap();
            assert!(
                open(std::slice::from_ref(&file), Kind::Float, Access::Read).is_err(),
                "{name} at {length}"
            );
        }
        // Bytes are made to lie, one at a time: an error, or tensors of the file's own size.
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] = [0x00, 0x7F, 0xFF][at % 2 + at % 5 / 4];
            fs::write(&file, &changed).unwrap();
            if let Ok(checkpoint) = open(std::slice::from_ref(&file), Kind::Float, Access::Read) {
                assert!(checkpoint.bytes() < 64 << 20, "{name}, {at}");
            }
        }
    }
    fs::write(&file, b"not a checkpoint at all, but long enough to look").unwrap();
    assert!(refusal(&file).contains("no checkpoint that PyTorch wrote"));
    fs::write(&file, b"").unwrap();
    assert!(!refusal(&file).is_empty());
}
