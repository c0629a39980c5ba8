use crate::{Check, Refusal, RoundContext, check_header};
use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRngCore;
use rayon::prelude::*;
use std::convert::Infallible;
use thiserror::Error;
use veilsum_crypto::{CryptoError, Digest, EphemeralSecret, IdentityKey, feldman, labels, merkle};
use veilsum_params::{ClientId, Layout, MemberIndex, UploadSizes};
use veilsum_proof::{
    Challenge, Context, ContributeError, Decoded, MaskedWitness, ProofCheck, ProofError, Round,
    Statement, Witness, challenges, contribute, phase, verify_batch_decoding, verify_decoding,
};
use veilsum_rlwe::{Limbs, MaskError, SecretVec, Seed, masking::norm_squared, sample_key};
use veilsum_wire::{
    Body, BodyDigests, Contribution, Header, HeaderContent, RowLeaf, ShareLeaf, Signed,
    matrix_roots, row_leaves, share_leaves, slice_rows,
};
use zeroize::Zeroizing;

/// Key and noise are drawn again this often before the source of randomness is blamed; one draw fails with probability
/// far below 1/2.
const REDRAWS_MAX: u32 = 64;

/// A contribution whose header, digests and proof were verified. Only verification makes one.
#[derive(Clone, Debug)]
pub struct VerifiedContribution {
    header: Header,
    header_digest: Digest,
    body: Body,
    x_rows: usize,
    /// The points that verification decoded.
    decoded: Option<Box<Decoded>>,
}

impl VerifiedContribution {
    /// The signed header.
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// Digest of the header's content.
    pub fn header_digest(&self) -> &Digest {
        &self.header_digest
    }
    /// The contributing client.
    pub fn client(&self) -> ClientId {
        self.header.content.client
    }
    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }
    /// The compressed X-rows of K.
    pub fn x_rows(&self) -> &[[u8; 32]] {
        self.body.matrix.get(..self.x_rows).unwrap_or_default()
    }
    /// The decoded points of C and of the X-rows, if verification left them: 160 bytes for each, so they should not be kept
    /// for long.
    pub(crate) fn decoded(&self) -> Option<&Decoded> {
        self.decoded.as_deref()
    }
    /// Header and body.
    pub fn into_parts(self) -> (Header, Body) {
        (self.header, self.body)
    }
}

/// One member's encrypted share of a body with its path to the share root; `None` for an index outside the committee.
pub fn share_leaf(body: &Body, index: MemberIndex) -> Option<ShareLeaf> {
    let slot = index.slot()?;
    let ciphertext = *body.shares.get(slot)?;
    let path = merkle::path(labels::SHARE_TREE, &share_leaves(&body.shares), slot);
    Some(ShareLeaf { ciphertext, path })
}

/// The rows of slice `slice` of m of a matrix that begins with the X-rows, with their path to the row root. No rows and
/// no path for a slice that there is not.
pub fn row_leaf(ctx: &RoundContext, matrix: &[[u8; 32]], slice: u16) -> RowLeaf {
    let m = u32::from(ctx.members());
    if slice >= ctx.members() {
        return RowLeaf {
            rows: Vec::new(),
            path: Vec::new(),
        };
    }
    let rows = matrix
        .get(slice_rows(ctx.layout(), m, slice.into()))
        .unwrap_or_default()
        .to_vec();
    let path = merkle::path(
        labels::ROW_TREE,
        &row_leaves(ctx.layout(), m, matrix),
        slice.into(),
    );
    RowLeaf { rows, path }
}

/// Reads a body; its length follows from the parameters and is checked before anything is allocated.
///
/// # Errors
/// `body.length`.
pub fn decode_body(ctx: &RoundContext, bytes: &[u8]) -> Result<Body, Refusal> {
    Body::from_bytes(bytes, ctx.params(), ctx.layout()).map_err(|_| Check::BodyLength.into())
}

