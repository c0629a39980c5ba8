use crate::contribution::{check_proof, decode_body};
use crate::light::{centred, generators};
use crate::record::Bytes;
use crate::{
    Blame, Check, Evidence, EvidenceKind, MemberStatement, Refusal, RoundContext, ServerStatement,
    Verdict, check_header, check_header_content, judge_complaint,
};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_TABLE;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, VartimeMultiscalarMul};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use veilsum_crypto::{Digest, Family, feldman, labels, merkle};
use veilsum_params::{ClientId, MemberIndex, RoundParams};
use veilsum_proof::{Prepared, ProofError, Round};
use veilsum_wire::{
    Header, HeaderContent, Proposal, ReceiptContent, ResultContent, RevealContent, RoundResult,
    RowLeaf, RowsContent, Signed, UnmaskContent, convicted_digest, params_digest, proposal_root,
    result_vector_digest, row_leaves, row_values_digest, slice_rows,
};

/// Who is convicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Culprit {
    /// A client, for its contribution or as a dealer.
    Client(ClientId),
    /// A member.
    Member {
        /// Its evaluation point.
        index: MemberIndex,
        /// The client behind it.
        client: ClientId,
    },
    /// The server.
    Server,
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => client.fmt(f),
            Self::Member { index, client } => write!(f, "{index} ({client})"),
            Self::Server => f.write_str("the server"),
        }
    }
}

/// What evidence proves, after every signature and statement in it was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conviction {
    /// What was done.
    pub kind: EvidenceKind,
    /// By whom.
    pub culprit: Culprit,
    /// The check that shows it.
    pub check: Check,
}

/// Why evidence does not convict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// It shows nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The tables that the proof's verifier needs could not be made.
    #[error(transparent)]
    Tables(#[from] ProofError),
}

impl From<Check> for JudgeError {
    fn from(check: Check) -> Self {
        Self::Refused(check.into())
    }
}

type Judgement = Result<Conviction, JudgeError>;

/// Judges evidence with nothing but the round's parameters and roster. It convicts only what an honest party never
/// signs, whatever everybody else does; each kind says below why.
///
/// # Errors
/// [`JudgeError::Refused`] when it does not convict.
pub fn judge(ctx: &RoundContext, evidence: &Evidence) -> Judgement {
    judge_with(ctx, None, evidence)
}

/// As [`judge`] for a caller that has the proof's tables of this round already.
///
/// # Errors
/// As [`judge`].
pub fn judge_with(ctx: &RoundContext, round: Option<&Round>, evidence: &Evidence) -> Judgement {
    match evidence {
        Evidence::InvalidHeader { header } => invalid_header(ctx, header),
        Evidence::InvalidProof { header, body } => invalid_proof(ctx, round, header, body),
        Evidence::BadShare { header, complaint } => {
            // The dealer signed the header, whose root binds the ciphertext, and D is proved: see `judge_complaint`. The
            // complaint's own root does not matter for what the dealer did.
            check_header(ctx, header)?;
            match judge_complaint(ctx, &complaint.content.root, &header.content, complaint) {
                Verdict::Counts(dealer) => convict(Check::DealtShare, Culprit::Client(dealer)),
                Verdict::False { .. } => Err(Check::EvidenceContent.into()),
                Verdict::NotApplicable(check) => Err(check.into()),
            }
        }
        Evidence::FalseComplaint { header, complaint } => {
            // An honest member complains only about headers that pass the common check, so nothing follows from others.
            check_header_content(ctx, &header.content)?;
            match judge_complaint(ctx, &complaint.content.root, &header.content, complaint) {
                Verdict::False { check, .. } => {
                    convict(check, member(ctx, complaint.content.member)?)
                }
                Verdict::Counts(_) => Err(Check::EvidenceContent.into()),
                Verdict::NotApplicable(check) => Err(check.into()),
            }
        }
        Evidence::BadUnmask { unmask, headers } => bad_unmask(ctx, unmask, headers),
        Evidence::BadReveal { reveal, header } => bad_reveal(ctx, reveal, &header.content),
        Evidence::ClientEquivocation {
            first,
            second,
            other_params,
        } => client_equivocation(ctx, first, second, other_params),
        Evidence::MemberEquivocation {
            first,
            second,
            other_params,
        } => member_equivocation(ctx, first, second, other_params),
        Evidence::ServerEquivocation {
            first,
            second,
            other_params,
        } => server_equivocation(ctx, first, second, other_params),
        Evidence::ReceiptWithoutInclusion { receipt, proposal } => {
            receipt_without_inclusion(ctx, receipt, proposal)
        }
        Evidence::ReceiptForInvalid {
            receipt,
            header,
            body,
        } => receipt_for_invalid(ctx, round, receipt, &header.content, body),
        Evidence::WrongSecret { result, headers } => wrong_secret(ctx, result, headers),
        Evidence::WrongVector {
            result,
            headers,
            rows,
        } => wrong_vector(ctx, result, headers, rows),
        Evidence::WrongRowSum {
            signed,
            slice,
            convicted,
            headers,
            leaves,
        } => wrong_row_sum(ctx, signed, *slice, convicted, headers, leaves),
    }
}

