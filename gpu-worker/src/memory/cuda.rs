//! Loads libtorch's CUDA library where there is one: the same binary runs on CPU and on GPUs.
//!
//! The binary itself needs only `libtorch_cpu` and `libc10`; see `tests/linkage.rs`.
#![allow(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

const CPU_LIBRARY: &str = "libtorch_cpu.so";
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// What [`preload`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preload {
    /// CUDA's kernels are registered.
    Loaded(PathBuf),
    /// There is no such library: this worker has a CPU only.
    Absent,
}

#[derive(Debug, thiserror::Error)]
#[error("{} is there but cannot be loaded", library.display())]
pub struct PreloadError {
    library: PathBuf,
    #[source]
    source: libloading::Error,
}

/// Must be the first statement of `main`: one earlier question about CUDA makes libtorch remember that there is none.
pub fn preload() -> Result<Preload, PreloadError> {
    let found = cpu_library_folder()
        .into_iter()
        .flat_map(|folder| candidates(&folder))
        .find(|path| path.exists());
    match found {
        Some(library) => match load(&library) {
            Ok(()) => Ok(Preload::Loaded(library)),
            Err(source) => Err(PreloadError { library, source }),
        },
        None => match load(Path::new(CUDA_LIBRARY)) {
            Ok(()) => Ok(Preload::Loaded(PathBuf::from(CUDA_LIBRARY))),
            Err(source) if is_absent(&source) => Ok(Preload::Absent),
            Err(source) => Err(PreloadError { library: PathBuf::from(CUDA_LIBRARY), source }),
        },
    }
}

/// Next to the CPU library, as libtorch ships it, or in the folder next to that one.
fn candidates(cpu_folder: &Path) -> [PathBuf; 2] {
    [cpu_folder.join(CUDA_LIBRARY), cpu_folder.join("../cuda").join(CUDA_LIBRARY)]
}

/// The folder of the `libtorch_cpu.so` that this process runs with.
fn cpu_library_folder() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let library = maps.lines().find_map(|line| {
        let path = Path::new(&line[line.find('/')?..]);
        path.ends_with(CPU_LIBRARY).then(|| path.to_owned())
    })?;
    library.parent().map(Path::to_owned)
}

/// Loads a library for the rest of the process, with its symbols visible to all.
fn load(library: &Path) -> Result<(), libloading::Error> {
    // SAFETY: the library's initialisers register kernels, as when the loader does it at start; no other thread runs yet.
    let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL)? };
    // Never unloaded: libtorch keeps pointers into it.
    let _handle = library.into_raw();
    Ok(())
}

/// The loader's own search did not find it, as opposed to: found it and could not load it or what it needs.
fn is_absent(error: &libloading::Error) -> bool {
    let text =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    text.starts_with(&format!("{CUDA_LIBRARY}: cannot open shared object file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_folder_of_the_libtorch_that_runs() {
        // Asks libtorch for something, so that it is linked.
        assert!(tch::get_num_threads() > 0);
        let folder = cpu_library_folder().unwrap();
        assert!(folder.join(CPU_LIBRARY).exists(), "{}", folder.display());
    }

    #[test]
    fn a_missing_library_is_absent_and_a_broken_one_is_an_error() {
        assert!(is_absent(&load(Path::new(CUDA_LIBRARY)).unwrap_err()));
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join(CUDA_LIBRARY);
        fs::write(&broken, "not a library").unwrap();
        let error = load(&broken).unwrap_err();
        assert!(!is_absent(&error), "{error:?}");
    }
}
