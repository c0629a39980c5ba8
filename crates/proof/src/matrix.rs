//! The witness matrix and the commitments to it and to the key vector.

use crate::{MaskedWitness, Prepared, ProofError};
use rayon::prelude::*;
use veilsum_crypto::field::Fe;
use veilsum_params::{Layout, PROJECTIONS};
use veilsum_simd::{Engine, Point, SmallInt};
use zeroize::{Zeroize, Zeroizing};

/// Rows that one task blinds: a multiple of the lanes of the kernels.
const ROWS_AT_ONCE: usize = 16;
/// Most rows that one task commits to. The more, the less often the tables, which no near cache holds, are read.
const ROWS_PER_PASS: usize = 80;
/// Points of the key ciphertext that one task makes.
const POINTS_AT_ONCE: usize = 256;

/// Entries that one task splits.
const ENTRIES_AT_ONCE: usize = 1 << 15;

/// Bits of the lower part of a wide integer; the upper part has no more.
const PART_BITS: u32 = 50;

/// The witness: the first rows as small integers, then rows of wide integers, the rest as field elements. Zero rows up to a
/// power of two are implicit.
pub(crate) struct Matrix<'a> {
    pub(crate) columns: usize,
    /// X-rows: absolute values below 2^`small_bits`, at most 2^32. Those that the update fills stand where it stands.
    small: &'a [i64],
    /// The X-rows after them, padded.
    small_rest: Zeroizing<Vec<i64>>,
    pub(crate) small_bits: u32,
    /// E-, S- and R-rows: low + 2^50 high, low of 50 bits, high of 50 bits and a sign.
    pub(crate) wide: [Zeroizing<Vec<i64>>; 2],
    /// The rows after them.
    pub(crate) full: Zeroizing<Vec<Fe>>,
}

const _: fn(&Matrix<'_>) = |s| {
    veilsum_crypto::wiped(&s.small_rest);
    s.wide.iter().for_each(veilsum_crypto::wiped);
    veilsum_crypto::wiped(&s.full);
};

