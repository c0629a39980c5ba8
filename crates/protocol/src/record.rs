//! What a party writes to its log (`specs/protocol.md`, "Ground rules").

use crate::MemberStatement;
use curve25519_dalek::scalar::Scalar;
use std::fmt;
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_wire::{
    Announcement, ComplaintContent, ComplaintListContent, Convicted, ConvictedContent, Endorse,
    FinalContent, Header, MemberPackage, Proposal, Reader, ReceiptContent, ResultContent,
    RevealContent, RoundResult, Rows, Signed, Unmask, UnmaskContent, UnmaskRequest, VoidContent,
    Wire, WireError,
};

/// A byte string that travels with its length (u32, little-endian).
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes(<{} bytes>)", self.0.len())
    }
}

impl Wire for Bytes {
    const MIN_LEN: usize = 4;
    fn encode(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        count.encode(out);
        out.extend(self.0.iter().take(count as usize));
    }
    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let offset = r.offset();
        let count = u32::decode(r)?;
        let refuse = WireError::Count {
            offset,
            count: count.into(),
        };
        let len = usize::try_from(count).map_err(|_| refuse)?;
        // Checked before `take`, so that the error names the count and not the end of the input.
        if len > r.remaining() {
            return Err(refuse);
        }
        Ok(Self(r.take(len)?.to_vec()))
    }
}

/// Declares an enum with one encoding: a tag byte, then the fields of the variant in their order.
macro_rules! tagged {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $tag:literal => $variant:ident { $($(#[$fmeta:meta])* $field:ident: $t:ty,)* },)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$vmeta])* $variant { $($(#[$fmeta])* $field: $t,)* },)*
        }
        impl $name {
            /// Tags and names of the variants, with their fields and types in the order of their bytes.
            pub const VARIANTS: &'static [(u8, &'static str, &'static [(&'static str, &'static str)])] =
                &[$(($tag, stringify!($variant), &[$((stringify!($field), stringify!($t))),*])),*];
            /// The tag byte.
            pub fn tag(&self) -> u8 {
                match self { $(Self::$variant { .. } => $tag,)* }
            }
        }
        impl ::veilsum_wire::Wire for $name {
            const MIN_LEN: usize = 1;
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(self.tag());
                match self {
                    $(Self::$variant { $($field),* } => { $(::veilsum_wire::Wire::encode($field, out);)* })*
                }
            }
            fn decode(r: &mut ::veilsum_wire::Reader<'_>) -> Result<Self, ::veilsum_wire::WireError> {
                let offset = r.offset();
                match u8::decode(r)? {
                    $($tag => {
                        $(let $field = ::veilsum_wire::Wire::decode(r)?;)*
                        Ok(Self::$variant { $($field),* })
                    })*
                    tag => Err(::veilsum_wire::WireError::Value { offset, field: stringify!($name), value: tag.into() }),
                }
            }
        }
    };
}
pub(crate) use tagged;

