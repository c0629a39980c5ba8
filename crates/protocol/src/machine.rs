use crate::{Bytes, Evidence, OpenError, Record, Refusal, VerifiedContribution};
use std::fmt;
use thiserror::Error;
use veilsum_crypto::Digest;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_wire::{
    Announcement, Convicted, Endorse, FinalContent, Header, MemberPackage, Proposal, Reader,
    ReceiptContent, RevealContent, RevealRequest, RoundResult, Rows, RowsRequest, Signed, Unmask,
    UnmaskRequest, VoidContent, Wire, WireError,
};

/// Somebody who takes part in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The server.
    Server,
    /// A client of the cohort.
    Client(ClientId),
    /// A committee member, as such; its client is a party of its own.
    Member(MemberIndex),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Client(client) => client.fmt(f),
            Self::Member(index) => index.fmt(f),
        }
    }
}

/// A contribution as it travels and before anything about it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The signed header.
    pub header: Header,
    /// The body's bytes; their length follows from the parameters.
    pub body: Bytes,
}

impl Wire for Upload {
    const MIN_LEN: usize = Header::MIN_LEN + 4;
    fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.body.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            header: Header::decode(r)?,
            body: Wire::decode(r)?,
        })
    }
}

macro_rules! messages {
    ($($tag:literal $name:ident($t:ty), $text:literal;)*) => {
        /// A message between parties: a tag byte, then the content as `specs/wire.md` lays it out. Transport, log and
        /// simulation carry these bytes.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(clippy::large_enum_variant, reason = "short-lived: made, sent or handled, dropped")]
        pub enum Message {
            $(#[doc = $text] $name($t),)*
        }
        impl Message {
            /// Tags, names and contents, for `specs/wire.md`.
            pub const TAGS: &'static [(u8, &'static str, &'static str)] =
                &[$(($tag, stringify!($name), stringify!($t))),*];
            /// The message's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
            /// The message's tag.
            pub fn tag(&self) -> u8 {
                match self {
                    $(Self::$name(_) => $tag,)*
                }
            }
        }
        impl Wire for Message {
            const MIN_LEN: usize = 1;
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(content) => {
                        out.push($tag);
                        content.encode(out);
                    })*
                }
            }
            fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
                let offset = r.offset();
                match u8::decode(r)? {
                    $($tag => Ok(Self::$name(Wire::decode(r)?)),)*
                    other => Err(WireError::Value { offset, field: "message tag", value: other.into() }),
                }
            }
        }
    };
}

messages! {
    1 Announcement(Announcement), "server to client: the round and its parameters.";
    2 Contribution(Upload), "client to server: its contribution.";
    3 Receipt(Signed<ReceiptContent>), "server to client: the contribution is verified and durable.";
    4 Proposal(Proposal), "server to anybody: U.";
    5 Package(MemberPackage), "server to member: U, its headers, the member's own shares.";
    6 Endorse(Endorse), "member to server: this is the one root that it endorses, and its complaints.";
    7 UnmaskRequest(UnmaskRequest), "server to member: the certificate, and the dealers left out.";
    8 Unmask(Unmask), "member to server: the sum of its shares.";
    9 RevealRequest(RevealRequest), "server to member: asks for single shares of convicted dealers.";
    10 Reveal(Signed<RevealContent>), "member to server: its share of a convicted dealer.";
    11 Convicted(Convicted), "server to member: the convicted dealers, fixed.";
    12 Final(Signed<FinalContent>), "member to server: what the sum is over.";
    13 RowsRequest(RowsRequest), "server to member: asks for the sum of one slice of rows.";
    14 Rows(Rows), "member to server: the sum of one slice of rows.";
    15 Result(RoundResult), "server to anybody: the result.";
    16 Void(Signed<VoidContent>), "server to anybody: the round has no result and never will.";
}

/// How a machine's part in a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a result, and everything that certifies it.
    Certified {
        /// Root of the proposal.
        root: Digest,
        /// |U| minus the convicted dealers.
        summed: u32,
    },
    /// The round is void.
    Void,
}

/// What happened, for reports; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody was proven to misbehave.
    Evidence(Box<Evidence>),
    /// The round is open for contributions.
    Announced,
    /// A contribution is durable; its receipt follows.
    Contributed(ClientId),
    /// U is fixed.
    Proposed {
        /// Its root.
        root: Digest,
        /// |U|.
        count: u32,
    },
    /// Contributions are too few for a proposal; the server goes on taking them.
    TooFew {
        /// How many there are.
        got: u32,
        /// How many it takes.
        want: u32,
    },
    /// t members endorsed the root.
    Certified {
        /// The root.
        root: Digest,
    },
    /// A dealer was convicted by a complaint that counts.
    ConvictedDealer(ClientId),
    /// The convicted dealers are fixed and R is known.
    Fixed {
        /// How many dealers were left out.
        convicted: u32,
    },
    /// The sum is opened; row sums are still to be certified.
    Opened,
    /// A member endorsed a root.
    Endorsed {
        /// The root.
        root: Digest,
        /// Dealers that it complains of.
        complaints: u32,
    },
    /// A member unmasked.
    Unmasked,
    /// A member signed its Final.
    Finalised,
}

