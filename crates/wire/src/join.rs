//! Requests to join (`specs/protocol.md`, "Enrolment").

use crate::codec::message;
use crate::{Content, RosterEntry, ShareKeyContent, Signed, Wire};
use rand_core::CryptoRngCore;
use thiserror::Error;
use veilsum_crypto::labels::{self, Label};
use veilsum_crypto::{Digest, Hasher, IdentityKey, KnowledgeProof, ShareSecretKey, VerifyingKey};
use veilsum_params::ClientId;

/// The one role there is: contributes, and serves on committees when drawn.
pub const ROLE_CLIENT: u8 = 1;

message! {
    /// Signed with the identity key that it brings: a client asks one registrar to be in its roster for one epoch.
    JoinContent {
        /// The registrar's key: a request to one deployment means nothing in another.
        registrar: [u8; 32],
        /// What the client asks to be; 1: client, and member when drawn.
        role: u8,
        /// Epoch of the share key.
        epoch: u64,
        /// The entry that the client wants in the roster.
        entry: RosterEntry,
        /// Proof that it has the share key, bound to everything above.
        possession: KnowledgeProof,
    }
}
impl Content for JoinContent {
    const LABEL: Label = labels::SIGN_JOIN;
}

/// Why a request to join is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// For another registrar.
    #[error(
        "the request is for another registrar: make it again with this registrar's public file"
    )]
    Registrar,
    /// For a role that does not exist.
    #[error("the request asks for role {role}, there is only {ROLE_CLIENT}")]
    Role {
        /// What it asks for.
        role: u8,
    },
    /// For another epoch.
    #[error(
        "the request is for epoch {got}, the roster is of epoch {want}: make it again for that epoch"
    )]
    Epoch {
        /// What it says.
        got: u64,
        /// The roster's.
        want: u64,
    },
    /// An identity or share key that is none.
    #[error("the request's identity or share key is not valid")]
    Key,
    /// Not signed with the identity key.
    #[error("the request is not signed with the identity key that it brings")]
    Signature,
    /// The share key is not signed with the identity key.
    #[error("the request's share key is not signed with its identity key")]
    ShareKeySignature,
    /// No proof that the client has the share key.
    #[error("the request does not prove possession of its share key")]
    Possession,
}

fn purpose(registrar: &[u8; 32], role: u8, epoch: u64, entry: &RosterEntry) -> Digest {
    let mut h = Hasher::new(labels::JOIN_PURPOSE);
    h.update(registrar).update(&[role]).u64(epoch);
    h.update(&entry.to_bytes());
    h.finish()
}

impl JoinContent {
    /// A request of `client`, made with its two keys.
    pub fn request(
        registrar: &VerifyingKey,
        client: ClientId,
        epoch: u64,
        identity: &IdentityKey,
        share: &ShareSecretKey,
        rng: &mut impl CryptoRngCore,
    ) -> Signed<Self> {
        let entry = RosterEntry::new(client, epoch, identity, *share.public());
        let registrar = registrar.to_bytes();
        let purpose = purpose(&registrar, ROLE_CLIENT, epoch, &entry);
        let content = Self {
            registrar,
            role: ROLE_CLIENT,
            epoch,
            entry,
            possession: share.prove_possession(&purpose, rng),
        };
        Signed::sign(content, identity)
    }
}

impl Signed<JoinContent> {
    /// Checks a request to `registrar` for `epoch`: both keys are in the hands of who made it, for this and nothing else.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn admissible(
        &self,
        registrar: &VerifyingKey,
        epoch: u64,
    ) -> Result<&RosterEntry, JoinError> {
        let content = &self.content;
        let entry = &content.entry;
        let key = VerifyingKey::decode(&entry.identity_key).map_err(|_| JoinError::Key)?;
        if entry.share_key.as_bytes() == &[0; 32] {
            return Err(JoinError::Key);
        }
        self.verify(&key).map_err(|_| JoinError::Signature)?;
        if content.registrar != registrar.to_bytes() {
            return Err(JoinError::Registrar);
        }
        if content.role != ROLE_CLIENT {
            return Err(JoinError::Role { role: content.role });
        }
        if content.epoch != epoch {
            return Err(JoinError::Epoch {
                got: content.epoch,
                want: epoch,
            });
        }
        let statement = ShareKeyContent {
            client: entry.client,
            epoch,
            share_key: entry.share_key,
        };
        let signed = Signed {
            content: statement,
            signature: entry.share_key_signature,
        };
        signed
            .verify(&key)
            .map_err(|_| JoinError::ShareKeySignature)?;
        let purpose = purpose(&content.registrar, content.role, epoch, entry);
        content
            .possession
            .verify_possession(&purpose, &entry.share_key)
            .map_err(|_| JoinError::Possession)?;
        Ok(entry)
    }
}
