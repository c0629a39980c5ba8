use crate::{Check, Refusal, RoundContext};
use curve25519_dalek::traits::IsIdentity;
use veilsum_wire::{Header, HeaderContent};

/// The one header check, used by server, members, light clients and auditors alike: what one of them accepts all accept,
/// so no header that the server stored can stop the committee (`specs/protocol.md`, "Header").
///
/// # Errors
/// The first check that fails, in the order params digest, cohort, signature, commitments, identity, knowledge. Failures
/// from `header.commitments` on speak against the client, whose signature was checked before.
pub fn check_header(ctx: &RoundContext, header: &Header) -> Result<(), Refusal> {
    let content = &header.content;
    check_place(ctx, content)?;
    let identity = ctx.identity(content.client).ok_or(Check::HeaderCohort)?;
    header
        .verify(identity)
        .map_err(|_| Check::HeaderSignature)?;
    check_dealing(ctx, content)
}

/// Everything that [`check_header`] checks but the signature: for content whose digest somebody signed.
///
/// # Errors
/// As [`check_header`].
pub fn check_header_content(ctx: &RoundContext, content: &HeaderContent) -> Result<(), Refusal> {
    check_place(ctx, content)?;
    check_dealing(ctx, content)
}

fn check_place(ctx: &RoundContext, content: &HeaderContent) -> Result<(), Refusal> {
    if content.params_digest != *ctx.digest() {
        return Err(Check::HeaderParams.into());
    }
    if !ctx.in_cohort(content.client) {
        return Err(Check::HeaderCohort.into());
    }
    Ok(())
}

fn check_dealing(ctx: &RoundContext, content: &HeaderContent) -> Result<(), Refusal> {
    let refuse = |check| Refusal {
        check,
        culprit: Some(content.client),
    };
    let f_0 = match content.commitments.first() {
        Some(f_0) if content.commitments.len() == usize::from(ctx.threshold()) => f_0,
        _ => return Err(refuse(Check::HeaderCommitments)),
    };
    if [f_0, &content.f_z, &content.ephemeral]
        .iter()
        .any(|p| p.point().is_identity())
    {
        return Err(refuse(Check::HeaderIdentity));
    }
    content
        .knowledge
        .verify(
            &content.params_digest,
            content.client,
            &content.commitments,
            &content.share_root,
            &content.ephemeral,
        )
        .map_err(|_| refuse(Check::HeaderKnowledge))
}
