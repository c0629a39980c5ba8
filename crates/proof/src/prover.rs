//! The prover: commitments, then the proof, again with fresh masks when a projection is rejected.

use crate::claims::Claims;
use crate::mask;
use crate::matrix::{
    MaskedMaterial, Masks, Material, Matrix, Row, blind, encode, encrypt_key, key_vector,
};
use crate::message::{Proof, Responses};
use crate::projection::Projections;
use crate::sumcheck::{self, RowSums};
use crate::transcript::ProofTranscript;
use crate::{
    Context, ContributeError, Contribution, Parts, Prepared, ProofError, Round, Witness,
    adversarial::Deviation, phase,
};
use bulletproofs::RangeProof;
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::scalar::Scalar;
use merlin::Transcript;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, CryptoRngCore, RngCore, SeedableRng};
use veilsum_crypto::field::{Fe, eq_table, inner_product};
use veilsum_crypto::{CanonicalPoint, Digest, Hasher, labels};
use veilsum_params::{Layout, PROJECTIONS};
use veilsum_rlwe::Limbs;
use veilsum_simd::Point;
use zeroize::{Zeroize, Zeroizing};

/// Attempts before the source of randomness is held to be broken: an honest one fails all with probability 2^-640.
const ATTEMPTS: u32 = 64;

/// Randomness of one attempt: one stream for each purpose, so that the bytes do not depend on the order of work.
///
/// Hedged: the seed is hashed with r, the witness and the parameters, and every stream but the first with the transcript up
/// to its use. A source of randomness that repeats then repeats whole proofs, but never a nonce under two challenges.
pub(crate) struct Randomness(Zeroizing<[u8; 32]>);

const _: fn(&Randomness) = |s| veilsum_crypto::wiped(&s.0);

/// A stream that is overwritten when dropped.
pub(crate) struct Stream(ChaCha20Rng);

impl zeroize::ZeroizeOnDrop for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        // The generator does not wipe itself; the black box keeps the overwrite from being removed as dead.
        self.0 = ChaCha20Rng::from_seed([0; 32]);
        std::hint::black_box(&mut self.0);
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.try_fill_bytes(dest)
    }
}

impl CryptoRng for Stream {}

impl Randomness {
    /// `absorb` feeds the witness: of the layout's fixed lengths, so that the input is uniquely decodable.
    pub(crate) fn new(
        rng: &mut impl CryptoRngCore,
        params: &Digest,
        r: &Fe,
        absorb: impl FnOnce(&mut Hasher),
    ) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        let mut hasher = Hasher::new(labels::PROVER_SEED);
        hasher
            .update(seed.as_ref())
            .update(params.as_bytes())
            .update(Zeroizing::new(r.to_bytes()).as_ref());
        absorb(&mut hasher);
        Self(Zeroizing::new(hasher.finish().0))
    }
    fn stream(&self, index: u64, transcript: &[u8; 32]) -> Stream {
        let mut hasher = Hasher::new(labels::PROVER_STREAM);
        hasher.update(self.0.as_ref()).u64(index).update(transcript);
        let seed = Zeroizing::new(hasher.finish().0);
        Stream(ChaCha20Rng::from_seed(*seed))
    }
    /// r_z and the Z-rows.
    pub(crate) fn masks(&self, layout: &Layout) -> (Fe, Masks) {
        let mut rng = self.stream(0, &[0; 32]);
        let r_z = random(&mut rng);
        let uniform = random(&mut rng);
        let projections = (0..PROJECTIONS)
            .map(|_| {
                let mut bytes = Zeroizing::new([0; 16]);
                rng.fill_bytes(bytes.as_mut());
                // gamma is at most 120, so the value is not negative.
                i128::from_le_bytes(*bytes) & ((1 << layout.gamma) - 1)
            })
            .collect();
        (
            r_z,
            Masks {
                projections: Zeroizing::new(projections),
                uniform,
            },
        )
    }
    /// pi, rho_pi, nu.
    fn blindings(&self, layout: &Layout, transcript: &ProofTranscript) -> (Vec<Fe>, Fe, Fe) {
        let mut rng = self.stream(1, &transcript.hedge());
        let pi = (0..layout.mask_coefficients())
            .map(|_| random(&mut rng))
            .collect();
        (pi, random(&mut rng), random(&mut rng))
    }
    /// `transcript` holds all that determines the closing challenge but what these nonces and the range proof add.
    fn nonces(&self, layout: &Layout, transcript: &ProofTranscript) -> Responses {
        let mut rng = self.stream(2, &transcript.hedge());
        Responses {
            u: (0..layout.columns).map(|_| random(&mut rng)).collect(),
            pi: (0..layout.mask_coefficients())
                .map(|_| random(&mut rng))
                .collect(),
            r: random(&mut rng),
            r_z: random(&mut rng),
            rho: random(&mut rng),
            v_k: random(&mut rng),
            n_x: random(&mut rng),
            nu: random(&mut rng),
        }
    }
    fn range(&self, transcript: &ProofTranscript) -> Stream {
        self.stream(3, &transcript.hedge())
    }
}

