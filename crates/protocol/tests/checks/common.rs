//! A small round and everything that an honest committee would say in it.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use veilsum_crypto::feldman::{self, Dealing, SecretShare};
use veilsum_crypto::{
    CIPHERTEXT_LEN, CanonicalPoint, Digest, EphemeralSecret, IdentityKey, ShareSecretKey, labels,
    merkle,
};
use veilsum_params::{Beacon, ClientId, GENERATOR_SET, MemberIndex, PROTOCOL_VERSION, RoundParams};
use veilsum_proof::{Context, Prepared, Round, Witness, contribute};
use veilsum_protocol::*;
use veilsum_wire::*;

pub(crate) const MEMBERS: u16 = 5;
pub(crate) const THRESHOLD: u16 = 4;

pub(crate) struct World {
    pub(crate) registrar: IdentityKey,
    pub(crate) server: IdentityKey,
    pub(crate) identities: BTreeMap<ClientId, IdentityKey>,
    pub(crate) share_keys: BTreeMap<ClientId, ShareSecretKey>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) ctx: RoundContext,
    pub(crate) round: Round,
    pub(crate) updates: Vec<Vec<i64>>,
    pub(crate) contributions: Vec<Contribution>,
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Six clients in the roster, five in the cohort, all of which serve on the committee.
pub(crate) fn world_of(dim: u32, norm_bound: u32, contributions: usize) -> World {
    let mut rng = rng(77);
    let (registrar, server) = (
        IdentityKey::generate(&mut rng),
        IdentityKey::generate(&mut rng),
    );
    let ids: Vec<ClientId> = (0..6).map(|i| ClientId(10 + 3 * i)).collect();
    let identities: BTreeMap<_, _> = ids
        .iter()
        .map(|id| (*id, IdentityKey::generate(&mut rng)))
        .collect();
    let share_keys: BTreeMap<_, _> = ids
        .iter()
        .map(|id| (*id, ShareSecretKey::generate(&mut rng)))
        .collect();
    let entries = ids
        .iter()
        .map(|id| RosterEntry::new(*id, 3, &identities[id], *share_keys[id].public()))
        .collect();
    let signed = Signed::sign(RosterContent::first(3, entries), &registrar);
    let roster = Arc::new(Roster::verify(signed, &registrar.verifying_key()).unwrap());
    let params = params_for(&roster, &server, 9, dim, norm_bound);
    let ctx = RoundContext::new(params, Arc::clone(&roster)).unwrap();
    let round = Round::new(
        Arc::new(Prepared::new(ctx.layout()).unwrap()),
        *ctx.digest(),
    )
    .unwrap();
    let spread = i64::from(norm_bound) / i64::from(dim).max(1) + 1;
    let updates: Vec<Vec<i64>> = (0..contributions as i64)
        .map(|i| {
            (0..i64::from(dim))
                .map(|j| (i * 7 + j * 5) % (2 * spread + 1) - spread)
                .collect()
        })
        .collect();
    let contributions = ctx
        .cohort()
        .iter()
        .zip(&updates)
        .map(|(client, x)| {
            build_contribution(&ctx, &round, *client, &identities[client], x, &mut rng).unwrap()
        })
        .collect();
    World {
        registrar,
        server,
        identities,
        share_keys,
        roster,
        ctx,
        round,
        updates,
        contributions,
    }
}

pub(crate) fn params_for(
    roster: &Roster,
    server: &IdentityKey,
    round_id: u64,
    dim: u32,
    norm_bound: u32,
) -> RoundParams {
    let beacon = Beacon {
        source: [0; 32],
        round: round_id,
        value: [2; 32],
    };
    let (_, committee) =
        cohort_and_committee(roster, &beacon, round_id, 5, MEMBERS.into()).unwrap();
    RoundParams {
        protocol_version: PROTOCOL_VERSION,
        generator_set: GENERATOR_SET,
        round_id,
        epoch: roster.epoch(),
        server_key: server.verifying_key().to_bytes(),
        model_digest: [5; 32],
        roster_digest: roster.digest().0,
        beacon,
        dim,
        scale_bits: 8,
        norm_bound,
        weight_max: 1,
        predicates: 0,
        groups: 1,
        cohort_size: 5,
        n_max: 5,
        n_min: 4,
        malicious_max: 2,
        threshold: THRESHOLD,
        committee,
        contribute_deadline_ms: 1,
    }
}

/// The world that most tests share: direct mode, three X-rows.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| world_of(150, 1000, 5))
}

