//! Discrete logarithms of packed pairs low + beta high, outward from zero in both directions.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use std::collections::HashMap;

/// Largest number of table entries on each side of zero.
const TABLE_MAX: u64 = 1 << 17;
/// Points that are compressed together.
const BATCH: usize = 512;
/// Points that one task solves.
const TASK: usize = 128;

/// A table of the points low B for |low| <= reach, against which multiples of beta B are tried.
pub(crate) struct PairLogs {
    reach: u64,
    /// Eight bytes of the encoding of 2 (low + reach) B, with low + reach.
    table: HashMap<u64, Vec<u32>>,
    beta: RistrettoPoint,
}

/// Doubles and compresses: a batch costs an eighth of compressing one by one.
fn keys(points: &[RistrettoPoint]) -> Vec<u64> {
    RistrettoPoint::double_and_compress_batch(points)
        .iter()
        .map(|c| {
            c.as_bytes()
                .iter()
                .skip(8)
                .take(8)
                .rev()
                .fold(0, |acc, b| acc << 8 | u64::from(*b))
        })
        .collect()
}

/// Steps outward: 0, 1, -1, 2, -2, ..
fn outward(step: u64) -> i64 {
    let magnitude = i64::try_from(step.div_ceil(2)).unwrap_or(i64::MAX);
    if step % 2 == 1 { magnitude } else { -magnitude }
}

fn times(value: i64, point: &RistrettoPoint) -> RistrettoPoint {
    let scaled = Scalar::from(value.unsigned_abs()) * point;
    if value < 0 { -scaled } else { scaled }
}

impl PairLogs {
    /// A table for lows up to `bound` in absolute value, and beta = 2^`beta_log2`.
    pub(crate) fn new(bound: u64, beta_log2: u32) -> Self {
        let reach = bound.min(TABLE_MAX);
        let starts: Vec<u64> = (0..=2 * reach).step_by(BATCH).collect();
        let parts: Vec<Vec<u64>> = starts
            .into_par_iter()
            .map(|start| {
                let count = (BATCH as u64).min(2 * reach + 1 - start);
                let mut at = Scalar::from(start) * RISTRETTO_BASEPOINT_POINT;
                let points: Vec<RistrettoPoint> = (0..count)
                    .map(|_| {
                        let point = at;
                        at += RISTRETTO_BASEPOINT_POINT;
                        point
                    })
                    .collect();
                keys(&points)
            })
            .collect();
        let mut table: HashMap<u64, Vec<u32>> = HashMap::with_capacity(parts.len() * BATCH);
        for (key, index) in parts.into_iter().flatten().zip(0u32..) {
            table.entry(key).or_default().push(index);
        }
        let beta = (0..beta_log2).fold(RISTRETTO_BASEPOINT_POINT, |p, _| p + p);
        Self { reach, table, beta }
    }

    fn hit(&self, key: u64, shifted: &RistrettoPoint) -> Option<i64> {
        self.table.get(&key)?.iter().find_map(|&index| {
            // Eight bytes may collide: the point decides.
            (Scalar::from(index) * RISTRETTO_BASEPOINT_POINT == *shifted)
                .then(|| i64::from(index) - i64::try_from(self.reach).unwrap_or(i64::MAX))
        })
    }

    /// For each point the pair (low, high) with point = (low + beta high) B and both at most `bound` in absolute value;
    /// `Err` with the first position that has none. Variable time: for sums that are published anyway.
    pub(crate) fn solve(
        &self,
        points: &[RistrettoPoint],
        bound: u64,
    ) -> Result<Vec<(i64, i64)>, usize> {
        let tasks: Vec<Result<Vec<(i64, i64)>, usize>> = points
            .par_chunks(TASK)
            .enumerate()
            .map(|(task, points)| {
                self.solve_task(points, bound)
                    .map_err(|at| task * TASK + at)
            })
            .collect();
        let mut out = Vec::with_capacity(points.len());
        for task in tasks {
            out.append(&mut task?);
        }
        Ok(out)
    }

