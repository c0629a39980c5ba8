use crate::record::{Bytes, tagged};
use veilsum_params::{ClientId, RoundParams};
use veilsum_wire::{
    AnnouncementContent, Body, ComplaintContent, ConvictedContent, EndorseContent, FinalContent,
    Header, Proposal, ProposalContent, ReceiptContent, ResultContent, RevealContent, RoundResult,
    RowLeaf, RowsContent, Signed, UnmaskContent, VoidContent,
};

tagged! {
    /// A statement of a member of which it makes one in a round.
    MemberStatement {
        /// An endorsement.
        0x01 => Endorse {
            /// As signed.
            signed: Signed<EndorseContent>,
        },
        /// The signed part of an unmask message.
        0x02 => Unmask {
            /// As signed.
            signed: Signed<UnmaskContent>,
        },
        /// A Final.
        0x03 => Final {
            /// As signed.
            signed: Signed<FinalContent>,
        },
    }
}

tagged! {
    /// A statement of the server of which it makes one in a round.
    ServerStatement {
        /// An announcement.
        0x01 => Announcement {
            /// As signed.
            signed: Signed<AnnouncementContent>,
        },
        /// A proposal.
        0x02 => Proposal {
            /// As signed.
            signed: Signed<ProposalContent>,
        },
        /// The fixed list of convicted dealers.
        0x03 => Convicted {
            /// As signed.
            signed: Signed<ConvictedContent>,
        },
        /// A result.
        0x04 => Result {
            /// As signed.
            signed: Signed<ResultContent>,
        },
        /// The declaration that the round is void.
        0x05 => Void {
            /// As signed.
            signed: Signed<VoidContent>,
        },
    }
}

tagged! {
    /// Evidence against one party, self-contained given the roster and the round's parameters. [`crate::judge`] convicts.
    ///
    /// Headers of U stand in the order of U; they are bound by the root that the accused signed. `other_params` is empty
    /// when both statements name the parameters of the round, and else holds the ones that the second statement names:
    /// those of the same round id and server.
    Evidence {
        /// A well-signed header that fails the header check.
        0x01 => InvalidHeader {
            /// The header.
            header: Header,
        },
        /// A well-signed header and the body that it states, which does not verify.
        0x02 => InvalidProof {
            /// The header.
            header: Header,
            /// The body's bytes.
            body: Bytes,
        },
        /// A dealt share is bad.
        0x03 => BadShare {
            /// The dealer's header.
            header: Header,
            /// A complaint that counts.
            complaint: Signed<ComplaintContent>,
        },
        /// A complaint fails on the header that it names.
        0x04 => FalseComplaint {
            /// The header that it names.
            header: Header,
            /// The complaint.
            complaint: Signed<ComplaintContent>,
        },
        /// A member's sum of shares is wrong.
        0x05 => BadUnmask {
            /// The signed sum.
            unmask: Signed<UnmaskContent>,
            /// The headers of U.
            headers: Vec<Header>,
        },
        /// A member's revealed share is wrong.
        0x06 => BadReveal {
            /// The signed share.
            reveal: Signed<RevealContent>,
            /// The dealer's header.
            header: Header,
        },
        /// Two headers of one client.
        0x07 => ClientEquivocation {
            /// One.
            first: Header,
            /// The other.
            second: Header,
            /// See above.
            other_params: Vec<RoundParams>,
        },
        /// Two statements of one member that exclude each other.
        0x08 => MemberEquivocation {
            /// One.
            first: MemberStatement,
            /// The other.
            second: MemberStatement,
            /// See above.
            other_params: Vec<RoundParams>,
        },
        /// Two statements of the server that exclude each other.
        0x09 => ServerEquivocation {
            /// One.
            first: ServerStatement,
            /// The other.
            second: ServerStatement,
            /// See above.
            other_params: Vec<RoundParams>,
        },
        /// A receipt beside a proposal that lacks the contribution.
        0x0a => ReceiptWithoutInclusion {
            /// The receipt.
            receipt: Signed<ReceiptContent>,
            /// The proposal.
            proposal: Proposal,
        },
        /// A receipt for a contribution that does not verify.
        0x0b => ReceiptForInvalid {
            /// The receipt.
            receipt: Signed<ReceiptContent>,
            /// The header that it names.
            header: Header,
            /// The body that the header states; empty when the header itself is invalid.
            body: Bytes,
        },
        /// The published R is not the one that U minus Conv committed to.
        0x0c => WrongSecret {
            /// The signed result.
            result: Signed<ResultContent>,
            /// The headers of U.
            headers: Vec<Header>,
        },
        /// The published vector is not the sum that U minus Conv committed to.
        0x0d => WrongVector {
            /// The result.
            result: RoundResult,
            /// The headers of U.
            headers: Vec<Header>,
            /// The X-rows of U minus Conv, in the order of U.
            rows: Vec<Vec<[u8; 32]>>,
        },
        /// A signed row sum is not the sum of the opened rows.
        0x0e => WrongRowSum {
            /// The signed list.
            signed: Signed<RowsContent>,
            /// The slice.
            slice: u16,
            /// The Conv whose digest is signed.
            convicted: Vec<ClientId>,
            /// The headers of U.
            headers: Vec<Header>,
            /// The rows of the slice of U minus Conv, in the order of U.
            leaves: Vec<RowLeaf>,
        },
    }
}

impl Evidence {
    /// Evidence from a header and the body that was refused beside it: of the header alone when that is what is invalid.
    /// [`crate::judge`] decides whether it is any.
    pub fn of_contribution(header: &Header, body: Option<&Body>) -> Self {
        match body {
            None => Self::InvalidHeader {
                header: header.clone(),
            },
            Some(body) => Self::InvalidProof {
                header: header.clone(),
                body: Bytes(body.to_bytes()),
            },
        }
    }

    /// Evidence from a complaint that was judged against its header: against the dealer if it counts, against the member
    /// if it is false, none if it does not apply.
    pub fn of_complaint(
        verdict: crate::Verdict,
        header: &Header,
        complaint: &Signed<ComplaintContent>,
    ) -> Option<Self> {
        let (header, complaint) = (header.clone(), complaint.clone());
        match verdict {
            crate::Verdict::Counts(_) => Some(Self::BadShare { header, complaint }),
            crate::Verdict::False { .. } => Some(Self::FalseComplaint { header, complaint }),
            crate::Verdict::NotApplicable(_) => None,
        }
    }
}
