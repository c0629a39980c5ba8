//! Comparison of a lazily extended uniform number with a real number, exact whatever the precision it takes.
//!
//! The fast path of the sampler compares 63 or 64 bits with an approximation of known error. When that does not decide
//! (probability about 2^-53 a candidate), the uniform number gets further random words and the real number is enclosed
//! ever more tightly, until they part. So no rounding is left in the distribution. None of this is on the fast path;
//! it may take its time and divide.

use rand_core::RngCore;

/// A nonnegative number with a fixed number of fractional words, least significant first, the integer word last.
type Fixed = Vec<u64>;

/// Words after which a comparison is given up. A working generator gets there with probability below 2^-3900; this only
/// stops a broken one from looping for ever.
const MAX_WORDS: usize = 62;

/// log2 of the error, in units of the last fractional place, of [`exp_neg`] and of sums of up to 2^8 of its results.
const LOG2_ERROR: u32 = 40;

/// `73/128`, the constant that scales the magnitude table so that it nearly fills the unit interval.
pub(super) const TABLE_SCALE: u64 = 73;
const LOG2_TABLE_SCALE_DENOMINATOR: u32 = 7;

/// A real number in `[0, 1]`, given by a formula.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// `exp(-numerator / 2^log2_denominator)`, the exponent below 2^12 and `log2_denominator` at most 115.
    ExpNeg {
        /// Numerator of the exponent.
        numerator: u128,
        /// log2 of its denominator.
        log2_denominator: u32,
    },
    /// `73/128 (exp(-0^2/2) + exp(-1^2/2) + .. + exp(-v^2/2))` for `v < 64`.
    Table {
        /// The last term.
        v: u32,
    },
}

impl Target {
    /// An enclosure `[low, high]` with `words` fractional words.
    fn enclose(self, words: usize) -> (Fixed, Fixed) {
        let centre = match self {
            Self::ExpNeg {
                numerator,
                log2_denominator,
            } => exp_neg(numerator, log2_denominator, words),
            Self::Table { v } => {
                let mut sum = vec![0; words + 1];
                for j in 0..=u128::from(v) {
                    add_assign(&mut sum, &exp_neg(j * j, 1, words));
                }
                mul_word(&mut sum, TABLE_SCALE);
                shift_right(&mut sum, LOG2_TABLE_SCALE_DENOMINATOR);
                sum
            }
        };
        let mut error = vec![0; words + 1];
        error[0] = 1 << LOG2_ERROR;
        let mut high = centre.clone();
        add_assign(&mut high, &error);
        let mut low = centre;
        if !sub_assign(&mut low, &error) {
            low.fill(0);
        }
        (low, high)
    }
}

/// A uniform real number in `[0, 1)`: words drawn so far, most significant first, and more to come.
pub(super) struct LazyUniform {
    words: Vec<u64>,
}

impl LazyUniform {
    pub(super) fn starting_with(word: u64) -> Self {
        Self { words: vec![word] }
    }

    /// Whether the number is below `target`.
    pub(super) fn is_below(&mut self, target: Target, rng: &mut impl RngCore) -> bool {
        loop {
            let precision = self.words.len() + 1;
            let (low, high) = target.enclose(precision);
            // The number lies in [start, end): the words drawn, and one unit in the last of them.
            let mut start = vec![0; precision + 1];
            for (slot, word) in start[1..precision].iter_mut().rev().zip(&self.words) {
                *slot = *word;
            }
            let mut end = start.clone();
            let mut unit = vec![0; precision + 1];
            unit[1] = 1;
            add_assign(&mut end, &unit);
            if at_most(&end, &low) {
                return true;
            }
            if at_most(&high, &start) {
                return false;
            }
            if self.words.len() >= MAX_WORDS {
                return false;
            }
            self.words.push(rng.next_u64());
        }
    }
}

