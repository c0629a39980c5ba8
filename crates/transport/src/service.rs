//! The request layer of the server: one request and its response over any stream.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout, timeout_at};

use crate::TRACING_TARGET as TARGET;
use crate::budget::{ByteBudget, Charge};
use crate::config::{RequestLimits, ServiceConfig};
use crate::error::BindError;
use crate::frame::{self, BODY_LEN_LEN, FrameError, PREFIX_LEN, Prefix};
use crate::pace::{Pacer, Stop};
use crate::share::{NoShare, Share, Shares};
use crate::source::Source as Origin;
use crate::spool::{Place, Spool, SpooledBody};
use crate::stats::{Counters, ServerStats};
use crate::status::{Refusal, Status};

/// The buffer of an upload or download.
const BUFFER: u32 = 32 << 10;
/// What is charged for the first bytes of a head or body that stays in memory.
const FIRST_STEP: usize = 4 << 10;
/// Spool is charged in steps of this size as the bytes come.
const SPOOL_STEP: u64 = 1 << 20;

/// Requests whose sender is looked for at one time.
const IDENTIFIED_AT_ONCE: usize = 2;

/// Who sent a request, as far as the transport knows: addresses and connections are not identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The address the peer has now.
    pub addr: SocketAddr,
    /// The number of its connection on this server.
    pub connection: u64,
}

impl PeerInfo {
    /// Whom the peer's work is counted to as long as nobody knows who it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.addr.ip().into()
    }
}

/// A request that was read to its end within the limits of its kind.
#[derive(Debug)]
pub struct Request {
    /// The kind.
    pub kind: u16,
    /// The head.
    pub head: Vec<u8>,
    /// The body.
    pub body: SpooledBody,
    /// The part of the memory budget that the head holds.
    _memory: Charge,
}

/// Who sent a request, as far as its head proves it.
#[derive(Clone, Debug)]
pub enum Sender {
    /// Anybody.
    Unknown,
    /// Whoever the handler knows by this number: it has a share of the server's work of its own, wherever it comes from.
    Known(u64),
    /// The request cannot be taken yet; the client sends it again ([`Refusal::Busy`]).
    NotYet,
    /// Somebody who claims to be who it is not, or whose request needs no body to be answered: this is the answer.
    Refused(Response),
}

/// The bytes of a body that is sent.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes in memory, which many messages can share.
    Bytes(Arc<[u8]>),
    /// The bytes of these one after the other: messages that have most of their bytes in common share them.
    Parts(Vec<Arc<[u8]>>),
    /// The bytes of a file, which must not change meanwhile.
    File(PathBuf),
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// What a handler answers.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: Status,
    /// The head, at most `u32::MAX` bytes.
    pub head: Vec<u8>,
    /// The body.
    pub body: Body,
    /// See [`Response::when_delivered`].
    delivery: Delivery,
}

/// What a handler does when the peer has its answer.
#[derive(Clone, Default)]
struct Delivery(Option<Arc<dyn Fn() + Send + Sync>>);

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Delivery" } else { "None" })
    }
}

impl Response {
    /// A response without a body.
    #[must_use]
    pub fn new(status: Status, head: Vec<u8>) -> Self {
        Self {
            status,
            head,
            body: Body::Empty,
            delivery: Delivery::default(),
        }
    }

