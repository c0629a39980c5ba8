//! What can be wrong with the data, with parameters, or with a federation asked for.

use thiserror::Error;

use super::data::{MAX_CSV_BYTES, PIXELS};

/// Why a file of digits was refused. Rows and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file is not gzip, is cut off, or its checksum is wrong.
    #[error("the digits are not a whole gzip file ({kind}): restore the file")]
    Gzip {
        /// What the decompressor reported.
        kind: std::io::ErrorKind,
    },
    /// Something follows the compressed data.
    #[error("{bytes} bytes follow the compressed digits: restore the file")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// More text than any file of digits has.
    #[error("the digits are more than {MAX_CSV_BYTES} bytes of text: this is not the digits file")]
    TooLarge,
    /// The text is not ASCII.
    #[error("the digits are not ASCII text: this is not the digits file")]
    NotText,
    /// The last row has no line end.
    #[error("the last row of the digits has no line end: the file is cut off")]
    NoLineEnd,
    /// A row with another number of fields than pixels and label.
    #[error("row {row} has {got} fields instead of {}", PIXELS + 1)]
    FieldCount {
        /// The row.
        row: usize,
        /// Its number of fields.
        got: usize,
    },
    /// A field that is not a plain decimal number in its range.
    #[error("row {row}, field {column}: not a whole number from 0 to {max}")]
    Field {
        /// The row.
        row: usize,
        /// The field.
        column: usize,
        /// The largest value allowed there.
        max: u8,
    },
    /// Another number of rows than the data set has.
    #[error("{got} rows instead of {expected}: the file is cut off or is not the digits file")]
    RowCount {
        /// The number of rows wanted.
        expected: usize,
        /// The number of rows found.
        got: usize,
    },
}

/// Why a step of training or averaging was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LearningError {
    /// The embedded data are damaged.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A federation without clients, or with more clients than training examples.
    #[error(
        "{clients} clients: the {examples} training examples are enough for 1 to {examples} clients"
    )]
    ClientCount {
        /// The number of clients asked for.
        clients: usize,
        /// The number of training examples.
        examples: usize,
    },
    /// More than 100 percent.
    #[error("a label skew of {percent} percent: give 0 to 100")]
    SkewPercent {
        /// The percentage asked for.
        percent: u8,
    },
    /// A client index outside the federation.
    #[error("client {client} does not exist: indices are below {clients}")]
    NoSuchClient {
        /// The index.
        client: usize,
        /// The number of clients.
        clients: usize,
    },
    /// A vector that does not belong to the model.
    #[error("a vector of {got} numbers where the model has {expected} parameters")]
    ParameterCount {
        /// The number of parameters of the model.
        expected: usize,
        /// The length given.
        got: usize,
    },
    /// A parameter is NaN or infinite.
    #[error("parameter {index} is not a finite number: training has diverged")]
    NotFinite {
        /// Index of the first such parameter, from 0.
        index: usize,
    },
    /// Training on nothing, or accuracy over nothing.
    #[error("no examples to work on")]
    NoExamples,
    /// The mean of no updates.
    #[error("no updates to average")]
    NoUpdates,
    /// Training settings that cannot train: no epoch, an empty batch, or a learning rate that is not positive and finite.
    #[error(
        "these settings cannot train: epochs and batch must be at least 1, the learning rate positive and finite"
    )]
    Settings,
}
