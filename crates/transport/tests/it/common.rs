//! A server with a handler whose kinds do what the tests need, on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Notify;
use veilsum_transport::{
    Body, Client, ClientConfig, Handler, PeerInfo, Rate, Request, RequestLimits, Response,
    ResponseLimits, RetryPolicy, Sender, Server, ServerConfig, ServerIdentity, ServerKey, Status,
};

/// Sends head and body back.
pub(crate) const ECHO: u16 = 1;
/// Answers with the digest of the body.
pub(crate) const DIGEST: u16 = 2;
/// Answers when the test says so.
pub(crate) const POLL: u16 = 3;
/// Fails.
pub(crate) const PANIC: u16 = 4;
/// Never answers; has a short deadline.
pub(crate) const STUCK: u16 = 5;
/// Answers with status 7 and the file whose path is the head.
pub(crate) const FILE: u16 = 6;
/// Answers whether the body is in memory.
pub(crate) const WHERE: u16 = 7;
/// Answers with as many zeros as the head says (u64).
pub(crate) const ZEROS: u16 = 8;
pub(crate) const PARTS: u16 = 9;
/// Never answers, and works on the body until the test says so, whether anybody waits or not.
pub(crate) const KEEP: u16 = 10;
pub(crate) const UNKNOWN: u16 = 99;

/// Ends a test that hangs. Tests wait for what is to happen, and a busy machine may take its time for it; a time that a test
/// is about is set in that test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const HEAD_MAX: u32 = 100;
pub(crate) const BODY_MAX: u64 = 8 << 20;

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) poll: Notify,
    pub(crate) handled: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Signatures that are being checked, and the most that ever were at one time.
    pub(crate) checking: AtomicU64,
    pub(crate) checking_most: AtomicU64,
    /// Answers to [`ZEROS`] that were acknowledged, and those that are over.
    pub(crate) delivered: AtomicU64,
    pub(crate) over: AtomicU64,
}

struct CountOver(Arc<Shared>);

impl Drop for CountOver {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
pub(crate) struct TestHandler(pub(crate) Arc<Shared>);

struct CountDrop(Arc<Shared>, bool);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Handler for TestHandler {
    fn limits(&self, kind: u16) -> Option<RequestLimits> {
        (kind < UNKNOWN).then_some(RequestLimits {
            head_max: HEAD_MAX,
            body_max: BODY_MAX,
            deadline: if kind == STUCK {
                Duration::from_millis(100)
            } else {
                PATIENCE
            },
        })
    }

    fn recall(&self, _: u16, head: &[u8]) -> Option<Sender> {
        (!head.starts_with(b"id") && !head.starts_with(b"forged")).then_some(Sender::Unknown)
    }

