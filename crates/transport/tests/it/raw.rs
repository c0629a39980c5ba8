//! Peers that do not follow the rules: QUIC without this crate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use veilsum_transport::{ALPN, Refusal, ServerKey};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Takes any key.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

pub(crate) fn raw_config(alpn: &[u8]) -> quinn::ClientConfig {
    raw_config_of(&[alpn])
}

/// A client that offers these protocols.
pub(crate) fn raw_config_of(alpn: &[&[u8]]) -> quinn::ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    let quic = QuicClientConfig::try_from(tls).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(50)));
    transport.stream_receive_window(65_536u32.into());
    config.transport_config(Arc::new(transport));
    config
}

pub(crate) fn raw_endpoint() -> Endpoint {
    Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A connection that stays open with pings, whatever it is used for.
pub(crate) async fn connect(addr: SocketAddr) -> Connection {
    try_connect(addr).await.unwrap()
}

pub(crate) async fn try_connect(addr: SocketAddr) -> Result<Connection, quinn::ConnectionError> {
    raw_endpoint()
        .connect_with(raw_config(ALPN), addr, "anything")
        .unwrap()
        .await
}

/// Opens a stream and writes these bytes, without ending it.
pub(crate) async fn open(connection: &Connection, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    (send, recv)
}

/// The refusal on a stream, or `None` if the answer is no refusal.
pub(crate) async fn refusal(recv: &mut RecvStream) -> Option<Refusal> {
    let bytes = recv.read_to_end(1 << 20).await.unwrap();
    Refusal::from_code(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// The application code with which the server closed the connection.
pub(crate) async fn close_code(connection: &Connection) -> u64 {
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("not closed by the application: {other}"),
    }
}

/// A server that shows one key, signs with the key of another seed, and speaks any protocol.
pub(crate) fn impostor(shown: ServerKey, seed: [u8; 32], alpn: &[u8]) -> Endpoint {
    let mut document = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    document.extend_from_slice(&seed);
    let signing = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(document)).unwrap();
    let mut spki = signing.public_key().unwrap().to_vec();
    spki[12..].copy_from_slice(shown.as_bytes());
    let certified = CertifiedKey::new(vec![CertificateDer::from(spki)], signing);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified)),
        ));
    tls.alpn_protocols = vec![alpn.to_vec()];
    let quic = QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(quic));
    Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap()
}
