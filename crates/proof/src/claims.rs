//! Lambda and mu: every claim about the witness matrix in one linear and one square form
//! (`specs/protocol.md`, "One sumcheck"). Prover and verifier build the same.

use crate::projection::{Projections, subset_sums};
use crate::transcript::Challenges;
use crate::{ProofError, Round};
use rayon::prelude::*;
use veilsum_crypto::field::{Accumulator, Fe, eq_table, inner_product};
use veilsum_params::{Masked, RING_DEGREE};
use veilsum_rlwe::{Bound, Limbs};
use veilsum_simd::Engine;

/// A part of Lambda: entry (a, b) is row[a] column[b].
pub(crate) struct RankOne {
    pub(crate) row: Vec<Fe>,
    pub(crate) column: Vec<Fe>,
}

/// Lambda = sum_t lambda_t c_t d_t^T + sum of rank-one parts + rows that are given entry by entry; mu is constant on rows.
pub(crate) struct Claims {
    pub(crate) projections: Projections,
    /// lambda_t.
    pub(crate) projection_weights: Vec<Fe>,
    pub(crate) rank_one: Vec<RankOne>,
    /// One for each row of the matrix.
    pub(crate) dense: Vec<Option<Vec<Fe>>>,
    /// One for each row of the matrix.
    pub(crate) mu: Vec<Fe>,
    /// The part of the claimed sum that everybody knows.
    pub(crate) public_sum: Fe,
}

fn dense_row(dense: &mut [Option<Vec<Fe>>], row: usize, columns: usize) -> &mut Vec<Fe> {
    dense[row].get_or_insert_with(|| vec![Fe::ZERO; columns])
}

impl Claims {
    /// Builds the claims from the challenges; `y` is the masked vector (empty in direct mode).
    pub(crate) fn new(
        round: &Round,
        projections: Projections,
        z: &[u128],
        challenges: &Challenges,
        y: &[Limbs],
    ) -> Result<Self, ProofError> {
        let layout = round.layout();
        let weights = &challenges.weights;
        let (columns, rows) = (layout.columns as usize, layout.rows() as usize);
        let mut claims = Self {
            projections,
            projection_weights: weights.projections.clone(),
            rank_one: Vec::new(),
            dense: vec![None; rows],
            mu: vec![Fe::ZERO; rows],
            public_sum: Fe::ZERO,
        };
        let x_rows = layout.x_rows as usize;
        claims.mu[..x_rows].fill(weights.norm_x);
        // Padding: the entries of the last X-row beyond the update are zero.
        let mut power = weights.padding;
        for entry in layout.dim as usize..x_rows * columns {
            power *= challenges.xi;
            dense_row(&mut claims.dense, entry / columns, columns)[entry % columns] += power;
        }
        match layout.masked_constants() {
            None => {
                for (entry, theta) in challenges.theta.iter().enumerate() {
                    dense_row(&mut claims.dense, entry / columns, columns)[entry % columns] +=
                        weights.key * Fe::from_u128(*theta);
                }
            }
            Some(k) => claims.masked(round, k, challenges, y)?,
        }
        // The projection masks g_t stand in the Z-rows, in the order of t.
        let first_mask = layout.projected_rows() as usize * columns;
        for (t, (lambda, z)) in weights.projections.iter().zip(z).enumerate() {
            let entry = first_mask + t;
            dense_row(&mut claims.dense, entry / columns, columns)[entry % columns] += *lambda;
            claims.public_sum += *lambda * Fe::from_u128(*z);
        }
        Ok(claims)
    }