    /// Heads that begin so say who sends them; a second byte of 0 is a lie, and some lies are hard to see through.
    fn identify(&self, _: u16, head: &[u8]) -> Sender {
        match head {
            [b'f', b'o', ..] => {
                let now = self.0.checking.fetch_add(1, Ordering::SeqCst) + 1;
                self.0.checking_most.fetch_max(now, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                self.0.checking.fetch_sub(1, Ordering::SeqCst);
                Sender::Refused(Response::new(Status::new(9).unwrap(), b"forged".to_vec()))
            }
            [b'i', b'd', 0, ..] => {
                Sender::Refused(Response::new(Status::new(9).unwrap(), b"impostor".to_vec()))
            }
            [b'i', b'd', number, ..] => Sender::Known(u64::from(*number)),
            _ => Sender::Unknown,
        }
    }

    async fn handle(&self, _peer: PeerInfo, request: Request) -> Response {
        self.0.handled.fetch_add(1, Ordering::SeqCst);
        let mut guard = CountDrop(Arc::clone(&self.0), false);
        let response = match request.kind {
            ECHO => {
                let body = request.body.read_all(BODY_MAX as usize).unwrap();
                Response::new(Status::OK, request.head).with_body(body.into())
            }
            PARTS => {
                let body = request.body.read_all(BODY_MAX as usize).unwrap();
                let parts = body.chunks(70_000).map(Into::into).collect();
                Response::new(Status::OK, request.head).with_body(Body::Parts(parts))
            }
            DIGEST => Response::new(Status::OK, request.body.digest().to_vec()),
            POLL => {
                self.0.poll.notified().await;
                Response::new(Status::OK, request.head)
            }
            PANIC => panic!("on purpose"),
            STUCK => std::future::pending().await,
            KEEP => {
                let (shared, body) = (Arc::clone(&self.0), request.body);
                tokio::spawn(async move {
                    shared.poll.notified().await;
                    drop(body);
                });
                std::future::pending().await
            }
            FILE => {
                let path = String::from_utf8(request.head).unwrap();
                Response::new(Status::new(7).unwrap(), Vec::new())
                    .with_body(Body::File(path.into()))
            }
            WHERE => Response::new(Status::OK, vec![u8::from(request.body.bytes().is_some())]),
            ZEROS => {
                let len = u64::from_le_bytes(request.head.as_slice().try_into().unwrap());
                let over = CountOver(Arc::clone(&self.0));
                Response::new(Status::OK, Vec::new())
                    .with_body(vec![0; len as usize].into())
                    .when_delivered(move || {
                        over.0.delivered.fetch_add(1, Ordering::SeqCst);
                    })
            }
            other => unreachable!("no limits for kind {other}"),
        };
        guard.1 = true;
        response
    }
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) key: ServerKey,
    pub(crate) shared: Arc<Shared>,
    pub(crate) dir: TempDir,
}

pub(crate) fn identity(seed: u8) -> ServerIdentity {
    ServerIdentity::from_seed(&[seed; 32]).unwrap()
}

pub(crate) fn server_config(dir: &TempDir) -> ServerConfig {
    let mut config = ServerConfig::new(dir.path().join("spool"));
    config.service.stall_grace = 2 * PATIENCE;
    config.service.admission_wait = Duration::from_millis(100);
    config.service.memory_body_max = 1024;
    config.service.min_rate = 1 << 20;
    config.service.source_rate = Rate::UNLIMITED;
    config.handshake_timeout = PATIENCE;
    config.idle_timeout = PATIENCE;
    config.retry = RetryPolicy::UnderLoad { connections: 1000 };
    config
}

pub(crate) fn start(change: impl FnOnce(&mut ServerConfig)) -> World {
    start_at("127.0.0.1:0".parse().unwrap(), change)
}

pub(crate) fn start_at(addr: SocketAddr, change: impl FnOnce(&mut ServerConfig)) -> World {
    start_as(&identity(1), addr, change)
}

/// A server with another key.
pub(crate) fn start_other() -> World {
    start_as(&identity(9), "127.0.0.1:0".parse().unwrap(), |_| {})
}

fn start_as(
    identity: &ServerIdentity,
    addr: SocketAddr,
    change: impl FnOnce(&mut ServerConfig),
) -> World {
    let dir = tempfile::tempdir().unwrap();
    let mut config = server_config(&dir);
    change(&mut config);
    let handler = TestHandler::default();
    let shared = Arc::clone(&handler.0);
    let server = Server::bind(addr, identity, config, handler).unwrap();
    World {
        server,
        key: identity.public_key(),
        shared,
        dir,
    }
}

pub(crate) fn client_config() -> ClientConfig {
    let mut config = ClientConfig::new([9; 32]);
    config.connect_timeout = Duration::from_secs(10);
    config.idle_timeout = PATIENCE;
    config.keep_alive = Duration::from_millis(100);
    config.backoff_initial = Duration::from_millis(10);
    config.backoff_max = Duration::from_millis(50);
    config
}

pub(crate) fn client_of(addr: SocketAddr, key: ServerKey) -> Client {
    Client::new(addr, key, client_config()).unwrap()
}

impl World {
    pub(crate) fn client(&self) -> Client {
        client_of(self.server.local_addr(), self.key)
    }

    /// Files in the spool now, the lock not counted.
    pub(crate) fn spool_files(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("spool"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name() != ".lock")
            .count()
    }
}

pub(crate) fn limits() -> ResponseLimits {
    limits_for(PATIENCE)
}

pub(crate) fn limits_for(deadline: Duration) -> ResponseLimits {
    ResponseLimits {
        head_max: 1000,
        body_max: BODY_MAX,
        deadline,
    }
}

/// Bytes that are not all alike.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7])
        .collect()
}

/// Waits until `condition` holds; panics when it does not within [`PATIENCE`].
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, holds).await.is_err() {
        panic!("did not come true: {what}");
    }
}
