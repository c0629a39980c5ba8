//! Contributions made by hand from the public building blocks, with one thing wrong: what the demo's attackers upload.

use curve25519_dalek::scalar::Scalar;
use num_bigint::BigInt;
use rand_core::CryptoRngCore;
use thiserror::Error;
use veilsum::crypto::field::Fe;
use veilsum::crypto::{CryptoError, Digest, EphemeralSecret, feldman, labels, merkle};
use veilsum::params::{ClientId, MemberIndex, RING_DEGREE};
use veilsum::proof::adversarial::Forgery;
use veilsum::proof::{
    Context, ContributeError, MaskedWitness, Parts, ProofError, Round, Witness, contribute,
};
use veilsum::protocol::RoundContext;
use veilsum::wire::{Body, Contribution, HeaderContent, Signed, matrix_roots, share_leaves};
use veilsum::{ClientKeys, rlwe};
use zeroize::Zeroizing;

/// What is wrong with a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Nothing: this is what an honest client sends, up to randomness.
    None,
    /// The proof is made for this client, and sent under the own name.
    ProofFor(ClientId),
    /// The update is longer than the norm bound and committed to as it is. The proof claims its true norm, and hides only in
    /// the range proof of the slack that the slack is negative: every other equation verifies.
    Unclipped,
    /// This member gets a share that is not on the committed polynomial.
    BadShare(MemberIndex),
}

/// Why a contribution could not even be forged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ForgeError {
    /// A building block refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The prover refused.
    #[error(transparent)]
    Proof(#[from] ContributeError<CryptoError>),
    /// The masking layer refused.
    #[error(transparent)]
    Masking(#[from] ProofError),
}

/// A contribution of `x` with one thing wrong, signed by `keys`.
///
/// # Errors
/// [`ForgeError`].
pub fn forge(
    context: &RoundContext,
    round: &Round,
    keys: &ClientKeys,
    x: &[i64],
    twist: Twist,
    rng: &mut impl CryptoRngCore,
) -> Result<Contribution, ForgeError> {
    let (params_digest, client) = (context.digest(), keys.client());
    let m = u32::from(context.members());
    let r = Zeroizing::new(Scalar::random(rng));
    let dealing = feldman::deal(&r, context.threshold(), context.members(), rng)?;
    let ephemeral = EphemeralSecret::generate(rng);
    let mut shares = Vec::with_capacity(dealing.shares.len());
    for (share, key) in dealing.shares.iter().zip(context.share_keys()) {
        let mut value = Zeroizing::new(*share.expose());
        if twist == Twist::BadShare(share.index) {
            *value += Scalar::ONE;
        }
        shares.push(ephemeral.encrypt(params_digest, client, share.index, key, &value)?);
    }
    let share_root = merkle::root(labels::SHARE_TREE, &share_leaves(&shares));
    let knowledge = ephemeral.prove(
        params_digest,
        client,
        &dealing.commitments,
        &share_root,
        rng,
    );

    let masked = Masked::draw(round, x, rng)?;
    let y_bytes = masked.as_ref().map_or(&[][..], |m| &m.packed);
    let y_digest = Digest::of(labels::MASKED_VECTOR_DIGEST, y_bytes);
    let layout = context.layout();
    let bind = |parts: &Parts<'_>| {
        let (row_root, other_rows) = matrix_roots(layout, m, parts.k);
        Context {
            client: match twist {
                Twist::ProofFor(other) => other,
                Twist::None | Twist::Unclipped | Twist::BadShare(_) => client,
            },
            commitments: dealing.commitments.clone(),
            ephemeral: *ephemeral.public(),
            share_root,
            row_root,
            y_digest,
            c_digest: Digest::of(labels::KEY_CIPHERTEXT_DIGEST, parts.c.as_flattened()),
            k_digest: matrix_digest(&row_root, &other_rows),
        }
    };
    let made = if twist == Twist::Unclipped {
        let mut forgery = forgery(round, x, &r, masked.as_ref());
        forgery.deviation.range_slack = Some(Fe::ZERO);
        forgery.contribute(round, bind, rng)?
    } else {
        let witness = Witness {
            update: x,
            r: &r,
            masked: masked.as_ref().map(|m| MaskedWitness {
                key: &m.key,
                noise: &m.masked.noise,
                y: &m.masked.y,
            }),
        };
        contribute(
            round,
            &witness,
            |parts| Ok::<_, CryptoError>(bind(parts)),
            rng,
        )?
    };
    let (row_root, other_rows) = matrix_roots(layout, m, &made.k);
    let content = HeaderContent {
        params_digest: *params_digest,
        client,
        commitments: dealing.commitments,
        f_z: made.f_z,
        ephemeral: *ephemeral.public(),
        knowledge,
        share_root,
        row_root,
        other_rows,
        masked_vector: y_digest,
        key_ciphertext: Digest::of(labels::KEY_CIPHERTEXT_DIGEST, made.c.as_flattened()),
        proof: Digest::of(labels::PROOF_DIGEST, &made.proof),
    };
    let body = Body {
        masked_vector: y_bytes.to_vec(),
        key_ciphertext: made.c,
        matrix: made.k,
        proof: made.proof,
        shares,
    };
    Ok(Contribution {
        header: Signed::sign(content, keys.identity()),
        body,
    })
}

