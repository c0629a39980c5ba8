//! The open log: appending, making durable, recovering after a crash, closing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    bodies::BodyStore,
    disk::{
        Disk, DiskFile, DiskLock, OpenMode, TEMP_PREFIX, ensure_dir, publish_new,
        remove_stale_temps,
    },
    error::{Damage, IoContext, Operation, StoreError},
    format::{
        Chain, ChainHead, FLAG_FENCE, FLAG_MORE, KIND_CLOSED, LogIdentity, MAX_BATCH_LEN,
        MAX_PAYLOAD_LEN, RECORD_OVERHEAD, RecordHeader, encode_file_header,
    },
    reader::{Records, Step, Verdict},
};

/// Name of the log file in its directory.
pub const LOG_FILE: &str = "log";
/// Name of the lock file.
pub const LOCK_FILE: &str = "lock";
/// Name of the directory of bodies.
pub const BODIES_DIR: &str = "bodies";

/// What opening a log found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Whole records in the log now.
    pub records: u64,
    /// Bytes of a torn tail that were cut off; 0 after a clean stop.
    pub cut_bytes: u64,
    /// Whether the log is closed, so that it can only be read.
    pub closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    Poisoned,
}

/// The exclusive right to a state directory, given back when dropped or when the process dies.
///
/// A [`Log`] takes the lock of its own directory. A process that keeps several logs below one directory takes the lock
/// of that directory as well.
#[derive(Debug)]
pub struct DirLock {
    _lock: Box<dyn DiskLock>,
}

impl DirLock {
    /// Takes the lock of `dir`, which must exist.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another handle or process has it; errors of the disk.
    pub fn acquire(disk: &dyn Disk, dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK_FILE);
        match disk.lock(&path).at(Operation::Lock, &path)? {
            Some(lock) => Ok(Self { _lock: lock }),
            None => Err(StoreError::Locked { path }),
        }
    }
}

/// An append-only, hash-chained log in a directory of its own, and the bodies beside it.
///
/// Appending hands the bytes to the operating system (they survive the death of the process); [`Log::sync`] makes them
/// survive the loss of power. Nothing that depends on a record may leave the process before `sync` returned `Ok`.
///
/// Format and rules: `specs/log.md`.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    identity: LogIdentity,
    chain: Chain,
    size: u64,
    durable: ChainHead,
    state: State,
    bodies: BodyStore,
    _lock: DirLock,
}

