use crate::SimError;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use veilsum_crypto::{CanonicalPoint, Digest, IdentityKey, ShareSecretKey};
use veilsum_params::{
    Beacon, ClientId, GENERATOR_SET, Layout, MemberIndex, PROTOCOL_VERSION, RoundParams,
};
use veilsum_proof::{Prepared, Round};
use veilsum_protocol::{Party, RoundContext};
use veilsum_wire::{
    Announcement, AnnouncementContent, Roster, RosterContent, RosterEntry, Signed,
    cohort_and_committee, params_digest,
};

/// What a world is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Everything else follows from it.
    pub seed: u64,
    /// Number of coordinates, d.
    pub dim: u32,
    /// B_x.
    pub norm_bound: u32,
    /// Clients in the roster.
    pub roster: u32,
    /// Clients in the cohort, n.
    pub cohort: u32,
    /// Smallest sum.
    pub n_min: u32,
    /// Committee size, m.
    pub members: u32,
    /// Threshold, t.
    pub threshold: u16,
}

impl Setup {
    /// A small round in direct mode: 7 clients, of whom 5 are members, threshold 4.
    pub fn small(seed: u64) -> Self {
        Self {
            seed,
            dim: 12,
            norm_bound: 1000,
            roster: 7,
            cohort: 7,
            n_min: 5,
            members: 5,
            threshold: 4,
        }
    }
}

/// A roster with all its secrets, one round of it, and every client's update.
#[derive(Debug)]
pub struct World {
    /// What it was made from.
    pub setup: Setup,
    /// The round.
    pub context: Arc<RoundContext>,
    /// The proof's part of the round.
    pub round: Arc<Round>,
    /// The roster.
    pub roster: Arc<Roster>,
    /// The registrar's key.
    pub registrar: IdentityKey,
    /// The server's key.
    pub server: IdentityKey,
    /// Every client's identity key, those that were not sampled included.
    pub identities: BTreeMap<ClientId, IdentityKey>,
    /// Every client's share key.
    pub share_keys: BTreeMap<ClientId, ShareSecretKey>,
    /// Every client's update.
    pub updates: BTreeMap<ClientId, Vec<i64>>,
}

/// The generator of one purpose of a seed.
pub(crate) fn stream(seed: u64, purpose: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

fn parameters(
    setup: &Setup,
    round_id: u64,
    roster: &Roster,
    server: &IdentityKey,
    rng: &mut ChaCha20Rng,
) -> Result<RoundParams, SimError> {
    let mut value = [0; 32];
    rng.fill_bytes(&mut value);
    let beacon = Beacon {
        source: [0; 32],
        round: round_id,
        value,
    };
    let (_, committee) =
        cohort_and_committee(roster, &beacon, round_id, setup.cohort, setup.members)?;
    Ok(RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id,
        epoch: roster.epoch(),
        server_key: server.verifying_key().to_bytes(),
        model_digest: [7; 32],
        roster_digest: roster.digest().0,
        beacon,
        dim: setup.dim,
        scale_bits: 4,
        norm_bound: setup.norm_bound,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: setup.cohort,
        n_max: setup.cohort,
        n_min: setup.n_min,
        malicious_max: setup.n_min.saturating_sub(2).min(1),
        threshold: setup.threshold,
        committee,
        contribute_deadline_ms: 0,
    })
}

/// An update within the bound, all coordinates in use.
fn update(setup: &Setup, rng: &mut ChaCha20Rng) -> Vec<i64> {
    let largest = f64::from(setup.norm_bound) / f64::from(setup.dim).sqrt();
    let span = (largest as u64).max(1);
    (0..setup.dim)
        .map(|_| {
            i64::try_from(rng.next_u64() % span).unwrap_or(0)
                * if rng.next_u32() & 1 == 0 { 1 } else { -1 }
        })
        .collect()
}

/// The prover's tables of all layouts that were asked for; worlds of one layout share them.
#[derive(Debug, Default)]
pub struct Tables(Mutex<Vec<Arc<Prepared>>>);

impl Tables {
    fn find(&self, layout: &Layout) -> Option<Arc<Prepared>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|p| p.layout() == layout).cloned()
    }

    fn get(&self, layout: &Layout) -> Result<Arc<Prepared>, SimError> {
        if let Some(prepared) = self.find(layout) {
            return Ok(prepared);
        }
        // Not under the lock: making tables is spread over threads that may want other tables.
        let prepared = Arc::new(Prepared::new(layout)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(Arc::clone(&prepared));
        Ok(prepared)
    }
}