impl World {
    pub(crate) fn header(&self, i: usize) -> &Header {
        &self.contributions[i].header
    }
    pub(crate) fn client(&self, i: usize) -> ClientId {
        self.header(i).content.client
    }
    pub(crate) fn identity(&self, client: ClientId) -> &IdentityKey {
        &self.identities[&client]
    }
    pub(crate) fn outsider(&self) -> ClientId {
        *self
            .identities
            .keys()
            .find(|id| !self.ctx.in_cohort(**id))
            .unwrap()
    }
    pub(crate) fn member_key(&self, j: u16) -> &IdentityKey {
        self.identity(self.ctx.member(MemberIndex(j)).unwrap().0)
    }
    pub(crate) fn share_key(&self, j: u16) -> &ShareSecretKey {
        &self.share_keys[&self.ctx.member(MemberIndex(j)).unwrap().0]
    }
    pub(crate) fn member_culprit(&self, j: u16) -> Culprit {
        Culprit::Member {
            index: MemberIndex(j),
            client: self.ctx.member(MemberIndex(j)).unwrap().0,
        }
    }
    pub(crate) fn digest(&self) -> Digest {
        *self.ctx.digest()
    }
    pub(crate) fn sign_header(&self, content: HeaderContent) -> Header {
        let identity = self.identity(content.client).clone();
        Signed::sign(content, &identity)
    }
    pub(crate) fn verify(&self, header: &Header, body: &Body) -> Result<(), Check> {
        verify_contribution(&self.ctx, &self.round, header.clone(), body.clone())
            .map(|_| ())
            .map_err(|r| r.check)
    }
    pub(crate) fn judge(&self, evidence: &Evidence) -> Result<Conviction, JudgeError> {
        let bytes = evidence.to_bytes();
        assert_eq!(
            Evidence::from_bytes(&bytes).as_ref(),
            Ok(evidence),
            "one encoding"
        );
        judge_with(&self.ctx, Some(&self.round), evidence)
    }
    pub(crate) fn acquits(&self, evidence: &Evidence) {
        assert!(
            matches!(self.judge(evidence), Err(JudgeError::Refused(_))),
            "{:?}",
            self.judge(evidence)
        );
    }
    #[track_caller]
    pub(crate) fn convicts(
        &self,
        evidence: &Evidence,
        kind: EvidenceKind,
        culprit: Culprit,
        check: Check,
    ) {
        assert_eq!(
            self.judge(evidence),
            Ok(Conviction {
                kind,
                culprit,
                check
            })
        );
    }
}

type Ciphertexts = Vec<[u8; CIPHERTEXT_LEN]>;

/// Where a cheating client leaves the protocol; it recomputes every digest and signs.
#[derive(Default)]
pub(crate) struct Cheat<'a> {
    /// Changes the dealing before it is encrypted.
    pub(crate) dealing: Option<&'a dyn Fn(&mut Dealing)>,
    /// Changes ciphertexts before they are hashed.
    pub(crate) shares: Option<&'a dyn Fn(&mut Ciphertexts)>,
    /// Changes the header before it is signed.
    pub(crate) header: Option<&'a dyn Fn(&mut HeaderContent)>,
    /// Changes the body before it is hashed and the header is signed.
    pub(crate) body: Option<&'a dyn Fn(&mut Body)>,
}