fn convict(check: Check, culprit: Culprit) -> Judgement {
    let kind = check.info().evidence.ok_or(Check::EvidenceContent)?;
    Ok(Conviction {
        kind,
        culprit,
        check,
    })
}

fn member(ctx: &RoundContext, index: MemberIndex) -> Result<Culprit, Refusal> {
    let (client, _) = ctx.member(index).ok_or(Check::EvidenceContent)?;
    Ok(Culprit::Member { index, client })
}

fn require(holds: bool) -> Result<(), JudgeError> {
    if holds {
        Ok(())
    } else {
        Err(Check::EvidenceContent.into())
    }
}

fn signed_by_member<T: veilsum_wire::Content>(
    ctx: &RoundContext,
    index: MemberIndex,
    signed: &Signed<T>,
) -> Result<Culprit, Refusal> {
    let (_, key) = ctx.member(index).ok_or(Check::EvidenceContent)?;
    signed.verify(key).map_err(|_| Check::EvidenceSignature)?;
    member(ctx, index)
}

fn signed_by_server<T: veilsum_wire::Content>(
    ctx: &RoundContext,
    signed: &Signed<T>,
) -> Result<(), Refusal> {
    signed
        .verify(ctx.server_key())
        .map(|_| ())
        .map_err(|_| Check::EvidenceSignature.into())
}

/// Runs `check` with the caller's tables or with tables made for this once.
fn with_tables<T>(
    ctx: &RoundContext,
    round: Option<&Round>,
    check: impl FnOnce(&Round) -> T,
) -> Result<T, JudgeError> {
    if let Some(round) = round {
        return Ok(check(round));
    }
    let prepared = Arc::new(Prepared::new(ctx.layout())?);
    Ok(check(&Round::new(prepared, *ctx.digest())?))
}

/// An honest client signs only headers that pass; params, cohort and signature come first and speak against nobody.
fn invalid_header(ctx: &RoundContext, header: &Header) -> Judgement {
    blame_client(check_header(ctx, header), header.content.client)
}

fn blame_client(outcome: Result<(), Refusal>, client: ClientId) -> Judgement {
    match outcome {
        Err(refusal) if refusal.check.info().blame == Blame::Client => {
            convict(refusal.check, Culprit::Client(client))
        }
        Err(refusal) => Err(refusal.into()),
        Ok(()) => Err(Check::EvidenceContent.into()),
    }
}

/// The header signs digests of the whole body, and an honest client's body verifies: the proof is complete. A body with
/// other digests shows nothing.
fn invalid_proof(
    ctx: &RoundContext,
    round: Option<&Round>,
    header: &Header,
    body: &Bytes,
) -> Judgement {
    check_header(ctx, header)?;
    let body = decode_body(ctx, &body.0)?;
    let outcome = with_tables(ctx, round, |round| {
        check_proof(ctx, round, &header.content, &body)
    })?;
    blame_client(outcome, header.content.client)
}

/// The headers of U, bound by a root that the accused signed: for an honest signer they are the ones it checked.
fn bound_by_root<'a>(
    root: &Digest,
    headers: &'a [Header],
    convicted: &[ClientId],
) -> Result<Vec<&'a HeaderContent>, JudgeError> {
    let entries: Vec<(ClientId, Digest)> = headers
        .iter()
        .map(|h| (h.content.client, h.content.digest()))
        .collect();
    require(proposal_root(&entries) == *root)?;
    // Whoever wrote the file chose both lengths.
    let convicted: BTreeSet<ClientId> = convicted.iter().copied().collect();
    Ok(headers
        .iter()
        .map(|h| &h.content)
        .filter(|h| !convicted.contains(&h.client))
        .collect())
}

