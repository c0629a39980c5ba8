//! The server's part of a round: what every step shares, and the replay of its log.

mod close;
mod collect;
mod rows;

pub use rows::place_in;

use crate::machine::Outputs;
use crate::set::AgreedSet;
use crate::{
    Admission, BodySource, Check, Event, Evidence, EvidenceKind, Fault, Input, MemberStatement,
    Message, Outcome, Output, Party, Record, Refusal, ReplayError, RoundContext, RoundSums,
    check_body, decode_body,
};
use collect::Stored;
use curve25519_dalek::scalar::Scalar;
use rows::RowSums;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use veilsum_crypto::{Digest, IdentityKey};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_proof::Round;
use veilsum_wire::{
    Announcement, AnnouncementContent, Body, ComplaintContent, ComplaintListContent,
    ConvictedContent, EndorseContent, FinalContent, Header, LogHeadContent, Proposal,
    ReceiptContent, RevealContent, RoundResult, Signed, UnmaskContent, VoidContent,
};

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Contributions are taken.
    Collecting,
    /// U is proposed; t endorsements are awaited.
    Endorsing,
    /// The root is certified; t aligned sums of shares are awaited.
    Unmasking,
    /// The convicted dealers are fixed; t Finals are awaited.
    Finalising,
    /// The result is signed; row sums are awaited.
    Certifying,
    /// Everything that a light client checks is there.
    Done,
    /// There is no result and never will be.
    Void,
}

/// What the fixed list rests on, durable in one record before the list is signed.
#[derive(Clone, Debug)]
struct Closing {
    convicted: Vec<ClientId>,
    complaints: Vec<Signed<ComplaintContent>>,
    r_sum: Scalar,
}

/// The server in one round (`specs/protocol.md`): collects, proposes U, gathers what the committee signs, opens the sum and
/// has it certified. Every message that it accepts and every statement that it makes is a record of its log before
/// anything follows from it; [`ServerRound::replay`] takes the same way again.
pub struct ServerRound {
    context: Arc<RoundContext>,
    round: Arc<Round>,
    identity: IdentityKey,
    bodies: Box<dyn BodySource + Send>,
    announcement: Announcement,
    stored: BTreeMap<ClientId, Stored>,
    without_receipt: BTreeSet<ClientId>,
    sums: RoundSums,
    removed: BTreeSet<ClientId>,
    set: Option<AgreedSet>,
    endorsements: BTreeMap<MemberIndex, Signed<EndorseContent>>,
    foreign_endorsements: BTreeMap<MemberIndex, Signed<EndorseContent>>,
    /// The first complaint that counts against each convicted dealer.
    counting: BTreeMap<ClientId, Signed<ComplaintContent>>,
    list: Option<Signed<ComplaintListContent>>,
    unmasks: BTreeMap<MemberIndex, Signed<UnmaskContent>>,
    reveals: BTreeMap<(MemberIndex, ClientId), Signed<RevealContent>>,
    asked: BTreeMap<MemberIndex, Vec<ClientId>>,
    closing: Option<Closing>,
    convicted: Option<Signed<ConvictedContent>>,
    finals: BTreeMap<MemberIndex, Signed<FinalContent>>,
    foreign_finals: BTreeMap<MemberIndex, Signed<FinalContent>>,
    open_failed: bool,
    result: Option<RoundResult>,
    rows: Option<RowSums>,
    void: Option<Signed<VoidContent>>,
    done: bool,
    closed: bool,
    evidence: Vec<Evidence>,
    blamed: BTreeSet<(EvidenceKind, Party)>,
}

const _: fn(&ServerRound) = |s| veilsum_crypto::wiped(&s.identity);

impl fmt::Debug for ServerRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRound")
            .field("round_id", &self.context.params().round_id)
            .field("phase", &self.phase())
            .field("contributions", &self.stored.len())
            .finish_non_exhaustive()
    }
}

