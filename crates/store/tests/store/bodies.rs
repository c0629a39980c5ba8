//! Bodies: streamed in, named by their digest, checked on reading.

use std::{collections::BTreeSet, io::Read, path::PathBuf};

use crate::common::{IDENTITY, arc, dir, sample};
use veilsum_store::{
    BodyDigest, BodyInfo, Disk, Fault, Log, OpenMode, Pruned, SimDisk, StoreError,
};

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i % 253).unwrap()).collect()
}

fn store(log: &Log, bytes: &[u8], chunk: usize) -> BodyDigest {
    let mut writer = log.bodies().writer(bytes.len() as u64).unwrap();
    for part in bytes.chunks(chunk) {
        writer.write(part).unwrap();
    }
    assert_eq!(writer.len(), bytes.len() as u64);
    writer.commit().unwrap()
}

fn temps(disk: &SimDisk) -> usize {
    let names = disk.list(&dir().join("bodies")).unwrap();
    names
        .iter()
        .filter(|entry| entry.name.to_str().unwrap().starts_with('.'))
        .count()
}

#[test]
fn bodies_are_written_listed_read_and_pruned() {
    let (disk, log) = sample(1, true);
    let mut infos = Vec::new();
    for (len, chunk) in [
        (0, 1),
        (1, 1),
        (1000, 7),
        (65_536, 65_536),
        (65_537, 40_000),
        (300_000, 1200),
    ] {
        let bytes = data(len);
        let digest = store(&log, &bytes, chunk);
        assert_eq!(digest, BodyDigest::of(&bytes));
        assert_eq!(
            digest,
            store(&log, &bytes, 100_000),
            "committing twice is one body"
        );
        let reader = log.bodies().reader();
        assert!(reader.contains(&digest).unwrap());
        assert_eq!(reader.read_verified(&digest, len as u64).unwrap(), bytes);
        let mut streamed = Vec::new();
        reader
            .open(&digest)
            .unwrap()
            .read_to_end(&mut streamed)
            .unwrap();
        assert_eq!(streamed, bytes);
        reader.open(&digest).unwrap().finish().unwrap();
        if len > 0 {
            assert!(matches!(
                reader.read_verified(&digest, len as u64 - 1),
                Err(StoreError::TooLarge { .. })
            ));
        }
        infos.push(BodyInfo {
            digest,
            len: len as u64,
        });
    }
    infos.sort();
    assert_eq!(log.bodies().reader().list().unwrap(), infos);
    assert_eq!(temps(&disk), 0);
    let keep: BTreeSet<_> = infos.iter().take(2).map(|info| info.digest).collect();
    let gone = infos[2..].iter().map(|info| info.len).sum();
    assert_eq!(
        log.bodies().prune(&keep).unwrap(),
        Pruned {
            bodies: 4,
            bytes: gone
        }
    );
    assert_eq!(log.bodies().reader().list().unwrap(), infos[..2]);
    assert!(matches!(
        log.bodies().reader().open(&infos[3].digest),
        Err(StoreError::NotFound { .. })
    ));
}

#[test]
fn every_changed_byte_of_a_body_is_found() {
    let (disk, log) = sample(0, true);
    let bytes = data(700);
    let digest = store(&log, &bytes, 700);
    let path = log.bodies().reader().path(&digest);
    for offset in 0..bytes.len() {
        assert!(disk.corrupt(&path, offset, 4));
        assert!(matches!(
            log.bodies().reader().read_verified(&digest, 1000),
            Err(StoreError::BodyMismatch { expected, .. }) if expected == digest
        ));
        let mut reader = log.bodies().reader().open(&digest).unwrap();
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(
            log.bodies()
                .reader()
                .open(&digest)
                .unwrap()
                .finish()
                .is_err()
        );
        assert!(disk.corrupt(&path, offset, 4));
    }
    for changed in [&bytes[..699], &[&bytes[..], &[0]].concat()] {
        disk.put(&path, changed);
        assert!(log.bodies().reader().read_verified(&digest, 1000).is_err());
    }
    // Writing it again mends it.
    store(&log, &bytes, 700);
    assert_eq!(
        log.bodies().reader().read_verified(&digest, 1000).unwrap(),
        bytes
    );
}

#[test]
fn a_body_above_its_limit_or_with_another_digest_leaves_nothing() {
    let (disk, log) = sample(0, true);
    let mut writer = log.bodies().writer(10).unwrap();
    writer.write(&[1; 6]).unwrap();
    assert!(matches!(
        writer.write(&[1; 5]),
        Err(StoreError::TooLarge { max: 10, .. })
    ));
    // It cannot be finished as a shorter one.
    assert!(matches!(writer.commit(), Err(StoreError::Poisoned { .. })));
    let mut writer = log.bodies().writer(10).unwrap();
    writer.write(b"announced").unwrap();
    let expected = BodyDigest::of(b"something else");
    assert!(matches!(
        writer.commit_as(&expected),
        Err(StoreError::BodyMismatch { found, .. }) if found == BodyDigest::of(b"announced")
    ));
    let mut writer = log.bodies().writer(10).unwrap();
    writer.write(b"abandoned").unwrap();
    assert_eq!(temps(&disk), 1);
    drop(writer);
    assert_eq!(temps(&disk), 0);
    assert!(log.bodies().reader().list().unwrap().is_empty());
}

