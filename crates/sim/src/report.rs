use crate::Counts;
use std::collections::{BTreeMap, BTreeSet};
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_protocol::{ClientError, Evidence, Fault, Message, Outcome, Party, Record, Refusal};
use veilsum_wire::{LightBundle, ReceiptContent, RoundResult, Signed, Wire};

/// What came of a simulated round.
#[derive(Debug, Default)]
pub struct Report {
    /// How the round ended; none when time ran out.
    pub outcome: Option<Outcome>,
    /// The result that the server's machine has.
    pub result: Option<RoundResult>,
    /// What each client downloads.
    pub bundles: BTreeMap<ClientId, LightBundle>,
    /// The results that clients downloaded, each once.
    pub published: Vec<RoundResult>,
    /// Clients that follow the protocol.
    pub honest: BTreeSet<ClientId>,
    /// The light check of each honest client in U.
    pub light: BTreeMap<ClientId, Result<(), ClientError>>,
    /// Everything that was refused: by whom, from whom, why.
    pub refused: Vec<(Party, Party, Refusal)>,
    /// Everything that was proven.
    pub evidence: Vec<Evidence>,
    /// The server's faults.
    pub faults: Vec<Fault>,
    /// The server's log, as bytes.
    pub log: Vec<Vec<u8>>,
    /// Records of the logs of others than the server, as bytes, and of logs as they were on the way, where somebody keeps them.
    pub other_logs: Vec<Vec<u8>>,
    /// Every message that was sent, lost ones included.
    pub sent: Vec<(Party, Message)>,
    /// Receipts by client.
    pub receipts: BTreeMap<ClientId, Signed<ReceiptContent>>,
    /// Ticks that the round took.
    pub ticks: u64,
    /// How often each kind of fault happened.
    pub injected: Counts,
    /// Digest of the trace: every message, delivery, loss and stop, in order.
    pub digest: Digest,
    /// The trace, when the plan asks for it.
    pub trace: Vec<String>,
}

impl Report {
    /// Whether a check failed somewhere, and for this party.
    pub fn was_refused(&self, from: Party, check: &str) -> bool {
        self.refused
            .iter()
            .any(|(_, f, refusal)| *f == from && refusal.check.id() == check)
    }
    /// The server's log, decoded.
    pub fn records(&self) -> Vec<Record> {
        self.log
            .iter()
            .filter_map(|bytes| Record::from_bytes(bytes).ok())
            .collect()
    }
}
