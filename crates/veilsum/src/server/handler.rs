//! What the server answers.

use std::io::{self, Read as _};
use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout_at};
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::{
    Admission, Blame, Check, CheckedHeader, Input, Message, Outcome, Output, Owed, Party, Refusal,
    VerifiedContribution, check_header_sender, decode_body, verify_checked,
};
use veilsum_store::BodyDigest;
use veilsum_transport::{
    Body, Handler, Origin, PeerInfo, Request, RequestLimits, Response, Sender, SpooledBody, Status,
};
use veilsum_wire::{Header, ReceiptContent, RequestContent, Signed, VoidContent, Wire};

use super::archive::{Answers, Ending};
use super::archivist::Kept;
use super::outbox::Batch;
use super::rosters::Asked;
use super::round::{Core, Denied, PresenceGuard, RoundRun, Wake, is_for_server};
use super::shared::Shared;
use crate::requests::{WAIT, code, kind, member_message_max};

/// Longest head but that of an upload, in bytes: round, client, a signed request and a cursor.
const HEAD_MAX: u32 = 256;

/// Bytes of a body that are copied at one time.
const CHUNK: usize = 1 << 16;

/// The handler of the transport's server.
pub(super) struct Requests(pub(super) Arc<Shared>);

fn status(code: u16) -> Response {
    Response::new(Status::new(code).unwrap_or(Status::OK), Vec::new())
}

fn refused(check: Check) -> Response {
    Response::new(
        Status::new(code::REFUSED).unwrap_or(Status::OK),
        check.id().as_bytes().to_vec(),
    )
}

fn denied(denied: &Denied) -> Response {
    match denied {
        Denied::Refused(check) => refused(*check),
        Denied::Void(declaration) => voided(declaration),
        Denied::Storage => status(code::STORAGE),
    }
}

/// An answer that says how the round ended to a client that signed its request: the client counts as present until it has
/// the answer, and as told from then on.
fn telling(
    run: &Arc<RoundRun>,
    client: ClientId,
    guard: Option<PresenceGuard>,
    answer: Response,
) -> Response {
    let run = Arc::clone(run);
    answer.when_delivered(move || {
        let _present = &guard;
        run.note_told(client);
    })
}

fn voided(declaration: &Signed<VoidContent>) -> Response {
    let code = Status::new(code::VOID).unwrap_or(Status::OK);
    Response::new(code, declaration.to_bytes())
}

/// What a client hears of a round that is over.
fn over(answers: &Answers, client: ClientId) -> Response {
    match answers {
        Answers::Void(declaration) => voided(declaration),
        Answers::Certified { entries, frame } => shown(Answers::result(entries, frame, client)),
    }
}

/// The result; only contributions in U have an entry to show.
fn shown(parts: Option<Vec<Arc<[u8]>>>) -> Response {
    match parts {
        Some(parts) => Response::new(Status::OK, Vec::new()).with_body(Body::Parts(parts)),
        None => refused(Check::LightEntry),
    }
}

fn with_body(bytes: Vec<u8>) -> Response {
    Response::new(Status::OK, Vec::new()).with_body(Body::from(bytes))
}

impl Handler for Requests {
    fn limits(&self, kind: u16) -> Option<RequestLimits> {
        let waiting = WAIT + Duration::from_secs(10);
        let (head_max, body_max, deadline) = match kind {
            kind::ANNOUNCEMENT
            | kind::ROSTER
            | kind::MEMBER_POLL
            | kind::RESULT
            | kind::STATUS
            | kind::PREPARE => (HEAD_MAX, 0, waiting),
            kind::SUBMIT => {
                let (head_max, body_max) = self.0.upload_max()?;
                (head_max, body_max, Duration::from_secs(600))
            }
            kind::MEMBER_SEND => (
                HEAD_MAX,
                self.0.member_message_max()?,
                Duration::from_secs(300),
            ),
            _ => return None,
        };
        Some(RequestLimits {
            head_max,
            body_max,
            deadline,
        })
    }

