//! Servers that cheat. The cheating one is a relay in front of an honest one: it holds the server's keys, answers the clients
//! in the server's name, and signs whatever it changed again, so that only the check that is meant to notice can notice.

mod front;
mod lies;
mod said;

use std::sync::Arc;

use veilsum::params::ClientId;
use veilsum::protocol::{EvidenceKind, RoundContext};

pub(crate) use front::{Front, FrontOptions};

/// What a cheating server does, in every round until it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheatingServer {
    /// Publishes a sum that the row sums contradict.
    WrongSum,
    /// Gives a receipt and leaves the contribution out.
    DropsReceipted,
    /// Shows one member another proposal than all others.
    TwoProposals,
    /// Shows one client another result than all others.
    TwoResults,
    /// Gives an accomplice a receipt for an update over the norm bound, and sums it.
    AcceptsInvalid,
    /// Publishes a wrong sum and the row sum that fits it, signed by an accomplice on the committee.
    WrongRowSum,
}

impl CheatingServer {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::WrongSum,
        Self::DropsReceipted,
        Self::TwoProposals,
        Self::TwoResults,
        Self::AcceptsInvalid,
        Self::WrongRowSum,
    ];

    /// The name that the command line uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongSum => "wrong-sum",
            Self::DropsReceipted => "drops-receipted",
            Self::TwoProposals => "two-proposals",
            Self::TwoResults => "two-results",
            Self::AcceptsInvalid => "accepts-invalid",
            Self::WrongRowSum => "wrong-row-sum",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it does, in plain words.
    #[must_use]
    pub const fn deed(self) -> &'static str {
        match self {
            Self::WrongSum => "publishes a sum that is one off in one coordinate",
            Self::DropsReceipted => "gives one client a receipt and leaves its contribution out",
            Self::TwoProposals => "shows one committee member another set of contributions",
            Self::TwoResults => "shows one client another result",
            Self::AcceptsInvalid => {
                "sums an accomplice's update that is longer than the norm bound allows"
            }
            Self::WrongRowSum => {
                "publishes a wrong sum, and a committee member signs the row sum that fits it"
            }
        }
    }

    /// The evidence that it is to be convicted by.
    #[must_use]
    pub const fn evidence(self) -> EvidenceKind {
        match self {
            Self::WrongSum => EvidenceKind::WrongResult,
            Self::DropsReceipted => EvidenceKind::ReceiptWithoutInclusion,
            Self::TwoProposals | Self::TwoResults => EvidenceKind::ServerEquivocation,
            Self::AcceptsInvalid => EvidenceKind::ReceiptForInvalid,
            Self::WrongRowSum => EvidenceKind::WrongRowSum,
        }
    }

    /// What is added to the first coordinate of the sum that is published to all.
    pub(crate) const fn added_to_sum(self) -> i64 {
        match self {
            Self::WrongSum | Self::WrongRowSum => lies::ADDED,
            _ => 0,
        }
    }
}

/// A round, and who plays which part in it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) kind: CheatingServer,
    pub(crate) context: Arc<RoundContext>,
    /// An honest client, to which the server lies.
    pub(crate) victim: ClientId,
    /// A client that helps the server.
    pub(crate) accomplice: ClientId,
}
