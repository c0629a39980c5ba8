//! The transforms of [`crate::LaneNtt`].
//!
//! Butterflies are lazy (D. Harvey, "Faster arithmetic for number-theoretic transforms", 2014), with Shoup's quotients of 52
//! bits. Layers of stride 64 and more run over whole vectors, two at a time. The last six run in registers on blocks of 64
//! values, which are transposed in the middle and stay so: nothing that is done to transformed values minds their order.

use core::arch::x86_64::*;

use super::field::{load, splat, store};
use super::order::{
    MASK52, canonical, limbs, load_words, montgomery_step, splat_limbs, store_words, swap_lanes,
    words,
};
use super::point::transpose;
use super::{Token, enter};
use crate::field::Fe;
use crate::ntt::{mul_mod, pow_mod};

/// Values of a block that is transformed in registers.
const BLOCK: usize = 64;

/// A root and its quotient.
#[derive(Clone, Copy, Debug, Default)]
struct Root {
    value: u64,
    companion: u64,
}

/// Eight roots, one a lane, and their quotients.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Roots8 {
    value: [u64; 8],
    companion: [u64; 8],
}

/// Roots of one direction.
#[derive(Debug)]
struct Roots {
    /// In the order of use, down to stride 8.
    outer: Vec<Root>,
    /// For each block the roots of stride 4, then two of stride 2, then four of stride 1.
    inner: Vec<[Roots8; 7]>,
}

/// Tables of one prime.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) p: u64,
    pub(crate) degree: usize,
    /// p^-1 mod 2^52.
    p_inverse: u64,
    /// 2^(52 (j + 1)) mod p.
    limb_weights: [u64; 5],
    forward: Roots,
    inverse: Roots,
}

impl Tables {
    pub(crate) fn new(p: u64, root: u64, degree: usize) -> Self {
        let mut p_inverse = p;
        for _ in 0..5 {
            p_inverse = p_inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(p_inverse)));
        }
        let radix = (1 << 52) % p;
        let mut weight = 1;
        let limb_weights = [(); 5].map(|()| {
            weight = mul_mod(weight, radix, p);
            weight
        });
        Self {
            p,
            degree,
            p_inverse: p_inverse & MASK52,
            limb_weights,
            forward: Roots::new(root, p, degree),
            inverse: Roots::new(pow_mod(root, p - 2, p), p, degree),
        }
    }
}

fn root(value: u64, p: u64) -> Root {
    Root {
        value,
        companion: ((u128::from(value) << 52) / u128::from(p)) as u64,
    }
}

impl Roots {
    fn new(base: u64, p: u64, degree: usize) -> Self {
        let shift = usize::BITS - degree.trailing_zeros();
        let mut table = vec![Root::default(); degree];
        let mut power = 1;
        for i in 0..degree {
            table[i.reverse_bits() >> shift] = root(power, p);
            power = mul_mod(power, base, p);
        }
        let blocks = degree / BLOCK;
        let inner = (0..blocks)
            .map(|t| {
                let lanes = |first: usize, step: usize| Roots8 {
                    value: core::array::from_fn(|r| table[first + step * r].value),
                    companion: core::array::from_fn(|r| table[first + step * r].companion),
                };
                [
                    lanes(8 * (blocks + t), 1),
                    lanes(16 * (blocks + t), 2),
                    lanes(16 * (blocks + t) + 1, 2),
                    lanes(32 * (blocks + t), 4),
                    lanes(32 * (blocks + t) + 1, 4),
                    lanes(32 * (blocks + t) + 2, 4),
                    lanes(32 * (blocks + t) + 3, 4),
                ]
            })
            .collect();
        table.truncate(degree / 8);
        Self {
            outer: table,
            inner,
        }
    }
}

/// A root in every lane, or one a lane, in registers.
#[derive(Clone, Copy)]
struct Factor(__m512i, __m512i);

#[inline]
#[target_feature(enable = "avx512ifma")]
fn same(root: Root) -> Factor {
    Factor(splat(root.value), splat(root.companion))
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn each(roots: &Roots8) -> Factor {
    Factor(load(&roots.value), load(&roots.companion))
}

/// x below 2^52 times the root: below 2p.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn mul_lazy(x: __m512i, root: Factor, p: __m512i) -> __m512i {
    let zero = _mm512_setzero_si512();
    let quotient = _mm512_madd52hi_epu64(zero, x, root.1);
    let product = _mm512_madd52lo_epu64(zero, x, root.0);
    let multiple = _mm512_madd52lo_epu64(zero, quotient, p);
    _mm512_and_si512(_mm512_sub_epi64(product, multiple), splat(MASK52))
}

