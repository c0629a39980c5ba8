//! The round again, from its records: every statement against everything before it.

mod closing;
mod end;

use crate::read::Transcript;
use crate::report::{Convicted, Outcome, Part, Report, Sizes, Step};
use crate::{Fault, FaultKind, Options};
use curve25519_dalek::ristretto::RistrettoPoint;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use veilsum_crypto::{Digest, VerifyingKey};
use veilsum_params::{ClientId, MemberIndex};
use veilsum_proof::{Prepared, ProofError, Round};
use veilsum_protocol::{
    Check, ContextError, Culprit, Document, Evidence, FileError, MemberStatement, Record,
    RoundContext, ServerStatement, Verdict, check_header, judge_complaint, judge_with,
};
use veilsum_store::{Bodies, Role};
use veilsum_wire::{
    Announcement, Body, ComplaintContent, Content, ConvictedContent, EndorseContent, FinalContent,
    Header, LogHeadContent, Proposal, ReceiptContent, RevealContent, RoundResult, Rows, Signed,
    UnmaskContent, VoidContent, Wire, proposal_root,
};

/// A contribution of the log.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) record: u64,
    pub(crate) header: Header,
    pub(crate) body: Digest,
    /// Why its header is refused.
    pub(crate) refused: Option<Check>,
    digest: Digest,
    receipt: Option<Signed<ReceiptContent>>,
}

/// What the closing record fixed.
struct Closed {
    convicted: Vec<ClientId>,
    r_sum: curve25519_dalek::scalar::Scalar,
}

struct Replay<'a> {
    ctx: RoundContext,
    options: &'a Options<'a>,
    tables: OnceCell<Result<Round, ProofError>>,
    taken: BTreeMap<ClientId, Taken>,
    receipts: Vec<Signed<ReceiptContent>>,
    proposal: Option<Proposal>,
    /// The clients of the proposal.
    set: BTreeSet<ClientId>,
    /// Summed Feldman commitments of U minus a list, for lists that were asked for.
    summed: BTreeMap<Vec<ClientId>, Arc<Vec<RistrettoPoint>>>,
    endorsed: BTreeMap<MemberIndex, Signed<EndorseContent>>,
    /// The first complaint that counts against each dealer.
    counting: BTreeMap<ClientId, Signed<ComplaintContent>>,
    list: Option<Vec<ClientId>>,
    unmasked: BTreeMap<MemberIndex, Signed<UnmaskContent>>,
    revealed: BTreeMap<(MemberIndex, ClientId), Signed<RevealContent>>,
    closed: Option<Closed>,
    fixed: Option<Signed<ConvictedContent>>,
    finals: BTreeMap<MemberIndex, Signed<FinalContent>>,
    result: Option<(u64, RoundResult)>,
    rows: Vec<(u64, Rows)>,
    void: Option<Signed<VoidContent>>,
    foreign: Vec<MemberStatement>,
    steps: Vec<Step>,
    convicted: Vec<Convicted>,
    faults: Vec<Fault>,
    at: u64,
}