    fn masked(
        &mut self,
        round: &Round,
        k: &Masked,
        challenges: &Challenges,
        y: &[Limbs],
    ) -> Result<(), ProofError> {
        let layout = round.layout();
        let weights = &challenges.weights;
        let (columns, x_rows) = (layout.columns as usize, layout.x_rows as usize);
        let (e_rows, s_rows, r_rows) = (k.e_rows as usize, k.s_rows as usize, k.r_rows as usize);
        let (first_e, first_s) = (x_rows, x_rows + e_rows);
        let first_r = first_s + s_rows;
        self.mu[first_e..first_s].fill(weights.norm_e);
        self.mu[first_s..first_r].fill(weights.norm_s);
        self.mu[first_r..first_r + r_rows].fill(weights.bits);

        // Ring-LWE at tau: y~(tau) = <eq, a s> + <eq, e> + sum_k 2^(shift + k sw) <eq, x_k>.
        let tau = &challenges.tau;
        let low = eq_table(&tau[..layout.col_vars as usize]);
        let high = eq_table(&tau[layout.col_vars as usize..]);
        let mut row = vec![Fe::ZERO; layout.rows() as usize];
        for (slot, rows) in row[..x_rows].chunks_mut(e_rows).enumerate() {
            let scale = weights.lwe * Fe::pow2(k.shift + slot as u32 * k.slot_bits);
            rows.iter_mut()
                .zip(&high)
                .for_each(|(r, h)| *r = scale * *h);
        }
        row[first_e..first_s]
            .iter_mut()
            .zip(&high)
            .for_each(|(r, h)| *r = weights.lwe * *h);
        self.public_sum += weights.lwe * masked_vector_at(round.prepared().engine, y, &low, &high);
        self.rank_one.push(RankOne { row, column: low });
        let transpose = ring_transpose(round, k, tau)?;

        // Key link: packed pairs under theta.
        let beta = Fe::pow2(k.beta_log2);
        for (l, (pair, theta)) in transpose.chunks(2).zip(&challenges.theta).enumerate() {
            let link = weights.key * Fe::from_u128(*theta);
            for (i, (t, link)) in pair.iter().zip([link, link * beta]).enumerate() {
                let entry = first_s * columns + 2 * l + i;
                dense_row(&mut self.dense, entry / columns, columns)[entry % columns] +=
                    weights.lwe * *t + link;
            }
        }

        // Bits: sum (b^2 - b) = 0. Norms of e and s: squares and weighted bits add up to the squared bounds.
        for r in first_r..first_r + r_rows {
            dense_row(&mut self.dense, r, columns)
                .iter_mut()
                .for_each(|v| *v -= weights.bits);
        }
        let slack = [
            (weights.norm_e, k.e_slack_bits),
            (weights.norm_s, k.s_slack_bits),
        ];
        let mut entry = first_r * columns;
        for (weight, bits) in slack {
            let mut power = weight;
            for _ in 0..bits {
                dense_row(&mut self.dense, entry / columns, columns)[entry % columns] += power;
                power += power;
                entry += 1;
            }
        }
        let (e_bound, s_bound) = (Fe::from_u128(k.e_bound), Fe::from_u64(k.s_bound));
        self.public_sum += weights.norm_e * e_bound.square() + weights.norm_s * s_bound.square();
        Ok(())
    }

    /// Lambda~ and mu~ at the point whose Lagrange bases are given.
    pub(crate) fn evaluate(&self, eq_rows: &[Fe], eq_columns: &[Fe]) -> (Fe, Fe) {
        let projected = self.projections.rows.first().map_or(0, |c| 8 * c.len());
        let rows = subset_sums(
            &eq_rows[..projected.min(eq_rows.len())],
            &self.projections.rows,
        );
        let columns = subset_sums(eq_columns, &self.projections.columns);
        let mut lambda = Accumulator::default();
        for ((weight, c), d) in self.projection_weights.iter().zip(rows).zip(columns) {
            lambda.add_product(*weight * c, d);
        }
        for part in &self.rank_one {
            lambda.add_product(
                inner_product(&part.row, eq_rows),
                inner_product(&part.column, eq_columns),
            );
        }
        for (row, eq) in self.dense.iter().zip(eq_rows) {
            if let Some(row) = row {
                lambda.add_product(*eq, inner_product(row, eq_columns));
            }
        }
        (lambda.finish(), inner_product(&self.mu, eq_rows))
    }
}

