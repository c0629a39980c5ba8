//! The bytes of a log: file header, record header, chain values. `specs/log.md` is the text of the same.

use std::fmt;

use crate::error::Damage;

/// The log format that this version writes and reads.
pub const FORMAT_VERSION: u16 = 1;
/// Largest payload of one record, in bytes (16 MiB). Larger data belongs into a body.
pub const MAX_PAYLOAD_LEN: u32 = 1 << 24;
/// Largest encoded atomic batch, in bytes (64 MiB): it is written in one piece from memory.
pub const MAX_BATCH_LEN: u64 = 1 << 26;
/// The kind of the closing record.
pub const KIND_CLOSED: u16 = 0xffff;
/// Bytes in front of the first record.
pub const FILE_HEADER_LEN: usize = 76;
/// Bytes of a record beside its payload.
pub const RECORD_OVERHEAD: usize = RECORD_HEADER_LEN + CHAIN_LEN;

pub(crate) const RECORD_HEADER_LEN: usize = 16;
pub(crate) const CHAIN_LEN: usize = 32;
const MAGIC: [u8; 8] = *b"VEILSUML";
const IDENTITY_LEN: usize = FILE_HEADER_LEN - CHAIN_LEN;

/// The record is followed by another one of the same atomic batch.
pub(crate) const FLAG_MORE: u16 = 1;
/// Everything in front of the record was durable before the record was written.
pub(crate) const FLAG_FENCE: u16 = 2;
const FLAGS_KNOWN: u16 = FLAG_MORE | FLAG_FENCE;

const START_CONTEXT: &str = "veilsum/v1 log start";
const HEADER_CONTEXT: &str = "veilsum/v1 log record header";
const RECORD_CONTEXT: &str = "veilsum/v1 log record";

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// The server's log, which becomes the round's transcript.
    Server = 1,
    /// A committee member's log of what it signed.
    Member = 2,
    /// A client's log of what it signed.
    Client = 3,
}

impl Role {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Server, Self::Member, Self::Client]
            .into_iter()
            .find(|role| *role as u8 == byte)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Member => "member",
            Self::Client => "client",
        })
    }
}

/// What a log is bound to from its first chain value on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogIdentity {
    /// Whose log it is.
    pub role: Role,
    /// What it is about: the params digest of a round, or the id of the state's owner.
    pub context: [u8; 32],
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.role, blake3::Hash::from(self.context))
    }
}

/// The state of the chain after some number of records: what a closing signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Number of records so far.
    pub records: u64,
    /// The chain value behind the last of them.
    pub value: [u8; 32],
}

/// The fields in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) len: u32,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
}

impl RecordHeader {
    fn fields(&self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[6..].copy_from_slice(&self.flags.to_le_bytes());
        bytes
    }

    /// Bytes of the whole record.
    pub(crate) fn record_len(&self) -> u64 {
        u64::from(self.len) + RECORD_OVERHEAD as u64
    }

    pub(crate) fn more(&self) -> bool {
        self.flags & FLAG_MORE != 0
    }

    pub(crate) fn fence(&self) -> bool {
        self.flags & FLAG_FENCE != 0
    }
}

/// A place in the chain: what the next record is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) start: [u8; 32],
    pub(crate) head: ChainHead,
}

impl Chain {
    fn check(&self, fields: [u8; 8]) -> [u8; 8] {
        header_check(&self.start, &self.head.value, fields)
    }

    /// The sixteen bytes in front of a payload.
    pub(crate) fn encode_header(&self, header: &RecordHeader) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        let fields = header.fields();
        bytes[..8].copy_from_slice(&fields);
        bytes[8..].copy_from_slice(&self.check(fields));
        bytes
    }

    /// Reads a record header that must belong at this place.
    pub(crate) fn decode_header(
        &self,
        bytes: &[u8; RECORD_HEADER_LEN],
    ) -> Result<RecordHeader, Damage> {
        let (fields, check) = split_header(bytes);
        if self.check(fields) != check {
            return Err(Damage::RecordHeaderCheck);
        }
        let header = decode_fields(fields);
        if header.flags & !FLAGS_KNOWN != 0 {
            return Err(Damage::Flags(header.flags));
        }
        if header.len > MAX_PAYLOAD_LEN {
            return Err(Damage::Length(header.len));
        }
        Ok(header)
    }

    /// The chain after a record with this header and payload.
    pub(crate) fn next(&self, header: &[u8; RECORD_HEADER_LEN], payload: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(RECORD_CONTEXT);
        hasher.update(&self.head.value);
        hasher.update(&self.head.records.to_le_bytes());
        hasher.update(header);
        hasher.update(payload);
        Self {
            start: self.start,
            head: ChainHead {
                records: self.head.records.saturating_add(1),
                value: *hasher.finalize().as_bytes(),
            },
        }
    }
}