/// What a driver has to do, in order: an output is acted on only when every [`Output::Persist`] before it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived: made, acted on, dropped"
)]
pub enum Output {
    /// Append this record to the log, durably.
    Persist(Record),
    /// Send a message. Losing it is harmless: [`Input::Retry`] sends again whatever is still needed.
    Send {
        /// The receiver.
        to: Party,
        /// The message.
        message: Message,
    },
    /// Send a member a message that is too large to be made for all members at once: the driver has it made by
    /// [`crate::ServerRound::owed`] when the member is there to take it.
    Owe {
        /// The receiver.
        to: MemberIndex,
        /// Which message.
        what: Owed,
    },
    /// An input was refused, nothing changed.
    Reject {
        /// Who sent it.
        from: Party,
        /// Which check failed, and whom it speaks against.
        refusal: Refusal,
    },
    /// Something to report.
    Event(Event),
    /// The server cannot take its next step; [`Input::Retry`] tries again.
    Failed(Fault),
    /// The machine is done; it still answers messages that come again.
    Done(Outcome),
}

/// A message that holds a part of every contribution of U. It is the same whenever it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// [`Message::Package`]: another one for each member.
    Package,
    /// [`Message::RowsRequest`]: the same for all members that are asked for this slice.
    Rows {
        /// The slice.
        slice: u16,
    },
}

/// What a driver tells the server's machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// A verified contribution whose body is durable in the body store.
    Contribution {
        /// Only verification makes one.
        contribution: VerifiedContribution,
        /// The digest under which the body is stored.
        body: Digest,
    },
    /// A contribution that verification refused: its client is convicted if it signed what was refused.
    Invalid {
        /// The header as it came.
        header: Header,
        /// The body's bytes.
        body: Bytes,
        /// What verification said.
        refusal: Refusal,
    },
    /// A message as it came.
    Message {
        /// The sender as far as the transport knows it; messages are judged by their signatures alone.
        from: Party,
        /// The message.
        message: Message,
    },
    /// The time for contributions is over: propose if they are enough, else go on taking them.
    DeadlineReached,
    /// Declare the round void; refused once everything that fixes the convicted dealers is on disk.
    DeclareVoid,
    /// A member does not answer: hand its row slices to others.
    MemberSilent(MemberIndex),
    /// Send again every request that is not answered.
    Retry,
}

/// Whether a contribution is worth its body's verification.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Read the body, verify it, store it, then give it to [`crate::ServerRound::handle`].
    Verify,
    /// It is durable already: this is its receipt.
    Known(Box<Signed<ReceiptContent>>),
    /// Refused; the outputs say why and hold what is to be persisted.
    Refused(Vec<Output>),
}

/// Why the server cannot go on; never a verdict about anybody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The body of a contribution is missing from the body store, or is not the one that the header names.
    #[error("the stored body of {client} is missing or damaged; restore it and try again")]
    Body {
        /// Whose.
        client: ClientId,
    },
    /// The sum does not open although every proof verified.
    #[error("the sum does not open: {0}; keep the log, this is a defect")]
    Open(OpenError),
    /// R does not fit the commitments although every share sum did.
    #[error(
        "the reconstructed secret does not fit the commitments; keep the log, this is a defect"
    )]
    Secret,
}

/// Why a log does not give back a machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log is empty, or does not begin with the announcement.
    #[error("the log holds no announcement; start the round anew")]
    Empty,
    /// A record that this role does not write, or does not write here.
    #[error(
        "record {record} with tag {tag:#04x} cannot stand at its place; this is not the log of this machine"
    )]
    Unexpected {
        /// Which one, from 0.
        record: usize,
        /// Its tag.
        tag: u8,
    },
    /// A record that the machine would not have accepted.
    #[error("record {record}: {refusal}; this is the log of another round, or it was changed")]
    Refused {
        /// Which one, from 0.
        record: usize,
        /// Why.
        refusal: Refusal,
    },
    /// What a record needs is not there.
    #[error("record {record}: {fault}")]
    Fault {
        /// Which one, from 0.
        record: usize,
        /// What is missing.
        fault: Fault,
    },
}

/// Where the driver keeps the bodies of contributions, which are too large for the machine: read again when a dealer is
/// convicted and when a log is replayed.
pub trait BodySource {
    /// The bytes that are stored under a digest; none when they are missing.
    fn read(&mut self, body: &Digest) -> Option<Vec<u8>>;

    /// Whether the machine keeps what it proved ([`crate::ServerRound::evidence`]). A driver that writes every
    /// [`Event::Evidence`] down says no: with the bodies of refused contributions in it, memory would grow with their number.
    fn keeps_evidence(&self) -> bool {
        true
    }
}

/// The outputs of one call, in order. While a log is replayed nothing is collected: what a record made happen then has
/// happened already.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    list: Vec<Output>,
    replaying: bool,
}

impl Outputs {
    pub(crate) fn replaying() -> Self {
        Self {
            list: Vec::new(),
            replaying: true,
        }
    }
    fn push(&mut self, output: Output) {
        if !self.replaying {
            self.list.push(output);
        }
    }
    pub(crate) fn persist(&mut self, record: Record) {
        self.push(Output::Persist(record));
    }
    pub(crate) fn send(&mut self, to: Party, message: Message) {
        self.push(Output::Send { to, message });
    }
    pub(crate) fn owe(&mut self, to: MemberIndex, what: Owed) {
        self.push(Output::Owe { to, what });
    }
    pub(crate) fn reject(&mut self, from: Party, refusal: Refusal) {
        self.push(Output::Reject { from, refusal });
    }
    pub(crate) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }
    pub(crate) fn failed(&mut self, fault: Fault) {
        self.push(Output::Failed(fault));
    }
    pub(crate) fn done(&mut self, outcome: Outcome) {
        self.push(Output::Done(outcome));
    }
    pub(crate) fn into_list(self) -> Vec<Output> {
        self.list
    }
}
