//! Arithmetic modulo the group order l in Montgomery form, fast enough for the 10^7 multiplications of a proof.
//!
//! curve25519-dalek's `Scalar` stays the type at the group boundary; [`Fe`] is for inner loops. Every operation is free of
//! secret-dependent branches and addresses. Oracle in the tests: `Scalar`. Loops over many elements are methods of
//! [`crate::Engine`], on the same two backends as the group.

use crate::barrier::opaque;
use curve25519_dalek::scalar::Scalar;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, MulAssign, Neg, Sub, SubAssign};
use zeroize::Zeroize;

pub(crate) mod batch;
pub(crate) mod subsets;

pub use batch::INTEGER_BITS;

/// l = 2^252 + 27742317777372353535851937790883648493, little-endian limbs.
pub const ORDER: [u64; 4] = [
    0x5812_631a_5cf5_d3ed,
    0x14de_f9de_a2f7_9cd6,
    0,
    0x1000_0000_0000_0000,
];

#[inline]
const fn adc(a: u64, b: u64, carry: u64) -> (u64, u64) {
    // Wrapping, here and below: none of these sums leaves 128 bits, but a check for it would be made.
    let t = (a as u128)
        .wrapping_add(b as u128)
        .wrapping_add(carry as u128);
    (t as u64, (t >> 64) as u64)
}

#[inline]
const fn sbb(a: u64, b: u64, borrow: u64) -> (u64, u64) {
    let t = (a as u128).wrapping_sub((b as u128).wrapping_add(borrow as u128));
    (t as u64, (t >> 127) as u64)
}

#[inline]
const fn mac(a: u64, b: u64, c: u64, carry: u64) -> (u64, u64) {
    let t = (b as u128)
        .wrapping_mul(c as u128)
        .wrapping_add(a as u128)
        .wrapping_add(carry as u128);
    (t as u64, (t >> 64) as u64)
}

/// -l^-1 mod 2^64, by Newton's iteration.
const NEG_INV: u64 = {
    let mut inv = 1u64;
    let mut i = 0;
    while i < 6 {
        inv = inv.wrapping_mul(2u64.wrapping_sub(ORDER[0].wrapping_mul(inv)));
        i += 1;
    }
    inv.wrapping_neg()
};

/// The value minus l, and all ones when that is negative.
#[inline]
const fn minus_order(v: [u64; 4], high: u64) -> ([u64; 4], u64) {
    let (r0, b) = sbb(v[0], ORDER[0], 0);
    let (r1, b) = sbb(v[1], ORDER[1], b);
    let (r2, b) = sbb(v[2], ORDER[2], b);
    let (r3, b) = sbb(v[3], ORDER[3], b);
    let (_, b) = sbb(high, 0, b);
    ([r0, r1, r2, r3], 0u64.wrapping_sub(b))
}

#[inline]
const fn choose(v: [u64; 4], r: [u64; 4], keep: u64) -> [u64; 4] {
    [
        (v[0] & keep) | (r[0] & !keep),
        (v[1] & keep) | (r[1] & !keep),
        (v[2] & keep) | (r[2] & !keep),
        (v[3] & keep) | (r[3] & !keep),
    ]
}

#[inline]
fn sub_order_if_above(v: [u64; 4], high: u64) -> [u64; 4] {
    let (r, keep) = minus_order(v, high);
    choose(v, r, opaque(keep))
}

#[inline]
const fn plain_sum(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], u64) {
    let (r0, c) = adc(a[0], b[0], 0);
    let (r1, c) = adc(a[1], b[1], c);
    let (r2, c) = adc(a[2], b[2], c);
    let (r3, c) = adc(a[3], b[3], c);
    ([r0, r1, r2, r3], c)
}

#[inline]
fn add_limbs(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let (sum, carry) = plain_sum(a, b);
    sub_order_if_above(sum, carry)
}

const fn pow2_mod_order(exponent: u32) -> [u64; 4] {
    let mut r = [1u64, 0, 0, 0];
    let mut i = 0;
    while i < exponent {
        let (twice, carry) = plain_sum(r, r);
        let (reduced, keep) = minus_order(twice, carry);
        r = choose(twice, reduced, keep);
        i += 1;
    }
    r
}

/// 2^256, 2^512 mod l: Montgomery's R and R^2.
const R: [u64; 4] = pow2_mod_order(256);
pub(crate) const R2: [u64; 4] = pow2_mod_order(512);

