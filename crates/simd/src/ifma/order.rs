//! Eight elements of Z_l side by side: the loops of [`crate::field`].
//!
//! In memory an element has four words and Montgomery's factor 2^256. In registers it has five limbs of 52 bits, of which
//! the multiplier reads no more, so limbs are cut out of the words without masks. A Montgomery product of such limbs
//! divides by 2^260; one factor is therefore taken times 16. Sums of products stay in columns until the end.

use core::arch::x86_64::*;

use super::field::{splat, store};
use super::{Token, enter};
use crate::field::{Accumulator, Fe};

pub(super) const MASK52: u64 = (1 << 52) - 1;

/// l in limbs of 52 bits.
const L: [u64; 5] = [
    0x2_631a_5cf5_d3ed,
    0xd_ea2f_79cd_6581,
    0x14_def9,
    0,
    1 << 44,
];

/// -l^-1 mod 2^52.
const NEG_INV: u64 = {
    let mut inverse = 1u64;
    let mut i = 0;
    while i < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(L[0].wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg() & MASK52
};

/// Products that are added up before columns are carried: ten terms below 2^52 each.
const PRODUCTS: usize = 256;

/// Four words of eight elements. Elements stand in the order 0, 2, 1, 3, 4, 6, 5, 7.
pub(super) type Words = [__m512i; 4];

/// Five limbs of eight elements.
pub(super) type Limbs = [__m512i; 5];

/// Natural order to that of [`Words`], and back.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn swap_lanes(x: __m512i) -> __m512i {
    _mm512_permutex_epi64::<0b11_01_10_00>(x)
}

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn load_words(v: &[[u64; 4]; 8]) -> Words {
    let at = v.as_ptr().cast::<u64>();
    // SAFETY: the reference is to 32 words in a row, so each load of 8 words from word 0, 8, 16 and 24 stays inside; the
    // loads need no alignment.
    let z: [__m512i; 4] = unsafe {
        [
            _mm512_loadu_si512(at.cast()),
            _mm512_loadu_si512(at.add(8).cast()),
            _mm512_loadu_si512(at.add(16).cast()),
            _mm512_loadu_si512(at.add(24).cast()),
        ]
    };
    let (even0, odd0) = (
        _mm512_unpacklo_epi64(z[0], z[1]),
        _mm512_unpackhi_epi64(z[0], z[1]),
    );
    let (even1, odd1) = (
        _mm512_unpacklo_epi64(z[2], z[3]),
        _mm512_unpackhi_epi64(z[2], z[3]),
    );
    [
        _mm512_shuffle_i64x2::<0x88>(even0, even1),
        _mm512_shuffle_i64x2::<0x88>(odd0, odd1),
        _mm512_shuffle_i64x2::<0xdd>(even0, even1),
        _mm512_shuffle_i64x2::<0xdd>(odd0, odd1),
    ]
}

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn store_words(v: &mut [[u64; 4]; 8], w: Words) {
    let first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    let second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    let even0 = _mm512_permutex2var_epi64(w[0], first, w[2]);
    let even1 = _mm512_permutex2var_epi64(w[0], second, w[2]);
    let odd0 = _mm512_permutex2var_epi64(w[1], first, w[3]);
    let odd1 = _mm512_permutex2var_epi64(w[1], second, w[3]);
    let z = [
        _mm512_unpacklo_epi64(even0, odd0),
        _mm512_unpackhi_epi64(even0, odd0),
        _mm512_unpacklo_epi64(even1, odd1),
        _mm512_unpackhi_epi64(even1, odd1),
    ];
    let at = v.as_mut_ptr().cast::<u64>();
    // SAFETY: as in `load_words`, for writing.
    unsafe {
        _mm512_storeu_si512(at.cast(), z[0]);
        _mm512_storeu_si512(at.add(8).cast(), z[1]);
        _mm512_storeu_si512(at.add(16).cast(), z[2]);
        _mm512_storeu_si512(at.add(24).cast(), z[3]);
    }
}