/// Replays what was read.
pub(crate) fn replay(mut transcript: Transcript, options: &Options<'_>) -> Report {
    let context = context_of(&mut transcript, options);
    let mut report = Report {
        dir: transcript.dir.display().to_string(),
        sum_only: options.sum_only,
        params: None,
        params_digest: None,
        registrar: transcript.roster.as_ref().map(|r| r.registrar().to_bytes()),
        outcome: Outcome::Unfinished,
        contributions: 0,
        clients: Vec::new(),
        members: Vec::new(),
        steps: Vec::new(),
        convicted: Vec::new(),
        faults: std::mem::take(&mut transcript.faults),
        others: std::mem::take(&mut transcript.others),
        sizes: Sizes {
            log: transcript.log_bytes,
            bodies: transcript.stored.iter().map(|b| b.len).sum(),
            body_count: transcript.stored.len() as u64,
            result: 0,
        },
    };
    let Some(ctx) = context else { return report };
    let mut replay = Replay {
        ctx,
        options,
        tables: OnceCell::new(),
        taken: BTreeMap::new(),
        receipts: Vec::new(),
        proposal: None,
        set: BTreeSet::new(),
        summed: BTreeMap::new(),
        endorsed: BTreeMap::new(),
        counting: BTreeMap::new(),
        list: None,
        unmasked: BTreeMap::new(),
        revealed: BTreeMap::new(),
        closed: None,
        fixed: None,
        finals: BTreeMap::new(),
        result: None,
        rows: Vec::new(),
        void: None,
        foreign: Vec::new(),
        steps: Vec::new(),
        convicted: Vec::new(),
        faults: Vec::new(),
        at: 0,
    };
    replay.head(&transcript);
    for (index, record) in std::mem::take(&mut transcript.records) {
        replay.at = index;
        replay.record(record, &transcript.bodies);
    }
    replay.left_out();
    replay.files(&transcript);
    replay.end(&transcript, &mut report);
    report
}

/// The round, from the first record and the roster.
fn context_of(transcript: &mut Transcript, options: &Options<'_>) -> Option<RoundContext> {
    // Of a log that could not be read nothing more is known than why.
    if transcript.identity.is_none() && !transcript.faults.is_empty() {
        return None;
    }
    let first = transcript.records.first().cloned();
    let Some((index, Record::ServerAnnouncement { sent })) = first else {
        transcript.fault(None, FaultKind::NoAnnouncement);
        return None;
    };
    let roster = Arc::clone(transcript.roster.as_ref()?);
    if options
        .pins
        .server
        .is_some_and(|pinned| pinned != sent.params.server_key)
    {
        transcript.fault(Some(index), FaultKind::Roster(FileError::OtherServer));
    }
    let made = VerifyingKey::decode(&sent.params.server_key)
        .map_err(|_| ContextError::Check(Check::AnnouncementServerKey))
        .and_then(|key| RoundContext::from_announcement(&sent, &key, roster));
    match made {
        Ok(ctx) => Some(ctx),
        Err(error) => {
            transcript.fault(Some(index), FaultKind::Announcement(error));
            None
        }
    }
}