/// Recomputes both roots and all digests of a body and compares them with what the header states.
///
/// # Errors
/// `body.*`. They speak against nobody: anybody can put another body beside a header.
pub fn check_body(ctx: &RoundContext, header: &HeaderContent, body: &Body) -> Result<(), Refusal> {
    let params = ctx.params();
    let sizes = UploadSizes::of(
        ctx.layout(),
        params.committee_size(),
        params.threshold.into(),
    );
    let parts = [
        (body.masked_vector.len(), sizes.masked_vector),
        (32 * body.key_ciphertext.len(), sizes.key_ciphertext),
        (32 * body.matrix.len(), sizes.matrix_commitment),
        (body.proof.len(), sizes.proof),
        (body.shares.as_flattened().len(), sizes.shares),
    ];
    if parts.iter().any(|(got, want)| *got as u64 != *want) {
        return Err(Check::BodyLength.into());
    }
    check_digests(header, &body.digests(params, ctx.layout()))
}

/// Compares roots and digests of a body, however they were computed, with what the header states.
///
/// # Errors
/// As [`check_body`], but for the lengths.
pub fn check_digests(header: &HeaderContent, got: &BodyDigests) -> Result<(), Refusal> {
    let want = BodyDigests::stated(header);
    let pairs = [
        (got.share_root, want.share_root, Check::BodyShareRoot),
        (got.row_root, want.row_root, Check::BodyRowRoot),
        (got.other_rows, want.other_rows, Check::BodyOtherRows),
        (
            got.masked_vector,
            want.masked_vector,
            Check::BodyMaskedVector,
        ),
        (
            got.key_ciphertext,
            want.key_ciphertext,
            Check::BodyKeyCiphertext,
        ),
        (got.proof, want.proof, Check::BodyProof),
    ];
    match pairs.iter().find(|(got, want, _)| got != want) {
        Some((_, _, check)) => Err((*check).into()),
        None => Ok(()),
    }
}

/// The proof's context that a header states.
fn proof_context(header: &HeaderContent) -> Context {
    Context {
        client: header.client,
        commitments: header.commitments.clone(),
        ephemeral: header.ephemeral,
        share_root: header.share_root,
        row_root: header.row_root,
        y_digest: header.masked_vector,
        c_digest: header.key_ciphertext,
        k_digest: header.matrix_digest(),
    }
}

/// The challenges of a contribution's proof in transcript order, whether it holds or not (`specs/proof.md`).
///
/// # Errors
/// `proof.length`, `proof.scalar-encoding`.
pub fn proof_challenges(
    layout: &Layout,
    header: &HeaderContent,
    proof: &[u8],
) -> Result<Vec<Challenge>, ProofCheck> {
    let context = proof_context(header);
    challenges(layout, &header.params_digest, &context, &header.f_z, proof)
}

/// Unpacks y strictly; nothing in direct mode.
pub(crate) fn unpack_masked(round: &Round, bytes: &[u8]) -> Option<Vec<Limbs>> {
    match round.masking() {
        None => Some(Vec::new()),
        Some(ring) => ring.layout.unpack_masked(bytes).ok(),
    }
}

/// Everything but the proof: header, lengths, digests, y.
struct Prechecked {
    context: Context,
    y: Vec<Limbs>,
}

fn precheck(
    ctx: &RoundContext,
    round: &Round,
    header: &HeaderContent,
    body: &Body,
) -> Result<Prechecked, Refusal> {
    // A round of other parameters would verify another statement.
    if round.params_digest() != ctx.digest() || round.layout() != ctx.layout() {
        return Err(Check::HeaderParams.into());
    }
    phase!("digests", check_body(ctx, header, body)?);
    // Layouts leave no spare bits (`specs/parameters.md`): every string of the right length is some y.
    let y =
        phase!("unpacking", unpack_masked(round, &body.masked_vector)).ok_or(Check::BodyLength)?;
    Ok(Prechecked {
        context: proof_context(header),
        y,
    })
}

fn statement<'a>(header: &'a HeaderContent, body: &'a Body, pre: &'a Prechecked) -> Statement<'a> {
    Statement {
        context: &pre.context,
        f_z: &header.f_z,
        y: &pre.y,
        c: &body.key_ciphertext,
        k: &body.matrix,
        proof: &body.proof,
    }
}

