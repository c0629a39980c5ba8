//! The curve -x^2 + y^2 = 1 + d x^2 y^2 in extended coordinates (Hisil, Wong, Carter, Dawson, Asiacrypt 2008),
//! and the opaque [`Point`] of ristretto255 on top of it.

use core::fmt;
use core::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroize;

use crate::edwards64::WordPoint;
use crate::field51::{D2, Fe};

/// An element of ristretto255 (RFC 9496), in the portable extended form.
///
/// All operations on it are constant time. Equality is that of the group: two representations of one element are
/// equal. `Debug` is redacted, because a point may be a commitment that is not yet public.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Point {
    pub(crate) x: Fe,
    pub(crate) y: Fe,
    pub(crate) z: Fe,
    pub(crate) t: Fe,
}

/// An affine point as (y - x, y + x, 2 d x y) in limbs, padded to two cache lines.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct AffineNiels(pub(crate) [u64; 16]);

#[cfg(target_arch = "x86_64")]
impl AffineNiels {
    pub(crate) const IDENTITY: Self = {
        let mut a = [0; 16];
        a[0] = 1;
        a[5] = 1;
        Self(a)
    };

    /// The two cache lines.
    #[inline(always)]
    pub(crate) fn halves(&self) -> [[u64; 8]; 2] {
        core::array::from_fn(|half| core::array::from_fn(|i| self.0[8 * half + i]))
    }
}

/// A projective point as (Y - X, Y + X, Z, 2 d T), ready to be added.
#[derive(Clone, Copy)]
pub(crate) struct Cached {
    y_minus_x: Fe,
    y_plus_x: Fe,
    z: Fe,
    t2d: Fe,
}

impl Point {
    /// The neutral element.
    pub const IDENTITY: Self = Self {
        x: Fe::ZERO,
        y: Fe::ONE,
        z: Fe::ONE,
        t: Fe::ZERO,
    };

    /// The base point of RFC 9496, 4 (that of Ed25519).
    pub const BASE: Self = Self {
        x: Fe([
            0x62d608f25d51a,
            0x412a4b4f6592a,
            0x75b7171a4b31d,
            0x1ff60527118fe,
            0x216936d3cd6e5,
        ]),
        y: Fe([
            0x6666666666658,
            0x4cccccccccccc,
            0x1999999999999,
            0x3333333333333,
            0x6666666666666,
        ]),
        z: Fe::ONE,
        // x y, checked by a test.
        t: Fe([
            0x68ab3a5b7dda3,
            0x00eea2a5eadbb,
            0x2af8df483c27e,
            0x332b375274732,
            0x67875f0fd78b7,
        ]),
    };

    #[inline(always)]
    fn from_efgh(e: &Fe, f: &Fe, g: &Fe, h: &Fe) -> Self {
        Self {
            x: e.mul(f),
            y: g.mul(h),
            z: f.mul(g),
            t: e.mul(h),
        }
    }

    #[inline(always)]
    pub(crate) fn cached(&self) -> Cached {
        Cached {
            y_minus_x: self.y.sub(&self.x),
            y_plus_x: self.y.add(&self.x),
            z: self.z,
            t2d: self.t.mul(&D2),
        }
    }

    #[inline(always)]
    pub(crate) fn add_cached(&self, q: &Cached) -> Self {
        let a = self.y.sub(&self.x).mul(&q.y_minus_x);
        let b = self.y.add(&self.x).mul(&q.y_plus_x);
        let c = self.t.mul(&q.t2d);
        let zz = self.z.mul(&q.z);
        let d = zz.add(&zz);
        Self::from_efgh(&b.sub(&a), &d.sub(&c), &d.add(&c), &b.add(&a))
    }

    /// Twice the point.
    #[must_use]
    #[inline]
    pub fn double(&self) -> Self {
        // With P = (Y + X)^2 and M = (Y - X)^2: P - M = 4XY and P + M = 2(X^2 + Y^2). Everything is scaled by 2
        // against the published formula, and F and H have the opposite sign, which cancels projectively.
        let minus = self.y.sub(&self.x);
        let plus = self.y.add(&self.x);
        let p = plus.square();
        let m = minus.square();
        let pm = plus.mul(&minus);
        let zz4 = self.z.add(&self.z).square();
        let g = pm.add(&pm);
        Self::from_efgh(&p.sub(&m), &zz4.sub(&g), &g, &p.add(&m))
    }

    /// Doubled `count` times.
    #[must_use]
    pub fn double_times(&self, count: u32) -> Self {
        let mut r = WordPoint::from(self);
        r = r.double_times(count);
        let out = Self::from(&r);
        r.zeroize();
        out
    }

    /// Whether this is the neutral element of ristretto255, in constant time.
    #[must_use]
    pub fn is_identity(&self) -> Choice {
        self.x.is_zero() | self.y.is_zero()
    }

    /// Sum of many points.
    #[must_use]
    pub fn sum(points: &[Self]) -> Self {
        points.iter().fold(Self::IDENTITY, |acc, p| acc + *p)
    }

    /// (y - x, y + x, 2 d x y), given 1/Z.
    pub(crate) fn niels_parts(&self, zinv: &Fe) -> [Fe; 3] {
        let x = self.x.mul(zinv);
        let y = self.y.mul(zinv);
        [y.sub(&x), y.add(&x), x.mul(&y).mul(&D2)]
    }
}

impl Default for Point {
    fn default() -> Self {
        Self::IDENTITY
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        self.add_cached(&rhs.cached())
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        self.add_cached(&(-rhs).cached())
    }
}

impl Neg for Point {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            x: self.x.neg(),
            t: self.t.neg(),
            ..self
        }
    }
}

impl AddAssign for Point {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl SubAssign for Point {
    fn sub_assign(&mut self, rhs: Self) {
        *self = *self - rhs;
    }
}

impl ConstantTimeEq for Point {
    fn ct_eq(&self, other: &Self) -> Choice {
        // RFC 9496, 4.3.3: equal as cosets of the 4-torsion.
        let xy = self.x.mul(&other.y);
        let yx = self.y.mul(&other.x);
        let xx = self.x.mul(&other.x);
        let yy = self.y.mul(&other.y);
        xy.equals(&yx) | xx.equals(&yy)
    }
}

impl ConditionallySelectable for Point {
    fn conditional_select(a: &Self, b: &Self, choice: Choice) -> Self {
        Self {
            x: Fe::select(&a.x, &b.x, choice),
            y: Fe::select(&a.y, &b.y, choice),
            z: Fe::select(&a.z, &b.z, choice),
            t: Fe::select(&a.t, &b.t, choice),
        }
    }
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl Eq for Point {}

impl Zeroize for Point {
    fn zeroize(&mut self) {
        self.x.zeroize();
        self.y.zeroize();
        self.z.zeroize();
        self.t.zeroize();
    }
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Point(<redacted>)")
    }
}
