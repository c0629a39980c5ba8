//! Vector commitments to small secret integers: fixed generators (columns), many rows.
//!
//! Every value becomes signed digits of a width fixed by the public bound. A digit position of a row is one
//! accumulator, sum_j d_j G_j; the accumulators of a row are joined by Horner's rule at the end. All accumulators of
//! a block take column j together, so the table of a column is read from memory once a block.

use zeroize::{Zeroize, Zeroizing};

use crate::SimdError;
use crate::backend::{Engine, Kind};
use crate::edwards::Point;
use crate::edwards64::{WordNiels, WordPoint};
use crate::scalar::{
    Recoder, SmallInt, check_bound, check_secret_scalars, scalar_digit_count, scalar_digits,
};
use crate::select::select;

/// Digit width of the portable tables: what reading 32 entries costs is less than the additions it saves.
pub(crate) const PORTABLE_WIDTH: u32 = 6;
const PORTABLE_ENTRIES: usize = 1 << (PORTABLE_WIDTH - 1);

/// Accumulators taken together: as many as a first-level cache of 48 KiB holds beside a table.
const BLOCK_ACCUMULATORS: usize = 256;
/// Columns recoded at a time.
const BLOCK_COLUMNS: usize = 256;

/// {1, .., 2^(w-1)} G for every column.
pub(crate) enum Tables {
    Portable(Vec<[WordNiels; PORTABLE_ENTRIES]>),
    #[cfg(target_arch = "x86_64")]
    Ifma(crate::ifma::Token, crate::ifma::ColumnTable),
}

/// Tables of the multiples of fixed public generators, and the constant-time commitments made with them.
///
/// A commitment to a row v is sum_j v_j G_j over the first `row.len()` columns. Memory: 3 KiB a column portable,
/// 4 KiB with AVX-512. The generators are public; everything about the values except the shape of the input and the
/// bound is secret and decides no branch and no address.
pub struct ColumnTables {
    pub(crate) tables: Tables,
    engine: Engine,
    columns: usize,
}

impl core::fmt::Debug for ColumnTables {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ColumnTables")
            .field("columns", &self.columns)
            .field("backend", &self.engine.backend())
            .finish_non_exhaustive()
    }
}

/// Rows of digits, however they come about.
trait Rows {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// Columns that row `row` reaches.
    fn len(&self, row: usize) -> usize;
    /// Digits an entry.
    fn count(&self) -> usize;
    /// Calls `put(column, k, digit)` for the digits of columns `from..to` of a row.
    fn digits(&self, row: usize, from: usize, to: usize, put: impl FnMut(usize, usize, i8));
    /// Calls `put(column, k, digits)` for the digits of columns `from..to` of eight rows, zeros beyond the end of a row; or
    /// does nothing and returns false where eight rows at once are no faster.
    fn digits8(
        &self,
        _row: usize,
        _from: usize,
        _to: usize,
        _put: impl FnMut(usize, usize, [i8; 8]),
    ) -> bool {
        false
    }
}

struct Integers<'a, T> {
    rows: &'a [&'a [T]],
    recoder: Recoder,
}

impl<T: SmallInt> Rows for Integers<'_, T> {
    fn rows(&self) -> usize {
        self.rows.len()
    }
    fn len(&self, row: usize) -> usize {
        self.rows[row].len()
    }
    fn count(&self) -> usize {
        self.recoder.count
    }
    #[inline(always)]
    fn digits(&self, row: usize, from: usize, to: usize, mut put: impl FnMut(usize, usize, i8)) {
        for (i, v) in self.rows[row][from..to].iter().enumerate() {
            self.recoder.digits(*v, |k, d| put(from + i, k, d));
        }
    }
    #[inline(always)]
    fn digits8(
        &self,
        row: usize,
        from: usize,
        to: usize,
        mut put: impl FnMut(usize, usize, [i8; 8]),
    ) -> bool {
        let Some(rows) = self.rows[row..].first_chunk::<8>() else {
            return false;
        };
        for column in from..to {
            let values = rows.map(|r| r.get(column).copied());
            self.recoder.digits8(values, |k, d| put(column, k, d));
        }
        true
    }
}

