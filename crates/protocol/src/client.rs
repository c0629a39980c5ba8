use crate::set::check_proposal;
use crate::{
    BuildError, Bytes, Check, ContextError, Evidence, Message, Output, Party, Record, Refusal,
    RoundContext, ServerStatement, Upload, build_contribution, light_check,
};
use rand_core::CryptoRngCore;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use veilsum_crypto::{CanonicalPoint, Digest, IdentityKey, VerifyingKey};
use veilsum_params::{ClientId, Policy};
use veilsum_proof::Round;
use veilsum_wire::{
    Announcement, Header, LightBundle, Proposal, ProposalContent, ReceiptContent, ResultContent,
    Roster, RoundResult, Signed, params_digest, proposal_root,
};
use zeroize::Zeroizing;

/// Rounds that a client keeps in mind without having contributed to them; the oldest are forgotten first.
const OPEN_ROUNDS_MAX: usize = 16;

/// What a client is, trusts and insists on.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The client's number in the roster.
    pub client: ClientId,
    /// The pinned key of the server.
    pub server_key: VerifyingKey,
    /// Floors, whatever the server announces.
    pub policy: Policy,
    /// The client's own share key, if it serves on committees: the roster must have this one.
    pub share_key: Option<CanonicalPoint>,
}

/// An integer update and the model that it was trained on. It is consumed by one contribution, wiped afterwards, and
/// cannot be copied: the difference of two contributions with one update opens it (A7).
pub struct Update {
    model_digest: Digest,
    coordinates: Zeroizing<Vec<i64>>,
}

impl zeroize::ZeroizeOnDrop for Update {}
const _: fn(&Update) = |s| veilsum_crypto::wiped(&s.coordinates);

impl Update {
    /// An update of d integer coordinates (`veilsum-encoding`) that answers to the model with this digest.
    pub fn new(model_digest: Digest, coordinates: Vec<i64>) -> Self {
        Self {
            model_digest,
            coordinates: Zeroizing::new(coordinates),
        }
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Update {{ model: {}, coordinates: <{} redacted> }}",
            self.model_digest,
            self.coordinates.len()
        )
    }
}

/// Why a client refused; its state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An announcement is not acceptable.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A check failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server misbehaved, and here is the proof of it.
    #[error("{refusal}; keep the evidence")]
    Convicting {
        /// The check that failed.
        refusal: Refusal,
        /// What convicts the server.
        evidence: Box<Evidence>,
    },
    /// The contribution could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No announcement of this round was accepted.
    #[error("round {round_id} was not announced to this client; hand it the announcement first")]
    UnknownRound {
        /// The round.
        round_id: u64,
    },
    /// There is no contribution of this client in this round.
    #[error("this client has not contributed to round {round_id}")]
    NoContribution {
        /// The round.
        round_id: u64,
    },
    /// The roster does not have this client with this identity key.
    #[error("the roster does not have {client} with this identity key; register it")]
    NotRegistered {
        /// The client.
        client: ClientId,
    },
    /// The roster revokes the identity key of this client.
    #[error(
        "version {version} of the roster revokes the identity key of {client}: it takes part in no round any more; ask the registrar, and join again with new keys"
    )]
    Revoked {
        /// The client.
        client: ClientId,
        /// The roster.
        version: u64,
    },
    /// The log is not that of this client.
    #[error(
        "record {position} of the log is not one that this client wrote; restore the right log"
    )]
    Log {
        /// Which record, counted from 0.
        position: usize,
    },
}

impl ClientError {
    fn two_statements(check: Check, first: ServerStatement, second: ServerStatement) -> Self {
        let evidence = Evidence::ServerEquivocation {
            first,
            second,
            other_params: Vec::new(),
        };
        Self::Convicting {
            refusal: check.into(),
            evidence: Box::new(evidence),
        }
    }
}

impl From<Check> for ClientError {
    fn from(check: Check) -> Self {
        Self::Refused(check.into())
    }
}

/// Where the body of a contribution is.
#[derive(Debug)]
enum SentBody {
    /// Here.
    Held(Bytes),
    /// Beside the log, under a plain BLAKE3 digest and with a length in bytes.
    Aside(Digest, u64),
    /// Nowhere: there is a receipt, and it is never sent again.
    Done,
}

#[derive(Debug)]
struct Sent {
    header: Header,
    body: SentBody,
    receipt: Option<Signed<ReceiptContent>>,
    /// The first result that was shown.
    result: Option<Signed<ResultContent>>,
}

