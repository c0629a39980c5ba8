//! Files of the beacon: what participants and collectors hand on, and what they keep (`specs/log.md`, "Files of the beacon").

use std::path::{Path, PathBuf};

use thiserror::Error;
use veilsum::params::ClientId;
use veilsum::protocol::Check;
use veilsum::store::{Disk, RealDisk, StoreError, read_bounded, read_private, write_public};
use veilsum::wire::{BeaconError, Wire, WireError};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"VEILSUMB";
const VERSION: u16 = 1;
const FRONT: usize = MAGIC.len() + 2 + 1;
const CHECK_LEN: usize = 32;
/// Longest file about a beacon in bytes: a list of 256 commitments has 36 KB, a round of drand less than one.
pub(super) const FILE_MAX: u64 = 1 << 18;

/// What is wrong with a file about the beacon, or with what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum BeaconFileError {
    /// It could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is none.
    #[error("{}: this is no file of a beacon, or it is cut off", path.display())]
    Format { path: PathBuf },
    /// A later version wrote it.
    #[error("{}: the file has format {found}, this program reads format {VERSION}: use the version that wrote it", path.display())]
    Version { path: PathBuf, found: u16 },
    /// Its bytes were changed.
    #[error("{}: the file is damaged (its check value does not fit): get it again", path.display())]
    Damaged { path: PathBuf },
    /// Another file of a beacon.
    #[error("{}: this file holds a {found}, a {expected} is needed", path.display())]
    Kind {
        path: PathBuf,
        expected: &'static str,
        found: &'static str,
    },
    /// Whole, and not what it says.
    #[error("{}: {cause}", path.display())]
    Content { path: PathBuf, cause: WireError },
    /// Not what drand publishes.
    #[error("{}: line {line}: this is no round as drand publishes it (JSON with round and signature): {what}", path.display())]
    Json {
        path: PathBuf,
        line: usize,
        what: String,
    },
    /// Not hexadecimal.
    #[error("{}: {field} is not hexadecimal", path.display())]
    Hex { path: PathBuf, field: &'static str },
    /// Another beacon round than the one that is asked for.
    #[error("{}: {}: this is beacon round {found}, beacon round {want} is needed", path.display(), Check::AnnouncementSchedule)]
    Round {
        path: PathBuf,
        found: u64,
        want: u64,
    },
    /// It does not prove a value of the roster's beacon.
    #[error("{}: {}: beacon round {round}: {cause}", path.display(), Check::AnnouncementBeacon)]
    Refused {
        path: PathBuf,
        round: u64,
        cause: BeaconError,
    },
    /// The roster's values come from somewhere else.
    #[error("the roster's beacon is no commit and reveal: there is nothing to commit to")]
    NoParticipants,
    /// Not among those who draw.
    #[error("{client} is no participant of the roster's beacon")]
    NotParticipant { client: ClientId },
    /// Not the key that the roster has.
    #[error("the roster has another identity key of {client} than this key file")]
    OtherKey { client: ClientId },
    /// Nothing is remembered of this key here.
    #[error("{}: {client} has no memory here: if it has taken part before, with this key, name the memory that it had (a second one would let it reveal twice, and costs the beacon its value); if it never has, make one with `veilsum beacon init`", path.display())]
    NoMemory { path: PathBuf, client: ClientId },
    /// Nothing to reveal.
    #[error("{}: there is no commitment to beacon round {round}: `veilsum beacon commit` comes first, with the same key and memory", path.display())]
    NotCommitted { path: PathBuf, round: u64 },
    /// The list has not what was committed to.
    #[error("{}: the list has not the commitment of {client} that this key file made: it is for another list", path.display())]
    NotListed { path: PathBuf, client: ClientId },
    /// Revealed already, for another list: the value would not be the only one.
    #[error(
        "beacon round {round} was revealed for another list already: a participant reveals for one list, ever"
    )]
    Revealed { round: u64 },
    /// A value of this round is there, and it is another one.
    #[error("{}: another value of this beacon round is there already", path.display())]
    OtherValue { path: PathBuf },
    /// No name for a round that has no number.
    #[error("round {round_id} comes before the first round of the roster's beacon")]
    BeforeFirst { round_id: u64 },
}

impl BeaconFileError {
    /// The check that members and clients would make.
    pub(crate) fn check(&self) -> Option<Check> {
        match self {
            Self::Round { .. } => Some(Check::AnnouncementSchedule),
            Self::Refused { .. } => Some(Check::AnnouncementBeacon),
            _ => None,
        }
    }

