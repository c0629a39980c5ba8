//! What is not the encoding of a message is refused, with the error that says what is wrong and where.

use crate::sample::Kind;
use crate::table::{Encoded, all};
use std::ops::Range;
use veilsum_wire::WireError;

/// The group order l, little-endian: the least scalar that is not canonical.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn bad_scalars() -> Vec<[u8; 32]> {
    let mut above = ORDER;
    above[0] += 1;
    let mut high_bit = [0; 32];
    high_bit[31] = 0x80;
    vec![ORDER, above, high_bit, [0xff; 32]]
}

fn bad_points() -> Vec<[u8; 32]> {
    // p = 2^255 - 19 is zero in another encoding; p + 2 is 2 in another; 1 is negative; 2^255 - 1 and high bits are no
    // field elements at all; 2 is not on the curve's image.
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let mut p_and_2 = p;
    p_and_2[0] = 0xef;
    let (mut one, mut high_bit) = ([0; 32], [0; 32]);
    one[0] = 1;
    high_bit[31] = 0x80;
    vec![p, p_and_2, one, high_bit, [0xff; 32]]
}

fn replaced(bytes: &[u8], at: &Range<usize>, with: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at.clone()].copy_from_slice(with);
    out
}

fn count_at(bytes: &[u8], at: &Range<usize>) -> u32 {
    u32::from_le_bytes(bytes[at.clone()].try_into().unwrap())
}

/// The error that the first `len` bytes must give: that of the first place that they do not hold.
fn truncated(encoded: &Encoded, len: usize) -> WireError {
    for (kind, range) in &encoded.places {
        if range.end > len {
            return WireError::Truncated {
                offset: range.start,
                missing: range.end - len,
            };
        }
        if let Kind::Count(least) = kind {
            let count = count_at(&encoded.bytes, range);
            if count as usize * least > len - range.end {
                return WireError::Count {
                    offset: range.start,
                    count: count.into(),
                };
            }
        }
    }
    unreachable!("nothing is missing")
}

#[test]
fn a_message_cut_at_any_length_is_refused_at_the_first_missing_place() {
    for message in all() {
        let encoded = message.golden();
        for len in 0..encoded.bytes.len() {
            assert_eq!(
                message.round_trip(&encoded.bytes[..len]),
                Err(truncated(&encoded, len)),
                "{} cut to {len}",
                message.name
            );
        }
    }
}

#[test]
fn bytes_after_a_message_are_refused() {
    for message in all() {
        let mut bytes = message.golden().bytes;
        for extra in 1..40 {
            bytes.push(0);
            assert_eq!(
                message.round_trip(&bytes),
                Err(WireError::Trailing { extra }),
                "{}",
                message.name
            );
        }
    }
}

#[test]
fn a_count_that_the_input_cannot_hold_is_refused_where_it_stands() {
    let mut tried = 0;
    for message in all() {
        let encoded = message.golden();
        for (kind, range) in &encoded.places {
            let Kind::Count(least) = kind else { continue };
            let fits = (encoded.bytes.len() - range.end) / least;
            for count in [u32::MAX, 1 << 31, u32::try_from(fits).unwrap() + 1] {
                let bytes = replaced(&encoded.bytes, range, &count.to_le_bytes());
                let expected = WireError::Count {
                    offset: range.start,
                    count: count.into(),
                };
                assert_eq!(
                    message.round_trip(&bytes),
                    Err(expected),
                    "{}",
                    message.name
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn every_point_and_scalar_must_be_canonical() {
    let mut tried = 0;
    for message in all() {
        let encoded = message.golden();
        for (kind, range) in &encoded.places {
            let offset = range.start;
            let (replacements, expected) = match kind {
                Kind::Point => (bad_points(), WireError::Point { offset }),
                Kind::Scalar => (bad_scalars(), WireError::Scalar { offset }),
                Kind::Bytes | Kind::Count(_) => continue,
            };
            for bad in replacements {
                let bytes = replaced(&encoded.bytes, range, &bad);
                assert_eq!(
                    message.round_trip(&bytes),
                    Err(expected),
                    "{} at {offset}",
                    message.name
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[test]
fn the_identity_is_canonical_and_left_to_the_protocol_checks() {
    // Whether the identity is allowed depends on the field (F_0 no, F_3 yes): `header.identity`, not the codec, refuses it.
    for message in all() {
        let encoded = message.golden();
        for (kind, range) in &encoded.places {
            if *kind == Kind::Point {
                let bytes = replaced(&encoded.bytes, range, &[0; 32]);
                assert_eq!(message.round_trip(&bytes), Ok(bytes));
            }
        }
    }
}
