//! A client's own log: what it contributed, and beside it the bodies that it may have to send again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use veilsum_crypto::VerifyingKey;
use veilsum_params::ClientId;
use veilsum_protocol::{
    Client as Machine, ClientError as MachineError, Message, Output, Record, Upload,
};
use veilsum_store::{BodyDigest, Disk, LogIdentity, Role, StoreError};

use super::ClientError;
use crate::journal::{Journal, Stored};
use crate::notes::client_dir;

/// The log, which goes with one machine.
pub(super) struct OwnLog {
    journal: Journal,
    /// What the machine decided and a failing disk kept out of the log: nothing that follows from it leaves before it is there.
    unstored: Vec<Record>,
}

impl OwnLog {
    /// Opens or makes the log of this client of this server in its state directory.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        state: &Path,
        server_key: &VerifyingKey,
        client: ClientId,
    ) -> Result<(Self, Stored), ClientError> {
        let mut hasher = blake3::Hasher::new_derive_key("veilsum/v1 client log");
        hasher
            .update(&server_key.to_bytes())
            .update(&client.0.to_le_bytes());
        let identity = LogIdentity {
            role: Role::Client,
            context: *hasher.finalize().as_bytes(),
        };
        let (journal, stored) = Journal::open_streaming(disk, &client_dir(state), identity)?;
        let unstored = Vec::new();
        Ok((Self { journal, unstored }, stored))
    }

    /// The machine that `make` gives for the records, which are read one after the other.
    pub(super) fn replay(
        &self,
        mut stored: Stored,
        make: impl FnOnce(&mut dyn Iterator<Item = Record>) -> Result<Machine, MachineError>,
    ) -> Result<Machine, ClientError> {
        let mut failed = None;
        let made = make(&mut std::iter::from_fn(|| {
            stored.next()?.map_err(|error| failed = Some(error)).ok()
        }));
        // A machine of fewer records would contribute twice.
        if let Some(error) = failed {
            return Err(error.into());
        }
        let machine = made?;
        self.prune(&machine);
        Ok(machine)
    }

    /// Makes records durable, behind those that the disk had no room for before. What of them is beside the log the machine
    /// keeps no longer, and what is not needed there any more is removed.
    pub(super) fn store(
        &mut self,
        machine: &mut Machine,
        records: Vec<Record>,
    ) -> Result<(), StoreError> {
        self.unstored.extend(records);
        for named in self.journal.persist(&self.unstored)? {
            if let Record::ClientLargeContribution {
                announcement,
                body,
                len,
                ..
            } = named
            {
                machine.put_aside(announcement.params.round_id, body, len);
            }
        }
        let receipt = |record: &Record| matches!(record, Record::ClientReceipt { .. });
        let receipted = self.unstored.iter().any(receipt);
        self.unstored.clear();
        if receipted {
            self.prune(machine);
        }
        Ok(())
    }

    /// The upload of a round that was contributed to and has no receipt.
    pub(super) fn resend(
        &self,
        machine: &Machine,
        round: u64,
    ) -> Result<Option<Upload>, ClientError> {
        let bodies = self.journal.log().bodies().reader();
        let sent = machine.resend(round, |digest, len| {
            bodies.read_verified(&BodyDigest(digest.0), len)
        });
        let sent = sent.map_err(|cause| ClientError::Unsendable {
            round,
            cause: Box::new(cause),
        })?;
        Ok(sent.and_then(|output| match output {
            Output::Send {
                message: Message::Contribution(upload),
                ..
            } => Some(upload),
            _ => None,
        }))
    }

    /// Removes the bodies that are never sent again; the receipts are durable. Failing costs space, not the round.
    fn prune(&self, machine: &Machine) {
        let needed: BTreeSet<BodyDigest> = machine.aside().map(|d| BodyDigest(d.0)).collect();
        if let Err(error) = self.journal.log().bodies().prune(&needed) {
            tracing::warn!(target: "veilsum", event = "bodies_not_removed", %error);
        }
    }
}

#[cfg(test)]
mod tests;
