//! A result and what certifies it, as n clients and m members would have made them, without the contributions: a light
//! check sees sums only, so its size and time are those of a real round.

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use veilsum_crypto::{
    CanonicalPoint, Digest, EphemeralSecret, Family, IdentityKey, ShareSecretKey, feldman, labels,
    merkle,
};
use veilsum_params::{Beacon, ClientId, GENERATOR_SET, MemberIndex, PROTOCOL_VERSION, RoundParams};
use veilsum_protocol::{FinalTerms, Refusal, RoundContext, light_check};
use veilsum_wire::{
    Certificate, EndorseContent, Header, HeaderContent, LightBundle, ResultContent, Roster,
    RosterContent, RosterEntry, RoundResult, RowList, RowValues, RowsContent, Signed,
    cohort_and_committee, complaints_digest, convicted_digest, proposal_leaves, proposal_root,
    result_vector_digest, row_values_digest, slice_rows,
};

/// What to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) dim: u32,
    pub(crate) clients: u32,
    pub(crate) members: u32,
    pub(crate) threshold: u16,
    /// Every so many coordinates of the sum one is not zero.
    pub(crate) every: usize,
}

/// What a client of the round holds and downloads.
pub(crate) struct Light {
    pub(crate) context: RoundContext,
    pub(crate) own: Header,
    pub(crate) result: RoundResult,
    pub(crate) bundle: LightBundle,
}

const NORM_BOUND: u32 = (1 << 15) - 1;

impl Light {
    pub(crate) fn check(&self, rng: &mut ChaCha20Rng) -> Result<(), Refusal> {
        light_check(&self.context, &self.own, &self.result, &self.bundle, rng)
    }

    pub(crate) fn new(case: Case) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let (registrar, server) = (
            IdentityKey::generate(&mut rng),
            IdentityKey::generate(&mut rng),
        );
        let mut identities = BTreeMap::new();
        let mut entries = Vec::new();
        for client in (1..=case.clients).map(ClientId) {
            let identity = IdentityKey::generate(&mut rng);
            let share = ShareSecretKey::generate(&mut rng);
            entries.push(RosterEntry::new(client, 1, &identity, *share.public()));
            identities.insert(client, identity);
        }
        let signed = Signed::sign(RosterContent::first(1, entries), &registrar);
        let roster = Arc::new(Roster::verify(signed, &registrar.verifying_key()).unwrap());
        let params = params(&case, &roster, &server);
        let context = RoundContext::new(params, roster).unwrap();
        let own = header(&context, &identities, &mut rng);

        let client = own.content.client;
        let mut digest = Digest([0; 32]);
        let entries: Vec<(ClientId, Digest)> = identities
            .keys()
            .map(|c| {
                rng.fill_bytes(&mut digest.0);
                let own = (*c == client).then(|| own.content.digest());
                (*c, own.unwrap_or(digest))
            })
            .collect();
        let (root, params_digest) = (proposal_root(&entries), *context.digest());
        let position = entries.iter().position(|(c, _)| *c == client).unwrap();
        let r_sum = Scalar::random(&mut rng);
        let sum_f0 = CanonicalPoint::from(RistrettoPoint::mul_base(&r_sum));
        let terms = FinalTerms {
            root,
            count: case.clients,
            convicted: Vec::new(),
            sum_f0,
        };
        let largest = i64::from(case.clients) * i64::from(NORM_BOUND);
        let vector: Vec<i64> = (0..case.dim as usize)
            .map(|at| {
                let value = (rng.next_u64() >> 1) as i64 % largest;
                if at.is_multiple_of(case.every) {
                    value
                } else {
                    0
                }
            })
            .collect();
        let rows = rows(&context, &vector, &r_sum);
        let key = |member: MemberIndex| &identities[&context.member(member).unwrap().0];
        let of_t = (1..=case.threshold).map(MemberIndex);
        let endorsements = of_t.clone().map(|member| {
            let content = EndorseContent {
                params_digest,
                root,
                member,
                count: case.clients,
                complaints: complaints_digest(&[]),
            };
            Signed::sign(content, key(member))
        });
        let certificate = Certificate {
            endorsements: endorsements.collect(),
        };
        let finals =
            of_t.map(|member| Signed::sign(terms.content(params_digest, member), key(member)));
        let content = ResultContent {
            params_digest,
            root,
            convicted: Vec::new(),
            r_sum,
            vector_digest: result_vector_digest(&vector),
        };
        let bundle = LightBundle {
            certificate,
            count: case.clients,
            position: u32::try_from(position).unwrap(),
            path: merkle::path(labels::PROPOSAL_TREE, &proposal_leaves(&entries), position),
            finals: finals.collect(),
            row_lists: row_lists(&context, &rows, &root, &key),
            rows,
        };
        Self {
            own,
            result: RoundResult {
                signed: Signed::sign(content, &server),
                vector,
            },
            bundle,
            context,
        }
    }
}

