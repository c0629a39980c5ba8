//! Integers and scalars as digits. Everything here but [`is_canonical`]'s verdict is constant time.

use core::hint::black_box;

use subtle::{Choice, ConstantTimeEq};

use crate::SimdError;

/// The group order l = 2^252 + 27742317777372353535851937790883648493.
pub(crate) const ORDER: [u64; 4] = [
    0x5812631a5cf5d3ed,
    0x14def9dea2f79cd6,
    0,
    0x1000000000000000,
];

/// Bits that hold every canonical scalar.
pub(crate) const SCALAR_BITS: u32 = 253;

mod sealed {
    pub trait Sealed {}
}

/// Signed integers that a commitment takes: `i8`, `i16`, `i32`, `i64` and `i128`. Sealed.
pub trait SmallInt: Copy + sealed::Sealed {
    /// Largest bound on the bit length that [`crate::ColumnTables::commit_rows`] accepts for this type.
    const MAX_BITS: u32;
    #[doc(hidden)]
    fn widen(self) -> i128;
    #[doc(hidden)]
    fn narrow(self) -> i64;
}

macro_rules! small_int {
    ($($t:ty, $bits:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl SmallInt for $t {
            const MAX_BITS: u32 = $bits;
            #[inline(always)]
            fn widen(self) -> i128 { i128::from(self) }
            #[inline(always)]
            fn narrow(self) -> i64 { i64::from(self) }
        }
    )*};
}
small_int! { i8, 7; i16, 15; i32, 31; i64, 63; }

impl sealed::Sealed for i128 {}
impl SmallInt for i128 {
    const MAX_BITS: u32 = 120;
    #[inline(always)]
    fn widen(self) -> i128 {
        self
    }
    // Only called once the value is known to fit.
    #[inline(always)]
    fn narrow(self) -> i64 {
        self as i64
    }
}

/// Makes a verdict on secrets public: the one place where a branch depends on them. Kept a branch and a function of its
/// own so that the check in `examples/secret_taint.rs` can name it.
#[inline(never)]
fn reveal(verdict: Choice) -> bool {
    if bool::from(verdict) {
        black_box(true)
    } else {
        black_box(false)
    }
}

/// Refuses unless every |v| < 2^bits. One verdict for all values, none of which decides a branch.
#[inline(always)]
pub(crate) fn check_bound<T: SmallInt>(rows: &[&[T]], bits: u32) -> Result<(), SimdError> {
    if bits == 0 || bits > T::MAX_BITS {
        return Err(SimdError::BoundUnsupported {
            bits,
            max: T::MAX_BITS,
        });
    }
    let bad = if bits < 63 {
        let (shift, top) = ((1u64 << bits) - 1, (1u64 << (bits + 1)) - 2);
        // An i128 that does not fit 64 bits is caught by comparing it with its own low half.
        rows.iter().fold(0u64, |bad, row| {
            row.iter().fold(bad, |bad, v| {
                let low = v.narrow();
                let lost = (i128::from(low) ^ v.widen()) as u128;
                let (_, over) = top.overflowing_sub((low as u64).wrapping_add(shift));
                bad | u64::from(over) | lost as u64 | (lost >> 64) as u64
            })
        })
    } else {
        let (shift, top) = ((1u128 << bits) - 1, (1u128 << (bits + 1)) - 2);
        rows.iter().fold(0u64, |bad, row| {
            row.iter().fold(bad, |bad, v| {
                let (_, over) = top.overflowing_sub((v.widen() as u128).wrapping_add(shift));
                bad | u64::from(over)
            })
        })
    };
    if reveal(bad.ct_eq(&0)) {
        Ok(())
    } else {
        Err(SimdError::SecretOutOfBound { bits })
    }
}

pub(crate) fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut w = [0u64; 4];
    for (word, chunk) in w.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut le = [0; 8];
        le.copy_from_slice(chunk);
        *word = u64::from_le_bytes(le);
    }
    w
}

/// Whether the scalar is below the group order, without a branch.
pub(crate) fn is_canonical(scalar: &[u8; 32]) -> Choice {
    let mut borrow = 0u64;
    for (w, l) in words(scalar).iter().zip(ORDER) {
        let (d, b1) = w.overflowing_sub(l);
        let (_, b2) = d.overflowing_sub(borrow);
        borrow = u64::from(b1 | b2);
    }
    Choice::from(borrow as u8)
}