fn verified(
    ctx: &RoundContext,
    header: Header,
    body: Body,
    decoded: Option<Box<Decoded>>,
) -> VerifiedContribution {
    VerifiedContribution {
        header_digest: header.content.digest(),
        header,
        body,
        x_rows: ctx.layout().x_rows as usize,
        decoded,
    }
}

/// Checks body and proof against a header that passed [`check_header`]; what evidence rests on.
pub(crate) fn check_proof(
    ctx: &RoundContext,
    round: &Round,
    header: &HeaderContent,
    body: &Body,
) -> Result<(), Refusal> {
    check_proof_decoding(ctx, round, header, body).map(drop)
}

/// As [`check_proof`]; gives the points that are summed.
fn check_proof_decoding(
    ctx: &RoundContext,
    round: &Round,
    header: &HeaderContent,
    body: &Body,
) -> Result<Decoded, Refusal> {
    let pre = precheck(ctx, round, header, body)?;
    verify_decoding(round, &statement(header, body, &pre)).map_err(|check| Refusal {
        check: Check::Proof(check),
        culprit: Some(header.client),
    })
}

/// A header that passed [`check_header`] for the round of its context.
#[derive(Clone, Debug)]
pub struct CheckedHeader(Header);

impl CheckedHeader {
    /// Checks a header.
    ///
    /// # Errors
    /// As [`check_header`].
    pub fn new(ctx: &RoundContext, header: Header) -> Result<Self, Refusal> {
        phase!("header", check_header(ctx, &header)?);
        Ok(Self(header))
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.0
    }
}

/// Verifies one contribution: header, digests of the body, the packed y, the proof. Deterministic.
///
/// # Errors
/// The first check that fails. With blame [`crate::Blame::Client`] it names the client as the culprit.
pub fn verify_contribution(
    ctx: &RoundContext,
    round: &Round,
    header: Header,
    body: Body,
) -> Result<VerifiedContribution, Refusal> {
    verify_checked(ctx, round, CheckedHeader::new(ctx, header)?, body)
}

/// As [`verify_contribution`], for a header that is checked already.
///
/// # Errors
/// As [`verify_contribution`], without those of the header; `header.params` for a header of another round.
pub fn verify_checked(
    ctx: &RoundContext,
    round: &Round,
    CheckedHeader(header): CheckedHeader,
    body: Body,
) -> Result<VerifiedContribution, Refusal> {
    if header.content.params_digest != *ctx.digest() {
        return Err(Check::HeaderParams.into());
    }
    let decoded = check_proof_decoding(ctx, round, &header.content, &body)?;
    Ok(verified(ctx, header, body, Some(Box::new(decoded))))
}

/// Verifies many contributions of one round: headers and digests one by one, the proofs folded together. `seed` is fresh
/// local randomness, drawn after all contributions are there. A proof that the folded form refuses is verified by
/// itself, so that nobody is excluded but by [`verify_contribution`]'s own verdict.
pub fn verify_contributions(
    ctx: &RoundContext,
    round: &Round,
    contributions: Vec<(Header, Body)>,
    seed: &[u8; 32],
) -> Vec<Result<VerifiedContribution, Refusal>> {
    let prechecked: Vec<Result<Prechecked, Refusal>> = contributions
        .par_iter()
        .map(|(header, body)| {
            check_header(ctx, header)?;
            precheck(ctx, round, &header.content, body)
        })
        .collect();
    let statements: Vec<Statement<'_>> = contributions
        .iter()
        .zip(&prechecked)
        .filter_map(|((header, body), pre)| {
            Some(statement(&header.content, body, pre.as_ref().ok()?))
        })
        .collect();
    let mut verdicts = verify_batch_decoding(round, &statements, seed)
        .into_iter()
        .zip(&statements)
        .map(|(verdict, statement)| verdict.or_else(|_| verify_decoding(round, statement)))
        .collect::<Vec<_>>()
        .into_iter();
    drop(statements);
    let verdicts: Vec<Result<Decoded, Refusal>> = contributions
        .iter()
        .zip(prechecked)
        .map(|((header, _), pre)| {
            pre?;
            // One verdict for each statement; a missing one must not count as accepted.
            let verdict = verdicts.next().unwrap_or(Err(ProofCheck::Shape));
            verdict.map_err(|check| Refusal {
                check: Check::Proof(check),
                culprit: Some(header.content.client),
            })
        })
        .collect();
    contributions
        .into_iter()
        .zip(verdicts)
        .map(|((header, body), verdict)| {
            verdict.map(|points| verified(ctx, header, body, Some(Box::new(points))))
        })
        .collect()
}