    /// Whether it is the bytes of a file that show it to be no value of the beacon round, in place of a disk that does not give
    /// them or a program that is too old for them.
    pub(crate) fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::TooLarge { .. })
                | Self::Format { .. }
                | Self::Damaged { .. }
                | Self::Kind { .. }
                | Self::Content { .. }
                | Self::Json { .. }
                | Self::Hex { .. }
                | Self::Round { .. }
                | Self::Refused { .. }
        )
    }

    /// Whether something does not verify, in place of being no such thing at all.
    pub(crate) fn is_verification(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Round { .. }
                | Self::Refused { .. }
                | Self::NotListed { .. }
                | Self::Revealed { .. }
                | Self::OtherValue { .. }
        )
    }
}

/// What a file of a beacon holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Signed<BeaconCommitContent>`.
    Commitment = 1,
    /// `BeaconList`.
    List = 2,
    /// `Signed<BeaconRevealContent>`.
    Reveal = 3,
    /// The beacon round and `BeaconProof`.
    Value = 4,
    /// Kept: the secret behind a commitment.
    Secret = 5,
    /// Kept: the list for which a participant reveals.
    Choice = 6,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Commitment,
        Self::List,
        Self::Reveal,
        Self::Value,
        Self::Secret,
        Self::Choice,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Commitment => "commitment",
            Self::List => "list of commitments",
            Self::Reveal => "reveal",
            Self::Value => "value",
            Self::Secret => "secret of a participant",
            Self::Choice => "choice of a participant",
        }
    }
}

fn check_value(bytes: &[u8]) -> [u8; CHECK_LEN] {
    *blake3::Hasher::new_derive_key("veilsum/v1 beacon file")
        .update(bytes)
        .finalize()
        .as_bytes()
}

/// The bytes of a file.
pub(crate) fn seal(kind: Kind, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FRONT + content.len() + CHECK_LEN));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(content);
    let check = check_value(&bytes);
    bytes.extend_from_slice(&check);
    bytes
}

/// Whether these are the bytes of such a file, of whatever version and kind.
pub(crate) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// What a file of this kind holds.
pub(crate) fn unseal<T: Wire>(path: &Path, kind: Kind, bytes: &[u8]) -> Result<T, BeaconFileError> {
    let path = || path.to_owned();
    let rest = bytes.strip_prefix(MAGIC);
    let rest = rest.ok_or_else(|| BeaconFileError::Format { path: path() })?;
    let Some((version, rest)) = rest.split_first_chunk::<2>() else {
        return Err(BeaconFileError::Format { path: path() });
    };
    let found = u16::from_le_bytes(*version);
    if found != VERSION {
        return Err(BeaconFileError::Version {
            path: path(),
            found,
        });
    }
    let Some((content, check)) = rest.split_last_chunk::<CHECK_LEN>() else {
        return Err(BeaconFileError::Format { path: path() });
    };
    let signed = bytes.get(..bytes.len().saturating_sub(CHECK_LEN));
    if signed.map(check_value).as_ref() != Some(check) {
        return Err(BeaconFileError::Damaged { path: path() });
    }
    let Some((tag, content)) = content.split_first() else {
        return Err(BeaconFileError::Format { path: path() });
    };
    let found = Kind::ALL.into_iter().find(|kind| *kind as u8 == *tag);
    let found = found.ok_or_else(|| BeaconFileError::Format { path: path() })?;
    if found != kind {
        return Err(BeaconFileError::Kind {
            path: path(),
            expected: kind.name(),
            found: found.name(),
        });
    }
    T::from_bytes(content).map_err(|cause| BeaconFileError::Content {
        path: path(),
        cause,
    })
}

/// The bytes of a file of bounded length.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, BeaconFileError> {
    Ok(read_bounded(&RealDisk, path, FILE_MAX)?)
}

/// Reads a file that anybody may see.
pub(crate) fn load<T: Wire>(path: &Path, kind: Kind) -> Result<T, BeaconFileError> {
    unseal(path, kind, &read(path)?)
}

/// Reads a file that is kept, if it is there; its bytes are erased behind it.
pub(crate) fn kept<T: Wire>(
    disk: &dyn Disk,
    path: &Path,
    kind: Kind,
) -> Result<Option<T>, BeaconFileError> {
    match read_private(disk, path, FILE_MAX) {
        Ok(bytes) => unseal(path, kind, &bytes).map(Some),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file durably; one with the same bytes may be there.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> Result<(), BeaconFileError> {
    match write_public(&RealDisk, path, bytes) {
        Err(StoreError::Exists { .. }) if read(path).is_ok_and(|there| there == bytes) => Ok(()),
        written => Ok(written?),
    }
}
