//! Bodies of the fuzz targets: functions that must not panic, whatever the bytes are. `tests/seeds.rs` runs them without a
//! fuzzer.

mod base;
mod complaints;
mod evidence;
mod frame;
mod intake;
mod machines;
mod numbers;
mod proof;
mod store;

pub use complaints::complaints;
pub use evidence::evidence;
pub use frame::frame;
pub use intake::intake;
pub use machines::machines;
pub use numbers::{numbers, oracles};
pub use proof::{proof, reached, words};
pub use store::store;

use veilsum_params::RoundParams;
use veilsum_wire::*;

fn encodes_to_itself<T: Wire>(data: &[u8]) {
    if let Ok(value) = T::from_bytes(data) {
        assert_eq!(value.to_bytes(), data, "two encodings of one value");
    }
}

macro_rules! decoders {
    ($data:ident: $($t:ty),* $(,)?) => {
        $(encodes_to_itself::<$t>($data);)*
    };
}

/// Every decoder of the wire crate: refused, or encoded to the same bytes.
pub fn wire(data: &[u8]) {
    decoders!(data:
        ShareKeyContent, RosterEntry, Signed<RosterContent>, Announcement, Header, Signed<ReceiptContent>, Proposal, ShareLeaf,
        MemberPackage, Signed<ComplaintContent>, Endorse, Certificate, UnmaskRequest, Unmask, RevealRequest,
        Signed<RevealContent>, Convicted, Signed<FinalContent>, RowLeaf, RowsRequest, RowValues, Rows, RoundResult, RowList, LightBundle,
        Signed<VoidContent>, Signed<LogHeadContent>, Signed<RequestContent>, RosterContent, AnnouncementContent, HeaderContent, ReceiptContent,
        ProposalContent, ComplaintContent, EndorseContent, ComplaintListContent, UnmaskContent, RevealContent,
        ConvictedContent, FinalContent, RowsContent, ResultContent, VoidContent, LogHeadContent, RequestContent, RoundParams,
    );
    // Parameters that decode are either refused with a typed error or derive a layout.
    if let Ok(params) = RoundParams::from_bytes(data) {
        let _ = params.layout();
    }
}

/// What travels, what is logged, and what convicts.
pub fn message(data: &[u8]) {
    decoders!(data: veilsum_protocol::Message, veilsum_protocol::Record, veilsum_protocol::Evidence);
}
