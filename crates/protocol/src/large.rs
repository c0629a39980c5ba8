//! What of a record grows with the number of coordinates, and stands in a body beside the log where a record does not hold it
//! (`specs/log.md`, "Large records").

use crate::{Bytes, Record};
use thiserror::Error;
use veilsum_crypto::Digest;
use veilsum_wire::{RoundResult, Wire, WireError};

/// Coordinates that are encoded at one time.
const PIECE: usize = 1 << 12;

/// The large part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargePart<'a> {
    /// The body of a contribution: its bytes.
    Body(&'a [u8]),
    /// The vector of a result: the number of coordinates (u32), then the coordinates (i64).
    Vector(&'a [i64]),
}

impl LargePart<'_> {
    /// Bytes of the part in a body.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Body(bytes) => bytes.len() as u64,
            Self::Vector(vector) => 4 + 8 * vector.len() as u64,
        }
    }

    /// Whether there is nothing of it; a vector has its count at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands the bytes over in their order, in pieces: together they are as large as what they are made of.
    ///
    /// # Errors
    /// The first one of `sink`.
    pub fn pieces<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Body(bytes) => sink(bytes),
            Self::Vector(vector) => {
                // As `Vec::encode` counts: no checked parameters allow more.
                sink(&u32::try_from(vector.len()).unwrap_or(u32::MAX).to_bytes())?;
                let mut bytes = Vec::with_capacity(8 * PIECE);
                for piece in vector.chunks(PIECE) {
                    bytes.clear();
                    for x in piece {
                        x.encode(&mut bytes);
                    }
                    sink(&bytes)?;
                }
                Ok(())
            }
        }
    }
}

/// Why a body is not the one that a record names, though its digest is right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LargePartError {
    /// The record says another length.
    #[error("it has {found} bytes, and the record says {named}")]
    Length {
        /// What the record says.
        named: u64,
        /// What it has.
        found: u64,
    },
    /// It is no vector.
    #[error("it is no vector: {0}")]
    Vector(#[from] WireError),
}

impl Record {
    /// The part that grows with the number of coordinates, of a record that holds it.
    #[must_use]
    pub fn large_part(&self) -> Option<LargePart<'_>> {
        match self {
            Self::ClientContribution { body, .. } => Some(LargePart::Body(&body.0)),
            Self::ServerResult { sent } => Some(LargePart::Vector(&sent.vector)),
            _ => None,
        }
    }

    /// The same record with the large part under `digest` in a body; none for a record that has no such part.
    #[must_use]
    pub fn without_large_part(&self, digest: Digest) -> Option<Self> {
        let (body, len) = (digest, self.large_part()?.len());
        match self {
            Self::ClientContribution {
                announcement,
                header,
                ..
            } => Some(Self::ClientLargeContribution {
                announcement: announcement.clone(),
                header: header.clone(),
                body,
                len,
            }),
            Self::ServerResult { sent } => Some(Self::ServerLargeResult {
                sent: sent.signed.clone(),
                body,
                len,
            }),
            _ => None,
        }
    }

    /// Digest and length of the body with the large part, of a record that names one.
    #[must_use]
    pub fn named_part(&self) -> Option<(Digest, u64)> {
        match self {
            Self::ClientLargeContribution { body, len, .. }
            | Self::ServerLargeResult { body, len, .. } => Some((*body, *len)),
            _ => None,
        }
    }

    /// The record as it was before its large part was taken out. `bytes` are those of the body that it names, whose digest
    /// the caller has checked. A record that names none stays as it is.
    ///
    /// # Errors
    /// [`LargePartError`] when the bytes are not what such a record is about.
    pub fn with_large_part(self, bytes: Vec<u8>) -> Result<Self, LargePartError> {
        if let Some((_, named)) = self.named_part() {
            let found = bytes.len() as u64;
            if found != named {
                return Err(LargePartError::Length { named, found });
            }
        }
        Ok(match self {
            Self::ClientLargeContribution {
                announcement,
                header,
                ..
            } => Self::ClientContribution {
                announcement,
                header,
                body: Bytes(bytes),
            },
            Self::ServerLargeResult { sent, .. } => Self::ServerResult {
                sent: RoundResult {
                    signed: sent,
                    vector: Vec::from_bytes(&bytes)?,
                },
            },
            other => other,
        })
    }
}
