//! Compiles the libtorch shim, and lets binaries and tests find libtorch where `LIBTORCH` was at build time.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src/memory/registry.cpp");
    println!("cargo:rerun-if-changed=src/memory/shim.cpp");
    let libtorch = PathBuf::from(env::var("LIBTORCH").expect("LIBTORCH names the libtorch folder"));
    let libtorch = fs::canonicalize(&libtorch).unwrap_or_else(|_| {
        panic!("{} is missing: run `python3 deploy/libtorch.py`", libtorch.display())
    });

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("src/memory/registry.cpp")
        .file("src/memory/shim.cpp")
        .include(libtorch.join("include"))
        .include(libtorch.join("include/torch/csrc/api/include"))
        .warnings(false)
        .compile("libtorch_shim");

    println!("cargo:rustc-link-search=native={}", libtorch.join("lib").display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", libtorch.join("lib").display());
}
