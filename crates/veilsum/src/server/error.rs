//! What can keep a server from running a round.

use thiserror::Error;
use veilsum_encoding::EncodingError;
use veilsum_proof::ProofError;
use veilsum_protocol::{ContextError, Fault, Refusal, ReplayError};
use veilsum_store::StoreError;
use veilsum_transport::BindError;

use crate::journal::JournalError;
use crate::keys::KeyError;
use crate::rosters::RosterMemoryError;

/// Why a server could not start or a round could not end.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Address, spool or bounds of the transport.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The log or the bodies.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log of the round holds what this version cannot read.
    #[error(transparent)]
    Journal(JournalError),
    /// The log of the round does not fit together.
    #[error("the log of the round cannot be replayed: {0}")]
    Replay(#[from] ReplayError),
    /// The round cannot go on: a stored body is gone, or the sum does not open.
    #[error("the round cannot go on: {0}")]
    Fault(#[from] Fault),
    /// The server's key is not the one that the parameters name.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The server's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The parameters of the round, or what follows from them and the roster.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The tables of the proof could not be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The parameters allow no encoder.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The system gives no threads for [`verifiers`](super::ServerOptions::verifiers).
    #[error("the system gives no {count} threads for verification: make `verifiers` smaller")]
    Threads {
        /// Those asked for.
        count: usize,
    },
    /// A roster that new rounds must not be announced under, or what is remembered of earlier ones.
    #[error("the server's roster: {0}")]
    Roster(#[from] RosterMemoryError),
    /// The roster of another registrar than the one that the server was started with.
    #[error(
        "the roster is signed by another registrar: start the server with that registrar's public file"
    )]
    OtherRegistrar,
    /// The round id was used up.
    #[error(
        "round {round_id} was run already, perhaps by another task, and is never run again: take the next number"
    )]
    RoundUsed {
        /// The round.
        round_id: u64,
    },
    /// The state directory holds the round with other parameters.
    #[error(
        "round {round_id} was announced with other parameters: restore the configuration, or take the next number"
    )]
    OtherParams {
        /// The round.
        round_id: u64,
    },
    /// A part of the round would be larger than the file or record that it is kept in (`specs/log.md`, "Limits").
    #[error(
        "round {round_id} does not fit: its {part} may take {bytes} bytes, and {max} are kept; make dim or the cohort smaller"
    )]
    RoundTooLarge {
        /// The round.
        round_id: u64,
        /// Which part of it.
        part: &'static str,
        /// What it takes at most.
        bytes: u64,
        /// What is kept at most.
        max: u64,
    },
    /// Two tasks of one server would have the same name or state directory.
    #[error("task {name:?} and another one have the same name or state directory: give it its own")]
    TaskTaken {
        /// The name.
        name: String,
    },
    /// The round has no result.
    #[error(
        "the round is void: too few clients contributed, or too few members helped to close it"
    )]
    Void,
    /// A defect of this library.
    #[error(
        "internal error: a task of the server ended unexpectedly; start it again, and report this"
    )]
    Internal,
}

impl From<JournalError> for ServerError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Store(error) => Self::Store(error),
            other => Self::Journal(other),
        }
    }
}

impl ServerError {
    pub(crate) fn from_failure(failure: Option<StoreError>) -> Self {
        failure.map_or(Self::Internal, Self::Store)
    }

    /// Whether parameters or usage are to be changed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Key(_)
                | Self::Refusal(_)
                | Self::Context(_)
                | Self::Proof(_)
                | Self::Encoding(_)
                | Self::RoundUsed { .. }
                | Self::OtherParams { .. }
                | Self::RoundTooLarge { .. }
                | Self::TaskTaken { .. }
                | Self::OtherRegistrar
                | Self::Bind(BindError::Config(_))
        )
    }

    /// Whether bytes that were signed or stored do not hold together.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Journal(_) | Self::Replay(_) | Self::Fault(_) => true,
            Self::Roster(error) => error.is_verification(),
            _ => false,
        }
    }
}