impl Log {
    /// Makes a new log in `dir` (made if it is not there). The empty log is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if `dir` has a log, [`StoreError::Locked`], and errors of the disk.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
    ) -> Result<Self, StoreError> {
        ensure_dir(&*disk, dir)?;
        let lock = DirLock::acquire(&*disk, dir)?;
        Self::create_locked(disk, dir, identity, lock)
    }

    fn create_locked(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
        lock: DirLock,
    ) -> Result<Self, StoreError> {
        let path = dir.join(LOG_FILE);
        if disk.exists(&path).at(Operation::Read, &path)? {
            return Err(StoreError::Exists { path });
        }
        let bodies = Self::prepare_dir(&disk, dir)?;
        let temp = dir.join(format!("{TEMP_PREFIX}log-{:x}", disk.unique()));
        let (header, chain) = encode_file_header(&identity);
        let mut file = disk
            .open(&temp, OpenMode::CreateNew)
            .at(Operation::Create, &temp)?;
        file.write_all_at(0, &header).at(Operation::Write, &temp)?;
        file.sync().at(Operation::Sync, &temp)?;
        publish_new(&*disk, &temp, &path)?;
        Ok(Self {
            disk,
            path,
            file,
            identity,
            chain,
            size: header.len() as u64,
            durable: chain.head,
            state: State::Open,
            bodies,
            _lock: lock,
        })
    }

    fn prepare_dir(disk: &Arc<dyn Disk>, dir: &Path) -> Result<BodyStore, StoreError> {
        let bodies = dir.join(BODIES_DIR);
        ensure_dir(&**disk, &bodies)?;
        remove_stale_temps(&**disk, dir)?;
        remove_stale_temps(&**disk, &bodies)?;
        Ok(BodyStore::new(Arc::clone(disk), bodies))
    }

    /// Opens the log in `dir` to go on with it, after a clean stop or a crash.
    ///
    /// A torn tail is cut back to the last whole record (of a batch: to the record before the batch). All that remains
    /// is durable when this returns. A closed log opens too, but takes no records.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no log; [`StoreError::Corrupt`] for damage that no crash explains;
    /// [`StoreError::Version`]; [`StoreError::WrongIdentity`]; [`StoreError::Locked`]; errors of the disk.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
    ) -> Result<(Self, Recovery), StoreError> {
        let path = dir.join(LOG_FILE);
        if !disk.exists(&path).at(Operation::Read, &path)? {
            return Err(StoreError::NotFound {
                operation: Operation::Open,
                path,
            });
        }
        let lock = DirLock::acquire(&*disk, dir)?;
        Self::open_locked(disk, dir, identity, lock)
    }

    /// Opens the log in `dir`, or makes it if there is none: what a party does when it starts.
    ///
    /// # Errors
    /// As [`Log::open`] and [`Log::create`].
    pub fn open_or_create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
    ) -> Result<(Self, Recovery), StoreError> {
        ensure_dir(&*disk, dir)?;
        let lock = DirLock::acquire(&*disk, dir)?;
        let path = dir.join(LOG_FILE);
        if disk.exists(&path).at(Operation::Read, &path)? {
            return Self::open_locked(disk, dir, identity, lock);
        }
        let log = Self::create_locked(disk, dir, identity, lock)?;
        Ok((
            log,
            Recovery {
                records: 0,
                cut_bytes: 0,
                closed: false,
            },
        ))
    }

    /// What opening the log in `dir` would find and cut off. Takes no lock and writes nothing: its owner may be at work on it.
    ///
    /// # Errors
    /// As [`Log::open`], but for the lock and the identity, which is not looked at.
    pub fn look(disk: &dyn Disk, dir: &Path) -> Result<Recovery, StoreError> {
        let mut records = Records::open(disk, &dir.join(LOG_FILE))?;
        Ok(Self::judged(&mut records)?.1)
    }

    /// How far a log is whole; an error if no crash explains what is behind.
    fn judged(records: &mut Records) -> Result<(Walk, Recovery), StoreError> {
        let walk = Walk::to_end(records)?;
        if let WalkEnd::Damaged(damage) = walk.end {
            // With a valid check these two were written so, by a program that is not this one.
            let foreign = matches!(damage, Damage::Flags(_) | Damage::Length(_));
            if foreign || records.judge()? == Verdict::Corrupt {
                return Err(records.corrupt(damage));
            }
        }
        let recovery = Recovery {
            records: walk.chain.head.records,
            cut_bytes: records.size().saturating_sub(walk.offset),
            closed: matches!(walk.end, WalkEnd::Closed(_)),
        };
        Ok((walk, recovery))
    }

    fn open_locked(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
        lock: DirLock,
    ) -> Result<(Self, Recovery), StoreError> {
        let path = dir.join(LOG_FILE);
        let mut records = Records::open(&*disk, &path)?;
        if records.identity() != identity {
            return Err(StoreError::WrongIdentity {
                path,
                expected: identity,
                found: records.identity(),
            });
        }
        let (walk, recovery) = Self::judged(&mut records)?;
        let bodies = Self::prepare_dir(&disk, dir)?;
        let mut file = disk
            .open(&path, OpenMode::ReadWrite)
            .at(Operation::Open, &path)?;
        let Recovery {
            cut_bytes, closed, ..
        } = recovery;
        if cut_bytes > 0 {
            tracing::warn!(
                target: "veilsum", event = "torn_tail_cut", path = %path.display(), offset = walk.offset, bytes = cut_bytes,
                records = walk.chain.head.records
            );
            file.set_size(walk.offset).at(Operation::Truncate, &path)?;
        }
        // What a killed process left in the page cache is acted on from here, so it must be durable, and a cut must be
        // durable before new bytes take the place of the old.
        file.sync().at(Operation::Sync, &path)?;
        let log = Self {
            disk,
            path,
            file,
            identity,
            chain: walk.chain,
            size: walk.offset,
            durable: walk.chain.head,
            state: if closed { State::Closed } else { State::Open },
            bodies,
            _lock: lock,
        };
        Ok((log, recovery))
    }

    /// Appends one record of `kind` with `payload`; returns the head behind it.
    ///
    /// # Errors
    /// [`StoreError::RecordTooLarge`], [`StoreError::ReservedKind`], [`StoreError::Closed`], [`StoreError::Poisoned`];
    /// [`StoreError::DiskFull`] and others of the disk: the record is then not in the log. If what was written of it
    /// could be taken back, the log can be used further, otherwise it is poisoned until opened again.
    pub fn append(&mut self, kind: u16, payload: &[u8]) -> Result<ChainHead, StoreError> {
        self.append_batch(&[(kind, payload)])
    }

    /// Appends several records of which, after a crash, all are there or none; returns the head behind the last.
    ///
    /// An empty batch does nothing.
    ///
    /// # Errors
    /// As [`Log::append`]; [`StoreError::RecordTooLarge`] also if all together are above [`MAX_BATCH_LEN`].
    pub fn append_batch(&mut self, records: &[(u16, &[u8])]) -> Result<ChainHead, StoreError> {
        self.writable()?;
        if let Some((kind, _)) = records.iter().find(|(kind, _)| *kind == KIND_CLOSED) {
            return Err(StoreError::ReservedKind(*kind));
        }
        self.write_records(records)
    }

    fn writable(&self) -> Result<(), StoreError> {
        let path = || self.path.clone();
        match self.state {
            State::Open => Ok(()),
            State::Closed => Err(StoreError::Closed { path: path() }),
            State::Poisoned => Err(StoreError::Poisoned { path: path() }),
        }
    }

    fn write_records(&mut self, records: &[(u16, &[u8])]) -> Result<ChainHead, StoreError> {
        let mut total = 0_u64;
        for (_, payload) in records {
            let len = payload.len() as u64;
            if len > u64::from(MAX_PAYLOAD_LEN) {
                return Err(StoreError::RecordTooLarge {
                    len,
                    max: u64::from(MAX_PAYLOAD_LEN),
                });
            }
            total = total
                .saturating_add(len)
                .saturating_add(RECORD_OVERHEAD as u64);
        }
        let too_large = || StoreError::RecordTooLarge {
            len: total,
            max: MAX_BATCH_LEN,
        };
        if total > MAX_BATCH_LEN {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(total).map_err(|_| too_large())?);
        let mut chain = self.chain;
        for (position, (kind, payload)) in records.iter().enumerate() {
            let mut flags = 0;
            if position + 1 < records.len() {
                flags |= FLAG_MORE;
            }
            if chain.head == self.durable {
                flags |= FLAG_FENCE;
            }
            let header = chain.encode_header(&RecordHeader {
                len: u32::try_from(payload.len()).map_err(|_| too_large())?,
                kind: *kind,
                flags,
            });
            chain = chain.next(&header, payload);
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(payload);
            bytes.extend_from_slice(&chain.head.value);
        }
        if let Err(error) = self.file.write_all_at(self.size, &bytes) {
            if self.file.set_size(self.size).is_err() {
                self.state = State::Poisoned;
            }
            return Err(StoreError::from_io(Operation::Write, &self.path, &error));
        }
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.chain = chain;
        Ok(chain.head)
    }

    /// Makes all records appended so far durable; returns the head that is durable now.
    ///
    /// # Errors
    /// Errors of the disk. After one nothing is known about what is durable, so the log is poisoned and must be opened
    /// again. [`StoreError::Poisoned`] if it is so already.
    pub fn sync(&mut self) -> Result<ChainHead, StoreError> {
        if self.state == State::Poisoned {
            return Err(StoreError::Poisoned {
                path: self.path.clone(),
            });
        }
        if self.durable != self.chain.head {
            if let Err(error) = self.file.sync() {
                self.state = State::Poisoned;
                return Err(StoreError::from_io(Operation::Sync, &self.path, &error));
            }
            self.durable = self.chain.head;
        }
        Ok(self.durable)
    }

    /// Closes the log for ever with `signed_head`, the layer above's signature over [`Log::head`]; durable on return.
    ///
    /// # Errors
    /// As [`Log::append`] and [`Log::sync`]. If the closing record was not written, the log is still open.
    pub fn close(&mut self, signed_head: &[u8]) -> Result<ChainHead, StoreError> {
        self.writable()?;
        self.sync()?;
        self.write_records(&[(KIND_CLOSED, signed_head)])?;
        self.state = State::Closed;
        self.sync()
    }

    /// The head behind the last record. Before closing, this is what the closing signature covers.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        self.chain.head
    }

    /// The head that is known to survive a loss of power.
    #[must_use]
    pub fn durable(&self) -> ChainHead {
        self.durable
    }

    /// Whose log it is.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// Length of the log file in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the closing record is written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// The log file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bodies beside the log.
    #[must_use]
    pub fn bodies(&self) -> &BodyStore {
        &self.bodies
    }

    /// The records that are in the log now, from the first, without the closing record: for replaying them.
    ///
    /// # Errors
    /// Errors of the disk; the items are errors if the file was changed by somebody else.
    pub fn records(&self) -> Result<Records, StoreError> {
        let file = self
            .disk
            .open(&self.path, OpenMode::Read)
            .at(Operation::Open, &self.path)?;
        Records::over(file, &self.path, self.size)
    }
}

