//! The version of a state directory: what lies where in it, and how.

use std::path::{Path, PathBuf};

use crate::{
    disk::{Disk, ensure_dir},
    error::StoreError,
    private::{read_bounded, write_private},
};

/// The file with the version of a state directory, directly below it.
pub const VERSION_FILE: &str = "VERSION";

/// The format of state directories that this program reads and writes.
pub const STATE_VERSION: u32 = 1;

const FRONT: &str = "veilsum state ";
const FILE_MAX: u64 = 64;

/// Checks that this program knows the format of a state directory, and marks a new one. A directory of before there were
/// versions has the first format, and is marked too.
///
/// # Errors
/// [`StoreError::StateVersion`] for a directory of another version, which is not touched; [`StoreError::StateMark`] for a
/// mark that is none; errors of the disk.
pub fn open_state(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    ensure_dir(disk, dir)?;
    if is_marked(disk, dir)? {
        return Ok(());
    }
    let text = format!("{FRONT}{STATE_VERSION}\n");
    match write_private(disk, &dir.join(VERSION_FILE), text.as_bytes()) {
        // Somebody else was faster: then that mark counts.
        Err(StoreError::Exists { .. }) => check_state(disk, dir),
        written => written,
    }
}

/// As [`open_state`], for whoever only reads a directory, or must not mark it: writes nothing. A directory without a mark, or
/// none at all, is of the first format.
///
/// # Errors
/// As [`open_state`].
pub fn check_state(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    is_marked(disk, dir).map(|_| ())
}

fn is_marked(disk: &dyn Disk, dir: &Path) -> Result<bool, StoreError> {
    let path = dir.join(VERSION_FILE);
    match read_bounded(disk, &path, FILE_MAX) {
        Ok(text) => check(path, &text).map(|()| true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn check(path: PathBuf, text: &[u8]) -> Result<(), StoreError> {
    let version = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.strip_prefix(FRONT)?.trim_end().parse::<u32>().ok());
    match version {
        Some(STATE_VERSION) => Ok(()),
        Some(found) => Err(StoreError::StateVersion { path, found }),
        None => Err(StoreError::StateMark { path }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RealDisk;

    #[test]
    fn a_new_directory_is_marked_and_a_later_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        open_state(&RealDisk, &state).unwrap();
        let path = state.join(VERSION_FILE);
        assert_eq!(std::fs::read(&path).unwrap(), b"veilsum state 1\n");
        open_state(&RealDisk, &state).unwrap();

        for (text, expected) in [
            (
                "veilsum state 2\n",
                StoreError::StateVersion {
                    path: path.clone(),
                    found: 2,
                },
            ),
            ("", StoreError::StateMark { path: path.clone() }),
            (
                "veilsum state x",
                StoreError::StateMark { path: path.clone() },
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(open_state(&RealDisk, &state), Err(expected.clone()));
            assert_eq!(check_state(&RealDisk, &state), Err(expected));
            assert_eq!(std::fs::read(&path).unwrap(), text.as_bytes());
        }
        std::fs::write(&path, [b'x'; 65]).unwrap();
        assert!(matches!(
            open_state(&RealDisk, &state),
            Err(StoreError::TooLarge { .. })
        ));
        // Of before there were versions.
        let older = dir.path().join("older");
        std::fs::create_dir_all(older.join("rounds/1")).unwrap();
        check_state(&RealDisk, &older).unwrap();
        assert!(!older.join(VERSION_FILE).exists());
        open_state(&RealDisk, &older).unwrap();
        check_state(&RealDisk, &older).unwrap();
        check_state(&RealDisk, &dir.path().join("none")).unwrap();
        assert!(!dir.path().join("none").exists());
        assert!(older.join(VERSION_FILE).is_file());
    }
}
