//! The mark beside a registrar's key: who signs rosters with it, and which one was the last. Without it two tools, or two
//! directories, would each sign a version 1, and everybody who sees both writes them down against the registrar.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use veilsum::store::{
    Operation, RealDisk, StoreError, read_bounded, replace_private, write_private,
};
use veilsum::wire::Roster;

const MARK_MAX: u64 = 1 << 16;

/// Why a key does not sign, or goes on nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum MarkError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}: this is no mark of a registrar's key (line {line}): restore it from its disk", path.display())]
    Content { path: PathBuf, line: usize },
    #[error("{}: the key has signed another roster of version 1 already, and a second one would convict its registrar: go on with `veilsum registrar`", path.display())]
    Signed { path: PathBuf },
    #[error("{}: the key's rosters are signed in {}: sign there; if that directory is lost or moved, name the newest roster that there is, and say --moved (`veilsum registrar init`)", path.display(), dir.display())]
    Elsewhere { path: PathBuf, dir: PathBuf },
    #[error("{}: the key has signed roster version {version}: go on from this one, or a later one (`veilsum registrar init --roster`)", path.display())]
    Behind { path: PathBuf, version: u64 },
}

impl MarkError {
    /// The disk's part.
    pub(crate) fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The registrar's directory; none after `veilsum roster`.
    dir: Option<PathBuf>,
    /// The last version that is known to be signed; 0 before there is any.
    version: u64,
    /// Its digest.
    digest: String,
}

fn version_of(roster: Option<&Roster>) -> (u64, String) {
    roster.map_or((0, String::new()), |roster| {
        (roster.version(), roster.digest().to_hex())
    })
}

/// The mark of a key file.
pub(crate) struct Mark {
    path: PathBuf,
    /// Where the key file is.
    beside: PathBuf,
}

fn canonical(path: &Path) -> Result<PathBuf, StoreError> {
    let canonical = path.canonicalize();
    canonical.map_err(|error| StoreError::from_io(Operation::Open, path, &error))
}

impl Mark {
    /// Of a key file that is there; links are followed.
    ///
    /// # Errors
    /// Errors of the disk.
    pub(crate) fn of(key: &Path) -> Result<Self, MarkError> {
        let key = canonical(key)?;
        let mut path = key.clone().into_os_string();
        path.push(".registrar");
        Ok(Self {
            path: path.into(),
            beside: key.parent().map(Path::to_owned).unwrap_or_default(),
        })
    }

    /// A directory's name in the mark: one that the key is in may be moved together with it.
    fn name(&self, dir: &Path) -> Result<PathBuf, MarkError> {
        let dir = canonical(dir)?;
        Ok(if dir == self.beside { ".".into() } else { dir })
    }

    fn read(&self) -> Result<Option<Content>, MarkError> {
        match read_bounded(&RealDisk, &self.path, MARK_MAX) {
            Ok(bytes) => {
                let content =
                    serde_json::from_slice(&bytes).map_err(|error| MarkError::Content {
                        path: self.path.clone(),
                        line: error.line(),
                    })?;
                Ok(Some(content))
            }
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn text(content: &Content) -> Vec<u8> {
        let Content {
            dir,
            version,
            digest,
        } = content;
        let object = serde_json::json!({ "dir": dir, "version": version, "digest": digest });
        format!("{object}\n").into_bytes()
    }

    /// Before a single first roster is told of: it is the key's only one.
    ///
    /// # Errors
    /// [`MarkError::Signed`], [`MarkError::Elsewhere`]; errors of the disk.
    pub(crate) fn single(&self, roster: &Roster) -> Result<(), MarkError> {
        let (version, digest) = version_of(Some(roster));
        let own = Content {
            dir: None,
            version,
            digest,
        };
        match write_private(&RealDisk, &self.path, &Self::text(&own)) {
            Err(StoreError::Exists { .. }) => {}
            written => return Ok(written?),
        }
        let path = self.path.clone();
        match self.read()? {
            Some(there) if there == own => Ok(()),
            Some(Content { dir: Some(dir), .. }) => Err(MarkError::Elsewhere { path, dir }),
            _ => Err(MarkError::Signed { path }),
        }
    }

    /// Has the key's rosters be signed in a directory from now on, which goes on from `roster`. `moved` says that the one that
    /// it was before is no more.
    ///
    /// # Errors
    /// [`MarkError::Elsewhere`], [`MarkError::Behind`]; errors of the disk.
    pub(crate) fn take(
        &self,
        dir: &Path,
        roster: Option<&Roster>,
        moved: bool,
    ) -> Result<(), MarkError> {
        let name = self.name(dir)?;
        let (version, digest) = version_of(roster);
        let path = || self.path.clone();
        if let Some(there) = self.read()? {
            match there.dir {
                Some(known) if known == name => {}
                Some(known) if !moved => {
                    return Err(MarkError::Elsewhere {
                        path: path(),
                        dir: known,
                    });
                }
                _ => {}
            }
            if version < there.version || (version == there.version && digest != there.digest) {
                return Err(MarkError::Behind {
                    path: path(),
                    version: there.version,
                });
            }
        }
        let own = Content {
            dir: Some(name),
            version,
            digest,
        };
        Ok(replace_private(&RealDisk, &self.path, &Self::text(&own))?)
    }
}
