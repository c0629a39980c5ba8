//! Eight field elements side by side, five limbs of 51 bits each.
//!
//! The multiplier reads the low 52 bits of a limb, so a *tight* element, with limbs below 2^51 + 2^17, is exact and two
//! tight ones may not be added before a product. Instead of carrying each product and then each sum, products stay
//! *raw* (64-bit columns below 2^61), sums and differences are taken on the columns, and one carry serves both.

use core::arch::x86_64::*;

use crate::field51::{Fe, MASK51};

/// Eight tight elements.
#[derive(Clone, Copy)]
pub(super) struct F8(pub(super) [__m512i; 5]);

/// Eight elements with columns below 2^61 (2^63 after sums).
#[derive(Clone, Copy)]
pub(super) struct Raw([__m512i; 5]);

/// Eight elements in memory, limb by limb.
pub(super) type Mem5 = [[u64; 8]; 5];

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn load(words: &[u64; 8]) -> __m512i {
    // SAFETY: the reference is valid for 64 bytes and the load needs no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn store(words: &mut [u64; 8], value: __m512i) {
    // SAFETY: the reference is valid for writing 64 bytes and the store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn splat(x: u64) -> __m512i {
    _mm512_set1_epi64(x as i64)
}

/// The same element in every lane.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn splat_fe(x: &Fe) -> F8 {
    let a = x.0;
    F8([
        splat(a[0]),
        splat(a[1]),
        splat(a[2]),
        splat(a[3]),
        splat(a[4]),
    ])
}

/// 2^10 p limb by limb: larger than any product's columns.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn bias(limb: usize) -> __m512i {
    splat(if limb == 0 {
        ((1 << 51) - 19) << 10
    } else {
        ((1 << 51) - 1) << 10
    })
}

macro_rules! limbs {
    ($i:ident => $e:expr) => {
        [
            { const $i: usize = 0; $e },
            { const $i: usize = 1; $e },
            { const $i: usize = 2; $e },
            { const $i: usize = 3; $e },
            { const $i: usize = 4; $e },
        ]
    };
}
pub(super) use limbs;

impl Raw {
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add(self, rhs: Self) -> Self {
        Self(limbs!(I => _mm512_add_epi64(self.0[I], rhs.0[I])))
    }

    /// Difference; `rhs` has columns below 2^61 - 2^15.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn sub(self, rhs: Self) -> Self {
        Self(limbs!(I => _mm512_sub_epi64(_mm512_add_epi64(self.0[I], bias(I)), rhs.0[I])))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn twice(self) -> Self {
        Self(limbs!(I => _mm512_add_epi64(self.0[I], self.0[I])))
    }

    /// Columns below 2^63 to a tight element.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn carry(self) -> F8 {
        let mask = splat(MASK51);
        let z = self.0;
        let c = limbs!(I => _mm512_srli_epi64::<51>(z[I]));
        let l = limbs!(I => _mm512_and_si512(z[I], mask));
        F8([
            _mm512_madd52lo_epu64(l[0], c[4], splat(19)),
            _mm512_add_epi64(l[1], c[0]),
            _mm512_add_epi64(l[2], c[1]),
            _mm512_add_epi64(l[3], c[2]),
            _mm512_add_epi64(l[4], c[3]),
        ])
    }
}

/// 19 times columns below 2^57. The rotation is a shift here; written as a shift, the compiler gathers the terms into a
/// 64-bit multiplication, which costs twice as much.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn times19(x: __m512i) -> __m512i {
    let x3 = _mm512_add_epi64(x, _mm512_add_epi64(x, x));
    _mm512_add_epi64(x3, _mm512_rol_epi64::<4>(x))
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn dbl(x: __m512i) -> __m512i {
    _mm512_add_epi64(x, x)
}

