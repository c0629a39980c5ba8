use thiserror::Error;
use veilsum_crypto::CryptoError;
use veilsum_params::ParameterError;
use veilsum_proof::ProofError;
use veilsum_protocol::{BuildError, ClientError, ContextError, Refusal, ReplayError};
use veilsum_rlwe::MaskError;
use veilsum_store::StoreError;
use veilsum_wire::{RosterError, WireError};

/// Why a simulation cannot be set up or carried on; never what an adversary did.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SimError {
    /// The set-up's parameters are refused.
    #[error(transparent)]
    Params(#[from] ParameterError),
    /// The round's context is refused.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The roster is refused.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// The prover's tables cannot be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A contribution cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A cryptographic step failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Masking refused.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// An honest machine refused to start.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A machine does not come back from its own log.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A log is damaged in a way that no crash explains.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record that a machine wrote does not decode.
    #[error(transparent)]
    Record(#[from] WireError),
    /// A client does not come back from its own log.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The world has no such client or member.
    #[error("no such party in this world: {0}")]
    NoParty(veilsum_protocol::Party),
}
