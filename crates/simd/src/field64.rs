//! The field of p = 2^255 - 19 in four words of 64 bits, portable: what the additions of the large loops run on.
//!
//! Against the five limbs of [`crate::field51`] a product takes 21 word products instead of 29, and a stored element four
//! words instead of five; in return sums carry. A *tight* element is below 2^255 + 2^12, which every product and square
//! is; a *loose* one is any four words, which is what a product accepts. Nothing here branches.

use zeroize::Zeroize;

use crate::barrier::opaque;
use crate::field51::{Fe, MASK51};

/// All bits of a word but the top one.
const MASK63: u64 = (1 << 63) - 1;
/// p.
const P: [u64; 4] = [u64::MAX - 18, u64::MAX, u64::MAX, MASK63];

/// A field element; see the module head for the bounds.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Fe64(pub(crate) [u64; 4]);

#[inline(always)]
fn wide(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(u128::from(b))
}

#[inline(always)]
fn low(x: u128) -> u64 {
    x as u64
}

#[inline(always)]
fn high(x: u128) -> u64 {
    (x >> 64) as u64
}

/// A word times four words: five words.
#[inline(always)]
fn row(a: u64, b: &[u64; 4]) -> [u64; 5] {
    let (p0, p1, p2, p3) = (wide(a, b[0]), wide(a, b[1]), wide(a, b[2]), wide(a, b[3]));
    let (r1, c) = high(p0).carrying_add(low(p1), false);
    let (r2, c) = high(p1).carrying_add(low(p2), c);
    let (r3, c) = high(p2).carrying_add(low(p3), c);
    [low(p0), r1, r2, r3, high(p3).wrapping_add(u64::from(c))]
}

/// The upper four words of `acc` plus `r`; both stay below 2^320 / 2^64 in what they stand for, so the top has room.
#[inline(always)]
fn add_row(acc: &[u64; 5], r: &[u64; 5]) -> [u64; 5] {
    let (s0, c) = acc[1].carrying_add(r[0], false);
    let (s1, c) = acc[2].carrying_add(r[1], c);
    let (s2, c) = acc[3].carrying_add(r[2], c);
    let (s3, c) = acc[4].carrying_add(r[3], c);
    [s0, s1, s2, s3, r[4].wrapping_add(u64::from(c))]
}

/// Eight words to a tight element: 2^256 = 38, then 2^255 = 19.
#[inline(always)]
fn fold(l: [u64; 4], h: &[u64; 4]) -> Fe64 {
    let q = row(38, h);
    let (r0, c) = l[0].carrying_add(q[0], false);
    let (r1, c) = l[1].carrying_add(q[1], c);
    let (r2, c) = l[2].carrying_add(q[2], c);
    let (r3, c) = l[3].carrying_add(q[3], c);
    // At most 38, so that what is above bit 255 is at most 77 and 19 times that below 2^11.
    let top = q[4].wrapping_add(u64::from(c));
    let above = ((top << 1) | (r3 >> 63)).wrapping_mul(19);
    let (r0, c) = r0.carrying_add(above, false);
    let (r1, c) = r1.carrying_add(0, c);
    let (r2, c) = r2.carrying_add(0, c);
    Fe64([r0, r1, r2, (r3 & MASK63).wrapping_add(u64::from(c))])
}

impl Fe64 {
    pub(crate) const ZERO: Self = Self([0; 4]);
    pub(crate) const ONE: Self = Self([1, 0, 0, 0]);

    /// The same element, below p.
    pub(crate) fn from_limbs(x: &Fe) -> Self {
        let a = x.canonical().0;
        Self([
            a[0] | (a[1] << 51),
            (a[1] >> 13) | (a[2] << 38),
            (a[2] >> 26) | (a[3] << 25),
            (a[3] >> 39) | (a[4] << 12),
        ])
    }

    /// The same element in limbs, tight there; this one must be tight too.
    #[inline(always)]
    pub(crate) fn to_limbs(self) -> Fe {
        let w = self.0;
        Fe([
            w[0] & MASK51,
            ((w[0] >> 51) | (w[1] << 13)) & MASK51,
            ((w[1] >> 38) | (w[2] << 26)) & MASK51,
            ((w[2] >> 25) | (w[3] << 39)) & MASK51,
            w[3] >> 12,
        ])
    }

