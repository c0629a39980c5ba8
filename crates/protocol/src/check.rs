use std::fmt;

/// Who a failed check speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// Nobody: refused, the sender cannot be told from anybody else.
    Nobody,
    /// The client whose contribution it is.
    Client,
    /// The client that dealt a share.
    Dealer,
    /// A committee member.
    Member,
    /// The server.
    Server,
}

/// The kinds of self-contained evidence (`specs/protocol.md`, "Evidence").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// A signed header that is invalid, or a signed header and its body whose proof fails.
    InvalidProof,
    /// A complaint that counts: the dealer's share for one member is bad.
    BadShare,
    /// A complaint that fails on the header it names.
    FalseComplaint,
    /// A signed sum that does not fit the summed commitments.
    BadUnmask,
    /// Two signed headers of one client for one round.
    ClientEquivocation,
    /// Two signed endorsements or two Finals of one member that exclude each other.
    MemberEquivocation,
    /// Two signed statements of the server that exclude each other.
    ServerEquivocation,
    /// A receipt and a proposal of the same round that lacks it.
    ReceiptWithoutInclusion,
    /// A receipt for a contribution whose proof fails.
    ReceiptForInvalid,
    /// A signed result that the opened X-rows or headers contradict.
    WrongResult,
    /// A signed row sum that the opened slice contradicts.
    WrongRowSum,
}

impl EvidenceKind {
    /// The name that reports and files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidProof => "invalid-proof",
            Self::BadShare => "bad-share",
            Self::FalseComplaint => "false-complaint",
            Self::BadUnmask => "bad-unmask",
            Self::ClientEquivocation => "client-equivocation",
            Self::MemberEquivocation => "member-equivocation",
            Self::ServerEquivocation => "server-equivocation",
            Self::ReceiptWithoutInclusion => "receipt-without-inclusion",
            Self::ReceiptForInvalid => "receipt-for-invalid",
            Self::WrongResult => "wrong-result",
            Self::WrongRowSum => "wrong-row-sum",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `specs/checks.md` says about one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckInfo {
    /// Stable id.
    pub id: &'static str,
    /// Reason in plain words, as reports show it.
    pub reason: &'static str,
    /// Who is to blame when it fails.
    pub blame: Blame,
    /// Kind of evidence that a failure gives, if any.
    pub evidence: Option<EvidenceKind>,
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident: $id:literal, $reason:literal, $blame:ident $(, $kind:ident)?;)*) => {
        /// One check that a party makes. Its id stands in `specs/checks.md`; the checks of the proof have ids of their own
        /// and come in as [`Check::Proof`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Check {
            $(#[doc = $reason] $name,)*
            /// A check of the contribution's proof.
            Proof(veilsum_proof::ProofCheck),
        }
        impl Check {
            /// Every check but those of the proof.
            pub const ALL: &'static [Check] = &[$(Check::$name),*];
            /// Id, reason, blame, evidence.
            pub fn info(self) -> CheckInfo {
                match self {
                    $(Check::$name => CheckInfo {
                        id: $id, reason: $reason, blame: Blame::$blame, evidence: None $(.or(Some(EvidenceKind::$kind)))?,
                    },)*
                    Check::Proof(check) => CheckInfo {
                        id: check.id(), reason: "the proof does not verify", blame: Blame::Client,
                        evidence: Some(EvidenceKind::InvalidProof),
                    },
                }
            }
        }
    };
}

