use std::collections::BTreeMap;
use veilsum_params::{ClientId, MemberIndex};
use veilsum_protocol::Party;

/// Some parties that the server cannot reach for a while, nor they it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First tick of it.
    pub from: u64,
    /// First tick after it.
    pub until: u64,
    /// Bit i for the client at place i of the cohort, bit 32 + j for member j.
    pub parties: u64,
}

impl Cut {
    /// Whether a party is cut off at a tick.
    pub fn holds(&self, cohort: &[ClientId], party: Party, now: u64) -> bool {
        let bit = match party {
            Party::Server => return false,
            Party::Client(client) => cohort.binary_search(&client).unwrap_or(31).min(31),
            Party::Member(MemberIndex(j)) => 32 + usize::from(j.min(31)),
        };
        (self.from..self.until).contains(&now) && self.parties >> bit & 1 == 1
    }
}

/// What the network, the machines, their disks and their clocks suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A message takes 1 to this many ticks; more than 1 reorders.
    pub delay: u64,
    /// Messages in 1000 that are lost.
    pub lost: u32,
    /// Messages in 1000 that come twice.
    pub doubled: u32,
    /// Messages in 1000 of which one bit is flipped on the way.
    pub garbled: u32,
    /// Parties that are cut off for a while.
    pub cut: Option<Cut>,
    /// Clocks run apart: every party waits up to this many ticks longer before it tries again, the server's deadline and
    /// patience included.
    pub skew: u64,
    /// The server stops for ever short of one tick after this many records, and comes back from its log.
    pub server_stops_after: Option<usize>,
    /// In 1000: members that stop after a message, everything on disk and nothing sent, and come back from their log.
    pub member_stops: u32,
    /// In 1000: clients that stop after a message and come back from their log.
    pub client_stops: u32,
    /// In 1000 changes of a disk: there the machine stops and what was not durable is lost or torn, or the disk fails or is
    /// full, and the process comes back later.
    pub disk: u32,
}

impl Faults {
    /// A network that delivers everything once, in order.
    pub const NONE: Self = Self {
        delay: 1,
        lost: 0,
        doubled: 0,
        garbled: 0,
        cut: None,
        skew: 0,
        server_stops_after: None,
        member_stops: 0,
        client_stops: 0,
        disk: 0,
    };
    /// A network that loses a tenth, doubles a tenth and reorders; members stop now and then.
    pub const ROUGH: Self = Self {
        delay: 9,
        lost: 100,
        doubled: 100,
        member_stops: 50,
        ..Self::NONE
    };
}

/// A kind of fault, as reports count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Injected {
    /// A message took longer than a tick.
    Delayed,
    /// A message was overtaken by a later one of the same sender.
    Reordered,
    /// A message was lost.
    Lost,
    /// A message came twice.
    Doubled,
    /// A bit of a message was flipped.
    Garbled,
    /// A message of or to a party that was cut off.
    CutOff,
    /// A party whose clock ran apart.
    Skewed,
    /// The server stopped.
    ServerStopped,
    /// A member stopped.
    MemberStopped,
    /// A client stopped.
    ClientStopped,
    /// A machine stopped in the middle of writing.
    Torn,
    /// Records that were written, and not durable, were gone after that.
    TailLost,
    /// A disk failed.
    DiskFailed,
    /// A disk was full.
    DiskFull,
}

impl Injected {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Delayed,
        Self::Reordered,
        Self::Lost,
        Self::Doubled,
        Self::Garbled,
        Self::CutOff,
        Self::Skewed,
        Self::ServerStopped,
        Self::MemberStopped,
        Self::ClientStopped,
        Self::Torn,
        Self::TailLost,
        Self::DiskFailed,
        Self::DiskFull,
    ];

    /// The name that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Reordered => "reordered",
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Garbled => "garbled",
            Self::CutOff => "cut-off",
            Self::Skewed => "clock-skew",
            Self::ServerStopped => "server-stopped",
            Self::MemberStopped => "member-stopped",
            Self::ClientStopped => "client-stopped",
            Self::Torn => "torn-write",
            Self::TailLost => "tail-lost",
            Self::DiskFailed => "disk-failed",
            Self::DiskFull => "disk-full",
        }
    }
}

/// How often each kind of fault happened.
pub type Counts = BTreeMap<Injected, u64>;
