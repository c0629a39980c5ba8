//! The discrete Gaussian of width `sigma = 2^k`.
//!
//! Canonne, Kamath and Steinke (NeurIPS 2020, algorithms 2 and 3) propose `|Y| = U + sigma V`, with `U` uniform below
//! sigma and accepted with probability `exp(-U/sigma)`, and `V` geometric with ratio `exp(-1)`; then they accept `Y` with
//! probability `exp(-(|Y| - sigma)^2 / (2 sigma^2))`. The loops of their Bernoulli trials run for a time that depends on
//! the value that comes out. Here the same three factors are regrouped, with `u = U/sigma`:
//!
//! `exp(-u) exp(-V) exp(-(V + u - 1)^2/2) = exp(-1/2) * exp(-V^2/2) * exp(-u (2V + u)/2)`,
//!
//! the first being a constant, the second the weight of a table over `V`, the third one Bernoulli trial. `V` comes from
//! one uniform word compared with every entry of the table. The trial evaluates the alternating series of the
//! exponential in fixed point, always all terms, and compares one uniform word with it. Both comparisons know their
//! error; the rare undecided ones go to `exact`, so the distribution is exact. A candidate costs the same whatever
//! it is, and only how many are rejected shows. 1.4 candidates are needed on average, each of 24 random bytes.

use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use super::SamplerError;
use super::exact::{LazyUniform, Target};
use crate::primes::{low, mul_high};

/// The largest supported `k`.
pub const MAX_LOG2_SIGMA: u32 = 56;

/// `floor(2^64 * 73/128 sum_{j <= v} exp(-j^2/2))` for `v = 0 .. 9`. From `v = 9` on the 64-bit value stays the same.
const MAGNITUDE_TABLE: [u64; 10] = [
    0x9200_0000_0000_0000,
    0xea8d_b09f_bd1c_8d99,
    0xfe4f_fb42_838c_99db,
    0xffef_30fb_8bb9_d483,
    0xfffb_bac6_600b_0b24,
    0xfffb_de6e_b6a7_5ecb,
    0xfffb_de94_04d8_2f1b,
    0xfffb_de94_1333_dd94,
    0xfffb_de94_1335_e604,
    0xfffb_de94_1335_e61f,
];

/// `2^63 / n!` rounded to the nearest integer, `n = 0 .. 12`.
const SERIES: [u64; 13] = [
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0000,
    0x4000_0000_0000_0000,
    0x1555_5555_5555_5555,
    0x0555_5555_5555_5555,
    0x0111_1111_1111_1111,
    0x002d_82d8_2d82_d82e,
    0x0006_8068_0680_6807,
    0x0000_d00d_00d0_0d01,
    0x0000_171d_e3a5_56c7,
    0x0000_024f_c9f6_ef14,
    0x0000_0035_cc8a_cfeb,
    0x0000_0004_7bb6_3bfe,
];

/// Squarings after the series: the exponent is divided by 2^6 first.
const SQUARINGS: u32 = 6;

/// What [`exp_neg`] may be off by, in units of 2^-63.
///
/// The argument is at most 9.5/64 < 0.149. It is off by less than 1.2 units of 2^-64; the terms left out are below
/// 0.149^13/13! < 2^-68; each of the 12 steps of Horner's rule is off by 1.5 units and passes 0.149 of what it got: less
/// than 3 units in all. A squaring doubles that and adds one: 6 of them give at most 64 * 3 + 63 = 255.
const EXP_ERROR: u64 = 256;

/// The largest `V` that can come out: `exp(-63^2/2)` is below 2^-2800.
const MAX_V: u32 = 63;

/// The exact discrete Gaussian over the integers with standard-deviation parameter `2^k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscreteGaussian {
    log2_sigma: u32,
}

impl DiscreteGaussian {
    /// The sampler for `sigma = 2^log2_sigma`.
    ///
    /// # Errors
    /// [`SamplerError::Width`] when `log2_sigma` exceeds [`MAX_LOG2_SIGMA`].
    pub fn new(log2_sigma: u32) -> Result<Self, SamplerError> {
        if log2_sigma > MAX_LOG2_SIGMA {
            return Err(SamplerError::Width { log2_sigma });
        }
        Ok(Self { log2_sigma })
    }

    /// k, where `sigma = 2^k`.
    #[must_use]
    pub fn log2_sigma(self) -> u32 {
        self.log2_sigma
    }

    /// One sample.
    pub fn sample<R: RngCore + CryptoRng>(self, rng: &mut R) -> i64 {
        loop {
            if let Some(value) = self.candidate(rng) {
                return value;
            }
        }
    }