struct Scalars<'a> {
    rows: &'a [&'a [[u8; 32]]],
    width: u32,
}

impl Rows for Scalars<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }
    fn len(&self, row: usize) -> usize {
        self.rows[row].len()
    }
    fn count(&self) -> usize {
        scalar_digit_count(self.width)
    }
    fn digits(&self, row: usize, from: usize, to: usize, mut put: impl FnMut(usize, usize, i8)) {
        for (i, s) in self.rows[row][from..to].iter().enumerate() {
            scalar_digits(s, self.width, |k, d| put(from + i, k, d));
        }
    }
}

/// Digits that were made elsewhere, one a column.
struct RawDigits<'a> {
    digits: &'a [i8],
    columns: usize,
}

impl Rows for RawDigits<'_> {
    fn rows(&self) -> usize {
        self.digits.len() / self.columns
    }
    fn len(&self, _row: usize) -> usize {
        self.columns
    }
    fn count(&self) -> usize {
        1
    }
    fn digits(&self, row: usize, from: usize, to: usize, mut put: impl FnMut(usize, usize, i8)) {
        let row = &self.digits[row * self.columns..];
        for (i, d) in row[from..to].iter().enumerate() {
            put(from + i, 0, *d);
        }
    }
}

impl ColumnTables {
    /// Builds the tables of the generators, one column each.
    #[must_use]
    pub fn new(engine: Engine, generators: &[Point]) -> Self {
        let tables = match engine.kind {
            Kind::Portable => Tables::Portable(build_portable(generators)),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => {
                Tables::Ifma(token, crate::ifma::ColumnTable::new(token, generators))
            }
        };
        Self {
            tables,
            engine,
            columns: generators.len(),
        }
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The engine that the tables were built for, which is also the one that uses them.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Bytes of memory that the tables take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.tables {
            Tables::Portable(t) => core::mem::size_of_val(t.as_slice()),
            #[cfg(target_arch = "x86_64")]
            Tables::Ifma(_, t) => t.memory_bytes(),
        }
    }

    /// Digit width of these tables in bits.
    pub(crate) fn width(&self) -> u32 {
        match &self.tables {
            Tables::Portable(_) => PORTABLE_WIDTH,
            #[cfg(target_arch = "x86_64")]
            Tables::Ifma(..) => crate::ifma::WIDTH,
        }
    }

    /// Commits to rows of integers with |v| < 2^`bits`, in constant time: one point a row, sum_j v_j G_j. `bits` is
    /// public and decides the cost; rows may be shorter than the tables, and of different lengths.
    ///
    /// # Errors
    /// [`SimdError::RowTooLong`]; [`SimdError::BoundUnsupported`] for a bound outside 1..=[`SmallInt::MAX_BITS`];
    /// [`SimdError::SecretOutOfBound`] when any value breaks the bound (one verdict for all of them).
    pub fn commit_rows<T: SmallInt>(
        &self,
        rows: &[&[T]],
        bits: u32,
    ) -> Result<Vec<Point>, SimdError> {
        self.check_lengths(rows.iter().map(|r| r.len()))?;
        self.engine.vectorised(|| check_bound(rows, bits))?;
        Ok(self.commit(&Integers {
            rows,
            recoder: Recoder::new(bits, self.width()),
        }))
    }

    /// Commits to rows of full-width scalars (32 bytes, canonical little-endian), in constant time.
    ///
    /// # Errors
    /// [`SimdError::RowTooLong`]; [`SimdError::SecretScalarNotCanonical`] (one verdict for all).
    pub fn commit_scalar_rows(&self, rows: &[&[[u8; 32]]]) -> Result<Vec<Point>, SimdError> {
        self.check_lengths(rows.iter().map(|r| r.len()))?;
        check_secret_scalars(rows.iter().flat_map(|r| r.iter()))?;
        Ok(self.commit(&Scalars {
            rows,
            width: self.width(),
        }))
    }

