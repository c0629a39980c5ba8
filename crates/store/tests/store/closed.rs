//! A closed log is read strictly: any change of any byte or of the order shows.

use std::collections::BTreeSet;

use crate::common::{IDENTITY, arc, dir, disk_with, expected, kind, log_path, payload, sample};
use veilsum_store::{
    ClosedLog, Damage, FILE_HEADER_LEN, Log, RECORD_OVERHEAD, SimDisk, StoreError,
};

const RECORDS: usize = 5;

fn closed_bytes() -> Vec<u8> {
    let (disk, mut log) = sample(RECORDS - 2, true);
    let batch: Vec<_> = (RECORDS - 2..RECORDS)
        .map(|index| (kind(index), payload(index)))
        .collect();
    let batch: Vec<_> = batch
        .iter()
        .map(|(kind, bytes)| (*kind, &bytes[..]))
        .collect();
    log.append_batch(&batch).unwrap();
    log.close(b"signature").unwrap();
    disk.contents(&log_path()).unwrap()
}

fn read(bytes: &[u8]) -> Result<ClosedLog, StoreError> {
    ClosedLog::read(arc(&disk_with(&log_path(), bytes)), &dir())
}

/// Byte ranges of the records, the closing one included.
fn spans() -> Vec<std::ops::Range<usize>> {
    let mut at = FILE_HEADER_LEN;
    (0..RECORDS)
        .map(|index| payload(index).len())
        .chain([b"signature".len()])
        .map(|len| {
            let start = at;
            at += len + RECORD_OVERHEAD;
            start..at
        })
        .collect()
}

#[test]
fn a_closed_log_is_read_back() {
    let bytes = closed_bytes();
    assert_eq!(spans().last().unwrap().end, bytes.len());
    let log = read(&bytes).unwrap();
    assert_eq!(log.identity(), IDENTITY);
    assert_eq!(log.closing_payload(), b"signature");
    let records: Vec<_> = log.records().unwrap().map(Result::unwrap).collect();
    let flat: Vec<_> = records
        .iter()
        .map(|r| (r.kind, r.payload.clone()))
        .collect();
    assert_eq!(flat, expected(RECORDS));
    assert_eq!(log.signed_head(), records.last().unwrap().head());
}

#[test]
fn every_change_of_one_byte_is_found() {
    let good = closed_bytes();
    for offset in 0..good.len() {
        for mask in (0..8).map(|bit| 1 << bit).chain([0xff]) {
            let mut bytes = good.clone();
            bytes[offset] ^= mask;
            let error = read(&bytes).expect_err("a changed byte went unseen");
            let span = spans().into_iter().find(|span| span.contains(&offset));
            match error {
                StoreError::Corrupt {
                    offset: at, record, ..
                } => match span {
                    // The error names the record in which the byte stands.
                    Some(span) => {
                        assert_eq!(at, span.start as u64);
                        assert_eq!(spans()[usize::try_from(record).unwrap()], span);
                    }
                    None => assert_eq!((at, record), (0, 0)),
                },
                StoreError::Version { .. } => assert!((8..10).contains(&offset)),
                other => panic!("byte {offset}: {other}"),
            }
        }
    }
}

#[test]
fn every_truncation_is_found() {
    let good = closed_bytes();
    for len in 0..good.len() {
        let error = read(&good[..len]).expect_err("a missing end went unseen");
        assert!(
            matches!(
                error,
                StoreError::Corrupt { .. } | StoreError::NotClosed { .. }
            ),
            "{len}: {error}"
        );
    }
}

#[test]
fn trailing_bytes_are_found() {
    let good = closed_bytes();
    for extra in [&[0][..], &good[FILE_HEADER_LEN..], &[0; 4096]] {
        let bytes = [&good[..], extra].concat();
        let StoreError::Corrupt { offset, damage, .. } = read(&bytes).unwrap_err() else {
            panic!("another error was expected")
        };
        assert_eq!(offset, good.len() as u64);
        assert_eq!(damage, Damage::AfterClosing(extra.len() as u64));
        // Nothing is ever written behind a closing record, so a crash does not explain it either.
        let disk = disk_with(&log_path(), &bytes);
        assert!(matches!(
            Log::open(arc(&disk), &dir(), IDENTITY),
            Err(StoreError::Corrupt { .. })
        ));
    }
}

#[test]
fn every_other_order_of_records_is_found() {
    let good = closed_bytes();
    let spans = spans();
    let mut variants = BTreeSet::new();
    for first in 0..spans.len() {
        let mut dropped: Vec<usize> = (0..spans.len()).collect();
        dropped.remove(first);
        variants.insert(dropped);
        for second in 0..spans.len() {
            let mut swapped: Vec<usize> = (0..spans.len()).collect();
            swapped.swap(first, second);
            variants.insert(swapped);
            let mut doubled: Vec<usize> = (0..spans.len()).collect();
            doubled.insert(second, first);
            variants.insert(doubled);
        }
    }
    variants.remove(&(0..spans.len()).collect::<Vec<_>>());
    assert!(variants.len() > 40);
    for order in variants {
        let mut bytes = good[..FILE_HEADER_LEN].to_vec();
        for index in &order {
            bytes.extend_from_slice(&good[spans[*index].clone()]);
        }
        assert!(read(&bytes).is_err(), "order {order:?} went unseen");
    }
}

#[test]
fn records_of_another_log_are_found() {
    let good = closed_bytes();
    let other = SimDisk::new();
    let mut identity = IDENTITY;
    identity.context[31] ^= 1;
    let mut log = Log::create(arc(&other), &dir(), identity).unwrap();
    log.append(kind(0), &payload(0)).unwrap();
    log.close(b"signature").unwrap();
    let other = other.contents(&log_path()).unwrap();
    let bytes = [&good[..FILE_HEADER_LEN], &other[FILE_HEADER_LEN..]].concat();
    assert!(matches!(
        read(&bytes),
        Err(StoreError::Corrupt {
            record: 0,
            damage: Damage::RecordHeaderCheck,
            ..
        })
    ));
}

#[test]
fn an_open_log_is_never_taken_for_a_closed_one() {
    let (disk, log) = sample(RECORDS, true);
    let size = log.size();
    drop(log);
    assert_eq!(
        ClosedLog::read(arc(&disk), &dir()).unwrap_err(),
        StoreError::NotClosed {
            path: log_path(),
            records: RECORDS as u64,
            offset: size
        }
    );
}

#[test]
fn a_closed_log_takes_nothing_more() {
    let (disk, mut log) = sample(2, true);
    log.close(b"s").unwrap();
    let before = disk.contents(&log_path());
    let closed = StoreError::Closed { path: log_path() };
    assert_eq!(log.append(1, b"x").unwrap_err(), closed);
    assert_eq!(log.close(b"s").unwrap_err(), closed);
    assert!(log.is_closed());
    drop(log);
    let (mut log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert!(recovery.closed && log.is_closed());
    assert_eq!((recovery.records, recovery.cut_bytes), (3, 0));
    assert_eq!(log.append(1, b"x").unwrap_err(), closed);
    assert_eq!(crate::common::flat(&log), expected(2));
    assert_eq!(disk.contents(&log_path()), before);
}
