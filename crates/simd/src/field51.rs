//! The field of p = 2^255 - 19 in five limbs of 51 bits, portable.
//!
//! Two bounds are kept by hand. A *tight* element has limbs below 2^51 + 2^17; every product, square and constant is
//! tight. A *loose* element has limbs below 2^54, which is what a product accepts. [`Fe::add`] of two tight elements
//! stays below 2^53 and [`Fe::sub`] accepts operands below 2^53 - 76 and stays loose, so one addition or subtraction
//! may stand between two products without a carry. All arithmetic wraps explicitly: the bounds above are the proof
//! that nothing is lost, and overflow checks would cost a branch per limb.

use crate::field64::Fe64;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

/// Low 51 bits.
pub(crate) const MASK51: u64 = (1 << 51) - 1;

/// A field element; see the module head for the bounds on its limbs.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Fe(pub(crate) [u64; 5]);

/// d = -121665/121666.
pub(crate) const D: Fe = Fe([
    0x34dca135978a3,
    0x1a8283b156ebd,
    0x5e7a26001c029,
    0x739c663a03cbb,
    0x52036cee2b6ff,
]);
/// 2d.
pub(crate) const D2: Fe = Fe([
    0x69b9426b2f159,
    0x35050762add7a,
    0x3cf44c0038052,
    0x6738cc7407977,
    0x2406d9dc56dff,
]);
/// The even square root of -1.
pub(crate) const SQRT_M1: Fe = Fe([
    0x61b274a0ea0b0,
    0x0d5a5fc8f189d,
    0x7ef5e9cbd0c60,
    0x78595a6804c9e,
    0x2b8324804fc1d,
]);
/// 1 / sqrt(a - d), the even root (RFC 9496, 4.1).
pub(crate) const INVSQRT_A_MINUS_D: Fe = Fe([
    0x0fdaa805d40ea,
    0x2eb482e57d339,
    0x07610274bc58,
    0x6510b613dc8ff,
    0x786c8905cfaff,
]);

/// 1 - d^2.
pub(crate) const ONE_MINUS_D_SQ: Fe = Fe([
    0x409c1945fc176,
    0x719abc6a1fc4f,
    0x1c37f90b20684,
    0x6bccca55eedf,
    0x29072a8b2b3e,
]);
/// (d - 1)^2.
pub(crate) const D_MINUS_ONE_SQ: Fe = Fe([
    0x55aaa44ed4d20,
    0x59603c3332635,
    0x26d3baf4a7928,
    0x120a66e6997a9,
    0x5968b37af66c2,
]);
/// sqrt(a d - 1), the root that RFC 9496, 4.1 names.
pub(crate) const SQRT_AD_MINUS_ONE: Fe = Fe([
    0x7f6a0497b2e1b,
    0x1836f0a97afd2,
    0x7d747f6be7638,
    0x456079e7e6498,
    0x376931bf2b834,
]);

/// 4p limb by limb, the bias of a subtraction.
const BIAS4P: [u64; 5] = [
    (1 << 53) - 76,
    (1 << 53) - 4,
    (1 << 53) - 4,
    (1 << 53) - 4,
    (1 << 53) - 4,
];

#[inline(always)]
fn mul64(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(u128::from(b))
}

#[inline(always)]
fn low51(x: u128) -> u64 {
    (x as u64) & MASK51
}

/// Sums of the columns of a product, folded modulo p, to a tight element. The top column must carry no factor 19.
#[inline(always)]
fn carry_columns(mut c: [u128; 5]) -> Fe {
    c[1] = c[1].wrapping_add(c[0] >> 51);
    c[2] = c[2].wrapping_add(c[1] >> 51);
    c[3] = c[3].wrapping_add(c[2] >> 51);
    c[4] = c[4].wrapping_add(c[3] >> 51);
    let top = (c[4] >> 51) as u64;
    let r0 = low51(c[0]).wrapping_add(top.wrapping_mul(19));
    let r1 = low51(c[1]).wrapping_add(r0 >> 51);
    Fe([r0 & MASK51, r1, low51(c[2]), low51(c[3]), low51(c[4])])
}

/// Each squared `count` times.
fn squares<const N: usize>(x: &[Fe64; N], count: u32) -> [Fe64; N] {
    let mut r = *x;
    for _ in 0..count {
        for r in &mut r {
            *r = r.square();
        }
    }
    r
}

fn products<const N: usize>(x: &[Fe64; N], y: &[Fe64; N]) -> [Fe64; N] {
    core::array::from_fn(|i| x[i].mul(&y[i]))
}

impl Fe {
    pub(crate) const ZERO: Self = Self([0; 5]);
    pub(crate) const ONE: Self = Self([1, 0, 0, 0, 0]);

