//! One public base, many secret scalars.

use zeroize::Zeroizing;

use crate::SimdError;
use crate::backend::Engine;
use crate::columns::ColumnTables;
use crate::edwards::Point;
use crate::scalar::{
    Recoder, SCALAR_BITS, SmallInt, check_bound, check_secret_scalars, digit_count, scalar_digits,
};

/// Tables of 2^(w k) B for one public base B: constant-time v B for many secret v, without a doubling.
///
/// Made for a largest bit length; an integer with a smaller bound uses only the low tables.
#[derive(Debug)]
pub struct FixedBaseTable {
    tables: ColumnTables,
    max_bits: u32,
}

impl FixedBaseTable {
    /// Tables for integers of up to `max_bits` bits (and a sign); 253 admits every scalar.
    ///
    /// # Errors
    /// [`SimdError::BoundUnsupported`] for a bound outside 1..=253.
    pub fn new(engine: Engine, base: &Point, max_bits: u32) -> Result<Self, SimdError> {
        if max_bits == 0 || max_bits > SCALAR_BITS {
            return Err(SimdError::BoundUnsupported {
                bits: max_bits,
                max: SCALAR_BITS,
            });
        }
        let width = ColumnTables::new(engine, &[]).width();
        let mut shifts = Vec::new();
        let mut p = *base;
        for _ in 0..digit_count(max_bits, width) {
            shifts.push(p);
            p = p.double_times(width);
        }
        Ok(Self {
            tables: ColumnTables::new(engine, &shifts),
            max_bits,
        })
    }

    /// Bytes of memory that the tables take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.tables.memory_bytes()
    }

    /// v B for every integer |v| < 2^`bits`, in constant time.
    ///
    /// # Errors
    /// [`SimdError::BoundUnsupported`] when `bits` exceeds what the tables or the integer type hold;
    /// [`SimdError::SecretOutOfBound`] when any value breaks the bound (one verdict for all).
    pub fn mul_small<T: SmallInt>(&self, values: &[T], bits: u32) -> Result<Vec<Point>, SimdError> {
        if bits > self.max_bits {
            return Err(SimdError::BoundUnsupported {
                bits,
                max: self.max_bits,
            });
        }
        check_bound(&[values], bits)?;
        let recoder = Recoder::new(bits, self.tables.width());
        let mut digits = Zeroizing::new(vec![0i8; values.len() * recoder.count]);
        for (row, v) in digits.chunks_exact_mut(recoder.count).zip(values) {
            recoder.digits(*v, |k, d| row[k] = d);
        }
        Ok(self.tables.commit_digits(&digits, recoder.count))
    }

    /// s B for every scalar (32 bytes, canonical little-endian), in constant time. The tables must be made for 253 bits.
    ///
    /// # Errors
    /// [`SimdError::BoundUnsupported`] when the tables are smaller; [`SimdError::SecretScalarNotCanonical`] (one verdict).
    pub fn mul_scalars(&self, scalars: &[[u8; 32]]) -> Result<Vec<Point>, SimdError> {
        if self.max_bits < SCALAR_BITS {
            return Err(SimdError::BoundUnsupported {
                bits: SCALAR_BITS,
                max: self.max_bits,
            });
        }
        check_secret_scalars(scalars)?;
        let width = self.tables.width();
        let count = digit_count(SCALAR_BITS, width);
        let mut digits = Zeroizing::new(vec![0i8; scalars.len() * count]);
        for (row, s) in digits.chunks_exact_mut(count).zip(scalars) {
            scalar_digits(s, width, |k, d| row[k] = d);
        }
        Ok(self.tables.commit_digits(&digits, count))
    }
}
