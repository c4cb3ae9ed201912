//! Products of a few rows with a weight, on a CPU: what decoding and small batches are made of.
//!
//! Such a product is bound by reading the weight. It is read once for all rows, in the type that it is stored as: a half
//! type becomes float32 on its way, which is exact, and costs half of the memory and of the time. Threads take parts of
//! the columns as they come, so that one which a busy neighbour holds up takes fewer.
//!
//! Against MKL's product in float32 (two cores with AVX-512, BERT's and GPT-2's shapes): 0.7–0.9 of its time at one row and
//! 0.5–0.7 at eight; with half types half of its time up to eight rows.
#![allow(unsafe_code)]

mod kernel;
mod simd;

use std::{
    ops::Range,
    ptr,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use half::{bf16, f16};
use tch::{Device, Kind, Tensor};

use self::{
    kernel::{Product, STRIP},
    simd::{Portable, Stored},
};
use crate::memory::team;

/// How a weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `[out, in]`, as `torch.nn.Linear` has it.
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D` has it.
    InOut,
}

/// The best instructions that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isa {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

static ISA: LazyLock<Isa> = LazyLock::new(Isa::detect);

impl Isa {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

/// Up to so many rows [`product`] is faster than libtorch's; 0: never.
pub(super) fn most(layout: Layout, weight: &Tensor) -> i64 {
    if weight.device() != Device::Cpu || !weight.is_contiguous() {
        return 0;
    }
    let is_wide = *ISA != Isa::Portable;
    match (weight.kind(), layout) {
        (Kind::Float, Layout::OutIn) if is_wide => 16,
        (Kind::Float, Layout::InOut) if is_wide => 6,
        (Kind::BFloat16 | Kind::Half, _) if is_wide => 32,
        (Kind::BFloat16 | Kind::Half, _) => 4,
        _ => 0,
    }
}

/// `[rows, in]` in float32 times the weight, which [`most`] must allow; `[rows, out]`.
pub(super) fn product(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: Layout,
) -> Tensor {
    match weight.kind() {
        Kind::Float => run::<f32>(xs, weight, bias, layout, *ISA),
        Kind::BFloat16 => run::<bf16>(xs, weight, bias, layout, *ISA),
        Kind::Half => run::<f16>(xs, weight, bias, layout, *ISA),
        kind => panic!("no products with {kind:?}"),
    }
}

/// Weights that a thread takes at a time.
const SHARE: usize = 32_768;
/// Products of fewer multiplications than this are not worth a second thread.
const ALONE: usize = 65_536;

/// `T` is the weight's kind.
fn run<T: Stored>(
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: Layout,
    isa: Isa,
) -> Tensor {
    let (rows, in_dim) = xs.size2().expect("xs is [rows, in]");
    let shape = weight.size2().expect("a linear weight has two dimensions");
    let out_dim = match layout {
        Layout::OutIn => shape.0,
        Layout::InOut => shape.1,
    };
    let expected = match layout {
        Layout::OutIn => (out_dim, in_dim),
        Layout::InOut => (in_dim, out_dim),
    };
    assert_eq!(shape, expected, "the rows do not fit the weight");
    assert!(weight.device() == Device::Cpu && weight.is_contiguous());
    let is_plain = |tensor: &Tensor| tensor.device() == Device::Cpu && tensor.kind() == Kind::Float;
    let xs = xs.contiguous();
    let bias = bias.map(Tensor::contiguous);
    assert!(is_plain(&xs) && bias.as_ref().is_none_or(is_plain), "rows and bias are float32");
    assert!(bias.as_ref().is_none_or(|bias| bias.size() == [out_dim]), "the bias does not fit");
    let ys = Tensor::empty([rows, out_dim], (Kind::Float, Device::Cpu));
    let product = Product::<T> {
        weight: weight.data_ptr().cast_const().cast(),
        xs: xs.data_ptr().cast_const().cast(),
        bias: bias.as_ref().map_or(ptr::null(), |bias| bias.data_ptr().cast_const().cast()),
        ys: ys.data_ptr().cast(),
        rows: rows as usize,
        in_dim: in_dim as usize,
        out_dim: out_dim as usize,
        layout,
    };
    let threads = if product.rows * product.in_dim * product.out_dim < ALONE {
        1
    } else {
        usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
    };
    let share = product.share(threads);
    let next = AtomicUsize::new(0);
    team::run(threads, || {
        loop {
            let start = next.fetch_add(share, Ordering::Relaxed);
            if start >= product.out_dim {
                break;
            }
            let columns = start..(start + share).min(product.out_dim);
            // SAFETY: the tensors live until all threads are done, are contiguous and of these shapes and kinds (checked
            // above); shares do not overlap, and are no longer than `STRIP` where that counts.
            unsafe { product.on(isa, columns) }
        }
    });
    ys
}

impl<T: Stored> Product<T> {
    /// Columns that a thread takes at a time: a few shares for each, of whole cache lines.
    fn share(&self, threads: usize) -> usize {
        let fair = self.out_dim.div_ceil(threads * 2);
        match self.layout {
            Layout::OutIn => (SHARE / self.in_dim.max(1)).min(fair).next_multiple_of(12).max(12),
            Layout::InOut => fair.next_multiple_of(64).clamp(64, STRIP),
        }
    }

    /// # Safety
    ///
    /// As [`Self::columns`]; the instructions must be there.
    unsafe fn on(&self, isa: Isa, columns: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            match isa {
                Isa::Portable => self.columns::<Portable, 2>(columns),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => self.on_avx2(columns),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => self.on_avx512(columns),
            }
        }
    }

    /// # Safety
    ///
    /// As [`Self::columns`].
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn on_avx2(&self, columns: Range<usize>) {
        // SAFETY: the caller's promise. Sixteen registers: twelve sums, three columns and a row.
        unsafe { self.columns::<simd::x86::Avx2, 3>(columns) }
    }

    /// # Safety
    ///
    /// As [`Self::columns`].
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
    unsafe fn on_avx512(&self, columns: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe { self.columns::<simd::x86::Avx512, 4>(columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isas() -> Vec<Isa> {
        let mut isas = vec![Isa::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if *ISA != Isa::Portable {
                isas.push(Isa::Avx2);
            }
            if *ISA == Isa::Avx512 {
                isas.push(Isa::Avx512);
            }
        }
        isas
    }

    fn on(isa: Isa, xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>, layout: Layout) -> Tensor {
        match weight.kind() {
            Kind::Float => run::<f32>(xs, weight, bias, layout, isa),
            Kind::BFloat16 => run::<bf16>(xs, weight, bias, layout, isa),
            _ => run::<f16>(xs, weight, bias, layout, isa),
        }
    }

    #[test]
    fn every_instruction_set_layout_and_type_gives_libtorchs_product() {
        let options = (Kind::Float, Device::Cpu);
        // Lengths beside the lanes, the depth and the strip, and one that several threads share.
        for (in_dim, out_dim) in [(1, 1), (7, 5), (24, 33), (130, 700), (768, 1030)] {
            let bias = Tensor::randn([out_dim], options);
            for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
                // Scaled so that some are subnormal as float16.
                let weight = (Tensor::randn([out_dim, in_dim], options) * 1e-3).to_kind(kind);
                let transposed = weight.tr().contiguous();
                for rows in [0, 1, 2, 3, 4, 5, 9] {
                    let xs = Tensor::randn([rows, in_dim], options);
                    let product = xs.matmul(&weight.to_kind(Kind::Float).tr());
                    for bias in [None, Some(&bias)] {
                        let expected = bias.map_or(product.shallow_clone(), |bias| &product + bias);
                        for isa in isas() {
                            for (weight, layout) in
                                [(&weight, Layout::OutIn), (&transposed, Layout::InOut)]
                            {
                                let found = on(isa, &xs, weight, bias, layout);
                                assert_eq!(found.size(), [rows, out_dim]);
                                assert!(
                                    found.allclose(&expected, 1e-4, 1e-5, false),
                                    "{isa:?} {kind:?} {layout:?} {rows}×{in_dim}×{out_dim}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn special_values_stay_what_they_are() {
        let values: [f32; 6] = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -0.0, 65504.0, 6e-8];
        let one = Tensor::from_slice(&[1.0_f32]).view([1, 1]);
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let weight = Tensor::from_slice(&values).repeat([6]).view([36, 1]).to_kind(kind);
            let expected = Vec::<f32>::try_from(weight.view([36]).to_kind(Kind::Float)).unwrap();
            for isa in isas() {
                for (weight, layout) in [
                    (weight.shallow_clone(), Layout::OutIn),
                    (weight.tr().contiguous(), Layout::InOut),
                ] {
                    let found = on(isa, &one, &weight, None, layout);
                    let found = Vec::<f32>::try_from(found.view([36])).unwrap();
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!(found == expected || (found.is_nan() && expected.is_nan()));
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_is_the_same_alone_and_among_others() {
        let options = (Kind::Float, Device::Cpu);
        let xs = Tensor::randn([13, 200], options);
        for (layout, shape) in [(Layout::OutIn, [90, 200]), (Layout::InOut, [200, 90])] {
            let weight = Tensor::randn(shape, options).to_kind(Kind::BFloat16);
            for isa in isas() {
                let all = on(isa, &xs, &weight, None, layout);
                for row in 0..13 {
                    let alone = on(isa, &xs.narrow(0, row, 1), &weight, None, layout);
                    assert_eq!(alone, all.narrow(0, row, 1), "{isa:?} {layout:?} row {row}");
                }
            }
        }
    }
}
