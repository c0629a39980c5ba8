//! Sums over public subsets of the columns, for many rows of secret integers at once.

use crate::backend::{Engine, Kind};
use zeroize::Zeroize;

/// Lanes of 32-bit rows; half as many of 64 bits.
const LANES: usize = 16;

impl Engine {
    /// For every row v and every subset T of the columns sum_(j in T) v_j, row by row: entry `r * subsets + t`.
    ///
    /// `selections[g][t]` has the bits of subset t for columns 8 g .. 8 g + 8, lowest first; columns beyond a row's end
    /// count as zero. Eight columns at a time, the sums of all their subsets are tabulated for several rows together, so an
    /// addition serves all rows and no address depends on a value. `bits` is a public bound: |v| < 2^bits and bits + log2 of
    /// the number of columns is at most 63 (sums wrap otherwise); up to 31 the rows are packed twice as densely.
    #[must_use]
    pub fn subset_sums(&self, rows: &[&[i64]], bits: u32, selections: &[Vec<u8>]) -> Vec<i64> {
        let narrow = bits + (8 * selections.len()).next_power_of_two().trailing_zeros() <= 31;
        match self.kind {
            Kind::Portable => subset_sums(rows, narrow, selections),
            #[cfg(target_arch = "x86_64")]
            Kind::Ifma(token) => crate::ifma::order::subset_sums(token, rows, narrow, selections),
        }
    }
}

/// A lane of a row.
pub(crate) trait Lane: Copy + Default + Zeroize {
    fn from_integer(v: i64) -> Self;
    fn to_integer(self) -> i64;
    fn add(self, other: Self) -> Self;
}

impl Lane for i32 {
    #[inline(always)]
    fn from_integer(v: i64) -> Self {
        v as i32
    }
    #[inline(always)]
    fn to_integer(self) -> i64 {
        self.into()
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

impl Lane for i64 {
    #[inline(always)]
    fn from_integer(v: i64) -> Self {
        v
    }
    #[inline(always)]
    fn to_integer(self) -> i64 {
        self
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
}

/// Compiled anew for each set of instructions it is called from.
#[inline(always)]
pub(crate) fn subset_sums(rows: &[&[i64]], narrow: bool, selections: &[Vec<u8>]) -> Vec<i64> {
    if narrow {
        sums::<i32, LANES>(rows, selections)
    } else {
        sums::<i64, { LANES / 2 }>(rows, selections)
    }
}

#[inline(always)]
fn plus<T: Lane, const N: usize>(a: &[T; N], b: &[T; N]) -> [T; N] {
    let mut out = *a;
    for (out, b) in out.iter_mut().zip(b) {
        *out = out.add(*b);
    }
    out
}

#[inline(always)]
fn sums<T: Lane, const N: usize>(rows: &[&[i64]], selections: &[Vec<u8>]) -> Vec<i64> {
    let subsets = selections.first().map_or(0, Vec::len);
    let mut out = vec![0i64; rows.len() * subsets];
    let mut table = [[T::default(); N]; 256];
    let mut totals = vec![[T::default(); N]; subsets];
    for (rows, out) in rows.chunks(N).zip(out.chunks_mut(N * subsets.max(1))) {
        totals.fill([T::default(); N]);
        for (group, selection) in selections.iter().enumerate() {
            for i in 0..8 {
                let mut column = [T::default(); N];
                for (lane, row) in column.iter_mut().zip(rows) {
                    *lane = T::from_integer(row.get(8 * group + i).copied().unwrap_or(0));
                }
                let (known, new) = table.split_at_mut(1 << i);
                for (new, known) in new.iter_mut().zip(known) {
                    *new = plus(known, &column);
                }
            }
            for (total, subset) in totals.iter_mut().zip(selection) {
                *total = plus(total, &table[usize::from(*subset)]);
            }
        }
        for (lane, out) in out.chunks_mut(subsets.max(1)).enumerate() {
            for (out, total) in out.iter_mut().zip(&totals) {
                *out = total[lane].to_integer();
            }
        }
    }
    table.iter_mut().for_each(|t| t.zeroize());
    totals.iter_mut().for_each(|t| t.zeroize());
    out
}

#[cfg(test)]
mod tests {
    use crate::{Backend, Engine};
    use rand_chacha::ChaCha20Rng;
    use rand_core::{RngCore, SeedableRng};

    #[test]
    fn agree_with_adding_one_by_one() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for (rows, columns, subsets, bits) in [
            (1usize, 8usize, 3usize, 15u32),
            (17, 64, 309, 15),
            (16, 61, 5, 25),
            (33, 130, 20, 26),
            (9, 2048, 11, 50),
            (5, 70, 7, 31),
        ] {
            let max = (1i64 << bits) - 1;
            let values: Vec<Vec<i64>> = (0..rows)
                .map(|r| {
                    (0..columns)
                        .map(|_| match (r, rng.next_u32() % 3) {
                            (0, _) => max,
                            (1, _) => -max,
                            (_, 0) => max,
                            _ => rng.next_u64().cast_signed() % max,
                        })
                        .collect()
                })
                .collect();
            let selections: Vec<Vec<u8>> = (0..columns.div_ceil(8))
                .map(|_| {
                    (0..subsets)
                        .map(|t| if t == 0 { 255 } else { rng.next_u32() as u8 })
                        .collect()
                })
                .collect();
            let slices: Vec<&[i64]> = values.iter().map(|v| &v[..]).collect();
            let expected: Vec<i64> = values
                .iter()
                .flat_map(|v| {
                    (0..subsets).map(|t| {
                        (0..columns)
                            .filter(|j| selections[j / 8][t] >> (j % 8) & 1 == 1)
                            .map(|j| v[j])
                            .sum()
                    })
                })
                .collect();
            for backend in Backend::available() {
                let engine = Engine::new(backend).unwrap();
                assert_eq!(engine.subset_sums(&slices, bits, &selections), expected);
            }
        }
        assert!(Engine::auto().subset_sums(&[], 3, &[vec![1]]).is_empty());
        assert!(Engine::auto().subset_sums(&[&[1]], 3, &[]).is_empty());
    }
}
