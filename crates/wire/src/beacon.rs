//! Where the values come from that cohorts and committees are drawn with (`specs/protocol.md`, "Beacon").

use crate::codec::message;
use crate::{Content, Roster, Signed, Wire};
use thiserror::Error;
use veilsum_crypto::labels::{self, Label};
use veilsum_crypto::{Digest, DrandKey, DrandScheme, Hasher, IdentityKey, Signature};
use veilsum_params::{Beacon, ClientId};

/// Most participants of a commit-reveal beacon: every announcement carries what each of them revealed.
pub const PARTICIPANTS_MAX: usize = 256;

/// How many of so many participants of commit and reveal a beacon round needs at least, whatever the registrar says: more than
/// two thirds, so that any two lists of them have an honest participant in common while no more than a third are corrupted
/// (`specs/protocol.md`, "Beacon"). It reveals for one list, so that at most one of them gets a value.
pub const fn least_participants(participants: usize) -> usize {
    participants - participants.div_ceil(3) + 1
}

message! {
    /// What the registrar fixes about the beacon; part of the roster.
    BeaconRule {
        /// 0: none, values are the operator's word; 1: drand `pedersen-bls-chained`; 2: drand `bls-unchained-g1-rfc9380`; 3: commit and reveal.
        scheme: u8,
        /// The drand chain's public key, compressed; empty otherwise.
        public_key: Vec<u8>,
        /// Participants of commit and reveal, strictly increasing; empty otherwise.
        participants: Vec<ClientId>,
        /// How many of them a round of commit and reveal needs at least, no fewer than [`least_participants`]; 0 otherwise.
        least: u32,
        /// The first round id that this roster is good for.
        first_round: u64,
        /// The beacon round of that round id.
        first_beacon: u64,
        /// How many beacon rounds lie between one round id and the next.
        stride: u64,
    }
}

message! {
    /// Signed by a participant: what it commits to for one beacon round.
    BeaconCommitContent {
        /// [`BeaconRule::source_digest`].
        source: Digest,
        /// The beacon round.
        round: u64,
        /// The participant.
        client: ClientId,
        /// [`beacon_commitment`] to its secret.
        commitment: Digest,
    }
}
impl Content for BeaconCommitContent {
    const LABEL: Label = labels::SIGN_BEACON_COMMIT;
}

message! {
    /// The commitments of one beacon round, from which on there are no others.
    BeaconList {
        /// By increasing participant.
        commitments: Vec<Signed<BeaconCommitContent>>,
    }
}

message! {
    /// Signed by a participant, once for each beacon round: its secret, for one list of commitments.
    BeaconRevealContent {
        /// [`BeaconRule::source_digest`].
        source: Digest,
        /// The beacon round.
        round: u64,
        /// The participant.
        client: ClientId,
        /// [`beacon_list_digest`] of the list that it saw before it revealed.
        list: Digest,
        /// Its secret.
        secret: [u8; 32],
    }
}
impl Content for BeaconRevealContent {
    const LABEL: Label = labels::SIGN_BEACON_REVEAL;
}

message! {
    /// One participant's part of a value; the rest of what it signed follows from the round.
    BeaconReveal {
        /// The participant.
        client: ClientId,
        /// Its secret.
        secret: [u8; 32],
        /// Its signature over [`BeaconRevealContent`].
        signature: Signature,
    }
}

message! {
    /// What proves a beacon's value: of drand the signatures, of commit and reveal all reveals.
    BeaconProof {
        /// drand: the round's signature.
        signature: Vec<u8>,
        /// drand, chained: the signature of the round before.
        previous: Vec<u8>,
        /// Commit and reveal: what was revealed, by increasing participant.
        reveals: Vec<BeaconReveal>,
    }
}