fn random(rng: &mut Stream) -> Fe {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    let value = Fe::from_bytes_wide(&wide);
    wide.zeroize();
    value
}

/// What the closing argument and the sumcheck are about.
pub(crate) struct Secrets {
    pub(crate) r: Fe,
    pub(crate) r_z: Fe,
    /// Key coordinates as they stand in C.
    pub(crate) key: Zeroizing<Vec<Fe>>,
    /// Squared norm of the update.
    pub(crate) norm: Fe,
}

impl zeroize::ZeroizeOnDrop for Secrets {}
const _: fn(&Secrets) = |s| veilsum_crypto::wiped(&s.key);

impl Drop for Secrets {
    fn drop(&mut self) {
        [&mut self.r, &mut self.r_z, &mut self.norm]
            .into_iter()
            .for_each(Zeroize::zeroize);
    }
}

/// Makes the commitments and the proof of one contribution.
///
/// `bind` is called once for each attempt with the commitments and returns the context that the proof is bound to: K's
/// rows after the X-rows and F_z differ from attempt to attempt. Nothing may be sent before this returns, and nothing of
/// earlier attempts ever (`specs/protocol.md`, "The contribution").
///
/// # Errors
/// [`ProofError`] for a witness that does not satisfy the statement or a context that does not fit; whatever `bind`
/// returns.
pub fn contribute<E>(
    round: &Round,
    witness: &Witness<'_>,
    mut bind: impl FnMut(&Parts<'_>) -> Result<Context, E>,
    rng: &mut impl CryptoRngCore,
) -> Result<Contribution, ContributeError<E>> {
    let (layout, prepared) = (round.layout(), &**round.prepared());
    let material = phase!("witness-check", check(round, witness)?);
    let r = Zeroizing::new(Fe::from(witness.r));
    let f_0 = CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * witness.r);
    let (key, key_bits) = key_vector(layout, &material);
    let c = phase!("key-ciphertext", encrypt_key(prepared, &key, key_bits, &r)?);
    let key = Zeroizing::new(key.iter().map(|v| Fe::from_i64(*v)).collect::<Vec<_>>());
    let (update_rows, masked_rows) = phase!("matrix-commitment", {
        let mut update_rows = material.commit_update(prepared)?;
        blind(prepared, &mut update_rows, 0, &r)?;
        (
            encode(prepared, &update_rows),
            material.commit_masked(prepared)?,
        )
    });
    let norm = Zeroizing::new(Fe::from_u64(
        squared_norm(witness.update).unwrap_or(u64::MAX),
    ));

    for _ in 0..ATTEMPTS {
        let randomness = phase!(
            "prover-seed",
            Randomness::new(rng, round.params_digest(), &r, |h| absorb(witness, h))
        );
        let (r_z, masks) = randomness.masks(layout);
        let k = phase!("matrix-commitment", {
            let mut k = update_rows.clone();
            let mut rows =
                Zeroizing::new([masked_rows.as_slice(), &masks.commit(prepared)?].concat());
            blind(prepared, &mut rows, layout.x_rows as usize, &r_z)?;
            k.extend(encode(prepared, &rows));
            k
        });
        let f_z =
            CanonicalPoint::from(RISTRETTO_BASEPOINT_TABLE * &*Zeroizing::new(Scalar::from(r_z)));
        let parts = Parts {
            k: &k,
            c: &c,
            f_z: &f_z,
        };
        let context = phase!("digests", bind(&parts)).map_err(ContributeError::Context)?;
        if context.commitments.first() != Some(&f_0) {
            return Err(ProofError::Commitment.into());
        }
        let matrix = phase!("witness-matrix", material.matrix(layout, &masks));
        let secrets = Secrets {
            r: *r,
            r_z,
            key: key.clone(),
            norm: *norm,
        };
        let y = witness.masked.map_or(&[][..], |m| m.y);
        let session = Session {
            round,
            context: &context,
            f_z: &f_z,
            y,
            matrix: &matrix,
            secrets: &secrets,
        };
        if let Some(proof) = session.prove(&randomness, &Deviation::default())? {
            return Ok(Contribution {
                proof: proof.encode(layout),
                k,
                c,
                f_z,
                context,
            });
        }
    }
    Err(ProofError::Restarts { attempts: ATTEMPTS }.into())
}

