//! Provers that cheat, for tests: a test that shows that a check stops an attack needs a cheater who gets past all others.
//!
//! Not constant time, and nothing here is erased: a cheater's secrets are its own business.

use crate::matrix::{Matrix, blind, encode};
use crate::prover::{Randomness, Secrets, Session};
use crate::{Context, Contribution, Parts, ProofError, Round};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRngCore;
use veilsum_crypto::CanonicalPoint;
use veilsum_crypto::field::Fe;
use veilsum_rlwe::Limbs;
use veilsum_simd::Point;
use zeroize::Zeroizing;

/// What a forger commits to and proves: any field elements anywhere.
#[derive(Clone)]
pub struct Forgery {
    /// Entries of the X-, E-, S- and R-rows, padding included.
    pub entries: Vec<Fe>,
    /// Key coordinates in C.
    pub key: Vec<Fe>,
    /// Blinding of the X-rows.
    pub r: Fe,
    /// Blinding of C, if another.
    pub key_r: Option<Fe>,
    /// The r that the closing argument claims, if another.
    pub claimed_r: Option<Fe>,
    /// Squared norm of the update.
    pub norm: Fe,
    /// y.
    pub y: Vec<Limbs>,
    /// The first projection mask g_0, if not drawn.
    pub first_mask: Option<i128>,
    /// Junk added to rows of K.
    pub row_junk: Vec<(usize, RistrettoPoint)>,
    /// Junk added to points of C.
    pub key_junk: Vec<(usize, RistrettoPoint)>,
    /// Junk added to F_z.
    pub f_z_junk: Option<RistrettoPoint>,
    /// What is left out or lied about in the proof.
    pub deviation: Deviation,
}

fn junk(encoded: &mut [[u8; 32]], junk: &[(usize, RistrettoPoint)]) -> Result<(), ProofError> {
    for (at, point) in junk {
        let slot = encoded.get_mut(*at).ok_or(ProofError::Internal)?;
        *slot = (CanonicalPoint::decode(slot)?.point() + point)
            .compress()
            .to_bytes();
    }
    Ok(())
}

impl Forgery {
    /// A forgery that does not cheat yet.
    pub fn new(round: &Round, entries: Vec<Fe>, r: &Scalar, y: Vec<Limbs>) -> Self {
        let layout = round.layout();
        let (columns, dim) = (layout.columns as usize, layout.dim as usize);
        let norm = entries[..dim].iter().map(|v| v.square()).sum();
        let key = match layout.masked_constants() {
            None => entries[..dim].to_vec(),
            Some(k) => {
                let first = (layout.x_rows + k.e_rows) as usize * columns;
                let beta = Fe::pow2(k.beta_log2);
                entries[first..first + k.s_rows as usize * columns]
                    .chunks(2)
                    .map(|p| p[0] + beta * p[1])
                    .collect()
            }
        };
        Self {
            entries,
            key,
            r: Fe::from(r),
            key_r: None,
            claimed_r: None,
            norm,
            y,
            first_mask: None,
            row_junk: Vec::new(),
            key_junk: Vec::new(),
            f_z_junk: None,
            deviation: Deviation {
                escape: Some(Escape::None),
                ..Deviation::default()
            },
        }
    }

