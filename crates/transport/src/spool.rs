//! Bodies of requests: small ones in memory, others in a directory, all charged to a budget.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::budget::{ByteBudget, Charge};
use crate::error::SpoolError;
use crate::share::BodyShare;

const NAME_START: &str = "body-";
const NAME_END: &str = ".spool";
const LOCK: &str = ".lock";

fn io_error(path: &Path, error: &io::Error) -> SpoolError {
    SpoolError::Io {
        path: path.to_owned(),
        kind: error.kind(),
    }
}

/// A directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    next: AtomicU64,
    pub(crate) budget: ByteBudget,
    /// Held for as long as a body may be in the directory.
    _lock: File,
}

impl Spool {
    /// Makes and locks the directory and removes what a crash left in it.
    pub(crate) fn open(dir: &Path, total: usize) -> Result<Arc<Self>, SpoolError> {
        fs::create_dir_all(dir).map_err(|error| io_error(dir, &error))?;
        let lock_path = dir.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| io_error(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SpoolError::InUse {
                    path: dir.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&lock_path, &error)),
        }
        for entry in fs::read_dir(dir).map_err(|error| io_error(dir, &error))? {
            let entry = entry.map_err(|error| io_error(dir, &error))?;
            let name = entry.file_name();
            let ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(NAME_START) && name.ends_with(NAME_END));
            if ours {
                let path = entry.path();
                fs::remove_file(&path).map_err(|error| io_error(&path, &error))?;
            }
        }
        Ok(Arc::new(Self {
            dir: dir.to_owned(),
            next: AtomicU64::new(0),
            budget: ByteBudget::new(total),
            _lock: lock,
        }))
    }

    /// A new empty file, removed on drop of the guard.
    pub(crate) fn create(self: &Arc<Self>) -> io::Result<(File, SpoolFile)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self
            .dir
            .join(format!("{NAME_START}{number:016x}{NAME_END}"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        let guard = SpoolFile {
            path,
            charge: Charge::default(),
            _spool: Arc::clone(self),
        };
        Ok((file, guard))
    }
}

/// A file in the spool; removed, and its bytes given back, on drop.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    path: PathBuf,
    pub(crate) charge: Charge,
    _spool: Arc<Spool>,
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            // It has been persisted, or somebody cleared the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(
                    target: crate::TRACING_TARGET,
                    event = "spool_file_not_removed",
                    path = %self.path.display(),
                    kind = %error.kind(),
                );
            }
        }
    }
}

#[derive(Debug)]
pub(crate) enum Place {
    Memory(
        Vec<u8>,
        #[expect(dead_code, reason = "given back on drop")] Charge,
    ),
    File(SpoolFile),
}

/// The body of a request. Its file, if it has one, is removed and its bytes are given back to the server's budget when
/// it is dropped.
#[derive(Debug)]
pub struct SpooledBody {
    len: u64,
    digest: [u8; 32],
    place: Place,
    /// The sender's place in the spool: whoever goes away has no other for as long as somebody works on this body.
    share: Option<BodyShare>,
}

impl SpooledBody {
    pub(crate) fn new(len: u64, digest: [u8; 32], place: Place) -> Self {
        Self {
            len,
            digest,
            place,
            share: None,
        }
    }

    /// Counts the body to its sender until it is dropped.
    pub(crate) fn counted_to(mut self, share: BodyShare) -> Self {
        self.share = Some(share);
        self
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The BLAKE3 digest of the bytes, computed while they came in.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The bytes, if the body is in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Memory(bytes, _) => Some(bytes),
            Place::File(_) => None,
        }
    }

    /// The file, if the body is not in memory. It is gone when the body is dropped.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Memory(..) => None,
            Place::File(file) => Some(&file.path),
        }
    }

    /// A reader from the first byte, wherever the body is. It blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Io`] if the file can not be opened.
    pub fn reader(&self) -> Result<BodyReader<'_>, SpoolError> {
        match &self.place {
            Place::Memory(bytes, _) => Ok(BodyReader::Memory(Cursor::new(bytes))),
            Place::File(file) => File::open(&file.path)
                .map(BodyReader::File)
                .map_err(|error| io_error(&file.path, &error)),
        }
    }

    /// All bytes, if there are at most `max`. It blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`] before anything is allocated; [`SpoolError::Io`] if the file can not be read.
    pub fn read_all(&self, max: usize) -> Result<Vec<u8>, SpoolError> {
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        let too_large = SpoolError::TooLarge {
            len: self.len,
            max: limit,
        };
        let len = usize::try_from(self.len).map_err(|_| too_large.clone())?;
        if len > max {
            return Err(too_large);
        }
        let mut bytes = vec![0; len];
        let mut reader = self.reader()?;
        reader.read_exact(&mut bytes).map_err(|error| {
            let path = self.path().unwrap_or(Path::new(""));
            io_error(path, &error)
        })?;
        Ok(bytes)
    }

    /// Moves the body to `path`, on the disk before this returns; a file that is there is replaced. On another file
    /// system it is copied. `path` never holds a part of the body. It blocks on the disk.
    ///
    /// # Errors
    /// [`SpoolError::Io`]; the body is gone then, `path` is as it was.
    pub fn persist(self, path: &Path) -> Result<(), SpoolError> {
        let failed = |error: io::Error| io_error(path, &error);
        match &self.place {
            Place::Memory(bytes, _) => write_whole(path, &mut bytes.as_slice()),
            Place::File(file) => {
                let synced = File::open(&file.path).and_then(|file| file.sync_all());
                let moved = synced.and_then(|()| fs::rename(&file.path, path));
                match moved {
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                        File::open(&file.path).and_then(|mut from| write_whole(path, &mut from))
                    }
                    other => other.and_then(|()| sync_parent(path)),
                }
            }
        }
        .map_err(failed)
    }
}