    /// One sample, redrawn until its magnitude is at most `max_abs`.
    ///
    /// # Errors
    /// [`SamplerError::Bound`] when `max_abs` is below sigma: a third of all samples, or more, would be redrawn.
    pub fn sample_bounded<R: RngCore + CryptoRng>(
        self,
        max_abs: u64,
        rng: &mut R,
    ) -> Result<i64, SamplerError> {
        if max_abs < 1 << self.log2_sigma {
            return Err(SamplerError::Bound {
                max_abs,
                log2_sigma: self.log2_sigma,
            });
        }
        loop {
            let value = self.sample(rng);
            if value.unsigned_abs() <= max_abs {
                return Ok(value);
            }
        }
    }

    /// One proposal: `None` when it is rejected.
    #[inline]
    fn candidate<R: RngCore + CryptoRng>(self, rng: &mut R) -> Option<i64> {
        let table_word = rng.next_u64();
        let (mut v, tie) = magnitude_class(table_word);
        let mut exact = false;
        if tie {
            v = resolve_magnitude(table_word, rng)?;
            // The error bound of the fast exponential holds for the table's own entries only.
            exact = v >= 10;
        } else if v == 10 {
            return None;
        }
        let word = rng.next_u64();
        let trial = rng.next_u64();
        let fraction = self.fraction(word);
        let [approximation] = exp_neg([fraction], [v]);
        let (accept, undecided) = compare(trial, approximation);
        let accept = if exact || undecided {
            self.resolve_trial(fraction, v, trial, rng)
        } else {
            accept
        };
        let (value, extra_zero) = self.value(word, v);
        (accept && !extra_zero).then_some(value)
    }

    /// U: the top k bits of the word. The sign is its lowest bit, which is not among them.
    #[inline]
    fn fraction(self, word: u64) -> u64 {
        word & (u64::MAX << (63 - self.log2_sigma) << 1)
    }

    /// The number that a word and a class stand for, and whether it is zero with a sign: zero would otherwise come out twice.
    #[inline]
    fn value(self, word: u64, v: u64) -> (i64, bool) {
        // U + V 2^k: at most 64 * 2^56.
        let k = self.log2_sigma;
        let magnitude = (self.fraction(word) >> (63 - k) >> 1).wrapping_add(v << k);
        let sign = word & 1;
        let value = (magnitude ^ sign.wrapping_neg()).wrapping_add(sign);
        (value.cast_signed(), (sign == 1) & (magnitude == 0))
    }

    /// The same samples as from [`Self::sample`] again and again, faster: proposals are evaluated several at a time.
    pub(crate) fn samples<R: RngCore + CryptoRng>(self, rng: R) -> Samples<R> {
        Samples {
            sampler: self,
            words: Lookahead {
                rng,
                buffer: Zeroizing::new([0; AHEAD]),
                read: AHEAD,
            },
            values: Zeroizing::new([0; TOGETHER]),
            taken: 0,
            count: 0,
        }
    }

    /// The Bernoulli trial again, with exact comparison: `trial` is the first word of the uniform number.
    #[cold]
    fn resolve_trial(self, fraction: u64, v: u64, trial: u64, rng: &mut impl RngCore) -> bool {
        // u (2V + u)/2 = f (2V 2^64 + f) / 2^129 with f = u 2^64; take the zeros at f's end out, so that it fits.
        let k = self.log2_sigma;
        let u = u128::from(fraction >> (63 - k) >> 1);
        let numerator = u.wrapping_mul((u128::from(v) << (k + 1)).wrapping_add(u));
        let target = Target::ExpNeg {
            numerator,
            log2_denominator: 2 * k + 1,
        };
        LazyUniform::starting_with(trial).is_below(target, rng)
    }
}

/// The magnitude class, when the first word of the uniform number equals an entry of the table; `None` beyond the table.
#[cold]
fn resolve_magnitude(word: u64, rng: &mut impl RngCore) -> Option<u64> {
    let mut uniform = LazyUniform::starting_with(word);
    (0..=MAX_V)
        .find(|&v| uniform.is_below(Target::Table { v }, rng))
        .map(u64::from)
}

/// V for the first word of a proposal, 10 beyond the table; and whether the word equals an entry, which leaves it open.
#[inline]
fn magnitude_class(word: u64) -> (u64, bool) {
    let (mut v, mut tie) = (0u64, false);
    for bound in MAGNITUDE_TABLE {
        v = v.wrapping_add(u64::from(word > bound));
        tie |= word == bound;
    }
    (v, tie)
}

