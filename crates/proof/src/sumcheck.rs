//! The prover's sumcheck over f = Lambda w + mu w^2 (plus the mask), row variables first, lowest bit first.
//!
//! The projections enter as products of two vectors over the rows. The squares and the rows of Lambda that are given entry
//! by entry enter through inner products of rows: for the first variables those of all pairs in groups of sixteen rows,
//! made from integers where rows are integers; then the rows are folded and each round works on what is left.

use crate::Prepared;
use crate::claims::Claims;
use crate::mask::{MaskRounds, evaluate};
use crate::matrix::{Matrix, upper_weight};
use crate::projection::{Projections, subset_sums};
use crate::transcript::ProofTranscript;
use rayon::prelude::*;
use veilsum_crypto::field::{Accumulator, Fe, eq_table};
use veilsum_simd::Engine;
use zeroize::Zeroizing;

/// Row variables that are bound on inner products.
const GROUP_VARS: usize = 4;

/// What the sumcheck leaves to the closing argument.
pub(crate) struct Folded {
    /// Round polynomials without their linear coefficients.
    pub(crate) rounds: Vec<Fe>,
    /// The point: row coordinates, then column coordinates.
    pub(crate) point: Vec<Fe>,
    /// The folded row u: sum_a eq(r_a, a) w_a.
    pub(crate) row: Zeroizing<Vec<Fe>>,
    /// The last claim.
    pub(crate) claim: Fe,
}

const _: fn(&Folded) = |s| veilsum_crypto::wiped(&s.row);

/// Two matrices whose rows' inner products add up to the projections' and the rank-one parts of Lambda: row a of `c` has
/// the entries c_t(a), then those of the parts' row vectors; row a of `v` has lambda_t <w_a, d_t>, then the inner products
/// with the parts' column vectors.
struct Products {
    engine: Engine,
    c: Vec<Vec<Fe>>,
    v: Vec<Zeroizing<Vec<Fe>>>,
}

const _: fn(&Products) = |s| s.v.iter().for_each(veilsum_crypto::wiped);

fn pair(v: &[Fe], p: usize) -> (Fe, Fe) {
    (
        v.get(2 * p).copied().unwrap_or_default(),
        v.get(2 * p + 1).copied().unwrap_or_default(),
    )
}

fn fold(v: &mut Vec<Fe>, x: Fe) {
    let half = v.len().div_ceil(2);
    for p in 0..half {
        let (low, high) = pair(v, p);
        v[p] = low + x * (high - low);
    }
    v.truncate(half.max(1));
}