/// How far a log is whole.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Behind the last record that is whole, and whose batch is.
    pub(crate) offset: u64,
    pub(crate) chain: Chain,
    /// The head in front of the closing record, if there is one.
    pub(crate) signed_head: ChainHead,
    pub(crate) end: WalkEnd,
}

#[derive(Debug)]
pub(crate) enum WalkEnd {
    Open,
    InBatch,
    Damaged(Damage),
    Closed(Vec<u8>),
}

impl Walk {
    /// Reads to the end, to the closing record or to the first damage. The reader then stands behind, or at the damage.
    pub(crate) fn to_end(records: &mut Records) -> Result<Self, StoreError> {
        let mut walk = Self {
            offset: records.offset(),
            chain: records.place(),
            signed_head: records.place().head,
            end: WalkEnd::Open,
        };
        let mut in_batch = false;
        loop {
            let place = (records.offset(), records.place().head.records);
            match records.step()? {
                Step::Record(record, header) if record.kind == KIND_CLOSED => {
                    if in_batch || header.flags != FLAG_FENCE {
                        return Err(records.corrupt_at(place, Damage::ClosingMalformed));
                    }
                    let behind = records.size().saturating_sub(records.offset());
                    if behind > 0 {
                        return Err(records.corrupt(Damage::AfterClosing(behind)));
                    }
                    walk.end = WalkEnd::Closed(record.payload);
                    walk.signed_head = walk.chain.head;
                    walk.offset = records.offset();
                    walk.chain = records.place();
                    return Ok(walk);
                }
                Step::Record(_, header) => {
                    in_batch = header.more();
                    if !in_batch {
                        walk.offset = records.offset();
                        walk.chain = records.place();
                    }
                }
                Step::End => {
                    if in_batch {
                        walk.end = WalkEnd::InBatch;
                    }
                    return Ok(walk);
                }
                Step::Damaged(damage) => {
                    walk.end = WalkEnd::Damaged(damage);
                    return Ok(walk);
                }
            }
        }
    }
}