impl ServerRound {
    fn new(
        context: Arc<RoundContext>,
        round: Arc<Round>,
        identity: IdentityKey,
        bodies: Box<dyn BodySource + Send>,
        announcement: Announcement,
    ) -> Self {
        Self {
            sums: RoundSums::new(&context),
            context,
            round,
            identity,
            bodies,
            announcement,
            stored: BTreeMap::new(),
            without_receipt: BTreeSet::new(),
            removed: BTreeSet::new(),
            set: None,
            endorsements: BTreeMap::new(),
            foreign_endorsements: BTreeMap::new(),
            counting: BTreeMap::new(),
            list: None,
            unmasks: BTreeMap::new(),
            reveals: BTreeMap::new(),
            asked: BTreeMap::new(),
            closing: None,
            convicted: None,
            finals: BTreeMap::new(),
            foreign_finals: BTreeMap::new(),
            open_failed: false,
            result: None,
            rows: None,
            void: None,
            done: false,
            closed: false,
            evidence: Vec::new(),
            blamed: BTreeSet::new(),
        }
    }

    /// Begins a round: signs the announcement of its parameters. `round` is the proof's part of the same parameters,
    /// `bodies` is where the driver stores the bodies of contributions.
    ///
    /// # Errors
    /// `announcement.server-key` when `identity` is not the key that the parameters name.
    pub fn announce(
        context: Arc<RoundContext>,
        round: Arc<Round>,
        identity: IdentityKey,
        bodies: Box<dyn BodySource + Send>,
    ) -> Result<(Self, Vec<Output>), Refusal> {
        if identity.verifying_key() != *context.server_key() {
            return Err(Check::AnnouncementServerKey.into());
        }
        let content = AnnouncementContent {
            round_id: context.params().round_id,
            params_digest: *context.digest(),
        };
        let announcement = Announcement {
            signed: Signed::sign(content, &identity),
            params: context.params().clone(),
            beacon: context.beacon_proof().clone(),
        };
        let mut out = Outputs::default();
        out.persist(Record::ServerAnnouncement {
            sent: announcement.clone(),
        });
        out.event(Event::Announced);
        for client in context.cohort() {
            out.send(
                Party::Client(*client),
                Message::Announcement(announcement.clone()),
            );
        }
        Ok((
            Self::new(context, round, identity, bodies, announcement),
            out.into_list(),
        ))
    }

