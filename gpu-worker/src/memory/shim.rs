//! Safe functions over `shim.cpp`: what tch does not bind.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::Arc,
};

use tch::{Kind, Tensor};

use super::region::Region;

#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// libtorch threw; only the first line of its text.
    #[error("{0}")]
    Torch(String),
    #[error(
        "{bytes} bytes at {offset} are not inside a region of {region} bytes, or not aligned for {kind:?}"
    )]
    OutOfRegion { offset: usize, bytes: usize, region: usize, kind: Kind },
    #[error("libtorch has no memory view of kind {0:?}")]
    Kind(Kind),
}

/// What libtorch's caching allocator and the driver say about one accelerator, in bytes and counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceMemory {
    pub allocated: i64,
    pub allocated_peak: i64,
    pub reserved: i64,
    pub reserved_peak: i64,
    pub out_of_memory: i64,
    pub retries: i64,
    pub device_free: u64,
    pub device_total: u64,
}

const DONE: c_int = 0;
const NO_ACCELERATOR: c_int = 1;

unsafe extern "C" {
    fn shim_last_error() -> *const c_char;
    fn shim_empty_cache() -> c_int;
    fn shim_memory(device: c_int, out: *mut DeviceMemory) -> c_int;
    fn shim_reset_peak(device: c_int) -> c_int;
    fn shim_synchronize(device: c_int) -> c_int;
    fn shim_use_stream(device: c_int, high_priority: bool) -> c_int;
    fn shim_finish_stream(device: c_int) -> c_int;
    fn shim_release_helpers();
    fn shim_team(
        body: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
        n_threads: c_uint,
    ) -> bool;
    fn shim_registrations(kept: *mut u64, left_out: *mut u64);
    fn shim_inference_mode_new() -> *mut c_void;
    fn shim_inference_mode_drop(guard: *mut c_void);
    fn shim_autocast_cuda_dtype(scalar_type: c_int) -> c_int;
    fn shim_from_blob(
        data: *mut c_void,
        dims: *const i64,
        n_dims: usize,
        scalar_type: c_int,
        owner: *mut c_void,
        drop: extern "C" fn(*mut c_void),
    ) -> *mut c_void;
    fn shim_generator_new(seed: u64) -> *mut c_void;
    fn shim_generator_drop(generator: *mut c_void);
    fn shim_randn(
        generator: *mut c_void,
        dims: *const i64,
        n_dims: usize,
        scalar_type: c_int,
    ) -> *mut c_void;
}

/// Turns off autograd and version counting on this thread until it is dropped, also by a panic.
pub struct InferenceMode {
    guard: NonNull<c_void>,
    /// The C++ guard restores thread-local state: it must be dropped where it was made.
    not_send: PhantomData<*const ()>,
}

impl InferenceMode {
    pub fn enter() -> Result<Self, ShimError> {
        // SAFETY: no arguments; answers null or a guard that we own.
        let guard = NonNull::new(unsafe { shim_inference_mode_new() }).ok_or_else(last_error)?;
        Ok(Self { guard, not_send: PhantomData })
    }
}

impl Drop for InferenceMode {
    fn drop(&mut self) {
        // SAFETY: made by `shim_inference_mode_new` on this thread, and dropped once.
        unsafe { shim_inference_mode_drop(self.guard.as_ptr()) }
    }
}

/// A source of random numbers that nobody else draws from: libtorch's on the CPU, which gives the same numbers for the
/// same seed everywhere.
pub struct Generator {
    generator: NonNull<c_void>,
}

impl Generator {
    pub fn seeded(seed: u64) -> Result<Self, ShimError> {
        // SAFETY: a plain integer; answers null or a generator that we own.
        let generator = NonNull::new(unsafe { shim_generator_new(seed) }).ok_or_else(last_error)?;
        Ok(Self { generator })
    }

    /// The next normally distributed numbers, on the CPU. What is drawn as one tensor is not what is drawn as two.
    pub fn randn(&mut self, shape: &[i64], kind: Kind) -> Result<Tensor, ShimError> {
        let scalar_type = scalar_type(kind)?;
        // SAFETY: the generator is alive, and nobody else draws meanwhile; libtorch copies the dimensions.
        let tensor = unsafe {
            shim_randn(self.generator.as_ptr(), shape.as_ptr(), shape.len(), scalar_type)
        };
        if tensor.is_null() {
            return Err(last_error());
        }
        // SAFETY: a new `at::Tensor` on the heap, which tch deletes.
        Ok(unsafe { Tensor::from_ptr(tensor.cast()) })
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: made by `shim_generator_new`, and dropped once.
        unsafe { shim_generator_drop(self.generator.as_ptr()) }
    }
}

/// Kernels that libtorch has registered, and those of kinds of tensors that never occur here, which were left out
/// (`registry.cpp`). Both 0: libtorch was not asked to leave anything out.
pub fn registrations() -> (u64, u64) {
    let (mut kept, mut left_out) = (0, 0);
    // SAFETY: both are written to, and outlive the call.
    unsafe { shim_registrations(&raw mut kept, &raw mut left_out) };
    (kept, left_out)
}