/// Refuses unless all secret scalars are canonical; one verdict for all.
pub(crate) fn check_secret_scalars<'a>(
    scalars: impl IntoIterator<Item = &'a [u8; 32]>,
) -> Result<(), SimdError> {
    let good = scalars
        .into_iter()
        .fold(Choice::from(1), |good, s| good & is_canonical(s));
    if reveal(good) {
        Ok(())
    } else {
        Err(SimdError::SecretScalarNotCanonical)
    }
}

/// Number of signed digits of `width` bits that hold every |v| < 2^bits. Digits lie in [-2^(width-1), 2^(width-1) - 1],
/// the top one may reach +2^(width-1).
pub(crate) const fn digit_count(bits: u32, width: u32) -> usize {
    ((bits + 1).div_ceil(width)) as usize
}

/// The constant that turns a signed value into one whose plain digits are the signed digits plus 2^(width-1).
const fn digit_offset(count: usize, width: u32) -> u128 {
    let mut offset = 0u128;
    let mut i = 0;
    while i < count {
        offset |= 1u128 << (width as usize * i + width as usize - 1);
        i += 1;
    }
    offset
}

/// Signed digits of integers with a public bound.
#[derive(Clone, Copy)]
pub(crate) struct Recoder {
    pub(crate) count: usize,
    width: u32,
    offset: u128,
}

impl Recoder {
    pub(crate) fn new(bits: u32, width: u32) -> Self {
        let count = digit_count(bits, width);
        Self {
            count,
            width,
            offset: digit_offset(count, width),
        }
    }

    /// Calls `put(k, digit)` for every digit, lowest first.
    #[inline(always)]
    pub(crate) fn digits<T: SmallInt>(&self, value: T, mut put: impl FnMut(usize, i8)) {
        let half = 1i8 << (self.width - 1);
        let low = (1u64 << self.width) - 1;
        let last = self.count - 1;
        if self.count as u32 * self.width < 63 {
            let mut u = (value.narrow() as u64).wrapping_add(self.offset as u64);
            for k in 0..last {
                put(k, ((u & low) as i8).wrapping_sub(half));
                u >>= self.width;
            }
            put(last, (u as i8).wrapping_sub(half));
        } else {
            let mut u = (value.widen() as u128).wrapping_add(self.offset);
            for k in 0..last {
                put(k, ((u as u64 & low) as i8).wrapping_sub(half));
                u >>= self.width;
            }
            put(last, (u as i8).wrapping_sub(half));
        }
    }
}

impl Recoder {
    /// As [`Recoder::digits`] for eight values at once; a missing one counts as zero.
    #[inline(always)]
    pub(crate) fn digits8<T: SmallInt>(
        &self,
        values: [Option<T>; 8],
        mut put: impl FnMut(usize, [i8; 8]),
    ) {
        let half = 1i8 << (self.width - 1);
        let low = (1u64 << self.width) - 1;
        let last = self.count - 1;
        if self.count as u32 * self.width < 63 {
            let offset = self.offset as u64;
            let mut u = values.map(|v| (v.map_or(0, T::narrow) as u64).wrapping_add(offset));
            for k in 0..last {
                put(k, u.map(|u| ((u & low) as i8).wrapping_sub(half)));
                u = u.map(|u| u >> self.width);
            }
            put(last, u.map(|u| (u as i8).wrapping_sub(half)));
        } else {
            let mut u = values.map(|v| (v.map_or(0, T::widen) as u128).wrapping_add(self.offset));
            for k in 0..last {
                put(k, u.map(|u| ((u as u64 & low) as i8).wrapping_sub(half)));
                u = u.map(|u| u >> self.width);
            }
            put(last, u.map(|u| (u as i8).wrapping_sub(half)));
        }
    }
}

/// Number of signed digits of a canonical scalar.
pub(crate) const fn scalar_digit_count(width: u32) -> usize {
    digit_count(SCALAR_BITS, width)
}

/// Calls `put(k, digit)` for every signed digit of a canonical scalar, lowest first. Wrapping operations, because an
/// overflow check is a branch on a secret.
pub(crate) fn scalar_digits(scalar: &[u8; 32], width: u32, mut put: impl FnMut(usize, i8)) {
    let count = scalar_digit_count(width);
    let half = 1u64 << (width - 1);
    let w = words(scalar);
    let mut carry = 0u64;
    for k in 0..count {
        let raw = bits_at(&w, k * width as usize, width).wrapping_add(carry);
        // raw is at most 2^width; a digit of half or more borrows from the next one, except at the top.
        let top = u64::from(k + 1 == count).wrapping_neg();
        carry = (raw.wrapping_add(half) >> width) & !top;
        put(k, raw.wrapping_sub(carry << width) as i8);
    }
}

