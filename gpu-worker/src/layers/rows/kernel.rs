//! The loops: one part of the columns of a product, on one thread.
//!
//! A result is summed in an order that depends on its own column only, never on how many rows there are beside it.
#![allow(unsafe_code)]

use std::{ops::Range, ptr, slice};

use super::{
    Layout,
    simd::{Simd, Stored},
};

/// Rows that are computed at a time: what a weight's value is read for.
const ROWS: usize = 4;
/// Columns of an `[in, out]` weight that a thread sums up at a time.
pub(super) const STRIP: usize = 512;
/// Rows of an `[in, out]` weight that are added to the sums at a time.
const DEPTH: usize = 8;
/// How far ahead of one row's product the weight is fetched, in bytes.
const AHEAD: usize = 4096;

/// A product of rows with a weight.
#[derive(Clone, Copy)]
pub(super) struct Product<T> {
    /// As the layout says, without gaps.
    pub(super) weight: *const T,
    /// `[rows, in]`
    pub(super) xs: *const f32,
    /// `[out]`, or null.
    pub(super) bias: *const f32,
    /// `[rows, out]`
    pub(super) ys: *mut f32,
    pub(super) rows: usize,
    pub(super) in_dim: usize,
    pub(super) out_dim: usize,
    pub(super) layout: Layout,
}

// SAFETY: threads read the same memory, and write to different columns of `ys`.
unsafe impl<T> Send for Product<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Product<T> {}

impl<T: Stored> Product<T> {
    /// Computes these columns, `COLUMNS` at a time where the layout is `[out, in]`.
    ///
    /// # Safety
    ///
    /// The pointers must be valid as their descriptions say, `columns` must be within `0..out_dim` and no longer than
    /// [`STRIP`] where the layout is `[in, out]`, nobody else may write to them meanwhile, and the processor must have `S`.
    #[inline(always)]
    pub(super) unsafe fn columns<S: Simd, const COLUMNS: usize>(&self, columns: Range<usize>) {
        let mut row = 0;
        while row < self.rows {
            // SAFETY: the caller's promise; so many rows are left.
            row += unsafe {
                match self.rows - row {
                    1 => self.strip::<S, 1, COLUMNS>(row, columns.clone()),
                    2 | 3 => self.strip::<S, 2, COLUMNS>(row, columns.clone()),
                    _ => self.strip::<S, ROWS, COLUMNS>(row, columns.clone()),
                }
            };
        }
    }

