//! The format is frozen: these bytes are format version 1 of `specs/log.md`.

use crate::common::{arc, dir, disk_with, log_path};
use veilsum_store::{ClosedLog, Log, LogIdentity, Role, SimDisk};

const GOLDEN: &str = include_str!("golden-v1.hex");

const IDENTITY: LogIdentity = LogIdentity {
    role: Role::Member,
    context: *b"the context is thirty-two bytes!",
};

fn write() -> Vec<u8> {
    let disk = SimDisk::new();
    let mut log = Log::create(arc(&disk), &dir(), IDENTITY).unwrap();
    log.append(1, b"first").unwrap();
    log.append(0x1234, b"").unwrap();
    log.sync().unwrap();
    log.append_batch(&[(3, b"both or"), (4, b"neither")])
        .unwrap();
    log.close(b"signature").unwrap();
    disk.contents(&log_path()).unwrap()
}

/// One line for the file header and for each record.
fn lines(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes;
    for len in [76, 48 + 5, 48, 48 + 7, 48 + 7, 48 + 9] {
        let (line, behind) = rest.split_at(len);
        text.push_str(&hex::encode(line));
        text.push('\n');
        rest = behind;
    }
    assert!(rest.is_empty());
    text
}

#[test]
fn the_bytes_are_those_of_version_1() {
    assert_eq!(lines(&write()), GOLDEN);
}

#[test]
fn version_1_is_read() {
    let bytes = hex::decode(GOLDEN.split_whitespace().collect::<String>()).unwrap();
    let log = ClosedLog::read(arc(&disk_with(&log_path(), &bytes)), &dir()).unwrap();
    assert_eq!(log.identity(), IDENTITY);
    assert_eq!(log.closing_payload(), b"signature");
    let kinds: Vec<_> = log.records().unwrap().map(|r| r.unwrap().kind).collect();
    assert_eq!(kinds, [1, 0x1234, 3, 4]);
}

/// The chain recomputed from the text of the specification, with nothing of the crate but the bytes.
#[test]
fn the_bytes_follow_the_specification() {
    let bytes = write();
    let (head, mut rest) = bytes.split_at(76);
    assert_eq!(&head[..12], b"VEILSUML\x01\x00\x02\x00");
    assert_eq!(&head[12..44], &IDENTITY.context);
    let start = blake3::derive_key("veilsum/v1 log start", &head[..44]);
    assert_eq!(head[44..], start);
    let mut chain = start;
    let mut index = 0_u64;
    let mut flags = Vec::new();
    while !rest.is_empty() {
        let len = usize::try_from(u32::from_le_bytes(rest[..4].try_into().unwrap())).unwrap();
        flags.push(rest[6]);
        let check = blake3::derive_key(
            "veilsum/v1 log record header",
            &[&start[..], &chain, &rest[..8]].concat(),
        );
        assert_eq!(rest[8..16], check[..8]);
        let material = [&chain[..], &index.to_le_bytes(), &rest[..16 + len]].concat();
        chain = blake3::derive_key("veilsum/v1 log record", &material);
        assert_eq!(rest[16 + len..48 + len], chain);
        rest = &rest[48 + len..];
        index += 1;
    }
    // FENCE; nothing; FENCE and MORE; nothing; FENCE on the closing record.
    assert_eq!(flags, [2, 0, 3, 0, 2]);
}