    /// Rebuilds the server from the records of its log and gives the outputs that are due at once: statements that follow
    /// from the records and were not made yet, and every request that is not answered.
    ///
    /// # Errors
    /// The record that does not fit, or what it needs and is missing.
    pub fn replay(
        context: Arc<RoundContext>,
        round: Arc<Round>,
        identity: IdentityKey,
        bodies: Box<dyn BodySource + Send>,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(Self, Vec<Output>), ReplayError> {
        let refused = |record: usize, refusal: Refusal| ReplayError::Refused { record, refusal };
        if identity.verifying_key() != *context.server_key() {
            return Err(refused(0, Check::AnnouncementServerKey.into()));
        }
        let mut records = records.into_iter().enumerate();
        let Some((_, Record::ServerAnnouncement { sent })) = records.next() else {
            return Err(ReplayError::Empty);
        };
        if sent.signed.verify(context.server_key()).is_err() || sent.params != *context.params() {
            return Err(refused(0, Check::AnnouncementOther.into()));
        }
        let mut server = Self::new(context, round, identity, bodies, sent);
        for (at, record) in records {
            let tag = record.tag();
            match server.restore(record) {
                Ok(true) => {}
                Ok(false) => return Err(ReplayError::Unexpected { record: at, tag }),
                Err(Stop::Refused(refusal)) => return Err(refused(at, refusal)),
                Err(Stop::Fault(fault)) => return Err(ReplayError::Fault { record: at, fault }),
            }
        }
        let mut out = Outputs::default();
        server.advance(&mut out);
        server.send_again(&mut out);
        Ok((server, out.into_list()))
    }

    /// Takes one record of the log; false when it cannot stand here.
    fn restore(&mut self, record: Record) -> Result<bool, Stop> {
        let out = &mut Outputs::replaying();
        match record {
            Record::ServerContribution { header, body } if self.set.is_none() => {
                let decoded = self.read_body(&header, &body)?;
                self.sums.add(&self.round, &decoded).map_err(Fault::Open)?;
                self.store(header, body, decoded, false);
            }
            Record::ServerReceipt { sent } => {
                let client = sent.content.client;
                let Some(stored) = self.stored.get_mut(&client) else {
                    return Ok(false);
                };
                stored.receipt = Some(sent);
                self.without_receipt.remove(&client);
            }
            Record::ServerProposal { sent } if self.set.is_none() => self.fix_set(sent)?,
            Record::ServerEndorse { accepted } => self.take_endorse(accepted, out)?,
            Record::ServerList { sent } => self.list = Some(sent),
            Record::ServerUnmask { accepted } => self.take_unmask(accepted, out)?,
            Record::ServerReveal { accepted } => self.take_reveal(accepted, out)?,
            Record::ServerClosing {
                convicted,
                complaints,
                r_sum,
                ..
            } if self.set.is_some() => {
                self.closing = Some(Closing {
                    convicted,
                    complaints,
                    r_sum,
                });
            }
            Record::ServerConvicted { sent } if self.closing.is_some() => {
                self.convicted = Some(sent)
            }
            Record::ServerFinal { accepted } => self.take_final(accepted, out)?,
            Record::ServerResult { sent } if self.convicted.is_some() => {
                self.result = Some(sent);
                self.begin_rows()?;
            }
            Record::ServerForeign { accepted } => match accepted {
                MemberStatement::Endorse { signed } => {
                    self.foreign_endorsements
                        .insert(signed.content.member, signed);
                }
                MemberStatement::Final { signed } => {
                    self.foreign_finals.insert(signed.content.member, signed);
                }
                MemberStatement::Unmask { .. } => return Ok(false),
            },
            Record::ServerRows { accepted } => self.take_rows(accepted, out)?,
            Record::ServerVoid { sent } if self.closing.is_none() => self.void = Some(sent),
            Record::ServerEvidence { evidence } => {
                let (kind, culprit) = culprit_of(&evidence);
                self.blamed.insert((kind, culprit));
                if self.bodies.keeps_evidence() {
                    self.evidence.push(evidence);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_body(&mut self, header: &Header, digest: &Digest) -> Result<Body, Fault> {
        let missing = Fault::Body {
            client: header.content.client,
        };
        let bytes = self.bodies.read(digest).ok_or(missing.clone())?;
        let body = decode_body(&self.context, &bytes).map_err(|_| missing.clone())?;
        check_body(&self.context, &header.content, &body).map_err(|_| missing)?;
        Ok(body)
    }

    /// How far the round is.
    pub fn phase(&self) -> Phase {
        if self.void.is_some() {
            Phase::Void
        } else if self.done {
            Phase::Done
        } else if self.result.is_some() {
            Phase::Certifying
        } else if self.closing.is_some() {
            Phase::Finalising
        } else if self.list.is_some() {
            Phase::Unmasking
        } else if self.set.is_some() {
            Phase::Endorsing
        } else {
            Phase::Collecting
        }
    }
    /// The round's context.
    pub fn context(&self) -> &Arc<RoundContext> {
        &self.context
    }
    /// The announcement.
    pub fn announcement(&self) -> &Announcement {
        &self.announcement
    }
    /// Number of durable contributions.
    pub fn contributions(&self) -> usize {
        self.stored.len()
    }
    /// The proposal, once U is fixed.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.set.as_ref().map(AgreedSet::proposal)
    }
    /// The convicted dealers, by increasing id: so far, or fixed.
    pub fn convicted(&self) -> Vec<ClientId> {
        match &self.closing {
            Some(closing) => closing.convicted.clone(),
            None => self.counting.keys().copied().collect(),
        }
    }
    /// The signed result.
    pub fn result(&self) -> Option<&RoundResult> {
        self.result.as_ref()
    }
    /// Everything that was proven against anybody, in the order found; nothing when the driver keeps it
    /// ([`BodySource::keeps_evidence`]).
    pub fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }
    /// Members whose answer the round waits for.
    pub fn awaited(&self) -> Vec<MemberIndex> {
        let all = (1..=self.context.members()).map(MemberIndex);
        match self.phase() {
            Phase::Collecting | Phase::Done | Phase::Void => Vec::new(),
            Phase::Endorsing => all.filter(|j| !self.endorsements.contains_key(j)).collect(),
            Phase::Unmasking => all.filter(|j| !self.unmasks.contains_key(j)).collect(),
            Phase::Finalising => all.filter(|j| !self.finals.contains_key(j)).collect(),
            Phase::Certifying => self.rows.as_ref().map(RowSums::awaited).unwrap_or_default(),
        }
    }

    /// Whether a contribution with this header is worth reading its body.
    pub fn admit(&mut self, header: &Header) -> Admission {
        let mut out = Outputs::default();
        let admission = self.admission(header, &mut out);
        Self::admission_of(header, admission, out)
    }

    /// As [`Self::admit`], without a check of the header: for a driver that checks it beside the machine
    /// ([`crate::CheckedHeader`]).
    pub fn standing_of(&mut self, header: &Header) -> Admission {
        let mut out = Outputs::default();
        let standing = self.standing(header, &mut out);
        Self::admission_of(header, standing, out)
    }

    fn admission_of(
        header: &Header,
        admission: Result<Option<Signed<ReceiptContent>>, Refusal>,
        mut out: Outputs,
    ) -> Admission {
        match admission {
            Ok(Some(receipt)) => Admission::Known(Box::new(receipt)),
            Ok(None) => Admission::Verify,
            Err(refusal) => {
                out.reject(Party::Client(header.content.client), refusal);
                Admission::Refused(out.into_list())
            }
        }
    }

    /// Takes one input and gives what is to be done, in order.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Outputs::default();
        if self.closed {
            return out.into_list();
        }
        match input {
            Input::Contribution { contribution, body } => {
                let from = Party::Client(contribution.client());
                let taken = self.take_contribution(contribution, body, &mut out);
                Self::report(from, taken, &mut out);
            }
            Input::Invalid {
                header,
                body,
                refusal,
            } => {
                let from = Party::Client(header.content.client);
                self.take_invalid(header, body, &refusal, &mut out);
                out.reject(from, refusal);
            }
            Input::Message { from, message } => {
                let taken = self.take(message, &mut out);
                Self::report(from, taken.map_err(Stop::Refused), &mut out);
            }
            Input::DeadlineReached => {
                let proposed = self.propose(&mut out);
                Self::report(Party::Server, proposed.map_err(Stop::Refused), &mut out);
            }
            Input::DeclareVoid => {
                let declared = self.declare_void(&mut out);
                Self::report(Party::Server, declared.map_err(Stop::Refused), &mut out);
            }
            Input::MemberSilent(member) => self.reassign(member, &mut out),
            Input::Retry => {
                self.open_failed = false;
                self.advance(&mut out);
                self.send_again(&mut out);
            }
        }
        self.advance(&mut out);
        out.into_list()
    }

    fn report(from: Party, taken: Result<(), Stop>, out: &mut Outputs) {
        match taken {
            Ok(()) => {}
            Err(Stop::Refused(refusal)) => out.reject(from, refusal),
            Err(Stop::Fault(fault)) => out.failed(fault),
        }
    }

    fn take(&mut self, message: Message, out: &mut Outputs) -> Result<(), Refusal> {
        match message {
            Message::Endorse(endorse) => self.take_endorse(endorse, out),
            Message::Unmask(unmask) => self.take_unmask(unmask, out),
            Message::Reveal(reveal) => self.take_reveal(reveal, out),
            Message::Final(signed) => self.take_final(signed, out),
            Message::Rows(rows) => self.take_rows(rows, out),
            // Contributions come verified, as an input of their own; the others are the server's own.
            _ => Ok(()),
        }
    }

    /// Takes every step that the state allows.
    fn advance(&mut self, out: &mut Outputs) {
        if self.void.is_some() {
            return;
        }
        self.sign_receipts(out);
        self.certify(out);
        if let Err(fault) = self.fix_convicted(out).and_then(|()| self.open(out)) {
            out.failed(fault);
        }
        if !self.done && self.rows.as_ref().is_some_and(RowSums::complete) {
            self.done = true;
            if let (Some(set), Some(closing)) = (&self.set, &self.closing) {
                let left_out = u32::try_from(closing.convicted.len()).unwrap_or(u32::MAX);
                out.done(Outcome::Certified {
                    root: set.root(),
                    summed: set.count().saturating_sub(left_out),
                });
            }
        }
    }

    /// Sends every request that is not answered.
    fn send_again(&mut self, out: &mut Outputs) {
        if let Some(void) = &self.void {
            Self::send_void(&self.context, void, out);
            return;
        }
        if self.done {
            return;
        }
        self.send_packages(out);
        self.send_unmask_requests(out);
        self.asked.clear();
        self.send_reveal_requests(out);
        self.send_convicted(out);
        self.send_rows_requests(None, out);
    }

    fn send_void(ctx: &RoundContext, void: &Signed<VoidContent>, out: &mut Outputs) {
        let members = (1..=ctx.members()).map(|j| Party::Member(MemberIndex(j)));
        for to in ctx
            .cohort()
            .iter()
            .map(|c| Party::Client(*c))
            .chain(members)
        {
            out.send(to, Message::Void(void.clone()));
        }
    }

    fn declare_void(&mut self, out: &mut Outputs) -> Result<(), Refusal> {
        if self.closing.is_some() {
            return Err(Check::VoidLate.into());
        }
        if self.void.is_none() {
            let void = Signed::sign(
                VoidContent {
                    params_digest: *self.context.digest(),
                },
                &self.identity,
            );
            out.persist(Record::ServerVoid { sent: void.clone() });
            Self::send_void(&self.context, &void, out);
            out.done(Outcome::Void);
            self.void = Some(void);
        }
        Ok(())
    }

    /// Signs the head of the log, which is then the round's transcript; the machine takes nothing any more. None before
    /// the round is done or void.
    pub fn log_head(&mut self, records: u64, head: Digest) -> Option<Signed<LogHeadContent>> {
        if !self.done && self.void.is_none() {
            return None;
        }
        self.closed = true;
        Some(Signed::sign(
            LogHeadContent {
                params_digest: *self.context.digest(),
                records,
                head,
            },
            &self.identity,
        ))
    }

    /// The client behind a member, for reports.
    fn culprit(&self, check: Check, member: MemberIndex) -> Refusal {
        Refusal {
            check,
            culprit: self.context.member(member).map(|(client, _)| client),
        }
    }

    /// Records what somebody is convicted of; once for each kind and party, so that nobody fills the log. `in_log` says
    /// that everything in the evidence is in the log already.
    fn convict(&mut self, evidence: Evidence, in_log: bool, out: &mut Outputs) {
        if !self.blamed.insert(culprit_of(&evidence)) {
            return;
        }
        if !in_log {
            out.persist(Record::ServerEvidence {
                evidence: evidence.clone(),
            });
        }
        if self.bodies.keeps_evidence() {
            self.evidence.push(evidence.clone());
        }
        out.event(Event::Evidence(Box::new(evidence)));
    }
}

/// Why an input or record was not taken.
#[derive(Clone, Debug)]
enum Stop {
    Refused(Refusal),
    Fault(Fault),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<Check> for Stop {
    fn from(check: Check) -> Self {
        Self::Refused(check.into())
    }
}
impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Kind and accused of evidence that was made here; [`crate::judge`] is what convicts.
fn culprit_of(evidence: &Evidence) -> (EvidenceKind, Party) {
    match evidence {
        Evidence::InvalidHeader { header } | Evidence::InvalidProof { header, .. } => (
            EvidenceKind::InvalidProof,
            Party::Client(header.content.client),
        ),
        Evidence::BadShare { header, .. } => {
            (EvidenceKind::BadShare, Party::Client(header.content.client))
        }
        Evidence::FalseComplaint { complaint, .. } => (
            EvidenceKind::FalseComplaint,
            Party::Member(complaint.content.member),
        ),
        Evidence::BadUnmask { unmask, .. } => (
            EvidenceKind::BadUnmask,
            Party::Member(unmask.content.member),
        ),
        Evidence::BadReveal { reveal, .. } => (
            EvidenceKind::BadUnmask,
            Party::Member(reveal.content.member),
        ),
        Evidence::ClientEquivocation { first, .. } => (
            EvidenceKind::ClientEquivocation,
            Party::Client(first.content.client),
        ),
        Evidence::MemberEquivocation { first, .. } => (
            EvidenceKind::MemberEquivocation,
            Party::Member(first.member()),
        ),
        Evidence::WrongRowSum { signed, .. } => (
            EvidenceKind::WrongRowSum,
            Party::Member(signed.content.member),
        ),
        Evidence::ServerEquivocation { .. } => (EvidenceKind::ServerEquivocation, Party::Server),
        Evidence::ReceiptWithoutInclusion { .. } => {
            (EvidenceKind::ReceiptWithoutInclusion, Party::Server)
        }
        Evidence::ReceiptForInvalid { .. } => (EvidenceKind::ReceiptForInvalid, Party::Server),
        Evidence::WrongSecret { .. } | Evidence::WrongVector { .. } => {
            (EvidenceKind::WrongResult, Party::Server)
        }
    }
}
