//! What a file is that was given for another, and which command takes it.

use std::path::Path;

use veilsum::protocol::Document;
use veilsum::store::{LOG_FILE, RealDisk, Records, Role};
use veilsum::wire::{RosterContent, Signed, Wire};
use veilsum::{are_answers, client_dir};

/// The first bytes of a log.
pub(crate) const LOG_MAGIC: &[u8] = b"VEILSUML";
/// The first bytes of a file with a key, or with a request that is signed by keys.
pub(crate) const KEY_MAGIC: &[u8] = b"veilsum-key 1 ";

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Log,
    Key,
    Answers,
    Evidence,
    RosterOfTranscript,
    Published,
    Roster,
}

impl Holds {
    /// What these bytes are, as far as they say so and are whole; a log, a key and answers say so by how they begin.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(LOG_MAGIC) {
            return Some(Self::Log);
        }
        if bytes.starts_with(KEY_MAGIC) {
            return Some(Self::Key);
        }
        if are_answers(bytes) {
            return Some(Self::Answers);
        }
        if let Ok(document) = Document::from_file(bytes) {
            return Some(Self::of_document(&document));
        }
        let roster = Signed::<RosterContent>::from_bytes(bytes);
        roster.is_ok().then_some(Self::Roster)
    }

    pub(crate) fn of_document(document: &Document) -> Self {
        match document {
            Document::RosterOf { .. } => Self::RosterOfTranscript,
            Document::Accusation { .. } | Document::TwoRosters { .. } => Self::Evidence,
            Document::Published { .. } => Self::Published,
        }
    }

    /// What it is, in a few words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Log => "a log",
            Self::Key => "a file with a key or a request to join",
            Self::Answers => "what a server answers about a round that is over",
            Self::Evidence => "evidence",
            Self::RosterOfTranscript => "the roster of a transcript",
            Self::Published => "a published result",
            Self::Roster => "a roster",
        }
    }

    /// Which command takes it.
    pub(crate) fn use_of(self) -> &'static str {
        match self {
            Self::Log => {
                "`veilsum audit` takes the directory that a server's log is in, and `veilsum inspect` shows any"
            }
            Self::Answers | Self::RosterOfTranscript => {
                "`veilsum audit` takes the directory that it is in, and `veilsum inspect` shows it"
            }
            Self::Evidence => "`veilsum audit` judges it",
            Self::Published => "`veilsum check` checks it",
            Self::Key | Self::Roster => "`veilsum inspect` shows what is in it",
        }
    }
}

/// Whether this is the state directory of a client.
pub(crate) fn is_clients(dir: &Path) -> bool {
    client_dir(dir).join(LOG_FILE).exists()
}

/// Whose log is in a directory; none where there is no log, or one that cannot be read at all.
pub(crate) fn role_of(dir: &Path) -> Option<Role> {
    let log = Records::open(&RealDisk, &dir.join(LOG_FILE));
    Some(log.ok()?.identity().role)
}
