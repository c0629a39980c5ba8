//! What a round that is over is answered for with: one file beside its log, so that neither log nor bodies are read again.

use std::path::Path;
use std::sync::Arc;

use veilsum_crypto::Digest;
use veilsum_params::{ClientId, Layout, RoundParams};
use veilsum_protocol::{Bytes, place_in};
use veilsum_store::{Disk, OpenMode, StoreError, read_bounded, replace_private};
use veilsum_wire::{Signed, VoidContent, Wire};

/// The file, in the round's directory.
const FILE: &str = "answers.veilsum";
const MAGIC: [u8; 8] = *b"VEILSUMA";
const VERSION: u16 = 1;
/// Magic and version.
const FRONT: usize = 10;
const DIGEST: usize = 32;
/// What comes after the front.
const CERTIFIED: u8 = 0;
const VOID: u8 = 1;
/// Largest file that is read: a round whose answers may be larger is not announced ([`super::check_round_size`]).
pub(super) const FILE_MAX: u64 = 1 << 28;

/// The most bytes that the file of a round takes: the entries of U, the result, and what certifies it.
pub(super) fn file_bytes(params: &RoundParams, layout: &Layout) -> u64 {
    let m = u64::from(params.committee_size());
    let entries = (4 + 4 + 32) * u64::from(params.n_max);
    let rows = 32 * u64::from(layout.x_rows);
    (1 << 16) + entries + 8 * u64::from(params.dim) + rows + m * (8192 + 48 * m)
}

/// What clients hear of a round that is over.
#[derive(Debug)]
pub(super) enum Answers {
    /// There is a result.
    Certified {
        /// The proposal: client and header digest, by increasing id.
        entries: Vec<(ClientId, Digest)>,
        /// The result and what certifies it, around the place of a client.
        frame: [Arc<[u8]>; 2],
    },
    /// There is none and never will be.
    Void(Signed<VoidContent>),
}

/// How a round that is over ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// There is a result.
    Certified,
    /// There is none and never will be.
    Void(Box<Signed<VoidContent>>),
}

impl Ending {
    /// Reads it from the start of the file, whatever the size of a result in it. None as for [`Answers::read`].
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Option<Self> {
        let mut start = [0; FRONT + 1];
        let mut file = disk.open(&dir.join(FILE), OpenMode::Read).ok()?;
        if file.read_at(0, &mut start).ok()? < start.len() {
            return None;
        }
        match content(&start)? {
            [CERTIFIED] => Some(Self::Certified),
            // A declaration is short.
            [VOID] => match Answers::read(disk, dir)? {
                Answers::Void(declaration) => Some(Self::Void(Box::new(declaration))),
                Answers::Certified { .. } => None,
            },
            _ => None,
        }
    }
}

/// What comes after magic and version.
fn content(bytes: &[u8]) -> Option<&[u8]> {
    let (front, content) = bytes.split_at_checked(FRONT)?;
    let (magic, version) = front.split_at_checked(MAGIC.len())?;
    (magic == MAGIC && u16::from_bytes(version) == Ok(VERSION)).then_some(content)
}

/// Entries of U, and the parts before and after a client's place in it.
type Parts = ((Vec<(ClientId, Digest)>, Bytes), Bytes);

fn digest(content: &[u8]) -> [u8; DIGEST] {
    blake3::derive_key("veilsum/v1 answers of a round that is over", content)
}

