use crate::{
    Announcement, AnnouncementContent, BeaconCommitContent, BeaconList, BeaconProof, BeaconReveal,
    BeaconRevealContent, BeaconRule, Certificate, ComplaintContent, ComplaintListContent, Content,
    Convicted, ConvictedContent, Endorse, EndorseContent, FinalContent, HeaderContent, JoinContent,
    LightBundle, LogHeadContent, MemberPackage, Proposal, ProposalContent, ReceiptContent,
    RequestContent, ResultContent, RevealContent, RevealRequest, RosterContent, RosterEntry,
    RoundResult, RowLeaf, RowList, RowValues, Rows, RowsContent, RowsRequest, ShareKeyContent,
    ShareLeaf, Unmask, UnmaskContent, UnmaskRequest, VoidContent,
};
use veilsum_crypto::labels::Label;

/// A message type as it describes itself.
#[derive(Clone, Copy, Debug)]
pub struct MessageInfo {
    /// Its name.
    pub name: &'static str,
    /// Name and type of each field, in the order of the bytes.
    pub fields: &'static [(&'static str, &'static str)],
    /// The context under which it is signed, if it is.
    pub label: Option<Label>,
}

macro_rules! messages {
    (signed { $($signed:ident)* } plain { $($plain:ident)* }) => {
        &[
            $(MessageInfo { name: stringify!($signed), fields: $signed::FIELDS, label: Some(<$signed as Content>::LABEL) },)*
            $(MessageInfo { name: stringify!($plain), fields: $plain::FIELDS, label: None },)*
        ]
    };
}

/// All messages, what is signed first: `specs/wire.md` is generated from this list, and tests run over it.
pub const MESSAGES: &[MessageInfo] = messages! {
    signed {
        ShareKeyContent RosterContent AnnouncementContent HeaderContent ReceiptContent ProposalContent ComplaintContent
        EndorseContent ComplaintListContent UnmaskContent RevealContent ConvictedContent FinalContent RowsContent
        ResultContent VoidContent LogHeadContent RequestContent JoinContent BeaconCommitContent
        BeaconRevealContent
    }
    plain {
        RosterEntry Announcement Proposal ShareLeaf MemberPackage Endorse Certificate UnmaskRequest Unmask RevealRequest
        Convicted RowLeaf RowsRequest RowValues Rows RoundResult RowList LightBundle BeaconRule BeaconList BeaconReveal
        BeaconProof
    }
};
