//! The handwritten digits: embedded, parsed strictly.

use std::io::Read;

use flate2::bufread::GzDecoder;

use super::error::DataError;

/// Pixels of an image, 8 x 8.
pub const PIXELS: usize = 64;
/// Number of classes: the digits 0 to 9.
pub const CLASSES: usize = 10;
/// Rows of the embedded data set.
pub const EXAMPLES: usize = 1797;
/// Most bytes of text that [`parse_digits`] takes.
pub const MAX_CSV_BYTES: usize = 1 << 20;

const MAX_PIXEL: u8 = 16;
const MAX_LABEL: u8 = 9;

/// See `data/README.md` for source and licence.
static EMBEDDED: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// One image and what it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Digit {
    /// Brightness of the 8 x 8 pixels, row by row, from 0 to 1.
    pub pixels: [f32; PIXELS],
    /// The digit, 0 to 9.
    pub label: u8,
}

/// The embedded data set: 1,797 images from "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI
/// Machine Learning Repository, 1998; CC BY 4.0).
///
/// # Errors
/// [`DataError`] if the embedded file is damaged.
pub fn embedded_digits() -> Result<Vec<Digit>, DataError> {
    let digits = parse_digits(EMBEDDED)?;
    if digits.len() != EXAMPLES {
        return Err(DataError::RowCount {
            expected: EXAMPLES,
            got: digits.len(),
        });
    }
    Ok(digits)
}

/// Parses a gzip file of comma-separated rows of 64 pixels (0 to 16) and a label (0 to 9). Each row ends with a line feed;
/// numbers are decimal without sign, spaces or leading zeros.
///
/// # Errors
/// [`DataError`] for anything else, and for more than [`MAX_CSV_BYTES`] bytes of text.
pub fn parse_digits(gzip: &[u8]) -> Result<Vec<Digit>, DataError> {
    let mut decoder = GzDecoder::new(gzip);
    let mut text = Vec::new();
    let limit = MAX_CSV_BYTES as u64 + 1;
    decoder
        .by_ref()
        .take(limit)
        .read_to_end(&mut text)
        .map_err(|e| DataError::Gzip { kind: e.kind() })?;
    if text.len() > MAX_CSV_BYTES {
        return Err(DataError::TooLarge);
    }
    let rest = decoder.into_inner();
    if !rest.is_empty() {
        return Err(DataError::TrailingBytes { bytes: rest.len() });
    }
    if !text.is_ascii() {
        return Err(DataError::NotText);
    }
    let Some(rows) = text.strip_suffix(b"\n") else {
        return Err(DataError::NoLineEnd);
    };
    rows.split(|&b| b == b'\n')
        .zip(1..)
        .map(|(row, number)| parse_row(row, number))
        .collect()
}

fn parse_row(text: &[u8], row: usize) -> Result<Digit, DataError> {
    let fields = text.iter().filter(|&&b| b == b',').count() + 1;
    if fields != PIXELS + 1 {
        return Err(DataError::FieldCount { row, got: fields });
    }
    let mut digit = Digit {
        pixels: [0.0; PIXELS],
        label: 0,
    };
    for (index, field) in text.split(|&b| b == b',').enumerate() {
        let max = if index < PIXELS { MAX_PIXEL } else { MAX_LABEL };
        let value = parse_number(field).filter(|&v| v <= max);
        let value = value.ok_or(DataError::Field {
            row,
            column: index + 1,
            max,
        })?;
        match digit.pixels.get_mut(index) {
            Some(pixel) => *pixel = f32::from(value) / f32::from(MAX_PIXEL),
            None => digit.label = value,
        }
    }
    Ok(digit)
}

/// A decimal number of one or two digits, in its only spelling.
fn parse_number(field: &[u8]) -> Option<u8> {
    let digit = |b: u8| b.is_ascii_digit().then(|| b - b'0');
    match *field {
        [units] => digit(units),
        [tens, units] => Some(digit(tens).filter(|&t| t > 0)? * 10 + digit(units)?),
        _ => None,
    }
}
