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

fn decode(path: &Path, records: Records) -> Result<Vec<Record>, JournalError> {
    let decoded = records.map(|record| {
        let record = record?;
        Record::from_bytes(&record.payload).map_err(|cause| JournalError::Record {
            path: path.to_owned(),
            index: record.index,
            cause,
        })
    });
    decoded.collect()
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
        let (log, recovery) = Log::open_or_create(disk, dir, identity)?;
        if recovery.cut_bytes > 0 {
            tracing::warn!(target: "veilsum", event = "torn_tail_cut", path = %log.path().display(), bytes = recovery.cut_bytes);
        }
        let records = decode(log.path(), log.records()?)?;
        Ok((Self { log }, records))
    }

    /// The records of the log in `dir`, which may be in use; none when there is no log.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Vec<Record>, JournalError> {
        let path = dir.join(LOG_FILE);
        match Records::open(disk, &path) {
            Ok(records) => decode(&path, records),
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
