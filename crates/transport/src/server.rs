//! The QUIC side of a server: who may connect, how many, for how long.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{
    AckFrequencyConfig, Connection, Endpoint, IdleTimeout, Incoming, RecvStream, SendStream,
    TransportConfig, VarInt,
};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tracing::Instrument;

use crate::ALPN;
use crate::TRACING_TARGET as TARGET;
use crate::close_code;
use crate::config::{RetryPolicy, ServerConfig};
use crate::error::BindError;
use crate::identity::{ServerIdentity, version_is_common};
use crate::service::{Core, Handler, PeerInfo, RequestService, StreamEnd, at_most};
use crate::source::{Connections, NoPlace, Place, Source};
use crate::stats::ServerStats;

/// How long a server waits for its peers to hear that it closes.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// First datagrams that may wait to be looked at; QUIC refuses the others without our counting them.
const MAX_INCOMING: usize = 1024;

/// A server that accepts connections until it is shut down or dropped.
#[derive(Debug)]
pub struct Server {
    endpoint: Endpoint,
    local_addr: SocketAddr,
    core: Arc<Core>,
    connections: Arc<Connections>,
    accepting: JoinHandle<()>,
}

/// Reads the counters of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerCounters {
    core: Arc<Core>,
    connections: Arc<Connections>,
}

impl ServerCounters {
    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        ServerStats {
            connections_open: u64::try_from(self.connections.open()).unwrap_or(u64::MAX),
            ..self.core.stats()
        }
    }
}

impl Server {
    /// Binds `addr` (port 0 for any free one) and serves `handler` in tasks of the current tokio runtime.
    ///
    /// # Errors
    /// [`BindError`]: the address, the spool directory or the configuration can not be used. Nothing runs then.
    pub fn bind<H: Handler>(
        addr: SocketAddr,
        identity: &ServerIdentity,
        config: ServerConfig,
        handler: H,
    ) -> Result<Self, BindError> {
        config.validate()?;
        let runtime = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
        let tls = identity.server_tls().ok_or(BindError::Tls)?;
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(tls));
        quic.transport_config(Arc::new(transport(&config)));
        quic.max_incoming(MAX_INCOMING);
        quic.incoming_buffer_size(u64::from(config.stream_window));
        quic.incoming_buffer_size_total(u64::from(config.connection_window).saturating_mul(16));

        let failed = |error| BindError::from_io(addr, &error);
        let socket = UdpSocket::bind(addr).map_err(failed)?;
        widen(&socket, config.socket_buffer);
        let service = RequestService::new(config.service.clone(), handler)?;
        let endpoint = Endpoint::new(
            identity.endpoint_config(),
            Some(quic),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .map_err(failed)?;
        let local_addr = endpoint.local_addr().map_err(failed)?;
        let connections = Connections::new(
            config.max_connections,
            config.max_connections_per_source,
            config.max_handshakes,
        );
        let core = Arc::clone(service.core());
        let driver = Driver {
            service,
            config: Arc::new(config),
            connections: Arc::clone(&connections),
        };
        let accepting = runtime.spawn(driver.accept(endpoint.clone()));
        tracing::info!(target: TARGET, event = "listening", addr = %local_addr);
        Ok(Self {
            endpoint,
            local_addr,
            core,
            connections,
            accepting,
        })
    }

    /// The address the server listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.counters().stats()
    }

    /// Reads the same counters for as long as it is kept, wherever the server goes.
    #[must_use]
    pub fn counters(&self) -> ServerCounters {
        ServerCounters {
            core: Arc::clone(&self.core),
            connections: Arc::clone(&self.connections),
        }
    }

    /// Stops: refuses new connections and requests at once, lets the requests in work end for at most `grace`, closes
    /// all connections with [`close_code::SHUTDOWN`] and frees the port.
    pub async fn shutdown(mut self, grace: Duration) -> ServerStats {
        self.core.drain();
        let clean = at_most(grace, self.core.idle()).await;
        self.endpoint
            .close(VarInt::from_u32(close_code::SHUTDOWN), b"shutdown");
        let _ = at_most(CLOSE_WAIT, self.endpoint.wait_idle()).await;
        // The loop ends because the endpoint is closed; aborting only matters if a connection does not.
        if !at_most(CLOSE_WAIT, &mut self.accepting).await {
            self.accepting.abort();
        }
        let stats = self.stats();
        tracing::info!(target: TARGET, event = "shut_down", clean, answered = stats.requests_answered);
        stats
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.endpoint
            .close(VarInt::from_u32(close_code::SHUTDOWN), b"shutdown");
        self.accepting.abort();
    }
}