impl Replay<'_> {
    fn fault(&mut self, kind: FaultKind) {
        let record = Some(self.at);
        self.faults.push(Fault { record, kind });
    }

    fn refuse(&mut self, what: &'static str, check: Check) {
        self.fault(FaultKind::Refused { what, check });
    }

    fn missing(&mut self, what: &'static str) {
        self.fault(FaultKind::Missing { what });
    }

    fn step(&mut self, party: impl ToString, text: impl Into<String>) {
        self.steps.push(Step {
            record: self.at,
            party: party.to_string(),
            text: text.into(),
        });
    }

    fn round(&self) -> Result<&Round, ProofError> {
        let made = self.tables.get_or_init(|| {
            let prepared = Arc::new(Prepared::new(self.ctx.layout())?);
            Round::new(prepared, *self.ctx.digest())
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Convicts whom the evidence convicts, once for each kind and party.
    fn convict(&mut self, evidence: Evidence, file: Option<String>) -> bool {
        // Tables may be much larger than a transcript that only names large parameters: a body of their size comes first.
        let whole = Body::encoded_len(self.ctx.params(), self.ctx.layout());
        let needs_tables = match &evidence {
            Evidence::InvalidProof { body, .. } | Evidence::ReceiptForInvalid { body, .. } => {
                body.0.len() as u64 == whole
            }
            _ => false,
        };
        let round = if needs_tables {
            self.round().ok()
        } else {
            None
        };
        let found = match judge_with(&self.ctx, round, &evidence) {
            Ok(found) => found,
            Err(error) => {
                match file {
                    Some(file) => {
                        let cause = error.into();
                        self.faults.push(Fault {
                            record: None,
                            kind: FaultKind::EvidenceFile { file, cause },
                        });
                    }
                    None => self.fault(FaultKind::Evidence(error)),
                }
                return false;
            }
        };
        let known = self
            .convicted
            .iter_mut()
            .find(|c| (c.kind, c.culprit) == (found.kind, found.culprit));
        match known {
            Some(known) => known.file = known.file.take().or(file),
            None => self.convicted.push(Convicted {
                kind: found.kind,
                culprit: found.culprit,
                check: found.check,
                file,
                evidence,
            }),
        }
        true
    }

    /// The signature over the head of a log that is whole.
    fn head(&mut self, transcript: &Transcript) {
        // The records are read after the log was found whole: they must be the ones that its head covers.
        let changed = transcript.closing.as_ref().is_some_and(|(head, _)| {
            transcript.read_to.as_ref() != Some(head) && transcript.faults_of_log == 0
        });
        if changed {
            self.faults.push(Fault {
                record: None,
                kind: FaultKind::Head,
            });
        }
        let Some(identity) = transcript.identity else {
            return;
        };
        if identity.role != Role::Server {
            self.faults.push(Fault {
                record: None,
                kind: FaultKind::Role(identity.role),
            });
        }
        let Some((head, payload)) = &transcript.closing else {
            return;
        };
        let expected = LogHeadContent {
            params_digest: *self.ctx.digest(),
            records: head.records,
            head: Digest(head.value),
        };
        let signed = Signed::<LogHeadContent>::from_bytes(payload);
        let right = signed.is_ok_and(|signed| {
            signed.content == expected && signed.verify(self.ctx.server_key()).is_ok()
        });
        if !right {
            self.faults.push(Fault {
                record: None,
                kind: FaultKind::Head,
            });
        }
    }

    fn by_server<T: Content>(
        &mut self,
        what: &'static str,
        signed: &Signed<T>,
        check: Check,
    ) -> bool {
        let right = signed.verify(self.ctx.server_key()).is_ok();
        if !right {
            self.refuse(what, check);
        }
        right
    }

    fn by_member<T: Content>(
        &mut self,
        what: &'static str,
        index: MemberIndex,
        signed: &Signed<T>,
        check: Check,
    ) -> bool {
        let right = self
            .ctx
            .member(index)
            .is_some_and(|(_, key)| signed.verify(key).is_ok());
        if !right {
            self.refuse(what, check);
        }
        right
    }

    fn root(&self) -> Option<Digest> {
        Some(self.proposal.as_ref()?.signed.content.root)
    }

    /// The headers of U in its order, of those that are in the log.
    fn headers(&self) -> Vec<Header> {
        let entries = self.proposal.iter().flat_map(|p| &p.entries);
        entries
            .filter_map(|(client, _)| Some(self.taken.get(client)?.header.clone()))
            .collect()
    }

    fn in_set(&self, client: ClientId) -> bool {
        self.set.contains(&client)
    }

    fn record(&mut self, record: Record, bodies: &Bodies) {
        if self.void.is_some()
            && !matches!(
                record,
                Record::ServerEvidence { .. } | Record::ServerVoid { .. }
            )
        {
            self.fault(FaultKind::Order {
                what: "anything after the declaration that the round is void",
            });
        }
        match record {
            Record::ServerAnnouncement { sent } => self.announcement(&sent),
            Record::ServerContribution { header, body } => self.contribution(header, body),
            Record::ServerReceipt { sent } => self.receipt(sent),
            Record::ServerProposal { sent } => self.propose(sent),
            Record::ServerEndorse { accepted } => self.endorse(&accepted),
            Record::ServerList { sent } => self.list(&sent),
            Record::ServerUnmask { accepted } => self.unmask(&accepted),
            Record::ServerReveal { accepted } => self.reveal(accepted),
            Record::ServerClosing {
                convicted,
                complaints,
                sums,
                reveals,
                r_sum,
            } => {
                self.close(convicted, &complaints, &sums, &reveals, r_sum);
            }
            Record::ServerConvicted { sent } => self.fix(sent),
            Record::ServerFinal { accepted } => self.finalise(accepted),
            Record::ServerResult { sent } => {
                let vector = sent.vector;
                self.publish(sent.signed, |_| Some(vector));
            }
            Record::ServerLargeResult { sent, body, len } => {
                self.publish(sent, |replay| replay.vector_of(bodies, &body, len));
            }
            Record::ServerRows { accepted } => self.rows(accepted),
            Record::ServerVoid { sent } => self.declare_void(sent),
            Record::ServerEvidence { evidence } => {
                let before = self.convicted.len();
                if self.convict(evidence, None)
                    && let Some(new) = self.convicted.get(before)
                {
                    let text = format!("convicted of {} ({})", new.kind, new.check.id());
                    self.step(new.culprit, text);
                }
            }
            Record::ServerForeign { accepted } => self.foreign(accepted),
            Record::ClientContribution { .. }
            | Record::ClientLargeContribution { .. }
            | Record::ClientReceipt { .. }
            | Record::ClientResult { .. }
            | Record::MemberVoid { .. }
            | Record::MemberAnnouncement { .. }
            | Record::MemberPackage { .. }
            | Record::MemberEndorse { .. }
            | Record::MemberUnmaskRequest { .. }
            | Record::MemberUnmask { .. }
            | Record::MemberReveal { .. }
            | Record::MemberConvicted { .. }
            | Record::MemberFinal { .. }
            | Record::MemberRows { .. } => self.fault(FaultKind::Order {
                what: "a record of a client or member",
            }),
        }
    }

    fn announcement(&mut self, sent: &Announcement) {
        if self.steps.is_empty() {
            self.step("server", "announces the round");
            return;
        }
        self.fault(FaultKind::Repeated {
            what: "an announcement",
        });
        if sent.signed.content.params_digest != *self.ctx.digest()
            && self.by_server(
                "an announcement",
                &sent.signed,
                Check::AnnouncementSignature,
            )
        {
            self.fault(FaultKind::Refused {
                what: "an announcement",
                check: Check::AnnouncementOther,
            });
        }
    }

    fn contribution(&mut self, header: Header, body: Digest) {
        let client = header.content.client;
        let refused = check_header(&self.ctx, &header).err().map(|r| r.check);
        if let Some(check) = refused {
            self.refuse("a header", check);
        }
        if self.proposal.is_some() {
            self.refuse(
                "a contribution after the proposal",
                Check::ContributionClosed,
            );
        }
        if let Some(first) = self.taken.get(&client) {
            let first = first.header.clone();
            if first == header {
                self.fault(FaultKind::Repeated {
                    what: "a contribution",
                });
                return;
            }
            self.refuse("a second contribution", Check::ContributionDuplicate);
            if first.content != header.content {
                self.convict_if(Evidence::ClientEquivocation {
                    first,
                    second: header,
                    other_params: Vec::new(),
                });
            }
            return;
        }
        self.step(client, "contributes");
        let digest = header.content.digest();
        self.taken.insert(
            client,
            Taken {
                record: self.at,
                header,
                body,
                refused,
                digest,
                receipt: None,
            },
        );
    }

    /// Evidence that the audit put together: whether it convicts is not taken for granted, and it is no fault if it does not.
    fn convict_if(&mut self, evidence: Evidence) {
        let faults = self.faults.len();
        if !self.convict(evidence, None) {
            self.faults.truncate(faults);
        }
    }

    fn receipt(&mut self, sent: Signed<ReceiptContent>) {
        if !self.by_server("a receipt", &sent, Check::ReceiptSignature) {
            return;
        }
        let client = sent.content.client;
        self.receipts.push(sent.clone());
        let fits = sent.content.params_digest == *self.ctx.digest()
            && self
                .taken
                .get(&client)
                .is_some_and(|t| t.digest == sent.content.header_digest);
        if !fits {
            self.refuse("a receipt", Check::ReceiptContent);
            return;
        }
        let outside = self.proposal.is_some() && !self.in_set(client);
        if outside {
            self.refuse("a receipt after the proposal", Check::ReceiptInclusion);
        }
        self.step("server", format!("gives {client} a receipt"));
        let again = self
            .taken
            .get_mut(&client)
            .is_some_and(|taken| taken.receipt.replace(sent).is_some());
        if again {
            self.fault(FaultKind::Repeated { what: "a receipt" });
        }
    }

    fn propose(&mut self, sent: Proposal) {
        let content = &sent.signed.content;
        if !self.by_server("the proposal", &sent.signed, Check::ProposalSignature) {
            return;
        }
        if let Some(first) = &self.proposal {
            let first = first.signed.clone();
            self.fault(FaultKind::Repeated { what: "a proposal" });
            if first.content != *content {
                self.convict_if(Evidence::ServerEquivocation {
                    first: ServerStatement::Proposal { signed: first },
                    second: ServerStatement::Proposal {
                        signed: sent.signed,
                    },
                    other_params: Vec::new(),
                });
            }
            return;
        }
        let params = self.ctx.params();
        let count = u32::try_from(sent.entries.len()).unwrap_or(u32::MAX);
        let checks = [
            (
                content.params_digest == *self.ctx.digest(),
                Check::ProposalRound,
            ),
            (
                proposal_root(&sent.entries) == content.root,
                Check::ProposalRoot,
            ),
            (
                (params.n_min..=params.n_max).contains(&count),
                Check::ProposalCount,
            ),
            (
                sent.entries.is_sorted_by(|(a, _), (b, _)| a < b),
                Check::ProposalOrder,
            ),
            (
                sent.entries.iter().all(|(c, _)| self.ctx.in_cohort(*c)),
                Check::ProposalCohort,
            ),
            (
                sent.entries
                    .iter()
                    .all(|(c, d)| self.taken.get(c).is_some_and(|t| t.digest == *d)),
                Check::ProposalHeaders,
            ),
        ];
        for (_, check) in checks.into_iter().filter(|(right, _)| !right) {
            self.refuse("the proposal", check);
        }
        // U is everything that is durable, receipt or not (A16).
        let listed: BTreeSet<(ClientId, Digest)> = sent.entries.iter().copied().collect();
        let left = self.taken.iter();
        let left = left.filter(|(c, t)| !listed.contains(&(**c, t.digest)));
        for _ in 0..left.count() {
            self.refuse("the proposal", Check::ReceiptInclusion);
        }
        self.step("server", format!("proposes U with {count} contributions"));
        self.set = sent.entries.iter().map(|(client, _)| *client).collect();
        self.proposal = Some(sent);
    }

    /// Judges complaints as everybody does, and remembers the dealers that they convict.
    fn complaints(&mut self, complaints: &[Signed<ComplaintContent>]) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for complaint in complaints {
            let header = self
                .taken
                .values()
                .find(|t| {
                    t.digest == complaint.content.header_digest
                        && self.in_set(t.header.content.client)
                })
                .map(|t| t.header.clone());
            let verdict = match (&header, self.root()) {
                (Some(header), Some(root)) => {
                    judge_complaint(&self.ctx, &root, &header.content, complaint)
                }
                _ => Verdict::NotApplicable(Check::ComplaintApplicable),
            };
            if let Verdict::Counts(dealer) = verdict
                && !self.counting.contains_key(&dealer)
            {
                self.counting.insert(dealer, complaint.clone());
                self.step(
                    complaint.content.member,
                    format!("shows that {dealer} dealt it a bad share"),
                );
            }
            if let Some(evidence) =
                header.and_then(|header| Evidence::of_complaint(verdict, &header, complaint))
            {
                self.convict_if(evidence);
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    /// Every receipt in the log, wherever it stands and whether or not its contribution is there, beside every proposal.
    fn left_out(&mut self) {
        let Some(proposal) = self.proposal.clone() else {
            return;
        };
        let listed: BTreeSet<(ClientId, Digest)> = proposal.entries.iter().copied().collect();
        for receipt in std::mem::take(&mut self.receipts) {
            let content = &receipt.content;
            if !listed.contains(&(content.client, content.header_digest)) {
                self.convict_if(Evidence::ReceiptWithoutInclusion {
                    receipt,
                    proposal: proposal.clone(),
                });
            }
        }
    }

    fn declare_void(&mut self, sent: Signed<VoidContent>) {
        if !self.by_server(
            "the declaration that the round is void",
            &sent,
            Check::VoidSignature,
        ) {
            return;
        }
        if sent.content.params_digest != *self.ctx.digest() {
            self.refuse("the declaration that the round is void", Check::VoidRound);
            return;
        }
        if self.void.is_some() {
            self.fault(FaultKind::Repeated {
                what: "the declaration that the round is void",
            });
            return;
        }
        if self.closed.is_some() {
            self.refuse("the declaration that the round is void", Check::VoidLate);
        }
        if let Some(fixed) = self.fixed.clone() {
            self.convict_if(Evidence::ServerEquivocation {
                first: ServerStatement::Convicted { signed: fixed },
                second: ServerStatement::Void {
                    signed: sent.clone(),
                },
                other_params: Vec::new(),
            });
        }
        self.step("server", "declares the round void");
        self.void = Some(sent);
    }

    /// Evidence files beside the log.
    fn files(&mut self, transcript: &Transcript) {
        for name in &transcript.evidence {
            let file = &name.to_string_lossy().into_owned();
            let fault = |kind| Fault { record: None, kind };
            let bytes = match transcript.evidence_bytes(name) {
                Ok(bytes) => bytes,
                Err(kind) => {
                    self.faults.push(fault(kind));
                    continue;
                }
            };
            let document = match Document::from_file(&bytes) {
                Ok(document) => document,
                Err(cause) => {
                    let (file, cause) = (file.clone(), cause.into());
                    self.faults
                        .push(fault(FaultKind::EvidenceFile { file, cause }));
                    continue;
                }
            };
            // Mostly it names this very round, and then nothing has to be recomputed.
            let round = if self.is_about_this(&document) {
                Ok(*self.ctx.digest())
            } else {
                let context = document.context(&self.options.pins);
                context.map(|ctx| *ctx.digest())
            };
            match (document, round) {
                (Document::Accusation { evidence, .. }, Ok(digest))
                    if digest == *self.ctx.digest() =>
                {
                    self.convict(evidence, Some(file.clone()));
                }
                (Document::Accusation { .. }, Err(cause)) => {
                    let (file, cause) = (file.clone(), cause.into());
                    self.faults
                        .push(fault(FaultKind::EvidenceFile { file, cause }));
                }
                _ => self
                    .faults
                    .push(fault(FaultKind::OtherRound { file: file.clone() })),
            }
        }
    }

    fn is_about_this(&self, document: &Document) -> bool {
        let own = self.ctx.roster();
        matches!(document, Document::Accusation { registrar, roster, params, .. }
            if *registrar == own.registrar().to_bytes() && roster == own.signed() && params == self.ctx.params())
    }

    /// What each client came to.
    fn parts(
        &self,
        refused: &BTreeMap<ClientId, Check>,
        set: &BTreeSet<ClientId>,
    ) -> Vec<(ClientId, Part)> {
        let of_client = |client: &ClientId| {
            let convicted = self
                .convicted
                .iter()
                .find(|c| c.culprit == Culprit::Client(*client))
                .map(|c| c.check);
            match (refused.get(client), self.taken.contains_key(client)) {
                (Some(check), _) => Part::Rejected(*check),
                (None, true) if set.contains(client) && self.result.is_some() => Part::Summed,
                (None, _) if convicted.is_some() => convicted.map_or(Part::Left, Part::Rejected),
                (None, true) => Part::Left,
                (None, false) => Part::Absent,
            }
        };
        self.ctx
            .cohort()
            .iter()
            .map(|c| (*c, of_client(c)))
            .collect()
    }
}