    /// What these may cost depends on the round: after a restart clients come back before it is open.
    fn is_ready(&self, kind: u16) -> bool {
        !matches!(kind, kind::SUBMIT | kind::MEMBER_SEND) || self.0.is_ready()
    }

    fn recall(&self, kind: u16, head: &[u8]) -> Option<Sender> {
        match self.claimed(kind, head) {
            Claimed::Nobody(sender) => Some(sender),
            Claimed::Header(..) => None,
            Claimed::Request(run, signed) => {
                let known = run.recall_request(kind, &signed);
                known.map(|client| Sender::Known(client.0.into()))
            }
        }
    }

    /// What a client signs is checked before anything else of the request is read or decoded.
    fn identify(&self, kind: u16, head: &[u8]) -> Sender {
        let sender = match self.claimed(kind, head) {
            Claimed::Nobody(sender) => return sender,
            Claimed::Request(run, signed) => run.check_request(kind, &signed),
            Claimed::Header(run, header) => {
                let sender = check_header_sender(&run.context, header);
                match sender
                    .as_ref()
                    .map(|client| run.answer_to_head(*client, header))
                {
                    Ok(Some(Ok(receipt))) => {
                        return Sender::Refused(Response::new(Status::OK, receipt.to_bytes()));
                    }
                    Ok(Some(Err(check))) => return Sender::Refused(refused(check)),
                    _ => sender,
                }
            }
        };
        match sender {
            Ok(client) => Sender::Known(client.0.into()),
            Err(refusal) => Sender::Refused(refused(refusal.check)),
        }
    }

    async fn handle(&self, peer: PeerInfo, request: Request) -> Response {
        let answer = match request.kind {
            kind::ANNOUNCEMENT => self.announcement(&request.head).await,
            kind::ROSTER => self.roster(&request.head).await,
            kind::SUBMIT => self.submit(&request.head, request.body).await,
            kind::MEMBER_POLL => self.member_poll(&request.head).await,
            kind::MEMBER_SEND => self.member_send(&request.head, request.body).await,
            kind::RESULT => self.result(&request.head, peer.origin()).await,
            kind::STATUS => Some(with_body(self.0.status_soon().await.to_bytes())),
            kind::PREPARE => self.prepare(&request.head).await,
            _ => None,
        };
        answer.unwrap_or_else(|| status(code::MALFORMED))
    }
}

/// Looks until there is something, or the time is over.
async fn wait_for<T>(
    run: &RoundRun,
    wake: Wake,
    mut look: impl FnMut(&mut Core) -> Option<T>,
) -> Option<T> {
    let until = Instant::now() + WAIT;
    let mut changed = run.watch(wake);
    loop {
        changed.mark_unchanged();
        if let Some(found) = run.with(&mut look).await {
            return Some(found);
        }
        // The sender lives in `run`.
        if !matches!(timeout_at(until, changed.changed()).await, Ok(Ok(()))) {
            return None;
        }
    }
}

async fn answer_for(run: &RoundRun, look: impl FnMut(&mut Core) -> Option<Response>) -> Response {
    let found = wait_for(run, Wake::Phase, look).await;
    found.unwrap_or_else(|| status(code::AGAIN))
}

/// What a poll of a member finds.
enum Found {
    Answer(Response),
    /// The round is void.
    Void(Signed<VoidContent>),
    /// A message to be made, and the cursor behind it.
    Owed(u64, Owed),
}

/// Ends the verification of a client's contribution, whatever becomes of the task.
struct Place {
    run: Arc<RoundRun>,
    client: ClientId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run.lock().end_verifying(self.client);
        self.run.bump(Wake::Place);
    }
}

/// What is to be verified before it is certain who sent a request.
enum Claimed<'a> {
    /// Nothing, and this is what is known of the sender.
    Nobody(Sender),
    /// The header of a contribution to this round.
    Header(Arc<RoundRun>, &'a [u8]),
    /// A signed request in this round.
    Request(Arc<RoundRun>, Box<Signed<RequestContent>>),
}

