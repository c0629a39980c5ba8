use crate::codec::message;
use crate::{BeaconError, BeaconRule, BeaconSource, Content, Signed, StartError, Wire};
use thiserror::Error;
use veilsum_crypto::labels::{self, Label};
use veilsum_crypto::sampling::sample;
use veilsum_crypto::{CanonicalPoint, Digest, IdentityKey, Signature, VerifyingKey};
use veilsum_params::{Beacon, ClientId, MemberSlot, limits};

message! {
    /// What a client signs about its share key for one epoch.
    ShareKeyContent {
        /// The client.
        client: ClientId,
        /// The epoch.
        epoch: u64,
        /// PK: the share key.
        share_key: CanonicalPoint,
    }
}
impl Content for ShareKeyContent {
    const LABEL: Label = labels::SIGN_SHARE_KEY;
}

message! {
    /// One client of the roster.
    RosterEntry {
        /// The client's number.
        client: ClientId,
        /// Its Ed25519 verification key.
        identity_key: [u8; 32],
        /// Its share key for the roster's epoch.
        share_key: CanonicalPoint,
        /// Its signature over (client, epoch, share key).
        share_key_signature: Signature,
    }
}

impl RosterEntry {
    /// An entry made by the client itself.
    pub fn new(
        client: ClientId,
        epoch: u64,
        identity: &IdentityKey,
        share_key: CanonicalPoint,
    ) -> Self {
        let signed = Signed::sign(
            ShareKeyContent {
                client,
                epoch,
                share_key,
            },
            identity,
        );
        Self {
            client,
            identity_key: identity.verifying_key().to_bytes(),
            share_key,
            share_key_signature: signed.signature,
        }
    }
}

message! {
    /// What the registrar signs: the clients of one epoch, ids strictly increasing.
    RosterContent {
        /// Number of the roster; every one that this registrar signs has a higher one than those before.
        version: u64,
        /// Epoch of the share keys.
        epoch: u64,
        /// Where the values come from that cohorts and committees are drawn with.
        beacon: BeaconRule,
        /// Identity keys that were revoked and are never admitted again, strictly increasing.
        revoked: Vec<[u8; 32]>,
        /// The clients.
        entries: Vec<RosterEntry>,
    }
}
impl RosterContent {
    /// The first roster of a registrar, with no beacon but the operator's word and nobody revoked.
    pub fn first(epoch: u64, entries: Vec<RosterEntry>) -> Self {
        Self {
            version: 1,
            epoch,
            beacon: BeaconRule::operator(),
            revoked: Vec::new(),
            entries,
        }
    }

    /// What [`veilsum_params::RoundParams::roster_digest`] must equal: a digest of everything but the signature.
    pub fn digest(&self) -> Digest {
        Digest::of(labels::ROSTER_DIGEST, &self.to_bytes())
    }
}
impl Content for RosterContent {
    const LABEL: Label = labels::SIGN_ROSTER;
}

