//! Limits and times, with defaults for a server of some thousand clients.

use std::path::PathBuf;

use thiserror::Error;
use tokio::time::Duration;

use crate::share::Rate;

/// What a request of one kind may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest head in bytes.
    pub head_max: u32,
    /// The longest body in bytes.
    pub body_max: u64,
    /// The time in which the request must be read and handled. Sending the response is bounded by the minimum rate.
    pub deadline: Duration,
}

/// What a response may cost the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseLimits {
    /// The longest head in bytes.
    pub head_max: u32,
    /// The longest body in bytes.
    pub body_max: u64,
    /// The time in which the response must be there, all attempts and pauses between them included.
    pub deadline: Duration,
}

/// Bounds of the request layer, see [`crate::RequestService`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The directory for bodies that are not kept in memory. It is made if it is not there, locked while in use, and
    /// cleared of bodies that an earlier process left.
    pub spool_dir: PathBuf,
    /// Bytes of requests that may be in memory at one time: heads, small bodies and buffers of uploads.
    pub memory_total: usize,
    /// Bytes of bodies that may be in the spool at one time.
    pub spool_total: usize,
    /// Bodies up to this length in bytes stay in memory.
    pub memory_body_max: u32,
    /// Requests in work at one time, long polls included; those whose sender is not known get half of them. A source with
    /// few requests gets in nevertheless, and so does whoever is known.
    pub max_requests: u32,
    /// Requests at one time from one IPv4 address or one IPv6 /64 network whose sender is not known.
    pub requests_per_source: u32,
    /// Requests at one time of one sender that is known ([`crate::Handler::identify`]).
    pub requests_per_identity: u32,
    /// Bodies in the spool at one time of one sender that is known.
    pub bodies_per_identity: u32,
    /// How often requests of unknown senders may come from one source. Whoever comes more often waits, and is refused for
    /// now where it would wait longer than `admission_wait`.
    pub source_rate: Rate,
    /// The same for one sender that is known.
    pub identity_rate: Rate,
    /// How long a request waits for memory or spool before it is refused.
    pub admission_wait: Duration,
    /// The time a peer has before the minimum rate applies; a silent peer is cut after it.
    pub stall_grace: Duration,
    /// The slowest rate in bytes per second at which a peer may send a request or take a response, above the grace.
    pub min_rate: u64,
}

impl ServiceConfig {
    /// The defaults, with this spool directory.
    #[must_use]
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            spool_dir: spool_dir.into(),
            memory_total: 64 << 20,
            spool_total: 8 << 30,
            memory_body_max: 64 << 10,
            max_requests: 4096,
            requests_per_source: 256,
            requests_per_identity: 8,
            bodies_per_identity: 2,
            source_rate: Rate {
                burst: 1024,
                per_second: 256,
            },
            // A committee member hands in each of its row sums by itself.
            identity_rate: Rate {
                burst: 512,
                per_second: 64,
            },
            admission_wait: Duration::from_secs(5),
            stall_grace: Duration::from_secs(10),
            min_rate: 4096,
        }
    }

    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("memory_total", self.memory_total, MEMORY_MIN)?;
        at_least("spool_total", self.spool_total, 1)?;
        let body_max = usize::try_from(self.memory_body_max).unwrap_or(usize::MAX);
        at_most("memory_body_max", body_max, self.memory_total / 2)?;
        for (field, value) in [
            ("max_requests", self.max_requests),
            ("requests_per_source", self.requests_per_source),
            ("requests_per_identity", self.requests_per_identity),
            ("bodies_per_identity", self.bodies_per_identity),
            ("source_rate.burst", self.source_rate.burst),
            ("source_rate.per_second", self.source_rate.per_second),
            ("identity_rate.burst", self.identity_rate.burst),
            ("identity_rate.per_second", self.identity_rate.per_second),
        ] {
            not_zero(field, value.into())?;
        }
        not_zero("min_rate", self.min_rate)?;
        some_time("stall_grace", self.stall_grace)
    }
}

/// A server that could not hold the buffers of two uploads would refuse everything.
const MEMORY_MIN: usize = 128 << 10;

/// When a client must show that it receives at the address it sends from (QUIC Retry, RFC 9000 section 8.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryPolicy {
    /// In every handshake; costs honest clients a round trip.
    Always,
    /// As soon as there are this many connections, handshakes included.
    UnderLoad {
        /// Connections from which on addresses are validated.
        connections: usize,
    },
}

/// Bounds of a [`crate::Server`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The request layer.
    pub service: ServiceConfig,
    /// Connections at one time, handshakes included.
    pub max_connections: usize,
    /// Connections at one time from one IPv4 address or one IPv6 /64 network.
    pub max_connections_per_source: usize,
    /// Handshakes at one time.
    pub max_handshakes: usize,
    /// The time for a handshake.
    pub handshake_timeout: Duration,
    /// A connection from which nothing is heard for this long is gone. Clients keep a connection alive with pings.
    pub idle_timeout: Duration,
    /// A connection that carries no request for this long is closed, pings or not.
    pub silent_timeout: Duration,
    /// Requests at one time on one connection.
    pub streams_per_connection: u32,
    /// A connection is closed after this many refusals that are the peer's fault.
    pub max_faults_per_connection: u32,
    /// When addresses are validated.
    pub retry: RetryPolicy,
    /// Bytes that a stream may have on the way before they are read.
    pub stream_window: u32,
    /// Bytes that all streams of a connection may have on the way before they are read.
    pub connection_window: u32,
    /// Bytes of responses that a connection buffers.
    pub send_window: u32,
    /// Bytes of datagrams that the operating system buffers in each direction. It may allow less
    /// (`net.core.rmem_max` on Linux).
    pub socket_buffer: usize,
}