fn absorb(witness: &Witness<'_>, hasher: &mut Hasher) {
    /// Many at a time: the hash is several times faster on long inputs.
    fn integers<T: Copy, const N: usize>(
        hasher: &mut Hasher,
        values: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) {
        let mut buffer = Zeroizing::new(vec![[0u8; N]; values.len().min(8192)]);
        if buffer.is_empty() {
            return;
        }
        for values in values.chunks(buffer.len()) {
            for (slot, v) in buffer.iter_mut().zip(values) {
                *slot = bytes(*v);
            }
            hasher.update(buffer[..values.len()].as_flattened());
        }
    }
    integers(hasher, witness.update, i64::to_le_bytes);
    if let Some(m) = witness.masked {
        integers(hasher, m.key, i64::to_le_bytes);
        integers(hasher, m.noise, i128::to_le_bytes);
    }
}

/// sum v^2 when it fits.
fn squared_norm(v: &[i64]) -> Option<u64> {
    let sum = v.iter().try_fold(0u128, |sum, v| {
        sum.checked_add(u128::from(v.unsigned_abs()).pow(2))
    });
    sum.and_then(|sum| u64::try_from(sum).ok())
}

/// The slack of a squared norm, `None` when the norm exceeds the bound. The norm's limbs are little-endian.
fn slack(norm: [u64; 5], bound: u128) -> Option<[u64; 4]> {
    let (low, high) = (bound & u128::from(u64::MAX), bound >> 64);
    let (ll, lh, hh) = (low * low, low * high, high * high);
    // bound < 2^100, so the square has four limbs.
    let mut square = [ll as u64, (ll >> 64) as u64, 0, 0, 0];
    let mut add = |at: usize, v: u128| {
        let mut carry = v;
        for limb in &mut square[at..] {
            let sum = u128::from(*limb) + (carry & u128::from(u64::MAX));
            *limb = sum as u64;
            carry = (carry >> 64) + (sum >> 64);
        }
    };
    add(1, lh);
    add(1, lh);
    add(2, hh);
    let mut borrow = false;
    let mut out = [0u64; 5];
    for ((out, square), norm) in out.iter_mut().zip(square).zip(norm) {
        (*out, borrow) = square.borrowing_sub(norm, borrow);
    }
    let [a, b, c, d, _] = out;
    (!borrow).then_some([a, b, c, d])
}

/// Checks that the witness satisfies the statement; gives the integers of the matrix.
fn check<'a>(round: &Round, witness: &Witness<'a>) -> Result<Material<'a>, ProofError> {
    let layout = round.layout();
    let length = |what, got: usize, want: u32| {
        if got == want as usize {
            Ok(())
        } else {
            Err(ProofError::Length {
                what,
                got,
                want: want as usize,
            })
        }
    };
    length("the update", witness.update.len(), layout.dim)?;
    let bound = u64::from(layout.norm_bound).pow(2);
    if squared_norm(witness.update).is_none_or(|norm| norm > bound) {
        return Err(ProofError::Norm { what: "the update" });
    }
    let masked = match (layout.masked_constants(), witness.masked) {
        (None, None) => None,
        (None, Some(_)) => return Err(ProofError::Mode { layout: "direct" }),
        (Some(_), None) => return Err(ProofError::Mode { layout: "masked" }),
        (Some(k), Some(m)) => {
            length("the key", m.key.len(), veilsum_params::RING_DEGREE)?;
            length("the noise", m.noise.len(), k.ring_len)?;
            length("the masked vector", m.y.len(), k.ring_len)?;
            let noise_norm = Zeroizing::new(veilsum_rlwe::masking::norm_squared(m.noise));
            let e = Zeroizing::new(
                slack(*noise_norm, k.e_bound).ok_or(ProofError::Norm { what: "the noise" })?,
            );
            let key_error = ProofError::Norm { what: "the key" };
            let key_norm = Zeroizing::new(squared_norm(m.key).ok_or(key_error.clone())?);
            let s =
                Zeroizing::new(slack([*key_norm, 0, 0, 0, 0], k.s_bound.into()).ok_or(key_error)?);
            let bit = |v: &[u64; 4], i: u32| (v[i as usize / 64] >> (i % 64) & 1) as i64;
            let mut slack = Zeroizing::new(Vec::with_capacity(
                (k.e_slack_bits + k.s_slack_bits) as usize,
            ));
            slack.extend((0..k.e_slack_bits).map(|i| bit(&e, i)));
            slack.extend((0..k.s_slack_bits).map(|i| bit(&s, i)));
            Some(MaskedMaterial { witness: m, slack })
        }
    };
    Ok(Material {
        update: witness.update,
        masked,
    })
}

