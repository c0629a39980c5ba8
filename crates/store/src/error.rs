//! What can go wrong, in types: every error names the path, the operation and what to do about it.

use std::{fmt, io, path::Path, path::PathBuf};

use crate::disk::Irregular;
use crate::{BodyDigest, FORMAT_VERSION, LogIdentity, STATE_VERSION};

/// The disk operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Making a new file.
    Create,
    /// Making a directory.
    CreateDir,
    /// Opening a file.
    Open,
    /// Reading bytes or a length.
    Read,
    /// Writing bytes.
    Write,
    /// Cutting a file to a shorter length.
    Truncate,
    /// Making a file or directory durable.
    Sync,
    /// Giving a file its final name.
    Rename,
    /// Deleting a file.
    Remove,
    /// Listing a directory.
    List,
    /// Taking the exclusive lock.
    Lock,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::CreateDir => "create directory",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Truncate => "truncate",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Lock => "lock",
        })
    }
}

/// What is wrong with the bytes of a log file; the offset and the record stand in [`StoreError::Corrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file is shorter than a file header.
    #[error("the file header is incomplete")]
    FileHeaderShort,
    /// The first eight bytes are not those of a log.
    #[error("this is not a log of Veilsum (wrong magic bytes)")]
    Magic,
    /// The role byte is none of the known ones.
    #[error("the role byte {0} is unknown")]
    Role(u8),
    /// The header's reserved byte is not zero.
    #[error("the reserved byte of the header is not zero")]
    Reserved,
    /// The header does not match its start value.
    #[error("the file header does not match its start value")]
    FileHeaderCheck,
    /// Fewer bytes than a record header remain.
    #[error("the record header is incomplete ({remaining} bytes remain)")]
    RecordHeaderShort {
        /// Bytes from the record's start to the end of the file.
        remaining: u64,
    },
    /// The record header does not belong at this place of this log.
    #[error("the record header is changed or belongs elsewhere")]
    RecordHeaderCheck,
    /// The record header sets a flag that this version does not know.
    #[error("the record has unknown flags {0:#06x}")]
    Flags(u16),
    /// The length is above [`crate::MAX_PAYLOAD_LEN`].
    #[error("the payload length {0} is above the limit")]
    Length(u32),
    /// The record would end behind the end of the file.
    #[error("the record needs {needed} bytes and {remaining} remain")]
    RecordShort {
        /// Bytes of the whole record.
        needed: u64,
        /// Bytes from the record's start to the end of the file.
        remaining: u64,
    },
    /// The chain value does not follow from the previous one and this record.
    #[error(
        "the chain value does not match: the record is changed, moved or not the one that was written"
    )]
    Chain,
    /// The log ends, or is closed, in the middle of an atomic batch.
    #[error("an atomic batch is incomplete")]
    BatchIncomplete,
    /// The closing record is not written the one way it may be.
    #[error("the closing record is malformed")]
    ClosingMalformed,
    /// There are bytes behind the closing record.
    #[error("{0} bytes follow the closing record")]
    AfterClosing(u64),
}

