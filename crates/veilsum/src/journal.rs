//! A party's log with protocol records in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use veilsum_protocol::Record;
use veilsum_store::{Disk, LOG_FILE, Log, LogIdentity, Records, StoreError};
use veilsum_wire::{Wire, WireError};

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
}

/// The records of a log in their order, one in memory at a time.
pub(crate) struct Stored {
    path: PathBuf,
    records: Records,
}

impl Iterator for Stored {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.records.next()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error.into())),
        };
        let decoded = Record::from_bytes(&record.payload);
        Some(decoded.map_err(|cause| JournalError::Record {
            path: self.path.clone(),
            index: record.index,
            cause,
        }))
    }
}

fn decode(path: &Path, records: Records) -> Stored {
    let path = path.to_owned();
    Stored { path, records }
}

/// An open log of [`Record`]s.
#[derive(Debug)]
pub(crate) struct Journal {
    log: Log,
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
        let (log, recovery) = Log::open_or_create(disk, dir, identity)?;
        if recovery.cut_bytes > 0 {
            tracing::warn!(target: "veilsum", event = "torn_tail_cut", path = %log.path().display(), bytes = recovery.cut_bytes);
        }
        let records = decode(log.path(), log.records()?);
        Ok((Self { log }, records))
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

    /// The records of the log in `dir`, which may be in use; none when there is no log.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Vec<Record>, JournalError> {
        let path = dir.join(LOG_FILE);
        match Records::open(disk, &path) {
            Ok(records) => decode(&path, records).collect(),
            Err(StoreError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends records, all or none, and makes them durable.
    pub(crate) fn persist(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let encoded: Vec<(u16, Vec<u8>)> = records
            .iter()
            .map(|r| (u16::from(r.tag()), r.to_bytes()))
            .collect();
        let borrowed: Vec<(u16, &[u8])> = encoded
            .iter()
            .map(|(kind, bytes)| (*kind, bytes.as_slice()))
            .collect();
        self.log.append_batch(&borrowed)?;
        self.log.sync()?;
        Ok(())
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }
}