    /// Commits and proves whatever this says.
    ///
    /// # Errors
    /// [`ProofError`] when an escape does not exist for this randomness, or a part has the wrong length.
    pub fn contribute(
        &self,
        round: &Round,
        bind: impl Fn(&Parts<'_>) -> Context,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Contribution, ProofError> {
        let (layout, prepared) = (round.layout(), &**round.prepared());
        let (columns, x_rows) = (layout.columns as usize, layout.x_rows as usize);
        let key_bytes = self.key_r.unwrap_or(self.r).to_bytes();
        let mut halves = prepared.key_combs.mul(&key_bytes)?;
        let key: Vec<[u8; 32]> = self.key.iter().map(|v| v.to_bytes()).collect();
        halves
            .iter_mut()
            .zip(prepared.base_table.mul_scalars(&key)?)
            .for_each(|(h, v)| *h += v);
        let mut c = encode(prepared, &halves);
        junk(&mut c, &self.key_junk)?;
        for _ in 0..64 {
            let randomness = Randomness::new(rng, round.params_digest(), &self.r, |h| {
                self.entries.iter().for_each(|v| {
                    h.update(&v.to_bytes());
                });
            });
            let (r_z, mut masks) = randomness.masks(layout);
            masks.projections[0] = self.first_mask.unwrap_or(masks.projections[0]);
            let mut full = self.entries.clone();
            full.extend(masks.projections.iter().map(|g| Fe::from_i128(*g)));
            full.push(masks.uniform);
            full.resize(layout.rows() as usize * columns, Fe::ZERO);
            let matrix = Matrix::of_elements(columns, full);
            let bytes: Vec<[u8; 32]> = matrix.full.iter().map(|v| v.to_bytes()).collect();
            let rows: Vec<&[[u8; 32]]> = bytes.chunks(columns).collect();
            let mut halves: Vec<Point> = prepared.column_tables.commit_scalar_rows(&rows)?;
            blind(prepared, &mut halves[..x_rows], 0, &self.r)?;
            blind(prepared, &mut halves[x_rows..], x_rows, &r_z)?;
            let mut k = encode(prepared, &halves);
            junk(&mut k, &self.row_junk)?;
            let mut f_z = RISTRETTO_BASEPOINT_TABLE * &Scalar::from(r_z);
            f_z += self.f_z_junk.unwrap_or_default();
            let f_z = CanonicalPoint::from(f_z);
            let context = bind(&Parts {
                k: &k,
                c: &c,
                f_z: &f_z,
            });
            let secrets = Secrets {
                r: self.claimed_r.unwrap_or(self.r),
                r_z,
                key: Zeroizing::new(self.key.clone()),
                norm: self.norm,
            };
            let session = Session {
                round,
                context: &context,
                f_z: &f_z,
                y: &self.y,
                matrix: &matrix,
                secrets: &secrets,
            };
            if let Some(proof) = session.prove(&randomness, &self.deviation)? {
                return Ok(Contribution {
                    proof: proof.encode(layout),
                    k,
                    c: c.clone(),
                    f_z,
                    context,
                });
            }
        }
        Err(ProofError::Restarts { attempts: 64 })
    }
}

/// Where a prover leaves the protocol. The default is honest.
#[derive(Clone, Default)]
pub struct Deviation {
    /// Sends the answers even if some are outside the interval.
    pub keep_rejected: bool,
    /// The squared norm that is claimed everywhere.
    pub norm: Option<Fe>,
    /// The squared norm that S is computed with.
    pub norm_in_sum: Option<Fe>,
    /// The slack that V_x commits to.
    pub committed_slack: Option<Fe>,
    /// The slack that the range proof is made for.
    pub range_slack: Option<Fe>,
    /// What happens after the sumcheck.
    pub escape: Option<Escape>,
}

/// How a prover explains the last claim of a sumcheck about something false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Not at all: E4 fails.
    None,
    /// By a false value v: E2 fails.
    Value,
    /// By another mask polynomial with the same sum: E3 fails.
    Mask,
}

impl Deviation {
    pub(crate) fn any(&self) -> bool {
        self.escape.is_some()
    }

    pub(crate) fn after_sumcheck(
        &self,
        lambda: Fe,
        mu: Fe,
        claim: Fe,
        basis: &[Fe],
        v: &mut Fe,
        pi: &mut [Fe],
    ) -> Result<(), ProofError> {
        let explained = veilsum_crypto::field::inner_product(pi, basis);
        match self.escape {
            None | Some(Escape::None) => {}
            Some(Escape::Value) => {
                // lambda v + mu v^2 = claim - p(r)
                let root = sqrt(lambda.square() + Fe::from_u64(4) * mu * (claim - explained))
                    .ok_or(ProofError::Internal)?;
                *v = (root - lambda) * invert(mu + mu);
            }
            Some(Escape::Mask) => {
                // Adds x to a_0 and y to the first linear coefficient: the sum stays if x = -y / 2.
                let missing = claim - lambda * *v - mu * v.square() - explained;
                let half = invert(Fe::from_u64(2));
                let y = missing * invert(basis[1] - half);
                pi[1] += y;
                pi[0] -= half * y;
            }
        }
        Ok(())
    }
}

fn power(base: Fe, exponent: [u64; 4]) -> Fe {
    let mut out = Fe::ONE;
    for limb in exponent.iter().rev() {
        for bit in (0..64).rev() {
            out = out.square();
            if limb >> bit & 1 == 1 {
                out *= base;
            }
        }
    }
    out
}

fn shifted(mut v: [u64; 4], bits: u32) -> [u64; 4] {
    for i in 0..4 {
        v[i] = v[i] >> bits | v.get(i + 1).map_or(0, |next| next << (64 - bits));
    }
    v
}

/// 1 / v.
pub fn invert(v: Fe) -> Fe {
    let [a, b, c, d] = veilsum_crypto::field::ORDER;
    power(v, [a - 2, b, c, d])
}

/// A square root modulo l, if there is one; l = 5 mod 8.
pub fn sqrt(v: Fe) -> Option<Fe> {
    let [a, b, c, d] = veilsum_crypto::field::ORDER;
    let root = power(v, shifted([a + 3, b, c, d], 3));
    // 2^((l - 1) / 4)
    let unit = power(Fe::from_u64(2), shifted([a, b, c, d], 2));
    [root, root * unit].into_iter().find(|r| r.square() == v)
}