#[derive(Debug)]
struct Participation {
    announcement: Announcement,
    digest: Digest,
    /// None after a restart, until the round is announced again.
    context: Option<Arc<RoundContext>>,
    sent: Option<Sent>,
    /// The first proposal that was shown.
    proposal: Option<Signed<ProposalContent>>,
}

fn upload(header: &Header, body: Bytes) -> Output {
    Output::Send {
        to: Party::Server,
        message: Message::Contribution(Upload {
            header: header.clone(),
            body,
        }),
    }
}

/// A client over all its rounds with one server: checks what it is told, contributes once a round, keeps receipts, and
/// checks results (`specs/protocol.md`, "What a client checks").
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    identity: IdentityKey,
    roster: Arc<Roster>,
    /// The version of a roster without this client, and why it may not join rounds.
    barred: Option<(u64, ClientError)>,
    rounds: BTreeMap<u64, Participation>,
}

const _: fn(&Client) = |s| veilsum_crypto::wiped(&s.identity);

impl Client {
    /// A client with its own past records, in their order: everything that it ever persisted, or rounds could be used
    /// twice. One that the roster does not have any more goes on with rounds that it has contributed to, and joins none until
    /// a newer roster has it.
    ///
    /// # Errors
    /// [`ClientError::Log`]; for a client that has contributed to no round [`ClientError::Revoked`],
    /// [`ClientError::NotRegistered`].
    pub fn new(
        config: ClientConfig,
        identity: IdentityKey,
        roster: Arc<Roster>,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, ClientError> {
        let mut client = Self {
            config,
            identity,
            roster: Arc::clone(&roster),
            barred: None,
            rounds: BTreeMap::new(),
        };
        for (position, record) in records.into_iter().enumerate() {
            client.replay(record).ok_or(ClientError::Log { position })?;
        }
        let version = roster.version();
        if let Err(error) = client.use_roster(roster) {
            if client.rounds.is_empty() {
                return Err(error);
            }
            client.barred = Some((version, error));
        }
        Ok(client)
    }

    /// Goes on with another roster.
    ///
    /// # Errors
    /// [`ClientError::Revoked`], [`ClientError::NotRegistered`]; the roster is unchanged then.
    pub fn use_roster(&mut self, roster: Arc<Roster>) -> Result<(), ClientError> {
        let client = self.config.client;
        let key = self.identity.verifying_key();
        if roster.is_revoked(&key.to_bytes()) {
            let version = roster.version();
            return Err(ClientError::Revoked { client, version });
        }
        if roster.identity(client) != Some(&key) {
            return Err(ClientError::NotRegistered { client });
        }
        let newer = |(version, _): &(u64, ClientError)| roster.version() > *version;
        if self.barred.as_ref().is_some_and(newer) {
            self.barred = None;
        }
        self.roster = roster;
        Ok(())
    }

    /// Whether this client has contributed to the round that is announced, with these very parameters: then it goes on with
    /// it under the roster that it was announced under, though it may have seen a newer one since.
    #[must_use]
    pub fn has_contributed(&self, announcement: &Announcement) -> bool {
        let known = self.rounds.get(&announcement.params.round_id);
        known.is_some_and(|known| {
            known.sent.is_some() && known.digest == params_digest(&announcement.params)
        })
    }

    fn replay(&mut self, record: Record) -> Option<()> {
        match record {
            Record::ClientContribution {
                announcement,
                header,
                body,
            } => {
                self.replay_contribution(announcement, header, SentBody::Held(body))?;
            }
            Record::ClientLargeContribution {
                announcement,
                header,
                body,
                len,
            } => self.replay_contribution(announcement, header, SentBody::Aside(body, len))?,
            Record::ClientReceipt { receipt } => {
                let sent = self
                    .rounds
                    .values_mut()
                    .filter(|p| p.digest == receipt.content.params_digest);
                let sent = sent.filter_map(|p| p.sent.as_mut()).next()?;
                if sent.header.content.digest() != receipt.content.header_digest {
                    return None;
                }
                sent.body = SentBody::Done;
                sent.receipt = Some(receipt);
            }
            Record::ClientResult { accepted } => {
                let digest = accepted.content.params_digest;
                let known = self.rounds.values_mut().find(|p| p.digest == digest);
                known?.sent.as_mut()?.result = Some(accepted);
            }
            _ => return None,
        }
        Some(())
    }

    fn replay_contribution(
        &mut self,
        announcement: Announcement,
        header: Header,
        body: SentBody,
    ) -> Option<()> {
        let digest = params_digest(&announcement.params);
        let content = &header.content;
        let own = content.client == self.config.client
            && content.params_digest == digest
            && header.verify(&self.identity.verifying_key()).is_ok();
        let round_id = announcement.params.round_id;
        if !own || self.rounds.contains_key(&round_id) {
            return None;
        }
        let sent = Some(Sent {
            header,
            body,
            receipt: None,
            result: None,
        });
        self.rounds.insert(
            round_id,
            Participation {
                announcement,
                digest,
                context: None,
                sent,
                proposal: None,
            },
        );
        Some(())
    }

    /// Checks the announcement of a round: signature, parameters, roster, sampling, share keys, this party's floors, and
    /// that no other parameters were announced for the round id. Constants are recomputed, never taken over (A9).
    ///
    /// # Errors
    /// [`ClientError::Context`], [`ClientError::Refused`]; [`ClientError::Convicting`] when the server announced other
    /// parameters for the round id before; [`ClientError::Revoked`], [`ClientError::NotRegistered`] as [`Self::new`] found.
    pub fn announcement(
        &mut self,
        announcement: &Announcement,
    ) -> Result<Arc<RoundContext>, ClientError> {
        let context = RoundContext::from_announcement(
            announcement,
            &self.config.server_key,
            Arc::clone(&self.roster),
        );
        // Two announcements convict whether or not the second one's parameters are acceptable.
        self.compare(announcement)?;
        if let Some((_, error)) = &self.barred
            && !self.has_contributed(announcement)
        {
            return Err(error.clone());
        }
        let context = context?;
        let params = context.params();
        params
            .check_policy(&self.config.policy)
            .map_err(|cause| ContextError::Params(Check::AnnouncementPolicy, cause))?;
        if context.unproven_draw() && !self.config.policy.unproven_draw {
            return Err(Check::AnnouncementBeacon.into());
        }
        if !context.in_cohort(self.config.client) {
            return Err(Check::AnnouncementCohort.into());
        }
        let registered = self
            .roster
            .entry(self.config.client)
            .map(|entry| entry.share_key);
        if self
            .config
            .share_key
            .is_some_and(|own| registered != Some(own))
        {
            return Err(Check::MemberKey.into());
        }
        let round_id = params.round_id;
        let context = Arc::new(context);
        let participation = self
            .rounds
            .entry(round_id)
            .or_insert_with(|| Participation {
                announcement: announcement.clone(),
                digest: *context.digest(),
                context: None,
                sent: None,
                proposal: None,
            });
        participation.context = Some(Arc::clone(&context));
        self.forget();
        Ok(context)
    }

    /// Goes on with the share key of another epoch.
    pub fn use_share_key(&mut self, share_key: CanonicalPoint) {
        self.config.share_key = Some(share_key);
    }

    /// Whether the server signed other parameters for this round id before.
    fn compare(&self, announcement: &Announcement) -> Result<(), ClientError> {
        let second = &announcement.signed;
        let known = self.rounds.get(&second.content.round_id);
        let Some(known) = known.filter(|known| known.digest != second.content.params_digest) else {
            return Ok(());
        };
        second
            .verify(&self.config.server_key)
            .map_err(|_| Check::AnnouncementSignature)?;
        let first = ServerStatement::Announcement {
            signed: known.announcement.signed.clone(),
        };
        let second = ServerStatement::Announcement {
            signed: second.clone(),
        };
        Err(ClientError::two_statements(
            Check::AnnouncementOther,
            first,
            second,
        ))
    }

    fn forget(&mut self) {
        let open: Vec<u64> = self
            .rounds
            .iter()
            .filter(|(_, p)| p.sent.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in open.iter().rev().skip(OPEN_ROUNDS_MAX) {
            self.rounds.remove(id);
        }
    }

    /// Makes this client's one contribution to a round. The update is consumed whatever happens. The outputs are the
    /// record and then the upload; nothing of it may be sent before the record is durable.
    ///
    /// # Errors
    /// [`ClientError::UnknownRound`]; [`ClientError::Refused`] with `announcement.round-used` or `announcement.model`;
    /// [`ClientError::Build`].
    pub fn contribute(
        &mut self,
        round_id: u64,
        round: &Round,
        update: Update,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Vec<Output>, ClientError> {
        let participation = self
            .rounds
            .get_mut(&round_id)
            .ok_or(ClientError::UnknownRound { round_id })?;
        if participation.sent.is_some() {
            return Err(Check::RoundUsed.into());
        }
        let context = participation
            .context
            .as_ref()
            .ok_or(ClientError::UnknownRound { round_id })?;
        if context.params().model_digest != update.model_digest.0 {
            return Err(Check::AnnouncementModel.into());
        }
        let made = build_contribution(
            context,
            round,
            self.config.client,
            &self.identity,
            &update.coordinates,
            rng,
        )?;
        let (header, body) = (made.header, Bytes(made.body.to_bytes()));
        let record = Record::ClientContribution {
            announcement: participation.announcement.clone(),
            header: header.clone(),
            body: body.clone(),
        };
        let upload = upload(&header, body.clone());
        participation.sent = Some(Sent {
            header,
            body: SentBody::Held(body),
            receipt: None,
            result: None,
        });
        Ok(vec![Output::Persist(record), upload])
    }

    /// Forgets the body of this client's contribution to a round, of `len` bytes: from now on it is beside the log, durable,
    /// under this plain BLAKE3 digest (`specs/log.md`, "Large records"), and is read when it is sent again.
    pub fn put_aside(&mut self, round_id: u64, body: Digest, len: u64) {
        let sent = self.rounds.get_mut(&round_id).and_then(|p| p.sent.as_mut());
        if let Some(sent) = sent.filter(|sent| sent.receipt.is_none()) {
            sent.body = SentBody::Aside(body, len);
        }
    }

    /// Digests of the bodies beside the log that may have to be sent again. No other body there is needed any more.
    pub fn aside(&self) -> impl Iterator<Item = Digest> + '_ {
        let sent = self.rounds.values().filter_map(|p| p.sent.as_ref());
        sent.filter_map(|sent| match sent.body {
            SentBody::Aside(body, _) => Some(body),
            SentBody::Held(_) | SentBody::Done => None,
        })
    }

    /// The upload of a round again, byte for byte, until there is a receipt; `None` then, and when there is none. `read` is asked
    /// for the body when it is beside the log: it gets digest and length, and gives the bytes, whose digest it has checked.
    ///
    /// # Errors
    /// That of `read`. The round is contributed to all the same: [`Self::contribute`] makes no other contribution.
    pub fn resend<E>(
        &self,
        round_id: u64,
        read: impl FnOnce(Digest, u64) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Output>, E> {
        let sent = self.rounds.get(&round_id).and_then(|p| p.sent.as_ref());
        let Some(sent) = sent else { return Ok(None) };
        let body = match &sent.body {
            SentBody::Held(body) => body.clone(),
            SentBody::Aside(digest, len) => Bytes(read(*digest, *len)?),
            SentBody::Done => return Ok(None),
        };
        Ok(Some(upload(&sent.header, body)))
    }

    /// The header of this client's contribution to a round.
    pub fn header(&self, round_id: u64) -> Option<&Header> {
        Some(&self.rounds.get(&round_id)?.sent.as_ref()?.header)
    }

    /// The receipt for a round.
    pub fn receipt_of(&self, round_id: u64) -> Option<&Signed<ReceiptContent>> {
        self.rounds.get(&round_id)?.sent.as_ref()?.receipt.as_ref()
    }

    /// The announcement of a round that this client knows.
    pub fn announcement_of(&self, round_id: u64) -> Option<&Announcement> {
        Some(&self.rounds.get(&round_id)?.announcement)
    }

    /// The context of an announced round.
    pub fn context(&self, round_id: u64) -> Option<&Arc<RoundContext>> {
        self.rounds.get(&round_id)?.context.as_ref()
    }

    /// Accepts the server's receipt for a round; the same one may come again.
    ///
    /// # Errors
    /// `receipt.signature`, `receipt.content`, [`ClientError::NoContribution`].
    pub fn receipt(
        &mut self,
        round_id: u64,
        receipt: &Signed<ReceiptContent>,
    ) -> Result<Vec<Output>, ClientError> {
        receipt
            .verify(&self.config.server_key)
            .map_err(|_| Check::ReceiptSignature)?;
        let participation = self
            .rounds
            .get_mut(&round_id)
            .ok_or(ClientError::UnknownRound { round_id })?;
        let sent = participation
            .sent
            .as_mut()
            .ok_or(ClientError::NoContribution { round_id })?;
        let expected = ReceiptContent {
            params_digest: participation.digest,
            client: self.config.client,
            header_digest: sent.header.content.digest(),
        };
        if receipt.content != expected {
            return Err(Check::ReceiptContent.into());
        }
        if sent.receipt.is_some() {
            return Ok(Vec::new());
        }
        sent.body = SentBody::Done;
        sent.receipt = Some(receipt.clone());
        Ok(vec![Output::Persist(Record::ClientReceipt {
            receipt: receipt.clone(),
        })])
    }

    /// Compares a signed proposal with this client's receipt, and with the one that it was shown before.
    ///
    /// # Errors
    /// `proposal.signature`, `proposal.round`, `proposal.root`; [`ClientError::Convicting`] when the server signed another
    /// proposal before, or the proposal lacks the contribution that the server gave a receipt for.
    pub fn proposal(&mut self, round_id: u64, proposal: &Proposal) -> Result<(), ClientError> {
        let participation = self
            .rounds
            .get_mut(&round_id)
            .ok_or(ClientError::UnknownRound { round_id })?;
        let content = check_proposal(
            &self.config.server_key,
            &participation.digest,
            &proposal.signed,
        )?;
        if proposal_root(&proposal.entries) != content.root {
            return Err(Check::ProposalRoot.into());
        }
        let signed = proposal.signed.clone();
        let first = participation
            .proposal
            .get_or_insert_with(|| signed.clone())
            .clone();
        if first.content != signed.content {
            return Err(ClientError::two_statements(
                Check::ProposalEquivocation,
                ServerStatement::Proposal { signed: first },
                ServerStatement::Proposal { signed },
            ));
        }
        let Some(receipt) = participation
            .sent
            .as_ref()
            .and_then(|sent| sent.receipt.as_ref())
        else {
            return Ok(());
        };
        if proposal
            .entries
            .contains(&(receipt.content.client, receipt.content.header_digest))
        {
            return Ok(());
        }
        let evidence = Evidence::ReceiptWithoutInclusion {
            receipt: receipt.clone(),
            proposal: proposal.clone(),
        };
        Err(ClientError::Convicting {
            refusal: Check::ReceiptInclusion.into(),
            evidence: Box::new(evidence),
        })
    }

    /// Takes note of a signed result, whether or not it passes [`Client::result`], and holds it against what the server
    /// signed before: one proposal, one result. The outputs are to be persisted.
    ///
    /// # Errors
    /// [`ClientError::UnknownRound`], [`ClientError::NoContribution`]; `result.signature`, `result.content`;
    /// [`ClientError::Convicting`] when the server signed another result, or a proposal with another root.
    pub fn note_result(
        &mut self,
        round_id: u64,
        signed: &Signed<ResultContent>,
    ) -> Result<Vec<Output>, ClientError> {
        let content = signed
            .verify(&self.config.server_key)
            .map_err(|_| Check::ResultSignature)?;
        let participation = self
            .rounds
            .get_mut(&round_id)
            .ok_or(ClientError::UnknownRound { round_id })?;
        if content.params_digest != participation.digest {
            return Err(Check::ResultContent.into());
        }
        let sent = participation
            .sent
            .as_mut()
            .ok_or(ClientError::NoContribution { round_id })?;
        let statement = ServerStatement::Result {
            signed: signed.clone(),
        };
        let mut outputs = Vec::new();
        match &sent.result {
            Some(first) if first.content != *content => {
                let first = ServerStatement::Result {
                    signed: first.clone(),
                };
                return Err(ClientError::two_statements(
                    Check::ResultEquivocation,
                    first,
                    statement,
                ));
            }
            Some(_) => {}
            None => {
                sent.result = Some(signed.clone());
                outputs.push(Output::Persist(Record::ClientResult {
                    accepted: signed.clone(),
                }));
            }
        }
        match &participation.proposal {
            Some(proposal) if proposal.content.root != content.root => {
                let first = ServerStatement::Proposal {
                    signed: proposal.clone(),
                };
                Err(ClientError::two_statements(
                    Check::ProposalEquivocation,
                    first,
                    statement,
                ))
            }
            _ => Ok(outputs),
        }
    }

    /// Checks the result of a round that this client contributed to ([`light_check`]).
    ///
    /// # Errors
    /// [`ClientError::UnknownRound`], [`ClientError::NoContribution`], [`ClientError::Refused`].
    pub fn result(
        &self,
        round_id: u64,
        result: &RoundResult,
        bundle: &LightBundle,
        rng: &mut impl CryptoRngCore,
    ) -> Result<(), ClientError> {
        let participation = self
            .rounds
            .get(&round_id)
            .ok_or(ClientError::UnknownRound { round_id })?;
        let context = participation
            .context
            .as_ref()
            .ok_or(ClientError::UnknownRound { round_id })?;
        let sent = participation
            .sent
            .as_ref()
            .ok_or(ClientError::NoContribution { round_id })?;
        Ok(light_check(context, &sent.header, result, bundle, rng)?)
    }
}
