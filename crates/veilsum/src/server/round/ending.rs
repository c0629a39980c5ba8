//! Who was told how a round ended, and what is written when it is over.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use tokio::time::{Duration, Instant};
use veilsum_crypto::Digest;
use veilsum_params::ClientId;
use veilsum_store::StoreError;
use veilsum_wire::Wire;

use super::{Core, Presence, RoundRun, Wake};
use crate::server::archive::Answers;

/// Clients that were told the end.
#[derive(Debug, Default)]
pub(super) struct Told {
    clients: BTreeSet<ClientId>,
    last: Option<Instant>,
}

impl RoundRun {
    /// Notes that the client has acknowledged how the round ended: an answer that was made may still be lost.
    pub(in crate::server) fn note_told(&self, client: ClientId) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.clients.insert(client) {
            told.last = Some(Instant::now());
            drop(told);
            self.bump(Wake::Driver);
        }
    }

    /// When the last client was told the end.
    pub(in crate::server) fn told_at(&self) -> Option<Instant> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.last
    }

    /// Whether each client that joined was told how the round ended, or is gone: one with a receipt, which is owed the end,
    /// when it was not heard for three times `quiet` but at most `linger`, because a connection that is lost comes back
    /// after a pause; others for `quiet`.
    pub(in crate::server) fn all_told(
        &self,
        core: &Core,
        quiet: Duration,
        linger: Duration,
    ) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        core.joined.iter().all(|client| {
            let patience = match core.receipts.contains_key(client) {
                true => (3 * quiet).min(linger),
                false => quiet,
            };
            let waited = core.started.elapsed() >= patience;
            let gone =
                |presence: Option<&Presence>| presence.map_or(waited, |p| p.gone_for(patience));
            let serving = self.context.params().member_index(*client);
            told.clients.contains(client)
                || (gone(core.clients.get(client))
                    && gone(serving.and_then(|index| core.members.get(&index))))
        })
    }

    /// Writes what is answered about this round from now on, and closes the log. To be called when it is over: the answers no
    /// longer change, and requests are answered while they are written.
    pub(in crate::server) fn close(&self) -> Result<(), StoreError> {
        let answers = self.lock().answers();
        let written = answers.map_or(Ok(()), |answers| answers.write(&*self.disk, &self.dir));
        let mut core = self.lock();
        let closed = written.and_then(|()| core.seal(&self.poisoned()));
        if closed.is_err() {
            // For whoever tries again.
            core.journal = None;
        }
        closed
    }
}

impl Core {
    /// What is answered about this round once it is over.
    fn answers(&mut self) -> Option<Answers> {
        if let Some(declaration) = &self.void {
            return Some(Answers::Void(declaration.clone()));
        }
        let machine = self.machine.as_ref()?;
        let entries = machine.proposal()?.entries.clone();
        let frame = self.outgoing.result_frame(machine)?;
        Some(Answers::Certified { entries, frame })
    }

    /// Closes the log with the signed head.
    fn seal(&mut self, poisoned: &StoreError) -> Result<(), StoreError> {
        if self.sealed {
            return Ok(());
        }
        // One that failed meanwhile is not closed, and a later start goes on with it.
        let failure = || self.failure.clone().unwrap_or_else(|| poisoned.clone());
        let Some(journal) = self.journal.as_mut() else {
            return Err(failure());
        };
        if journal.log().is_closed() {
            self.sealed = true;
            return Ok(());
        }
        let head = journal.log().head();
        let signed = self
            .machine
            .as_mut()
            .and_then(|m| m.log_head(head.records, Digest(head.value)));
        journal
            .log_mut()
            .close(&signed.ok_or_else(failure)?.to_bytes())?;
        self.sealed = true;
        Ok(())
    }
}
