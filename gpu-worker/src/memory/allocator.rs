//! The process's allocator: jemalloc, for libtorch's `malloc` as for our own.
//!
//! Tensors between two layers are megabytes that live for microseconds. glibc either maps and clears each of them
//! anew or, with a higher threshold, keeps what an unloaded model freed. jemalloc keeps free pages for ten seconds and
//! then gives them back, at once when asked; and it counts, which makes the memory of a step measurable.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
};

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

#[repr(transparent)]
struct Settings(*const c_char);

// SAFETY: points at a constant.
unsafe impl Sync for Settings {}

/// jemalloc reads this before `main`. Free pages go back after 10 s by a thread of its own; huge blocks, too, are kept
/// for as long instead of going back at once. Every arena keeps what is left over of its own: a few do for all threads,
/// where four for every core would be the default.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: Settings = Settings(
    c"narenas:4,background_thread:true,max_background_threads:1,dirty_decay_ms:10000,muzzy_decay_ms:0,oversize_threshold:0"
        .as_ptr(),
);

/// `arena.<ALL>.purge`: all arenas, `MALLCTL_ARENAS_ALL` of jemalloc.
const PURGE: &CStr = c"arena.4096.purge";

/// Gives free pages back to the system, now. `false`: jemalloc refused.
pub fn trim() -> bool {
    control(PURGE).is_ok()
}

/// Bytes that the whole process has allocated and not freed, without jemalloc's own.
pub fn allocated() -> Option<u64> {
    let mut epoch = 1_u64;
    // The figures are those of the last epoch that was asked for.
    write(c"epoch", &mut epoch).ok()?;
    read::<usize>(c"stats.allocated").map(|bytes| bytes as u64)
}

/// Begins a new peak for the calling thread.
pub fn reset_peak() {
    if let Err(status) = control(c"thread.peak.reset") {
        tracing::debug!(status, "jemalloc counts no peak");
    }
}

/// Bytes that the calling thread had allocated on top of what it had at [`reset_peak`], at their highest. What other
/// threads allocate for it is not counted: libtorch allocates results on the calling thread.
pub fn peak() -> Option<u64> {
    read::<u64>(c"thread.peak.read")
}

fn control(name: &CStr) -> Result<(), c_int> {
    // SAFETY: a name that takes and gives nothing.
    let status = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            0,
        )
    };
    if status == 0 { Ok(()) } else { Err(status) }
}

fn write<T: Copy>(name: &CStr, value: &mut T) -> Result<(), c_int> {
    // SAFETY: jemalloc checks the length and copies that many bytes out of `value`.
    let status = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::from_mut(value).cast::<c_void>(),
            size_of::<T>(),
        )
    };
    if status == 0 { Ok(()) } else { Err(status) }
}

fn read<T: Copy + Default>(name: &CStr) -> Option<T> {
    let (mut value, mut length) = (T::default(), size_of::<T>());
    // SAFETY: jemalloc checks the length and writes that many bytes of a plain integer.
    let status = unsafe {
        tikv_jemalloc_sys::mallctl(
            name.as_ptr(),
            ptr::from_mut(&mut value).cast::<c_void>(),
            &raw mut length,
            ptr::null_mut(),
            0,
        )
    };
    (status == 0 && length == size_of::<T>()).then_some(value)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    const MEBIBYTE: u64 = 1 << 20;

    #[test]
    fn the_peak_of_a_thread_counts_what_libtorch_allocates_in_it() {
        let (first, second) = std::thread::spawn(|| {
            let kept = Tensor::zeros([MEBIBYTE as i64], (Kind::Float, Device::Cpu));
            reset_peak();
            let step = |n: i64| drop(Tensor::zeros([n], (Kind::Float, Device::Cpu)));
            step(8 * MEBIBYTE as i64);
            step(2 * MEBIBYTE as i64);
            let first = peak().unwrap();
            reset_peak();
            step(MEBIBYTE as i64);
            drop(kept);
            (first, peak().unwrap())
        })
        .join()
        .unwrap();
        assert!((32 * MEBIBYTE..34 * MEBIBYTE).contains(&first), "{first}");
        assert!((4 * MEBIBYTE..6 * MEBIBYTE).contains(&second), "{second}");
    }

    #[test]
    fn the_process_counts_and_gives_back() {
        let before = allocated().unwrap();
        // Much more than other tests of this process allocate and give back meanwhile; nobody writes to it.
        let block = Tensor::empty([1024 * MEBIBYTE as i64], (Kind::Uint8, Device::Cpu));
        assert!(allocated().unwrap() > before + 512 * MEBIBYTE);
        drop(block);
        assert!(trim());
    }
}
