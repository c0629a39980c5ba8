//! Round parameters and the derivation of every constant from them, in integers.
//!
//! Nothing that a verifier relies on is ever taken from a message: everybody recomputes it from the [`RoundParams`] that
//! the round was announced with (`specs/parameters.md`). This crate does no input or output, knows no clock and no
//! cryptography; `veilsum-wire` gives the parameters their bytes and their digest.

mod error;
mod layout;
mod round;
mod size;

pub use error::ParameterError;
pub use layout::{
    Layout, Masked, Mode, PROJECTIONS, RING_DEGREE, SIGMA_E_LOG2, SIGMA_S, SLACK_BITS_GAMMA,
};
pub use round::{
    Beacon, ClientId, GENERATOR_SET, MemberIndex, MemberSlot, PROTOCOL_VERSION, Policy,
    RoundParams, limits,
};
pub use size::{COMPRESSED_BYTES, SHARE_CIPHERTEXT_BYTES, UploadSizes};
