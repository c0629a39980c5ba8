//! The additions of the portable loops, on [`Fe64`]; see [`crate::edwards`] for the formulas.

use zeroize::Zeroize;

use crate::barrier::opaque;
use crate::edwards::Point;
use crate::field51::Fe;
use crate::field64::Fe64;

/// An element of the group in extended coordinates, each tight.
#[derive(Clone, Copy)]
pub(crate) struct WordPoint {
    x: Fe64,
    y: Fe64,
    z: Fe64,
    t: Fe64,
}

/// An affine point as (y - x, y + x, 2 d x y), each below p: what tables hold.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct WordNiels(pub(crate) [u64; 12]);

impl WordNiels {
    /// All zeros, which is no point: look-ups start from it.
    pub(crate) const NONE: Self = Self([0; 12]);

    fn new(y_minus_x: &Fe, y_plus_x: &Fe, t2d: &Fe) -> Self {
        let mut words = [0; 12];
        for (out, part) in words.chunks_exact_mut(4).zip([y_minus_x, y_plus_x, t2d]) {
            out.copy_from_slice(&Fe64::from_limbs(part).0);
        }
        Self(words)
    }

    #[inline(always)]
    fn part(&self, part: usize) -> Fe64 {
        Fe64(core::array::from_fn(|i| self.0[part * 4 + i]))
    }

    /// Negated when `mask` is all ones, unchanged when it is 0.
    #[inline(always)]
    pub(crate) fn neg_if_mask(&self, mask: u64) -> Self {
        let mask = opaque(mask);
        let mut out = *self;
        let negative = self.part(2).neg_canonical().0;
        for i in 0..4 {
            let swap = (self.0[i] ^ self.0[4 + i]) & mask;
            out.0[i] ^= swap;
            out.0[4 + i] ^= swap;
        }
        for (word, negative) in out.0[8..].iter_mut().zip(negative) {
            *word ^= (*word ^ negative) & mask;
        }
        out
    }

    /// Affine forms of all, with one inversion.
    pub(crate) fn batch(points: &[Point]) -> Vec<Self> {
        let mut z: Vec<Fe> = points.iter().map(|p| p.z).collect();
        Fe::invert_batch(&mut z);
        let out = points
            .iter()
            .zip(&z)
            .map(|(p, z_inv)| {
                let [y_minus_x, y_plus_x, t2d] = p.niels_parts(z_inv);
                Self::new(&y_minus_x, &y_plus_x, &t2d)
            })
            .collect();
        z.zeroize();
        out
    }
}

impl WordPoint {
    /// The neutral element.
    pub(crate) const IDENTITY: Self = Self {
        x: Fe64::ZERO,
        y: Fe64::ONE,
        z: Fe64::ONE,
        t: Fe64::ZERO,
    };

    #[inline(always)]
    fn from_efgh(e: &Fe64, f: &Fe64, g: &Fe64, h: &Fe64) -> Self {
        Self {
            x: e.mul(f),
            y: g.mul(h),
            z: f.mul(g),
            t: e.mul(h),
        }
    }

    /// Mixed addition, 7 products.
    #[inline(always)]
    pub(crate) fn add_affine(&self, q: &WordNiels) -> Self {
        let a = self.y.sub(&self.x).mul(&q.part(0));
        let b = self.y.add_tight(&self.x).mul(&q.part(1));
        let c = self.t.mul(&q.part(2));
        let d = self.z.add_tight(&self.z);
        Self::from_efgh(&b.sub(&a), &d.sub(&c), &d.add(&c), &b.add_tight(&a))
    }

    /// Mixed subtraction.
    #[inline(always)]
    pub(crate) fn sub_affine(&self, q: &WordNiels) -> Self {
        let a = self.y.sub(&self.x).mul(&q.part(1));
        let b = self.y.add_tight(&self.x).mul(&q.part(0));
        let c = self.t.mul(&q.part(2));
        let d = self.z.add_tight(&self.z);
        Self::from_efgh(&b.sub(&a), &d.add(&c), &d.sub(&c), &b.add_tight(&a))
    }