impl Requests {
    fn claimed<'a>(&self, kind: u16, head: &'a [u8]) -> Claimed<'a> {
        let unknown = Claimed::Nobody(Sender::Unknown);
        let Some((round, rest)) = head.split_at_checked(8) else {
            return unknown;
        };
        let signed = match kind {
            kind::SUBMIT => None,
            kind::PREPARE | kind::MEMBER_SEND => Some(rest),
            kind::MEMBER_POLL => rest.len().checked_sub(8).and_then(|end| rest.get(..end)),
            // Whoever asks for the result of another signs nothing.
            kind::RESULT if rest.len() > ClientId::MIN_LEN => rest.get(ClientId::MIN_LEN..),
            _ => return unknown,
        };
        let Ok(round) = u64::from_bytes(round) else {
            return unknown;
        };
        let Some(run) = self.0.round(round) else {
            return Claimed::Nobody(match kind {
                kind::SUBMIT | kind::MEMBER_SEND if self.0.may_come(round) => Sender::NotYet,
                kind::SUBMIT | kind::MEMBER_SEND => Sender::Refused(status(code::NO_ROUND)),
                // These wait for the round.
                _ => Sender::Unknown,
            });
        };
        if kind == kind::SUBMIT {
            return Claimed::Header(run, rest);
        }
        match signed.and_then(|signed| Signed::from_bytes(signed).ok()) {
            Some(signed) => Claimed::Request(run, Box::new(signed)),
            None => Claimed::Nobody(Sender::Refused(status(code::MALFORMED))),
        }
    }

    async fn announcement(&self, head: &[u8]) -> Option<Response> {
        let (asked, task) = head.split_at_checked(8)?;
        let after = u64::from_bytes(asked).ok()?;
        let task = match self.0.task_named(task) {
            Ok(task) => task,
            Err(names) => {
                let code = Status::new(code::NO_TASK).unwrap_or(Status::OK);
                return Some(Response::new(code, names));
            }
        };
        let Some(run) = self.0.round_after(&task, after).await else {
            return Some(status(code::AGAIN));
        };
        Some(
            Response::new(Status::OK, Vec::new())
                .with_body(Body::Bytes(Arc::clone(&run.announcement))),
        )
    }

    async fn roster(&self, head: &[u8]) -> Option<Response> {
        let round = u64::from_bytes(head).ok()?;
        Some(match self.0.roster(round).await {
            Asked::Roster(bytes) => {
                Response::new(Status::OK, Vec::new()).with_body(Body::Bytes(bytes))
            }
            Asked::Later => status(code::AGAIN),
            Asked::Unknown => status(code::NO_ROUND),
        })
    }

    async fn prepare(&self, head: &[u8]) -> Option<Response> {
        let (round, signed) = <(u64, Signed<RequestContent>)>::from_bytes(head).ok()?;
        let (run, client) = match self.signed_by(round, kind::PREPARE, &signed).await {
            Ok(found) => found,
            Err(refused) => return Some(refused),
        };
        // Whoever joins hears at once that it is counted on.
        if run.note_joined(client).await {
            return Some(status(code::AGAIN));
        }
        let _guard = run.present(Party::Client(client)).await;
        Some(
            answer_for(&run, |core| {
                (core.is_proposed() || core.done().is_some() || core.receipt(client).is_some())
                    .then(|| Response::new(Status::OK, Vec::new()))
            })
            .await,
        )
    }

    /// The answer to a request in a round that is over and no longer in memory.
    async fn ended(&self, round: u64, kind: u16) -> Option<Response> {
        Some(match (kind, self.0.ending(round).await?) {
            (_, Ending::Void(declaration)) => voided(&declaration),
            (kind::MEMBER_POLL, Ending::Certified) => status(code::OVER),
            // It left memory just now: asked again, its file answers.
            (kind::RESULT, Ending::Certified) => status(code::AGAIN),
            // Contributions are taken no more, and whoever is late changes nothing.
            _ => Response::new(Status::OK, Vec::new()),
        })
    }

    /// The round of a request, and the client that signed it.
    async fn signed_by(
        &self,
        round: u64,
        kind: u16,
        signed: &Signed<RequestContent>,
    ) -> Result<(Arc<RoundRun>, ClientId), Response> {
        if let Some(ended) = self.ended(round, kind).await {
            return Err(ended);
        }
        let run = match self.0.round_soon(round).await {
            Ok(run) => run,
            // It may have left memory since.
            Err(code) => {
                let ended = self.ended(round, kind).await;
                return Err(ended.unwrap_or_else(|| status(code)));
            }
        };
        if let Some(client) = run.recall_request(kind, signed) {
            return Ok((run, client));
        }
        // It waited for the round, and its signature was not checked before: as in `Handler::identify`, a few at a time.
        let _turn = self.0.checking.acquire().await;
        let (checking, signed) = (Arc::clone(&run), signed.clone());
        let checked = tokio::task::spawn_blocking(move || checking.check_request(kind, &signed));
        match checked.await {
            Ok(Ok(client)) => Ok((run, client)),
            Ok(Err(refusal)) => Err(refused(refusal.check)),
            Err(_) => Err(status(code::STORAGE)),
        }
    }

    /// As [`Self::signed_by`], and the place of the client on the committee.
    async fn signed_by_member(
        &self,
        round: u64,
        kind: u16,
        signed: &Signed<RequestContent>,
    ) -> Result<(Arc<RoundRun>, ClientId, MemberIndex), Response> {
        let (run, client) = self.signed_by(round, kind, signed).await?;
        match run.context.params().member_index(client) {
            Some(index) => Ok((run, client, index)),
            None => Err(status(code::MALFORMED)),
        }
    }

    async fn submit(&self, head: &[u8], body: SpooledBody) -> Option<Response> {
        let (round, header) = head.split_at_checked(8)?;
        let round = u64::from_bytes(round).ok()?;
        let header = Header::from_bytes(header).ok()?;
        let run = match self.0.round_soon(round).await {
            Ok(run) => run,
            Err(code) => return Some(status(code)),
        };
        let (verifiers, admissions) = (
            Arc::clone(&self.0.verifiers),
            Arc::clone(&run.task.admissions),
        );
        let (client, told_in) = (header.content.client, Arc::clone(&run));
        // A task of its own: what was verified is also stored when the client goes away meanwhile.
        let work = tokio::spawn(async move {
            let admission = admissions.acquire_owned().await;
            let looked_at = Arc::clone(&run);
            let admitted = tokio::task::spawn_blocking(move || admit(&looked_at, header));
            let header = match admitted.await.unwrap_or(Err(Denied::Storage))? {
                Admitted::Known(receipt) => return Ok(Submitted::Receipt(receipt)),
                Admitted::Verify(header) => *header,
                Admitted::Void(declaration, signed) => {
                    return Ok(Submitted::Void(declaration, signed));
                }
            };
            drop(admission);
            // Only now, when it is certain that the client signed this, does it take the client's one place.
            let begin = |core: &mut Core| core.begin_verifying(client).then_some(());
            let place = wait_for(&run, Wake::Place, begin);
            if place.await.is_none() {
                return Ok(Submitted::Later);
            }
            let place = Place {
                run: Arc::clone(&run),
                client,
            };
            let gate = Arc::clone(&run.task.gate).acquire_owned();
            let Ok(_turn) = gate.await else {
                return Err(Denied::Storage);
            };
            // What was there before may have been taken, or refused, while this one waited.
            let (looked_at, again) = (Arc::clone(&run), header.header().clone());
            let standing = tokio::task::spawn_blocking(move || standing(&looked_at, &again));
            match standing.await.unwrap_or(Err(Denied::Storage)) {
                Ok(Some(receipt)) => return Ok(Submitted::Receipt(Box::new(receipt))),
                Ok(None) => {}
                Err(Denied::Void(declaration)) => return Ok(Submitted::Void(declaration, true)),
                Err(reason) => return Err(reason),
            }
            // All tasks share these: nobody who holds a thread waits for a round.
            let Some(turn) = verifiers.turn(body.len()).await else {
                return Err(Denied::Storage);
            };
            let blocking = tokio::task::spawn_blocking(move || {
                let _place = place;
                let header_of = header.header().clone();
                let (verdict, _memory) = turn.run(|| judge(&run, header, &body));
                settle(&run, &header_of, verdict?, &body)
            });
            match blocking.await.unwrap_or(Err(Denied::Storage)) {
                Ok(receipt) => Ok(Submitted::Receipt(Box::new(receipt))),
                Err(Denied::Void(declaration)) => Ok(Submitted::Void(declaration, true)),
                Err(reason) => Err(reason),
            }
        });
        Some(match work.await.unwrap_or(Err(Denied::Storage)) {
            Ok(Submitted::Receipt(receipt)) => Response::new(Status::OK, receipt.to_bytes()),
            Ok(Submitted::Later) => status(code::AGAIN),
            Ok(Submitted::Void(declaration, true)) => {
                telling(&told_in, client, None, voided(&declaration))
            }
            Ok(Submitted::Void(declaration, false)) => voided(&declaration),
            Err(reason) => denied(&reason),
        })
    }

    async fn member_poll(&self, head: &[u8]) -> Option<Response> {
        let ((round, signed), cursor) =
            <((u64, Signed<RequestContent>), u64)>::from_bytes(head).ok()?;
        let asked = self
            .signed_by_member(round, kind::MEMBER_POLL, &signed)
            .await;
        let (run, client, index) = match asked {
            Ok(found) => found,
            Err(refused) => return Some(refused),
        };
        let guard = run.present(Party::Member(index)).await;
        let found = wait_for(&run, Wake::Mail, |core| {
            let answer = match run.messages(core, index, cursor) {
                Some((next, Batch::Owed(what))) => return Some(Found::Owed(next, what)),
                Some((next, Batch::Messages(messages))) => {
                    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
                    let mut parts = vec![Arc::from(count.to_bytes())];
                    parts.extend(messages);
                    Response::new(Status::OK, next.to_bytes()).with_body(Body::Parts(parts))
                }
                None if core.void().is_some() => return core.void().cloned().map(Found::Void),
                None if core.done().is_some() => status(code::OVER),
                None => core.failure().map(|_| status(code::STORAGE))?,
            };
            Some(Found::Answer(answer))
        });
        let (next, what) = match found.await {
            Some(Found::Owed(next, what)) => (next, what),
            Some(Found::Answer(answer)) => return Some(answer),
            Some(Found::Void(declaration)) => {
                let answer = voided(&declaration);
                return Some(telling(&run, client, Some(guard), answer));
            }
            None => return Some(status(code::AGAIN)),
        };
        let making = Arc::clone(&run);
        let made = tokio::task::spawn_blocking(move || making.owed(index, what));
        let Ok(Some(parts)) = made.await else {
            return Some(status(code::STORAGE));
        };
        let mut body = vec![Arc::from(1u32.to_bytes())];
        body.extend(parts);
        Some(Response::new(Status::OK, next.to_bytes()).with_body(Body::Parts(body)))
    }

    async fn member_send(&self, head: &[u8], body: SpooledBody) -> Option<Response> {
        let (round, signed) = <(u64, Signed<RequestContent>)>::from_bytes(head).ok()?;
        let sent = self
            .signed_by_member(round, kind::MEMBER_SEND, &signed)
            .await;
        let (run, _, index) = match sent {
            Ok(found) => found,
            Err(refused) => return Some(refused),
        };
        let work = tokio::task::spawn_blocking(move || {
            let max = usize::try_from(member_message_max(&run.context)).unwrap_or(usize::MAX);
            let bytes = body.read_all(max).map_err(|_| Denied::Storage)?;
            let Ok(message) = Message::from_bytes(&bytes) else {
                return Ok(None);
            };
            if !is_for_server(&message) {
                return Ok(None);
            }
            let mut core = run.lock();
            if core.is_sealed() {
                // The transcript is closed; whoever is late changes nothing any more.
                return Ok(Some(()));
            }
            let from = Party::Member(index);
            let refusals = run.input(&mut core, Input::Message { from, message })?;
            if let Some((_, refusal)) = refusals.first() {
                return Err(Denied::Refused(refusal.check));
            }
            run.note_heard(index);
            Ok(Some(()))
        });
        Some(match work.await.unwrap_or(Err(Denied::Storage)) {
            Ok(Some(())) => Response::new(Status::OK, Vec::new()),
            Ok(None) => status(code::MALFORMED),
            Err(reason) => denied(&reason),
        })
    }

    async fn result(&self, head: &[u8], origin: Origin) -> Option<Response> {
        // Round and client, and the client's signature where it is the client itself.
        let (named, signed) = head.split_at_checked(8 + 4)?;
        let (round, client) = <(u64, ClientId)>::from_bytes(named).ok()?;
        match self.0.archived(round, origin).await {
            Kept::Answers(answers) => return Some(over(&answers, client)),
            Kept::Later => return Some(status(code::AGAIN)),
            Kept::Nothing => {}
        }
        let (run, own) = if signed.is_empty() {
            let run = match self.0.round_soon(round).await {
                Ok(run) => run,
                Err(code) => return Some(status(code)),
            };
            (run, false)
        } else {
            let signed = Signed::<RequestContent>::from_bytes(signed).ok()?;
            match self.signed_by(round, kind::RESULT, &signed).await {
                Ok((run, signer)) if signer == client => (run, true),
                Ok(_) => return None,
                Err(refused) => return Some(refused),
            }
        };
        let guard = match own {
            true => Some(run.present(Party::Client(client)).await),
            false => None,
        };
        let found = wait_for(&run, Wake::Phase, |core| {
            if let Some(declaration) = core.void() {
                return Some((true, voided(declaration)));
            }
            if core.failure().is_some() {
                return Some((false, status(code::STORAGE)));
            }
            let certified = matches!(core.done(), Some(Outcome::Certified { .. }));
            certified.then(|| (true, shown(core.result_parts(client))))
        });
        Some(match found.await {
            Some((true, answer)) if own => telling(&run, client, guard, answer),
            Some((_, answer)) => answer,
            None => status(code::AGAIN),
        })
    }
}

