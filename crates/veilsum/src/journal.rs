//! A party's log with protocol records in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use veilsum_crypto::Digest;
use veilsum_protocol::{Bytes, LargePartError, Record};
use veilsum_store::{
    BODIES_DIR, Bodies, BodyDigest, BodyStore, Disk, LOG_FILE, Log, LogIdentity, Records,
    StoreError,
};
use veilsum_wire::{Wire, WireError};

/// Larger parts do not go into a record: it has 2^24 bytes, and what goes with them has to fit too.
pub(crate) const RECORDED_MAX: u64 = 15 << 20;

/// Why a party's log cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JournalError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is whole, but no record that this version knows.
    #[error("{}: record {index} is not known to this version ({cause}): use the version that wrote it", path.display())]
    Record {
        /// The log file.
        path: PathBuf,
        /// Its place in the log.
        index: u64,
        /// What is wrong with it.
        cause: WireError,
    },
    /// The body with the large part of a record cannot be read, or is not what was stored.
    #[error("{}: what record {index} keeps beside the log: {cause}; restore the directory from a copy", path.display())]
    Body {
        /// The log file.
        path: PathBuf,
        /// Place of the record in the log.
        index: u64,
        /// What is wrong with the body.
        cause: Box<StoreError>,
    },
    /// A record names a body that is whole and is not the large part of such a record.
    #[error("{}: what record {index} keeps beside the log: {cause}; use the version that wrote it", path.display())]
    Part {
        /// The log file.
        path: PathBuf,
        /// Place of the record in the log.
        index: u64,
        /// What is wrong with it.
        cause: LargePartError,
    },
}

/// The records of a log in their order, one in memory at a time. Each is whole but a client's large contribution: the body of
/// that is read only where it is sent again.
pub(crate) struct Stored {
    path: PathBuf,
    records: Records,
    bodies: Bodies,
}

impl Stored {
    fn whole(&self, index: u64, record: Record) -> Result<Record, JournalError> {
        let named = match &record {
            Record::ClientLargeContribution { .. } => None,
            record => record.named_part(),
        };
        let Some((digest, len)) = named else {
            return Ok(record);
        };
        let read = self.bodies.read_verified(&BodyDigest(digest.0), len);
        let bytes = read.map_err(|cause| JournalError::Body {
            path: self.path.clone(),
            index,
            cause: Box::new(cause),
        })?;
        record
            .with_large_part(bytes)
            .map_err(|cause| JournalError::Part {
                path: self.path.clone(),
                index,
                cause,
            })
    }
}

impl Iterator for Stored {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.records.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error.into())),
        };
        let decoded = Record::from_bytes(&record.payload).map_err(|cause| JournalError::Record {
            path: self.path.clone(),
            index: record.index,
            cause,
        });
        Some(decoded.and_then(|decoded| self.whole(record.index, decoded)))
    }
}

/// Stores the large part of a record that is larger than `recorded_max`, and gives the record that names it.
fn put_aside(
    bodies: &BodyStore,
    record: &Record,
    recorded_max: u64,
) -> Result<Option<Record>, StoreError> {
    let Some(part) = record.large_part().filter(|part| part.len() > recorded_max) else {
        return Ok(None);
    };
    let mut writer = bodies.writer(part.len())?;
    part.pieces(|bytes| writer.write(bytes))?;
    let digest = writer.commit()?;
    Ok(record.without_large_part(Digest(digest.0)))
}

/// Many contributions in one log are more than memory holds.
fn without_body(mut record: Record) -> Record {
    if let Record::ClientContribution { body, .. } = &mut record {
        *body = Bytes(Vec::new());
    }
    record
}

/// An open log of [`Record`]s.
#[derive(Debug)]
pub(crate) struct Journal {
    log: Log,
    recorded_max: u64,
}

impl Journal {
    /// Opens or makes the log in `dir` and reads what is in it.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let (journal, stored) = Self::open_streaming(disk, dir, identity)?;
        Ok((journal, stored.collect::<Result<_, _>>()?))
    }

    /// As [`Self::open`], for a log that may be larger than memory.
    pub(crate) fn open_streaming(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: LogIdentity,
    ) -> Result<(Self, Stored), JournalError> {
        let (log, _) = Log::open_or_create(disk, dir, identity)?;
        let stored = Stored {
            path: log.path().to_owned(),
            records: log.records()?,
            bodies: log.bodies().reader().clone(),
        };
        let journal = Self {
            log,
            recorded_max: RECORDED_MAX,
        };
        Ok((journal, stored))
    }

    /// The first record of the log in `dir`, which may be in use; none when there is no log or it is empty.
    pub(crate) fn first(disk: &dyn Disk, dir: &Path) -> Result<Option<Record>, JournalError> {
        let path = dir.join(LOG_FILE);
        let mut records = match Records::open(disk, &path) {
            Ok(records) => records,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(record) = records.next() else {
            return Ok(None);
        };
        let failed = |cause| JournalError::Record {
            path: path.clone(),
            index: 0,
            cause,
        };
        Record::from_bytes(&record?.payload)
            .map(Some)
            .map_err(failed)
    }

    /// The records of the log in `dir`, which may be in use, without the bodies of contributions; none when there is no log.
    pub(crate) fn read(disk: Arc<dyn Disk>, dir: &Path) -> Result<Vec<Record>, JournalError> {
        let path = dir.join(LOG_FILE);
        match Records::open(&*disk, &path) {
            Ok(records) => {
                let bodies = Bodies::new(disk, dir.join(BODIES_DIR));
                let stored = Stored {
                    path,
                    records,
                    bodies,
                };
                stored.map(|record| Ok(without_body(record?))).collect()
            }
            Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends records, all or none, and makes them durable; the large parts that a record does not hold before them. Gives
    /// the records, as they are in the log, whose large parts are beside it.
    pub(crate) fn persist(&mut self, records: &[Record]) -> Result<Vec<Record>, StoreError> {
        let mut named = Vec::new();
        if records.is_empty() {
            return Ok(named);
        }
        let mut encoded: Vec<(u16, Vec<u8>)> = Vec::with_capacity(records.len());
        for record in records {
            let aside = put_aside(self.log.bodies(), record, self.recorded_max)?;
            let written = aside.as_ref().unwrap_or(record);
            encoded.push((written.tag().into(), written.to_bytes()));
            named.extend(aside);
        }
        let borrowed: Vec<(u16, &[u8])> = encoded
            .iter()
            .map(|(kind, bytes)| (*kind, bytes.as_slice()))
            .collect();
        self.log.append_batch(&borrowed)?;
        self.log.sync()?;
        Ok(named)
    }

    /// Takes parts for large that are not, so that tests need no large ones.
    #[cfg(test)]
    pub(crate) fn set_recorded_max(&mut self, bytes: u64) {
        self.recorded_max = bytes;
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }
}

#[cfg(test)]
mod tests;
