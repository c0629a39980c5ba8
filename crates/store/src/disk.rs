//! The file layer: the few operations that the store needs, so that a simulated disk can stand in for the real one.

use std::{
    ffi::OsString,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::error::{IoContext, Operation, StoreError};

/// How [`Disk::open`] opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    ReadWrite,
    /// A new file that only its owner may read (mode 0600 on Unix); fails with `AlreadyExists` if the name is taken.
    CreateNew,
    /// As [`OpenMode::CreateNew`], for what others may read too: mode 0644 on Unix, less what the process's umask takes away.
    CreatePublic,
}

/// One file in a directory listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name inside the directory.
    pub name: OsString,
    /// Its length in bytes.
    pub size: u64,
}

/// An open file. Positions are explicit, so that there is no hidden state between calls.
pub trait DiskFile: fmt::Debug + Send {
    /// Length in bytes.
    ///
    /// # Errors
    /// As the file system gives them.
    fn size(&mut self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes at `offset`; 0 means the end of the file.
    ///
    /// # Errors
    /// As the file system gives them.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. On an error any part of them may have been written.
    ///
    /// # Errors
    /// `StorageFull` on a full disk, others as the file system gives them.
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `size` bytes.
    ///
    /// # Errors
    /// As the file system gives them.
    fn set_size(&mut self, size: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// As the file system gives them. After an error nothing is known about what is durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A held lock; dropping it gives the lock back. The operating system does so when the process dies.
pub trait DiskLock: fmt::Debug + Send {}

/// A file system. [`RealDisk`] is the one of the machine, [`crate::SimDisk`] lives in memory and loses power on demand.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Opens or creates a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` and others as the file system gives them.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// Takes the exclusive lock of the file `path` (made if it is not there); `None` if somebody holds it.
    ///
    /// # Errors
    /// As the file system gives them.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;

    /// Makes one directory, for the owner only (mode 0700 on Unix). Its parent must exist.
    ///
    /// # Errors
    /// `AlreadyExists` and others as the file system gives them.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether there is a file or directory of this name.
    ///
    /// # Errors
    /// As the file system gives them.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The plain files of a directory, sorted by name.
    ///
    /// # Errors
    /// As the file system gives them.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Renames a file, replacing `to` atomically.
    ///
    /// # Errors
    /// `CrossesDevices` if the two are on different file systems; others as the file system gives them.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name; fails with `AlreadyExists` if `to` is taken.
    ///
    /// # Errors
    /// `Unsupported` or `PermissionDenied` where the file system has no hard links.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    /// As the file system gives them.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the file system gives them.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// A number that no other live user of this disk gets, for names of temporary files.
    fn unique(&self) -> u64;
}

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

static UNIQUE: AtomicU32 = AtomicU32::new(0);

#[derive(Debug)]
struct RealFile(File);

#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

impl DiskFile for RealFile {
    fn size(&mut self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.seek(SeekFrom::Start(offset))?;
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn with_mode(options: &mut OpenOptions, _mode: u32) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, _mode);
    options
}

fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    with_mode(options, 0o600)
}

/// The parent of a bare file name is the empty path, which the system calls do not take.
fn or_current(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// Something that is neither a regular file nor a link to one was to be opened.
#[derive(Debug, thiserror::Error)]
#[error("not a regular file")]
pub(crate) struct Irregular;

fn regular(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() {
        Ok(())
    } else {
        Err(io::Error::other(Irregular))
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::CreateNew => owner_only(options.read(true).write(true).create_new(true)),
            OpenMode::CreatePublic => {
                with_mode(options.read(true).write(true).create_new(true), 0o644)
            }
        };
        // To open a pipe may take for ever, and a device has no end: no file of the store is one.
        if matches!(mode, OpenMode::Read | OpenMode::ReadWrite) {
            regular(&std::fs::metadata(path)?)?;
        }
        let file = options.open(path)?;
        // Of what was opened, should the name have changed hands in between.
        regular(&file.metadata()?)?;
        Ok(Box::new(RealFile(file)))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = owner_only(&mut options).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        or_current(path).try_exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(or_current(dir))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                entries.push(DirEntry {
                    name: entry.file_name(),
                    size: metadata.len(),
                });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Only Unix can open a directory as a file; elsewhere the file system's own journal has to do.
        if cfg!(unix) {
            File::open(or_current(dir))?.sync_all()?;
        }
        Ok(())
    }

    fn unique(&self) -> u64 {
        let count = UNIQUE.fetch_add(1, Ordering::Relaxed);
        (u64::from(std::process::id()) << 32) | u64::from(count)
    }
}

/// Every temporary name of the store starts so; nothing else may.
pub(crate) const TEMP_PREFIX: &str = ".tmp-";

/// The directory in which `path` stands.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or_else(|| Path::new(""))
}

/// Makes `dir` and what is missing above it, durably.
///
/// # Errors
/// Errors of the disk; some of the directories may be there then.
pub fn ensure_dir(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let missing = |path: &Path| -> Result<bool, StoreError> {
        Ok(!path.as_os_str().is_empty() && !disk.exists(path).at(Operation::Read, path)?)
    };
    let mut to_make = Vec::new();
    let mut at = dir;
    while missing(at)? {
        to_make.push(at);
        at = parent(at);
    }
    for path in to_make.iter().rev() {
        match disk.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.at(Operation::CreateDir, path)?,
        }
        disk.sync_dir(parent(path))
            .at(Operation::Sync, parent(path))?;
    }
    if to_make.is_empty() {
        // An earlier process may have died between making the directory and syncing its name.
        disk.sync_dir(parent(dir))
            .at(Operation::Sync, parent(dir))?;
    }
    Ok(())
}

/// Gives the synced file `temp` its final name, which must be free, and makes the name durable.
pub(crate) fn publish_new(disk: &dyn Disk, temp: &Path, path: &Path) -> Result<(), StoreError> {
    match disk.hard_link(temp, path) {
        Ok(()) => disk.remove_file(temp).at(Operation::Remove, temp)?,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            // No hard links on this file system: the check and the rename are two steps there.
            if disk.exists(path).at(Operation::Read, path)? {
                return Err(StoreError::Exists {
                    path: path.to_path_buf(),
                });
            }
            disk.rename(temp, path).at(Operation::Rename, path)?;
        }
        Err(error) => return Err(StoreError::from_io(Operation::Rename, path, &error)),
    }
    disk.sync_dir(parent(path))
        .at(Operation::Sync, parent(path))
}

/// Gives the synced file `temp` its final name, replacing what was there, and makes the name durable.
pub(crate) fn publish_over(disk: &dyn Disk, temp: &Path, path: &Path) -> Result<(), StoreError> {
    disk.rename(temp, path).at(Operation::Rename, path)?;
    disk.sync_dir(parent(path))
        .at(Operation::Sync, parent(path))
}

/// Deletes what a crash left half-written in `dir`.
///
/// The caller holds the lock of the state directory, so nobody is writing these files.
///
/// # Errors
/// Errors of the disk; what is left is deleted the next time.
pub fn remove_stale_temps(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let entries = disk.list(dir).at(Operation::List, dir)?;
    let mut removed = false;
    for entry in entries {
        if entry
            .name
            .as_encoded_bytes()
            .starts_with(TEMP_PREFIX.as_bytes())
        {
            let path = dir.join(&entry.name);
            disk.remove_file(&path).at(Operation::Remove, &path)?;
            tracing::info!(target: "veilsum", event = "temporary_file_removed", path = %path.display());
            removed = true;
        }
    }
    if removed {
        disk.sync_dir(dir).at(Operation::Sync, dir)?;
    }
    Ok(())
}