/// As far as the operating system allows: what does not fit when many clients come at once is lost and comes again
/// after a second or more.
fn widen(socket: &UdpSocket, bytes: usize) {
    let socket = socket2::SockRef::from(socket);
    let widened = socket
        .set_recv_buffer_size(bytes)
        .and_then(|()| socket.set_send_buffer_size(bytes));
    if let Err(error) = widened {
        tracing::debug!(target: TARGET, event = "socket_buffer_not_set", bytes, kind = %error.kind());
    }
}

fn transport(config: &ServerConfig) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(config.streams_per_connection))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(config.stream_window))
        .receive_window(VarInt::from_u32(config.connection_window))
        .send_window(u64::from(config.send_window))
        .ack_frequency_config(Some(ack_frequency()))
        .max_idle_timeout(idle_timeout(config.idle_timeout));
    transport
}

/// Asks the peer to acknowledge every sixth packet and not every second: acknowledgements are most of what one sends who
/// receives an upload, and each costs as much as another packet. Few enough that the first flight of ten is answered at
/// once. A peer that does not know the extension goes on as before.
pub(crate) fn ack_frequency() -> AckFrequencyConfig {
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(5));
    acks
}

/// Validated to be at most a year, which is far from the largest value.
pub(crate) fn idle_timeout(time: Duration) -> Option<IdleTimeout> {
    IdleTimeout::try_from(time).ok()
}

struct Driver<H> {
    service: RequestService<H>,
    config: Arc<ServerConfig>,
    connections: Arc<Connections>,
}

impl<H: Handler> Driver<H> {
    async fn accept(self, endpoint: Endpoint) {
        let mut tasks = JoinSet::new();
        let mut next = 0u64;
        loop {
            tokio::select! {
                incoming = endpoint.accept() => {
                    let Some(incoming) = incoming else { break };
                    if let Some((incoming, place)) = self.admit(incoming) {
                        next = next.wrapping_add(1);
                        let peer = PeerInfo { addr: incoming.remote_address(), connection: next };
                        let span = tracing::debug_span!(target: TARGET, "connection", peer = %peer.addr, id = next);
                        let task = ConnectionTask {
                            service: self.service.clone(),
                            config: Arc::clone(&self.config),
                            peer,
                        };
                        tasks.spawn(task.run(incoming, place).instrument(span));
                    }
                }
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            }
        }
        // Connections are closed; their tasks see it and end.
        while tasks.join_next().await.is_some() {}
    }

    fn admit(&self, incoming: Incoming) -> Option<(Incoming, Place)> {
        let counters = &self.service.core().counters;
        if self.service.core().is_draining() {
            counters.refused_shutting_down.one();
            incoming.refuse();
            return None;
        }
        let validate = match self.config.retry {
            RetryPolicy::Always => true,
            RetryPolicy::UnderLoad { connections } => self.connections.open() >= connections,
        };
        if validate && !incoming.remote_address_validated() {
            counters.retries.one();
            // An address that was not validated may always be asked to; see `Incoming::may_retry`.
            let _ = incoming.retry();
            return None;
        }
        let addr = incoming.remote_address();
        match self.connections.admit(Source::from(addr.ip())) {
            Ok(place) => Some((incoming, place)),
            Err(reason) => {
                match reason {
                    NoPlace::Total => counters.refused_connections_total.one(),
                    NoPlace::Source => counters.refused_connections_source.one(),
                    NoPlace::Handshakes => counters.refused_handshakes.one(),
                }
                tracing::debug!(target: TARGET, event = "connection_refused", peer = %addr, reason = ?reason);
                incoming.refuse();
                None
            }
        }
    }
}

