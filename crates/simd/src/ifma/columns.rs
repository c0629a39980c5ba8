//! Column tables and the accumulation of small multiples, eight accumulators at a time.

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::field::{load, splat};
use super::point::{MemN8, MemP8, P8, to_affine_batch};
use super::sums::{Entry, Sum, widen};
use super::{Token, enter};
use crate::edwards::Point;

/// Digit width: 32 entries are four registers a limb, which two permutations and a blend look up.
pub(crate) const WIDTH: u32 = 6;
const ENTRIES: usize = 1 << (WIDTH - 1);

/// {1, .., 32} G: for each of the 15 limbs of (y - x, y + x, 2 d x y) the limbs of all entries in a row.
#[derive(Clone)]
#[repr(C, align(64))]
struct Column([[[u64; 8]; ENTRIES / 8]; 15]);

/// Tables of all columns.
pub(crate) struct ColumnTable(Vec<Column>);

impl ColumnTable {
    pub(crate) fn new(token: Token, points: &[Point]) -> Self {
        Self(enter!(token, build(points)))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        core::mem::size_of_val(self.0.as_slice())
    }
}

#[target_feature(enable = "avx512ifma")]
fn build(points: &[Point]) -> Vec<Column> {
    let mut out = Vec::with_capacity(points.len());
    let mut multiples = [MemP8::ZERO; ENTRIES];
    for chunk in points.chunks(8) {
        let first = P8::gather_slice(chunk);
        let mut p = first;
        for (i, m) in multiples.iter_mut().enumerate() {
            if i > 0 {
                p = p.add(&first);
            }
            m.store(&p);
        }
        let affine = to_affine_batch(&multiples);
        let affine: Vec<MemN8> = affine.iter().map(|n| widen(n)).collect();
        for lane in 0..chunk.len() {
            let mut column = Column([[[0; 8]; ENTRIES / 8]; 15]);
            for (entry, n) in affine.iter().enumerate() {
                for (limb, row) in column.0.iter_mut().enumerate() {
                    row[entry / 8][entry % 8] = n.0[limb / 5][limb % 5][lane];
                }
            }
            out.push(column);
        }
    }
    out
}

/// The multiples for eight signed digits, one a lane. The table sits in registers when it is permuted: neither the
/// instructions nor the addresses depend on the digits.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn lookup(column: &Column, digits: __m512i) -> Entry {
    let magnitude = _mm512_abs_epi64(digits);
    let negative = _mm512_cmplt_epi64_mask(digits, _mm512_setzero_si512());
    let nonzero = _mm512_test_epi64_mask(magnitude, magnitude);
    let index = _mm512_sub_epi64(magnitude, splat(1));
    let upper = _mm512_test_epi64_mask(index, splat(16));
    let (low_half, high_half) = (nonzero & !upper, nonzero & upper);
    macro_rules! limb {
        ($i:expr) => {{
            let row = &column.0[$i];
            _mm512_or_si512(
                _mm512_maskz_permutex2var_epi64(low_half, load(&row[0]), index, load(&row[1])),
                _mm512_maskz_permutex2var_epi64(high_half, load(&row[2]), index, load(&row[3])),
            )
        }};
    }
    // The identity is (1, 1, 0).
    let one = _mm512_maskz_set1_epi64(!nonzero, 1);
    Entry {
        ymx: [
            _mm512_or_si512(limb!(0), one),
            limb!(1),
            limb!(2),
            limb!(3),
            limb!(4),
        ],
        ypx: [
            _mm512_or_si512(limb!(5), one),
            limb!(6),
            limb!(7),
            limb!(8),
            limb!(9),
        ],
        t2d: [limb!(10), limb!(11), limb!(12), limb!(13), limb!(14)],
        negative,
    }
}

/// Running sums, eight to a group.
pub(crate) struct Accumulators(Vec<Sum>);

impl Drop for Accumulators {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Accumulators {
    pub(crate) fn new(token: Token, groups: usize) -> Self {
        Self(vec![enter!(token, Sum::identity()); groups])
    }

    /// Adds digit times column for the columns from `first` on; `digits` holds eight digits a group a column.
    pub(crate) fn add_columns(
        &mut self,
        token: Token,
        table: &ColumnTable,
        first: usize,
        digits: &[i8],
    ) {
        enter!(token, add_columns(&mut self.0, &table.0[first..], digits));
    }

    /// Horner's rule for a number of rows that is a multiple of 8: group k rows/8 + r/8 holds digit k of row r.
    pub(crate) fn join(&self, token: Token, count: usize, width: u32, out: &mut [Point]) {
        enter!(token, join(&self.0, count, width, out));
    }

    /// All sums in order.
    pub(crate) fn extract(&self, token: Token) -> Vec<Point> {
        enter!(token, extract(&self.0))
    }
}

#[target_feature(enable = "avx512ifma")]
fn add_columns(sums: &mut [Sum], columns: &[Column], digits: &[i8]) {
    for (column, digits) in columns.iter().zip(digits.chunks_exact(8 * sums.len())) {
        for (sum, digits) in sums.iter_mut().zip(digits.as_chunks::<8>().0) {
            let packed = i64::from_le_bytes(digits.map(|d| d.to_le_bytes()[0]));
            let digits = _mm512_cvtepi8_epi64(_mm_cvtsi64_si128(packed));
            let entry = lookup(column, digits);
            sum.add_entry(&entry);
        }
    }
}

#[target_feature(enable = "avx512ifma")]
fn join(sums: &[Sum], count: usize, width: u32, out: &mut [Point]) {
    let groups = out.len() / 8;
    for (g, out) in out.chunks_exact_mut(8).enumerate() {
        let mut sum = sums[(count - 1) * groups + g].to_point();
        for k in (0..count - 1).rev() {
            sum = sum
                .double_times(width)
                .add(&sums[k * groups + g].to_point());
        }
        out.copy_from_slice(&sum.scatter());
    }
}

#[target_feature(enable = "avx512ifma")]
fn extract(sums: &[Sum]) -> Vec<Point> {
    let mut out = Vec::with_capacity(sums.len() * 8);
    for sum in sums {
        out.extend(sum.to_point().scatter());
    }
    out
}