    /// The same, and `told` is called once the peer has acknowledged the last byte of it: not when it was made, and never if
    /// the peer is gone before. It is dropped when the stream has ended, however it did; what it holds lives until then. Must
    /// be quick.
    #[must_use]
    pub fn when_delivered(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.delivery = Delivery(Some(Arc::new(told)));
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// The application behind a server.
pub trait Handler: Send + Sync + 'static {
    /// What a request of this kind may cost; `None` if there is no such kind.
    fn limits(&self, kind: u16) -> Option<RequestLimits>;

    /// Whether requests of this kind can be taken yet; otherwise they are refused with [`Refusal::Busy`] before anything is
    /// read, and the client sends them again.
    fn is_ready(&self, kind: u16) -> bool {
        let _ = kind;
        true
    }

    /// What [`Self::identify`] would say, where that is known without work; asked on a thread of the runtime.
    fn recall(&self, kind: u16, head: &[u8]) -> Option<Sender> {
        let _ = (kind, head);
        None
    }

    /// Who sent a request with this head; asked before a byte of the body is read. It may check a signature: a few requests
    /// at a time are asked for, on threads where that keeps nobody else waiting. It must not wait for anything.
    fn identify(&self, kind: u16, head: &[u8]) -> Sender {
        let _ = (kind, head);
        Sender::Unknown
    }

    /// Answers a request.
    ///
    /// Requests must be idempotent: a client that loses its connection sends the same bytes again. The future is
    /// dropped when the deadline passes, the peer goes away or the server stops; what must not be left half done
    /// belongs in a task or a blocking call of its own. A panic is answered with [`Refusal::Internal`].
    fn handle(&self, peer: PeerInfo, request: Request) -> impl Future<Output = Response> + Send;
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The handler's answer was written.
    Answered(Status),
    /// The transport's refusal was written.
    Refused(Refusal),
    /// The peer went away while the request was read.
    GoneEarly,
    /// The peer went away, or did not take the answer, after the request was read.
    GoneLate,
}

/// How a stream ended. The request counts among the requests in work until this is dropped, so drop it when the
/// response has left.
#[derive(Debug)]
#[must_use = "the request counts as in work until the outcome is dropped"]
pub struct StreamOutcome {
    /// How it ended.
    pub end: StreamEnd,
    delivery: Delivery,
    _share: Option<Share>,
}

impl StreamOutcome {
    /// To be called when the peer has acknowledged the end of the response: tells the handler, if this is its answer
    /// ([`Response::when_delivered`]).
    pub fn delivered(&self) {
        if let (Some(told), StreamEnd::Answered(_)) = (&self.delivery.0, self.end) {
            told();
        }
    }
}

/// What all streams of a server share, whatever its handler is.
#[derive(Debug)]
pub(crate) struct Core {
    config: ServiceConfig,
    memory: ByteBudget,
    spool: Arc<Spool>,
    shares: Arc<Shares>,
    /// See [`IDENTIFIED_AT_ONCE`].
    identifying: Semaphore,
    draining: AtomicBool,
    pub(crate) counters: Counters,
}

impl Core {
    pub(crate) fn stats(&self) -> ServerStats {
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        ServerStats {
            memory_in_use: bytes(self.memory.in_use()),
            memory_peak: bytes(self.memory.peak()),
            spool_in_use: bytes(self.spool.budget.in_use()),
            spool_peak: bytes(self.spool.budget.peak()),
            ..self.counters.snapshot()
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits until no request is in work. Nothing new begins once [`Core::drain`] was called.
    pub(crate) async fn idle(&self) {
        self.shares.idle().await;
    }

    /// How long a peer may take to acknowledge what QUIC has buffered of a response.
    pub(crate) fn acknowledge_in(&self, buffered: u32) -> Duration {
        let at_min_rate = u64::from(buffered) / self.config.min_rate.max(1);
        self.config
            .stall_grace
            .saturating_add(Duration::from_secs(at_min_rate))
    }
}

/// Serves requests on streams with a handler, within the bounds of a [`ServiceConfig`].
#[derive(Debug)]
pub struct RequestService<H> {
    core: Arc<Core>,
    handler: Arc<H>,
}

impl<H> Clone for RequestService<H> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            handler: Arc::clone(&self.handler),
        }
    }
}

/// Why a request is not handed to the handler.
enum NoRequest {
    Refused(Refusal),
    /// The head was enough.
    Answered(Response),
    Gone,
}

impl From<NoShare> for NoRequest {
    fn from(_: NoShare) -> Self {
        Self::Refused(Refusal::Busy)
    }
}

