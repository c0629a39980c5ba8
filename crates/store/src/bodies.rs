//! Content-addressed bodies: large uploads beside the log, each named by the BLAKE3 digest of its bytes.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use crate::{
    disk::{Disk, DiskFile, OpenMode, TEMP_PREFIX, publish_over},
    error::{IoContext, Operation, StoreError},
};

const CHUNK: usize = 1 << 16;

/// The plain BLAKE3 digest of a body's bytes; written as 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyDigest(pub [u8; 32]);

impl BodyDigest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for BodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl FromStr for BodyDigest {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| StoreError::DigestSyntax)?;
        // One name for each body: upper-case digits would be another file.
        if digest.to_string() == text {
            Ok(digest)
        } else {
            Err(StoreError::DigestSyntax)
        }
    }
}

/// One body in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyInfo {
    /// The digest that the file's name claims; reading checks it.
    pub digest: BodyDigest,
    /// Length in bytes.
    pub len: u64,
}

/// What pruning removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Number of bodies.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Reading access to a directory of bodies.
#[derive(Debug, Clone)]
pub struct Bodies {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Bodies {
    /// Bodies in the directory `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// The file of a body, whether it is there or not.
    #[must_use]
    pub fn path(&self, digest: &BodyDigest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// Whether there is a body of this name. Its bytes are not checked.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn contains(&self, digest: &BodyDigest) -> Result<bool, StoreError> {
        let path = self.path(digest);
        self.disk.exists(&path).at(Operation::Read, &path)
    }

    /// Opens a body for streaming.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and other errors of the disk.
    pub fn open(&self, digest: &BodyDigest) -> Result<BodyReader, StoreError> {
        let path = self.path(digest);
        let file = self
            .disk
            .open(&path, OpenMode::Read)
            .at(Operation::Open, &path)?;
        Ok(BodyReader {
            file,
            path,
            expected: *digest,
            hasher: blake3::Hasher::new(),
            offset: 0,
            checked: false,
        })
    }

    /// Reads a whole body of at most `max_len` bytes and checks its digest.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] before anything is allocated for it, [`StoreError::BodyMismatch`],
    /// [`StoreError::NotFound`] and other errors of the disk.
    pub fn read_verified(&self, digest: &BodyDigest, max_len: u64) -> Result<Vec<u8>, StoreError> {
        let mut reader = self.open(digest)?;
        let too_large = || StoreError::TooLarge {
            path: self.path(digest),
            max: max_len,
        };
        let len = reader.len()?;
        if len > max_len {
            return Err(too_large());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| too_large())?];
        let mut filled = 0;
        while filled < bytes.len() {
            match reader.read(&mut bytes[filled..])? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        bytes.truncate(filled);
        // A file that grew meanwhile, or shrank, has another digest.
        reader.finish()?;
        Ok(bytes)
    }

    /// All bodies, sorted by digest. Files with other names are left out.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn list(&self) -> Result<Vec<BodyInfo>, StoreError> {
        let entries = self.disk.list(&self.dir).at(Operation::List, &self.dir)?;
        Ok(entries
            .iter()
            .filter_map(|entry| {
                Some(BodyInfo {
                    digest: entry.name.to_str()?.parse().ok()?,
                    len: entry.size,
                })
            })
            .collect())
    }
}

/// Streams a body. What was read may be used only after [`BodyReader::finish`] returned `Ok`.
#[derive(Debug)]
pub struct BodyReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    expected: BodyDigest,
    hasher: blake3::Hasher,
    offset: u64,
    checked: bool,
}

