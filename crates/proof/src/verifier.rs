//! The verifier. Field equations are tested one by one; group equations are folded with random weights into one
//! multiscalar multiplication, and tested one by one when that fails, so that the failing one has a name.

use crate::claims::Claims;
use crate::mask;
use crate::message::Proof;
use crate::projection::Projections;
use crate::transcript::{Challenges, ProofTranscript};
use crate::{Prepared, ProofCheck, Round, Statement, phase};
use bulletproofs::RangeProof;
use curve25519_dalek::ristretto::CompressedRistretto;
use merlin::Transcript;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rayon::prelude::*;
use veilsum_crypto::field::{Accumulator, Fe, eq_table, inner_product};
use veilsum_crypto::{Hasher, Xof, labels};
use veilsum_params::Layout;
use veilsum_rlwe::field::is_canonical;
use veilsum_simd::{MsmGroup, MsmWork, Point, SimdError, split_msm};

/// Checks one contribution's proof. Deterministic: everybody comes to the same verdict, so exclusion and evidence rest on
/// it. The weights with which group equations are folded come from the transcript after the last response, so that a
/// proof with a false equation passes with probability 2^-128 only.
///
/// # Errors
/// The first check that fails, in the order of [`ProofCheck::ALL`].
pub fn verify(round: &Round, statement: &Statement<'_>) -> Result<(), ProofCheck> {
    verify_decoding(round, statement).map(drop)
}

/// Points of a statement that verification decoded.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// C: `key_points` of the layout.
    pub key: Vec<Point>,
    /// The X-rows of K: `x_rows` of the layout.
    pub x_rows: Vec<Point>,
}

/// As [`verify`]; gives the decoded points of C and the X-rows, so that whoever sums them need not decode them again.
///
/// # Errors
/// As [`verify`].
pub fn verify_decoding(round: &Round, statement: &Statement<'_>) -> Result<Decoded, ProofCheck> {
    let (opened, decoded) = Opened::new(round, statement, Alone::Yes)?;
    phase!("group-equations", opened.group_equations(round.prepared())?);
    phase!("range-proof", opened.norm_range(round.prepared()))?;
    Ok(decoded)
}

