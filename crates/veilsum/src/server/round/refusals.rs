//! Uploads of which nothing came: refused, or not stored.

use std::collections::BTreeMap;
use std::fmt;

use veilsum_params::ClientId;
use veilsum_proof::Round as ProofRound;
use veilsum_protocol::{
    Blame, Bytes, Check, Evidence, Input, Record, Refusal, RoundContext, judge_with,
};
use veilsum_wire::{Header, ReceiptContent, Signed, Wire};

use super::{Core, Denied, RoundEvent, RoundRun, Wake};
use crate::journal::RECORDED_MAX;

/// So often a client may send a body that is not the one of its header, or another contribution than the one that it has a
/// receipt for; then its place in the round is used up.
const TRIES: u32 = 3;

impl RoundRun {
    /// What is answered to a well-signed header without its body, as far as that can be told without waiting: the receipt
    /// of this contribution, or the check for which nothing more is taken from this client.
    pub(in crate::server) fn answer_to_head(
        &self,
        client: ClientId,
        header: &[u8],
    ) -> Option<Result<Signed<ReceiptContent>, Check>> {
        let core = self.core.try_lock().ok()?;
        if core.void.is_some() {
            return None;
        }
        if let Some(receipt) = core.receipts.get(&client) {
            let header = Header::from_bytes(header).ok()?;
            if receipt.content.header_digest == header.content.digest() {
                return Some(Ok(receipt.clone()));
            }
        }
        core.used_up(client).map(Err)
    }

    /// Notes a refusal that speaks against the client of a well-signed header.
    pub(in crate::server) fn note_rejection(&self, core: &mut Core, header: &Header, check: Check) {
        let client = header.content.client;
        if !matches!(check.info().blame, Blame::Client | Blame::Dealer)
            || !self.context.in_cohort(client)
            || core.receipts.contains_key(&client)
            || core.rejected.contains_key(&client)
        {
            return;
        }
        core.rejected.insert(client, check);
        self.tell(RoundEvent::Rejected(client, check));
        self.bump(Wake::Driver);
    }

    /// Notes that a body was another than its header says. That proves nothing to others, and may be an accident; but the
    /// header is known to nobody but its client before the phase is over, so that only the client can spend its own tries.
    pub(in crate::server) fn note_mismatch(&self, client: ClientId, check: Check) {
        let mut core = self.lock();
        let (count, last) = core.mismatched.entry(client).or_insert((0, check));
        (*count, *last) = (count.saturating_add(1), check);
        drop(core);
        self.tell(RoundEvent::Mismatched(client, check));
        self.bump(Wake::Driver);
    }

    /// Notes that what a client sent could not be stored: the client is told, and the operator must see it as well.
    pub(in crate::server) fn not_stored(&self, error: &dyn fmt::Display) -> Denied {
        self.task.storage.failed();
        tracing::error!(target: "veilsum", event = "contribution_not_stored", %error);
        Denied::Storage
    }

    /// Notes that verification refused a contribution. Who signed it is convicted in the log, so that the transcript shows
    /// what was rejected and why; a body that is too long for a record convicts in a file beside it.
    pub(in crate::server) fn reject(
        &self,
        core: &mut Core,
        header: &Header,
        refusal: Refusal,
        body: Vec<u8>,
    ) -> Result<(), Denied> {
        let first = !core.rejected.contains_key(&header.content.client);
        self.note_rejection(core, header, refusal.check);
        if !first || !core.rejected.contains_key(&header.content.client) {
            return Ok(());
        }
        let (header, body) = (header.clone(), Bytes(body));
        if body.0.len() as u64 <= RECORDED_MAX {
            let input = Input::Invalid {
                header,
                body,
                refusal,
            };
            return self.input(core, input).map(|_| ());
        }
        if matches!(refusal.check, Check::Proof(_)) {
            self.keep(&Evidence::InvalidProof { header, body });
        }
        Ok(())
    }
}

impl Core {
    /// Whose contribution was refused before, from the evidence in the log: it has used up its place in the round.
    pub(in crate::server) fn recall_rejection(
        &mut self,
        context: &RoundContext,
        proof: &ProofRound,
        record: &Record,
    ) {
        let Record::ServerEvidence { evidence } = record else {
            return;
        };
        let (Evidence::InvalidHeader { header } | Evidence::InvalidProof { header, .. }) = evidence
        else {
            return;
        };
        if let Ok(conviction) = judge_with(context, Some(proof), evidence) {
            self.rejected
                .insert(header.content.client, conviction.check);
        }
    }

    /// How many uploads were refused, by check.
    pub(in crate::server) fn refusals(&self) -> BTreeMap<&'static str, u32> {
        let mut counts = BTreeMap::new();
        let mismatched = self
            .mismatched
            .values()
            .map(|(count, check)| (*check, *count));
        let rejected = self.rejected.values().map(|check| (*check, 1));
        for (check, more) in rejected.chain(mismatched) {
            let count: &mut u32 = counts.entry(check.id()).or_default();
            *count = count.saturating_add(more);
        }
        counts
    }

    /// Notes that a client that has a receipt sent another contribution: the first one convicts it, and more say no more.
    pub(in crate::server) fn note_repeat(&mut self, client: ClientId) {
        if self.receipts.contains_key(&client) {
            let count = self.repeated.entry(client).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Why nothing more is taken from a client in this round, if its place is used up.
    pub(in crate::server) fn used_up(&self, client: ClientId) -> Option<Check> {
        let rejected = self.rejected.get(&client).copied();
        rejected.or_else(|| match self.mismatched.get(&client) {
            Some((count, check)) if *count >= TRIES => Some(*check),
            _ if self.repeated.get(&client) >= Some(&TRIES) => Some(Check::ContributionDuplicate),
            _ => None,
        })
    }
}