/// One attempt at a proof.
pub(crate) struct Session<'a> {
    pub(crate) round: &'a Round,
    pub(crate) context: &'a Context,
    pub(crate) f_z: &'a CanonicalPoint,
    pub(crate) y: &'a [Limbs],
    pub(crate) matrix: &'a Matrix<'a>,
    pub(crate) secrets: &'a Secrets,
}

impl Session<'_> {
    /// The proof, or `None` when a projection is rejected. An honest prover deviates nowhere
    /// ([`Deviation::default`]); then a claim that turns out false is an internal error.
    pub(crate) fn prove(
        &self,
        randomness: &Randomness,
        deviation: &Deviation,
    ) -> Result<Option<Proof>, ProofError> {
        let (layout, prepared) = (self.round.layout(), &**self.round.prepared());
        let mut transcript = ProofTranscript::new(self.round, self.context, self.f_z);
        let (projections, sums, z) = phase!("projections", {
            let projections = Projections::expand(layout, &transcript.projection_seed());
            let sums = RowSums::new(prepared.engine, self.matrix, &projections);
            let z = self.answers(&sums, &projections, deviation);
            (projections, sums, z)
        });
        let Some(z) = z else {
            return Ok(None);
        };
        transcript.projections(layout, &z);

        let (pi, rho, nu) = randomness.blindings(layout, &transcript);
        let mut secret = Zeroizing::new(Responses {
            u: Vec::new(),
            pi,
            r: self.secrets.r,
            r_z: self.secrets.r_z,
            rho,
            v_k: Fe::ZERO,
            n_x: deviation.norm.unwrap_or(self.secrets.norm),
            nu,
        });
        let bound = Fe::from_u64(u64::from(layout.norm_bound).pow(2));
        let slack = deviation.committed_slack.unwrap_or(bound - secret.n_x);
        let v_x = encode(prepared, &[commit_pair(prepared, slack, nu)?])[0];
        let range_transcript = transcript.norm_commitment(&v_x);
        let com_pi = phase!(
            "mask-commitment",
            encode(prepared, &[commit_mask(prepared, &secret.pi, rho)?])[0]
        );
        let challenges = transcript.challenges(layout, &com_pi);
        secret.v_k = self
            .secrets
            .key
            .iter()
            .zip(&challenges.theta)
            .map(|(k, t)| *k * Fe::from_u128(*t))
            .sum();
        let claims = phase!(
            "claims",
            Claims::new(self.round, projections, &z, &challenges, self.y)?
        );

        let weights = &challenges.weights;
        let norm_in_sum = deviation.norm_in_sum.unwrap_or(secret.n_x);
        let mask_sums = mask::sums(layout);
        let sum = claims.public_sum
            + weights.key * secret.v_k
            + weights.norm_x * norm_in_sum
            + inner_product(&secret.pi, &mask_sums);
        transcript.sum(sum);
        let range_slack = deviation.range_slack.unwrap_or(slack);
        let mut range_rng = randomness.range(&transcript);
        let fold = || {
            sumcheck::prove(
                prepared,
                self.matrix,
                &claims,
                &sums,
                &secret.pi,
                sum,
                &mut transcript,
            )
        };
        let range = || {
            phase!(
                "range-proof",
                range_proof(prepared, range_transcript, range_slack, nu, &mut range_rng)
            )
        };
        let (range, folded) = phase!("sumcheck", rayon::join(range, fold));
        let range = range?;

        let (row_point, column_point) = folded.point.split_at(layout.row_vars as usize);
        let (eq_rows, eq_columns) = (eq_table(row_point), eq_table(column_point));
        let basis = mask::basis(layout, &folded.point);
        let (lambda, mu) = phase!("claims", claims.evaluate(&eq_rows, &eq_columns));
        let mut v = inner_product(&folded.row, &eq_columns);
        let explained = |v: Fe, pi: &[Fe]| lambda * v + mu * v.square() + inner_product(pi, &basis);
        if explained(v, &secret.pi) != folded.claim {
            if !deviation.any() {
                // The only claim about a masked witness that was not checked beforehand is that y belongs to it.
                return Err(if self.y.is_empty() {
                    ProofError::Internal
                } else {
                    ProofError::MaskedVector
                });
            }
            deviation.after_sumcheck(lambda, mu, folded.claim, &basis, &mut v, &mut secret.pi)?;
        }
        secret.u = folded.row.to_vec();

        let mut nonces = Zeroizing::new(randomness.nonces(layout, &transcript));
        let scalars = [
            inner_product(&nonces.u, &eq_columns),
            inner_product(&nonces.pi, &basis),
            weights.key * nonces.v_k
                + weights.norm_x * nonces.n_x
                + inner_product(&nonces.pi, &mask_sums),
        ];
        let points = phase!(
            "closing",
            announce(prepared, &nonces, &eq_rows, &challenges.theta)?
        );
        let mut proof = Proof {
            z,
            v_x,
            com_pi,
            sum,
            rounds: folded.rounds,
            v,
            range,
            points,
            scalars,
            responses: (*nonces).clone(),
        };
        let c = transcript.closing(&proof);
        respond(&mut proof.responses, &secret, c);
        nonces.zeroize();
        Ok(Some(proof))
    }

    /// z_t = c_t^T w d_t + g_t, if all are in the interval.
    fn answers(
        &self,
        sums: &RowSums,
        projections: &Projections,
        deviation: &Deviation,
    ) -> Option<Vec<u128>> {
        let layout = self.round.layout();
        let (low, high) = (layout.delta, (1u128 << layout.gamma) - layout.delta);
        let first = layout.projected_rows() as usize;
        // The Z-rows stand as field elements, in every matrix.
        let masks =
            (first..first + layout.z_rows as usize).filter_map(|a| match self.matrix.row(a) {
                Some(Row::Full(row)) => Some(row),
                _ => None,
            });
        let mut accepted = true;
        let answers = sums
            .projections(projections)
            .iter()
            .zip(masks.flatten())
            .map(|(p, g)| {
                let [a, b, c, d] = (*p + *g).to_limbs();
                let z = u128::from(a) | u128::from(b) << 64;
                accepted &= (c == 0) & (d == 0) & (z >= low) & (z < high);
                z
            })
            .collect();
        (accepted | deviation.keep_rejected).then_some(answers)
    }
}

