//! What the first two bytes of a response say.

use core::fmt;

/// The first code that is reserved for the transport's own refusals.
const RESERVED: u16 = 0xff00;

/// The status of a response that a handler gave: 0 is [`Status::OK`], the other codes belong to the application.
///
/// Codes from `0xff00` are reserved for [`Refusal`] and can not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

impl Status {
    /// The request was carried out.
    pub const OK: Self = Self(0);

    /// An application status; `None` if `code` is reserved for the transport (`0xff00` and above).
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code < RESERVED {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why the transport refused a request before, or instead of, an answer by the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The handler has no request of this kind.
    UnknownKind,
    /// The declared head is longer than the kind allows.
    HeadTooLarge,
    /// The declared body is longer than the kind allows.
    BodyTooLarge,
    /// Bytes follow the declared body.
    TrailingBytes,
    /// The stream ended before the declared length.
    Truncated,
    /// The bytes came more slowly than the minimum rate.
    TooSlow,
    /// The request was not read and answered within the deadline of its kind.
    Deadline,
    /// Too many requests, or too many bytes of requests in memory, at this moment.
    Busy,
    /// The spool holds as many bytes as it may at this moment.
    SpoolFull,
    /// The server could not write the body to its disk, or read the answer from it.
    Storage,
    /// The server is shutting down.
    ShuttingDown,
    /// The handler failed.
    Internal,
    /// A reserved code that this version does not know.
    Unknown(u16),
}

impl Refusal {
    /// Every refusal this version can give, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::UnknownKind,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::TrailingBytes,
        Self::Truncated,
        Self::TooSlow,
        Self::Deadline,
        Self::Busy,
        Self::SpoolFull,
        Self::Storage,
        Self::ShuttingDown,
        Self::Internal,
    ];

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::UnknownKind => RESERVED,
            Self::HeadTooLarge => RESERVED + 1,
            Self::BodyTooLarge => RESERVED + 2,
            Self::TrailingBytes => RESERVED + 3,
            Self::Truncated => RESERVED + 4,
            Self::TooSlow => RESERVED + 5,
            Self::Deadline => RESERVED + 6,
            Self::Busy => RESERVED + 7,
            Self::SpoolFull => RESERVED + 8,
            Self::Storage => RESERVED + 9,
            Self::ShuttingDown => RESERVED + 10,
            Self::Internal => RESERVED + 11,
            Self::Unknown(code) => code,
        }
    }

    /// The refusal with this code; `None` if the code is an application [`Status`].
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        if code < RESERVED {
            return None;
        }
        let known = Self::ALL.into_iter().find(|refusal| refusal.code() == code);
        Some(known.unwrap_or(Self::Unknown(code)))
    }

    /// A short name for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownKind => "unknown_kind",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::TrailingBytes => "trailing_bytes",
            Self::Truncated => "truncated",
            Self::TooSlow => "too_slow",
            Self::Deadline => "deadline",
            Self::Busy => "busy",
            Self::SpoolFull => "spool_full",
            Self::Storage => "storage",
            Self::ShuttingDown => "shutting_down",
            Self::Internal => "internal",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether the same request may succeed later: the client resends it after a back-off.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::SpoolFull | Self::ShuttingDown)
    }

    /// Whether the peer caused it. Too many of them cost the peer its connection.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::UnknownKind
                | Self::HeadTooLarge
                | Self::BodyTooLarge
                | Self::TrailingBytes
                | Self::Truncated
                | Self::TooSlow
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(code) => write!(f, "unknown refusal {code:#06x}"),
            known => f.write_str(known.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_reserved_and_round_trip() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(refusal.code() - RESERVED), index);
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
            assert_eq!(Status::new(refusal.code()), None);
        }
        assert_eq!(Refusal::from_code(RESERVED - 1), None);
        assert_eq!(Refusal::from_code(0xffff), Some(Refusal::Unknown(0xffff)));
        assert_eq!(
            Status::new(RESERVED - 1).map(Status::code),
            Some(RESERVED - 1)
        );
    }
}
