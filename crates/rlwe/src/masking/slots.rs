//! Several coordinates in one coefficient, above the noise.

use super::layout::MaskLayout;
use super::{MaskError, Opened, Vector};
use crate::field::{Limbs, add_carry, low_word};

impl MaskLayout {
    /// `sum_k 2^(shift + k sw) x_(k M_e + index)` as a 256-bit two's-complement integer, in constant time. Coordinates
    /// beyond the end of `update` count as zero.
    #[must_use]
    pub fn pack_slots(&self, index: usize, update: &[i64]) -> Limbs {
        let mut packed = [0; 4];
        let mut coordinate = index;
        let mut position = self.shape().shift;
        for _ in 0..self.shape().slots {
            let Some(&value) = update.get(coordinate) else {
                break;
            };
            packed = add_carry(&packed, &shifted(value, position));
            coordinate += self.coefficients();
            position += self.shape().slot_width;
        }
        packed
    }

    /// Splits centred coefficients, 256-bit two's complement each, into coordinates and noise. Each part is exact as long
    /// as it lies in `[-2^(w-1), 2^(w-1))` for its width `w`.
    ///
    /// # Errors
    /// [`MaskError::Length`]; [`MaskError::Undecodable`] when a coefficient is larger than all its parts together can be;
    /// [`MaskError::Padding`] for a nonzero slot that holds no coordinate.
    pub fn unpack_slots(&self, centred: &[Limbs]) -> Result<Opened, MaskError> {
        let shape = self.shape();
        if centred.len() != self.coefficients() {
            let (got, expected) = (centred.len(), self.coefficients());
            return Err(MaskError::Length {
                what: Vector::Masked,
                got,
                expected,
            });
        }
        // Half of each part's range, added to all of them at once, makes every part nonnegative: no borrow crosses.
        let mut offset = shifted(1, shape.shift - 1);
        let mut position = shape.shift;
        for _ in 0..shape.slots {
            position += shape.slot_width;
            offset = add_carry(&offset, &shifted(1, position - 1));
        }
        let end = position;
        let slot_half = 1i64 << (shape.slot_width - 1);
        let noise_half = 1i128 << (shape.shift - 1);
        let mut sums = vec![0i64; shape.coordinates];
        let mut noise = Vec::with_capacity(centred.len());
        for (index, value) in centred.iter().enumerate() {
            let value = add_carry(value, &offset);
            if (end..256)
                .step_by(64)
                .any(|position| bits(&value, position, 64) != 0)
            {
                return Err(MaskError::Undecodable { index });
            }
            let low = u128::from(bits(&value, 0, shape.shift.min(64)));
            let high = u128::from(bits(&value, 64, shape.shift.saturating_sub(64)));
            noise.push((high << 64 | low).cast_signed().wrapping_sub(noise_half));
            let mut coordinate = index;
            let mut position = shape.shift;
            for _ in 0..shape.slots {
                let sum = bits(&value, position, shape.slot_width)
                    .cast_signed()
                    .wrapping_sub(slot_half);
                match sums.get_mut(coordinate) {
                    Some(slot) => *slot = sum,
                    None if sum != 0 => return Err(MaskError::Padding { index: coordinate }),
                    None => {}
                }
                coordinate += self.coefficients();
                position += shape.slot_width;
            }
        }
        Ok(Opened { sums, noise })
    }
}

/// `value * 2^position` as a 256-bit two's-complement integer, `position` at most 250.
fn shifted(value: i64, position: u32) -> Limbs {
    let wide = i128::from(value) << (position % 64);
    let sign = low_word(wide >> 127);
    let (low, high) = (low_word(wide), low_word(wide >> 64));
    match position / 64 {
        0 => [low, high, sign, sign],
        1 => [0, low, high, sign],
        2 => [0, 0, low, high],
        _ => [0, 0, 0, low],
    }
}

/// Bits `position .. position + width` of a 256-bit number, zeros beyond its end. At most 64 of them.
fn bits(value: &Limbs, position: u32, width: u32) -> u64 {
    let limb = |i: u32| {
        usize::try_from(i)
            .ok()
            .and_then(|i| value.get(i))
            .copied()
            .unwrap_or(0)
    };
    let pair = u128::from(limb(position / 64 + 1)) << 64 | u128::from(limb(position / 64));
    let word = crate::primes::low(pair >> (position % 64));
    match width {
        0 => 0,
        1..64 => word & ((1 << width) - 1),
        _ => word,
    }
}
