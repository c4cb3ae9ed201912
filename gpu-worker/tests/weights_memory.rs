//! What loading costs and gives back, and what happens when a mapped file is truncated. A binary of its own: its resident
//! memory is measured, so nothing else may run in it.
#![allow(clippy::unwrap_used, reason = "tests may, also in their functions")]

use std::{
    env, fs,
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use gpu_worker::{
    memory::{allocator, process::Resident, sigbus},
    weights::{Access, Checkpoint, OpenOptions},
};
use tch::{Device, Kind};

const CHILD: &str = "ANYMODEL_TEST_CHILD_FILE";
const MEBIBYTE: u64 = 1 << 20;

/// A sparse file of tensors of 2.5 MB each, zeros: only page faults and copies cost something.
fn write_checkpoint(path: &Path, dtype: &str, element: u64, bytes: u64) -> u64 {
    let each = 2_500_000 / element * element;
    let n_tensors = bytes / each;
    let tensors: Vec<String> = (0..n_tensors)
        .map(|i| {
            let (begin, end) = (i * each, (i + 1) * each);
            let elements = each / element;
            format!(r#""t{i}":{{"dtype":"{dtype}","shape":[{elements}],"data_offsets":[{begin},{end}]}}"#)
        })
        .collect();
    let mut header = format!("{{{}}}", tensors.join(","));
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    // Written and not only set, so that the page cache holds it.
    let block = vec![0; MEBIBYTE as usize];
    for begin in (0..n_tensors * each).step_by(block.len()) {
        let count = MEBIBYTE.min(n_tensors * each - begin);
        file.write_all(&block[..count as usize]).unwrap();
    }
    n_tensors * each
}

fn open(file: &Path, kind: Kind, access: Access) -> Checkpoint {
    let options = OpenOptions { device: Device::Cpu, kind, access, keeps_matrices: false };
    Checkpoint::open(&[file.to_owned()], &options, &|_| ControlFlow::Continue(())).unwrap()
}

fn anonymous_mebibytes() -> u64 {
    Resident::read().unwrap().anonymous / MEBIBYTE
}

/// One test: the second part measures the whole process.
#[test]
fn truncation_is_told_and_memory_comes_back() {
    if let Some(file) = env::var_os(CHILD) {
        return read_a_truncated_map(&PathBuf::from(file));
    }
    a_truncated_map_ends_the_process_with_a_clear_line_and_its_own_status();
    dropping_a_checkpoint_gives_its_memory_back();
}

fn a_truncated_map_ends_the_process_with_a_clear_line_and_its_own_status() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    write_checkpoint(&file, "F32", 4, 10_000_000);
    let output = Command::new(env::current_exe().unwrap())
        .args(["truncation_is_told_and_memory_comes_back", "--exact", "--nocapture"])
        .env(CHILD, &file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(sigbus::EXIT_STATUS), "{text}");
    assert!(text.contains("anymodel: SIGBUS: a mapped checkpoint file was truncated"), "{text}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("the sum is"));
}

/// The child's part.
fn read_a_truncated_map(file: &Path) {
    sigbus::install().unwrap();
    let checkpoint = open(file, Kind::Float, Access::Map);
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(4096).unwrap();
    // Prefaulting notices without dying.
    checkpoint.prefault();
    let tensor = checkpoint.root().get("t1", &[625_000]).unwrap();
    println!("the sum is {:?}", tensor.sum(Kind::Float));
}

fn dropping_a_checkpoint_gives_its_memory_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.safetensors");
    let stored = write_checkpoint(&file, "BF16", 2, 200_000_000) / MEBIBYTE;
    // libtorch starts its threads and tables.
    drop(open(&file, Kind::Float, Access::Map));
    let before = anonymous_mebibytes();
    let cases = [
        (Kind::Float, Access::Map, 2 * stored),
        (Kind::Float, Access::Read, 2 * stored),
        (Kind::BFloat16, Access::Read, stored),
        (Kind::BFloat16, Access::Map, 0),
    ];
    for (kind, access, expected) in cases {
        let begin = Instant::now();
        let checkpoint = open(&file, kind, access);
        println!("{stored} MiB of bf16 to {kind:?}, {access:?}: {:?}", begin.elapsed());
        let loaded = anonymous_mebibytes().saturating_sub(before);
        assert!(
            loaded.abs_diff(expected) <= 24,
            "{kind:?} {access:?}: {loaded} MiB, expected {expected}"
        );
        drop(checkpoint);
        allocator::trim();
        let left = anonymous_mebibytes().saturating_sub(before);
        assert!(left <= 8, "{kind:?} {access:?}: {left} MiB are left");
    }
}