    /// So many rows from `row` on.
    #[inline(always)]
    unsafe fn strip<S: Simd, const N: usize, const COLUMNS: usize>(
        &self,
        row: usize,
        columns: Range<usize>,
    ) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            match self.layout {
                Layout::OutIn => self.by_rows::<S, N, COLUMNS>(row, columns),
                Layout::InOut => self.by_columns::<S, N>(row, columns),
            }
        }
        N
    }

    #[inline(always)]
    unsafe fn by_rows<S: Simd, const N: usize, const COLUMNS: usize>(
        &self,
        row: usize,
        columns: Range<usize>,
    ) {
        let mut column = columns.start;
        while column + COLUMNS <= columns.end {
            // SAFETY: the caller's promise.
            unsafe { self.dots::<S, N, COLUMNS>(row, column) };
            column += COLUMNS;
        }
        while column < columns.end {
            // SAFETY: the caller's promise.
            unsafe { self.dots::<S, N, 1>(row, column) };
            column += 1;
        }
    }

    /// `N` rows times `M` columns, each of which lies in memory as a row of the weight.
    #[inline(always)]
    unsafe fn dots<S: Simd, const N: usize, const M: usize>(&self, row: usize, column: usize) {
        let in_dim = self.in_dim;
        // SAFETY: all places are within the rows and columns that the caller promises.
        unsafe {
            let weight = self.weight.add(column * in_dim);
            let xs = self.xs.add(row * in_dim);
            let mut sums = [[S::splat(0.0); N]; M];
            let whole = in_dim / S::LANES * S::LANES;
            let mut at = 0;
            while at < whole {
                let values: [S::Vector; M] =
                    std::array::from_fn(|column| T::load::<S>(weight.add(column * in_dim + at)));
                if N == 1 {
                    for column in 0..M {
                        S::prefetch(
                            weight.add(column * in_dim + at).cast::<u8>().wrapping_add(AHEAD),
                        );
                    }
                }
                #[expect(
                    clippy::needless_range_loop,
                    reason = "one row's values at a time, or registers run out"
                )]
                for row in 0..N {
                    let x = S::load(xs.add(row * in_dim + at));
                    for column in 0..M {
                        sums[column][row] = S::multiply_add(values[column], x, sums[column][row]);
                    }
                }
                at += S::LANES;
            }
            for (m, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    let mut sum = S::sum(sum);
                    for at in whole..in_dim {
                        sum += (*weight.add(m * in_dim + at)).value() * *xs.add(n * in_dim + at);
                    }
                    if !self.bias.is_null() {
                        sum += *self.bias.add(column + m);
                    }
                    *self.ys.add((row + n) * self.out_dim + column + m) = sum;
                }
            }
        }
    }

    /// `N` rows times columns that lie in memory beside each other.
    #[inline(always)]
    unsafe fn by_columns<S: Simd, const N: usize>(&self, row: usize, columns: Range<usize>) {
        let width = columns.len();
        let mut sums = [[0.0_f32; STRIP]; N];
        let whole = self.in_dim / DEPTH * DEPTH;
        // SAFETY: all places are within the rows and columns that the caller promises, and the columns fit into `sums`.
        unsafe {
            let xs = self.xs.add(row * self.in_dim);
            let weight = self.weight.add(columns.start);
            let mut at = 0;
            while at < whole {
                self.add_to::<S, N, DEPTH>(&mut sums, weight, xs, at, width);
                at += DEPTH;
            }
            while at < self.in_dim {
                self.add_to::<S, N, 1>(&mut sums, weight, xs, at, width);
                at += 1;
            }
            for (n, sums) in sums.iter_mut().enumerate() {
                if !self.bias.is_null() {
                    let bias = slice::from_raw_parts(self.bias.add(columns.start), width);
                    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
                }
                let ys = self.ys.add((row + n) * self.out_dim + columns.start);
                ptr::copy_nonoverlapping(sums.as_ptr(), ys, width);
            }
        }
    }

    /// Adds the products of `D` values of each row, from `at` on.
    #[inline(always)]
    unsafe fn add_to<S: Simd, const N: usize, const D: usize>(
        &self,
        sums: &mut [[f32; STRIP]; N],
        weight: *const T,
        xs: *const f32,
        at: usize,
        width: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let weight = weight.add(at * self.out_dim);
            let xs = xs.add(at);
            let mut column = 0;
            while column + S::LANES <= width {
                let mut lanes: [S::Vector; N] =
                    std::array::from_fn(|n| S::load(sums[n].as_ptr().add(column)));
                for deep in 0..D {
                    let values = T::load::<S>(weight.add(deep * self.out_dim + column));
                    for (n, lanes) in lanes.iter_mut().enumerate() {
                        let x = S::splat(*xs.add(n * self.in_dim + deep));
                        *lanes = S::multiply_add(values, x, *lanes);
                    }
                }
                for (n, lanes) in lanes.into_iter().enumerate() {
                    S::store(sums[n].as_mut_ptr().add(column), lanes);
                }
                column += S::LANES;
            }
            for column in column..width {
                for (n, sums) in sums.iter_mut().enumerate() {
                    for deep in 0..D {
                        let value = (*weight.add(deep * self.out_dim + column)).value();
                        sums[column] += value * *xs.add(n * self.in_dim + deep);
                    }
                }
            }
        }
    }
}