/// (slack B + nu Bt) / 2.
fn commit_pair(prepared: &Prepared, slack: Fe, nu: Fe) -> Result<Point, ProofError> {
    let row = Zeroizing::new([slack.to_bytes(), nu.to_bytes()]);
    single(prepared.base_tables.commit_scalar_rows(&[&row[..]])?)
}

/// (<pi, Pi> + rho Hpi) / 2.
fn commit_mask(prepared: &Prepared, pi: &[Fe], rho: Fe) -> Result<Point, ProofError> {
    let row = Zeroizing::new(
        pi.iter()
            .chain([&rho])
            .map(|v| v.to_bytes())
            .collect::<Vec<_>>(),
    );
    single(prepared.mask_tables.commit_scalar_rows(&[&row[..]])?)
}

fn single(points: Vec<Point>) -> Result<Point, ProofError> {
    points.first().copied().ok_or(ProofError::Internal)
}

/// Announcements of E1, E3, E5, E7, E8, E9.
fn announce(
    prepared: &Prepared,
    nonces: &Responses,
    eq_rows: &[Fe],
    theta: &[u128],
) -> Result<[[u8; 32]; crate::message::POINTS], ProofError> {
    let engine = prepared.engine;
    let x_rows = prepared.layout.x_rows as usize;
    let eq: Vec<[u8; 32]> = eq_rows
        .iter()
        .take(prepared.rows.len())
        .map(|v| v.to_bytes())
        .collect();
    let bytes = |v: Fe| Zeroizing::new(v.to_bytes());
    let blinding = |range: std::ops::Range<usize>, scalar: Fe| -> Result<Point, ProofError> {
        let base = engine.msm_vartime(&eq[range.clone()], &prepared.row_halves[range])?;
        Ok(engine.mul(&base, &bytes(scalar))?)
    };
    let row = || -> Result<Point, ProofError> {
        let u = Zeroizing::new(nonces.u.iter().map(|v| v.to_bytes()).collect::<Vec<_>>());
        single(prepared.column_tables.commit_scalar_rows(&[&u[..]])?)
    };
    let key = || -> Result<Point, ProofError> {
        let base = engine.msm_short_vartime(theta, &prepared.key_halves)?;
        Ok(engine.mul(&base, &bytes(nonces.r))? + commit_pair(prepared, nonces.v_k, Fe::ZERO)?)
    };
    let blindings = || {
        rayon::join(
            || blinding(0..x_rows, nonces.r),
            || blinding(x_rows..eq.len(), nonces.r_z),
        )
    };
    let ((row, (blind, blind_z)), key) = rayon::join(|| rayon::join(row, blindings), key);
    let halves = [
        row? + blind? + blind_z?,
        commit_mask(prepared, &nonces.pi, nonces.rho)?,
        key?,
        commit_pair(prepared, nonces.r, Fe::ZERO)?,
        commit_pair(prepared, nonces.r_z, Fe::ZERO)?,
        commit_pair(prepared, nonces.n_x, -nonces.nu)?,
    ];
    engine
        .double_and_compress(&halves)
        .try_into()
        .map_err(|_| ProofError::Internal)
}