#[inline]
fn as_words(v: &[Fe; 8]) -> &[[u64; 4]; 8] {
    // SAFETY: `Fe` is transparent over four words, every value of which is allowed in either type.
    unsafe { &*core::ptr::from_ref(v).cast() }
}

#[inline]
fn as_words_mut(v: &mut [Fe; 8]) -> &mut [[u64; 4]; 8] {
    // SAFETY: as in `as_words`.
    unsafe { &mut *core::ptr::from_mut(v).cast() }
}

/// Up to eight elements; zeros beyond the end.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn load_part(v: &[Fe]) -> Words {
    match v.first_chunk::<8>() {
        Some(v) => load_words(as_words(v)),
        None => {
            let mut padded = [Fe::ZERO; 8];
            padded[..v.len()].copy_from_slice(v);
            load_words(as_words(&padded))
        }
    }
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn store_part(v: &mut [Fe], w: Words) {
    match v.first_chunk_mut::<8>() {
        Some(v) => store_words(as_words_mut(v), w),
        None => {
            let mut padded = [Fe::ZERO; 8];
            store_words(as_words_mut(&mut padded), w);
            let len = v.len();
            v.copy_from_slice(&padded[..len]);
        }
    }
}

/// Up to eight integers with [`crate::field::batch::BIAS`] in the low 52 bits, in natural order; the bias beyond the end.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn load_integers(v: &[i64]) -> __m512i {
    let raw = match v.first_chunk::<8>() {
        // SAFETY: the reference is valid for 64 bytes and the load needs no alignment.
        Some(v) => unsafe { _mm512_loadu_si512(v.as_ptr().cast()) },
        None => {
            let mut padded = [0; 8];
            padded[..v.len()].copy_from_slice(v);
            // SAFETY: as above.
            unsafe { _mm512_loadu_si512(padded.as_ptr().cast()) }
        }
    };
    // Modulo 2^52, adding 2^51 flips the highest bit, and the multiplier reads 52 bits.
    _mm512_xor_si512(raw, splat(1 << 51))
}

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn limbs(w: Words) -> Limbs {
    [
        w[0],
        _mm512_or_si512(_mm512_srli_epi64::<52>(w[0]), _mm512_slli_epi64::<12>(w[1])),
        _mm512_or_si512(_mm512_srli_epi64::<40>(w[1]), _mm512_slli_epi64::<24>(w[2])),
        _mm512_or_si512(_mm512_srli_epi64::<28>(w[2]), _mm512_slli_epi64::<36>(w[3])),
        _mm512_srli_epi64::<16>(w[3]),
    ]
}

/// Limbs of 16 times the elements.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn limbs_times16(w: Words) -> Limbs {
    [
        _mm512_slli_epi64::<4>(w[0]),
        _mm512_or_si512(_mm512_srli_epi64::<48>(w[0]), _mm512_slli_epi64::<16>(w[1])),
        _mm512_or_si512(_mm512_srli_epi64::<36>(w[1]), _mm512_slli_epi64::<28>(w[2])),
        _mm512_or_si512(_mm512_srli_epi64::<24>(w[2]), _mm512_slli_epi64::<40>(w[3])),
        _mm512_srli_epi64::<12>(w[3]),
    ]
}

#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn masked(v: Limbs) -> Limbs {
    v.map(|x| _mm512_and_si512(x, splat(MASK52)))
}

/// Words of elements whose limbs are canonical.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn words(v: Limbs) -> Words {
    [
        _mm512_or_si512(v[0], _mm512_slli_epi64::<52>(v[1])),
        _mm512_or_si512(_mm512_srli_epi64::<12>(v[1]), _mm512_slli_epi64::<40>(v[2])),
        _mm512_or_si512(_mm512_srli_epi64::<24>(v[2]), _mm512_slli_epi64::<28>(v[3])),
        _mm512_or_si512(_mm512_srli_epi64::<36>(v[3]), _mm512_slli_epi64::<16>(v[4])),
    ]
}

/// The same element in every lane, times 16 if it is a factor of a product that divides by 2^260.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn splat_limbs(x: Fe) -> Limbs {
    limbs(x.0.map(|w| splat(w)))
}

