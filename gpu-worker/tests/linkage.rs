//! The worker must start on machines without CUDA: its binary needs libtorch's CPU libraries and not the CUDA ones,
//! which it loads at run time (`memory::cuda`).
#![allow(clippy::unwrap_used, reason = "tests may, also in their functions")]

use std::{env, fs, path::Path};

use object::{
    Endianness, Object, ObjectSymbol,
    elf::{DT_NEEDED, FileHeader64},
    read::elf::{Dyn, FileHeader},
};

/// Names in the dynamic section of an ELF file that the loader has to find.
fn needed_libraries(binary: &Path) -> Vec<String> {
    let data = fs::read(binary).unwrap();
    let data = data.as_slice();
    let header = FileHeader64::<Endianness>::parse(data).unwrap();
    let endian = header.endian().unwrap();
    let sections = header.sections(endian, data).unwrap();
    let (entries, strings) =
        sections.dynamic(endian, data).unwrap().expect("a dynamically linked binary");
    let strings = sections.strings(endian, data, strings).unwrap();
    entries
        .iter()
        .filter(|entry| entry.tag32(endian) == Some(DT_NEEDED))
        .map(|entry| String::from_utf8(entry.string(endian, strings).unwrap().to_vec()).unwrap())
        .collect()
}

fn is_cuda(library: &str) -> bool {
    ["cuda", "cudart", "cublas", "cudnn", "nccl", "nvrtc"].iter().any(|part| library.contains(part))
}

#[test]
fn what_links_the_worker_needs_the_cpu_libraries_and_not_cuda() {
    // Reaches the shim and libtorch through the library, as the worker does.
    drop(gpu_worker::memory::shim::InferenceMode::enter().unwrap());
    assert!(tch::get_num_threads() > 0);
    let needed = needed_libraries(&env::current_exe().unwrap());
    for library in ["libtorch_cpu.so", "libc10.so"] {
        assert!(needed.iter().any(|name| name == library), "{library} is not in {needed:?}");
    }
    assert!(!needed.iter().any(|name| is_cuda(name)), "{needed:?}");
}

/// libtorch registers its kernels through functions of the program (`src/memory/registry.cpp`), which are found only
/// where the program exports them.
#[test]
fn kernels_that_never_run_are_left_out() {
    let (kept, left_out) = gpu_worker::memory::shim::registrations();
    println!("{kept} kernels, {left_out} left out");
    assert!(kept > 5000 && left_out > 1000, "{kept} kernels, {left_out} left out");
    let data = fs::read(env!("CARGO_BIN_EXE_gpu-worker")).unwrap();
    let binary = object::File::parse(data.as_slice()).unwrap();
    let exported = binary.dynamic_symbols().filter(|symbol| symbol.is_definition());
    let names: Vec<&str> = exported.filter_map(|symbol| symbol.name().ok()).collect();
    for function in ["Dispatcher12registerImpl", "registerOperator"] {
        assert!(names.iter().any(|name| name.contains(function)), "{function} is not in {names:?}");
    }
}

#[test]
fn the_binary_does_not_need_cuda() {
    let needed = needed_libraries(Path::new(env!("CARGO_BIN_EXE_gpu-worker")));
    assert!(!needed.iter().any(|name| is_cuda(name)), "{needed:?}");
}
