//! One round on the server: the machine, its log, and what waits for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use rand_core::{OsRng, RngCore};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_proof::Round as ProofRound;
use veilsum_protocol::{
    BodySource, Check, Event, Evidence, Fault, Input, Message, Outcome, Output, Owed, Party,
    Record, Refusal, RoundContext, ServerRound, check_request,
};
use veilsum_store::{BodyDigest, BodyStore, Disk, LOG_FILE, LogIdentity, Role, StoreError};
use veilsum_wire::{ReceiptContent, RequestContent, Signed, VoidContent, Wire};

use super::evidence::keep;
use super::outbox::{Batch, Outgoing};
use super::rosters;
use super::task::TaskHome;
use super::{ServerError, ServerTimes};
use crate::journal::{Journal, Stored};

mod ending;
mod presence;
mod refusals;

use ending::Told;
use presence::Presence;
pub(super) use presence::PresenceGuard;

/// What happens in a round, for whoever watches it; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoundEvent {
    /// A client asked for the round.
    Joined(ClientId),
    /// A contribution is verified and durable.
    Received(ClientId),
    /// A contribution was refused for a reason that speaks against its client.
    Rejected(ClientId, Check),
    /// A body was not the one that its header states; the client may try again, a few times.
    Mismatched(ClientId, Check),
    /// U is fixed with this many contributions.
    Proposed(u32),
    /// A member's message was taken.
    Heard(MemberIndex),
    /// A dealer was convicted in closing.
    Convicted(ClientId),
    /// The sum is opened; row sums are still to be certified.
    Opened,
    /// The round has ended.
    Ended(Outcome),
}

/// Bodies for the machine, read back from the store.
#[derive(Debug)]
pub(super) struct Bodies {
    store: BodyStore,
    max: u64,
}

impl BodySource for Bodies {
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>> {
        match self
            .store
            .reader()
            .read_verified(&BodyDigest(body.0), self.max)
        {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                tracing::error!(target: "veilsum", event = "body_unreadable", %error);
                None
            }
        }
    }

    /// Every piece of evidence is a file beside the log.
    fn keeps_evidence(&self) -> bool {
        false
    }
}

/// What the lock guards: whoever holds it is in the one critical section in which U is fixed.
pub(super) struct Core {
    /// None once the log failed: what the machine then holds never happened.
    machine: Option<ServerRound>,
    /// None once it failed: then whoever takes the round up again can open it.
    journal: Option<Journal>,
    outgoing: Outgoing,
    receipts: BTreeMap<ClientId, Signed<ReceiptContent>>,
    rejected: BTreeMap<ClientId, Check>,
    /// Clients of well-signed headers whose bodies were others than the headers say: how often, and the last check.
    mismatched: BTreeMap<ClientId, (u32, Check)>,
    /// How often clients with a receipt sent another contribution.
    repeated: BTreeMap<ClientId, u32>,
    /// Clients whose contribution is being verified: one at a time for each.
    verifying: BTreeSet<ClientId>,
    joined: BTreeSet<ClientId>,
    clients: BTreeMap<ClientId, Presence>,
    /// When this process took the round up: from then on it waits for those that it knows from the log.
    started: Instant,
    /// How many contributions this process has taken, and when the last.
    received: u32,
    received_at: Option<Instant>,
    members: BTreeMap<MemberIndex, Presence>,
    finals: BTreeSet<MemberIndex>,
    endorsed: BTreeSet<MemberIndex>,
    /// Requests to unmask wait for the endorsements of all who are there, because complaints come with them: a bad dealer
    /// whose victim is slower than t others would go unnoticed.
    unmask_held: bool,
    /// Members that the machine was told about.
    told_silent: BTreeSet<MemberIndex>,
    /// When the machine was last told of all of them.
    told_at: Option<Instant>,
    /// Since when row sums are awaited.
    certifying_at: Option<Instant>,
    proposed: bool,
    done: Option<Outcome>,
    void: Option<Signed<VoidContent>>,
    failure: Option<StoreError>,
    /// What keeps the machine from going on.
    fault: Option<Fault>,
    sealed: bool,
}