/// Checks many proofs of one round: one folded multiscalar multiplication for the group equations of all, halved where it
/// fails. `seed` is fresh local randomness, drawn after all proofs are in. The verdict for each statement is that of
/// [`verify`], but for a probability of 2^-128.
pub fn verify_batch(
    round: &Round,
    statements: &[Statement<'_>],
    seed: &[u8; 32],
) -> Vec<Result<(), ProofCheck>> {
    verify_batch_decoding(round, statements, seed)
        .into_iter()
        .map(|verdict| verdict.map(drop))
        .collect()
}

/// As [`verify_batch`]; gives the decoded points of every statement, as [`verify_decoding`] does.
pub fn verify_batch_decoding(
    round: &Round,
    statements: &[Statement<'_>],
    seed: &[u8; 32],
) -> Vec<Result<Decoded, ProofCheck>> {
    let prepared = round.prepared();
    let (opened, points): (Vec<Result<Opened<'_>, ProofCheck>>, Vec<Decoded>) = statements
        .par_iter()
        .map(|s| match Opened::new(round, s, Alone::No) {
            Ok((opened, points)) => (Ok(opened), points),
            Err(check) => (Err(check), Decoded::default()),
        })
        .unzip();
    // The weights depend on every proof as well as on the seed: a seed that was drawn too early still serves.
    let mut hasher = Hasher::new(labels::BATCH_XOF);
    hasher.update(seed);
    opened.iter().flatten().for_each(|o| {
        hasher.update(&o.folding_seed);
    });
    let seed = *hasher.finish().as_bytes();
    let suspects: Vec<(usize, &Opened<'_>)> = opened
        .iter()
        .enumerate()
        .filter_map(|(i, o)| Some((i, o.as_ref().ok()?)))
        .collect();
    let mut group = vec![Ok(()); statements.len()];
    bisect(prepared, &seed, &suspects, &mut group);
    opened
        .par_iter()
        .zip(group)
        .zip(points)
        .map(|((opened, group), points)| {
            let opened = opened.as_ref().map_err(|check| *check)?;
            group?;
            opened.norm_range(prepared)?;
            Ok(points)
        })
        .collect()
}

/// One check of the verifier, on one line of its own.
pub(crate) fn require(holds: bool, check: ProofCheck) -> Result<(), ProofCheck> {
    if holds { Ok(()) } else { Err(check) }
}

fn bisect(
    prepared: &Prepared,
    seed: &[u8; 32],
    suspects: &[(usize, &Opened<'_>)],
    verdicts: &mut [Result<(), ProofCheck>],
) {
    match suspects {
        [(index, opened)] => verdicts[*index] = opened.group_equations(prepared),
        _ => {
            let mut folded = Folded::new(&prepared.layout);
            for (index, opened) in suspects {
                folded.add(opened, seed, *index as u64);
            }
            if !folded.is_neutral(prepared) {
                let (left, right) = suspects.split_at(suspects.len() / 2);
                bisect(prepared, seed, left, verdicts);
                bisect(prepared, seed, right, verdicts);
            }
        }
    }
}

/// The equations between points.
#[derive(Clone, Copy)]
enum Equation {
    E1,
    E3,
    E5,
    E7,
    E8,
    E9,
}

const EQUATIONS: [Equation; 6] = [
    Equation::E1,
    Equation::E3,
    Equation::E5,
    Equation::E7,
    Equation::E8,
    Equation::E9,
];

/// Points of one contribution besides K and C, in this order.
#[derive(Clone, Copy)]
enum Own {
    A1,
    A3,
    A5,
    A7,
    A8,
    A9,
    ComPi,
    Vx,
    F0,
    Fz,
    /// V_k = sum theta_l C_l.
    Vk,
}
const OWN: usize = 11;

/// Whether the group equations of a statement will be tested without those of others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Yes,
    No,
}

/// A statement whose field equations hold and whose points are decoded.
struct Opened<'a> {
    proof: Proof,
    layout: &'a Layout,
    k: Vec<Point>,
    own: [Point; OWN],
    eq_rows: Vec<Fe>,
    theta: Vec<u128>,
    /// W_theta = sum theta_l W_l, made beside V_k, which has the same weights; others share the W_l instead.
    w_theta: Option<Point>,
    challenge: Fe,
    folding_seed: [u8; 32],
    range_transcript: Transcript,
}

fn decode(prepared: &Prepared, bytes: &[[u8; 32]]) -> Result<Vec<Point>, ProofCheck> {
    prepared
        .decode(bytes)
        .map_err(|_| ProofCheck::PointEncoding)
}

impl<'a> Opened<'a> {
    /// Decodes, replays the transcript, and makes every check that is not one of the group equations. With the points that
    /// are summed.
    fn new(
        round: &'a Round,
        statement: &Statement<'_>,
        alone: Alone,
    ) -> Result<(Self, Decoded), ProofCheck> {
        let (layout, prepared) = (round.layout(), &**round.prepared());
        let ring_len = layout.masked_constants().map_or(0, |k| k.ring_len as usize);
        let shape = statement.k.len() == layout.rows() as usize
            && statement.c.len() == layout.key_points() as usize
            && statement.y.len() == ring_len
            && statement.y.iter().all(is_canonical);
        require(shape, ProofCheck::Shape)?;
        let f_0 = statement
            .context
            .commitments
            .first()
            .ok_or(ProofCheck::Shape)?;
        let proof = Proof::decode(layout, statement.proof)?;
        let (low, high) = (layout.delta, (1u128 << layout.gamma) - layout.delta);
        let inside = proof.z.iter().all(|z| (low..high).contains(z));
        require(inside, ProofCheck::ProjectionInterval)?;
        let (k, c) = phase!(
            "points",
            (
                decode(prepared, statement.k)?,
                decode(prepared, statement.c)?
            )
        );
        let mut own = proof.points.to_vec();
        own.extend([
            proof.com_pi,
            proof.v_x,
            *f_0.as_bytes(),
            *statement.f_z.as_bytes(),
        ]);
        let mut own = decode(prepared, &own)?;

        let mut transcript = ProofTranscript::new(round, statement.context, statement.f_z);
        let projections = phase!(
            "projections",
            Projections::expand(layout, &transcript.projection_seed())
        );
        transcript.projections(layout, &proof.z);
        let range_transcript = transcript.norm_commitment(&proof.v_x);
        let challenges = transcript.challenges(layout, &proof.com_pi);
        // Cannot fail for canonical y; if it did, the statement would not fit the layout.
        let claims = phase!(
            "claims",
            Claims::new(round, projections, &proof.z, &challenges, statement.y)
        )
        .map_err(|_| ProofCheck::Shape)?;
        transcript.sum(proof.sum);
        let (point, claim) = replay(layout, &proof, &mut transcript);
        let challenge = transcript.closing(&proof);
        let folding_seed = transcript.folding_seed(&proof);

        let (row_point, column_point) = point.split_at(layout.row_vars as usize);
        let (eq_rows, eq_columns) = (eq_table(row_point), eq_table(column_point));
        let (lambda, mu) = phase!("claims", claims.evaluate(&eq_rows, &eq_columns));
        field_equations(
            layout,
            &proof,
            &claims,
            &challenges,
            &FieldPoint {
                challenge,
                claim,
                lambda,
                mu,
                eq_columns: &eq_columns,
                basis: &mask::basis(layout, &point),
            },
        )?;
        let lists = match alone {
            Alone::Yes => vec![&c[..], &prepared.key],
            Alone::No => vec![&c[..]],
        };
        let sums = phase!(
            "key-sum",
            short_sums(prepared, &challenges.theta, &lists).ok_or(ProofCheck::Shape)?
        );
        let mut sums = sums.into_iter();
        own.extend(sums.next());
        let w_theta = sums.next();
        let own = own.try_into().map_err(|_| ProofCheck::Shape)?;
        let x_rows = k.iter().take(layout.x_rows as usize).copied().collect();
        let opened = Self {
            proof,
            layout,
            k,
            own,
            eq_rows,
            theta: challenges.theta,
            w_theta,
            challenge,
            folding_seed,
            range_transcript,
        };
        Ok((opened, Decoded { key: c, x_rows }))
    }

    /// Adds `weight` times (left side minus right side) of an equation.
    fn equation(&self, equation: Equation, weight: Fe, fixed: &mut Fixed, points: &mut Points) {
        let r = &self.proof.responses;
        let weighted = weight * self.challenge;
        let x_rows = self.layout.x_rows as usize;
        let own = &mut points.own;
        match equation {
            Equation::E1 => {
                own[Own::A1 as usize] += weight;
                for ((a, k), eq) in points.k.iter_mut().enumerate().zip(&self.eq_rows) {
                    *k += weighted * *eq;
                    fixed.rows[a] -= weight * *eq * if a < x_rows { r.r } else { r.r_z };
                }
                fixed
                    .columns
                    .iter_mut()
                    .zip(&r.u)
                    .for_each(|(g, u)| *g -= weight * *u);
            }
            Equation::E3 => {
                own[Own::A3 as usize] += weight;
                own[Own::ComPi as usize] += weighted;
                fixed
                    .mask
                    .iter_mut()
                    .zip(r.pi.iter().chain([&r.rho]))
                    .for_each(|(g, pi)| *g -= weight * *pi);
            }
            Equation::E5 => {
                own[Own::A5 as usize] += weight;
                own[Own::Vk as usize] += weighted;
                fixed.bases[0] -= weight * r.v_k;
                points.key -= weight * r.r;
            }
            Equation::E7 => {
                own[Own::A7 as usize] += weight;
                own[Own::F0 as usize] += weighted;
                fixed.bases[0] -= weight * r.r;
            }
            Equation::E8 => {
                own[Own::A8 as usize] += weight;
                own[Own::Fz as usize] += weighted;
                fixed.bases[0] -= weight * r.r_z;
            }
            Equation::E9 => {
                let bound = Fe::from_u64(u64::from(self.layout.norm_bound).pow(2));
                own[Own::A9 as usize] += weight;
                own[Own::Vx as usize] -= weighted;
                fixed.bases[0] += weighted * bound - weight * r.n_x;
                fixed.bases[1] += weight * r.nu;
            }
        }
    }

    fn holds(&self, prepared: &Prepared, equation: Equation) -> bool {
        let mut folded = Folded::new(self.layout);
        let mut points = Points::new(self);
        self.equation(equation, Fe::ONE, &mut folded.fixed, &mut points);
        folded.points.push((self, points));
        folded.is_neutral(prepared)
    }

    /// The folded equations, then one after the other.
    fn group_equations(&self, prepared: &Prepared) -> Result<(), ProofCheck> {
        let mut folded = Folded::new(self.layout);
        folded.add(self, &self.folding_seed, 0);
        if folded.is_neutral(prepared) {
            return Ok(());
        }
        require(self.holds(prepared, Equation::E1), ProofCheck::E1)?;
        require(self.holds(prepared, Equation::E3), ProofCheck::E3)?;
        require(self.holds(prepared, Equation::E5), ProofCheck::E5)?;
        require(self.holds(prepared, Equation::E7), ProofCheck::E7)?;
        require(self.holds(prepared, Equation::E8), ProofCheck::E8)?;
        require(self.holds(prepared, Equation::E9), ProofCheck::E9)?;
        Ok(())
    }

    /// The range proof of V_x. Its own folding takes weights from the folding seed: deterministic, and fixed after it.
    fn norm_range(&self, prepared: &Prepared) -> Result<(), ProofCheck> {
        prepared.tally.range_proof();
        let mut seed = [0; 32];
        Xof::new(labels::BATCH_XOF, &self.folding_seed, u64::MAX).fill(&mut seed);
        let valid = RangeProof::from_bytes(&self.proof.range).is_ok_and(|proof| {
            proof
                .verify_single_with_rng(
                    &prepared.range_generators,
                    &prepared.range_bases,
                    &mut self.range_transcript.clone(),
                    &CompressedRistretto(self.proof.v_x),
                    self.layout.range_bits as usize,
                    &mut ChaCha20Rng::from_seed(seed),
                )
                .is_ok()
        });
        require(valid, ProofCheck::NormRange)?;
        Ok(())
    }
}

/// Replays the rounds: the point and the last claim.
pub(crate) fn replay(
    layout: &Layout,
    proof: &Proof,
    transcript: &mut ProofTranscript,
) -> (Vec<Fe>, Fe) {
    let row_scalars = 3 * layout.row_vars as usize;
    let (rows, columns) = proof.rounds.split_at(row_scalars);
    let polynomials = rows.chunks_exact(3).chain(columns.chunks_exact(2));
    let (mut point, mut claim) = (Vec::new(), proof.sum);
    for polynomial in polynomials {
        let x = transcript.round(polynomial);
        let c3 = polynomial.get(2).copied().unwrap_or_default();
        claim = mask::evaluate(claim, [polynomial[0], polynomial[1], c3], x);
        point.push(x);
    }
    (point, claim)
}

/// What the field equations are evaluated at.
struct FieldPoint<'a> {
    challenge: Fe,
    claim: Fe,
    lambda: Fe,
    mu: Fe,
    eq_columns: &'a [Fe],
    basis: &'a [Fe],
}

fn field_equations(
    layout: &Layout,
    proof: &Proof,
    claims: &Claims,
    challenges: &Challenges,
    at: &FieldPoint<'_>,
) -> Result<(), ProofCheck> {
    let r = &proof.responses;
    let [a2, a4, a6] = proof.scalars;
    let row = inner_product(&r.u, at.eq_columns);
    require(row == a2 + at.challenge * proof.v, ProofCheck::E2)?;
    let masked = at.claim - at.lambda * proof.v - at.mu * proof.v.square();
    let mask = inner_product(&r.pi, at.basis);
    require(mask == a4 + at.challenge * masked, ProofCheck::E4)?;
    let weights = &challenges.weights;
    let sum =
        weights.key * r.v_k + weights.norm_x * r.n_x + inner_product(&r.pi, &mask::sums(layout));
    let secret_sum = proof.sum - claims.public_sum;
    require(sum == a6 + at.challenge * secret_sum, ProofCheck::E6)?;
    Ok(())
}

/// Coefficients of the generators.
struct Fixed {
    columns: Vec<Fe>,
    rows: Vec<Fe>,
    mask: Vec<Fe>,
    bases: [Fe; 2],
}

/// Coefficients of one contribution's points.
struct Points {
    k: Vec<Fe>,
    own: [Fe; OWN],
    /// Coefficient of W_theta = sum theta_l W_l.
    key: Fe,
}

impl Points {
    fn new(opened: &Opened<'_>) -> Self {
        Self {
            k: vec![Fe::ZERO; opened.k.len()],
            own: [Fe::ZERO; OWN],
            key: Fe::ZERO,
        }
    }
}

/// A weighted sum of equations of one or many contributions; all hold only if it is neutral (but for 2^-128).
struct Folded<'o, 'a> {
    fixed: Fixed,
    points: Vec<(&'o Opened<'a>, Points)>,
}

impl<'o, 'a> Folded<'o, 'a> {
    fn new(layout: &Layout) -> Self {
        let zeros = |count: u32| vec![Fe::ZERO; count as usize];
        Self {
            fixed: Fixed {
                columns: zeros(layout.columns),
                rows: zeros(layout.rows()),
                mask: zeros(layout.mask_coefficients() + 1),
                bases: [Fe::ZERO; 2],
            },
            points: Vec::new(),
        }
    }

    /// Adds all equations of one contribution under 128-bit weights of (seed, index).
    fn add(&mut self, opened: &'o Opened<'a>, seed: &[u8; 32], index: u64) {
        let mut xof = Xof::new(labels::BATCH_XOF, seed, index);
        let mut points = Points::new(opened);
        for equation in EQUATIONS {
            let mut weight = [0; 16];
            xof.fill(&mut weight);
            opened.equation(
                equation,
                Fe::from_u128(u128::from_le_bytes(weight)),
                &mut self.fixed,
                &mut points,
            );
        }
        self.points.push((opened, points));
    }

    fn is_neutral(&self, prepared: &Prepared) -> bool {
        let fixed = &self.fixed;
        let Some((key, key_points)) = self.key_terms(prepared) else {
            return false;
        };
        let mut parts: Vec<(&[Fe], &[Point])> = vec![
            (&fixed.columns, &prepared.columns),
            (&fixed.rows, &prepared.rows),
            (&fixed.mask, &prepared.mask),
            (&fixed.bases, &prepared.bases),
            (&key, &key_points),
        ];
        for (opened, points) in &self.points {
            parts.extend([(&points.k[..], &opened.k[..]), (&points.own, &opened.own)]);
        }
        let mut scalars = Vec::new();
        let mut bases = Vec::new();
        for (coefficients, points) in parts {
            let terms = coefficients.iter().zip(points);
            for (coefficient, point) in terms.filter(|(c, _)| **c != Fe::ZERO) {
                scalars.push(coefficient.to_bytes());
                bases.push(*point);
            }
        }
        let group = MsmGroup::Full {
            scalars: &scalars,
            points: &bases,
        };
        multiply(prepared, &[group]).is_some_and(|sum| bool::from(sum.is_identity()))
    }

    /// The terms with W: for one contribution W_theta itself, from its half-width weights; for many the W_l, which they
    /// share.
    fn key_terms(&self, prepared: &Prepared) -> Option<(Vec<Fe>, Vec<Point>)> {
        let with_key = || self.points.iter().filter(|(_, p)| p.key != Fe::ZERO);
        let mut first = with_key();
        match (first.next(), first.next()) {
            (Some((opened, points)), None) => {
                let made = || short_sums(prepared, &opened.theta, &[&prepared.key])?.pop();
                Some((vec![points.key], vec![opened.w_theta.or_else(made)?]))
            }
            _ => {
                let sum = |l: usize| {
                    let mut sum = Accumulator::default();
                    with_key().for_each(|(o, p)| sum.add_product(p.key, Fe::from_u128(o.theta[l])));
                    sum.finish()
                };
                let sums = (0..prepared.key.len()).into_par_iter().map(sum).collect();
                Some((sums, prepared.key.clone()))
            }
        }
    }
}

/// A multiscalar multiplication on the threads of the current pool; `None` if points and scalars do not pair up.
fn multiply(prepared: &Prepared, groups: &[MsmGroup<'_>]) -> Option<Point> {
    let lists = split_msm(groups, rayon::current_num_threads()).ok()?;
    let sums: Result<Vec<Point>, _> = lists
        .par_iter()
        .map(|groups| {
            let (sum, work) = prepared.engine.msm_groups_counted_vartime(groups)?;
            prepared.tally.multiplied(groups, &work);
            Ok::<_, SimdError>(sum)
        })
        .collect();
    sums.ok().map(|sums| Point::sum(&sums))
}

/// The sums of lists of points under the same weights, on the threads of the current pool; `None` if points and scalars do
/// not pair up.
fn short_sums(prepared: &Prepared, scalars: &[u128], lists: &[&[Point]]) -> Option<Vec<Point>> {
    if lists.iter().any(|points| points.len() != scalars.len()) {
        return None;
    }
    let size = scalars.len().div_ceil(rayon::current_num_threads()).max(1);
    let parts: Result<Vec<Vec<Point>>, SimdError> = scalars
        .par_chunks(size)
        .enumerate()
        .map(|(part, scalars)| {
            let begin = part * size;
            let end = begin + scalars.len();
            let cut: Vec<&[Point]> = lists.iter().map(|points| &points[begin..end]).collect();
            let sums = prepared
                .engine
                .msm_same_scalars_counted_vartime(scalars, &cut)?;
            let tell = |(points, (sum, work)): (&[Point], (Point, MsmWork))| {
                let group = MsmGroup::Short { scalars, points };
                prepared.tally.multiplied(&[group], &work);
                sum
            };
            Ok(cut.into_iter().zip(sums).map(tell).collect())
        })
        .collect();
    let parts = parts.ok()?;
    let sum = |list: usize| {
        Point::sum(
            &parts
                .iter()
                .filter_map(|p| p.get(list).copied())
                .collect::<Vec<_>>(),
        )
    };
    Some((0..lists.len()).map(sum).collect())
}
