//! What can keep a client from taking part to the end.

use thiserror::Error;
use veilsum_encoding::EncodingError;
use veilsum_proof::ProofError;
use veilsum_protocol::{ClientError as MachineError, Refusal, ReplayError};
use veilsum_store::StoreError;
use veilsum_transport::ClientError as TransportError;
use veilsum_wire::RosterError;

use crate::epochs::EpochError;
use crate::journal::JournalError;
use crate::keys::KeyError;
use crate::requests::RequestError;
use crate::rosters::RosterMemoryError;

/// Why a client could not take part to the end.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No usable answer from the server.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The client's own logs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log holds what this version cannot read.
    #[error(transparent)]
    Journal(JournalError),
    /// The log of a committee member does not fit together.
    #[error("the log of the committee member cannot be replayed: {0}")]
    Replay(#[from] ReplayError),
    /// The server's roster is not the registrar's.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The server shows an older roster than before, or another one of the same version; or what is remembered of rosters
    /// cannot be read.
    #[error(transparent)]
    Rosters(#[from] RosterMemoryError),
    /// The round, the update or a message of the server was refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Committee duty was refused.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The tables of the proof could not be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The update cannot be encoded.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The client's keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its share keys by epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// Nothing more was heard that would have ended the wait.
    #[error("waited {seconds} seconds for {what}: check that the server runs, or wait longer")]
    Patience {
        /// For what.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// The contribution to a round has no receipt and cannot be sent again: its body beside the log is not what was stored.
    #[error(
        "round {round}: this client has contributed to it and cannot send the contribution again: {cause}. Put that file back from a copy and start again, or join a later round (`--after {round}`); to this one it makes no other contribution, which would convict it"
    )]
    Unsendable {
        /// The round.
        round: u64,
        /// What is wrong with the body.
        cause: Box<StoreError>,
    },
    /// The round has no result; the update is spent.
    #[error(
        "the server declared the round void: the update is spent, train again for the next round"
    )]
    Void,
    /// The server says that it took the contribution no more, and gave no receipt; nothing that it signed says so.
    #[error(
        "the server says that round {round} closed before the contribution of this client arrived, and gave no receipt: by its word nothing of it was accepted, and the sum is without it. The update is spent: train again, and join a later round (`--after {round}`)"
    )]
    Closed {
        /// The round.
        round: u64,
    },
    /// The server shows a round that is not above the one that the client asked to go on after.
    #[error(
        "the server announced round {shown} to a client that asked for one after round {after}: it is refused; ask the operator, no honest server does this"
    )]
    OldRound {
        /// What was asked.
        after: u64,
        /// What was announced.
        shown: u64,
    },
    /// A void declaration that the server did not sign, or for another round.
    #[error("the server's declaration that the round is void is not signed by it for this round")]
    VoidSignature,
    /// A defect of this library.
    #[error(
        "internal error: a task of the client ended unexpectedly; start it again, and report this"
    )]
    Internal,
}

impl From<TransportError> for ClientError {
    fn from(error: TransportError) -> Self {
        Self::Request(error.into())
    }
}

impl From<JournalError> for ClientError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Store(error) => Self::Store(error),
            other => Self::Journal(other),
        }
    }
}

impl ClientError {
    /// Whether input or usage is to be changed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Encoding(_)
                | Self::Key(_)
                | Self::Epoch(_)
                | Self::Proof(_)
                | Self::Request(RequestError::NoTask { .. })
        )
    }

    /// Whether nothing is wrong but that the server or the others were not heard in time: a client that is started again goes on.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::Patience { .. }
                | Self::Request(
                    RequestError::Storage
                        | RequestError::Busy { .. }
                        | RequestError::Transport(
                            TransportError::Deadline { .. }
                                | TransportError::Unreachable { .. }
                                | TransportError::ConnectionLost { .. }
                                | TransportError::Refused { .. }
                        )
                )
        )
    }

    /// Whether something that was signed, stored or published does not verify.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Rosters(error) => return error.is_verification(),
            Self::Request(RequestError::Transport(error)) => return error.is_key_mismatch(),
            Self::Unsendable { cause, .. } => {
                return matches!(
                    **cause,
                    StoreError::BodyMismatch { .. } | StoreError::TooLarge { .. }
                );
            }
            _ => {}
        }
        matches!(
            self,
            Self::Journal(_)
                | Self::Replay(_)
                | Self::Roster(_)
                | Self::Machine(_)
                | Self::Refusal(_)
                | Self::VoidSignature
                | Self::OldRound { .. }
                | Self::Request(RequestError::Refused(_))
        )
    }
}