/// What a round is started or taken up again with.
pub(super) struct RoundStart {
    pub(super) task: Arc<TaskHome>,
    pub(super) context: Arc<RoundContext>,
    pub(super) proof: Arc<ProofRound>,
    pub(super) identity: IdentityKey,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) journal: Journal,
    /// The first record of the log, if it has one, and those behind it.
    pub(super) first: Option<Record>,
    pub(super) rest: Stored,
    pub(super) events: tokio::sync::mpsc::UnboundedSender<RoundEvent>,
}

/// What a waiting request is woken for: a thousand of them may wait while every contribution changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The driver looks at every change.
    Driver,
    /// Contributions are taken no more, the round has ended, or the log has failed.
    Phase,
    /// There are messages for members; whoever waits for them hears of a phase as well.
    Mail,
    /// A client's contribution is not in verification any more.
    Place,
}

impl Wake {
    const COUNT: usize = 4;
}

/// A round that the server runs or still answers for.
pub(super) struct RoundRun {
    pub(super) task: Arc<TaskHome>,
    pub(super) context: Arc<RoundContext>,
    pub(super) proof: Arc<ProofRound>,
    pub(super) announcement: Arc<[u8]>,
    pub(super) bodies: BodyStore,
    pub(super) dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// The log was closed before this process opened it.
    pub(super) had_ended: bool,
    /// Tells cursors of another process from this one's.
    incarnation: u32,
    core: Mutex<Core>,
    /// See [`Self::is_failing`].
    failing: AtomicBool,
    /// Signatures of requests that were checked: each client signs the same bytes again and again.
    signed: Mutex<BTreeMap<(ClientId, u16), Signed<RequestContent>>>,
    /// Clients that have acknowledged how the round ended, and when the last one did.
    told: Mutex<Told>,
    changed: [watch::Sender<u64>; Wake::COUNT],
    events: tokio::sync::mpsc::UnboundedSender<RoundEvent>,
}

/// Why nothing came of an input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Denied {
    Refused(Check),
    Void(Box<Signed<VoidContent>>),
    Storage,
}

/// Identity of the log that a server with this key keeps of this round.
#[must_use]
pub fn log_identity(server_key: &[u8; 32], round_id: u64) -> LogIdentity {
    let mut hasher = blake3::Hasher::new_derive_key("veilsum/v1 server log");
    hasher.update(server_key).update(&round_id.to_le_bytes());
    LogIdentity {
        role: Role::Server,
        context: *hasher.finalize().as_bytes(),
    }
}

