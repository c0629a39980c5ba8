//! What can go wrong, and what to do about it.

use core::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigError;
use crate::frame::FrameError;
use crate::status::Refusal;

/// A part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Kind or status, and the length of the head.
    Prefix,
    /// The head.
    Head,
    /// The length of the body.
    BodyLength,
    /// The body.
    Body,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefix => "prefix",
            Self::Head => "head",
            Self::BodyLength => "body length",
            Self::Body => "body",
        })
    }
}

/// Why the spool could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpoolError {
    /// Another server uses the directory.
    #[error("the spool directory {} is used by another server: give each server its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory or a file in it could not be made, read, written or removed.
    #[error("{}: {kind}: check that the directory exists, may be written and has room", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// A body that is to be taken into memory is longer than the caller allows.
    #[error("a body of {len} bytes does not fit into {max}")]
    TooLarge {
        /// The length of the body in bytes.
        len: u64,
        /// The caller's limit in bytes.
        max: u64,
    },
}

/// Why a server could not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    /// Another process has the port.
    #[error("{addr} is in use: stop the process that has it or choose another port")]
    AddressInUse {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// This machine does not have the address.
    #[error(
        "{addr} is not an address of this machine: choose one it has, or 0.0.0.0 or [::] for all"
    )]
    AddressNotAvailable {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The operating system does not let this user have the port.
    #[error("no permission to bind {addr}: choose a port above 1023 or give the process the right")]
    PermissionDenied {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The socket could not be made for another reason.
    #[error("could not bind {addr}: {kind}")]
    Socket {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// The spool directory can not be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The configuration is not consistent.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The function was called outside a tokio runtime.
    #[error("a server needs a tokio runtime: call this from within one")]
    NoRuntime,
    /// The TLS library refused the configuration, which is an error of this crate.
    #[error("the TLS configuration was refused: please report this")]
    Tls,
}

impl BindError {
    pub(crate) fn from_io(addr: SocketAddr, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse { addr },
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable { addr },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { addr },
            kind => Self::Socket { addr, kind },
        }
    }
}

/// Why there is no connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectFailure {
    /// Nobody answered in time.
    #[error("no answer")]
    NoAnswer,
    /// The server answered that it takes no further connection now.
    #[error("the server takes no further connections now")]
    Refused,
    /// The handshake was broken off.
    #[error("the handshake was broken off: {0}")]
    Lost(LostReason),
    /// This machine could not open a socket or reach the network.
    #[error("no socket: {0}")]
    Socket(io::ErrorKind),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LostReason {
    /// The server closed it with this application code, see [`crate::close_code`].
    #[error("closed by the server with code {code}")]
    Closed {
        /// The application error code.
        code: u64,
    },
    /// The QUIC layer of either side closed it with this code (RFC 9000, section 20.1).
    #[error("closed by QUIC with code {code:#x}")]
    Quic {
        /// The transport error code.
        code: u64,
    },
    /// Nothing was heard for the idle timeout.
    #[error("nothing was heard for the idle timeout")]
    TimedOut,
    /// The server does not know the connection: it has restarted.
    #[error("the server has restarted")]
    Reset,
    /// The server reset the stream with this application code, see [`crate::close_code`].
    #[error("the server reset the stream with code {code}")]
    StreamReset {
        /// The application error code.
        code: u64,
    },
    /// The response ended before its declared length.
    #[error("the response ends inside its {0}")]
    Truncated(Part),
    /// This side closed it.
    #[error("closed on this side")]
    Local,
}

fn counted(attempts: u32) -> String {
    match attempts {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    }
}

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// There was no connection to the server in any attempt.
    #[error(
        "{addr} could not be reached in {} ({failure}): check address, firewall and that the server runs{}", counted(*attempts), another.as_ref().map(|error| format!("; of the other addresses of its name {error}")).unwrap_or_default()
    )]
    Unreachable {
        /// The server's address.
        addr: SocketAddr,
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt failed of.
        failure: ConnectFailure,
        /// What another address of the same name failed of in a way that trying again does not mend: it may be no address
        /// of the server (any more).
        another: Option<Box<ClientError>>,
    },
    /// The server does not hold the key this client was given.
    #[error(
        "{addr} does not hold the pinned server key: check the address and the key that the operator publishes"
    )]
    ServerKeyMismatch {
        /// The server's address.
        addr: SocketAddr,
    },
    /// The server speaks another protocol or another version of this one.
    #[error(
        "{addr} does not speak {}: check the address and update the older side",
        String::from_utf8_lossy(crate::ALPN)
    )]
    AlpnMismatch {
        /// The server's address.
        addr: SocketAddr,
    },
    /// The server speaks other versions of the protocol.
    #[error(
        "{addr} speaks {spoken}, this client speaks {}: update the older side",
        String::from_utf8_lossy(crate::ALPN)
    )]
    Version {
        /// The server's address.
        addr: SocketAddr,
        /// The versions that it says it speaks, separated by spaces.
        spoken: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("the TLS handshake with {addr} failed with alert {alert}")]
    Handshake {
        /// The server's address.
        addr: SocketAddr,
        /// The TLS alert (RFC 8446, section 6).
        alert: u8,
    },
    /// The server and this client have no QUIC version in common.
    #[error("{addr} speaks no QUIC version that this client knows")]
    QuicVersion {
        /// The server's address.
        addr: SocketAddr,
    },
    /// The server refused the request.
    #[error("the server refused the request: {refusal}")]
    Refused {
        /// Its reason.
        refusal: Refusal,
    },
    /// A part of the request or of the response is longer than allowed.
    #[error("{direction} {part} of {len} bytes, the limit is {max}", direction = if *response { "response" } else { "request" })]
    TooLarge {
        /// Whether it is the response (else the request).
        response: bool,
        /// The part.
        part: Part,
        /// Its length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The bytes of the response are not a response.
    #[error("the response is malformed: {0}")]
    Malformed(FrameError),
    /// The deadline of the request passed.
    #[error("no response before the deadline, after {}{}", counted(*attempts), cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Deadline {
        /// How often the request was sent or the connection tried.
        attempts: u32,
        /// What the last attempt that ended failed of, if one did.
        cause: Option<Box<ClientError>>,
    },
    /// The connection was lost in each attempt.
    #[error("the connection was lost in {}, last: {reason}", counted(*attempts))]
    ConnectionLost {
        /// How often the request was sent.
        attempts: u32,
        /// How the last one ended.
        reason: LostReason,
    },
    /// The file of the request's body could not be read, or that of the response's not be written.
    #[error("{}: {kind}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// The file of the request's body changed its length while it was sent.
    #[error("{} changed while it was sent: send a file that nobody writes to", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
    },
    /// The configuration is not consistent.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The TLS library refused the configuration, which is an error of this crate.
    #[error("the TLS configuration was refused: please report this")]
    Tls,
}

impl ClientError {
    /// Whether somebody answered who does not hold the server's key, and the server itself was found at no other address: to
    /// look for longer mends that only if it was not running.
    #[must_use]
    pub fn is_key_mismatch(&self) -> bool {
        match self {
            Self::ServerKeyMismatch { .. } => true,
            Self::Unreachable { another, .. } => another
                .as_ref()
                .is_some_and(|another| another.is_key_mismatch()),
            _ => false,
        }
    }
}
