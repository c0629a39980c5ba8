//! The machine stops at every point of a run; what was acknowledged is there, what is there was written, and it goes on.

use crate::common::{Flat, IDENTITY, arc, dir, flat};
use veilsum_store::{BodyDigest, ClosedLog, CrashStyle, Fault, Log, SimDisk, StoreError};

/// One step of the run: the records appended at once, and whether they are made durable then.
fn steps() -> Vec<(Flat, bool)> {
    let bytes = |len: usize, salt: u8| {
        (0..len)
            .map(|i| u8::try_from(i % 250).unwrap() ^ salt | 1)
            .collect::<Vec<_>>()
    };
    vec![
        (vec![(1, bytes(20, 1))], true),
        (vec![(2, bytes(600, 2))], false),
        (vec![(3, bytes(900, 3))], false),
        (vec![(4, Vec::new())], true),
        (
            vec![(5, bytes(300, 5)), (6, bytes(1400, 6)), (7, bytes(3, 7))],
            false,
        ),
        (vec![(8, bytes(2000, 8))], false),
        (vec![(9, bytes(40, 9))], true),
    ]
}

fn body() -> Vec<u8> {
    (0..1700_u32)
        .map(|i| u8::try_from(i % 199).unwrap() | 1)
        .collect()
}

#[derive(Default)]
struct Known {
    /// Steps that were appended with success.
    written: usize,
    /// Steps known to be durable.
    durable: usize,
    body: bool,
    closed: bool,
}

/// Goes on from what is in the log until the end or the first error.
fn run(disk: &SimDisk, known: &mut Known) -> Result<(), StoreError> {
    let (mut log, recovery) = Log::open_or_create(arc(disk), &dir(), IDENTITY)?;
    let all = steps();
    let have = flat_result(&log)?;
    let mut done = 0;
    let mut seen = 0;
    while done < all.len() && seen + all[done].0.len() <= have.len() {
        seen += all[done].0.len();
        done += 1;
    }
    let prefix: Flat = all[..done].iter().flat_map(|step| step.0.clone()).collect();
    assert_eq!(
        have, prefix,
        "the log is no prefix of what was written, at a step's boundary"
    );
    assert!(done >= known.durable, "acknowledged records are lost");
    known.written = done;
    known.durable = done;
    if recovery.closed {
        assert_eq!(done, all.len());
    } else {
        assert!(!known.closed, "the closing record is lost");
    }
    if known.body {
        let kept = log
            .bodies()
            .reader()
            .read_verified(&BodyDigest::of(&body()), 1 << 20)?;
        assert_eq!(kept, body(), "an acknowledged body is lost");
    }
    for info in log.bodies().reader().list()? {
        log.bodies().reader().read_verified(&info.digest, 1 << 20)?;
    }
    for step in &all[done..] {
        let batch: Vec<_> = step
            .0
            .iter()
            .map(|(kind, bytes)| (*kind, &bytes[..]))
            .collect();
        log.append_batch(&batch)?;
        known.written += 1;
        if step.1 {
            log.sync()?;
            known.durable = known.written;
        }
        if known.written == 4 {
            let mut writer = log.bodies().writer(1 << 20)?;
            for chunk in body().chunks(300) {
                writer.write(chunk)?;
            }
            writer.commit()?;
            known.body = true;
        }
    }
    if !log.is_closed() {
        log.close(b"signed")?;
    }
    known.closed = true;
    Ok(())
}

fn flat_result(log: &Log) -> Result<Flat, StoreError> {
    log.records()?
        .map(|r| r.map(|r| (r.kind, r.payload)))
        .collect()
}

fn styles(point: u64) -> Vec<CrashStyle> {
    let mut styles = vec![CrashStyle::ProcessOnly, CrashStyle::LoseUnsynced];
    for variant in 0..24 {
        let mut seed = [variant; 32];
        seed[..8].copy_from_slice(&point.to_le_bytes());
        styles.push(CrashStyle::Torn(seed));
    }
    styles
}

