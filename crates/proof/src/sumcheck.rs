//! The prover's sumcheck over f = Lambda w + mu w^2 (plus the mask), row variables first, lowest bit first.
//!
//! The projections enter as products of two vectors over the rows. The squares and the rows of Lambda that are given entry
//! by entry enter through inner products of rows: for the first variables those of all pairs in groups of sixteen rows,
//! made from integers where rows are integers; then the rows are folded and each round works on what is left.

use crate::claims::Claims;
use crate::mask::{MaskRounds, evaluate};
use crate::matrix::Matrix;
use crate::projection::{Projections, subset_sums};
use crate::transcript::ProofTranscript;
use rayon::prelude::*;
use veilsum_crypto::field::{Accumulator, Fe, eq_table, inner_product};
use veilsum_params::Layout;
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

/// For every t the pair of row vectors c_t and lambda_t W d_t, whose products add up to the projections' part; the
/// rank-one parts of Lambda alike.
struct Products(Vec<(Vec<Fe>, Zeroizing<Vec<Fe>>)>);

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

impl Products {
    fn new(matrix: &Matrix, claims: &Claims, sums: &RowSums) -> Self {
        let (rows, sums) = (sums.0.len(), &sums.0);
        let mut pairs: Vec<_> = claims
            .projection_weights
            .par_iter()
            .enumerate()
            .map(|(t, weight)| {
                let c = (0..rows)
                    .map(|a| {
                        if claims.projections.row(t, a) {
                            Fe::ONE
                        } else {
                            Fe::ZERO
                        }
                    })
                    .collect();
                (
                    c,
                    Zeroizing::new(sums.iter().map(|s| *weight * s[t]).collect()),
                )
            })
            .collect();
        for part in &claims.rank_one {
            let image: Vec<Fe> = (0..matrix.rows())
                .into_par_iter()
                .map(|a| match matrix.full_row(a) {
                    Some(row) => inner_product(&part.column, row),
                    None => inner_product(&part.column, &matrix.row(a)),
                })
                .collect();
            pairs.push((part.row.clone(), Zeroizing::new(image)));
        }
        Self(pairs)
    }

    fn coefficients(&self) -> [Fe; 3] {
        let parts = self
            .0
            .par_iter()
            .map(|(c, v)| {
                let (mut c0, mut c2) = (Accumulator::default(), Accumulator::default());
                for p in 0..c.len().max(v.len()).div_ceil(2) {
                    let ((low, high), (v_low, v_high)) = (pair(c, p), pair(v, p));
                    c0.add_product(low, v_low);
                    c2.add_product(high - low, v_high - v_low);
                }
                [c0.finish(), c2.finish(), Fe::ZERO]
            })
            .collect();
        total(parts)
    }

    fn bind(&mut self, x: Fe) {
        self.0.par_iter_mut().for_each(|(c, v)| {
            fold(c, x);
            fold(v, x);
        });
    }
}

/// <w_a, d_t> for every row a, then for every t. The Z-rows are not projected, but between rows w is multilinear.
pub(crate) struct RowSums(Vec<Zeroizing<Vec<Fe>>>);

impl RowSums {
    pub(crate) fn new(matrix: &Matrix, projections: &Projections) -> Self {
        let columns = &projections.columns;
        let sum = |a: usize| {
            Zeroizing::new(match (matrix.small_row(a), matrix.full_row(a)) {
                (Some(row), _) => {
                    let sums = Zeroizing::new(subset_sums(row, columns, i64::wrapping_add));
                    sums.iter().map(|v| Fe::from_i64(*v)).collect()
                }
                (None, Some(row)) => subset_sums(row, columns, |a: Fe, b| a + b),
                (None, None) => vec![Fe::ZERO; columns.len()],
            })
        };
        Self((0..matrix.rows()).into_par_iter().map(sum).collect())
    }