/// One row of a [`Matrix`].
#[derive(Clone, Copy)]
pub(crate) enum Row<'a> {
    Small(&'a [i64]),
    Wide([&'a [i64]; 2]),
    Full(&'a [Fe]),
}

/// What the upper part of a wide integer weighs.
pub(crate) fn upper_weight() -> Fe {
    Fe::from_u64(1 << PART_BITS)
}

impl Matrix<'_> {
    /// A matrix of field elements.
    pub(crate) fn of_elements(columns: usize, full: Vec<Fe>) -> Self {
        Self {
            columns,
            small: &[],
            small_rest: Zeroizing::default(),
            small_bits: 1,
            wide: Default::default(),
            full: Zeroizing::new(full),
        }
    }

    pub(crate) fn small_rows(&self) -> usize {
        (self.small.len() + self.small_rest.len()) / self.columns
    }
    /// The X-rows.
    pub(crate) fn small(&self) -> Vec<&[i64]> {
        let filled = self.small.chunks(self.columns);
        filled.chain(self.small_rest.chunks(self.columns)).collect()
    }
    pub(crate) fn wide_rows(&self) -> usize {
        self.wide[0].len() / self.columns
    }
    pub(crate) fn rows(&self) -> usize {
        self.small_rows() + self.wide_rows() + self.full.len() / self.columns
    }
    /// Bits of each part of a wide integer.
    pub(crate) fn wide_bits(&self) -> u32 {
        PART_BITS
    }
    /// Row `a`; `None` beyond the last.
    pub(crate) fn row(&self, a: usize) -> Option<Row<'_>> {
        let filled = self.small.len() / self.columns;
        let (small, wide) = (self.small_rows(), self.small_rows() + self.wide_rows());
        let range = |first: usize| (a - first) * self.columns..(a - first + 1) * self.columns;
        if a < filled {
            self.small.get(range(0)).map(Row::Small)
        } else if a < small {
            self.small_rest.get(range(filled)).map(Row::Small)
        } else if a < wide {
            let [low, high] = &self.wide;
            Some(Row::Wide([low.get(range(small))?, high.get(range(small))?]))
        } else {
            self.full.get(range(wide)).map(Row::Full)
        }
    }

    /// <w_a, w_b>.
    pub(crate) fn product(&self, engine: Engine, a: usize, b: usize) -> Fe {
        let integers = |x: &[i64], y: &[i64]| Fe::from_i128(engine.product_integers(x, y));
        match (self.row(a), self.row(b)) {
            (Some(Row::Small(x)), Some(Row::Small(y))) => integers(x, y),
            (Some(Row::Wide([x0, x1])), Some(Row::Wide([y0, y1]))) => {
                let upper = integers(x0, y1) + integers(x1, y0) + integers(x1, y1) * upper_weight();
                integers(x0, y0) + upper * upper_weight()
            }
            (Some(Row::Small(x)), Some(Row::Wide([y0, y1])))
            | (Some(Row::Wide([y0, y1])), Some(Row::Small(x))) => {
                integers(x, y0) + integers(x, y1) * upper_weight()
            }
            (Some(Row::Full(x)), Some(y)) | (Some(y), Some(Row::Full(x))) => {
                image(engine, x, &[y])[0]
            }
            _ => Fe::ZERO,
        }
    }

    /// <v, w_a> for rows `range`.
    pub(crate) fn images(
        &self,
        engine: Engine,
        v: &[Fe],
        range: std::ops::Range<usize>,
    ) -> Zeroizing<Vec<Fe>> {
        let rows: Vec<Row<'_>> = range.filter_map(|a| self.row(a)).collect();
        image(engine, v, &rows)
    }

    /// sum_i weights_i w_(first + i).
    pub(crate) fn combine(
        &self,
        engine: Engine,
        first: usize,
        weights: &[Fe],
    ) -> Zeroizing<Vec<Fe>> {
        let (mut integers, mut elements) = (Vec::new(), Vec::new());
        for (i, weight) in weights.iter().enumerate() {
            match self.row(first + i) {
                Some(Row::Small(row)) => integers.push((*weight, row)),
                Some(Row::Wide([low, high])) => {
                    integers.push((*weight, low));
                    integers.push((*weight * upper_weight(), high));
                }
                Some(Row::Full(row)) => elements.push((*weight, row)),
                None => {}
            }
        }
        let mut out = Zeroizing::new(vec![Fe::ZERO; self.columns]);
        engine.combine_integers(&integers, &mut out);
        if !elements.is_empty() {
            let mut rest = Zeroizing::new(vec![Fe::ZERO; self.columns]);
            engine.combine(&elements, &mut rest);
            out.iter_mut().zip(rest.iter()).for_each(|(o, r)| *o += *r);
        }
        out
    }
}

/// <v, row> for each row.
fn image(engine: Engine, v: &[Fe], rows: &[Row<'_>]) -> Zeroizing<Vec<Fe>> {
    let mut integers: Vec<&[i64]> = Vec::with_capacity(2 * rows.len());
    for row in rows {
        match row {
            Row::Small(row) => integers.push(row),
            Row::Wide(parts) => integers.extend(parts),
            Row::Full(_) => {}
        }
    }
    let products = Zeroizing::new(engine.dot_integers(v, &integers));
    let mut products = products.iter().copied();
    let mut next = || products.next().unwrap_or_default();
    let value = |row: &Row<'_>| match row {
        Row::Small(_) => next(),
        Row::Wide(_) => next() + next() * upper_weight(),
        Row::Full(row) => engine.dot(v, row),
    };
    Zeroizing::new(rows.iter().map(value).collect())
}

/// The integers that the matrix is made of, without the Z-rows.
pub(crate) struct Material<'a> {
    pub(crate) update: &'a [i64],
    pub(crate) masked: Option<MaskedMaterial<'a>>,
}

pub(crate) struct MaskedMaterial<'a> {
    pub(crate) witness: MaskedWitness<'a>,
    /// Bits of the norm slacks of e, then of s.
    pub(crate) slack: Zeroizing<Vec<i64>>,
}