/// x or x - bound, whichever does not wrap, for x < 2 bound.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn reduce_once(x: __m512i, bound: __m512i) -> __m512i {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, bound))
}

/// Inputs and outputs below 4p.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn forward_butterfly(x: &mut __m512i, y: &mut __m512i, root: Factor, [p, two_p]: [__m512i; 2]) {
    let a = reduce_once(*x, two_p);
    let t = mul_lazy(*y, root, p);
    *x = _mm512_add_epi64(a, t);
    *y = _mm512_add_epi64(_mm512_sub_epi64(a, t), two_p);
}

/// Inputs and outputs below 2p.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn inverse_butterfly(x: &mut __m512i, y: &mut __m512i, root: Factor, [p, two_p]: [__m512i; 2]) {
    let (a, b) = (*x, *y);
    *x = reduce_once(_mm512_add_epi64(a, b), two_p);
    *y = mul_lazy(_mm512_add_epi64(_mm512_sub_epi64(a, b), two_p), root, p);
}

/// One layer between the vectors of a block, pair by pair.
macro_rules! layer {
    ($butterfly:ident, $v:ident, $p:expr, $($i:literal $j:literal $root:expr),*) => {{
        $(
            let (mut x, mut y) = ($v[$i], $v[$j]);
            $butterfly(&mut x, &mut y, $root, $p);
            ($v[$i], $v[$j]) = (x, y);
        )*
    }};
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn load_block(block: &[[u64; 8]; 8]) -> [__m512i; 8] {
    block.each_ref().map(|v| load(v))
}

pub(crate) fn forward(token: Token, tables: &Tables, data: &mut [u64]) {
    enter!(token, forward_inner(tables, data.as_chunks_mut::<8>().0));
}

#[target_feature(enable = "avx512ifma")]
fn forward_inner(tables: &Tables, data: &mut [[u64; 8]]) {
    let p = [splat(tables.p), splat(2 * tables.p)];
    let roots = &tables.forward.outer;
    let (mut blocks, mut size) = (1, data.len());
    if (size / 8).trailing_zeros() % 2 == 1 {
        let (low, high) = data.split_at_mut(size / 2);
        let root = same(roots[1]);
        for (x, y) in low.iter_mut().zip(high) {
            let (mut a, mut b) = (load(x), load(y));
            forward_butterfly(&mut a, &mut b, root, p);
            store(x, a);
            store(y, b);
        }
        (blocks, size) = (2, size / 2);
    }
    while size > 8 {
        for (b, chunk) in data.chunks_exact_mut(size).enumerate() {
            let outer = same(roots[blocks + b]);
            let inner = [
                same(roots[2 * (blocks + b)]),
                same(roots[2 * (blocks + b) + 1]),
            ];
            for_quarters(chunk, |v| {
                layer!(forward_butterfly, v, p, 0 2 outer, 1 3 outer);
                layer!(forward_butterfly, v, p, 0 1 inner[0], 2 3 inner[1]);
            });
        }
        (blocks, size) = (4 * blocks, size / 4);
    }
    for (t, (block, inner)) in data
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip(&tables.forward.inner)
        .enumerate()
    {
        let at = blocks + t;
        let mut v = load_block(block);
        let r = same(roots[at]);
        layer!(forward_butterfly, v, p, 0 4 r, 1 5 r, 2 6 r, 3 7 r);
        let (r, s) = (same(roots[2 * at]), same(roots[2 * at + 1]));
        layer!(forward_butterfly, v, p, 0 2 r, 1 3 r, 4 6 s, 5 7 s);
        layer!(forward_butterfly, v, p,
            0 1 same(roots[4 * at]), 2 3 same(roots[4 * at + 1]),
            4 5 same(roots[4 * at + 2]), 6 7 same(roots[4 * at + 3]));
        let mut v = transpose(v);
        let r = each(&inner[0]);
        layer!(forward_butterfly, v, p, 0 4 r, 1 5 r, 2 6 r, 3 7 r);
        let (r, s) = (each(&inner[1]), each(&inner[2]));
        layer!(forward_butterfly, v, p, 0 2 r, 1 3 r, 4 6 s, 5 7 s);
        layer!(forward_butterfly, v, p,
            0 1 each(&inner[3]), 2 3 each(&inner[4]), 4 5 each(&inner[5]), 6 7 each(&inner[6]));
        for (slot, v) in block.iter_mut().zip(v) {
            store(slot, reduce_once(v, p[1]));
        }
    }
}

/// Hands vector 0, 1, .. of each quarter to `body`.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn for_quarters(chunk: &mut [[u64; 8]], body: impl Fn(&mut [__m512i; 4])) {
    let quarter = chunk.len() / 4;
    let (a, rest) = chunk.split_at_mut(quarter);
    let (b, rest) = rest.split_at_mut(quarter);
    let (c, d) = rest.split_at_mut(quarter);
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let mut v = [load(a), load(b), load(c), load(d)];
        body(&mut v);
        store(a, v[0]);
        store(b, v[1]);
        store(c, v[2]);
        store(d, v[3]);
    }
}

