//! The client: one contribution for each round, committee duty where it is drawn, the light check at the end.

mod error;
mod own_log;
mod share_keys;

pub use error::ClientError;
use own_log::OwnLog;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand_core::{OsRng, RngCore};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};
use veilsum_crypto::{Digest, IdentityKey, ShareSecretKey, VerifyingKey};
use veilsum_encoding::{Encoded, Encoder};
use veilsum_params::{ClientId, MemberIndex, Policy};
use veilsum_proof::{Prepared, Round as ProofRound};
use veilsum_protocol::{
    Check, Client as Machine, ClientConfig as MachineConfig, ClientError as MachineError, Document,
    Event, Evidence, Member, Message, Output, Party, Record, RoundContext, Update, Upload,
};
use veilsum_store::{
    Disk, LogIdentity, RealDisk, Role, StoreError, open_state, replace_private, write_private,
};
use veilsum_transport::{Addresses, Client as Connection, ClientConfig as TransportConfig};
use veilsum_wire::{
    Announcement, LightBundle, Proposal, ReceiptContent, Roster, RoundResult, Signed, VoidContent,
    Wire,
};
use zeroize::Zeroizing;

use crate::epochs::ShareKeys;
use crate::journal::Journal;
use crate::keys::{ClientKeys, KeyError, ServerPublic};
use crate::notes::{Notes, member_dir, refused_file, rows_file};
use crate::requests::{Answer, RequestError, Requests, RoundRequests, is_void};
use crate::rosters::{RosterMemory, RosterMemoryError};
use crate::server::TaskName;

/// How long a client that joins waits for the server's first answer: that comes at once, or after the long poll.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

/// What a client needs.
#[derive(Debug)]
pub struct ClientOptions {
    /// The server's address, or all that its name has.
    pub server: Addresses,
    /// The server's keys, pinned.
    pub server_public: ServerPublic,
    /// The task whose rounds it joins; the empty name for the only one.
    pub task: TaskName,
    /// The registrar's key, pinned: it certifies who takes part.
    pub registrar: VerifyingKey,
    /// The client's keys.
    pub keys: ClientKeys,
    /// Directory for what the client must not forget; one process at a time.
    pub state: PathBuf,
    /// What the client insists on.
    pub policy: Policy,
    /// How long it waits for the server or the others, at most.
    pub patience: Duration,
}

/// A round that a client joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The round as the client recomputed it.
    pub context: Arc<RoundContext>,
    /// The client's place on the committee, if it has one.
    pub member: Option<MemberIndex>,
    announcement: Announcement,
    own: RoundRequests,
}

impl Joined {
    /// The requests that this client signs, for callers that drive a round themselves.
    #[must_use]
    pub fn requests(&self) -> &RoundRequests {
        &self.own
    }

    /// Number of the round.
    #[must_use]
    pub fn round_id(&self) -> u64 {
        self.context.params().round_id
    }

    fn encoder(&self) -> Result<Encoder, ClientError> {
        let params = self.context.params();
        let dim = usize::try_from(params.dim).map_err(|_| ClientError::Internal)?;
        Ok(Encoder::new(
            dim,
            params.scale_bits,
            params.norm_bound.into(),
        )?)
    }

    /// The integers of an update of `dim` floats, for [`Client::contribute`], and whether it had to be scaled down to the norm
    /// bound ([`Encoded::clipped`], which is as private as the update).
    ///
    /// # Errors
    /// [`EncodingError`](veilsum_encoding::EncodingError) in it names what is wrong with the update.
    pub fn encode<T: Copy + Into<f64> + Sync>(&self, update: &[T]) -> Result<Encoded, ClientError> {
        Ok(self.encoder()?.encode(update, &mut OsRng)?)
    }
}

/// What became of a client's part in a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Participation {
    /// The signed result, checked with the light check.
    pub result: RoundResult,
    /// The mean of the accepted updates.
    pub mean: Vec<f64>,
}