/// Why a beacon rule or value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BeaconError {
    /// A scheme that does not exist, or fields that do not belong to it.
    #[error(
        "scheme {scheme} does not exist, or has fields that do not belong to it, or a stride of 0"
    )]
    Rule {
        /// What the rule says.
        scheme: u8,
    },
    /// The public key of the drand chain.
    #[error("the public key is not one of a drand chain of this scheme")]
    Key,
    /// Participants out of order, too many, or fewer than needed.
    #[error(
        "participants are not strictly increasing, more than {PARTICIPANTS_MAX}, or fewer than are needed at least"
    )]
    Participants,
    /// So few that two lists without a common honest participant could get a value each.
    #[error(
        "a beacon of {participants} participants needs {want} of them at least, not {least}: two lists of fewer could both get a value"
    )]
    Least {
        /// How many participants there are.
        participants: usize,
        /// How many of them the rule needs.
        least: u32,
        /// [`least_participants`].
        want: usize,
    },
    /// The source or the beacon round is not the one that the rule gives for the round id.
    #[error(
        "the roster's rule gives round {round_id} another beacon source or another beacon round than {beacon_round}"
    )]
    Schedule {
        /// The round id.
        round_id: u64,
        /// The beacon round that was stated.
        beacon_round: u64,
    },
    /// A proof that does not belong to the scheme.
    #[error("the proof of the beacon's value is not one of the roster's scheme")]
    Scheme,
    /// drand's signature does not verify.
    #[error("the beacon round is not signed by the pinned drand chain")]
    Signature,
    /// The value does not follow from the proof.
    #[error("the beacon's value does not follow from its proof")]
    Value,
    /// Fewer reveals than the rule asks for.
    #[error("{got} participants, {want} are needed")]
    TooFew {
        /// How many there are.
        got: usize,
        /// How many are needed.
        want: u32,
    },
    /// Somebody who is no participant, or one out of order.
    #[error(
        "{client} is no participant of the roster's beacon, or stands there twice or out of order"
    )]
    Participant {
        /// Who.
        client: ClientId,
    },
    /// A signature of a participant over its commitment or reveal.
    #[error("{client} did not sign this for this beacon round and these commitments")]
    Statement {
        /// Whose.
        client: ClientId,
    },
    /// A secret that is not the one that was committed to.
    #[error("{client} revealed another secret than it committed to")]
    Opening {
        /// Who.
        client: ClientId,
    },
    /// A commitment without its secret.
    #[error(
        "{client} committed and did not reveal: the beacon round has no value; name it to the registrar"
    )]
    Withheld {
        /// Who.
        client: ClientId,
    },
}

/// Where beacon values come from, with keys decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeaconSource {
    /// Nothing proves them.
    Operator,
    /// A drand chain.
    Drand(DrandKey),
    /// The roster's participants.
    CommitReveal,
}

impl BeaconProof {
    /// No proof: for rosters without a beacon.
    pub fn none() -> Self {
        Self {
            signature: Vec::new(),
            previous: Vec::new(),
            reveals: Vec::new(),
        }
    }
    /// The proof of a drand round; `previous` is empty where the chain is not chained.
    pub fn drand(signature: Vec<u8>, previous: Vec<u8>) -> Self {
        Self {
            signature,
            previous,
            reveals: Vec::new(),
        }
    }
}

impl BeaconRule {
    /// No beacon: the beacon round of a round is its id, and the value is the operator's word.
    pub fn operator() -> Self {
        Self {
            scheme: 0,
            public_key: Vec::new(),
            participants: Vec::new(),
            least: 0,
            first_round: 0,
            first_beacon: 0,
            stride: 1,
        }
    }

    /// Checks the rule by itself.
    ///
    /// # Errors
    /// [`BeaconError::Rule`], [`BeaconError::Key`], [`BeaconError::Participants`], [`BeaconError::Least`].
    pub fn source(&self) -> Result<BeaconSource, BeaconError> {
        let scheme = self.scheme;
        let local = !self.participants.is_empty() || self.least > 0;
        let foreign = match scheme {
            0 => local || !self.public_key.is_empty(),
            1 | 2 => local,
            3 => !self.public_key.is_empty(),
            _ => true,
        };
        if foreign || self.stride == 0 {
            return Err(BeaconError::Rule { scheme });
        }
        let chain = |kind| {
            let key = DrandKey::decode(kind, &self.public_key).map_err(|_| BeaconError::Key)?;
            Ok(BeaconSource::Drand(key))
        };
        match scheme {
            1 => chain(DrandScheme::Chained),
            2 => chain(DrandScheme::UnchainedG1),
            3 => {
                let count = self.participants.len();
                let needed = usize::try_from(self.least).unwrap_or(usize::MAX);
                let ordered = self.participants.is_sorted_by(|a, b| a < b);
                if count == 0 || needed > count || !ordered || count > PARTICIPANTS_MAX {
                    return Err(BeaconError::Participants);
                }
                let want = least_participants(count);
                if needed < want {
                    return Err(BeaconError::Least {
                        participants: count,
                        least: self.least,
                        want,
                    });
                }
                Ok(BeaconSource::CommitReveal)
            }
            _ => Ok(BeaconSource::Operator),
        }
    }