pub(crate) fn inverse(token: Token, tables: &Tables, data: &mut [u64], scale: u64) {
    let scale = root(scale, tables.p);
    let data = data.as_chunks_mut::<8>().0;
    enter!(token, inverse_inner(tables, data, scale));
}

#[target_feature(enable = "avx512ifma")]
fn inverse_inner(tables: &Tables, data: &mut [[u64; 8]], scale: Root) {
    let p = [splat(tables.p), splat(2 * tables.p)];
    let roots = &tables.inverse.outer;
    let vectors = data.len();
    let mut blocks = vectors / 8;
    for (t, (block, inner)) in data
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip(&tables.inverse.inner)
        .enumerate()
    {
        let at = blocks + t;
        let mut v = load_block(block);
        layer!(inverse_butterfly, v, p,
            0 1 each(&inner[3]), 2 3 each(&inner[4]), 4 5 each(&inner[5]), 6 7 each(&inner[6]));
        let (r, s) = (each(&inner[1]), each(&inner[2]));
        layer!(inverse_butterfly, v, p, 0 2 r, 1 3 r, 4 6 s, 5 7 s);
        let r = each(&inner[0]);
        layer!(inverse_butterfly, v, p, 0 4 r, 1 5 r, 2 6 r, 3 7 r);
        let mut v = transpose(v);
        layer!(inverse_butterfly, v, p,
            0 1 same(roots[4 * at]), 2 3 same(roots[4 * at + 1]),
            4 5 same(roots[4 * at + 2]), 6 7 same(roots[4 * at + 3]));
        let (r, s) = (same(roots[2 * at]), same(roots[2 * at + 1]));
        layer!(inverse_butterfly, v, p, 0 2 r, 1 3 r, 4 6 s, 5 7 s);
        let r = same(roots[at]);
        layer!(inverse_butterfly, v, p, 0 4 r, 1 5 r, 2 6 r, 3 7 r);
        for (slot, v) in block.iter_mut().zip(v) {
            store(slot, v);
        }
    }
    let mut size = 8;
    while 4 * size <= vectors {
        blocks /= 4;
        size *= 4;
        for (b, chunk) in data.chunks_exact_mut(size).enumerate() {
            let outer = same(roots[blocks + b]);
            let inner = [
                same(roots[2 * (blocks + b)]),
                same(roots[2 * (blocks + b) + 1]),
            ];
            for_quarters(chunk, |v| {
                layer!(inverse_butterfly, v, p, 0 1 inner[0], 2 3 inner[1]);
                layer!(inverse_butterfly, v, p, 0 2 outer, 1 3 outer);
            });
        }
    }
    let scale = same(scale);
    if size < vectors {
        let (low, high) = data.split_at_mut(vectors / 2);
        let root = same(roots[1]);
        for (x, y) in low.iter_mut().zip(high) {
            let (mut a, mut b) = (load(x), load(y));
            inverse_butterfly(&mut a, &mut b, root, p);
            store(x, a);
            store(y, b);
        }
    }
    for v in data {
        let scaled = mul_lazy(load(v), scale, p[0]);
        store(v, reduce_once(scaled, p[0]));
    }
}

pub(crate) fn mul_add(token: Token, tables: &Tables, sum: &mut [u64], a: &[u64], b: &[u64]) {
    enter!(token, mul_add_inner(tables, sum, a, b));
}

#[target_feature(enable = "avx512ifma")]
fn mul_add_inner(tables: &Tables, sum: &mut [u64], a: &[u64], b: &[u64]) {
    let (p, two_p, p_inverse) = (
        splat(tables.p),
        splat(2 * tables.p),
        splat(tables.p_inverse),
    );
    let zero = _mm512_setzero_si512();
    let operands = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
    for (sum, (a, b)) in sum.as_chunks_mut::<8>().0.iter_mut().zip(operands) {
        let (a, b) = (load(a), load(b));
        let low = _mm512_madd52lo_epu64(zero, a, b);
        let high = _mm512_madd52hi_epu64(zero, a, b);
        let quotient = _mm512_madd52lo_epu64(zero, low, p_inverse);
        // The product is below 4 p^2 < 2^52 p, so what comes out is below 2p.
        let multiple = _mm512_madd52hi_epu64(zero, quotient, p);
        let product = _mm512_add_epi64(_mm512_sub_epi64(high, multiple), p);
        store(
            sum,
            reduce_once(_mm512_add_epi64(load(sum), product), two_p),
        );
    }
}

