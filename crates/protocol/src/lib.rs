//! Sans-IO state machines of client, committee member and server; checks and evidence (`specs/protocol.md`).
//!
//! Nothing here opens a socket, reads a clock or a file, or draws randomness of its own. A machine takes messages and
//! gives back outputs *in order*: a driver makes every [`Output::Persist`] durable before it acts on any output after it.

mod certificate;
mod check;
#[cfg(feature = "machines")]
mod client;
mod complaint;
mod context;
mod contribution;
mod evidence;
mod file;
mod header;
mod judge;
mod large;
mod light;
#[cfg(feature = "machines")]
mod machine;
#[cfg(feature = "machines")]
mod member;
mod open;
mod record;
mod request;
#[cfg(feature = "machines")]
mod server;
#[cfg(feature = "machines")]
mod set;

pub use certificate::{FinalTerms, check_certificate, check_finals, strictly_increasing};
pub use check::{Blame, Check, CheckInfo, EvidenceKind};
#[cfg(feature = "machines")]
pub use client::{Client, ClientConfig, ClientError, Update};
pub use complaint::{Verdict, check_share_path, complain, judge_complaint, open_share};
pub use context::{ContextError, Refusal, RoundContext};
pub use contribution::{
    BuildError, CheckedHeader, VerifiedContribution, build_contribution, build_with_key,
    check_body, check_digests, decode_body, proof_challenges, row_leaf, share_leaf, verify_checked,
    verify_contribution, verify_contributions,
};
pub use evidence::{Evidence, MemberStatement, ServerStatement};
pub use file::{
    AccusationError, ConvictedRegistrar, Document, FILE_MAGIC, FILE_VERSION, FileError, Pins,
    PublishedError, judge_file,
};
pub use header::{check_header, check_header_content};
pub use judge::{Conviction, Culprit, JudgeError, first_wrong_row, judge, judge_with};
pub use large::{LargePart, LargePartError};
pub use light::{light_check, rows_open};
#[cfg(feature = "machines")]
pub use machine::{
    Admission, BodySource, Event, Fault, Input, Message, Outcome, Output, Owed, Party, ReplayError,
    Upload,
};
#[cfg(feature = "machines")]
pub use member::Member;
pub use open::{OpenError, RoundSums};
pub use record::{Bytes, Record};
pub use request::{check_header_sender, check_request, sign_request};
#[cfg(feature = "machines")]
pub use server::{Phase, ServerRound, place_in};