fn add(a: [Fe; 3], b: [Fe; 3]) -> [Fe; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// Sums in a fixed order, whatever thread was faster.
fn total(parts: Vec<[Fe; 3]>) -> [Fe; 3] {
    parts.into_iter().fold([Fe::ZERO; 3], add)
}

/// Binds the lowest row variable; a missing last row counts as zero.
fn bind_rows<R: AsMut<[Fe]> + AsRef<[Fe]> + Send>(engine: Engine, rows: &mut Vec<R>, x: Fe) {
    rows.par_chunks_mut(2).for_each(|pair| match pair {
        [low, high] => engine.bind(low.as_mut(), high.as_ref(), x),
        [low] => {
            let zeros = vec![Fe::ZERO; low.as_ref().len()];
            engine.bind(low.as_mut(), &zeros, x);
        }
        _ => {}
    });
    let mut odd = true;
    rows.retain(|_| {
        odd = !odd;
        !odd
    });
}

impl Products {
    fn new(engine: Engine, matrix: &Matrix<'_>, claims: &Claims, sums: &RowSums) -> Self {
        let weights = &claims.projection_weights;
        let images: Vec<Zeroizing<Vec<Fe>>> = (claims.rank_one.iter())
            .map(|part| images(engine, matrix, &part.column))
            .collect();
        let length = weights.len() + images.len();
        let c = (0..matrix.rows())
            .into_par_iter()
            .map(|a| {
                let projected = (0..weights.len()).map(|t| {
                    if claims.projections.row(t, a) {
                        Fe::ONE
                    } else {
                        Fe::ZERO
                    }
                });
                let parts = claims.rank_one.iter().map(|part| part.row[a]);
                projected.chain(parts).collect()
            })
            .collect();
        let mut v: Vec<_> = (0..matrix.rows())
            .map(|a| {
                let mut row = Zeroizing::new(vec![Fe::ZERO; length]);
                for (entry, image) in row[weights.len()..].iter_mut().zip(&images) {
                    *entry = image[a];
                }
                row
            })
            .collect();
        sums.scale(engine, weights, &mut v);
        Self { engine, c, v }
    }

    fn coefficients(&self) -> [Fe; 3] {
        let parts = self
            .c
            .par_chunks(2)
            .zip(self.v.par_chunks(2))
            .map(|(c, v)| match (c, v) {
                ([c0, c1], [v0, v1]) => {
                    let [low, slope] = self.engine.line_products([c0, c1], [v0, v1]);
                    [low, slope, Fe::ZERO]
                }
                ([c0], [v0]) => {
                    let low = self.engine.dot(c0, v0);
                    [low, low, Fe::ZERO]
                }
                _ => [Fe::ZERO; 3],
            })
            .collect();
        total(parts)
    }

    fn bind(&mut self, x: Fe) {
        bind_rows(self.engine, &mut self.c, x);
        bind_rows(self.engine, &mut self.v, x);
    }
}

/// Rows that one task works on.
const ROWS_AT_ONCE: usize = 32;

/// <v, w_a> for every row a.
fn images(engine: Engine, matrix: &Matrix<'_>, v: &[Fe]) -> Zeroizing<Vec<Fe>> {
    let rows = matrix.rows();
    let parts: Vec<Zeroizing<Vec<Fe>>> = (0..rows.div_ceil(ROWS_AT_ONCE))
        .into_par_iter()
        .map(|g| {
            matrix.images(
                engine,
                v,
                g * ROWS_AT_ONCE..rows.min((g + 1) * ROWS_AT_ONCE),
            )
        })
        .collect();
    let mut out = Zeroizing::new(Vec::with_capacity(rows));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// <w_a, d_t> for every row a and every t, row by row. The Z-rows are not projected, but between rows w is multilinear.
pub(crate) struct RowSums {
    count: usize,
    small: Zeroizing<Vec<i64>>,
    /// As in [`Matrix::wide`].
    wide: [Zeroizing<Vec<i64>>; 2],
    full: Vec<Zeroizing<Vec<Fe>>>,
}

const _: fn(&RowSums) = |s| {
    veilsum_crypto::wiped(&s.small);
    s.wide.iter().for_each(veilsum_crypto::wiped);
    s.full.iter().for_each(veilsum_crypto::wiped);
};

impl RowSums {
    pub(crate) fn new(engine: Engine, matrix: &Matrix<'_>, projections: &Projections) -> Self {
        let subsets = &projections.columns;
        let selections: Vec<Vec<u8>> = (0..matrix.columns.div_ceil(8))
            .map(|group| subsets.iter().map(|t| t[group]).collect())
            .collect();
        let sums = |rows: &[&[i64]], bits: u32| {
            let parts: Vec<Zeroizing<Vec<i64>>> = rows
                .par_chunks(ROWS_AT_ONCE)
                .map(|rows| Zeroizing::new(engine.subset_sums(rows, bits, &selections)))
                .collect();
            let mut out = Zeroizing::new(Vec::with_capacity(rows.len() * subsets.len()));
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out
        };
        let wide = |part: &[i64]| {
            let rows: Vec<&[i64]> = part.chunks(matrix.columns).collect();
            sums(&rows, matrix.wide_bits())
        };
        let [low, high] = &matrix.wide;
        Self {
            count: subsets.len(),
            small: sums(&matrix.small(), matrix.small_bits),
            wide: [wide(low), wide(high)],
            full: matrix
                .full
                .par_chunks(matrix.columns)
                .map(|row| Zeroizing::new(subset_sums(row, subsets)))
                .collect(),
        }
    }

    fn rows(sums: &[i64], count: usize) -> Vec<&[i64]> {
        sums.chunks(count).collect()
    }

    /// Adds the sums times a weight for each t to the rows of `out`.
    fn scale(&self, engine: Engine, weights: &[Fe], out: &mut [Zeroizing<Vec<Fe>>]) {
        let (small, rest) = out.split_at_mut(self.small.len() / self.count);
        let (wide, full) = rest.split_at_mut(self.wide[0].len() / self.count);
        let integers = |weights: &[Fe], sums: &[i64], out: &mut [Zeroizing<Vec<Fe>>]| {
            Self::rows(sums, self.count)
                .par_chunks(ROWS_AT_ONCE)
                .zip(out.par_chunks_mut(ROWS_AT_ONCE))
                .for_each(|(rows, out)| engine.scale_integers(weights, rows, out));
        };
        let upper: Vec<Fe> = weights.iter().map(|w| *w * upper_weight()).collect();
        integers(weights, &self.small, small);
        integers(weights, &self.wide[0], wide);
        integers(&upper, &self.wide[1], wide);
        for (out, sums) in full.iter_mut().zip(&self.full) {
            engine.mul_each(weights, sums, &mut out[..self.count]);
        }
    }

    /// c_t^T w d_t for every t.
    pub(crate) fn projections(&self, projections: &Projections) -> Zeroizing<Vec<Fe>> {
        let first_wide = self.small.len() / self.count;
        let first_full = first_wide + self.wide[0].len() / self.count;
        let sum = |t: usize| {
            let selected = |first: usize, sums: &[i64]| -> i128 {
                let column = sums.iter().skip(t).step_by(self.count).enumerate();
                column
                    .filter(|(a, _)| projections.row(t, first + a))
                    .fold(0i128, |sum, (_, v)| sum.wrapping_add(i128::from(*v)))
            };
            let elements: Fe = (self.full.iter().enumerate())
                .filter(|(a, _)| projections.row(t, first_full + a))
                .map(|(_, sums)| sums[t])
                .sum();
            let [low, high] = [0, 1].map(|part| selected(first_wide, &self.wide[part]));
            elements
                + Fe::from_i128(selected(0, &self.small).wrapping_add(low))
                + Fe::from_i128(high) * upper_weight()
        };
        Zeroizing::new((0..self.count).into_par_iter().map(sum).collect())
    }
}

/// Inner products of the rows of one group.
struct Group {
    /// Number of rows that are left.
    size: usize,
    mu: Vec<Fe>,
    /// <w_p, w_q>.
    gram: Zeroizing<Vec<Fe>>,
    /// <Lambda_p, w_q>; empty where no row of Lambda is given entry by entry.
    cross: Zeroizing<Vec<Fe>>,
}

const _: fn(&Group) = |s| {
    [&s.gram, &s.cross]
        .into_iter()
        .for_each(veilsum_crypto::wiped)
};

impl Group {
    fn new(
        engine: Engine,
        matrix: &Matrix<'_>,
        claims: &Claims,
        first: usize,
        size: usize,
    ) -> Self {
        let live = matrix.rows().saturating_sub(first).min(size);
        let mut gram = Zeroizing::new(vec![Fe::ZERO; size * size]);
        for p in 0..live {
            for q in p..live {
                let product = matrix.product(engine, first + p, first + q);
                gram[p * size + q] = product;
                gram[q * size + p] = product;
            }
        }
        let dense: Vec<(usize, &Vec<Fe>)> = (0..live)
            .filter_map(|p| Some((p, claims.dense[first + p].as_ref()?)))
            .collect();
        let mut cross = Zeroizing::new(Vec::new());
        if !dense.is_empty() {
            cross.resize(size * size, Fe::ZERO);
            for (p, weights) in &dense {
                let images = matrix.images(engine, weights, first..first + live);
                cross[p * size..p * size + live].copy_from_slice(&images);
            }
        }
        let mu = (0..size)
            .map(|p| claims.mu.get(first + p).copied().unwrap_or_default())
            .collect();
        Self {
            size,
            mu,
            gram,
            cross,
        }
    }

    fn coefficients(&self) -> [Fe; 3] {
        let mut sum = [Fe::ZERO; 3];
        let n = self.size;
        for p in 0..n / 2 {
            let at = |m: &[Fe], i: usize, j: usize| m[(2 * p + i) * n + 2 * p + j];
            let square = [
                at(&self.gram, 0, 0),
                at(&self.gram, 0, 1),
                at(&self.gram, 1, 1),
            ];
            sum = add(
                sum,
                square_part(square, (self.mu[2 * p], self.mu[2 * p + 1])),
            );
            if !self.cross.is_empty() {
                let (c00, c01, c10, c11) = (
                    at(&self.cross, 0, 0),
                    at(&self.cross, 0, 1),
                    at(&self.cross, 1, 0),
                    at(&self.cross, 1, 1),
                );
                sum = add(sum, [c00, c00 - c01 - c10 + c11, Fe::ZERO]);
            }
        }
        sum
    }

    fn bind(&mut self, x: Fe) {
        let n = self.size / 2;
        let weights = [(Fe::ONE - x).square(), x * (Fe::ONE - x), x.square()];
        let shrink = |m: &mut Zeroizing<Vec<Fe>>| {
            if m.is_empty() {
                return;
            }
            let mut out = Zeroizing::new(vec![Fe::ZERO; n * n]);
            for p in 0..n {
                for q in 0..n {
                    let at = |i: usize, j: usize| m[(2 * p + i) * 2 * n + 2 * q + j];
                    out[p * n + q] = weights[0] * at(0, 0)
                        + weights[1] * (at(0, 1) + at(1, 0))
                        + weights[2] * at(1, 1);
                }
            }
            *m = out;
        };
        shrink(&mut self.gram);
        shrink(&mut self.cross);
        fold(&mut self.mu, x);
        self.size = n;
    }
}

/// Coefficients of (m_0 + X (m_1 - m_0)) |w_0 + X (w_1 - w_0)|^2.
fn square_part([q00, q01, q11]: [Fe; 3], (m0, m1): (Fe, Fe)) -> [Fe; 3] {
    let (dm, q1, q2) = (m1 - m0, (q01 - q00) + (q01 - q00), q00 - q01 - q01 + q11);
    [m0 * q00, m0 * q2 + dm * q1, dm * q2]
}

/// Folded rows of w and of Lambda, once the inner products are used up.
struct Rows {
    engine: Engine,
    w: Vec<Zeroizing<Vec<Fe>>>,
    dense: Vec<Option<Vec<Fe>>>,
    mu: Vec<Fe>,
}

const _: fn(&Rows) = |s| s.w.iter().for_each(veilsum_crypto::wiped);

impl Rows {
    /// Folds the groups of the matrix with the Lagrange weights `eq`.
    fn new(
        engine: Engine,
        matrix: &Matrix<'_>,
        claims: &Claims,
        groups: Vec<Group>,
        eq: &[Fe],
    ) -> Self {
        let fold_group = |g: usize| {
            let first = g * eq.len();
            let row = matrix.combine(engine, first, eq);
            let terms: Vec<(Fe, &[Fe])> = (eq.iter().enumerate())
                .filter_map(|(i, weight)| Some((*weight, claims.dense.get(first + i)?.as_deref()?)))
                .collect();
            let dense = (!terms.is_empty()).then(|| {
                let mut sum = vec![Fe::ZERO; matrix.columns];
                engine.combine(&terms, &mut sum);
                sum
            });
            (row, dense)
        };
        let mu = groups.iter().map(|g| g.mu[0]).collect();
        let (w, dense) = (0..groups.len()).into_par_iter().map(fold_group).unzip();
        Self {
            engine,
            w,
            dense,
            mu,
        }
    }

    fn coefficients(&self) -> [Fe; 3] {
        let zero = Zeroizing::new(vec![Fe::ZERO; self.w[0].len()]);
        let dot = |a: &[Fe], b: &[Fe]| self.engine.dot(a, b);
        let parts = (0..self.w.len().div_ceil(2))
            .into_par_iter()
            .map(|p| {
                let low = &self.w[2 * p];
                let high = self.w.get(2 * p + 1).unwrap_or(&zero);
                let square = [dot(low, low), dot(low, high), dot(high, high)];
                let mut sum = square_part(square, pair(&self.mu, p));
                let dense = |i: usize| self.dense.get(2 * p + i).and_then(Option::as_deref);
                let (d_low, d_high) = (dense(0), dense(1));
                if d_low.is_some() || d_high.is_some() {
                    let with = |d: Option<&[Fe]>, w: &[Fe]| d.map_or(Fe::ZERO, |d| dot(d, w));
                    let c00 = with(d_low, low);
                    let slope = c00 - with(d_low, high) - with(d_high, low) + with(d_high, high);
                    sum = add(sum, [c00, slope, Fe::ZERO]);
                }
                sum
            })
            .collect();
        total(parts)
    }

    fn bind(&mut self, x: Fe) {
        bind_rows(self.engine, &mut self.w, x);
        let columns = self.w[0].len();
        let half = self.w.len();
        let mut dense = std::mem::take(&mut self.dense).into_iter();
        self.dense = (0..half)
            .map(|_| {
                let (low, high) = (dense.next().flatten(), dense.next().flatten());
                if low.is_none() && high.is_none() {
                    return None;
                }
                let zeros = || vec![Fe::ZERO; columns];
                let mut low = low.unwrap_or_else(zeros);
                self.engine.bind(&mut low, &high.unwrap_or_else(zeros), x);
                Some(low)
            })
            .collect();
        fold(&mut self.mu, x);
    }
}

/// Runs the sumcheck from the claimed `sum` (which the transcript holds already).
pub(crate) fn prove(
    prepared: &Prepared,
    matrix: &Matrix<'_>,
    claims: &Claims,
    sums: &RowSums,
    pi: &[Fe],
    sum: Fe,
    transcript: &mut ProofTranscript,
) -> Folded {
    let (layout, engine) = (&prepared.layout, prepared.engine);
    let (row_vars, col_vars) = (layout.row_vars as usize, layout.col_vars as usize);
    let mut mask = MaskRounds::new(layout, pi);
    let mut rounds = Vec::with_capacity(3 * row_vars + 2 * col_vars);
    let mut point: Vec<Fe> = Vec::with_capacity(row_vars + col_vars);
    let mut claim = sum;
    let mut bind = |coefficients: [Fe; 3], degree: usize, point: &mut Vec<Fe>| {
        let coefficients = add(coefficients, mask.coefficients());
        rounds.extend_from_slice(&coefficients[..degree]);
        let x = transcript.round(&coefficients[..degree]);
        claim = evaluate(claim, coefficients, x);
        mask.bind(x);
        point.push(x);
        x
    };

    let mut products = Products::new(engine, matrix, claims, sums);
    let group_vars = row_vars.min(GROUP_VARS);
    let size = 1usize << group_vars;
    let mut groups: Vec<Group> = (0..matrix.rows().div_ceil(size))
        .into_par_iter()
        .map(|g| Group::new(engine, matrix, claims, g * size, size))
        .collect();
    for _ in 0..group_vars {
        let squares = total(groups.par_iter().map(Group::coefficients).collect());
        let x = bind(add(squares, products.coefficients()), 3, &mut point);
        groups.par_iter_mut().for_each(|g| g.bind(x));
        products.bind(x);
    }
    let mut rows = Rows::new(engine, matrix, claims, groups, &eq_table(&point));
    for _ in group_vars..row_vars {
        let x = bind(
            add(rows.coefficients(), products.coefficients()),
            3,
            &mut point,
        );
        rows.bind(x);
        products.bind(x);
    }

    // Lambda(r_a, .) as one row.
    let mut lambda = rows
        .dense
        .first()
        .cloned()
        .flatten()
        .unwrap_or_else(|| vec![Fe::ZERO; matrix.columns]);
    let (weights, rank_one) = products.c[0].split_at(claims.projection_weights.len());
    let weights: Vec<Fe> = (claims.projection_weights.iter().zip(weights))
        .map(|(lambda, c)| *lambda * *c)
        .collect();
    let parts: Vec<(&Vec<Fe>, Fe)> = (claims.rank_one.iter().zip(rank_one))
        .map(|(part, row)| (&part.column, *row))
        .collect();
    lambda.par_iter_mut().enumerate().for_each(|(b, entry)| {
        let projected: Fe = weights
            .iter()
            .enumerate()
            .filter(|(t, _)| claims.projections.column(*t, b))
            .map(|(_, w)| *w)
            .sum();
        *entry += projected
            + parts
                .iter()
                .map(|(column, weight)| column[b] * *weight)
                .sum::<Fe>();
    });
    let mu = rows.mu[0];
    let row = std::mem::take(&mut rows.w[0]);
    let mut w = row.clone();
    for _ in 0..col_vars {
        let [mut linear0, mut linear2, mut square0, mut square2] = [Accumulator::default(); 4];
        let pairs = lambda.as_chunks::<2>().0.iter().zip(w.as_chunks::<2>().0);
        for ([l0, l1], [w0, w1]) in pairs {
            linear0.add_product(*l0, *w0);
            linear2.add_product(*l1 - *l0, *w1 - *w0);
            square0.add_product(*w0, *w0);
            square2.add_product(*w1 - *w0, *w1 - *w0);
        }
        let c = [
            linear0.finish() + mu * square0.finish(),
            linear2.finish() + mu * square2.finish(),
            Fe::ZERO,
        ];
        let x = bind(c, 2, &mut point);
        fold(&mut lambda, x);
        fold(&mut w, x);
    }
    Folded {
        rounds,
        point,
        row,
        claim,
    }
}
