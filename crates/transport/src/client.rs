//! A client of one server: connects when it must, sends again what was lost.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quinn::{ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt, WriteError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use crate::TRACING_TARGET as TARGET;
use crate::close_code;
use crate::config::{ClientConfig, ResponseLimits};
use crate::connect::{Addresses, Link};
use crate::error::{ClientError, ConnectFailure, LostReason, Part};
use crate::frame::{self, BODY_LEN_LEN, FrameError, PREFIX_LEN, Prefix};
use crate::identity::ServerKey;
use crate::pace::{Pacer, Stop};
use crate::service::{Body, SendError, Source, send};
use crate::spool::{partial_path, sync_parent};
use crate::status::{Refusal, Status};

/// The buffer for a response body.
const BUFFER: usize = 32 << 10;

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status its handler gave.
    pub status: Status,
    /// The head.
    pub head: Vec<u8>,
    /// The body.
    pub body: ReplyBody,
    /// The BLAKE3 digest of the body, computed while it came in.
    pub digest: [u8; 32],
}

/// The body of a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody {
    /// In memory.
    Bytes(Vec<u8>),
    /// In the file that was asked for, on the disk as a whole.
    File {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
}

impl Reply {
    /// The bytes of the body, if it is in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.body {
            ReplyBody::Bytes(bytes) => Some(bytes),
            ReplyBody::File { .. } => None,
        }
    }
}

/// A client of one server. Clones share the connection; requests run side by side on it.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) addrs: Addresses,
    pub(crate) pinned: ServerKey,
    pub(crate) config: ClientConfig,
    pub(crate) link: Mutex<Link>,
    /// Whether the log was told that some address is another's.
    pub(crate) warned: AtomicBool,
    /// How many pauses were made, by all requests: no two get the same jitter.
    pauses: AtomicU64,
}

/// An attempt that did not give a response.
pub(crate) enum Failure {
    /// No further attempt can help.
    Final(ClientError),
    /// There is no connection to this address, the one of several that failed last; and what another of them failed of that
    /// no further attempt there can mend.
    NotConnected(SocketAddr, ConnectFailure, Option<Box<ClientError>>),
    /// The connection or the stream was lost; `stale` if the connection had been used before.
    Lost { reason: LostReason, stale: bool },
    /// The server refused for now.
    Later(Refusal),
    /// The deadline passed while the server had the request.
    Deadline,
}

impl Client {
    /// A client of the server at `addrs` that holds the key `pinned`. Connects with the first request, to the address that
    /// answers first.
    ///
    /// # Errors
    /// [`ClientError::Config`].
    pub fn new(
        addrs: impl Into<Addresses>,
        pinned: ServerKey,
        config: ClientConfig,
    ) -> Result<Self, ClientError> {
        config.validate()?;
        Ok(Self {
            inner: Arc::new(Inner {
                addrs: addrs.into(),
                pinned,
                config,
                link: Mutex::default(),
                warned: AtomicBool::new(false),
                pauses: AtomicU64::new(0),
            }),
        })
    }

    /// Sends a request and takes the response into memory.
    ///
    /// The request must be idempotent: when the connection is lost, or the server refuses for now, the same bytes are
    /// sent again after a pause, until there is a response, the deadline passes or the attempts are used up. Must be
    /// called in a tokio runtime. Dropping the future cancels the request on the server too.
    ///
    /// # Errors
    /// [`ClientError`]; a status that the handler gave is not an error.
    pub async fn request(
        &self,
        kind: u16,
        head: &[u8],
        body: &Body,
        limits: ResponseLimits,
    ) -> Result<Reply, ClientError> {
        self.run(kind, head, body, limits, None).await
    }

