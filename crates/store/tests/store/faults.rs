//! Full, read-only and failing disks: typed errors, and a log that stays consistent.

use crate::common::{IDENTITY, arc, dir, expected, flat, kind, log_path, payload, sample};
use veilsum_store::{
    ClosedLog, CrashStyle, Fault, Log, Operation, SimDisk, StoreError, read_bounded,
    replace_private, write_private,
};

const RECORDS: usize = 6;

/// Writes, syncing after each record, and finishes; stops at the first error.
fn run(disk: &SimDisk) -> Result<(), StoreError> {
    let (mut log, _) = Log::open_or_create(arc(disk), &dir(), IDENTITY)?;
    let done = usize::try_from(log.head().records).unwrap();
    for index in done..RECORDS {
        log.append(kind(index), &payload(index))?;
        log.sync()?;
    }
    if !log.is_closed() {
        log.close(b"signed")?;
    }
    Ok(())
}

#[test]
fn a_fault_in_every_change_is_typed_and_recoverable() {
    let clean = SimDisk::new();
    run(&clean).unwrap();
    for fault in [Fault::Eio, Fault::Full] {
        for point in 0..clean.changes() {
            let disk = SimDisk::new();
            disk.fail_change(point, fault);
            match run(&disk).expect_err("the fault did not happen") {
                StoreError::DiskFull { .. } => assert_eq!(fault, Fault::Full),
                StoreError::Io { .. } => assert_eq!(fault, Fault::Eio),
                other => panic!("point {point}: {other}"),
            }
            run(&disk).unwrap_or_else(|error| panic!("point {point}: {error}"));
            let closed = ClosedLog::read(arc(&disk), &dir()).unwrap();
            assert_eq!(closed.records().unwrap().count(), RECORDS);
        }
    }
}

#[test]
fn a_fault_in_every_read_is_typed() {
    let (disk, log) = sample(RECORDS, true);
    drop(log);
    let before = disk.reads();
    let (log, _) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    drop(log);
    for number in 0..disk.reads() - before {
        disk.fail_read(disk.reads() + number, Fault::Eio);
        let error = Log::open(arc(&disk), &dir(), IDENTITY).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error}");
    }
    let (log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!((flat(&log), recovery.cut_bytes), (expected(RECORDS), 0));
}

#[test]
fn a_full_disk_at_every_byte_leaves_a_usable_log() {
    let (reference, log) = sample(RECORDS, true);
    let full = log.size();
    let base = log.size() - u64::try_from(payload(RECORDS - 1).len()).unwrap() - 48;
    drop(log);
    for capacity in base..full {
        let disk = SimDisk::new();
        let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
        for index in 0..RECORDS - 1 {
            log.append(kind(index), &payload(index)).unwrap();
            log.sync().unwrap();
        }
        disk.set_capacity(Some(capacity));
        let head = log.head();
        let error = log
            .append(kind(RECORDS - 1), &payload(RECORDS - 1))
            .unwrap_err();
        assert_eq!(
            error,
            StoreError::DiskFull {
                operation: Operation::Write,
                path: log_path()
            }
        );
        assert_eq!((log.head(), log.size()), (head, base));
        assert_eq!(disk.contents(&log_path()).unwrap().len() as u64, base);
        assert_eq!(flat(&log), expected(RECORDS - 1));
        // Closing fails the same way and leaves it open.
        if capacity < base + 48 {
            assert!(matches!(log.close(b""), Err(StoreError::DiskFull { .. })));
            assert!(!log.is_closed());
        }
        disk.set_capacity(None);
        log.append(kind(RECORDS - 1), &payload(RECORDS - 1))
            .unwrap();
        log.sync().unwrap();
        assert_eq!(disk.contents(&log_path()), reference.contents(&log_path()));
    }
}