/// An honest member sums shares that it checked against the headers under the root that it signed, over exactly U minus
/// the list that it signed with the sum.
fn bad_unmask(ctx: &RoundContext, unmask: &Signed<UnmaskContent>, headers: &[Header]) -> Judgement {
    let content = &unmask.content;
    require(content.params_digest == *ctx.digest())?;
    let culprit = signed_by_member(ctx, content.member, unmask)?;
    let summed = bound_by_root(&content.root, headers, &content.convicted)?;
    let t = usize::from(ctx.threshold());
    let mut commitments = vec![RistrettoPoint::identity(); t];
    for header in summed {
        require(header.commitments.len() == t)?;
        for (sum, commitment) in commitments.iter_mut().zip(&header.commitments) {
            *sum += commitment.point();
        }
    }
    require(
        feldman::verify_summed(&commitments, ctx.threshold(), content.member, &content.sum)
            .is_err(),
    )?;
    convict(Check::UnmaskSum, culprit)
}

/// An honest member reveals only shares that it checked against the header that it names; of a dealer whose share was bad
/// it has complained instead.
fn bad_reveal(
    ctx: &RoundContext,
    reveal: &Signed<RevealContent>,
    header: &HeaderContent,
) -> Judgement {
    let content = &reveal.content;
    require(content.params_digest == *ctx.digest() && content.header_digest == header.digest())?;
    require(header.commitments.len() == usize::from(ctx.threshold()))?;
    let culprit = signed_by_member(ctx, content.member, reveal)?;
    let verdict = feldman::verify_share(
        &header.commitments,
        ctx.threshold(),
        content.member,
        &content.share,
    );
    require(verdict.is_err())?;
    convict(Check::RevealShare, culprit)
}

/// Other parameters of the same round: the same round id and server. A party signs for the first ones only.
fn others<'a>(
    ctx: &RoundContext,
    params: &'a [RoundParams],
) -> Result<Option<(Digest, &'a RoundParams)>, JudgeError> {
    match params {
        [] => Ok(None),
        [other] => {
            let digest = params_digest(other);
            let own = ctx.params();
            require(
                other.round_id == own.round_id
                    && other.server_key == own.server_key
                    && digest != *ctx.digest(),
            )?;
            Ok(Some((digest, other)))
        }
        _ => Err(Check::EvidenceContent.into()),
    }
}

/// An honest client makes one header for a round id, stores it before it sends it, and afterwards only resends it (A7).
fn client_equivocation(
    ctx: &RoundContext,
    first: &Header,
    second: &Header,
    params: &[RoundParams],
) -> Judgement {
    let other = others(ctx, params)?;
    let (a, b) = (&first.content, &second.content);
    let second_digest = other.map_or(*ctx.digest(), |(digest, _)| digest);
    require(
        a.client == b.client
            && a != b
            && a.params_digest == *ctx.digest()
            && b.params_digest == second_digest,
    )?;
    let identity = ctx.identity(a.client).ok_or(Check::EvidenceContent)?;
    for header in [first, second] {
        header
            .verify(identity)
            .map_err(|_| Check::EvidenceSignature)?;
    }
    convict(Check::ContributionDuplicate, Culprit::Client(a.client))
}

impl MemberStatement {
    fn params_digest(&self) -> &Digest {
        match self {
            Self::Endorse { signed } => &signed.content.params_digest,
            Self::Unmask { signed } => &signed.content.params_digest,
            Self::Final { signed } => &signed.content.params_digest,
        }
    }
    /// Whose statement it is.
    pub(crate) fn member(&self) -> MemberIndex {
        match self {
            Self::Endorse { signed } => signed.content.member,
            Self::Unmask { signed } => signed.content.member,
            Self::Final { signed } => signed.content.member,
        }
    }
    /// The check that a statement fails that excludes another one of the same member.
    pub(crate) fn check(&self) -> Check {
        match self {
            Self::Endorse { .. } => Check::EndorseEquivocation,
            Self::Unmask { .. } => Check::UnmaskEquivocation,
            Self::Final { .. } => Check::FinalEquivocation,
        }
    }
    fn verify(&self, key: &veilsum_crypto::VerifyingKey) -> bool {
        match self {
            Self::Endorse { signed } => signed.verify(key).is_ok(),
            Self::Unmask { signed } => signed.verify(key).is_ok(),
            Self::Final { signed } => signed.verify(key).is_ok(),
        }
    }
    /// Whether an honest member never signs both in one round of the same parameters: it endorses one root, unmasks once
    /// and only that root, signs one Final. Endorsements of one root with other complaints are no equivocation, nor is
    /// a Final for a root beside an endorsement of another (the Final rests on a certificate alone).
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Endorse { signed: a }, Self::Endorse { signed: b }) => {
                a.content.root != b.content.root
            }
            (Self::Unmask { signed: a }, Self::Unmask { signed: b }) => a.content != b.content,
            (Self::Final { signed: a }, Self::Final { signed: b }) => a.content != b.content,
            (Self::Endorse { signed: a }, Self::Unmask { signed: b })
            | (Self::Unmask { signed: b }, Self::Endorse { signed: a }) => {
                a.content.root != b.content.root
            }
            (Self::Final { .. }, _) | (_, Self::Final { .. }) => false,
        }
    }
}

