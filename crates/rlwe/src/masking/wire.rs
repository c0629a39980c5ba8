//! The wire form of a masked vector: `k_j = y_j / 2^cut` at `252 - cut` bits each, little-endian, without gaps.

use rayon::prelude::*;

use super::layout::{MaskLayout, VALUE_BITS};
use super::{MaskError, Vector};
use crate::field::Limbs;
use crate::primes::low;

/// Coefficients that one task unpacks.
const COEFFICIENTS_AT_ONCE: usize = 1 << 12;

/// The 40 bytes from `offset` on as words, zeros beyond the end.
fn window(bytes: &[u8], offset: usize) -> [u64; 5] {
    let mut padded = [0; 40];
    let rest = &bytes[offset.min(bytes.len())..];
    let window = rest.first_chunk::<40>().unwrap_or_else(|| {
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    });
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(window.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

impl MaskLayout {
    /// Bits of one coefficient on the wire.
    #[must_use]
    pub fn coefficient_bits(&self) -> u32 {
        VALUE_BITS - self.shape().cut
    }

    /// Bytes of a packed masked vector.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        // At most 2^27 * 252 bits.
        let bits = self
            .coefficients()
            .saturating_mul(usize::try_from(self.coefficient_bits()).unwrap_or(usize::MAX));
        bits.div_ceil(8)
    }

    /// Packs a masked vector.
    ///
    /// # Errors
    /// [`MaskError::Length`]; [`MaskError::Coefficient`] for one that is not a multiple of `2^cut` below 2^252.
    pub fn pack_masked(&self, y: &[Limbs]) -> Result<Vec<u8>, MaskError> {
        self.check_masked_length(y.len())?;
        let cut = self.shape().cut;
        let mut out = Vec::with_capacity(self.packed_len());
        let mut pending = 0u128;
        let mut pending_bits = 0;
        for (index, y) in y.iter().enumerate() {
            let k = shift_right(y, cut);
            if shift_left(&k, cut) != *y || y[3] >> (VALUE_BITS - 192) != 0 {
                return Err(MaskError::Coefficient { index });
            }
            let mut left = self.coefficient_bits();
            for limb in k {
                let width = left.min(64);
                left -= width;
                pending |= u128::from(limb) << pending_bits;
                pending_bits += width;
                if pending_bits >= 64 {
                    out.extend_from_slice(&low(pending).to_le_bytes());
                    pending >>= 64;
                    pending_bits -= 64;
                }
            }
        }
        let rest = usize::try_from(pending_bits.div_ceil(8)).unwrap_or(0);
        out.extend_from_slice(&pending.to_le_bytes()[..rest]);
        Ok(out)
    }

    /// The masked vector from its packed form; every vector has exactly one.
    ///
    /// # Errors
    /// [`MaskError::PackedLength`] before anything is allocated; [`MaskError::SpareBits`].
    pub fn unpack_masked(&self, bytes: &[u8]) -> Result<Vec<Limbs>, MaskError> {
        let expected = self.packed_len();
        if bytes.len() != expected {
            return Err(MaskError::PackedLength {
                got: bytes.len(),
                expected,
            });
        }
        let cut = self.shape().cut;
        let width = usize::try_from(self.coefficient_bits()).unwrap_or(0);
        let masks: Limbs = core::array::from_fn(|i| match width.saturating_sub(64 * i) {
            0 => 0,
            left @ 1..64 => (1 << left) - 1,
            _ => u64::MAX,
        });
        let mut y = vec![[0; 4]; self.coefficients()];
        y.par_chunks_mut(COEFFICIENTS_AT_ONCE)
            .enumerate()
            .for_each(|(part, y)| {
                for (i, y) in y.iter_mut().enumerate() {
                    let position = (part * COEFFICIENTS_AT_ONCE + i) * width;
                    let words = window(bytes, position / 8);
                    let shift = position % 8;
                    // A shift by 64 in two parts, so that it is one where `shift` is zero.
                    let limb = |j: usize| words[j] >> shift | words[j + 1] << 1 << (63 - shift);
                    let k: Limbs = core::array::from_fn(|j| limb(j) & masks[j]);
                    *y = shift_left(&k, cut);
                }
            });
        let used = self.coefficients().saturating_mul(width) % 8;
        let spare = bytes.last().map_or(0, |last| last >> used);
        if used != 0 && spare != 0 {
            return Err(MaskError::SpareBits);
        }
        Ok(y)
    }

    fn check_masked_length(&self, got: usize) -> Result<(), MaskError> {
        let expected = self.coefficients();
        if got == expected {
            Ok(())
        } else {
            Err(MaskError::Length {
                what: Vector::Masked,
                got,
                expected,
            })
        }
    }
}

/// `value / 2^shift` for `shift < 128`.
fn shift_right(value: &Limbs, shift: u32) -> Limbs {
    let [a, b, c, d] = if shift < 64 {
        *value
    } else {
        [value[1], value[2], value[3], 0]
    };
    let pair =
        |high: u64, word: u64| low((u128::from(high) << 64 | u128::from(word)) >> (shift % 64));
    [pair(b, a), pair(c, b), pair(d, c), pair(0, d)]
}

/// `value * 2^shift mod 2^256` for `shift < 128`.
fn shift_left(value: &Limbs, shift: u32) -> Limbs {
    let [a, b, c, d] = if shift < 64 {
        *value
    } else {
        [0, value[0], value[1], value[2]]
    };
    let pair = |word: u64, below: u64| {
        low(((u128::from(word) << 64 | u128::from(below)) << (shift % 64)) >> 64)
    };
    [pair(a, 0), pair(b, a), pair(c, b), pair(d, c)]
}