const _: fn(&MaskedMaterial<'_>) = |s| veilsum_crypto::wiped(&s.slack);

/// Fresh entries of the Z-rows.
pub(crate) struct Masks {
    pub(crate) projections: Zeroizing<Vec<i128>>,
    pub(crate) uniform: Fe,
}

impl zeroize::ZeroizeOnDrop for Masks {}
const _: fn(&Masks) = |s| veilsum_crypto::wiped(&s.projections);

impl Drop for Masks {
    fn drop(&mut self) {
        self.uniform.zeroize();
    }
}

/// Rows for each task so that all threads have as many: a multiple of the lanes of the kernels.
fn rows_per_task(rows: usize, threads: usize) -> usize {
    let each = rows.div_ceil(threads.max(1)).max(1);
    each.div_ceil(each.div_ceil(ROWS_PER_PASS))
        .next_multiple_of(8)
}

fn commit_integers<T: SmallInt + Sync>(
    prepared: &Prepared,
    values: &[T],
    bits: u32,
) -> Result<Zeroizing<Vec<Point>>, ProofError> {
    let rows: Vec<&[T]> = values.chunks(prepared.layout.columns as usize).collect();
    let commit = |rows: &[&[T]]| {
        let halves = prepared.column_tables.commit_rows(rows, bits)?;
        Ok(Zeroizing::new(halves))
    };
    let parts: Vec<Zeroizing<Vec<Point>>> = rows
        .par_chunks(rows_per_task(rows.len(), rayon::current_num_threads()))
        .map(commit)
        .collect::<Result<_, ProofError>>()?;
    let mut halves = Zeroizing::new(Vec::with_capacity(rows.len()));
    parts.iter().for_each(|part| halves.extend_from_slice(part));
    Ok(halves)
}

fn bit_len(v: u128) -> u32 {
    128 - v.leading_zeros()
}

/// Adds the blinding to halves of rows `first ..`: `blinding` V_a / 2.
pub(crate) fn blind(
    prepared: &Prepared,
    halves: &mut [Point],
    first: usize,
    blinding: &Fe,
) -> Result<(), ProofError> {
    let scalar = Zeroizing::new(blinding.to_bytes());
    halves
        .par_chunks_mut(ROWS_AT_ONCE)
        .enumerate()
        .map(|(chunk, halves)| {
            let start = first + chunk * ROWS_AT_ONCE;
            let blinds = Zeroizing::new(
                prepared
                    .row_combs
                    .mul_range(&scalar, start..start + halves.len())?,
            );
            halves
                .iter_mut()
                .zip(blinds.iter())
                .for_each(|(h, b)| *h += *b);
            Ok(())
        })
        .collect::<Result<Vec<()>, ProofError>>()?;
    Ok(())
}

/// Encodings of twice the halves.
pub(crate) fn encode(prepared: &Prepared, halves: &[Point]) -> Vec<[u8; 32]> {
    halves
        .par_chunks(64)
        .map(|h| prepared.engine.double_and_compress(h))
        .collect::<Vec<_>>()
        .concat()
}

impl<'a> Material<'a> {
    /// Halves of the X-rows' commitments, without blinding.
    pub(crate) fn commit_update(
        &self,
        prepared: &Prepared,
    ) -> Result<Zeroizing<Vec<Point>>, ProofError> {
        let bits = bit_len(prepared.layout.norm_bound.into());
        commit_integers(prepared, self.update, bits)
    }

    /// Halves of the commitments of E-, S- and R-rows, without blinding.
    pub(crate) fn commit_masked(
        &self,
        prepared: &Prepared,
    ) -> Result<Zeroizing<Vec<Point>>, ProofError> {
        // As much as is needed: growing would leave copies behind.
        let rows = prepared.layout.projected_rows() as usize;
        let mut halves = Zeroizing::new(Vec::with_capacity(rows));
        if let (Some(m), Some(k)) = (&self.masked, prepared.layout.masked_constants()) {
            let noise_bits = NOISE_BITS.max(k.cut);
            halves.extend_from_slice(&commit_integers(prepared, m.witness.noise, noise_bits)?);
            // All of its norm may stand in one coordinate.
            let key_bits = bit_len(k.s_bound.into());
            halves.extend_from_slice(&commit_integers(prepared, m.witness.key, key_bits)?);
            halves.extend_from_slice(&commit_integers(prepared, &m.slack, 1)?);
        }
        Ok(halves)
    }

    /// The matrix with these Z-rows.
    pub(crate) fn matrix(&self, layout: &Layout, masks: &Masks) -> Matrix<'a> {
        let columns = layout.columns as usize;
        let dim = self.update.len();
        let (small, rest) = self.update.split_at(dim - dim % columns);
        let mut small_rest =
            Zeroizing::new(vec![0; layout.x_rows as usize * columns - small.len()]);
        small_rest[..rest.len()].copy_from_slice(rest);
        let mut wide: [Zeroizing<Vec<i64>>; 2] = Default::default();
        if let Some(m) = &self.masked {
            let rows = (layout.projected_rows() - layout.x_rows) as usize;
            let low_bits = (1i64 << PART_BITS) - 1;
            wide = wide.map(|_| Zeroizing::new(vec![0; rows * columns]));
            let [low, high] = &mut wide;
            let split = |low: &mut i64, high: &mut i64, v: i128| {
                *low = (v as i64) & low_bits;
                *high = (v >> PART_BITS) as i64;
            };
            let at = m.witness.noise.len();
            let (low_noise, low_rest) = low.split_at_mut(at);
            let (high_noise, high_rest) = high.split_at_mut(at);
            low_noise
                .par_iter_mut()
                .zip(high_noise)
                .zip(m.witness.noise)
                .with_min_len(ENTRIES_AT_ONCE)
                .for_each(|((low, high), v)| split(low, high, *v));
            let narrow = m.witness.key.iter().chain(m.slack.iter());
            for ((low, high), v) in low_rest.iter_mut().zip(high_rest).zip(narrow) {
                split(low, high, i128::from(*v));
            }
        }
        let full_rows = layout.z_rows as usize;
        let mut full = Zeroizing::new(Vec::with_capacity(full_rows * columns));
        full.extend(masks.projections.iter().map(|g| Fe::from_i128(*g)));
        full.push(masks.uniform);
        full.resize(full_rows * columns, Fe::ZERO);
        Matrix {
            columns,
            small,
            small_rest,
            small_bits: bit_len(layout.norm_bound.into()),
            wide,
            full,
        }
    }
}

