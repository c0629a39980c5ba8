//! Whether something can be written where it is to be written, asked before the work is done.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;
use veilsum::store::{LOCK_FILE, LOG_FILE, RealDisk, StoreError, check_state};

use crate::ledger;
use crate::service::START_FILE;

/// How every `.npy` file begins.
const NPY_MAGIC: &[u8] = b"\x93NUMPY";
/// More than the longest address with its line end.
const LOOKED_AT: u64 = 128;
/// Files of state directories that say nothing of themselves, or may not be there yet.
const OF_STATE: [&str; 5] = ["VERSION", ledger::FILE, LOCK_FILE, LOG_FILE, START_FILE];

/// Why a file or directory cannot be where it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum PlaceError {
    /// A file in a directory that is not there.
    #[error("{}: the directory {} does not exist: make it, or name another place", path.display(), dir.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// Its directory.
        dir: PathBuf,
    },
    /// A directory where a file is to be.
    #[error("{}: this is a directory: name a file", .0.display())]
    Directory(PathBuf),
    /// Something else where a directory is to be.
    #[error("{}: not a directory: name another place, or move it away", .0.display())]
    NotDirectory(PathBuf),
    /// A directory in which this program may make nothing.
    #[error("{}: nothing can be written in {}: {kind}; check its owner and mode, and how its disk is mounted", path.display(), dir.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
        /// Where it would be made.
        dir: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// A file that this program would not have written there, such as a key.
    #[error("{}: this is no place for {wanted}: there is something else, or a file of a state directory is to be there, and it is not overwritten; name another place", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// What was to be written.
        wanted: &'static str,
    },
    /// A state directory of another version: nothing in it is looked at.
    #[error(transparent)]
    State(#[from] StoreError),
    /// It could not be looked at.
    #[error("{}: {kind}", path.display())]
    Unseen {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
}

impl PlaceError {
    /// Whether files and directories are in the way, not what was asked for.
    pub(crate) fn is_of_the_machine(&self) -> bool {
        !matches!(self, Self::Kept { .. })
    }
}

/// Whether there is a directory of this name; `None` if there is nothing.
fn is_dir(path: &Path) -> Result<Option<bool>, PlaceError> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.is_dir())),
        // Below something that is no directory there is nothing; what that is, is told of itself.
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            kind => Err(PlaceError::Unseen {
                path: path.to_owned(),
                kind,
            }),
        },
    }
}

/// Whether something may be made in a directory that is there. It is asked, not tried: nothing is written.
fn may_write(path: &Path, dir: &Path) -> Result<(), PlaceError> {
    let at = match dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => dir,
    };
    #[cfg(unix)]
    {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        // With the rights that the program has, not those of whoever called it.
        accessat(CWD, at, wanted, AtFlags::EACCESS).map_err(|error| PlaceError::ReadOnly {
            path: path.to_owned(),
            dir: at.to_owned(),
            kind: io::Error::from(error).kind(),
        })?;
    }
    Ok(())
}

/// A file that is to be written: its directory must be there.
///
/// # Errors
/// [`PlaceError`].
pub(crate) fn file(path: &Path) -> Result<(), PlaceError> {
    if is_dir(path)? == Some(true) {
        return Err(PlaceError::Directory(path.to_owned()));
    }
    let dir = path.parent().unwrap_or(Path::new(""));
    match is_dir(dir)? {
        Some(true) => may_write(path, dir),
        Some(false) => Err(PlaceError::NotDirectory(dir.to_owned())),
        None => Err(PlaceError::NoDirectory {
            path: path.to_owned(),
            dir: dir.to_owned(),
        }),
    }
}

/// A file that is to be written, in the place of nothing but an empty file or an earlier one of its kind.
fn spare(path: &Path, wanted: &'static str, own: fn(&[u8]) -> bool) -> Result<(), PlaceError> {
    file(path)?;
    let kept = || PlaceError::Kept {
        path: path.to_owned(),
        wanted,
    };
    let unseen = |error: io::Error| PlaceError::Unseen {
        path: path.to_owned(),
        kind: error.kind(),
    };
    let name = path.file_name();
    if OF_STATE
        .iter()
        .any(|of_state| name == Some(of_state.as_ref()))
    {
        return Err(kept());
    }
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unseen(error)),
        // Reading a pipe may never end.
        Ok(about) if !about.is_file() => return Err(kept()),
        Ok(_) => {}
    }
    let mut head = Vec::new();
    let opened = File::open(path).map_err(unseen)?;
    let read = opened.take(LOOKED_AT).read_to_end(&mut head);
    read.map_err(unseen)?;
    match head.is_empty() || own(&head) {
        true => Ok(()),
        false => Err(kept()),
    }
}

