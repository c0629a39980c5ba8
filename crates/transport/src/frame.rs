//! The frame of a request and of a response, over byte slices and without I/O.
//!
//! ```text
//! request:  kind   u16 | head length u32 | head | body length u64 | body | end of stream
//! response: status u16 | head length u32 | head | body length u64 | body | end of stream
//! ```
//!
//! Integers are little-endian. A length is compared with the limit that applies to it before a byte of what it
//! announces is read; bytes after the body are an error.

use thiserror::Error;

use crate::config::{RequestLimits, ResponseLimits};
use crate::error::Part;
use crate::status::Refusal;

/// Bytes of a [`Prefix`].
pub const PREFIX_LEN: usize = 6;
/// Bytes of the body length.
pub const BODY_LEN_LEN: usize = 8;

/// The first bytes of a frame: the kind of a request or the status of a response, and the length of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The kind of a request or the status code of a response.
    pub code: u16,
    /// The length of the head in bytes.
    pub head_len: u32,
}

impl Prefix {
    /// The bytes on the wire.
    #[must_use]
    pub fn encode(self) -> [u8; PREFIX_LEN] {
        let [a, b] = self.code.to_le_bytes();
        let [c, d, e, f] = self.head_len.to_le_bytes();
        [a, b, c, d, e, f]
    }

    /// Reads a prefix; every bit pattern is one.
    #[must_use]
    pub fn decode(bytes: [u8; PREFIX_LEN]) -> Self {
        let [a, b, c, d, e, f] = bytes;
        Self {
            code: u16::from_le_bytes([a, b]),
            head_len: u32::from_le_bytes([c, d, e, f]),
        }
    }
}

/// A whole frame, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The kind of a request or the status code of a response.
    pub code: u16,
    /// The head.
    pub head: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Why bytes are not a frame within the limits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// There are no limits for this kind of request.
    #[error("unknown request kind {kind}")]
    UnknownKind {
        /// The kind that was sent.
        kind: u16,
    },
    /// A declared length is above its limit.
    #[error("{part} of {len} bytes, the limit is {max}")]
    TooLarge {
        /// Which part.
        part: Part,
        /// The declared length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The bytes end before the declared length.
    #[error("the frame ends inside its {part}")]
    Truncated {
        /// The part that is not complete.
        part: Part,
    },
    /// Bytes follow the body.
    #[error("bytes follow the declared body")]
    TrailingBytes,
}

impl FrameError {
    /// The refusal a server answers a request with that has this error.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::UnknownKind { .. } => Refusal::UnknownKind,
            Self::TooLarge {
                part: Part::Body, ..
            } => Refusal::BodyTooLarge,
            Self::TooLarge { .. } => Refusal::HeadTooLarge,
            Self::Truncated { .. } => Refusal::Truncated,
            Self::TrailingBytes => Refusal::TrailingBytes,
        }
    }
}

/// The bytes of a frame up to and without its body.
///
/// # Errors
/// [`FrameError::TooLarge`] if the head is longer than `u32::MAX` bytes.
pub fn encode_head(code: u16, head: &[u8], body_len: u64) -> Result<Vec<u8>, FrameError> {
    let head_len = u32::try_from(head.len()).map_err(|_| FrameError::TooLarge {
        part: Part::Head,
        len: u64::try_from(head.len()).unwrap_or(u64::MAX),
        max: u64::from(u32::MAX),
    })?;
    let mut out = Vec::with_capacity(PREFIX_LEN + head.len() + BODY_LEN_LEN);
    out.extend_from_slice(&Prefix { code, head_len }.encode());
    out.extend_from_slice(head);
    out.extend_from_slice(&body_len.to_le_bytes());
    Ok(out)
}

/// Compares the declared length of a head with its limit.
///
/// # Errors
/// [`FrameError::TooLarge`].
pub fn check_head_len(len: u32, max: u32) -> Result<(), FrameError> {
    check_len(Part::Head, u64::from(len), u64::from(max))
}

/// Compares the declared length of a body with its limit.
///
/// # Errors
/// [`FrameError::TooLarge`].
pub fn check_body_len(len: u64, max: u64) -> Result<(), FrameError> {
    check_len(Part::Body, len, max)
}

fn check_len(part: Part, len: u64, max: u64) -> Result<(), FrameError> {
    if len > max {
        return Err(FrameError::TooLarge { part, len, max });
    }
    Ok(())
}

