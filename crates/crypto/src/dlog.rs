//! Bounded discrete logarithms: baby steps and giant steps, outward from zero (`specs/protocol.md`, "Opening").

use crate::CryptoError;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use std::collections::HashMap;

/// Largest number of baby steps that [`BabySteps::for_bound`] tabulates.
pub const BABY_STEPS_MAX: u64 = 1 << 22;

/// A table of the points i B for 0 <= i <= len, keyed by eight bytes of their encoding.
pub struct BabySteps {
    len: u64,
    table: HashMap<u64, Vec<u32>>,
}

impl std::fmt::Debug for BabySteps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BabySteps {{ len: {} }}", self.len)
    }
}

/// Points are compared by the encoding of their double: batched doubling and compressing costs an eighth of compressing.
fn keys(points: &[RistrettoPoint]) -> Vec<[u8; 32]> {
    RistrettoPoint::double_and_compress_batch(points)
        .into_iter()
        .map(|c| c.to_bytes())
        .collect()
}

fn short(key: &[u8; 32]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| key[i + 8]))
}

impl BabySteps {
    /// A table that balances its own cost against `count` logarithms with absolute values up to `bound`.
    pub fn for_bound(bound: u64, count: usize) -> Self {
        let ideal = ((bound as f64) * (count.max(1) as f64)).sqrt() as u64;
        Self::new(ideal.clamp(16, BABY_STEPS_MAX.min(bound.max(16))))
    }

    /// A table of `len` baby steps.
    pub fn new(len: u64) -> Self {
        const CHUNK: u64 = 4096;
        let chunks: Vec<u64> = (0..=len).step_by(CHUNK as usize).collect();
        let parts: Vec<Vec<[u8; 32]>> = chunks
            .into_par_iter()
            .map(|start| {
                let count = CHUNK.min(len + 1 - start);
                let mut at = Scalar::from(start) * RISTRETTO_BASEPOINT_POINT;
                let mut points = Vec::with_capacity(count as usize);
                for _ in 0..count {
                    points.push(at);
                    at += RISTRETTO_BASEPOINT_POINT;
                }
                keys(&points)
            })
            .collect();
        let mut table: HashMap<u64, Vec<u32>> = HashMap::with_capacity(len as usize + 1);
        for (i, key) in parts.iter().flatten().enumerate() {
            table.entry(short(key)).or_default().push(i as u32);
        }
        Self { len, table }
    }

    /// The table's hit for a key of a doubled point, confirmed against the point itself.
    fn lookup(&self, key: &[u8; 32], point: &RistrettoPoint) -> Option<i128> {
        let candidates = self.table.get(&short(key))?;
        candidates.iter().find_map(|&i| {
            let claimed = Scalar::from(i) * RISTRETTO_BASEPOINT_POINT;
            (claimed == *point).then_some(i128::from(i))
        })
    }

    /// The integers k with k B = point and |k| <= bound, one for each point, searched outward from zero. Variable time:
    /// for sums that are published anyway.
    ///
    /// # Errors
    /// [`CryptoError::DiscreteLog`] with the first position that has none.
    pub fn solve(&self, points: &[RistrettoPoint], bound: u64) -> Result<Vec<i64>, CryptoError> {
        const BATCH: usize = 128;
        let found: Vec<Option<Vec<i64>>> = points
            .par_chunks(BATCH)
            .enumerate()
            .map(|(chunk, points)| self.solve_chunk(chunk * BATCH, points, bound).ok())
            .collect();
        if found.iter().any(Option::is_none) {
            // Find the first failing position deterministically.
            for (chunk, (part, answer)) in points.chunks(BATCH).zip(&found).enumerate() {
                if answer.is_none() {
                    self.solve_chunk(chunk * BATCH, part, bound)?;
                }
            }
        }
        Ok(found.into_iter().flatten().flatten().collect())
    }

    fn solve_chunk(
        &self,
        offset: usize,
        points: &[RistrettoPoint],
        bound: u64,
    ) -> Result<Vec<i64>, CryptoError> {
        // |k| = q (2 len + 1) + i with |i| <= len: step by 2 len + 1 in both directions, look up both signs.
        let stride = 2 * self.len + 1;
        let giant = Scalar::from(stride) * RISTRETTO_BASEPOINT_POINT;
        let steps = bound.div_ceil(stride) + 1;
        let mut answers: Vec<Option<i64>> = vec![None; points.len()];
        let mut pending: Vec<usize> = (0..points.len()).collect();
        let mut up: Vec<RistrettoPoint> = points.to_vec();
        let mut down: Vec<RistrettoPoint> = points.to_vec();
        for q in 0..steps {
            let center = i128::from(q) * i128::from(stride);
            let batch: Vec<RistrettoPoint> = pending
                .iter()
                .flat_map(|&p| [up[p], -up[p], down[p], -down[p]])
                .collect();
            let keyed = keys(&batch);
            let mut left = Vec::with_capacity(pending.len());
            for (k, &p) in pending.iter().enumerate() {
                let hit = |j: usize| self.lookup(&keyed[4 * k + j], &batch[4 * k + j]);
                let value = hit(0)
                    .map(|i| center + i)
                    .or_else(|| hit(1).map(|i| center - i))
                    .or_else(|| hit(2).map(|i| -center + i))
                    .or_else(|| hit(3).map(|i| -center - i));
                match value {
                    Some(v) if v.unsigned_abs() <= u128::from(bound) => {
                        answers[p] = i64::try_from(v).ok()
                    }
                    Some(_) => {
                        return Err(CryptoError::DiscreteLog {
                            position: offset + p,
                        });
                    }
                    None => left.push(p),
                }
            }
            pending = left;
            if pending.is_empty() {
                break;
            }
            for &p in &pending {
                up[p] -= giant;
                down[p] += giant;
            }
        }
        answers
            .into_iter()
            .enumerate()
            .map(|(p, a)| {
                a.ok_or(CryptoError::DiscreteLog {
                    position: offset + p,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_value_within_the_bound_and_none_beyond() {
        let steps = BabySteps::new(50);
        let values: Vec<i64> = vec![
            0, 1, -1, 49, 50, 51, -50, -51, 100, 101, 102, -101, 999, -1000, 1000,
        ];
        let points: Vec<_> = values
            .iter()
            .map(|v| {
                Scalar::from(v.unsigned_abs())
                    * RISTRETTO_BASEPOINT_POINT
                    * if *v < 0 { -Scalar::ONE } else { Scalar::ONE }
            })
            .collect();
        assert_eq!(steps.solve(&points, 1000), Ok(values.clone()));
        assert_eq!(
            steps.solve(&points, 999),
            Err(CryptoError::DiscreteLog { position: 13 })
        );
        let mut off = points;
        off[3] += crate::blinding_base();
        assert_eq!(
            steps.solve(&off, 1000),
            Err(CryptoError::DiscreteLog { position: 3 })
        );
    }
}