impl BodyReader {
    /// Length of the file in bytes.
    ///
    /// # Errors
    /// Errors of the disk.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length asked of the disk, not a container's"
    )]
    pub fn len(&mut self) -> Result<u64, StoreError> {
        self.file.size().at(Operation::Read, &self.path)
    }

    /// Reads up to `buffer.len()` bytes; 0 at the end, and only if the digest of all bytes is right.
    ///
    /// # Errors
    /// [`StoreError::BodyMismatch`] at the end of a changed body; errors of the disk.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self
            .file
            .read_at(self.offset, buffer)
            .at(Operation::Read, &self.path)?;
        if count == 0 {
            let found = BodyDigest(*self.hasher.finalize().as_bytes());
            if found != self.expected {
                return Err(StoreError::BodyMismatch {
                    path: self.path.clone(),
                    expected: self.expected,
                    found,
                });
            }
            self.checked = true;
        }
        self.hasher.update(&buffer[..count]);
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }

    /// Reads what is left and checks the digest.
    ///
    /// # Errors
    /// As [`BodyReader::read`].
    pub fn finish(mut self) -> Result<(), StoreError> {
        let mut rest = Vec::new();
        while !self.checked {
            rest.resize(CHUNK, 0);
            self.read(&mut rest)?;
        }
        Ok(())
    }
}

impl io::Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        BodyReader::read(self, buffer).map_err(io::Error::other)
    }
}

/// Writing access to the bodies of a log. Clones may be used from several threads.
#[derive(Debug, Clone)]
pub struct BodyStore {
    bodies: Bodies,
}

impl BodyStore {
    /// Bodies in the directory `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self {
            bodies: Bodies::new(disk, dir),
        }
    }

    /// Reading access.
    #[must_use]
    pub fn reader(&self) -> &Bodies {
        &self.bodies
    }

    fn disk(&self) -> &dyn Disk {
        &*self.bodies.disk
    }

    /// Starts a body of at most `limit` bytes.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn writer(&self, limit: u64) -> Result<BodyWriter, StoreError> {
        let name = format!("{TEMP_PREFIX}body-{:x}", self.disk().unique());
        let temp = self.bodies.dir.join(name);
        let file = self
            .disk()
            .open(&temp, OpenMode::CreateNew)
            .at(Operation::Create, &temp)?;
        Ok(BodyWriter {
            bodies: self.bodies.clone(),
            temp,
            file,
            hasher: blake3::Hasher::new(),
            buffer: Vec::new(),
            written: 0,
            limit,
            failed: false,
            published: false,
        })
    }

    /// Takes over a complete file of at most `limit` bytes that another part of the process wrote, after checking that
    /// its bytes have `digest`. On the same file system it is renamed, otherwise copied and removed.
    ///
    /// # Errors
    /// [`StoreError::BodyMismatch`] or [`StoreError::TooLarge`]: the file is left where it is. Errors of the disk.
    pub fn adopt(&self, path: &Path, digest: &BodyDigest, limit: u64) -> Result<(), StoreError> {
        let mut source = self
            .disk()
            .open(path, OpenMode::ReadWrite)
            .at(Operation::Open, path)?;
        let mut hasher = blake3::Hasher::new();
        copy(&mut *source, path, limit, |bytes| {
            hasher.update(bytes);
            Ok(())
        })?;
        let found = BodyDigest(*hasher.finalize().as_bytes());
        if found != *digest {
            return Err(StoreError::BodyMismatch {
                path: path.to_path_buf(),
                expected: *digest,
                found,
            });
        }
        source.sync().at(Operation::Sync, path)?;
        let target = self.bodies.path(digest);
        match self.disk().rename(path, &target) {
            Ok(()) => self
                .disk()
                .sync_dir(&self.bodies.dir)
                .at(Operation::Sync, &self.bodies.dir),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let mut writer = self.writer(limit)?;
                copy(&mut *source, path, limit, |bytes| writer.write(bytes))?;
                writer.commit_as(digest)?;
                self.disk().remove_file(path).at(Operation::Remove, path)
            }
            Err(error) => Err(StoreError::from_io(Operation::Rename, &target, &error)),
        }
    }

    /// Removes every body that is not in `referenced`.
    ///
    /// The caller makes sure that no body is committed, but not yet in a record, meanwhile.
    ///
    /// # Errors
    /// Errors of the disk; bodies removed before are gone.
    pub fn prune(&self, referenced: &BTreeSet<BodyDigest>) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        for body in self.bodies.list()? {
            if !referenced.contains(&body.digest) {
                let path = self.bodies.path(&body.digest);
                self.disk()
                    .remove_file(&path)
                    .at(Operation::Remove, &path)?;
                pruned.bodies = pruned.bodies.saturating_add(1);
                pruned.bytes = pruned.bytes.saturating_add(body.len);
            }
        }
        if pruned.bodies > 0 {
            let dir = &self.bodies.dir;
            self.disk().sync_dir(dir).at(Operation::Sync, dir)?;
        }
        Ok(pruned)
    }
}