/// Gives the caching allocator's unused blocks back to the device. `false`: there is no accelerator.
pub fn empty_cache() -> Result<bool, ShimError> {
    // SAFETY: no arguments.
    accelerator(unsafe { shim_empty_cache() })
}

/// `None`: there is no accelerator.
pub fn device_memory(device: usize) -> Result<Option<DeviceMemory>, ShimError> {
    let mut memory = DeviceMemory::default();
    // SAFETY: `memory` has the layout of the C++ struct and outlives the call.
    let found = accelerator(unsafe { shim_memory(device as c_int, &raw mut memory) })?;
    Ok(found.then_some(memory))
}

/// Starts the peaks of [`device_memory`] anew. `false`: there is no accelerator.
pub fn reset_peak(device: usize) -> Result<bool, ShimError> {
    // SAFETY: a plain integer.
    accelerator(unsafe { shim_reset_peak(device as c_int) })
}

/// Waits for everything queued on a device. `false`: there is no accelerator.
pub fn synchronize(device: usize) -> Result<bool, ShimError> {
    // SAFETY: a plain integer.
    accelerator(unsafe { shim_synchronize(device as c_int) })
}

/// Makes one of this thread's two streams on a device the current one. `false`: there is no accelerator.
pub fn use_stream(device: usize, high_priority: bool) -> Result<bool, ShimError> {
    // SAFETY: plain values.
    accelerator(unsafe { shim_use_stream(device as c_int, high_priority) })
}

/// Waits for everything queued on this thread's current stream. `false`: there is no accelerator.
pub fn finish_stream(device: usize) -> Result<bool, ShimError> {
    // SAFETY: a plain integer.
    accelerator(unsafe { shim_finish_stream(device as c_int) })
}

/// Ends the threads that OpenMP keeps for this one; does nothing where its library cannot do that.
pub fn release_helpers() {
    // SAFETY: no arguments; affects only helpers of the calling thread, which is in no parallel region.
    unsafe { shim_release_helpers() }
}

/// Runs `body` on so many of the OpenMP threads that libtorch computes with, this one among them, at once; comes back
/// when all are done. A panic in it ends the process. `false`: libtorch has no OpenMP here, and nothing ran.
pub fn team<F: Fn() + Sync>(threads: usize, body: &F) -> bool {
    unsafe extern "C" fn call<F: Fn()>(data: *mut c_void) {
        // SAFETY: `team` passes its `body`, which outlives all calls.
        let body = unsafe { &*data.cast_const().cast::<F>() };
        body();
    }
    let threads = c_uint::try_from(threads).unwrap_or(c_uint::MAX);
    // SAFETY: `call` reads `body` only, which may be shared among threads, and all calls end before this one does.
    unsafe { shim_team(call::<F>, ptr::from_ref(body).cast_mut().cast(), threads) }
}

/// What CUDA's autocast casts to on this thread's process-wide setting; `tch::autocast` cannot say.
pub fn set_autocast_kind(kind: Kind) -> Result<(), ShimError> {
    let scalar_type = scalar_type(kind)?;
    // SAFETY: a plain integer that is one of libtorch's scalar types.
    accelerator(unsafe { shim_autocast_cuda_dtype(scalar_type) }).map(drop)
}

/// A tensor that *is* the bytes of `region` at `offset`, which stays alive until the last view is dropped.
pub fn view(
    region: &Arc<Region>,
    offset: usize,
    shape: &[i64],
    kind: Kind,
) -> Result<Tensor, ShimError> {
    let scalar_type = scalar_type(kind)?;
    let element = kind.elt_size_in_bytes();
    let bytes = shape
        .iter()
        .try_fold(element, |bytes, &size| bytes.checked_mul(usize::try_from(size).ok()?))
        .filter(|bytes| offset.checked_add(*bytes).is_some_and(|end| end <= region.len()))
        .filter(|_| offset.is_multiple_of(element));
    if bytes.is_none() {
        let bytes =
            shape.iter().fold(element, |bytes, &size| bytes.saturating_mul(size.max(0) as usize));
        return Err(ShimError::OutOfRegion { offset, bytes, region: region.len(), kind });
    }
    let owner = Arc::into_raw(Arc::clone(region)).cast_mut().cast();
    // SAFETY: the range is inside the region (just checked), whose memory is readable, writable and aligned to a page; the owner
    // keeps it mapped. libtorch copies the dimensions. If libtorch throws, it may or may not have taken the owner: leaking one
    // reference then is safe, dropping it twice would not be.
    let tensor = unsafe {
        let data = region.as_mut_ptr().add(offset).cast();
        shim_from_blob(data, shape.as_ptr(), shape.len(), scalar_type, owner, drop_region)
    };
    if tensor.is_null() {
        return Err(last_error());
    }
    // SAFETY: a new `at::Tensor` on the heap, which tch deletes.
    Ok(unsafe { Tensor::from_ptr(tensor.cast()) })
}