/// A contribution of a cheating client (direct mode), whose proof is bound to what it sends.
pub(crate) fn forge(world: &World, i: usize, cheat: &Cheat<'_>) -> Contribution {
    let mut rng = rng(1000 + i as u64);
    let (ctx, client) = (&world.ctx, world.client(i));
    let r = Scalar::random(&mut rng);
    let mut dealing = feldman::deal(&r, THRESHOLD, MEMBERS, &mut rng).unwrap();
    if let Some(change) = cheat.dealing {
        change(&mut dealing);
    }
    let ephemeral = EphemeralSecret::generate(&mut rng);
    let mut shares: Vec<_> = dealing
        .shares
        .iter()
        .zip(ctx.share_keys())
        .map(|(s, key)| {
            ephemeral
                .encrypt(ctx.digest(), client, s.index, key, s.expose())
                .unwrap()
        })
        .collect();
    if let Some(change) = cheat.shares {
        change(&mut shares);
    }
    let share_root = merkle::root(labels::SHARE_TREE, &share_leaves(&shares));
    let knowledge = ephemeral.prove(
        ctx.digest(),
        client,
        &dealing.commitments,
        &share_root,
        &mut rng,
    );
    let witness = Witness {
        update: &world.updates[i],
        r: &r,
        masked: None,
    };
    let (mut row, mut other) = (Digest::default(), Digest::default());
    let made = contribute(
        &world.round,
        &witness,
        |parts| {
            (row, other) = matrix_roots(ctx.layout(), MEMBERS.into(), parts.k);
            let content = HeaderContent {
                other_rows: other,
                row_root: row,
                ..world.header(i).content.clone()
            };
            Ok::<_, Infallible>(Context {
                client,
                commitments: dealing.commitments.clone(),
                ephemeral: *ephemeral.public(),
                share_root,
                row_root: row,
                y_digest: Digest::of(labels::MASKED_VECTOR_DIGEST, &[]),
                c_digest: Digest::of(labels::KEY_CIPHERTEXT_DIGEST, parts.c.as_flattened()),
                k_digest: content.matrix_digest(),
            })
        },
        &mut rng,
    )
    .unwrap();
    let mut body = Body {
        masked_vector: Vec::new(),
        key_ciphertext: made.c,
        matrix: made.k,
        proof: made.proof,
        shares,
    };
    if let Some(change) = cheat.body {
        change(&mut body);
    }
    let d = body.digests(ctx.params(), ctx.layout());
    let mut content = HeaderContent {
        params_digest: world.digest(),
        client,
        commitments: dealing.commitments.clone(),
        f_z: made.f_z,
        ephemeral: *ephemeral.public(),
        knowledge,
        share_root: d.share_root,
        row_root: d.row_root,
        other_rows: d.other_rows,
        masked_vector: d.masked_vector,
        key_ciphertext: d.key_ciphertext,
        proof: d.proof,
    };
    if let Some(change) = cheat.header {
        change(&mut content);
    }
    Contribution {
        header: world.sign_header(content),
        body,
    }
}

/// Gives member `j` a share that is not on the polynomial.
pub(crate) fn bad_dealer(world: &World, i: usize, j: u16) -> Contribution {
    let change = |dealing: &mut Dealing| {
        let index = MemberIndex(j);
        dealing.shares[usize::from(j) - 1] = SecretShare::new(index, Scalar::from(5u8));
    };
    forge(
        world,
        i,
        &Cheat {
            dealing: Some(&change),
            ..Cheat::default()
        },
    )
}

/// A closed round and all that was signed in it.
pub(crate) struct Closed {
    pub(crate) contributions: Vec<Contribution>,
    pub(crate) proposal: Proposal,
    pub(crate) root: Digest,
    pub(crate) convicted: Vec<ClientId>,
    pub(crate) endorsements: Vec<Signed<EndorseContent>>,
    pub(crate) unmasks: Vec<Signed<UnmaskContent>>,
    pub(crate) r_sum: Scalar,
    pub(crate) finals: Vec<Signed<FinalContent>>,
    pub(crate) rows: Vec<RowValues>,
    pub(crate) row_lists: Vec<Signed<RowsContent>>,
    pub(crate) result: RoundResult,
}