    /// c_t^T w d_t for every t.
    pub(crate) fn projections(&self, projections: &Projections) -> Zeroizing<Vec<Fe>> {
        let sum = |t: usize| {
            self.0
                .iter()
                .enumerate()
                .filter(|(a, _)| projections.row(t, *a))
                .map(|(_, sums)| sums[t])
                .sum()
        };
        Zeroizing::new(
            (0..projections.rows.len())
                .into_par_iter()
                .map(sum)
                .collect(),
        )
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

fn row_product(matrix: &Matrix, a: usize, b: usize) -> Fe {
    match (matrix.small_row(a), matrix.small_row(b)) {
        (Some(x), Some(y)) => {
            // Entries are below 2^32, rows no longer than 2^12.
            Fe::from_i128(x.iter().zip(y).fold(0i128, |sum, (x, y)| {
                sum.wrapping_add(i128::from(*x) * i128::from(*y))
            }))
        }
        _ => match (matrix.full_row(a), matrix.full_row(b)) {
            (Some(x), Some(y)) => inner_product(x, y),
            _ => inner_product(&matrix.row(a), &matrix.row(b)),
        },
    }
}

impl Group {
    fn new(matrix: &Matrix, claims: &Claims, first: usize, size: usize) -> Self {
        let live = matrix.rows().saturating_sub(first).min(size);
        let mut gram = Zeroizing::new(vec![Fe::ZERO; size * size]);
        for p in 0..live {
            for q in p..live {
                let product = row_product(matrix, first + p, first + q);
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
            for q in 0..live {
                let row = matrix.row(first + q);
                for (p, weights) in &dense {
                    cross[p * size + q] = inner_product(weights, &row);
                }
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
    w: Vec<Zeroizing<Vec<Fe>>>,
    dense: Vec<Option<Vec<Fe>>>,
    mu: Vec<Fe>,
}

impl Rows {
    /// Folds the groups of the matrix with the Lagrange weights `eq`.
    fn new(matrix: &Matrix, claims: &Claims, groups: Vec<Group>, eq: &[Fe]) -> Self {
        let fold_group = |g: usize| {
            let first = g * eq.len();
            let mut sums = vec![Accumulator::default(); matrix.columns];
            for (i, weight) in eq.iter().enumerate() {
                if let Some(row) = matrix.small_row(first + i) {
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(s, v)| s.add_product(*weight, Fe::from_i64(*v)));
                } else if let Some(row) = matrix.full_row(first + i) {
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(s, v)| s.add_product(*weight, *v));
                }
            }
            let row = Zeroizing::new(
                sums.into_iter()
                    .map(Accumulator::finish)
                    .collect::<Vec<_>>(),
            );
            let mut dense: Option<Vec<Fe>> = None;
            for (i, weight) in eq.iter().enumerate() {
                if let Some(Some(row)) = claims.dense.get(first + i) {
                    let sum = dense.get_or_insert_with(|| vec![Fe::ZERO; matrix.columns]);
                    sum.iter_mut()
                        .zip(row)
                        .for_each(|(s, v)| *s += *weight * *v);
                }
            }
            (row, dense)
        };
        let mu = groups.iter().map(|g| g.mu[0]).collect();
        let (w, dense) = (0..groups.len()).into_par_iter().map(fold_group).unzip();
        Self { w, dense, mu }
    }

    fn coefficients(&self) -> [Fe; 3] {
        let zero = Zeroizing::new(vec![Fe::ZERO; self.w[0].len()]);
        let parts = (0..self.w.len().div_ceil(2))
            .into_par_iter()
            .map(|p| {
                let low = &self.w[2 * p];
                let high = self.w.get(2 * p + 1).unwrap_or(&zero);
                let square = [
                    inner_product(low, low),
                    inner_product(low, high),
                    inner_product(high, high),
                ];
                let mut sum = square_part(square, pair(&self.mu, p));
                let dense = |i: usize| self.dense.get(2 * p + i).and_then(Option::as_ref);
                let (d_low, d_high) = (dense(0), dense(1));
                if d_low.is_some() || d_high.is_some() {
                    let with =
                        |d: Option<&Vec<Fe>>, w: &[Fe]| d.map_or(Fe::ZERO, |d| inner_product(d, w));
                    let c00 = with(d_low, low);
                    sum = add(
                        sum,
                        [
                            c00,
                            c00 - with(d_low, high) - with(d_high, low) + with(d_high, high),
                            Fe::ZERO,
                        ],
                    );
                }
                sum
            })
            .collect();
        total(parts)
    }

    fn bind(&mut self, x: Fe) {
        let fold_rows = |low: Option<&[Fe]>, high: Option<&[Fe]>| -> Option<Vec<Fe>> {
            let y = Fe::ONE - x;
            match (low, high) {
                (None, None) => None,
                (Some(low), None) => Some(low.iter().map(|l| *l * y).collect()),
                (None, Some(high)) => Some(high.iter().map(|h| *h * x).collect()),
                (Some(low), Some(high)) => Some(
                    low.iter()
                        .zip(high)
                        .map(|(l, h)| *l + x * (*h - *l))
                        .collect(),
                ),
            }
        };
        let half = self.w.len().div_ceil(2);
        let row = |p: usize| self.w.get(p).map(|w| w.as_slice());
        let dense = |p: usize| self.dense.get(p).and_then(|d| d.as_deref());
        let w = (0..half)
            .into_par_iter()
            .map(|p| Zeroizing::new(fold_rows(row(2 * p), row(2 * p + 1)).unwrap_or_default()))
            .collect();
        let folded = (0..half)
            .map(|p| fold_rows(dense(2 * p), dense(2 * p + 1)))
            .collect();
        fold(&mut self.mu, x);
        self.w = w;
        self.dense = folded;
    }
}

/// Runs the sumcheck from the claimed `sum` (which the transcript holds already).
pub(crate) fn prove(
    layout: &Layout,
    matrix: &Matrix,
    claims: &Claims,
    sums: &RowSums,
    pi: &[Fe],
    sum: Fe,
    transcript: &mut ProofTranscript,
) -> Folded {
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

    let mut products = Products::new(matrix, claims, sums);
    let group_vars = row_vars.min(GROUP_VARS);
    let size = 1usize << group_vars;
    let mut groups: Vec<Group> = (0..matrix.rows().div_ceil(size))
        .into_par_iter()
        .map(|g| Group::new(matrix, claims, g * size, size))
        .collect();
    for _ in 0..group_vars {
        let squares = total(groups.par_iter().map(Group::coefficients).collect());
        let x = bind(add(squares, products.coefficients()), 3, &mut point);
        groups.par_iter_mut().for_each(|g| g.bind(x));
        products.bind(x);
    }
    let mut rows = Rows::new(matrix, claims, groups, &eq_table(&point));
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
    let weights: Vec<Fe> = claims
        .projection_weights
        .iter()
        .zip(&products.0)
        .map(|(lambda, (c, _))| *lambda * c[0])
        .collect();
    let parts: Vec<(&Vec<Fe>, Fe)> = claims
        .rank_one
        .iter()
        .zip(&products.0[weights.len()..])
        .map(|(part, (row, _))| (&part.column, row[0]))
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
        for p in 0..w.len() / 2 {
            let ((l0, l1), (w0, w1)) = (pair(&lambda, p), pair(&w, p));
            linear0.add_product(l0, w0);
            linear2.add_product(l1 - l0, w1 - w0);
            square0.add_product(w0, w0);
            square2.add_product(w1 - w0, w1 - w0);
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
