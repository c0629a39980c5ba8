//! Every message, once: what the other modules run over.

use crate::sample::{Kind, Places, Sample, Source, structs};
use std::fmt::Debug;
use std::ops::Range;
use veilsum_params::RoundParams;
use veilsum_wire::*;

/// One message type with what the tests need of it.
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Names of the fields; `None` for a signed wrapper, whose fields are content and signature.
    pub(crate) fields: Option<Vec<&'static str>>,
    pub(crate) min_len: usize,
    sample: fn(&mut Source) -> Encoded,
    decode: fn(&[u8]) -> Result<Vec<u8>, WireError>,
}

/// A sample's bytes, where each of its fields and each of its places stands.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<(&'static str, Range<usize>)>,
    pub(crate) places: Vec<(Kind, Range<usize>)>,
}

impl Message {
    pub(crate) fn golden(&self) -> Encoded {
        (self.sample)(&mut Source::Counter(0))
    }
    pub(crate) fn random(&self, seed: u64) -> Encoded {
        (self.sample)(&mut Source::seeded(seed))
    }
    /// Decodes and encodes again.
    pub(crate) fn round_trip(&self, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
        (self.decode)(bytes)
    }
}

fn encode<T: Sample + PartialEq + Debug>(
    value: &T,
    fields: Vec<(&'static str, Range<usize>)>,
) -> Encoded {
    let bytes = value.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(value));
    Encoded {
        bytes,
        fields,
        places: Places::of(value).list,
    }
}

fn decode<T: Wire>(bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    T::from_bytes(bytes).map(|value| value.to_bytes())
}

macro_rules! messages {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        structs! { $($name { $($field),* })* }
        pub(crate) fn structures() -> Vec<Message> {
            vec![$(Message {
                name: stringify!($name),
                fields: Some($name::FIELDS.iter().map(|(name, _)| *name).collect()),
                min_len: $name::MIN_LEN,
                sample: |source| {
                    let value = $name::sample(source);
                    let (mut out, mut fields) = (Vec::new(), Vec::new());
                    $(
                        let start = out.len();
                        value.$field.encode(&mut out);
                        fields.push((stringify!($field), start..out.len()));
                    )*
                    assert_eq!(out, value.to_bytes(), "fields are encoded in their order, with nothing between them");
                    encode(&value, fields)
                },
                decode: decode::<$name>,
            }),*]
        }
    };
}

messages! {
    ShareKeyContent { client, epoch, share_key }
    RosterEntry { client, identity_key, share_key, share_key_signature }
    RosterContent { version, epoch, beacon, revoked, entries }
    AnnouncementContent { round_id, params_digest }
    Announcement { signed, params, beacon }
    HeaderContent {
        params_digest, client, commitments, f_z, ephemeral, knowledge, share_root, row_root, other_rows, masked_vector,
        key_ciphertext, proof,
    }
    ReceiptContent { params_digest, client, header_digest }
    ProposalContent { params_digest, root }
    Proposal { signed, entries }
    ShareLeaf { ciphertext, path }
    MemberPackage { proposal, headers, shares }
    ComplaintContent { params_digest, root, header_digest, member, share, point, equality }
    EndorseContent { params_digest, root, member, count, complaints }
    Endorse { signed, complaints }
    Certificate { endorsements }
    ComplaintListContent { params_digest, root, convicted }
    UnmaskRequest { certificate, list, complaints }
    UnmaskContent { params_digest, root, member, convicted, sum }
    Unmask { signed, complaints }
    RevealRequest { root, complaints }
    RevealContent { params_digest, root, member, header_digest, share }
    ConvictedContent { params_digest, root, convicted }
    Convicted { signed, certificate, complaints }
    FinalContent { params_digest, root, member, count, convicted, sum_f0 }
    RowLeaf { rows, path }
    RowsRequest { root, slice, leaves }
    RowsContent { params_digest, root, convicted, member, slices }
    RowValues { slice, values }
    Rows { signed, values }
    ResultContent { params_digest, root, convicted, r_sum, vector_digest }
    RoundResult { signed, vector }
    RowList { member, slices, signature }
    LightBundle { certificate, count, position, path, finals, rows, row_lists }
    VoidContent { params_digest }
    LogHeadContent { params_digest, records, head }
    RequestContent { params_digest, client, kind }
    JoinContent { registrar, role, epoch, entry, possession }
    BeaconCommitContent { source, round, client, commitment }
    BeaconRevealContent { source, round, client, list, secret }
    BeaconRule { scheme, public_key, participants, least, first_round, first_beacon, stride }
    BeaconList { commitments }
    BeaconReveal { client, secret, signature }
    BeaconProof { signature, previous, reveals }
}

macro_rules! signed {
    ($($name:ident)*) => {
        vec![$(Message {
            name: concat!("Signed<", stringify!($name), ">"),
            fields: None,
            min_len: Signed::<$name>::MIN_LEN,
            sample: |source| {
                let value = Signed::<$name>::sample(source);
                let end = value.content.to_bytes().len();
                encode(&value, vec![("content", 0..end), ("signature", end..end + 64)])
            },
            decode: decode::<Signed<$name>>,
        }),*]
    };
}

/// All messages, their signed forms, and the round parameters.
pub(crate) fn all() -> Vec<Message> {
    let mut all = structures();
    all.extend(signed![
        RosterContent AnnouncementContent HeaderContent ReceiptContent ProposalContent ComplaintContent EndorseContent
        ComplaintListContent UnmaskContent RevealContent ConvictedContent FinalContent RowsContent ResultContent VoidContent
        LogHeadContent RequestContent JoinContent BeaconCommitContent
        BeaconRevealContent
    ]);
    all.push(Message {
        name: "RoundParams",
        fields: Some(ROUND_PARAMS_FIELDS.to_vec()),
        min_len: RoundParams::MIN_LEN,
        sample: |source| {
            let value = RoundParams::sample(source);
            encode(&value, Vec::new())
        },
        decode: decode::<RoundParams>,
    });
    all
}