impl F8 {
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn load(mem: &Mem5) -> Self {
        Self(limbs!(I => load(&mem[I])))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn store(self, mem: &mut Mem5) {
        for (m, v) in mem.iter_mut().zip(self.0) {
            store(m, v);
        }
    }

    /// One element a lane.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn gather(lanes: [&Fe; 8]) -> Self {
        Self(limbs!(I => load(&[
            lanes[0].0[I], lanes[1].0[I], lanes[2].0[I], lanes[3].0[I],
            lanes[4].0[I], lanes[5].0[I], lanes[6].0[I], lanes[7].0[I],
        ])))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn scatter(self) -> [Fe; 8] {
        let mut mem = [[0; 8]; 5];
        self.store(&mut mem);
        core::array::from_fn(|lane| Fe(core::array::from_fn(|limb| mem[limb][lane])))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn raw(self) -> Raw {
        Raw(self.0)
    }

    /// Product of two elements with limbs below 2^52.
    ///
    /// The high half of a product weighs 2^52, twice the next limb, and limb k + 5 weighs 19 times limb k. High halves
    /// come first, and the sums of low halves start from them: that saves the additions that would join them.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn mul_raw(self, rhs: Self) -> Raw {
        let (a, b) = (self.0, rhs.0);
        macro_rules! sum {
            ($madd:ident, $start:expr, $($i:literal $j:literal),*) => {{
                let mut s = $start;
                $( s = $madd(s, a[$i], b[$j]); )*
                s
            }};
        }
        let zero = _mm512_setzero_si512();
        let h4 = sum!(_mm512_madd52hi_epu64, zero, 0 4, 1 3, 2 2, 3 1, 4 0);
        let h5 = sum!(_mm512_madd52hi_epu64, zero, 1 4, 2 3, 3 2, 4 1);
        let h6 = sum!(_mm512_madd52hi_epu64, zero, 2 4, 3 3, 4 2);
        let h7 = sum!(_mm512_madd52hi_epu64, zero, 3 4, 4 3);
        let h8 = sum!(_mm512_madd52hi_epu64, zero, 4 4);
        let h0 = sum!(_mm512_madd52hi_epu64, zero, 0 0);
        let h1 = sum!(_mm512_madd52hi_epu64, zero, 0 1, 1 0);
        let h2 = sum!(_mm512_madd52hi_epu64, zero, 0 2, 1 1, 2 0);
        let h3 = sum!(_mm512_madd52hi_epu64, zero, 0 3, 1 2, 2 1, 3 0);
        let t5 = sum!(_mm512_madd52lo_epu64, dbl(h4), 1 4, 2 3, 3 2, 4 1);
        let t6 = sum!(_mm512_madd52lo_epu64, dbl(h5), 2 4, 3 3, 4 2);
        let t7 = sum!(_mm512_madd52lo_epu64, dbl(h6), 3 4, 4 3);
        let t8 = sum!(_mm512_madd52lo_epu64, dbl(h7), 4 4);
        let t9 = _mm512_rol_epi64::<1>(h8);
        let s1 = _mm512_add_epi64(times19(t6), dbl(h0));
        let s2 = _mm512_add_epi64(times19(t7), dbl(h1));
        let s3 = _mm512_add_epi64(times19(t8), dbl(h2));
        let s4 = _mm512_add_epi64(times19(t9), dbl(h3));
        Raw([
            sum!(_mm512_madd52lo_epu64, times19(t5), 0 0),
            sum!(_mm512_madd52lo_epu64, s1, 0 1, 1 0),
            sum!(_mm512_madd52lo_epu64, s2, 0 2, 1 1, 2 0),
            sum!(_mm512_madd52lo_epu64, s3, 0 3, 1 2, 2 1, 3 0),
            sum!(_mm512_madd52lo_epu64, s4, 0 4, 1 3, 2 2, 3 1, 4 0),
        ])
    }

    /// Square of an element with limbs below 2^52.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn square_raw(self) -> Raw {
        let a = self.0;
        macro_rules! sum {
            ($madd:ident, $start:expr, $($i:literal $j:literal),*) => {{
                let mut s = $start;
                $( s = $madd(s, a[$i], a[$j]); )*
                s
            }};
        }
        // Mixed terms are summed once and doubled: doubling a limb instead could reach bit 52.
        macro_rules! square_sum {
            ($madd:ident, $start:expr, $($i:literal $j:literal),* ; $($k:literal)?) => {{
                let twice = dbl(sum!($madd, $start, $($i $j),*));
                $( let twice = $madd(twice, a[$k], a[$k]); )?
                twice
            }};
        }
        let zero = _mm512_setzero_si512();
        let h4 = square_sum!(_mm512_madd52hi_epu64, zero, 0 4, 1 3; 2);
        let h5 = square_sum!(_mm512_madd52hi_epu64, zero, 1 4, 2 3;);
        let h6 = square_sum!(_mm512_madd52hi_epu64, zero, 2 4; 3);
        let h7 = square_sum!(_mm512_madd52hi_epu64, zero, 3 4;);
        let h8 = sum!(_mm512_madd52hi_epu64, zero, 4 4);
        let h0 = sum!(_mm512_madd52hi_epu64, zero, 0 0);
        let h1 = square_sum!(_mm512_madd52hi_epu64, zero, 0 1;);
        let h2 = square_sum!(_mm512_madd52hi_epu64, zero, 0 2; 1);
        let h3 = square_sum!(_mm512_madd52hi_epu64, zero, 0 3, 1 2;);
        // The doubling of the low halves doubles what they start from, so high halves enter once.
        let t5 = square_sum!(_mm512_madd52lo_epu64, h4, 1 4, 2 3;);
        let t6 = square_sum!(_mm512_madd52lo_epu64, h5, 2 4; 3);
        let t7 = square_sum!(_mm512_madd52lo_epu64, h6, 3 4;);
        let t8 = sum!(_mm512_madd52lo_epu64, dbl(h7), 4 4);
        let t9 = _mm512_rol_epi64::<1>(h8);
        let l1 = square_sum!(_mm512_madd52lo_epu64, h0, 0 1;);
        let l2 = square_sum!(_mm512_madd52lo_epu64, h1, 0 2; 1);
        let l3 = square_sum!(_mm512_madd52lo_epu64, h2, 0 3, 1 2;);
        let l4 = square_sum!(_mm512_madd52lo_epu64, h3, 0 4, 1 3; 2);
        Raw([
            sum!(_mm512_madd52lo_epu64, times19(t5), 0 0),
            _mm512_add_epi64(l1, times19(t6)),
            _mm512_add_epi64(l2, times19(t7)),
            _mm512_add_epi64(l3, times19(t8)),
            _mm512_add_epi64(l4, times19(t9)),
        ])
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn mul(self, rhs: Self) -> Self {
        self.mul_raw(rhs).carry()
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn square(self) -> Self {
        self.square_raw().carry()
    }

    #[target_feature(enable = "avx512ifma")]
    fn square_times(self, count: u32) -> Self {
        let mut r = self;
        for _ in 0..count {
            r = r.square();
        }
        r
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add(self, rhs: Self) -> Self {
        self.raw().add(rhs.raw()).carry()
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn sub(self, rhs: Self) -> Self {
        self.raw().sub(rhs.raw()).carry()
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn neg(self) -> Self {
        F8([_mm512_setzero_si512(); 5]).sub(self)
    }

    /// The representation with limbs below 2^51 and a value below p.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn canonical(self) -> Self {
        let mask = splat(MASK51);
        let mut a = self.raw().carry().0;
        let mut q = _mm512_srli_epi64::<51>(_mm512_add_epi64(a[0], splat(19)));
        for limb in &a[1..] {
            q = _mm512_srli_epi64::<51>(_mm512_add_epi64(*limb, q));
        }
        a[0] = _mm512_madd52lo_epu64(a[0], q, splat(19));
        for i in 0..4 {
            a[i + 1] = _mm512_add_epi64(a[i + 1], _mm512_srli_epi64::<51>(a[i]));
            a[i] = _mm512_and_si512(a[i], mask);
        }
        a[4] = _mm512_and_si512(a[4], mask);
        Self(a)
    }

    /// Lanes whose canonical representation is odd.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn negative(self) -> __mmask8 {
        _mm512_test_epi64_mask(self.canonical().0[0], splat(1))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn zero(self) -> __mmask8 {
        let a = self.canonical().0;
        let any = _mm512_or_si512(
            _mm512_or_si512(a[0], a[1]),
            _mm512_or_si512(_mm512_or_si512(a[2], a[3]), a[4]),
        );
        _mm512_testn_epi64_mask(any, any)
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn equals(self, rhs: Self) -> __mmask8 {
        self.sub(rhs).zero()
    }

    /// `b` in the lanes of the mask, `a` elsewhere.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn select(a: Self, b: Self, mask: __mmask8) -> Self {
        Self(limbs!(I => _mm512_mask_blend_epi64(mask, a.0[I], b.0[I])))
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn neg_if(self, mask: __mmask8) -> Self {
        Self::select(self, self.neg(), mask)
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn abs(self) -> Self {
        self.neg_if(self.negative())
    }

    #[target_feature(enable = "avx512ifma")]
    fn pow_250_and_11(self) -> (Self, Self) {
        let x2 = self.square();
        let x9 = x2.square_times(2).mul(self);
        let x11 = x9.mul(x2);
        let e5 = x11.square().mul(x9);
        let e10 = e5.square_times(5).mul(e5);
        let e20 = e10.square_times(10).mul(e10);
        let e40 = e20.square_times(20).mul(e20);
        let e50 = e40.square_times(10).mul(e10);
        let e100 = e50.square_times(50).mul(e50);
        let e200 = e100.square_times(100).mul(e100);
        (e200.square_times(50).mul(e50), x11)
    }

    /// The inverse, and 0 for 0.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn invert(self) -> Self {
        let (e250, x11) = self.pow_250_and_11();
        e250.square_times(5).mul(x11)
    }

    /// As [`Fe::sqrt_ratio`].
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn sqrt_ratio(u: Self, v: Self) -> (__mmask8, Self) {
        let sqrt_m1 = splat_fe(&crate::field51::SQRT_M1);
        let v3 = v.square().mul(v);
        let v7 = v3.square().mul(v);
        let base = u.mul(v7);
        let (e250, _) = base.pow_250_and_11();
        let r = u.mul(v3).mul(e250.square_times(2).mul(base));
        let check = v.mul(r.square());
        let minus_u = u.neg();
        let correct = check.equals(u);
        let flipped = check.equals(minus_u);
        let flipped_i = check.equals(minus_u.mul(sqrt_m1));
        let r = Self::select(r, r.mul(sqrt_m1), flipped | flipped_i);
        (correct | flipped, r.abs())
    }

    /// Inverts all lanes of all elements with one (8-lane) inversion; 0 stays 0.
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn invert_batch(values: &mut [Mem5]) {
        use zeroize::Zeroize;
        let one = splat_fe(&Fe::ONE);
        let none = splat_fe(&Fe::ZERO);
        let mut acc = one;
        let mut before: Vec<Mem5> = vec![[[0; 8]; 5]; values.len()];
        for (v, b) in values.iter().zip(&mut before) {
            acc.store(b);
            let v = Self::load(v);
            acc = Self::select(acc.mul(v), acc, v.zero());
        }
        acc = acc.invert();
        for (m, b) in values.iter_mut().zip(&before).rev() {
            let v = Self::load(m);
            let zero = v.zero();
            let inverse = acc.mul(Self::load(b));
            acc = Self::select(acc.mul(v), acc, zero);
            Self::select(inverse, none, zero).store(m);
        }
        before.zeroize();
    }
}