/// Why a client could not make its contribution. Nothing was made that may be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The client was not sampled for this round.
    #[error("{client} is not in the cohort of this round; wait for another one")]
    Cohort {
        /// The client.
        client: ClientId,
    },
    /// The identity key is not the one that the roster has for the client.
    #[error(
        "the identity key is not the one that the roster has for {client}; use the registered key"
    )]
    Identity {
        /// The client.
        client: ClientId,
    },
    /// The prover's tables are those of another round.
    #[error("the prover was prepared for other parameters than those of this round")]
    Round,
    /// Key or noise exceeded their norm bounds again and again.
    #[error(
        "key and noise exceeded their bounds {REDRAWS_MAX} times in a row; check the source of randomness"
    )]
    Redraws,
    /// Sharing or encryption refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Masking refused.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// Proving refused: the update has the wrong length or too large a norm, or randomness is broken.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl From<ContributeError<Infallible>> for BuildError {
    fn from(error: ContributeError<Infallible>) -> Self {
        match error {
            ContributeError::Proof(e) => Self::Proof(e),
            ContributeError::Context(never) => match never {},
        }
    }
}

/// Key, noise and masked vector of one contribution.
struct MaskedParts {
    key: SecretVec<i64>,
    noise: SecretVec<i128>,
    y: Vec<Limbs>,
    packed: Vec<u8>,
}

/// Draws key and noise until both norms are within their bounds (`specs/protocol.md`, "Masked vector").
fn mask<R: CryptoRngCore>(
    ctx: &RoundContext,
    round: &Round,
    x: &[i64],
    draw_key: impl Fn(usize, &mut R) -> SecretVec<i64>,
    rng: &mut R,
) -> Result<Option<MaskedParts>, BuildError> {
    let (Some(constants), Some(ring)) = (ctx.layout().masked_constants(), round.masking()) else {
        return Ok(None);
    };
    let e_bound = i128::try_from(constants.e_bound).map_err(|_| BuildError::Round)?;
    let e_squared = norm_squared(&[e_bound]);
    let s_squared = constants.s_bound * constants.s_bound;
    for _ in 0..REDRAWS_MAX {
        let key = draw_key(ring.ring.degree(), rng);
        let norm: u64 = key
            .iter()
            .map(|s| s.unsigned_abs().saturating_mul(s.unsigned_abs()))
            .sum();
        if norm > s_squared {
            continue;
        }
        let masked = match ring.masking().mask(&key, x, &Seed::random(rng)) {
            Err(MaskError::Unroundable { .. }) => continue,
            other => other?,
        };
        if norm_squared(&masked.noise)
            .iter()
            .rev()
            .gt(e_squared.iter().rev())
        {
            continue;
        }
        let packed = phase!("packing", ring.layout.pack_masked(&masked.y)?);
        return Ok(Some(MaskedParts {
            key,
            noise: masked.noise,
            y: masked.y,
            packed,
        }));
    }
    Err(BuildError::Redraws)
}