#[inline]
fn montgomery_reduce(t: [u64; 8]) -> [u64; 4] {
    let mut t = [t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]];
    let mut carry_out = 0u64;
    let mut i = 0;
    while i < 4 {
        let k = t[i].wrapping_mul(NEG_INV);
        let (_, c) = mac(t[i], k, ORDER[0], 0);
        let (r1, c) = mac(t[i + 1], k, ORDER[1], c);
        // ORDER[2] is zero and ORDER[3] is 2^60.
        let (r2, c) = adc(t[i + 2], 0, c);
        let (r3, c) = adc(t[i + 3], k << 60, c);
        let (r4, c2) = adc(t[i + 4], carry_out, (k >> 4).wrapping_add(c));
        t[i + 1] = r1;
        t[i + 2] = r2;
        t[i + 3] = r3;
        t[i + 4] = r4;
        carry_out = c2;
        i += 1;
    }
    sub_order_if_above([t[4], t[5], t[6], t[7]], carry_out)
}

#[inline]
const fn mul_wide(a: [u64; 4], b: [u64; 4]) -> [u64; 8] {
    let mut t = [0u64; 8];
    let mut i = 0;
    while i < 4 {
        let (r0, c) = mac(t[i], a[i], b[0], 0);
        let (r1, c) = mac(t[i + 1], a[i], b[1], c);
        let (r2, c) = mac(t[i + 2], a[i], b[2], c);
        let (r3, c) = mac(t[i + 3], a[i], b[3], c);
        t[i] = r0;
        t[i + 1] = r1;
        t[i + 2] = r2;
        t[i + 3] = r3;
        t[i + 4] = c;
        i += 1;
    }
    t
}

/// An element of F = Z_l in Montgomery form, always fully reduced.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Fe(pub(crate) [u64; 4]);

impl Fe {
    /// Zero.
    pub const ZERO: Self = Self([0; 4]);
    /// One.
    pub const ONE: Self = Self(R);

    /// The element of canonical limbs; `None` unless they are below l.
    #[must_use]
    pub fn from_canonical_limbs(limbs: [u64; 4]) -> Option<Self> {
        (sub_order_if_above(limbs, 0) == limbs).then(|| Self::from_limbs_unchecked(limbs))
    }

    /// As [`Fe::from_canonical_limbs`] for limbs that the caller knows to be below 2^256; reduces them.
    #[inline]
    pub fn from_limbs_unchecked(limbs: [u64; 4]) -> Self {
        Self(montgomery_reduce(mul_wide(limbs, R2)))
    }

    /// 2^-256 times the integer with these limbs, which must be below l (unreduced otherwise): free of any arithmetic, so a
    /// sum over many integers is computed with this and multiplied by 2^256 once.
    #[inline]
    #[must_use]
    pub fn from_limbs_scaled(limbs: [u64; 4]) -> Self {
        Self(limbs)
    }

    /// Canonical little-endian limbs.
    #[inline]
    pub fn to_limbs(self) -> [u64; 4] {
        let [a, b, c, d] = self.0;
        montgomery_reduce([a, b, c, d, 0, 0, 0, 0])
    }

    /// Canonical little-endian bytes.
    #[inline]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0u8; 32];
        for (chunk, limb) in out.chunks_exact_mut(8).zip(self.to_limbs()) {
            chunk.copy_from_slice(&limb.to_le_bytes());
        }
        out
    }

    /// From 64 uniform bytes, reduced.
    pub fn from_bytes_wide(bytes: &[u8; 64]) -> Self {
        let mut t = [0u64; 8];
        for (limb, chunk) in t.iter_mut().zip(bytes.chunks_exact(8)) {
            *limb = u64::from_le_bytes(std::array::from_fn(|i| chunk[i]));
        }
        let [a, b, c, d, e, f, g, h] = t;
        let high = Self::from_limbs_unchecked([e, f, g, h]);
        Self::from_limbs_unchecked([a, b, c, d]) + high * Self(R2)
    }

    /// From a signed integer, embedded centred.
    #[inline]
    pub fn from_i64(v: i64) -> Self {
        Self::from_i128(v.into())
    }

    /// From a signed integer, embedded centred; constant time.
    #[inline]
    pub fn from_i128(v: i128) -> Self {
        Self::from_u128(v.unsigned_abs()).negate_if(0u64.wrapping_sub(((v >> 127) & 1) as u64))
    }

    /// The negative for a mask of all ones, the element itself for 0.
    #[inline]
    fn negate_if(self, mask: u64) -> Self {
        let mask = opaque(mask);
        let negative = -self;
        Self(std::array::from_fn(|i| {
            (self.0[i] & !mask) | (negative.0[i] & mask)
        }))
    }

    /// From an unsigned integer.
    #[inline]
    pub fn from_u128(v: u128) -> Self {
        Self::from_limbs_unchecked([v as u64, (v >> 64) as u64, 0, 0])
    }

    /// From an unsigned integer.
    #[inline]
    pub fn from_u64(v: u64) -> Self {
        Self::from_u128(v.into())
    }

    /// 2^exponent.
    pub fn pow2(exponent: u32) -> Self {
        let (mut r, mut base, mut e) = (Self::ONE, Self::from_u64(2), exponent);
        while e > 0 {
            if e & 1 == 1 {
                r *= base;
            }
            base *= base;
            e >>= 1;
        }
        r
    }

    /// The square.
    #[must_use]
    #[inline]
    pub fn square(self) -> Self {
        self * self
    }

    /// The element as a signed integer if its centred representative fits 127 bits. Variable time: public data only.
    pub fn to_i128_vartime(self) -> Option<i128> {
        let narrow = |v: [u64; 4]| {
            (v[2] == 0 && v[3] == 0 && v[1] >> 63 == 0)
                .then(|| i128::from(v[0]) | (i128::from(v[1]) << 64))
        };
        narrow(self.to_limbs()).or_else(|| narrow((-self).to_limbs()).map(|v| -v))
    }
}

