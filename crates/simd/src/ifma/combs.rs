//! Signed combs of one scalar on eight points at a time.

use core::arch::x86_64::*;
use core::hint::black_box;
use core::ops::Range;

use super::field::{F8, load};
use super::point::{MemN8, MemP8, N8, P8, to_affine_batch};
use super::{Token, enter};
use crate::edwards::Point;
use crate::same_scalar::{CombDigit, Shape};

/// For every group of eight points the entries of all its tables.
pub(crate) struct CombTable(Vec<MemN8>);

impl CombTable {
    pub(crate) fn new(token: Token, points: &[Point], shape: &Shape) -> Self {
        let mut out = Vec::with_capacity(points.len().div_ceil(8) * shape.entries());
        for chunk in points.chunks(8) {
            out.extend(enter!(token, build(chunk, shape)));
        }
        Self(out)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        core::mem::size_of_val(self.0.as_slice())
    }

    pub(crate) fn mul(
        &self,
        token: Token,
        shape: &Shape,
        digits: &[CombDigit],
        range: Range<usize>,
    ) -> Vec<Point> {
        let groups = range.start / 8..range.end.div_ceil(8);
        let entries = shape.entries();
        let mut out = Vec::with_capacity(groups.len() * 8);
        for table in self.0[groups.start * entries..groups.end * entries].chunks_exact(entries) {
            out.extend_from_slice(&enter!(token, mul(table, shape, digits)));
        }
        out.truncate(range.end - groups.start * 8);
        out.drain(..range.start - groups.start * 8);
        out
    }
}

/// As the portable `comb_entries`, for eight points.
#[target_feature(enable = "avx512ifma")]
fn build(chunk: &[Point], shape: &Shape) -> Vec<MemN8> {
    let mut out: Vec<MemP8> = Vec::with_capacity(shape.entries());
    let mut push = |p: &P8| {
        let mut m = MemP8::ZERO;
        m.store(p);
        out.push(m);
    };
    let mut p = P8::gather_slice(chunk);
    let mut chain = Vec::with_capacity(shape.teeth * shape.tables);
    for k in 0..shape.teeth * shape.tables {
        if k > 0 {
            p = p.double_times(shape.steps as u32);
        }
        chain.push(p);
    }
    for b in 0..shape.tables {
        let teeth: Vec<P8> = chain
            .iter()
            .skip(b)
            .step_by(shape.tables)
            .copied()
            .collect();
        let lower = &teeth[..shape.teeth - 1];
        let mut sums = Vec::with_capacity(1 << lower.len());
        sums.push(
            lower
                .iter()
                .fold(teeth[shape.teeth - 1], |acc, t| acc.add(&t.neg())),
        );
        for tooth in lower {
            let twice = tooth.double();
            for e in 0..sums.len() {
                sums.push(sums[e].add(&twice));
            }
        }
        for s in &sums {
            push(s);
        }
    }
    to_affine_batch(&out)
}

#[target_feature(enable = "avx512ifma")]
fn mul(table: &[MemN8], shape: &Shape, digits: &[CombDigit]) -> [Point; 8] {
    let size = 1 << (shape.teeth - 1);
    let mut acc = P8::identity();
    for (j, step) in digits.chunks_exact(shape.tables).enumerate() {
        if j > 0 {
            acc = acc.double();
        }
        for (sub, digit) in table.chunks_exact(size).zip(step) {
            acc = acc.add_affine(&lookup(sub, digit));
        }
    }
    acc.scatter()
}

/// One entry for all lanes, reading every entry: the index is secret.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn lookup(entries: &[MemN8], digit: &CombDigit) -> N8 {
    let mut acc = [[_mm512_setzero_si512(); 5]; 3];
    for (i, entry) in (0u64..).zip(entries) {
        let x = i ^ digit.index;
        let mask = black_box((x | x.wrapping_neg()) >> 63).wrapping_sub(1) as __mmask8;
        for (acc, part) in acc.iter_mut().zip(&entry.0) {
            for (acc, limb) in acc.iter_mut().zip(part) {
                *acc = _mm512_mask_mov_epi64(*acc, mask, load(limb));
            }
        }
    }
    N8 {
        ymx: F8(acc[0]),
        ypx: F8(acc[1]),
        t2d: F8(acc[2]),
    }
    .neg_if(digit.negative as __mmask8)
}