/// Makes a client's contribution for one round from its integer update `x` (d coordinates, norm at most B_x). All secrets
/// are drawn here, used once and wiped. The caller stores the result before it sends it, sends only this one, and never
/// calls this again for the round or with this update (A7); [`crate::Client`] sees to that.
///
/// # Errors
/// [`BuildError`]; nothing was made then.
pub fn build_contribution(
    ctx: &RoundContext,
    round: &Round,
    client: ClientId,
    identity: &IdentityKey,
    x: &[i64],
    rng: &mut impl CryptoRngCore,
) -> Result<Contribution, BuildError> {
    build_with_key(ctx, round, client, identity, x, sample_key, rng)
}

/// As [`build_contribution`] for a client that does not draw its key s as it should: any key within the norm bound gives a
/// contribution that is accepted. For measurements and tests of what such clients cost others; such a contribution hides
/// nothing.
///
/// # Errors
/// As [`build_contribution`]; [`BuildError::Redraws`] for a key beyond the norm bound.
#[doc(hidden)]
pub fn build_with_key<R: CryptoRngCore>(
    ctx: &RoundContext,
    round: &Round,
    client: ClientId,
    identity: &IdentityKey,
    x: &[i64],
    draw_key: impl Fn(usize, &mut R) -> SecretVec<i64>,
    rng: &mut R,
) -> Result<Contribution, BuildError> {
    if round.params_digest() != ctx.digest() || round.layout() != ctx.layout() {
        return Err(BuildError::Round);
    }
    if !ctx.in_cohort(client) {
        return Err(BuildError::Cohort { client });
    }
    if ctx.identity(client) != Some(&identity.verifying_key()) {
        return Err(BuildError::Identity { client });
    }
    let (layout, digest) = (ctx.layout(), *ctx.digest());
    let r = Zeroizing::new(Scalar::random(rng));
    let (dealing, ephemeral, shares) = phase!("sharing", {
        let dealing = feldman::deal(&r, ctx.threshold(), ctx.members(), rng)?;
        let ephemeral = EphemeralSecret::generate(rng);
        let engine = round.prepared().engine();
        let keys = ctx.share_keys();
        let shares = ephemeral.encrypt_each(engine, &digest, client, keys, &dealing.shares)?;
        (dealing, ephemeral, shares)
    });
    let share_root = merkle::root(labels::SHARE_TREE, &share_leaves(&shares));
    let knowledge = ephemeral.prove(&digest, client, &dealing.commitments, &share_root, rng);
    let masked = phase!("masking", mask(ctx, round, x, draw_key, rng)?);
    let packed = masked.as_ref().map_or(&[][..], |m| &m.packed);
    // What the commitments fix is filled in for each attempt of the prover, and the proof's digest at the end.
    let mut content = HeaderContent {
        params_digest: digest,
        client,
        commitments: dealing.commitments,
        f_z: *ephemeral.public(),
        ephemeral: *ephemeral.public(),
        knowledge,
        share_root,
        row_root: Digest::default(),
        other_rows: Digest::default(),
        masked_vector: phase!("digests", Digest::of(labels::MASKED_VECTOR_DIGEST, packed)),
        key_ciphertext: Digest::default(),
        proof: Digest::default(),
    };
    let witness = Witness {
        update: x,
        r: &r,
        masked: masked.as_ref().map(|m| MaskedWitness {
            key: &m.key,
            noise: &m.noise,
            y: &m.y,
        }),
    };
    let made = contribute(
        round,
        &witness,
        |parts| {
            (content.row_root, content.other_rows) =
                matrix_roots(layout, ctx.members().into(), parts.k);
            content.key_ciphertext =
                Digest::of(labels::KEY_CIPHERTEXT_DIGEST, parts.c.as_flattened());
            Ok::<_, Infallible>(proof_context(&content))
        },
        rng,
    )?;
    content.f_z = made.f_z;
    content.proof = Digest::of(labels::PROOF_DIGEST, &made.proof);
    let body = Body {
        masked_vector: masked.map(|m| m.packed).unwrap_or_default(),
        key_ciphertext: made.c,
        matrix: made.k,
        proof: made.proof,
        shares,
    };
    Ok(Contribution {
        header: phase!("signing", Signed::sign(content, identity)),
        body,
    })
}