    /// Product of two loose elements; tight.
    #[inline(always)]
    pub(crate) fn mul(&self, rhs: &Self) -> Self {
        let [a0, a1, a2, a3, a4] = self.0;
        let [b0, b1, b2, b3, b4] = rhs.0;
        let b1_19 = b1.wrapping_mul(19);
        let b2_19 = b2.wrapping_mul(19);
        let b3_19 = b3.wrapping_mul(19);
        let b4_19 = b4.wrapping_mul(19);
        let c0 = mul64(a0, b0)
            .wrapping_add(mul64(a4, b1_19))
            .wrapping_add(mul64(a3, b2_19))
            .wrapping_add(mul64(a2, b3_19))
            .wrapping_add(mul64(a1, b4_19));
        let c1 = mul64(a1, b0)
            .wrapping_add(mul64(a0, b1))
            .wrapping_add(mul64(a4, b2_19))
            .wrapping_add(mul64(a3, b3_19))
            .wrapping_add(mul64(a2, b4_19));
        let c2 = mul64(a2, b0)
            .wrapping_add(mul64(a1, b1))
            .wrapping_add(mul64(a0, b2))
            .wrapping_add(mul64(a4, b3_19))
            .wrapping_add(mul64(a3, b4_19));
        let c3 = mul64(a3, b0)
            .wrapping_add(mul64(a2, b1))
            .wrapping_add(mul64(a1, b2))
            .wrapping_add(mul64(a0, b3))
            .wrapping_add(mul64(a4, b4_19));
        let c4 = mul64(a4, b0)
            .wrapping_add(mul64(a3, b1))
            .wrapping_add(mul64(a2, b2))
            .wrapping_add(mul64(a1, b3))
            .wrapping_add(mul64(a0, b4));
        carry_columns([c0, c1, c2, c3, c4])
    }

    /// Square of a loose element; tight.
    #[inline(always)]
    pub(crate) fn square(&self) -> Self {
        let [a0, a1, a2, a3, a4] = self.0;
        let a3_19 = a3.wrapping_mul(19);
        let a4_19 = a4.wrapping_mul(19);
        let twice = |x: u128| x.wrapping_add(x);
        let c0 = mul64(a0, a0).wrapping_add(twice(mul64(a1, a4_19).wrapping_add(mul64(a2, a3_19))));
        let c1 = mul64(a3, a3_19).wrapping_add(twice(mul64(a0, a1).wrapping_add(mul64(a2, a4_19))));
        let c2 = mul64(a1, a1).wrapping_add(twice(mul64(a0, a2).wrapping_add(mul64(a4, a3_19))));
        let c3 = mul64(a4, a4_19).wrapping_add(twice(mul64(a0, a3).wrapping_add(mul64(a1, a2))));
        let c4 = mul64(a2, a2).wrapping_add(twice(mul64(a0, a4).wrapping_add(mul64(a1, a3))));
        carry_columns([c0, c1, c2, c3, c4])
    }