/// y~(tau), entry j being row j / C and column j mod C.
fn masked_vector_at(engine: Engine, y: &[Limbs], low: &[Fe], high: &[Fe]) -> Fe {
    let sum: Fe = y
        .par_chunks(low.len())
        .zip(high)
        .map(|(row, high)| *high * engine.dot(&scaled(row), low))
        .collect::<Vec<_>>()
        .into_iter()
        .sum();
    sum * Fe::pow2(SCALE)
}

/// The inverse of the factor that [`scaled`] leaves, as a power of two.
const SCALE: u32 = 256;

/// Public ring elements as field elements, times 2^-256.
fn scaled(limbs: &[Limbs]) -> Vec<Fe> {
    limbs.iter().map(|v| Fe::from_limbs_scaled(*v)).collect()
}

/// Coefficients that one task folds.
const COEFFICIENTS_AT_ONCE: usize = 512;

/// The weights of s in y~(tau): sum_b eq(tau_hi, b) A_b^T eq(tau_lo, .), for all full blocks at once and for the truncated
/// last one; one inverse transform serves both.
fn ring_transpose(round: &Round, k: &Masked, tau: &[Fe]) -> Result<Vec<Fe>, ProofError> {
    let (ring, blocks) = round.ring().ok_or(ProofError::Mode { layout: "direct" })?;
    let degree = RING_DEGREE as usize;
    let log = RING_DEGREE.trailing_zeros() as usize;
    let coefficient_weights: Vec<Limbs> = eq_table(&tau[..log])
        .into_iter()
        .map(Fe::to_limbs)
        .collect();
    let block_weights = eq_table(&tau[log..]);
    let last = k.ring_len as usize % degree;
    let full = k.ring_len as usize / degree;
    let basis = ring.basis(Bound::FULL, Bound::FULL, 2)?;
    let mut sum = ring.accumulator(basis)?;
    let engine = round.prepared().engine;
    let scale = Fe::pow2(SCALE);
    if full > 0 {
        let weights: Vec<Fe> = block_weights.iter().map(|w| *w * scale).collect();
        let folded: Vec<Vec<Limbs>> = (0..degree.div_ceil(COEFFICIENTS_AT_ONCE))
            .into_par_iter()
            .map(|part| {
                let range =
                    part * COEFFICIENTS_AT_ONCE..degree.min((part + 1) * COEFFICIENTS_AT_ONCE);
                let rows: Vec<Vec<Fe>> = blocks[..full]
                    .iter()
                    .map(|b| scaled(&b[range.clone()]))
                    .collect();
                let terms: Vec<(Fe, &[Fe])> = weights
                    .iter()
                    .copied()
                    .zip(rows.iter().map(Vec::as_slice))
                    .collect();
                let mut sums = vec![Fe::ZERO; range.len()];
                engine.combine(&terms, &mut sums);
                sums.into_iter().map(Fe::to_limbs).collect()
            })
            .collect();
        let folded = folded.concat();
        sum.mul_add_transpose(&ring.transform_full(basis, &coefficient_weights)?, &folded)?;
    }
    if last > 0 {
        let weight = block_weights[full] * scale;
        let terms = scaled(&blocks[full]);
        let mut sums = vec![Fe::ZERO; terms.len()];
        engine.combine(&[(weight, &terms)], &mut sums);
        let scaled: Vec<Limbs> = sums.into_iter().map(Fe::to_limbs).collect();
        sum.mul_add_transpose(
            &ring.transform_full(basis, &coefficient_weights[..last])?,
            &scaled,
        )?;
    }
    Ok(sum
        .finish()
        .iter()
        .map(|v| Fe::from_limbs_unchecked(*v))
        .collect())
}