/// What became of a contribution.
enum Submitted {
    Receipt(Box<Signed<ReceiptContent>>),
    /// Another one of the client is being verified.
    Later,
    /// See [`Admitted::Void`].
    Void(Box<Signed<VoidContent>>, bool),
}

enum Admitted {
    Known(Box<Signed<ReceiptContent>>),
    Verify(Box<CheckedHeader>),
    /// The round is void; whether the header is signed by the client that it names.
    Void(Box<Signed<VoidContent>>, bool),
}

/// The receipt of a contribution that is there already, or the checked header of one that is to be verified.
fn admit(run: &RoundRun, header: Header) -> Result<Admitted, Denied> {
    match standing(run, &header) {
        Ok(None) => {}
        Ok(Some(receipt)) => return Ok(Admitted::Known(Box::new(receipt))),
        // Who signed the header hears how the round ended; whoever sends an unsigned one hears it for nobody.
        Err(Denied::Void(declaration)) => {
            let signed = CheckedHeader::new(&run.context, header).is_ok();
            return Ok(Admitted::Void(declaration, signed));
        }
        Err(denied) => return Err(denied),
    }
    match CheckedHeader::new(&run.context, header.clone()) {
        Ok(checked) => Ok(Admitted::Verify(Box::new(checked))),
        Err(refusal) => {
            let check = refusal.check;
            run.reject(&mut run.lock(), &header, refusal, Vec::new())?;
            Err(Denied::Refused(check))
        }
    }
}