    /// What rounds name as their beacon's source: all zero without a beacon, else a digest of the registrar's key and of
    /// the source.
    pub fn source_digest(&self, registrar: &[u8; 32]) -> Digest {
        if self.scheme == 0 {
            return Digest([0; 32]);
        }
        let mut h = Hasher::new(labels::BEACON_SOURCE);
        h.update(registrar).update(&[self.scheme]);
        h.update(&self.public_key.to_bytes());
        h.update(&self.participants.to_bytes());
        h.update(&self.least.to_bytes());
        h.finish()
    }

    /// The beacon round of a round id; `None` for ids before the roster's first.
    pub fn beacon_round(&self, round_id: u64) -> Option<u64> {
        let steps = round_id.checked_sub(self.first_round)?;
        steps
            .checked_mul(self.stride)?
            .checked_add(self.first_beacon)
    }

    /// The beacon of a round with this value.
    ///
    /// # Errors
    /// [`BeaconError::Schedule`] for an id before the roster's first.
    pub fn beacon(
        &self,
        registrar: &[u8; 32],
        round_id: u64,
        value: [u8; 32],
    ) -> Result<Beacon, BeaconError> {
        let round = self.beacon_round(round_id).ok_or(BeaconError::Schedule {
            round_id,
            beacon_round: 0,
        })?;
        Ok(Beacon {
            source: self.source_digest(registrar).0,
            round,
            value,
        })
    }

    /// Whether source and beacon round of `beacon` are the ones that this rule gives the round id.
    ///
    /// # Errors
    /// [`BeaconError::Schedule`].
    pub fn check_schedule(
        &self,
        registrar: &[u8; 32],
        round_id: u64,
        beacon: &Beacon,
    ) -> Result<(), BeaconError> {
        if self.beacon(registrar, round_id, beacon.value) == Ok(*beacon) {
            Ok(())
        } else {
            Err(BeaconError::Schedule {
                round_id,
                beacon_round: beacon.round,
            })
        }
    }
}

/// A participant's commitment to its secret for one beacon round.
pub fn beacon_commitment(
    source: &Digest,
    round: u64,
    client: ClientId,
    secret: &[u8; 32],
) -> Digest {
    let mut h = Hasher::new(labels::BEACON_COMMITMENT);
    h.update(&source.0).u64(round);
    h.update(&client.to_bytes()).update(secret);
    h.finish()
}

/// Digest of the commitments of a beacon round, by increasing participant.
pub fn beacon_list_digest(
    source: &Digest,
    round: u64,
    commitments: &[(ClientId, Digest)],
) -> Digest {
    let mut h = Hasher::new(labels::BEACON_LIST);
    h.update(&source.0).u64(round).u64(commitments.len() as u64);
    for commitment in commitments {
        h.update(&commitment.to_bytes());
    }
    h.finish()
}

fn value(source: &Digest, round: u64, list: &Digest, reveals: &[BeaconReveal]) -> [u8; 32] {
    let mut h = Hasher::new(labels::BEACON_VALUE);
    h.update(&source.0).u64(round).update(&list.0);
    for reveal in reveals {
        h.update(&reveal.client.to_bytes()).update(&reveal.secret);
    }
    h.finish().0
}

impl BeaconList {
    /// Checks a list of commitments for a beacon round of the roster, and gives what [`beacon_list_digest`] is made of.
    ///
    /// # Errors
    /// [`BeaconError`]: too few, somebody who is no participant, a signature.
    pub fn verify(
        &self,
        roster: &Roster,
        round: u64,
    ) -> Result<Vec<(ClientId, Digest)>, BeaconError> {
        let source = roster
            .beacon()
            .source_digest(&roster.registrar().to_bytes());
        let clients = self.commitments.iter().map(|c| c.content.client);
        participants(roster, clients)?;
        let mut list = Vec::with_capacity(self.commitments.len());
        for signed in &self.commitments {
            let content = &signed.content;
            let client = content.client;
            let refused = BeaconError::Statement { client };
            let key = roster
                .identity(client)
                .ok_or(BeaconError::Participant { client })?;
            if content.source != source || content.round != round || signed.verify(key).is_err() {
                return Err(refused);
            }
            list.push((client, content.commitment));
        }
        Ok(list)
    }
}

/// That all are participants, in order, and enough.
fn participants(
    roster: &Roster,
    clients: impl Iterator<Item = ClientId>,
) -> Result<(), BeaconError> {
    let rule = roster.beacon();
    if *roster.beacon_source() != BeaconSource::CommitReveal {
        return Err(BeaconError::Scheme);
    }
    let (mut last, mut got) = (None, 0usize);
    for client in clients {
        if last >= Some(client) || rule.participants.binary_search(&client).is_err() {
            return Err(BeaconError::Participant { client });
        }
        last = Some(client);
        got = got.saturating_add(1);
    }
    let want = rule.least;
    if usize::try_from(want).is_ok_and(|want| got >= want) {
        Ok(())
    } else {
        Err(BeaconError::TooFew { got, want })
    }
}

