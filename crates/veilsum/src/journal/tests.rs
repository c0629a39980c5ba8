//! Parts of records that stand beside the log.

use super::*;
use curve25519_dalek::scalar::Scalar;
use veilsum_crypto::IdentityKey;
use veilsum_store::{CrashStyle, Fault, Role, SimDisk, replace_private};
use veilsum_wire::{ResultContent, RoundResult, Signed};

const IDENTITY: LogIdentity = LogIdentity {
    role: Role::Server,
    context: [7; 32],
};
const DIR: &str = "/state/round";

/// More coordinates than are encoded at one time.
fn record() -> Record {
    let content = ResultContent {
        params_digest: Digest([1; 32]),
        root: Digest([2; 32]),
        convicted: Vec::new(),
        r_sum: Scalar::ONE,
        vector_digest: Digest([3; 32]),
    };
    Record::ServerResult {
        sent: RoundResult {
            signed: Signed::sign(content, &IdentityKey::from_seed(&[5; 32])),
            vector: (0..5000).map(|x: i64| (x - 2500) << 20).collect(),
        },
    }
}

fn open(disk: &SimDisk) -> Result<(Journal, Vec<Record>), JournalError> {
    let (mut journal, records) = Journal::open(Arc::new(disk.clone()), Path::new(DIR), IDENTITY)?;
    journal.set_recorded_max(1000);
    Ok((journal, records))
}

/// What stands in the log itself.
fn in_log(journal: &Journal) -> Vec<Record> {
    let records = journal.log().records().unwrap();
    records
        .map(|record| Record::from_bytes(&record.unwrap().payload).unwrap())
        .collect()
}

#[test]
fn a_large_part_stands_in_a_body_and_comes_back() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    journal.persist(&[record()]).unwrap();
    let [Record::ServerLargeResult { body, len, .. }] = in_log(&journal)[..] else {
        panic!("the vector stands in the record");
    };
    let Record::ServerResult { sent } = record() else {
        unreachable!()
    };
    let bytes = sent.vector.to_bytes();
    assert_eq!(len, bytes.len() as u64);
    assert_eq!(body.0, BodyDigest::of(&bytes).0);
    let stored = journal.log().bodies().reader();
    assert_eq!(stored.read_verified(&BodyDigest(body.0), len), Ok(bytes));
    // As large as is allowed it stands in the record, as before.
    journal.recorded_max = len;
    journal.persist(&[record()]).unwrap();
    assert_eq!(in_log(&journal)[1], record());
    drop(journal);
    assert_eq!(open(&disk).unwrap().1, [record(), record()]);
    let read = Journal::read(Arc::new(disk), Path::new(DIR));
    assert_eq!(read.unwrap(), [record(), record()]);
}

#[test]
fn whatever_dies_when_no_record_names_a_body_that_is_not_there() {
    let styles = [
        CrashStyle::ProcessOnly,
        CrashStyle::LoseUnsynced,
        CrashStyle::Torn([1; 32]),
        CrashStyle::Torn([2; 32]),
    ];
    let (mut without, mut with) = (0, 0);
    for style in styles {
        for change in 0.. {
            let disk = SimDisk::new();
            let (mut journal, _) = open(&disk).unwrap();
            disk.fail_change(disk.changes() + change, Fault::Crash);
            let written = journal.persist(&[record()]);
            drop(journal);
            if !disk.has_crashed() {
                assert_eq!(written.map(|named| named.len()), Ok(1));
                break;
            }
            disk.restart(style);
            let (mut journal, records) = open(&disk).unwrap();
            if records.is_empty() {
                without += 1;
                journal.persist(&[record()]).unwrap();
                drop(journal);
                assert_eq!(open(&disk).unwrap().1, [record()]);
            } else {
                with += 1;
                assert_eq!(records, [record()]);
            }
        }
    }
    assert!(without > 8 && with > 0, "{without} without, {with} with");
}

#[test]
fn a_body_that_is_gone_altered_cut_or_longer_is_told_as_such() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    journal.persist(&[record()]).unwrap();
    let (digest, _) = in_log(&journal)[0].named_part().unwrap();
    let path = journal.log().bodies().reader().path(&BodyDigest(digest.0));
    let log = journal.log().path().to_owned();
    drop(journal);
    let Record::ServerResult { sent } = record() else {
        unreachable!()
    };
    let good = sent.vector.to_bytes();
    let mismatch = |bytes: &[u8]| StoreError::BodyMismatch {
        path: path.clone(),
        expected: BodyDigest(digest.0),
        found: BodyDigest::of(bytes),
    };
    let mut altered = good.clone();
    altered[100] ^= 1;
    let mut longer = good.clone();
    longer.push(0);
    let too_large = StoreError::TooLarge {
        path: path.clone(),
        max: good.len() as u64,
    };
    let cut = &good[..good.len() - 8];
    let cases = [
        (&altered[..], mismatch(&altered)),
        (cut, mismatch(cut)),
        (&longer[..], too_large),
    ];
    let told = |cause: StoreError| JournalError::Body {
        path: log.clone(),
        index: 0,
        cause: Box::new(cause),
    };
    for (bytes, cause) in cases {
        replace_private(&disk, &path, bytes).unwrap();
        assert_eq!(open(&disk).map(|_| ()), Err(told(cause)));
    }
    disk.remove_file(&path).unwrap();
    let gone = StoreError::NotFound {
        operation: veilsum_store::Operation::Open,
        path: path.clone(),
    };
    assert_eq!(open(&disk).map(|_| ()), Err(told(gone)));
    replace_private(&disk, &path, &good).unwrap();
    assert_eq!(open(&disk).unwrap().1, [record()]);
}

#[test]
fn a_record_that_names_a_body_of_another_length_or_no_vector_is_refused() {
    for (bytes, extra) in [
        (vec![1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9], 8),
        (vec![2, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9], 0),
    ] {
        let disk = SimDisk::new();
        let (mut journal, _) = open(&disk).unwrap();
        let mut writer = journal.log().bodies().writer(100).unwrap();
        writer.write(&bytes).unwrap();
        let digest = Digest(writer.commit().unwrap().0);
        let Some(Record::ServerLargeResult { sent, body, .. }) =
            record().without_large_part(digest)
        else {
            panic!("no record that names a body");
        };
        let (found, named) = (bytes.len() as u64, bytes.len() as u64 + extra);
        journal
            .persist(&[Record::ServerLargeResult {
                sent,
                body,
                len: named,
            }])
            .unwrap();
        let path = journal.log().path().to_owned();
        drop(journal);
        let cause = match extra {
            0 => LargePartError::Vector(WireError::Count {
                offset: 0,
                count: 2,
            }),
            _ => LargePartError::Length { named, found },
        };
        let told = JournalError::Part {
            path,
            index: 0,
            cause,
        };
        assert_eq!(open(&disk).map(|_| ()), Err(told));
    }
}