impl World {
    /// The world of a set-up.
    ///
    /// # Errors
    /// [`SimError`] when the parameters of the set-up are refused.
    pub fn new(setup: Setup) -> Result<Self, SimError> {
        Self::with_tables(setup, 1, &Tables::default())
    }

    /// As [`World::new`], with tables that are made once for many worlds, for any round: worlds that differ in it alone have
    /// the same roster, keys and updates.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn with_tables(setup: Setup, round_id: u64, tables: &Tables) -> Result<Self, SimError> {
        let mut rng = stream(setup.seed, 0);
        let (registrar, server) = (
            IdentityKey::generate(&mut rng),
            IdentityKey::generate(&mut rng),
        );
        let (mut identities, mut share_keys, mut updates) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut entries = Vec::new();
        for i in 0..setup.roster {
            let client = ClientId(10 + 3 * i);
            let (identity, share_key) = (
                IdentityKey::generate(&mut rng),
                ShareSecretKey::generate(&mut rng),
            );
            entries.push(RosterEntry::new(client, 1, &identity, *share_key.public()));
            identities.insert(client, identity);
            share_keys.insert(client, share_key);
            updates.insert(client, update(&setup, &mut rng));
        }
        let signed = Signed::sign(RosterContent::first(1, entries), &registrar);
        let roster = Arc::new(Roster::verify(signed, &registrar.verifying_key())?);
        let params = parameters(&setup, round_id, &roster, &server, &mut rng)?;
        let context = Arc::new(RoundContext::new(params, Arc::clone(&roster))?);
        let prepared = tables.get(context.layout())?;
        let round = Arc::new(Round::new(prepared, *context.digest())?);
        Ok(Self {
            setup,
            context,
            round,
            roster,
            registrar,
            server,
            identities,
            share_keys,
            updates,
        })
    }

    /// The keys of a client.
    ///
    /// # Errors
    /// [`SimError::NoParty`].
    pub fn keys(&self, client: ClientId) -> Result<(&IdentityKey, &ShareSecretKey), SimError> {
        match (self.identities.get(&client), self.share_keys.get(&client)) {
            (Some(identity), Some(share_key)) => Ok((identity, share_key)),
            _ => Err(SimError::NoParty(Party::Client(client))),
        }
    }

    /// The client behind a member, and its keys.
    ///
    /// # Errors
    /// [`SimError::NoParty`].
    pub fn member_keys(
        &self,
        index: MemberIndex,
    ) -> Result<(ClientId, &IdentityKey, &ShareSecretKey), SimError> {
        let (client, _) = self
            .context
            .member(index)
            .ok_or(SimError::NoParty(Party::Member(index)))?;
        let (identity, share_key) = self.keys(client)?;
        Ok((client, identity, share_key))
    }

    /// The announcement of the round.
    pub fn announcement(&self) -> Announcement {
        let params = self.context.params().clone();
        let content = AnnouncementContent {
            round_id: params.round_id,
            params_digest: params_digest(&params),
        };
        Announcement {
            signed: Signed::sign(content, &self.server),
            params,
            beacon: self.context.beacon_proof().clone(),
        }
    }

    /// Clients of the cohort that are not on the committee, by increasing id.
    pub fn plain_clients(&self) -> Vec<ClientId> {
        let params = self.context.params();
        self.context
            .cohort()
            .iter()
            .filter(|c| params.member_index(**c).is_none())
            .copied()
            .collect()
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (1..=self.context.members()).map(MemberIndex)
    }

    /// PK_j of all members.
    pub fn member_share_keys(&self) -> &[CanonicalPoint] {
        self.context.share_keys()
    }

    /// The plain sum of the updates of some clients.
    pub fn plain_sum<'a>(&self, clients: impl IntoIterator<Item = &'a ClientId>) -> Vec<i64> {
        let mut sum = vec![0i64; self.setup.dim as usize];
        for update in clients.into_iter().filter_map(|c| self.updates.get(c)) {
            for (s, x) in sum.iter_mut().zip(update) {
                *s += x;
            }
        }
        sum
    }

    /// The digest of the round's parameters.
    pub fn digest(&self) -> Digest {
        *self.context.digest()
    }
}
