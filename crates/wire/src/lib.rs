//! Messages, the canonical codec, and size limits (`specs/wire.md`).
//!
//! Only this crate turns bytes into messages. Every value has exactly one encoding: decoding what was encoded gives the
//! value, encoding what was decoded gives the bytes. Integers are little-endian, points and scalars canonical, lists carry
//! a count that is checked against the bytes that are there before anything is allocated, trailing bytes are refused.
#![warn(clippy::indexing_slicing)]

mod beacon;
mod codec;
mod contribution;
mod enrol;
mod join;
mod messages;
mod params;
mod roster;
mod signed;
mod start;
mod table;

pub use beacon::{
    BeaconCommitContent, BeaconError, BeaconList, BeaconProof, BeaconReveal, BeaconRevealContent,
    BeaconRule, BeaconSource, PARTICIPANTS_MAX, beacon_commitment, beacon_list_digest,
    least_participants,
};
pub use codec::{Reader, Wire, WireError};
pub use contribution::{Body, Contribution, Header, HeaderContent, slice_rows};
pub use enrol::{Admission, AdmitError, EpochOrder, RevokeError, RosterDraft};
pub use join::{JoinContent, JoinError, ROLE_CLIENT};
pub use messages::*;
pub use params::{ROUND_PARAMS_FIELDS, params_digest};
pub use roster::{
    Roster, RosterContent, RosterEntry, RosterError, ShareKeyContent, cohort_and_committee,
};
pub use signed::{Content, Signed};
pub use start::{Published, StartError};
pub use table::{MESSAGES, MessageInfo};
