//! The relay that clients take for the server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Duration;
use veilsum::crypto::{Digest, IdentityKey};
use veilsum::params::{ClientId, RoundParams};
use veilsum::protocol::{Message, Record};
use veilsum::store::{Log, RealDisk, StoreError};
use veilsum::transport::{
    Body, Client as Link, ClientConfig, Handler, PeerInfo, Reply, Request, RequestLimits, Response,
    ResponseLimits, Server as Transport, ServerConfig, ServerIdentity, ServerKey, Status,
};
use veilsum::wire::{
    Announcement, AnnouncementContent, Header, LightBundle, ReceiptContent, RequestContent,
    RoundResult, Signed, Wire,
};
use veilsum::{code, kind, round_dir, server_log_identity};

use super::said::Said;
use super::{CheatingServer, Scene, lies};
use crate::error::DemoError;

/// Longest request or answer that is relayed, in bytes.
const BODY_MAX: u64 = 256 << 20;
/// Longest time that a request may wait at the honest server.
const WAIT: Duration = Duration::from_secs(900);
/// How long the victim waits for each answer that tells it nothing.
const SILENCE: Duration = Duration::from_millis(300);

/// What the cheating server needs.
pub(crate) struct FrontOptions {
    pub(crate) kind: CheatingServer,
    /// The server's keys: both servers act under them.
    pub(crate) signing: IdentityKey,
    pub(crate) transport: ServerIdentity,
    /// The signing key of the accomplice, who lets the server use it.
    pub(crate) accomplice: IdentityKey,
    /// Where the honest server listens, and keeps its logs.
    pub(crate) backend: SocketAddr,
    pub(crate) state: PathBuf,
    pub(crate) spool: PathBuf,
}

/// The cheating server.
pub(crate) struct Front {
    transport: Transport,
    relay: Arc<Relay>,
}

struct Relay {
    kind: CheatingServer,
    signing: IdentityKey,
    accomplice: IdentityKey,
    backend: SocketAddr,
    pin: ServerKey,
    state: PathBuf,
    spool: PathBuf,
    scene: Mutex<Option<Arc<Scene>>>,
    /// What was said in this round that the honest server does not know of.
    said: Mutex<Said>,
    /// The last round in whose log the accomplice's contribution is.
    planted: watch::Sender<u64>,
    /// The last round in which the victim was shown another proposal: from then on it hears nothing.
    shown: AtomicU64,
    /// The last round of which the honest server says that it is over.
    over: AtomicU64,
    /// For each connection of a client one to the honest server.
    links: Mutex<BTreeMap<u64, Link>>,
}

struct Answers(Arc<Relay>);

impl Front {
    /// Binds a port of its own on loopback. Must be called in a tokio runtime.
    pub(crate) fn bind(options: FrontOptions) -> Result<Self, DemoError> {
        let relay = Arc::new(Relay {
            kind: options.kind,
            signing: options.signing,
            accomplice: options.accomplice,
            backend: options.backend,
            pin: options.transport.public_key(),
            state: options.state,
            spool: options.spool.clone(),
            scene: Mutex::new(None),
            said: Mutex::default(),
            planted: watch::Sender::new(0),
            shown: AtomicU64::new(0),
            over: AtomicU64::new(0),
            links: Mutex::new(BTreeMap::new()),
        });
        let transport = Transport::bind(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            &options.transport,
            ServerConfig::new(options.spool),
            Answers(Arc::clone(&relay)),
        )?;
        Ok(Self { transport, relay })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.transport.local_addr()
    }

    pub(crate) fn kind(&self) -> CheatingServer {
        self.relay.kind
    }

    /// The next round begins.
    pub(crate) fn set(&self, scene: Scene) {
        *self.relay.said() = Said::default();
        *self
            .relay
            .scene
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(scene));
    }

    /// Waits until the honest server may open the round: when what its log is to hold already is there.
    pub(crate) async fn prepared(&self, round: u64) -> Result<(), DemoError> {
        if self.relay.kind != CheatingServer::AcceptsInvalid {
            return Ok(());
        }
        let mut planted = self.relay.planted.subscribe();
        let planted = planted.wait_for(|last| *last >= round);
        match tokio::time::timeout(WAIT, planted).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(DemoError::Task),
        }
    }

    /// Makes the transcript of the round, which the honest server has closed, the cheating one's: with what it really
    /// published.
    pub(crate) fn own_transcript(&self, dir: &Path) -> Result<(), StoreError> {
        let Some(scene) = self.relay.scene() else {
            return Ok(());
        };
        let said = std::mem::take(&mut *self.relay.said());
        said.rewrite(dir, &self.relay.spool, &scene, &self.relay.signing)
    }

    pub(crate) async fn shutdown(self, grace: Duration) {
        self.transport.shutdown(grace).await;
        let links = std::mem::take(
            &mut *self
                .relay
                .links
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for link in links.into_values() {
            link.close().await;
        }
    }
}