/// Whether the trial succeeds, and whether its first word is too near the approximation to say.
#[inline]
fn compare(trial: u64, approximation: u64) -> (bool, bool) {
    let half = trial >> 1;
    let accept = half < approximation.saturating_sub(EXP_ERROR);
    (
        accept,
        !accept & (half < approximation.saturating_add(EXP_ERROR)),
    )
}

/// `2^63 exp(-u (2V + u)/2)`, within [`EXP_ERROR`], for `u = fraction / 2^64` and `V <= 9`. Several at once, step by step,
/// because one is a chain of products that wait for each other.
#[inline]
fn exp_neg<const N: usize>(fraction: [u64; N], v: [u64; N]) -> [u64; N] {
    let mut x = [0u64; N];
    for ((x, fraction), v) in x.iter_mut().zip(fraction).zip(v) {
        // u V + u^2/2 with 64 fractional bits, then the division by 2^6: below 9.5 * 2^58.
        let exponent = (u128::from(fraction) * u128::from(v))
            .wrapping_add(u128::from(mul_high(fraction, fraction) >> 1));
        *x = low(exponent >> SQUARINGS);
    }
    let mut series = SERIES.iter().rev();
    let mut value = [series.next().copied().unwrap_or(0); N];
    for &coefficient in series {
        for (value, x) in value.iter_mut().zip(x) {
            *value = coefficient.wrapping_sub(mul_high(*value, x));
        }
    }
    for _ in 0..SQUARINGS {
        for value in &mut value {
            *value = low((u128::from(*value) * u128::from(*value)) >> 63);
        }
    }
    value
}

/// Proposals that are evaluated together.
const TOGETHER: usize = 8;
/// Words that they take.
const AHEAD: usize = 3 * TOGETHER;

/// A generator that was read ahead.
struct Lookahead<R> {
    rng: R,
    buffer: Zeroizing<[u64; AHEAD]>,
    /// Words of the buffer that were used up.
    read: usize,
}

impl<R: RngCore> Lookahead<R> {
    /// The next words, without using them up.
    fn ahead(&mut self) -> &[[u64; 3]] {
        let left = AHEAD.saturating_sub(self.read);
        self.buffer.copy_within(AHEAD - left.., 0);
        for word in self.buffer.iter_mut().skip(left) {
            *word = self.rng.next_u64();
        }
        self.read = 0;
        self.buffer.as_chunks().0
    }
}

impl<R: CryptoRng> CryptoRng for Lookahead<R> {}

impl<R: RngCore> RngCore for Lookahead<R> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        match self.buffer.get(self.read) {
            Some(word) => {
                self.read = self.read.wrapping_add(1);
                *word
            }
            None => self.rng.next_u64(),
        }
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

/// Samples in a row, from [`DiscreteGaussian::samples`].
pub(crate) struct Samples<R> {
    sampler: DiscreteGaussian,
    words: Lookahead<R>,
    /// Accepted values, of which `taken` are handed out.
    values: Zeroizing<[i64; TOGETHER]>,
    taken: usize,
    count: usize,
}

impl<R> zeroize::ZeroizeOnDrop for Samples<R> {}
const _: fn(&Samples<()>) = |s| {
    crate::secret::wiped(&s.values);
    crate::secret::wiped(&s.words.buffer);
};

impl<R: RngCore + CryptoRng> Samples<R> {
    /// As [`DiscreteGaussian::sample_bounded`] with an admissible bound.
    pub(crate) fn next_bounded(&mut self, max_abs: u64) -> i64 {
        loop {
            while self.taken >= self.count {
                self.propose();
            }
            let value = self.values.get(self.taken).copied().unwrap_or_default();
            self.taken = self.taken.wrapping_add(1);
            if value.unsigned_abs() <= max_abs {
                return value;
            }
        }
    }

    /// Evaluates some proposals, all alike; the first that needs more is made again by itself, and those after it wait.
    fn propose(&mut self) {
        (self.taken, self.count) = (0, 0);
        let mut words = Zeroizing::new([[0u64; 3]; TOGETHER]);
        words.copy_from_slice(self.words.ahead());
        let classes = words.map(|[first, ..]| magnitude_class(first));
        let fractions = words.map(|[_, word, _]| self.sampler.fraction(word));
        let approximations = exp_neg(fractions, classes.map(|(v, _)| v));
        let mut read = 0usize;
        for (([_, word, trial], (v, tie)), approximation) in
            words.iter().zip(classes).zip(approximations)
        {
            let (accept, undecided) = compare(*trial, approximation);
            if tie | (v > 9) | undecided {
                self.words.read = read;
                if let Some(value) = self.sampler.candidate(&mut self.words) {
                    self.push(value, true);
                }
                return;
            }
            let (value, extra_zero) = self.sampler.value(*word, v);
            self.push(value, accept & !extra_zero);
            read = read.wrapping_add(3);
        }
        self.words.read = read;
    }

