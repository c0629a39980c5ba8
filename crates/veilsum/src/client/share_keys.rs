//! Which share key a client uses, how long it keeps it, and when it erases it.

use super::{Client, ClientError, Joined};
use crate::epochs::{Erasure, OpenRound, ShareKeys};
use crate::keys::ClientKeys;
use crate::server::now_ms;

/// A round that a member joined so long ago and has not seen the end of does not keep a share key any more.
const FORGOTTEN_AFTER_MS: u64 = 30 * 24 * 3600 * 1000;

impl Client {
    /// From now on takes the share key of each round from these, by the round's epoch, keeps a key as long as a round in which
    /// this client is a member is open, and erases it then, once a roster has the next one.
    pub fn use_share_keys(&mut self, keys: ShareKeys) {
        self.epochs = Some(keys);
    }

    pub(super) fn take_share_key(&mut self, epoch: u64) -> Result<(), ClientError> {
        let Some(keys) = &mut self.epochs else {
            return Ok(());
        };
        match keys.retire(&self.roster, now_ms().saturating_sub(FORGOTTEN_AFTER_MS))? {
            Erasure::Nothing => {}
            Erasure::Held(rounds) => {
                tracing::info!(target: "veilsum", event = "share_key_held", rounds = rounds.len());
            }
            Erasure::Erased { epoch } | Erasure::Left { epoch, .. } => {
                tracing::info!(target: "veilsum", event = "share_key_erased", epoch);
            }
        }
        keys.used_under(&self.roster)?;
        let used = keys.of_epoch(epoch)?;
        self.machine.use_share_key(*used.share().public());
        self.keys = ClientKeys::from_text(&used.to_text())?;
        Ok(())
    }

    /// Keeps the share key of the round's epoch until the round is over, also when this process dies.
    pub(super) fn hold(&mut self, round: &Joined) -> Result<(), ClientError> {
        let Some(keys) = &mut self.epochs else {
            return Ok(());
        };
        let params = round.context.params();
        Ok(keys.hold(&OpenRound {
            digest: *round.context.digest(),
            round_id: params.round_id,
            epoch: params.epoch,
            since_ms: now_ms(),
        })?)
    }

    pub(super) fn release(&self, round: &Joined) -> Result<(), ClientError> {
        match &self.epochs {
            Some(keys) => Ok(keys.release(round.context.digest())?),
            None => Ok(()),
        }
    }
}