/// Statements of one member, stored before they were sent; see `excludes`. With other parameters the place on the
/// committee may be another, so the client behind it is what counts.
fn member_equivocation(
    ctx: &RoundContext,
    first: &MemberStatement,
    second: &MemberStatement,
    params: &[RoundParams],
) -> Judgement {
    let other = others(ctx, params)?;
    let culprit = member(ctx, first.member())?;
    let (client, identity) = ctx.member(first.member()).ok_or(Check::EvidenceContent)?;
    require(first.params_digest() == ctx.digest())?;
    match other {
        None => {
            require(second.params_digest() == ctx.digest() && second.member() == first.member())?;
            require(first.excludes(second))?;
        }
        Some((digest, params)) => {
            require(*second.params_digest() == digest)?;
            require(
                params
                    .member(second.member())
                    .is_some_and(|slot| slot.client == client),
            )?;
        }
    }
    if !first.verify(identity) || !second.verify(identity) {
        return Err(Check::EvidenceSignature.into());
    }
    convict(second.check(), culprit)
}

impl ServerStatement {
    fn params_digest(&self) -> &Digest {
        match self {
            Self::Announcement { signed } => &signed.content.params_digest,
            Self::Proposal { signed } => &signed.content.params_digest,
            Self::Convicted { signed } => &signed.content.params_digest,
            Self::Result { signed } => &signed.content.params_digest,
            Self::Void { signed } => &signed.content.params_digest,
        }
    }
    fn verify(&self, ctx: &RoundContext) -> Result<(), Refusal> {
        match self {
            Self::Announcement { signed } => signed_by_server(ctx, signed),
            Self::Proposal { signed } => signed_by_server(ctx, signed),
            Self::Convicted { signed } => signed_by_server(ctx, signed),
            Self::Result { signed } => signed_by_server(ctx, signed),
            Self::Void { signed } => signed_by_server(ctx, signed),
        }
    }
    /// The check that fails when an honest server never signs both for one parameter set: it has one proposal, one fixed
    /// list and one result, the list for the proposal's root and the result for both. Its lists of convicted
    /// dealers may grow and are not among these statements; the fixed list may not.
    pub(crate) fn excludes(&self, other: &Self) -> Option<Check> {
        let (differ, check) = match (self, other) {
            (Self::Proposal { signed: a }, Self::Proposal { signed: b }) => {
                (a.content != b.content, Check::ProposalEquivocation)
            }
            (Self::Convicted { signed: a }, Self::Convicted { signed: b }) => {
                (a.content != b.content, Check::ConvictedEquivocation)
            }
            (Self::Result { signed: a }, Self::Result { signed: b }) => {
                (a.content != b.content, Check::ResultEquivocation)
            }
            // What is fixed and published is over the one proposal, and without the one list.
            (Self::Proposal { signed: a }, Self::Convicted { signed: b })
            | (Self::Convicted { signed: b }, Self::Proposal { signed: a }) => (
                a.content.root != b.content.root,
                Check::ProposalEquivocation,
            ),
            (Self::Proposal { signed: a }, Self::Result { signed: b })
            | (Self::Result { signed: b }, Self::Proposal { signed: a }) => (
                a.content.root != b.content.root,
                Check::ProposalEquivocation,
            ),
            (Self::Convicted { signed: a }, Self::Result { signed: b })
            | (Self::Result { signed: b }, Self::Convicted { signed: a }) => (
                a.content.root != b.content.root || a.content.convicted != b.content.convicted,
                Check::ConvictedEquivocation,
            ),
            (Self::Void { .. }, Self::Convicted { .. } | Self::Result { .. })
            | (Self::Convicted { .. } | Self::Result { .. }, Self::Void { .. }) => {
                (true, Check::VoidEquivocation)
            }
            _ => (false, Check::EvidenceContent),
        };
        differ.then_some(check)
    }
}

