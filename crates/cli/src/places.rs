//! Whether something can be written where it is to be written, asked before the work is done.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use veilsum::store::{RealDisk, StoreError, check_state};

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
        dir(&at("no/such/state")).unwrap();
        dir(Path::new("state")).unwrap();
        for path in ["x", "x/state", "x/a/b"] {
            assert_eq!(dir(&at(path)), Err(PlaceError::NotDirectory(at("x"))));
        }
    }
}
