//! Reading records front to back, checking each, and telling a torn tail from damage.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    disk::{Disk, DiskFile, OpenMode},
    error::{Damage, IoContext, Operation, StoreError},
    format::{
        CHAIN_LEN, Chain, ChainHead, FILE_HEADER_LEN, HeaderFault, KIND_CLOSED, LogIdentity,
        RECORD_HEADER_LEN, RecordHeader, decode_file_header, recognise_header,
    },
};

const BUFFER_LEN: usize = 1 << 16;
/// The unit in which a disk keeps or loses a write.
const SECTOR: u64 = 512;

/// One record of a log, checked against the chain.
///
/// `Debug` shows the length of the payload only: a member's or client's log holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its position among the records, from 0.
    pub index: u64,
    /// Byte offset of its first byte in the log file.
    pub offset: u64,
    /// What the payload is, in the words of the layer above.
    pub kind: u16,
    /// The payload.
    pub payload: Vec<u8>,
    /// The chain value behind this record.
    pub chain: [u8; 32],
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("index", &self.index)
            .field("offset", &self.offset)
            .field("kind", &self.kind)
            .field("payload_len", &self.payload.len())
            .field("chain", &self.chain)
            .finish()
    }
}

impl Record {
    /// The chain head behind this record.
    #[must_use]
    pub fn head(&self) -> ChainHead {
        ChainHead {
            records: self.index.saturating_add(1),
            value: self.chain,
        }
    }
}

/// Positioned reads through one small buffer.
struct Buffered {
    file: Box<dyn DiskFile>,
    start: u64,
    data: Vec<u8>,
}

impl fmt::Debug for Buffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered")
            .field("file", &self.file)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Buffered {
    fn read_exact_at(&mut self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let inside = offset
                .checked_sub(self.start)
                .and_then(|skip| usize::try_from(skip).ok())
                .and_then(|skip| self.data.get(skip..))
                .filter(|rest| !rest.is_empty());
            let count = if let Some(rest) = inside {
                let count = rest.len().min(out.len());
                out[..count].copy_from_slice(&rest[..count]);
                count
            } else if out.len() >= BUFFER_LEN {
                self.file.read_at(offset, out)?
            } else {
                self.data.resize(BUFFER_LEN, 0);
                let read = self.file.read_at(offset, &mut self.data);
                self.data.truncate(*read.as_ref().unwrap_or(&0));
                self.start = offset;
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            offset = offset.saturating_add(count as u64);
            out = &mut out[count..];
        }
        Ok(())
    }
}

/// What stands at the reader's place.
#[derive(Debug)]
pub(crate) enum Step {
    Record(Record, RecordHeader),
    End,
    Damaged(Damage),
}

/// What a damaged place of an open log means (`specs/log.md`, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Torn,
    Corrupt,
}

/// How many record numbers to both sides [`Records::resume`] tries.
const RESUME_TRIES: u64 = 4;

/// The records of a log file in order, each checked against the chain. Memory is bounded by one record.
///
/// After the first error the iterator ends. The closing record is not among the items; see [`crate::ClosedLog`].
#[derive(Debug)]
pub struct Records {
    reader: Buffered,
    path: PathBuf,
    identity: LogIdentity,
    size: u64,
    offset: u64,
    chain: Chain,
    done: bool,
}