impl ServerConfig {
    /// The defaults, with this spool directory.
    #[must_use]
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            service: ServiceConfig::new(spool_dir),
            max_connections: 2048,
            max_connections_per_source: 256,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            silent_timeout: Duration::from_secs(120),
            streams_per_connection: 8,
            max_faults_per_connection: 8,
            retry: RetryPolicy::UnderLoad { connections: 256 },
            // What all connections together may have on the way is max_connections times this: 128 MiB.
            stream_window: 64 << 10,
            connection_window: 64 << 10,
            send_window: 64 << 10,
            socket_buffer: 4 << 20,
        }
    }

    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.service.validate()?;
        at_least("max_connections", self.max_connections, 1)?;
        at_least(
            "max_connections_per_source",
            self.max_connections_per_source,
            1,
        )?;
        at_least("max_handshakes", self.max_handshakes, 1)?;
        some_time("handshake_timeout", self.handshake_timeout)?;
        some_time("idle_timeout", self.idle_timeout)?;
        some_time("silent_timeout", self.silent_timeout)?;
        not_zero(
            "streams_per_connection",
            u64::from(self.streams_per_connection),
        )?;
        not_zero(
            "max_faults_per_connection",
            u64::from(self.max_faults_per_connection),
        )?;
        not_zero("stream_window", u64::from(self.stream_window))?;
        not_zero("connection_window", u64::from(self.connection_window))?;
        not_zero("send_window", u64::from(self.send_window))
    }
}

/// Times and attempts of a [`crate::Client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The time for one attempt to connect.
    pub connect_timeout: Duration,
    /// A connection on which nothing is heard for this long is lost.
    pub idle_timeout: Duration,
    /// How often a ping keeps the connection alive; must be below the idle timeouts of both sides.
    pub keep_alive: Duration,
    /// The pause after the first failed attempt; it doubles with each further one.
    pub backoff_initial: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// Attempts for one request; the deadline of the request bounds them as well.
    pub max_attempts: u32,
    /// The seed of the jitter, which shortens each pause by up to half so that clients do not come back all at once.
    /// Give each client its own.
    pub jitter_seed: [u8; 32],
    /// Bytes that the response on a stream may have on the way before they are read.
    pub stream_window: u32,
}

impl ClientConfig {
    /// The defaults, with this seed for the jitter.
    #[must_use]
    pub fn new(jitter_seed: [u8; 32]) -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(15),
            keep_alive: Duration::from_secs(4),
            backoff_initial: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            max_attempts: 1000,
            jitter_seed,
            stream_window: 1 << 20,
        }
    }

    /// Checks that the values are consistent.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        some_time("connect_timeout", self.connect_timeout)?;
        some_time("idle_timeout", self.idle_timeout)?;
        some_time("keep_alive", self.keep_alive)?;
        some_time("backoff_initial", self.backoff_initial)?;
        if self.keep_alive >= self.idle_timeout {
            return Err(ConfigError::KeepAlive);
        }
        not_zero("max_attempts", u64::from(self.max_attempts))?;
        not_zero("stream_window", u64::from(self.stream_window))
    }
}

/// A value of a configuration that can not work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The value is below its minimum.
    #[error("{field} is {value}, it must be at least {min}")]
    TooSmall {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Its minimum.
        min: usize,
    },
    /// The value is above its maximum.
    #[error("{field} is {value}, it must be at most {max}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Its maximum.
        max: usize,
    },
    /// The value is zero.
    #[error("{field} must not be zero")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// The time is below a millisecond or above a year.
    #[error("{field} must be between a millisecond and a year")]
    Time {
        /// The field.
        field: &'static str,
    },
    /// Pings that are rarer than the idle timeout keep nothing alive.
    #[error("keep_alive must be shorter than idle_timeout")]
    KeepAlive,
}

fn at_least(field: &'static str, value: usize, min: usize) -> Result<(), ConfigError> {
    if value < min {
        return Err(ConfigError::TooSmall { field, value, min });
    }
    Ok(())
}

fn at_most(field: &'static str, value: usize, max: usize) -> Result<(), ConfigError> {
    if value > max {
        return Err(ConfigError::TooLarge { field, value, max });
    }
    Ok(())
}

fn not_zero(field: &'static str, value: u64) -> Result<(), ConfigError> {
    if value == 0 {
        return Err(ConfigError::Zero { field });
    }
    Ok(())
}

fn some_time(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value < Duration::from_millis(1) || value > Duration::from_secs(365 * 24 * 3600) {
        return Err(ConfigError::Time { field });
    }
    Ok(())
}
