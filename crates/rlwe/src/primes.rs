//! The NTT primes and word arithmetic modulo one of them. Setup only: the hot loops are in `ntt`.

/// The largest primes below 2^62 that are 1 modulo 2^17, largest first: they serve every power-of-two degree up to
/// 65,536. Below 2^62 four times a prime fits a word, which the lazy butterflies need. A test derives them again.
pub(crate) const PRIMES: [u64; 10] = [
    0x3fff_ffff_ffe8_0001,
    0x3fff_ffff_ffbe_0001,
    0x3fff_ffff_ffb8_0001,
    0x3fff_ffff_ff54_0001,
    0x3fff_ffff_feda_0001,
    0x3fff_ffff_fec8_0001,
    0x3fff_ffff_fec4_0001,
    0x3fff_ffff_feb2_0001,
    0x3fff_ffff_feb0_0001,
    0x3fff_ffff_fe76_0001,
];

/// The largest primes below 2^50 of the same form, for lanes of 52 bits.
pub(crate) const LANE_PRIMES: [u64; 12] = [
    0x3_ffff_ffd2_0001,
    0x3_ffff_ffb8_0001,
    0x3_ffff_fed6_0001,
    0x3_ffff_fec8_0001,
    0x3_ffff_febe_0001,
    0x3_ffff_fea6_0001,
    0x3_ffff_fea4_0001,
    0x3_ffff_fe9e_0001,
    0x3_ffff_fe9a_0001,
    0x3_ffff_fe94_0001,
    0x3_ffff_fe62_0001,
    0x3_ffff_fe46_0001,
];

/// log2 of the largest root-of-unity order that every prime has.
pub(crate) const LOG2_ROOT_ORDER: u32 = 17;

pub(crate) fn mul_mod(a: u64, b: u64, p: u64) -> u64 {
    low(u128::from(a) * u128::from(b) % u128::from(p))
}

pub(crate) fn pow_mod(base: u64, mut exponent: u64, p: u64) -> u64 {
    let mut power = base % p;
    let mut result = 1;
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = mul_mod(result, power, p);
        }
        power = mul_mod(power, power, p);
        exponent >>= 1;
    }
    result
}

/// The inverse of a nonzero residue modulo a prime.
pub(crate) fn invert_mod(a: u64, p: u64) -> u64 {
    pow_mod(a, p - 2, p)
}

/// `floor(w 2^64 / p)`, the companion of a fixed multiplier `w < p` (V. Shoup's trick).
pub(crate) fn shoup(w: u64, p: u64) -> u64 {
    low((u128::from(w) << 64) / u128::from(p))
}

/// `p^-1 mod 2^64` of an odd `p`, by Newton's iteration.
pub(crate) fn invert_word(p: u64) -> u64 {
    let mut inverse = p;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
    }
    inverse
}

/// A root of unity of order exactly `2^log2_order` modulo the prime `p`; `None` when there is none.
pub(crate) fn primitive_root(p: u64, log2_order: u32) -> Option<u64> {
    let exponent = (p - 1) >> log2_order;
    if (p - 1) & ((1 << log2_order) - 1) != 0 {
        return None;
    }
    // A quadratic non-residue gives full order; half of all bases are one.
    (2..1000)
        .map(|base| pow_mod(base, exponent, p))
        .find(|&root| pow_mod(root, 1 << (log2_order - 1), p) == p - 1)
}

/// The low word. Callers pass values that fit, or want the truncation.
#[inline(always)]
pub(crate) fn low(value: u128) -> u64 {
    const WORD: u128 = u64::MAX as u128;
    u64::try_from(value & WORD).unwrap_or_default()
}

/// The high word of a product.
#[inline(always)]
pub(crate) fn mul_high(a: u64, b: u64) -> u64 {
    a.carrying_mul(b, 0).1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic Miller-Rabin for 64 bits (the first twelve primes suffice, Sorenson and Webster 2015).
    fn is_prime(n: u64) -> bool {
        let s = (n - 1).trailing_zeros();
        [2u64, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]
            .into_iter()
            .all(|base| {
                let mut x = pow_mod(base, (n - 1) >> s, n);
                if x == 1 || x == n - 1 {
                    return true;
                }
                (1..s).any(|_| {
                    x = mul_mod(x, x, n);
                    x == n - 1
                })
            })
    }

    #[test]
    fn primes_are_the_largest_of_their_form() {
        for (bits, primes) in [(62, &PRIMES[..]), (50, &LANE_PRIMES)] {
            let mut candidate = (1u64 << bits) + 1;
            for &expected in primes {
                candidate -= 1 << LOG2_ROOT_ORDER;
                while !is_prime(candidate) {
                    candidate -= 1 << LOG2_ROOT_ORDER;
                }
                assert_eq!(candidate, expected);
            }
        }
    }

    #[test]
    fn roots_and_inverses() {
        for p in PRIMES {
            for log2_order in [1, 5, 14, LOG2_ROOT_ORDER] {
                let root = primitive_root(p, log2_order).unwrap();
                assert_eq!(pow_mod(root, 1 << log2_order, p), 1);
                assert_eq!(pow_mod(root, 1 << (log2_order - 1), p), p - 1);
            }
            assert_eq!(p.wrapping_mul(invert_word(p)), 1);
            assert_eq!(mul_mod(invert_mod(12345, p), 12345, p), 1);
        }
        assert_eq!(primitive_root(PRIMES[0], 61), None);
    }
}
