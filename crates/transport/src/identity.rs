//! The server's key, and the TLS configurations that show and check it.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use rand_core::{OsRng, RngCore};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, PeerIncompatible, SignatureScheme,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{ALPN, ALPN_VERSIONS};

/// A SubjectPublicKeyInfo with an Ed25519 key, up to the key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// A PKCS #8 document with an Ed25519 seed, up to the seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The Ed25519 public key of a server, which its clients pin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey([u8; 32]);

impl ServerKey {
    /// The key with these bytes (RFC 8032, section 5.1.5). Bytes that are no key match no server.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn spki(&self) -> [u8; 44] {
        let mut spki = [0; 44];
        let (prefix, key) = spki.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        key.copy_from_slice(&self.0);
        spki
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Why a seed gives no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// The TLS library did not take the key, which is an error of this crate.
    #[error("the TLS library did not take the Ed25519 seed: please report this")]
    Rejected,
}

/// Holds only for what is wiped when it is dropped: each type with secrets names its own beside its definition, so that one
/// that is no longer wiped does not compile.
fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}

/// The secret identity of a server. What the TLS library keeps of the signing key is not wiped: its type does not offer it.
#[derive(Clone)]
pub struct ServerIdentity {
    signing: Arc<dyn SigningKey>,
    public: ServerKey,
    reset_key: Zeroizing<[u8; 32]>,
}

const _: fn(&ServerIdentity) = |s| wiped(&s.reset_key);

impl ServerIdentity {
    /// The identity with this Ed25519 seed (RFC 8032, section 5.1.5). Any 32 secret random bytes will do.
    ///
    /// The key that authenticates stateless resets is derived from the seed too, so that clients learn at once when a
    /// server has lost their connections in a crash.
    ///
    /// # Errors
    /// [`IdentityError::Rejected`] if the TLS library does not take the key, which does not happen.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, IdentityError> {
        let mut document = Zeroizing::new(Vec::with_capacity(PKCS8_PREFIX.len() + seed.len()));
        document.extend_from_slice(&PKCS8_PREFIX);
        document.extend_from_slice(seed);
        let signing = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(document.as_slice()))
            .map_err(|_| IdentityError::Rejected)?;
        let public = signing
            .public_key()
            .and_then(|spki| {
                let key = spki.strip_prefix(SPKI_PREFIX.as_slice())?;
                <[u8; 32]>::try_from(key).ok()
            })
            .ok_or(IdentityError::Rejected)?;
        let reset_key = blake3::derive_key("veilsum transport v1 stateless reset key", seed);
        Ok(Self {
            signing,
            public: ServerKey(public),
            reset_key: Zeroizing::new(reset_key),
        })
    }

    /// The public key, for clients to pin.
    #[must_use]
    pub fn public_key(&self) -> ServerKey {
        self.public
    }

    pub(crate) fn endpoint_config(&self) -> quinn::EndpointConfig {
        let mut config = quinn::EndpointConfig::new(Arc::new(ResetKey(self.reset_key.clone())));
        config.cid_generator(|| Box::new(RandomCids));
        config
    }

    pub(crate) fn server_tls(&self) -> Option<QuicServerConfig> {
        let shown = CertificateDer::from(self.public.spki().to_vec());
        let certified = CertifiedKey::new(vec![shown], Arc::clone(&self.signing));
        let resolver = rustls::server::AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified));
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .ok()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        tls.alpn_protocols = offered();
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        QuicServerConfig::try_from(tls).ok()
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// A client configuration and a flag that is raised when the server does not hold the pinned key.
pub(crate) fn client_tls(pinned: ServerKey) -> Option<(QuicClientConfig, Arc<AtomicBool>)> {
    let mismatch = Arc::new(AtomicBool::new(false));
    let verifier = PinnedKey {
        pinned,
        provider: provider(),
        mismatch: Arc::clone(&mismatch),
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = offered();
    tls.resumption = rustls::client::Resumption::disabled();
    tls.enable_early_data = false;
    tls.enable_sni = false;
    Some((QuicClientConfig::try_from(tls).ok()?, mismatch))
}

/// In the order of preference.
fn offered() -> Vec<Vec<u8>> {
    vec![ALPN.to_vec(), ALPN_VERSIONS.to_vec()]
}

/// Whether the handshake found a version that both sides speak.
pub(crate) fn version_is_common(connection: &quinn::Connection) -> bool {
    let data = connection.handshake_data();
    let data = data.and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(ALPN))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Accepts exactly one raw public key and only with a signature by it over the handshake.
#[derive(Debug)]
struct PinnedKey {
    pinned: ServerKey,
    provider: Arc<CryptoProvider>,
    mismatch: Arc<AtomicBool>,
}

impl PinnedKey {
    fn refuse<T>(&self) -> Result<T, TlsError> {
        self.mismatch.store(true, Ordering::Release);
        Err(TlsError::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if end_entity.as_ref() != self.pinned.spki() || !intermediates.is_empty() {
            return self.refuse();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms) {
            Ok(valid) => Ok(valid),
            Err(_) => self.refuse(),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Authenticates stateless resets (RFC 9000, section 10.3.2).
struct ResetKey(Zeroizing<[u8; 32]>);

const _: fn(&ResetKey) = |s| wiped(&s.0);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], out: &mut [u8]) {
        let tag = blake3::keyed_hash(&self.0, data);
        for (to, from) in out.iter_mut().zip(tag.as_bytes()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = blake3::keyed_hash(&self.0, data);
        // `blake3::Hash` compares in constant time.
        match <[u8; 32]>::try_from(signature) {
            Ok(bytes) if expected == bytes => Ok(()),
            _ => Err(CryptoError),
        }
    }
}

/// Connection ids without a secret of this process in them: quinn's own drop the packets of a connection that an
/// earlier process had, and such a packet must be answered with a stateless reset.
struct RandomCids;

impl quinn::ConnectionIdGenerator for RandomCids {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut bytes = [0; 8];
        OsRng.fill_bytes(&mut bytes);
        quinn::ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<tokio::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn the_public_key_is_that_of_the_standard() {
        let hex = |text: &str| -> [u8; 32] {
            core::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        };
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let identity = ServerIdentity::from_seed(&seed).unwrap();
        assert_eq!(identity.public_key(), ServerKey::new(public));
    }

    #[test]
    fn debug_shows_no_secret() {
        let identity = ServerIdentity::from_seed(&[0x5a; 32]).unwrap();
        let text = format!("{identity:?}");
        assert!(text.starts_with("ServerIdentity { public: ServerKey("));
        assert!(!text.contains("5a5a5a5a") && !text.contains("90, 90"));
        let reset =
            format!("{:02x}", identity.reset_key[0]) + &format!("{:02x}", identity.reset_key[1]);
        assert!(!text.contains(&(reset + &format!("{:02x}", identity.reset_key[2]))));
    }

    #[test]
    fn reset_tokens_are_checked() {
        let key = ResetKey(Zeroizing::new([1; 32]));
        let mut tag = [0; 32];
        key.sign(b"cid", &mut tag);
        assert!(key.verify(b"cid", &tag).is_ok());
        tag[31] ^= 1;
        assert!(key.verify(b"cid", &tag).is_err());
        assert!(key.verify(b"cid", &tag[..16]).is_err());
    }
}