impl From<Scalar> for Fe {
    fn from(s: Scalar) -> Self {
        Self::from(&s)
    }
}
impl From<&Scalar> for Fe {
    fn from(s: &Scalar) -> Self {
        let mut limbs = [0u64; 4];
        for (limb, chunk) in limbs.iter_mut().zip(s.as_bytes().chunks_exact(8)) {
            *limb = u64::from_le_bytes(std::array::from_fn(|i| chunk[i]));
        }
        Self::from_limbs_unchecked(limbs)
    }
}
impl From<Fe> for Scalar {
    fn from(v: Fe) -> Self {
        // Canonical by construction, so the reduction changes nothing.
        Scalar::from_bytes_mod_order(v.to_bytes())
    }
}

impl Add for Fe {
    type Output = Self;
    #[inline]
    fn add(self, o: Self) -> Self {
        Self(add_limbs(self.0, o.0))
    }
}
impl Sub for Fe {
    type Output = Self;
    #[inline]
    fn sub(self, o: Self) -> Self {
        let (r0, b) = sbb(self.0[0], o.0[0], 0);
        let (r1, b) = sbb(self.0[1], o.0[1], b);
        let (r2, b) = sbb(self.0[2], o.0[2], b);
        let (r3, b) = sbb(self.0[3], o.0[3], b);
        let mask = opaque(0u64.wrapping_sub(b));
        let (r0, c) = adc(r0, ORDER[0] & mask, 0);
        let (r1, c) = adc(r1, ORDER[1] & mask, c);
        let (r2, c) = adc(r2, 0, c);
        let (r3, _) = adc(r3, ORDER[3] & mask, c);
        Self([r0, r1, r2, r3])
    }
}
impl Neg for Fe {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        Self::ZERO - self
    }
}
impl Mul for Fe {
    type Output = Self;
    #[inline]
    fn mul(self, o: Self) -> Self {
        Self(montgomery_reduce(mul_wide(self.0, o.0)))
    }
}
impl AddAssign for Fe {
    #[inline]
    fn add_assign(&mut self, o: Self) {
        *self = *self + o;
    }
}
impl SubAssign for Fe {
    #[inline]
    fn sub_assign(&mut self, o: Self) {
        *self = *self - o;
    }
}
impl MulAssign for Fe {
    #[inline]
    fn mul_assign(&mut self, o: Self) {
        *self = *self * o;
    }
}
impl Sum for Fe {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |a, b| a + b)
    }
}
impl Zeroize for Fe {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
impl fmt::Debug for Fe {
    /// Field elements may be secret: the value is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fe(..)")
    }
}

/// A sum of products that is reduced once at the end; holds at least 2^60 products.
#[derive(Clone, Copy, Default)]
pub struct Accumulator {
    pub(crate) limbs: [u64; 9],
}

impl Accumulator {
    /// Adds a * b.
    #[inline]
    pub fn add_product(&mut self, a: Fe, b: Fe) {
        let t = mul_wide(a.0, b.0);
        let mut carry = 0;
        for (limb, add) in self.limbs.iter_mut().zip(t) {
            (*limb, carry) = adc(*limb, add, carry);
        }
        self.limbs[8] = self.limbs[8].wrapping_add(carry);
    }

    /// The sum.
    #[inline]
    pub fn finish(self) -> Fe {
        let [a, b, c, d, e, f, g, h, top] = self.limbs;
        // The sum is low + upper 2^256 + top 2^512, to be divided by 2^256 = R: reduction of low divides by R, upper
        // only has to be reduced below l, top is multiplied by R.
        let low = montgomery_reduce([a, b, c, d, 0, 0, 0, 0]);
        let upper = montgomery_reduce(mul_wide([e, f, g, h], R));
        let top = montgomery_reduce(mul_wide([top, 0, 0, 0], R2));
        Fe(add_limbs(add_limbs(low, upper), top))
    }
}

