//! The few operations modulo `l` that ring products and masking need, on canonical limbs, in constant time.
//!
//! `l = 2^252 + c` with a 125-bit `c`, so reduction folds what lies above bit 252 back as a multiple of `-c`.

/// A number of 256 bits, least significant limb first. As an element of `F` it is canonical: below [`ORDER`].
pub type Limbs = [u64; 4];

/// `l`, the order of the ristretto255 group.
pub const ORDER: Limbs = [
    0x5812_631a_5cf5_d3ed,
    0x14de_f9de_a2f7_9cd6,
    0,
    0x1000_0000_0000_0000,
];

const FOLD: [u64; 2] = [ORDER[0], ORDER[1]];
const LOW_60: u64 = (1 << 60) - 1;

/// True when `value < l`.
#[must_use]
pub fn is_canonical(value: &Limbs) -> bool {
    sub_borrow(value, &ORDER).1
}

/// `a + b mod l` for canonical operands.
#[inline]
#[must_use]
pub fn add(a: &Limbs, b: &Limbs) -> Limbs {
    // Both are below 2^253, so the sum cannot leave 256 bits.
    subtract_order_once(&add_carry(a, b))
}

/// `a - b mod l` for canonical operands.
#[inline]
#[must_use]
pub fn sub(a: &Limbs, b: &Limbs) -> Limbs {
    let (difference, borrow) = sub_borrow(a, b);
    add_order_if(&difference, borrow)
}

/// Adds each of `terms` to the same position of `sum`, modulo `l`. Positions beyond the shorter slice stay as they are.
pub fn accumulate(sum: &mut [Limbs], terms: &[Limbs]) {
    for (total, term) in sum.iter_mut().zip(terms) {
        *total = add(total, term);
    }
}

/// The element of `F` that stands for the signed integer `value`.
#[inline]
#[must_use]
pub fn from_i128(value: i128) -> Limbs {
    let extension = if value < 0 { u64::MAX } else { 0 };
    from_signed(&[low_word(value), low_word(value >> 64), extension, extension])
}

/// The element of `F` for a 256-bit two's-complement integer of magnitude at most 2^252.
#[inline]
pub(crate) fn from_signed(value: &Limbs) -> Limbs {
    subtract_order_once(&add_order_if(value, value[3] >> 63 == 1))
}

/// The centred representative of a canonical element, in `(-l/2, l/2)`, as a 256-bit two's-complement integer.
#[inline]
pub(crate) fn centred(value: &Limbs) -> Limbs {
    // (l - 1) / 2: larger representatives stand for negative numbers.
    const HALF: Limbs = [
        0x2c09_318d_2e7a_e9f6,
        0x0a6f_7cef_517b_ce6b,
        0,
        0x0800_0000_0000_0000,
    ];
    let negative = sub_borrow(&HALF, value).1;
    let mask = mask_of(negative);
    sub_borrow(value, &ORDER.map(|limb| limb & mask)).0
}

/// Reduces a 384-bit integer modulo `l`.
#[inline]
#[must_use]
pub fn reduce_384(x: &[u64; 6]) -> Limbs {
    let low = [x[0], x[1], x[2], x[3] & LOW_60];
    let high = [x[3] >> 60 | x[4] << 4, x[4] >> 60 | x[5] << 4, x[5] >> 60];
    // high < 2^132, so high * c < 2^257: one more, tiny, fold.
    let (w0, carry) = high[0].carrying_mul(FOLD[0], 0);
    let (w1, carry) = high[1].carrying_mul(FOLD[0], carry);
    let (w2, w3) = high[2].carrying_mul(FOLD[0], carry);
    let (w1, carry) = high[0].carrying_mul_add(FOLD[1], w1, 0);
    let (w2, carry) = high[1].carrying_mul_add(FOLD[1], w2, carry);
    let (w3, w4) = high[2].carrying_mul_add(FOLD[1], w3, carry);
    let (difference, borrow) = sub_borrow(&low, &[w0, w1, w2, w3 & LOW_60]);
    let again = w3 >> 60 | w4 << 4;
    let (f0, carry) = again.carrying_mul(FOLD[0], 0);
    let (f1, f2) = again.carrying_mul(FOLD[1], carry);
    // difference + again * c lies in (-2^252, 2^252 + 2^130); as two's complement it is negative exactly when bit 255 is
    // set, because the addition may also have cancelled the borrow.
    debug_assert!(!borrow || difference[3] >> 63 == 1);
    from_signed(&add_carry(&difference, &[f0, f1, f2, 0]))
}

/// Reduces a 320-bit integer modulo `l`.
#[inline]
pub(crate) fn reduce_320(x: &[u64; 5]) -> Limbs {
    let low = [x[0], x[1], x[2], x[3] & LOW_60];
    let high = [x[3] >> 60 | x[4] << 4, x[4] >> 60];
    let (w0, carry) = high[0].carrying_mul(FOLD[0], 0);
    let (w1, w2) = high[1].carrying_mul(FOLD[0], carry);
    let (w1, carry) = high[0].carrying_mul_add(FOLD[1], w1, 0);
    let (w2, w3) = high[1].carrying_mul_add(FOLD[1], w2, carry);
    // low - high * c lies in (-2^193, 2^252).
    let (difference, borrow) = sub_borrow(&low, &[w0, w1, w2, w3]);
    add_order_if(&difference, borrow)
}

