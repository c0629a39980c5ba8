//! The requests that clients make, typed; the table is in this crate's README.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use tokio::time::{Duration, Instant};
use veilsum_crypto::IdentityKey;
use veilsum_params::ClientId;
use veilsum_proof::ProofCheck;
use veilsum_protocol::{Check, Message, RoundContext, sign_request};
use veilsum_transport::{
    Body, Client as Connection, ClientError as TransportError, Reply, ResponseLimits, Status,
};
use veilsum_wire::{
    Announcement, Header, LightBundle, ReceiptContent, RequestContent, RosterContent, RoundResult,
    Signed, VoidContent, Wire, WireError,
};

use crate::server::TaskName;
use crate::status::TaskStatus;

/// Kinds of requests; heads, bodies and answers are in this crate's README.
pub mod kind {
    /// Asks for the newest round.
    pub const ANNOUNCEMENT: u16 = 1;
    /// Asks for the roster.
    pub const ROSTER: u16 = 2;
    /// Brings a contribution.
    pub const SUBMIT: u16 = 3;
    /// Asks for a member's messages.
    pub const MEMBER_POLL: u16 = 4;
    /// Brings a member's message.
    pub const MEMBER_SEND: u16 = 5;
    /// Asks for the result.
    pub const RESULT: u16 = 6;
    /// Asks what the server is doing.
    pub const STATUS: u16 = 7;
    /// Says that a contribution is on its way.
    pub const PREPARE: u16 = 8;
}

/// Status codes of answers; [`Status::OK`] is 0.
pub mod code {
    /// Nothing yet: ask again.
    pub const AGAIN: u16 = 1;
    /// Refused; the head is the id of the check.
    pub const REFUSED: u16 = 2;
    /// No such round.
    pub const NO_ROUND: u16 = 3;
    /// The round is void; the head is the signed declaration.
    pub const VOID: u16 = 4;
    /// Not understood.
    pub const MALFORMED: u16 = 5;
    /// It cannot be stored.
    pub const STORAGE: u16 = 6;
    /// The round has ended, and there is nothing more for this member.
    pub const OVER: u16 = 7;
    /// No such task, or none was named where there are several; the head is the names of all, separated by spaces.
    pub const NO_TASK: u16 = 8;
}

/// How long the server keeps a request waiting before it says "again".
pub(crate) const WAIT: Duration = Duration::from_secs(20);
/// Longest answer to a request for the status, in bytes: of each task all members awaited, every check that there is.
const STATUS_MAX: u64 = 4 << 20;
/// The pause before a server that was busy is asked again; it doubles with each further one, up to [`BUSY_PAUSE_MAX`].
const BUSY_PAUSE: Duration = Duration::from_millis(200);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Largest roster that is taken from a server, in bytes.
pub const ROSTER_BYTES_MAX: u64 = 64 << 20;

/// Longest answer that has to do with a round, in bytes: headers, shares and row slices of all contributions, or the
/// result with what certifies it.
pub(crate) fn answer_max(context: &RoundContext) -> u64 {
    let (params, layout) = (context.params(), context.layout());
    let m = u64::from(context.members());
    let each = 2048 + 32 * u64::from(context.threshold()) + 32 * u64::from(layout.x_rows);
    (1 << 20) + u64::from(params.n_max) * each + 8 * u64::from(params.dim) + m * (8192 + 48 * m)
}

/// Longest message of a member of a round, in bytes: an endorsement or unmask message with a complaint about every dealer
/// and the ids of all of them, or the sums of a slice with the list of all slices. What is longer is never decoded.
pub(crate) fn member_message_max(context: &RoundContext) -> u64 {
    let (params, layout) = (context.params(), context.layout());
    let m = u64::from(context.members());
    // Digests, ciphertext, point, proof and signature of a complaint are 320 bytes at most.
    let path = 32 * u64::from(u64::BITS - m.leading_zeros());
    let complaints = u64::from(params.n_max) * (512 + path + 4);
    let rows = 32 * u64::from(layout.x_rows) + 40 * m;
    1024 + complaints.max(rows)
}

