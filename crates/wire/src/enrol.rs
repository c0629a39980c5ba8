//! The next roster of a registrar while it is being made (`specs/protocol.md`, "Enrolment").

use crate::{
    BeaconError, BeaconRule, JoinContent, JoinError, Roster, RosterContent, RosterEntry,
    RosterError, Signed,
};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use veilsum_crypto::{IdentityKey, VerifyingKey};
use veilsum_params::{ClientId, limits};

/// What becomes of a request that may be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The roster gets a new entry.
    New(ClientId),
    /// The very same entry is there already: nothing changes.
    Known(ClientId),
}

/// Why a request is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The request itself.
    #[error(transparent)]
    Request(#[from] JoinError),
    /// The identity key was revoked, for ever.
    #[error(
        "the request of {client} has an identity key that was revoked: it is never admitted again, the client makes new keys"
    )]
    Revoked {
        /// Who asks.
        client: ClientId,
    },
    /// Another client has the number.
    #[error(
        "{client} is the number of another client: the one that asks takes a number that is free"
    )]
    NumberTaken {
        /// The number.
        client: ClientId,
    },
    /// Another client has one of the two keys.
    #[error(
        "the request of {client} has an identity or share key that {holder} has: each client has its own keys and one number"
    )]
    KeyTaken {
        /// Who asks.
        client: ClientId,
        /// Who has the key.
        holder: ClientId,
    },
    /// The share key of the epoch before, whose secret is erased or will be.
    #[error(
        "the request of {client} has the share key of an epoch before: the client makes the next one with `veilsum epoch next`"
    )]
    OldShareKey {
        /// Who asks.
        client: ClientId,
    },
    /// The roster is full.
    #[error("the roster has {max} clients, which is the most that it can hold", max = limits::ROSTER_MAX)]
    Full,
}

/// An epoch that does not come after the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the roster is of epoch {current}: the next epoch is a later one, not {asked}")]
pub struct EpochOrder {
    /// The roster's.
    pub current: u64,
    /// What was asked for.
    pub asked: u64,
}

/// Why a key is not revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// Nobody has the number.
    #[error("{client} is not in the roster: look at who is with `veilsum registrar show`")]
    Unknown {
        /// The number.
        client: ClientId,
    },
    /// The client takes part in the roster's beacon.
    #[error(
        "{client} takes part in the beacon of the roster: take it off the beacon's list of participants first"
    )]
    Participant {
        /// Who.
        client: ClientId,
    },
}

/// The next roster of a registrar: starts from the last one that was signed, takes admissions and revocations, and is
/// signed in the end with the next version.
#[derive(Clone, Debug)]
pub struct RosterDraft {
    registrar: VerifyingKey,
    version: u64,
    epoch: u64,
    beacon: BeaconRule,
    /// The rule of the roster before.
    last_beacon: Option<BeaconRule>,
    entries: BTreeMap<ClientId, RosterEntry>,
    /// Identity and share keys, with those who have them.
    holders: BTreeMap<[u8; 32], ClientId>,
    revoked: BTreeSet<[u8; 32]>,
    /// Entries of the epoch before: who has a number and an identity key keeps them in the next one.
    before: BTreeMap<ClientId, RosterEntry>,
}

impl RosterDraft {
    /// The first roster of a registrar: version 1, with nobody in it.
    pub fn first(registrar: VerifyingKey, epoch: u64, beacon: BeaconRule) -> Self {
        Self {
            registrar,
            version: 1,
            epoch,
            beacon,
            last_beacon: None,
            entries: BTreeMap::new(),
            holders: BTreeMap::new(),
            revoked: BTreeSet::new(),
            before: BTreeMap::new(),
        }
    }

    /// The one after `last`: everything as there, until something is changed. None when the versions are used up.
    pub fn after(last: &Roster) -> Option<Self> {
        let content = &last.signed().content;
        let mut draft = Self {
            version: content.version.checked_add(1)?,
            revoked: content.revoked.iter().copied().collect(),
            last_beacon: Some(content.beacon.clone()),
            ..Self::first(*last.registrar(), content.epoch, content.beacon.clone())
        };
        for entry in &content.entries {
            draft.insert(entry.clone());
        }
        Some(draft)
    }

    /// Has values come from elsewhere from this roster on. Whether participants are in the roster shows when it is signed.
    ///
    /// # Errors
    /// [`BeaconError`] for a rule that is none.
    pub fn set_beacon(&mut self, rule: BeaconRule) -> Result<(), BeaconError> {
        rule.source()?;
        self.beacon = rule;
        Ok(())
    }

    fn insert(&mut self, entry: RosterEntry) {
        self.holders.insert(entry.identity_key, entry.client);
        self.holders
            .insert(*entry.share_key.as_bytes(), entry.client);
        self.entries.insert(entry.client, entry);
    }