#[test]
fn a_full_disk_at_every_byte_of_a_body_leaves_nothing() {
    let (disk, log) = sample(0, true);
    let bytes = data(200);
    for free in 0..bytes.len() as u64 {
        disk.set_capacity(Some(disk.used() + free));
        let mut writer = log.bodies().writer(1000).unwrap();
        writer.write(&bytes).unwrap();
        assert!(matches!(writer.commit(), Err(StoreError::DiskFull { .. })));
        disk.set_capacity(None);
        assert_eq!(temps(&disk), 0);
    }
    assert!(log.bodies().reader().list().unwrap().is_empty());
    store(&log, &bytes, 200);
}

#[test]
fn a_spooled_file_is_adopted() {
    for other_device in [false, true] {
        let (disk, log) = sample(0, true);
        let bytes = data(70_000);
        let digest = BodyDigest::of(&bytes);
        let spool = PathBuf::from("spool/upload-1");
        // Written by somebody who did not sync it.
        disk.put(&PathBuf::from("spool/other"), b"");
        let mut file = disk.open(&spool, OpenMode::CreateNew).unwrap();
        file.write_all_at(0, &bytes).unwrap();
        if other_device {
            disk.mount(&PathBuf::from("spool"));
        }
        let other = BodyDigest::of(b"");
        assert!(matches!(
            log.bodies().adopt(&spool, &other, 1 << 20),
            Err(StoreError::BodyMismatch { .. })
        ));
        assert!(matches!(
            log.bodies().adopt(&spool, &digest, 69_999),
            Err(StoreError::TooLarge { .. })
        ));
        assert_eq!(
            disk.contents(&spool).unwrap(),
            bytes,
            "a refused file is left alone"
        );
        log.bodies().adopt(&spool, &digest, 70_000).unwrap();
        assert_eq!(disk.contents(&spool), None);
        drop(log);
        disk.restart(veilsum_store::CrashStyle::LoseUnsynced);
        let (log, _) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
        assert_eq!(
            log.bodies()
                .reader()
                .read_verified(&digest, 70_000)
                .unwrap(),
            bytes
        );
    }
}

#[test]
fn stale_temporary_files_are_removed_on_opening_and_nothing_else() {
    let (disk, log) = sample(1, true);
    let digest = store(&log, b"kept", 4);
    drop(log);
    for stale in [".tmp-log-1", "bodies/.tmp-body-9", ".tmp-key-3"] {
        disk.put(&dir().join(stale), b"half");
    }
    disk.put(&dir().join("note.txt"), b"mine");
    let (log, _) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    let names = |path: std::path::PathBuf| {
        disk.list(&path)
            .unwrap()
            .into_iter()
            .map(|e| e.name.into_string().unwrap())
    };
    assert!(names(dir()).eq(["lock", "log", "note.txt"]));
    assert!(names(dir().join("bodies")).eq([digest.to_string()]));
    assert_eq!(
        log.bodies().reader().read_verified(&digest, 4).unwrap(),
        b"kept"
    );
}

#[test]
fn a_digest_has_one_spelling() {
    let digest = BodyDigest::of(b"x");
    assert_eq!(digest.to_string().parse::<BodyDigest>().unwrap(), digest);
    let upper = digest.to_string().to_uppercase();
    for bad in [
        "",
        "00",
        &upper,
        &format!("{digest}0"),
        "../../etc/passwd",
        &"g".repeat(64),
    ] {
        assert_eq!(
            bad.parse::<BodyDigest>().unwrap_err(),
            StoreError::DigestSyntax
        );
    }
}

#[test]
fn a_failing_device_while_writing_a_body_is_reported() {
    let (disk, log) = sample(0, true);
    let start = disk.changes();
    store(&log, &data(100_000), 30_000);
    let changes = disk.changes() - start;
    for point in 0..changes {
        disk.fail_change(disk.changes() + point, Fault::Eio);
        let result = log.bodies().writer(1 << 20).and_then(|mut writer| {
            for part in data(100_000).chunks(30_000) {
                writer.write(part)?;
            }
            writer.commit()
        });
        assert!(matches!(result, Err(StoreError::Io { .. })), "{result:?}");
    }
    // A handle opened for reading cannot change a body.
    let path = log.bodies().reader().path(&BodyDigest::of(&data(100_000)));
    assert!(
        disk.open(&path, OpenMode::Read)
            .unwrap()
            .set_size(0)
            .is_err()
    );
}