#[test]
fn a_write_that_cannot_be_taken_back_poisons_the_log() {
    let (disk, mut log) = sample(2, true);
    disk.fail_change(disk.changes(), Fault::Full);
    disk.fail_change(disk.changes() + 1, Fault::Eio);
    assert!(matches!(
        log.append(9, &[1; 100]),
        Err(StoreError::DiskFull { .. })
    ));
    let poisoned = StoreError::Poisoned { path: log_path() };
    assert_eq!(log.append(9, b"").unwrap_err(), poisoned);
    assert_eq!(log.sync().unwrap_err(), poisoned);
    assert_eq!(log.close(b"").unwrap_err(), poisoned);
    assert_eq!(flat(&log), expected(2));
    drop(log);
    let (log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!(recovery.cut_bytes, 74);
    assert_eq!(flat(&log), expected(2));
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let (disk, mut log) = sample(2, true);
    log.append(kind(2), &payload(2)).unwrap();
    let durable = log.durable();
    disk.fail_change(disk.changes(), Fault::Eio);
    assert!(matches!(
        log.sync(),
        Err(StoreError::Io {
            operation: Operation::Sync,
            ..
        })
    ));
    assert_eq!(log.durable(), durable);
    assert!(matches!(
        log.append(9, b""),
        Err(StoreError::Poisoned { .. })
    ));
    // A second sync that "succeeds" would prove nothing.
    assert!(matches!(log.sync(), Err(StoreError::Poisoned { .. })));
    drop(log);
    disk.restart(CrashStyle::LoseUnsynced);
    let (log, _) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!(flat(&log), expected(2));
}

#[test]
fn a_read_only_disk_is_named_and_a_closed_log_is_still_read() {
    let (disk, mut log) = sample(2, true);
    disk.set_read_only(true);
    assert!(matches!(
        log.append(9, b"x"),
        Err(StoreError::ReadOnly { .. })
    ));
    drop(log);
    disk.set_read_only(false);
    let (mut log, _) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!(flat(&log), expected(2));
    log.close(b"s").unwrap();
    drop(log);
    disk.set_read_only(true);
    let error = Log::open(arc(&disk), &dir(), IDENTITY).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(
        error.to_string().contains("read-only") && error.to_string().contains("state/round-1/lock")
    );
    assert_eq!(
        ClosedLog::read(arc(&disk), &dir())
            .unwrap()
            .records()
            .unwrap()
            .count(),
        2
    );
    let other = std::path::PathBuf::from("other");
    assert!(matches!(
        Log::create(arc(&disk), &other, IDENTITY),
        Err(StoreError::ReadOnly {
            operation: Operation::CreateDir,
            ..
        })
    ));
}

#[test]
fn a_private_file_is_whole_or_missing_at_every_crash_point() {
    let path = std::path::PathBuf::from("key");
    let (old, new) = (vec![1; 700], vec![2; 900]);
    for replace in [false, true] {
        let prepared = || {
            let disk = SimDisk::new();
            if replace {
                disk.put(&path, &old);
            }
            disk
        };
        let write = |disk: &SimDisk| {
            if replace {
                replace_private(disk, &path, &new)
            } else {
                write_private(disk, &path, &new)
            }
        };
        let disk = prepared();
        write(&disk).unwrap();
        let changes = disk.changes();
        assert!(changes >= 5);
        disk.restart(CrashStyle::LoseUnsynced);
        assert_eq!(disk.contents(&path).unwrap(), new, "success means durable");
        for point in 0..changes {
            for fault in [Fault::Crash, Fault::Eio, Fault::Full] {
                for seed in 0..10 {
                    let disk = prepared();
                    disk.fail_change(point, fault);
                    assert!(write(&disk).is_err());
                    if fault != Fault::Crash {
                        let left =
                            veilsum_store::Disk::list(&disk, std::path::Path::new("")).unwrap();
                        // At most one name besides: the removal of the temporary one may be what failed.
                        assert!(
                            left.len() <= 1 + usize::from(point + 2 >= changes),
                            "{left:?}"
                        );
                    }
                    disk.restart(CrashStyle::Torn([seed; 32]));
                    match read_bounded(&disk, &path, 1 << 20) {
                        Ok(bytes) => assert!(bytes == new || (replace && bytes == old)),
                        Err(StoreError::NotFound { .. }) => assert!(!replace),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_file_system_without_hard_links_will_do() {
    let disk = SimDisk::new();
    disk.set_hard_links(false);
    run(&disk).unwrap();
    let path = dir().join("key");
    write_private(&disk, &path, b"first").unwrap();
    assert_eq!(
        write_private(&disk, &path, b"second").unwrap_err(),
        StoreError::Exists { path: path.clone() }
    );
    disk.restart(CrashStyle::LoseUnsynced);
    assert_eq!(read_bounded(&disk, &path, 10).unwrap(), b"first");
    assert_eq!(
        ClosedLog::read(arc(&disk), &dir())
            .unwrap()
            .records()
            .unwrap()
            .count(),
        RECORDS
    );
}
