//! Keys of clients, servers and registrars, requests to join, and the one text form in which all of them stand in files.

use rand_core::CryptoRngCore;
use thiserror::Error;
use veilsum_crypto::{IdentityKey, ShareSecretKey, VerifyingKey};
use veilsum_params::ClientId;
use veilsum_transport::{ServerIdentity, ServerKey};
use veilsum_wire::{
    JoinContent, Roster, RosterContent, RosterDraft, RosterEntry, RosterError, Signed, Wire,
};
use zeroize::{Zeroize, Zeroizing};

/// Longest key file in bytes; the longest that is ever written is far shorter.
pub const KEY_FILE_MAX: u64 = 4096;

/// Why a text is not the key that it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a key file at all, or cut off.
    #[error(
        "this is not a Veilsum key file, or it is cut off: restore it, or make a new key with `veilsum keygen`"
    )]
    Format,
    /// A key file of another kind.
    #[error(
        "this file holds {}, {} is needed: give the other file of the pair, or another role's",
        named(found),
        named(expected)
    )]
    Kind {
        /// What is needed.
        expected: &'static str,
        /// What the file says, when it is a kind that exists.
        found: &'static str,
    },
    /// The check value does not fit the rest of the file.
    #[error(
        "the key file is damaged (its check value does not fit): restore it from a copy, or make a new key"
    )]
    Damaged,
    /// The file is whole and what it holds is no key.
    #[error("the key file holds bytes that are no valid key: make a new key with `veilsum keygen`")]
    Invalid,
}

pub(crate) const JOIN_REQUEST: &str = "join-request";
pub(crate) const REGISTRAR_DRAFT: &str = "registrar-draft";

const KINDS: [&str; 8] = [
    "client-secret",
    "client-public",
    "server-secret",
    "server-public",
    "registrar-secret",
    "registrar-public",
    JOIN_REQUEST,
    REGISTRAR_DRAFT,
];

fn named(kind: &str) -> String {
    match kind {
        JOIN_REQUEST => "a request to join".to_owned(),
        REGISTRAR_DRAFT => "a registrar's draft".to_owned(),
        key => format!("a {key} key"),
    }
}

fn check_value(kind: &str, payload: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("veilsum/v1 key file check");
    hasher.update(kind.as_bytes()).update(&[0]).update(payload);
    let mut check = [0; 8];
    hasher.finalize_xof().fill(&mut check);
    check
}

pub(crate) fn seal(kind: &'static str, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let hex = Zeroizing::new(hex::encode(payload));
    let check = hex::encode(check_value(kind, payload));
    Zeroizing::new(format!("veilsum-key 1 {kind}\n{}\n{check}\n", hex.as_str()).into_bytes())
}

pub(crate) fn unseal(expected: &'static str, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = std::str::from_utf8(text).map_err(|_| KeyError::Format)?;
    let mut lines = text.lines();
    let kind = lines
        .next()
        .and_then(|line| line.strip_prefix("veilsum-key 1 "))
        .ok_or(KeyError::Format)?;
    let found = *KINDS
        .iter()
        .find(|known| **known == kind)
        .ok_or(KeyError::Format)?;
    if found != expected {
        return Err(KeyError::Kind { expected, found });
    }
    let (Some(payload), Some(check), None) = (lines.next(), lines.next(), lines.next()) else {
        return Err(KeyError::Format);
    };
    let payload = Zeroizing::new(hex::decode(payload).map_err(|_| KeyError::Damaged)?);
    if hex::decode(check).map_err(|_| KeyError::Damaged)? != check_value(found, &payload) {
        return Err(KeyError::Damaged);
    }
    Ok(payload)
}

fn secret_array<const N: usize>(bytes: &[u8]) -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut out = Zeroizing::new([0; N]);
    if bytes.len() != N {
        return Err(KeyError::Invalid);
    }
    out.copy_from_slice(bytes);
    Ok(out)
}

/// What a client keeps secret: its identity key, and its share key for one epoch.
#[derive(Debug)]
pub struct ClientKeys {
    client: ClientId,
    epoch: u64,
    identity: IdentityKey,
    share: ShareSecretKey,
}

const _: fn(&ClientKeys) = |s| {
    veilsum_crypto::wiped(&s.identity);
    veilsum_crypto::wiped(&s.share);
};

impl ClientKeys {
    /// Fresh keys for the client that the registrar numbered `client`.
    pub fn generate(client: ClientId, epoch: u64, rng: &mut impl CryptoRngCore) -> Self {
        Self {
            client,
            epoch,
            identity: IdentityKey::generate(rng),
            share: ShareSecretKey::generate(rng),
        }
    }

    /// The same client with the share key of another epoch.
    pub(crate) fn with_share(&self, epoch: u64, share: ShareSecretKey) -> Self {
        Self {
            client: self.client,
            epoch,
            identity: IdentityKey::from_seed(&self.identity.to_seed()),
            share,
        }
    }

