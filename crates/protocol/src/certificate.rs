use crate::{Check, Refusal, RoundContext};
use veilsum_crypto::{CanonicalPoint, Digest};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{Certificate, FinalContent, Signed};

/// Whether ids are in strictly increasing order, the only order in which lists of clients are signed.
pub fn strictly_increasing(ids: &[ClientId]) -> bool {
    ids.is_sorted_by(|a, b| a < b)
}

fn at_least_threshold(ctx: &RoundContext, members: &[MemberIndex]) -> bool {
    members.len() >= usize::from(ctx.threshold()) && members.is_sorted_by(|a, b| a < b)
}

/// Checks that at least t distinct members, by strictly increasing index, endorsed `root` with `count` entries.
///
/// # Errors
/// `certificate.members`, `certificate.root`, `certificate.signature`.
pub fn check_certificate(
    ctx: &RoundContext,
    root: &Digest,
    count: u32,
    certificate: &Certificate,
) -> Result<(), Refusal> {
    let members: Vec<MemberIndex> = certificate
        .endorsements
        .iter()
        .map(|e| e.content.member)
        .collect();
    if !at_least_threshold(ctx, &members) {
        return Err(Check::CertificateMembers.into());
    }
    for endorsement in &certificate.endorsements {
        let content = &endorsement.content;
        let (client, key) = ctx
            .member(content.member)
            .ok_or(Check::CertificateMembers)?;
        if content.params_digest != *ctx.digest() || content.root != *root || content.count != count
        {
            return Err(Refusal {
                check: Check::CertificateRoot,
                culprit: Some(client),
            });
        }
        endorsement.verify(key).map_err(|_| Refusal {
            check: Check::CertificateSignature,
            culprit: None,
        })?;
    }
    Ok(())
}

/// What t equal Finals fix: everything in them but the signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalTerms {
    /// Root of the certified proposal.
    pub root: Digest,
    /// |U|.
    pub count: u32,
    /// Conv, ids strictly increasing.
    pub convicted: Vec<ClientId>,
    /// Sum of F_0 over U minus Conv.
    pub sum_f0: CanonicalPoint,
}

impl FinalTerms {
    /// The terms of one Final.
    pub fn of(content: &FinalContent) -> Self {
        Self {
            root: content.root,
            count: content.count,
            convicted: content.convicted.clone(),
            sum_f0: content.sum_f0,
        }
    }

    /// The Final of one member with these terms.
    pub fn content(&self, params_digest: Digest, member: MemberIndex) -> FinalContent {
        FinalContent {
            params_digest,
            root: self.root,
            member,
            count: self.count,
            convicted: self.convicted.clone(),
            sum_f0: self.sum_f0,
        }
    }
}

/// Checks that at least t distinct members, by strictly increasing index, signed Finals with exactly these terms.
///
/// # Errors
/// `light.finals` when there are too few or their order is wrong, `final.content`, `final.signature`.
pub fn check_finals(
    ctx: &RoundContext,
    terms: &FinalTerms,
    finals: &[Signed<FinalContent>],
) -> Result<(), Refusal> {
    let members: Vec<MemberIndex> = finals.iter().map(|f| f.content.member).collect();
    if !at_least_threshold(ctx, &members) {
        return Err(Check::LightFinals.into());
    }
    for signed in finals {
        let member = signed.content.member;
        let (client, key) = ctx.member(member).ok_or(Check::LightFinals)?;
        if signed.content != terms.content(*ctx.digest(), member) {
            return Err(Refusal {
                check: Check::FinalContent,
                culprit: Some(client),
            });
        }
        signed.verify(key).map_err(|_| Check::FinalSignature)?;
    }
    Ok(())
}