/// `width` (at most 16) bits from position `at`, zero beyond the top.
#[inline(always)]
pub(crate) fn bits_at(w: &[u64; 4], at: usize, width: u32) -> u64 {
    let (word, shift) = (at / 64, at % 64);
    let low = w.get(word).map_or(0, |x| x >> shift);
    let high = if shift == 0 {
        0
    } else {
        w.get(word + 1).map_or(0, |x| x << (64 - shift))
    };
    (low | high) & ((1 << width) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuild(digits: &[i8], width: u32) -> i128 {
        digits
            .iter()
            .rev()
            .fold(0i128, |acc, d| (acc << width) + i128::from(*d))
    }

    #[test]
    fn digits_rebuild_every_extreme_value() {
        for width in 4..=7u32 {
            for bits in 1..=120u32 {
                let max = (1i128 << bits) - 1;
                for v in [0, 1, -1, max, -max, max / 3, -(max / 5), max - 7, 7 - max] {
                    if v.abs() > max {
                        continue;
                    }
                    let r = Recoder::new(bits, width);
                    let mut d = vec![0i8; r.count];
                    r.digits(v, |k, x| d[k] = x);
                    assert_eq!(rebuild(&d, width), v, "bits {bits} width {width}");
                    let eight = [
                        Some(v),
                        None,
                        Some(0),
                        Some(v),
                        None,
                        None,
                        Some(0),
                        Some(v),
                    ];
                    r.digits8(eight, |k, x| {
                        assert_eq!(x, [d[k], 0, 0, d[k], 0, 0, 0, d[k]]);
                    });
                    assert!(d.iter().all(|x| x.unsigned_abs() <= 1 << (width - 1)));
                    if let Ok(small) = i64::try_from(v) {
                        let mut e = vec![0i8; r.count];
                        r.digits(small, |k, x| e[k] = x);
                        assert_eq!(d, e);
                    }
                }
            }
        }
    }

    #[test]
    fn scalar_digits_rebuild() {
        let mut top = [0u8; 32];
        for (c, w) in top.chunks_exact_mut(8).zip(ORDER) {
            c.copy_from_slice(&w.to_le_bytes());
        }
        assert!(!bool::from(is_canonical(&top)));
        top[0] -= 1;
        assert!(bool::from(is_canonical(&top)));
        assert!(!bool::from(is_canonical(&[0xff; 32])));
        assert!(bool::from(is_canonical(&[0; 32])));
        let mut half = [0x77; 32];
        half[31] = 0x0f;
        let mut ff = [0xff; 32];
        ff[31] = 0x0f;
        for s in [top, half, ff, [0; 32]] {
            for width in 4..=7u32 {
                let mut d = vec![0i8; scalar_digit_count(width)];
                scalar_digits(&s, width, |k, x| d[k] = x);
                assert!(d.iter().all(|x| x.unsigned_abs() <= 1 << (width - 1)));
                // Rebuild modulo 2^256 in 64-bit words.
                let mut acc = [0u64; 4];
                for x in d.iter().rev() {
                    let mut carry = i128::from(*x);
                    for w in &mut acc {
                        let v = (i128::from(*w) << width) + carry;
                        *w = v as u64;
                        carry = v >> 64;
                    }
                }
                assert_eq!(acc, words(&s));
            }
        }
    }

    #[test]
    fn bounds_are_open_and_exact() {
        for bits in [1u32, 7, 15, 31, 62, 63] {
            let max = ((1i128 << bits) - 1) as i64;
            assert_eq!(check_bound::<i64>(&[&[0, max, -max]], bits), Ok(()));
            let over = Err(SimdError::SecretOutOfBound { bits });
            assert_eq!(check_bound::<i64>(&[&[0], &[i64::MIN]], bits), over);
            if bits < 63 {
                assert_eq!(check_bound::<i64>(&[&[max + 1]], bits), over);
                assert_eq!(check_bound::<i64>(&[&[1], &[-max - 1, 0]], bits), over);
            }
            let wide = i128::from(max);
            assert_eq!(check_bound::<i128>(&[&[wide, -wide]], bits), Ok(()));
            for bad in [wide + 1, -wide - 1, i128::MAX, i128::MIN, 1 << 64, 1 << 100] {
                assert_eq!(check_bound::<i128>(&[&[bad]], bits), over);
            }
        }
        for bits in [0, 64] {
            assert_eq!(
                check_bound::<i64>(&[], bits),
                Err(SimdError::BoundUnsupported { bits, max: 63 })
            );
        }
        assert!(check_bound::<i128>(&[&[-(1 << 120) + 1]], 120).is_ok());
        assert!(check_bound::<i128>(&[&[1 << 120]], 120).is_err());
    }
}
