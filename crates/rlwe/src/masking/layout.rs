//! The numbers that place slots and noise in a coefficient, checked against each other.

use super::{MaskError, Vector};
use crate::field::Limbs;

/// The largest number of ring coefficients of one masked vector (10^8 coordinates, one per coefficient, and padding).
pub const MAX_COEFFICIENTS: usize = 1 << 27;

/// Bits that slots and noise may fill together: a centred field element holds them with either sign.
const MAX_BITS: u32 = 251;

/// The bits of a rounded coefficient and the cut-off part together: rounded coefficients are below 2^252.
pub(super) const VALUE_BITS: u32 = 252;

/// The numbers of a layout, as derived from the round's parameters; unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskShape {
    /// Coordinates of the update, the weight included if there is one.
    pub coordinates: usize,
    /// Ring coefficients (`M_e`): `coordinates / slots`, rounded up to whatever multiple the matrix needs.
    pub coefficients: usize,
    /// Slots per coefficient (kappa).
    pub slots: u32,
    /// Bits of a slot (`sw`): sums of coordinates are below `2^(slot_width - 1)` in magnitude.
    pub slot_width: u32,
    /// Bits below the first slot: sums of noises are below `2^(shift - 1)` in magnitude.
    pub shift: u32,
    /// `y` is rounded to multiples of `2^cut`.
    pub cut: u32,
    /// log2 of the noise's standard deviation before rounding.
    pub log2_sigma: u32,
}

/// Why a [`MaskShape`] is not a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// No coordinates, no coefficients, or more than [`MAX_COEFFICIENTS`].
    #[error(
        "{coordinates} coordinates in {coefficients} coefficients (1 to {MAX_COEFFICIENTS} coefficients)"
    )]
    Size {
        /// Coordinates.
        coordinates: usize,
        /// Coefficients.
        coefficients: usize,
    },
    /// More coordinates than slots.
    #[error("{coordinates} coordinates do not fit {coefficients} coefficients of {slots} slots")]
    TooFewSlots {
        /// Coordinates.
        coordinates: usize,
        /// Coefficients.
        coefficients: usize,
        /// Slots per coefficient.
        slots: u32,
    },
    /// A slot is narrower than 2 or wider than 63 bits, or there is none.
    #[error("{slots} slots of {slot_width} bits (at least one, of 2 to 63 bits)")]
    Slot {
        /// Slots per coefficient.
        slots: u32,
        /// Bits of a slot.
        slot_width: u32,
    },
    /// The slots and the noise do not fit a field element.
    #[error("shift {shift} and {slots} slots of {slot_width} bits exceed {MAX_BITS} bits")]
    TooManyBits {
        /// Bits below the first slot.
        shift: u32,
        /// Slots per coefficient.
        slots: u32,
        /// Bits of a slot.
        slot_width: u32,
    },
    /// The noise and its rounding do not fit below the first slot: `max(cut, log2_sigma + 5) < shift <= 127` is needed.
    #[error(
        "noise of width 2^{log2_sigma} rounded to 2^{cut} does not fit below bit {shift} (at most 127)"
    )]
    Noise {
        /// log2 of the noise width.
        log2_sigma: u32,
        /// Rounding exponent.
        cut: u32,
        /// Bits below the first slot.
        shift: u32,
    },
}

/// A checked layout: slot `k` of coefficient `j` holds coordinate `k M_e + j`, at bit `shift + k sw`.
///
/// What this type cannot check, because it does not know the number of clients, is the caller's to ensure:
/// `n_max B_e < 2^(shift - 1)` and `n_max B_x < 2^(slot_width - 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskLayout {
    shape: MaskShape,
}

impl MaskLayout {
    /// Checks a shape.
    ///
    /// # Errors
    /// [`LayoutError`], wrapped.
    pub fn new(shape: MaskShape) -> Result<Self, MaskError> {
        let MaskShape {
            coordinates,
            coefficients,
            slots,
            slot_width,
            shift,
            cut,
            log2_sigma,
        } = shape;
        if coordinates == 0 || coefficients == 0 || coefficients > MAX_COEFFICIENTS {
            return Err(LayoutError::Size {
                coordinates,
                coefficients,
            }
            .into());
        }
        if slots == 0 || !(2..=63).contains(&slot_width) {
            return Err(LayoutError::Slot { slots, slot_width }.into());
        }
        if slots
            .checked_mul(slot_width)
            .and_then(|bits| bits.checked_add(shift))
            .is_none_or(|bits| bits > MAX_BITS)
        {
            return Err(LayoutError::TooManyBits {
                shift,
                slots,
                slot_width,
            }
            .into());
        }
        if shift > 127 || cut >= shift || log2_sigma.saturating_add(5) >= shift {
            return Err(LayoutError::Noise {
                log2_sigma,
                cut,
                shift,
            }
            .into());
        }
        let room = usize::try_from(slots)
            .ok()
            .and_then(|slots| slots.checked_mul(coefficients));
        if room.is_none_or(|room| room < coordinates) {
            return Err(LayoutError::TooFewSlots {
                coordinates,
                coefficients,
                slots,
            }
            .into());
        }
        Ok(Self { shape })
    }

    /// The shape it was made from.
    #[must_use]
    pub fn shape(&self) -> &MaskShape {
        &self.shape
    }

    /// Coordinates of the update.
    #[must_use]
    pub fn coordinates(&self) -> usize {
        self.shape.coordinates
    }

    /// Ring coefficients of the masked vector (`M_e`).
    #[must_use]
    pub fn coefficients(&self) -> usize {
        self.shape.coefficients
    }

    pub(super) fn log2_sigma(&self) -> u32 {
        self.shape.log2_sigma
    }

    /// An update of the right length whose coordinates all fit their slots. Tells one bit about the values at most.
    pub(super) fn check_update(&self, update: &[i64]) -> Result<(), MaskError> {
        let expected = self.shape.coordinates;
        if update.len() != expected {
            return Err(MaskError::Length {
                what: Vector::Update,
                got: update.len(),
                expected,
            });
        }
        let limit = 1u64 << (self.shape.slot_width - 1);
        if update
            .iter()
            .fold(false, |beyond, x| beyond | (x.unsigned_abs() >= limit))
        {
            return Err(MaskError::UpdateBeyondSlot {
                slot_width: self.shape.slot_width,
            });
        }
        Ok(())
    }

    /// `y` rounded to the nearest multiple of `2^cut` (ties upwards), and what rounding added; `None` when the multiple is
    /// not below 2^252.
    pub(super) fn round(&self, y: &Limbs) -> Option<(Limbs, i128)> {
        let cut = self.shape.cut;
        // cut < 127, so both parts of the step fit two limbs.
        let half: u128 = (1 << cut) >> 1;
        let low = crate::primes::low;
        let mut raised = *y;
        let (r0, carry) = raised[0].carrying_add(low(half), false);
        let (r1, carry) = raised[1].carrying_add(low(half >> 64), carry);
        let (r2, carry) = raised[2].carrying_add(0, carry);
        raised = [r0, r1, r2, raised[3].wrapping_add(u64::from(carry))];
        let mask: u128 = (1 << cut) - 1;
        let cut_off = (u128::from(raised[1]) << 64 | u128::from(raised[0])) & mask;
        let rounded = [
            raised[0] & !low(mask),
            raised[1] & !low(mask >> 64),
            raised[2],
            raised[3],
        ];
        // Both are below 2^126.
        let correction = half.cast_signed().wrapping_sub(cut_off.cast_signed());
        (rounded[3] >> (VALUE_BITS - 192) == 0).then_some((rounded, correction))
    }
}