    /// As [`Client::request`], with the body of the response in a file, whatever its status. The file is replaced when
    /// the whole body is on the disk, and not touched before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn request_to_file(
        &self,
        kind: u16,
        head: &[u8],
        body: &Body,
        limits: ResponseLimits,
        path: &Path,
    ) -> Result<Reply, ClientError> {
        self.run(kind, head, body, limits, Some(path)).await
    }

    /// Closes the connection, if there is one. A later request makes a new one.
    pub async fn close(&self) {
        let mut link = self.inner.link.lock().await;
        if let Some(connection) = link.connection.take() {
            connection.close(VarInt::from_u32(close_code::DONE), b"done");
        }
        for endpoint in link.take_endpoints() {
            // The server would learn it from its idle timeout otherwise.
            let _ = timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
        }
    }

    async fn run(
        &self,
        kind: u16,
        head: &[u8],
        body: &Body,
        limits: ResponseLimits,
        path: Option<&Path>,
    ) -> Result<Reply, ClientError> {
        let inner = &*self.inner;
        let deadline = Instant::now().checked_add(limits.deadline);
        let deadline = deadline.ok_or(crate::ConfigError::Time { field: "deadline" })?;
        let request = Outgoing {
            kind,
            head,
            body,
            limits,
            path,
            deadline,
        };
        let mut attempts = 0u32;
        let mut failures = 0u32;
        let mut cause = None;
        let mut another = None;
        loop {
            attempts = attempts.saturating_add(1);
            let failure = match inner.attempt(&request).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            // A connection that broke while nobody used it says nothing about the server: try at once.
            let at_once = matches!(failure, Failure::Lost { stale: true, .. });
            let error = match failure {
                Failure::Final(error) => return Err(error),
                Failure::Deadline => return Err(ClientError::Deadline { attempts, cause }),
                Failure::NotConnected(addr, failure, other) => {
                    another = other.or(another);
                    let (addr, failure) = match cause.as_deref() {
                        // An attempt that the deadline cut short says less than the one before it.
                        Some(ClientError::Unreachable { addr, failure, .. })
                            if Instant::now() >= deadline =>
                        {
                            (*addr, *failure)
                        }
                        _ => (addr, failure),
                    };
                    ClientError::Unreachable {
                        addr,
                        attempts,
                        failure,
                        another: another.clone(),
                    }
                }
                Failure::Lost { reason, .. } => ClientError::ConnectionLost { attempts, reason },
                Failure::Later(refusal) => ClientError::Refused { refusal },
            };
            if attempts >= inner.config.max_attempts {
                return Err(error);
            }
            let pause = if at_once {
                Duration::ZERO
            } else {
                failures = failures.saturating_add(1);
                inner.pause(failures)
            };
            tracing::debug!(target: TARGET, event = "attempt_failed", server = %inner.addrs.first(), kind, attempts, error = %error);
            let unreachable = matches!(error, ClientError::Unreachable { .. });
            let next = Instant::now().checked_add(pause);
            if next.is_none_or(|next| next >= deadline) {
                let cause = Some(Box::new(error.clone()));
                let late = ClientError::Deadline { attempts, cause };
                return Err(if unreachable { error } else { late });
            }
            cause = Some(Box::new(error));
            sleep(pause).await;
        }
    }
}

struct Outgoing<'a> {
    kind: u16,
    head: &'a [u8],
    body: &'a Body,
    limits: ResponseLimits,
    path: Option<&'a Path>,
    deadline: Instant,
}

impl Inner {
    /// The pause after this many failures: doubling up to the maximum, shortened by up to half.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = 1u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let full = self
            .config
            .backoff_initial
            .saturating_mul(doubled)
            .min(self.config.backoff_max);
        let number = self.pauses.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::keyed_hash(&self.config.jitter_seed, &number.to_le_bytes());
        let [random, ..] = *hash.as_bytes();
        full.saturating_mul(256 + u32::from(random)) / 512
    }

    async fn attempt(&self, request: &Outgoing<'_>) -> Result<Reply, Failure> {
        let (connection, reused) = self.connection(request.deadline).await?;
        let lost = |reason| Failure::Lost {
            reason,
            stale: reused,
        };
        let opened = timeout_at(request.deadline, connection.open_bi())
            .await
            .map_err(|_| Failure::Deadline)?;
        let (send, recv) = opened.map_err(|error| lost(lost_reason(&error)))?;
        let mut streams = Streams {
            send,
            recv,
            done: false,
        };
        let exchanged = timeout_at(request.deadline, exchange(&mut streams, request, lost))
            .await
            .map_err(|_| Failure::Deadline)?;
        streams.done = exchanged.is_ok();
        exchanged
    }
}

pub(crate) fn lost_reason(error: &ConnectionError) -> LostReason {
    match error {
        ConnectionError::ApplicationClosed(close) => LostReason::Closed {
            code: close.error_code.into_inner(),
        },
        ConnectionError::ConnectionClosed(close) => LostReason::Quic {
            code: close.error_code.into(),
        },
        ConnectionError::TransportError(error) => LostReason::Quic {
            code: error.code.into(),
        },
        ConnectionError::TimedOut => LostReason::TimedOut,
        ConnectionError::Reset => LostReason::Reset,
        ConnectionError::VersionMismatch
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => LostReason::Local,
    }
}

/// The streams of a request. A request that is given up is cancelled, so that the server neither takes what was sent
/// for the whole nor goes on with it.
struct Streams {
    send: SendStream,
    recv: RecvStream,
    done: bool,
}

