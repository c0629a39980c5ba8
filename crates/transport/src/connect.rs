//! How a client finds its server: all addresses that it may have, the one that answers first.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use quinn::{Connection, ConnectionError, Endpoint, TransportConfig, VarInt};
use tokio::time::{Duration, Instant, sleep, timeout_at};

use crate::TRACING_TARGET as TARGET;
use crate::client::{Failure, Inner, lost_reason};
use crate::close_code;
use crate::error::{ClientError, ConnectFailure, LostReason};
use crate::identity::{client_tls, version_is_common};
use crate::server::{ack_frequency, idle_timeout};

/// Alert codes of TLS (RFC 8446, section 6) are QUIC error codes from here (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;
/// The alert `no_application_protocol` (RFC 7301, section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// The QUIC error code CONNECTION_REFUSED (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 2;
/// Longest list of versions that is taken from a server, in bytes.
const SPOKEN_MAX: usize = 200;
/// How long an address has before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses that are tried, at most.
const ADDRESSES_MAX: usize = 16;

/// Where a server may be found: one address, or those that its name leads to. All of them are tried, one after the other
/// beginning a little later, and the first on which the server shows its key is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    first: SocketAddr,
    more: Vec<SocketAddr>,
}

impl From<SocketAddr> for Addresses {
    fn from(first: SocketAddr) -> Self {
        let more = Vec::new();
        Self { first, more }
    }
}

impl Addresses {
    /// Those that a name has: each once, IPv6 and IPv4 in turn (RFC 8305, section 4), beginning with what came first, 16 at
    /// most. None if there are none.
    pub fn of_name(found: impl IntoIterator<Item = SocketAddr>) -> Option<Self> {
        let mut all: Vec<SocketAddr> = Vec::new();
        for addr in found {
            if !all.contains(&addr) {
                all.push(addr);
            }
        }
        let six_first = all.first()?.is_ipv6();
        let (own, other): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|addr| addr.is_ipv6() == six_first);
        let (mut own, mut other) = (own.into_iter(), other.into_iter());
        let first = own.next()?;
        let mut more = Vec::new();
        loop {
            let pair = [other.next(), own.next()];
            if pair == [None, None] {
                break;
            }
            more.extend(pair.into_iter().flatten());
        }
        more.truncate(ADDRESSES_MAX - 1);
        Some(Self { first, more })
    }

    /// The one that is tried first.
    #[must_use]
    pub fn first(&self) -> SocketAddr {
        self.first
    }

    /// All of them, in the order in which they are tried.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }
}

/// The connection of a client, and the sockets that it is made from.
#[derive(Debug, Default)]
pub(crate) struct Link {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
    pub(crate) connection: Option<Connection>,
}

impl Link {
    fn endpoint(&mut self, addr: SocketAddr) -> Result<Endpoint, ConnectFailure> {
        let (kept, any): (_, IpAddr) = match addr {
            SocketAddr::V4(_) => (&mut self.v4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut self.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if let Some(endpoint) = kept {
            return Ok(endpoint.clone());
        }
        let made = Endpoint::client(SocketAddr::new(any, 0));
        let made = made.map_err(|error| ConnectFailure::Socket(error.kind()))?;
        Ok(kept.insert(made).clone())
    }

    pub(crate) fn take_endpoints(&mut self) -> impl Iterator<Item = Endpoint> + use<> {
        [self.v4.take(), self.v6.take()].into_iter().flatten()
    }
}

type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send + 'a>>;

/// The first that succeeds. When all have failed: what no further attempt can mend if that is so of each of them, else the
/// last that another attempt may mend. One wrong address of a name must not end a client while the server starts again.
async fn first_of(mut attempts: Vec<Attempt<'_>>) -> Option<Result<Connection, Failure>> {
    let (mut failed, mut ended) = (None, None);
    poll_fn(|cx| {
        let mut at = 0;
        while let Some(attempt) = attempts.get_mut(at) {
            match attempt.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(connection)) => return Poll::Ready(Some(Ok(connection))),
                Poll::Ready(Err(failure)) => {
                    drop(attempts.remove(at));
                    match failure {
                        Failure::Final(error) => ended = Some(error),
                        failure => failed = Some(failure),
                    }
                }
            }
        }
        if !attempts.is_empty() {
            return Poll::Pending;
        }
        let all = match (failed.take(), ended.take()) {
            (Some(Failure::NotConnected(addr, failure, _)), ended) => {
                Some(Failure::NotConnected(addr, failure, ended.map(Box::new)))
            }
            (Some(failure), _) => Some(failure),
            (None, ended) => ended.map(Failure::Final),
        };
        Poll::Ready(all.map(Err))
    })
    .await
}