impl RoundRun {
    /// Starts the round, or goes on with it when the log has records.
    pub(super) fn start(start: RoundStart) -> Result<Arc<Self>, ServerError> {
        let RoundStart {
            task,
            context,
            proof,
            identity,
            disk,
            dir,
            journal,
            first,
            rest,
            events,
        } = start;
        let bodies = journal.log().bodies().clone();
        let had_ended = journal.log().is_closed();
        let max = veilsum_wire::Body::encoded_len(context.params(), context.layout());
        let source = Bodies {
            store: bodies.clone(),
            max,
        };
        let mut core = Core {
            machine: None,
            journal: Some(journal),
            outgoing: Outgoing::default(),
            verifying: BTreeSet::new(),
            receipts: BTreeMap::new(),
            rejected: BTreeMap::new(),
            joined: BTreeSet::new(),
            clients: BTreeMap::new(),
            started: Instant::now(),
            received: 0,
            received_at: None,
            members: BTreeMap::new(),
            finals: BTreeSet::new(),
            endorsed: BTreeSet::new(),
            unmask_held: true,
            told_silent: BTreeSet::new(),
            told_at: None,
            certifying_at: None,
            proposed: false,
            done: None,
            void: None,
            mismatched: BTreeMap::new(),
            repeated: BTreeMap::new(),
            failure: None,
            fault: None,
            sealed: had_ended,
        };
        let (machine, outputs) = match first {
            None => ServerRound::announce(
                Arc::clone(&context),
                Arc::clone(&proof),
                identity,
                Box::new(source),
            )?,
            Some(first) => {
                let mut unreadable = None;
                let rest =
                    rest.map_while(|record| record.map_err(|error| unreadable = Some(error)).ok());
                let records = std::iter::once(first).chain(rest).inspect(|record| {
                    core.recall(record);
                    core.recall_rejection(&context, &proof, record);
                    // A crash between the record and the file: nobody is convicted of the same twice.
                    if let Record::ServerEvidence { evidence } = record {
                        keep(&*disk, &dir, &context, evidence);
                    }
                });
                let replayed = ServerRound::replay(
                    Arc::clone(&context),
                    Arc::clone(&proof),
                    identity,
                    Box::new(source),
                    records,
                );
                if let Some(error) = unreadable {
                    return Err(error.into());
                }
                replayed?
            }
        };
        // Whoever reads the transcript needs the roster too.
        rosters::write(&*disk, &dir, context.roster())?;
        let announcement = machine.announcement().to_bytes().into();
        core.machine = Some(machine);
        let run = Arc::new(Self {
            task,
            context,
            proof,
            announcement,
            bodies,
            dir,
            disk,
            had_ended,
            incarnation: OsRng.next_u32(),
            core: Mutex::new(core),
            failing: AtomicBool::new(false),
            signed: Mutex::new(BTreeMap::new()),
            told: Mutex::default(),
            changed: std::array::from_fn(|_| watch::Sender::new(0)),
            events,
        });
        let mut core = run.lock();
        run.apply(&mut core, outputs)
            .map_err(|_| ServerError::from_failure(core.failure.clone()))?;
        drop(core);
        Ok(run)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic inside leaves a machine that may be ahead of its log; `apply` is what could panic, and then the log
        // refuses: see `Core::machine`.
        let mut core = self.core.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut core = poisoned.into_inner();
            core.machine = None;
            core
        });
        if core.machine.is_none() && core.failure.is_none() {
            core.failure = Some(self.poisoned());
        }
        core
    }

    /// What is said of a log that has failed.
    fn poisoned(&self) -> StoreError {
        let path = self.dir.join(LOG_FILE);
        StoreError::Poisoned { path }
    }

    /// [`check_request`], once for each client and kind. Memory: the clients of the cohort times the kinds.
    pub(super) fn check_request(
        &self,
        kind: u16,
        request: &Signed<RequestContent>,
    ) -> Result<ClientId, Refusal> {
        if let Some(client) = self.recall_request(kind, request) {
            return Ok(client);
        }
        let client = check_request(&self.context, kind, request)?;
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        signed.insert((client, kind), request.clone());
        Ok(client)
    }

    /// Who signed a request, if it was checked before.
    pub(super) fn recall_request(
        &self,
        kind: u16,
        request: &Signed<RequestContent>,
    ) -> Option<ClientId> {
        let signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let client = request.content.client;
        (signed.get(&(client, kind)) == Some(request)).then_some(client)
    }

    /// As [`Self::lock`], for a task of the runtime: while the lock is held for long, as when a sum is opened, other tasks
    /// go on.
    pub(super) async fn with<T>(&self, mut look: impl FnMut(&mut Core) -> T) -> T {
        let mut pause = Duration::from_millis(1);
        loop {
            // A poisoned lock is there to be had as well.
            let free = !matches!(self.core.try_lock(), Err(TryLockError::WouldBlock));
            if free {
                return look(&mut self.lock());
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_millis(20));
        }
    }

    /// Whether the log failed. Asked while somebody has the lock, for seconds perhaps, it says what was known before.
    pub(super) fn is_failing(&self) -> bool {
        match self.core.try_lock() {
            Ok(core) => self.failing.store(core.failure.is_some(), Relaxed),
            // What panicked inside may be ahead of its log.
            Err(TryLockError::Poisoned(_)) => self.failing.store(true, Relaxed),
            Err(TryLockError::WouldBlock) => {}
        }
        self.failing.load(Relaxed)
    }

    pub(super) fn watch(&self, wake: Wake) -> watch::Receiver<u64> {
        let [driver, phase, mail, place] = &self.changed;
        match wake {
            Wake::Driver => driver,
            Wake::Phase => phase,
            Wake::Mail => mail,
            Wake::Place => place,
        }
        .subscribe()
    }

    /// Wakes those who wait for this, and the driver.
    pub(super) fn bump(&self, wake: Wake) {
        let bump = |sender: &watch::Sender<u64>| {
            sender.send_modify(|version| *version = version.wrapping_add(1));
        };
        let [driver, phase, mail, place] = &self.changed;
        bump(driver);
        match wake {
            Wake::Driver => {}
            Wake::Phase => {
                bump(phase);
                bump(mail);
            }
            Wake::Mail => bump(mail),
            Wake::Place => bump(place),
        }
    }

    fn tell(&self, event: RoundEvent) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    /// Feeds the machine and acts on what it says; returns what it refused.
    pub(super) fn input(
        &self,
        core: &mut Core,
        input: Input,
    ) -> Result<Vec<(Party, Refusal)>, Denied> {
        let Some(machine) = core.machine.as_mut() else {
            return Err(Denied::Storage);
        };
        let outputs = machine.handle(input);
        self.apply(core, outputs)
    }

    /// Makes what the machine said durable, then acts on it.
    pub(super) fn act(&self, core: &mut Core, outputs: Vec<Output>) -> Result<(), Denied> {
        self.apply(core, outputs).map(|_| ())
    }

    fn apply(
        &self,
        core: &mut Core,
        outputs: Vec<Output>,
    ) -> Result<Vec<(Party, Refusal)>, Denied> {
        let mut records = Vec::new();
        let mut rest = Vec::new();
        for output in outputs {
            match output {
                Output::Persist(record) => records.push(record),
                other => rest.push(other),
            }
        }
        let stored = match &mut core.journal {
            Some(journal) => journal.persist(&records),
            None => Err(self.poisoned()),
        };
        if let Err(error) = stored {
            tracing::error!(target: "veilsum", event = "log_failed", %error);
            // The machine is ahead of its log now: what it holds must not act. A restart replays the log.
            core.machine = None;
            core.journal = None;
            core.failure = Some(error);
            self.bump(Wake::Phase);
            return Err(Denied::Storage);
        }
        let before = core.phase();
        for record in &records {
            core.recall(record);
        }
        let mut refused = Vec::new();
        let mut wake = Wake::Driver;
        for output in rest {
            match output {
                Output::Persist(_) => {}
                Output::Send {
                    to: Party::Member(index),
                    message,
                } => {
                    core.outgoing.send(index, &message);
                    wake = Wake::Mail;
                }
                Output::Owe { to, what } => {
                    core.outgoing.owe(to, what);
                    wake = Wake::Mail;
                }
                // Clients ask for theirs: receipts, results and the void declaration are recalled from the records.
                Output::Send { .. } => {}
                Output::Reject { from, refusal } => refused.push((from, refusal)),
                Output::Event(event) => self.event(core, event),
                Output::Failed(fault) => {
                    tracing::error!(target: "veilsum", event = "round_fault", ?fault);
                    core.fault.get_or_insert(fault);
                }
                Output::Done(outcome) => {
                    core.done = Some(outcome);
                    self.tell(RoundEvent::Ended(outcome));
                }
            }
        }
        let phase = core.phase() != before;
        self.bump(if phase { Wake::Phase } else { wake });
        Ok(refused)
    }

    fn event(&self, core: &mut Core, event: Event) {
        match event {
            Event::Evidence(evidence) => self.keep(&evidence),
            Event::Contributed(client) => {
                core.received = core.received.saturating_add(1);
                core.received_at = Some(Instant::now());
                self.tell(RoundEvent::Received(client));
            }
            Event::Proposed { count, .. } => self.tell(RoundEvent::Proposed(count)),
            Event::ConvictedDealer(client) => self.tell(RoundEvent::Convicted(client)),
            Event::Opened => self.tell(RoundEvent::Opened),
            _ => {}
        }
    }

    /// Writes evidence beside the log. Losing it loses a report, not the round: what it rests on is in the log, or was
    /// refused and can be sent again.
    fn keep(&self, evidence: &Evidence) {
        keep(&*self.disk, &self.dir, &self.context, evidence);
    }

    /// Notes that a client of the cohort asked for the round; whether it is the first time in this process.
    pub(super) async fn note_joined(&self, client: ClientId) -> bool {
        let (heard, joined) = self
            .with(|core| {
                let heard = core.clients.contains_key(&client);
                if let Some(presence) = core.presence(Party::Client(client)) {
                    presence.last = Some(Instant::now());
                }
                (heard, core.joined.insert(client))
            })
            .await;
        if joined {
            self.tell(RoundEvent::Joined(client));
            self.bump(Wake::Driver);
        }
        !heard
    }

    pub(super) fn note_heard(&self, index: MemberIndex) {
        self.tell(RoundEvent::Heard(index));
    }

    /// The member's messages behind `cursor`, and the next cursor; none while there are none.
    pub(super) fn messages(
        &self,
        core: &Core,
        index: MemberIndex,
        cursor: u64,
    ) -> Option<(u64, Batch)> {
        let own = u64::from(self.incarnation) << 32;
        let from = if cursor >> 32 == u64::from(self.incarnation) {
            cursor & u64::from(u32::MAX)
        } else {
            0
        };
        let from = usize::try_from(from).ok()?;
        let (next, batch) = core.outgoing.behind(index, from, core.unmask_held)?;
        Some((own | u64::try_from(next).ok()?, batch))
    }

    /// A large message for a member, in parts.
    pub(super) fn owed(&self, index: MemberIndex, what: Owed) -> Option<Vec<Arc<[u8]>>> {
        let mut core = self.lock();
        let core = &mut *core;
        core.outgoing.owed(core.machine.as_ref()?, index, what)
    }
}