    /// Sum without a carry.
    #[inline(always)]
    pub(crate) fn add(&self, rhs: &Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i].wrapping_add(rhs.0[i])))
    }

    /// Difference without a carry; the limbs of `rhs` must be below 2^53 - 76.
    #[inline(always)]
    pub(crate) fn sub(&self, rhs: &Self) -> Self {
        Self(core::array::from_fn(|i| {
            self.0[i].wrapping_add(BIAS4P[i]).wrapping_sub(rhs.0[i])
        }))
    }

    /// Any element with limbs below 2^63 to a tight one.
    #[inline(always)]
    pub(crate) fn carry(&self) -> Self {
        let a = self.0;
        Self([
            (a[0] & MASK51).wrapping_add((a[4] >> 51).wrapping_mul(19)),
            (a[1] & MASK51).wrapping_add(a[0] >> 51),
            (a[2] & MASK51).wrapping_add(a[1] >> 51),
            (a[3] & MASK51).wrapping_add(a[2] >> 51),
            (a[4] & MASK51).wrapping_add(a[3] >> 51),
        ])
    }

    /// Negative of an element with limbs below 2^53 - 76; tight.
    #[inline(always)]
    pub(crate) fn neg(&self) -> Self {
        Self::ZERO.sub(self).carry()
    }

    /// The one representation with every limb below 2^51 and the value below p.
    pub(crate) fn canonical(&self) -> Self {
        let mut a = self.carry().carry().0;
        // q = 1 exactly when the value is at least p: adding 19 then carries out of bit 255.
        let mut q = a[0].wrapping_add(19) >> 51;
        q = a[1].wrapping_add(q) >> 51;
        q = a[2].wrapping_add(q) >> 51;
        q = a[3].wrapping_add(q) >> 51;
        q = a[4].wrapping_add(q) >> 51;
        a[0] = a[0].wrapping_add(q.wrapping_mul(19));
        for i in 0..4 {
            a[i + 1] = a[i + 1].wrapping_add(a[i] >> 51);
            a[i] &= MASK51;
        }
        a[4] &= MASK51;
        Self(a)
    }

    /// Canonical little-endian bytes.
    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let a = self.canonical().0;
        let words = [
            a[0] | (a[1] << 51),
            (a[1] >> 13) | (a[2] << 38),
            (a[2] >> 26) | (a[3] << 25),
            (a[3] >> 39) | (a[4] << 12),
        ];
        let mut out = [0; 32];
        for (chunk, word) in out.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// The low 255 bits of a little-endian string, not reduced.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut w = [0u64; 4];
        for (word, chunk) in w.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut le = [0; 8];
            le.copy_from_slice(chunk);
            *word = u64::from_le_bytes(le);
        }
        Self([
            w[0] & MASK51,
            ((w[0] >> 51) | (w[1] << 13)) & MASK51,
            ((w[1] >> 38) | (w[2] << 26)) & MASK51,
            ((w[2] >> 25) | (w[3] << 39)) & MASK51,
            (w[3] >> 12) & MASK51,
        ])
    }

    /// 1 when the canonical representation is odd, which is what "negative" means in RFC 9496.
    #[inline(always)]
    pub(crate) fn is_negative(&self) -> Choice {
        Choice::from((self.canonical().0[0] & 1) as u8)
    }

    pub(crate) fn is_zero(&self) -> Choice {
        self.canonical().0.ct_eq(&[0; 5])
    }

    pub(crate) fn equals(&self, rhs: &Self) -> Choice {
        self.canonical().0.ct_eq(&rhs.canonical().0)
    }

    /// `b` when `choice` is 1, else `a`.
    #[inline(always)]
    pub(crate) fn select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self(core::array::from_fn(|i| {
            u64::conditional_select(&a.0[i], &b.0[i], choice)
        }))
    }

    pub(crate) fn neg_if(&self, choice: Choice) -> Self {
        Self::select(self, &self.neg(), choice)
    }

    pub(crate) fn abs(&self) -> Self {
        self.neg_if(self.is_negative())
    }

    /// x^(2^250 - 1) and x^11 of each x, common to inversion and square roots. A power is a chain of squares that wait for each
    /// other: several chains side by side take little longer than one.
    fn powers_250_and_11<const N: usize>(x: &[Self; N]) -> ([Self; N], [Self; N]) {
        let x = &x.map(|x| Fe64::from_limbs(&x));
        let x2 = squares(x, 1);
        let x9 = products(&squares(&x2, 2), x);
        let x11 = products(&x9, &x2);
        let e5 = products(&squares(&x11, 1), &x9);
        let e10 = products(&squares(&e5, 5), &e5);
        let e20 = products(&squares(&e10, 10), &e10);
        let e40 = products(&squares(&e20, 20), &e20);
        let e50 = products(&squares(&e40, 10), &e10);
        let e100 = products(&squares(&e50, 50), &e50);
        let e200 = products(&squares(&e100, 100), &e100);
        let e250 = products(&squares(&e200, 50), &e50);
        (e250.map(Fe64::to_limbs), x11.map(Fe64::to_limbs))
    }

    /// x^(p - 2): the inverse, and 0 for 0.
    pub(crate) fn invert(&self) -> Self {
        let (e250, x11) = Self::powers_250_and_11(&[*self]);
        (0..5).fold(e250[0], |r, _| r.square()).mul(&x11[0])
    }

    /// SQRT_RATIO_M1 of RFC 9496, 4.2: whether u/v is a square, and the non-negative root of u/v (of i u/v if not).
    pub(crate) fn sqrt_ratio(u: &Self, v: &Self) -> (Choice, Self) {
        let [root] = Self::sqrt_ratios([*u], [*v]);
        root
    }

    /// [`Self::sqrt_ratio`] of several.
    pub(crate) fn sqrt_ratios<const N: usize>(u: [Self; N], v: [Self; N]) -> [(Choice, Self); N] {
        let v3 = v.map(|v| v.square().mul(&v));
        let base: [Self; N] = core::array::from_fn(|i| u[i].mul(&v3[i].square().mul(&v[i])));
        // base^((p - 5) / 8).
        let (e250, _) = Self::powers_250_and_11(&base);
        core::array::from_fn(|i| {
            let (u, v) = (&u[i], &v[i]);
            let power = e250[i].square().square().mul(&base[i]);
            let r = u.mul(&v3[i]).mul(&power);
            let check = v.mul(&r.square());
            let minus_u = u.neg();
            let correct = check.equals(u);
            let flipped = check.equals(&minus_u);
            let flipped_i = check.equals(&minus_u.mul(&SQRT_M1));
            let r = Self::select(&r, &r.mul(&SQRT_M1), flipped | flipped_i);
            (correct | flipped, r.abs())
        })
    }

    /// Inverts all with one inversion; 0 stays 0.
    pub(crate) fn invert_batch(values: &mut [Self]) {
        let mut acc = Self::ONE;
        let mut before = Vec::with_capacity(values.len());
        for v in values.iter() {
            before.push(acc);
            acc = Self::select(&acc.mul(v), &acc, v.is_zero());
        }
        acc = acc.invert();
        for (v, prefix) in values.iter_mut().zip(&before).rev() {
            let zero = v.is_zero();
            let inverse = acc.mul(prefix);
            acc = Self::select(&acc.mul(v), &acc, zero);
            *v = Self::select(&inverse, &Self::ZERO, zero);
        }
        before.zeroize();
        acc.zeroize();
    }
}