    /// s G_column for one full-width secret scalar, in constant time; the column is public.
    ///
    /// # Errors
    /// [`SimdError::NoSuchColumn`]; [`SimdError::SecretScalarNotCanonical`].
    pub fn mul_column(&self, column: usize, scalar: &[u8; 32]) -> Result<Point, SimdError> {
        if column >= self.columns {
            return Err(SimdError::NoSuchColumn {
                column,
                columns: self.columns,
            });
        }
        check_secret_scalars([scalar])?;
        let mut out = Point::IDENTITY;
        self.commit_range(
            &Scalars {
                rows: &[core::slice::from_ref(scalar)],
                width: self.width(),
            },
            column,
            core::slice::from_mut(&mut out),
        );
        Ok(out)
    }

    /// Rows of ready digits, `columns` (at most the number of columns) each; used where the columns are shifts of one
    /// base.
    pub(crate) fn commit_digits(&self, digits: &[i8], columns: usize) -> Vec<Point> {
        self.commit(&RawDigits { digits, columns })
    }

    fn check_lengths(&self, lengths: impl Iterator<Item = usize>) -> Result<(), SimdError> {
        for (row, len) in lengths.enumerate() {
            if len > self.columns {
                return Err(SimdError::RowTooLong {
                    row,
                    len,
                    columns: self.columns,
                });
            }
        }
        Ok(())
    }

    fn commit(&self, rows: &impl Rows) -> Vec<Point> {
        let mut out = vec![Point::IDENTITY; rows.rows()];
        self.commit_range(rows, 0, &mut out);
        out
    }

    /// Column c of the rows meets column `first + c` of the tables.
    fn commit_range(&self, rows: &impl Rows, first: usize, out: &mut [Point]) {
        let count = rows.count();
        let most = (BLOCK_ACCUMULATORS / count / 8 * 8).max(8);
        let mut start = 0;
        while start < out.len() {
            let left = out.len() - start;
            // A block of a multiple of 8 rows keeps one digit position a group of lanes; fewer than 8 rows are
            // packed with all their digits side by side.
            let height = if left >= 8 {
                (left / 8 * 8).min(most)
            } else {
                left
            };
            self.commit_block(rows, first, start, &mut out[start..start + height]);
            start += height;
        }
    }

    fn commit_block(&self, rows: &impl Rows, first: usize, start: usize, out: &mut [Point]) {
        match &self.tables {
            Tables::Portable(t) => commit_block(t, rows, first, start, out),
            #[cfg(target_arch = "x86_64")]
            // Recoding is plain code, which the same vectors make faster.
            Tables::Ifma(token, t) => crate::ifma::vectorised(*token, || {
                commit_block(&(*token, t), rows, first, start, out);
            }),
        }
    }
}

/// How a backend accumulates a block: a number of sums, a multiple of 8, which take one digit a column each.
trait Kernel {
    const WIDTH: u32;
    type Sums;
    /// `count` neutral sums.
    fn start(&self, count: usize) -> Self::Sums;
    /// Adds columns `first ..`, with as many digits a column as there are sums.
    fn add_columns(&self, sums: &mut Self::Sums, first: usize, digits: &[i8]);
    /// Horner's rule over `count` digit positions: sum k * rows + r is digit k of row r.
    fn join(&self, sums: Self::Sums, count: usize, out: &mut [Point]);
}

#[inline(always)]
fn commit_block<K: Kernel>(
    kernel: &K,
    rows: &impl Rows,
    first: usize,
    start: usize,
    out: &mut [Point],
) {
    let height = out.len();
    let count = rows.count();
    let stride = (height * count).next_multiple_of(8);
    let length = (start..start + height)
        .map(|r| rows.len(r))
        .max()
        .unwrap_or(0);
    let mut digits = Zeroizing::new(vec![0i8; stride * length.min(BLOCK_COLUMNS)]);
    let mut sums = kernel.start(stride);
    let mut from = 0;
    while from < length {
        let to = (from + BLOCK_COLUMNS).min(length);
        digits.fill(0);
        let mut done = 0;
        while done + 8 <= height
            && rows.digits8(start + done, from, to, |c, k, d| {
                let at = (c - from) * stride + k * height + done;
                digits[at..at + 8].copy_from_slice(&d);
            })
        {
            done += 8;
        }
        for r in done..height {
            let to = to.min(rows.len(start + r));
            if from < to {
                rows.digits(start + r, from, to, |c, k, d| {
                    digits[(c - from) * stride + k * height + r] = d;
                });
            }
        }
        kernel.add_columns(&mut sums, first + from, &digits[..(to - from) * stride]);
        from = to;
    }
    kernel.join(sums, count, out);
}

