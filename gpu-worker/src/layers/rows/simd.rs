//! The few vector instructions that products of rows are made of, for every instruction set that has them.
#![allow(unsafe_code)]

use half::{bf16, f16};

/// An instruction set. Its functions are made for being inlined into one that has it switched on.
///
/// # Safety
///
/// Every function needs the instruction set, and pointers to [`Self::LANES`] values; no alignment is needed.
pub(super) trait Simd: Copy {
    const LANES: usize;
    type Vector: Copy;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(values: *const f32) -> Self::Vector;
    unsafe fn load_bf16(values: *const bf16) -> Self::Vector;
    unsafe fn load_f16(values: *const f16) -> Self::Vector;
    unsafe fn store(values: *mut f32, vector: Self::Vector);
    /// `a · b + c`
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    unsafe fn sum(vector: Self::Vector) -> f32;
    /// Only advice; the address may be anywhere.
    unsafe fn prefetch(address: *const u8);
}

/// What a weight is stored as. Its values become float32 as they are read, which is exact.
pub(super) trait Stored: Copy + Send + Sync {
    /// # Safety
    ///
    /// As [`Simd`]'s.
    unsafe fn load<S: Simd>(values: *const Self) -> S::Vector;
    fn value(self) -> f32;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(values: *const Self) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { S::load(values) }
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self
    }
}

impl Stored for bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(values: *const Self) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { S::load_bf16(values) }
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self.to_f32()
    }
}

impl Stored for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(values: *const Self) -> S::Vector {
        // SAFETY: the caller's promise.
        unsafe { S::load_f16(values) }
    }

    #[inline(always)]
    fn value(self) -> f32 {
        self.to_f32()
    }
}

/// What every processor has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    const LANES: usize = 8;
    type Vector = [f32; 8];

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load(values: *const f32) -> [f32; 8] {
        // SAFETY: the caller's promise; arrays are as aligned as their values.
        unsafe { *values.cast() }
    }

    #[inline(always)]
    unsafe fn load_bf16(values: *const bf16) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { *values.cast::<[bf16; 8]>() }.map(bf16::to_f32)
    }

    #[inline(always)]
    unsafe fn load_f16(values: *const f16) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { *values.cast::<[f16; 8]>() }.map(f16::to_f32)
    }

    #[inline(always)]
    unsafe fn store(values: *mut f32, vector: [f32; 8]) {
        // SAFETY: the caller's promise.
        unsafe { *values.cast() = vector }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            c[lane] += a[lane] * b[lane];
        }
        c
    }

    #[inline(always)]
    unsafe fn sum(vector: [f32; 8]) -> f32 {
        let [a, b, c, d, e, f, g, h] = vector;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }

    #[inline(always)]
    unsafe fn prefetch(_address: *const u8) {}
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use half::{bf16, f16};

    use super::Simd;

    /// AVX-512.
    #[derive(Clone, Copy)]
    pub(in crate::layers::rows) struct Avx512;

    // SAFETY of all bodies: the caller's promise, see the trait.
    impl Simd for Avx512 {
        const LANES: usize = 16;
        type Vector = __m512;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(values: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(values) }
        }

        #[inline(always)]
        unsafe fn load_bf16(values: *const bf16) -> __m512 {
            unsafe {
                let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(values.cast()));
                _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))
            }
        }

        #[inline(always)]
        unsafe fn load_f16(values: *const f16) -> __m512 {
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.cast())) }
        }

        #[inline(always)]
        unsafe fn store(values: *mut f32, vector: __m512) {
            unsafe { _mm512_storeu_ps(values, vector) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn sum(vector: __m512) -> f32 {
            unsafe { _mm512_reduce_add_ps(vector) }
        }

        #[inline(always)]
        unsafe fn prefetch(address: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }
    }

    /// AVX2 with FMA and F16C.
    #[derive(Clone, Copy)]
    pub(in crate::layers::rows) struct Avx2;

    // SAFETY of all bodies: the caller's promise, see the trait.
    impl Simd for Avx2 {
        const LANES: usize = 8;
        type Vector = __m256;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(values: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(values) }
        }

        #[inline(always)]
        unsafe fn load_bf16(values: *const bf16) -> __m256 {
            unsafe {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(values.cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))
            }
        }

        #[inline(always)]
        unsafe fn load_f16(values: *const f16) -> __m256 {
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(values.cast())) }
        }

        #[inline(always)]
        unsafe fn store(values: *mut f32, vector: __m256) {
            unsafe { _mm256_storeu_ps(values, vector) }
        }

        #[inline(always)]
        unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        unsafe fn sum(vector: __m256) -> f32 {
            unsafe {
                let half =
                    _mm_add_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps(vector, 1));
                let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)))
            }
        }

        #[inline(always)]
        unsafe fn prefetch(address: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }
    }
}