/// What an honest server and committee make of these contributions.
pub(crate) fn close(
    world: &World,
    contributions: Vec<Contribution>,
    convicted: Vec<ClientId>,
) -> Closed {
    let ctx = &world.ctx;
    let params_digest = world.digest();
    let entries: Vec<_> = contributions
        .iter()
        .map(|c| (c.header.content.client, c.header.content.digest()))
        .collect();
    let (root, count) = (proposal_root(&entries), entries.len() as u32);
    let proposal = Proposal {
        signed: Signed::sign(
            ProposalContent {
                params_digest,
                root,
            },
            &world.server,
        ),
        entries,
    };
    let summed: Vec<_> = contributions
        .iter()
        .filter(|c| !convicted.contains(&c.header.content.client))
        .collect();
    let mut sums = RoundSums::new(ctx);
    summed
        .iter()
        .for_each(|c| sums.add(&world.round, &c.body).unwrap());
    let mut unmasks = Vec::new();
    let mut shares = Vec::new();
    for j in 1..=MEMBERS {
        let member = MemberIndex(j);
        let sum: Scalar = summed
            .iter()
            .map(|c| {
                let leaf = share_leaf(&c.body, member).unwrap();
                *open_share(ctx, &c.header.content, member, world.share_key(j), &leaf)
                    .unwrap()
                    .expose()
            })
            .sum();
        shares.push(SecretShare::new(member, sum));
        let content = UnmaskContent {
            params_digest,
            root,
            member,
            convicted: convicted.clone(),
            sum,
        };
        unmasks.push(Signed::sign(content, world.member_key(j)));
    }
    let r_sum = feldman::combine(&shares[..THRESHOLD.into()], THRESHOLD).unwrap();
    let sum_f0: RistrettoPoint = summed
        .iter()
        .map(|c| c.header.content.commitments[0].point())
        .sum();
    let terms = FinalTerms {
        root,
        count,
        convicted: convicted.clone(),
        sum_f0: CanonicalPoint::from(sum_f0),
    };
    let members = || (1..=MEMBERS).map(MemberIndex);
    let endorsements = members()
        .map(|member| {
            let content = EndorseContent {
                params_digest,
                root,
                member,
                count,
                complaints: complaints_digest(&[]),
            };
            Signed::sign(content, world.member_key(member.0))
        })
        .collect();
    let finals = members()
        .map(|m| Signed::sign(terms.content(params_digest, m), world.member_key(m.0)))
        .collect();
    let rows: Vec<RowValues> = (0..MEMBERS)
        .filter_map(|slice| {
            let range = slice_rows(ctx.layout(), MEMBERS.into(), slice.into());
            let values: Vec<[u8; 32]> = range
                .map(|a| {
                    let points = summed
                        .iter()
                        .map(|c| CompressedRistretto(c.body.matrix[a]).decompress().unwrap());
                    points
                        .fold(RistrettoPoint::identity(), |s, p| s + p)
                        .compress()
                        .to_bytes()
                })
                .collect();
            (!values.is_empty()).then_some(RowValues { slice, values })
        })
        .collect();
    let slices: Vec<(u16, Digest)> = rows
        .iter()
        .map(|r| (r.slice, row_values_digest(&r.values)))
        .collect();
    // Exactly the 2t - m = 3 signers that a slice needs.
    let row_lists = members()
        .take(3)
        .map(|m| row_list(world, root, &convicted, m, slices.clone()))
        .collect();
    let vector = sums.open(ctx, &world.round, &r_sum).unwrap();
    let result = sign_result(world, root, convicted.clone(), r_sum, vector);
    Closed {
        contributions,
        proposal,
        root,
        convicted,
        endorsements,
        unmasks,
        r_sum,
        finals,
        rows,
        row_lists,
        result,
    }
}

pub(crate) fn row_list(
    world: &World,
    root: Digest,
    convicted: &[ClientId],
    member: MemberIndex,
    slices: Vec<(u16, Digest)>,
) -> Signed<RowsContent> {
    let content = RowsContent {
        params_digest: world.digest(),
        root,
        convicted: convicted_digest(convicted),
        member,
        slices,
    };
    Signed::sign(content, world.member_key(member.0))
}

pub(crate) fn sign_result(
    world: &World,
    root: Digest,
    convicted: Vec<ClientId>,
    r_sum: Scalar,
    vector: Vec<i64>,
) -> RoundResult {
    let vector_digest = result_vector_digest(&vector);
    let content = ResultContent {
        params_digest: world.digest(),
        root,
        convicted,
        r_sum,
        vector_digest,
    };
    RoundResult {
        signed: Signed::sign(content, &world.server),
        vector,
    }
}

impl Closed {
    pub(crate) fn headers(&self) -> Vec<Header> {
        self.contributions
            .iter()
            .map(|c| c.header.clone())
            .collect()
    }
    pub(crate) fn summed(&self) -> impl Iterator<Item = &Contribution> {
        self.contributions
            .iter()
            .filter(|c| !self.convicted.contains(&c.header.content.client))
    }
    /// The bundle for the client of contribution `i`.
    pub(crate) fn bundle(&self, i: usize) -> LightBundle {
        let leaves = proposal_leaves(&self.proposal.entries);
        LightBundle {
            certificate: Certificate {
                endorsements: self.endorsements.clone(),
            },
            count: self.proposal.entries.len() as u32,
            position: i as u32,
            path: merkle::path(labels::PROPOSAL_TREE, &leaves, i),
            finals: self.finals.clone(),
            rows: self.rows.clone(),
            row_lists: self.row_lists.iter().map(RowList::of).collect(),
        }
    }
}

/// The honest round of the shared world.
pub(crate) fn closed() -> &'static Closed {
    static CLOSED: OnceLock<Closed> = OnceLock::new();
    CLOSED.get_or_init(|| close(world(), world().contributions.clone(), Vec::new()))
}

pub(crate) fn point(seed: u64) -> CanonicalPoint {
    CanonicalPoint::from(RistrettoPoint::random(&mut rng(seed)))
}