fn check_finished(disk: &SimDisk) {
    let closed = ClosedLog::read(arc(disk), &dir()).unwrap();
    let all: Flat = steps().into_iter().flat_map(|step| step.0).collect();
    let records: Vec<_> = closed.records().unwrap().map(Result::unwrap).collect();
    let found: Flat = records.into_iter().map(|r| (r.kind, r.payload)).collect();
    assert_eq!(found, all);
    let temps = disk_names(disk);
    assert!(
        temps.iter().all(|name| !name.starts_with(".tmp-")),
        "{temps:?}"
    );
}

fn disk_names(disk: &SimDisk) -> Vec<String> {
    use veilsum_store::Disk;
    let mut names = Vec::new();
    for dir in [dir(), dir().join("bodies")] {
        for entry in disk.list(&dir).unwrap() {
            names.push(entry.name.into_string().unwrap());
        }
    }
    names
}

fn changes_of_a_run() -> u64 {
    let disk = SimDisk::new();
    run(&disk, &mut Known::default()).unwrap();
    check_finished(&disk);
    disk.changes()
}

#[test]
fn every_crash_point() {
    let changes = changes_of_a_run();
    assert!(changes > 25);
    let mut cuts = 0;
    for point in 0..changes {
        for style in styles(point) {
            let disk = SimDisk::new();
            disk.fail_change(point, Fault::Crash);
            let mut known = Known::default();
            run(&disk, &mut known).expect_err("the crash did not happen");
            assert!(disk.has_crashed());
            disk.restart(style);
            let unread = disk
                .contents(&crate::common::log_path())
                .is_some_and(|bytes| {
                    veilsum_store::Records::open(&disk, &crate::common::log_path())
                        .unwrap()
                        .any(|record| record.is_err())
                        && !bytes.is_empty()
                });
            cuts += u32::from(unread);
            run(&disk, &mut known)
                .unwrap_or_else(|error| panic!("point {point}, {style:?}: {error}"));
            check_finished(&disk);
        }
    }
    // The simulation does tear tails, otherwise this test says little.
    assert!(cuts > 100, "{cuts}");
}

#[test]
fn crashes_during_recovery() {
    let changes = changes_of_a_run();
    for point in 0..changes {
        for style in styles(point).into_iter().take(8) {
            for second in 0..12 {
                let disk = SimDisk::new();
                disk.fail_change(point, Fault::Crash);
                let mut known = Known::default();
                run(&disk, &mut known).expect_err("the crash did not happen");
                disk.restart(style);
                disk.fail_change(disk.changes() + second, Fault::Crash);
                if run(&disk, &mut known).is_err() {
                    let mut seed = [0xaa; 32];
                    seed[0] = u8::try_from(second).unwrap();
                    disk.restart(CrashStyle::Torn(seed));
                    run(&disk, &mut known)
                        .unwrap_or_else(|error| panic!("{point}, {second}, {style:?}: {error}"));
                }
                check_finished(&disk);
            }
        }
    }
}

#[test]
fn the_same_seed_leaves_the_same_bytes() {
    let leave = |seed: u8| {
        let disk = SimDisk::new();
        disk.fail_change(changes_of_a_run() - 4, Fault::Crash);
        run(&disk, &mut Known::default()).expect_err("the crash did not happen");
        disk.restart(CrashStyle::Torn([seed; 32]));
        disk.contents(&crate::common::log_path())
    };
    let all: Vec<_> = (0..20).map(leave).collect();
    assert_eq!(all, (0..20).map(leave).collect::<Vec<_>>());
    let mut different = all.clone();
    different.sort();
    different.dedup();
    assert!(different.len() > 2, "{}", different.len());
}

#[test]
fn a_disk_that_lies_is_noticed_by_these_tests() {
    // Power is lost with a record appended and not synced: it must be gone in this style, so `durable` means something.
    let disk = SimDisk::new();
    let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
    log.append(1, b"synced").unwrap();
    let durable = log.sync().unwrap();
    log.append(2, b"not synced").unwrap();
    assert_eq!(log.durable(), durable);
    drop(log);
    disk.restart(CrashStyle::LoseUnsynced);
    let (log, _) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!(log.head(), durable);
    assert_eq!(flat(&log), [(1, b"synced".to_vec())]);
}