/// Why a roster or what was sampled from it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RosterError {
    /// The registrar's signature does not verify.
    #[error("the roster is not signed by the pinned registrar key")]
    Signature,
    /// Ids are not strictly increasing, or there are too many.
    #[error("the roster's client ids are not strictly increasing, or more than {max}", max = limits::ROSTER_MAX)]
    Order,
    /// Two clients share an identity or share key.
    #[error("{client} has a key that another client has")]
    DoubledKey {
        /// The second one.
        client: ClientId,
    },
    /// A key is not valid.
    #[error("{client} has an invalid identity or share key")]
    Key {
        /// Whose.
        client: ClientId,
    },
    /// A share key is not signed by its owner's identity key.
    #[error("the share key of {client} is not signed by its identity key")]
    ShareKeySignature {
        /// Whose.
        client: ClientId,
    },
    /// The list of revoked keys is not strictly increasing.
    #[error("the roster's revoked keys are not strictly increasing")]
    RevokedOrder,
    /// A client whose identity key is revoked.
    #[error("{client} has an identity key that the same roster revokes")]
    Revoked {
        /// Whose.
        client: ClientId,
    },
    /// The beacon that it names is not one.
    #[error("the roster's beacon: {0}")]
    Beacon(#[from] BeaconError),
    /// It does not begin after the roster before.
    #[error("the roster's beacon: {0}")]
    Start(#[from] StartError),
    /// A participant of its beacon is not in it.
    #[error("{client} takes part in the roster's beacon and is not in the roster")]
    Participant {
        /// Who.
        client: ClientId,
    },
    /// Fewer clients than the cohort or committee needs.
    #[error("the roster has {available} clients, {wanted} are needed")]
    TooFew {
        /// How many are needed.
        wanted: usize,
        /// How many there are.
        available: usize,
    },
}

/// A roster whose every signature was checked.
#[derive(Clone, Debug)]
pub struct Roster {
    signed: Signed<RosterContent>,
    keys: Vec<VerifyingKey>,
    digest: Digest,
    registrar: VerifyingKey,
    source: BeaconSource,
}

impl Roster {
    /// Checks the registrar's signature, the order of ids, all keys and their owners' signatures, that nobody in it is
    /// revoked, and the beacon that it names.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(
        signed: Signed<RosterContent>,
        registrar: &VerifyingKey,
    ) -> Result<Self, RosterError> {
        let content = signed
            .verify(registrar)
            .map_err(|_| RosterError::Signature)?;
        let entries = &content.entries;
        if entries.len() > limits::ROSTER_MAX as usize
            || !entries.is_sorted_by(|a, b| a.client < b.client)
        {
            return Err(RosterError::Order);
        }
        if !content.revoked.is_sorted_by(|a, b| a < b) {
            return Err(RosterError::RevokedOrder);
        }
        let source = content.beacon.source()?;
        let mut seen = std::collections::BTreeSet::new();
        let mut keys = Vec::with_capacity(entries.len());
        for e in entries {
            let client = e.client;
            if !seen.insert(e.identity_key) || !seen.insert(*e.share_key.as_bytes()) {
                return Err(RosterError::DoubledKey { client });
            }
            if content.revoked.binary_search(&e.identity_key).is_ok() {
                return Err(RosterError::Revoked { client });
            }
            let key =
                VerifyingKey::decode(&e.identity_key).map_err(|_| RosterError::Key { client })?;
            if e.share_key.as_bytes() == &[0; 32] {
                return Err(RosterError::Key { client });
            }
            let statement = ShareKeyContent {
                client,
                epoch: content.epoch,
                share_key: e.share_key,
            };
            Signed {
                content: statement,
                signature: e.share_key_signature,
            }
            .verify(&key)
            .map_err(|_| RosterError::ShareKeySignature { client })?;
            keys.push(key);
        }
        let outside =
            |client: &&ClientId| entries.binary_search_by_key(*client, |e| e.client).is_err();
        if let Some(client) = content.beacon.participants.iter().find(outside) {
            return Err(RosterError::Participant { client: *client });
        }
        let digest = content.digest();
        Ok(Self {
            source,
            keys,
            digest,
            signed,
            registrar: *registrar,
        })
    }

    /// Digest of the roster's content; [`veilsum_params::RoundParams::roster_digest`] must equal it.
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// The key that the roster's signature was checked with.
    pub fn registrar(&self) -> &VerifyingKey {
        &self.registrar
    }
    /// Number of the roster among all of its registrar.
    pub fn version(&self) -> u64 {
        self.signed.content.version
    }
    /// The rule by which rounds get their beacon values.
    pub fn beacon(&self) -> &BeaconRule {
        &self.signed.content.beacon
    }
    /// Where those values come from.
    pub fn beacon_source(&self) -> &BeaconSource {
        &self.source
    }
    /// Whether an identity key was revoked.
    pub fn is_revoked(&self, identity_key: &[u8; 32]) -> bool {
        let revoked = &self.signed.content.revoked;
        revoked.binary_search(identity_key).is_ok()
    }
    /// Epoch of the share keys.
    pub fn epoch(&self) -> u64 {
        self.signed.content.epoch
    }
    /// The entries, by increasing id.
    pub fn entries(&self) -> &[RosterEntry] {
        &self.signed.content.entries
    }
    /// The signed roster, for files.
    pub fn signed(&self) -> &Signed<RosterContent> {
        &self.signed
    }
    fn position(&self, client: ClientId) -> Option<usize> {
        self.entries()
            .binary_search_by_key(&client, |e| e.client)
            .ok()
    }
    /// The identity key of a client.
    pub fn identity(&self, client: ClientId) -> Option<&VerifyingKey> {
        self.keys.get(self.position(client)?)
    }
    /// The entry of a client.
    pub fn entry(&self, client: ClientId) -> Option<&RosterEntry> {
        self.entries().get(self.position(client)?)
    }
}

/// The cohort (sorted by id) and the committee (in the order drawn) of a round: the only ones that its beacon allows.
///
/// The cohort is sampled from the roster, the committee from the sorted cohort (`specs/protocol.md`, "Sampling").
///
/// # Errors
/// [`RosterError::TooFew`].
pub fn cohort_and_committee(
    roster: &Roster,
    beacon: &Beacon,
    round_id: u64,
    cohort_size: u32,
    committee_size: u32,
) -> Result<(Vec<ClientId>, Vec<MemberSlot>), RosterError> {
    let entries = roster.entries();
    let draw = |label, available: usize, wanted: u32| {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        sample(label, &beacon.value, round_id, available, wanted)
            .map_err(|_| RosterError::TooFew { wanted, available })
    };
    let mut places = draw(labels::COHORT_XOF, entries.len(), cohort_size)?;
    places.sort_unstable();
    let cohort: Vec<&RosterEntry> = places.iter().filter_map(|&p| entries.get(p)).collect();
    let committee = draw(labels::COMMITTEE_XOF, cohort.len(), committee_size)?
        .iter()
        .filter_map(|&p| cohort.get(p))
        .map(|e| MemberSlot {
            client: e.client,
            share_key: *e.share_key.as_bytes(),
        })
        .collect();
    Ok((cohort.iter().map(|e| e.client).collect(), committee))
}