fn params(case: &Case, roster: &Roster, server: &IdentityKey) -> RoundParams {
    let beacon = Beacon {
        source: [0; 32],
        round: 1,
        value: [2; 32],
    };
    let (_, committee) =
        cohort_and_committee(roster, &beacon, 1, case.clients, case.members).unwrap();
    RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id: 1,
        epoch: 1,
        server_key: server.verifying_key().to_bytes(),
        model_digest: [3; 32],
        roster_digest: roster.digest().0,
        beacon,
        dim: case.dim,
        scale_bits: 8,
        norm_bound: NORM_BOUND,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: case.clients,
        n_max: case.clients,
        n_min: (2 * case.clients).div_ceil(3),
        malicious_max: 1,
        threshold: case.threshold,
        committee,
        contribute_deadline_ms: 0,
    }
}

/// The header of the first client; what it says of a body nobody looks at here.
fn header(
    context: &RoundContext,
    identities: &BTreeMap<ClientId, IdentityKey>,
    rng: &mut ChaCha20Rng,
) -> Header {
    let (client, identity) = identities.first_key_value().unwrap();
    let (digest, r) = (context.digest(), Scalar::random(rng));
    let dealing = feldman::deal(&r, context.threshold(), context.members(), rng).unwrap();
    let ephemeral = EphemeralSecret::generate(rng);
    let root = Digest([8; 32]);
    let content = HeaderContent {
        params_digest: *digest,
        client: *client,
        f_z: CanonicalPoint::from(RistrettoPoint::mul_base(&Scalar::random(rng))),
        ephemeral: *ephemeral.public(),
        knowledge: ephemeral.prove(digest, *client, &dealing.commitments, &root, rng),
        commitments: dealing.commitments,
        share_root: root,
        row_root: root,
        other_rows: root,
        masked_vector: root,
        key_ciphertext: root,
        proof: root,
    };
    Signed::sign(content, identity)
}

/// The sums of the X-rows, slice by slice.
fn rows(context: &RoundContext, vector: &[i64], r_sum: &Scalar) -> Vec<RowValues> {
    let layout = context.layout();
    let family = |family: Family, count: u32| -> Vec<RistrettoPoint> {
        let indices = (0..count).into_par_iter();
        indices.map(|i| family.generator(i.into()).point).collect()
    };
    let columns = family(Family::Column, layout.columns);
    let blinding = family(Family::Row, layout.x_rows);
    let sums: Vec<[u8; 32]> = vector
        .par_chunks(layout.columns as usize)
        .zip(&blinding)
        .map(|(row, v)| {
            let terms = row.iter().zip(&columns).filter(|(x, _)| **x != 0);
            let (scalars, points): (Vec<Scalar>, Vec<RistrettoPoint>) = terms
                .map(|(x, g)| (Scalar::from(x.unsigned_abs()), *g))
                .unzip();
            let sum = RistrettoPoint::vartime_multiscalar_mul(&scalars, &points) + v * r_sum;
            sum.compress().to_bytes()
        })
        .collect();
    let m = u32::from(context.members());
    (0..context.members())
        .filter_map(|slice| {
            let values = sums[slice_rows(layout, m, slice.into())].to_vec();
            (!values.is_empty()).then_some(RowValues { slice, values })
        })
        .collect()
}

/// Slice q is summed by the members q .. q + 2t - m - 1, so everybody has a list of as many slices.
fn row_lists<'a>(
    context: &RoundContext,
    rows: &[RowValues],
    root: &Digest,
    key: &dyn Fn(MemberIndex) -> &'a IdentityKey,
) -> Vec<RowList> {
    let (m, signers) = (u32::from(context.members()), context.params().row_signers());
    (1..=context.members())
        .filter_map(|member| {
            let own =
                |row: &&RowValues| (u32::from(member) - 1 + m - u32::from(row.slice)) % m < signers;
            let slices = rows.iter().filter(own);
            let slices: Vec<(u16, Digest)> = slices
                .map(|row| (row.slice, row_values_digest(&row.values)))
                .collect();
            let content = RowsContent {
                params_digest: *context.digest(),
                root: *root,
                convicted: convicted_digest(&[]),
                member: MemberIndex(member),
                slices,
            };
            let signed = Signed::sign(content, key(MemberIndex(member)));
            (!signed.content.slices.is_empty()).then(|| RowList::of(&signed))
        })
        .collect()
}
