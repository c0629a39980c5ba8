use std::path::PathBuf;
use thiserror::Error;
use veilsum_protocol::FileError;
use veilsum_store::StoreError;

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The disk, or no transcript where one was expected.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No roster beside the log.
    #[error("{} is missing: copy it from the server's directory, an audit needs the roster", path.display())]
    NoRoster {
        /// Where it should be.
        path: PathBuf,
    },
    /// The keys that were given are not the transcript's.
    #[error("{}: {cause}; audit it with the keys of its own registrar and server", path.display())]
    OtherKeys {
        /// The file that names the keys.
        path: PathBuf,
        /// Which key.
        cause: FileError,
    },
}