/// The file that a mean is to be written to; never one that holds anything but an array, such as a key.
///
/// # Errors
/// [`PlaceError`].
pub(crate) fn mean(path: &Path) -> Result<(), PlaceError> {
    spare(path, "a mean (.npy)", |head| head.starts_with(NPY_MAGIC))
}

/// The file that an address is to be written to; never one that holds anything but an address.
///
/// # Errors
/// [`PlaceError`].
pub(crate) fn address(path: &Path) -> Result<(), PlaceError> {
    spare(path, "an address", |head| {
        let text = std::str::from_utf8(head).unwrap_or_default();
        text.trim_end().parse::<SocketAddr>().is_ok()
    })
}

/// A directory that is to be used and is made where it is missing, with those above it.
///
/// # Errors
/// [`PlaceError::NotDirectory`] with what stands in the way, [`PlaceError::ReadOnly`] where nothing can be made.
pub(crate) fn dir(path: &Path) -> Result<(), PlaceError> {
    for at in path.ancestors() {
        match is_dir(at)? {
            Some(true) => return may_write(path, at),
            Some(false) => return Err(PlaceError::NotDirectory(at.to_owned())),
            None => {}
        }
    }
    Ok(())
}

/// A state directory: it is there or can be made, and if it is there this program knows its format.
///
/// # Errors
/// As [`dir`]; [`PlaceError::State`].
pub(crate) fn state(path: &Path) -> Result<(), PlaceError> {
    dir(path)?;
    Ok(check_state(&RealDisk, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_are_none() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("x"), "").unwrap();
        file(&at("x")).unwrap();
        file(&at("new")).unwrap();
        file(Path::new("new-in-the-current-directory")).unwrap();
        assert_eq!(
            file(temp.path()),
            Err(PlaceError::Directory(temp.path().to_owned()))
        );
        assert_eq!(
            file(&at("no/y")),
            Err(PlaceError::NoDirectory {
                path: at("no/y"),
                dir: at("no")
            })
        );
        assert_eq!(file(&at("x/y")), Err(PlaceError::NotDirectory(at("x"))));
        dir(temp.path()).unwrap();
        let kept = |name: &str, wanted| {
            let path = at(name);
            Err(PlaceError::Kept { path, wanted })
        };
        for (name, bytes) in [
            ("key", &b"veilsum-key 1 "[..]),
            ("VERSION", b""),
            ("7", b"7"),
        ] {
            std::fs::write(at(name), bytes).unwrap();
            assert_eq!(mean(&at(name)), kept(name, "a mean (.npy)"));
            assert_eq!(address(&at(name)), kept(name, "an address"));
        }
        for name in ["x", "new"] {
            assert_eq!((mean(&at(name)), address(&at(name))), (Ok(()), Ok(())));
        }
        assert_eq!(
            mean(&at("ledger.json")),
            kept("ledger.json", "a mean (.npy)")
        );
        std::fs::write(at("mean"), b"\x93NUMPY\x01\x00").unwrap();
        std::fs::write(at("address"), "[2001:db8::1]:7000\n").unwrap();
        assert_eq!(
            (mean(&at("mean")), address(&at("address"))),
            (Ok(()), Ok(()))
        );
        assert_eq!(mean(&at("address")), kept("address", "a mean (.npy)"));
        assert_eq!(address(&at("mean")), kept("mean", "an address"));
        dir(&at("no/such/state")).unwrap();
        dir(Path::new("state")).unwrap();
        for path in ["x", "x/state", "x/a/b"] {
            assert_eq!(dir(&at(path)), Err(PlaceError::NotDirectory(at("x"))));
        }
    }
}