/// The receipt of a contribution that is there already; none for one that may be taken if it verifies.
fn standing(run: &RoundRun, header: &Header) -> Result<Option<Signed<ReceiptContent>>, Denied> {
    let mut core = run.lock();
    if let Some(declaration) = core.void().cloned() {
        return Err(Denied::Void(Box::new(declaration)));
    }
    match core.machine().ok_or(Denied::Storage)?.standing_of(header) {
        // Whoever signed a contribution that was refused has used up its place in this round.
        Admission::Verify => match core.used_up(header.content.client) {
            Some(check) => Err(Denied::Refused(check)),
            None => Ok(None),
        },
        Admission::Known(receipt) => Ok(Some(*receipt)),
        Admission::Refused(outputs) => {
            let refused = outputs.iter().find_map(|output| match output {
                Output::Reject { refusal, .. } => Some(refusal.check),
                _ => None,
            });
            run.act(&mut core, outputs)?;
            core.note_repeat(header.content.client);
            let check = refused.unwrap_or(Check::ContributionClosed);
            run.note_rejection(&mut core, header, check);
            Err(Denied::Refused(check))
        }
    }
}

/// The bytes of an upload. A spool that gives others than came is a failure of the disk, and none of the client's.
fn read(run: &RoundRun, body: &SpooledBody) -> Result<Vec<u8>, Denied> {
    let max = usize::try_from(body.len()).map_err(|_| Denied::Storage)?;
    let bytes = body.read_all(max).map_err(|error| run.not_stored(&error))?;
    let digest = BodyDigest::of(&bytes);
    if digest.0 != *body.digest() {
        return Err(run.not_stored(&format_args!("the spool gives {digest} for another body")));
    }
    Ok(bytes)
}

