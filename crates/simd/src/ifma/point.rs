//! Eight points side by side.

use core::arch::x86_64::*;

use zeroize::Zeroize;

use super::field::{F8, Mem5, Raw, limbs, load, splat, splat_fe};
use crate::edwards::{AffineNiels, Point};
use crate::field51::{D2, Fe};

/// Eight points as (Y - X, Y + X, Z, T): what the next addition or doubling reads.
#[derive(Clone, Copy)]
pub(super) struct P8 {
    pub(super) ymx: F8,
    pub(super) ypx: F8,
    pub(super) z: F8,
    pub(super) t: F8,
}

/// [`P8`] in memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct MemP8(pub(super) [Mem5; 4]);

impl Zeroize for MemP8 {
    fn zeroize(&mut self) {
        for part in &mut self.0 {
            part.zeroize();
        }
    }
}

/// Eight affine points as (y - x, y + x, 2 d x y).
#[derive(Clone, Copy)]
pub(super) struct N8 {
    pub(super) ymx: F8,
    pub(super) ypx: F8,
    pub(super) t2d: F8,
}

/// [`N8`] in memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct MemN8(pub(super) [Mem5; 3]);

impl MemP8 {
    pub(super) const ZERO: Self = Self([[[0; 8]; 5]; 4]);

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn load(&self) -> P8 {
        P8 {
            ymx: F8::load(&self.0[0]),
            ypx: F8::load(&self.0[1]),
            z: F8::load(&self.0[2]),
            t: F8::load(&self.0[3]),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn store(&mut self, p: &P8) {
        p.ymx.store(&mut self.0[0]);
        p.ypx.store(&mut self.0[1]);
        p.z.store(&mut self.0[2]);
        p.t.store(&mut self.0[3]);
    }
}

impl MemN8 {
    pub(super) const ZERO: Self = Self([[[0; 8]; 5]; 3]);

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn store(&mut self, p: &N8) {
        p.ymx.store(&mut self.0[0]);
        p.ypx.store(&mut self.0[1]);
        p.t2d.store(&mut self.0[2]);
    }
}

/// The common end of the addition formulas: from the raw E, F, G, H to a point.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn finish(e: Raw, f: Raw, g: Raw, h: Raw) -> P8 {
    let (e, f, g, h) = (e.carry(), f.carry(), g.carry(), h.carry());
    let x = e.mul_raw(f);
    let y = g.mul_raw(h);
    P8 {
        ymx: y.sub(x).carry(),
        ypx: y.add(x).carry(),
        z: f.mul(g),
        t: e.mul(h),
    }
}

impl P8 {
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn identity() -> Self {
        let one = splat_fe(&Fe::ONE);
        Self {
            ymx: one,
            ypx: one,
            z: one,
            t: splat_fe(&Fe::ZERO),
        }
    }

    /// Mixed addition, 7 products.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add_affine(&self, q: &N8) -> Self {
        let a = self.ymx.mul_raw(q.ymx);
        let b = self.ypx.mul_raw(q.ypx);
        let c = self.t.mul_raw(q.t2d);
        let d = self.z.raw().twice();
        finish(b.sub(a), d.sub(c), d.add(c), b.add(a))
    }

    /// Addition, 9 products.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add(&self, q: &Self) -> Self {
        let a = self.ymx.mul_raw(q.ymx);
        let b = self.ypx.mul_raw(q.ypx);
        let c = self.t.mul(q.t).mul_raw(splat_fe(&D2));
        let d = self.z.mul_raw(q.z).twice();
        finish(b.sub(a), d.sub(c), d.add(c), b.add(a))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn neg(&self) -> Self {
        Self {
            ymx: self.ypx,
            ypx: self.ymx,
            z: self.z,
            t: self.t.neg(),
        }
    }

    /// Doubling; see [`Point::double`] for the signs.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn double(&self) -> Self {
        let p = self.ypx.square_raw();
        let m = self.ymx.square_raw();
        let g = self.ypx.mul_raw(self.ymx).twice();
        let zz4 = self.z.square_raw().twice().twice();
        // The columns of a product of tight elements stay below 2^59.3: four of them and the bias below 2^63, and two
        // of them below the bias.
        finish(p.sub(m), zz4.sub(g), g, p.add(m))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn double_times(&self, count: u32) -> Self {
        let mut r = *self;
        for _ in 0..count {
            r = r.double();
        }
        r
    }

    /// One point a lane.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn gather(lanes: [&Point; 8]) -> Self {
        let x = F8::gather(lanes.map(|p| &p.x));
        let y = F8::gather(lanes.map(|p| &p.y));
        Self {
            ymx: y.sub(x),
            ypx: y.add(x),
            z: F8::gather(lanes.map(|p| &p.z)),
            t: F8::gather(lanes.map(|p| &p.t)),
        }
    }

    /// Up to eight points; lanes beyond are the identity.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn gather_slice(points: &[Point]) -> Self {
        let none = Point::IDENTITY;
        Self::gather(core::array::from_fn(|i| points.get(i).unwrap_or(&none)))
    }

    #[target_feature(enable = "avx512ifma")]
    pub(super) fn scatter(&self) -> [Point; 8] {
        // Everything is twice the usual coordinate, which is the same projective point.
        let x = self.ypx.sub(self.ymx).scatter();
        let y = self.ypx.add(self.ymx).scatter();
        let z = self.z.add(self.z).scatter();
        let t = self.t.add(self.t).scatter();
        core::array::from_fn(|i| Point {
            x: x[i],
            y: y[i],
            z: z[i],
            t: t[i],
        })
    }

    /// Affine form, given 1/Z; canonical limbs.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn affine_with_zinv(&self, z_inv: F8) -> N8 {
        let ymx = self.ymx.mul(z_inv);
        let ypx = self.ypx.mul(z_inv);
        // T / Z = x y.
        let t2d = self.t.mul(z_inv).mul(splat_fe(&D2));
        N8 {
            ymx: ymx.canonical(),
            ypx: ypx.canonical(),
            t2d: t2d.canonical(),
        }
    }
}