    /// The client's number.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.client
    }
    /// Epoch of the share key.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// The signing key.
    #[must_use]
    pub fn identity(&self) -> &IdentityKey {
        &self.identity
    }
    /// The key for shares.
    #[must_use]
    pub fn share(&self) -> &ShareSecretKey {
        &self.share
    }
    /// The public entry that the registrar puts into the roster.
    #[must_use]
    pub fn entry(&self) -> RosterEntry {
        RosterEntry::new(
            self.client,
            self.epoch,
            &self.identity,
            *self.share.public(),
        )
    }

    /// A request to be in the roster of `registrar` with these keys.
    #[must_use]
    pub fn request(
        &self,
        registrar: &VerifyingKey,
        rng: &mut impl CryptoRngCore,
    ) -> Signed<JoinContent> {
        JoinContent::request(
            registrar,
            self.client,
            self.epoch,
            &self.identity,
            &self.share,
            rng,
        )
    }

    /// The text of the secret file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        let mut payload = Zeroizing::new((self.client, self.epoch).to_bytes());
        payload.reserve_exact(64);
        payload.extend_from_slice(&*self.identity.to_seed());
        payload.extend_from_slice(&*self.share.to_bytes());
        seal("client-secret", &payload)
    }

    /// Reads the text of a secret file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_text(text: &[u8]) -> Result<Self, KeyError> {
        let payload = unseal("client-secret", text)?;
        let (public, secret) = payload.split_at_checked(12).ok_or(KeyError::Invalid)?;
        let (seed, share) = secret.split_at_checked(32).ok_or(KeyError::Invalid)?;
        let (client, epoch) = Wire::from_bytes(public).map_err(|_| KeyError::Invalid)?;
        Ok(Self {
            client,
            epoch,
            identity: IdentityKey::from_seed(&*secret_array(seed)?),
            share: ShareSecretKey::from_bytes(&*secret_array(share)?)
                .map_err(|_| KeyError::Invalid)?,
        })
    }
}

/// The text of a client's public entry, for the registrar.
#[must_use]
pub fn entry_to_text(entry: &RosterEntry) -> Vec<u8> {
    seal("client-public", &entry.to_bytes()).to_vec()
}

/// Reads the text of a client's public entry. Its signature is checked when the roster is.
///
/// # Errors
/// [`KeyError`].
pub fn entry_from_text(text: &[u8]) -> Result<RosterEntry, KeyError> {
    Wire::from_bytes(&unseal("client-public", text)?).map_err(|_| KeyError::Invalid)
}

/// The text of a request to join, for the registrar.
#[must_use]
pub fn request_to_text(request: &Signed<JoinContent>) -> Vec<u8> {
    seal(JOIN_REQUEST, &request.to_bytes()).to_vec()
}

/// Reads the text of a request to join. Nothing in it is checked: [`veilsum_wire::RosterDraft::judge`] does that.
///
/// # Errors
/// [`KeyError`].
pub fn request_from_text(text: &[u8]) -> Result<Signed<JoinContent>, KeyError> {
    Wire::from_bytes(&unseal(JOIN_REQUEST, text)?).map_err(|_| KeyError::Invalid)
}

/// What a server keeps secret: the key that signs messages, and the one that TLS shows. They are distinct, so that no
/// handshake ever signs with the key that convicts.
#[derive(Debug)]
pub struct ServerKeys {
    signing: IdentityKey,
    transport: Zeroizing<[u8; 32]>,
}

const _: fn(&ServerKeys) = |s| {
    veilsum_crypto::wiped(&s.signing);
    veilsum_crypto::wiped(&s.transport);
};

impl ServerKeys {
    /// Fresh keys.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        let mut transport = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *transport);
        Self {
            signing: IdentityKey::generate(rng),
            transport,
        }
    }
    /// The key that signs messages.
    #[must_use]
    pub fn signing(&self) -> &IdentityKey {
        &self.signing
    }
    /// The identity that TLS shows.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] if the TLS library does not take the seed, which does not happen.
    pub fn transport(&self) -> Result<ServerIdentity, KeyError> {
        ServerIdentity::from_seed(&self.transport).map_err(|_| KeyError::Invalid)
    }
    /// What clients pin.
    ///
    /// # Errors
    /// As [`ServerKeys::transport`].
    pub fn public(&self) -> Result<ServerPublic, KeyError> {
        Ok(ServerPublic {
            signing: self.signing.verifying_key(),
            transport: self.transport()?.public_key(),
        })
    }
    /// The text of the secret file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        let mut payload = Zeroizing::new([0; 64]);
        payload[..32].copy_from_slice(&*self.signing.to_seed());
        payload[32..].copy_from_slice(&*self.transport);
        seal("server-secret", &*payload)
    }
    /// Reads the text of a secret file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_text(text: &[u8]) -> Result<Self, KeyError> {
        let mut payload = secret_array::<64>(&unseal("server-secret", text)?)?;
        let (signing, transport) = payload.split_at(32);
        let keys = Self {
            signing: IdentityKey::from_seed(&*secret_array(signing)?),
            transport: secret_array(transport)?,
        };
        payload.zeroize();
        Ok(keys)
    }
}