    /// E, F, G, H of the doubling; see [`Point::double`] for the signs.
    #[inline(always)]
    fn double_efgh(&self) -> [Fe64; 4] {
        let minus = self.y.sub(&self.x);
        let plus = self.y.add_tight(&self.x);
        let p = plus.square();
        let m = minus.square();
        let pm = plus.mul(&minus);
        let zz4 = self.z.add_tight(&self.z).square();
        // F = 4 Z^2 - 2 P M, subtracted twice because 2 P M is loose.
        let f = zz4.sub(&pm).sub(&pm);
        [p.sub(&m), f, pm.add_tight(&pm), p.add_tight(&m)]
    }

    /// Twice the point.
    #[inline(always)]
    pub(crate) fn double(&self) -> Self {
        let [e, f, g, h] = self.double_efgh();
        Self::from_efgh(&e, &f, &g, &h)
    }

    /// Doubled `count` times. A doubling does not read T, so only the last one makes it.
    pub(crate) fn double_times(&self, count: u32) -> Self {
        let mut r = *self;
        for left in (0..count).rev() {
            let [e, f, g, h] = r.double_efgh();
            r.x = e.mul(&f);
            r.y = g.mul(&h);
            r.z = f.mul(&g);
            if left == 0 {
                r.t = e.mul(&h);
            }
        }
        r
    }
}

impl From<&Point> for WordPoint {
    fn from(p: &Point) -> Self {
        Self {
            x: Fe64::from_limbs(&p.x),
            y: Fe64::from_limbs(&p.y),
            z: Fe64::from_limbs(&p.z),
            t: Fe64::from_limbs(&p.t),
        }
    }
}

impl From<&WordPoint> for Point {
    fn from(p: &WordPoint) -> Self {
        Self {
            x: p.x.to_limbs(),
            y: p.y.to_limbs(),
            z: p.z.to_limbs(),
            t: p.t.to_limbs(),
        }
    }
}

impl Zeroize for WordPoint {
    fn zeroize(&mut self) {
        self.x.zeroize();
        self.y.zeroize();
        self.z.zeroize();
        self.t.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_agrees_with_the_other_form() {
        let mut points = vec![Point::IDENTITY, Point::BASE, -Point::BASE];
        for i in 0..40 {
            points.push(points[i].double() + points[i + 1] + Point::BASE);
        }
        let niels = WordNiels::batch(&points);
        let (mut sum, mut want) = (WordPoint::IDENTITY, Point::IDENTITY);
        for (p, q) in points.iter().zip(&niels) {
            for _ in 0..2 {
                sum = sum.add_affine(q);
                want += *p;
                assert!(Point::from(&sum) == want);
            }
            assert!(Point::from(&sum.add_affine(&q.neg_if_mask(u64::MAX))) == want - *p);
            assert!(Point::from(&sum.add_affine(&q.neg_if_mask(0))) == want + *p);
            (sum, want) = (sum.double(), want.double());
            assert!(Point::from(&sum) == want);
            for count in 0..6 {
                let many = (0..count).fold(want, |p, _| p.double());
                assert!(Point::from(&sum.double_times(count).add_affine(q)) == many + *p);
                assert!(Point::from(&WordPoint::from(&want).double_times(count)) == many);
            }
            (sum, want) = (sum.sub_affine(q), want - *p);
            assert!(Point::from(&sum) == want);
        }
        // The point itself and its negative: the formulas are complete.
        let twice = WordPoint::IDENTITY
            .add_affine(&niels[1])
            .add_affine(&niels[1]);
        assert!(Point::from(&twice) == Point::BASE.double());
        let none = WordPoint::IDENTITY
            .add_affine(&niels[1])
            .sub_affine(&niels[1]);
        assert!(bool::from(Point::from(&none).is_identity()));
    }
}