impl BeaconReveal {
    /// A participant's part for the list of commitments that it saw; it signs for one list only, ever.
    pub fn sign(content: BeaconRevealContent, identity: &IdentityKey) -> Self {
        let (client, secret) = (content.client, content.secret);
        Self {
            client,
            secret,
            signature: Signed::sign(content, identity).signature,
        }
    }
}

impl BeaconProof {
    /// Checks the proof against the roster's source and gives the value of the beacon round.
    ///
    /// # Errors
    /// [`BeaconError`]. A roster without a beacon has nothing to prove: [`BeaconError::Scheme`].
    pub fn value(&self, roster: &Roster, round: u64) -> Result<[u8; 32], BeaconError> {
        match roster.beacon_source() {
            BeaconSource::Operator => Err(BeaconError::Scheme),
            BeaconSource::Drand(key) => {
                if !self.reveals.is_empty() {
                    return Err(BeaconError::Scheme);
                }
                key.verify(round, &self.signature, &self.previous)
                    .map_err(|_| BeaconError::Signature)
            }
            BeaconSource::CommitReveal => {
                if !self.signature.is_empty() || !self.previous.is_empty() {
                    return Err(BeaconError::Scheme);
                }
                self.revealed(roster, round)
            }
        }
    }

    fn revealed(&self, roster: &Roster, round: u64) -> Result<[u8; 32], BeaconError> {
        participants(roster, self.reveals.iter().map(|r| r.client))?;
        let registrar = roster.registrar().to_bytes();
        let source = roster.beacon().source_digest(&registrar);
        let commitments: Vec<(ClientId, Digest)> = self
            .reveals
            .iter()
            .map(|r| {
                let commitment = beacon_commitment(&source, round, r.client, &r.secret);
                (r.client, commitment)
            })
            .collect();
        // The list that everybody signed is the one of exactly these secrets: nobody could leave one out or change it.
        let list = beacon_list_digest(&source, round, &commitments);
        for reveal in &self.reveals {
            let client = reveal.client;
            let key = roster
                .identity(client)
                .ok_or(BeaconError::Participant { client })?;
            let content = BeaconRevealContent {
                source,
                round,
                client,
                list,
                secret: reveal.secret,
            };
            let signed = Signed {
                content,
                signature: reveal.signature,
            };
            if signed.verify(key).is_err() {
                return Err(BeaconError::Statement { client });
            }
        }
        Ok(value(&source, round, &list, &self.reveals))
    }

    /// The proof from a list of commitments and what was revealed for it, and the value.
    ///
    /// # Errors
    /// [`BeaconError::Withheld`] names who committed and did not reveal, [`BeaconError::Opening`] who revealed something
    /// else; others as [`BeaconList::verify`] and [`BeaconProof::value`].
    pub fn from_reveals(
        roster: &Roster,
        round: u64,
        list: &BeaconList,
        reveals: &[BeaconReveal],
    ) -> Result<(Self, [u8; 32]), BeaconError> {
        let commitments = list.verify(roster, round)?;
        let registrar = roster.registrar().to_bytes();
        let source = roster.beacon().source_digest(&registrar);
        let mut proof = Self::none();
        for (client, commitment) in commitments {
            let reveal = reveals
                .iter()
                .find(|r| r.client == client)
                .ok_or(BeaconError::Withheld { client })?;
            if beacon_commitment(&source, round, client, &reveal.secret) != commitment {
                return Err(BeaconError::Opening { client });
            }
            proof.reveals.push(reveal.clone());
        }
        let value = proof.value(roster, round)?;
        Ok((proof, value))
    }

    /// Whether this proves `beacon`; without a beacon in the roster there must be no proof.
    ///
    /// # Errors
    /// [`BeaconError`].
    pub fn check(&self, roster: &Roster, beacon: &Beacon) -> Result<(), BeaconError> {
        if *roster.beacon_source() == BeaconSource::Operator {
            let none = *self == Self::none();
            return if none {
                Ok(())
            } else {
                Err(BeaconError::Scheme)
            };
        }
        if self.value(roster, beacon.round)? == beacon.value {
            Ok(())
        } else {
            Err(BeaconError::Value)
        }
    }
}