/// `exp(-numerator / 2^log2_denominator)` with `words` fractional words, off by less than 2^30 units in the last place.
fn exp_neg(numerator: u128, log2_denominator: u32, words: usize) -> Fixed {
    // Halve the exponent until it is below 1/2, take the series there, then square back.
    let bits = u128::BITS - numerator.leading_zeros();
    let halvings = (bits + 1).saturating_sub(log2_denominator);
    let x = dyadic(numerator, log2_denominator + halvings, words);
    // Horner: 1 - x/1 (1 - x/2 (1 - x/3 ( .. ))). With x < 1/2 the terms left out are below 1/(2^n n!), which for
    // n = 16 words + 32 is below the last place. Each step adds at most two units and halves those before it.
    let last = 16 * words + 32;
    let mut result = one(words);
    for n in (1..=last).rev() {
        let mut term = mul(&x, &result);
        div_word(&mut term, u64::try_from(n).unwrap_or(u64::MAX));
        result = one(words);
        sub_assign(&mut result, &term);
    }
    // A square doubles the error and adds a unit: 8 units become at most 9 * 2^halvings.
    for _ in 0..halvings {
        result = mul(&result, &result);
    }
    result
}

fn one(words: usize) -> Fixed {
    let mut value = vec![0; words + 1];
    value[words] = 1;
    value
}

/// `floor(numerator 2^(64 words) / 2^shift) / 2^(64 words)`.
fn dyadic(numerator: u128, shift: u32, words: usize) -> Fixed {
    let mut value = vec![0; words + 3];
    let low = crate::primes::low;
    value[words] = low(numerator);
    value[words + 1] = low(numerator >> 64);
    let whole_words = usize::try_from(shift / 64)
        .unwrap_or(usize::MAX)
        .min(value.len());
    value.drain(..whole_words);
    value.resize(words + 3, 0);
    shift_right(&mut value, shift % 64);
    value.truncate(words + 1);
    value
}

fn add_assign(a: &mut Fixed, b: &Fixed) {
    let mut carry = false;
    for (x, y) in a.iter_mut().zip(b) {
        (*x, carry) = x.carrying_add(*y, carry);
    }
}

/// False when the result would be negative; `a` is then meaningless.
fn sub_assign(a: &mut Fixed, b: &Fixed) -> bool {
    let mut borrow = false;
    for (x, y) in a.iter_mut().zip(b) {
        (*x, borrow) = x.borrowing_sub(*y, borrow);
    }
    !borrow
}

fn at_most(a: &Fixed, b: &Fixed) -> bool {
    a.iter().rev().le(b.iter().rev())
}

fn mul_word(a: &mut Fixed, word: u64) {
    let mut carry = 0;
    for x in a {
        (*x, carry) = x.carrying_mul(word, carry);
    }
}

fn div_word(a: &mut Fixed, word: u64) {
    let mut remainder = 0u128;
    for x in a.iter_mut().rev() {
        let part = remainder << 64 | u128::from(*x);
        *x = crate::primes::low(part / u128::from(word));
        remainder = part % u128::from(word);
    }
}

fn shift_right(a: &mut Fixed, shift: u32) {
    if shift == 0 {
        return;
    }
    let mut above = 0;
    for x in a.iter_mut().rev() {
        let word = *x;
        *x = word >> shift | above;
        above = word << (64 - shift);
    }
}