impl Records {
    /// Opens a log file for reading only, without a lock: for looking at a log, closed or not.
    ///
    /// An iterator over an open log may show records of an atomic batch that is not complete.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Version`] for the file header, and errors of the disk.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StoreError> {
        let mut file = disk.open(path, OpenMode::Read).at(Operation::Open, path)?;
        let size = file.size().at(Operation::Read, path)?;
        Self::over(file, path, size)
    }

    /// Reads the first `size` bytes of `file`.
    pub(crate) fn over(
        file: Box<dyn DiskFile>,
        path: &Path,
        size: u64,
    ) -> Result<Self, StoreError> {
        let corrupt = |damage| StoreError::Corrupt {
            path: path.to_path_buf(),
            offset: 0,
            record: 0,
            damage,
        };
        if size < FILE_HEADER_LEN as u64 {
            return Err(corrupt(Damage::FileHeaderShort));
        }
        let mut reader = Buffered {
            file,
            start: 0,
            data: Vec::new(),
        };
        let mut header = [0; FILE_HEADER_LEN];
        reader
            .read_exact_at(0, &mut header)
            .at(Operation::Read, path)?;
        let (identity, chain) = decode_file_header(&header).map_err(|fault| match fault {
            HeaderFault::Damage(damage) => corrupt(damage),
            HeaderFault::Version(found) => StoreError::Version {
                path: path.to_path_buf(),
                found,
            },
        })?;
        Ok(Self {
            reader,
            path: path.to_path_buf(),
            identity,
            size,
            offset: FILE_HEADER_LEN as u64,
            chain,
            done: false,
        })
    }

    /// Whose log it is, as the checked file header says.
    #[must_use]
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn place(&self) -> Chain {
        self.chain
    }

    /// After an item that was [`StoreError::Corrupt`]: moves to the next place that holds a record of this log, so that a
    /// reader who wants to know *everything* that is wrong can go on. False when there is none. What follows is checked from
    /// there on as ever; whether it is the record that belongs there nobody can tell.
    ///
    /// # Errors
    /// Errors of the disk.
    pub fn resume(&mut self) -> Result<bool, StoreError> {
        if !self.done {
            return Ok(true);
        }
        let from = self.offset.saturating_add(1);
        let Some((found, _)) = self.search(from, None)? else {
            return Ok(false);
        };
        let mut value = [0; CHAIN_LEN];
        self.read(found.saturating_sub(CHAIN_LEN as u64), &mut value)?;
        self.offset = found;
        self.chain.head.value = value;
        // Numbers are part of the chain; a few are tried, for records may be missing or there twice.
        let expected = self.chain.head.records.saturating_add(1);
        for records in (expected..expected.saturating_add(RESUME_TRIES))
            .chain(expected.saturating_sub(RESUME_TRIES)..expected)
        {
            self.chain.head.records = records;
            if matches!(self.step()?, Step::Record(..)) {
                self.offset = found;
                self.chain.head = ChainHead { records, value };
                self.done = false;
                return Ok(true);
            }
        }
        self.chain.head.records = expected;
        self.done = false;
        Ok(true)
    }

    /// The error for damage at the reader's place.
    pub(crate) fn corrupt(&self, damage: Damage) -> StoreError {
        self.corrupt_at((self.offset, self.chain.head.records), damage)
    }

    pub(crate) fn corrupt_at(&self, (offset, record): (u64, u64), damage: Damage) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            offset,
            record,
            damage,
        }
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), StoreError> {
        self.reader
            .read_exact_at(offset, out)
            .at(Operation::Read, &self.path)
    }

    /// Reads and checks one record; moves on only if it is whole and right.
    pub(crate) fn step(&mut self) -> Result<Step, StoreError> {
        let remaining = self.size.saturating_sub(self.offset);
        if remaining == 0 {
            return Ok(Step::End);
        }
        if remaining < RECORD_HEADER_LEN as u64 {
            return Ok(Step::Damaged(Damage::RecordHeaderShort { remaining }));
        }
        let mut header_bytes = [0; RECORD_HEADER_LEN];
        self.read(self.offset, &mut header_bytes)?;
        let header = match self.chain.decode_header(&header_bytes) {
            Ok(header) => header,
            Err(damage) => return Ok(Step::Damaged(damage)),
        };
        let needed = header.record_len();
        if needed > remaining {
            return Ok(Step::Damaged(Damage::RecordShort { needed, remaining }));
        }
        let (payload, stored) = self.read_body(&header)?;
        let next = self.chain.next(&header_bytes, &payload);
        if next.head.value != stored {
            return Ok(Step::Damaged(Damage::Chain));
        }
        let record = Record {
            index: self.chain.head.records,
            offset: self.offset,
            kind: header.kind,
            payload,
            chain: stored,
        };
        self.offset = self.offset.saturating_add(needed);
        self.chain = next;
        Ok(Step::Record(record, header))
    }

    /// Payload and stored chain value of the record at this place; its length is checked already.
    fn read_body(&mut self, header: &RecordHeader) -> Result<(Vec<u8>, [u8; 32]), StoreError> {
        let len =
            usize::try_from(header.len).map_err(|_| self.corrupt(Damage::Length(header.len)))?;
        let mut payload = vec![0; len];
        let at = self.offset.saturating_add(RECORD_HEADER_LEN as u64);
        self.read(at, &mut payload)?;
        let mut stored = [0; CHAIN_LEN];
        self.read(at.saturating_add(u64::from(header.len)), &mut stored)?;
        Ok((payload, stored))
    }

    /// Decides whether the damage at this place can be the trace of a crash.
    ///
    /// A crash can only harm what was never made durable. It is no crash if, behind the damage, a record is found that
    /// was written after a sync of everything before it, or if later records are there and no sector between is blank.
    pub(crate) fn judge(&mut self) -> Result<Verdict, StoreError> {
        let from = self.offset;
        let mut behind = from.saturating_add(1);
        let mut next_value = None;
        if self.size.saturating_sub(from) >= RECORD_HEADER_LEN as u64 {
            let mut header_bytes = [0; RECORD_HEADER_LEN];
            self.read(from, &mut header_bytes)?;
            if let Ok(header) = self.chain.decode_header(&header_bytes) {
                behind = from.saturating_add(header.record_len());
                if behind > self.size {
                    return Ok(Verdict::Torn);
                }
                // If only the stored chain value is damaged, the next record follows the computed one.
                let (payload, _) = self.read_body(&header)?;
                next_value = Some(self.chain.next(&header_bytes, &payload).head.value);
            }
        }
        let Some((first, fenced)) = self.search(behind, next_value)? else {
            return Ok(Verdict::Torn);
        };
        if fenced || !self.has_blank_sector(from, first)? {
            return Ok(Verdict::Corrupt);
        }
        Ok(Verdict::Torn)
    }

    /// Looks for records of this log from `begin` on: the offset of the first, and whether any of them carries the fence.
    fn search(
        &mut self,
        begin: u64,
        value_at_begin: Option<[u8; 32]>,
    ) -> Result<Option<(u64, bool)>, StoreError> {
        let mut first = None;
        let mut window = Vec::new();
        let mut at = begin;
        while at.saturating_add(RECORD_HEADER_LEN as u64) <= self.size {
            // `at` is behind a file header, so the chain value in front of it is inside the file.
            let base = at.saturating_sub(CHAIN_LEN as u64);
            let wanted = self.size.saturating_sub(base).min(BUFFER_LEN as u64);
            window.resize(usize::try_from(wanted).unwrap_or(BUFFER_LEN), 0);
            self.read(base, &mut window)?;
            for bytes in window.windows(CHAIN_LEN + RECORD_HEADER_LEN) {
                let (mut previous, mut header) = ([0; CHAIN_LEN], [0; RECORD_HEADER_LEN]);
                previous.copy_from_slice(&bytes[..CHAIN_LEN]);
                header.copy_from_slice(&bytes[CHAIN_LEN..]);
                let computed = value_at_begin.filter(|_| at == begin);
                let found = recognise_header(&self.chain.start, &previous, &header)
                    .or_else(|| recognise_header(&self.chain.start, &computed?, &header));
                if let Some(header) = found {
                    let offset = *first.get_or_insert(at);
                    if header.fence() {
                        return Ok(Some((offset, true)));
                    }
                }
                at = at.saturating_add(1);
            }
        }
        Ok(first.map(|offset| (offset, false)))
    }

    /// Whether a sector between `from` and `to` holds only zeros there: space that was reserved and never written.
    fn has_blank_sector(&mut self, from: u64, to: u64) -> Result<bool, StoreError> {
        let mut sector = [0; SECTOR as usize];
        let mut at = from;
        loop {
            let end = (at / SECTOR).saturating_add(1).saturating_mul(SECTOR);
            if end > to {
                return Ok(false);
            }
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(sector.len());
            self.read(at, &mut sector[..len])?;
            if sector[..len].iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            at = end;
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = match self.step() {
            Ok(Step::Record(record, _)) if record.kind == KIND_CLOSED => None,
            Ok(Step::Record(record, _)) => Some(Ok(record)),
            Ok(Step::End) => None,
            Ok(Step::Damaged(damage)) => Some(Err(self.corrupt(damage))),
            Err(error) => Some(Err(error)),
        };
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}