pub(crate) fn residues(token: Token, tables: &Tables, integers: &[[u64; 4]], out: &mut [u64]) {
    enter!(token, residues_inner(tables, integers, out));
}

#[target_feature(enable = "avx512ifma")]
fn residues_inner(tables: &Tables, integers: &[[u64; 4]], out: &mut [u64]) {
    let (p, four_p) = (splat(tables.p), splat(4 * tables.p));
    let zero = _mm512_setzero_si512();
    for (integers, out) in integers.chunks(8).zip(out.chunks_mut(8)) {
        let mut padded = [[0; 4]; 8];
        let full = integers.first_chunk::<8>().unwrap_or_else(|| {
            padded[..integers.len()].copy_from_slice(integers);
            &padded
        });
        let x = limbs(load_words(full));
        let (mut low, mut high) = (zero, zero);
        for (x, weight) in x.iter().zip(tables.limb_weights) {
            low = _mm512_madd52lo_epu64(low, *x, splat(weight));
            high = _mm512_madd52hi_epu64(high, *x, splat(weight));
        }
        let high = _mm512_add_epi64(high, _mm512_srli_epi64::<52>(low));
        let quotient = _mm512_madd52lo_epu64(zero, low, splat(tables.p_inverse));
        let multiple = _mm512_madd52hi_epu64(zero, quotient, p);
        // The upper halves are below 5p and the carry below 8, so this is below 7p, and then below 4p.
        let value = _mm512_add_epi64(_mm512_sub_epi64(high, multiple), p);
        let mut lanes = [0; 8];
        store(&mut lanes, swap_lanes(reduce_once(value, four_p)));
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

pub(crate) fn combine(
    token: Token,
    quotients: &[u64],
    factors: &[Fe],
    rows: &[&[u64]],
    out: &mut [[u64; 4]],
) {
    enter!(token, combine_inner(quotients, factors, rows, out));
}

#[target_feature(enable = "avx512ifma")]
fn combine_inner(quotients: &[u64], factors: &[Fe], rows: &[&[u64]], out: &mut [[u64; 4]]) {
    let factors: Vec<_> = factors.iter().map(|f| splat_limbs(*f)).collect();
    let zero = _mm512_setzero_si512();
    for (block, out) in out.chunks_mut(8).enumerate() {
        let (mut low, mut high) = ([zero; 5], [zero; 5]);
        let mut fraction = splat(1 << 48);
        let mut add = |y: __m512i, factor: &[__m512i; 5]| {
            for k in 0..5 {
                low[k] = _mm512_madd52lo_epu64(low[k], y, factor[k]);
                high[k] = _mm512_madd52hi_epu64(high[k], y, factor[k]);
            }
        };
        for ((row, factor), quotient) in rows.iter().zip(&factors).zip(quotients) {
            let Some(y) = row.get(8 * block..).and_then(|row| row.first_chunk::<8>()) else {
                return;
            };
            let y = load(y);
            add(y, factor);
            // 2^49 y/p, less than two too small.
            fraction = _mm512_madd52hi_epu64(fraction, y, splat(*quotient));
        }
        // x/M is within 1/4 of zero, so rounding to the nearest integer gives q exactly.
        let q = _mm512_srli_epi64::<49>(fraction);
        if let Some(minus_modulus) = factors.last() {
            add(q, minus_modulus);
        }
        let mut t = [zero; 7];
        t[..5].copy_from_slice(&low);
        for (t, high) in t[1..6].iter_mut().zip(high) {
            *t = _mm512_add_epi64(*t, high);
        }
        // Below 2^55 l, so two limbs of reduction, which divide by the 2^104 of the factors, leave less than 2 l.
        montgomery_step(&mut t[0..6]);
        montgomery_step(&mut t[1..7]);
        let sum = [t[2], t[3], t[4], t[5], t[6]].map(|limb| swap_lanes(limb));
        let mut padded = [[0; 4]; 8];
        store_words(&mut padded, words(canonical(sum)));
        out.copy_from_slice(&padded[..out.len()]);
    }
}