/// Reads a whole request.
///
/// # Errors
/// Each variant of [`FrameError`], for the first thing that is wrong in the order of the bytes.
pub fn decode_request(
    bytes: &[u8],
    limits: impl FnOnce(u16) -> Option<RequestLimits>,
) -> Result<Frame<'_>, FrameError> {
    let (prefix, rest) = split_prefix(bytes)?;
    let limits = limits(prefix.code).ok_or(FrameError::UnknownKind { kind: prefix.code })?;
    decode_rest(prefix, rest, limits.head_max, limits.body_max)
}

/// Reads a whole response.
///
/// # Errors
/// [`FrameError`], except [`FrameError::UnknownKind`].
pub fn decode_response<'a>(
    bytes: &'a [u8],
    limits: &ResponseLimits,
) -> Result<Frame<'a>, FrameError> {
    let (prefix, rest) = split_prefix(bytes)?;
    decode_rest(prefix, rest, limits.head_max, limits.body_max)
}

fn split_prefix(bytes: &[u8]) -> Result<(Prefix, &[u8]), FrameError> {
    let (prefix, rest) = bytes
        .split_first_chunk::<PREFIX_LEN>()
        .ok_or(FrameError::Truncated { part: Part::Prefix })?;
    Ok((Prefix::decode(*prefix), rest))
}

fn decode_rest(
    prefix: Prefix,
    rest: &[u8],
    head_max: u32,
    body_max: u64,
) -> Result<Frame<'_>, FrameError> {
    let truncated = |part| FrameError::Truncated { part };
    check_head_len(prefix.head_len, head_max)?;
    let (head, rest) = usize::try_from(prefix.head_len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(truncated(Part::Head))?;
    let (body_len, rest) = rest
        .split_first_chunk::<BODY_LEN_LEN>()
        .ok_or(truncated(Part::BodyLength))?;
    let body_len = u64::from_le_bytes(*body_len);
    check_body_len(body_len, body_max)?;
    let (body, rest) = usize::try_from(body_len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(truncated(Part::Body))?;
    if !rest.is_empty() {
        return Err(FrameError::TrailingBytes);
    }
    Ok(Frame {
        code: prefix.code,
        head,
        body,
    })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn limits(kind: u16) -> Option<RequestLimits> {
        (kind < 0x100).then_some(RequestLimits {
            head_max: 40,
            body_max: 60,
            deadline: Duration::from_secs(1),
        })
    }

    #[test]
    fn the_bytes_are_as_documented() {
        let mut bytes = encode_head(0x0102, b"ab", 3).unwrap();
        bytes.extend_from_slice(b"xyz");
        assert_eq!(
            bytes,
            [
                2, 1, 2, 0, 0, 0, b'a', b'b', 3, 0, 0, 0, 0, 0, 0, 0, b'x', b'y', b'z'
            ]
        );
        let all = |_| {
            Some(RequestLimits {
                head_max: 2,
                body_max: 3,
                deadline: Duration::from_secs(1),
            })
        };
        let frame = decode_request(&bytes, all).unwrap();
        assert_eq!(
            (frame.code, frame.head, frame.body),
            (0x0102, &b"ab"[..], &b"xyz"[..])
        );
        for end in 0..bytes.len() {
            let error = decode_request(&bytes[..end], all).unwrap_err();
            assert_eq!(error.refusal(), Refusal::Truncated, "cut at {end}");
        }
        bytes.push(0);
        assert_eq!(decode_request(&bytes, all), Err(FrameError::TrailingBytes));
    }

    #[test]
    fn a_length_is_refused_before_its_bytes() {
        let head = Prefix {
            code: 1,
            head_len: u32::MAX,
        }
        .encode();
        assert_eq!(
            decode_request(&head, limits).unwrap_err().refusal(),
            Refusal::HeadTooLarge
        );
        let body = encode_head(1, b"", u64::MAX).unwrap();
        assert_eq!(
            decode_request(&body, limits).unwrap_err().refusal(),
            Refusal::BodyTooLarge
        );
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(bytes in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..60], 0..120)) {
            if let Ok(frame) = decode_request(&bytes, limits) {
                let mut again = encode_head(frame.code, frame.head, frame.body.len() as u64).unwrap();
                again.extend_from_slice(frame.body);
                prop_assert_eq!(again, bytes);
            }
        }

        #[test]
        fn what_encodes_decodes(code in 0u16..0x100, head in prop::collection::vec(any::<u8>(), 0..=40), body in prop::collection::vec(any::<u8>(), 0..=60)) {
            let mut bytes = encode_head(code, &head, body.len() as u64).unwrap();
            bytes.extend_from_slice(&body);
            prop_assert_eq!(decode_request(&bytes, limits), Ok(Frame { code, head: &head, body: &body }));
        }
    }
}
