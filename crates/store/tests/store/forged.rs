//! Logs that another program wrote, with a right chain over what the format forbids.

use crate::common::{IDENTITY, arc, dir, disk_with, log_path};
use veilsum_store::{ClosedLog, Damage, KIND_CLOSED, Log, MAX_PAYLOAD_LEN, StoreError};

const MORE: u16 = 1;
const FENCE: u16 = 2;

/// Writes logs after `specs/log.md`, without the crate and without its rules.
struct Forger {
    bytes: Vec<u8>,
    start: [u8; 32],
    chain: [u8; 32],
    index: u64,
}

impl Forger {
    fn new(role: u8, reserved: u8) -> Self {
        let mut bytes = b"VEILSUML\x01\x00".to_vec();
        bytes.extend_from_slice(&[role, reserved]);
        bytes.extend_from_slice(&IDENTITY.context);
        let start = blake3::derive_key("veilsum/v1 log start", &bytes);
        bytes.extend_from_slice(&start);
        Self {
            bytes,
            start,
            chain: start,
            index: 0,
        }
    }

    fn header(&self, len: u32, kind: u16, flags: u16) -> Vec<u8> {
        let mut header = len.to_le_bytes().to_vec();
        header.extend_from_slice(&kind.to_le_bytes());
        header.extend_from_slice(&flags.to_le_bytes());
        let material = [&self.start[..], &self.chain, &header].concat();
        let check = blake3::derive_key("veilsum/v1 log record header", &material);
        header.extend_from_slice(&check[..8]);
        header
    }

    fn record(mut self, kind: u16, flags: u16, payload: &[u8]) -> Self {
        let header = self.header(u32::try_from(payload.len()).unwrap(), kind, flags);
        let index = self.index.to_le_bytes();
        let material = [&self.chain[..], &index, &header, payload].concat();
        self.chain = blake3::derive_key("veilsum/v1 log record", &material);
        self.index += 1;
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
        self.bytes.extend_from_slice(&self.chain);
        self
    }

    /// What the damage is, found by both ways of reading.
    fn damage(self) -> Damage {
        let disk = disk_with(&log_path(), &self.bytes);
        let closed = ClosedLog::read(arc(&disk), &dir()).unwrap_err();
        let open = Log::open(arc(&disk), &dir(), IDENTITY).unwrap_err();
        assert_eq!(open, closed);
        assert_eq!(
            disk.contents(&log_path()).unwrap(),
            self.bytes,
            "it was cut"
        );
        match closed {
            StoreError::Corrupt { damage, .. } => damage,
            other => panic!("{other}"),
        }
    }
}

fn forger() -> Forger {
    Forger::new(1, 0)
}

#[test]
fn the_forger_can_write_a_right_log() {
    let forged = forger()
        .record(1, FENCE | MORE, b"one")
        .record(2, 0, b"two")
        .record(KIND_CLOSED, FENCE, b"signed");
    let disk = disk_with(&log_path(), &forged.bytes);
    let log = ClosedLog::read(arc(&disk), &dir()).unwrap();
    assert_eq!(log.records().unwrap().map(Result::unwrap).count(), 2);
    assert_eq!(log.signed_head().records, 2);
}

#[test]
fn closing_has_one_form() {
    for flags in [0, MORE, FENCE | MORE] {
        let log = forger()
            .record(1, FENCE, b"one")
            .record(KIND_CLOSED, flags, b"signed");
        assert_eq!(log.damage(), Damage::ClosingMalformed);
    }
    let log = forger()
        .record(1, FENCE | MORE, b"one")
        .record(KIND_CLOSED, FENCE, b"signed");
    assert_eq!(log.damage(), Damage::ClosingMalformed);
    let log = forger()
        .record(KIND_CLOSED, FENCE, b"signed")
        .record(KIND_CLOSED, FENCE, b"again");
    assert_eq!(log.damage(), Damage::AfterClosing(48 + 5));
}

#[test]
fn unknown_flags_are_refused_and_not_cut() {
    for flags in [4, 0x8000, FENCE | 8] {
        let log = forger().record(1, FENCE, b"one").record(2, flags, b"two");
        assert_eq!(log.damage(), Damage::Flags(flags));
    }
}

#[test]
fn a_length_above_the_limit_is_refused_before_it_is_believed() {
    for len in [MAX_PAYLOAD_LEN + 1, u32::MAX] {
        let mut log = forger().record(1, FENCE, b"one");
        let header = log.header(len, 2, 0);
        log.bytes.extend_from_slice(&header);
        log.bytes.extend_from_slice(&[1; 100]);
        assert_eq!(log.damage(), Damage::Length(len));
    }
    // The largest length that is allowed, with a short file: a torn write, and nothing is allocated for it.
    let mut log = forger().record(1, FENCE, b"one");
    let header = log.header(MAX_PAYLOAD_LEN, 2, 0);
    log.bytes.extend_from_slice(&header);
    let disk = disk_with(&log_path(), &log.bytes);
    assert!(matches!(
        ClosedLog::read(arc(&disk), &dir()),
        Err(StoreError::Corrupt {
            damage: Damage::RecordShort { remaining: 16, .. },
            ..
        })
    ));
    let (_, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!((recovery.records, recovery.cut_bytes), (1, 16));
}

#[test]
fn file_headers_have_one_form() {
    assert_eq!(Forger::new(1, 1).damage(), Damage::Reserved);
    assert_eq!(Forger::new(0, 0).damage(), Damage::Role(0));
    assert_eq!(Forger::new(4, 0).damage(), Damage::Role(4));
}

#[test]
fn a_batch_left_open_is_torn_when_open_and_an_error_when_closed() {
    let log = forger()
        .record(1, FENCE, b"one")
        .record(2, FENCE | MORE, b"two");
    let disk = disk_with(&log_path(), &log.bytes);
    assert!(matches!(
        ClosedLog::read(arc(&disk), &dir()),
        Err(StoreError::Corrupt {
            damage: Damage::BatchIncomplete,
            ..
        })
    ));
    let (_, recovery) = Log::open(arc(&disk), &dir(), IDENTITY).unwrap();
    assert_eq!((recovery.records, recovery.cut_bytes), (1, 51));
}
