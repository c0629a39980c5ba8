//! A contribution that a malicious client sends: everything is as it must be and well signed, but for its proof.

use rand_core::OsRng;
use veilsum::ClientKeys;
use veilsum::crypto::{Digest, labels};
use veilsum::proof::Round;
use veilsum::protocol::{BuildError, RoundContext, build_contribution};
use veilsum::wire::{Body, Header, HeaderContent, Signed};

/// Commitments to an update with the proof that was made for others.
///
/// # Errors
/// [`BuildError`].
pub fn forged(
    context: &RoundContext,
    round: &Round,
    keys: &ClientKeys,
    x: &[i64],
) -> Result<(Header, Body), BuildError> {
    let make = || {
        build_contribution(
            context,
            round,
            keys.client(),
            keys.identity(),
            x,
            &mut OsRng,
        )
    };
    let (made, other) = (make()?, make()?);
    let mut body = made.body;
    body.proof = other.body.proof;
    let content = HeaderContent {
        proof: Digest::of(labels::PROOF_DIGEST, &body.proof),
        ..made.header.content
    };
    Ok((Signed::sign(content, keys.identity()), body))
}