impl Kernel for Vec<[WordNiels; PORTABLE_ENTRIES]> {
    const WIDTH: u32 = PORTABLE_WIDTH;
    type Sums = Zeroizing<Vec<WordPoint>>;

    fn start(&self, count: usize) -> Self::Sums {
        Zeroizing::new(vec![WordPoint::IDENTITY; count])
    }

    fn add_columns(&self, sums: &mut Self::Sums, first: usize, digits: &[i8]) {
        for (table, digits) in self[first..].iter().zip(digits.chunks_exact(sums.len())) {
            for (sum, digit) in sums.iter_mut().zip(digits) {
                *sum = sum.add_affine(&lookup(table, *digit));
            }
        }
    }

    fn join(&self, sums: Self::Sums, count: usize, out: &mut [Point]) {
        let sums = Zeroizing::new(sums.iter().map(Point::from).collect::<Vec<_>>());
        join_portable(&sums, count, Self::WIDTH, out);
    }
}

#[cfg(target_arch = "x86_64")]
impl Kernel for (crate::ifma::Token, &crate::ifma::ColumnTable) {
    const WIDTH: u32 = crate::ifma::WIDTH;
    type Sums = crate::ifma::Accumulators;

    fn start(&self, count: usize) -> Self::Sums {
        crate::ifma::Accumulators::new(self.0, count / 8)
    }

    fn add_columns(&self, sums: &mut Self::Sums, first: usize, digits: &[i8]) {
        sums.add_columns(self.0, self.1, first, digits);
    }

    fn join(&self, sums: Self::Sums, count: usize, out: &mut [Point]) {
        if out.len().is_multiple_of(8) {
            sums.join(self.0, count, Self::WIDTH, out);
        } else {
            let sums = Zeroizing::new(sums.extract(self.0));
            join_portable(&sums, count, Self::WIDTH, out);
        }
    }
}

fn join_portable(sums: &[Point], count: usize, width: u32, out: &mut [Point]) {
    let height = out.len();
    for (r, out) in out.iter_mut().enumerate() {
        let mut sum = sums[(count - 1) * height + r];
        for k in (0..count - 1).rev() {
            sum = sum.double_times(width) + sums[k * height + r];
        }
        *out = sum;
        sum.zeroize();
    }
}

/// The multiple of the column for a signed digit, reading every entry.
#[inline(always)]
fn lookup<const N: usize>(table: &[WordNiels; N], digit: i8) -> WordNiels {
    let sign = i32::from(digit >> 7);
    let magnitude = (i32::from(digit) ^ sign).wrapping_sub(sign) as u32;
    // All ones beyond the last entry for zero, whose multiple is (1, 1, 0).
    let index = magnitude.wrapping_sub(1);
    let zero = u64::from(index >> 31);
    let mut base = WordNiels::NONE;
    base.0[0] = zero;
    base.0[4] = zero;
    select(table, index, base).neg_if_mask(i64::from(sign) as u64)
}

/// {1, .., N} P for every P.
fn build_portable(points: &[Point]) -> Vec<[WordNiels; PORTABLE_ENTRIES]> {
    let mut out = Vec::with_capacity(points.len());
    for chunk in points.chunks(16) {
        let mut multiples = Vec::with_capacity(chunk.len() * PORTABLE_ENTRIES);
        for p in chunk {
            let cached = p.cached();
            let mut q = *p;
            multiples.push(q);
            for _ in 1..PORTABLE_ENTRIES {
                q = q.add_cached(&cached);
                multiples.push(q);
            }
        }
        let niels = WordNiels::batch(&multiples);
        out.extend(
            niels
                .chunks_exact(PORTABLE_ENTRIES)
                .map(|c| core::array::from_fn(|i| c[i])),
        );
    }
    out
}