impl From<Stop> for NoRequest {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::TooSlow => Self::Refused(Refusal::TooSlow),
            Stop::Deadline => Self::Refused(Refusal::Deadline),
            Stop::Io(_) => Self::Gone,
        }
    }
}

impl From<FrameError> for NoRequest {
    fn from(error: FrameError) -> Self {
        Self::Refused(error.refusal())
    }
}

impl<H: Handler> RequestService<H> {
    /// Opens the spool.
    ///
    /// # Errors
    /// [`BindError::Config`] and [`BindError::Spool`].
    pub fn new(config: ServiceConfig, handler: H) -> Result<Self, BindError> {
        config.validate()?;
        let spool = Spool::open(&config.spool_dir, config.spool_total)?;
        let core = Core {
            memory: ByteBudget::new(config.memory_total),
            spool,
            shares: Shares::new(&config),
            identifying: Semaphore::new(IDENTIFIED_AT_ONCE),
            draining: AtomicBool::new(false),
            counters: Counters::default(),
            config,
        };
        Ok(Self {
            core: Arc::new(core),
            handler: Arc::new(handler),
        })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The counters; those of connections are zero without a [`crate::Server`].
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.core.stats()
    }

    /// Reads one request, has it handled and writes the response. Needs a tokio runtime.
    ///
    /// `abandoned` completes when the peer no longer wants the response; pass [`core::future::pending`] where that
    /// can not be known. The written side is shut down at the end, unless the peer is gone. Never fails: how it ended
    /// is in the outcome and in [`RequestService::stats`].
    pub async fn serve_stream<R, W>(
        &self,
        peer: PeerInfo,
        reader: &mut R,
        writer: &mut W,
        abandoned: impl Future<Output = ()>,
    ) -> StreamOutcome
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let core = &*self.core;
        core.counters.requests_started.one();
        let mut pacer = Pacer::new(core.config.stall_grace, core.config.min_rate);
        let mut share = None;
        let read = if core.is_draining() {
            Err(NoRequest::Refused(Refusal::ShuttingDown))
        } else {
            match core.shares.begin(Origin::from(peer.addr.ip())) {
                Err(full) => Err(full.into()),
                Ok(begun) => {
                    let share = share.insert(begun);
                    self.read_request(&mut pacer, reader, share).await
                }
            }
        };
        core.counters.bytes_in.add(pacer.bytes());
        let mut delivery = Delivery::default();
        let end = match read {
            Ok((request, deadline)) => {
                let kind = request.kind;
                let answer = self.handle(peer, request, deadline, abandoned).await;
                let end = match answer {
                    Some(Ok(mut response)) => {
                        delivery = std::mem::take(&mut response.delivery);
                        self.respond(response, writer).await
                    }
                    Some(Err(refusal)) => self.refuse(refusal, writer).await,
                    None => StreamEnd::GoneLate,
                };
                tracing::debug!(target: TARGET, event = "request_ended", peer = %peer.addr, kind, end = ?end);
                end
            }
            Err(NoRequest::Refused(refusal)) => {
                let end = self.refuse(refusal, writer).await;
                tracing::debug!(target: TARGET, event = "request_refused", peer = %peer.addr, reason = refusal.name());
                end
            }
            Err(NoRequest::Answered(response)) => self.respond(response, writer).await,
            Err(NoRequest::Gone) => StreamEnd::GoneEarly,
        };
        match end {
            StreamEnd::Answered(_) => core.counters.requests_answered.one(),
            StreamEnd::GoneEarly | StreamEnd::GoneLate => core.counters.requests_gone.one(),
            // Counted by reason.
            StreamEnd::Refused(_) => {}
        }
        StreamOutcome {
            end,
            delivery,
            _share: share,
        }
    }

    async fn read_request<R: AsyncRead + Unpin>(
        &self,
        pacer: &mut Pacer,
        reader: &mut R,
        share: &mut Share,
    ) -> Result<(Request, Instant), NoRequest> {
        let start = Instant::now();
        let mut prefix = [0; PREFIX_LEN];
        read_exact(pacer, reader, &mut prefix).await?;
        let Prefix {
            code: kind,
            head_len,
        } = Prefix::decode(prefix);
        if !self.handler.is_ready(kind) {
            return Err(NoRequest::Refused(Refusal::Busy));
        }
        let limits = self
            .handler
            .limits(kind)
            .ok_or(FrameError::UnknownKind { kind })?;
        let deadline = start
            .checked_add(limits.deadline)
            .ok_or(NoRequest::Refused(Refusal::Internal))?;
        pacer.set_deadline(deadline);
        frame::check_head_len(head_len, limits.head_max)?;
        let mut memory = Charge::default();
        let head = self
            .read_to_memory(pacer, reader, u64::from(head_len), &mut memory)
            .await?;
        let (sender, head) = self.sender(kind, head, deadline).await?;
        match &sender {
            Sender::Known(identity) => share.identify(*identity)?,
            Sender::NotYet => return Err(NoRequest::Refused(Refusal::Busy)),
            Sender::Unknown | Sender::Refused(_) => {}
        }
        let wait = share.wait()?;
        if !wait.is_zero() {
            sleep(wait).await;
        }
        if let Sender::Refused(response) = sender {
            return Err(NoRequest::Answered(response));
        }
        let mut body_len = [0; BODY_LEN_LEN];
        read_exact(pacer, reader, &mut body_len).await?;
        let body_len = u64::from_le_bytes(body_len);
        frame::check_body_len(body_len, limits.body_max)?;
        let body = if body_len <= u64::from(self.core.config.memory_body_max) {
            let mut charge = Charge::default();
            let bytes = self
                .read_to_memory(pacer, reader, body_len, &mut charge)
                .await?;
            let digest = *blake3::hash(&bytes).as_bytes();
            SpooledBody::new(body_len, digest, Place::Memory(bytes, charge))
        } else {
            let place = share.body()?;
            let body = self.read_to_spool(pacer, reader, body_len).await?;
            body.counted_to(place)
        };
        if pacer.read(reader, &mut [0]).await? != 0 {
            return Err(FrameError::TrailingBytes.into());
        }
        let request = Request {
            kind,
            head,
            body,
            _memory: memory,
        };
        Ok((request, deadline))
    }

    /// Who sent a request. Whoever floods the server with signatures that do not verify has [`IDENTIFIED_AT_ONCE`] threads of
    /// it, and no thread that serves the others.
    async fn sender(
        &self,
        kind: u16,
        head: Vec<u8>,
        deadline: Instant,
    ) -> Result<(Sender, Vec<u8>), NoRequest> {
        if let Some(sender) = self.handler.recall(kind, &head) {
            return Ok((sender, head));
        }
        let identified = async {
            let turn = self.core.identifying.acquire().await.ok()?;
            let handler = Arc::clone(&self.handler);
            let work = move || (handler.identify(kind, &head), head);
            let found = tokio::task::spawn_blocking(work).await.ok();
            drop(turn);
            found
        };
        match timeout_at(deadline, identified).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(NoRequest::Refused(Refusal::Internal)),
            Err(_) => Err(NoRequest::Refused(Refusal::Deadline)),
        }
    }

    /// Memory grows with what has arrived, to at most twice that.
    async fn read_to_memory<R: AsyncRead + Unpin>(
        &self,
        pacer: &mut Pacer,
        reader: &mut R,
        len: u64,
        charge: &mut Charge,
    ) -> Result<Vec<u8>, NoRequest> {
        let len = usize::try_from(len).map_err(|_| NoRequest::Refused(Refusal::Busy))?;
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let old = bytes.len();
            let step = old.max(FIRST_STEP).min(len - old);
            let charged = u32::try_from(step).map_err(|_| NoRequest::Refused(Refusal::Busy))?;
            self.charge_memory(charge, charged).await?;
            bytes.reserve_exact(step);
            bytes.resize(old.saturating_add(step), 0);
            read_exact(pacer, reader, bytes.get_mut(old..).unwrap_or_default()).await?;
        }
        Ok(bytes)
    }

    async fn charge_memory(&self, charge: &mut Charge, bytes: u32) -> Result<(), NoRequest> {
        self.core
            .memory
            .grow(charge, bytes, self.core.config.admission_wait)
            .await
            .map_err(|_| NoRequest::Refused(Refusal::Busy))
    }

    async fn read_to_spool<R: AsyncRead + Unpin>(
        &self,
        pacer: &mut Pacer,
        reader: &mut R,
        len: u64,
    ) -> Result<SpooledBody, NoRequest> {
        let storage = |error: io::Error| {
            tracing::error!(target: TARGET, event = "spool_failed", kind = %error.kind());
            NoRequest::Refused(Refusal::Storage)
        };
        let mut buffer_charge = Charge::default();
        self.charge_memory(&mut buffer_charge, BUFFER).await?;
        let mut buffer = vec![0; usize::try_from(BUFFER).unwrap_or(FIRST_STEP)];
        let spool = Arc::clone(&self.core.spool);
        let (file, mut guard) = tokio::task::spawn_blocking(move || spool.create())
            .await
            .map_err(io::Error::from)
            .and_then(|created| created)
            .map_err(storage)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut hasher = blake3::Hasher::new();
        let (mut read, mut charged) = (0u64, 0u64);
        while read < len {
            if read == charged {
                let step = SPOOL_STEP.min(len - read);
                let bytes = u32::try_from(step).unwrap_or(u32::MAX);
                self.core
                    .spool
                    .budget
                    .grow(&mut guard.charge, bytes, self.core.config.admission_wait)
                    .await
                    .map_err(|_| NoRequest::Refused(Refusal::SpoolFull))?;
                charged = charged.saturating_add(step);
            }
            let room = usize::try_from(charged - read).unwrap_or(usize::MAX);
            let room = room.min(buffer.len());
            let chunk = buffer.get_mut(..room).unwrap_or_default();
            // Packets come one by one; hashing and writing each by itself would cost more than they do.
            read_exact(pacer, reader, chunk).await?;
            hasher.update(chunk);
            file.write_all(chunk).await.map_err(storage)?;
            read = read.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        }
        file.flush().await.map_err(storage)?;
        let digest = *hasher.finalize().as_bytes();
        Ok(SpooledBody::new(len, digest, Place::File(guard)))
    }

    /// `None` if the peer went away.
    async fn handle(
        &self,
        peer: PeerInfo,
        request: Request,
        deadline: Instant,
        abandoned: impl Future<Output = ()>,
    ) -> Option<Result<Response, Refusal>> {
        let handler = Arc::clone(&self.handler);
        // A task of its own keeps a panic away from the connection; the set aborts it when it is dropped.
        let mut task = JoinSet::new();
        task.spawn(async move { handler.handle(peer, request).await });
        tokio::select! {
            ended = task.join_next() => match ended {
                Some(Ok(response)) => Some(Ok(response)),
                _ => {
                    tracing::error!(target: TARGET, event = "handler_failed", peer = %peer.addr);
                    Some(Err(Refusal::Internal))
                }
            },
            () = sleep_until(deadline) => Some(Err(Refusal::Deadline)),
            () = abandoned => None,
        }
    }

    async fn refuse<W: AsyncWrite + Unpin>(&self, refusal: Refusal, writer: &mut W) -> StreamEnd {
        self.core.counters.refused(refusal);
        let bytes = frame::encode_head(refusal.code(), &[], 0).unwrap_or_default();
        let mut pacer = self.response_pacer();
        // A peer that does not take a refusal has been told all it can be told.
        if pacer.write_all(writer, &bytes).await.is_ok() {
            let _ = pacer.finish(writer).await;
        }
        StreamEnd::Refused(refusal)
    }

    fn response_pacer(&self) -> Pacer {
        Pacer::new(self.core.config.stall_grace, self.core.config.min_rate)
    }

    async fn respond<W: AsyncWrite + Unpin>(
        &self,
        response: Response,
        writer: &mut W,
    ) -> StreamEnd {
        let source = match Source::open(&response.body).await {
            Ok(source) => source,
            Err(error) => {
                tracing::error!(target: TARGET, event = "response_file_failed", kind = %error.kind());
                return self.refuse(Refusal::Storage, writer).await;
            }
        };
        let code = response.status.code();
        let Ok(head) = frame::encode_head(code, &response.head, source.len()) else {
            tracing::error!(target: TARGET, event = "response_head_too_long");
            return self.refuse(Refusal::Internal, writer).await;
        };
        let mut pacer = self.response_pacer();
        let sent = send(&mut pacer, &head, source, writer).await;
        self.core.counters.bytes_out.add(pacer.bytes());
        match sent {
            Ok(()) => StreamEnd::Answered(response.status),
            Err(_) => StreamEnd::GoneLate,
        }
    }
}