fn status(code: u16) -> Response {
    Response::new(Status::new(code).unwrap_or(Status::OK), Vec::new())
}

impl Handler for Answers {
    fn limits(&self, _: u16) -> Option<RequestLimits> {
        Some(RequestLimits {
            head_max: 1 << 20,
            body_max: BODY_MAX,
            deadline: WAIT,
        })
    }

    async fn handle(&self, peer: PeerInfo, request: Request) -> Response {
        let Request {
            kind, head, body, ..
        } = request;
        let max = usize::try_from(BODY_MAX).unwrap_or(usize::MAX);
        let Ok(Ok(body)) = tokio::task::spawn_blocking(move || body.read_all(max)).await else {
            return status(code::STORAGE);
        };
        let Some(scene) = self.0.scene() else {
            return status(code::AGAIN);
        };
        if let Some(own) = self.0.answer(&scene, kind, &head, &body) {
            return own;
        }
        if self.0.keeps_in_the_dark(&scene, kind, &head) {
            tokio::time::sleep(SILENCE).await;
            let over = self.0.over.load(Ordering::Relaxed) == scene.context.params().round_id;
            return status(if over { code::OVER } else { code::AGAIN });
        }
        if self.0.is_too_early(&scene) && kind == kind::PREPARE {
            tokio::time::sleep(SILENCE).await;
            return status(code::AGAIN);
        }
        let Ok(reply) = self.0.forward(peer.connection, kind, &head, body).await else {
            return status(code::STORAGE);
        };
        if kind == kind::MEMBER_POLL && reply.status.code() == code::OVER {
            let round = scene.context.params().round_id;
            self.0.over.store(round, Ordering::Relaxed);
        }
        let bytes = reply.bytes().unwrap_or_default().to_vec();
        let told = (reply.status == Status::OK)
            .then(|| self.0.lie(&scene, kind, &head, &bytes))
            .flatten();
        Response::new(reply.status, reply.head).with_body(Body::from(told.unwrap_or(bytes)))
    }
}

impl Relay {
    fn scene(&self) -> Option<Arc<Scene>> {
        self.scene
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn forward(
        &self,
        connection: u64,
        kind: u16,
        head: &[u8],
        body: Vec<u8>,
    ) -> Result<Reply, veilsum::transport::ClientError> {
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            match links.get(&connection) {
                Some(link) => link.clone(),
                None => {
                    let mut jitter = [0; 32];
                    jitter[..8].copy_from_slice(&connection.to_le_bytes());
                    let link = Link::new(self.backend, self.pin, ClientConfig::new(jitter))?;
                    links.insert(connection, link.clone());
                    link
                }
            }
        };
        let limits = ResponseLimits {
            head_max: 1 << 20,
            body_max: BODY_MAX,
            deadline: WAIT,
        };
        link.request(kind, head, &Body::from(body), limits).await
    }

    /// Whether the honest server has not opened the round yet that clients were told of.
    fn is_too_early(&self, scene: &Scene) -> bool {
        self.kind == CheatingServer::AcceptsInvalid
            && *self.planted.borrow() < scene.context.params().round_id
    }

    /// Whether this is the victim that asks for messages, after it was shown another proposal.
    fn keeps_in_the_dark(&self, scene: &Scene, kind: u16, head: &[u8]) -> bool {
        let params = scene.context.params();
        self.kind == CheatingServer::TwoProposals
            && kind == kind::MEMBER_POLL
            && self.shown.load(Ordering::Relaxed) == params.round_id
            && signer(head) == Some(scene.victim)
    }

    /// What the cheating server answers by itself; the honest one never hears of it.
    fn answer(&self, scene: &Scene, kind: u16, head: &[u8], body: &[u8]) -> Option<Response> {
        let params = scene.context.params();
        match (self.kind, kind) {
            (CheatingServer::DropsReceipted, kind::SUBMIT) => {
                let header = header(head, scene.victim)?;
                let receipt = self.receipt(scene, &header);
                note(&mut self.said().receipts, &receipt);
                Some(Response::new(Status::OK, receipt.to_bytes()))
            }
            (CheatingServer::TwoProposals, kind::MEMBER_SEND) => {
                (signer(head)? == scene.victim).then(|| Response::new(Status::OK, Vec::new()))
            }
            (CheatingServer::AcceptsInvalid, kind::ANNOUNCEMENT) => {
                if u64::from_bytes(head).ok()? >= params.round_id {
                    return None;
                }
                let announcement = self.announcement(params, scene).to_bytes();
                Some(Response::new(Status::OK, Vec::new()).with_body(Body::from(announcement)))
            }
            (CheatingServer::AcceptsInvalid, kind::SUBMIT) if self.is_too_early(scene) => {
                let header = header(head, scene.accomplice)?;
                Some(match self.plant(scene, header, body) {
                    Ok(receipt) => Response::new(Status::OK, receipt.to_bytes()),
                    Err(error) => {
                        tracing::error!(target: "veilsum", event = "not_planted", %error);
                        status(code::STORAGE)
                    }
                })
            }
            _ => None,
        }
    }