impl Inner {
    /// The connection, and whether it was there before.
    pub(crate) async fn connection(
        &self,
        deadline: Instant,
    ) -> Result<(Connection, bool), Failure> {
        let no_answer = |addr| not_connected(addr, ConnectFailure::NoAnswer);
        let Ok(mut link) = timeout_at(deadline, self.link.lock()).await else {
            return Err(no_answer(self.addrs.first()));
        };
        if let Some(connection) = &link.connection
            && connection.close_reason().is_none()
        {
            return Ok((connection.clone(), true));
        }
        link.connection = None;
        let mut attempts: Vec<Attempt<'_>> = Vec::new();
        let mut later = Duration::ZERO;
        for addr in self.addrs.iter() {
            // Where there is no IPv6 there may be IPv4, and the other way round.
            let endpoint = link.endpoint(addr);
            let waits = later;
            later = later.saturating_add(STAGGER);
            attempts.push(Box::pin(async move {
                let endpoint = endpoint.map_err(|failure| not_connected(addr, failure))?;
                sleep(waits).await;
                let until = Instant::now()
                    .checked_add(self.config.connect_timeout)
                    .map_or(deadline, |until| until.min(deadline));
                self.connect(&endpoint, addr, until).await
            }));
        }
        let first = self.addrs.first();
        match first_of(attempts).await.unwrap_or(Err(no_answer(first))) {
            Ok(connection) => {
                link.connection = Some(connection.clone());
                Ok((connection, false))
            }
            Err(failure) => {
                // What lies between may remember the old port for a server that is no more, and each packet from it keeps
                // that memory alive: the next attempt comes from another port.
                drop(link.take_endpoints());
                Err(failure)
            }
        }
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        addr: SocketAddr,
        until: Instant,
    ) -> Result<Connection, Failure> {
        let (config, mismatch) = self.quic_config()?;
        let connecting = endpoint
            .connect_with(config, addr, "veilsum")
            .map_err(|_| {
                not_connected(addr, ConnectFailure::Socket(io::ErrorKind::InvalidInput))
            })?;
        match timeout_at(until, connecting).await {
            Err(_) => Err(not_connected(addr, ConnectFailure::NoAnswer)),
            Ok(Err(error)) => {
                let failure = connect_failure(addr, &error, &mismatch);
                // The client may look elsewhere for long, and be told of the last of its failures alone.
                if let Failure::Final(ClientError::ServerKeyMismatch { .. }) = failure
                    && !self.warned.swap(true, Ordering::Relaxed)
                {
                    tracing::warn!(target: TARGET, event = "server_key_mismatch", server = %addr);
                }
                Err(failure)
            }
            Ok(Ok(connection)) if !version_is_common(&connection) => {
                let closed = timeout_at(until, connection.closed()).await;
                Err(no_version(addr, closed.ok().as_ref()))
            }
            Ok(Ok(connection)) => {
                tracing::debug!(target: TARGET, event = "connected", server = %addr);
                Ok(connection)
            }
        }
    }

    fn quic_config(&self) -> Result<(quinn::ClientConfig, Arc<AtomicBool>), Failure> {
        let (tls, mismatch) = client_tls(self.pinned).ok_or(Failure::Final(ClientError::Tls))?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(VarInt::from_u32(self.config.stream_window))
            .receive_window(VarInt::from_u32(
                self.config.stream_window.saturating_mul(2),
            ))
            .keep_alive_interval(Some(self.config.keep_alive))
            .ack_frequency_config(Some(ack_frequency()))
            .max_idle_timeout(idle_timeout(self.config.idle_timeout));
        config.transport_config(Arc::new(transport));
        Ok((config, mismatch))
    }
}

fn not_connected(addr: SocketAddr, failure: ConnectFailure) -> Failure {
    Failure::NotConnected(addr, failure, None)
}

/// What a server without a version in common says of those that it speaks.
fn no_version(addr: SocketAddr, closed: Option<&ConnectionError>) -> Failure {
    match closed {
        Some(ConnectionError::ApplicationClosed(close))
            if close.error_code == VarInt::from_u32(close_code::VERSION) =>
        {
            let printable = close
                .reason
                .iter()
                .filter(|b| b.is_ascii_graphic() || **b == b' ');
            let spoken = printable.take(SPOKEN_MAX).map(|b| char::from(*b)).collect();
            Failure::Final(ClientError::Version { addr, spoken })
        }
        _ => Failure::Final(ClientError::AlpnMismatch { addr }),
    }
}

fn connect_failure(addr: SocketAddr, error: &ConnectionError, mismatch: &AtomicBool) -> Failure {
    let not_connected = |failure| not_connected(addr, failure);
    if mismatch.load(Ordering::Acquire) {
        return Failure::Final(ClientError::ServerKeyMismatch { addr });
    }
    let reason = lost_reason(error);
    match (error, reason) {
        (ConnectionError::VersionMismatch, _) => Failure::Final(ClientError::QuicVersion { addr }),
        (_, LostReason::TimedOut) => not_connected(ConnectFailure::NoAnswer),
        (_, LostReason::Quic { code }) if code == CONNECTION_REFUSED => {
            not_connected(ConnectFailure::Refused)
        }
        (_, LostReason::Quic { code }) => {
            let alert = code.checked_sub(CRYPTO_ERROR).map(u8::try_from);
            match alert {
                Some(Ok(NO_APPLICATION_PROTOCOL)) => {
                    Failure::Final(ClientError::AlpnMismatch { addr })
                }
                Some(Ok(alert)) => Failure::Final(ClientError::Handshake { addr, alert }),
                _ => not_connected(ConnectFailure::Lost(reason)),
            }
        }
        _ => not_connected(ConnectFailure::Lost(reason)),
    }
}