impl fmt::Debug for Accumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accumulator(..)")
    }
}

/// <a, b> over the shorter length.
#[must_use]
pub fn inner_product(a: &[Fe], b: &[Fe]) -> Fe {
    let mut acc = Accumulator::default();
    for (x, y) in a.iter().zip(b) {
        acc.add_product(*x, *y);
    }
    acc.finish()
}

/// eq(point, i) for all i of 0..2^len: the multilinear Lagrange basis, coordinate 0 being the lowest bit of i.
pub fn eq_table(point: &[Fe]) -> Vec<Fe> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(Fe::ONE);
    for &x in point {
        let half = table.len();
        for i in 0..half {
            let upper = table[i] * x;
            table[i] -= upper;
            table.push(upper);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    fn samples() -> Vec<Scalar> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut v = vec![
            Scalar::ZERO,
            Scalar::ONE,
            -Scalar::ONE,
            Scalar::from(2u64),
            -Scalar::from(2u64),
        ];
        v.extend((0..200).map(|_| Scalar::random(&mut rng)));
        v.extend((0..50).map(|_| Scalar::from(rng.next_u64())));
        v
    }

    #[test]
    fn agrees_with_dalek() {
        let s = samples();
        for a in &s {
            assert_eq!(Scalar::from(Fe::from(a)), *a);
            assert_eq!(
                Fe::from_canonical_limbs(Fe::from(a).to_limbs()),
                Some(Fe::from(a))
            );
            assert_eq!(Scalar::from(-Fe::from(a)), -a);
            for b in s.iter().rev().take(60) {
                let (x, y) = (Fe::from(a), Fe::from(b));
                assert_eq!(Scalar::from(x + y), a + b);
                assert_eq!(Scalar::from(x - y), a - b);
                assert_eq!(Scalar::from(x * y), a * b);
            }
        }
        let f: Vec<_> = s.iter().map(Fe::from).collect();
        let g: Vec<_> = f.iter().rev().copied().collect();
        let expected: Scalar = s.iter().zip(s.iter().rev()).map(|(a, b)| a * b).sum();
        assert_eq!(Scalar::from(inner_product(&f, &g)), expected);
    }

    #[test]
    fn accumulator_holds_many_extreme_products() {
        let max = -Fe::ONE;
        let mut acc = Accumulator::default();
        for _ in 0..100_000 {
            acc.add_product(max, max);
        }
        assert_eq!(Scalar::from(acc.finish()), Scalar::from(100_000u64));
        // Raw limbs near the top exercise the ninth limb.
        let big = Fe([u64::MAX; 4].map(|v| v >> 4));
        let mut acc = Accumulator::default();
        let mut slow = Fe::ZERO;
        for _ in 0..70_000 {
            acc.add_product(big, big);
            slow += big * big;
        }
        assert_eq!(acc.finish(), slow);
    }

    #[test]
    fn integers_embed_centred() {
        for v in [
            0i128,
            1,
            -1,
            i64::MAX.into(),
            i64::MIN.into(),
            i128::MAX,
            i128::MIN + 1,
            1 << 100,
            -(1 << 100),
        ] {
            assert_eq!(Fe::from_i128(v).to_i128_vartime(), Some(v));
            assert_eq!(Fe::from_i128(v) + Fe::from_i128(-v), Fe::ZERO);
        }
        assert_eq!(Fe::pow2(200).to_i128_vartime(), None);
        assert_eq!(Fe::from_canonical_limbs(ORDER), None);
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for _ in 0..100 {
            let mut w = [0u8; 64];
            rng.fill_bytes(&mut w);
            assert_eq!(
                Scalar::from(Fe::from_bytes_wide(&w)),
                Scalar::from_bytes_mod_order_wide(&w)
            );
        }
        assert_eq!(
            Scalar::from(Fe::from_bytes_wide(&[255; 64])),
            Scalar::from_bytes_mod_order_wide(&[255; 64])
        );
    }

    #[test]
    fn eq_table_is_the_lagrange_basis() {
        let point: Vec<_> = samples()[5..9].iter().map(Fe::from).collect();
        let table = eq_table(&point);
        for (i, entry) in table.iter().enumerate() {
            let expected = point.iter().enumerate().fold(Fe::ONE, |acc, (k, &x)| {
                acc * if i >> k & 1 == 1 { x } else { Fe::ONE - x }
            });
            assert_eq!(*entry, expected);
        }
        assert_eq!(table.into_iter().sum::<Fe>(), Fe::ONE);
    }
}