/// Writes a file beside `path` and renames it.
fn write_whole(path: &Path, from: &mut impl Read) -> io::Result<()> {
    let partial = partial_path(path);
    let written = (|| {
        let mut file = File::create(&partial)?;
        io::copy(from, &mut file)?;
        file.flush()?;
        file.sync_all()?;
        fs::rename(&partial, path)
    })();
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written.and_then(|()| sync_parent(path))
}

/// A name beside `path` that nobody else in this process, or in another one, uses.
pub(crate) fn partial_path(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.part", std::process::id()));
    path.with_file_name(name)
}

/// A rename is on the disk when its directory is.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match path.parent() {
        Some(dir) if dir != Path::new("") => File::open(dir)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Reads a [`SpooledBody`].
#[derive(Debug)]
pub enum BodyReader<'a> {
    /// From memory.
    Memory(Cursor<&'a Vec<u8>>),
    /// From its file.
    File(File),
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(cursor) => cursor.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl Seek for BodyReader<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(cursor) => cursor.seek(to),
            Self::File(file) => file.seek(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_and_is_cleared_of_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/spool");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("body-0000000000000007.spool"), b"torn").unwrap();
        fs::write(path.join("keep.txt"), b"not ours").unwrap();
        let spool = Spool::open(&path, 10).unwrap();
        assert!(!path.join("body-0000000000000007.spool").exists());
        assert!(path.join("keep.txt").exists());
        assert_eq!(
            Spool::open(&path, 10).unwrap_err(),
            SpoolError::InUse { path: path.clone() }
        );
        drop(spool);
        Spool::open(&path, 10).unwrap();
    }

    #[test]
    fn a_file_where_the_directory_should_be_is_a_typed_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"").unwrap();
        assert!(matches!(
            Spool::open(&path, 10).unwrap_err(),
            SpoolError::Io { .. }
        ));
    }

    #[test]
    fn persist_moves_and_drop_removes() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("spool"), 10).unwrap();
        let body = |content: &[u8]| {
            let (mut file, guard) = spool.create().unwrap();
            file.write_all(content).unwrap();
            SpooledBody::new(content.len() as u64, [0; 32], Place::File(guard))
        };
        let kept = body(b"kept");
        let spooled = kept.path().unwrap().to_owned();
        assert_eq!(kept.read_all(4).unwrap(), b"kept");
        assert_eq!(
            kept.read_all(3).unwrap_err(),
            SpoolError::TooLarge { len: 4, max: 3 }
        );
        let target = dir.path().join("target");
        kept.persist(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"kept");
        assert!(!spooled.exists());

        let dropped = body(b"dropped");
        let spooled = dropped.path().unwrap().to_owned();
        assert!(spooled.exists());
        drop(dropped);
        assert!(!spooled.exists());

        let memory = SpooledBody::new(
            3,
            [0; 32],
            Place::Memory(b"mem".to_vec(), Charge::default()),
        );
        memory.persist(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"mem");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "the spool and the target: {left:?}");

        let occupied = dir.path().join("directory");
        fs::create_dir(&occupied).unwrap();
        let memory = SpooledBody::new(1, [0; 32], Place::Memory(vec![1], Charge::default()));
        assert!(memory.persist(&occupied).is_err());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 3, "nothing half-written: {left:?}");

        let nowhere = dir.path().join("missing/target");
        assert!(matches!(
            body(b"x").persist(&nowhere).unwrap_err(),
            SpoolError::Io { path, .. } if path == nowhere
        ));
    }
}