/// Sums of low and of high halves of products; low column k weighs 2^(52 k), high column k one more limb.
#[derive(Clone, Copy)]
struct Columns {
    low: [__m512i; 9],
    high: [__m512i; 9],
}

impl Columns {
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    fn zero() -> Self {
        Self {
            low: [_mm512_setzero_si512(); 9],
            high: [_mm512_setzero_si512(); 9],
        }
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    fn add(&mut self, a: &Limbs, b: &Limbs) {
        for (i, a) in a.iter().enumerate() {
            for (j, b) in b.iter().enumerate() {
                self.low[i + j] = _mm512_madd52lo_epu64(self.low[i + j], *a, *b);
                self.high[i + j] = _mm512_madd52hi_epu64(self.high[i + j], *a, *b);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512ifma")]
    fn join(&self) -> [__m512i; 10] {
        let mut out = [_mm512_setzero_si512(); 10];
        out[..9].copy_from_slice(&self.low);
        for (out, high) in out[1..].iter_mut().zip(self.high) {
            *out = _mm512_add_epi64(*out, high);
        }
        out
    }

    /// Moves what exceeds 52 bits to the next column, so that more can be added.
    #[inline]
    #[target_feature(enable = "avx512ifma")]
    fn carry(&mut self) {
        let mut joined = self.join();
        carry(&mut joined);
        let [low @ .., last] = joined;
        self.low = low;
        self.high = [_mm512_setzero_si512(); 9];
        self.high[8] = last;
    }
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn carry<const N: usize>(columns: &mut [__m512i; N]) {
    for k in 1..N {
        columns[k] = _mm512_add_epi64(columns[k], _mm512_srli_epi64::<52>(columns[k - 1]));
        columns[k - 1] = _mm512_and_si512(columns[k - 1], splat(MASK52));
    }
}

/// As [`carry`] for columns that may be negative.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn carry_signed(v: &mut Limbs) {
    for k in 1..5 {
        v[k] = _mm512_add_epi64(v[k], _mm512_srai_epi64::<52>(v[k - 1]));
        v[k - 1] = _mm512_and_si512(v[k - 1], splat(MASK52));
    }
}

/// Adds a multiple of l that clears column 0, and carries it: one limb of a Montgomery reduction of columns 0 to 5.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn montgomery_step(t: &mut [__m512i]) {
    let zero = _mm512_setzero_si512();
    let m = _mm512_madd52lo_epu64(zero, t[0], splat(NEG_INV));
    let l = [splat(L[0]), splat(L[1]), splat(L[2])];
    t[0] = _mm512_madd52lo_epu64(t[0], m, l[0]);
    t[1] = _mm512_madd52lo_epu64(_mm512_madd52hi_epu64(t[1], m, l[0]), m, l[1]);
    t[2] = _mm512_madd52lo_epu64(_mm512_madd52hi_epu64(t[2], m, l[1]), m, l[2]);
    t[3] = _mm512_madd52hi_epu64(t[3], m, l[2]);
    t[4] = _mm512_madd52lo_epu64(t[4], m, splat(L[4]));
    t[5] = _mm512_madd52hi_epu64(t[5], m, splat(L[4]));
    t[1] = _mm512_add_epi64(t[1], _mm512_srli_epi64::<52>(t[0]));
}

/// The product's columns divided by 2^260 modulo l: below the product over 2^260, plus l. Limbs are not carried.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn montgomery(mut t: [__m512i; 10]) -> Limbs {
    for i in 0..5 {
        montgomery_step(&mut t[i..i + 6]);
    }
    [t[5], t[6], t[7], t[8], t[9]]
}

/// q l for q below 8, limb by limb.
const MULTIPLES: [[u64; 8]; 5] = {
    let mut out = [[0; 8]; 5];
    let mut q = 0;
    while q < 8 {
        let mut carry = 0;
        let mut k = 0;
        while k < 5 {
            let v = q as u64 * L[k] + carry;
            out[k][q] = v & MASK52;
            carry = v >> 52;
            k += 1;
        }
        out[4][q] += carry << 52;
        q += 1;
    }
    out
};

/// The canonical form of values below 2^255 in limbs below 2^63.
#[inline]
#[target_feature(enable = "avx512ifma")]
pub(super) fn canonical(mut v: Limbs) -> Limbs {
    carry(&mut v);
    // With q the value over 2^252, rounded down, the value less q l lies in (-2^128, 2^252).
    let q = _mm512_srli_epi64::<44>(v[4]);
    for (limb, table) in v.iter_mut().zip(&MULTIPLES) {
        *limb = _mm512_sub_epi64(
            *limb,
            _mm512_permutexvar_epi64(q, super::field::load(table)),
        );
    }
    carry_signed(&mut v);
    let negative = negative_lanes(v[4]);
    for (limb, l) in v.iter_mut().zip(L) {
        *limb = _mm512_mask_add_epi64(*limb, negative, *limb, splat(l));
    }
    carry_signed(&mut v);
    v
}

/// Lanes that are negative.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn negative_lanes(x: __m512i) -> __mmask8 {
    _mm512_cmplt_epi64_mask(x, _mm512_setzero_si512())
}

/// a - b + l for elements: limbs below 2^52, value below 2 l.
#[inline]
#[target_feature(enable = "avx512ifma")]
fn difference(a: &Words, b: &Words) -> Limbs {
    let (a, b) = (masked(limbs(*a)), masked(limbs(*b)));
    let mut out = a;
    for k in 0..5 {
        out[k] = _mm512_sub_epi64(_mm512_add_epi64(a[k], splat(L[k])), b[k]);
    }
    carry_signed(&mut out);
    out
}

/// The sum over all lanes of columns, modulo l times 2^-256: as an [`Accumulator`] finishes.
#[target_feature(enable = "avx512ifma")]
fn total<const N: usize>(mut columns: [__m512i; N]) -> Accumulator {
    carry(&mut columns);
    // Eight lanes below 2^52; only the last column may be larger, by less than 2^9 as nothing beyond 2^572 is summed.
    let mut limbs = [0u64; 9];
    let mut pending = 0u128;
    let (mut bits, mut at) = (0u32, 0);
    for column in columns {
        pending += (_mm512_reduce_add_epi64(column).cast_unsigned() as u128) << bits;
        bits += 52;
        if bits >= 64 {
            limbs[at] = pending as u64;
            at += 1;
            pending >>= 64;
            bits -= 64;
        }
    }
    limbs[at] = pending as u64;
    if let Some(next) = limbs.get_mut(at + 1) {
        *next = (pending >> 64) as u64;
    }
    Accumulator { limbs }
}

pub(crate) fn dot(token: Token, a: &[Fe], b: &[Fe]) -> Fe {
    enter!(token, dot_inner(a, b)).finish()
}

#[target_feature(enable = "avx512ifma")]
fn dot_inner(a: &[Fe], b: &[Fe]) -> Accumulator {
    let count = a.len().min(b.len());
    let mut sum = Columns::zero();
    for (i, (a, b)) in a[..count].chunks(8).zip(b[..count].chunks(8)).enumerate() {
        sum.add(&limbs(load_part(a)), &limbs(load_part(b)));
        if i % PRODUCTS == PRODUCTS - 1 {
            sum.carry();
        }
    }
    total(sum.join())
}

pub(crate) fn line_products(token: Token, a: [&[Fe]; 2], b: [&[Fe]; 2]) -> [Fe; 2] {
    [
        dot(token, a[0], b[0]),
        enter!(token, slopes_inner(a, b)).finish(),
    ]
}

#[target_feature(enable = "avx512ifma")]
fn slopes_inner([a0, a1]: [&[Fe]; 2], [b0, b1]: [&[Fe]; 2]) -> Accumulator {
    let count = a0.len().min(a1.len()).min(b0.len()).min(b1.len());
    let mut sum = Columns::zero();
    let a = a0[..count].chunks(8).zip(a1[..count].chunks(8));
    let b = b0[..count].chunks(8).zip(b1[..count].chunks(8));
    for (i, ((a0, a1), (b0, b1))) in a.zip(b).enumerate() {
        let a = difference(&load_part(a1), &load_part(a0));
        let b = difference(&load_part(b1), &load_part(b0));
        sum.add(&a, &b);
        if i % PRODUCTS == PRODUCTS - 1 {
            sum.carry();
        }
    }
    total(sum.join())
}

pub(crate) fn bind(token: Token, low: &mut [Fe], high: &[Fe], x: Fe) {
    let x = x * Fe::from_u64(16);
    enter!(token, bind_inner(low, high, x));
}

#[target_feature(enable = "avx512ifma")]
fn bind_inner(low: &mut [Fe], high: &[Fe], x: Fe) {
    let x = splat_limbs(x);
    for (low, high) in low.chunks_mut(8).zip(high.chunks(8)) {
        let count = low.len().min(high.len());
        let (low, high) = (&mut low[..count], &high[..count]);
        let base = load_part(low);
        let mut product = Columns::zero();
        product.add(&difference(&load_part(high), &base), &x);
        let product = montgomery(product.join());
        let base = masked(limbs(base));
        // Below 2 l and below l.
        let mut sum = product;
        for (sum, base) in sum.iter_mut().zip(base) {
            *sum = _mm512_add_epi64(*sum, base);
        }
        store_part(low, words(canonical(sum)));
    }
}

pub(crate) fn mul_each(token: Token, a: &[Fe], b: &[Fe], out: &mut [Fe]) {
    enter!(token, mul_each_inner(a, b, out));
}

#[target_feature(enable = "avx512ifma")]
fn mul_each_inner(a: &[Fe], b: &[Fe], out: &mut [Fe]) {
    for (out, (a, b)) in out.chunks_mut(8).zip(a.chunks(8).zip(b.chunks(8))) {
        let count = out.len().min(a.len()).min(b.len());
        let mut product = Columns::zero();
        product.add(&limbs_times16(load_part(a)), &limbs(load_part(b)));
        let product = montgomery(product.join());
        store_part(&mut out[..count], words(canonical(product)));
    }
}

pub(crate) fn combine(token: Token, terms: &[(Fe, &[Fe])], out: &mut [Fe]) {
    enter!(token, combine_inner(terms, out));
}

/// Rows after which a sum of products is reduced: 2^5 products times 16 stay below 2^515, and a Montgomery reduction makes
/// less than 4 l of that.
const ROWS: usize = 32;

#[target_feature(enable = "avx512ifma")]
fn combine_inner(terms: &[(Fe, &[Fe])], out: &mut [Fe]) {
    for (block, out) in out.chunks_mut(8).enumerate() {
        let mut value = [_mm512_setzero_si512(); 5];
        for terms in terms.chunks(ROWS) {
            let mut sum = Columns::zero();
            for (weight, row) in terms {
                let row = row.get(8 * block..).unwrap_or_default();
                let row = limbs_times16(load_part(&row[..row.len().min(8)]));
                sum.add(&splat_limbs(*weight), &row);
            }
            let part = montgomery(sum.join());
            for (value, part) in value.iter_mut().zip(part) {
                *value = _mm512_add_epi64(*value, part);
            }
            value = canonical(value);
        }
        store_part(out, words(value));
    }
}

/// Adds to `out`; at most 64 terms.
pub(crate) fn combine_integers(token: Token, terms: &[(Fe, &[i64])], out: &mut [Fe]) {
    use crate::field::batch::bias;
    // Two limbs of Montgomery reduction divide by 2^104.
    let shift = Fe::pow2(104);
    let sum: Fe = terms.iter().map(|(w, _)| *w).sum();
    let shifted: Vec<Fe> = terms.iter().map(|(w, _)| *w * shift).collect();
    enter!(
        token,
        combine_integers_inner(&shifted, terms, -(sum * bias()), out)
    );
}

#[target_feature(enable = "avx512ifma")]
fn combine_integers_inner(weights: &[Fe], terms: &[(Fe, &[i64])], start: Fe, out: &mut [Fe]) {
    let weights: Vec<Limbs> = weights.iter().map(|w| splat_limbs(*w)).collect();
    let start = masked(splat_limbs(start));
    for (block, out) in out.chunks_mut(8).enumerate() {
        let mut low = [_mm512_setzero_si512(); 5];
        let mut high = [_mm512_setzero_si512(); 5];
        for (weight, (_, row)) in weights.iter().zip(terms) {
            let row = row.get(8 * block..).unwrap_or_default();
            let v = load_integers(&row[..row.len().min(8)]);
            for k in 0..5 {
                low[k] = _mm512_madd52lo_epu64(low[k], weight[k], v);
                high[k] = _mm512_madd52hi_epu64(high[k], weight[k], v);
            }
        }
        // Below 2^6 2^52 l; two limbs less and l more, that is below 2 l.
        let mut t = [_mm512_setzero_si512(); 8];
        t[0] = low[0];
        for k in 1..5 {
            t[k] = _mm512_add_epi64(low[k], high[k - 1]);
        }
        t[5] = high[4];
        montgomery_step(&mut t[0..6]);
        montgomery_step(&mut t[1..7]);
        let mut sum = [t[2], t[3], t[4], t[5], t[6]];
        let before = masked(limbs(load_part(out)));
        for k in 0..5 {
            sum[k] = _mm512_add_epi64(swap_lanes(sum[k]), _mm512_add_epi64(start[k], before[k]));
        }
        store_part(out, words(canonical(sum)));
    }
}

/// Adds to `out`. The weights have Montgomery's factor twice.
pub(crate) fn scale_integers(token: Token, weights: &[Fe], row: &[i64], out: &mut [Fe]) {
    enter!(token, scale_integers_inner(weights, row, out));
}

#[target_feature(enable = "avx512ifma")]
fn scale_integers_inner(weights: &[Fe], row: &[i64], out: &mut [Fe]) {
    for ((out, weights), row) in out.chunks_mut(8).zip(weights.chunks(8)).zip(row.chunks(8)) {
        let count = out.len().min(weights.len()).min(row.len());
        let (out, weights, row) = (&mut out[..count], &weights[..count], &row[..count]);
        // Without the bias, and in the order of elements.
        let v = swap_lanes(_mm512_xor_si512(load_integers(row), splat(1 << 51)));
        let negative = negative_lanes(v);
        let magnitude = _mm512_abs_epi64(v);
        let magnitude = [magnitude, _mm512_srli_epi64::<52>(magnitude)];
        let w = limbs_times16(load_part(weights));
        let mut t = [_mm512_setzero_si512(); 10];
        for (i, m) in magnitude.iter().enumerate() {
            for k in 0..5 {
                t[i + k] = _mm512_madd52lo_epu64(t[i + k], w[k], *m);
                t[i + k + 1] = _mm512_madd52hi_epu64(t[i + k + 1], w[k], *m);
            }
        }
        let product = montgomery(t);
        let before = masked(limbs(load_part(out)));
        let mut sum = before;
        for k in 0..5 {
            // Below 2 l: l added for each.
            let twice = splat(2 * L[k]);
            let signed = _mm512_mask_sub_epi64(product[k], negative, twice, product[k]);
            sum[k] = _mm512_add_epi64(sum[k], signed);
        }
        carry_signed(&mut sum);
        store_part(out, words(canonical(sum)));
    }
}

pub(crate) fn dot_integers(token: Token, a: &[Fe], rows: &[&[i64]]) -> Vec<Fe> {
    enter!(token, dot_integers_inner(a, rows))
}

#[target_feature(enable = "avx512ifma")]
fn dot_integers_inner(a: &[Fe], rows: &[&[i64]]) -> Vec<Fe> {
    use crate::field::batch::bias;
    // Natural order, so that rows need no permutation.
    let lifted: Vec<Limbs> = a
        .chunks(8)
        .map(|a| limbs(load_part(a)).map(|limb| swap_lanes(limb)))
        .collect();
    let mut prefix = Vec::new();
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let count = a.len().min(row.len());
        // The bias of a last chunk that is not full multiplies elements beyond `count` as well, unless they are zero.
        let counted = count.next_multiple_of(8).min(a.len());
        let biased = match prefix.iter().find(|(n, _)| *n == counted) {
            Some((_, sum)) => *sum,
            None => {
                let sum = a[..counted].iter().copied().sum::<Fe>() * bias();
                prefix.push((counted, sum));
                sum
            }
        };
        let mut low = [_mm512_setzero_si512(); 5];
        let mut high = [_mm512_setzero_si512(); 5];
        for (i, (a, v)) in lifted.iter().zip(row[..count].chunks(8)).enumerate() {
            let v = load_integers(v);
            for k in 0..5 {
                low[k] = _mm512_madd52lo_epu64(low[k], a[k], v);
                high[k] = _mm512_madd52hi_epu64(high[k], a[k], v);
            }
            if i % PRODUCTS == PRODUCTS - 1 {
                let mut t = integer_columns(&low, &high);
                carry(&mut t);
                low = [t[0], t[1], t[2], t[3], t[4]];
                high = [_mm512_setzero_si512(); 5];
                high[4] = t[5];
            }
        }
        // The sum of integer multiples is in Montgomery form already; `finish` divides by 2^256 once more.
        let sum = total(integer_columns(&low, &high)).finish() * Fe(crate::field::R2);
        out.push(sum - biased);
    }
    out
}