fn range_proof(
    prepared: &Prepared,
    mut transcript: Transcript,
    slack: Fe,
    nu: Fe,
    rng: &mut Stream,
) -> Result<Vec<u8>, ProofError> {
    let limbs = Zeroizing::new(slack.to_limbs());
    let blinding = Zeroizing::new(Scalar::from(nu));
    RangeProof::prove_single_with_rng(
        &prepared.range_generators,
        &prepared.range_bases,
        &mut transcript,
        limbs[0],
        &blinding,
        prepared.layout.range_bits as usize,
        rng,
    )
    .map(|(proof, _)| proof.to_bytes())
    .map_err(|_| ProofError::RangeProof)
}

/// Nonces become responses: nonce + c secret.
fn respond(nonces: &mut Responses, secret: &Responses, c: Fe) {
    let vectors = nonces
        .u
        .iter_mut()
        .zip(&secret.u)
        .chain(nonces.pi.iter_mut().zip(&secret.pi));
    let tail = [
        (&mut nonces.r, &secret.r),
        (&mut nonces.r_z, &secret.r_z),
        (&mut nonces.rho, &secret.rho),
        (&mut nonces.v_k, &secret.v_k),
        (&mut nonces.n_x, &secret.n_x),
        (&mut nonces.nu, &secret.nu),
    ];
    for (nonce, secret) in vectors.chain(tail) {
        *nonce += c * *secret;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_one_stream_however_it_is_read() {
        let randomness = Randomness(Zeroizing::new([3; 32]));
        let stream = || randomness.stream(1, &[4; 32]);
        let (mut whole, mut again) = ([0; 24], [0; 24]);
        stream().fill_bytes(&mut whole);
        assert!(stream().try_fill_bytes(&mut again).is_ok());
        assert_eq!(whole, again);
        let mut parts = stream();
        let mut read = parts.next_u32().to_le_bytes().to_vec();
        read.extend(parts.next_u32().to_le_bytes());
        read.extend(parts.next_u64().to_le_bytes());
        read.extend(parts.next_u64().to_le_bytes());
        assert_eq!(whole[..], read[..]);
        let mut other = [0; 24];
        randomness.stream(2, &[4; 32]).fill_bytes(&mut other);
        assert_ne!(whole, other);
        randomness.stream(1, &[5; 32]).fill_bytes(&mut other);
        assert_ne!(whole, other);
    }
}
