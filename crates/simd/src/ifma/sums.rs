//! Sums of many affine points, eight at a time, in limbs of 52 bits.
//!
//! Additions of table entries take most of a client's time, and arithmetic units bound them: this form needs a fifth fewer
//! instructions than [`super::field`]. With limbs as wide as the multiplier, the high half of a product belongs to the next
//! limb as it is and nothing is doubled; the multiplier ignores what stands above 52 bits, so carried limbs need no mask.
//! In return there is no slack: every product operand is carried through in sequence.
//!
//! *Columns* are 64-bit sums weighing 2^(52 k). Those of a product stay below 11 * 2^52, plus what they start from.

use core::arch::x86_64::*;

use super::field::{F8, Mem5, load, splat, store};
use super::point::{MemN8, MemP8, P8};
use crate::field51::MASK51;

/// Five columns, each below 2^63.
type Columns = [__m512i; 5];

/// Five limbs of which the low 52 bits count; the last is below 2^48.
#[derive(Clone, Copy)]
struct Limbs([__m512i; 5]);

/// 2^9 p, limb by limb at least 2^56 - 2^9: more than the columns of a product, 11 * 2^52 at most.
const BIAS: [u64; 5] = {
    let limb = ((1 << 52) - 1) << 9;
    [
        ((1 << 52) - 19) << 9,
        limb,
        limb,
        limb,
        ((1 << 47) - 1) << 9,
    ]
};
/// 2^260 modulo p.
const FOLD: u64 = 608;

