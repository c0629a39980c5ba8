//! One value, one encoding.

use crate::table::all;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `all` also checks that decoding gives the value back.
    #[test]
    fn decoding_and_encoding_again_gives_the_same_bytes(seed: u64) {
        for message in all() {
            let bytes = message.random(seed).bytes;
            prop_assert_eq!(message.round_trip(&bytes), Ok(bytes), "{}", message.name);
        }
    }

    /// Whatever is accepted is the one encoding of what it was decoded to, so a changed byte changes the value.
    #[test]
    fn a_change_in_any_field_is_refused_or_gives_another_value(seed: u64, place: u64, change in 1u8..) {
        for message in all() {
            let encoded = message.random(seed);
            for (name, range) in encoded.fields {
                let mut bytes = encoded.bytes.clone();
                let at = range.start + (place % range.len() as u64) as usize;
                bytes[at] ^= change;
                if let Ok(again) = message.round_trip(&bytes) {
                    prop_assert_eq!(&again, &bytes, "{}.{}", message.name, name);
                    prop_assert_ne!(&again, &encoded.bytes);
                }
            }
        }
    }

    #[test]
    fn random_bytes_are_refused_or_encode_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        for message in all() {
            if let Ok(again) = message.round_trip(&bytes) {
                prop_assert_eq!(&again, &bytes, "{}", message.name);
            }
        }
    }

    /// Mostly zero bytes decode much further than random ones: they are small counts and identities.
    #[test]
    fn sparse_bytes_are_refused_or_encode_to_themselves(
        len in 0usize..3000, places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)
    ) {
        let mut bytes = vec![0; len];
        for (place, value) in places {
            if len > 0 {
                bytes[place.index(len)] = value;
            }
        }
        for message in all() {
            if let Ok(again) = message.round_trip(&bytes) {
                prop_assert_eq!(&again, &bytes, "{}", message.name);
            }
        }
    }
}