/// Affine forms of many, with one inversion. Z is never 0.
#[target_feature(enable = "avx512ifma")]
pub(super) fn to_affine_batch(points: &[MemP8]) -> Vec<MemN8> {
    let mut z: Vec<Mem5> = points.iter().map(|p| p.0[2]).collect();
    F8::invert_batch(&mut z);
    let mut out = vec![MemN8::ZERO; points.len()];
    for ((p, z_inv), out) in points.iter().zip(&z).zip(&mut out) {
        out.store(&p.load().affine_with_zinv(F8::load(z_inv)));
    }
    z.zeroize();
    out
}

impl N8 {
    /// Negated in the lanes of the mask. Limbs of the operand are below 2^51 (tables are canonical) and of the result
    /// below 2^52, which a product accepts.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn neg_if(&self, mask: __mmask8) -> Self {
        let two_p = |limb: usize| {
            splat(if limb == 0 {
                (1 << 52) - 38
            } else {
                (1 << 52) - 2
            })
        };
        Self {
            ymx: F8::select(self.ymx, self.ypx, mask),
            ypx: F8::select(self.ypx, self.ymx, mask),
            t2d: F8(
                limbs!(I => _mm512_mask_sub_epi64(self.t2d.0[I], mask, two_p(I), self.t2d.0[I])),
            ),
        }
    }

    /// One stored affine point a lane.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn gather(lanes: [&AffineNiels; 8]) -> Self {
        let rows = lanes.map(|p| p.halves());
        macro_rules! part {
            ($h:literal) => {
                transpose([
                    load(&rows[0][$h]),
                    load(&rows[1][$h]),
                    load(&rows[2][$h]),
                    load(&rows[3][$h]),
                    load(&rows[4][$h]),
                    load(&rows[5][$h]),
                    load(&rows[6][$h]),
                    load(&rows[7][$h]),
                ])
            };
        }
        let (low, high) = (part!(0), part!(1));
        Self {
            ymx: F8([low[0], low[1], low[2], low[3], low[4]]),
            ypx: F8([low[5], low[6], low[7], high[0], high[1]]),
            t2d: F8([high[2], high[3], high[4], high[5], high[6]]),
        }
    }
}

/// Transposes eight rows of eight words.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn transpose(r: [__m512i; 8]) -> [__m512i; 8] {
    let a0 = _mm512_unpacklo_epi64(r[0], r[1]);
    let a1 = _mm512_unpackhi_epi64(r[0], r[1]);
    let a2 = _mm512_unpacklo_epi64(r[2], r[3]);
    let a3 = _mm512_unpackhi_epi64(r[2], r[3]);
    let a4 = _mm512_unpacklo_epi64(r[4], r[5]);
    let a5 = _mm512_unpackhi_epi64(r[4], r[5]);
    let a6 = _mm512_unpacklo_epi64(r[6], r[7]);
    let a7 = _mm512_unpackhi_epi64(r[6], r[7]);
    // Now a0 holds columns 0, 2, 4, 6 of rows 0 and 1 in its four 128-bit parts, a1 columns 1, 3, 5, 7, and so on.
    let b0 = _mm512_shuffle_i64x2::<0x88>(a0, a2); // columns 0, 4 of rows 0..4
    let b1 = _mm512_shuffle_i64x2::<0xdd>(a0, a2); // columns 2, 6
    let b2 = _mm512_shuffle_i64x2::<0x88>(a1, a3); // columns 1, 5
    let b3 = _mm512_shuffle_i64x2::<0xdd>(a1, a3); // columns 3, 7
    let b4 = _mm512_shuffle_i64x2::<0x88>(a4, a6);
    let b5 = _mm512_shuffle_i64x2::<0xdd>(a4, a6);
    let b6 = _mm512_shuffle_i64x2::<0x88>(a5, a7);
    let b7 = _mm512_shuffle_i64x2::<0xdd>(a5, a7);
    [
        _mm512_shuffle_i64x2::<0x88>(b0, b4),
        _mm512_shuffle_i64x2::<0x88>(b2, b6),
        _mm512_shuffle_i64x2::<0x88>(b1, b5),
        _mm512_shuffle_i64x2::<0x88>(b3, b7),
        _mm512_shuffle_i64x2::<0xdd>(b0, b4),
        _mm512_shuffle_i64x2::<0xdd>(b2, b6),
        _mm512_shuffle_i64x2::<0xdd>(b1, b5),
        _mm512_shuffle_i64x2::<0xdd>(b3, b7),
    ]
}