fn header_check(start: &[u8; 32], previous: &[u8; 32], fields: [u8; 8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key(HEADER_CONTEXT);
    hasher.update(start);
    hasher.update(previous);
    hasher.update(&fields);
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}

fn split_header(bytes: &[u8; RECORD_HEADER_LEN]) -> ([u8; 8], [u8; 8]) {
    let (mut fields, mut check) = ([0; 8], [0; 8]);
    fields.copy_from_slice(&bytes[..8]);
    check.copy_from_slice(&bytes[8..]);
    (fields, check)
}

fn decode_fields(fields: [u8; 8]) -> RecordHeader {
    let [l0, l1, l2, l3, k0, k1, f0, f1] = fields;
    RecordHeader {
        len: u32::from_le_bytes([l0, l1, l2, l3]),
        kind: u16::from_le_bytes([k0, k1]),
        flags: u16::from_le_bytes([f0, f1]),
    }
}

/// The header of a record of the log with this `start` that follows the chain value `previous`, if `bytes` are one.
///
/// The index need not be known, so that a record can be recognised behind a damaged one.
pub(crate) fn recognise_header(
    start: &[u8; 32],
    previous: &[u8; 32],
    bytes: &[u8; RECORD_HEADER_LEN],
) -> Option<RecordHeader> {
    let (fields, check) = split_header(bytes);
    let header = decode_fields(fields);
    // The cheap conditions first: a search asks this question for every byte of a damaged tail, which may be long and
    // blank. No chain value is zero.
    (*previous != [0; 32]
        && header.flags & !FLAGS_KNOWN == 0
        && header.len <= MAX_PAYLOAD_LEN
        && header_check(start, previous, fields) == check)
        .then_some(header)
}

/// The file header of a new log, and the start of its chain.
pub(crate) fn encode_file_header(identity: &LogIdentity) -> ([u8; FILE_HEADER_LEN], Chain) {
    let mut bytes = [0; FILE_HEADER_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[10] = identity.role as u8;
    bytes[12..IDENTITY_LEN].copy_from_slice(&identity.context);
    let start = blake3::derive_key(START_CONTEXT, &bytes[..IDENTITY_LEN]);
    bytes[IDENTITY_LEN..].copy_from_slice(&start);
    (bytes, start_chain(start))
}

fn start_chain(start: [u8; 32]) -> Chain {
    Chain {
        start,
        head: ChainHead {
            records: 0,
            value: start,
        },
    }
}

/// Why a file header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Version(u16),
    Damage(Damage),
}

/// Reads a file header.
pub(crate) fn decode_file_header(
    bytes: &[u8; FILE_HEADER_LEN],
) -> Result<(LogIdentity, Chain), HeaderFault> {
    if bytes[..8] != MAGIC {
        return Err(HeaderFault::Damage(Damage::Magic));
    }
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version != FORMAT_VERSION {
        return Err(HeaderFault::Version(version));
    }
    let start = blake3::derive_key(START_CONTEXT, &bytes[..IDENTITY_LEN]);
    if bytes[IDENTITY_LEN..] != start {
        return Err(HeaderFault::Damage(Damage::FileHeaderCheck));
    }
    let role = Role::from_byte(bytes[10]).ok_or(HeaderFault::Damage(Damage::Role(bytes[10])))?;
    if bytes[11] != 0 {
        return Err(HeaderFault::Damage(Damage::Reserved));
    }
    let mut context = [0; 32];
    context.copy_from_slice(&bytes[12..IDENTITY_LEN]);
    Ok((LogIdentity { role, context }, start_chain(start)))
}
