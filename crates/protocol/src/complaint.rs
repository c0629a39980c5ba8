use crate::{Check, Refusal, RoundContext};
use rand_core::CryptoRngCore;
use veilsum_crypto::feldman::{self, SecretShare};
use veilsum_crypto::{
    CanonicalPoint, Digest, DleqProof, IdentityKey, ShareContext, ShareSecretKey,
    decrypt_share_with_point, labels, merkle,
};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{ComplaintContent, HeaderContent, ShareLeaf, Signed, complaint_binding};

/// What a complaint proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The share is bad: its dealer is convicted.
    Counts(ClientId),
    /// It fails on the very header that it names: the member that signed it is convicted.
    False {
        /// The client behind the member.
        member: ClientId,
        /// The check that failed.
        check: Check,
    },
    /// It says nothing here: another round, root or header, or nobody's signature.
    NotApplicable(Check),
}

/// Checks that a share is the one that the header commits to at this member's place. A share for which this fails is the
/// server's doing: it is neither decrypted nor complained of.
///
/// # Errors
/// `share.path`.
pub fn check_share_path(
    ctx: &RoundContext,
    header: &HeaderContent,
    index: MemberIndex,
    leaf: &ShareLeaf,
) -> Result<(), Refusal> {
    let slot = index.slot().ok_or(Check::SharePath)?;
    let count = usize::from(ctx.members());
    merkle::verify(
        labels::SHARE_TREE,
        &header.share_root,
        slot,
        count,
        &leaf.ciphertext,
        &leaf.path,
    )
    .map_err(|_| Check::SharePath.into())
}

fn share_context<'a>(
    header: &'a HeaderContent,
    index: MemberIndex,
    share_key: &'a CanonicalPoint,
) -> ShareContext<'a> {
    ShareContext {
        params_digest: &header.params_digest,
        dealer: header.client,
        index,
        ephemeral: &header.ephemeral,
        share_key,
    }
}

/// Decrypts a member's share from a header that passed [`crate::check_header`] and checks it against F.
///
/// # Errors
/// `share.path`; `share.value` when the dealer's share is bad: then the member complains ([`complain`]).
pub fn open_share(
    ctx: &RoundContext,
    header: &HeaderContent,
    index: MemberIndex,
    share_key: &ShareSecretKey,
    leaf: &ShareLeaf,
) -> Result<SecretShare, Refusal> {
    check_share_path(ctx, header, index, leaf)?;
    let bad = |_| Refusal {
        check: Check::DealtShare,
        culprit: Some(header.client),
    };
    let context = share_context(header, index, share_key.public());
    let value = share_key.decrypt(&context, &leaf.ciphertext).map_err(bad)?;
    feldman::verify_share(&header.commitments, ctx.threshold(), index, &value).map_err(bad)?;
    Ok(SecretShare::new(index, *value))
}

/// A complaint about the share in `leaf`, which [`open_share`] refused with `share.value`. Opens this one share to
/// everybody, and no other: the header's proof of knowledge was checked, so E is the dealer's own (A3).
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different party's or message's part of the statement"
)]
pub fn complain(
    ctx: &RoundContext,
    root: &Digest,
    header: &HeaderContent,
    index: MemberIndex,
    share_key: &ShareSecretKey,
    identity: &IdentityKey,
    leaf: &ShareLeaf,
    rng: &mut impl CryptoRngCore,
) -> Signed<ComplaintContent> {
    let unproved = DleqProof {
        on_base: header.ephemeral,
        on_ephemeral: header.ephemeral,
        response: curve25519_dalek::scalar::Scalar::ZERO,
    };
    let mut content = ComplaintContent {
        params_digest: *ctx.digest(),
        root: *root,
        header_digest: header.digest(),
        member: index,
        share: leaf.clone(),
        point: CanonicalPoint::from(*share_key.diffie_hellman(&header.ephemeral)),
        equality: unproved,
    };
    // The binding covers everything but the proof, which is filled in now.
    let (_, equality) = share_key.open_point(&header.ephemeral, &complaint_binding(&content), rng);
    content.equality = equality;
    Signed::sign(content, identity)
}

/// Judges a complaint against a header that passed [`crate::check_header`] and stands in the U of `root`.
///
/// No honest member is ever convicted: it complains only of a share under the path that it checked, with its own D, and
/// only when it saw that the share is bad. No honest dealer is: D is proved to be sk_j E, so what is decrypted is what
/// the dealer encrypted at the very place that its share root binds (A14).
pub fn judge_complaint(
    ctx: &RoundContext,
    root: &Digest,
    header: &HeaderContent,
    complaint: &Signed<ComplaintContent>,
) -> Verdict {
    let c = &complaint.content;
    let applicable =
        c.params_digest == *ctx.digest() && c.root == *root && c.header_digest == header.digest();
    if !applicable || header.params_digest != *ctx.digest() {
        return Verdict::NotApplicable(Check::ComplaintApplicable);
    }
    let (Some((member, identity)), Some(share_key)) =
        (ctx.member(c.member), ctx.share_key(c.member))
    else {
        return Verdict::NotApplicable(Check::ComplaintSignature);
    };
    if complaint.verify(identity).is_err() {
        return Verdict::NotApplicable(Check::ComplaintSignature);
    }
    if check_share_path(ctx, header, c.member, &c.share).is_err() {
        return Verdict::False {
            member,
            check: Check::ComplaintPath,
        };
    }
    if c.equality
        .verify(
            &complaint_binding(c),
            &header.ephemeral,
            share_key,
            &c.point,
        )
        .is_err()
    {
        return Verdict::False {
            member,
            check: Check::ComplaintEquality,
        };
    }
    let context = share_context(header, c.member, share_key);
    let good = decrypt_share_with_point(&context, c.point.point(), &c.share.ciphertext)
        .and_then(|value| {
            feldman::verify_share(&header.commitments, ctx.threshold(), c.member, &value)
        })
        .is_ok();
    if good {
        Verdict::False {
            member,
            check: Check::ComplaintGroundless,
        }
    } else {
        Verdict::Counts(header.client)
    }
}
