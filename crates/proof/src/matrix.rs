//! The witness matrix and the commitments to it and to the key vector.

use crate::{MaskedWitness, Prepared, ProofError};
use rayon::prelude::*;
use veilsum_crypto::field::Fe;
use veilsum_params::{Layout, PROJECTIONS};
use veilsum_simd::{Point, SmallInt};
use zeroize::{Zeroize, Zeroizing};

/// Rows that one task commits to: a multiple of the lanes of the kernels.
const ROWS_AT_ONCE: usize = 16;
/// Points of the key ciphertext that one task makes.
const POINTS_AT_ONCE: usize = 256;

/// The witness: the first rows as integers, the rest as field elements. Zero rows up to a power of two are implicit.
pub(crate) struct Matrix {
    pub(crate) columns: usize,
    /// Rows of integers, below 2^32 in absolute value.
    pub(crate) small: Zeroizing<Vec<i64>>,
    /// The rows after them.
    pub(crate) full: Zeroizing<Vec<Fe>>,
}

impl Matrix {
    pub(crate) fn small_rows(&self) -> usize {
        self.small.len() / self.columns
    }
    pub(crate) fn rows(&self) -> usize {
        self.small_rows() + self.full.len() / self.columns
    }
    /// Row `a` as integers, if it is kept so.
    pub(crate) fn small_row(&self, a: usize) -> Option<&[i64]> {
        self.small.get(a * self.columns..(a + 1) * self.columns)
    }
    /// Row `a` as field elements, if it is kept so.
    pub(crate) fn full_row(&self, a: usize) -> Option<&[Fe]> {
        let a = a.checked_sub(self.small_rows())?;
        self.full.get(a * self.columns..(a + 1) * self.columns)
    }
    /// Row `a` as field elements.
    pub(crate) fn row(&self, a: usize) -> Zeroizing<Vec<Fe>> {
        Zeroizing::new(match (self.small_row(a), self.full_row(a)) {
            (Some(row), _) => row.iter().map(|v| Fe::from_i64(*v)).collect(),
            (None, Some(row)) => row.to_vec(),
            (None, None) => vec![Fe::ZERO; self.columns],
        })
    }
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

/// Fresh entries of the Z-rows.
pub(crate) struct Masks {
    pub(crate) projections: Zeroizing<Vec<i128>>,
    pub(crate) uniform: Fe,
}

impl Drop for Masks {
    fn drop(&mut self) {
        self.uniform.zeroize();
    }
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
        .par_chunks(ROWS_AT_ONCE)
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

impl Material<'_> {
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
            let noise_bits = NOISE_BITS.max(k.cut) + 1;
            halves.extend_from_slice(&commit_integers(prepared, m.witness.noise, noise_bits)?);
            halves.extend_from_slice(&commit_integers(prepared, m.witness.key, KEY_BITS)?);
            halves.extend_from_slice(&commit_integers(prepared, &m.slack, 1)?);
        }
        Ok(halves)
    }

    /// The matrix with these Z-rows.
    pub(crate) fn matrix(&self, layout: &Layout, masks: &Masks) -> Matrix {
        let columns = layout.columns as usize;
        let mut small = Zeroizing::new(vec![0i64; layout.x_rows as usize * columns]);
        small[..self.update.len()].copy_from_slice(self.update);
        let full_rows = (layout.rows() - layout.x_rows) as usize;
        let mut full = Zeroizing::new(Vec::with_capacity(full_rows * columns));
        if let Some(m) = &self.masked {
            full.par_extend(m.witness.noise.par_iter().map(|v| Fe::from_i128(*v)));
            full.par_extend(m.witness.key.par_iter().map(|v| Fe::from_i64(*v)));
            full.extend(m.slack.iter().map(|v| Fe::from_i64(*v)));
            full.resize(
                (layout.projected_rows() - layout.x_rows) as usize * columns,
                Fe::ZERO,
            );
        }
        full.extend(masks.projections.iter().map(|g| Fe::from_i128(*g)));
        full.push(masks.uniform);
        full.resize(full_rows * columns, Fe::ZERO);
        Matrix {
            columns,
            small,
            full,
        }
    }
}

/// |e| < 16 sigma_e + 2^(cut - 1) < 2^(max(60, cut) + 1).
const NOISE_BITS: u32 = veilsum_params::SIGMA_E_LOG2 + 5;
/// |s_l| <= 128.
const KEY_BITS: u32 = 8;
pub(crate) const KEY_MAX: u64 = 128;

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
            (Zeroizing::new(packed), k.beta_log2 + KEY_BITS + 1)
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
