//! An open log: recovery of torn tails, refusal of damage, identity, limits.

use crate::common::{
    IDENTITY, arc, dir, disk_with, expected, flat, kind, log_path, payload, sample,
};
use veilsum_store::{
    Damage, FILE_HEADER_LEN, KIND_CLOSED, Log, LogIdentity, MAX_BATCH_LEN, MAX_PAYLOAD_LEN,
    RECORD_OVERHEAD, Records, Recovery, Role, SimDisk, StoreError,
};

const RECORDS: usize = 6;

/// Where each record ends.
fn ends() -> Vec<usize> {
    let mut at = FILE_HEADER_LEN;
    (0..RECORDS)
        .map(|index| {
            at += payload(index).len() + RECORD_OVERHEAD;
            at
        })
        .collect()
}

fn open(bytes: &[u8]) -> Result<(Log, Recovery, SimDisk), StoreError> {
    let disk = disk_with(&log_path(), bytes);
    let (log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY)?;
    Ok((log, recovery, disk))
}

fn written(sync_each: bool) -> Vec<u8> {
    let (disk, _log) = sample(RECORDS, sync_each);
    disk.contents(&log_path()).unwrap()
}

#[test]
fn every_truncation_recovers_the_whole_records() {
    for sync_each in [true, false] {
        let bytes = written(sync_each);
        for len in FILE_HEADER_LEN..=bytes.len() {
            let (mut log, recovery, disk) = open(&bytes[..len]).unwrap();
            let whole = ends().iter().filter(|end| **end <= len).count();
            let kept = ends()[..whole].last().copied().unwrap_or(FILE_HEADER_LEN);
            assert_eq!(
                recovery,
                Recovery {
                    records: whole as u64,
                    cut_bytes: (len - kept) as u64,
                    closed: false
                }
            );
            assert_eq!(flat(&log), expected(whole));
            assert_eq!(disk.contents(&log_path()).unwrap(), bytes[..kept]);
            // And it goes on.
            for index in whole..RECORDS {
                log.append(kind(index), &payload(index)).unwrap();
            }
            log.sync().unwrap();
            assert_eq!(flat(&log), expected(RECORDS));
            drop(log);
            let (log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
            assert_eq!((recovery.records, recovery.cut_bytes), (RECORDS as u64, 0));
            assert_eq!(flat(&log), expected(RECORDS));
        }
    }
}

#[test]
fn a_log_cut_inside_its_header_is_not_a_torn_write() {
    // The header is written under another name and synced before the log gets its name.
    let bytes = written(true);
    for len in 0..FILE_HEADER_LEN {
        assert!(matches!(
            open(&bytes[..len]),
            Err(StoreError::Corrupt {
                offset: 0,
                damage: Damage::FileHeaderShort,
                ..
            })
        ));
    }
}

#[test]
fn every_changed_byte_before_the_last_record_is_corruption() {
    for sync_each in [true, false] {
        let good = written(sync_each);
        let last = ends()[RECORDS - 2];
        for offset in 0..good.len() {
            let mut bytes = good.clone();
            bytes[offset] ^= 0x10;
            match open(&bytes) {
                Err(StoreError::Corrupt {
                    offset: at, record, ..
                }) if offset < last => {
                    if offset >= FILE_HEADER_LEN {
                        let index = ends().iter().position(|end| offset < *end).unwrap();
                        assert_eq!(record, index as u64);
                        assert!(at <= offset as u64);
                    }
                }
                Err(StoreError::Version { .. }) if (8..10).contains(&offset) => {}
                // What a changed last record was cannot be told from a torn one.
                Ok((log, recovery, _)) if offset >= last => {
                    assert_eq!(recovery.records, RECORDS as u64 - 1);
                    assert_eq!(recovery.cut_bytes, (good.len() - last) as u64);
                    assert_eq!(flat(&log), expected(RECORDS - 1));
                }
                other => panic!("byte {offset}: {other:?}"),
            }
        }
    }
}

#[test]
fn swapped_doubled_and_dropped_records_are_corruption() {
    let good = written(true);
    let ends = ends();
    let span = |index: usize| {
        let start = if index == 0 {
            FILE_HEADER_LEN
        } else {
            ends[index - 1]
        };
        &good[start..ends[index]]
    };
    let rebuilt = |order: &[usize]| {
        let parts = order.iter().flat_map(|index| span(*index).iter().copied());
        good[..FILE_HEADER_LEN]
            .iter()
            .copied()
            .chain(parts)
            .collect::<Vec<_>>()
    };
    for order in [
        &[1, 0, 2, 3, 4, 5][..],
        &[0, 1, 3, 2, 4, 5],
        &[0, 0, 1, 2, 3, 4, 5],
        &[0, 1, 2, 2, 3, 4, 5],
        &[1, 2, 3, 4, 5],
        &[0, 1, 3, 4, 5],
    ] {
        let error = open(&rebuilt(order)).expect_err("another order went unseen");
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{order:?}: {error}"
        );
    }
}

