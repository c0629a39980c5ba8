use std::fmt;
use thiserror::Error;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_proof::ProofError;
use veilsum_protocol::{AccusationError, Check, ContextError, FileError, JudgeError, OpenError};
use veilsum_store::StoreError;
use veilsum_wire::WireError;

/// One thing that is wrong with a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The record of the log that is wrong, where it is one.
    pub record: Option<u64>,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "record {record}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

/// A log as an auditor sees it, who has a copy and nothing to go on with.
fn of_log(error: &StoreError) -> String {
    const ADVICE: &str =
        "have the server's operator copy the round again, with `veilsum rounds export`";
    match error {
        StoreError::Corrupt {
            path,
            offset,
            record,
            damage,
        } => format!(
            "{} is damaged at byte {offset} (record {record}): {damage}; {ADVICE}",
            path.display()
        ),
        StoreError::NotClosed { .. } => format!("{error}; {ADVICE}"),
        error => error.to_string(),
    }
}

/// What can be wrong with a transcript. An honest server closes none with any of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// The log is damaged, torn, not closed, or of another version.
    #[error("{}", of_log(.0))]
    Log(StoreError),
    /// The log is not a server's.
    #[error("this is the log of a {0}, only a server's log is a transcript")]
    Role(veilsum_store::Role),
    /// The log's head is not signed by the server, or another head is.
    #[error("the closing record does not hold the server's signature over this log")]
    Head,
    /// The roster file.
    #[error("{0}")]
    Roster(FileError),
    /// The announcement does not make a round.
    #[error("the announcement: {0}")]
    Announcement(ContextError),
    /// A log without an announcement at its beginning.
    #[error("the log does not begin with an announcement, so nothing in it can be judged")]
    NoAnnouncement,
    /// A record that cannot be read.
    #[error("it cannot be read: {0}")]
    Record(WireError),
    /// A record under the number of another kind.
    #[error("it is filed as kind {kind:#06x} and is of kind {tag:#06x}")]
    Kind {
        /// As what it is filed.
        kind: u16,
        /// What it is.
        tag: u16,
    },
    /// A record that a server never writes, or never there.
    #[error("{what} cannot stand here")]
    Order {
        /// What it is.
        what: &'static str,
    },
    /// A record that says again what was said.
    #[error("{what} stands here again")]
    Repeated {
        /// What.
        what: &'static str,
    },
    /// A statement that the server must not have accepted or made.
    #[error("{what} fails a check: {check}")]
    Refused {
        /// What it is.
        what: &'static str,
        /// Which check it fails.
        check: Check,
    },
    /// A body that the log names is not there, or not what it should be.
    #[error("the body of {client}: {cause}")]
    Body {
        /// Whose.
        client: ClientId,
        /// What is wrong.
        cause: StoreError,
    },
    /// The body with the vector of the result is not there, or not what it should be.
    #[error("the body with the vector of the result: {0}")]
    ResultBody(StoreError),
    /// A contribution that does not verify.
    #[error("the contribution of {client} fails a check: {check}")]
    Contribution {
        /// Whose.
        client: ClientId,
        /// Which check it fails.
        check: Check,
    },
    /// A proof that was to be verified and was not: the tables could not be made, or no body of their size was listed.
    #[error("the proof of {client} was not verified")]
    Unverified {
        /// Whose.
        client: ClientId,
    },
    /// The tables of the verifier could not be made.
    #[error("the proofs of this round cannot be verified: {0}")]
    Tables(ProofError),
    /// The published vector does not open the summed rows.
    #[error(
        "the result is not the sum of what was contributed, first in row {row} of the commitments"
    )]
    Sum {
        /// The first row that does not open.
        row: usize,
    },
    /// Contributions of the sum cannot be added, so the result cannot be compared with anything.
    #[error("the result is not settled: {missing} contributions of the sum cannot be added")]
    Unsettled {
        /// How many.
        missing: usize,
    },
    /// The result is right by its commitments, but the contributions do not decode to it.
    #[error("the contributions do not decode to the result{}", .cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    Decoding {
        /// Why, where they do not decode at all.
        cause: Option<OpenError>,
    },
    /// A contribution without a receipt, in a round that was fixed.
    #[error("{client} has no receipt for the contribution that stands in the log")]
    NoReceipt {
        /// Whose.
        client: ClientId,
    },
    /// Something that must stand in the log before this record, or before its end.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: &'static str,
    },
    /// Row sums of a slice with too few signers.
    #[error("slice {slice} has {got} of the {want} signers that it needs")]
    RowSigners {
        /// The slice.
        slice: u16,
        /// How many signed.
        got: usize,
        /// How many it takes.
        want: usize,
    },
    /// A member's row sum that the opened rows contradict stands in the log as accepted.
    #[error("the row sum of {member} for slice {slice} is wrong")]
    RowSum {
        /// The member.
        member: MemberIndex,
        /// The slice.
        slice: u16,
    },
    /// Evidence in the log that convicts nobody.
    #[error("the evidence in it proves nothing: {0}")]
    Evidence(JudgeError),
    /// An evidence file that convicts nobody.
    #[error("{file} proves nothing: {cause}")]
    EvidenceFile {
        /// Its name.
        file: String,
        /// Why.
        cause: AccusationError,
    },
    /// An evidence file that could not be read.
    #[error(transparent)]
    Unread(StoreError),
    /// An evidence file about another round.
    #[error("{file} is about another round")]
    OtherRound {
        /// Its name.
        file: String,
    },
}
