//! Replays the transcript of a round without trust in its server (`specs/protocol.md`, "Checking the server").
//!
//! The transcript is a directory: the closed log of the server, the bodies beside it, the roster, evidence files. An audit
//! reads all of it, checks every statement by its signature and against everything before it, verifies every proof, adds up
//! what was committed to and compares it with the result. It goes on after a fault and reports all that it finds.
//!
//! Nothing here runs, or depends on, the machines of the parties: `veilsum-protocol` is used without them.

mod bodies;
mod error;
mod fault;
mod html;
mod read;
mod replay;
mod report;

pub use error::AuditError;
pub use fault::{Fault, FaultKind};
pub use html::html;
pub use report::{Convicted, MemberPart, Outcome, Part, Report, Sizes, Step, Verdict};

use std::path::Path;
use std::sync::Arc;
use veilsum_protocol::Pins;
use veilsum_store::Disk;

/// The file with the roster in a transcript's directory.
pub const ROSTER_FILE: &str = "roster.veilsum";

/// The file beside a log from which the server answers about a round that has ended. It holds nothing that the log does not
/// decide, and no verdict rests on it.
pub const ANSWERS_FILE: &str = "answers.veilsum";

/// How far an audit is: of `total` contributions `done` are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Contributions verified.
    pub done: usize,
    /// Contributions in the transcript.
    pub total: usize,
}

/// What to audit, and against what.
pub struct Options<'a> {
    /// Settle the sum only: no proof of a norm is verified and nothing is decoded.
    pub sum_only: bool,
    /// Keys that are known from elsewhere.
    pub pins: Pins,
    /// Fresh local randomness, drawn after the transcript is there: weights of folded checks come from it.
    pub seed: [u8; 32],
    /// Told now and then.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// Audits the transcript in `dir`. What is wrong with the transcript is in the report; only what keeps an auditor from
/// reading it is an error. Memory: the log, and a few contributions at a time.
///
/// # Errors
/// [`AuditError`].
pub fn audit(disk: Arc<dyn Disk>, dir: &Path, options: &Options<'_>) -> Result<Report, AuditError> {
    let transcript = read::Transcript::read(disk, dir, options)?;
    Ok(replay::replay(transcript, options))
}
