//! What can keep a demo from running.

use std::path::PathBuf;

use thiserror::Error;
use veilsum::crypto::CryptoError;
use veilsum::encoding::EncodingError;
use veilsum::params::ParameterError;
use veilsum::proof::ProofError;
use veilsum::store::StoreError;
use veilsum::wire::{AdmitError, RosterError};
use veilsum::{ClientError, KeyError, ServerError};

use crate::forge::ForgeError;
use crate::learning::LearningError;
use crate::plan::PlanError;

/// Why a demo did not run to its end.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum DemoError {
    /// It cannot be run as asked for.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The directory has something in it that no demo wrote.
    #[error("{} is not empty, and no demo made it: nothing was touched; choose a new or an empty directory with --out", path.display())]
    OutUsed {
        /// The directory.
        path: PathBuf,
    },
    /// The directory could not be made or cleared.
    #[error("{}: {kind}: check that it may be written, or choose another directory with --out", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        kind: std::io::ErrorKind,
    },
    /// Data, training or evaluation.
    #[error(transparent)]
    Learning(#[from] LearningError),
    /// The server.
    #[error("server: {0}")]
    Server(#[from] ServerError),
    /// A client.
    #[error("client: {0}")]
    Client(#[from] ClientError),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An attacker's forgery.
    #[error("attacker: {0}")]
    Forge(#[from] ForgeError),
    /// Keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The roster.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// A request to join.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// Parameters.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// Encoding.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The address of a cheating server.
    #[error("cheating server: {0}")]
    Bind(#[from] veilsum::transport::BindError),
    /// The parameters and the roster.
    #[error(transparent)]
    Context(#[from] veilsum::protocol::ContextError),
    /// A log that was kept.
    #[error(transparent)]
    Journal(#[from] veilsum::JournalError),
    /// Tables.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Group arithmetic.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A task ended unexpectedly.
    #[error(
        "internal error: a task of the demo ended unexpectedly; run with RUST_LOG=debug and report this"
    )]
    Task,
}

impl DemoError {
    /// Whether the options are to be changed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Plan(_) | Self::OutUsed { .. } | Self::Parameters(_)
        )
    }
}