/// Hands the bytes of `file` to `sink` in chunks, refusing more than `limit`.
fn copy(
    file: &mut dyn DiskFile,
    path: &Path,
    limit: u64,
    mut sink: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0_u64;
    loop {
        let count = file.read_at(offset, &mut chunk).at(Operation::Read, path)?;
        if count == 0 {
            return Ok(());
        }
        offset = offset.saturating_add(count as u64);
        if offset > limit {
            return Err(StoreError::TooLarge {
                path: path.to_path_buf(),
                max: limit,
            });
        }
        sink(&chunk[..count])?;
    }
}

/// A body that is being written, under a temporary name. Dropped without [`BodyWriter::commit`] it leaves nothing.
#[derive(Debug)]
pub struct BodyWriter {
    bodies: Bodies,
    temp: PathBuf,
    file: Box<dyn DiskFile>,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    written: u64,
    limit: u64,
    failed: bool,
    published: bool,
}

impl BodyWriter {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if the body would be above its limit; [`StoreError::DiskFull`] and others of the disk.
    /// After any error the writer can only be dropped ([`StoreError::Poisoned`]).
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.usable()?;
        let after = self.len().saturating_add(bytes.len() as u64);
        if after > self.limit {
            self.failed = true;
            return Err(StoreError::TooLarge {
                path: self.temp.clone(),
                max: self.limit,
            });
        }
        self.hasher.update(bytes);
        if self.buffer.len().saturating_add(bytes.len()) <= CHUNK {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        self.put(bytes)
    }

    /// Bytes so far.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a count of bytes written, not a container's length"
    )]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.written.saturating_add(self.buffer.len() as u64)
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Poisoned {
                path: self.temp.clone(),
            });
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let result = self.file.write_all_at(self.written, bytes);
        self.failed |= result.is_err();
        result.at(Operation::Write, &self.temp)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.put(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// Makes the body durable under its digest, and visible only then. Committing the same bytes twice is one body.
    ///
    /// # Errors
    /// Errors of the disk: there is no body then.
    pub fn commit(self) -> Result<BodyDigest, StoreError> {
        let digest = BodyDigest(*self.hasher.finalize().as_bytes());
        self.publish(digest)?;
        Ok(digest)
    }

    /// As [`BodyWriter::commit`], for a sender that announced `expected`.
    ///
    /// # Errors
    /// [`StoreError::BodyMismatch`] if the bytes have another digest; as [`BodyWriter::commit`].
    pub fn commit_as(self, expected: &BodyDigest) -> Result<(), StoreError> {
        let found = BodyDigest(*self.hasher.finalize().as_bytes());
        if found != *expected {
            return Err(StoreError::BodyMismatch {
                path: self.temp.clone(),
                expected: *expected,
                found,
            });
        }
        self.publish(found)
    }

    fn publish(mut self, digest: BodyDigest) -> Result<(), StoreError> {
        self.usable()?;
        self.flush()?;
        self.file.sync().at(Operation::Sync, &self.temp)?;
        let path = self.bodies.path(&digest);
        // Replacing is right: the bytes are the same, unless the old file rotted.
        publish_over(&*self.bodies.disk, &self.temp, &path)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if !self.published {
            // If this fails too, opening the log removes the file.
            let _removed = self.bodies.disk.remove_file(&self.temp);
        }
    }
}