impl Drop for Streams {
    fn drop(&mut self) {
        if !self.done {
            // These fail only for streams that are closed already.
            let _ = self.send.reset(VarInt::from_u32(close_code::CANCELLED));
            let _ = self.recv.stop(VarInt::from_u32(close_code::CANCELLED));
        }
    }
}

async fn exchange(
    streams: &mut Streams,
    request: &Outgoing<'_>,
    lost: impl Fn(LostReason) -> Failure,
) -> Result<Reply, Failure> {
    let file_error = |path: &Path, kind| {
        let path = path.to_owned();
        Failure::Final(ClientError::File { path, kind })
    };
    let body_path = match request.body {
        Body::File(path) => path.as_path(),
        Body::Empty | Body::Bytes(_) | Body::Parts(_) => Path::new(""),
    };
    let source = Source::open(request.body)
        .await
        .map_err(|error| file_error(body_path, error.kind()))?;
    let head = frame::encode_head(request.kind, request.head, source.len())
        .map_err(|error| Failure::Final(too_large(false, error)))?;
    // The deadline bounds this side; the minimum rate is the server's to ask for.
    let mut pacer = Pacer::new(Duration::MAX, 1);
    // A writer that waits for room on the connection is not told that the server has stopped reading: QUIC's writer looks for
    // room first, and where the stream has none either it is not woken again. So this is waited for beside it.
    let stopped = streams.send.stopped();
    let sent = tokio::select! {
        biased;
        sent = send(&mut pacer, &head, source, &mut streams.send) => sent,
        stopped = stopped => match stopped {
            Err(StoppedError::ConnectionLost(error)) => return Err(lost(lost_reason(&error))),
            // It has answered already.
            _ => Ok(()),
        },
    };
    match sent {
        Ok(()) => {}
        Err(SendError::File(kind)) => return Err(file_error(body_path, kind)),
        Err(SendError::FileChanged) => {
            let path = body_path.to_owned();
            return Err(Failure::Final(ClientError::FileChanged { path }));
        }
        Err(SendError::Stream(Stop::Io(error))) => {
            // A server that stops reading has answered already.
            if let Some(reason) = write_lost(&error) {
                return Err(lost(reason));
            }
        }
        Err(SendError::Stream(Stop::TooSlow | Stop::Deadline)) => return Err(Failure::Deadline),
    }
    receive(&mut streams.recv, request, lost).await
}

/// How the connection was lost; `None` if the server only stopped reading.
fn write_lost(error: &io::Error) -> Option<LostReason> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(WriteError::Stopped(_)) => None,
        Some(WriteError::ConnectionLost(error)) => Some(lost_reason(error)),
        _ => Some(LostReason::Local),
    }
}

fn read_lost(error: &io::Error) -> LostReason {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(ReadError::Reset(code)) => LostReason::StreamReset {
            code: code.into_inner(),
        },
        Some(ReadError::ConnectionLost(error)) => lost_reason(error),
        _ => LostReason::Local,
    }
}

fn too_large(response: bool, error: FrameError) -> ClientError {
    match error {
        FrameError::TooLarge { part, len, max } => ClientError::TooLarge {
            response,
            part,
            len,
            max,
        },
        other => ClientError::Malformed(other),
    }
}

async fn receive(
    recv: &mut RecvStream,
    request: &Outgoing<'_>,
    lost: impl Fn(LostReason) -> Failure,
) -> Result<Reply, Failure> {
    let ended = |part| {
        let lost = &lost;
        move |error: io::Error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                lost(LostReason::Truncated(part))
            } else {
                lost(read_lost(&error))
            }
        }
    };
    let over = |error| Failure::Final(too_large(true, error));

    let mut prefix = [0; PREFIX_LEN];
    read_exact(recv, &mut prefix)
        .await
        .map_err(ended(Part::Prefix))?;
    let Prefix { code, head_len } = Prefix::decode(prefix);
    match Refusal::from_code(code) {
        Some(refusal) if refusal.is_temporary() => return Err(Failure::Later(refusal)),
        Some(refusal) => return Err(Failure::Final(ClientError::Refused { refusal })),
        None => {}
    }
    let status = Status::new(code).ok_or(Failure::Final(ClientError::Refused {
        refusal: Refusal::Unknown(code),
    }))?;
    frame::check_head_len(head_len, request.limits.head_max).map_err(over)?;
    let head = read_vec(recv, u64::from(head_len))
        .await
        .map_err(ended(Part::Head))?;
    let mut body_len = [0; BODY_LEN_LEN];
    read_exact(recv, &mut body_len)
        .await
        .map_err(ended(Part::BodyLength))?;
    let len = u64::from_le_bytes(body_len);
    frame::check_body_len(len, request.limits.body_max).map_err(over)?;
    let (body, digest, partial) = match request.path {
        None => {
            let bytes = read_vec(recv, len).await.map_err(ended(Part::Body))?;
            let digest = *blake3::hash(&bytes).as_bytes();
            (ReplyBody::Bytes(bytes), digest, None)
        }
        Some(path) => {
            let (digest, partial) = read_file(recv, len, path, ended(Part::Body)).await?;
            let path = path.to_owned();
            (ReplyBody::File { path, len }, digest, Some(partial))
        }
    };
    let trailing = recv.read(&mut [0]).await;
    if trailing
        .map_err(|error| ended(Part::Body)(error.into()))?
        .is_some()
    {
        return Err(Failure::Final(ClientError::Malformed(
            FrameError::TrailingBytes,
        )));
    }
    if let Some(partial) = partial {
        partial.keep().await?;
    }
    Ok(Reply {
        status,
        head,
        body,
        digest,
    })
}