impl Answers {
    /// Writes the file, in place of an earlier one.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
        let mut bytes = MAGIC.to_vec();
        VERSION.encode(&mut bytes);
        match self {
            Self::Certified { entries, frame } => {
                CERTIFIED.encode(&mut bytes);
                entries.encode(&mut bytes);
                // As `Bytes` encodes it, without a copy of a part that may be large.
                bytes.reserve(self.size().saturating_add(DIGEST + 8));
                for part in frame {
                    u32::try_from(part.len())
                        .unwrap_or(u32::MAX)
                        .encode(&mut bytes);
                    bytes.extend_from_slice(part);
                }
            }
            Self::Void(declaration) => {
                VOID.encode(&mut bytes);
                declaration.encode(&mut bytes);
            }
        }
        let end = digest(&bytes);
        bytes.extend_from_slice(&end);
        replace_private(disk, &dir.join(FILE), &bytes)
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Certified { entries, frame } => {
                let parts = frame.iter().map(|part| part.len()).sum::<usize>();
                parts.saturating_add(size_of_val(entries.as_slice()))
            }
            Self::Void(declaration) => size_of_val(declaration),
        }
    }

    /// Whether there is such a file; a disk that cannot be asked has none.
    pub(super) fn is_in(disk: &dyn Disk, dir: &Path) -> bool {
        disk.exists(&dir.join(FILE)).unwrap_or(false)
    }

    /// Bytes of the file; 0 when it is not there.
    pub(super) fn bytes_in(disk: &dyn Disk, dir: &Path) -> u64 {
        let file = disk.open(&dir.join(FILE), OpenMode::Read);
        file.and_then(|mut file| file.size()).unwrap_or(0)
    }

    /// Reads the file; none when it is not there, damaged, or of another version. Clients check what they hear, so nothing
    /// worse than no answer can come of a bad file.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Option<Self> {
        let path = dir.join(FILE);
        let bytes = match read_bounded(disk, &path, FILE_MAX) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(target: "veilsum", event = "answers_unreadable", %error);
                return None;
            }
        };
        let decoded = Self::decode(&bytes);
        if decoded.is_none() {
            tracing::warn!(target: "veilsum", event = "answers_damaged", path = %path.display());
        }
        decoded
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (signed, end) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
        let (tag, content) = content(signed)?.split_first()?;
        if digest(signed) != end {
            return None;
        }
        match *tag {
            CERTIFIED => {
                let ((entries, head), tail) = Parts::from_bytes(content).ok()?;
                let frame = [head.0.into(), tail.0.into()];
                Some(Self::Certified { entries, frame })
            }
            VOID => Signed::from_bytes(content).ok().map(Self::Void),
            _ => None,
        }
    }

    /// The result and what one client checks it with, in parts; none for a client that is not in U.
    pub(super) fn result(
        entries: &[(ClientId, Digest)],
        frame: &[Arc<[u8]>; 2],
        client: ClientId,
    ) -> Option<Vec<Arc<[u8]>>> {
        let [head, tail] = frame;
        let place = place_in(entries, client)?.to_bytes();
        Some(vec![Arc::clone(head), place.into(), Arc::clone(tail)])
    }
}

/// What a file with the answers of an ended round holds, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswersSummary {
    /// Contributions of the sum; none of a round without result.
    pub contributions: Option<usize>,
    /// Bytes of the result and of what certifies it, without a client's own place.
    pub answer_bytes: usize,
}

/// Whether bytes are said to be such a file.
#[must_use]
pub fn are_answers(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Reads the bytes of such a file (`specs/log.md`); none for damage and for other versions.
#[must_use]
pub fn answers_summary(bytes: &[u8]) -> Option<AnswersSummary> {
    Some(match Answers::decode(bytes)? {
        Answers::Certified { entries, frame } => AnswersSummary {
            contributions: Some(entries.len()),
            answer_bytes: frame
                .iter()
                .fold(0, |sum, part| sum.saturating_add(part.len())),
        },
        Answers::Void(declaration) => AnswersSummary {
            contributions: None,
            answer_bytes: declaration.to_bytes().len(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use veilsum_store::RealDisk;

    #[test]
    fn answers_are_read_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Answers::is_in(&RealDisk, dir.path()));
        assert!(Answers::read(&RealDisk, dir.path()).is_none());
        let entries: Vec<_> = (1..=5).map(|id| (ClientId(id), Digest([2; 32]))).collect();
        let answers = Answers::Certified {
            entries,
            frame: [[1u8; 3].into(), [9u8; 4].into()],
        };
        answers.write(&RealDisk, dir.path()).unwrap();
        assert!(Answers::is_in(&RealDisk, dir.path()));
        assert!(matches!(
            Ending::read(&RealDisk, dir.path()),
            Some(Ending::Certified)
        ));
        let Some(Answers::Certified { entries, frame }) = Answers::read(&RealDisk, dir.path())
        else {
            panic!("not read back");
        };
        let parts = Answers::result(&entries, &frame, ClientId(4)).unwrap();
        assert_eq!(
            (&parts[0][..], &parts[2][..]),
            (&[1u8; 3][..], &[9u8; 4][..])
        );
        let (place, path) = <(u32, Vec<Digest>)>::from_bytes(&parts[1]).unwrap();
        assert_eq!((place, path.len()), (3, 3));
        assert_eq!(Answers::result(&entries, &frame, ClientId(6)), None);

        let path = dir.path().join(FILE);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Answers::decode(&bad).is_none(), "byte {at}");
            assert!(Answers::decode(&good[..at]).is_none(), "cut at {at}");
        }
        // Of how it ended the front alone says something.
        for at in 0..=FRONT {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert!(Ending::read(&RealDisk, dir.path()).is_none(), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(Ending::read(&RealDisk, dir.path()).is_none(), "cut at {at}");
        }
    }
}