/// |e| < 16 sigma_e + 2^(cut - 1) <= 2^max(60, cut).
const NOISE_BITS: u32 = veilsum_params::SIGMA_E_LOG2 + 5;

impl Masks {
    /// Halves of the Z-rows' commitments, without blinding.
    pub(crate) fn commit(&self, prepared: &Prepared) -> Result<Zeroizing<Vec<Point>>, ProofError> {
        let columns = prepared.layout.columns as usize;
        let mut halves = Zeroizing::new(Vec::with_capacity(prepared.layout.z_rows as usize));
        let projections = commit_integers(prepared, &self.projections, prepared.layout.gamma)?;
        halves.extend_from_slice(&projections);
        halves.resize(prepared.layout.z_rows as usize, Point::IDENTITY);
        let scalar = Zeroizing::new(self.uniform.to_bytes());
        let last = PROJECTIONS / columns;
        halves[last] += prepared
            .column_tables
            .mul_column(PROJECTIONS % columns, &scalar)?;
        Ok(halves)
    }
}

/// The key vector as integers: the update, or packed pairs of the Ring-LWE key.
pub(crate) fn key_vector(layout: &Layout, material: &Material<'_>) -> (Zeroizing<Vec<i64>>, u32) {
    match (layout.masked_constants(), &material.masked) {
        (Some(k), Some(m)) => {
            let packed = m
                .witness
                .key
                .chunks(2)
                .map(|p| {
                    p[0].wrapping_add(p.get(1).copied().unwrap_or(0).wrapping_shl(k.beta_log2))
                })
                .collect();
            // |p_1| beta + |p_0| < 2^(bits + beta_log2), as |p_0| < beta.
            (
                Zeroizing::new(packed),
                k.beta_log2 + bit_len(k.s_bound.into()),
            )
        }
        _ => (
            Zeroizing::new(material.update.to_vec()),
            bit_len(layout.norm_bound.into()),
        ),
    }
}

/// C: key_l B + r W_l, encoded.
pub(crate) fn encrypt_key(
    prepared: &Prepared,
    key: &[i64],
    bits: u32,
    r: &Fe,
) -> Result<Vec<[u8; 32]>, ProofError> {
    let scalar = Zeroizing::new(r.to_bytes());
    let parts: Vec<Vec<[u8; 32]>> = key
        .par_chunks(POINTS_AT_ONCE)
        .enumerate()
        .map(|(chunk, key)| {
            let start = chunk * POINTS_AT_ONCE;
            let mut halves = Zeroizing::new(
                prepared
                    .key_combs
                    .mul_range(&scalar, start..start + key.len())?,
            );
            let values = Zeroizing::new(prepared.base_table.mul_small(key, bits)?);
            halves
                .iter_mut()
                .zip(values.iter())
                .for_each(|(h, v)| *h += *v);
            Ok(prepared.engine.double_and_compress(&halves))
        })
        .collect::<Result<_, ProofError>>()?;
    Ok(parts.concat())
}