/// The low 64 bits of a two's-complement number.
#[inline]
pub(crate) fn low_word(value: i128) -> u64 {
    let bytes = value.to_le_bytes();
    u64::from_le_bytes([
        bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
    ])
}

#[inline]
pub(crate) fn mask_of(condition: bool) -> u64 {
    u64::from(condition).wrapping_neg()
}

#[inline]
pub(crate) fn add_carry(a: &Limbs, b: &Limbs) -> Limbs {
    let (r0, carry) = a[0].carrying_add(b[0], false);
    let (r1, carry) = a[1].carrying_add(b[1], carry);
    let (r2, carry) = a[2].carrying_add(b[2], carry);
    [
        r0,
        r1,
        r2,
        a[3].wrapping_add(b[3]).wrapping_add(u64::from(carry)),
    ]
}

#[inline]
pub(crate) fn sub_borrow(a: &Limbs, b: &Limbs) -> (Limbs, bool) {
    let (r0, borrow) = a[0].borrowing_sub(b[0], false);
    let (r1, borrow) = a[1].borrowing_sub(b[1], borrow);
    let (r2, borrow) = a[2].borrowing_sub(b[2], borrow);
    let (r3, borrow) = a[3].borrowing_sub(b[3], borrow);
    ([r0, r1, r2, r3], borrow)
}

#[inline]
fn add_order_if(value: &Limbs, condition: bool) -> Limbs {
    let mask = mask_of(condition);
    add_carry(value, &ORDER.map(|limb| limb & mask))
}

#[inline]
fn subtract_order_once(value: &Limbs) -> Limbs {
    let (reduced, borrow) = sub_borrow(value, &ORDER);
    let keep = mask_of(borrow);
    core::array::from_fn(|i| (value[i] & keep) | (reduced[i] & !keep))
}

#[cfg(test)]
mod tests {
    use num_bigint::{BigInt, BigUint, Sign};
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    use super::*;

    fn big(limbs: &[u64]) -> BigUint {
        limbs
            .iter()
            .rev()
            .fold(BigUint::ZERO, |acc, &limb| (acc << 64) + limb)
    }

    fn order() -> BigUint {
        (BigUint::from(1u8) << 252)
            + "27742317777372353535851937790883648493"
                .parse::<BigUint>()
                .unwrap()
    }

    /// Random limbs with runs of zeros and ones, so that carries and borrows run far.
    fn spiky<const K: usize>(rng: &mut ChaCha20Rng) -> [u64; K] {
        core::array::from_fn(|_| match rng.next_u32() % 4 {
            0 => 0,
            1 => u64::MAX,
            2 => ORDER[(rng.next_u32() % 4) as usize],
            _ => rng.next_u64(),
        })
    }

    #[test]
    fn order_constant() {
        assert_eq!(big(&ORDER), order());
        assert!(!is_canonical(&ORDER));
        assert!(is_canonical(&[ORDER[0] - 1, ORDER[1], 0, ORDER[3]]));
    }

    #[test]
    fn wide_reductions_agree_with_big_integers() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let l = order();
        for _ in 0..50_000 {
            let x: [u64; 6] = spiky(&mut rng);
            assert_eq!(big(&reduce_384(&x)), big(&x) % &l);
            let x: [u64; 5] = spiky(&mut rng);
            assert_eq!(big(&reduce_320(&x)), big(&x) % &l);
        }
        for multiple in [0u64, 1, 2, 17, u64::MAX] {
            // Just below and just above multiples of l.
            for around in [-1i8, 0, 1] {
                let value = BigInt::from(&l * multiple) + around;
                if value.sign() == Sign::Minus {
                    continue;
                }
                let mut digits = value.to_biguint().unwrap().to_u64_digits();
                digits.resize(6, 0);
                let x: [u64; 6] = digits.try_into().unwrap();
                assert_eq!(big(&reduce_384(&x)), big(&x) % &l);
            }
        }
    }

    #[test]
    fn addition_subtraction_and_signs() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let l = order();
        for _ in 0..20_000 {
            let a = reduce_384(&spiky(&mut rng));
            let b = reduce_384(&spiky(&mut rng));
            assert_eq!(big(&add(&a, &b)), (big(&a) + big(&b)) % &l);
            assert_eq!(big(&sub(&a, &b)), (big(&a) + &l - big(&b)) % &l);
            assert_eq!(from_signed(&centred(&a)), a);
            let small =
                i128::from(rng.next_u64().cast_signed()).wrapping_mul(i128::from(rng.next_u64()));
            let expected =
                (BigInt::from(small) + BigInt::from(l.clone())) % BigInt::from(l.clone());
            assert_eq!(BigInt::from(big(&from_i128(small))), expected);
        }
        assert_eq!(from_i128(i128::MIN), sub(&[0; 4], &[0, 1 << 63, 0, 0]));
        // The largest positive and the smallest negative centred value.
        let half: Vec<u64> = (&l / 2u8).to_u64_digits();
        let half: Limbs = half.try_into().unwrap();
        assert_eq!(centred(&half), half);
        let above = add(&half, &[1, 0, 0, 0]);
        assert_eq!(centred(&above)[3] >> 63, 1);
    }
}
