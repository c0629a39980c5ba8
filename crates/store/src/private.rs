//! Small files that are whole or not there: keys, rosters, parameters, results.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{
    disk::{Disk, OpenMode, TEMP_PREFIX, parent, publish_new, publish_over},
    error::{IoContext, Operation, StoreError},
};

/// Writes a new file that only its owner may read (mode 0600 on Unix), durably and all at once.
///
/// # Errors
/// [`StoreError::Exists`] if the name is taken: a key is never overwritten. Errors of the disk: the file is then
/// missing, or whole and perhaps not durable; never half-written.
pub fn write_private(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    not_taken(disk, path)?;
    write_with(disk, path, bytes, OpenMode::CreateNew, publish_new)
}

/// As [`write_private`], but replaces a file of that name atomically: a reader sees the old bytes or the new ones.
///
/// # Errors
/// Errors of the disk. The old file is then still there.
pub fn replace_private(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_with(disk, path, bytes, OpenMode::CreateNew, publish_over)
}

/// As [`write_private`], for what others may read: mode 0644 on Unix, less what the process's umask takes away.
///
/// # Errors
/// As [`write_private`].
pub fn write_public(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    not_taken(disk, path)?;
    write_with(disk, path, bytes, OpenMode::CreatePublic, publish_new)
}

/// As [`replace_private`], for what others may read: mode 0644 on Unix, less what the process's umask takes away.
///
/// # Errors
/// As [`replace_private`].
pub fn replace_public(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_with(disk, path, bytes, OpenMode::CreatePublic, publish_over)
}

fn not_taken(disk: &dyn Disk, path: &Path) -> Result<(), StoreError> {
    if disk.exists(path).at(Operation::Read, path)? {
        return Err(StoreError::Exists {
            path: path.to_path_buf(),
        });
    }
    Ok(())
}

fn write_with(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    mode: OpenMode,
    publish: fn(&dyn Disk, &Path, &Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let temp = temp_beside(disk, path);
    let mut file = disk.open(&temp, mode).at(Operation::Create, path)?;
    let written = file
        .write_all_at(0, bytes)
        .at(Operation::Write, path)
        .and_then(|()| file.sync().at(Operation::Sync, path))
        .and_then(|()| publish(disk, &temp, path));
    if written.is_err() {
        // Nothing of a half-written secret may stay; if this fails, the first error is still the one to report.
        let _removed = disk.remove_file(&temp);
    }
    written
}

fn temp_beside(disk: &dyn Disk, path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(TEMP_PREFIX);
    name.push(path.file_name().unwrap_or_default());
    name.push(format!("-{:x}", disk.unique()));
    parent(path).join(name)
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// [`StoreError::TooLarge`] without allocating for what is above the limit; errors of the disk.
pub fn read_bounded(disk: &dyn Disk, path: &Path, max: u64) -> Result<Vec<u8>, StoreError> {
    read_private(disk, path, max).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// As [`read_bounded`], for a secret: the bytes are erased when dropped, and no other copy is left in memory.
///
/// # Errors
/// As [`read_bounded`].
pub fn read_private(
    disk: &dyn Disk,
    path: &Path,
    max: u64,
) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let too_large = || StoreError::TooLarge {
        path: path.to_path_buf(),
        max,
    };
    let mut file = disk.open(path, OpenMode::Read).at(Operation::Open, path)?;
    let size = file.size().at(Operation::Read, path)?;
    if size > max {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(size).map_err(|_| too_large())?]);
    let mut filled = 0;
    while filled < bytes.len() {
        let count = file
            .read_at(filled as u64, &mut bytes[filled..])
            .at(Operation::Read, path)?;
        if count == 0 {
            break;
        }
        filled = filled.saturating_add(count);
    }
    bytes.truncate(filled);
    Ok(bytes)
}