#[test]
fn unwritten_sectors_in_an_unsynced_tail_are_torn_and_in_a_synced_part_are_not() {
    let long: Vec<u8> = (0..3000_u32)
        .map(|byte| u8::try_from(byte % 251).unwrap() | 1)
        .collect();
    for sync_between in [false, true] {
        let disk = SimDisk::new();
        let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
        log.append(1, b"acknowledged").unwrap();
        log.sync().unwrap();
        log.append(2, &long).unwrap();
        if sync_between {
            log.sync().unwrap();
        }
        log.append(3, b"behind").unwrap();
        drop(log);
        let mut bytes = disk.contents(&log_path()).unwrap();
        bytes[1024..1536].fill(0);
        match open(&bytes) {
            Ok((log, recovery, _)) if !sync_between => {
                assert_eq!(recovery.records, 1);
                assert_eq!(flat(&log), [(1, b"acknowledged".to_vec())]);
            }
            Err(StoreError::Corrupt {
                record: 1,
                damage: Damage::Chain,
                ..
            }) if sync_between => {}
            other => panic!("synced {sync_between}: {other:?}"),
        }
    }
}

#[test]
fn zeros_and_noise_behind_the_last_record_are_cut() {
    let good = written(true);
    for tail in [
        vec![0; 5000],
        vec![0xff; 70_000],
        good[FILE_HEADER_LEN..][..20].to_vec(),
    ] {
        let (log, recovery, _) = open(&[&good[..], &tail].concat()).unwrap();
        assert_eq!(recovery.cut_bytes, tail.len() as u64);
        assert_eq!(flat(&log), expected(RECORDS));
    }
}

#[test]
fn a_record_is_recognised_far_behind_the_damage() {
    // Across the boundary of the search's window.
    let disk = SimDisk::new();
    let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
    let first = log.append(1, &[9; 200_000]).unwrap();
    log.append(2, b"behind").unwrap();
    drop(log);
    assert_eq!(first.records, 1);
    for offset in [
        FILE_HEADER_LEN,
        FILE_HEADER_LEN + 3,
        FILE_HEADER_LEN + 100_000,
    ] {
        let mut bytes = disk.contents(&log_path()).unwrap();
        bytes[offset] ^= 1;
        assert!(matches!(
            open(&bytes),
            Err(StoreError::Corrupt { record: 0, .. })
        ));
    }
}

#[test]
fn a_batch_is_there_or_not() {
    let disk = SimDisk::new();
    let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
    log.append(1, b"before").unwrap();
    let before = usize::try_from(log.size()).unwrap();
    let head = log
        .append_batch(&[(2, b"one"), (3, b""), (4, &[5; 700])])
        .unwrap();
    assert_eq!(head.records, 4);
    assert_eq!(log.append_batch(&[]).unwrap(), head);
    drop(log);
    let bytes = disk.contents(&log_path()).unwrap();
    for len in before..bytes.len() {
        let (log, recovery, _) = open(&bytes[..len]).unwrap();
        assert_eq!(recovery.records, 1, "cut at {len}");
        assert_eq!(flat(&log), [(1, b"before".to_vec())]);
    }
    let (_, recovery, _) = open(&bytes).unwrap();
    assert_eq!((recovery.records, recovery.cut_bytes), (4, 0));
}

