//! What the tests of the store share.
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use veilsum_store::{Disk, Log, LogIdentity, Role, SimDisk, StoreError};

pub(crate) const IDENTITY: LogIdentity = LogIdentity {
    role: Role::Server,
    context: [7; 32],
};

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("state/round-1")
}

pub(crate) fn log_path() -> PathBuf {
    dir().join("log")
}

pub(crate) fn arc(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// The payload that the tests write as record `index`: never blank, of varying length.
pub(crate) fn payload(index: usize) -> Vec<u8> {
    (0..index * 37 % 150)
        .map(|byte| u8::try_from(byte).unwrap() ^ 0x5a)
        .collect()
}

pub(crate) fn kind(index: usize) -> u16 {
    u16::try_from(index).unwrap() + 1
}

/// A log of `records` records, synced after each if asked, or once at the end.
pub(crate) fn sample(records: usize, sync_each: bool) -> (SimDisk, Log) {
    let disk = SimDisk::new();
    let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
    for index in 0..records {
        log.append(kind(index), &payload(index)).unwrap();
        if sync_each {
            log.sync().unwrap();
        }
    }
    log.sync().unwrap();
    (disk, log)
}

pub(crate) type Flat = Vec<(u16, Vec<u8>)>;

pub(crate) fn flat(log: &Log) -> Flat {
    log.records()
        .unwrap()
        .map(|record| record.map(|record| (record.kind, record.payload)))
        .collect::<Result<_, StoreError>>()
        .unwrap()
}

pub(crate) fn expected(records: usize) -> Flat {
    (0..records)
        .map(|index| (kind(index), payload(index)))
        .collect()
}

/// A disk that holds only a log file with these bytes.
pub(crate) fn disk_with(path: &Path, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    disk.put(path, bytes);
    disk
}