/// Why a request gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The answer is not what the request asks for.
    #[error(
        "the server's answer is malformed ({0}): server and client do not speak the same version"
    )]
    Answer(#[from] WireError),
    /// The server refused and named the check that failed.
    #[error("the server refused: {0}")]
    Refused(Check),
    /// The server refused with a check that this version does not know.
    #[error(
        "the server refused for a reason that this version does not know: update the older side"
    )]
    RefusedUnknown,
    /// The server has no such round.
    #[error("the server has no such round (any more)")]
    NoRound,
    /// The server runs several tasks, and none of them was named, or one that is not there.
    #[error("{}", tasks_said(names))]
    NoTask {
        /// Names of its tasks, separated by spaces.
        names: String,
    },
    /// The server says that it does not understand the request.
    #[error("the server did not understand the request: update the older side")]
    Malformed,
    /// The server cannot store what was sent.
    #[error(
        "the server cannot store what was sent (its disk fails or is full): tell its operator, and try again later"
    )]
    Storage,
    /// The server was asked again and again, and always too busy to answer.
    #[error("the server is busy, also after {} s: try again later", waited.as_secs())]
    Busy {
        /// How long it was asked.
        waited: Duration,
    },
    /// A status that has no meaning.
    #[error("the server answered with status {0}, which has no meaning: update the older side")]
    Status(u16),
}

/// What a request that may end with the round gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The answer.
    Ready(T),
    /// Nothing yet: ask again.
    Again,
    /// The round has ended with a result, and there will be nothing more.
    Over,
    /// The round is void; the declaration's signature is for the caller to check.
    Void(Box<Signed<VoidContent>>),
}

/// Whether a declaration that a round is void is the server's, and about this round.
#[must_use]
pub fn is_void(context: &RoundContext, void: &Signed<VoidContent>) -> bool {
    let content = void.verify(context.server_key());
    content.is_ok_and(|content| content.params_digest == *context.digest())
}

fn tasks_said(names: &str) -> String {
    match names {
        "" => "the server runs one task, which has no name: name none".to_owned(),
        names => format!("the server runs the tasks {names}: name one of them"),
    }
}

/// The names of tasks in an answer, separated by spaces. What cannot be one is left out: names are shown on terminals.
fn task_names(head: &[u8]) -> String {
    let words = std::str::from_utf8(head).unwrap_or_default().split(' ');
    let names: Vec<&str> = words
        .filter(|word| !word.is_empty() && word.parse::<TaskName>().is_ok())
        .collect();
    names.join(" ")
}

/// The check with this id, if this version knows it.
#[must_use]
pub fn check_by_id(id: &str) -> Option<Check> {
    let proof = ProofCheck::ALL.iter().map(|check| Check::Proof(*check));
    Check::ALL
        .iter()
        .copied()
        .chain(proof)
        .find(|check| check.id() == id)
}

/// Messages for a member, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The cursor of the next poll.
    pub next: u64,
    /// The messages since the last one.
    pub messages: Vec<Message>,
}

/// Typed requests over one connection. Every request is idempotent, and is sent again when the connection is lost.
#[derive(Clone, Debug)]
pub struct Requests {
    connection: Connection,
    patience: Duration,
    task: TaskName,
}

impl Requests {
    /// Requests over `connection`; a single one is given up after `patience`, reconnections included.
    #[must_use]
    pub fn new(connection: Connection, patience: Duration) -> Self {
        Self {
            connection,
            patience,
            task: TaskName::default(),
        }
    }

    /// Asks for rounds of this task; without a name of the only one.
    #[must_use]
    pub fn of_task(mut self, task: TaskName) -> Self {
        self.task = task;
        self
    }

    async fn ask(
        &self,
        kind: u16,
        head: &[u8],
        body: Body,
        body_max: u64,
    ) -> Result<Reply, RequestError> {
        self.ask_for(self.patience, kind, head, &body, body_max)
            .await
    }

    async fn ask_for(
        &self,
        deadline: Duration,
        kind: u16,
        head: &[u8],
        body: &Body,
        body_max: u64,
    ) -> Result<Reply, RequestError> {
        let limits = ResponseLimits {
            head_max: 4096,
            body_max,
            deadline,
        };
        Ok(self.connection.request(kind, head, body, limits).await?)
    }