checks! {
    AnnouncementSignature: "announcement.signature", "the announcement is not signed by the pinned server key", Nobody;
    AnnouncementDigest: "announcement.digest", "the signed digest or round id is not that of the parameters", Server;
    AnnouncementServerKey: "announcement.server-key", "the parameters name another server key", Server;
    AnnouncementParams: "announcement.params", "the parameters are out of range or do not fit", Server;
    AnnouncementPolicy: "announcement.policy", "the parameters are below this party's floors", Server;
    AnnouncementRoster: "announcement.roster", "the parameters name another roster or epoch", Server;
    AnnouncementSchedule: "announcement.schedule", "the beacon's source or round is not the one that the roster gives this round", Server;
    AnnouncementBeacon: "announcement.beacon", "the beacon's value is not proven", Server;
    AnnouncementCommittee: "announcement.committee", "the committee is not the one that beacon and roster give", Server;
    AnnouncementCohort: "announcement.cohort", "this client is not in the sampled cohort", Nobody;
    AnnouncementModel: "announcement.model", "the model digest is not that of the model that was trained on", Server;
    AnnouncementOther: "announcement.other", "something was signed for other parameters of this round", Server, ServerEquivocation;
    RoundUsed: "announcement.round-used", "this round id was already contributed to", Nobody;
    HeaderParams: "header.params", "the header belongs to another round", Nobody;
    HeaderCohort: "header.cohort", "the client is not in the sampled cohort", Nobody;
    HeaderSignature: "header.signature", "the header is not signed by its client", Nobody;
    HeaderCommitments: "header.commitments", "the number of polynomial commitments is not the threshold", Client, InvalidProof;
    HeaderIdentity: "header.identity", "F_0, F_z or E is the identity", Client, InvalidProof;
    HeaderKnowledge: "header.knowledge", "the proof of knowledge of the ephemeral secret fails", Client, InvalidProof;
    BodyLength: "body.length", "the body does not have the length that the parameters derive", Nobody;
    BodyShareRoot: "body.share-root", "the shares do not hash to the header's root", Nobody;
    BodyRowRoot: "body.row-root", "the X-rows do not hash to the header's root", Nobody;
    BodyOtherRows: "body.other-rows", "the other rows do not hash to the header's digest", Nobody;
    BodyMaskedVector: "body.masked-vector", "the masked vector does not hash to the header's digest", Nobody;
    BodyKeyCiphertext: "body.key-ciphertext", "the key ciphertext does not hash to the header's digest", Nobody;
    BodyProof: "body.proof", "the proof does not hash to the header's digest", Nobody;
    ContributionDuplicate: "contribution.duplicate", "the client already has another contribution in this round", Client, ClientEquivocation;
    ContributionClosed: "contribution.closed", "the round takes no more contributions", Nobody;
    RequestSignature: "request.signature", "the request is not signed by its client for this round and kind", Nobody;
    ReceiptSignature: "receipt.signature", "the receipt is not signed by the server", Nobody;
    ReceiptContent: "receipt.content", "the receipt is for another contribution", Server;
    ReceiptInclusion: "receipt.inclusion", "the proposal lacks a contribution that has a receipt", Server, ReceiptWithoutInclusion;
    ProposalSignature: "proposal.signature", "the proposal is not signed by the server", Nobody;
    ProposalRound: "proposal.round", "the proposal belongs to another round", Nobody;
    ProposalOrder: "proposal.order", "the proposal's ids are not strictly increasing", Server;
    ProposalCohort: "proposal.cohort", "the proposal holds a client that was not sampled", Server;
    ProposalCount: "proposal.count", "the proposal is smaller than n_min or larger than n_max", Server;
    ProposalRoot: "proposal.root", "the signed root is not that of the entries", Server;
    ProposalHeaders: "proposal.headers", "the headers are not those of the entries", Server;
    ProposalEquivocation: "proposal.equivocation", "the server signed two proposals", Server, ServerEquivocation;
    MemberKey: "member.key", "the member's secret share key does not belong to its place", Nobody;
    MemberOneRoot: "member.one-root", "the member endorsed or unmasked another root in this round", Server;
    PackageMissing: "package.missing", "the member has not accepted a package of this root yet", Nobody;
    ShareMissing: "share.count", "the package does not hold one share for each entry", Server;
    SharePath: "share.path", "a share's path does not lead to its header's root", Server;
    ComplaintSignature: "complaint.signature", "the complaint is not signed by its member", Nobody;
    ComplaintApplicable: "complaint.applicable", "the complaint is about another round, root or header", Nobody;
    ComplaintPath: "complaint.path", "the complaint's share is not the one under the header's root", Member, FalseComplaint;
    ComplaintEquality: "complaint.equality", "the complaint's Diffie-Hellman point is not proved right", Member, FalseComplaint;
    ComplaintGroundless: "complaint.groundless", "the complaint's share is good", Member, FalseComplaint;
    DealtShare: "share.value", "the dealer's share is not on its committed polynomial", Dealer, BadShare;
    EndorseSignature: "endorse.signature", "the endorsement is not signed by its member", Nobody;
    EndorseContent: "endorse.content", "the endorsement is for another round, root or count", Nobody;
    EndorseComplaints: "endorse.complaints", "the complaints are not the ones whose digest is endorsed", Nobody;
    EndorseEquivocation: "endorse.equivocation", "the member endorsed two roots", Member, MemberEquivocation;
    CertificateMembers: "certificate.members", "the certificate does not hold t distinct members", Nobody;
    CertificateSignature: "certificate.signature", "an endorsement in the certificate is not signed by its member", Nobody;
    CertificateRoot: "certificate.root", "an endorsement in the certificate is for another round or root", Nobody;
    ListSignature: "list.signature", "the list of convicted dealers is not signed by the server", Nobody;
    ListContent: "list.content", "the list is for another root, or not in strictly increasing order", Server;
    ListComplaints: "list.complaints", "a dealer on the list has no complaint that counts", Server;
    UnmaskSignature: "unmask.signature", "the unmask message is not signed by its member", Nobody;
    UnmaskContent: "unmask.content", "the unmask message is for another round or root, or its list is not in order", Nobody;
    UnmaskConvicted: "unmask.convicted", "the member left out a dealer without a complaint that counts", Member;
    UnmaskSum: "unmask.sum", "the sum of shares does not fit the summed commitments", Member, BadUnmask;
    UnmaskEquivocation: "unmask.equivocation", "the member signed two unmask messages", Member, MemberEquivocation;
    RevealSignature: "reveal.signature", "the reveal is not signed by its member", Nobody;
    RevealContent: "reveal.content", "the reveal is for another round, root or dealer", Nobody;
    RevealShare: "reveal.share", "the revealed share is not on the dealer's polynomial", Member, BadUnmask;
    ConvictedSignature: "convicted.signature", "the fixed list is not signed by the server", Nobody;
    ConvictedOrder: "convicted.order", "the fixed list is for another root, or not in strictly increasing order", Server;
    ConvictedInSet: "convicted.in-set", "the fixed list holds a client that is not in U", Server;
    ConvictedComplaints: "convicted.complaints", "a dealer on the fixed list has no complaint that counts", Server;
    ConvictedEquivocation: "convicted.equivocation", "the server signed two fixed lists", Server, ServerEquivocation;
    FinalSignature: "final.signature", "the Final is not signed by its member", Nobody;
    FinalContent: "final.content", "the Final is not for this root, count, list and sum of F_0", Nobody;
    FinalEquivocation: "final.equivocation", "the member signed two Finals", Member, MemberEquivocation;
    RowsBeforeFinal: "rows.before-final", "row sums are asked for before the member signed its Final", Nobody;
    RowsEncoding: "rows.encoding", "a row is not a canonical point", Server;
    RowsRequestPath: "rows.path", "the rows of a slice are not those under a header's row root", Server;
    RowsSignature: "rows.signature", "the row sums are not signed by their member", Nobody;
    RowsContent: "rows.content", "the row sums are for another round, root, list or slice, or do not hash as signed", Nobody;
    RowsValue: "rows.value", "the row sum is not the sum of the opened rows", Member, WrongRowSum;
    SumCommitment: "sum.commitment", "R B is not the sum of F_0", Server, WrongResult;
    ResultSignature: "result.signature", "the result is not signed by the server", Nobody;
    ResultContent: "result.content", "the result is for another round, root, list or vector", Server;
    ResultEquivocation: "result.equivocation", "the server signed two results", Server, ServerEquivocation;
    VoidSignature: "void.signature", "the declaration that the round is void is not signed by the server", Nobody;
    VoidRound: "void.round", "another round is declared void", Nobody;
    VoidLate: "void.late", "the convicted dealers are fixed: the round cannot be void any more", Nobody;
    VoidEquivocation: "void.equivocation", "the server declared a round void that it fixed", Server, ServerEquivocation;
    EvidenceSignature: "evidence.signature", "a statement in the evidence is not signed by the one that it accuses", Nobody;
    EvidenceContent: "evidence.content", "the evidence does not belong together, or shows nothing", Nobody;
    LightFinals: "light.finals", "there are not t equal Finals by distinct members for the certified root", Nobody;
    LightEntry: "light.entry", "the own header is not under the root", Server;
    LightConvictedSelf: "light.convicted-self", "the own contribution was left out", Server;
    LightRows: "light.rows", "a slice has no row sum that 2t - m distinct members signed", Nobody;
    LightSecret: "light.secret", "R B is not the certified sum of F_0", Server, WrongResult;
    LightBounds: "light.bounds", "a coordinate of the result exceeds what the contributions can sum to", Server;
    LightSum: "light.sum", "the result does not open the certified row sums", Server, WrongResult;
}

impl Check {
    /// Stable id.
    pub fn id(self) -> &'static str {
        self.info().id
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        write!(f, "{} ({})", info.reason, info.id)
    }
}