#[inline]
#[target_feature(enable = "avx512ifma")]
fn zero() -> Columns {
    [_mm512_setzero_si512(); 5]
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn bias() -> Columns {
    BIAS.map(|b| _mm512_set1_epi64(b.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn add(a: Columns, b: Columns) -> Columns {
    core::array::from_fn(|i| _mm512_add_epi64(a[i], b[i]))
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn sub(a: Columns, b: Columns) -> Columns {
    core::array::from_fn(|i| _mm512_sub_epi64(a[i], b[i]))
}

/// Carries columns below 2^63 through to limbs.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn carry(c: Columns) -> Limbs {
    // First what is above 2^255, so that no carry is left over: the last limb ends below 2^47 + 2^11.
    let top = _mm512_srli_epi64::<47>(c[4]);
    let c4 = _mm512_and_si512(c[4], splat((1 << 47) - 1));
    let l0 = _mm512_madd52lo_epu64(c[0], top, splat(19));
    let l1 = _mm512_add_epi64(c[1], _mm512_srli_epi64::<52>(l0));
    let l2 = _mm512_add_epi64(c[2], _mm512_srli_epi64::<52>(l1));
    let l3 = _mm512_add_epi64(c[3], _mm512_srli_epi64::<52>(l2));
    let l4 = _mm512_add_epi64(c4, _mm512_srli_epi64::<52>(l3));
    Limbs([l0, l1, l2, l3, l4])
}

/// `start` plus the product, as columns. The order of the terms keeps neighbours independent.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn product(a: Limbs, b: Limbs, start: Columns) -> Columns {
    let (a, b) = (a.0, b.0);
    let mut t = [_mm512_setzero_si512(); 10];
    t[..5].copy_from_slice(&start);
    macro_rules! high {
        ($($i:literal $j:literal),*) => {
            $( t[$i + $j + 1] = _mm512_madd52hi_epu64(t[$i + $j + 1], a[$i], b[$j]); )*
        };
    }
    macro_rules! low {
        ($($i:literal $j:literal),*) => {
            $( t[$i + $j] = _mm512_madd52lo_epu64(t[$i + $j], a[$i], b[$j]); )*
        };
    }
    low!(0 4, 0 3, 0 2, 0 1, 0 0, 1 3, 1 2, 1 1, 1 0, 2 2, 2 1, 2 0, 3 1, 3 0, 4 0);
    high!(0 3, 0 2, 0 1, 0 0, 1 2, 1 1, 1 0, 2 1, 2 0, 3 0);
    high!(0 4, 1 4, 2 4, 3 4, 4 4, 1 3, 2 3, 3 3, 4 3, 2 2, 3 2, 4 2, 3 1, 4 1, 4 0);
    low!(1 4, 2 4, 3 4, 4 4, 2 3, 3 3, 4 3, 3 2, 4 2, 4 1);
    // The multiplier takes the low 52 bits of an upper column; what is above, a few bits, is folded one limb up. The last
    // column has high halves of one product of limbs below 2^47 + 2^11: it stays below 2^42 + 2^7, and 608 times it below 2^52.
    let fold = splat(FOLD);
    for k in 0..5 {
        t[k] = _mm512_madd52lo_epu64(t[k], t[k + 5], fold);
    }
    for k in 0..4 {
        t[k + 1] = _mm512_madd52hi_epu64(t[k + 1], t[k + 5], fold);
        t[k + 1] = _mm512_madd52lo_epu64(t[k + 1], _mm512_srli_epi64::<52>(t[k + 5]), fold);
    }
    [t[0], t[1], t[2], t[3], t[4]]
}

/// Eight table entries (y - x, y + x, 2 d x y), to be negated where `negative` is set.
pub(super) struct Entry {
    pub(super) ymx: [__m512i; 5],
    pub(super) ypx: [__m512i; 5],
    pub(super) t2d: [__m512i; 5],
    pub(super) negative: __mmask8,
}

/// Eight running sums in memory: Y - X, Y + X and T carried, Z as columns above the bias.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Sum(MemP8);

impl zeroize::Zeroize for Sum {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn load5(mem: &Mem5) -> [__m512i; 5] {
    [
        load(&mem[0]),
        load(&mem[1]),
        load(&mem[2]),
        load(&mem[3]),
        load(&mem[4]),
    ]
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn store5(mem: &mut Mem5, v: [__m512i; 5]) {
    for (m, v) in mem.iter_mut().zip(v) {
        store(m, v);
    }
}

impl Sum {
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn identity() -> Self {
        let mut sum = Self(MemP8::ZERO);
        let one = [splat(1), splat(0), splat(0), splat(0), splat(0)];
        store5(&mut sum.0.0[0], one);
        store5(&mut sum.0.0[1], one);
        store5(&mut sum.0.0[2], add(one, bias()));
        sum
    }

    /// Mixed addition, 7 products.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    pub(super) fn add_entry(&mut self, q: &Entry) {
        let p = &mut self.0.0;
        let select = |a: [__m512i; 5], b: [__m512i; 5]| -> Limbs {
            Limbs(core::array::from_fn(|i| {
                _mm512_mask_blend_epi64(q.negative, a[i], b[i])
            }))
        };
        let c = product(Limbs(load5(&p[3])), Limbs(q.t2d), zero());
        // Signed from here to the sums with d, whose bias is larger.
        let c: Columns = core::array::from_fn(|i| {
            _mm512_mask_sub_epi64(c[i], q.negative, _mm512_setzero_si512(), c[i])
        });
        let a = product(Limbs(load5(&p[0])), select(q.ymx, q.ypx), zero());
        let b = product(Limbs(load5(&p[1])), select(q.ypx, q.ymx), bias());
        let z = load5(&p[2]);
        let d = add(z, z);
        let (f, g) = (carry(sub(d, c)), carry(add(d, c)));
        store5(&mut p[2], product(f, g, bias()));
        let (e, h) = (carry(sub(b, a)), carry(add(b, a)));
        let t = product(e, h, zero());
        let x = product(e, f, zero());
        store5(&mut p[3], carry(t).0);
        let y = product(g, h, bias());
        store5(&mut p[0], carry(sub(y, x)).0);
        store5(&mut p[1], carry(add(y, x)).0);
    }

    #[target_feature(enable = "avx512ifma")]
    pub(super) fn to_point(self) -> P8 {
        let [ymx, ypx, z, t] = self.0.0;
        P8 {
            ymx: narrow(Limbs(load5(&ymx))),
            ypx: narrow(Limbs(load5(&ypx))),
            z: narrow(carry(load5(&z))),
            t: narrow(Limbs(load5(&t))),
        }
    }
}

/// A tight element of limbs of 51 bits.
#[target_feature(enable = "avx512ifma")]
fn narrow(limbs: Limbs) -> F8 {
    let mask = splat((1 << 52) - 1);
    let mut l = limbs.0;
    for limb in &mut l[..4] {
        *limb = _mm512_and_si512(*limb, mask);
    }
    let limb = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), splat(MASK51));
    F8([
        limb(l[0], splat(0)),
        limb(_mm512_srli_epi64::<51>(l[0]), _mm512_slli_epi64::<1>(l[1])),
        limb(_mm512_srli_epi64::<50>(l[1]), _mm512_slli_epi64::<2>(l[2])),
        limb(_mm512_srli_epi64::<49>(l[2]), _mm512_slli_epi64::<3>(l[3])),
        // 2^51 and a little: tight.
        _mm512_or_si512(_mm512_srli_epi64::<48>(l[3]), _mm512_slli_epi64::<4>(l[4])),
    ])
}

/// Canonical affine points with limbs of 52 bits instead of 51.
#[target_feature(enable = "avx512ifma")]
pub(super) fn widen(points: &MemN8) -> MemN8 {
    let mut out = MemN8::ZERO;
    for (out, mem) in out.0.iter_mut().zip(&points.0) {
        let a = load5(mem);
        let mask = splat((1 << 52) - 1);
        let limb = |low, high| _mm512_and_si512(_mm512_or_si512(low, high), mask);
        let wide = [
            limb(a[0], _mm512_slli_epi64::<51>(a[1])),
            limb(_mm512_srli_epi64::<1>(a[1]), _mm512_slli_epi64::<50>(a[2])),
            limb(_mm512_srli_epi64::<2>(a[2]), _mm512_slli_epi64::<49>(a[3])),
            limb(_mm512_srli_epi64::<3>(a[3]), _mm512_slli_epi64::<48>(a[4])),
            _mm512_srli_epi64::<4>(a[4]),
        ];
        store5(out, wide);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Token, enter};
    use super::*;
    use crate::field51::Fe;

    fn element(limbs: &[u64; 5]) -> Fe {
        limbs.iter().rev().fold(Fe::ZERO, |acc, limb| {
            let limb = limb & ((1 << 52) - 1);
            acc.mul(&Fe([0, 2, 0, 0, 0]))
                .add(&Fe([limb & MASK51, limb >> 51, 0, 0, 0]))
        })
    }

    /// Limbs at the ends of their ranges and inside, with bits above the 52nd that must not count.
    fn corners(count: usize) -> Vec<[u64; 5]> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let last = (1u64 << 47) + (1 << 11) - 1;
        let full = (1u64 << 52) - 1;
        let mut out = vec![[full, full, full, full, last], [0; 5]];
        while out.len() < count {
            let mut limbs: [u64; 5] = core::array::from_fn(|i| {
                let most = if i == 4 { last } else { full };
                match next() % 5 {
                    0 => most,
                    1 => 0,
                    2 => most - next() % 32,
                    _ => next() % (most + 1),
                }
            });
            limbs[..4]
                .iter_mut()
                .for_each(|l| *l |= (next() % 1024) << 52);
            out.push(limbs);
        }
        out
    }

    #[target_feature(enable = "avx512ifma")]
    fn gather(lanes: &[[u64; 5]; 8]) -> Limbs {
        Limbs(core::array::from_fn(|i| load(&lanes.map(|l| l[i]))))
    }

    /// The same elements from limbs, a product, a difference of products and a sum of three.
    #[target_feature(enable = "avx512ifma")]
    fn results(a: &[[u64; 5]; 8], b: &[[u64; 5]; 8]) -> [[Fe; 8]; 4] {
        let (a, b) = (gather(a), gather(b));
        let (ab, aa) = (product(a, b, zero()), product(a, a, bias()));
        [
            narrow(a).scatter(),
            narrow(carry(ab)).scatter(),
            narrow(carry(sub(aa, ab))).scatter(),
            narrow(carry(add(add(aa, aa), ab))).scatter(),
        ]
    }

    #[test]
    fn arithmetic_at_the_corners() {
        let Some(token) = Token::detect() else { return };
        let a = corners(1600);
        let b: Vec<_> = a
            .iter()
            .rev()
            .map(|l| [l[2], l[0], l[3], l[1], l[4]])
            .collect();
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            let got = enter!(token, results(a, b));
            for lane in 0..8 {
                let (a, b) = (element(&a[lane]), element(&b[lane]));
                let (ab, aa) = (a.mul(&b), a.mul(&a));
                let want = [a, ab, aa.sub(&ab), aa.add(&aa).add(&ab)];
                for (got, want) in got.iter().zip(want) {
                    assert!(bool::from(got[lane].equals(&want)));
                    assert!(got[lane].0.iter().all(|limb| *limb < (1 << 51) + (1 << 17)));
                }
            }
        }
    }

    #[test]
    fn columns_keep_below_what_the_bias_and_the_carries_allow() {
        let Some(token) = Token::detect() else { return };
        // Of a product of two limbs the low and the high half count: 2^52 - 1 has a low half of 1, and 2^52 - 2^26 + 1 has
        // halves that are both within 2^-25 of the largest.
        let (full, both) = (u64::MAX, (1 << 52) - (1 << 26) + 1);
        let mut largest = [0; 5];
        for limb in [full, both] {
            let all = [[limb, limb, limb, limb, (1 << 47) + (1 << 11) - 1]; 8];
            let mut columns = [[0u64; 8]; 5];
            enter!(token, {
                let limbs = gather(&all);
                store5(&mut columns, product(limbs, limbs, zero()));
            });
            for (largest, column) in largest.iter_mut().zip(columns) {
                *largest = column[0].max(*largest);
            }
        }
        // In units of 2^51, rounded down: almost as many halves as the columns have.
        assert_eq!(largest.map(|column| column >> 51), [3, 7, 11, 15, 15]);
        for (column, bias) in largest.into_iter().zip(BIAS) {
            assert!(column < 11 << 52 && column <= bias);
            // 2 (product + bias) + product: the largest that is carried.
            assert!(3 * u128::from(column) + 2 * u128::from(bias) < 1 << 63);
        }
    }
}