/// A witness of field elements, which nothing keeps within bounds.
fn forgery(round: &Round, x: &[i64], r: &Scalar, masked: Option<&Masked>) -> Forgery {
    let layout = round.layout();
    let columns = usize::try_from(layout.columns).unwrap_or(usize::MAX);
    let padded = |values: &mut Vec<Fe>, rows: u32, entries: &mut dyn Iterator<Item = Fe>| {
        let end = values.len() + columns * usize::try_from(rows).unwrap_or(usize::MAX);
        values.extend(entries);
        values.resize(end, Fe::ZERO);
    };
    let mut values = Vec::new();
    padded(
        &mut values,
        layout.x_rows,
        &mut x.iter().map(|v| Fe::from_i64(*v)),
    );
    let mut y = Vec::new();
    if let (Some(masked), Some(constants)) = (masked, layout.masked_constants()) {
        padded(
            &mut values,
            constants.e_rows,
            &mut masked.masked.noise.iter().map(|v| Fe::from_i128(*v)),
        );
        padded(
            &mut values,
            constants.s_rows,
            &mut masked.key.iter().map(|v| Fe::from_i64(*v)),
        );
        let e = slack_bits(
            constants.e_bound,
            masked.masked.noise.iter().copied(),
            constants.e_slack_bits,
        );
        let s = slack_bits(
            constants.s_bound.into(),
            masked.key.iter().map(|v| i128::from(*v)),
            constants.s_slack_bits,
        );
        padded(
            &mut values,
            constants.r_rows,
            &mut e.into_iter().chain(s).map(Fe::from_u64),
        );
        y = masked.masked.y.clone();
    }
    Forgery::new(round, values, r, y)
}

/// The lowest `count` bits of bound^2 minus the squared norm, low first.
fn slack_bits(bound: u128, values: impl Iterator<Item = i128>, count: u32) -> Vec<u64> {
    let norm: BigInt = values.map(|v| BigInt::from(v).pow(2)).sum();
    let slack = BigInt::from(bound).pow(2) - norm;
    (0..count).map(|i| u64::from(slack.bit(i.into()))).collect()
}

/// As [`HeaderContent::matrix_digest`], before there is a header.
fn matrix_digest(row_root: &Digest, other_rows: &Digest) -> Digest {
    veilsum::crypto::Hasher::new(labels::MATRIX_DIGEST)
        .update(&row_root.0)
        .update(&other_rows.0)
        .finish()
}

/// Key, noise and masked vector of masked mode.
struct Masked {
    key: rlwe::SecretVec<i64>,
    masked: rlwe::Masked,
    packed: Vec<u8>,
}

impl Masked {
    fn draw(
        round: &Round,
        x: &[i64],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Option<Self>, ForgeError> {
        let Some(ring) = round.masking() else {
            return Ok(None);
        };
        let degree = usize::try_from(RING_DEGREE).unwrap_or(usize::MAX);
        let key = rlwe::sample_key(degree, rng);
        let seed = rlwe::Seed::random(rng);
        let masked = ring
            .masking()
            .mask(&key, x, &seed)
            .map_err(ProofError::from)?;
        let packed = ring
            .layout
            .pack_masked(&masked.y)
            .map_err(ProofError::from)?;
        Ok(Some(Self {
            key,
            masked,
            packed,
        }))
    }
}