    /// Goes over to a later epoch. Nobody is in the roster then but who asks for that epoch, with a new share key; numbers and
    /// identity keys stay with those who have them.
    ///
    /// # Errors
    /// [`EpochOrder`]; nothing is changed then.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<(), EpochOrder> {
        if epoch <= self.epoch {
            return Err(EpochOrder {
                current: self.epoch,
                asked: epoch,
            });
        }
        self.epoch = epoch;
        self.before.append(&mut self.entries);
        Ok(())
    }

    /// Clients of the epoch before that have not asked for this one.
    pub fn missing(&self) -> impl Iterator<Item = ClientId> {
        let before = self.before.keys().copied();
        before.filter(|client| !self.entries.contains_key(client))
    }

    /// The version that it will have.
    pub fn version(&self) -> u64 {
        self.version
    }
    /// Epoch of the share keys.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
    /// The rule by which rounds get their beacon values.
    pub fn beacon(&self) -> &BeaconRule {
        &self.beacon
    }
    /// The clients, by increasing id.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &RosterEntry> {
        self.entries.values()
    }
    /// The revoked identity keys, in increasing order.
    pub fn revoked(&self) -> impl ExactSizeIterator<Item = &[u8; 32]> {
        self.revoked.iter()
    }
    /// The identity key of a client.
    pub fn identity(&self, client: ClientId) -> Option<[u8; 32]> {
        let entry = self.entries.get(&client);
        let entry = entry.or_else(|| self.before.get(&client))?;
        Some(entry.identity_key)
    }

    /// Whether a request may be admitted, without admitting it: signatures, proof of possession, registrar, role and
    /// epoch; then that its identity key is not revoked, and that number and keys are nobody else's.
    ///
    /// # Errors
    /// [`AdmitError`].
    pub fn judge(&self, request: &Signed<JoinContent>) -> Result<Admission, AdmitError> {
        let entry = request.admissible(&self.registrar, self.epoch)?;
        let client = entry.client;
        if self.revoked.contains(&entry.identity_key) {
            return Err(AdmitError::Revoked { client });
        }
        let keys = [&entry.identity_key, entry.share_key.as_bytes()];
        let holders = keys.map(|key| self.holders.get(key).copied());
        if let Some(known) = self.entries.get(&client) {
            return if holders == [Some(client); 2] && known == entry {
                Ok(Admission::Known(client))
            } else {
                Err(AdmitError::NumberTaken { client })
            };
        }
        let identity = self.before.get(&client).map(|before| before.identity_key);
        if identity.is_some_and(|identity| identity != entry.identity_key) {
            return Err(AdmitError::NumberTaken { client });
        }
        if holders == [Some(client); 2] {
            return Err(AdmitError::OldShareKey { client });
        }
        let others = holders.into_iter().flatten();
        if let Some(holder) = others.into_iter().find(|holder| *holder != client) {
            return Err(AdmitError::KeyTaken { client, holder });
        }
        if self.entries.len() >= limits::ROSTER_MAX as usize {
            return Err(AdmitError::Full);
        }
        Ok(Admission::New(client))
    }

    /// Admits a request that [`Self::judge`] finds nothing wrong with.
    ///
    /// # Errors
    /// [`AdmitError`]; nothing is changed then.
    pub fn admit(&mut self, request: &Signed<JoinContent>) -> Result<Admission, AdmitError> {
        let admission = self.judge(request)?;
        if let Admission::New(_) = admission {
            self.insert(request.content.entry.clone());
        }
        Ok(admission)
    }

    /// Revokes an identity key for ever, whether or not it is in the roster; gives the client that had it, which is in the
    /// roster no more. Revoking it again changes nothing.
    ///
    /// # Errors
    /// [`RevokeError::Participant`]; nothing is changed then.
    pub fn revoke(&mut self, identity_key: &[u8; 32]) -> Result<Option<ClientId>, RevokeError> {
        let of_identity = |client: &ClientId| self.identity(*client) == Some(*identity_key);
        let holder = self.holders.get(identity_key).copied().filter(of_identity);
        if let Some(client) = holder {
            if self.beacon.participants.contains(&client) {
                return Err(RevokeError::Participant { client });
            }
            let entries = [self.entries.remove(&client), self.before.remove(&client)];
            for entry in entries.into_iter().flatten() {
                self.holders.remove(&entry.identity_key);
                self.holders.remove(entry.share_key.as_bytes());
            }
        }
        self.revoked.insert(*identity_key);
        Ok(holder)
    }

    /// As [`Self::revoke`], for the key that a client has.
    ///
    /// # Errors
    /// [`RevokeError`].
    pub fn revoke_client(&mut self, client: ClientId) -> Result<[u8; 32], RevokeError> {
        let key = self
            .identity(client)
            .ok_or(RevokeError::Unknown { client })?;
        self.revoke(&key)?;
        Ok(key)
    }

    /// Signs it, and checks what was signed as everybody will. Under a beacon its first round comes after that of the roster
    /// before, for its entries were chosen when values of that one may have been known.
    ///
    /// # Errors
    /// [`RosterError::Signature`] when the key is not that of this registrar; [`RosterError::Start`], and others for a beacon
    /// that does not fit.
    pub fn sign(&self, key: &IdentityKey) -> Result<Roster, RosterError> {
        if let Some(last) = &self.last_beacon {
            self.beacon.follows(last)?;
        }
        Roster::verify(Signed::sign(self.content(), key), &self.registrar)
    }

    /// What is signed.
    pub fn content(&self) -> RosterContent {
        RosterContent {
            version: self.version,
            epoch: self.epoch,
            beacon: self.beacon.clone(),
            revoked: self.revoked.iter().copied().collect(),
            entries: self.entries.values().cloned().collect(),
        }
    }
}