impl Core {
    /// What later requests ask for, from a record that is durable.
    fn recall(&mut self, record: &Record) {
        match record {
            Record::ServerReceipt { sent } => {
                self.receipts.insert(sent.content.client, sent.clone());
                self.joined.insert(sent.content.client);
            }
            Record::ServerProposal { .. } => self.proposed = true,
            Record::ServerEndorse { accepted } => {
                self.endorsed.insert(accepted.signed.content.member);
            }
            Record::ServerFinal { accepted } => {
                self.finals.insert(accepted.content.member);
            }
            Record::ServerResult { .. } => self.certifying_at = Some(Instant::now()),
            Record::ServerVoid { sent } => {
                self.void = Some(sent.clone());
                // Nothing more is due, and the machine does not say so again after a restart.
                self.done = Some(Outcome::Void);
            }
            _ => {}
        }
    }

    pub(super) fn machine(&mut self) -> Option<&mut ServerRound> {
        self.machine.as_mut()
    }
    pub(super) fn receipt(&self, client: ClientId) -> Option<&Signed<ReceiptContent>> {
        self.receipts.get(&client)
    }
    pub(super) fn receipts(&self) -> usize {
        self.receipts.len()
    }
    /// How many clients asked for the round.
    pub(super) fn joined(&self) -> usize {
        self.joined.len()
    }
    pub(super) fn rejected(&self) -> &BTreeMap<ClientId, Check> {
        &self.rejected
    }
    /// Clients that joined and from which there is nothing yet.
    pub(super) fn expected(&self) -> impl Iterator<Item = ClientId> + '_ {
        let here = |client: &&ClientId| {
            !self.receipts.contains_key(client) && self.used_up(**client).is_none()
        };
        self.joined.iter().filter(here).copied()
    }
    /// How many contributions this process has taken, and in how many milliseconds.
    pub(super) fn throughput(&self) -> (u32, u64) {
        let time = self.received_at.map(|at| at.duration_since(self.started));
        let ms = time.map_or(0, |time| time.as_millis());
        (self.received, u64::try_from(ms).unwrap_or(u64::MAX))
    }
    pub(super) fn void(&self) -> Option<&Signed<VoidContent>> {
        self.void.as_ref()
    }
    /// The result and what one client checks it with, in parts.
    pub(super) fn result_parts(&mut self, client: ClientId) -> Option<Vec<Arc<[u8]>>> {
        self.outgoing.result(self.machine.as_ref()?, client)
    }
    /// Whether a contribution of this client may be verified now; [`Core::end_verifying`] ends it.
    pub(super) fn begin_verifying(&mut self, client: ClientId) -> bool {
        self.verifying.insert(client)
    }
    pub(super) fn end_verifying(&mut self, client: ClientId) {
        self.verifying.remove(&client);
    }
    pub(super) fn done(&self) -> Option<Outcome> {
        self.done
    }
    pub(super) fn failure(&self) -> Option<&StoreError> {
        self.failure.as_ref()
    }
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }
    /// What those who wait are told of.
    fn phase(&self) -> (bool, bool, bool, bool) {
        let fault = self.fault.is_some();
        (
            self.proposed,
            self.void.is_some(),
            self.done.is_some(),
            fault,
        )
    }
    pub(super) fn is_proposed(&self) -> bool {
        self.proposed
    }
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Whether everybody of the cohort has contributed, was rejected, or came and left.
    pub(super) fn nobody_left(&self, context: &RoundContext, quiet: Duration) -> bool {
        context.cohort().iter().all(|client| {
            self.receipts.contains_key(client)
                || self.used_up(*client).is_some()
                || (self.joined.contains(client)
                    && self
                        .clients
                        .get(client)
                        .is_some_and(|presence| presence.gone_for(quiet)))
        })
    }

    /// Members without a Final that are not waiting for messages and were not for a while.
    pub(super) fn silent(&self, context: &RoundContext, quiet: Duration) -> Vec<MemberIndex> {
        (1..=context.members())
            .map(MemberIndex)
            .filter(|index| !self.finals.contains(index))
            .filter(|index| {
                self.members
                    .get(index)
                    .is_none_or(|presence| presence.gone_for(quiet))
            })
            .collect()
    }

    /// Members that are silent and were not when this was last asked; from time to time all that are silent, because a
    /// slice may have gone to a member that fell silent before there were slices, or from one silent member to another; those
    /// that are known to have left each time. Before closing has `begun` long enough ago for all to come, these alone.
    pub(super) fn silent_to_tell(
        &mut self,
        context: &RoundContext,
        quiet: Duration,
        begun: bool,
    ) -> Vec<MemberIndex> {
        // Whoever asks for messages and never answers them would hold up its slices for ever.
        let late = self
            .certifying_at
            .filter(|at| at.elapsed() >= 4 * quiet)
            .and(self.machine.as_ref())
            .map(ServerRound::awaited)
            .unwrap_or_default();
        let silent: BTreeSet<MemberIndex> = (1..=context.members())
            .map(MemberIndex)
            .filter(|index| {
                let presence = self.members.get(index);
                late.contains(index)
                    || presence.map_or(begun, |p| p.has_left() || begun && p.gone_for(quiet))
            })
            .collect();
        if self.told_at.is_none_or(|at| at.elapsed() >= quiet) {
            self.told_at = Some(Instant::now());
            self.told_silent.clear();
        }
        let left = |index: &MemberIndex| self.members.get(index).is_some_and(Presence::has_left);
        let new = |index: &&MemberIndex| !self.told_silent.contains(*index) || left(index);
        let tell = silent.iter().filter(new).copied().collect();
        self.told_silent = silent;
        tell
    }

    /// Lets the requests to unmask go when each member has endorsed or is gone, or after the patience with those that are at
    /// work; says whether it did so now.
    pub(super) fn release_unmask(
        &mut self,
        context: &RoundContext,
        times: ServerTimes,
        closing_since: Option<Instant>,
    ) -> bool {
        let missing = (1..=context.members()).map(MemberIndex).any(|index| {
            !self.endorsed.contains(&index)
                && self.may_endorse(context, index, times.quiet, closing_since)
        });
        let impatient = closing_since.is_some_and(|since| since.elapsed() >= times.patience);
        let release = self.unmask_held && (impatient || !missing);
        self.unmask_held &= !release;
        release
    }

    /// Whether a member is there or has reason to be: one that was heard since closing began looks at its shares, which
    /// takes a slow machine longer than `quiet`, and one that has its receipt alone has yet to ask for the package.
    fn may_endorse(
        &self,
        context: &RoundContext,
        index: MemberIndex,
        quiet: Duration,
        closing_since: Option<Instant>,
    ) -> bool {
        match self.members.get(&index) {
            Some(presence) => {
                let heard = |since| presence.last.is_some_and(|at| at >= since);
                !presence.gone_for(quiet)
                    || !presence.has_left() && closing_since.is_some_and(heard)
            }
            None => context
                .member(index)
                .is_some_and(|(client, _)| self.receipts.contains_key(&client)),
        }
    }

    /// Whether each member has signed its Final or is silent.
    pub(super) fn settled(&self, context: &RoundContext, quiet: Duration) -> bool {
        self.finals.len() + self.silent(context, quiet).len() >= usize::from(context.members())
    }

    /// Clients that joined and got no receipt, and clients of members that fell silent.
    pub(super) fn dropped(&self, context: &RoundContext) -> BTreeSet<ClientId> {
        let never = self.expected();
        let silent = (1..=context.members())
            .map(MemberIndex)
            .filter(|index| !self.finals.contains(index))
            .filter_map(|index| Some(context.member(index)?.0));
        never.chain(silent).collect()
    }
}

/// The messages that members send.
pub(super) fn is_for_server(message: &Message) -> bool {
    matches!(
        message,
        Message::Endorse(_)
            | Message::Unmask(_)
            | Message::Reveal(_)
            | Message::Final(_)
            | Message::Rows(_)
    )
}