    /// As [`Self::ask`], for what a server answers at once unless it is busy: then it is asked again after a pause, until the
    /// patience is over.
    async fn ask_until_answered(
        &self,
        kind: u16,
        head: &[u8],
        body: Body,
        body_max: u64,
    ) -> Result<Reply, RequestError> {
        let began = Instant::now();
        let mut pause = BUSY_PAUSE;
        loop {
            let left = self.patience.saturating_sub(began.elapsed());
            let reply = self.ask_for(left, kind, head, &body, body_max).await?;
            if reply.status.code() != code::AGAIN {
                return Ok(reply);
            }
            let waited = began.elapsed();
            if waited.saturating_add(pause) >= self.patience {
                return Err(RequestError::Busy { waited });
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(BUSY_PAUSE_MAX);
        }
    }

    fn failure(reply: &Reply) -> RequestError {
        match reply.status.code() {
            code::REFUSED => std::str::from_utf8(&reply.head)
                .ok()
                .and_then(check_by_id)
                .map_or(RequestError::RefusedUnknown, RequestError::Refused),
            code::NO_ROUND => RequestError::NoRound,
            code::NO_TASK => RequestError::NoTask {
                names: task_names(&reply.head),
            },
            code::MALFORMED => RequestError::Malformed,
            code::STORAGE => RequestError::Storage,
            other => RequestError::Status(other),
        }
    }

    fn answer<T>(
        reply: &Reply,
        read: impl FnOnce(&[u8], &[u8]) -> Result<T, WireError>,
    ) -> Result<Answer<T>, RequestError> {
        match reply.status {
            Status::OK => Ok(Answer::Ready(read(
                &reply.head,
                reply.bytes().unwrap_or_default(),
            )?)),
            status if status.code() == code::AGAIN => Ok(Answer::Again),
            status if status.code() == code::OVER => Ok(Answer::Over),
            status if status.code() == code::VOID => {
                Ok(Answer::Void(Box::new(Wire::from_bytes(&reply.head)?)))
            }
            _ => Err(Self::failure(reply)),
        }
    }

    /// The newest round of the task above `after`; [`Answer::Again`] if there is none yet.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::NoTask`] names the tasks that there are.
    pub async fn announcement(&self, after: u64) -> Result<Answer<Announcement>, RequestError> {
        let mut head = after.to_bytes();
        head.extend_from_slice(self.task.as_str().as_bytes());
        let reply = self
            .ask(kind::ANNOUNCEMENT, &head, Body::Empty, 1 << 20)
            .await?;
        Self::answer(&reply, |_, body| Wire::from_bytes(body))
    }

    /// The requests that a client of the cohort signs.
    #[must_use]
    pub fn in_round(
        &self,
        context: &Arc<RoundContext>,
        client: ClientId,
        identity: &IdentityKey,
    ) -> RoundRequests {
        RoundRequests {
            requests: self.clone(),
            context: Arc::clone(context),
            client,
            identity: Arc::new(IdentityKey::from_seed(&identity.to_seed())),
        }
    }

    /// The roster of a round, unverified.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn roster(&self, round: u64) -> Result<Signed<RosterContent>, RequestError> {
        let reply = self
            .ask_until_answered(
                kind::ROSTER,
                &round.to_bytes(),
                Body::Empty,
                ROSTER_BYTES_MAX,
            )
            .await?;
        match reply.status {
            Status::OK => Ok(Wire::from_bytes(reply.bytes().unwrap_or_default())?),
            _ => Err(Self::failure(&reply)),
        }
    }

    /// Uploads a contribution. The receipt's signature is for the caller to check.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the check that failed.
    pub async fn submit(
        &self,
        round: u64,
        header: &Header,
        body: Arc<[u8]>,
    ) -> Result<Answer<Signed<ReceiptContent>>, RequestError> {
        let mut head = round.to_bytes();
        header.encode(&mut head);
        let reply = self.ask(kind::SUBMIT, &head, Body::Bytes(body), 0).await?;
        Self::answer(&reply, |head, _| Wire::from_bytes(head))
    }