    /// What the cheating server says instead of what the honest one said.
    fn lie(&self, scene: &Scene, kind: u16, head: &[u8], said: &[u8]) -> Option<Vec<u8>> {
        let context = &scene.context;
        match (self.kind, kind) {
            (CheatingServer::TwoProposals, kind::MEMBER_POLL) => {
                if signer(head)? != scene.victim {
                    return None;
                }
                let messages = Vec::<Message>::from_bytes(said).ok()?;
                if messages.iter().any(|m| matches!(m, Message::Package(_))) {
                    let round = context.params().round_id;
                    self.shown.store(round, Ordering::Relaxed);
                }
                let shown = lies::for_the_victim(messages, scene.victim, &self.signing);
                for message in &shown {
                    if let Message::Package(package) = message {
                        note(&mut self.said().proposals, &package.proposal);
                    }
                }
                Some(shown.to_bytes())
            }
            (
                CheatingServer::WrongSum | CheatingServer::TwoResults | CheatingServer::WrongRowSum,
                kind::RESULT,
            ) => {
                let (_, client) = <(u64, ClientId)>::from_bytes(head.get(..12)?).ok()?;
                if self.kind == CheatingServer::TwoResults && client != scene.victim {
                    return None;
                }
                let (mut result, mut bundle) =
                    <(RoundResult, LightBundle)>::from_bytes(said).ok()?;
                lies::wrong_sum(&mut result, &self.signing);
                if self.kind == CheatingServer::WrongRowSum {
                    let accomplice = (scene.accomplice, &self.accomplice);
                    let rows = lies::wrong_row_sum(&mut bundle, context, accomplice)?;
                    note(&mut self.said().rows, &rows);
                }
                note(&mut self.said().results, &result);
                Some((result, bundle).to_bytes())
            }
            _ => None,
        }
    }

    fn receipt(&self, scene: &Scene, header: &Header) -> Signed<ReceiptContent> {
        let content = ReceiptContent {
            params_digest: *scene.context.digest(),
            client: header.content.client,
            header_digest: header.content.digest(),
        };
        Signed::sign(content, &self.signing)
    }

    fn announcement(&self, params: &RoundParams, scene: &Scene) -> Announcement {
        let content = AnnouncementContent {
            round_id: params.round_id,
            params_digest: *scene.context.digest(),
        };
        Announcement {
            signed: Signed::sign(content, &self.signing),
            params: params.clone(),
            beacon: scene.context.beacon_proof().clone(),
        }
    }

    /// Writes the accomplice's contribution into the log of the round as if it had been verified. The honest server finds
    /// it there when it opens the round, and believes its own log.
    fn plant(
        &self,
        scene: &Scene,
        header: Header,
        body: &[u8],
    ) -> Result<Signed<ReceiptContent>, StoreError> {
        let params = scene.context.params();
        let dir = round_dir(&self.state, params.round_id);
        let identity = server_log_identity(&params.server_key, params.round_id);
        let (mut log, _) = Log::open_or_create(Arc::new(RealDisk), &dir, identity)?;
        let mut writer = log.bodies().writer(BODY_MAX)?;
        writer.write(body)?;
        let stored = writer.commit()?;
        let receipt = self.receipt(scene, &header);
        let records = [
            Record::ServerAnnouncement {
                sent: self.announcement(params, scene),
            },
            Record::ServerContribution {
                header,
                body: Digest(stored.0),
            },
            Record::ServerReceipt {
                sent: receipt.clone(),
            },
        ];
        for record in records {
            log.append(record.tag().into(), &record.to_bytes())?;
        }
        log.sync()?;
        drop(log);
        self.planted.send_replace(params.round_id);
        Ok(receipt)
    }
}

/// Who signed the request of a member.
fn signer(head: &[u8]) -> Option<ClientId> {
    let signed = head.get(8..8 + Signed::<RequestContent>::MIN_LEN)?;
    let signed = Signed::<RequestContent>::from_bytes(signed).ok()?;
    Some(signed.content.client)
}

fn note<T: Clone + PartialEq>(notes: &mut Vec<T>, new: &T) {
    if !notes.contains(new) {
        notes.push(new.clone());
    }
}

/// The header of a contribution of this client.
fn header(head: &[u8], of: ClientId) -> Option<Header> {
    let (_, header) = head.split_at_checked(8)?;
    let header = Header::from_bytes(header).ok()?;
    (header.content.client == of).then_some(header)
}