    /// Without a branch on whether the value is kept.
    fn push(&mut self, value: i64, keep: bool) {
        if let Some(slot) = self.values.get_mut(self.count) {
            *slot = value;
        }
        self.count = self.count.wrapping_add(usize::from(keep));
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn exp_neg_one(fraction: u64, v: u64) -> u64 {
        exp_neg([fraction], [v])[0]
    }

    /// `exp(-a/2^b) 2^256`, within a few units.
    fn exp_reference(a: u128, b: u32) -> BigUint {
        let mut term: BigUint = BigUint::from(1u8) << 512;
        let mut sum = term.clone();
        for n in 1u32.. {
            term = ((term * a) >> b) / n;
            if term == BigUint::ZERO {
                break;
            }
            sum += &term;
        }
        (BigUint::from(1u8) << 768) / sum
    }

    #[test]
    fn magnitude_table_is_exact() {
        let mut sum = BigUint::ZERO;
        for v in 0u32..=63 {
            sum += exp_reference(u128::from(v) * u128::from(v), 1);
            // Dyadic entries are met exactly; the reference of the others is far from an integer at 64 bits.
            let expected = (&sum * 73u8 + 1_000_000u32) >> (7 + 192);
            let entry = MAGNITUDE_TABLE[usize::try_from(v).unwrap().min(9)];
            assert_eq!(BigUint::from(entry), expected, "entry {v}");
        }
    }

    #[test]
    fn series_coefficients() {
        let mut factorial = 1u128;
        for (n, &coefficient) in SERIES.iter().enumerate() {
            factorial *= u128::try_from(n.max(1)).unwrap();
            assert_eq!(
                u128::from(coefficient),
                ((1u128 << 64) / factorial).div_ceil(2)
            );
        }
    }

    #[test]
    fn fixed_point_exponential_is_within_its_error() {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let mut worst = BigUint::ZERO;
        for v in 0..10u64 {
            for i in 0..400 {
                let fraction = match i {
                    0 => 0,
                    1 => u64::MAX << 8,
                    2 => 1 << 63,
                    3 => 1 << 8,
                    _ => rng.next_u64() & (u64::MAX << 8),
                };
                let u = u128::from(fraction >> 8);
                let exact = exp_reference(u * ((u128::from(v) << 57) + u), 113) >> (256 - 63 - 20);
                let got = BigUint::from(exp_neg_one(fraction, v)) << 20;
                let difference = if got > exact {
                    &got - &exact
                } else {
                    &exact - &got
                };
                worst = worst.max(difference);
            }
        }
        assert!(worst >> 20 < BigUint::from(EXP_ERROR) - 1u8);
    }

    /// The slow path alone gives the same decisions as the fast one, which is off by little.
    #[test]
    fn exact_trials_agree_with_fast_ones() {
        let mut rng = ChaCha20Rng::from_seed([6; 32]);
        let sampler = DiscreteGaussian::new(56).unwrap();
        let mut accepted = 0;
        for _ in 0..3000 {
            let fraction = rng.next_u64() & (u64::MAX << 8);
            let v = rng.next_u64() % 4;
            let trial = rng.next_u64();
            let approximation = exp_neg_one(fraction, v);
            let fast = (trial >> 1) < approximation;
            if (trial >> 1).abs_diff(approximation) > EXP_ERROR {
                assert_eq!(sampler.resolve_trial(fraction, v, trial, &mut rng), fast);
                accepted += u32::from(fast);
            }
        }
        assert!((300..2700).contains(&accepted));
    }

    /// A generator that first replays given words.
    struct Replay(Vec<u64>, ChaCha20Rng);
    impl CryptoRng for Replay {}
    impl RngCore for Replay {
        fn next_u32(&mut self) -> u32 {
            self.1.next_u32()
        }
        fn next_u64(&mut self) -> u64 {
            self.0.pop().unwrap_or_else(|| self.1.next_u64())
        }
        fn fill_bytes(&mut self, dest: &mut [u8]) {
            self.1.fill_bytes(dest);
        }
        fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
            self.1.try_fill_bytes(dest)
        }
    }