/// An honest server signs for one parameter set in a round id, and in it one proposal, one fixed list, one result, or
/// that the round is void. An announcement names its round id itself.
fn server_equivocation(
    ctx: &RoundContext,
    first: &ServerStatement,
    second: &ServerStatement,
    params: &[RoundParams],
) -> Judgement {
    let other = others(ctx, params)?;
    // Of two announcements the accuser may have seen the other one first.
    let announced = matches!(
        (first, second),
        (
            ServerStatement::Announcement { .. },
            ServerStatement::Announcement { .. }
        )
    );
    require(
        first.params_digest() == ctx.digest()
            || announced && second.params_digest() == ctx.digest(),
    )?;
    let round_id = ctx.params().round_id;
    let check = match (first, second, other) {
        (
            ServerStatement::Announcement { signed: a },
            ServerStatement::Announcement { signed: b },
            _,
        ) => {
            require(
                a.content.round_id == round_id
                    && b.content.round_id == round_id
                    && a.content != b.content,
            )?;
            Check::AnnouncementOther
        }
        (_, _, None) => {
            require(second.params_digest() == ctx.digest())?;
            first.excludes(second).ok_or(Check::EvidenceContent)?
        }
        (_, _, Some((digest, _))) => {
            require(*second.params_digest() == digest)?;
            Check::AnnouncementOther
        }
    };
    first.verify(ctx)?;
    second.verify(ctx)?;
    convict(check, Culprit::Server)
}

/// All receipted contributions are durable when U is fixed, and go into it; afterwards no receipt is issued (A16).
fn receipt_without_inclusion(
    ctx: &RoundContext,
    receipt: &Signed<ReceiptContent>,
    proposal: &Proposal,
) -> Judgement {
    let (given, proposed) = (&receipt.content, &proposal.signed.content);
    require(given.params_digest == *ctx.digest() && proposed.params_digest == *ctx.digest())?;
    require(proposal_root(&proposal.entries) == proposed.root)?;
    require(
        !proposal
            .entries
            .contains(&(given.client, given.header_digest)),
    )?;
    signed_by_server(ctx, receipt)?;
    signed_by_server(ctx, &proposal.signed)?;
    convict(Check::ReceiptInclusion, Culprit::Server)
}

/// The server signs a receipt after it verified. The receipt binds the header's content, which binds the body. The
/// client's signature is outside the digest, so a bad one shows nothing and is not looked at.
fn receipt_for_invalid(
    ctx: &RoundContext,
    round: Option<&Round>,
    receipt: &Signed<ReceiptContent>,
    header: &HeaderContent,
    body: &Bytes,
) -> Judgement {
    require(
        receipt.content.params_digest == *ctx.digest()
            && receipt.content.header_digest == header.digest(),
    )?;
    signed_by_server(ctx, receipt)?;
    let guilty = |check| {
        Ok(Conviction {
            kind: EvidenceKind::ReceiptForInvalid,
            culprit: Culprit::Server,
            check,
        })
    };
    if let Err(refusal) = check_header_content(ctx, header) {
        return guilty(refusal.check);
    }
    let body = decode_body(ctx, &body.0)?;
    match with_tables(ctx, round, |round| check_proof(ctx, round, header, &body))? {
        Err(refusal) if refusal.check.info().blame == Blame::Client => guilty(refusal.check),
        Err(refusal) => Err(refusal.into()),
        Ok(()) => Err(Check::EvidenceContent.into()),
    }
}

/// An honest server publishes R only when R B is the sum of F_0 over the headers under its root.
fn wrong_secret(
    ctx: &RoundContext,
    result: &Signed<ResultContent>,
    headers: &[Header],
) -> Judgement {
    let content = &result.content;
    require(content.params_digest == *ctx.digest())?;
    signed_by_server(ctx, result)?;
    let summed = bound_by_root(&content.root, headers, &content.convicted)?;
    let sum: RistrettoPoint = summed
        .iter()
        .filter_map(|h| h.commitments.first())
        .map(|f| f.point())
        .sum();
    require(RISTRETTO_BASEPOINT_TABLE * &content.r_sum != sum)?;
    convict(Check::SumCommitment, Culprit::Server)
}