async fn read_exact<R: AsyncRead + Unpin>(
    pacer: &mut Pacer,
    reader: &mut R,
    mut buffer: &mut [u8],
) -> Result<(), NoRequest> {
    while !buffer.is_empty() {
        let count = pacer.read(reader, buffer).await?;
        if count == 0 {
            return Err(NoRequest::Refused(Refusal::Truncated));
        }
        buffer = buffer.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}

/// A body that is ready to be sent.
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    Parts(&'a [Arc<[u8]>]),
    File(tokio::fs::File, u64),
}

impl<'a> Source<'a> {
    pub(crate) async fn open(body: &'a Body) -> io::Result<Self> {
        match body {
            Body::Empty => Ok(Self::Bytes(&[])),
            Body::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            Body::Parts(parts) => Ok(Self::Parts(parts)),
            Body::File(path) => {
                let file = tokio::fs::File::open(path).await?;
                let len = file.metadata().await?.len();
                Ok(Self::File(file, len))
            }
        }
    }

    pub(crate) fn len(&self) -> u64 {
        let len = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self {
            Self::Bytes(bytes) => len(bytes),
            Self::Parts(parts) => parts
                .iter()
                .fold(0, |sum: u64, part| sum.saturating_add(len(part))),
            Self::File(_, len) => *len,
        }
    }
}

/// Why a frame was not sent to its end.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The stream did not take it.
    Stream(Stop),
    /// The file could not be read.
    File(io::ErrorKind),
    /// The file became shorter.
    FileChanged,
}