#[inline]
#[target_feature(enable = "avx512ifma")]
fn integer_columns(low: &[__m512i; 5], high: &[__m512i; 5]) -> [__m512i; 6] {
    let mut t = [_mm512_setzero_si512(); 6];
    t[0] = low[0];
    for k in 1..5 {
        t[k] = _mm512_add_epi64(low[k], high[k - 1]);
    }
    t[5] = high[4];
    t
}

pub(crate) fn product_integers(token: Token, x: &[i64], y: &[i64]) -> i128 {
    enter!(token, product_integers_inner(x, y))
}

#[target_feature(enable = "avx512ifma")]
fn product_integers_inner(x: &[i64], y: &[i64]) -> i128 {
    let count = x.len().min(y.len());
    let zero = _mm512_setzero_si512();
    let (mut low, mut high, mut sum_x, mut sum_y) = (zero, zero, zero, zero);
    let mut out = 0i128;
    // 2^11 products of 104 bits fit their columns, with a bit to spare.
    for (x, y) in x[..count].chunks(1 << 14).zip(y[..count].chunks(1 << 14)) {
        for (x, y) in x.chunks(8).zip(y.chunks(8)) {
            let (x, y) = (load_integers(x), load_integers(y));
            low = _mm512_madd52lo_epu64(low, x, y);
            high = _mm512_madd52hi_epu64(high, x, y);
            sum_x = _mm512_add_epi64(sum_x, _mm512_and_si512(x, splat(MASK52)));
            sum_y = _mm512_add_epi64(sum_y, _mm512_and_si512(y, splat(MASK52)));
        }
        let lanes = |v: __m512i| {
            let mut lanes = [0; 8];
            store(&mut lanes, v);
            lanes.iter().map(|v| u128::from(*v)).sum::<u128>()
        };
        // (x + b)(y + b) = x y + b (x + b) + b (y + b) - b^2, for every lane of every chunk.
        let products = lanes(low).wrapping_add(lanes(high) << 52);
        let sums = lanes(sum_x).wrapping_add(lanes(sum_y)) << 51;
        let squares = (x.len().next_multiple_of(8) as u128) << 102;
        out = out.wrapping_add(
            products
                .wrapping_sub(sums)
                .wrapping_add(squares)
                .cast_signed(),
        );
        (low, high, sum_x, sum_y) = (zero, zero, zero, zero);
    }
    out
}

pub(crate) fn subset_sums(
    token: Token,
    rows: &[&[i64]],
    narrow: bool,
    selections: &[Vec<u8>],
) -> Vec<i64> {
    enter!(token, subset_sums_inner(rows, narrow, selections))
}

#[target_feature(enable = "avx512ifma")]
fn subset_sums_inner(rows: &[&[i64]], narrow: bool, selections: &[Vec<u8>]) -> Vec<i64> {
    crate::field::subsets::subset_sums(rows, narrow, selections)
}
