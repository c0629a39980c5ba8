//! Loops over many field elements, on the backend of an [`Engine`]. All are constant time in elements and integers; lengths
//! are public. Results do not depend on the backend: every kernel computes the canonical form of the same element.

use super::{Accumulator, Fe, R2, adc, mac, montgomery_reduce};
use crate::backend::{Engine, Kind};

/// Integers that the kernels take are below 2^`INTEGER_BITS` in absolute value; the results for others are meaningless.
pub const INTEGER_BITS: u32 = 51;

/// Added to an integer, it makes it an unsigned word of 52 bits.
pub(crate) const BIAS: u64 = 1 << INTEGER_BITS;

/// 2^51, which undoes [`BIAS`].
pub(crate) fn bias() -> Fe {
    Fe::from_u64(BIAS)
}

impl Engine {
    /// sum a_i b_i over the shorter length.
    #[must_use]
    pub fn dot(&self, a: &[Fe], b: &[Fe]) -> Fe {
        match self.kind {
            Kind::Portable => super::inner_product(a, b),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::dot(token, a, b),
        }
    }

    /// <a_0, b_0> and <a_1 - a_0, b_1 - b_0> over the shortest length: coefficients 0 and 2 of the product of two lines.
    #[must_use]
    pub fn line_products(&self, [a0, a1]: [&[Fe]; 2], [b0, b1]: [&[Fe]; 2]) -> [Fe; 2] {
        match self.kind {
            Kind::Portable => {
                let (mut c0, mut c2) = (Accumulator::default(), Accumulator::default());
                for ((a0, a1), (b0, b1)) in a0.iter().zip(a1).zip(b0.iter().zip(b1)) {
                    c0.add_product(*a0, *b0);
                    c2.add_product(*a1 - *a0, *b1 - *b0);
                }
                [c0.finish(), c2.finish()]
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::line_products(token, [a0, a1], [b0, b1]),
        }
    }

    /// low_i += x (high_i - low_i), over the shorter length.
    pub fn bind(&self, low: &mut [Fe], high: &[Fe], x: Fe) {
        match self.kind {
            Kind::Portable => {
                for (low, high) in low.iter_mut().zip(high) {
                    *low += x * (*high - *low);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::bind(token, low, high, x),
        }
    }

    /// out_i = a_i b_i, over the shortest length.
    pub fn mul_each(&self, a: &[Fe], b: &[Fe], out: &mut [Fe]) {
        match self.kind {
            Kind::Portable => {
                for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
                    *out = *a * *b;
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::mul_each(token, a, b, out),
        }
    }

    /// out_j = sum_i w_i v_ij for rows v_i with weights w_i; a row that is shorter than `out` counts as ending in zeros.
    pub fn combine(&self, terms: &[(Fe, &[Fe])], out: &mut [Fe]) {
        match self.kind {
            Kind::Portable => {
                for (j, out) in out.iter_mut().enumerate() {
                    let mut sum = Accumulator::default();
                    for (weight, row) in terms {
                        if let Some(v) = row.get(j) {
                            sum.add_product(*weight, *v);
                        }
                    }
                    *out = sum.finish();
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::combine(token, terms, out),
        }
    }

    /// As [`Engine::combine`] for rows of integers ([`INTEGER_BITS`]). Many rows cost one reduction.
    pub fn combine_integers(&self, terms: &[(Fe, &[i64])], out: &mut [Fe]) {
        // At most 2^6 rows at a time, so that sums fit.
        out.fill(Fe::ZERO);
        for terms in terms.chunks(MAX_ROWS) {
            match self.kind {
                Kind::Portable => combine_integers_portable(terms, out),
                #[cfg(target_arch = "x86_64")]
                Kind::Ifma(token) => crate::ifma::order::combine_integers(token, terms, out),
            }
        }
    }

    /// <a, v> for each row v of integers ([`INTEGER_BITS`]), over the shorter length. At most 2^20 columns.
    #[must_use]
    pub fn dot_integers(&self, a: &[Fe], rows: &[&[i64]]) -> Vec<Fe> {
        match self.kind {
            Kind::Portable => rows.iter().map(|v| dot_integers_portable(a, v)).collect(),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::dot_integers(token, a, rows),
        }
    }

    /// out_ri += w_i v_ri for rows v_r of integers (of absolute value below 2^63), over the shortest length.
    pub fn scale_integers(&self, weights: &[Fe], rows: &[&[i64]], out: &mut [impl AsMut<[Fe]>]) {
        // The product with an integer, which has no factor of Montgomery's, is then in Montgomery form.
        let weights: Vec<Fe> = weights.iter().map(|w| *w * Fe(R2)).collect();
        for (row, out) in rows.iter().zip(out) {
            match self.kind {
                Kind::Portable => scale_integers_portable(&weights, row, out.as_mut()),
                #[cfg(target_arch = "x86_64")]
                Kind::Ifma(token) => {
                    crate::ifma::order::scale_integers(token, &weights, row, out.as_mut());
                }
            }
        }
    }

    /// <x, y> for integers ([`INTEGER_BITS`]), over the shorter length, at most 2^20.
    #[must_use]
    pub fn product_integers(&self, x: &[i64], y: &[i64]) -> i128 {
        match self.kind {
            Kind::Portable => x.iter().zip(y).fold(0i128, |sum, (x, y)| {
                sum.wrapping_add(i128::from(*x).wrapping_mul(i128::from(*y)))
            }),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::product_integers(token, x, y),
        }
    }
}

/// Rows of integers that one pass combines.
const MAX_ROWS: usize = 64;

/// An unsigned sum below 2^320 that is reduced once.
#[derive(Clone, Copy, Default)]
struct Sum5([u64; 5]);

impl Sum5 {
    #[inline]
    fn add(&mut self, a: Fe, word: u64) {
        let s = &mut self.0;
        let (r0, c) = mac(s[0], a.0[0], word, 0);
        let (r1, c) = mac(s[1], a.0[1], word, c);
        let (r2, c) = mac(s[2], a.0[2], word, c);
        let (r3, c) = mac(s[3], a.0[3], word, c);
        let (r4, _) = adc(s[4], 0, c);
        *s = [r0, r1, r2, r3, r4];
    }

    /// The sum modulo l: its terms are in Montgomery form, and so is the result.
    #[inline]
    fn finish(self) -> Fe {
        let [a, b, c, d, e] = self.0;
        Fe(montgomery_reduce([a, b, c, d, e, 0, 0, 0])) * Fe(R2)
    }
}

fn biased(v: i64) -> u64 {
    v.cast_unsigned().wrapping_add(BIAS)
}

fn combine_integers_portable(terms: &[(Fe, &[i64])], out: &mut [Fe]) {
    let minus = -(terms.iter().map(|(w, _)| *w).sum::<Fe>() * bias());
    // Eight columns at a time: the weights are then read from registers or the first-level cache.
    for (block, out) in out.chunks_mut(8).enumerate() {
        let mut sums = [Sum5::default(); 8];
        for (weight, row) in terms {
            let row = row.get(8 * block..).unwrap_or_default();
            for (i, sum) in sums.iter_mut().enumerate() {
                sum.add(*weight, biased(row.get(i).copied().unwrap_or(0)));
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += sum.finish() + minus;
        }
    }
}

fn dot_integers_portable(a: &[Fe], v: &[i64]) -> Fe {
    let (mut sum, mut total) = (Sum5::default(), Sum5::default());
    for (a, v) in a.iter().zip(v) {
        sum.add(*a, biased(*v));
        total.add(*a, 1);
    }
    sum.finish() - total.finish() * bias()
}

fn scale_integers_portable(weights: &[Fe], row: &[i64], out: &mut [Fe]) {
    for ((out, weight), v) in out.iter_mut().zip(weights).zip(row) {
        let mut product = Sum5::default();
        product.add(*weight, v.unsigned_abs());
        let negative = 0u64.wrapping_sub(v.cast_unsigned() >> 63);
        let [a, b, c, d, e] = product.0;
        *out += Fe(montgomery_reduce([a, b, c, d, e, 0, 0, 0])).negate_if(negative);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    fn engines() -> Vec<Engine> {
        Backend::available()
            .into_iter()
            .map(|b| Engine::new(b).unwrap())
            .collect()
    }

    /// Zero, one, the largest element and its neighbours, limbs at their ends, and random ones.
    fn elements(rng: &mut ChaCha20Rng, count: usize) -> Vec<Fe> {
        (0..count)
            .map(|_| match rng.next_u32() % 8 {
                0 => Fe::ZERO,
                1 => -Fe::ONE,
                2 => Fe(super::super::ORDER) - Fe([1, 0, 0, 0]),
                3 => Fe([u64::MAX, u64::MAX, u64::MAX, (1 << 60) - 1]),
                4 => Fe([0, 0, 0, 1 << 60]),
                5 => Fe([1, 0, 0, 0]),
                _ => {
                    let mut wide = [0; 64];
                    rng.fill_bytes(&mut wide);
                    Fe::from_bytes_wide(&wide)
                }
            })
            .collect()
    }

    fn integers(rng: &mut ChaCha20Rng, count: usize) -> Vec<i64> {
        let max = (1i64 << INTEGER_BITS) - 1;
        (0..count)
            .map(|_| match rng.next_u32() % 6 {
                0 => max,
                1 => -max,
                2 => 0,
                3 => -1,
                _ => rng.next_u64().cast_signed() % max,
            })
            .collect()
    }

    const LENGTHS: [usize; 9] = [0, 1, 7, 8, 9, 63, 311, 2048, 4099];

    #[test]
    fn sums_of_products_agree_with_one_by_one() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for engine in engines() {
            for n in LENGTHS {
                let [a, b, c, d] = [(); 4].map(|()| elements(&mut rng, n));
                let slow = |a: &[Fe], b: &[Fe]| a.iter().zip(b).map(|(a, b)| *a * *b).sum::<Fe>();
                assert_eq!(engine.dot(&a, &b), slow(&a, &b), "{engine:?} {n}");
                let diff =
                    |a: &[Fe], b: &[Fe]| a.iter().zip(b).map(|(a, b)| *b - *a).collect::<Vec<_>>();
                let expected = [slow(&a, &c), slow(&diff(&a, &b), &diff(&c, &d))];
                assert_eq!(engine.line_products([&a, &b], [&c, &d]), expected);
            }
            let top = vec![Fe(super::super::ORDER) - Fe([1, 0, 0, 0]); 70_000];
            let expected = top[0] * top[0] * Fe::from_u64(70_000);
            assert_eq!(engine.dot(&top, &top), expected);
        }
    }

    #[test]
    fn element_by_element() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        for engine in engines() {
            for n in LENGTHS {
                let [a, b] = [(); 2].map(|()| elements(&mut rng, n));
                for x in elements(&mut rng, 9) {
                    let mut low = a.clone();
                    engine.bind(&mut low, &b, x);
                    let expected: Vec<Fe> =
                        a.iter().zip(&b).map(|(l, h)| *l + x * (*h - *l)).collect();
                    assert_eq!(low, expected, "{engine:?} {n}");
                }
                let mut out = vec![Fe::ONE; n];
                engine.mul_each(&a, &b, &mut out);
                let expected: Vec<Fe> = a.iter().zip(&b).map(|(a, b)| *a * *b).collect();
                assert_eq!(out, expected);
            }
        }
    }

    #[test]
    fn combinations_of_rows() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        for engine in engines() {
            for (n, rows) in [(1, 1), (13, 3), (256, 16), (300, 130)] {
                let weights = elements(&mut rng, rows);
                let full: Vec<Vec<Fe>> = (0..rows).map(|i| elements(&mut rng, n - i % 2)).collect();
                let small: Vec<Vec<i64>> =
                    (0..rows).map(|i| integers(&mut rng, n - i % 2)).collect();
                let at = |rows: &[Vec<Fe>], j: usize| -> Fe {
                    let terms = weights.iter().zip(rows);
                    terms
                        .map(|(w, r)| *w * r.get(j).copied().unwrap_or_default())
                        .sum()
                };
                let mut out = vec![Fe::ONE; n];
                let terms: Vec<_> = weights
                    .iter()
                    .copied()
                    .zip(full.iter().map(|r| &r[..]))
                    .collect();
                engine.combine(&terms, &mut out);
                let expected: Vec<Fe> = (0..n).map(|j| at(&full, j)).collect();
                assert_eq!(out, expected, "{engine:?} {n} {rows}");
                let terms: Vec<_> = weights
                    .iter()
                    .copied()
                    .zip(small.iter().map(|r| &r[..]))
                    .collect();
                engine.combine_integers(&terms, &mut out);
                let lifted: Vec<Vec<Fe>> = small
                    .iter()
                    .map(|r| r.iter().map(|v| Fe::from_i64(*v)).collect())
                    .collect();
                let expected: Vec<Fe> = (0..n).map(|j| at(&lifted, j)).collect();
                assert_eq!(out, expected, "{engine:?} {n} {rows}");
            }
        }
    }

    #[test]
    fn products_with_integers() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        for engine in engines() {
            for n in LENGTHS {
                let a = elements(&mut rng, n);
                let [x, y] = [(); 2].map(|()| integers(&mut rng, n));
                let lift = |v: &[i64]| v.iter().map(|v| Fe::from_i64(*v)).collect::<Vec<_>>();
                let expected = [&x, &y].map(|v| super::super::inner_product(&a, &lift(v)));
                assert_eq!(
                    engine.dot_integers(&a, &[&x, &y]),
                    expected,
                    "{engine:?} {n}"
                );
                let mut out = [a.clone(), a.clone()];
                engine.scale_integers(&a, &[&x, &y], &mut out);
                for (out, v) in out.iter().zip([&x, &y]) {
                    let expected: Vec<Fe> =
                        a.iter().zip(lift(v)).map(|(a, v)| *a + *a * v).collect();
                    assert_eq!(*out, expected, "{engine:?} {n}");
                }
                let expected: i128 = x
                    .iter()
                    .zip(&y)
                    .map(|(x, y)| i128::from(*x) * i128::from(*y))
                    .sum();
                assert_eq!(engine.product_integers(&x, &y), expected, "{engine:?} {n}");
            }
            let max = vec![(1i64 << INTEGER_BITS) - 1; 1 << 14];
            let min: Vec<i64> = max.iter().map(|v| -v).collect();
            let square = i128::from(max[0]).pow(2) << 14;
            assert_eq!(engine.product_integers(&max, &max), square);
            assert_eq!(engine.product_integers(&max, &min), -square);
            let top = vec![-Fe::ONE; 1 << 14];
            let expected = Fe::from_i128(-i128::from(max[0]) << 14);
            assert_eq!(engine.dot_integers(&top, &[&max]), [expected]);
        }
    }
}
