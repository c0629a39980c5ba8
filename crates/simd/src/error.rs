//! What can be wrong with the inputs of this crate.

use crate::Backend;

/// A refused input. Where the input may be secret the error says that something was out of range, never what or where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SimdError {
    /// The backend was asked for by name and this processor, or this build, does not have it.
    #[error(
        "backend {0:?} is not available on this processor; use Backend::Auto or Backend::Portable"
    )]
    BackendUnavailable(Backend),
    /// A string is not the canonical encoding of a ristretto255 element (RFC 9496, 4.3.1).
    #[error("point {index} is not a canonical ristretto255 encoding")]
    InvalidEncoding {
        /// Position of the first bad string in the input.
        index: usize,
    },
    /// A public scalar is not below the group order.
    #[error("scalar {index} of group {group} is not canonical (below the group order)")]
    ScalarNotCanonical {
        /// Which group of the call; 0 when there is only one.
        group: usize,
        /// Position of the first bad scalar in the group.
        index: usize,
    },
    /// At least one secret scalar is not below the group order.
    #[error("a secret scalar is not canonical (below the group order)")]
    SecretScalarNotCanonical,
    /// At least one secret integer exceeds the bound that was promised for all.
    #[error("a secret value is outside the open interval (-2^{bits}, 2^{bits})")]
    SecretOutOfBound {
        /// The promised bound on the bit length.
        bits: u32,
    },
    /// The bound itself is outside what the kernel is made for.
    #[error("a bound of {bits} bits is outside 1..={max}")]
    BoundUnsupported {
        /// The bound asked for.
        bits: u32,
        /// The largest one that these tables or integers allow.
        max: u32,
    },
    /// A row has more entries than the tables have columns.
    #[error("row {row} has {len} entries, the tables have {columns} columns")]
    RowTooLong {
        /// Position of the row.
        row: usize,
        /// Its length.
        len: usize,
        /// Number of columns of the tables.
        columns: usize,
    },
    /// A column was named that the tables do not have.
    #[error("column {column} does not exist, the tables have {columns} columns")]
    NoSuchColumn {
        /// The column asked for.
        column: usize,
        /// Number of columns of the tables.
        columns: usize,
    },
    /// Scalars and points, or two lists of points, do not pair up.
    #[error("group {group}: {left} items on the left, {right} on the right")]
    LengthMismatch {
        /// Which group of the call; 0 when there is only one.
        group: usize,
        /// Length of the first list.
        left: usize,
        /// Length of the second list.
        right: usize,
    },
    /// The memory budget does not hold even the smallest tables.
    #[error("a budget of {budget} bytes does not hold the smallest tables, {needed} bytes")]
    BudgetTooSmall {
        /// Bytes allowed.
        budget: usize,
        /// Bytes needed at least.
        needed: usize,
    },
    /// More points than the kernel can index.
    #[error("{count} points are more than the kernel takes at once, {max}")]
    TooManyPoints {
        /// Number of points given.
        count: usize,
        /// Largest number allowed.
        max: usize,
    },
}