struct ConnectionTask<H> {
    service: RequestService<H>,
    config: Arc<ServerConfig>,
    peer: PeerInfo,
}

impl<H: Handler> ConnectionTask<H> {
    async fn run(self, incoming: Incoming, mut place: Place) {
        let counters = &self.service.core().counters;
        let handshake = timeout(self.config.handshake_timeout, async {
            incoming.accept()?.await
        });
        let connection = match handshake.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(_)) => {
                counters.handshakes_failed.one();
                tracing::debug!(target: TARGET, event = "handshake_failed");
                return;
            }
            Err(_) => {
                counters.handshakes_timed_out.one();
                tracing::debug!(target: TARGET, event = "handshake_timed_out");
                return;
            }
        };
        if !version_is_common(&connection) {
            counters.handshakes_failed.one();
            tracing::debug!(target: TARGET, event = "version_refused");
            connection.close(VarInt::from_u32(close_code::VERSION), ALPN);
            // Until the peer has heard it.
            let _ = at_most(CLOSE_WAIT, connection.closed()).await;
            return;
        }
        place.established();
        counters.connections_accepted.one();
        self.serve(&connection).await;
        tracing::debug!(target: TARGET, event = "connection_ended");
    }

    async fn serve(&self, connection: &Connection) {
        let counters = &self.service.core().counters;
        // Aborts what is still in work some time after the connection has ended.
        let mut streams = JoinSet::new();
        let mut faults = 0u32;
        let mut active = Instant::now();
        loop {
            let idle = streams.is_empty();
            tokio::select! {
                opened = connection.accept_bi() => {
                    let Ok((send, recv)) = opened else { break };
                    let buffered = self.config.send_window;
                    let task = serve_stream(self.service.clone(), self.peer, buffered, send, recv);
                    streams.spawn(task.in_current_span());
                }
                Some(ended) = streams.join_next(), if !idle => {
                    active = Instant::now();
                    if ended.is_ok_and(is_fault) {
                        faults = faults.saturating_add(1);
                    }
                    if faults >= self.config.max_faults_per_connection {
                        counters.closed_faults.one();
                        connection.close(VarInt::from_u32(close_code::FAULTS), b"faults");
                        break;
                    }
                }
                () = sleep_until(active + self.config.silent_timeout), if idle => {
                    counters.closed_silent.one();
                    connection.close(VarInt::from_u32(close_code::SILENT), b"silent");
                    break;
                }
            }
        }
        // A peer may acknowledge its last answer and close in one packet: its streams see both, and then they end.
        let ended = async { while streams.join_next().await.is_some() {} };
        let _ = at_most(CLOSE_WAIT, ended).await;
    }
}

fn is_fault(end: StreamEnd) -> bool {
    match end {
        StreamEnd::Refused(refusal) => refusal.is_fault(),
        StreamEnd::GoneEarly => true,
        StreamEnd::Answered(_) | StreamEnd::GoneLate => false,
    }
}

async fn serve_stream<H: Handler>(
    service: RequestService<H>,
    peer: PeerInfo,
    buffered: u32,
    mut send: SendStream,
    mut recv: RecvStream,
) -> StreamEnd {
    let stopped = send.stopped();
    let abandoned = async move {
        let _ = stopped.await;
    };
    let outcome = service
        .serve_stream(peer, &mut recv, &mut send, abandoned)
        .await;
    let end = outcome.end;
    // Both calls fail only if the stream is closed already, which is what they are for.
    let _ = recv.stop(VarInt::from_u32(close_code::DONE));
    if matches!(end, StreamEnd::GoneEarly | StreamEnd::GoneLate) {
        // Nobody waits for an answer, and a reset is not acknowledged to us: its place is free at once.
        let _ = send.reset(VarInt::from_u32(close_code::FAILED));
        return end;
    }
    // The request is in work until the peer has the response, so that a shutdown does not cut it off.
    let acknowledged = timeout(service.core().acknowledge_in(buffered), send.stopped());
    if let Ok(Ok(None)) = acknowledged.await {
        outcome.delivered();
    }
    drop(outcome);
    end
}
