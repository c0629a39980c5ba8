use crate::{Check, Refusal, RoundContext};
use veilsum_crypto::{IdentityKey, Signature};
use veilsum_params::ClientId;
use veilsum_wire::{Content, HeaderContent, RequestContent, Signed, Wire};

/// Signs a request of this kind for this round.
pub fn sign_request(
    ctx: &RoundContext,
    client: ClientId,
    identity: &IdentityKey,
    kind: u16,
) -> Signed<RequestContent> {
    let content = RequestContent {
        params_digest: *ctx.digest(),
        client,
        kind,
    };
    Signed::sign(content, identity)
}

/// Checks that a client of the cohort makes this kind of request in this round; gives the client. It says nothing of when it
/// was signed (`specs/protocol.md`, "Collecting").
///
/// # Errors
/// `header.cohort`, `request.signature`.
pub fn check_request(
    ctx: &RoundContext,
    kind: u16,
    request: &Signed<RequestContent>,
) -> Result<ClientId, Refusal> {
    let content = &request.content;
    let client = content.client;
    let key = ctx.in_cohort(client).then(|| ctx.identity(client));
    let key = key.flatten().ok_or(Check::HeaderCohort)?;
    let fits = content.params_digest == *ctx.digest() && content.kind == kind;
    if !fits || request.verify(key).is_err() {
        return Err(Check::RequestSignature.into());
    }
    Ok(client)
}

/// Who signed the bytes of a header, before its points are decoded and before a body is taken: the cheap part of
/// [`crate::check_header`], which stays what decides.
///
/// # Errors
/// `header.params`, `header.cohort`, `header.signature`, as [`crate::check_header`] gives them; `header.signature` for bytes
/// that are too short to be one.
pub fn check_header_sender(ctx: &RoundContext, header: &[u8]) -> Result<ClientId, Refusal> {
    let short = || Refusal::from(Check::HeaderSignature);
    let end = header.len().checked_sub(Signature::MIN_LEN);
    let (content, signature) = header
        .split_at_checked(end.ok_or_else(short)?)
        .ok_or_else(short)?;
    let (digest, rest) = content.split_at_checked(32).ok_or_else(short)?;
    let client = rest.get(..ClientId::MIN_LEN).ok_or_else(short)?;
    let client = ClientId::from_bytes(client).map_err(|_| short())?;
    if digest != ctx.digest().0 {
        return Err(Check::HeaderParams.into());
    }
    let key = ctx.in_cohort(client).then(|| ctx.identity(client));
    let key = key.flatten().ok_or(Check::HeaderCohort)?;
    let signature = Signature::from_bytes(signature).map_err(|_| short())?;
    key.verify(HeaderContent::LABEL, content, &signature)
        .map_err(|_| short())?;
    Ok(client)
}