/// Sends a frame and ends the stream.
pub(crate) async fn send<W: AsyncWrite + Unpin>(
    pacer: &mut Pacer,
    head: &[u8],
    source: Source<'_>,
    writer: &mut W,
) -> Result<(), SendError> {
    pacer
        .write_all(writer, head)
        .await
        .map_err(SendError::Stream)?;
    match source {
        Source::Bytes(bytes) => pacer
            .write_all(writer, bytes)
            .await
            .map_err(SendError::Stream)?,
        Source::Parts(parts) => {
            for part in parts {
                pacer
                    .write_all(writer, part)
                    .await
                    .map_err(SendError::Stream)?;
            }
        }
        Source::File(file, len) => {
            let mut file = file.take(len);
            let mut buffer = vec![0; usize::try_from(BUFFER).unwrap_or(FIRST_STEP)];
            let mut sent = 0u64;
            while sent < len {
                let read = file.read(&mut buffer).await;
                let count = read.map_err(|error| SendError::File(error.kind()))?;
                if count == 0 {
                    return Err(SendError::FileChanged);
                }
                let chunk = buffer.get(..count).unwrap_or_default();
                pacer
                    .write_all(writer, chunk)
                    .await
                    .map_err(SendError::Stream)?;
                sent = sent.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
        }
    }
    pacer.finish(writer).await.map_err(SendError::Stream)
}

/// Waits for `future` at most `limit`; whether it came in time.
pub(crate) async fn at_most(limit: Duration, future: impl Future) -> bool {
    timeout(limit, future).await.is_ok()
}