/// Verifies a contribution, without a look at its round.
fn judge(
    run: &RoundRun,
    checked: CheckedHeader,
    body: &SpooledBody,
) -> Result<Result<VerifiedContribution, Refusal>, Denied> {
    if body.len() != veilsum_wire::Body::encoded_len(run.context.params(), run.context.layout()) {
        return Ok(Err(Check::BodyLength.into()));
    }
    let bytes = read(run, body)?;
    let decoded = decode_body(&run.context, &bytes);
    // What was decoded is a second copy, and the first stays in the spool.
    drop(bytes);
    Ok(decoded.and_then(|decoded| verify_checked(&run.context, &run.proof, checked, decoded)))
}

/// Makes a body durable under its digest.
fn store(run: &RoundRun, body: &SpooledBody) -> Result<Digest, Denied> {
    let written = || -> io::Result<Digest> {
        let mut writer = run.bodies.writer(body.len()).map_err(io::Error::other)?;
        let mut reader = body.reader().map_err(io::Error::other)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match reader.read(&mut chunk)? {
                0 => break,
                count => writer
                    .write(chunk.get(..count).unwrap_or_default())
                    .map_err(io::Error::other)?,
            }
        }
        let digest = BodyDigest(*body.digest());
        writer.commit_as(&digest).map_err(io::Error::other)?;
        Ok(Digest(digest.0))
    };
    match written() {
        Ok(digest) => {
            run.task.storage.worked();
            Ok(digest)
        }
        Err(error) => Err(run.not_stored(&error)),
    }
}

