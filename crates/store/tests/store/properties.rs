//! Random logs and random damage.

use crate::common::{Flat, IDENTITY, arc, dir, disk_with, flat, log_path};
use proptest::prelude::*;
use veilsum_store::{ClosedLog, CrashStyle, Damage, Log, SimDisk, StoreError};

/// Batches of records, each with whether it is synced.
fn batches() -> impl Strategy<Value = Vec<(Flat, bool)>> {
    let record = (0..0xffff_u16, prop::collection::vec(any::<u8>(), 0..900));
    prop::collection::vec((prop::collection::vec(record, 1..4), any::<bool>()), 0..12)
}

fn write(disk: &SimDisk, batches: &[(Flat, bool)]) -> (Log, usize) {
    let mut log = Log::create(arc(disk), &dir(), IDENTITY).unwrap();
    let mut durable = 0;
    for (index, (batch, sync)) in batches.iter().enumerate() {
        let records: Vec<_> = batch
            .iter()
            .map(|(kind, bytes)| (*kind, &bytes[..]))
            .collect();
        log.append_batch(&records).unwrap();
        if *sync {
            log.sync().unwrap();
            durable = index + 1;
        }
    }
    (log, durable)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn power_loss_keeps_a_prefix_of_whole_batches(batches in batches(), seed in any::<[u8; 32]>()) {
        let disk = SimDisk::new();
        let (log, durable) = write(&disk, &batches);
        drop(log);
        disk.restart(CrashStyle::Torn(seed));
        let (log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
        let found = flat(&log);
        prop_assert_eq!(found.len() as u64, recovery.records);
        let kept = (durable..=batches.len()).find(|count| {
            batches[..*count].iter().flat_map(|(batch, _)| batch).eq(&found)
        });
        prop_assert!(kept.is_some(), "not a prefix that holds what was synced");
    }

    #[test]
    fn random_changes_of_a_closed_log_are_found(
        batches in batches(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let disk = SimDisk::new();
        let (mut log, _) = write(&disk, &batches);
        log.close(b"signed").unwrap();
        drop(log);
        let good = disk.contents(&log_path()).unwrap();
        let mut bytes = good.clone();
        for (index, mask) in changes {
            let at = index.index(bytes.len());
            bytes[at] ^= mask;
        }
        prop_assume!(bytes != good);
        prop_assert!(ClosedLog::read(arc(&disk_with(&log_path(), &bytes)), &dir()).is_err());
    }

    #[test]
    fn any_bytes_behind_a_file_header_are_a_typed_answer(tail in prop::collection::vec(any::<u8>(), 0..3000)) {
        let (disk, log) = crate::common::sample(0, true);
        drop(log);
        let bytes = [disk.contents(&log_path()).unwrap(), tail.clone()].concat();
        let disk = disk_with(&log_path(), &bytes);
        let (log, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
        prop_assert_eq!((recovery.records, recovery.cut_bytes), (0, tail.len() as u64));
        prop_assert!(flat(&log).is_empty());
    }

    #[test]
    fn any_bytes_are_a_typed_answer(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let disk = disk_with(&log_path(), &bytes);
        let error = ClosedLog::read(arc(&disk), &dir()).unwrap_err();
        let refused = matches!(
            error,
            StoreError::Corrupt { damage: Damage::Magic | Damage::FileHeaderShort, .. }
        );
        prop_assert!(refused);
        prop_assert!(Log::open(arc(&disk), &dir(), IDENTITY).is_err());
        prop_assert_eq!(disk.contents(&log_path()).unwrap(), bytes);
    }
}
