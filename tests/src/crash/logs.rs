//! Logs of real processes: as they are watched, as they are when somebody is killed, and as they are in the end.

use std::fs;
use std::path::Path;

use veilsum::store::{FILE_HEADER_LEN, KIND_CLOSED, RealDisk, Records};

use super::plan::Phase;

/// Bytes of a record's header, and of the chain value behind its payload (`specs/log.md`, section 3).
const HEADER: usize = 16;
const CHAIN: usize = 32;
/// The flag MORE: the next record belongs to the same batch.
const MORE: u16 = 1;

/// Tags of the server's records by which its phases are told.
const CONTRIBUTION: u16 = 0x21;
/// Tags of the records with a client's contribution and receipt in its own log.
pub(super) const SENT: u16 = 0x01;
pub(super) const RECEIPT: u16 = 0x02;
const PROPOSAL: u16 = 0x23;
const RESULTS: [u16; 3] = [0x2c, 0x2d, 0x30];

/// Kinds and flags of the records in a log's bytes, as far as they are whole. Nothing is verified: a process may be writing.
fn frames(bytes: &[u8]) -> Vec<(u16, u16)> {
    let mut found = Vec::new();
    let mut rest = bytes.get(FILE_HEADER_LEN..).unwrap_or_default();
    while let Some([l0, l1, l2, l3, k0, k1, f0, f1]) = rest.first_chunk() {
        let len = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
        let Some(behind) = len
            .checked_add(HEADER + CHAIN)
            .and_then(|whole| rest.get(whole..))
        else {
            break;
        };
        let kind = u16::from_le_bytes([*k0, *k1]);
        if kind != KIND_CLOSED {
            found.push((kind, u16::from_le_bytes([*f0, *f1])));
        }
        rest = behind;
    }
    found
}

/// The kinds of the records in a log; none when there is no log.
pub(super) fn kinds(log: &Path) -> Vec<u16> {
    let bytes = fs::read(log).unwrap_or_default();
    frames(&bytes).into_iter().map(|(kind, _)| kind).collect()
}

/// How far a round is by the kinds of the records in the server's log, and how many records there are of this phase.
pub(super) fn phase(kinds: &[u16]) -> (Phase, u64) {
    let first = |wanted: &[u16]| kinds.iter().position(|kind| wanted.contains(kind));
    let since = |at: usize| u64::try_from(kinds.len() - at).unwrap_or(u64::MAX);
    if let Some(at) = first(&RESULTS) {
        (Phase::Over, since(at))
    } else if let Some(at) = first(&[PROPOSAL]) {
        (Phase::Closing, since(at))
    } else if let Some(at) = first(&[CONTRIBUTION]) {
        (Phase::Contributing, since(at))
    } else {
        (Phase::Opening, since(0))
    }
}

/// The records of a log that nobody writes to, as their chain says, and how many of them are whole batches: what is behind
/// those a process that goes on cuts away.
pub(super) fn records(log: &Path) -> (Vec<Vec<u8>>, usize) {
    let Ok(records) = Records::open(&RealDisk, log) else {
        return (Vec::new(), 0);
    };
    let payloads: Vec<Vec<u8>> = records
        .map_while(|record| Some(record.ok()?.payload))
        .collect();
    let frames = frames(&fs::read(log).unwrap_or_default());
    let ends = |(_, flags): &(u16, u16)| flags & MORE == 0;
    let whole = frames.iter().take(payloads.len()).rposition(ends);
    (payloads, whole.map_or(0, |last| last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use veilsum::store::{LOG_FILE, Log, LogIdentity, Role};

    #[test]
    fn phases_and_batches_are_seen_in_a_log() {
        let dir = tempfile::tempdir().unwrap();
        let identity = LogIdentity {
            role: Role::Server,
            context: [1; 32],
        };
        let mut log = Log::create(Arc::new(RealDisk), dir.path(), identity).unwrap();
        let path = dir.path().join(LOG_FILE);
        assert_eq!(phase(&kinds(&path)), (Phase::Opening, 0));
        log.append(0x20, b"announcement").unwrap();
        assert_eq!(phase(&kinds(&path)), (Phase::Opening, 1));
        log.append_batch(&[(0x21, b"a"), (0x22, b"b")]).unwrap();
        assert_eq!(phase(&kinds(&path)), (Phase::Contributing, 2));
        log.append(0x23, b"proposal").unwrap();
        assert_eq!(phase(&kinds(&path)), (Phase::Closing, 1));
        log.append_batch(&[(0x29, b"list"), (0x2c, b"result")])
            .unwrap();
        assert_eq!(phase(&kinds(&path)), (Phase::Over, 1));
        log.sync().unwrap();
        assert_eq!(records(&path).1, 6);
        // Torn inside the last batch: its first record is whole and counts for nothing.
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let (payloads, whole) = records(&path);
        assert_eq!((payloads.len(), whole), (5, 4));
        assert_eq!(payloads[4], b"list");
    }
}
