//! What can be wrong with the parameters or the input of an encoding.

use thiserror::Error;

use crate::encoder::{MAX_DIM, MAX_NORM_BOUND, MAX_SCALE_BITS};

/// Why an encoder could not be made, or why it refused a vector. Never contains a value of an update.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// The dimension is zero or above [`MAX_DIM`].
    #[error(
        "dimension {dim} is outside 1..={MAX_DIM}: give the number of coordinates of the update"
    )]
    DimensionOutOfRange {
        /// The dimension asked for.
        dim: usize,
    },
    /// More fractional bits than [`MAX_SCALE_BITS`].
    #[error(
        "{scale_bits} fractional bits are outside 0..={MAX_SCALE_BITS}: choose a coarser fixed-point scale"
    )]
    ScaleBitsOutOfRange {
        /// The number of fractional bits asked for.
        scale_bits: u8,
    },
    /// The norm bound is zero or above [`MAX_NORM_BOUND`].
    #[error(
        "norm bound {norm_bound} is outside 1..={MAX_NORM_BOUND}: choose a bound B_x in that range"
    )]
    NormBoundOutOfRange {
        /// The bound asked for, in integer units.
        norm_bound: u64,
    },
    /// The update does not have the agreed number of coordinates.
    #[error(
        "the update has {got} coordinates, the round expects {expected}: check that it belongs to this model"
    )]
    UpdateLength {
        /// The agreed dimension.
        expected: usize,
        /// The number of coordinates given.
        got: usize,
    },
    /// The sum does not have the agreed number of coordinates.
    #[error(
        "the sum has {got} coordinates, the round expects {expected}: check that it belongs to this round"
    )]
    SumLength {
        /// The agreed dimension.
        expected: usize,
        /// The number of coordinates given.
        got: usize,
    },
    /// A coordinate of the update is NaN or infinite. The first such index is given, the value is not.
    #[error(
        "coordinate {index} of the update is not a finite number: the training that produced it has diverged"
    )]
    NotFinite {
        /// Index of the first such coordinate, from 0.
        index: usize,
    },
    /// A mean over zero contributions was asked for.
    #[error(
        "a mean over zero contributions is undefined: give the number of contributions in the sum"
    )]
    ZeroCount,
}