/// The product, rounded down.
fn mul(a: &Fixed, b: &Fixed) -> Fixed {
    let words = a.len() - 1;
    let mut product = vec![0; 2 * a.len()];
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0;
        for (slot, &y) in product[i..].iter_mut().zip(b) {
            (*slot, carry) = x.carrying_mul_add(y, *slot, carry);
        }
        product[i + b.len()] = carry;
    }
    product[words..=2 * words].to_vec()
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn big(value: &Fixed) -> BigUint {
        value
            .iter()
            .rev()
            .fold(BigUint::ZERO, |acc, &word| (acc << 64) + word)
    }

    /// `floor(exp(-a/2^b) 2^bits)` give or take a few units, by the plain series for `exp(a/2^b)` and one division.
    fn exp_reference(a: u128, b: u32, bits: u64) -> BigUint {
        let guard = 200;
        let mut term: BigUint = BigUint::from(1u8) << (bits + guard);
        let mut sum = term.clone();
        for n in 1u32.. {
            term = ((term * a) >> b) / n;
            if term == BigUint::ZERO {
                break;
            }
            sum += &term;
        }
        (BigUint::from(1u8) << (2 * bits + guard)) / sum
    }

    #[test]
    fn enclosures_hold_the_value_and_shrink() {
        let cases: [(u128, u32); 9] = [
            (0, 1),
            (1, 1),
            (9, 1),
            (81, 1),
            (3969, 1),
            (1, 111),
            (u128::MAX >> 12, 115),
            (12345, 14),
            (1 << 110, 113),
        ];
        for (numerator, log2_denominator) in cases {
            for words in 2..7 {
                let (low, high) = Target::ExpNeg {
                    numerator,
                    log2_denominator,
                }
                .enclose(words);
                let value = exp_reference(numerator, log2_denominator, 64 * words as u64);
                // The reference is off by a unit, the enclosure by far less than its width.
                assert!(
                    big(&low) <= value && value <= big(&high),
                    "exp(-{numerator}/2^{log2_denominator})"
                );
                assert!(big(&high) - big(&low) <= BigUint::from(1u8) << 41);
            }
        }
        for v in [0, 1, 5, 20, 63] {
            let sum = (0..=u128::from(v))
                .fold(BigUint::ZERO, |acc, j| acc + exp_reference(j * j, 1, 320));
            let (low, high) = Target::Table { v }.enclose(5);
            let value = sum * 73u8 / 128u8;
            assert!(big(&low) < value && value < big(&high));
        }
    }

    #[test]
    fn comparison_decides_by_as_many_words_as_it_takes() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let target = Target::ExpNeg {
            numerator: 1,
            log2_denominator: 0,
        };
        // The first words of 1/e, so that only the fifth decides.
        let digits = exp_reference(1, 0, 320).to_u64_digits();
        for (last, below) in [
            (digits[0] - (1 << 20), true),
            (digits[0] + (1 << 20), false),
        ] {
            let mut words: Vec<u64> = digits[1..].iter().rev().copied().collect();
            words.push(last);
            let mut uniform = LazyUniform { words };
            assert_eq!(uniform.is_below(target, &mut rng), below);
            assert!(uniform.words.len() <= 7);
        }
        // With only the first word given, the rest is random: below with the probability of the remaining fraction.
        let first = digits[4];
        let fraction = digits[3] >> 44;
        let trials = 20_000u32;
        let hits = (0..trials)
            .filter(|_| LazyUniform::starting_with(first).is_below(target, &mut rng))
            .count();
        let expected =
            f64::from(trials) * f64::from(u32::try_from(fraction).unwrap()) / f64::from(1u32 << 20);
        let deviation = (f64::from(u32::try_from(hits).unwrap()) - expected).abs();
        assert!(
            deviation < 4.0 * f64::from(trials).sqrt() / 2.0,
            "{hits} hits, {expected} expected"
        );
    }

    #[test]
    fn broken_generator_terminates() {
        struct Ones;
        impl RngCore for Ones {
            fn next_u32(&mut self) -> u32 {
                u32::MAX
            }
            fn next_u64(&mut self) -> u64 {
                u64::MAX
            }
            fn fill_bytes(&mut self, dest: &mut [u8]) {
                dest.fill(255);
            }
            fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
                dest.fill(255);
                Ok(())
            }
        }
        let target = Target::ExpNeg {
            numerator: 0,
            log2_denominator: 0,
        };
        assert!(!LazyUniform::starting_with(u64::MAX).is_below(target, &mut Ones));
    }
}