impl Zeroize for Fe {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big(x: u64) -> Fe {
        Fe([x; 5])
    }

    #[test]
    fn constants_satisfy_their_equations() {
        let small = |x: u64| Fe([x, 0, 0, 0, 0]);
        assert!(bool::from(
            D.mul(&small(121_666)).equals(&small(121_665).neg())
        ));
        assert!(bool::from(D.add(&D).equals(&D2)));
        assert!(bool::from(SQRT_M1.square().equals(&Fe::ONE.neg())));
        let a_minus_d = Fe::ONE.neg().sub(&D).carry();
        assert!(bool::from(
            INVSQRT_A_MINUS_D.square().mul(&a_minus_d).equals(&Fe::ONE)
        ));
        let d_minus_one = D.sub(&Fe::ONE);
        assert!(bool::from(D_MINUS_ONE_SQ.equals(&d_minus_one.square())));
        assert!(bool::from(ONE_MINUS_D_SQ.equals(&Fe::ONE.sub(&D.square()))));
        let ad_minus_one = Fe::ONE.add(&D).neg();
        assert!(bool::from(SQRT_AD_MINUS_ONE.square().equals(&ad_minus_one)));
        for c in [SQRT_M1, INVSQRT_A_MINUS_D] {
            assert!(!bool::from(c.is_negative()));
        }
    }

    #[test]
    fn canonical_at_the_edges() {
        let p = Fe([MASK51 - 18, MASK51, MASK51, MASK51, MASK51]);
        assert_eq!(p.to_bytes(), [0; 32]);
        assert_eq!(big(MASK51).to_bytes()[0], 18);
        let mut below = p;
        below.0[0] -= 1;
        assert_eq!(below.to_bytes()[0], 0xec);
        assert!(bool::from(below.equals(&Fe::ONE.neg())));
        // 2p and 2p - 1 in loose form.
        let twice = p.add(&p);
        assert!(bool::from(twice.is_zero()));
        assert_eq!(Fe::from_bytes(&[0xff; 32]).to_bytes()[0], 18);
    }

    #[test]
    fn the_loosest_inputs_lose_nothing() {
        let loose = big((1 << 54) - 1);
        let by_parts = loose.carry();
        assert!(bool::from(
            loose.mul(&loose).equals(&by_parts.mul(&by_parts))
        ));
        assert!(bool::from(loose.square().equals(&by_parts.square())));
        for limb in loose.mul(&loose).0 {
            assert!(limb < (1 << 51) + (1 << 15));
        }
        let inverse = loose.invert();
        assert!(bool::from(inverse.mul(&loose).equals(&Fe::ONE)));
        let mut batch = [Fe::ZERO, loose.carry(), Fe::ONE, Fe::ZERO, D];
        Fe::invert_batch(&mut batch);
        assert!(bool::from(batch[0].is_zero() & batch[3].is_zero()));
        assert!(bool::from(
            batch[1].equals(&inverse) & batch[2].equals(&Fe::ONE)
        ));
        assert!(bool::from(batch[4].mul(&D).equals(&Fe::ONE)));
    }

    #[test]
    fn square_roots_of_ratios() {
        for n in 1..60u64 {
            let u = Fe([n, n * 7, 0, 1, 0]);
            let v = Fe([n * n, 3, n, 0, 5]);
            let (square, r) = Fe::sqrt_ratio(&u, &v);
            let target = Fe::select(&u.mul(&SQRT_M1), &u, square);
            assert!(bool::from(r.square().mul(&v).equals(&target)));
            assert!(!bool::from(r.is_negative()));
        }
        let (square, r) = Fe::sqrt_ratio(&Fe::ZERO, &D);
        assert!(bool::from(square & r.is_zero()));
        let (square, r) = Fe::sqrt_ratio(&D, &Fe::ZERO);
        assert!(bool::from(!square & r.is_zero()));
    }
}