/// The proofs that an honest server verified tie the X-rows to what it opens; rows that it never verified cannot stand
/// under its root. Every row is compared by itself, so there are no weights that a server could solve for (A4).
fn wrong_vector(
    ctx: &RoundContext,
    result: &RoundResult,
    headers: &[Header],
    rows: &[Vec<[u8; 32]>],
) -> Judgement {
    let (content, layout) = (&result.signed.content, ctx.layout());
    require(
        content.params_digest == *ctx.digest()
            && content.vector_digest == result_vector_digest(&result.vector),
    )?;
    signed_by_server(ctx, &result.signed)?;
    if result.vector.len() != layout.dim as usize {
        return Ok(Conviction {
            kind: EvidenceKind::WrongResult,
            culprit: Culprit::Server,
            check: Check::ResultContent,
        });
    }
    let summed = bound_by_root(&content.root, headers, &content.convicted)?;
    require(summed.len() == rows.len())?;
    let mut sums = vec![RistrettoPoint::identity(); layout.x_rows as usize];
    for (header, rows) in summed.iter().zip(rows) {
        require(rows.len() == sums.len())?;
        let leaves = row_leaves(layout, ctx.members().into(), rows);
        require(merkle::root(labels::ROW_TREE, &leaves) == header.row_root)?;
        add_rows(&mut sums, rows)?;
    }
    require(first_wrong_row(ctx, &sums, &content.r_sum, &result.vector).is_some())?;
    convict(Check::LightSum, Culprit::Server)
}

/// The first summed X-row that does not open to its part of the vector under R, each compared by itself.
pub fn first_wrong_row(
    ctx: &RoundContext,
    sums: &[RistrettoPoint],
    r_sum: &Scalar,
    vector: &[i64],
) -> Option<usize> {
    let layout = ctx.layout();
    let columns = generators(Family::Column, layout.columns);
    let blinding = generators(Family::Row, layout.x_rows);
    let opens = |((sum, v), row): ((&RistrettoPoint, &RistrettoPoint), &[i64])| {
        let scalars = row.iter().map(|x| centred(*x)).chain([*r_sum]);
        let points = columns.iter().take(row.len()).chain([v]);
        RistrettoPoint::vartime_multiscalar_mul(
            scalars.collect::<Vec<Scalar>>(),
            points.collect::<Vec<_>>(),
        ) == *sum
    };
    sums.par_iter()
        .zip(&blinding)
        .zip(vector.par_chunks(layout.columns as usize))
        .position_first(|row| !opens(row))
}

fn add_rows(sums: &mut [RistrettoPoint], rows: &[[u8; 32]]) -> Result<(), JudgeError> {
    for (sum, row) in sums.iter_mut().zip(rows) {
        *sum += CompressedRistretto(*row)
            .decompress()
            .ok_or(Check::EvidenceContent)?;
    }
    Ok(())
}

/// Sums of rows are a public function of root and Conv, and an honest member signs only sums of rows that it checked
/// against the row roots of the headers under that root. Rows that are no points it does not sum, so those show nothing.
fn wrong_row_sum(
    ctx: &RoundContext,
    signed: &Signed<RowsContent>,
    slice: u16,
    convicted: &[ClientId],
    headers: &[Header],
    leaves: &[RowLeaf],
) -> Judgement {
    let content = &signed.content;
    require(
        content.params_digest == *ctx.digest() && content.convicted == convicted_digest(convicted),
    )?;
    let culprit = signed_by_member(ctx, content.member, signed)?;
    let claimed: Vec<&Digest> = content
        .slices
        .iter()
        .filter(|(s, _)| *s == slice)
        .map(|(_, d)| d)
        .collect();
    require(slice < ctx.members() && !claimed.is_empty())?;
    let summed = bound_by_root(&content.root, headers, convicted)?;
    require(summed.len() == leaves.len())?;
    let m = ctx.members();
    let mut sums =
        vec![RistrettoPoint::identity(); slice_rows(ctx.layout(), m.into(), slice.into()).len()];
    for (header, leaf) in summed.iter().zip(leaves) {
        require(leaf.rows.len() == sums.len())?;
        let data = leaf.rows.as_flattened();
        let path = merkle::verify(
            labels::ROW_TREE,
            &header.row_root,
            slice.into(),
            m.into(),
            data,
            &leaf.path,
        );
        path.map_err(|_| Check::RowsRequestPath)?;
        add_rows(&mut sums, &leaf.rows)?;
    }
    let values: Vec<[u8; 32]> = sums.iter().map(|p| p.compress().to_bytes()).collect();
    let right = row_values_digest(&values);
    require(claimed.iter().any(|digest| **digest != right))?;
    convict(Check::RowsValue, culprit)
}