#[test]
fn another_round_role_or_version_is_refused_and_left_alone() {
    let (disk, log) = sample(1, true);
    drop(log);
    let before = disk.contents(&log_path()).unwrap();
    for found in [
        LogIdentity {
            role: Role::Member,
            ..IDENTITY
        },
        LogIdentity {
            context: [8; 32],
            ..IDENTITY
        },
    ] {
        assert_eq!(
            Log::open(arc(&disk), &dir(), found).unwrap_err(),
            StoreError::WrongIdentity {
                path: log_path(),
                expected: found,
                found: IDENTITY
            }
        );
    }
    assert_eq!(disk.contents(&log_path()).unwrap(), before);
    let mut newer = before.clone();
    newer[8] = 2;
    assert_eq!(
        open(&newer).unwrap_err(),
        StoreError::Version {
            path: log_path(),
            found: 2
        }
    );
    let noise = vec![0xa5; 500];
    assert!(matches!(
        open(&noise),
        Err(StoreError::Corrupt {
            damage: Damage::Magic,
            ..
        })
    ));
}

#[test]
fn creating_and_opening_say_what_is_there() {
    let disk = SimDisk::new();
    assert!(matches!(
        Log::open(arc(&disk), &dir(), IDENTITY),
        Err(StoreError::NotFound { .. })
    ));
    assert_eq!(disk.contents(&dir().join("lock")), None);
    let (log, recovery) = Log::open_or_create(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!(
        recovery,
        Recovery {
            records: 0,
            cut_bytes: 0,
            closed: false
        }
    );
    // Held twice.
    let locked = StoreError::Locked {
        path: dir().join("lock"),
    };
    assert_eq!(Log::open(arc(&disk), &dir(), IDENTITY).unwrap_err(), locked);
    assert_eq!(
        Log::open_or_create(arc(&disk), &dir(), IDENTITY).unwrap_err(),
        locked
    );
    assert_eq!(
        Log::create(arc(&disk), &dir(), IDENTITY).unwrap_err(),
        locked
    );
    drop(log);
    assert_eq!(
        Log::create(arc(&disk), &dir(), IDENTITY).unwrap_err(),
        StoreError::Exists { path: log_path() }
    );
    Log::open_or_create(arc(&disk), &dir(), IDENTITY).unwrap();
}

#[test]
fn limits_are_enforced_and_nothing_is_written() {
    let (disk, mut log) = sample(1, true);
    let before = (disk.contents(&log_path()), log.head());
    let max = u64::from(MAX_PAYLOAD_LEN);
    let large = vec![1; usize::try_from(max).unwrap() + 1];
    assert_eq!(
        log.append(1, &large).unwrap_err(),
        StoreError::RecordTooLarge { len: max + 1, max }
    );
    let allowed = &large[1..];
    let batch = [(1, allowed); 4];
    assert!(matches!(
        log.append_batch(&batch),
        Err(StoreError::RecordTooLarge {
            max: MAX_BATCH_LEN,
            ..
        })
    ));
    assert_eq!(
        log.append_batch(&[(1, b"x"), (KIND_CLOSED, b"y")])
            .unwrap_err(),
        StoreError::ReservedKind(KIND_CLOSED)
    );
    assert_eq!((disk.contents(&log_path()), log.head()), before);
    log.append(1, allowed).unwrap();
    assert_eq!(flat(&log)[1].1, allowed);
}

#[test]
fn an_open_log_can_be_looked_at_without_its_lock() {
    let (disk, log) = sample(3, true);
    let path = log_path();
    let records: Vec<_> = Records::open(&disk, &path)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[2].head(), log.head());
    assert!(disk.corrupt(&path, usize::try_from(records[1].offset).unwrap() + 20, 1));
    let mut items = Records::open(&disk, &path).unwrap();
    assert!(items.next().unwrap().is_ok());
    assert!(matches!(
        items.next(),
        Some(Err(StoreError::Corrupt { record: 1, .. }))
    ));
    assert!(items.next().is_none());
}

#[test]
fn debug_output_shows_no_payload() {
    let disk = SimDisk::new();
    let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
    log.append(1, &[0xd7; 64]).unwrap();
    let mut records = log.records().unwrap();
    let record = records.next().unwrap().unwrap();
    let shown = format!("{record:?} {records:?} {log:?} {disk:?}");
    assert!(shown.contains("payload_len: 64"));
    assert!(!shown.contains("215, 215"), "{shown}");
}