    fn solve_task(&self, points: &[RistrettoPoint], bound: u64) -> Result<Vec<(i64, i64)>, usize> {
        let stride = 2 * self.reach + 1;
        let signed = |v: u64| i64::try_from(v).unwrap_or(i64::MAX);
        let shift = Scalar::from(self.reach) * RISTRETTO_BASEPOINT_POINT;
        let giant = Scalar::from(stride) * RISTRETTO_BASEPOINT_POINT;
        let mut answers: Vec<Option<(i64, i64)>> = vec![None; points.len()];
        let mut pending: Vec<usize> = (0..points.len()).collect();
        let highs = bound.saturating_mul(2).saturating_add(1);
        // Lows beyond the table are rare (few sums are so wide), so whole sweeps over the highs are repeated for them.
        let sweeps = 2 * bound.saturating_sub(self.reach).div_ceil(stride) + 1;
        for sweep in 0..sweeps {
            let low_offset = outward(sweep).saturating_mul(signed(stride));
            let base = shift - times(outward(sweep), &giant);
            let mut high = 0;
            while high < highs && !pending.is_empty() {
                let steps = (BATCH / pending.len()).max(1) as u64;
                let steps = steps.min(highs - high);
                let offsets: Vec<(i64, RistrettoPoint)> = (high..high + steps)
                    .map(|s| (outward(s), base - times(outward(s), &self.beta)))
                    .collect();
                let candidates: Vec<RistrettoPoint> = pending
                    .iter()
                    .filter_map(|&p| points.get(p))
                    .flat_map(|p| offsets.iter().map(move |(_, o)| p + o))
                    .collect();
                let keyed = keys(&candidates);
                let mut hits = keyed.iter().zip(&candidates);
                pending.retain(|&p| {
                    let mut found = None;
                    for (offset, _) in &offsets {
                        if let Some((key, point)) = hits.next()
                            && let Some(low) = self.hit(*key, point)
                        {
                            found = found.or(Some((low.saturating_add(low_offset), *offset)));
                        }
                    }
                    let within = found.filter(|(low, _)| low.unsigned_abs() <= bound);
                    if let (Some(pair), Some(answer)) = (within, answers.get_mut(p)) {
                        *answer = Some(pair);
                    }
                    within.is_none()
                });
                high += steps;
            }
        }
        answers
            .into_iter()
            .enumerate()
            .map(|(at, answer)| answer.ok_or(at))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(pair: (i64, i64), beta_log2: u32) -> RistrettoPoint {
        let beta = (0..beta_log2).fold(RISTRETTO_BASEPOINT_POINT, |p, _| p + p);
        times(pair.0, &RISTRETTO_BASEPOINT_POINT) + times(pair.1, &beta)
    }

    #[test]
    fn finds_every_pair_within_the_bound_and_none_beyond() {
        let bound = 300;
        let logs = PairLogs::new(bound, 10);
        let pairs = vec![
            (0, 0),
            (1, -1),
            (-300, 300),
            (300, -300),
            (-300, -300),
            (17, 0),
            (0, -299),
        ];
        let points: Vec<_> = pairs.iter().map(|p| pack(*p, 10)).collect();
        assert_eq!(logs.solve(&points, bound), Ok(pairs.clone()));
        for beyond in [(301, 0), (0, 301), (-301, 5), (2, -301)] {
            let mut points = points.clone();
            points[4] = pack(beyond, 10);
            assert_eq!(logs.solve(&points, bound), Err(4), "{beyond:?}");
        }
    }

    #[test]
    fn lows_beyond_the_table_are_found_by_further_sweeps() {
        let logs = PairLogs {
            reach: 20,
            ..PairLogs::new(20, 11)
        };
        let pairs = vec![(500, 3), (-500, -500), (21, 0), (-21, 7), (61, -2), (62, 2)];
        let points: Vec<_> = pairs.iter().map(|p| pack(*p, 11)).collect();
        assert_eq!(logs.solve(&points, 500), Ok(pairs));
    }
}