    /// Product of two loose elements; tight.
    #[inline(always)]
    pub(crate) fn mul(&self, rhs: &Self) -> Self {
        let (a, b) = (&self.0, &rhs.0);
        let s0 = row(a[0], b);
        let s1 = add_row(&s0, &row(a[1], b));
        let s2 = add_row(&s1, &row(a[2], b));
        let s3 = add_row(&s2, &row(a[3], b));
        fold([s0[0], s1[0], s2[0], s3[0]], &[s3[1], s3[2], s3[3], s3[4]])
    }

    /// Square of a loose element; tight.
    #[inline(always)]
    pub(crate) fn square(&self) -> Self {
        let a = &self.0;
        let (p01, p02, p03) = (wide(a[0], a[1]), wide(a[0], a[2]), wide(a[0], a[3]));
        let (p12, p13, p23) = (wide(a[1], a[2]), wide(a[1], a[3]), wide(a[2], a[3]));
        // The sum of the mixed products, words 1 to 6.
        let w1 = low(p01);
        let (w2, c) = high(p01).carrying_add(low(p02), false);
        let (w3, c) = high(p02).carrying_add(low(p03), c);
        let (w4, c) = high(p03).carrying_add(low(p13), c);
        let (w5, c) = high(p13).carrying_add(low(p23), c);
        let w6 = high(p23).wrapping_add(u64::from(c));
        let (w3, c) = w3.carrying_add(low(p12), false);
        let (w4, c) = w4.carrying_add(high(p12), c);
        let (w5, c) = w5.carrying_add(0, c);
        let w6 = w6.wrapping_add(u64::from(c));
        // Twice that, plus the squares.
        let (d0, d1, d2, d3) = (
            wide(a[0], a[0]),
            wide(a[1], a[1]),
            wide(a[2], a[2]),
            wide(a[3], a[3]),
        );
        let twice = |upper: u64, lower: u64| (upper << 1) | (lower >> 63);
        let (l1, c) = (w1 << 1).carrying_add(high(d0), false);
        let (l2, c) = twice(w2, w1).carrying_add(low(d1), c);
        let (l3, c) = twice(w3, w2).carrying_add(high(d1), c);
        let (h0, c) = twice(w4, w3).carrying_add(low(d2), c);
        let (h1, c) = twice(w5, w4).carrying_add(high(d2), c);
        let (h2, c) = twice(w6, w5).carrying_add(low(d3), c);
        let h3 = (w6 >> 63).wrapping_add(high(d3)).wrapping_add(u64::from(c));
        fold([low(d0), l1, l2, l3], &[h0, h1, h2, h3])
    }

    /// Sum of two tight elements; loose.
    #[inline(always)]
    pub(crate) fn add_tight(&self, rhs: &Self) -> Self {
        let (r, carry) = self.plain_add(rhs);
        // With a carry what is left is below 2^13: adding 38 to the lowest word is the whole of it.
        Self([r[0].wrapping_add(carry & 38), r[1], r[2], r[3]])
    }

    /// Sum of a loose and a tight element; loose.
    #[inline(always)]
    pub(crate) fn add(&self, tight: &Self) -> Self {
        let (r, carry) = self.plain_add(tight);
        // With a carry what is left is below 2^255 + 2^12, so that 38 more stay below 2^256.
        let (r0, c) = r[0].carrying_add(carry & 38, false);
        let (r1, c) = r[1].carrying_add(0, c);
        let (r2, c) = r[2].carrying_add(0, c);
        Self([r0, r1, r2, r[3].wrapping_add(u64::from(c))])
    }

    /// Difference of a loose and a tight element; loose.
    #[inline(always)]
    pub(crate) fn sub(&self, tight: &Self) -> Self {
        let (r, borrow) = self.plain_sub(tight);
        // With a borrow what is left is above 2^255 - 2^13, so that 38 can be taken from it.
        let (r0, c) = r[0].borrowing_sub(borrow & 38, false);
        let (r1, c) = r[1].borrowing_sub(0, c);
        let (r2, c) = r[2].borrowing_sub(0, c);
        Self([r0, r1, r2, r[3].wrapping_sub(u64::from(c))])
    }