    #[test]
    fn ties_go_to_the_exact_path() {
        let sampler = DiscreteGaussian::new(55).unwrap();
        // Words are taken from the end. A tie with the first entry: 73/128 is met exactly, so V = 1.
        let words = |rest: &[u64]| {
            let mut all = rest.to_vec();
            all.reverse();
            Replay(all, ChaCha20Rng::from_seed([7; 32]))
        };
        let one = words(&[MAGNITUDE_TABLE[0], 7, 0, 0]).0;
        assert_eq!(
            sampler.candidate(&mut Replay(one, ChaCha20Rng::from_seed([8; 32]))),
            Some(1 << 55)
        );
        // A tie with the last: the next words decide between nine and more, or rejection.
        let beyond = sampler.candidate(&mut words(&[MAGNITUDE_TABLE[9], u64::MAX]));
        assert_eq!(beyond, None);
        let sum: BigUint = (0u32..=10)
            .map(|v| exp_reference(u128::from(v) * u128::from(v), 1))
            .sum();
        let scaled: BigUint = sum * 73u8;
        let tenth = (scaled >> 135u32).to_u64_digits();
        let value = sampler
            .candidate(&mut words(&[MAGNITUDE_TABLE[9], tenth[0] - 1, 2 << 8, 0]))
            .unwrap();
        assert_eq!(value, (10 << 55) + 1);
        // An undecided trial: the word next to the approximation, the fraction 1/2, class 1.
        let fraction = 1u64 << 63;
        let near = exp_neg_one(fraction, 1) << 1;
        let outcomes: Vec<bool> = [near - 1000, near + 1000]
            .iter()
            .map(|&trial| {
                sampler
                    .candidate(&mut words(&[MAGNITUDE_TABLE[0] + 1, fraction, trial]))
                    .is_some()
            })
            .collect();
        assert_eq!(outcomes, [true, false]);
        for trial in near - 4..near + 4 {
            let exact = exp_reference((1 << 54) * ((1 << 56) + (1 << 54)), 111) >> 192;
            let accepted = sampler
                .candidate(&mut words(&[MAGNITUDE_TABLE[0] + 1, fraction, trial]))
                .is_some();
            if BigUint::from(trial) != exact {
                assert_eq!(accepted, BigUint::from(trial) < exact);
            }
        }
    }

    #[test]
    fn several_proposals_at_a_time_give_the_same_samples() {
        for k in [3, 20, 55, 56] {
            let sampler = DiscreteGaussian::new(k).unwrap();
            let mut rng = ChaCha20Rng::from_seed([11; 32]);
            let mut samples = sampler.samples(rng.clone());
            for i in 0..20_000 {
                assert_eq!(
                    samples.next_bounded(u64::MAX),
                    sampler.sample(&mut rng),
                    "{k} {i}"
                );
            }
        }
    }

    /// Words that lead to exact comparisons, to the end of the table and to the second zero, at every place among the
    /// proposals evaluated together.
    #[test]
    fn several_proposals_at_a_time_meet_the_rare_cases() {
        let sampler = DiscreteGaussian::new(55).unwrap();
        let fraction = 1u64 << 63;
        let near = exp_neg_one(fraction, 1) << 1;
        let class_one = MAGNITUDE_TABLE[0] + 1;
        let rare: [&[u64]; 5] = [
            &[MAGNITUDE_TABLE[0], 7, fraction, 0],
            &[MAGNITUDE_TABLE[9], u64::MAX],
            &[u64::MAX],
            &[class_one, fraction, near],
            &[0, 1, 0],
        ];
        for ordinary in 0..3 * TOGETHER {
            for case in rare {
                let mut words = Vec::new();
                for i in 0..ordinary {
                    words.extend([(i as u64) << 60, fraction | i as u64, (i as u64) << 61]);
                }
                words.extend(case);
                words.extend(case);
                words.reverse();
                let replay = || Replay(words.clone(), ChaCha20Rng::from_seed([12; 32]));
                let (mut rng, mut samples) = (replay(), sampler.samples(replay()));
                for _ in 0..ordinary + 50 {
                    assert_eq!(samples.next_bounded(u64::MAX), sampler.sample(&mut rng));
                }
            }
        }
    }

    #[test]
    fn refusals() {
        assert_eq!(
            DiscreteGaussian::new(57).unwrap_err(),
            SamplerError::Width { log2_sigma: 57 }
        );
        let sampler = DiscreteGaussian::new(10).unwrap();
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        assert_eq!(
            sampler.sample_bounded(1023, &mut rng).unwrap_err(),
            SamplerError::Bound {
                max_abs: 1023,
                log2_sigma: 10
            }
        );
        for _ in 0..2000 {
            assert!(
                sampler
                    .sample_bounded(1024, &mut rng)
                    .unwrap()
                    .unsigned_abs()
                    <= 1024
            );
        }
    }
}