/// What clients pin of a server.
#[derive(Clone, Debug)]
pub struct ServerPublic {
    /// The key that signs messages.
    pub signing: VerifyingKey,
    /// The key that TLS shows.
    pub transport: ServerKey,
}

impl ServerPublic {
    /// The text of the public file.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let payload = [self.signing.to_bytes(), *self.transport.as_bytes()];
        seal("server-public", payload.as_flattened()).to_vec()
    }
    /// Reads the text of a public file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_text(text: &[u8]) -> Result<Self, KeyError> {
        let payload = secret_array::<64>(&unseal("server-public", text)?)?;
        let (signing, transport) = payload.split_at(32);
        Ok(Self {
            signing: VerifyingKey::decode(&*secret_array(signing)?)
                .map_err(|_| KeyError::Invalid)?,
            transport: ServerKey::new(*secret_array(transport)?),
        })
    }
}

/// The registrar's key: it certifies who takes part.
#[derive(Debug)]
pub struct RegistrarKeys(IdentityKey);

const _: fn(&RegistrarKeys) = |s| veilsum_crypto::wiped(&s.0);

impl RegistrarKeys {
    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRngCore) -> Self {
        Self(IdentityKey::generate(rng))
    }
    /// What clients and servers pin.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.0.verifying_key()
    }
    /// Signs a roster of `entries`, which are put in order. What is wrong with them shows when it is verified.
    #[must_use]
    pub fn sign_roster(&self, epoch: u64, mut entries: Vec<RosterEntry>) -> Signed<RosterContent> {
        entries.sort_by_key(|entry| entry.client);
        self.sign_content(RosterContent::first(epoch, entries))
    }
    /// Signs a roster as it is given. What is wrong with it shows when it is verified.
    #[must_use]
    pub fn sign_content(&self, content: RosterContent) -> Signed<RosterContent> {
        Signed::sign(content, &self.0)
    }
    /// Signs the next roster, and checks it as everybody will.
    ///
    /// # Errors
    /// As [`RosterDraft::sign`].
    pub fn sign(&self, draft: &RosterDraft) -> Result<Roster, RosterError> {
        draft.sign(&self.0)
    }
    /// The text of the secret file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        seal("registrar-secret", &*self.0.to_seed())
    }
    /// Reads the text of a secret file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_text(text: &[u8]) -> Result<Self, KeyError> {
        let seed = secret_array(&unseal("registrar-secret", text)?)?;
        Ok(Self(IdentityKey::from_seed(&seed)))
    }
}

/// The text of a registrar's public file.
#[must_use]
pub fn registrar_to_text(key: &VerifyingKey) -> Vec<u8> {
    seal("registrar-public", &key.to_bytes()).to_vec()
}

/// Reads the text of a registrar's public file.
///
/// # Errors
/// [`KeyError`].
pub fn registrar_from_text(text: &[u8]) -> Result<VerifyingKey, KeyError> {
    let bytes = secret_array(&unseal("registrar-public", text)?)?;
    VerifyingKey::decode(&bytes).map_err(|_| KeyError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn every_changed_byte_of_a_key_file_is_noticed() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let keys = ClientKeys::generate(ClientId(7), 3, &mut rng);
        let text = keys.to_text();
        let back = ClientKeys::from_text(&text).unwrap();
        assert_eq!(back.entry(), keys.entry());
        assert_eq!(back.epoch(), 3);
        for at in 0..text.len() - 1 {
            let mut changed = text.to_vec();
            changed[at] ^= 1;
            assert!(ClientKeys::from_text(&changed).is_err(), "byte {at}");
            assert!(ClientKeys::from_text(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn kinds_are_not_mixed_up() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let server = ServerKeys::generate(&mut rng);
        let public = server.public().unwrap();
        assert_eq!(
            ServerKeys::from_text(&public.to_text()).unwrap_err(),
            KeyError::Kind {
                expected: "server-secret",
                found: "server-public"
            }
        );
        let back = ServerPublic::from_text(&public.to_text()).unwrap();
        assert_eq!(back.transport, public.transport);
        assert_eq!(
            ServerKeys::from_text(&server.to_text())
                .unwrap()
                .public()
                .unwrap()
                .transport,
            public.transport
        );
        let registrar = RegistrarKeys::generate(&mut rng);
        assert_eq!(
            registrar_from_text(&registrar_to_text(&registrar.public())).unwrap(),
            registrar.public()
        );
        assert_eq!(
            RegistrarKeys::from_text(&registrar.to_text())
                .unwrap()
                .public(),
            registrar.public()
        );
    }
}