/// An error of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space, or the quota is used up. What was being written is taken back.
    #[error(
        "cannot {operation} {path}: the disk is full or the quota is used up; free some space and try again"
    )]
    DiskFull {
        /// What was tried.
        operation: Operation,
        /// On which file.
        path: PathBuf,
    },
    /// The file system is mounted read-only.
    #[error(
        "cannot {operation} {path}: the file system is read-only; remount it writable or use another directory"
    )]
    ReadOnly {
        /// What was tried.
        operation: Operation,
        /// On which file.
        path: PathBuf,
    },
    /// The process may not do this.
    #[error(
        "cannot {operation} {path}: permission denied; check the owner and mode of the file and its directory"
    )]
    PermissionDenied {
        /// What was tried.
        operation: Operation,
        /// On which file.
        path: PathBuf,
    },
    /// The file or directory does not exist.
    #[error("cannot {operation} {path}: it does not exist; check the path")]
    NotFound {
        /// What was tried.
        operation: Operation,
        /// On which file.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error(
        "cannot {operation} {path}: {kind}{}; check the device and the file system, then open the directory again",
        OsCode(*os_code)
    )]
    Io {
        /// What was tried.
        operation: Operation,
        /// On which file.
        path: PathBuf,
        /// The class of the failure.
        kind: io::ErrorKind,
        /// The operating system's number for it, where there is one.
        os_code: Option<i32>,
    },
    /// A directory, pipe, socket or device stands where a file should be.
    #[error("{path} is not a regular file: remove it, or copy the file to its place")]
    Irregular {
        /// What is none.
        path: PathBuf,
    },
    /// Another process, or another handle of this one, uses the state directory.
    #[error(
        "{path} is locked: another process uses this state directory; stop it, or use another directory"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A file that must be new is there already.
    #[error(
        "{path} exists already and is not overwritten; open it, move it away or choose another path"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The log was written by a version of Veilsum with another format.
    #[error(
        "{path} has log format {found}, this program reads format {FORMAT_VERSION}; use the version that wrote it"
    )]
    Version {
        /// The log file.
        path: PathBuf,
        /// The format in the file.
        found: u16,
    },
    /// The state directory has the format of another version of Veilsum.
    #[error(
        "{path} says format {found}, this program reads format {STATE_VERSION}; use the version that wrote the directory"
    )]
    StateVersion {
        /// The file with the mark.
        path: PathBuf,
        /// The format in it.
        found: u32,
    },
    /// The mark of a state directory is none.
    #[error("{path} is no mark of a state directory; restore it from its disk")]
    StateMark {
        /// The file.
        path: PathBuf,
    },
    /// The log belongs to another role or context (other round parameters, another owner).
    #[error(
        "{path} belongs to {found}, not to {expected}; point to the directory that belongs to this round and role"
    )]
    WrongIdentity {
        /// The log file.
        path: PathBuf,
        /// What the caller asked for.
        expected: LogIdentity,
        /// What the file says.
        found: LogIdentity,
    },
    /// Bytes of the log are damaged in a way that no crash explains, or in a log that is closed.
    #[error(
        "{path} is damaged at byte {offset} (record {record}): {damage}; do not go on with it: restore the directory from its disk, or give the round up"
    )]
    Corrupt {
        /// The log file.
        path: PathBuf,
        /// Byte offset of the damaged record.
        offset: u64,
        /// Index of the damaged record (0 for the file header, too).
        record: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// A closed log was asked for and this one is whole but not closed.
    #[error(
        "{path} is not closed ({records} records, no closing record at byte {offset}): the round is not finished, or the end is missing"
    )]
    NotClosed {
        /// The log file.
        path: PathBuf,
        /// Whole records in it.
        records: u64,
        /// Where the closing record is missing.
        offset: u64,
    },
    /// Nothing may be written to a closed log.
    #[error("{path} is closed and nothing may be appended; start another log")]
    Closed {
        /// The log file.
        path: PathBuf,
    },
    /// An earlier failure left the file in an unknown state.
    #[error(
        "{path} is not written any more after an earlier failure; open the directory again so that it is recovered"
    )]
    Poisoned {
        /// The log file.
        path: PathBuf,
    },
    /// A record's payload is above [`crate::MAX_PAYLOAD_LEN`], or a batch above [`crate::MAX_BATCH_LEN`].
    #[error(
        "{len} bytes in one record or batch, at most {max} are allowed; keep large data as a body"
    )]
    RecordTooLarge {
        /// Bytes given.
        len: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// [`crate::KIND_CLOSED`] is written only by closing the log.
    #[error("record kind {0:#06x} is reserved for the closing record; use another kind")]
    ReservedKind(u16),
    /// A body or file is larger than the caller's limit.
    #[error("{path} is larger than the limit of {max} bytes; refuse it or raise the limit")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        max: u64,
    },
    /// A body's bytes do not have the digest they should have.
    #[error(
        "{path} has digest {found}, not {expected}: the bytes are changed; fetch or restore them"
    )]
    BodyMismatch {
        /// The file.
        path: PathBuf,
        /// The digest asked for.
        expected: BodyDigest,
        /// The digest of the bytes.
        found: BodyDigest,
    },
    /// A text is not a body digest.
    #[error("a body digest is 64 lower-case hexadecimal digits")]
    DigestSyntax,
}

struct OsCode(Option<i32>);

impl fmt::Display for OsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |code| write!(f, " (os error {code})"))
    }
}

impl StoreError {
    /// The typed form of a failed disk operation.
    #[must_use]
    pub fn from_io(operation: Operation, path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        if error.get_ref().is_some_and(|cause| cause.is::<Irregular>()) {
            return Self::Irregular { path };
        }
        match error.kind() {
            // A limit on the size of files is a quota like any other.
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { operation, path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { operation, path },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { operation, path },
            io::ErrorKind::NotFound => Self::NotFound { operation, path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            kind => Self::Io {
                operation,
                path,
                kind,
                os_code: error.raw_os_error(),
            },
        }
    }
}

/// Attaches operation and path to an `io::Result`.
pub(crate) trait IoContext<T> {
    fn at(self, operation: Operation, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, operation: Operation, path: &Path) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::from_io(operation, path, &error))
    }
}