/// How far a client's contribution to a round has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contributed {
    /// It is made and kept, and the server has not acknowledged it yet.
    Stored,
    /// The server signed a receipt for it.
    Receipted,
}

/// A client of one server.
pub struct Client {
    requests: Requests,
    machine: Machine,
    log: OwnLog,
    keys: ClientKeys,
    epochs: Option<ShareKeys>,
    registrar: VerifyingKey,
    /// That of the round that was joined last; before there is one, the newest that the server has.
    roster: Arc<Roster>,
    /// The rosters of rounds that were announced to this client.
    seen: RosterMemory,
    disk: Arc<dyn Disk>,
    state: PathBuf,
    patience: Duration,
    prepared: Option<Arc<Prepared>>,
    /// Tells the server that this client is still there, from joining to the receipt.
    presence: Option<Presence>,
    /// Files of evidence that this client wrote.
    found: Vec<PathBuf>,
}

/// A task that ends with its owner.
struct Presence(tokio::task::JoinHandle<()>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// Opens the client's state and connects; the roster comes from the server and must be the registrar's, and not older
    /// than that of any round that was announced to this client before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open(options: ClientOptions) -> Result<Self, ClientError> {
        Self::open_on(Arc::new(RealDisk), options).await
    }

    /// As [`Self::open`], on another disk than that of this machine.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn open_on(disk: Arc<dyn Disk>, options: ClientOptions) -> Result<Self, ClientError> {
        let mut jitter = [0; 32];
        OsRng.fill_bytes(&mut jitter);
        let connection = Connection::new(
            options.server,
            options.server_public.transport,
            TransportConfig::new(jitter),
        )?;
        let requests = Requests::new(connection, options.patience).of_task(options.task);
        let server_key = options.server_public.signing;
        let client = options.keys.client();
        open_state(&*disk, &options.state)?;
        let (log, records) = OwnLog::open(Arc::clone(&disk), &options.state, &server_key, client)?;
        let registrar = options.registrar;
        let seen = RosterMemory::open(Arc::clone(&disk), &options.state, &registrar)?;
        let roster = fetch_roster(&requests, registrar, 0).await?;
        seen.check(&roster)?;
        let config = MachineConfig {
            client,
            policy: options.policy,
            server_key,
            share_key: Some(*options.keys.share().public()),
        };
        let identity = copy(options.keys.identity());
        let of_client = Arc::clone(&roster);
        let machine = log.replay(records, |records| {
            Machine::new(config, identity, of_client, records)
        })?;
        Ok(Self {
            requests,
            machine,
            log,
            keys: options.keys,
            registrar,
            epochs: None,
            roster,
            seen,
            disk,
            state: options.state,
            patience: options.patience,
            prepared: None,
            presence: None,
            found: Vec::new(),
        })
    }

    /// The client's number.
    #[must_use]
    pub fn id(&self) -> ClientId {
        self.keys.client()
    }
    /// The roster of the round that was joined last; before there is one, the newest that the server has.
    #[must_use]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }
    /// The requests, for callers that drive a round themselves.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }
    /// The client's keys.
    #[must_use]
    pub fn keys(&self) -> &ClientKeys {
        &self.keys
    }
    /// Files of evidence against others that this client wrote into its state directory since it was opened.
    #[must_use]
    pub fn evidence(&self) -> &[PathBuf] {
        &self.found
    }
    /// How far this client's contribution to a round has come, in this process or in one before it; `None` if there is none.
    #[must_use]
    pub fn contributed(&self, round_id: u64) -> Option<Contributed> {
        self.machine.header(round_id)?;
        Some(match self.machine.receipt_of(round_id) {
            Some(_) => Contributed::Receipted,
            None => Contributed::Stored,
        })
    }
    /// Closes the connection.
    pub async fn close(&mut self) {
        self.presence = None;
        self.requests.close().await;
    }

    /// Waits for the first round whose id is above `after`, and checks it: everything is recomputed, nothing is taken on
    /// the server's word.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join(&mut self, after: u64) -> Result<Joined, ClientError> {
        let patience = Patience::new(self.patience);
        let announcement = loop {
            match self.requests.announcement(after).await? {
                Answer::Ready(announcement) => break announcement,
                Answer::Again | Answer::Over => patience.check("a round")?,
                // No round was asked for, so that whatever it is about says nothing.
                Answer::Void(_) => return Err(ClientError::VoidSignature),
            }
        };
        // Which places a beacon's value draws is known to everybody once it is used: an older round is none to go back to.
        let shown = announcement.params.round_id;
        if shown <= after {
            return Err(ClientError::OldRound { after, shown });
        }
        self.take_roster_of(&announcement).await?;
        self.take_share_key(announcement.params.epoch)?;
        let context = self
            .machine
            .announcement(&announcement)
            .map_err(|e| self.blame(announcement.params.round_id, e))?;
        let member = context.params().member_index(self.id());
        let own = self
            .requests
            .in_round(&context, self.id(), self.keys.identity());
        if context.in_cohort(self.id()) {
            self.announce(own.clone()).await?;
        }
        tracing::info!(
            target: "veilsum", event = "round_joined", round = context.params().round_id,
            member = member.map(|index| index.0)
        );
        Ok(Joined {
            own,
            context,
            member,
            announcement,
        })
    }

    /// Goes on with the roster of a round that is announced. From then on no round is joined under an older one, whatever
    /// becomes of this process; only a round that this client has contributed to already goes on under its own.
    async fn take_roster_of(&mut self, announcement: &Announcement) -> Result<(), ClientError> {
        let (round_id, named) = (
            announcement.params.round_id,
            announcement.params.roster_digest,
        );
        let mut roster = Arc::clone(&self.roster);
        if roster.digest().0 != named {
            roster = fetch_roster(&self.requests, self.registrar, round_id).await?;
            let differs = roster.digest() != self.roster.digest();
            if differs && roster.version() == self.roster.version() {
                return Err(self.seen.against(&self.roster, &roster)?.into());
            }
        }
        // Another one than the parameters name is for the check of the announcement to refuse.
        if roster.digest().0 == named {
            match self.seen.accept(&roster) {
                Ok(()) => {}
                Err(RosterMemoryError::Older { .. })
                    if self.machine.has_contributed(announcement) => {}
                Err(error) => return Err(error.into()),
            }
            self.machine.use_roster(Arc::clone(&roster))?;
            self.roster = roster;
        }
        Ok(())
    }

    /// Tells the server that a contribution is on its way, and stays present. A server that hears of this client for the
    /// first time says so at once; one that knows it from before a restart does not, and is not waited for.
    async fn announce(&mut self, own: RoundRequests) -> Result<(), ClientError> {
        let (heard, first) = oneshot::channel();
        let presence = Presence(tokio::spawn(prepare(own, heard)));
        if let Ok(answer) = tokio::time::timeout(FIRST_ANSWER, first).await
            && answer.map_err(|_| ClientError::Internal)?? != Answer::Again
        {
            return Ok(());
        }
        self.presence = Some(presence);
        Ok(())
    }

    /// Takes part in a round from beginning to end: contributes the update, serves on the committee if drawn, and checks
    /// the published result.
    ///
    /// The update has `dim` floats of the round's parameters. One whose L2 norm is above `norm_bound` / 2^`scale_bits` is scaled
    /// down to it. The model digest is that of the model that was trained on: a round with another one is refused. A client that
    /// contributed to the round before sends that contribution, and the update is not looked at.
    ///
    /// # Errors
    /// [`ClientError`]; [`veilsum_encoding::EncodingError`] in it names what is wrong with the update.
    pub async fn take_part<T: Copy + Into<f64> + Sync>(
        &mut self,
        round: &Joined,
        model_digest: Digest,
        update: &[T],
    ) -> Result<Participation, ClientError> {
        let x = match self.contributed(round.round_id()) {
            Some(_) => Zeroizing::default(),
            None => round.encode(update)?.into_values(),
        };
        self.contribute(round, model_digest, x).await?;
        self.serve(round, |_| true).await?;
        self.result(round).await
    }

    /// Contributes an encoded update: makes, stores and sends the contribution, and stores the receipt. If the client
    /// contributed to the round before, the same bytes are sent again and `x` is not looked at.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Closed`] for who comes too late; [`RequestError::Refused`] names another check that the
    /// server says has failed.
    pub async fn contribute(
        &mut self,
        round: &Joined,
        model_digest: Digest,
        x: Zeroizing<Vec<i64>>,
    ) -> Result<Signed<ReceiptContent>, ClientError> {
        self.log.store(&mut self.machine, Vec::new())?;
        if let Some(receipt) = self.machine.receipt_of(round.round_id()) {
            return Ok(receipt.clone());
        }
        let made = self.log.resend(&self.machine, round.round_id())?;
        let upload = match made {
            Some(upload) => upload,
            None => self.make(round, model_digest, x).await?,
        };
        self.submit(round, upload).await
    }

    async fn make(
        &mut self,
        round: &Joined,
        model_digest: Digest,
        mut x: Zeroizing<Vec<i64>>,
    ) -> Result<Upload, ClientError> {
        let proof = self.proof_round(&round.context).await?;
        let round_id = round.round_id();
        let made = tokio::task::block_in_place(|| {
            self.machine.contribute(
                round_id,
                &proof,
                Update::new(model_digest, std::mem::take(&mut *x)),
                &mut OsRng,
            )
        });
        let outputs = made.map_err(|e| self.blame(round.round_id(), e))?;
        let messages = self.act(round.round_id(), outputs)?;
        messages
            .into_iter()
            .find_map(|message| match message {
                Message::Contribution(upload) => Some(upload),
                _ => None,
            })
            .ok_or(ClientError::Internal)
    }

    async fn submit(
        &mut self,
        round: &Joined,
        upload: Upload,
    ) -> Result<Signed<ReceiptContent>, ClientError> {
        let patience = Patience::new(self.patience);
        let body: Arc<[u8]> = upload.body.0.into();
        loop {
            let answer = self
                .requests
                .submit(round.round_id(), &upload.header, Arc::clone(&body))
                .await;
            match answer.map_err(|error| too_late(round, error))? {
                Answer::Ready(receipt) => {
                    let outputs = self
                        .machine
                        .receipt(round.round_id(), &receipt)
                        .map_err(|e| self.blame(round.round_id(), e))?;
                    self.act(round.round_id(), outputs)?;
                    self.presence = None;
                    tracing::info!(target: "veilsum", event = "receipt_taken", round = round.round_id());
                    return Ok(receipt);
                }
                Answer::Again | Answer::Over => patience.check("a receipt")?,
                Answer::Void(declared) => return Err(void(&round.context, &declared)),
            }
        }
    }

    /// Serves on the committee until the round ends, if the client is a member. `go_on` is asked after each message that
    /// was handed in, and ends the service when it says no.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn serve(
        &mut self,
        round: &Joined,
        mut go_on: impl FnMut(&Message) -> bool + Send,
    ) -> Result<(), ClientError> {
        self.presence = None;
        if round.member.is_none() {
            return Ok(());
        }
        self.hold(round)?;
        let (mut member, mut journal, mut outputs) = self.member(round)?;
        let patience = Patience::new(self.patience);
        let mut cursor = 0;
        loop {
            for message in self.act_member(round.round_id(), &mut journal, outputs)? {
                match round.own.member_send(&message).await {
                    Ok(()) => {}
                    // The server takes the message for another or a later state; what it still needs it asks for again.
                    Err(RequestError::Refused(check)) => {
                        tracing::warn!(target: "veilsum", event = "member_message_refused", message = message.name(), %check);
                    }
                    Err(error) => return Err(error.into()),
                }
                if !go_on(&message) {
                    return Ok(());
                }
            }
            outputs = Vec::new();
            match round.own.member_poll(cursor).await? {
                Answer::Ready(polled) => {
                    cursor = polled.next;
                    for message in polled.messages {
                        if let Message::Package(package) = &message {
                            self.compare(round.round_id(), &package.proposal)?;
                        }
                        let rows = match &message {
                            Message::RowsRequest(request) => {
                                Some((request.slice, request.to_bytes()))
                            }
                            _ => None,
                        };
                        let handled =
                            tokio::task::block_in_place(|| member.handle(message, &mut OsRng));
                        let taken = handled
                            .iter()
                            .any(|o| matches!(o, Output::Send { .. } | Output::Persist(_)));
                        if let (Some((slice, bytes)), true) = (rows, taken) {
                            self.note(&rows_file(&self.state, round.round_id(), slice), &bytes);
                        }
                        outputs.extend(handled);
                    }
                }
                Answer::Over => return self.release(round),
                Answer::Again => patience.check("the end of the round")?,
                Answer::Void(declared) => {
                    let error = void(&round.context, &declared);
                    if error == ClientError::Void {
                        self.release(round)?;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Holds a proposal against the receipt and against what the server proposed before. A member endorses whatever comes
    /// of it: a broken receipt is for evidence to say.
    fn compare(&mut self, round_id: u64, proposal: &Proposal) -> Result<(), ClientError> {
        let Err(error) = self.machine.proposal(round_id, proposal) else {
            return Ok(());
        };
        let refused = matches!(
            error,
            MachineError::Refused(_) | MachineError::Convicting { .. }
        );
        tracing::warn!(target: "veilsum", event = "proposal_refused", %error);
        match self.blame(round_id, error) {
            _ if refused => Ok(()),
            error => Err(error),
        }
    }

    fn member(&self, round: &Joined) -> Result<(Member, Journal, Vec<Output>), ClientError> {
        let identity = LogIdentity {
            role: Role::Member,
            context: round.context.digest().0,
        };
        let dir = member_dir(&self.state, round.round_id());
        let (journal, records) = Journal::open(Arc::clone(&self.disk), &dir, identity)?;
        let (own, context) = (copy(self.keys.identity()), Arc::clone(&round.context));
        let share = ShareSecretKey::from_bytes(&self.keys.share().to_bytes())
            .map_err(|_| KeyError::Invalid)?;
        if records.is_empty() {
            let (member, outputs) = Member::join(context, round.announcement.clone(), own, share)?;
            return Ok((member, journal, outputs));
        }
        let member = Member::replay(context, own, share, records, &mut OsRng)?;
        Ok((member, journal, Vec::new()))
    }

    /// The result of a round, after the light check. A result that fails it is kept with all that came beside it, and
    /// whatever this client's notes then prove is written as evidence ([`Client::evidence`]).
    ///
    /// # Errors
    /// [`ClientError`]; a result that fails the check is [`ClientError::Machine`].
    pub async fn result(&mut self, round: &Joined) -> Result<Participation, ClientError> {
        let patience = Patience::new(self.patience);
        let (result, bundle) = loop {
            match round.own.result().await? {
                Answer::Ready(answer) => break answer,
                Answer::Again | Answer::Over => patience.check("the result")?,
                Answer::Void(declared) => return Err(void(&round.context, &declared)),
            }
        };
        let checked = tokio::task::block_in_place(|| {
            let noted = self.machine.note_result(round.round_id(), &result.signed)?;
            let checked = self
                .machine
                .result(round.round_id(), &result, &bundle, &mut OsRng);
            Ok((noted, checked))
        });
        let checked = match checked {
            Ok((noted, checked)) => {
                self.act(round.round_id(), noted)?;
                checked
            }
            Err(error) => Err(error),
        };
        self.save(round, &result, &bundle)?;
        if let Err(error) = checked {
            let shown = (result, bundle).to_bytes();
            self.note(&refused_file(&self.state, round.round_id()), &shown);
            tokio::task::block_in_place(|| self.accuse(&round.context))?;
            return Err(self.blame(round.round_id(), error));
        }
        tracing::info!(
            target: "veilsum", event = "result_checked", round = round.round_id(), contributions = bundle.count
        );
        let encoder = round.encoder()?;
        let convicted = u32::try_from(result.signed.content.convicted.len()).unwrap_or(u32::MAX);
        let mean = encoder.decode_mean(
            &result.vector,
            bundle.count.saturating_sub(convicted).into(),
        )?;
        Ok(Participation { result, mean })
    }

    /// Keeps what the result was checked with, right or wrong, so that the check can be made again without the server.
    fn save(
        &self,
        round: &Joined,
        result: &RoundResult,
        bundle: &LightBundle,
    ) -> Result<(), ClientError> {
        let round_id = round.round_id();
        let header = self.machine.header(round_id).ok_or(ClientError::Internal)?;
        let file = Document::Published {
            registrar: self.roster.registrar().to_bytes(),
            roster: self.roster.signed().clone(),
            announcement: round.announcement.clone(),
            header: header.clone(),
            receipt: self
                .machine
                .receipt_of(round_id)
                .cloned()
                .into_iter()
                .collect(),
            result: result.clone(),
            bundle: bundle.clone(),
        };
        let path = published_file(&self.state, round_id);
        Ok(replace_private(&*self.disk, &path, &file.to_file())?)
    }

    /// The tables of a round, for callers that make proofs themselves.
    ///
    /// # Errors
    /// [`ClientError::Proof`].
    pub async fn proof_round(
        &mut self,
        context: &RoundContext,
    ) -> Result<Arc<ProofRound>, ClientError> {
        let prepared = match self
            .prepared
            .as_ref()
            .filter(|p| p.layout() == context.layout())
        {
            Some(prepared) => Arc::clone(prepared),
            None => {
                let layout = context.layout().clone();
                let made = tokio::task::spawn_blocking(move || Prepared::new(&layout));
                let prepared = Arc::new(made.await.map_err(|_| ClientError::Internal)??);
                self.prepared = Some(Arc::clone(&prepared));
                prepared
            }
        };
        Ok(Arc::new(ProofRound::new(prepared, *context.digest())?))
    }

    /// Uses tables that others made for the same layout, in processes with many clients.
    pub fn share_tables(&mut self, prepared: Arc<Prepared>) {
        self.prepared = Some(prepared);
    }

    /// Persists, then gives what is to be sent.
    fn act(&mut self, round_id: u64, outputs: Vec<Output>) -> Result<Vec<Message>, ClientError> {
        let (records, messages) = split(outputs, &mut |evidence| {
            self.evidence_out(round_id, evidence)
        });
        self.log.store(&mut self.machine, records)?;
        Ok(messages)
    }

    fn act_member(
        &mut self,
        round_id: u64,
        journal: &mut Journal,
        outputs: Vec<Output>,
    ) -> Result<Vec<Message>, ClientError> {
        let (records, messages) = split(outputs, &mut |evidence| {
            self.evidence_out(round_id, evidence)
        });
        journal.persist(&records)?;
        Ok(messages)
    }

    /// Writes whatever this client's own notes prove.
    fn accuse(&mut self, context: &Arc<RoundContext>) -> Result<(), ClientError> {
        let mut notes = Notes::new(Arc::clone(context));
        notes.read(&self.disk, &self.state)?;
        for evidence in notes.evidence() {
            self.evidence_out(context.params().round_id, &evidence);
        }
        Ok(())
    }

    /// Keeps what may convict somebody later. Losing it loses evidence, not the round.
    fn note(&self, path: &Path, bytes: &[u8]) {
        if let Err(error) = replace_private(&*self.disk, path, bytes) {
            tracing::warn!(target: "veilsum", event = "note_not_written", %error);
        }
    }

    /// Writes evidence into the state directory, under the parameters that the round was first announced with.
    fn evidence_out(&mut self, round_id: u64, evidence: &Evidence) {
        let Some(announcement) = self.machine.announcement_of(round_id) else {
            return;
        };
        let named = Digest(announcement.params.roster_digest);
        let remembered = match self.roster.digest() == named {
            true => None,
            false => self.seen.by_digest(&named).unwrap_or_default(),
        };
        let roster = remembered.as_ref().unwrap_or(&self.roster);
        let bytes = Document::accusation(roster, &announcement.params, evidence).to_file();
        let path = evidence_file(&self.state, &bytes);
        match write_private(&*self.disk, &path, &bytes) {
            Ok(()) | Err(StoreError::Exists { .. }) => {
                if !self.found.contains(&path) {
                    self.found.push(path);
                }
            }
            Err(error) => tracing::warn!(target: "veilsum", event = "evidence_not_written", %error),
        }
    }

    fn blame(&mut self, round_id: u64, error: MachineError) -> ClientError {
        if let MachineError::Convicting { evidence, .. } = &error {
            self.evidence_out(round_id, evidence);
        }
        error.into()
    }
}

/// The roster of a round, or with 0 the newest that the server has, its every signature checked.
async fn fetch_roster(
    requests: &Requests,
    registrar: VerifyingKey,
    round_id: u64,
) -> Result<Arc<Roster>, ClientError> {
    let signed = requests.roster(round_id).await?;
    let verified = tokio::task::spawn_blocking(move || Roster::verify(signed, &registrar));
    Ok(Arc::new(
        verified.await.map_err(|_| ClientError::Internal)??,
    ))
}

fn void(context: &RoundContext, void: &Signed<VoidContent>) -> ClientError {
    if is_void(context, void) {
        ClientError::Void
    } else {
        ClientError::VoidSignature
    }
}

/// A round that is over for who was late, whatever it was late with.
fn too_late(round: &Joined, error: RequestError) -> ClientError {
    match error {
        RequestError::Refused(Check::ContributionClosed) => ClientError::Closed {
            round: round.round_id(),
        },
        other => other.into(),
    }
}

/// The file for evidence whose file has these bytes: in a client's state directory, or beside the log of a server's round.
#[must_use]
pub fn evidence_file(state: &Path, bytes: &[u8]) -> PathBuf {
    state.join(format!("evidence-{}.veilsum", blake3::hash(bytes).to_hex()))
}

/// The file in a client's state directory that `veilsum check` reads.
#[must_use]
pub fn published_file(state: &Path, round_id: u64) -> PathBuf {
    state.join(format!("published-{round_id}.veilsum"))
}

fn split(
    outputs: Vec<Output>,
    evidence: &mut impl FnMut(&Evidence),
) -> (Vec<Record>, Vec<Message>) {
    let (mut records, mut messages) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Persist(record) => records.push(record),
            Output::Send {
                to: Party::Server,
                message,
            } => messages.push(message),
            Output::Event(Event::Evidence(found)) => evidence(&found),
            Output::Reject { refusal, .. } => {
                tracing::warn!(target: "veilsum", event = "server_message_refused", %refusal);
            }
            _ => {}
        }
    }
    (records, messages)
}

async fn prepare(own: RoundRequests, heard: oneshot::Sender<Result<Answer<()>, RequestError>>) {
    let first = own.prepare().await;
    let mut again = matches!(first, Ok(Answer::Again));
    // Nobody listens any more when the first answer came late.
    let _ = heard.send(first);
    while again {
        again = matches!(own.prepare().await, Ok(Answer::Again));
    }
}

fn copy(key: &IdentityKey) -> IdentityKey {
    IdentityKey::from_seed(&key.to_seed())
}

struct Patience {
    until: Option<Instant>,
    all: Duration,
}

impl Patience {
    fn new(all: Duration) -> Self {
        Self {
            until: Instant::now().checked_add(all),
            all,
        }
    }

    fn check(&self, what: &'static str) -> Result<(), ClientError> {
        match self.until {
            Some(until) if Instant::now() >= until => Err(ClientError::Patience {
                what,
                seconds: self.all.as_secs(),
            }),
            _ => Ok(()),
        }
    }
}
