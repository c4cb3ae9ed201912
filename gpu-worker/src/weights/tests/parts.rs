//! Checkpoints of several parts, each in a folder and, where it has to be, in a kind of its own.

use super::*;

#[test]
fn parts_have_names_of_their_own_and_share_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let part =
        |name: &str, files: Vec<PathBuf>| Part { name: name.to_owned(), files, in_float32: false };
    let one = write(&at("a.safetensors"), &[("w", floats(&[2])), ("v", floats(&[3]))]);
    let two = write(&at("b.safetensors"), &[("w", floats(&[4]))]);
    for access in [Access::Map, Access::Read] {
        let parts = [part("unet", vec![one.clone()]), part("vae", vec![two.clone()])];
        let checkpoint =
            Checkpoint::open_parts(&parts, &options(Kind::Float, access), &go_on).unwrap();
        let vae = checkpoint.root().at("vae").get("w", &[4]).unwrap();
        assert_eq!(values(&vae), values(&checkpoint.root().get("vae.w", &[4]).unwrap()));
        assert_eq!(checkpoint.root().get("unet.w", &[2]).unwrap().size(), [2]);
        assert_eq!(checkpoint.finish().unwrap().0, ["unet.v"]);
    }
    let same = [part("", vec![one.clone()]), part("", vec![two])];
    let error = Checkpoint::open_parts(&same, &options(Kind::Float, Access::Read), &go_on);
    assert!(matches!(error, Err(WeightsError::DuplicateAcrossFiles { .. })));
    let none = [part("unet", vec![one]), part("vae", Vec::new())];
    let error = Checkpoint::open_parts(&none, &options(Kind::Float, Access::Read), &go_on);
    assert!(matches!(error, Err(WeightsError::NoFiles)));
}

#[test]
fn a_part_may_be_float32_where_the_others_are_a_half_type() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = write(&at("a.safetensors"), &[("w", floats(&[2]))]);
    let two = write(&at("b.safetensors"), &[("w", floats(&[2])), ("v", floats(&[3]))]);
    let part = |name: &str, file: &PathBuf, in_float32| Part {
        name: name.to_owned(),
        files: vec![file.clone()],
        in_float32,
    };
    for access in [Access::Map, Access::Read] {
        for kind in [Kind::Half, Kind::BFloat16] {
            let parts = [part("unet", &one, false), part("vae", &two, true)];
            let checkpoint =
                Checkpoint::open_parts(&parts, &options(kind, access), &go_on).unwrap();
            let root = checkpoint.root();
            assert_eq!((root.kind(), root.in_float32().kind()), (kind, Kind::Float));
            assert_eq!(root.get("unet.w", &[2]).unwrap().kind(), kind);
            let wide = root.in_float32().at("vae");
            let tensor = wide.get("w", &[2]).unwrap();
            assert_eq!(tensor.kind(), Kind::Float);
            // It is the tensor that was loaded, and no copy of it.
            assert_eq!(tensor.data_ptr(), root.get("vae.w", &[2]).unwrap().data_ptr());
            // One that was loaded otherwise is converted.
            assert_eq!(root.in_float32().get("unet.w", &[2]).unwrap().kind(), Kind::Float);
            assert_eq!(checkpoint.bytes(), 2 * 2 + 5 * 4);
        }
        let parts = [part("unet", &one, false), part("vae", &two, true)];
        let checkpoint =
            Checkpoint::open_parts(&parts, &options(Kind::Double, access), &go_on).unwrap();
        assert_eq!(checkpoint.root().in_float32().get("vae.v", &[3]).unwrap().kind(), Kind::Double);
    }
}