    /// p minus an element of at most p; tight.
    #[inline(always)]
    pub(crate) fn neg_canonical(&self) -> Self {
        Self(Self(P).plain_sub(self).0)
    }

    /// The sum modulo 2^256, and all ones when it carries.
    #[inline(always)]
    fn plain_add(&self, rhs: &Self) -> ([u64; 4], u64) {
        let (r0, c) = self.0[0].carrying_add(rhs.0[0], false);
        let (r1, c) = self.0[1].carrying_add(rhs.0[1], c);
        let (r2, c) = self.0[2].carrying_add(rhs.0[2], c);
        let (r3, c) = self.0[3].carrying_add(rhs.0[3], c);
        ([r0, r1, r2, r3], opaque(u64::from(c).wrapping_neg()))
    }

    /// The difference modulo 2^256, and all ones when it borrows.
    #[inline(always)]
    fn plain_sub(&self, rhs: &Self) -> ([u64; 4], u64) {
        let (r0, c) = self.0[0].borrowing_sub(rhs.0[0], false);
        let (r1, c) = self.0[1].borrowing_sub(rhs.0[1], c);
        let (r2, c) = self.0[2].borrowing_sub(rhs.0[2], c);
        let (r3, c) = self.0[3].borrowing_sub(rhs.0[3], c);
        ([r0, r1, r2, r3], opaque(u64::from(c).wrapping_neg()))
    }
}

impl Zeroize for Fe64 {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field51::D;

    /// Values at every bound of the words, loose ones among them.
    fn extremes() -> Vec<Fe64> {
        let mut out = Vec::new();
        for top in [0, 1, MASK63 - 1, MASK63, MASK63 + 1, u64::MAX - 1, u64::MAX] {
            for middle in [0, 1, u64::MAX] {
                for lowest in [0, 1, 19, 38, 4095, u64::MAX - 38, u64::MAX - 19, u64::MAX] {
                    out.push(Fe64([lowest, middle, middle, top]));
                }
            }
        }
        out.push(Fe64::from_limbs(&D));
        out
    }

    /// By the other field, limb by limb: the oracle.
    fn limbs(x: &Fe64) -> Fe {
        let bits = x.to_limbs();
        // A loose element has 52 bits in the top limb.
        bits.carry()
    }

    fn same(x: &Fe64, y: &Fe) -> bool {
        limbs(x).equals(y).into()
    }

    fn tight(x: &Fe64) -> bool {
        x.0[3] <= MASK63 || (x.0[3] == MASK63 + 1 && x.0[1] == 0 && x.0[2] == 0 && x.0[0] < 4096)
    }

    #[test]
    fn every_operation_agrees_with_the_limbs_at_the_bounds() {
        let all = extremes();
        assert!(all.iter().filter(|x| !tight(x)).count() > 10);
        for a in &all {
            assert!(tight(&a.square()) && same(&a.square(), &limbs(a).square()));
            let canonical = Fe64::from_limbs(&limbs(a));
            assert!(same(&canonical, &limbs(a)));
            assert!(tight(&canonical.neg_canonical()));
            assert!(same(&canonical.neg_canonical(), &limbs(a).neg()));
            for b in &all {
                let product = a.mul(b);
                assert!(tight(&product));
                assert!(same(&product, &limbs(a).mul(&limbs(b))));
                if tight(b) {
                    assert!(same(&a.add(b), &limbs(a).add(&limbs(b)).carry()));
                    assert!(same(&a.sub(b), &limbs(a).sub(&limbs(b)).carry()));
                    if tight(a) {
                        assert!(same(&a.add_tight(b), &limbs(a).add(&limbs(b)).carry()));
                    }
                }
            }
        }
    }

    #[test]
    fn long_chains_agree_with_the_limbs() {
        let (mut x, mut y) = (Fe64::from_limbs(&D), Fe64([3, 1, 4, 1]));
        let (mut u, mut v) = (limbs(&x), limbs(&y));
        for _ in 0..2_000 {
            (x, y) = (
                x.mul(&y).add_tight(&y.square()).mul(&x),
                x.sub(&y.mul(&x)).square(),
            );
            (u, v) = (
                u.mul(&v).add(&v.square()).mul(&u),
                u.sub(&v.mul(&u)).square(),
            );
            assert!(same(&x, &u) && same(&y, &v));
        }
    }
}
