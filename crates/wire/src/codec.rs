use curve25519_dalek::scalar::Scalar;
use thiserror::Error;
use veilsum_crypto::{
    CanonicalPoint, Digest, DleqProof, KnowledgeProof, Signature, scalar_from_canonical,
};
use veilsum_params::{ClientId, MemberIndex};

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The input ends inside a field.
    #[error("truncated: {missing} more bytes expected at offset {offset}")]
    Truncated {
        /// Where the field begins.
        offset: usize,
        /// How many bytes are missing.
        missing: usize,
    },
    /// Bytes are left after the last field.
    #[error("{extra} bytes left over after the message")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A list says that it is longer than it may be, or than the input.
    #[error("a list of {count} elements at offset {offset} exceeds its limit or the input")]
    Count {
        /// Where the count stands.
        offset: usize,
        /// What it says.
        count: u64,
    },
    /// A point that is not canonically encoded.
    #[error("no canonical point at offset {offset}")]
    Point {
        /// Where it stands.
        offset: usize,
    },
    /// A scalar that is not canonically encoded.
    #[error("no canonical scalar at offset {offset}")]
    Scalar {
        /// Where it stands.
        offset: usize,
    },
    /// A tag or field with a value that has no meaning.
    #[error("value {value} at offset {offset} has no meaning for {field}")]
    Value {
        /// Where it stands.
        offset: usize,
        /// Which field.
        field: &'static str,
        /// The value.
        value: u64,
    },
    /// The input is not of the length that the parameters derive.
    #[error("{got} bytes, the round's parameters make it {want}")]
    Length {
        /// How long it is.
        got: u64,
        /// How long it must be.
        want: u64,
    },
}

/// Reads fields off a byte string.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.at
    }
    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(WireError::Truncated {
            offset: self.at,
            missing: len - self.remaining().min(len),
        })?;
        self.at += len;
        Ok(taken)
    }
    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut out = [0u8; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }
    /// Refuses bytes that are left over.
    ///
    /// # Errors
    /// [`WireError::Trailing`].
    pub fn finish(self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(WireError::Trailing { extra }),
        }
    }
}

/// A value with exactly one encoding.
pub trait Wire: Sized {
    /// The least number of bytes of any value, at least 1: bounds allocation for lists.
    const MIN_LEN: usize;
    /// Appends the encoding.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads one value.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError>;

    /// The encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
    /// Reads exactly one value; trailing bytes are refused.
    ///
    /// # Errors
    /// What is wrong with the bytes, and where.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let value = Self::decode(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Wire for $t {
            const MIN_LEN: usize = size_of::<$t>();
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok(<$t>::from_le_bytes(r.array()?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i64);

macro_rules! newtypes {
    ($($t:ident($inner:ty)),*) => {$(
        impl Wire for $t {
            const MIN_LEN: usize = <$inner>::MIN_LEN;
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
            fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
                <$inner>::decode(r).map($t)
            }
        }
    )*};
}
newtypes!(
    ClientId(u32),
    MemberIndex(u16),
    Digest([u8; 32]),
    Signature([u8; 64])
);

impl<const N: usize> Wire for [u8; N] {
    const MIN_LEN: usize = N;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array()
    }
}

impl Wire for CanonicalPoint {
    const MIN_LEN: usize = 32;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let offset = r.offset();
        Self::decode(&r.array()?).map_err(|_| WireError::Point { offset })
    }
}

impl Wire for Scalar {
    const MIN_LEN: usize = 32;
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let offset = r.offset();
        scalar_from_canonical(&r.array()?).map_err(|_| WireError::Scalar { offset })
    }
}

impl<T: Wire> Wire for Vec<T> {
    const MIN_LEN: usize = 4;
    fn encode(&self, out: &mut Vec<u8>) {
        // More than 2^32 - 1 elements cannot be built from messages that were decoded or from checked parameters.
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        count.encode(out);
        for item in self.iter().take(count as usize) {
            item.encode(out);
        }
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let offset = r.offset();
        let count = u32::decode(r)?;
        let refuse = WireError::Count {
            offset,
            count: count.into(),
        };
        let count = usize::try_from(count).map_err(|_| refuse)?;
        if count > r.remaining() / T::MIN_LEN.max(1) {
            return Err(refuse);
        }
        (0..count).map(|_| T::decode(r)).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    const MIN_LEN: usize = A::MIN_LEN + B::MIN_LEN;
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok((A::decode(r)?, B::decode(r)?))
    }
}

/// Declares a message: the struct, its encoding in the order of its fields, and the description of its fields that
/// `specs/wire.md` is generated from.
macro_rules! message {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $t:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $t,)*
        }
        impl $name {
            /// Names and types of the fields, in the order of their bytes.
            pub const FIELDS: &'static [(&'static str, &'static str)] = &[$((stringify!($field), stringify!($t))),*];
        }
        impl $crate::Wire for $name {
            const MIN_LEN: usize = 0 $(+ <$t as $crate::Wire>::MIN_LEN)*;
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::Wire::encode(&self.$field, out);)*
            }
            fn decode(r: &mut $crate::Reader<'_>) -> Result<Self, $crate::WireError> {
                $(let $field = $crate::Wire::decode(r)?;)*
                Ok(Self { $($field),* })
            }
        }
    };
}
pub(crate) use message;

macro_rules! foreign {
    ($($t:ident { $($field:ident),* })*) => {$(
        impl Wire for $t {
            const MIN_LEN: usize = 32 * [$(stringify!($field)),*].len();
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$field.encode(out);)*
            }
            fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
                $(let $field = Wire::decode(r)?;)*
                Ok(Self { $($field),* })
            }
        }
    )*};
}
foreign! {
    KnowledgeProof { announcement, response }
    DleqProof { on_base, on_ephemeral, response }
}