async fn read_exact(recv: &mut RecvStream, buffer: &mut [u8]) -> io::Result<()> {
    AsyncReadExt::read_exact(recv, buffer).await.map(|_| ())
}

/// Memory grows with what has arrived, to at most twice that.
async fn read_vec(recv: &mut RecvStream, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut bytes = Vec::new();
    while bytes.len() < len {
        let old = bytes.len();
        let step = old.max(BUFFER).min(len - old);
        bytes.reserve_exact(step);
        bytes.resize(old.saturating_add(step), 0);
        read_exact(recv, bytes.get_mut(old..).unwrap_or_default()).await?;
    }
    Ok(bytes)
}

/// A file beside the one that was asked for; removed unless kept.
struct Partial {
    file: Option<tokio::fs::File>,
    partial: PathBuf,
    path: PathBuf,
}

impl Partial {
    fn failed(&self, error: &io::Error) -> Failure {
        Failure::Final(ClientError::File {
            path: self.path.clone(),
            kind: error.kind(),
        })
    }

    async fn keep(mut self) -> Result<(), Failure> {
        let Some(mut file) = self.file.take() else {
            return Ok(());
        };
        let (partial, path) = (self.partial.clone(), self.path.clone());
        let kept = async {
            file.flush().await?;
            file.sync_all().await?;
            drop(file);
            tokio::fs::rename(&partial, &path).await?;
            tokio::task::spawn_blocking(move || sync_parent(&path)).await?
        };
        kept.await.map_err(|error: io::Error| self.failed(&error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `keep` there is nothing to remove.
        let _ = std::fs::remove_file(&self.partial);
    }
}

async fn read_file(
    recv: &mut RecvStream,
    len: u64,
    path: &Path,
    ended: impl Fn(io::Error) -> Failure,
) -> Result<([u8; 32], Partial), Failure> {
    let mut partial = Partial {
        file: None,
        partial: partial_path(path),
        path: path.to_owned(),
    };
    let mut file = tokio::fs::File::create(&partial.partial)
        .await
        .map_err(|error| partial.failed(&error))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut left = len;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let chunk = buffer.get_mut(..room).unwrap_or_default();
        let count = AsyncReadExt::read(recv, chunk).await.map_err(&ended)?;
        if count == 0 {
            return Err(ended(io::ErrorKind::UnexpectedEof.into()));
        }
        let chunk = chunk.get(..count).unwrap_or_default();
        hasher.update(chunk);
        file.write_all(chunk)
            .await
            .map_err(|error| partial.failed(&error))?;
        left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
    }
    partial.file = Some(file);
    Ok((*hasher.finalize().as_bytes(), partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_with_jitter_from_the_seed() {
        let client = |seed| {
            let addr: SocketAddr = "127.0.0.1:1".parse().unwrap();
            let mut config = ClientConfig::new([seed; 32]);
            config.backoff_initial = Duration::from_millis(100);
            config.backoff_max = Duration::from_secs(1);
            Client::new(addr, ServerKey::new([0; 32]), config).unwrap()
        };
        let pauses = |seed| {
            let client = client(seed);
            let failures = (1..=8).chain([u32::MAX]);
            failures.map(|k| client.inner.pause(k)).collect::<Vec<_>>()
        };
        let full = [100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000];
        for (pause, full) in pauses(1).into_iter().zip(full) {
            let full = Duration::from_millis(full);
            assert!(pause >= full / 2 && pause < full, "{pause:?} of {full:?}");
        }
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
        let last = pauses(1).split_off(5);
        assert!(last.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