extern "C" fn drop_region(owner: *mut c_void) {
    // SAFETY: `view` made it from an `Arc`, and libtorch calls back once. Unmapping does not panic.
    drop(unsafe { Arc::from_raw(owner.cast::<Region>().cast_const()) });
}

fn accelerator(code: c_int) -> Result<bool, ShimError> {
    match code {
        DONE => Ok(true),
        NO_ACCELERATOR => Ok(false),
        _ => Err(last_error()),
    }
}

fn last_error() -> ShimError {
    // SAFETY: a zero-terminated text of this thread, copied before any other call.
    let text = unsafe { CStr::from_ptr(shim_last_error()) }.to_string_lossy();
    ShimError::Torch(text.lines().next().unwrap_or("libtorch failed without a reason").to_owned())
}

/// Values of `c10/core/ScalarType.h`.
fn scalar_type(kind: Kind) -> Result<c_int, ShimError> {
    Ok(match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::ComplexFloat => 9,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        Kind::Float8e5m2 => 23,
        Kind::Float8e4m3fn => 24,
        Kind::Float8e5m2fnuz => 25,
        Kind::Float8e4m3fnuz => 26,
        _ => return Err(ShimError::Kind(kind)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inference_mode_ends_with_its_guard_even_after_a_panic() {
        let parameter = Tensor::ones([2], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = InferenceMode::enter().unwrap();
            assert!(!(&parameter * 2.0).requires_grad());
            panic!("inside of inference mode");
        }));
        assert!(panicked.is_err());
        assert!((&parameter * 2.0).requires_grad());
    }

    #[test]
    fn a_generator_draws_what_the_reference_draws_and_shares_nothing() {
        let draw = |generator: &mut Generator, n_values: i64| {
            Vec::<f32>::try_from(generator.randn(&[n_values], Kind::Float).unwrap()).unwrap()
        };
        // `torch.randn(3, generator=torch.Generator().manual_seed(42))`, twice, then 17 numbers, of which the first and
        // the last: from 16 on they are drawn otherwise.
        let expected = [
            0.3366904, 0.1288094, 0.2344624, 0.230333, -1.1228564, -0.1863283, -0.2482575,
            -1.2741512,
        ];
        let (mut one, mut other) = (Generator::seeded(42).unwrap(), Generator::seeded(42).unwrap());
        let first = draw(&mut one, 3);
        tch::manual_seed(7);
        let _ = Tensor::randn([5], (Kind::Float, tch::Device::Cpu));
        assert_eq!(draw(&mut other, 3), first);
        let (second, many) = (draw(&mut one, 3), draw(&mut one, 17));
        let found = [&first[..], &second[..], &[many[0], many[16]]].concat();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        // What libtorch refuses is an error.
        assert!(one.randn(&[-1], Kind::Float).is_err());
        assert!(one.randn(&[1], Kind::Int64).is_err());
    }

    #[test]
    fn a_view_keeps_its_region_and_the_last_one_frees_it() {
        let region = Arc::new(Region::anonymous(64).unwrap());
        let first = view(&region, 16, &[3], Kind::Float).unwrap();
        let second = first.shallow_clone().slice(0, 1, 3, 1);
        assert_eq!(Arc::strong_count(&region), 2);
        drop(first);
        assert_eq!(Arc::strong_count(&region), 2);
        assert_eq!(Vec::<f32>::try_from(&second).unwrap(), [0.0, 0.0]);
        drop(second);
        assert_eq!(Arc::strong_count(&region), 1);
    }

    #[test]
    fn refuses_views_outside_of_the_region_or_unaligned() {
        let region = Arc::new(Region::anonymous(64).unwrap());
        for (offset, shape, kind) in [
            (0, &[17][..], Kind::Float),
            (64, &[1], Kind::Uint8),
            (2, &[1], Kind::Float),
            (usize::MAX, &[1], Kind::Uint8),
            (0, &[-1], Kind::Uint8),
            (0, &[i64::MAX, i64::MAX], Kind::Double),
        ] {
            let answer = view(&region, offset, shape, kind);
            assert!(matches!(answer, Err(ShimError::OutOfRegion { .. })), "{offset} {shape:?}");
        }
        assert!(matches!(view(&region, 0, &[1], Kind::QInt8), Err(ShimError::Kind(_))));
        assert_eq!(view(&region, 64, &[0, 3], Kind::Float).unwrap().size(), [0, 3]);
    }

    #[test]
    fn without_an_accelerator_the_memory_calls_say_so() {
        if !tch::Cuda::is_available() {
            assert!(!empty_cache().unwrap());
            assert_eq!(device_memory(0).unwrap(), None);
            assert!(!reset_peak(0).unwrap());
            assert!(!synchronize(0).unwrap());
            assert!(!use_stream(0, true).unwrap());
            assert!(!finish_stream(0).unwrap());
        }
    }
}