    /// The result of a round and what `client` needs for its light check; waits for the end of the round. Anybody may ask: the
    /// server does not take it for the client's own request ([`RoundRequests::result`]).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn result(
        &self,
        context: &RoundContext,
        client: ClientId,
    ) -> Result<Answer<(RoundResult, LightBundle)>, RequestError> {
        let head = (context.params().round_id, client).to_bytes();
        self.result_for(context, &head).await
    }

    async fn result_for(
        &self,
        context: &RoundContext,
        head: &[u8],
    ) -> Result<Answer<(RoundResult, LightBundle)>, RequestError> {
        let reply = self
            .ask(kind::RESULT, head, Body::Empty, answer_max(context))
            .await?;
        Self::answer(&reply, |_, body| Wire::from_bytes(body))
    }

    /// What the server is doing, by task.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn status(&self) -> Result<Vec<TaskStatus>, RequestError> {
        let reply = self
            .ask_until_answered(kind::STATUS, &[], Body::Empty, STATUS_MAX)
            .await?;
        match reply.status {
            Status::OK => Ok(Wire::from_bytes(reply.bytes().unwrap_or_default())?),
            _ => Err(Self::failure(&reply)),
        }
    }

    /// Closes the connection; a later request opens it again.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}

/// Requests that one client makes in one round, signed with its identity key. Messages of a member are signed beside it, and
/// are judged by their own signatures alone; what the request's signature decides is whose presence the server counts on, and
/// whose share of the server's work it is.
#[derive(Clone)]
pub struct RoundRequests {
    requests: Requests,
    context: Arc<RoundContext>,
    client: ClientId,
    identity: Arc<IdentityKey>,
}

impl fmt::Debug for RoundRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundRequests")
            .field("round_id", &self.context.params().round_id)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl RoundRequests {
    fn head(&self, kind: u16) -> (u64, Signed<RequestContent>) {
        let signed = sign_request(&self.context, self.client, &self.identity, kind);
        (self.context.params().round_id, signed)
    }

    /// Tells the server that a contribution is on its way, and waits until contributions are taken no more
    /// ([`Answer::Ready`]) or for a while; the first time it is answered at once. A server closes early when nobody is left
    /// to wait for.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn prepare(&self) -> Result<Answer<()>, RequestError> {
        let head = self.head(kind::PREPARE).to_bytes();
        let reply = self
            .requests
            .ask(kind::PREPARE, &head, Body::Empty, 0)
            .await?;
        Requests::answer(&reply, |_, _| Ok(()))
    }

    /// Messages for this client as a member, behind `cursor`; waits for some while there is none.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn member_poll(&self, cursor: u64) -> Result<Answer<Polled>, RequestError> {
        let head = (self.head(kind::MEMBER_POLL), cursor).to_bytes();
        let max = answer_max(&self.context);
        let reply = self
            .requests
            .ask(kind::MEMBER_POLL, &head, Body::Empty, max)
            .await?;
        Requests::answer(&reply, |head, body| {
            Ok(Polled {
                next: Wire::from_bytes(head)?,
                messages: Wire::from_bytes(body)?,
            })
        })
    }

    /// Hands in a message of this client as a member.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the check that failed.
    pub async fn member_send(&self, message: &Message) -> Result<(), RequestError> {
        let body = Body::from(message.to_bytes());
        let head = self.head(kind::MEMBER_SEND).to_bytes();
        let reply = self
            .requests
            .ask_until_answered(kind::MEMBER_SEND, &head, body, 0)
            .await?;
        match reply.status {
            Status::OK => Ok(()),
            _ => Err(Requests::failure(&reply)),
        }
    }

    /// The result of the round and what this client needs for its light check; waits for the end of the round. The server
    /// then knows that it was told.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn result(&self) -> Result<Answer<(RoundResult, LightBundle)>, RequestError> {
        let (round, signed) = self.head(kind::RESULT);
        let head = ((round, self.client), signed).to_bytes();
        self.requests.result_for(&self.context, &head).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_names_of_tasks_is_shown() {
        assert_eq!(task_names(b"a b-2"), "a b-2");
        assert_eq!(task_names(b"a \x1b[2J b \xe2\x80\xae c\n"), "a b");
        assert_eq!(task_names(b"a \xff"), "");
    }
}