/// Stores and receipts a contribution that was verified, or notes that it was refused.
fn settle(
    run: &RoundRun,
    header: &Header,
    verdict: Result<VerifiedContribution, Refusal>,
    body: &SpooledBody,
) -> Result<Signed<ReceiptContent>, Denied> {
    let client = header.content.client;
    let verified = match verdict {
        Ok(verified) => verified,
        Err(refusal) => {
            let check = refusal.check;
            if check.info().blame == Blame::Nobody {
                run.note_mismatch(client, check);
            } else {
                let bytes = read(run, body)?;
                run.reject(&mut run.lock(), header, refusal, bytes)?;
            }
            return Err(Denied::Refused(check));
        }
    };
    // The body first: a record may only name what is durable.
    let digest = store(run, body)?;

    let mut core = run.lock();
    let refusals = run.input(
        &mut core,
        Input::Contribution {
            contribution: verified,
            body: digest,
        },
    )?;
    match core.receipt(client) {
        Some(receipt) if receipt.content.header_digest == header.content.digest() => {
            Ok(receipt.clone())
        }
        _ => {
            let check = refusals
                .first()
                .map_or(Check::ContributionClosed, |(_, refusal)| refusal.check);
            run.note_rejection(&mut core, header, check);
            Err(Denied::Refused(check))
        }
    }
}
