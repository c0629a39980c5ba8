//! Values of every type on the wire, and an account of their bytes that does not come from the codec.

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::scalar::Scalar;
use std::ops::Range;
use veilsum_crypto::{CanonicalPoint, Digest, DleqProof, KnowledgeProof, Signature, Xof, labels};
use veilsum_params::{Beacon, ClientId, MemberIndex, MemberSlot, RoundParams};
use veilsum_wire::{Content, Signed, Wire};

/// Where values come from.
pub(crate) enum Source {
    /// 1, 2, 3, ...: for the golden file.
    Counter(u64),
    /// Pseudorandom from a seed: for the properties.
    Random(Box<Xof>),
}

impl Source {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Random(Box::new(Xof::new(labels::BATCH_XOF, &[1; 32], seed)))
    }

    fn next(&mut self) -> u64 {
        match self {
            Self::Counter(n) => {
                *n += 1;
                *n
            }
            Self::Random(xof) => xof.next_u64(),
        }
    }

    fn list_len(&mut self) -> u64 {
        match self {
            Self::Counter(_) => 2,
            Self::Random(xof) => xof.next_u64() % 4,
        }
    }
}

/// What stands at a place of an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    Point,
    Scalar,
    /// The count of a list whose elements have at least so many bytes.
    Count(usize),
}

/// The places of an encoding, one after the other.
#[derive(Default)]
pub(crate) struct Places {
    pub(crate) list: Vec<(Kind, Range<usize>)>,
    end: usize,
}

impl Places {
    pub(crate) fn of(value: &impl Sample) -> Self {
        let mut places = Self::default();
        value.places(&mut places);
        places
    }

    fn push(&mut self, kind: Kind, len: usize) {
        self.list.push((kind, self.end..self.end + len));
        self.end += len;
    }
}

/// A type on the wire of which samples can be made.
pub(crate) trait Sample: Wire {
    fn sample(source: &mut Source) -> Self;
    fn places(&self, places: &mut Places);
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Sample for $t {
            fn sample(source: &mut Source) -> Self {
                source.next() as $t
            }
            fn places(&self, places: &mut Places) {
                places.push(Kind::Bytes, size_of::<$t>());
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i64);

impl<const N: usize> Sample for [u8; N] {
    fn sample(source: &mut Source) -> Self {
        match source {
            Source::Counter(_) => [source.next() as u8; N],
            Source::Random(xof) => {
                let mut out = [0; N];
                xof.fill(&mut out);
                out
            }
        }
    }
    fn places(&self, places: &mut Places) {
        places.push(Kind::Bytes, N);
    }
}

impl Sample for Scalar {
    fn sample(source: &mut Source) -> Self {
        match source {
            Source::Counter(_) => Self::from(source.next()),
            Source::Random(_) => {
                let mut wide = [0; 64];
                wide[..32].copy_from_slice(&<[u8; 32]>::sample(source));
                wide[32..].copy_from_slice(&<[u8; 32]>::sample(source));
                Self::from_bytes_mod_order_wide(&wide)
            }
        }
    }
    fn places(&self, places: &mut Places) {
        places.push(Kind::Scalar, 32);
    }
}

impl Sample for CanonicalPoint {
    fn sample(source: &mut Source) -> Self {
        Self::from(Scalar::sample(source) * RISTRETTO_BASEPOINT_POINT)
    }
    fn places(&self, places: &mut Places) {
        places.push(Kind::Point, 32);
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source) -> Self {
        (0..source.list_len()).map(|_| T::sample(source)).collect()
    }
    fn places(&self, places: &mut Places) {
        places.push(Kind::Count(T::MIN_LEN), 4);
        for item in self {
            item.places(places);
        }
    }
}

impl<A: Sample, B: Sample> Sample for (A, B) {
    fn sample(source: &mut Source) -> Self {
        (A::sample(source), B::sample(source))
    }
    fn places(&self, places: &mut Places) {
        self.0.places(places);
        self.1.places(places);
    }
}

macro_rules! newtypes {
    ($($t:ident),*) => {$(
        impl Sample for $t {
            fn sample(source: &mut Source) -> Self {
                Self(Sample::sample(source))
            }
            fn places(&self, places: &mut Places) {
                self.0.places(places);
            }
        }
    )*};
}
newtypes!(ClientId, MemberIndex, Digest, Signature);

impl<T: Content + Sample> Sample for Signed<T> {
    fn sample(source: &mut Source) -> Self {
        Self {
            content: T::sample(source),
            signature: Sample::sample(source),
        }
    }
    fn places(&self, places: &mut Places) {
        self.content.places(places);
        self.signature.places(places);
    }
}

/// Implements [`Sample`] for a structure field by field; a field that is left out does not compile.
macro_rules! structs {
    ($($name:ident { $($field:ident),* $(,)? })*) => {$(
        impl $crate::sample::Sample for $name {
            fn sample(source: &mut $crate::sample::Source) -> Self {
                $(let $field = $crate::sample::Sample::sample(source);)*
                Self { $($field),* }
            }
            fn places(&self, places: &mut $crate::sample::Places) {
                $($crate::sample::Sample::places(&self.$field, places);)*
            }
        }
    )*};
}
pub(crate) use structs;

structs! {
    KnowledgeProof { announcement, response }
    DleqProof { on_base, on_ephemeral, response }
    MemberSlot { client, share_key }
    Beacon { source, round, value }
    RoundParams {
        protocol_version, generator_set, round_id, epoch, server_key, model_digest, roster_digest, beacon, dim,
        scale_bits, norm_bound, weight_max, predicates, groups, cohort_size, n_max, n_min, malicious_max, threshold,
        committee, contribute_deadline_ms,
    }
}