tagged! {
    /// One record of a party's log: every message that it accepted or sent, as it was. A party that starts again reads
    /// its records in their order and is then where it was; it resends what it sent and signs nothing anew.
    #[expect(clippy::large_enum_variant, reason = "short-lived: made, written, dropped")]
    Record {
        /// Client: its contribution, before it is sent. One for each round, ever.
        0x01 => ClientContribution {
            /// The announcement that it answers to.
            announcement: Announcement,
            /// Its signed header.
            header: Header,
            /// Its body.
            body: Bytes,
        },
        /// Client: the server's receipt.
        0x02 => ClientReceipt {
            /// The receipt.
            receipt: Signed<ReceiptContent>,
        },
        /// Client: the first result that it was shown, before it is checked. Another one convicts the server.
        0x03 => ClientResult {
            /// As it came, without the vector.
            accepted: Signed<ResultContent>,
        },
        /// Client: as [`Record::ClientContribution`], when a record does not hold the body ([`Record::large_part`]).
        0x04 => ClientLargeContribution {
            /// The announcement that it answers to.
            announcement: Announcement,
            /// Its signed header.
            header: Header,
            /// The plain BLAKE3 digest under which the body is stored.
            body: Digest,
            /// Length of the body in bytes.
            len: u64,
        },
        /// Member: the announcement of the round that it takes part in.
        0x10 => MemberAnnouncement {
            /// The announcement.
            announcement: Announcement,
        },
        /// Member: the package that it checked.
        0x11 => MemberPackage {
            /// The package.
            package: MemberPackage,
        },
        /// Member: its endorsement.
        0x12 => MemberEndorse {
            /// As sent.
            sent: Endorse,
        },
        /// Member: the request to unmask that it checked.
        0x13 => MemberUnmaskRequest {
            /// The request.
            request: UnmaskRequest,
        },
        /// Member: its unmask message.
        0x14 => MemberUnmask {
            /// As sent.
            sent: Unmask,
        },
        /// Member: a revealed share.
        0x15 => MemberReveal {
            /// As sent.
            sent: Signed<RevealContent>,
        },
        /// Member: the fixed list that it checked.
        0x16 => MemberConvicted {
            /// The list.
            accepted: Convicted,
        },
        /// Member: its Final.
        0x17 => MemberFinal {
            /// As sent.
            sent: Signed<FinalContent>,
        },
        /// Member: row sums.
        0x18 => MemberRows {
            /// As sent.
            sent: Rows,
        },
        /// Member: the declaration that the round is void. Nothing is signed for it afterwards.
        0x19 => MemberVoid {
            /// As it came.
            accepted: Signed<VoidContent>,
        },
        /// Server: the announcement.
        0x20 => ServerAnnouncement {
            /// As sent.
            sent: Announcement,
        },
        /// Server: a verified contribution whose body is durable.
        0x21 => ServerContribution {
            /// Its header.
            header: Header,
            /// The digest under which the body is stored.
            body: Digest,
        },
        /// Server: a receipt.
        0x22 => ServerReceipt {
            /// As sent.
            sent: Signed<ReceiptContent>,
        },
        /// Server: the proposal.
        0x23 => ServerProposal {
            /// As sent.
            sent: Proposal,
        },
        /// Server: a member's endorsement.
        0x24 => ServerEndorse {
            /// As it came.
            accepted: Endorse,
        },
        /// Server: a list of convicted dealers.
        0x25 => ServerList {
            /// As sent.
            sent: Signed<ComplaintListContent>,
        },
        /// Server: a member's unmask message.
        0x26 => ServerUnmask {
            /// As it came.
            accepted: Unmask,
        },
        /// Server: a member's reveal.
        0x27 => ServerReveal {
            /// As it came.
            accepted: Signed<RevealContent>,
        },
        /// Server: everything that the fixed list rests on, in one record, before the list is signed (A10, A17).
        0x28 => ServerClosing {
            /// Conv.
            convicted: Vec<ClientId>,
            /// One complaint that counts for each of them.
            complaints: Vec<Signed<ComplaintContent>>,
            /// The sums of shares that R comes from.
            sums: Vec<Signed<UnmaskContent>>,
            /// The reveals that align them.
            reveals: Vec<Signed<RevealContent>>,
            /// R.
            r_sum: Scalar,
        },
        /// Server: the fixed list.
        0x29 => ServerConvicted {
            /// As sent.
            sent: Signed<ConvictedContent>,
        },
        /// Server: a member's Final.
        0x2a => ServerFinal {
            /// As it came.
            accepted: Signed<FinalContent>,
        },
        /// Server: a member's row sums.
        0x2b => ServerRows {
            /// As they came.
            accepted: Rows,
        },
        /// Server: the result.
        0x2c => ServerResult {
            /// As sent.
            sent: RoundResult,
        },
        /// Server: the round is void.
        0x2d => ServerVoid {
            /// As sent.
            sent: Signed<VoidContent>,
        },
        /// Server: evidence whose statements are not all in the log already.
        0x2e => ServerEvidence {
            /// The evidence.
            evidence: crate::Evidence,
        },
        /// Server: a member's endorsement or Final that does not fit the round's; it convicts beside one that does.
        0x2f => ServerForeign {
            /// As it came.
            accepted: MemberStatement,
        },
        /// Server: as [`Record::ServerResult`], when a record does not hold the vector ([`Record::large_part`]).
        0x30 => ServerLargeResult {
            /// As sent, without the vector.
            sent: Signed<ResultContent>,
            /// The plain BLAKE3 digest under which the encoding of the vector is stored.
            body: Digest,
            /// Length of that encoding in bytes.
            len: u64,
        },
    }
}
