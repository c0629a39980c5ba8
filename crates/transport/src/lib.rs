//! QUIC request and response with a pinned server key, size limits and back-pressure.
//!
//! Clients dial the server. Each request has a bidirectional stream of its own: a *kind*, a small *head*, a *body*
//! of any size, end of stream; the response comes back on the same stream in the same shape. The crate knows nothing
//! of what the bytes mean: kinds, limits and answers come from a [`Handler`].
//!
//! What a peer can cost is bounded before it can cost it. Every length is compared with the limits of its kind before
//! anything is allocated; memory is charged to one budget as bytes arrive, disk to another; a peer that is slower than
//! the minimum rate is cut; connections, handshakes, streams and requests are counted; what was refused, and why, is in
//! [`ServerStats`].
//!
//! - [`Server`] drives a [`Handler`] over QUIC; [`Client`] sends requests and resends them after a lost connection.
//! - [`RequestService`] is the server's request layer over any `AsyncRead`/`AsyncWrite`, without QUIC.
//! - [`frame`] is the codec over byte slices, without any I/O.
//!
//! The server is authenticated by an Ed25519 key in the form of a TLS raw public key (RFC 7250) that clients pin; TLS
//! is 1.3 only, and 0-RTT and session resumption are off. Clients are not authenticated here: what they send is signed.

mod budget;
mod client;
mod config;
mod connect;
mod error;
pub mod frame;
mod identity;
mod pace;
mod server;
mod service;
mod share;
mod source;
mod spool;
mod stats;
mod status;

pub use client::{Client, Reply, ReplyBody};
pub use config::{
    ClientConfig, ConfigError, RequestLimits, ResponseLimits, RetryPolicy, ServerConfig,
    ServiceConfig,
};
pub use connect::Addresses;
pub use error::{BindError, ClientError, ConnectFailure, LostReason, Part, SpoolError};
pub use identity::{IdentityError, ServerIdentity, ServerKey};
pub use server::{Server, ServerCounters};
pub use service::{
    Body, Handler, PeerInfo, Request, RequestService, Response, Sender, StreamEnd, StreamOutcome,
};
pub use share::Rate;
pub use source::Source as Origin;
pub use spool::SpooledBody;
pub use stats::ServerStats;
pub use status::{Refusal, Status};

/// The application protocol both sides must name in the TLS handshake (RFC 7301).
pub const ALPN: &[u8] = b"veilsum/1";

/// What both sides offer beside the versions that they speak, now and in all later versions. A handshake that ends with it
/// has no version in common: the server closes the connection with [`close_code::VERSION`], and the reason is the list of
/// the versions that it speaks, separated by spaces.
pub const ALPN_VERSIONS: &[u8] = b"veilsum/versions";

/// The target of every `tracing` span and event of this crate. Events carry fields only (`event` names what happened)
/// and never a payload or a secret.
pub const TRACING_TARGET: &str = "veilsum::transport";

/// Application error codes with which streams and connections are closed (RFC 9000, section 20.2).
pub mod close_code {
    /// Nothing is wrong: the stream is not needed any more.
    pub const DONE: u32 = 0;
    /// The server is shutting down.
    pub const SHUTDOWN: u32 = 1;
    /// The connection carried no request for too long.
    pub const SILENT: u32 = 2;
    /// The peer sent too many requests that had to be refused.
    pub const FAULTS: u32 = 3;
    /// The client gave the request up.
    pub const CANCELLED: u32 = 4;
    /// A response could not be sent to its end.
    pub const FAILED: u32 = 5;
    /// No version of the protocol in common; the reason names those of the server.
    pub const VERSION: u32 = 6;
}
